//! Timers: ordered by due time, one row for a name.

use super::{Tested, begun, changes, ok, saga, timer};
use crate::store::{Change, Shards, TimerChange, TimerName, TimerRow};
use tercet_core::Millis;

fn names(timers: &[TimerRow]) -> Vec<&str> {
    timers.iter().map(|timer| timer.name.0.as_str()).collect()
}

fn set(timers: Vec<TimerRow>) -> Vec<TimerChange> {
    timers.into_iter().map(TimerChange::Set).collect()
}

fn clear(n: u64, name: &str) -> TimerChange {
    TimerChange::Clear(saga(n), TimerName(name.to_owned()))
}

/// What is due at `until` is not due before it.
pub async fn timers_come_soonest_first_up_to_a_limit(store: Tested) {
    let node = begun(&store, 2).await;
    let all = vec![timer(1, "c", 300), timer(2, "a", 100), timer(1, "d", 400), timer(2, "b", 200), timer(1, "a", 100)];
    ok(store.set_timers(node, set(all)).await);
    let due = ok(store.timers_due(Shards::ALL, None, Millis(400), 10).await);
    assert_eq!(names(&due), ["a", "a", "b", "c"]);
    assert_eq!([due[0].saga, due[1].saga], [saga(1), saga(2)]);
    assert_eq!(names(&ok(store.timers_due(Shards::ALL, None, Millis(401), 3).await)), ["a", "a", "b"]);
    assert_eq!(ok(store.timers_due(Shards::ALL, None, Millis(100), 10).await), []);
    assert_eq!(ok(store.timers_due(Shards::ALL, None, Millis(i64::MAX), 0).await), []);
}

/// Setting one again is how a retry moves on; clearing one that is not there is nothing.
pub async fn a_timer_is_moved_by_setting_and_gone_by_clearing(store: Tested) {
    let node = begun(&store, 1).await;
    ok(store.set_timers(node, set(vec![timer(1, "retry", 100), timer(1, "deadline", 150)])).await);
    let moved = TimerRow { attempt: 7, ..timer(1, "retry", 200) };
    ok(store.set_timers(node, set(vec![moved.clone()])).await);
    assert_eq!(ok(store.timers_due(Shards::ALL, None, Millis(999), 10).await), [timer(1, "deadline", 150), moved]);
    let gone = Change { timers: vec![clear(1, "retry"), clear(1, "never")], ..Change::default() };
    ok(store.commit(node, changes(vec![gone])).await);
    assert_eq!(names(&ok(store.timers_due(Shards::ALL, None, Millis(999), 10).await)), ["deadline"]);
}

/// Within one batch, across the changes in it.
pub async fn of_several_changes_to_one_timer_the_last_counts(store: Tested) {
    let node = begun(&store, 1).await;
    let first = vec![
        TimerChange::Set(timer(1, "a", 1)),
        TimerChange::Set(timer(1, "a", 2)),
        TimerChange::Set(timer(1, "b", 1)),
        clear(1, "c"),
    ];
    let second = vec![clear(1, "b"), TimerChange::Set(timer(1, "c", 3))];
    let change = |timers| Change { timers, ..Change::default() };
    ok(store.commit(node, changes(vec![change(first), change(second)])).await);
    assert_eq!(ok(store.timers_of(vec![saga(1)]).await), [timer(1, "a", 2), timer(1, "c", 3)]);
}

/// Each saga's once, however often it is asked for.
pub async fn timers_of_sagas_come_by_saga_and_name(store: Tested) {
    let node = begun(&store, 3).await;
    let all = vec![timer(3, "b", 1), timer(1, "z", 2), timer(3, "a", 3), timer(2, "q", 4)];
    ok(store.set_timers(node, set(all)).await);
    let found = ok(store.timers_of(vec![saga(3), saga(1), saga(3), saga(77)]).await);
    assert_eq!(found, [timer(1, "z", 2), timer(3, "a", 3), timer(3, "b", 1)]);
}

/// Timers that share a moment are paged through like all others, so that stale ones starve none.
///
/// # Panics
/// When one is left out or comes twice.
pub async fn timers_are_walked_page_by_page(store: Tested) {
    let (node, mut changes) = (begun(&store, 25).await, Vec::new());
    for number in 0..25_u64 {
        for name in ["a", "b"] {
            changes.push(TimerChange::Set(timer(number, name, 100 + (number / 10) as i64)));
        }
    }
    ok(store.set_timers(node, changes).await);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = ok(store.timers_due(Shards::ALL, after, Millis(102), 7).await);
        after = page.last().cloned();
        found.extend(page);
        if after.is_none() {
            break;
        }
    }
    let mut once = found.clone();
    once.dedup();
    assert_eq!((found.len(), once.len()), (40, 40), "all that are due before 102, each once: {:?}", names(&found));
}
