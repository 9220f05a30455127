//! Database servers come up, stall, go down, and come back where they were.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};
use tercet_servers::{MariaDb, Postgres};

/// What the server at `port` says to a client that sends `hello`: how many bytes, or why none.
fn says(port: u16, hello: &[u8]) -> Result<usize, ErrorKind> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(hello).map_err(|error| error.kind())?;
    stream.read(&mut [0; 256]).map_err(|error| error.kind())
}

/// PostgreSQL's request for TLS: answered by one byte.
const TLS: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

#[test]
fn postgres_comes_up_stalls_crashes_and_comes_back_on_its_port() {
    let mut server = Postgres::start().unwrap();
    assert!(server.url().starts_with("postgres://tercet:") && server.url().ends_with("/tercet"), "{}", server.url());
    assert!(server.create("another").unwrap().ends_with("/another"));
    assert!(server.create("another").is_err(), "it is there already");
    assert_eq!(says(server.port(), TLS), Ok(1));
    server.pause();
    assert_eq!(says(server.port(), TLS), Err(ErrorKind::WouldBlock));
    server.resume();
    assert_eq!(says(server.port(), TLS), Ok(1));
    server.kill();
    assert_eq!(says(server.port(), TLS), Err(ErrorKind::ConnectionRefused));
    server.start_again().unwrap();
    assert!(server.create("another").is_err(), "it is there still");
    server.end();
}

#[test]
fn mariadb_comes_up_stalls_crashes_and_comes_back_on_its_port() {
    let mut server = MariaDb::start().unwrap();
    assert!(server.url().starts_with("mysql://tercet:") && server.url().ends_with("/tercet"), "{}", server.url());
    assert!(server.create("another").unwrap().ends_with("/another"));
    assert!(server.create("another").is_err(), "it is there already");
    assert!(says(server.port(), b"").unwrap() > 40, "its greeting");
    server.pause();
    assert_eq!(says(server.port(), b""), Err(ErrorKind::WouldBlock));
    server.resume();
    assert!(says(server.port(), b"").unwrap() > 40);
    server.kill();
    assert_eq!(says(server.port(), b""), Err(ErrorKind::ConnectionRefused));
    server.start_again().unwrap();
    assert!(server.create("another").is_err(), "it is there still");
    server.end();
}
