//! A node whose broker is old, away or does not let it in: it is said in one line, and what may pass is tried again.

use crate::support::{Place, asked, until};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};
use tercet_servers::nats::{Setup, Version};

const URL: &str = "TERCET_NATS__URL";

/// Somebody who greets as a nats-server of that version does, and answers as one.
fn greets_as(version: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let info = format!(
                r#"{{"server_id":"S","server_name":"s","version":"{version}","proto":1,"host":"127.0.0.1","port":{port},"headers":true,"max_payload":1048576}}"#
            );
            if write!(stream, "INFO {info}\r\n").is_err() {
                continue;
            }
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                if line.starts_with("PING") && stream.write_all(b"PONG\r\n").is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[test]
fn a_broker_that_is_too_old_is_named() {
    let port = greets_as("2.8.4");
    let place = Place::new().with(URL, &format!("nats://127.0.0.1:{port}"));
    for command in [&["dev", "--listen", "127.0.0.1:0", "--log", "warn"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        if command[0] == "serve" {
            assert_eq!(place.run(&["migrate"]).code, 0);
        }
        let ended = place.run(command);
        assert_eq!(ended.code, 5, "{ended}");
        let error =
            "error: failed to use NATS at <address>: its version is 2.8.4, and 2.9 is the oldest that Tercet runs with";
        assert_eq!(ended.err.lines().filter(|line| line.starts_with("error")).collect::<Vec<_>>(), [error]);
    }
}

#[test]
fn a_broker_that_lets_nobody_in_is_named_without_the_password_and_asked_again() {
    let server = Setup::default().user("tercet", "right-horse").start(Version::Floor).unwrap();
    let url = server.url().replace("nats://", "nats://tercet:wrong-horse@");
    let place = Place::new().with(URL, &url);
    let mut node = place.node(&["dev", "--log", "warn"]);
    let (status, ready) = asked(&node.server, "GET /readyz");
    assert_eq!(status, 200, "sagas are taken all the same: {ready}");
    let at = server.url().replace("nats://", "");
    let why =
        format!("failed to log in to NATS at {at}: it refuses this user and password; check `nats.*` in the settings");
    assert!(ready.contains(r#""connected":false"#) && ready.contains(&why), "{ready}");
    let (code, said) = node.end();
    assert_eq!(code, Some(0));
    assert_eq!(said.lines().filter(|line| line.contains(&why)).count(), 1, "once, in one line: {said}");
    assert!(said.contains("it is tried again") && !said.contains("wrong-horse"), "{said}");
}

#[test]
fn a_broker_may_come_after_the_node() {
    for version in Version::ALL {
        let mut server = Setup::default().user("tercet", "horse").start(version).unwrap();
        server.end();
        let place = Place::new().with(URL, &server.url().replace("nats://", "nats://tercet:horse@"));
        let node = place.node(&["dev", "--log", "warn"]);
        let ready = asked(&node.server, "GET /readyz").1;
        let at = server.url().replace("nats://", "");
        assert!(ready.contains(&format!("failed to reach NATS at {at}: Connection refused")), "{ready}");
        let ls = node.run(&place, &["participant", "ls"]);
        assert_eq!(ls.code, 5, "{ls}");
        server.start_again().unwrap();
        until("it is connected", || asked(&node.server, "GET /readyz").1.contains(r#""connected":true"#));
        assert_eq!(node.run(&place, &["participant", "ls"]).out, "no participant is there\n");
    }
}
