//! Starts: one saga for a key, whoever asks and how often.

use super::{Tested, append, begun, entry, journal_of, name, ok, raise, row, saga, start, starts, timer};
use crate::store::{Shards, Started, StoreError};
use std::sync::Arc;
use tercet_core::{Millis, PayloadHash};

/// A new saga has its row, found by id and by key, its entries and its timers.
pub async fn a_start_is_there_with_its_entries_and_timers(store: Tested) {
    let node = raise(&store).await;
    let mut new = start(1, "order-7");
    new.row.parent = Some((saga(99), name("lines[3].restock")));
    new.row.projection.wakes = Some(Millis(5_000));
    new.row.projection.output = Some("null".to_owned());
    new.row.version = u32::MAX;
    new.entries.push(entry(1, 2));
    new.timers = vec![timer(1, "deadline", 900)];
    assert_eq!(ok(store.commit(node, starts(vec![new.clone()])).await), [Started::New]);
    assert_eq!(ok(store.saga(saga(1)).await), Some(new.row.clone()));
    assert_eq!(ok(store.find(name("default"), name("chain"), name("order-7")).await), Some(new.row));
    assert_eq!(journal_of(&store, 1).await, new.entries);
    assert_eq!(ok(store.timers_of(vec![saga(1)]).await), new.timers);
    assert_eq!(ok(store.saga(saga(2)).await), None);
    assert_eq!(ok(store.find(name("default"), name("chain"), name("order-8")).await), None);
}

/// The loser learns the owner, and whether it asked for the same; it writes nothing.
pub async fn a_taken_key_answers_its_owner_and_tells_payloads_apart(store: Tested) {
    let node = begun(&store, 1).await;
    let same = start(2, "k1");
    let mut other = start(3, "k1");
    other.row.payload_hash = PayloadHash([8; 32]);
    let answers = ok(store.commit(node, starts(vec![other, same, start(4, "k4")])).await);
    let taken = |same_payload| Started::Taken { by: saga(1), same_payload };
    assert_eq!(answers, [taken(false), taken(true), Started::New]);
    for loser in [2, 3] {
        assert_eq!(ok(store.saga(saga(loser)).await), None);
        assert_eq!(journal_of(&store, loser).await, []);
    }
}

/// Also within one batch, in the batch's order.
pub async fn of_two_starts_under_one_key_the_first_wins(store: Tested) {
    let node = raise(&store).await;
    let mut second = start(1, "k");
    second.row.payload_hash = PayloadHash([8; 32]);
    second.timers = vec![timer(1, "deadline", 900)];
    let answers = ok(store.commit(node, starts(vec![start(2, "k"), second, start(3, "k")])).await);
    let taken = |same_payload| Started::Taken { by: saga(2), same_payload };
    assert_eq!(answers, [Started::New, taken(false), taken(true)]);
    assert_eq!(journal_of(&store, 1).await, []);
    assert_eq!(ok(store.timers_of(vec![saga(1)]).await), []);
}

/// B26: two hundred callers at once, each with an id of its own.
pub async fn b26_two_hundred_starts_of_one_key_make_one_saga(store: Tested) {
    let node = raise(&store).await;
    let mut callers = tokio::task::JoinSet::new();
    for n in 1..=200 {
        let store = Arc::clone(&store);
        callers.spawn(async move { (n, ok(store.commit(node, starts(vec![start(n, "order-7")])).await).remove(0)) });
    }
    let answers = callers.join_all().await;
    let won: Vec<u64> = answers.iter().filter(|(_, became)| *became == Started::New).map(|(n, _)| *n).collect();
    assert_eq!(won.len(), 1, "{won:?}");
    let owner = saga(won[0]);
    let losers = answers.iter().filter(|(_, became)| *became == Started::Taken { by: owner, same_payload: true });
    assert_eq!(losers.count(), 199);
    assert_eq!(ok(store.unfinished(Shards::ALL, None, 1_000).await), [owner]);
    let all = ok(store.journals((1..=200).map(saga).collect()).await);
    assert_eq!(all.iter().filter(|journal| !journal.is_empty()).count(), 1);
}

/// So a caller that does not know whether its batch was written may send it again.
pub async fn a_start_sent_again_is_answered_by_its_own_id(store: Tested) {
    let node = begun(&store, 1).await;
    let again = ok(store.commit(node, starts(vec![start(1, "k1")])).await);
    assert_eq!(again, [Started::Taken { by: saga(1), same_payload: true }]);
    assert_eq!(journal_of(&store, 1).await, [entry(1, 1)]);
    let twice = ok(store.commit(node, starts(vec![start(2, "k2"), start(2, "k2")])).await);
    assert_eq!(twice, [Started::New, Started::Taken { by: saga(2), same_payload: true }]);
}

/// One key names as many sagas as there are namespaces and definitions; a version makes no difference.
pub async fn keys_are_apart_by_namespace_and_definition(store: Tested) {
    let node = begun(&store, 1).await;
    let mut elsewhere = start(2, "k1");
    elsewhere.row.namespace = name("other");
    let mut another = start(3, "k1");
    another.row.definition = name("relay");
    let mut newer = start(4, "k1");
    newer.row.version = 2;
    let answers = ok(store.commit(node, starts(vec![elsewhere, another, newer])).await);
    assert_eq!(answers, [Started::New, Started::New, Started::Taken { by: saga(1), same_payload: true }]);
    assert_eq!(ok(store.find(name("other"), name("chain"), name("k1")).await).map(|row| row.id), Some(saga(2)));
}

/// Two sagas never share an id: the batch is refused whole.
pub async fn an_id_that_another_key_has_is_a_conflict(store: Tested) {
    let node = begun(&store, 1).await;
    let answer = store.commit(node, starts(vec![start(5, "k5"), start(1, "other")])).await;
    assert!(matches!(answer, Err(StoreError::Conflict { saga: of }) if of == saga(1)), "{answer:?}");
    assert_eq!(ok(store.saga(saga(5)).await), None);
    assert_eq!(ok(store.saga(saga(1)).await), Some(row(1, "k1")));
}

/// A lost start is not the fault of the others in its batch.
pub async fn a_losing_start_leaves_the_rest_standing(store: Tested) {
    let node = begun(&store, 1).await;
    let batch = super::batch(vec![start(2, "k1"), start(3, "k3")], vec![append(1, 2), append(3, 2)]);
    let answers = ok(store.commit(node, batch).await);
    assert_eq!(answers, [Started::Taken { by: saga(1), same_payload: true }, Started::New]);
    assert_eq!(journal_of(&store, 1).await.len(), 2);
    assert_eq!(journal_of(&store, 3).await, [entry(3, 1), entry(3, 2)]);
}
