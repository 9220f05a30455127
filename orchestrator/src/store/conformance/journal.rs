//! Journals: gap-free, append-only, all of a batch or nothing of it.

use super::{
    Tested, append, begun, changes, entry, journal_of, name, ok, project, raise, row, saga, start, starts, timer,
    trying,
};
use crate::store::{
    AuditRow, Change, InboxItem, Incarnation, NodeId, SagaStatus, Shards, Start, Started, StoreError, TimerChange,
    holds,
};
use tercet_core::Millis;

/// Also for an id asked twice, and for one that is not known.
pub async fn journals_come_whole_and_in_the_order_asked(store: Tested) {
    let node = begun(&store, 3).await;
    let more = Change { entries: vec![entry(1, 2), entry(1, 3)], ..Change::default() };
    ok(store.commit(node, changes(vec![append(3, 2), more])).await);
    let found = ok(store.journals(vec![saga(3), saga(77), saga(1), saga(3)]).await);
    let third = vec![entry(3, 1), entry(3, 2)];
    assert_eq!(found, [third.clone(), Vec::new(), vec![entry(1, 1), entry(1, 2), entry(1, 3)], third]);
    assert_eq!(ok(store.journals(Vec::new()).await), Vec::<Vec<_>>::new());
}

/// A change that writes to every table.
fn busy(n: u64, seq: u32) -> Change {
    let at = Millis(500);
    Change {
        entries: vec![entry(n, seq)],
        projection: Some((saga(n), super::Projection { status: SagaStatus::Confirming, ..trying(500) })),
        timers: vec![TimerChange::Set(timer(n, "retry", 700))],
        taken: Vec::new(),
        put: vec![InboxItem { saga: saga(n), at, message: b"{}".to_vec() }],
        audit: vec![AuditRow { saga: saga(n), at, actor: "a".into(), action: "b".into(), reason: "c".into() }],
    }
}

/// Saga `n` is as [`begun`] left it, in every table.
async fn is_untouched(store: &Tested, n: u64) {
    assert_eq!(journal_of(store, n).await, [entry(n, 1)]);
    assert_eq!(ok(store.saga(saga(n)).await), Some(row(n, &format!("k{n}"))));
    assert_eq!(ok(store.timers_of(vec![saga(n)]).await), []);
    assert_eq!(ok(store.audit(saga(n)).await), []);
    assert_eq!(ok(store.inbox(Shards::ALL, Vec::new(), 10).await), []);
}

/// The error names a saga that was ahead, and no other saga of the batch, and no new one, is there.
pub async fn a_conflict_writes_nothing_of_its_batch(store: Tested) {
    let node = begun(&store, 3).await;
    ok(store.commit(node, changes(vec![append(2, 2)])).await);
    let batch = super::batch(vec![start(9, "k9")], vec![busy(1, 2), append(2, 2), busy(3, 2)]);
    let answer = store.commit(node, batch).await;
    assert!(matches!(answer, Err(StoreError::Conflict { saga: of }) if of == saga(2)), "{answer:?}");
    is_untouched(&store, 1).await;
    is_untouched(&store, 3).await;
    assert_eq!(ok(store.saga(saga(9)).await), None);
    assert_eq!(journal_of(&store, 9).await, []);
    let twice = store.commit(node, changes(vec![append(1, 2), append(1, 2)])).await;
    assert!(matches!(twice, Err(StoreError::Conflict { saga: of }) if of == saga(1)), "{twice:?}");
}

/// B08: after a commit whose answer was lost, the same entry is found to be there, and somebody else's is found to be another.
pub async fn b08_an_entry_written_before_is_recognised(store: Tested) {
    let node = begun(&store, 1).await;
    let mine = append(1, 2);
    ok(store.commit(node, changes(vec![mine.clone()])).await);
    let again = store.commit(node, changes(vec![mine.clone()])).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    let journal = journal_of(&store, 1).await;
    assert_eq!(journal.len(), 2);
    assert!(holds(&journal, &mine.entries));
    let mut others = mine.clone();
    others.entries[0].entry.push(b' ');
    assert!(!holds(&journal, &others.entries));
    let unwritten = append(1, 3);
    assert!(!holds(&journal, &unwritten.entries));
    ok(store.commit(node, changes(vec![unwritten])).await);
}

/// It is refused when written, or found corrupt when read; never handed out as a journal.
pub async fn a_gap_never_goes_unnoticed(store: Tested) {
    let node = begun(&store, 1).await;
    match store.commit(node, changes(vec![append(1, 3)])).await {
        Err(StoreError::Refused(_)) => assert_eq!(journal_of(&store, 1).await, [entry(1, 1)]),
        Ok(_) => {
            let read = store.journals(vec![saga(1)]).await;
            assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// A batch whose rows do not belong together is a bug of the caller's, and is not written.
pub async fn an_unsound_batch_is_refused(store: Tested) {
    let node = begun(&store, 2).await;
    let entries = |entries| Change { entries, ..Change::default() };
    let first = |entries, timers| Start { row: row(5, "k5"), entries, timers };
    for batch in [
        changes(vec![append(1, 2), entries(vec![entry(2, 2), entry(2, 4)])]),
        changes(vec![entries(vec![entry(1, 2), entry(2, 2)])]),
        changes(vec![append(1, 0)]),
        starts(vec![first(vec![entry(5, 2)], vec![])]),
        starts(vec![first(vec![], vec![])]),
        starts(vec![first(vec![entry(6, 1)], vec![])]),
        starts(vec![first(vec![entry(5, 1)], vec![timer(6, "deadline", 1)])]),
    ] {
        let answer = store.commit(node, batch).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    }
    is_untouched(&store, 1).await;
    is_untouched(&store, 2).await;
    assert_eq!(ok(store.saga(saga(5)).await), None);
}

/// Nor is the rest of its batch written.
pub async fn a_projection_of_nobody_is_refused(store: Tested) {
    let node = begun(&store, 1).await;
    let answer = store.commit(node, changes(vec![busy(1, 2), project(77, trying(5))])).await;
    assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    is_untouched(&store, 1).await;
}

/// A process that was taken over writes nothing any more: no batch, no timer.
pub async fn a_fenced_incarnation_changes_nothing(store: Tested) {
    let old = begun(&store, 1).await;
    let new = old.later(6);
    ok(store.raise(old, new).await);
    for node in [old, new.later(0), Incarnation::first(NodeId(-1))] {
        let batch = super::batch(vec![start(2, "k2")], vec![busy(1, 2)]);
        let answer = store.commit(node, batch).await;
        assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
        let answer = store.set_timers(node, vec![TimerChange::Set(timer(1, "retry", 5))]).await;
        assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    }
    is_untouched(&store, 1).await;
    assert_eq!(ok(store.saga(saga(2)).await), None);
    ok(store.commit(new, changes(vec![append(1, 2)])).await);
}

/// Who has not joined may not write. A raise whose answer was lost may be tried again; another's is not taken for it.
pub async fn incarnations_only_rise(store: Tested) {
    let nobody = Incarnation::first(NodeId(-1));
    let answer = store.commit(nobody, starts(vec![start(1, "k1")])).await;
    assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    let answer = store.raise(nobody, nobody.later(0)).await;
    assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    let first = raise(&store).await;
    let (second, other) = (first.later(17), first.later(18));
    ok(store.raise(first, second).await);
    ok(store.raise(first, second).await);
    let answer = store.raise(first, other).await;
    assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    let overtaken = store.commit(first, starts(vec![start(1, "k1")])).await;
    assert!(matches!(overtaken, Err(StoreError::Fenced)), "{overtaken:?}");
    ok(store.commit(second, starts(vec![start(1, "k1")])).await);
}

/// More rows in every table than a statement can bind: 32,766 values on SQLite, 65,535 on servers.
pub async fn a_batch_beyond_every_limit_is_written_whole(store: Tested) {
    let node = raise(&store).await;
    let many = 17_000;
    let at = Millis(1);
    let all = (1..=4_200).map(|n| start(n, &format!("k{n}"))).collect();
    assert_eq!(ok(store.commit(node, starts(all)).await), vec![Started::New; 4_200]);
    ok(store.deliver(vec![InboxItem { saga: saga(1), at, message: b"old".to_vec() }; many]).await);
    let taken: Vec<_> =
        ok(store.inbox(Shards::ALL, Vec::new(), u32::MAX).await).into_iter().map(|(id, _)| id).collect();
    assert_eq!(taken.len(), many);
    let mut all: Vec<Change> = (1..=4_200).map(|n| project(n, trying(200))).collect();
    let audit = AuditRow { saga: saga(1), at, actor: "a".into(), action: "b".into(), reason: "c".into() };
    all.push(Change {
        entries: (2..=many as u32 + 1).map(|seq| entry(1, seq)).collect(),
        projection: None,
        timers: (0..many as i64).map(|i| TimerChange::Set(timer(1, &format!("t{i:05}"), i))).collect(),
        taken: taken.clone(),
        put: vec![InboxItem { saga: saga(2), at, message: b"new".to_vec() }; many],
        audit: vec![audit; 13_200],
    });
    ok(store.commit(node, changes(all)).await);
    assert_eq!(journal_of(&store, 1).await.len(), many + 1);
    let rows = ok(store.list(super::super::Filter::default(), None, u32::MAX).await);
    assert!(rows.len() == 4_200 && rows.iter().all(|row| row.projection.updated == Millis(200)));
    assert_eq!(ok(store.timers_due(Shards::ALL, None, Millis(i64::MAX), u32::MAX).await).len(), many);
    let put = ok(store.inbox(Shards::ALL, taken, u32::MAX).await);
    assert!(put.len() == many && put.iter().all(|(_, item)| item.message == b"new"));
    assert_eq!(ok(store.audit(saga(1)).await).len(), 13_200);
    let clear = (0..many).map(|i| TimerChange::Clear(saga(1), timer(1, &format!("t{i:05}"), 0).name)).collect();
    ok(store.set_timers(node, clear).await);
    assert_eq!(ok(store.timers_of((1..=4_200).map(saga).collect()).await), []);
    assert_eq!(ok(store.journals((1..=4_200).map(saga).collect()).await).len(), 4_200);
    let again = (1..=4_200).map(|n| start(n + 10_000, &format!("k{n}"))).collect();
    let lost = ok(store.commit(node, starts(again)).await);
    assert!(lost.iter().zip(1..).all(|(became, n)| *became == Started::Taken { by: saga(n), same_payload: true }));
}

/// An escaped NUL, quotes, every plane of Unicode, a long key, bytes that are no text.
pub async fn text_is_kept_byte_for_byte(store: Tested) {
    let node = raise(&store).await;
    let text = "{\"a\":\"\\u0000\", \"b\" :'\"\u{1F980}e\u{301} \u{10FFFF}?1 -- \r\n\t\"}";
    let key = format!("é'\"%_🦀{}", "k".repeat(200 - 10));
    assert_eq!(key.len(), 200);
    let mut new = start(1, &key);
    new.row.projection.output = Some(text.to_owned());
    new.entries[0].entry = (0..=255).chain(text.bytes()).collect();
    new.timers = vec![timer(1, text, 5)];
    ok(store.commit(node, starts(vec![new.clone()])).await);
    assert_eq!(ok(store.find(name("default"), name("chain"), name(&key)).await), Some(new.row.clone()));
    assert_eq!(journal_of(&store, 1).await, new.entries);
    assert_eq!(ok(store.timers_due(Shards::ALL, None, Millis(6), 1).await), new.timers);
    let upper = ok(store.find(name("default"), name("chain"), name(&key.to_uppercase().replace('É', "é"))).await);
    assert_eq!(upper, None, "keys that differ in case are different keys");
    let projection = super::Projection { output: Some(format!("{text} ")), ..trying(9) };
    let audit = AuditRow { saga: saga(1), at: Millis(9), actor: text.into(), action: text.into(), reason: text.into() };
    let change = Change { audit: vec![audit.clone()], ..project(1, projection.clone()) };
    ok(store.commit(node, changes(vec![change])).await);
    assert_eq!(ok(store.saga(saga(1)).await).map(|row| row.projection), Some(projection));
    assert_eq!(ok(store.audit(saga(1)).await), [audit]);
}

/// U+0000 is in no JSON text and in no name, and PostgreSQL keeps none: every store refuses it alike, and nothing of its batch is written.
pub async fn a_text_that_some_database_would_refuse_is_refused(store: Tested) {
    let node = begun(&store, 1).await;
    let output = super::Projection { output: Some("\0".to_owned()), ..trying(9) };
    let audit = |actor: &str, action: &str, reason: &str| Change {
        audit: vec![AuditRow {
            saga: saga(1),
            at: Millis(9),
            actor: actor.into(),
            action: action.into(),
            reason: reason.into(),
        }],
        ..Change::default()
    };
    let mut begins = start(2, "k2");
    begins.row.projection.output = Some("\0".to_owned());
    let named = Change { timers: vec![TimerChange::Set(timer(1, "\0", 5))], ..Change::default() };
    for batch in [
        changes(vec![append(1, 2), project(1, output)]),
        changes(vec![append(1, 2), audit("\0", "b", "c")]),
        changes(vec![append(1, 2), audit("a", "\0", "c")]),
        changes(vec![append(1, 2), audit("a", "b", "\0")]),
        changes(vec![append(1, 2), named]),
        starts(vec![begins]),
    ] {
        let answer = store.commit(node, batch).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    }
    is_untouched(&store, 1).await;
    assert_eq!(ok(store.saga(saga(2)).await), None);
}

/// A saga may act twice before its batch is written.
pub async fn several_changes_of_one_saga_count_in_order(store: Tested) {
    let node = begun(&store, 2).await;
    let last = super::Projection { status: SagaStatus::Cancelling, ..trying(300) };
    let first = Change { entries: vec![entry(1, 2), entry(1, 3)], ..project(1, trying(200)) };
    let second = Change { entries: vec![entry(1, 4)], ..project(1, last.clone()) };
    ok(store.commit(node, changes(vec![first, append(2, 2), second])).await);
    assert_eq!(ok(store.saga(saga(1)).await).map(|row| row.projection), Some(last));
    assert_eq!(journal_of(&store, 1).await.len(), 4);
}
