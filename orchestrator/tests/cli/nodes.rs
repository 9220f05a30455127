//! Starting, migrating and ending nodes.

use crate::support::{Place, masked};
use insta::assert_snapshot;

const CANARY: &str = "canary-5f1c0de-do-not-show";

#[test]
fn dev_says_in_five_lines_what_runs_and_what_to_try() {
    let place = Place::new();
    let mut node = place.node(&["dev", "--log", "warn"]);
    assert_snapshot!(masked(&node.first.join("\n"), place.path()), @"
    running  quick, stuck, trip, visit
    data     tercet.db
    API      http://<address>
    try      toy saga start quick --key try-1 --input '{…}' --wait tried --server http://<address>
             toy saga list --server http://<address>; toy definition show quick says what its input is; Ctrl-C stops, and the next start goes on
    ");
    assert_eq!(node.end(), (Some(0), String::new()));
}

#[test]
fn serve_needs_a_migrated_database() {
    let place = Place::new();
    assert_snapshot!(place.run(&["serve", "--listen", "127.0.0.1:0"]), @"
    exit 5
    error: failed to open the database <folder>/tercet.db: No such file or directory (os error 2); run `tercet migrate` to make it, or name another file
    ");
    assert_snapshot!(place.run(&["migrate"]), @"
    exit 0
    tercet.db is at schema version 4
    ");
    assert_snapshot!(place.run(&["migrate", "-o", "json"]), @r#"
    exit 0
    {"database":"tercet.db","schema":4}
    "#);
    place.write("text.db", "this is no database, and long enough to be seen as such");
    assert_snapshot!(place.run(&["serve", "--listen", "127.0.0.1:0", "--data", "text.db"]), @"
    exit 5
    error: <folder>/text.db is not an SQLite database: name another file, or restore it from a backup
    ");
    place.write("empty.db", "");
    assert_snapshot!(place.run(&["serve", "--listen", "127.0.0.1:0", "--data", "empty.db"]), @"
    exit 5
    error: the database has no Tercet tables: run `tercet migrate` first
    ");
}

#[test]
fn what_was_started_is_there_after_a_restart() {
    let place = Place::new();
    let mut node = place.node(&["dev", "--log", "warn"]);
    let input = r#"{"traveller": "Ada", "seats": 2}"#;
    let ended = node
        .run(&place, &["saga", "start", "visit", "--key", "k", "--input", input, "--wait", "tried", "--limit", "60s"]);
    assert_eq!(ended.code, 0, "{ended}");
    assert_eq!(node.end().0, Some(0));
    let node = place.node(&["dev", "--log", "warn"]);
    let payload = r#"{"by": "ada"}"#;
    let told =
        node.run(&place, &["saga", "signal", "visit/k", "visits.approval/1", "--id", "s-1", "--payload", payload]);
    assert_eq!(told.code, 0, "{told}");
    let again = node
        .run(&place, &["saga", "start", "visit", "--key", "k", "--input", input, "--wait", "end", "--limit", "60s"]);
    assert_snapshot!(again, @r#"
    exit 0
    visit `k` was started before, with the same input: <id>
    it is confirmed
    output: "ada"
    "#);
}

#[test]
fn a_second_process_on_the_same_file_or_port_is_refused() {
    let place = Place::new();
    let node = place.node(&["dev", "--log", "warn"]);
    let second = place.run(&["dev", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 4, "{second}");
    assert!(second.err.contains("has the database <folder>/tercet.db open, and only one may"), "{second}");
    let address = node.server.strip_prefix("http://").unwrap();
    let same_port = place.run(&["dev", "--data", "other.db", "--listen", address]);
    assert_snapshot!(same_port, @"
    exit 5
    error: failed to listen at <address>: Address already in use (os error 98); another program listens there, a tercet perhaps: stop it, or choose another address with --listen
    ");
}

#[test]
fn a_token_is_needed_and_never_shown() {
    let place = Place::new().with("TERCET_HTTP__TOKEN", CANARY);
    let mut node = place.node(&["dev", "--log", "trace"]);
    let mut said = node.first.join("\n");
    let commands: [&[&str]; 5] = [
        &["saga", "list", "--log", "trace"],
        &["saga", "list", "-o", "json"],
        &["saga", "show", "quick/k"],
        &["saga", "start", "quick", "--key", "k", "--input", "{}", "--log", "trace"],
        &["saga", "cancel", "x", "--reason", "r"],
    ];
    for command in commands {
        said.push_str(&node.run(&place, command).to_string());
    }
    let wrong = Place::new().with("TERCET_HTTP__TOKEN", "another-token-canary-5f1c0de");
    assert_snapshot!(node.run(&wrong, &["saga", "list"]), @"
    exit 6
    error: the token is not the one that this node asks for: look at its `http.token`
    ");
    assert_snapshot!(node.run(&Place::new(), &["saga", "list"]), @"
    exit 6
    error: this node asks for a token: set TERCET_HTTP__TOKEN to its `http.token`
    ");
    said.push_str(&node.end().1);
    assert!(said.contains("there is no saga yet") && !said.contains(CANARY), "{said}");
}
