//! The store of a run: the engine's own in memory, with a latency, and with the faults of the weather. One handle for each engine, so
//! that an engine can die at a commit and leave the store as it stood.

use super::{
    nodes::Link,
    weather::{Fault, Weather},
    world::{Process, World, within},
};
use std::{sync::Arc, time::Duration};
use tercet::store::{
    AuditRow, Batch, Cluster, Count, DefinitionRow, Filter, InboxId, InboxItem, Incarnation, JournalRow, MemoryStore,
    NodeId, NodeInfo, SagaRow, Shards, Started, Store, StoreError, Stored, TimerChange, TimerRow, View, memory,
};
use tercet_core::{DefinitionName, Millis, Namespace, SagaId, SagaKey};
use tokio::sync::oneshot;

/// A commit that hung was refused in the end, since its node had raised its incarnation or was taken over meanwhile.
pub(crate) const DEFEATED: &str = "a commit that hung was defeated";
/// A node was taken over.
pub(crate) const TAKEN_OVER: &str = "a node was taken over";
/// A node gave shards to another.
pub(crate) const GAVE: &str = "a node gave shards away";
/// What reached one node was answered by another.
pub(crate) const FORWARDED: &str = "a word went by way of a node that did not own its saga";

/// How long a commit is waited for.
const COMMIT_MAX: Duration = Duration::from_secs(10);

/// One engine's way to the store.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) world: Arc<World>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) store: MemoryStore,
    pub(crate) engine: Process,
    pub(crate) link: Arc<Link>,
    /// Outlives the engine: for what the database does by itself.
    pub(crate) database: Process,
}

fn out_of_reach() -> StoreError {
    StoreError::Unavailable("the database cannot be reached (on purpose)".to_owned())
}

fn unsaid() -> StoreError {
    StoreError::Ambiguous("the connection was lost before the answer (on purpose)".to_owned())
}

impl Disk {
    /// The fault of this commit, if there is one.
    fn fault(&self) -> Option<memory::Fault> {
        let faults = [
            (Fault::StoreUnavailable, memory::Fault::Unavailable),
            (Fault::CommitUnsaid, memory::Fault::AmbiguousWritten),
            (Fault::CommitLost, memory::Fault::AmbiguousLost),
            (Fault::CommitLate, memory::Fault::AmbiguousLate),
            (Fault::CommitStalls, memory::Fault::Stall),
        ];
        faults.into_iter().find(|(fault, _)| self.weather.strikes(*fault)).map(|(_, fault)| fault)
    }

    /// A commit that has reached the database goes on whatever becomes of its engine.
    async fn write(&self, as_node: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
        self.world.some_time(0, 8).await;
        if self.weather.strikes(Fault::CrashBeforeWrite) {
            self.world.kill(self.engine);
            return std::future::pending().await;
        }
        if self.weather.strikes(Fault::StoreDown) {
            self.goes_down();
        }
        if self.link.is_cut() {
            return Err(out_of_reach());
        }
        let (answer, written) = oneshot::channel();
        let this = self.clone();
        self.world.spawn(self.database, async move {
            drop(answer.send(this.commits(as_node, batch).await));
        });
        let written = within(&self.world, COMMIT_MAX, written).await;
        if self.weather.strikes(Fault::CrashAfterWrite) {
            self.world.kill(self.engine);
            return std::future::pending().await;
        }
        self.world.some_time(0, 4).await;
        match written {
            Some(Ok(written)) if !self.link.is_cut() => written,
            _ => Err(unsaid()),
        }
    }

    /// At the database.
    async fn commits(&self, as_node: Incarnation, batch: Batch) -> Result<Vec<Started>, StoreError> {
        let fault = self.fault();
        if let Some(fault) = fault {
            self.store.faults().before_next_commit(fault);
        }
        match fault {
            Some(memory::Fault::AmbiguousLate) => self.lands_late(),
            Some(memory::Fault::Stall) => self.goes_on_later(),
            _ => {}
        }
        let written = self.store.commit(as_node, batch).await;
        if fault == Some(memory::Fault::Stall) && matches!(written, Err(StoreError::Fenced)) {
            self.world.count(DEFEATED);
        }
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
            // So late, now and then, that its node is another's by then.
            world.some_time(0, if world.chance(0.2) { 60_000 } else { 40 }).await;
            faults.land_late();
        });
    }

    fn goes_on_later(&self) {
        let (world, faults) = (self.world.clone(), self.store.faults());
        self.world.spawn(self.database, async move {
            world.some_time(0, if world.chance(0.5) { 60_000 } else { 8_000 }).await;
            faults.release();
        });
    }

    /// What nobody hears of any more is done all the same.
    fn gives_late(&self, node: NodeId, shares: Vec<(NodeId, Shards)>) {
        let (world, store) = (self.world.clone(), self.store.clone());
        self.world.spawn(self.database, async move {
            world.some_time(0, 400).await;
            drop(store.give(node, shares).await);
        });
    }

    /// There or back.
    async fn travel(&self) {
        if self.world.chance(0.3) {
            self.world.sleep(Duration::from_millis(self.world.between(0, 5))).await;
        }
    }

    /// What is asked: it changes nothing, so that an answer which is lost is no answer.
    async fn ask<'a, T>(&'a self, asked: impl FnOnce(&'a MemoryStore) -> Stored<'a, T>) -> Result<T, StoreError> {
        self.travel().await;
        if self.link.is_cut() {
            return Err(out_of_reach());
        }
        let answer = asked(&self.store).await;
        self.travel().await;
        if self.link.is_cut() { Err(out_of_reach()) } else { answer }
    }

    /// What changes something: it may be done though nobody hears of it.
    async fn change<'a, T>(&'a self, change: impl FnOnce(&'a MemoryStore) -> Stored<'a, T>) -> Result<T, StoreError> {
        self.travel().await;
        if self.link.is_cut() || self.weather.strikes(Fault::ChangeUnavailable) {
            return Err(out_of_reach());
        }
        let changed = change(&self.store).await;
        self.travel().await;
        if self.weather.strikes(Fault::ChangeUnsaid) || self.link.is_cut() {
            return Err(if self.world.chance(0.5) { unsaid() } else { out_of_reach() });
        }
        changed
    }

    /// Safety does not rest on it; but nobody's lease is cut short.
    async fn takes_over(&self, dead: NodeId) -> Result<bool, StoreError> {
        self.change(|store| {
            Box::pin(async move {
                let now = self.world.now();
                let ran = store.inspect(|all| all.view(now)).members.into_iter().find(|member| member.node == dead);
                let ran = ran.map(|member| member.until).filter(|until| *until > now);
                let taken = store.take_over(dead).await;
                if matches!(taken, Ok(true)) {
                    self.world.count(TAKEN_OVER);
                    if let Some(until) = ran {
                        let early = until.since(now);
                        self.world.violate(format!("node {dead} was taken over {early:?} before its lease ended"));
                    }
                }
                taken
            })
        })
        .await
    }
}

macro_rules! at_once { ($($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)+) => { $(
    fn $name(&self, $($arg: $kind),*) -> Stored<'_, $ret> {
        if self.link.is_cut() {
            return Box::pin(std::future::ready(Err(out_of_reach())));
        }
        self.store.$name($($arg),*)
    }
)+ } }

macro_rules! asked { ($($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)+) => { $(
    fn $name(&self, $($arg: $kind),*) -> Stored<'_, $ret> {
        Box::pin(self.ask(move |store| store.$name($($arg),*)))
    }
)+ } }

macro_rules! changes { ($($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)+) => { $(
    fn $name(&self, $($arg: $kind),*) -> Stored<'_, $ret> {
        Box::pin(self.change(move |store| store.$name($($arg),*)))
    }
)+ } }

impl Store for Disk {
    fn commit(&self, as_node: Incarnation, batch: Batch) -> Stored<'_, Vec<Started>> {
        Box::pin(self.write(as_node, batch))
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        self.store.cluster().is_some().then_some(self)
    }

    fn join(&self, first: Incarnation, info: NodeInfo, lease: Duration) -> Stored<'_, ()> {
        self.link.is(first.node);
        Box::pin(self.change(move |store| store.join(first, info, lease)))
    }

    asked! {
        journals(sagas: Vec<SagaId>) -> Vec<Vec<JournalRow>>;
    }

    changes! {
        raise(from: Incarnation, to: Incarnation) -> ();
        deliver(items: Vec<InboxItem>) -> ();
    }

    at_once! {
        saga(id: SagaId) -> Option<SagaRow>;
        find(namespace: Namespace, definition: DefinitionName, key: SagaKey) -> Option<SagaRow>;
        list(filter: Filter, before: Option<SagaId>, limit: u32) -> Vec<SagaRow>;
        counts(namespace: Option<Namespace>) -> Vec<Count>;
        unfinished(of: Shards, after: Option<SagaId>, limit: u32) -> Vec<SagaId>;
        timers_due(of: Shards, after: Option<TimerRow>, until: Millis, limit: u32) -> Vec<TimerRow>;
        timers_of(sagas: Vec<SagaId>) -> Vec<TimerRow>;
        set_timers(as_node: Incarnation, changes: Vec<TimerChange>) -> ();
        inbox(of: Shards, except: Vec<InboxId>, limit: u32) -> Vec<(InboxId, InboxItem)>;
        forget_inbox(ids: Vec<InboxId>) -> ();
        audit(saga: SagaId) -> Vec<AuditRow>;
        register(definitions: Vec<DefinitionRow>) -> Vec<DefinitionRow>;
        definition(name: DefinitionName, version: u32) -> Option<DefinitionRow>;
        purge(ended: Millis, keys: Millis, limit: u32) -> u64;
    }
}

impl Cluster for Disk {
    fn take_over(&self, dead: NodeId) -> Stored<'_, bool> {
        Box::pin(self.takes_over(dead))
    }

    fn give(&self, node: NodeId, shares: Vec<(NodeId, Shards)>) -> Stored<'_, ()> {
        Box::pin(async move {
            if !self.link.is_cut() && self.weather.strikes(Fault::GaveLate) {
                self.gives_late(node, shares);
                return Err(out_of_reach());
            }
            let given = self.change(move |store| store.give(node, shares)).await;
            if given.is_ok() {
                self.world.count(GAVE);
            }
            given
        })
    }

    fn answer(&self, ticket: i64, at: Millis, answer: Vec<u8>) -> Stored<'_, ()> {
        self.world.count(FORWARDED);
        Box::pin(self.change(move |store| store.answer(ticket, at, answer)))
    }

    changes! {
        renew(node: NodeId, lease: Duration) -> ();
        claim(node: NodeId, shards: Shards) -> ();
        leave(node: NodeId) -> ();
        lend(node: NodeId, loans: Vec<(SagaId, NodeId)>) -> Vec<SagaId>;
        give_back(node: NodeId, sagas: Vec<SagaId>) -> ();
    }

    asked! {
        view() -> View;
    }

    at_once! {
        version() -> i64;
        inbox_of(sagas: Vec<SagaId>, except: Vec<InboxId>, limit: u32) -> Vec<(InboxId, InboxItem)>;
        answers(tickets: Vec<i64>, older: Millis) -> Vec<(i64, Vec<u8>)>;
    }
}
