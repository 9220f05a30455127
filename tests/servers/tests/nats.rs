//! Servers come up, go down, and come back where they were.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::Command,
};
use tercet_servers::{
    ServerError,
    nats::{Nats, Setup, Version},
};

/// What a server says first.
fn greeting(server: &Nats) -> String {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("nats://")).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn both_versions_come_up_and_come_back_on_their_port() {
    for (version, number) in [(Version::Floor, "\"version\":\"2."), (Version::Current, "\"version\":\"2.15.")] {
        let mut server = Setup::default().jetstream().payload_max(4096).start(version).unwrap();
        let first = greeting(&server);
        assert!(first.contains(number) && first.contains("\"max_payload\":4096"), "{first}");
        assert!(first.contains("\"jetstream\":true"), "{first}");
        let url = server.url();
        server.kill();
        assert!(TcpStream::connect(url.trim_start_matches("nats://")).is_err());
        server.wipe().unwrap();
        server.start_again().unwrap();
        assert_eq!(server.url(), url);
        assert!(greeting(&server).contains(number));
        server.end();
    }
}

#[test]
fn a_server_goes_with_its_guard() {
    let server = Nats::start(Version::Floor).unwrap();
    let id = server.process().unwrap().id();
    let lives = || Command::new("kill").args(["-0", &id.to_string()]).output().unwrap().status.success();
    assert!(lives());
    drop(server);
    assert!(!lives());
}

#[test]
fn one_that_does_not_come_up_is_shown_with_its_log() {
    let Err(ServerError::NotUp { log, .. }) = Setup::default().lines("port: nonsense").start(Version::Floor) else {
        unreachable!("a server took a port that is none")
    };
    assert!(log.contains("nats.conf:2"), "{log}");
}

#[test]
fn one_that_is_not_installed_is_named() {
    let missing = tercet_servers::find(&["no-such-server"]).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "failed to find no-such-server: run tests/servers/install, which installs it or says what to install"
    );
}
