//! The outbox: what is queued leaves if its transaction commits, at least once, and is deleted only when it was acknowledged.

use crate::accounts::{Amount, Balance, Hold, PENDING, on_memory, on_sqlite, seen};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tercet_core::{Answer, DefinitionName, Participant, Payload, Phase, Refusal, SagaKey};
use tercet_participant::{
    Outbox, SeaOrm, Ticket,
    conformance::{Calls, at},
    database::{Access, Boxed, Database, Tx},
    outbox::{Acknowledged, Completed, Completion, Ingress, Relay, Start, Swept, Told},
    sea_orm::ConnectionTrait,
};

/// Tercet's side: counts what arrives, by key; every third message it does not take at first.
#[derive(Default)]
struct Inbox {
    taken: Mutex<BTreeMap<String, u32>>,
    asked: Mutex<u32>,
}

impl Inbox {
    fn take(&self, what: String) -> Acknowledged {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        if what.contains("unknown_definition") {
            return Acknowledged::Never("there is no such definition".into());
        }
        if asked.is_multiple_of(3) {
            return Acknowledged::Unavailable("not now".into());
        }
        *self.taken.lock().unwrap().entry(what).or_default() += 1;
        Acknowledged::Yes
    }
}

#[derive(Clone)]
struct Tercet(Arc<Inbox>);

impl Ingress for Tercet {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        let what = format!("{} {} {:?}", completion.step, completion.phase, completion.answer);
        Box::pin(async move { self.0.take(what) })
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        Box::pin(async move { self.0.take(format!("{} {}", start.definition, start.key)) })
    }

    fn signal(&self, told: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async move { self.0.take(told.id.to_string()) })
    }
}

fn relay(database: &SeaOrm) -> (Arc<Inbox>, Relay<SeaOrm, Tercet>) {
    let inbox = Arc::new(Inbox::default());
    (inbox.clone(), Relay::new(database.clone(), Tercet(inbox)))
}

async fn start(database: &SeaOrm, definition: &str, key: &str, commit: bool) {
    let (definition, key): (DefinitionName, SagaKey) = (definition.parse().unwrap(), key.parse().unwrap());
    let tx = database.begin(Access::Write).await.unwrap();
    tx.start(&definition, &key, &1).await.unwrap();
    // The row is written, and its transaction stays open while the relay looks.
    tokio::task::yield_now().await;
    if commit { Tx::commit(tx).await.unwrap() } else { Tx::rollback(tx).await.unwrap() }
}

const REPLIES: u32 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b19_every_committed_message_is_delivered_and_nothing_else_is_deleted() {
    let accounts = on_sqlite().await;
    let database = accounts.service.database().clone();
    let (inbox, relay) = relay(&database);
    let finished = Arc::new(AtomicBool::new(false));
    let sweeps = tokio::spawn({
        let finished = finished.clone();
        async move {
            loop {
                let last = finished.load(Ordering::SeqCst);
                let swept = relay.sweep().await.unwrap();
                if last && swept.left == 0 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let database = database.clone();
            tokio::spawn(async move {
                for number in (writer..REPLIES).step_by(16) {
                    start(&database, "refund", &format!("{number}"), number % 10 != 0).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    finished.store(true, Ordering::SeqCst);
    sweeps.await.unwrap();
    let taken = inbox.taken.lock().unwrap().clone();
    let missing: Vec<u32> =
        (0..REPLIES).filter(|n| (n % 10 != 0) != taken.contains_key(&format!("refund {n}"))).collect();
    assert_eq!(missing, [0; 0], "delivered if, and only if, it was committed");
    assert_eq!(database.outbox(None, 10).await.unwrap(), []);
    assert_eq!(database.outbox_buried(10).await.unwrap(), []);
}

#[tokio::test]
async fn only_what_can_never_succeed_is_set_aside_and_it_holds_up_nobody() {
    let accounts = on_sqlite().await;
    let database = accounts.service.database();
    start(database, "unknown_definition", "1", true).await;
    let unreadable = r#"INSERT INTO tercet_outbox (message) VALUES ('{"start":')"#;
    database.writer().execute_unprepared(unreadable).await.unwrap();
    for key in ["a", "b", "c"] {
        start(database, "refund", key, true).await;
    }
    let (inbox, relay) = relay(database);
    assert_eq!(relay.sweep().await.unwrap(), Swept { sent: 2, buried: 2, left: 1 });
    assert_eq!(relay.sweep().await.unwrap(), Swept { sent: 1, buried: 0, left: 0 });
    assert_eq!(inbox.taken.lock().unwrap().len(), 3);
    let buried = database.outbox_buried(10).await.unwrap();
    let reasons: Vec<&str> = buried.iter().map(|(_, reason)| reason.as_str()).collect();
    insta::assert_debug_snapshot!(reasons, @r#"
    [
        "there is no such definition",
        "it cannot be read: EOF while parsing a value at line 1 column 9",
    ]
    "#);
}

#[tokio::test]
async fn a_pending_hold_is_completed_with_its_row_and_confirmed() {
    let accounts = on_sqlite().await;
    let (service, database) = (&accounts.service, accounts.service.database());
    let hold = Calls::of::<Hold>(&Amount { account: 1, amount: PENDING }).unwrap();
    let pending = service.call(hold.execute()).await;
    assert_eq!(pending, Answer::Pending(Payload::of("step is asked for approval").unwrap()));
    assert_eq!(service.call(hold.execute()).await, pending);
    assert_eq!(seen(database).await, "available 89, held 11", "what a pending handler wrote is kept");
    let ticket = Ticket::of(&hold.execute());
    let complete = async |verdict: Result<Balance, Refusal>| {
        let tx = database.begin(Access::Write).await.unwrap();
        let completed = tx.complete::<Hold>(&ticket, verdict, at()).await.unwrap();
        Tx::commit(tx).await.unwrap();
        completed
    };
    assert_eq!(complete(Ok(Balance { available: 89 })).await, Completed::Recorded);
    assert_eq!(complete(Err(Refusal::new("no", "not after all"))).await, Completed::Stands);
    let (inbox, relay) = relay(database);
    assert_eq!(relay.sweep().await.unwrap().sent, 1);
    let told = inbox.taken.lock().unwrap().keys().next().cloned().unwrap();
    assert_eq!(told, format!("step {} Done({{\"available\":89}})", Phase::Try));
    assert_eq!(service.call(hold.confirm()).await.as_str(), "done");
    assert_eq!(seen(database).await, "available 89, held 0");
}

#[tokio::test]
async fn a_completion_after_the_cancel_changes_nothing_and_tells_nobody() {
    let accounts = on_memory();
    let (service, database) = (&accounts.service, accounts.service.database());
    let hold = Calls::of::<Hold>(&Amount { account: 1, amount: PENDING }).unwrap();
    service.call(hold.execute()).await;
    assert_eq!(service.call(hold.cancel()).await.as_str(), "done");
    for ticket in [Ticket::of(&hold.execute()), Ticket::of(&hold.clone().saga(2).execute())] {
        let tx = database.begin(Access::Write).await.unwrap();
        let completed = tx.complete::<Hold>(&ticket, Ok(Balance { available: 89 }), at()).await.unwrap();
        Tx::commit(tx).await.unwrap();
        assert_eq!(completed, Completed::Stands);
    }
    assert_eq!(database.outbox(None, 10).await.unwrap(), []);
    assert_eq!(database.rows().await.len(), 1, "a completion of nothing leaves no row");
}
