//! Events: there if, and only if, the change is; each version once, in the order of their numbers, found by subject, time and page.

use crate::places::{Place, run};
use std::{collections::BTreeMap, future::Future, task::Poll};
use tercet_core::Millis;
use tercet_participant::{
    Database, Fault, Memory, Outbox, SeaOrm,
    database::{Access, Tx, memory::CommitFault},
    outbox::{EventFilter, EventNumber, EventVersion, OutboxError, StreamMade, Subject},
    sea_orm::{ConnectionTrait, DbBackend},
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
async fn tables_of_the_versions_before_are_brought_up_to_this_one() {
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        let url = place.url();
        let database = SeaOrm::open(&url).await.unwrap();
        run(&database, "DROP TABLE tercet_events").await;
        run(&database, "UPDATE tercet_participant SET version = 1").await;
        let second = SeaOrm::open(&url).await.unwrap();
        // As version 2 had it, with an event of its own.
        let is_maria = database.writer().get_database_backend() == DbBackend::MySql;
        let on = if is_maria { " ON tercet_events" } else { "" };
        run(&second, &format!("DROP INDEX tercet_events_taken{on}")).await;
        run(&second, "ALTER TABLE tercet_events DROP COLUMN taken_at_ms").await;
        run(&second, "ALTER TABLE tercet_events DROP COLUMN taken_by").await;
        let old = "INSERT INTO tercet_events (subject, version, kind, at_ms, data) VALUES ('old', 1, 'k', 1, '1')";
        run(&second, old).await;
        // On MariaDB a start that was cut off may have left the columns there, and the version as it was.
        for _ in 0..if is_maria { 2 } else { 1 } {
            run(&second, "UPDATE tercet_participant SET version = 2").await;
            assert_eq!(untaken(&SeaOrm::open(&url).await.unwrap()).await, "old@1");
        }
        let raised = "UPDATE tercet_participant SET version = 3 WHERE version <> 3";
        assert_eq!(second.writer().execute_unprepared(raised).await.unwrap().rows_affected(), 0);
        run(&second, "DELETE FROM tercet_events").await;
        check(SeaOrm::open(&url).await.unwrap()).await;
    }
}

/// What no stream has taken, page by page.
async fn untaken(database: &impl Database) -> String {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = database.events_untaken(after, PAGE).await.unwrap();
        let Some(last) = page.last() else { return ids.join(" ") };
        after = Some(last.number);
        ids.extend(page.iter().map(|published| published.event.id()));
    }
}

async fn check_taking<D: Database>(database: D) {
    let tx = database.begin(Access::Write).await.unwrap();
    for version in 1..=5 {
        tell(&tx, "a", version).await.unwrap();
    }
    Tx::commit(tx).await.unwrap();
    let all = database.events(&EventFilter::default(), 9).await.unwrap();
    let number = |at: usize| all[at].number;
    let (first, second) = (StreamMade(1_700_000_000_123_456_789), StreamMade(1_800_000_000_123_456_789));
    assert_eq!(untaken(&database).await, "a@1 a@2 a@3 a@4 a@5");
    database.events_take(&[], first, Millis(10)).await.unwrap();
    database.events_take(&[number(0), number(1), number(3)], first, Millis(10)).await.unwrap();
    database.events_take(&[number(4)], first, Millis(20)).await.unwrap();
    assert_eq!(untaken(&database).await, "a@3");
    assert_eq!(database.events_untake(first).await.unwrap(), 0);
    assert_eq!(untaken(&database).await, "a@3");

    // What is not taken is never dropped, and what is dropped was taken before that moment.
    assert_eq!(database.events_purge(Millis(10), 9).await.unwrap(), 0);
    assert_eq!(database.events_purge(Millis(20), 2).await.unwrap(), 2);
    assert_eq!(database.events_purge(Millis(20), 2).await.unwrap(), 1);
    assert_eq!(told(&database, EventFilter::default()).await, "a@3 a@5");

    // Another stream has nothing of what the first had taken.
    assert_eq!(database.events_untake(second).await.unwrap(), 1);
    assert_eq!(untaken(&database).await, "a@3 a@5");
    database.events_take(&[number(2), number(4)], second, Millis(30)).await.unwrap();
    assert_eq!(untaken(&database).await, "");
}

#[tokio::test]
async fn what_a_stream_has_taken_is_kept_for_a_while_and_given_to_the_next_stream() {
    check_taking(Memory::new(())).await;
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        check_taking(place.database().await).await;
    }
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
