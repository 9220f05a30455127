//! Owning shards together with other nodes: leases renewed, the dead taken over, shards claimed and given, one's own handed over at the
//! end. One standing loop; what it does follows from how things stand (`spread`), and the worker obeys.

use super::{
    Shared,
    clockwork::{recovery, timers_of_gained},
    lending::{Loans, Neighbours},
    message::Message,
    spread::{self, Plan},
};
use crate::store::{Cluster, Incarnation, NodeId, NodeInfo, Shards, StoreError, View};
use std::{sync::Arc, time::Duration};
use tercet_core::{Millis, SagaId};
use tokio::sync::oneshot;

/// Sagas lent at once: the others wait for the same row meanwhile.
const LOANS_MAX: usize = 200;

/// How long an engine that begins waits for its first shards before it says that it runs.
const FIRST_MAX: Duration = Duration::from_secs(2);

/// How long a node that goes waits for its last batches.
const LAST_MAX: Duration = Duration::from_secs(5);

/// When the worker has let go of what, and for whom.
type LettingGo = (oneshot::Receiver<()>, Vec<(NodeId, Shards)>);

/// What it was doing about ownership.
pub(super) struct Ownership {
    shared: Arc<Shared>,
    node: NodeId,
    /// Since when its lease was renewed without a gap.
    steady: Option<Millis>,
    renewed: Millis,
    version: Option<i64>,
    /// What the worker knows of the others.
    neighbours: Neighbours,
    /// What the worker owns.
    owned: Shards,
    /// What was being given when the database did not say whether it was: given again before anything else is believed.
    unsure: Vec<(NodeId, Shards)>,
    /// What the worker is letting go of, and for whom.
    letting_go: Option<LettingGo>,
}

/// A number for a node that no other has.
pub(super) fn new_node(shared: &Shared) -> NodeId {
    NodeId(shared.env.random() as i64)
}

/// Joins as a new node.
pub(super) async fn join(shared: &Shared, node: NodeId) -> Result<Incarnation, StoreError> {
    let first = Incarnation::first(node);
    let definitions = shared.registry.iter().map(|graph| (graph.name().clone(), graph.version())).collect();
    let info = NodeInfo { label: shared.settings.label.clone(), definitions };
    shared.store.join(first, info, shared.settings.lease).await.map(|()| first)
}

/// These shards are this node's now: what is in them is taken up.
pub(super) fn gain(shared: &Arc<Shared>, gained: Shards) {
    shared.send(Message::Gained(gained));
    shared.owned.send_modify(|owned| *owned = owned.with(&gained));
    shared.env.spawn(Box::pin(timers_of_gained(shared.clone(), gained)));
    shared.env.spawn(Box::pin(recovery(shared.clone(), gained)));
    shared.poke_inbox();
}

/// Waits until the engine owns anything, for a little while.
pub(super) async fn first_shards(shared: &Shared) {
    let mut owned = shared.owned.subscribe();
    let enough = shared.env.sleep_until(shared.env.now().plus(FIRST_MAX));
    tokio::select! {
        biased;
        _ = owned.wait_for(|owned| !owned.is_empty()) => {}
        () = enough => {}
    }
}

impl Ownership {
    pub(super) fn new(shared: Arc<Shared>, node: NodeId) -> Self {
        let renewed = shared.own_clock.now();
        let neighbours = Neighbours::default();
        Self {
            shared,
            node,
            steady: None,
            renewed,
            version: None,
            neighbours,
            owned: Shards::NONE,
            unsure: Vec::new(),
            letting_go: None,
        }
    }

    /// Runs until the engine has stopped, or goes.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        while let Some(cluster) = shared.store.cluster().filter(|_| !shared.is_stopped()) {
            match self.look(cluster).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(StoreError::Fenced) => {
                    self.fenced().await;
                    continue;
                }
                Err(error) => {
                    self.steady = None;
                    shared.cannot_read(&error.to_string());
                }
            }
            if self.wait(cluster).await {
                return self.go(cluster).await;
            }
        }
        if let Some(cluster) = shared.store.cluster() {
            self.go(cluster).await;
        }
    }

    /// Renews the lease, and does what there is to do. True: look again at once.
    async fn look(&mut self, cluster: &dyn Cluster) -> Result<bool, StoreError> {
        if self.shared.is_fenced(self.node) {
            return Err(StoreError::Fenced);
        }
        let lease = self.shared.settings.lease;
        if self.shared.own_clock.now().since(self.renewed) > lease {
            self.steady = None;
        }
        self.version = Some(self.shared.answered(cluster.version()).await?);
        self.shared.answered(cluster.renew(self.node, lease)).await?;
        if !self.unsure.is_empty() {
            self.shared.answered(cluster.give(self.node, self.unsure.clone())).await?;
            self.unsure.clear();
        }
        let view = self.shared.answered(cluster.view()).await?;
        if self.shared.sampled(view.now) > lease / 3 {
            // By a clock that jumps leases run out that nobody has left.
            self.steady = None;
        }
        self.shared.can_read();
        self.renewed = self.shared.own_clock.now();
        let steady = *self.steady.get_or_insert(self.renewed);
        self.follow(&view)?;
        let judges = self.renewed.since(steady) >= lease;
        let Plan { dead, claim, give } = spread::plan(&view, self.node, judges);
        let mut changed = self.lend(cluster).await?;
        for node in dead {
            if self.shared.answered(cluster.take_over(node)).await? {
                tracing::warn!(%node, "took over a node whose lease has run out");
                self.shared.meters.taken_over();
                changed = true;
            }
        }
        if !claim.is_empty() {
            self.shared.answered(cluster.claim(self.node, claim)).await?;
            changed = true;
        }
        if !give.is_empty() && self.letting_go.is_none() {
            self.let_go(give);
        }
        Ok(changed)
    }

    /// What the database says is so, the worker is told.
    fn follow(&mut self, view: &View) -> Result<(), StoreError> {
        let neighbours = Neighbours::of(view, self.node);
        if neighbours != self.neighbours {
            self.neighbours = neighbours.clone();
            self.shared.guests.send_replace(neighbours.guests.iter().copied().collect());
            // Before the shards that are gained: some of their sagas may be lent.
            self.shared.send(Message::Neighbours(neighbours));
            self.shared.poke_inbox();
        }
        let own = view.owned_by(self.node);
        let leaving = self.letting_go.as_ref().map_or(Shards::NONE, |(_, give)| all_of(give));
        let gained = own.without(&self.owned).without(&leaving);
        if !self.owned.without(&own).is_empty() {
            // Nobody takes a shard from a node that was not taken over.
            return Err(StoreError::Fenced);
        }
        if !gained.is_empty() {
            tracing::info!(shards = gained.len(), of = own.len(), "gained shards");
            self.owned = self.owned.with(&gained);
            gain(&self.shared, gained);
        }
        Ok(())
    }

    /// Lends and gives back what the worker has asked for. True: something was.
    async fn lend(&self, cluster: &dyn Cluster) -> Result<bool, StoreError> {
        let Loans { lend, give_back } = self.shared.loans(|loans| loans.take(LOANS_MAX));
        if lend.is_empty() && give_back.is_empty() {
            return Ok(false);
        }
        let loans: Vec<_> = lend.iter().map(|(saga, to)| (*saga, *to)).collect();
        let lent = self.shared.answered(cluster.lend(self.node, loans)).await;
        let given = self.shared.answered(cluster.give_back(self.node, give_back.iter().copied().collect())).await;
        match lent.and_then(|lent| given.map(|()| lent)) {
            Ok(lent) => {
                // Who was to have it is gone: it is lent to another, or waits for one.
                let back: Vec<SagaId> = lend.into_keys().filter(|saga| !lent.contains(saga)).collect();
                self.shared.send(Message::Recover(back));
                Ok(true)
            }
            Err(error) => {
                // Both may be done twice.
                self.shared.loans(|loans| {
                    loans.lend.extend(lend);
                    loans.give_back.extend(give_back);
                });
                Err(error)
            }
        }
    }

    fn let_go(&mut self, give: Vec<(NodeId, Shards)>) {
        let (done, let_go) = oneshot::channel();
        let shards = all_of(&give);
        self.owned = self.owned.without(&shards);
        self.shared.owned.send_modify(|owned| *owned = owned.without(&shards));
        self.shared.send(Message::LetGo(shards, done));
        self.letting_go = Some((let_go, give));
    }

    /// Until there is something to look at. True: the engine goes.
    async fn wait(&mut self, cluster: &dyn Cluster) -> bool {
        let shared = self.shared.clone();
        // A database that refuses at once is not asked again at once.
        let soonest = shared.own_clock.now().plus(shared.settings.look_every);
        loop {
            let now = shared.own_clock.now();
            let next = self.renewed.plus(shared.settings.lease / 3).max(soonest);
            if now >= next {
                return false;
            }
            let tick = shared.own_clock.sleep_until(now.plus(shared.settings.look_every).min(next));
            tokio::select! {
                biased;
                () = shared.going.notified() => return true,
                () = shared.fenced.notified() => return false,
                () = shared.lending.notified() => return false,
                given = let_go(&mut self.letting_go) => {
                    self.give(cluster, given).await;
                    return false;
                }
                () = tick => {}
            }
            // What fails here fails again where it is handled.
            let version = self.shared.answered(cluster.version()).await;
            if version.ok().is_none_or(|version| Some(version) != self.version) {
                return false;
            }
        }
    }

    /// The last batch about these shards is written: they are the others'.
    async fn give(&mut self, cluster: &dyn Cluster, given: Option<Vec<(NodeId, Shards)>>) {
        let Some(give) = given else { return };
        let shards = all_of(&give);
        match self.shared.answered(cluster.give(self.node, give.clone())).await {
            Ok(()) => tracing::info!(shards = shards.len(), "gave shards away"),
            Err(error) => {
                tracing::warn!(%error, shards = shards.len(), "failed to give shards away: they are given again");
                self.unsure = give;
            }
        }
    }

    /// Another node has taken over: everything is forgotten, and this process joins as a new node.
    async fn fenced(&mut self) {
        let shared = self.shared.clone();
        tracing::warn!(node = %self.node, "this node was taken over: it forgets what it had, and joins again");
        shared.send(Message::Fenced(self.node));
        if let Some(cluster) = shared.store.cluster() {
            // Where it was fenced some other way than by a take-over, what it owned is nobody's from now on.
            drop(self.shared.answered(cluster.leave(self.node)).await);
        }
        shared.owned.send_replace(Shards::NONE);
        (self.owned, self.letting_go, self.steady) = (Shards::NONE, None, None);
        self.unsure.clear();
        self.neighbours = Neighbours::default();
        shared.guests.send_replace(Vec::new());
        shared.loans(|loans| *loans = Loans::default());
        let node = new_node(&shared);
        while !shared.is_stopped() {
            match join(&shared, node).await {
                Ok(incarnation) => {
                    self.node = node;
                    shared.set_node(node);
                    self.renewed = shared.own_clock.now();
                    return shared.send(Message::Joined(incarnation));
                }
                Err(error) => {
                    shared.cannot_read(&error.to_string());
                    shared.env.sleep_until(shared.env.now().plus(Duration::from_millis(500))).await;
                }
            }
        }
    }

    /// Hands over what it has to those who stay, if anybody does; then the worker stops, and the node is gone.
    async fn go(&mut self, cluster: &dyn Cluster) {
        if let Err(error) = self.hand_over(cluster).await {
            tracing::warn!(%error, "failed to hand over: the others take over when the lease has run out");
        }
        self.shared.stop_worker().await;
        if let Err(error) = self.shared.answered(cluster.leave(self.node)).await {
            tracing::warn!(%error, "failed to leave: the lease runs out by itself");
        }
        self.shared.gone.send_replace(true);
    }

    async fn hand_over(&mut self, cluster: &dyn Cluster) -> Result<(), StoreError> {
        self.shared.answered(cluster.renew(self.node, self.shared.settings.lease)).await?;
        let view = self.shared.answered(cluster.view()).await?;
        let shares = spread::legacy(&view, self.node);
        if shares.is_empty() {
            return Ok(());
        }
        if let Some((let_go, _)) = self.letting_go.take() {
            let _ = self.in_time(let_go).await;
        }
        self.let_go(shares);
        let Some((let_go, shares)) = self.letting_go.take() else { return Ok(()) };
        if self.in_time(let_go).await {
            self.shared.answered(cluster.give(self.node, shares)).await?;
        }
        Ok(())
    }

    async fn in_time(&self, let_go: oneshot::Receiver<()>) -> bool {
        let enough = self.shared.env.sleep_until(self.shared.env.now().plus(LAST_MAX));
        tokio::select! {
            biased;
            done = let_go => done.is_ok(),
            () = enough => false,
        }
    }
}

fn all_of(give: &[(NodeId, Shards)]) -> Shards {
    give.iter().fold(Shards::NONE, |all, (_, shards)| all.with(shards))
}

/// What was let go of, once it is; never, when there is nothing.
async fn let_go(letting_go: &mut Option<LettingGo>) -> Option<Vec<(NodeId, Shards)>> {
    let Some((done, _)) = letting_go else { return std::future::pending().await };
    let done = done.await;
    let (_, give) = letting_go.take()?;
    done.ok().map(|()| give)
}
