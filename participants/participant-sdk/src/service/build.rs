//! Putting a participant together: which operations, and within which limits.

use super::{Desk, Operate, Operation as Erased, Service, effect, hold, once, remote};
use crate::{
    barrier::RETENTION,
    clock::{Clock, SystemClock},
    database::Database,
    handlers::{Compensable, External, Pivot, Read, Remote, Retriable, Tcc, Undone},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::Arc,
    time::Duration,
};
use tercet_core::{BadName, ContractName, Kind, Operation, ParticipantName, kind};
use tokio::sync::Semaphore;

/// The largest reply that is sent, in bytes, unless the service says otherwise: a NATS server's default limit, less what headers need.
const REPLY_BYTES_MAX: usize = 1_000_000;

/// Calls answered at the same time, unless the service says otherwise.
const CONCURRENCY: usize = 64;

/// The shortest retention: half of it must outlast every message that is still on its way.
const RETENTION_MIN: Duration = Duration::from_secs(60 * 60);

/// A participant in the making.
pub struct Builder<S, D: Database> {
    name: String,
    state: Arc<S>,
    database: D,
    clock: Arc<dyn Clock>,
    retention: Duration,
    reply_bytes_max: usize,
    concurrency: usize,
    operations: Vec<(&'static str, Erased<S, D>)>,
}

/// What is wrong with a participant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A name that no subject could carry.
    #[error("failed to build the participant: {0}")]
    Name(#[from] BadName),
    /// An operation of another participant's.
    #[error("failed to build the participant: `{contract}` does not begin with its name, `{participant}`")]
    Foreign {
        /// The operation.
        contract: ContractName,
        /// The participant.
        participant: ParticipantName,
    },
    /// One operation twice.
    #[error("failed to build the participant: `{0}` is offered twice")]
    Twice(ContractName),
    /// Rows would be dropped while messages they must stop are on their way.
    #[error("failed to build the participant: rows must be kept for an hour at least, not for {0:?}")]
    Retention(Duration),
    /// Nothing could ever be answered.
    #[error("failed to build the participant: a concurrency of 0 answers nothing")]
    Concurrency,
}

impl<S, D: Database> fmt::Debug for Builder<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contracts: Vec<_> = self.operations.iter().map(|(name, _)| name).collect();
        f.debug_struct("Builder").field("name", &self.name).field("contracts", &contracts).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static, D: Database> Builder<S, D> {
    pub(super) fn new(name: &str, database: D, state: Arc<S>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            database,
            clock: Arc::new(SystemClock),
            retention: RETENTION,
            reply_bytes_max: REPLY_BYTES_MAX,
            concurrency: CONCURRENCY,
            operations: Vec::new(),
        }
    }

    /// Offers a tcc on the participant's own database.
    #[must_use]
    pub fn tcc<O: Operation<Kind = kind::Tcc>>(self) -> Self
    where
        S: Tcc<O, D>,
    {
        self.offer::<O>(hold::tcc::<S, D, O>())
    }

    /// Offers a compensable on the participant's own database.
    #[must_use]
    pub fn compensable<O: Operation<Kind = kind::Compensable>>(self) -> Self
    where
        S: Compensable<O, D>,
    {
        self.offer::<O>(hold::compensable::<S, D, O>())
    }

    /// Offers a tcc or compensable whose effect lies with a third party.
    #[must_use]
    pub fn remote<O: Operation<Kind: Undone>>(self) -> Self
    where
        S: Remote<O, D>,
    {
        self.offer::<O>(remote::remote::<S, D, O>())
    }

    /// Offers a pivot.
    #[must_use]
    pub fn pivot<O: Operation<Kind = kind::Pivot>>(self) -> Self
    where
        S: Pivot<O, D>,
    {
        self.offer::<O>(effect::pivot::<S, D, O>())
    }

    /// Offers an external.
    #[must_use]
    pub fn external<O: Operation<Kind = kind::External>>(self) -> Self
    where
        S: External<O, D>,
    {
        self.offer::<O>(effect::external::<S, D, O>())
    }

    /// Offers a retriable.
    #[must_use]
    pub fn retriable<O: Operation<Kind = kind::Retriable>>(self) -> Self
    where
        S: Retriable<O, D>,
    {
        self.offer::<O>(once::retriable::<S, D, O>())
    }

    /// Offers a read.
    #[must_use]
    pub fn read<O: Operation<Kind = kind::Read>>(self) -> Self
    where
        S: Read<O, D>,
    {
        self.offer::<O>(once::read::<S, D, O>())
    }

    fn offer<O: Operation>(mut self, operation: Box<dyn Operate<S, D>>) -> Self {
        debug_assert_eq!(operation.kind(), O::Kind::KIND);
        self.operations.push((O::NAME, operation));
        self
    }

    /// Where the time comes from that rows age by; the machine's clock unless told otherwise.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long a row is kept after it began to age; 30 days unless told otherwise.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// The largest reply that is sent, in bytes; 1,000,000 unless told otherwise. A larger one is replaced by a small typed one:
    /// what was done is still reported done.
    #[must_use]
    pub fn reply_bytes_max(mut self, bytes: usize) -> Self {
        self.reply_bytes_max = bytes;
        self
    }

    /// How many calls are answered at the same time; 64 unless told otherwise. Others wait their turn.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// The participant.
    ///
    /// # Errors
    /// When a name is not one, an operation is another participant's or offered twice, or a limit leaves nothing.
    pub fn build(self) -> Result<Service<S, D>, BuildError> {
        if self.retention < RETENTION_MIN {
            return Err(BuildError::Retention(self.retention));
        }
        if self.concurrency == 0 {
            return Err(BuildError::Concurrency);
        }
        let concurrency = self.concurrency.min(u32::MAX as usize);
        let name: ParticipantName = self.name.parse()?;
        let mut operations = BTreeMap::new();
        for (contract, operation) in self.operations {
            let contract: ContractName = contract.parse()?;
            let (participant, _, _) = contract.parts()?;
            if participant != name.as_str() {
                return Err(BuildError::Foreign { contract, participant: name });
            }
            match operations.entry(contract) {
                Entry::Vacant(place) => place.insert(operation),
                Entry::Occupied(taken) => return Err(BuildError::Twice(taken.key().clone())),
            };
        }
        let desk = Desk {
            name,
            state: self.state,
            database: self.database,
            clock: self.clock,
            retention: self.retention,
            reply_bytes_max: self.reply_bytes_max,
            concurrency,
            permits: Semaphore::new(concurrency),
            operations,
        };
        Ok(Service { desk: Arc::new(desk) })
    }
}
