//! A node whose journal is in a server's database: what is wrong is said, and the server may come, go and come back.

use crate::support::{Node, Place, asked, until};
use insta::assert_snapshot;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::Duration,
};
use tercet_servers::{MariaDb, Postgres};

const URL: &str = "TERCET_DATABASE__URL";

/// What it says, without the port.
fn said(place: &Place, arguments: &[&str], port: u16) -> String {
    let ended = place.run(arguments).to_string();
    assert!(!ended.contains("s3cr3t") && !ended.contains("sea-salt"), "{ended}");
    ended.replace(&port.to_string(), "PORT").replace("<address>", "127.0.0.1:PORT")
}

#[test]
fn what_is_wrong_with_the_database_is_said_in_one_line() {
    let server = Postgres::start_durable().unwrap();
    let port = server.port();
    let with = |url: &str| Place::new().with(URL, url);
    let wrong = with(&server.url().replace("sea-salt", "s3cr3t"));
    assert_snapshot!(said(&wrong, &["migrate"], port), @r#"
    exit 5
    error: failed to sign in to the database postgres://tercet@127.0.0.1:PORT/tercet: password authentication failed for user "tercet"; check user and password
    "#);
    assert_snapshot!(said(&with(&server.url_of("nowhere")), &["serve", "--listen", "127.0.0.1:0"], port), @r#"
    exit 5
    error: failed to use the database postgres://tercet@127.0.0.1:PORT/nowhere: database "nowhere" does not exist; create it first
    "#);
    assert_snapshot!(said(&with(&server.url()), &["serve", "--listen", "127.0.0.1:0"], port), @"
    exit 5
    error: the database has no Tercet tables: run `tercet migrate` first
    ");
    assert_snapshot!(said(&with("oracle://me:s3cr3t@db/x"), &["migrate"], port), @"
    exit 2
    error: `database.url` (the environment variable TERCET_DATABASE__URL) must be the URL of a server's database, as in `postgres://user:password@host:5432/tercet` or `mysql://…`; special characters of the password are written as %XX
    ");
    assert_snapshot!(said(&with(&server.url()), &["migrate"], port), @"
    exit 0
    postgres://tercet@127.0.0.1:PORT/tercet is at schema version 4
    ");
}

/// Starts a saga; how the command ended.
fn start(node: &Node, place: &Place, key: &str) -> String {
    let input = r#"{"traveller": "Ada", "seats": 2}"#;
    node.run(place, &["saga", "start", "quick", "--key", key, "--input", input]).to_string()
}

fn start_of(key: &str) -> String {
    format!(r#"POST /v1/sagas{}{{"definition":"quick","key":"{key}","input":{{"traveller":"Ada","seats":2}}}}"#, '\n')
}

/// Starts sagas, one after the other, until `enough`; the keys of those that were acknowledged. One that is under way when its server
/// goes may be answered only when that is back.
fn starts(node: &Node, enough: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("busy-{n}");
        match asked(&node.server, &start_of(&key)).0 {
            201 => acknowledged.push(key),
            status => assert_eq!(status, 503, "{key}"),
        }
        sleep(Duration::from_millis(10));
    }
    acknowledged
}

/// A node on that server, which goes and comes back; `down` and `up` are how.
fn outlives<S>(url: &str, server: &mut S, down: fn(&mut S), up: fn(&mut S)) {
    let place = Place::new().with(URL, url);
    let node = place.node(&["dev", "--log", "warn"]);
    let first = start(&node, &place, "before");
    assert!(first.starts_with("exit 0"), "{first}");
    let ready = || asked(&node.server, "GET /readyz");
    assert_eq!(ready().0, 200);
    let enough = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let busy = scope.spawn(|| starts(&node, &enough));
        sleep(Duration::from_millis(300));
        down(server);
        until("a start is refused", || start(&node, &place, "meanwhile").starts_with("exit 5"));
        let (status, refused) = asked(&node.server, &start_of("refused"));
        assert_eq!(status, 503, "{refused}");
        assert!(refused.contains(r#""code":"unavailable""#) && refused.contains(r#""detail":""#), "{refused}");
        until("it is not ready", || ready().0 == 503);
        assert!(ready().1.contains(r#""detail":""#), "it says why: {}", ready().1);
        up(server);
        enough.store(true, Ordering::Relaxed);
        busy.join().unwrap()
    });
    assert!(!acknowledged.is_empty());
    until("it is ready again", || ready().0 == 200);
    until("it starts again", || start(&node, &place, "after").starts_with("exit 0"));
    for key in acknowledged.iter().map(String::as_str).chain(["before", "after"]) {
        until("it ends", || node.run(&place, &["saga", "list", "--key", key]).out.contains("confirmed"));
    }
}

#[test]
fn f5_postgres_goes_and_comes_back_and_nothing_acknowledged_is_lost() {
    let mut server = Postgres::start().unwrap();
    outlives(&server.url(), &mut server, Postgres::kill, |server| server.start_again().unwrap());
}

#[test]
fn f5_mariadb_goes_and_comes_back_and_nothing_acknowledged_is_lost() {
    let mut server = MariaDb::start().unwrap();
    outlives(&server.url(), &mut server, MariaDb::kill, |server| server.start_again().unwrap());
}

#[test]
fn serve_waits_for_its_database() {
    let mut server = Postgres::start().unwrap();
    let place = Place::new().with(URL, &server.url());
    assert_eq!(place.run(&["migrate"]).code, 0);
    server.end();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(500));
            server.start_again().unwrap();
        });
        // It says where it listens once it serves.
        let config = "[log]\nformat = \"text\"\n";
        place.write("tercet.toml", config);
        let ended = place.run_for(&["serve", "--listen", "127.0.0.1:0"], Duration::from_secs(8));
        assert!(ended.contains("waiting for the database"), "{ended}");
        assert!(ended.contains("serving"), "{ended}");
    });
}
