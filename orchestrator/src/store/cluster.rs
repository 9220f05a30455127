//! Who may write: nodes, their incarnations and leases, and which node owns which shard.
//!
//! Safety rests on the incarnation alone: each batch compares its node's row, locked, in its own transaction, and a take-over deletes that
//! row, which waits for the batch or defeats it. Leases say only when somebody may try.

use super::{InboxId, InboxItem, StoreError, Stored};
use std::{collections::BTreeMap, fmt, time::Duration};
use tercet_core::{DefinitionName, Millis, SHARDS, SagaId, ShardId};

/// A process that works on a store. Drawn at random by each process for itself, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node's claim on a store, and the number by which it fences itself: a batch under another number than the newest is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// The node.
    pub node: NodeId,
    /// Its number, which only rises.
    pub number: i64,
}

impl Incarnation {
    /// The first one of a node.
    #[must_use]
    pub const fn first(node: NodeId) -> Self {
        Self { node, number: 1 }
    }

    /// A later one. `step` is drawn at random, so that a raise whose answer was lost is told from another's when it is tried again.
    #[must_use]
    pub const fn later(self, step: u32) -> Self {
        Self { node: self.node, number: self.number.saturating_add(1 + step as i64) }
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Where it runs, for people: host and process, say.
    pub label: String,
    /// What it can run.
    pub definitions: Vec<(DefinitionName, u32)>,
}

/// A set of shards: 1,024 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shards([u64; SHARDS as usize / 64]);

impl Shards {
    /// No shard.
    pub const NONE: Self = Self([0; SHARDS as usize / 64]);
    /// Every shard.
    pub const ALL: Self = Self([u64::MAX; SHARDS as usize / 64]);

    /// The shard is among them.
    #[must_use]
    pub const fn contains(&self, shard: ShardId) -> bool {
        self.0[shard.get() as usize / 64] >> (shard.get() % 64) & 1 == 1
    }

    /// The saga's shard is among them.
    #[must_use]
    pub fn have(&self, saga: SagaId) -> bool {
        self.contains(saga.shard())
    }

    /// Adds one.
    pub const fn insert(&mut self, shard: ShardId) {
        self.0[shard.get() as usize / 64] |= 1 << (shard.get() % 64);
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// One of them: the nth, beginning anew after the last. `None` when there is none.
    #[must_use]
    pub fn nth(&self, n: u32) -> Option<ShardId> {
        if *self == Self::ALL {
            return ShardId::new((n % u32::from(SHARDS)) as u16);
        }
        let mut n = n % self.len().max(1);
        for (place, word) in self.0.iter().enumerate() {
            if n >= word.count_ones() {
                n -= word.count_ones();
                continue;
            }
            let bit = (0..64).filter(|bit| word >> bit & 1 == 1).nth(n as usize)?;
            return ShardId::new(u16::try_from(place * 64 + bit).ok()?);
        }
        None
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Those of both.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    /// Those that `other` has not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = ShardId> + '_ {
        (0..SHARDS).filter_map(ShardId::new).filter(|shard| self.contains(*shard))
    }

    /// As bytes: shard n is bit n % 8, the lowest first, of byte n / 8.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

impl Default for Shards {
    fn default() -> Self {
        Self::NONE
    }
}

impl FromIterator<ShardId> for Shards {
    fn from_iter<I: IntoIterator<Item = ShardId>>(shards: I) -> Self {
        let mut all = Self::NONE;
        shards.into_iter().for_each(|shard| all.insert(shard));
        all
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shards", self.len())
    }
}

/// A node, as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// What it says of itself.
    pub info: NodeInfo,
    /// Until when its lease runs, by the database's clock.
    pub until: Millis,
}

/// The cluster at one moment of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The database's clock.
    pub now: Millis,
    /// Every node that has joined and was not taken over, by id.
    pub members: Vec<Member>,
    /// Who owns what. A node here may be gone, and some shards may be nobody's.
    pub owners: BTreeMap<NodeId, Shards>,
    /// Sagas that the owners of their shards cannot run and have lent to nodes that can. Lent to a node that is gone counts for nothing.
    pub lent: BTreeMap<SagaId, NodeId>,
}

impl View {
    /// What a node owns.
    #[must_use]
    pub fn owned_by(&self, node: NodeId) -> Shards {
        self.owners.get(&node).copied().unwrap_or_default()
    }

    /// What nobody owns who is still a member.
    #[must_use]
    pub fn owned_by_none(&self) -> Shards {
        let owned = |shards: Shards, member: &Member| shards.with(&self.owned_by(member.node));
        Shards::ALL.without(&self.members.iter().fold(Shards::NONE, owned))
    }
}

/// What a store offers that several nodes share. Every time in it is the database's.
///
/// Changes of who owns what are made one after the other, each raises [`version`](Self::version), and each is a compare-and-set: what
/// somebody else has changed meanwhile is left as it is. [`StoreError::Fenced`] when the node was taken over.
pub trait Cluster: Send + Sync {
    /// Prolongs a node's lease from now on.
    fn renew(&self, node: NodeId, lease: Duration) -> Stored<'_, ()>;

    /// How things stand.
    fn view(&self) -> Stored<'_, View>;

    /// A number that changes whenever a node joins or goes, or a shard changes hands: cheap to ask for several times a second.
    fn version(&self) -> Stored<'_, i64>;

    /// Takes those of these shards that nobody owns, or a node that is gone.
    fn claim(&self, node: NodeId, shards: Shards) -> Stored<'_, ()>;

    /// Gives shards of one's own to other nodes, after the last batch about them is known to be committed. What a node that has gone
    /// meanwhile was to get is nobody's.
    fn give(&self, node: NodeId, shares: Vec<(NodeId, Shards)>) -> Stored<'_, ()>;

    /// Ends a node whose lease has run out: whatever it still writes is refused from now on, and what it owned may be claimed. `false`,
    /// and nothing done, when its lease runs again.
    fn take_over(&self, dead: NodeId) -> Stored<'_, bool>;

    /// A node goes by itself: what it still owns may be claimed.
    fn leave(&self, node: NodeId) -> Stored<'_, ()>;

    /// Lends sagas of one's own shards to nodes that are there; answers which were lent. What is not one's own is left as it is.
    fn lend(&self, node: NodeId, loans: Vec<(SagaId, NodeId)>) -> Stored<'_, Vec<SagaId>>;

    /// Gives sagas back that were lent to the node.
    fn give_back(&self, node: NodeId, sagas: Vec<SagaId>) -> Stored<'_, ()>;

    /// The oldest inbox rows of these sagas: as [`Store::inbox`](super::Store::inbox), for sagas that were lent.
    fn inbox_of(&self, sagas: Vec<SagaId>, except: Vec<InboxId>, limit: u32) -> Stored<'_, Vec<(InboxId, InboxItem)>>;

    /// Keeps an answer for a node that asked through an inbox, under the number that it drew.
    fn answer(&self, ticket: i64, at: Millis, answer: Vec<u8>) -> Stored<'_, ()>;

    /// The answers to these tickets that are there, which are deleted, with all from before `older`, whose askers are gone.
    fn answers(&self, tickets: Vec<i64>, older: Millis) -> Stored<'_, Vec<(i64, Vec<u8>)>>;
}

/// Joins under a first incarnation.
///
/// # Errors
/// As [`Store::join`](super::Store::join).
pub async fn join(store: &dyn super::Store, node: NodeId) -> Result<Incarnation, StoreError> {
    let info = NodeInfo { label: "one node".to_owned(), definitions: Vec::new() };
    let first = Incarnation::first(node);
    store.join(first, info, Duration::from_secs(10)).await.map(|()| first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_shards_is_a_set() {
        let shard = |n| ShardId::new(n).unwrap_or(ShardId::FIRST);
        let some: Shards = [0, 63, 64, 1_023].map(shard).into_iter().collect();
        assert_eq!(some.len(), 4);
        assert_eq!(some.iter().map(ShardId::get).collect::<Vec<_>>(), [0, 63, 64, 1_023]);
        assert_eq!(Shards::ALL.without(&some).len(), 1_020);
        assert_eq!(Shards::ALL.without(&some).with(&some), Shards::ALL);
        let picked: Vec<u16> = (0..8).filter_map(|n| some.nth(n)).map(ShardId::get).collect();
        assert_eq!(picked, [0, 63, 64, 1_023, 0, 63, 64, 1_023]);
        assert_eq!((Shards::NONE.nth(3), Shards::ALL.nth(1_030)), (None, ShardId::new(6)));
        let bytes = some.to_bytes();
        assert_eq!((bytes.len(), bytes[0], bytes[7], bytes[8], bytes[127]), (128, 1, 128, 1, 128));
    }
}
