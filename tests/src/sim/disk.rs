//! The store of a run: the engine's own in memory, with a latency, and with the faults of the weather at every commit. One
//! handle for each engine, so that an engine can die at a commit and leave the store as it stood.

use super::{
    weather::{Fault, Weather},
    world::{Process, World},
};
use std::{sync::Arc, time::Duration};
use tercet::store::{
    AuditRow, Batch, Count, DefinitionRow, Filter, InboxId, InboxItem, Incarnation, JournalRow, MemoryStore, NodeInfo,
    SagaRow, Shards, Started, Store, StoreError, Stored, TimerChange, TimerRow, memory,
};
use tercet_core::{DefinitionName, Millis, Namespace, SagaId, SagaKey};

/// One engine's way to the store.
pub(crate) struct Disk {
    pub(crate) world: Arc<World>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) store: MemoryStore,
    pub(crate) engine: Process,
    /// Outlives the engine: for what the database does by itself.
    pub(crate) database: Process,
}

impl Disk {
    /// The fault of this commit, if there is one.
    fn fault(&self) -> Option<memory::Fault> {
        let faults = [
            (Fault::StoreUnavailable, memory::Fault::Unavailable),
            (Fault::CommitUnsaid, memory::Fault::AmbiguousWritten),
            (Fault::CommitLost, memory::Fault::AmbiguousLost),
            (Fault::CommitLate, memory::Fault::AmbiguousLate),
        ];
        faults.into_iter().find(|(fault, _)| self.weather.strikes(*fault)).map(|(_, fault)| fault)
    }

    async fn write(&self, as_node: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
        self.world.some_time(0, 8).await;
        if self.weather.strikes(Fault::CrashBeforeWrite) {
            self.world.kill(self.engine);
            return std::future::pending().await;
        }
        if self.weather.strikes(Fault::StoreDown) {
            self.goes_down();
        }
        let fault = self.fault();
        if let Some(fault) = fault {
            self.store.faults().before_next_commit(fault);
        }
        let written = self.store.commit(as_node, batch).await;
        if fault == Some(memory::Fault::AmbiguousLate) {
            self.lands_late();
        }
        if self.weather.strikes(Fault::CrashAfterWrite) {
            self.world.kill(self.engine);
            return std::future::pending().await;
        }
        self.world.some_time(0, 4).await;
        written
    }

    fn goes_down(&self) {
        let (world, faults) = (self.world.clone(), self.store.faults());
        faults.set_down(true);
        self.world.spawn(self.database, async move {
            world.some_time(500, 20_000).await;
            faults.set_down(false);
        });
    }

    /// The transaction whose answer was lost ends, unless a newer incarnation has defeated it.
    fn lands_late(&self) {
        let (world, faults) = (self.world.clone(), self.store.faults());
        self.world.spawn(self.database, async move {
            world.some_time(0, 40).await;
            faults.land_late();
        });
    }

    async fn reading(&self) {
        if self.world.chance(0.3) {
            self.world.sleep(Duration::from_millis(self.world.between(0, 5))).await;
        }
    }
}

macro_rules! at_once { ($($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)+) => { $(
    fn $name(&self, $($arg: $kind),*) -> Stored<'_, $ret> {
        self.store.$name($($arg),*)
    }
)+ } }

impl Store for Disk {
    fn commit(&self, as_node: Incarnation, batch: Batch) -> Stored<'_, Vec<Started>> {
        Box::pin(self.write(as_node, batch))
    }

    fn journals(&self, sagas: Vec<SagaId>) -> Stored<'_, Vec<Vec<JournalRow>>> {
        Box::pin(async move {
            self.reading().await;
            let journals = self.store.journals(sagas).await;
            self.reading().await;
            journals
        })
    }

    at_once! {
        join(first: Incarnation, info: NodeInfo, lease: Duration) -> ();
        raise(from: Incarnation, to: Incarnation) -> ();
        saga(id: SagaId) -> Option<SagaRow>;
        find(namespace: Namespace, definition: DefinitionName, key: SagaKey) -> Option<SagaRow>;
        list(filter: Filter, before: Option<SagaId>, limit: u32) -> Vec<SagaRow>;
        counts(namespace: Option<Namespace>) -> Vec<Count>;
        unfinished(of: Shards, after: Option<SagaId>, limit: u32) -> Vec<SagaId>;
        timers_due(of: Shards, after: Option<TimerRow>, until: Millis, limit: u32) -> Vec<TimerRow>;
        timers_of(sagas: Vec<SagaId>) -> Vec<TimerRow>;
        set_timers(as_node: Incarnation, changes: Vec<TimerChange>) -> ();
        deliver(items: Vec<InboxItem>) -> ();
        inbox(of: Shards, except: Vec<InboxId>, limit: u32) -> Vec<(InboxId, InboxItem)>;
        forget_inbox(ids: Vec<InboxId>) -> ();
        audit(saga: SagaId) -> Vec<AuditRow>;
        register(definitions: Vec<DefinitionRow>) -> Vec<DefinitionRow>;
        definition(name: DefinitionName, version: u32) -> Option<DefinitionRow>;
        purge(ended: Millis, keys: Millis, limit: u32) -> u64;
    }
}
