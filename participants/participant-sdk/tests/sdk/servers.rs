//! What servers do beyond a file: deadlocks, answers that are lost on the way, restarts; and what they might do to JSON.

use crate::{
    accounts::{Accounts, Amount, FIRST, Hold, OnDatabase, on, seen},
    places::{Place, run},
};
use tercet_core::{Answer, Millis, Participant, Payload};
use tercet_participant::{
    Database, Memory, Outbox, SeaOrm, Service,
    barrier::{Row, Task, hold},
    conformance::{Calls, TestClock},
    database::{Access, RowKey, Tx},
    outbox::{EventFilter, EventVersion, OutboxError, Subject},
    sea_orm::{ConnectionTrait, TransactionTrait},
};
use tercet_servers::{MariaDb, Postgres, Proxy};

fn hold(amount: i64) -> Calls {
    Calls::of::<Hold>(&Amount { account: 1, amount }).unwrap()
}

/// JSON that some database refuses, shortens or writes another way when it takes it for JSON.
const AWKWARD: [&str; 5] = [
    r#"{"b":1,"a":2,"a":3 , "space" : [ ] }"#,
    r#""\u0000 and \ud800 and \udc00\ud800""#,
    "[1e400,-0,1.0,100000000000000000000000000000000000001,0.1000000000000000055511151231257827]",
    "\"\u{1F980} e\u{301} \u{10FFFF} \\\\ ' ` $1 ?\"",
    r#"{"A":1,"a ":2,"a":3}"#,
];

async fn keeps_json<D: Database>(database: &D) {
    for (saga, text) in (1..).zip(AWKWARD) {
        let key = RowKey::of(&hold(1).saga(saga).execute());
        let payload = Payload::from_bytes(text.as_bytes()).unwrap();
        let row = Row::Task(Task::after(1, hold::Outcome::Done(payload.clone()), Millis(1)));
        let tx = database.begin(Access::Write).await.unwrap();
        assert!(tx.enter(&key).await.unwrap().is_none());
        tx.put(&key, &row).await.unwrap();
        Outbox::publish(&tx, Subject(text.to_owned()), EventVersion(1), "json.kept", &payload, Millis(1))
            .await
            .unwrap();
        Tx::commit(tx).await.unwrap();
        let tx = database.begin(Access::Write).await.unwrap();
        let kept = tx.enter(&key).await.unwrap();
        Tx::rollback(tx).await.unwrap();
        let Some(Row::Task(Task { answer: Answer::Done(kept), .. })) = kept else { unreachable!("{kept:?}") };
        assert_eq!(kept.as_str(), text);
        let wanted = EventFilter { subject: Some(Subject(text.to_owned())), ..EventFilter::default() };
        let told = database.events(&wanted, 2).await.unwrap();
        assert_eq!(told.iter().map(|told| told.event.data.as_str()).collect::<Vec<_>>(), [text]);
    }
    for other in ["{\"A\":1,\"a\":2,\"a\":3}", "{\"a\":1,\"a \":2,\"a\":3}"] {
        let wanted = EventFilter { subject: Some(Subject(other.to_owned())), ..EventFilter::default() };
        assert_eq!(database.events(&wanted, 2).await.unwrap(), [], "texts are compared byte for byte");
    }
}

/// What one database would refuse, every one refuses, before it is asked.
async fn refuses_the_same<D: Database>(database: &D) {
    for (subject, kind) in
        [("\0".to_owned(), "k"), ("s".repeat(256), "k"), ("s".to_owned(), "\0"), ("s".to_owned(), &"k".repeat(65))]
    {
        let tx = database.begin(Access::Write).await.unwrap();
        let refused = Outbox::publish(&tx, Subject(subject), EventVersion(1), kind, &1, Millis(1)).await;
        assert!(matches!(refused, Err(OutboxError::Event(_))), "{refused:?}");
        Tx::rollback(tx).await.unwrap();
    }
}

#[tokio::test]
async fn json_is_kept_byte_for_byte_on_every_body() {
    keeps_json(&Memory::new(())).await;
    refuses_the_same(&Memory::new(())).await;
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        let database = place.database().await;
        keeps_json(&database).await;
        refuses_the_same(&database).await;
    }
}

/// Somebody else's transaction takes the locks of a call in another order.
async fn restarts(place: &Place) {
    let OnDatabase { service, url, .. } = on(place).await;
    let rogue = SeaOrm::open(&url).await.unwrap();
    for saga in 1..=4 {
        let tx = rogue.writer().begin().await.unwrap();
        tx.execute_unprepared("UPDATE accounts SET held = held WHERE id = 1").await.unwrap();
        let (called, call) = (service.clone(), hold(1).saga(saga).execute());
        let call = tokio::spawn(async move { called.call(call).await });
        // By now the call has its row, and waits for the account.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let entered = tx.enter(&RowKey::of(&hold(1).saga(saga).execute())).await;
        if entered.is_ok() {
            // The call was the one to give way; it begins again when this is done.
            Tx::rollback(tx).await.unwrap();
        } else {
            drop(tx);
        }
        assert_eq!(call.await.unwrap().as_str(), "done");
    }
    assert_eq!(seen(service.database()).await, "available 96, held 4");
}

#[tokio::test]
async fn f14_a_deadlock_restarts_the_transaction_inside() {
    for place in [Place::postgres(), Place::mariadb()] {
        restarts(&place).await;
    }
}

/// Accounts in the database of `url`, by way of a proxy in front of `target`.
async fn behind(url: &str, target: u16) -> (Service<Accounts>, SeaOrm, Proxy) {
    let straight = SeaOrm::open(url).await.unwrap();
    run(&straight, "CREATE TABLE accounts (id BIGINT PRIMARY KEY, available BIGINT NOT NULL, held BIGINT NOT NULL)")
        .await;
    run(&straight, &format!("INSERT INTO accounts VALUES (1, {FIRST}, 0)")).await;
    let proxy = Proxy::start(target).unwrap();
    let database = SeaOrm::open(&proxy.url(url, target)).await.unwrap();
    let service =
        Service::builder("accounts", database, Accounts).clock(TestClock::default()).tcc::<Hold>().build().unwrap();
    (service, straight, proxy)
}

async fn finds_out(url: &str, target: u16) {
    let (service, straight, proxy) = behind(url, target).await;
    proxy.lose_answers("COMMIT", 1);
    assert_eq!(service.call(hold(30).execute()).await.as_str(), "done", "the row says that it was committed");
    assert_eq!((proxy.lost(), seen(&straight).await), (1, "available 70, held 30".into()));
    proxy.lose_requests("COMMIT", 1);
    assert_eq!(service.call(hold(30).confirm()).await.as_str(), "done", "it was not, and is done again");
    assert_eq!((proxy.lost(), seen(&straight).await), (2, "available 70, held 0".into()));
    // Nobody answers: a try stays unknown, a cancel is asked again; nothing is held for it.
    proxy.lose_requests("COMMIT", u32::MAX);
    assert_eq!(service.call(hold(5).saga(2).execute()).await, Answer::Expired);
    assert_eq!(service.call(hold(5).saga(3).cancel()).await.as_str(), "retry");
    proxy.lose_requests("COMMIT", 0);
    assert_eq!(service.call(hold(5).saga(2).execute()).await.as_str(), "done");
    assert_eq!(seen(&straight).await, "available 65, held 5");
    proxy.cut();
    let away = service.call(hold(5).saga(4).execute()).await;
    assert_eq!(away.as_str(), "retry", "{away:?}");
    proxy.mend();
    // Each connection that was lost may say so once.
    while service.call(hold(5).saga(4).execute()).await.as_str() == "retry" {}
    assert_eq!(seen(&straight).await, "available 60, held 10");
}

#[tokio::test]
async fn f7_a_commit_whose_answer_is_lost_is_looked_up_never_assumed() {
    let server = Postgres::start().unwrap();
    finds_out(&server.url(), server.port()).await;
    let server = MariaDb::start().unwrap();
    finds_out(&server.url(), server.port()).await;
}

/// B28: calls and transactions whose askers go away, on a pool of few; then everything is as if they had stayed.
async fn abandons(place: &Place) {
    let OnDatabase { service, .. } = on(place).await;
    for saga in 1..=60 {
        let mut call = Box::pin(service.call(hold(1).saga(saga).execute()));
        for _ in 0..saga % 5 {
            if tokio::time::timeout(std::time::Duration::from_micros(300), &mut call).await.is_ok() {
                break;
            }
        }
        drop(call);
    }
    for saga in 1..=60 {
        assert_eq!(service.call(hold(1).saga(saga).attempt(2).execute()).await.as_str(), "done");
    }
    assert_eq!(seen(service.database()).await, "available 40, held 60");
}

#[tokio::test]
async fn b28_calls_that_are_dropped_half_way_are_finished() {
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        abandons(&place).await;
    }
}
