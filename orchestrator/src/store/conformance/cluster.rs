//! Several nodes on one store: leases, who owns which shard, and reads by shard. For stores that have a [`Cluster`].

use super::{Tested, append, begun, changes, entry, name, ok, saga, start, starts, timer, trying};
use crate::store::{
    Change, Cluster, InboxItem, Incarnation, JournalRow, NodeId, NodeInfo, Shards, Start, Started, StoreError, View,
};
use std::{collections::BTreeSet, time::Duration};
use tercet_core::{Millis, SagaId, ShardId};

const LONG: Duration = Duration::from_secs(3_600);

fn cluster(store: &Tested) -> &dyn Cluster {
    store.cluster().unwrap_or_else(|| panic!("the store is not one that nodes share"))
}

async fn join(store: &Tested, node: i64, lease: Duration) -> Incarnation {
    let first = Incarnation::first(NodeId(node));
    let definitions = vec![(name("chain"), 1), (name("chain"), 2)];
    ok(store.join(first, NodeInfo { label: format!("node {node}"), definitions }, lease).await);
    first
}

async fn view(store: &Tested, node: i64) -> View {
    ok(cluster(store).renew(NodeId(node), LONG).await);
    ok(cluster(store).view().await)
}

fn shards(range: std::ops::Range<u16>) -> Shards {
    range.filter_map(ShardId::new).collect()
}

fn is_fenced<T: std::fmt::Debug>(answer: &Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
}

/// A node says of itself what the others read, and is there once however often it joins.
pub async fn nodes_see_each_other(store: Tested) {
    for (node, times) in [(7, 1), (-3, 2)] {
        for _ in 0..times {
            join(&store, node, LONG).await;
        }
    }
    let seen = view(&store, 7).await;
    let labels: Vec<_> = seen.members.iter().map(|member| (member.node.0, member.info.label.as_str())).collect();
    assert_eq!(labels, [(-3, "node -3"), (7, "node 7")]);
    assert_eq!(seen.members[0].info.definitions, [(name("chain"), 1), (name("chain"), 2)]);
    assert!(seen.members.iter().all(|member| member.until > seen.now), "{seen:?}");
    assert!(seen.owners.is_empty(), "{:?}", seen.owners);
    is_fenced(&cluster(&store).renew(NodeId(99), LONG).await);
}

/// Before its lease has run out nobody takes a node over; after it, it writes nothing more.
pub async fn b11_a_node_is_taken_over_when_its_lease_has_run_out_and_not_before(store: Tested) {
    let alive = join(&store, 1, LONG).await;
    let dead = join(&store, 2, Duration::ZERO).await;
    ok(store.commit(dead, starts(vec![start(1, "k1")])).await);
    ok(cluster(&store).claim(dead.node, shards(0..5)).await);
    assert!(!ok(cluster(&store).take_over(alive.node).await));
    assert!(ok(cluster(&store).take_over(dead.node).await));
    assert!(!ok(cluster(&store).take_over(dead.node).await), "it was taken over twice");
    is_fenced(&store.commit(dead, changes(vec![append(1, 2)])).await);
    is_fenced(&store.set_timers(dead, Vec::new()).await);
    is_fenced(&store.raise(dead, dead.later(3)).await);
    is_fenced(&cluster(&store).renew(dead.node, LONG).await);
    is_fenced(&cluster(&store).claim(dead.node, Shards::ALL).await);
    is_fenced(&cluster(&store).give(dead.node, vec![(alive.node, shards(0..5))]).await);
    assert_eq!(ok(store.journals(vec![saga(1)]).await), [[entry(1, 1)]]);
    ok(store.commit(alive, changes(vec![append(1, 2)])).await);
    assert_eq!(view(&store, 1).await.members.len(), 1);
}

/// A node that prolongs its lease in time is there.
pub async fn a_renewed_lease_holds(store: Tested) {
    let late = join(&store, 1, Duration::ZERO).await;
    view(&store, 1).await;
    assert!(!ok(cluster(&store).take_over(late.node).await));
    ok(store.commit(late, starts(vec![start(1, "k1")])).await);
}

/// Only what is nobody's can be claimed; only one's own given.
pub async fn a_shard_has_one_owner(store: Tested) {
    let (one, other) = (join(&store, 1, LONG).await.node, join(&store, 2, LONG).await.node);
    ok(cluster(&store).claim(one, shards(0..600)).await);
    ok(cluster(&store).claim(other, shards(500..1_024)).await);
    let owned = view(&store, 1).await;
    assert_eq!((owned.owned_by(one), owned.owned_by(other)), (shards(0..600), shards(600..1_024)));
    ok(cluster(&store).give(other, vec![(other, shards(0..10)), (one, shards(590..610))]).await);
    let given = view(&store, 1).await;
    assert_eq!((given.owned_by(one), given.owned_by(other)), (shards(0..610), shards(610..1_024)));
    assert_eq!(given.owned_by_none(), Shards::NONE);
}

/// What a node owned that has left, was taken over or never joined is free.
pub async fn what_a_node_that_is_gone_owned_may_be_claimed(store: Tested) {
    let (one, other) = (join(&store, 1, LONG).await.node, join(&store, 2, Duration::ZERO).await.node);
    ok(cluster(&store).claim(one, shards(0..500)).await);
    ok(cluster(&store).claim(other, shards(500..1_000)).await);
    ok(cluster(&store).give(one, vec![(NodeId(77), shards(0..100))]).await);
    let third = join(&store, 3, LONG).await.node;
    assert!(ok(cluster(&store).take_over(other).await));
    assert_eq!(view(&store, 3).await.owned_by_none(), shards(0..100).with(&shards(500..1_024)));
    ok(cluster(&store).leave(one).await);
    ok(cluster(&store).leave(one).await);
    ok(cluster(&store).claim(third, Shards::ALL).await);
    assert_eq!(view(&store, 3).await.owned_by(third), Shards::ALL);
    is_fenced(&cluster(&store).renew(one, LONG).await);
}

/// So that the others notice, without reading it all.
pub async fn every_change_of_ownership_changes_the_version(store: Tested) {
    let mut seen = BTreeSet::new();
    let mut note = async |store: &Tested| assert!(seen.insert(ok(cluster(store).version().await)), "nothing changed");
    note(&store).await;
    let (one, other) = (join(&store, 1, LONG).await.node, join(&store, 2, Duration::ZERO).await.node);
    note(&store).await;
    ok(cluster(&store).claim(one, Shards::ALL).await);
    note(&store).await;
    ok(cluster(&store).give(one, vec![(other, shards(0..1))]).await);
    note(&store).await;
    assert!(ok(cluster(&store).take_over(other).await));
    note(&store).await;
    ok(cluster(&store).leave(one).await);
    note(&store).await;
    let before = ok(cluster(&store).version().await);
    join(&store, 5, LONG).await;
    let joined = ok(cluster(&store).version().await);
    view(&store, 5).await;
    assert_eq!((before == joined, ok(cluster(&store).version().await)), (false, joined));
}

/// The n-th saga, in that shard.
fn in_shard(n: u64, shard: u16) -> SagaId {
    SagaId::from_parts(n, [0xff; 10], ShardId::new(shard).unwrap_or(ShardId::FIRST))
}

/// Unfinished sagas, timers and inboxes are read by their shards: together all, none twice.
pub async fn b17_what_is_read_is_of_the_shards_asked_for(store: Tested) {
    let node = begun(&store, 1).await;
    let all: Vec<SagaId> = (0..64).map(|n| in_shard(n, (n * 67 % 1_024) as u16)).collect();
    let start_of = |(n, &id): (usize, &SagaId)| {
        let mut new = start(n as u64, &format!("s{n}"));
        (new.row.id, new.row.projection) = (id, trying(1));
        let entries = vec![JournalRow { saga: id, ..entry(1, 1) }];
        Start { entries, timers: vec![crate::store::TimerRow { saga: id, ..timer(1, "t", 5) }], ..new }
    };
    let batch = starts(all.iter().enumerate().map(start_of).collect());
    assert_eq!(ok(store.commit(node, batch).await), vec![Started::New; 64]);
    ok(store.commit(node, changes(vec![Change { projection: None, ..append(1, 2) }])).await);
    let item = |&saga: &SagaId| InboxItem { saga, at: Millis(1), message: b"{}".to_vec() };
    ok(store.deliver(all.iter().map(item).collect()).await);
    for of in [Shards::NONE, shards(0..1), shards(255..257), shards(0..512), shards(512..1_024), shards(3..1_021)] {
        let right: BTreeSet<SagaId> = all.iter().copied().filter(|saga| of.have(*saga)).collect();
        let unfinished: Vec<SagaId> = ok(store.unfinished(of, None, 99).await);
        let timers = ok(store.timers_due(of, None, Millis(9), 99).await);
        let inbox = ok(store.inbox(of, Vec::new(), 99).await);
        let ids = [
            unfinished.into_iter().filter(|id| *id != saga(1)).collect::<Vec<_>>(),
            timers.iter().map(|timer| timer.saga).collect(),
            inbox.iter().map(|(_, item)| item.saga).collect(),
        ];
        for found in ids {
            assert_eq!(found.len(), right.len(), "{of:?}");
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), right, "{of:?}");
        }
        if let Some(last) = right.last() {
            let rest = ok(store.unfinished(of, Some(*last), 99).await);
            assert!(rest.iter().all(|id| *id == saga(1)), "{rest:?}");
        }
    }
}

/// Only a shard's owner lends what is in it, and only whom it was lent to gives it back.
pub async fn a_saga_is_lent_by_the_owner_of_its_shard(store: Tested) {
    let (one, other) = (join(&store, 1, LONG).await.node, join(&store, 2, LONG).await.node);
    ok(cluster(&store).claim(one, shards(0..512)).await);
    let (own, not_own) = (in_shard(1, 3), in_shard(2, 700));
    let third = join(&store, 3, LONG).await.node;
    let lent = ok(cluster(&store).lend(one, vec![(own, other), (not_own, other), (in_shard(3, 3), NodeId(77))]).await);
    assert_eq!(lent, [own], "not another's saga, nor to a node that is not there");
    assert_eq!(view(&store, 1).await.lent.into_iter().collect::<Vec<_>>(), [(own, other)]);
    let before = ok(cluster(&store).version().await);
    assert_eq!(ok(cluster(&store).lend(one, vec![(own, third)]).await), [own]);
    ok(cluster(&store).give_back(other, vec![own]).await);
    assert_eq!(view(&store, 1).await.lent.into_iter().collect::<Vec<_>>(), [(own, third)]);
    assert_ne!(ok(cluster(&store).version().await), before);
    ok(cluster(&store).give_back(other, vec![own]).await);
    let item = |saga, text: &str| InboxItem { saga, at: Millis(1), message: text.as_bytes().to_vec() };
    ok(store.deliver(vec![item(own, "a"), item(not_own, "b"), item(own, "c")]).await);
    let found = ok(cluster(&store).inbox_of(vec![own], Vec::new(), 9).await);
    assert_eq!(found.iter().map(|(_, item)| item.message.as_slice()).collect::<Vec<_>>(), [b"a", b"c"]);
    let rest = ok(cluster(&store).inbox_of(vec![own, not_own], vec![found[0].0], 1).await);
    assert_eq!(rest[0].1, item(not_own, "b"));
    ok(cluster(&store).leave(third).await);
    assert!(view(&store, 1).await.lent.is_empty(), "a loan ends with its borrower");
}

/// An answer is handed out once; one that nobody asked for goes in time.
pub async fn an_answer_reaches_the_node_that_asked(store: Tested) {
    let cluster = cluster(&store);
    for (ticket, answer) in [(1, "one"), (1, "again"), (-2, "two"), (3, "old")] {
        ok(cluster.answer(ticket, Millis(ticket.abs() * 10), answer.as_bytes().to_vec()).await);
    }
    assert_eq!(ok(cluster.answers(Vec::new(), Millis(0)).await), []);
    assert_eq!(ok(cluster.answers(vec![9], Millis(0)).await), []);
    assert_eq!(ok(cluster.answers(vec![1, 9], Millis(15)).await), [(1, b"one".to_vec())]);
    let mut rest = ok(cluster.answers(vec![1, -2, 3], Millis(25)).await);
    rest.sort();
    assert_eq!(rest, [(-2, b"two".to_vec()), (3, b"old".to_vec())]);
}
