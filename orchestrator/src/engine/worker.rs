//! The worker: the one loop that owns every saga in memory. Each message is turned into decisions; decisions gather in the next batch
//! while the last ones are being written; what is in hand follows from what is durable.

use super::{
    Shared,
    active::Active,
    draft::Draft,
    gates::Gates,
    lending::{Neighbours, Which},
    loading::Reading,
    message::{Look, Message, Reply, Snapshot, Until},
};
use crate::store::{Incarnation, Shards, TimerName};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tercet_core::{Millis, SagaId};
use tokio::sync::{mpsc, oneshot};

/// Messages handled before a batch is handed over: enough to fill it, few enough that nobody waits long.
const ROUND: usize = 1_024;

/// What the agenda has the worker do at a time.
pub(super) enum Agenda {
    /// A call's attempt is over, or is to be made again.
    Hand(SagaId, u64),
    /// A durable timer is due.
    Timer(SagaId, TimerName),
    /// A participant may be probed.
    Gates,
    /// Try the batch again that could not be written.
    Write,
    /// Try to raise the incarnation again.
    Raise,
    /// Stop, though answers are outstanding.
    Stop,
}

/// The loop's own memory.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) incarnation: Incarnation,
    /// The shards that it works on.
    pub(super) owned: Shards,
    /// Who else is there, and what was lent to whom.
    pub(super) neighbours: Neighbours,
    /// Sagas set apart since nobody has their definitions.
    pub(super) lacking: BTreeMap<SagaId, Which>,
    /// Those it works on no more, and whom to tell once nothing about them is being written.
    pub(super) leaving: Vec<(Shards, oneshot::Sender<()>)>,
    pub(super) inbound: mpsc::UnboundedReceiver<Message>,
    pub(super) sagas: BTreeMap<SagaId, Active>,
    /// Sagas that are being read.
    pub(super) loading: BTreeMap<SagaId, Reading>,
    pub(super) to_load: Vec<SagaId>,
    /// Who waits for a saga to come so far. That keeps no saga in memory.
    pub(super) watchers: BTreeMap<SagaId, Vec<(Until, Reply<Snapshot>)>>,
    pub(super) next: Draft,
    /// The batches that the store has now, by number. No saga is in two of them.
    pub(super) writing: BTreeMap<u64, Draft>,
    /// What may or may not have been written. Nothing is written until the incarnation is raised.
    pub(super) unsure: Option<Draft>,
    /// The incarnation that it is being raised to.
    pub(super) raising: Option<Incarnation>,
    /// Batches that must be written before the next one: halves of a refused one.
    pub(super) first: VecDeque<Draft>,
    pub(super) failures: u32,
    /// Nothing is written meanwhile: the store is given a moment, or this node was taken over.
    pub(super) paused: bool,
    pub(super) agenda: BTreeMap<(Millis, u64), Agenda>,
    /// Timers on the agenda, or fired and not yet cleared, by their place there.
    pub(super) scheduled: BTreeMap<(SagaId, TimerName), (Millis, u64)>,
    /// Timers whose time has come, in order, with the place on the agenda that they had.
    pub(super) due: VecDeque<((Millis, u64), SagaId, TimerName)>,
    pub(super) gates: Gates,
    pub(super) numbers: u64,
    pub(super) quarantined: BTreeMap<SagaId, String>,
    pub(super) stopping: Vec<oneshot::Sender<()>>,
    /// Waits for answers that are out before it stops.
    pub(super) patience: bool,
    pub(super) stopped: bool,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>, incarnation: Incarnation, inbound: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        Self {
            shared,
            incarnation,
            owned: Shards::NONE,
            neighbours: Neighbours::default(),
            lacking: BTreeMap::new(),
            leaving: Vec::new(),
            inbound,
            sagas: BTreeMap::new(),
            loading: BTreeMap::new(),
            to_load: Vec::new(),
            watchers: BTreeMap::new(),
            next: Draft::default(),
            writing: BTreeMap::new(),
            unsure: None,
            raising: None,
            first: VecDeque::new(),
            failures: 0,
            paused: false,
            agenda: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            due: VecDeque::new(),
            gates: Gates::default(),
            numbers: 0,
            quarantined: BTreeMap::new(),
            stopping: Vec::new(),
            patience: true,
            stopped: false,
        }
    }

    /// Runs until it is stopped.
    pub(super) async fn run(mut self) {
        let _end = End(self.shared.clone());
        while !self.stopped {
            let Some(message) = self.next_message().await else { return };
            self.handle(message);
            for _ in 1..ROUND {
                let Ok(message) = self.inbound.try_recv() else { break };
                self.handle(message);
            }
            self.tick();
            self.open_gates();
            self.load();
            self.write();
            self.let_go();
            self.finish_stopping();
        }
    }

    async fn next_message(&mut self) -> Option<Message> {
        let Some((&(at, _), _)) = self.agenda.first_key_value() else { return self.inbound.recv().await };
        let due = self.shared.env.sleep_until(at);
        tokio::select! {
            biased;
            message = self.inbound.recv() => message,
            () = due => Some(Message::Tick),
        }
    }

    pub(super) fn handle(&mut self, message: Message) {
        match message {
            Message::Start(new, reply) => self.start(new, reply),
            Message::Event(incoming) => self.incoming(incoming),
            Message::Heard(heard) => self.heard(heard),
            // The loop looks at its agenda after every message.
            Message::Tick => {}
            Message::Timers(rows) => {
                rows.into_iter().for_each(|row| self.schedule(&row));
            }
            Message::Recover(sagas) => sagas.into_iter().for_each(|saga| self.want(saga, None)),
            Message::Loaded(number, loaded) => {
                loaded.into_iter().for_each(|(saga, read)| self.loaded(number, saga, read));
            }
            Message::Written(batch, result) => self.written(batch, result),
            Message::Raised(to, result) => self.raised(to, result),
            Message::Gained(shards) => self.gained(shards),
            Message::LetGo(shards, done) => self.let_go_of(shards, done),
            Message::Neighbours(neighbours) => self.neighbours(neighbours),
            Message::Fenced(node) => self.lost(node),
            Message::Joined(incarnation) => self.joined(incarnation),
            Message::Watch(saga, until, reply) => self.watch(saga, until, reply),
            Message::Left(saga) => self.left(saga),
            Message::Marked(saga, shown) => self.marked(saga, shown),
            Message::Shown(saga, row) => self.shown(saga, row),
            Message::Look(reply) => drop(reply.send(Ok(self.look()))),
            Message::Stop(done) => self.begin_stopping(done),
        }
    }

    fn look(&self) -> Look {
        Look { sagas: self.sagas.len(), participants: self.gates.show() }
    }

    pub(super) fn now(&self) -> Millis {
        self.shared.env.now()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn plan(&mut self, at: Millis, agenda: Agenda) -> (Millis, u64) {
        let key = (at, self.number());
        self.agenda.insert(key, agenda);
        key
    }

    /// Does what is due.
    fn tick(&mut self) {
        let now = self.now();
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= now) {
            let planned = *entry.key();
            match entry.remove() {
                Agenda::Hand(saga, hand) => self.hand_due(saga, hand),
                Agenda::Timer(saga, name) => self.due.push_back((planned, saga, name)),
                // The loop looks at the gates after this.
                Agenda::Gates => {}
                Agenda::Write => self.write_again(),
                Agenda::Raise => self.raise(),
                Agenda::Stop => self.patience = false,
            }
        }
        self.fire();
    }
}

/// However the worker ends, nobody goes on asking it.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        if !self.0.is_stopped() {
            self.0.stop("its worker ended by a panic: look at the log, and start it again");
        }
    }
}
