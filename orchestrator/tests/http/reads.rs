//! Looking at sagas and definitions.

use crate::support::{Node, masked, start};
use insta::assert_snapshot;

#[tokio::test]
async fn a_start_is_answered_at_once_or_when_it_came_so_far() {
    let node = Node::start().await;
    let at_once = node.post("/v1/sagas", start("quick", "a")).await;
    assert_snapshot!(at_once.shown(), @r#"
    201
    {
      "definition": "quick",
      "id": "<id>",
      "key": "a",
      "new": true,
      "reached": true,
      "status": null
    }
    "#);
    let id = at_once.json()["id"].as_str().unwrap().to_owned();
    assert!(at_once.head.contains(&format!("location: /v1/sagas/{id}")), "{}", at_once.head);
    let at_its_end = node.post("/v1/sagas?wait=end&limit=60s", start("quick", "b")).await;
    assert_snapshot!(at_its_end.shown(), @r#"
    201
    {
      "definition": "quick",
      "id": "<id>",
      "key": "b",
      "new": true,
      "output": "14C",
      "reached": true,
      "status": "confirmed"
    }
    "#);
    // Again, after its end: the same answer, and nothing new.
    let again = node.post("/v1/sagas?wait=end&limit=60s", start("quick", "b")).await;
    assert_eq!((again.status, &again.json()["output"]), (200, &at_its_end.json()["output"]));
}

#[tokio::test]
async fn a_start_hears_why_it_was_refused() {
    let node = Node::start().await;
    let full = start("trip", "k").replace("\"seats\": 2", "\"seats\": 12");
    let reply = node.post("/v1/sagas?wait=tried&limit=60s", full).await;
    assert_snapshot!(reply.shown(), @r#"
    201
    {
      "aborted": "`seat` was refused: no_seats: there are nine at most",
      "definition": "trip",
      "id": "<id>",
      "key": "k",
      "new": true,
      "reached": true,
      "status": "cancelled"
    }
    "#);
}

#[tokio::test]
async fn a_start_hears_the_pay_link() {
    let node = Node::start().await;
    let reply = node.post("/v1/sagas?wait=pay&limit=60s", start("trip", "k")).await;
    assert_snapshot!(reply.shown(), @r#"
    201
    {
      "definition": "trip",
      "id": "<id>",
      "key": "k",
      "new": true,
      "pending": [
        [
          "pay",
          {
            "link": "https://pay.example/14C"
          }
        ]
      ],
      "reached": true,
      "status": "trying",
      "step": {
        "asked": "<time>",
        "asks": "bank.pay/1",
        "choices": [
          "query_now",
          "retry_now",
          "close",
          "mark_done",
          "mark_not_done"
        ],
        "kind": "pivot",
        "pending": {
          "link": "https://pay.example/14C"
        },
        "request": {
          "code": "14C"
        },
        "status": "asked",
        "step": "pay"
      }
    }
    "#);
}

#[tokio::test]
async fn a_wait_that_is_over_first_says_accepted() {
    let node = Node::start().await;
    let reply = node.post("/v1/sagas?wait=end&limit=0s", start("visit", "k")).await;
    assert_snapshot!(reply.shown(), @r#"
    202
    {
      "definition": "visit",
      "id": "<id>",
      "key": "k",
      "new": true,
      "reached": false,
      "status": "trying"
    }
    "#);
}

#[tokio::test]
async fn a_saga_says_where_it_stands_and_what_can_be_done() {
    let node = Node::start().await;
    let id = node.begin("stuck", "k", "tell").await;
    assert_snapshot!(node.get(&format!("/v1/sagas/{id}")).await.shown(), @r#"
    200
    {
      "input": {
        "note": null,
        "seats": 2,
        "traveller": "Ada"
      },
      "next_wake": null,
      "saga": {
        "attention": false,
        "definition": "stuck",
        "id": "<id>",
        "key": "k",
        "parked": 1,
        "started": "<time>",
        "status": "confirming",
        "updated": "<time>",
        "version": 1
      },
      "says": "confirming: it has decided to commit; one step waits for a person",
      "signals": [],
      "steps": [
        {
          "asked": "<time>",
          "asks": "flights.hold/1",
          "kind": "tcc",
          "reply": {
            "code": "14C"
          },
          "request": {
            "note": null,
            "seats": 2,
            "traveller": "Ada"
          },
          "status": "confirmed",
          "step": "seat"
        },
        {
          "asked": "<time>",
          "asks": "mail.bounce/1",
          "choices": [
            "retry_now",
            "mark_done",
            "mark_not_done"
          ],
          "kind": "retriable",
          "parked": "its try was refused: no_such_address: nobody lives there",
          "request": "14C",
          "status": "asked",
          "step": "tell"
        }
      ],
      "waits": [
        {
          "step": "tell",
          "wakes": null,
          "why": "it waits for a person: its try was refused: no_such_address: nobody lives there"
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn a_saga_is_drawn_as_it_stands() {
    let node = Node::start().await;
    let id = node.begin("stuck", "k", "tell").await;
    assert_snapshot!(masked(&node.get(&format!("/v1/sagas/{id}/graph")).await.body), @"
    stuck@1 <id>: confirming, parked
    ├── before the decision
    │   └── ✓ seat (tcc flights.hold/1): confirmed
    ├── decision: ✓ commit
    └── on confirmed
        └── ‖ tell (retriable mail.bounce/1): parked: its try was refused: no_such_address: nobody lives there ← seat
    ");
    let dot = node.get(&format!("/v1/sagas/{id}/graph?format=dot")).await;
    assert!(dot.body.starts_with("digraph") && dot.head.contains("text/plain"), "{}", dot.body);
    assert_snapshot!(node.get(&format!("/v1/sagas/{id}/graph?format=svg")).await.problem(), @"400 bad_parameter [format]: `format` must be one of `mermaid`, `dot`, `tree`");
}

#[tokio::test]
async fn a_history_is_told_fact_by_fact() {
    let node = Node::start().await;
    let id = node.begin("stuck", "k", "tell").await;
    let done = r#"{"step": "tell", "action": "mark_done", "value": null, "by": "ada", "reason": "I rang them"}"#;
    assert_eq!(node.post(&format!("/v1/sagas/{id}/resolve"), done).await.status, 200);
    let history = node.get(&format!("/v1/sagas/{id}/history")).await.json();
    let says = history["entries"].as_array().unwrap().iter().flat_map(|entry| entry["says"].as_array().unwrap());
    let says: Vec<_> = says.map(|line| line.as_str().unwrap()).collect();
    assert_snapshot!(says.join("\n"), @"
    the saga began: stuck version 1 under the key `k`
    `seat` is asked: flights.hold/1
    `seat` is done
    decided: commit
    `seat` is confirmed
    `tell` is asked: mail.bounce/1
    `tell` waits for a person: its try was refused: no_such_address: nobody lives there
    ada decided `mark_done` for `tell`: I rang them
    `tell` is done
    the saga ended confirmed
    ");
    let audit = &history["audit"][0];
    assert_eq!((audit["actor"].as_str(), audit["reason"].as_str()), (Some("ada"), Some("I rang them")));
}

#[tokio::test]
async fn a_list_is_paged_and_filtered() {
    let node = Node::start().await;
    for key in ["a", "b", "c"] {
        node.begin("quick", key, "end").await;
    }
    node.begin("stuck", "d", "tell").await;
    let keys = async |query: &str| {
        let page = node.get(&format!("/v1/sagas?{query}")).await.json();
        let keys: Vec<_> =
            page["sagas"].as_array().unwrap().iter().map(|saga| saga["key"].as_str().unwrap().to_owned()).collect();
        (keys.join(" "), page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(keys("").await, ("d c b a".to_owned(), None));
    let (first, next) = keys("limit=3").await;
    assert_eq!(first, "d c b");
    let (rest, next) = keys(&format!("limit=3&cursor={}", next.unwrap())).await;
    assert_eq!((rest.as_str(), next), ("a", None));
    assert_eq!(keys("definition=quick&key=b").await.0, "b");
    assert_eq!(keys("status=confirming").await.0, "d");
    assert_eq!(keys("parked=true").await.0, "d");
    assert_eq!(keys("parked=false&status=confirmed").await.0, "c b a");
    assert_eq!(keys("attention=true").await.0, "");
    assert_eq!(keys("started_from=2026-01-01T00:00:00Z").await.0, "d c b a");
    assert_eq!(keys("started_before=2026-01-01T00:00:00Z").await.0, "");
    assert_eq!(keys("started_from=2999-01-01T00:00:00Z").await.0, "");
    assert_snapshot!(node.get("/v1/counts").await.shown(), @r#"
    200
    [
      {
        "definition": "quick",
        "parked": false,
        "sagas": 3,
        "status": "confirmed"
      },
      {
        "definition": "stuck",
        "parked": true,
        "sagas": 1,
        "status": "confirming"
      }
    ]
    "#);
}

#[tokio::test]
async fn definitions_are_listed_shown_drawn_and_linted() {
    let node = Node::start().await;
    let list = node.get("/v1/definitions").await.json();
    let names: Vec<_> =
        list.as_array().unwrap().iter().map(|d| format!("{} {} {}", d["name"], d["version"], d["newest"])).collect();
    assert_snapshot!(names.join("\n"), @r#"
    "quick" 1 true
    "stuck" 1 true
    "trip" 1 false
    "trip" 2 true
    "visit" 1 true
    "#);
    let newest = node.get("/v1/definitions/trip").await.json();
    assert_eq!((&newest["version"], newest["steps"].as_array().unwrap().len()), (&2.into(), 3));
    assert_eq!(node.get("/v1/definitions/trip?version=1").await.json()["version"], 1);
    assert!(node.get("/v1/definitions/trip/graph?format=mermaid").await.body.contains("flowchart"));
    assert_snapshot!(node.get("/v1/definitions/trip/lint").await.shown(), @"
    200
    []
    ");
    assert_snapshot!(node.get("/v1/definitions/tripp").await.problem(), @"404 unknown_definition [definition]: no definition `tripp` is known here | did you mean `trip`? known are: quick, stuck, trip, visit");
    assert_snapshot!(node.get("/v1/definitions/trip?version=9").await.problem(), @"422 unknown_version [version]: `trip` has no version 9 here | it has: 1, 2");
    assert_snapshot!(node.get("/v1/definitions/trip?version=x").await.problem(), @"400 bad_parameter [version]: `version` must be a whole number");
    assert_snapshot!(node.get("/v1/definitions/a%20b").await.problem(), @"400 bad_name [definition]: a definition's name is made of ASCII letters, digits, `_` and `-`; ` ` is not among them, in `a b`");
}
