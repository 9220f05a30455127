//! One suite ties the barrier's bodies together: the same cases on SQLite, PostgreSQL and MariaDB, and in memory.

use crate::{
    accounts::{
        Amount, Credit, Debit, FIRST, Hold, Look, OnDatabase, on, on_memory, on_sqlite, seen, seen_in_memory,
        subject_in_memory, subject_on,
    },
    places::{Place, run, statement},
};
use std::time::Duration;
use tercet_core::{Answer, Participant, Payload};
use tercet_participant::{
    Operation, SeaOrm,
    conformance::{Calls, Executing, Holding, Subject, at, executing, holding},
    sea_orm::ConnectionTrait,
};

fn calls<O: Operation<Request = Amount>>(amount: i64) -> Calls {
    Calls::of::<O>(&Amount { account: 1, amount }).unwrap()
}

/// Every kind of operation that accounts have.
async fn conforms<F: Future<Output = Subject>>(fresh: impl Fn() -> F) {
    let hold = Holding::tcc(calls::<Hold>(30)).refusing(calls::<Hold>(FIRST + 1));
    holding(&fresh, &hold).await.unwrap();
    let debit = Holding::compensable(calls::<Debit>(30)).refusing(calls::<Debit>(FIRST + 1));
    holding(&fresh, &debit).await.unwrap();
    executing(&fresh, &Executing::retriable(calls::<Credit>(5))).await.unwrap();
}

#[tokio::test]
async fn b01_b02_accounts_conform_in_memory() {
    conforms(subject_in_memory).await;
}

#[tokio::test]
async fn b01_b02_accounts_conform_on_sqlite() {
    let place = Place::folder();
    conforms(|| subject_on(&place)).await;
}

#[tokio::test]
async fn b01_b02_accounts_conform_on_postgres() {
    let place = Place::postgres();
    conforms(|| subject_on(&place)).await;
}

#[tokio::test]
async fn b01_b02_accounts_conform_on_mariadb() {
    let place = Place::mariadb();
    conforms(|| subject_on(&place)).await;
}

/// The same calls on a database and in memory: the same answers, the same rows to the byte.
async fn agrees_with_memory(place: &Place) {
    let (database, memory) = (on(place).await, on_memory());
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
        assert_eq!(database.service.call(call.clone()).await, memory.service.call(call).await, "{text}");
    }
    let in_memory: Vec<String> =
        memory.service.database().rows().await.values().map(|row| serde_json::to_string(row).unwrap()).collect();
    assert_eq!(rows(database.service.database()).await, in_memory);
    assert_eq!(in_memory.len(), 5, "neither a confirm without a try nor a read leaves a row");
}

async fn rows(database: &SeaOrm) -> Vec<String> {
    let reader = database.reader();
    let select = statement(reader.get_database_backend(), "SELECT body FROM tercet_barrier ORDER BY saga", &[]);
    reader.query_all_raw(select).await.unwrap().iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

#[tokio::test]
async fn every_body_gives_the_same_answers_and_keeps_the_same_rows() {
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        agrees_with_memory(&place).await;
    }
}

async fn hundred_rounds(place: &Place) {
    let OnDatabase { service, .. } = on(place).await;
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
    assert_eq!(seen(service.database()).await, "available 100, held 0");
}

#[tokio::test]
async fn b02_hundred_rounds_of_eight_cancels_at_once_and_a_late_try() {
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        hundred_rounds(&place).await;
    }
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
    assert_eq!(seen(sqlite.service.database()).await, "available 600, held 0");
    assert_eq!(seen_in_memory(memory.service.database()).await, "available 600, held 0");
}

/// How many rows are left, on a database and in memory, once `days` have passed.
async fn kept_after(days: u64, place: &Place) -> (u32, u32) {
    let (database, memory) = (on(place).await, on_memory());
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
        assert_eq!(database.service.call(call.clone()).await, memory.service.call(call).await);
    }
    for clock in [&database.clock, &memory.clock] {
        clock.pass(Duration::from_secs(days * 24 * 60 * 60));
    }
    (8 - database.service.purge(100).await.unwrap(), 8 - memory.service.purge(100).await.unwrap())
}

#[tokio::test]
async fn rows_age_from_their_last_move_and_what_is_open_never_does() {
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        assert_eq!(kept_after(30, &place).await, (8, 8));
        assert_eq!(kept_after(31, &place).await, (3, 3));
    }
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
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        let accounts = on(&place).await;
        let database = accounts.service.database();
        run(database, "UPDATE tercet_participant SET version = 4").await;
        let refused = tercet_participant::database::ensure_tables(database.writer()).await.unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused, @"the participant's tables have version 4, this program knows version 3: use the newer program, it has written here before");
        }
        assert!(SeaOrm::open(&accounts.url).await.is_err());
    }
}

#[tokio::test]
async fn programs_that_begin_at_once_make_the_tables_once() {
    for place in [Place::folder(), Place::postgres(), Place::mariadb()] {
        let url = place.url();
        let openings: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn({
                    let url = url.clone();
                    async move { SeaOrm::open(&url).await.map(drop) }
                })
            })
            .collect();
        for opening in openings {
            opening.await.unwrap().unwrap();
        }
    }
}
