//! Several nodes on one store in memory, on a clock that is its own.

use super::{Contents, MemoryStore, Signature};
use crate::store::{
    Batch, Cluster, InboxId, InboxItem, Incarnation, Member, NodeId, NodeInfo, Shards, Started, StoreError, Stored,
    View,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tercet_core::{Millis, SagaId, ShardId, canary::broken};

/// A clock as a database has one.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Who is there, and who owns what.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    numbers: BTreeMap<NodeId, i64>,
    leases: BTreeMap<NodeId, (Millis, NodeInfo)>,
    owners: BTreeMap<NodeId, Shards>,
    lent: BTreeMap<SagaId, NodeId>,
    version: i64,
    answers: BTreeMap<i64, (Millis, Vec<u8>)>,
}

impl Nodes {
    pub(super) fn fence(&self, as_node: Incarnation) -> Result<(), StoreError> {
        let is_newest = self.numbers.get(&as_node.node) == Some(&as_node.number);
        if is_newest || broken("fence_is_not_compared") { Ok(()) } else { Err(StoreError::Fenced) }
    }

    fn is_here(&self, node: NodeId) -> Result<(), StoreError> {
        if self.numbers.contains_key(&node) { Ok(()) } else { Err(StoreError::Fenced) }
    }

    /// `until`: the end of its lease, where there are leases; where there are none, the others are gone.
    pub(super) fn join(&mut self, first: Incarnation, info: NodeInfo, until: Option<Millis>) {
        self.version += 1;
        match until {
            Some(until) => drop(self.leases.insert(first.node, (until, info))),
            None => self.numbers.clear(),
        }
        self.numbers.insert(first.node, first.number);
    }

    pub(super) fn raise(&mut self, from: Incarnation, to: Incarnation) -> Result<(), StoreError> {
        match self.numbers.get_mut(&from.node) {
            Some(number) if *number == from.number || *number == to.number => {
                *number = to.number;
                Ok(())
            }
            _ => Err(StoreError::Fenced),
        }
    }

    fn end(&mut self, node: NodeId) {
        self.version += 1;
        self.numbers.remove(&node);
        self.leases.remove(&node);
        self.lent.retain(|_, to| *to != node);
    }

    fn owner(&self, shard: ShardId) -> Option<NodeId> {
        self.owners.iter().find(|(_, owned)| owned.contains(shard)).map(|(node, _)| *node)
    }

    fn view(&self, now: Millis) -> View {
        let member =
            |(&node, (until, info)): (&NodeId, &(Millis, NodeInfo))| Member { node, info: info.clone(), until: *until };
        View {
            now,
            members: self.leases.iter().map(member).collect(),
            owners: self.owners.clone(),
            lent: self.lent.clone(),
        }
    }

    fn claim(&mut self, node: NodeId, shards: Shards) -> Result<(), StoreError> {
        self.is_here(node)?;
        self.version += 1;
        let numbers = &self.numbers;
        self.owners.retain(|owner, _| numbers.contains_key(owner));
        let free = self.owners.values().fold(shards, |free, owned| free.without(owned));
        let own = self.owners.entry(node).or_default();
        *own = own.with(&free);
        Ok(())
    }

    fn lend(&mut self, node: NodeId, loans: Vec<(SagaId, NodeId)>) -> Result<Vec<SagaId>, StoreError> {
        self.is_here(node)?;
        self.version += 1;
        let own = self.owners.get(&node).copied().unwrap_or_default();
        let here = |to: &NodeId| self.numbers.contains_key(to);
        let loans: Vec<_> = loans.into_iter().filter(|(saga, to)| own.have(*saga) && here(to)).collect();
        let lent = loans.iter().map(|(saga, _)| *saga).collect();
        self.lent.extend(loans);
        Ok(lent)
    }

    fn give(&mut self, node: NodeId, shares: Vec<(NodeId, Shards)>) -> Result<(), StoreError> {
        self.is_here(node)?;
        self.version += 1;
        for (to, shards) in shares {
            let own = self.owners.entry(node).or_default();
            let given = own.without(&own.without(&shards));
            *own = own.without(&given);
            let theirs = self.owners.entry(to).or_default();
            *theirs = theirs.with(&given);
        }
        Ok(())
    }
}

impl Contents {
    /// The node that works on a saga now, under its newest number: the one that it is lent to, or whose its shard is. Nobody, where
    /// that one is gone.
    #[must_use]
    pub fn owner(&self, saga: SagaId) -> Option<Incarnation> {
        let here = |node: NodeId| self.nodes.numbers.get(&node).map(|&number| Incarnation { node, number });
        let borrower = self.nodes.lent.get(&saga).and_then(|node| here(*node));
        borrower.or_else(|| here(self.nodes.owner(saga.shard())?))
    }

    /// The saga whose owner writes an entry: a child is begun by its parent's, who may have the parent on loan alone.
    fn writes(&self, saga: SagaId, seq: u32) -> SagaId {
        let parent = self.sagas.get(&saga).and_then(|row| row.parent.as_ref()).filter(|_| seq == 1);
        parent.map_or(saga, |(parent, _)| *parent)
    }

    /// Commits, and keeps who has written what.
    pub(super) fn commit_signed(&mut self, by: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
        let begun = self.written.len();
        let started = self.commit(by, batch)?;
        let signed = self.written[begun..].iter();
        let signed = signed.map(|&(saga, seq)| Signature { by, owner: self.owner(self.writes(saga, seq)) });
        let signed: Vec<_> = signed.collect();
        self.signed.extend(signed);
        Ok(started)
    }

    /// The cluster, while the store's clock shows `now`.
    #[must_use]
    pub fn view(&self, now: Millis) -> View {
        self.nodes.view(now)
    }
}

impl MemoryStore {
    /// An empty store that several nodes share, whose time is `clock`'s.
    #[must_use]
    pub fn shared(clock: Clock) -> Self {
        Self { clock: Some(clock), ..Self::default() }
    }

    pub(super) fn now(&self) -> Option<Millis> {
        self.clock.as_ref().map(|clock| clock())
    }

    fn change<'a, T: Send + 'a>(
        &'a self, change: impl FnOnce(&mut Nodes, Millis) -> Result<T, StoreError> + Send + 'a,
    ) -> Stored<'a, T> {
        self.ask(move |all: &mut Contents| change(&mut all.nodes, self.now().unwrap_or_default()))
    }
}

impl Cluster for MemoryStore {
    fn renew(&self, node: NodeId, lease: Duration) -> Stored<'_, ()> {
        self.change(move |nodes, now| {
            let held = nodes.leases.get_mut(&node).ok_or(StoreError::Fenced)?;
            held.0 = now.plus(lease);
            Ok(())
        })
    }

    fn view(&self) -> Stored<'_, View> {
        self.change(|nodes, now| Ok(nodes.view(now)))
    }

    fn version(&self) -> Stored<'_, i64> {
        self.change(|nodes, _| Ok(nodes.version))
    }

    fn claim(&self, node: NodeId, shards: Shards) -> Stored<'_, ()> {
        self.change(move |nodes, _| nodes.claim(node, shards))
    }

    fn give(&self, node: NodeId, shares: Vec<(NodeId, Shards)>) -> Stored<'_, ()> {
        self.change(move |nodes, _| nodes.give(node, shares))
    }

    fn take_over(&self, dead: NodeId) -> Stored<'_, bool> {
        self.change(move |nodes, now| {
            let is_dead = nodes.leases.get(&dead).is_some_and(|(until, _)| *until <= now);
            let is_dead = is_dead || broken("takes_over_a_lease_that_runs");
            if is_dead {
                nodes.end(dead);
            }
            Ok(is_dead)
        })
    }

    fn leave(&self, node: NodeId) -> Stored<'_, ()> {
        self.change(move |nodes, _| {
            nodes.end(node);
            Ok(())
        })
    }

    fn lend(&self, node: NodeId, loans: Vec<(SagaId, NodeId)>) -> Stored<'_, Vec<SagaId>> {
        self.change(move |nodes, _| nodes.lend(node, loans))
    }

    fn give_back(&self, node: NodeId, sagas: Vec<SagaId>) -> Stored<'_, ()> {
        self.change(move |nodes, _| {
            nodes.version += 1;
            nodes.lent.retain(|saga, to| *to != node || !sagas.contains(saga));
            Ok(())
        })
    }

    fn inbox_of(&self, sagas: Vec<SagaId>, except: Vec<InboxId>, limit: u32) -> Stored<'_, Vec<(InboxId, InboxItem)>> {
        self.ask(move |all| {
            let wanted = |(id, item): &(&InboxId, &InboxItem)| sagas.contains(&item.saga) && !except.contains(id);
            Ok(all.inbox.iter().filter(wanted).take(limit as usize).map(|(&id, item)| (id, item.clone())).collect())
        })
    }

    fn answer(&self, ticket: i64, at: Millis, answer: Vec<u8>) -> Stored<'_, ()> {
        self.change(move |nodes, _| {
            nodes.answers.entry(ticket).or_insert((at, answer));
            Ok(())
        })
    }

    fn answers(&self, tickets: Vec<i64>, older: Millis) -> Stored<'_, Vec<(i64, Vec<u8>)>> {
        self.change(move |nodes, _| {
            let found = tickets.into_iter().filter_map(|ticket| Some((ticket, nodes.answers.remove(&ticket)?.1)));
            let found = found.collect();
            nodes.answers.retain(|_, (at, _)| *at >= older);
            Ok(found)
        })
    }
}
