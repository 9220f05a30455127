//! Crashes, lost commits and conflicts: whatever befalls a commit, asking again leads to the same end.

use crate::accounts::{Amount, Hold, Model, OnMemory, on_memory, on_sqlite, seen, seen_in_memory};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tercet_core::{Answer, Call, Participant};
use tercet_participant::{
    Memory, Operation, SeaOrm, Service,
    conformance::{Calls, TestClock},
    database::{Access, Database, memory::CommitFault},
    sea_orm::{self, ConnectOptions},
};

/// What it comes to without waiting for anything; `None`: its process died. Outside of tokio, which makes a long poll yield.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Lets `fault` befall the commit of that number, counted from 1, and no other.
fn befall(database: &Memory<Model>, number: u32, fault: CommitFault) -> Arc<AtomicU32> {
    let commits = Arc::new(AtomicU32::new(0));
    let count = commits.clone();
    database.inject(move || match count.fetch_add(1, Ordering::SeqCst) + 1 {
        n if n == number => fault,
        _ => CommitFault::None,
    });
    commits
}

fn hold(amount: i64) -> Calls {
    Calls::of::<Hold>(&Amount { account: 1, amount }).unwrap()
}

fn ask(service: &Service<crate::accounts::Accounts, Memory<Model>>, call: &Call) -> Answer {
    loop {
        if let Some(answer) = at_once(service.call(call.clone())) {
            return answer;
        }
    }
}

#[test]
fn a_crash_at_any_commit_and_asking_again_lead_to_the_same_end() {
    use CommitFault::{Conflict, CrashAfter, CrashBefore, LostAnswer, LostCommit};
    for fault in [CrashBefore, CrashAfter, Conflict, LostAnswer, LostCommit] {
        for (last, end) in [(hold(30).confirm(), "available 70, held 0"), (hold(30).cancel(), "available 100, held 0")]
        {
            for number in 1..=2 {
                let OnMemory { service, .. } = on_memory();
                let commits = befall(service.database(), number, fault);
                let tried = ask(&service, &hold(30).execute());
                assert_eq!(tried.as_str(), "done", "{fault:?} at commit {number}");
                assert_eq!(ask(&service, &last).as_str(), "done", "{fault:?} at commit {number}");
                assert!(commits.load(Ordering::SeqCst) >= number, "the fault was met");
                assert_eq!(at_once(seen_in_memory(service.database())).unwrap(), end, "{fault:?} at commit {number}");
            }
        }
    }
}

#[test]
fn a_process_that_dies_at_a_commit_answers_nobody() {
    let OnMemory { service, .. } = on_memory();
    befall(service.database(), 1, CommitFault::CrashAfter);
    assert_eq!(at_once(service.call(hold(30).execute())), None);
    assert_eq!(
        at_once(seen_in_memory(service.database())).unwrap(),
        "available 70, held 30",
        "it was committed all the same"
    );
    let OnMemory { service, .. } = on_memory();
    befall(service.database(), 1, CommitFault::CrashBefore);
    assert_eq!(at_once(service.call(hold(30).execute())), None);
    assert_eq!(at_once(seen_in_memory(service.database())).unwrap(), "available 100, held 0");
}

#[test]
fn a_try_whose_commit_stays_in_doubt_is_unknown_and_never_not_now() {
    let OnMemory { service, .. } = on_memory();
    let once = |call: &Call| at_once(service.call(call.clone())).unwrap();
    service.database().inject(|| CommitFault::LostCommit);
    assert_eq!(once(&hold(30).execute()), Answer::Expired, "unknown, and asked afresh");
    assert_eq!(once(&hold(30).cancel()).as_str(), "retry", "a cancel is asked again whatever it is told");
    service.database().inject(|| CommitFault::Conflict);
    assert_eq!(once(&hold(30).execute()).as_str(), "retry", "certainly not committed");
    service.database().inject(|| CommitFault::LostAnswer);
    assert_eq!(once(&hold(30).execute()).as_str(), "done", "the row says that it was committed");
    assert_eq!(at_once(seen_in_memory(service.database())).unwrap(), "available 70, held 30");
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_is_finished_on_sqlite_and_rolled_back_in_memory() {
    let sqlite = on_sqlite().await;
    drop(sqlite.service.call(hold(30).execute()));
    let done = sqlite.service.call(hold(30).attempt(2).execute()).await;
    assert_eq!(done.as_str(), "done");
    assert_eq!(seen(sqlite.service.database()).await, "available 70, held 30");
    let OnMemory { service, .. } = on_memory();
    let open = service.database().begin(Access::Write).await.unwrap();
    assert_eq!(at_once(service.call(hold(30).execute())), None, "it waits for its turn, and is dropped");
    drop(open);
    assert_eq!(seen_in_memory(service.database()).await, "available 100, held 0");
}

#[tokio::test]
async fn a_busy_database_is_not_now_and_nothing_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("busy.db");
    let patient = SeaOrm::sqlite(&file).await.unwrap();
    let mut options = ConnectOptions::new(format!("sqlite://{}", file.display()));
    options.max_connections(1).map_sqlx_sqlite_opts(|sqlite| sqlite.busy_timeout(std::time::Duration::ZERO));
    let one = sea_orm::Database::connect(options).await.unwrap();
    let hasty = SeaOrm::over(one.clone(), one).await.unwrap();
    let service = Service::builder("accounts", hasty, crate::accounts::Accounts)
        .clock(TestClock::default())
        .tcc::<Hold>()
        .build()
        .unwrap();
    let other = patient.begin(Access::Write).await.unwrap();
    let answer = service.call(hold(1).execute()).await;
    assert!(matches!(&answer, Answer::Retry { reason, .. } if reason.contains("in the way")), "{answer:?}");
    other.rollback().await.unwrap();
    let cancelled = service.call(hold(1).cancel()).await;
    assert_eq!(cancelled.as_str(), "done", "{} is answered again", Hold::NAME);
}
