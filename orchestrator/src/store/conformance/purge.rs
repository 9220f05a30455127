//! The purge: only what ended quietly, and its key still answers.

use super::{Tested, begun, changes, entry, journal_of, ok, project, saga, start, starts, timer, trying};
use crate::store::{Change, Incarnation, Projection, SagaStatus, Shards, Started, TimerChange};
use tercet_core::Millis;

const FOREVER: Millis = Millis(i64::MAX);
const NEVER: Millis = Millis(0);

fn ended(status: SagaStatus, updated: i64) -> Projection {
    Projection { status, ..trying(updated) }
}

/// Five sagas: confirmed, cancelled, trying with a parked step, cancelled with an unsettled contradiction, confirming.
async fn five(store: &Tested) -> Incarnation {
    let node = begun(store, 5).await;
    let all = vec![
        project(1, ended(SagaStatus::Confirmed, 200)),
        project(2, ended(SagaStatus::Cancelled, 300)),
        project(3, Projection { parked: 1, ..trying(200) }),
        project(4, Projection { attention: true, ..ended(SagaStatus::Cancelled, 200) }),
        project(5, ended(SagaStatus::Confirming, 200)),
    ];
    ok(store.commit(node, changes(all)).await);
    node
}

/// B50: a sweep takes the journals of the two that ended with nothing open; the others stay, however old, until somebody has
/// dealt with them.
pub async fn b50_only_what_ended_quietly_is_purged(store: Tested) {
    let node = five(&store).await;
    assert_eq!(ok(store.purge(Millis(200), NEVER, 100).await), 0);
    assert_eq!(ok(store.purge(Millis(201), NEVER, 100).await), 1);
    assert_eq!(ok(store.purge(FOREVER, NEVER, 100).await), 1);
    assert_eq!(ok(store.purge(FOREVER, NEVER, 100).await), 0);
    for n in [1, 2] {
        assert_eq!(journal_of(&store, n).await, []);
    }
    for n in [3, 4, 5] {
        assert_eq!(journal_of(&store, n).await, [entry(n, 1)]);
    }
    let settled = project(4, ended(SagaStatus::Cancelled, 400));
    ok(store.commit(node, changes(vec![settled])).await);
    assert_eq!(ok(store.purge(FOREVER, NEVER, 100).await), 1);
    assert_eq!(journal_of(&store, 4).await, []);
}

/// B50: so a late duplicate does not pay again; and nothing is forgotten that was not purged.
pub async fn b50_a_purged_key_answers_until_its_row_goes(store: Tested) {
    let node = five(&store).await;
    ok(store.set_timers(node, vec![TimerChange::Set(timer(1, "left over", 5))]).await);
    let row = ok(store.saga(saga(1)).await);
    ok(store.purge(FOREVER, NEVER, 100).await);
    assert_eq!(ok(store.timers_due(Shards::ALL, None, FOREVER, 10).await), []);
    let late = |round: u64| starts((1..=5).map(|n| start(round + n, &format!("k{n}"))).collect());
    let taken = |n| Started::Taken { by: saga(n), same_payload: true };
    assert_eq!(ok(store.commit(node, late(100)).await), (1..=5).map(taken).collect::<Vec<_>>());
    assert_eq!(ok(store.saga(saga(1)).await), row);
    let repeated = Change { ..project(1, ended(SagaStatus::Confirmed, 200)) };
    ok(store.commit(node, changes(vec![repeated])).await);
    assert_eq!(ok(store.purge(FOREVER, Millis(201), 100).await), 0);
    assert_eq!(ok(store.saga(saga(1)).await), None);
    assert!(ok(store.saga(saga(2)).await).is_some());
    ok(store.purge(FOREVER, FOREVER, 100).await);
    let answers = ok(store.commit(node, late(200)).await);
    assert_eq!(answers, [Started::New, Started::New, taken(3), taken(4), taken(5)]);
}

/// Oldest first.
pub async fn a_purge_stops_at_its_limit(store: Tested) {
    let node = begun(&store, 5).await;
    let all = (1..=5).map(|n| project(n, ended(SagaStatus::Confirmed, 1_000 - n as i64))).collect();
    ok(store.commit(node, changes(all)).await);
    assert_eq!(ok(store.purge(FOREVER, NEVER, 2).await), 2);
    let left = |journals: Vec<Vec<_>>| journals.iter().filter(|journal| !journal.is_empty()).count();
    assert_eq!(left(ok(store.journals((1..=5).map(saga).collect()).await)), 3);
    assert_eq!(journal_of(&store, 4).await, []);
    assert_eq!(ok(store.purge(FOREVER, NEVER, 3).await), 3);
    assert_eq!(ok(store.purge(FOREVER, FOREVER, 3).await), 0);
    let gone = [1, 2, 3, 4, 5].map(|n| store.saga(saga(n)));
    let mut rows = 0;
    for row in gone {
        rows += usize::from(ok(row.await).is_some());
    }
    assert_eq!(rows, 2);
}
