//! Sagas, from start to end, as a person sees them.

use crate::support::{Ended, Node, Place};
use insta::assert_snapshot;

const INPUT: &str = r#"{"traveller": "Ada", "seats": 2}"#;

struct Table {
    place: Place,
    node: Node,
}

impl Table {
    fn set() -> Self {
        let place = Place::new();
        let node = place.node(&["dev", "--log", "warn"]);
        Self { place, node }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.node.run(&self.place, arguments)
    }

    fn start(&self, definition: &str, key: &str, wait: &str) -> Ended {
        self.run(&["saga", "start", definition, "--key", key, "--input", INPUT, "--wait", wait, "--limit", "60s"])
    }
}

#[test]
fn a_start_says_how_far_it_came() {
    let table = Table::set();
    assert_snapshot!(table.start("quick", "a", "end"), @r#"
    exit 0
    quick `a` started: <id>
    it is confirmed
    output: "14C"
    "#);
    assert_snapshot!(table.start("quick", "a", "end"), @r#"
    exit 0
    quick `a` was started before, with the same input: <id>
    it is confirmed
    output: "14C"
    "#);
    assert_snapshot!(table.start("trip", "b", "pay"), @r#"
    exit 0
    trip `b` started: <id>
    it is trying
    `pay` is pending: {"link":"https://pay.example/14C"}
    "#);
    assert_snapshot!(table.run(&["saga", "start", "trip", "--key", "c", "--input", r#"{"traveller": "A", "seats": 10}"#, "--wait", "end", "--limit", "60s"]), @"
    exit 7
    trip `c` started: <id>
    it is cancelled
    it was undone: `seat` was refused: no_seats: there are nine at most
    ");
    assert_snapshot!(table.run(&["saga", "start", "visit", "--key", "d", "--input", INPUT, "--wait", "end", "--limit", "0s"]), @"
    exit 9
    visit `d` started: <id>
    it is trying
    its end is not there yet; it goes on
    ");
}

#[test]
fn a_start_that_waits_for_a_parked_saga_says_so_to_people_and_scripts() {
    let table = Table::set();
    assert_snapshot!(table.start("stuck", "a", "tell"), @"
    exit 8
    stuck `a` started: <id>
    it is confirming
    `tell` is asked, and parked: its try was refused: no_such_address: nobody lives there
    ");
    assert_snapshot!(table.run(&["saga", "start", "stuck", "--key", "a", "--input", INPUT, "--wait", "end", "--limit", "5min"]), @"
    exit 8
    stuck `a` was started before, with the same input: <id>
    it is confirming
    its end is not there yet; a person decides how it goes on: see `saga show`
    `tell` waits for a person: its try was refused: no_such_address: nobody lives there
    ");
    let json = table.run(&["saga", "start", "stuck", "--key", "a", "--input", INPUT, "--wait", "tell", "-o", "json"]);
    assert!(json.code == 8 && json.out.contains("nobody lives there"), "{json}");
    let unheard = table.run(&["saga", "start", "stuck", "--key", "a", "--input", INPUT]);
    assert_eq!(unheard.code, 0, "who does not wait hears nothing of it: {unheard}");
}

#[test]
fn a_list_of_a_definition_that_is_not_known_is_exit_3() {
    let table = Table::set();
    assert_snapshot!(table.run(&["saga", "list", "--definition", "quikc"]), @"
    exit 3
    error: no definition `quikc` is known here; did you mean `quick`? known are: quick, stuck, trip, visit
    ");
    assert_snapshot!(table.run(&["saga", "list", "--definition", "quick"]), @"
    exit 0
    no saga fits
    ");
}

#[test]
fn a_list_is_filtered_and_paged_to_its_end() {
    let table = Table::set();
    for key in ["a", "b", "c"] {
        assert_eq!(table.start("quick", key, "end").code, 0);
    }
    assert_eq!(table.start("stuck", "d", "tell").code, 8);
    let keys = |arguments: &[&str]| -> String {
        let out = table.run(&[&["saga", "list", "-o", "jsonl"], arguments].concat()).out;
        let key =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap().to_owned();
        out.lines().map(key).collect()
    };
    assert_eq!(keys(&[]), "dcba");
    assert_eq!(keys(&["--state", "confirmed"]), "cba");
    assert_eq!(keys(&["--parked"]), "d");
    assert_eq!(keys(&["--attention"]), "");
    assert_eq!(keys(&["--definition", "quick", "--key", "b"]), "b");
    assert_eq!(keys(&["--since", "1h"]), "dcba");
    assert_eq!(keys(&["--until", "1h"]), "");
    assert_eq!(keys(&["--since", "2026-01-01T00:00:00Z", "--all"]), "dcba");
    let page = table.place.printed(&["saga", "list", "--limit", "2", "-o", "json", "--server", &table.node.server]);
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(keys(&["--after", page["next"].as_str().unwrap()]), "ba");
    assert_eq!(keys(&["--all", "--after", page["next"].as_str().unwrap()]), "ba");
}

#[test]
fn b49_an_input_with_a_field_too_few_or_too_many_is_exit_2() {
    let table = Table::set();
    let start = |input: &str| table.run(&["saga", "start", "quick", "--key", "k", "--input", input]);
    assert_snapshot!(start(r#"{"traveller": "Ada"}"#), @"
    exit 2
    error: `input.seats` is missing: a whole number is expected
    ");
    assert_snapshot!(start(r#"{"traveller": "Ada", "seats": 1, "seat": 2}"#), @"
    exit 2
    error: `input` has no field `seat`; did you mean `seats`?
    ");
    assert_snapshot!(start(r#"{"traveller": "Ada", "seats": 1, "seats": 2}"#), @"
    exit 2
    error: the key `input.seats` stands twice in its object: line 1, column 70
    ");
    assert_snapshot!(start(r#"{"traveller": "Ada", "seats": -1}"#), @"
    exit 2
    error: `input.seats` must be a whole number from 0 to 4294967295, and is -1
    ");
    assert_snapshot!(table.run(&["saga", "list"]), @"
    exit 0
    there is no saga yet
    ");
}

#[test]
fn a_taken_key_is_exit_4_and_an_unknown_saga_exit_3() {
    let table = Table::set();
    assert_eq!(table.start("quick", "k", "end").code, 0);
    let other = r#"{"traveller": "Bob", "seats": 2}"#;
    assert_snapshot!(table.run(&["saga", "start", "quick", "--key", "k", "--input", other]), @"
    exit 4
    error: the key is taken by saga <id>, which was started with another input: use a new key, or the same input
    ");
    assert_snapshot!(table.run(&["saga", "show", "quick/none"]), @"
    exit 3
    error: no saga of `quick` is known under the key `none`
    ");
    assert_snapshot!(table.run(&["saga", "show", "01890a5d-ac96-774b-bcce-b302099a8057"]), @"
    exit 3
    error: no saga <id> is known here
    ");
    assert_snapshot!(table.run(&["saga", "show", "17"]), @"
    exit 2
    error: `17` is neither a saga's id nor `definition/key`, as in `refund/r-17`
    ");
    assert_snapshot!(table.run(&["saga", "cancel", "quick/k", "--reason", "changed plans"]), @"
    exit 4
    error: saga <id> is confirmed: it has decided to commit, and that is never taken back
    ");
    assert_snapshot!(table.start("quicc", "k", "end"), @"
    exit 3
    error: no definition `quicc` is known here; did you mean `quick`? known are: quick, stuck, trip, visit
    ");
}

#[test]
fn a_parked_saga_shows_what_can_be_done_and_does_it() {
    let table = Table::set();
    assert_eq!(table.start("stuck", "k", "tell").code, 8);
    assert_snapshot!(table.run(&["saga", "show", "stuck/k"]), @r#"
    exit 0
    stuck 1  <id>
    key       k
    state     confirming: it has decided to commit; one step waits for a person
    started   <time>
    changed   <time>
    wakes     by no timer
    input     {"traveller": "Ada", "seats": 2}

    waits for
      `tell`: it waits for a person: its try was refused: no_such_address: nobody lives there

    you can
      `tell` is parked: its try was refused: no_such_address: nobody lives there
        toy saga retry <id> --step 'tell' --reason WHY --server http://<address>
        toy saga resolve <id> --step 'tell' --done REPLY --reason WHY --server http://<address>
        toy saga resolve <id> --step 'tell' --not-done --reason WHY --server http://<address>

    stuck@1 <id>: confirming, parked
    ├── before the decision
    │   └── ✓ seat (tcc flights.hold/1): confirmed
    ├── decision: ✓ commit
    └── on confirmed
        └── ‖ tell (retriable mail.bounce/1): parked: its try was refused: no_such_address: nobody lives there ← seat
    "#);
    assert_snapshot!(table.run(&["saga", "retry", "stuck/k", "--reason", "they moved back in"]), @"
    exit 0
    saga <id> is confirming: it has decided to commit
    `tell` is asked
    ");
    let resolve = ["saga", "resolve", "stuck/k", "--step", "tell", "--done", "null", "--reason", "I rang them"];
    assert_snapshot!(table.run(&["saga", "resolve", "stuck/k", "--step", "tell", "--query", "--reason", "x"]), @"
    exit 4
    error: step `tell` does not offer that now; it offers: `retry_now`, `mark_done`, `mark_not_done`
    ");
    assert_snapshot!(table.run(&resolve), @"
    exit 0
    saga <id> is confirmed
    `tell` is done
    ");
    assert_snapshot!(table.run(&resolve), @"
    exit 4
    error: step `tell` does not offer that now; it offers nothing
    ");
    assert_snapshot!(table.run(&["saga", "retry", "stuck/k", "--reason", "once more"]), @"
    exit 4
    error: no step of saga <id> can be retried now: it is confirmed
    ");
    assert_snapshot!(table.run(&["saga", "history", "stuck/k"]), @"
    exit 0
    #  WHEN                      WHAT
    1  <time>  the saga began: stuck version 1 under the key `k`
    1  <time>  `seat` is asked: flights.hold/1
    2  <time>  `seat` is done
    2  <time>  decided: commit
    3  <time>  `seat` is confirmed
    3  <time>  `tell` is asked: mail.bounce/1
    4  <time>  `tell` waits for a person: its try was refused: no_such_address: nobody lives there
    5  <time>  ada decided `retry_now` for `tell`: they moved back in
    5  <time>  `tell` goes on
    6  <time>  `tell` waits for a person: its try was refused: no_such_address: nobody lives there
    7  <time>  ada decided `mark_done` for `tell`: I rang them
    7  <time>  `tell` is done
    7  <time>  the saga ended confirmed

    by people
      <time>  ada: retry_now tell, because they moved back in
      <time>  ada: mark_done tell, because I rang them
    ");
}

#[test]
fn a_saga_that_waits_says_for_what_and_until_when() {
    let table = Table::set();
    assert_eq!(table.start("visit", "k", "tried").code, 0);
    assert_snapshot!(table.run(&["saga", "show", "visit/k"]), @r#"
    exit 0
    visit 1  <id>
    key       k
    state     trying: nothing is decided yet
    started   <time>
    changed   <time>
    wakes     <time>
    input     {"traveller": "Ada", "seats": 2}

    waits for
      `approval`: it waits for `visits.approval/1`; next at <time>

    you can
      toy saga cancel <id> --reason WHY --server http://<address>

    visit@1 <id>: trying
    ├── before the decision
    │   ├── ◷ approval (wait visits.approval/1): waiting
    │   └── · seat (tcc flights.hold/1) ← approval
    └── decision: · not yet
    "#);
    assert_eq!(table.start("trip", "k", "pay").code, 0);
    assert_snapshot!(table.run(&["saga", "show", "trip/k"]), @r#"
    exit 0
    trip 2  <id>
    key       k
    state     trying: nothing is decided yet
    started   <time>
    changed   <time>
    wakes     <time>
    input     {"traveller": "Ada", "seats": 2}

    waits for
      `pay`: it was accepted, and is to be reported: {"link":"https://pay.example/14C"}; next at <time>

    you can
      `pay`
        toy saga resolve <id> --step 'pay' --query --reason WHY --server http://<address>
        toy saga retry <id> --step 'pay' --reason WHY --server http://<address>
        toy saga resolve <id> --step 'pay' --close --reason WHY --server http://<address>
        toy saga resolve <id> --step 'pay' --done REPLY --reason WHY --server http://<address>
        toy saga resolve <id> --step 'pay' --not-done --reason WHY --server http://<address>
      toy saga cancel <id> --reason WHY --server http://<address>

    trip@2 <id>: trying
    ├── before the decision
    │   ├── ✓ seat (tcc flights.hold/1): done
    │   └── ▶ ◆ pay (pivot bank.pay/1): pending ← seat
    ├── decision: · not yet
    └── on confirmed
        └── · tell (retriable mail.send/1) ← pay
    "#);
    assert_snapshot!(table.run(&["saga", "cancel", "trip/k", "--reason", "changed plans"]), @"
    exit 0
    saga <id> is to be cancelled once it is known what became of its pivot: ada asked for it: changed plans
    ");
}

#[test]
fn programs_read_json() {
    let table = Table::set();
    assert_eq!(table.start("quick", "a", "end").code, 0);
    assert_eq!(table.start("quick", "b", "end").code, 0);
    assert_snapshot!(table.run(&["saga", "list", "--limit", "1"]), @"
    exit 0
    ID                                    DEFINITION  KEY  STATUS     WAITS  STARTED
    <id>  quick 1     b    confirmed         <time>
    more: --after after-<id>
    ");
    let read = |output: &str| table.run(&["saga", "list", "-o", output]).out;
    let page: serde_json::Value = serde_json::from_str(&read("json")).unwrap();
    assert_eq!(page["sagas"].as_array().unwrap().len(), 2);
    let lines: Vec<serde_json::Value> = read("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|saga| saga["key"].as_str().unwrap()).collect::<Vec<_>>(), ["b", "a"]);
    let shown: serde_json::Value =
        serde_json::from_str(&table.run(&["saga", "show", "quick/a", "-o", "json"]).out).unwrap();
    assert_eq!(shown["saga"]["output"], "14C");
    let history = table.run(&["saga", "history", "quick/a", "-o", "jsonl"]).out;
    assert!(history.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{history}");
    assert!(table.run(&["saga", "show", "quick/a", "-o", "mermaid"]).out.contains("flowchart"));
}
