//! A carrier whose waybills lie with a third party: a tcc with a remote effect, half done at times.

use super::{Applied, Model, mood};
use crate::sim::{
    contracts::{Line, Waybill},
    weather::{Fault, Weather},
    world::{Process, World, locked, within},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet_core::{Call, SagaId};
use tercet_participant::{Handed, Memory, Outcome, Remote, Voided, database::memory::MemoryTx, retry};

/// What stands at the depot under a key: whose it is, and whether it is void.
#[derive(Clone, Copy, Debug)]
struct Standing {
    saga: SagaId,
    void: bool,
    confirmed: bool,
}

/// The depot: it does not remember a void of nothing, so a call that lands afterwards makes its waybill.
pub(crate) struct Depot {
    world: Arc<World>,
    weather: Arc<Weather>,
    process: Process,
    bills: Mutex<BTreeMap<String, Standing>>,
    /// How long the next calls travel, in milliseconds, where a script says so.
    pub(crate) travels: Mutex<VecDeque<u64>>,
}

impl Depot {
    pub(crate) fn new(world: &Arc<World>, weather: &Arc<Weather>) -> Arc<Self> {
        let process = world.process();
        Arc::new(Self {
            world: world.clone(),
            weather: weather.clone(),
            process,
            bills: Mutex::default(),
            travels: Mutex::default(),
        })
    }

    /// Waybills that stand, and were neither confirmed nor made void.
    pub(crate) fn loose(&self) -> Vec<(SagaId, String)> {
        let bills = locked(&self.bills);
        let loose = bills.iter().filter(|(_, bill)| !bill.void && !bill.confirmed);
        loose.map(|(key, bill)| (bill.saga, format!("waybill {key} stands"))).collect()
    }

    async fn ask<T: Send + 'static>(
        self: &Arc<Self>, limit: Duration, work: impl FnOnce(&mut BTreeMap<String, Standing>) -> T + Send + 'static,
    ) -> Option<T> {
        let late = self.weather.strikes(Fault::DepotLate);
        let lost = self.weather.strikes(Fault::DepotSilent);
        let travel = if late { self.world.between(1_000, 60_000) } else { self.world.between(1, 40) };
        let travel = locked(&self.travels).pop_front().unwrap_or(travel);
        let (sender, word) = tokio::sync::oneshot::channel();
        let this = self.clone();
        self.world.spawn(self.process, async move {
            this.world.sleep(Duration::from_millis(travel)).await;
            let word = work(&mut locked(&this.bills));
            if lost {
                this.world.sleep(Duration::from_secs(600)).await;
            } else {
                drop(sender.send(word));
            }
        });
        within(&self.world, limit, word).await.and_then(Result::ok)
    }
}

/// The carrier's own record of what it was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bills {
    applied: Applied,
}

impl Model for Bills {
    fn check(&self) -> Result<(), String> {
        self.applied.check()
    }

    fn held(&self) -> Vec<(SagaId, String)> {
        Vec::new()
    }
}

pub(crate) struct Carrier {
    pub(crate) weather: Arc<Weather>,
    pub(crate) depot: Arc<Depot>,
}

impl Remote<Waybill, Memory<Bills>> for Carrier {
    async fn make(&self, cx: &Call, _: Line) -> Handed<String> {
        let (key, saga) = (cx.key.to_string(), cx.saga);
        let made = self.depot.ask(cx.timeout.mul_f64(0.8), move |bills| {
            bills.entry(key.clone()).or_insert(Standing { saga, void: false, confirmed: false });
            key
        });
        match made.await {
            Some(bill) => Handed::Done(bill),
            None => Handed::unknown("the depot did not answer"),
        }
    }

    async fn confirm(&self, cx: &Call, _: Line, bill: String) -> Outcome<()> {
        mood(&self.weather, cx.phase)?;
        let confirmed = self
            .depot
            .ask(cx.timeout.mul_f64(0.8), move |bills| bills.get_mut(&bill).map(|standing| standing.confirmed = true));
        match confirmed.await {
            Some(_) => Ok(()),
            None => retry("the depot did not answer"),
        }
    }

    async fn void(&self, cx: &Call, _: Line, _: Option<String>) -> Outcome<Voided> {
        let key = cx.key.to_string();
        let voided = self
            .depot
            .ask(cx.timeout.mul_f64(0.8), move |bills| bills.get_mut(&key).map(|standing| standing.void = true));
        match voided.await {
            Some(Some(())) => Ok(Voided::Done),
            Some(None) => Ok(Voided::Nothing),
            None => retry("the depot did not answer"),
        }
    }

    async fn record(&self, tx: &MemoryTx<Bills>, cx: &Call, _: Line, _: Option<String>) -> Outcome<()> {
        tx.with(|bills| bills.applied.mark(cx));
        Ok(())
    }
}
