//! Events: there if, and only if, the change is; each version once, in the order of their numbers, found by subject, time and page.

use crate::places::Place;
use std::{collections::BTreeMap, future::Future, task::Poll};
use tercet_core::Millis;
use tercet_participant::{
    Database, Fault, Memory, Outbox, SeaOrm,
    database::{Access, Tx, memory::CommitFault},
    outbox::{EventFilter, EventNumber, EventVersion, OutboxError, Subject},
    sea_orm::ConnectionTrait,
};

const PAGE: u32 = 3;

fn subject(name: &str) -> Subject {
    Subject(name.to_owned())
}

async fn tell<X: Tx>(tx: &X, name: &str, version: i64) -> Result<(), OutboxError> {
    Outbox::publish(tx, subject(name), EventVersion(version), "order.changed", &version, Millis(version * 10)).await
}

/// Every event that is wanted, read page by page: `subject@version`, in the order in which they came.
async fn told(database: &impl Database, mut wanted: EventFilter) -> String {
    let mut ids = Vec::new();
    loop {
        let page = database.events(&wanted, PAGE).await.unwrap();
        let Some(last) = page.last() else { return ids.join(" ") };
        wanted.after = Some(last.number);
        ids.extend(page.iter().map(|published| published.event.id()));
    }
}

async fn check<D: Database>(database: D) {
    for (name, version) in [("b", 1), ("a", 1), ("a", 2), ("b", 2), ("a", 3), ("a", 4)] {
        let tx = database.begin(Access::Write).await.unwrap();
        tell(&tx, name, version).await.unwrap();
        Tx::commit(tx).await.unwrap();
    }
    let rolled_back = database.begin(Access::Write).await.unwrap();
    tell(&rolled_back, "a", 5).await.unwrap();
    Tx::rollback(rolled_back).await.unwrap();

    let half = database.begin(Access::Write).await.unwrap();
    tell(&half, "b", 3).await.unwrap();
    let savepoint = half.nested().await.unwrap();
    tell(&savepoint, "b", 4).await.unwrap();
    Tx::rollback(savepoint).await.unwrap();
    Tx::commit(half).await.unwrap();

    let doubled = database.begin(Access::Write).await.unwrap();
    let error = tell(&doubled, "a", 4).await.unwrap_err();
    assert!(matches!(error, OutboxError::Fault(Fault::Failed(_))), "{error}");
    Tx::rollback(doubled).await.unwrap();

    let all = EventFilter::default();
    assert_eq!(told(&database, all.clone()).await, "b@1 a@1 a@2 b@2 a@3 a@4 b@3");
    let of_b = EventFilter { subject: Some(subject("b")), ..all.clone() };
    assert_eq!(told(&database, of_b.clone()).await, "b@1 b@2 b@3");
    let late = EventFilter { since: Some(Millis(20)), ..all.clone() };
    assert_eq!(told(&database, late.clone()).await, "a@2 b@2 a@3 a@4 b@3");
    let first = database.events(&all, 1).await.unwrap().remove(0);
    let rest = EventFilter { after: Some(first.number), ..of_b };
    assert_eq!(told(&database, rest).await, "b@2 b@3");
    assert_eq!(
        (first.event.kind.as_str(), first.event.at, first.event.data.as_str()),
        ("order.changed", Millis(10), "1")
    );
    let end = EventFilter { after: Some(EventNumber(i64::MAX)), ..all };
    assert_eq!(told(&database, end).await, "");
}

#[tokio::test]
async fn an_event_is_there_if_and_only_if_its_change_is() {
    check(Memory::new(())).await;
    check(SeaOrm::sqlite_in_memory().await.unwrap()).await;
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        check(place.database().await).await;
    }
}

#[tokio::test]
async fn tables_of_the_version_before_are_brought_up_to_this_one() {
    let database = SeaOrm::sqlite_in_memory().await.unwrap();
    let writer = database.writer();
    writer.execute_unprepared("DROP TABLE tercet_events").await.unwrap();
    writer.execute_unprepared("UPDATE tercet_participant SET version = 1").await.unwrap();
    let again = SeaOrm::over(writer.clone(), writer.clone()).await.unwrap();
    check(again).await;
    let raised = "UPDATE tercet_participant SET version = 2 WHERE version = 2";
    assert_eq!(writer.execute_unprepared(raised).await.unwrap().rows_affected(), 1);
}

/// Polls once: a commit that crashed never answers.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Raises the row's version and publishes that, as a handler does.
async fn change(database: &Memory<BTreeMap<String, i64>>, name: &str) -> Option<Result<(), Fault>> {
    let tx = database.begin(Access::Write).await.unwrap();
    let version = tx.with(|rows| {
        let version = rows.entry(name.to_owned()).or_default();
        *version += 1;
        *version
    });
    tell(&tx, name, version).await.unwrap();
    once(Tx::commit(tx)).await
}

#[tokio::test]
async fn whatever_befalls_a_commit_the_events_of_a_row_are_its_versions() {
    const FAULTS: [CommitFault; 6] = [
        CommitFault::None,
        CommitFault::CrashBefore,
        CommitFault::CrashAfter,
        CommitFault::Conflict,
        CommitFault::LostAnswer,
        CommitFault::LostCommit,
    ];
    let database = Memory::new(BTreeMap::<String, i64>::new());
    // Every fault after every other, on either of two rows.
    for (first, second) in FAULTS.into_iter().flat_map(|first| FAULTS.map(|second| (first, second))) {
        for (fault, name) in [(first, "a"), (second, "b"), (second, "a"), (first, "b")] {
            database.inject(move || fault);
            let _ = change(&database, name).await;
        }
    }
    let rows = database.look(Clone::clone).await;
    for (name, version) in &rows {
        let versions: Vec<String> = (1..=*version).map(|version| format!("{name}@{version}")).collect();
        let of_it = EventFilter { subject: Some(subject(name)), ..EventFilter::default() };
        assert_eq!(told(&database, of_it).await, versions.join(" "));
    }
    // Of six kinds of commit three are written.
    assert_eq!(rows.values().sum::<i64>(), 6 * 6 * 4 / 2);
}
