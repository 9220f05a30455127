//! Sagas that the owner of their shard cannot run, since it lacks their definition: lent to a node that has it, until they end or that
//! node goes. So nodes with different definitions, or of different releases, work on one database.

use super::{EngineError, message::Message, worker::Worker};
use crate::store::{NodeId, View};
use std::collections::{BTreeMap, BTreeSet};
use tercet_core::{DefinitionName, SagaId};

/// A definition's name and version.
pub(super) type Which = (DefinitionName, u32);

/// What a node knows of the others' loans and definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Neighbours {
    /// Who else can run what.
    pub(super) able: BTreeMap<Which, Vec<NodeId>>,
    /// Sagas lent to others, whoever owns their shards.
    pub(super) away: BTreeSet<SagaId>,
    /// Sagas lent to this node.
    pub(super) guests: BTreeSet<SagaId>,
}

impl Neighbours {
    pub(super) fn of(view: &View, me: NodeId) -> Self {
        let mut able: BTreeMap<Which, Vec<NodeId>> = BTreeMap::new();
        let here = view.members.iter().filter(|member| member.until > view.now);
        for member in here.filter(|member| member.node != me) {
            for which in &member.info.definitions {
                able.entry(which.clone()).or_default().push(member.node);
            }
        }
        let is_member = |node: &NodeId| view.members.iter().any(|member| member.node == *node);
        let lent = view.lent.iter().filter(|(_, to)| is_member(to));
        let (guests, away): (Vec<_>, Vec<_>) = lent.partition(|(_, to)| **to == me);
        let ids = |lent: Vec<(&SagaId, &NodeId)>| lent.into_iter().map(|(saga, _)| *saga).collect();
        Self { able, away: ids(away), guests: ids(guests) }
    }
}

impl Worker {
    /// This node works on the saga.
    pub(super) fn is_own(&self, saga: SagaId) -> bool {
        let near = &self.neighbours;
        near.guests.contains(&saga) || self.owned.have(saga) && !near.away.contains(&saga)
    }

    /// Somebody has come or gone, or something was lent or given back.
    pub(super) fn neighbours(&mut self, now: Neighbours) {
        let before = std::mem::replace(&mut self.neighbours, now);
        let not_own: Vec<SagaId> = before.guests.iter().copied().filter(|saga| !self.is_own(*saga)).collect();
        not_own.into_iter().for_each(|saga| self.let_go_of_one(saga));
        let now_away: Vec<SagaId> = self.neighbours.away.difference(&before.away).copied().collect();
        now_away.into_iter().for_each(|saga| self.let_go_of_one(saga));
        let came = self.neighbours.guests.difference(&before.guests);
        let back = before.away.difference(&self.neighbours.away);
        let own: Vec<SagaId> = came.chain(back).copied().filter(|saga| self.is_own(*saga)).collect();
        self.take_up(own);
        if before.able != self.neighbours.able {
            // Somebody may have come who can run what nobody could.
            for (saga, which) in std::mem::take(&mut self.lacking) {
                if self.neighbours.able.contains_key(&which) {
                    self.quarantined.remove(&saga);
                    self.release(|other| other == saga);
                    self.want(saga, None);
                } else {
                    self.lacking.insert(saga, which);
                }
            }
        }
    }

    /// Sagas that this node works on from now on. What they show may still be why nobody could.
    fn take_up(&mut self, own: Vec<SagaId>) {
        own.iter().for_each(|saga| self.want(*saga, None));
        let shared = self.shared.clone();
        self.shared.env.spawn(Box::pin(async move {
            for saga in own {
                match shared.store.saga(saga).await {
                    Ok(Some(row)) if row.projection.parked > 0 => shared.send(Message::Shown(saga, row.projection)),
                    Ok(_) => {}
                    Err(error) => {
                        return tracing::debug!(%error, "failed to read what is shown of a saga that was lent");
                    }
                }
            }
        }));
    }

    /// A saga whose definition is not here: lent, if another node has it.
    pub(super) fn lend(&mut self, saga: SagaId, which: Which, why: &str, messages: Vec<Message>) {
        let Some(able) = self.neighbours.able.get(&which).filter(|able| !able.is_empty()) else {
            self.quarantine(saga, why);
            self.lacking.insert(saga, which);
            let refused = || EngineError::Quarantined { saga, why: why.to_owned() };
            return messages.into_iter().for_each(|message| self.refuse(message, refused()));
        };
        let spread = saga.as_bytes().iter().fold(0, |sum: usize, byte| sum + usize::from(*byte));
        let to = able[spread % able.len()];
        tracing::debug!(saga.id = %saga, %to, "lends a saga whose definition is not here");
        self.shared.loans(|loans| loans.lend.insert(saga, to));
        messages.into_iter().for_each(|message| self.elsewhere(saga, message));
    }

    /// A saga that was lent to this node has ended: its shard's owner may have it back.
    pub(super) fn give_back(&self, saga: SagaId) {
        if self.neighbours.guests.contains(&saga) {
            self.shared.loans(|loans| loans.give_back.insert(saga));
        }
    }
}

/// What is to be lent and given back.
#[derive(Debug, Default)]
pub(super) struct Loans {
    pub(super) lend: BTreeMap<SagaId, NodeId>,
    pub(super) give_back: BTreeSet<SagaId>,
}

impl Loans {
    /// So many of each.
    pub(super) fn take(&mut self, most: usize) -> Self {
        let lend: Vec<SagaId> = self.lend.keys().copied().take(most).collect();
        let give_back: Vec<SagaId> = self.give_back.iter().copied().take(most).collect();
        Self {
            lend: lend.into_iter().filter_map(|saga| self.lend.remove_entry(&saga)).collect(),
            give_back: give_back.into_iter().filter_map(|saga| self.give_back.take(&saga)).collect(),
        }
    }
}
