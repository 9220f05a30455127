//! One suite ties the barrier's two bodies together: the same cases on SQLite and in memory.

use crate::accounts::{
    Amount, Credit, Debit, FIRST, Hold, Look, OnSqlite, on_memory, on_sqlite, seen_in_memory, seen_on_sqlite,
    subject_in_memory, subject_on_sqlite,
};
use std::time::Duration;
use tercet_core::{Answer, Participant, Payload};
use tercet_participant::{
    Operation,
    conformance::{Calls, Executing, Holding, at, executing, holding},
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

fn calls<O: Operation<Request = Amount>>(amount: i64) -> Calls {
    Calls::of::<O>(&Amount { account: 1, amount }).unwrap()
}

#[tokio::test]
async fn b01_b02_a_tcc_conforms_on_sqlite() {
    let with = Holding::tcc(calls::<Hold>(30)).refusing(calls::<Hold>(FIRST + 1));
    holding(subject_on_sqlite, &with).await.unwrap();
}

#[tokio::test]
async fn b01_a_tcc_conforms_in_memory() {
    let with = Holding::tcc(calls::<Hold>(30)).refusing(calls::<Hold>(FIRST + 1));
    holding(subject_in_memory, &with).await.unwrap();
}

#[tokio::test]
async fn a_compensable_conforms_on_both_bodies() {
    let with = Holding::compensable(calls::<Debit>(30)).refusing(calls::<Debit>(FIRST + 1));
    holding(subject_on_sqlite, &with).await.unwrap();
    holding(subject_in_memory, &with).await.unwrap();
}

#[tokio::test]
async fn a_retriable_conforms_on_both_bodies() {
    let with = Executing::retriable(calls::<Credit>(5));
    executing(subject_on_sqlite, &with).await.unwrap();
    executing(subject_in_memory, &with).await.unwrap();
}

#[tokio::test]
async fn both_bodies_give_the_same_answers_and_keep_the_same_rows() {
    let (sqlite, memory) = (on_sqlite().await, on_memory());
    let hold = calls::<Hold>(30);
    let script = [
        hold.execute(),
        hold.clone().saga(2).cancel(),
        hold.clone().saga(3).confirm(),
        calls::<Hold>(1_000).saga(4).execute(),
        hold.confirm(),
        hold.cancel(),
        calls::<Debit>(7).saga(5).execute(),
        calls::<Debit>(7).saga(5).forget(),
        calls::<Credit>(2).saga(6).execute(),
        calls::<Look>(0).saga(7).execute(),
        hold.query(),
    ];
    for call in script {
        let text = format!("{call:?}");
        assert_eq!(sqlite.service.call(call.clone()).await, memory.service.call(call).await, "{text}");
    }
    let in_memory: Vec<String> =
        memory.service.database().rows().await.values().map(|row| serde_json::to_string(row).unwrap()).collect();
    let rows = sqlite.service.database().reader();
    let select = Statement::from_string(DbBackend::Sqlite, "SELECT body FROM tercet_barrier ORDER BY saga");
    let on_sqlite: Vec<String> =
        rows.query_all_raw(select).await.unwrap().iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    assert_eq!(on_sqlite, in_memory);
    assert_eq!(on_sqlite.len(), 5, "neither a confirm without a try nor a read leaves a row");
}

#[tokio::test]
async fn b02_hundred_rounds_of_eight_cancels_at_once_and_a_late_try() {
    let OnSqlite { service, .. } = on_sqlite().await;
    for saga in 1..=100 {
        let calls = calls::<Hold>(30).saga(saga);
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (service, call) = (service.clone(), calls.cancel());
                tokio::spawn(async move { service.call(call).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Answer::Done(Payload::null()));
        }
        assert_eq!(service.call(calls.execute()).await.as_str(), "refused");
    }
    assert_eq!(seen_on_sqlite(service.database()).await, "available 100, held 0");
}

#[tokio::test]
async fn a_refusal_is_remembered_when_what_was_missing_is_there_again() {
    let (sqlite, memory) = (on_sqlite().await, on_memory());
    let dear = calls::<Hold>(FIRST + 1);
    for service in [&sqlite.service as &dyn Participant, &memory.service] {
        let first = service.call(dear.execute()).await;
        assert_eq!(first.as_str(), "refused");
        assert_eq!(service.call(calls::<Credit>(500).saga(2).execute()).await.as_str(), "done");
        assert_eq!(service.call(dear.clone().attempt(2).execute()).await, first);
    }
    assert_eq!(seen_on_sqlite(sqlite.service.database()).await, "available 600, held 0");
    assert_eq!(seen_in_memory(memory.service.database()).await, "available 600, held 0");
}

/// How many rows are left, by saga, once `days` have passed.
async fn kept_after(days: u64) -> (u32, u32) {
    let (sqlite, memory) = (on_sqlite().await, on_memory());
    let script = [
        calls::<Hold>(1).saga(1).execute(),     // tried: for ever
        calls::<Hold>(1).saga(2).execute(),     // confirmed
        calls::<Hold>(1).saga(2).confirm(),     //
        calls::<Hold>(1).saga(3).cancel(),      // blocked
        calls::<Hold>(1_000).saga(4).execute(), // refused
        calls::<Debit>(1).saga(5).execute(),    // tried, not forgotten: for ever
        calls::<Debit>(1).saga(6).execute(),    // tried and forgotten
        calls::<Debit>(1).saga(6).forget(),     //
        calls::<Credit>(1).saga(7).execute(),   // done
        calls::<Hold>(11).saga(8).execute(),    // intent: for ever
    ];
    for call in script {
        assert_eq!(sqlite.service.call(call.clone()).await, memory.service.call(call).await);
    }
    for clock in [&sqlite.clock, &memory.clock] {
        clock.pass(Duration::from_secs(days * 24 * 60 * 60));
    }
    (8 - sqlite.service.purge(100).await.unwrap(), 8 - memory.service.purge(100).await.unwrap())
}

#[tokio::test]
async fn rows_age_from_their_last_move_and_what_is_open_never_does() {
    assert_eq!(kept_after(30).await, (8, 8));
    assert_eq!(kept_after(31).await, (3, 3));
}

#[tokio::test]
async fn m1_a_cancel_makes_a_refused_row_age_anew() {
    let memory = on_memory();
    let dear = calls::<Hold>(FIRST + 1);
    memory.service.call(dear.execute()).await;
    memory.clock.pass(Duration::from_secs(29 * 24 * 60 * 60));
    assert_eq!(memory.service.call(dear.cancel()).await.as_str(), "done");
    memory.clock.pass(Duration::from_secs(2 * 24 * 60 * 60));
    assert_eq!(memory.service.purge(100).await.unwrap(), 0, "the row is two days old, not thirty-one");
    let fresh = at().plus(Duration::from_secs(29 * 24 * 60 * 60));
    assert_eq!(memory.service.call(calls::<Credit>(500).saga(2).issued(fresh).execute()).await.as_str(), "done");
    let late = dear.clone().attempt(2).issued(fresh);
    assert_eq!(memory.service.call(late.execute()).await.as_str(), "refused");
    assert_eq!(seen_in_memory(memory.service.database()).await, "available 600, held 0");
}

#[tokio::test]
async fn the_tables_of_a_newer_version_are_left_alone() {
    let accounts = on_sqlite().await;
    let database = accounts.service.database();
    database.writer().execute_unprepared("UPDATE tercet_participant SET version = 3").await.unwrap();
    let refused = tercet_participant::database::ensure_tables(database.writer()).await.unwrap_err();
    insta::assert_snapshot!(refused, @"the participant's tables have version 3, this program knows version 2: use the newer program, it has written here before");
    let opened = tercet_participant::SeaOrm::sqlite(&accounts.dir.path().join("accounts.db")).await;
    assert!(opened.is_err());
}
