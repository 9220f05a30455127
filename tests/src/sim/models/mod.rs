//! The model participants: each on the SDK's own runner, barrier and in-memory database, with an equation that must hold at each
//! of its commits.

pub(crate) mod carrier;
pub(crate) mod desk;
pub(crate) mod pay;
pub(crate) mod shelf;

use super::{
    weather::{Fault, Weather},
    world::World,
};
use std::{collections::BTreeMap, sync::Arc};
use tercet_core::{Call, Millis, Phase, SagaId, StepInstance};
use tercet_participant::{Clock, Outcome, refuse, retry};

/// What took effect, how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied(BTreeMap<(SagaId, StepInstance, Phase), u32>);

impl Applied {
    /// The call's phase takes effect now.
    pub(crate) fn mark(&mut self, call: &Call) {
        *self.0.entry((call.saga, call.step.clone(), call.phase)).or_default() += 1;
    }

    /// Each phase of a step took effect at most once, and never confirm and cancel of one step.
    pub(crate) fn check(&self) -> Result<(), String> {
        for ((saga, step, phase), times) in &self.0 {
            if *times > 1 {
                return Err(format!("the {phase} of {step} of {saga} took effect {times} times"));
            }
            let cancelled = (*saga, step.clone(), Phase::Cancel);
            if *phase == Phase::Confirm && self.0.contains_key(&cancelled) {
                return Err(format!("{step} of {saga} was confirmed and cancelled"));
            }
        }
        Ok(())
    }
}

/// What every model can be asked.
pub(crate) trait Model: Clone + Send + 'static {
    /// Its own equation.
    fn check(&self) -> Result<(), String>;

    /// What is held and neither taken nor given back, by the step that holds it.
    fn held(&self) -> Vec<(SagaId, String)>;
}

/// The world's clock, as participants read it.
pub(crate) struct WorldClock(pub(crate) Arc<World>);

impl Clock for WorldClock {
    fn now(&self) -> Millis {
        self.0.now()
    }
}

/// The weather may have any handler say *not now*, and a try say no.
pub(crate) fn mood(weather: &Weather, phase: Phase) -> Outcome<()> {
    if weather.strikes(Fault::NotNow) {
        return retry("not now, on purpose");
    }
    if phase == Phase::Try && weather.strikes(Fault::Refused) {
        refuse("refused", "on purpose")?;
    }
    Ok(())
}
