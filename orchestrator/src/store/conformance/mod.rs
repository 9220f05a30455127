//! What every store must do: the suite that a new body of [`Store`] passes before an engine is put on it.
//!
//! Each check takes a store that is empty and migrated, and panics with the reason when the store is wrong. They need a tokio
//! runtime. [`store_conformance!`](crate::store_conformance) makes a test of each.

mod begin;
mod cluster;
mod inbox;
mod journal;
mod lists;
mod purge;
mod timers;

pub use begin::*;
pub use cluster::*;
pub use inbox::*;
pub use journal::*;
pub use lists::*;
pub use purge::*;
pub use timers::*;

use super::{
    Batch, Change, Incarnation, JournalRow, NodeId, Projection, SagaRow, SagaStatus, Start, Started, Store, StoreError,
    TimerName, TimerRow,
};
use std::{
    fmt::Display,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use tercet_core::{Millis, PayloadHash, SagaId};

/// A store under test.
pub type Tested = Arc<dyn Store>;

/// Makes a `#[tokio::test]` of each check of [`conformance`](crate::store::conformance). The expression is a future that gives
/// an empty store and what must live as long as it, a directory say.
///
/// ```
/// use std::sync::Arc;
/// use tercet::store::{MemoryStore, conformance::Tested};
/// tercet::store_conformance!(async { (Arc::new(MemoryStore::new()) as Tested, ()) });
/// ```
///
/// `store_conformance!(fn every_check)` makes one function of them all instead, which asks for a new store for each: where making a
/// database is cheap and making a server is not. `store_conformance!(shared fn every_check)` makes one of the checks of stores that
/// several nodes share.
#[macro_export]
macro_rules! store_conformance {
    (fn $name:ident) => { $crate::store_conformance! { @list one $name } };
    (shared fn $name:ident) => { $crate::store_conformance! { @one $name;
        nodes_see_each_other
        b11_a_node_is_taken_over_when_its_lease_has_run_out_and_not_before
        a_renewed_lease_holds
        a_shard_has_one_owner
        what_a_node_that_is_gone_owned_may_be_claimed
        every_change_of_ownership_changes_the_version
        b17_what_is_read_is_of_the_shards_asked_for
        a_saga_is_lent_by_the_owner_of_its_shard
        an_answer_reaches_the_node_that_asked
    } };
    (@list $how:ident $($what:tt)+) => {
        $crate::store_conformance! { @$how $($what)+;
            a_start_is_there_with_its_entries_and_timers
            a_taken_key_answers_its_owner_and_tells_payloads_apart
            of_two_starts_under_one_key_the_first_wins
            b26_two_hundred_starts_of_one_key_make_one_saga
            a_start_sent_again_is_answered_by_its_own_id
            keys_are_apart_by_namespace_and_definition
            an_id_that_another_key_has_is_a_conflict
            a_losing_start_leaves_the_rest_standing
            journals_come_whole_and_in_the_order_asked
            a_conflict_writes_nothing_of_its_batch
            b08_an_entry_written_before_is_recognised
            a_gap_never_goes_unnoticed
            an_unsound_batch_is_refused
            a_projection_of_nobody_is_refused
            a_fenced_incarnation_changes_nothing
            incarnations_only_rise
            a_batch_beyond_every_limit_is_written_whole
            text_is_kept_byte_for_byte
            a_text_that_some_database_would_refuse_is_refused
            several_changes_of_one_saga_count_in_order
            timers_come_soonest_first_up_to_a_limit
            timers_are_walked_page_by_page
            a_timer_is_moved_by_setting_and_gone_by_clearing
            of_several_changes_to_one_timer_the_last_counts
            timers_of_sagas_come_by_saga_and_name
            an_inbox_is_read_by_id_and_leaves_out_what_is_in_hand
            an_inbox_id_is_never_used_again
            a_change_takes_from_the_inbox_and_puts_into_it
            audit_rows_come_oldest_first
            a_definition_is_registered_once_and_never_overwritten
            lists_filter_and_page_by_key
            counts_are_by_definition_status_and_parked
            unfinished_sagas_are_walked_page_by_page
            b50_only_what_ended_quietly_is_purged
            b50_a_purged_key_answers_until_its_row_goes
            a_purge_stops_at_its_limit
        }
    };
    (@each ($open:expr); $($check:ident)+) => { $(
        #[tokio::test]
        async fn $check() {
            let (store, _kept) = $open.await;
            $crate::store::conformance::$check(store).await;
        }
    )+ };
    (@one $name:ident; $($check:ident)+) => {
        async fn $name<K, F: Future<Output = ($crate::store::conformance::Tested, K)>>(open: impl Fn() -> F) {
            $(
                eprintln!("{}", stringify!($check));
                let (store, _kept) = open().await;
                $crate::store::conformance::$check(store).await;
            )+
        }
    };
    ($open:expr) => { $crate::store_conformance! { @list each ($open) } };
}

fn name<T: FromStr<Err: Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn ok<T>(answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| panic!("the store failed: {error}"))
}

/// The n-th saga: ids in the order of their numbers, as those of a clock are.
fn saga(n: u64) -> SagaId {
    let mut id = [0x42; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    SagaId::from_bytes(id)
}

fn trying(updated: i64) -> Projection {
    Projection {
        status: SagaStatus::Trying,
        parked: 0,
        attention: false,
        updated: Millis(updated),
        wakes: None,
        output: None,
    }
}

fn row(n: u64, key: &str) -> SagaRow {
    SagaRow {
        id: saga(n),
        namespace: name("default"),
        definition: name("chain"),
        version: 1,
        key: name(key),
        payload_hash: PayloadHash([7; 32]),
        parent: None,
        projection: trying(100),
        started: Millis(100),
    }
}

fn entry(n: u64, seq: u32) -> JournalRow {
    let text = format!(r#"{{"entry":{seq},"of":{n}}}"#);
    JournalRow { saga: saga(n), seq, at: Millis(100 + i64::from(seq)), entry: text.into_bytes() }
}

fn start(n: u64, key: &str) -> Start {
    Start { row: row(n, key), entries: vec![entry(n, 1)], timers: Vec::new() }
}

fn timer(n: u64, timer: &str, due: i64) -> TimerRow {
    TimerRow { saga: saga(n), name: TimerName(timer.to_owned()), due: Millis(due), attempt: 0 }
}

fn append(n: u64, seq: u32) -> Change {
    Change { entries: vec![entry(n, seq)], ..Change::default() }
}

fn project(n: u64, projection: Projection) -> Change {
    Change { projection: Some((saga(n), projection)), ..Change::default() }
}

fn starts(starts: Vec<Start>) -> Batch {
    batch(starts, Vec::new())
}

fn changes(changes: Vec<Change>) -> Batch {
    batch(Vec::new(), changes)
}

pub(super) fn batch(starts: Vec<Start>, changes: Vec<Change>) -> Batch {
    let (starts, changes) = (starts.into_iter().map(Arc::new), changes.into_iter().map(Arc::new));
    Batch { starts: starts.collect(), changes: changes.collect() }
}

/// Each check's nodes are others.
static NODES: AtomicI64 = AtomicI64::new(1);

async fn raise(store: &Tested) -> Incarnation {
    ok(super::join(&**store, NodeId(NODES.fetch_add(1, Ordering::Relaxed))).await)
}

/// Begins sagas 1 to `n`, under keys `k1` and so on, as a new node.
async fn begun(store: &Tested, n: u64) -> Incarnation {
    let node = raise(store).await;
    let all = (1..=n).map(|i| start(i, &format!("k{i}"))).collect();
    assert_eq!(ok(store.commit(node, starts(all)).await), vec![Started::New; n as usize]);
    node
}

async fn journal_of(store: &Tested, n: u64) -> Vec<JournalRow> {
    ok(store.journals(vec![saga(n)]).await).remove(0)
}

/// A batch that does everything at once: 64 starts, of which half have keys that every round uses, and 256 changes of sagas
/// that the round before began, to every table.
#[cfg(test)]
pub(super) fn big_batch(round: u64) -> Batch {
    let base = round * 1_000;
    let key = |n| if n % 2 == 0 { format!("k{n}") } else { format!("k{}", base + n) };
    let starts = (1..=if round == 0 { 256 } else { 64 }).map(|n| start(base + n, &key(n))).collect();
    let change = |n: u64| Change {
        entries: vec![entry(n, 2), entry(n, 3)],
        projection: Some((saga(n), trying(7))),
        timers: vec![
            super::TimerChange::Set(timer(n, "retry", 5)),
            super::TimerChange::Clear(saga(n), TimerName("deadline".to_owned())),
        ],
        taken: vec![super::InboxId(1)],
        put: vec![super::InboxItem { saga: saga(n), at: Millis(1), message: Vec::new() }],
        audit: vec![super::AuditRow {
            saga: saga(n),
            at: Millis(1),
            actor: String::new(),
            action: String::new(),
            reason: String::new(),
        }],
    };
    batch(starts, if round == 0 { Vec::new() } else { (1..=256).map(change).collect() })
}
