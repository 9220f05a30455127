//! Nodes in processes of their own on one database: whichever is asked answers, one that ends hands over.

use crate::support::{Node, Place};
use insta::assert_snapshot;
use std::{thread::sleep, time::Duration};
use tercet_servers::{MariaDb, Postgres};

const VISIT: &str = r#"{"traveller": "Ada", "seats": 2}"#;

/// The lines of `node list`, without ids, processes and times.
fn nodes(node: &Node, place: &Place) -> String {
    let listed = node.run(place, &["node", "list"]).to_string();
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_node = |word: &str| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let shown = words.iter().enumerate().map(|(n, word)| match n {
            0 if is_node(word) => "NODE",
            _ if word.parse::<u32>().is_ok_and(|number| number > 1_024) => "PROCESS",
            _ => word,
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<_> = listed.lines().map(line).collect();
    lines[1..].sort();
    lines.join("\n")
}

fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..600 {
        if is() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("it has not come to this: {what}");
}

fn share_a_database(url: &str) {
    let place = Place::new().with("TERCET_DATABASE__URL", url);
    let mut one = place.node(&["dev", "--log", "warn"]);
    let two = place.node(&["dev", "--log", "warn"]);
    until("they share evenly", || nodes(&two, &place).matches(" 512 0 ").count() == 2);
    assert_snapshot!(nodes(&one, &place), @"
    exit 0
    NODE WHERE SHARDS GUESTS LEASE UNTIL DEFINITIONS
    NODE process PROCESS at <address> (this one) 512 0 <time> 5
    NODE process PROCESS at <address> 512 0 <time> 5
    ");
    let keys: Vec<String> = (0..8).map(|n| format!("visit-{n}")).collect();
    for (n, key) in keys.iter().enumerate() {
        let node = [&one, &two][n % 2];
        let started = node.run(&place, &["saga", "start", "visit", "--key", key, "--input", VISIT]);
        assert_eq!(started.code, 0, "{started}");
    }
    for (n, key) in keys.iter().enumerate() {
        let (node, saga) = ([&one, &two][n / 2 % 2], format!("visit/{key}"));
        let done = match n % 4 {
            0 => node.run(&place, &["saga", "cancel", &saga, "--reason", "rain"]),
            _ => node.run(
                &place,
                &["saga", "signal", &saga, "visits.approval/1", "--id", "a", "--payload", r#"{"by": "Bob"}"#],
            ),
        };
        assert_eq!(done.code, 0, "{key}: {done}");
    }
    let late = two.run(&place, &["saga", "cancel", "visit/visit-0", "--reason", "again"]);
    assert_eq!(late.code, 4, "{late}");
    let (code, said) = one.end();
    // The servers of tests are fast, not durable, which is said.
    let said: Vec<_> = said.lines().filter(|line| !line.contains("power cut")).collect();
    assert_eq!((code, said.join("\n").as_str()), (Some(0), ""));
    let left = nodes(&two, &place);
    assert!(left.contains(" 1024 0 "), "{left}");
    for key in keys {
        until("it ends", || {
            let listed = two.run(&place, &["saga", "list", "--key", &key]).out;
            listed.contains("confirmed") || listed.contains("cancelled")
        });
    }
}

#[test]
fn nodes_on_one_postgres_are_one_tercet() {
    share_a_database(&Postgres::start().unwrap().url());
}

#[test]
fn nodes_on_one_mariadb_are_one_tercet() {
    share_a_database(&MariaDb::start().unwrap().url());
}

#[test]
fn a_node_on_a_file_is_alone() {
    let place = Place::new();
    let node = place.node(&["dev", "--log", "warn"]);
    assert_snapshot!(nodes(&node, &place), @"
    exit 0
    NODE WHERE SHARDS GUESTS LEASE UNTIL DEFINITIONS
    NODE process PROCESS at <address> (this one) 1024 0 for ever: it is alone 5
    ");
}
