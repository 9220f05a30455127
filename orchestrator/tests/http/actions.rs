//! Telling and operating sagas.

use crate::{support::Node, toy};
use insta::assert_snapshot;
use tercet::store::MemoryStore;
use tercet_core::{Definition, OnRefused, Saga};

#[tokio::test]
async fn a_signal_has_a_receipt_and_its_verdict_is_repeated() {
    let node = Node::start().await;
    let id = node.begin("visit", "k", "tried").await;
    let tell = async |body: &str| node.post(&format!("/v1/sagas/{id}/signal"), body).await;
    let approval = r#"{"signal": "visits.approval/1", "id": "s-1", "payload": {"by": "ada"}}"#;
    assert_snapshot!(tell(approval).await.shown(), @r#"
    200
    {
      "id": "<id>",
      "says": "trying: nothing is decided yet",
      "signal": {
        "id": "s-1",
        "signal": "visits.approval/1",
        "taken_by": "approval",
        "verdict": null
      },
      "status": "trying"
    }
    "#);
    let ended = node.engine.wait(id.parse().unwrap(), tercet::Until::End).await.unwrap();
    assert_eq!(ended.state.output.as_ref().unwrap().as_str(), "\"ada\"");
    assert_eq!(tell(approval).await.json()["signal"]["verdict"], "accepted");
    let late = approval.replace("s-1", "s-2");
    assert_eq!(tell(&late).await.json()["signal"]["verdict"], "too_late");
}

#[tokio::test]
async fn a_signal_that_is_wrong_is_refused() {
    let node = Node::start().await;
    let id = node.begin("visit", "k", "tried").await;
    let tell = async |body: &str| node.post(&format!("/v1/sagas/{id}/signal"), body).await.problem();
    assert_snapshot!(tell(r#"{"signal": "visits.aproval/1", "id": "s", "payload": {"by": "ada"}}"#).await, @"422 unknown_signal [signal]: `visit` waits for no signal `visits.aproval/1` | did you mean `visits.approval/1`?");
    assert_snapshot!(tell(r#"{"signal": "visits.approval/1", "id": "s", "payload": {"by": 7}}"#).await, @"422 bad_value [payload.by]: `payload.by` must be a text, and is 7");
    assert_snapshot!(tell(r#"{"signal": "visits.approval/1", "id": "s", "payload": {}}"#).await, @"400 missing_field [payload.by]: `payload.by` is missing: a text is expected");
    assert_snapshot!(tell(r#"{"signal": "visits.approval/1", "id": "s", "payload": {"by": "ada", "bye": 1}}"#).await, @"400 unknown_field [payload.bye]: `payload` has no field `bye` | did you mean `by`?");
    assert_snapshot!(tell(r#"{"signal": "visits.approval/1", "payload": {"by": "ada"}}"#).await, @"400 missing_field [id]: `id` is missing | give the signal an id of its own, the same in every re-send: its verdict is kept under it");
    assert_snapshot!(tell(r#"{"signal": "visits.approval/1", "id": "s"}"#).await, @"400 missing_field [payload]: `payload` is missing");
}

#[tokio::test]
async fn a_cancel_undoes_and_a_second_one_is_told_so() {
    let node = Node::start().await;
    let id = node.begin("trip", "k", "pay").await;
    let cancel =
        async || node.post(&format!("/v1/sagas/{id}/cancel"), r#"{"reason": "changed plans", "by": "ada"}"#).await;
    let first = cancel().await;
    assert_eq!(first.status, 200, "{}", first.body);
    let ended = node.engine.wait(id.parse().unwrap(), tercet::Until::End).await.unwrap();
    assert_eq!(ended.state.life.as_str(), "cancelled");
    assert_snapshot!(cancel().await.problem(), @r#"409 too_late: saga <id> is cancelled: it has ended | state "cancelled""#);
}

/// Parks before its decision: its pivot is refused.
fn doubtful() -> Definition<toy::TripRequest, toy::Receipt> {
    let saga = Saga::<toy::TripRequest>::new("doubtful", 1);
    let seat = saga.tcc("seat", toy::Hold).request(saga.input(), |r| r);
    let pay = saga.pivot("pay", toy::Decline).on_refused(OnRefused::Park).request(seat, |s| s);
    saga.output(pay, |p| p)
}

/// What a saga offers, and how a cancel of it is answered.
async fn offered_and_answered(node: &Node, id: &str) -> (serde_json::Value, u16) {
    let offered = node.get(&format!("/v1/sagas/{id}")).await.json()["choices"].take();
    let answered = node.post(&format!("/v1/sagas/{id}/cancel"), r#"{"reason": "changed plans"}"#).await;
    (offered, answered.status)
}

#[tokio::test]
async fn a_cancel_is_offered_exactly_where_it_is_taken() {
    let registry = toy::registry().unwrap().with(doubtful()).unwrap();
    let node = Node::running(registry, MemoryStore::default(), "default", None).await;
    let taken = (serde_json::json!(["cancel"]), 200);
    let not_taken = (serde_json::Value::Null, 409);
    let waits = node.begin("visit", "k", "tried").await;
    assert_eq!(offered_and_answered(&node, &waits).await, taken);
    let pending = node.begin("trip", "k", "pay").await;
    assert_eq!(offered_and_answered(&node, &pending).await, taken);
    node.engine.wait(pending.parse().unwrap(), tercet::Until::End).await.unwrap();
    assert_eq!(offered_and_answered(&node, &pending).await, not_taken, "it has ended");
    let parked_behind = node.begin("stuck", "k", "tell").await;
    assert_eq!(offered_and_answered(&node, &parked_behind).await, not_taken, "it has decided to commit");
    let parked_before = node.begin("doubtful", "k", "pay").await;
    assert_eq!(offered_and_answered(&node, &parked_before).await, taken, "its pivot is refused, and parked");
}

#[tokio::test]
async fn a_report_completes_what_was_pending() {
    let node = Node::start().await;
    let id = node.begin("trip", "k", "pay").await;
    let complete = async |body: &str| node.post(&format!("/v1/sagas/{id}/complete"), body).await;
    assert_snapshot!(complete(r#"{"step": "pay", "outcome": "paid"}"#).await.problem(), @"400 bad_field [outcome]: `paid` is no outcome to report | there are: `done`, `refused`");
    assert_snapshot!(complete(r#"{"step": "pay", "outcome": "done", "reply": {"recept": "r"}}"#).await.problem(), @"400 unknown_field [reply.recept]: `reply` has no field `recept` | did you mean `receipt`?");
    assert_snapshot!(complete(r#"{"step": "paid", "outcome": "done", "reply": null}"#).await.problem(), @"404 unknown_step [step]: saga <id> has no step `paid` yet | did you mean `pay`?");
    assert_snapshot!(complete(r#"{"step": "pay", "phase": "later", "outcome": "done"}"#).await.problem(), @"400 bad_field [phase]: `phase` cannot be read: unknown variant `later`, expected one of `try`, `confirm`, `cancel`, `query`, `close`, `forget`");
    assert_snapshot!(complete(r#"{"step": "pay", "outcome": "refused"}"#).await.problem(), @"400 missing_field [code]: `code` is missing");
    let done = complete(r#"{"step": "pay", "outcome": "done", "reply": {"receipt": "r-1"}}"#).await;
    assert_eq!((done.status, done.json()["step"]["status"].as_str()), (200, Some("done")), "{}", done.body);
    let ended = node.engine.wait(id.parse().unwrap(), tercet::Until::End).await.unwrap();
    assert_eq!(ended.state.output.as_ref().unwrap().as_str(), r#"{"receipt":"r-1"}"#);
}

#[tokio::test]
async fn a_parked_step_is_resolved() {
    let node = Node::start().await;
    let id = node.begin("stuck", "k", "tell").await;
    let done = r#"{"step": "tell", "action": "mark_done", "value": null, "by": "ada", "reason": "I rang them"}"#;
    let reply = node.post(&format!("/v1/sagas/{id}/resolve"), done).await;
    assert_snapshot!(reply.shown(), @r#"
    200
    {
      "id": "<id>",
      "says": "confirmed",
      "status": "confirmed",
      "step": {
        "asked": "<time>",
        "asks": "mail.bounce/1",
        "kind": "retriable",
        "reply": null,
        "request": "14C",
        "status": "done",
        "step": "tell"
      }
    }
    "#);
    assert_snapshot!(node.post(&format!("/v1/sagas/{id}/resolve"), done).await.problem(), @"409 not_offered: step `tell` does not offer that now | it offers nothing | choices []");
}
