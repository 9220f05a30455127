//! Callers who wait for a saga's end at any node, and must hear it.

use super::{
    town::Town,
    world::{Process, locked, within},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet::{Engine, Snapshot, Until};
use tercet_core::SagaId;

/// Somebody heard of an end from a node that did not own the saga.
pub(crate) const HEARD_ELSEWHERE: &str = "a caller heard of a saga's end at a node that did not own it";

/// How many callers wait for a saga.
const SHARE: f64 = 0.4;

/// Between two looks at whether the node that is asked is alive.
const LOOK: Duration = Duration::from_secs(20);

/// Who waits and has not heard: by number, so that one saga may have several.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<(u64, BTreeSet<(SagaId, u64)>)>);

impl Waiters {
    fn begins(&self, saga: SagaId) -> (SagaId, u64) {
        let mut all = locked(&self.0);
        all.0 += 1;
        let waiter = (saga, all.0);
        all.1.insert(waiter);
        waiter
    }

    fn has_heard(&self, waiter: (SagaId, u64)) {
        locked(&self.0).1.remove(&waiter);
    }

    /// The sagas whose end somebody has not heard of.
    pub(crate) fn waiting(&self) -> Vec<SagaId> {
        locked(&self.0).1.iter().map(|(saga, _)| *saga).collect()
    }
}

/// Somebody waits for the saga, perhaps: at one node, and when that is gone at another.
pub(crate) fn waits(town: &Arc<Town>, saga: SagaId) {
    if !town.world.chance(SHARE) {
        return;
    }
    let (this, waiter) = (town.clone(), town.waiters.begins(saga));
    town.world.spawn(town.people, async move {
        loop {
            if let Some((process, engine)) = this.a_node()
                && let Some(ended) = asks(&this, process, &engine, saga).await
            {
                hears(&this, &engine, &ended);
                return this.waiters.has_heard(waiter);
            }
            this.world.some_time(200, 3_000).await;
        }
    });
}

/// The end, as that node tells it, if it lives for so long.
async fn asks(town: &Arc<Town>, process: Process, engine: &Engine, saga: SagaId) -> Option<Snapshot> {
    let mut waits = Box::pin(engine.wait(saga, Until::End));
    loop {
        match within(&town.world, LOOK, &mut waits).await {
            Some(Ok(ended)) => return Some(ended),
            Some(Err(error)) => {
                if !error.may_pass() {
                    town.world.violate(format!("who waits for {saga}, which was acknowledged, is told: {error}"));
                }
                return None;
            }
            None if town.world.is_alive(process) && town.nodes.is_known(process) => {}
            None => return None,
        }
    }
}

/// What is heard is so.
fn hears(town: &Town, engine: &Engine, ended: &Snapshot) {
    let (saga, life) = (ended.state.saga(), ended.state.life);
    let is = town.checker.with_states(|states| states.get(&saga).map(|state| state.life));
    if !life.is_ended() || is != Some(life) {
        town.world.violate(format!("who waited for {saga} to end heard that it is {life:?}, and it is {is:?}"));
    }
    if town.nodes.share() && town.owner(saga) != Some(engine.node()) {
        town.world.count(HEARD_ELSEWHERE);
    }
}
