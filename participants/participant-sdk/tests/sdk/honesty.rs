//! What goes wrong inside a participant never looks done, and what was done never looks undone.

use crate::accounts::{
    Accounts, Amount, Credit, Hold, Look, Model, STUBBORN, UNLUCKY, on_memory, on_sqlite, seen, seen_in_memory,
};
use tercet_core::{Answer, Participant, Payload};
use tercet_participant::{
    BuildError, Memory, Operation, Service,
    conformance::{Calls, TestClock},
    sea_orm::ConnectionTrait,
};

fn calls<O: Operation<Request = Amount>>(amount: i64) -> Calls {
    Calls::of::<O>(&Amount { account: 1, amount }).unwrap()
}

#[tokio::test]
async fn b10_a_panicking_confirm_or_cancel_is_rolled_back_and_asked_again() {
    let (sqlite, memory) = (on_sqlite().await, on_memory());
    for service in [&sqlite.service as &dyn Participant, &memory.service] {
        let unlucky = calls::<Hold>(UNLUCKY);
        assert_eq!(service.call(unlucky.execute()).await.as_str(), "done");
        for call in [unlucky.cancel(), unlucky.confirm(), unlucky.cancel()] {
            let answer = service.call(call).await;
            assert!(matches!(&answer, Answer::Retry { reason, .. } if reason.contains("unlucky")), "{answer:?}");
        }
        let other = service.call(calls::<Credit>(1).saga(2).execute()).await;
        assert_eq!(other.as_str(), "done", "the participant goes on");
    }
    assert_eq!(seen(sqlite.service.database()).await, "available 88, held 13");
    assert_eq!(seen_in_memory(memory.service.database()).await, "available 88, held 13");
}

#[tokio::test]
async fn b10_a_refused_cancel_is_rolled_back_and_never_stored_as_done() {
    let (sqlite, memory) = (on_sqlite().await, on_memory());
    for service in [&sqlite.service as &dyn Participant, &memory.service] {
        let stubborn = calls::<Hold>(STUBBORN);
        assert_eq!(service.call(stubborn.execute()).await.as_str(), "done");
        for _ in 0..2 {
            let answer = service.call(stubborn.cancel()).await;
            assert_eq!(answer, Answer::refused("never", "a stubborn amount is not given back"));
        }
        assert_eq!(service.call(stubborn.confirm()).await.as_str(), "done", "it was still held");
    }
    assert_eq!(seen(sqlite.service.database()).await, "available 83, held 0");
    assert_eq!(seen_in_memory(memory.service.database()).await, "available 83, held 0");
}

#[tokio::test]
async fn an_unreadable_try_is_refused_for_ever_and_an_unreadable_undo_is_not() {
    let memory = on_memory();
    let odd = Calls::raw(Hold::NAME, Payload::of(&"not an amount").unwrap()).unwrap();
    let first = memory.service.call(odd.execute()).await;
    assert!(matches!(&first, Answer::Refused(no) if no.code == "unreadable_request"), "{first:?}");
    assert_eq!(memory.service.call(odd.execute()).await, first);
    memory.service.call(calls::<Hold>(30).saga(2).execute()).await;
    assert_eq!(memory.service.call(odd.clone().saga(2).cancel()).await.as_str(), "retry");
    assert_eq!(memory.service.call(calls::<Hold>(30).saga(2).cancel()).await.as_str(), "done");
    assert_eq!(seen_in_memory(memory.service.database()).await, "available 100, held 0");
}

#[tokio::test]
async fn b04_an_undo_finds_the_tries_reply_in_the_row_when_the_call_has_none() {
    let memory = on_memory();
    let hold = calls::<Hold>(30);
    assert_eq!(
        memory.service.call(hold.execute()).await,
        Answer::Done(Payload::from_bytes(br#"{"available":70}"#).unwrap())
    );
    assert_eq!(memory.service.call(hold.confirm()).await.as_str(), "done");
}

#[tokio::test]
async fn b22_a_reply_too_large_to_send_is_still_done_and_says_its_size() {
    let service = Service::builder("accounts", Memory::new(Model::from([(1, (100, 0))])), Accounts)
        .clock(TestClock::default())
        .reply_bytes_max(10)
        .tcc::<Hold>()
        .build()
        .unwrap();
    let hold = calls::<Hold>(30);
    let answer = service.call(hold.execute()).await;
    insta::assert_debug_snapshot!(answer, @r#"
    Done(
        {"error":"reply_too_large","bytes":16,"limit":10},
    )
    "#);
    assert_eq!(service.call(hold.execute()).await, answer);
    assert_eq!(service.call(hold.confirm()).await.as_str(), "done", "the whole reply is in the barrier's row");
}

#[tokio::test]
async fn a_database_error_in_a_handler_is_not_now_and_leaves_no_row() {
    let sqlite = on_sqlite().await;
    let writer = sqlite.service.database().writer();
    writer.execute_unprepared("ALTER TABLE accounts RENAME TO elsewhere").await.unwrap();
    let answer = sqlite.service.call(calls::<Hold>(30).execute()).await;
    assert!(matches!(&answer, Answer::Retry { reason, .. } if reason.contains("no such table")), "{answer:?}");
    writer.execute_unprepared("ALTER TABLE elsewhere RENAME TO accounts").await.unwrap();
    assert_eq!(sqlite.service.call(calls::<Hold>(30).execute()).await.as_str(), "done");
    assert_eq!(seen(sqlite.service.database()).await, "available 70, held 30");
}

#[tokio::test]
async fn a_drained_participant_does_nothing_more() {
    let memory = on_memory();
    assert_eq!(memory.service.call(calls::<Hold>(30).execute()).await.as_str(), "done");
    memory.service.drain().await;
    assert_eq!(memory.service.call(calls::<Hold>(30).confirm()).await.as_str(), "retry");
    assert_eq!(seen_in_memory(memory.service.database()).await, "available 70, held 30");
}

#[tokio::test]
async fn a_read_writes_nothing_and_has_no_row() {
    let sqlite = on_sqlite().await;
    let looked = sqlite.service.call(calls::<Look>(0).execute()).await;
    assert_eq!(looked, Answer::Done(Payload::from_bytes(br#"{"available":100}"#).unwrap()));
    let nobody = Calls::of::<Look>(&Amount { account: 9, amount: 0 }).unwrap();
    assert_eq!(sqlite.service.call(nobody.execute()).await.as_str(), "refused");
    assert_eq!(sqlite.service.call(nobody.cancel()).await.as_str(), "retry");
}

#[tokio::test]
async fn an_operation_that_is_not_offered_is_never_refused() {
    let memory = on_memory();
    let other = Calls::raw("accounts.hold/2", Payload::null()).unwrap();
    assert_eq!(memory.service.call(other.execute()).await.as_str(), "retry");
}

#[test]
fn a_participant_that_cannot_be_is_not_built() {
    let builder = || Service::builder("accounts", Memory::new(Model::new()), Accounts);
    let twice = builder().tcc::<Hold>().tcc::<Hold>().build().unwrap_err();
    insta::assert_snapshot!(twice, @"failed to build the participant: `accounts.hold/1` is offered twice");
    let foreign = Service::builder("books", Memory::new(Model::new()), Accounts).tcc::<Hold>().build().unwrap_err();
    insta::assert_snapshot!(foreign, @"failed to build the participant: `accounts.hold/1` does not begin with its name, `books`");
    let hasty = builder().retention(std::time::Duration::from_secs(5)).build().unwrap_err();
    assert_eq!(hasty, BuildError::Retention(std::time::Duration::from_secs(5)));
    assert_eq!(builder().concurrency(0).build().unwrap_err(), BuildError::Concurrency);
}
