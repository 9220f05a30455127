//! A node whose journal is in a server's database: what is wrong is said, and the server may come, go and come back.

use crate::support::{Node, Place, asked, until};
use insta::assert_snapshot;
use std::{thread::sleep, time::Duration};
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

/// Starts sagas, one after the other, until the server is `down` and one is refused; the keys of those that were acknowledged.
fn starts_until(node: &Node, down: impl FnOnce()) -> Vec<String> {
    let starting = || {
        let mut acknowledged = Vec::new();
        loop {
            let key = format!("busy-{}", acknowledged.len());
            match asked(&node.server, &start_of(&key)).0 {
                201 => acknowledged.push(key),
                status => {
                    assert_eq!(status, 503, "{key}");
                    return acknowledged;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let starting = scope.spawn(starting);
        sleep(Duration::from_millis(300));
        down();
        starting.join().unwrap()
    })
}

/// A node on that server, which goes and comes back; `down` and `up` are how.
fn outlives<S>(url: &str, server: &mut S, down: fn(&mut S), up: fn(&mut S)) {
    let place = Place::new().with(URL, url);
    let node = place.node(&["dev", "--log", "warn"]);
    let first = start(&node, &place, "before");
    assert!(first.starts_with("exit 0"), "{first}");
    let ready = || asked(&node.server, "GET /readyz");
    assert_eq!(ready().0, 200);
    let acknowledged = starts_until(&node, || down(server));
    until("a start is refused", || start(&node, &place, "meanwhile").starts_with("exit 5"));
    let (status, refused) = asked(&node.server, &start_of("refused"));
    assert_eq!(status, 503, "{refused}");
    assert!(refused.contains(r#""code":"unavailable""#), "{refused}");
    assert!(refused.contains(r#""detail":"the store is unavailable: "#), "{refused}");
    until("it is not ready", || ready().0 == 503);
    assert!(ready().1.contains("the store is unavailable: "), "it says why: {}", ready().1);
    up(server);
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
