//! What can go wrong, how often, and how often it did. A seed draws a subset of the faults and a strength for each.

use super::world::{World, locked};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet::engine::Limits;

macro_rules! faults { ($($name:ident $text:literal $rate:literal)+) => {
    /// A fault, in the way of one message, commit, call or moment.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) enum Fault { $($name),+ }

    impl Fault {
        pub(crate) const ALL: &'static [Self] = &[$(Self::$name),+];

        pub(crate) const fn text(self) -> &'static str {
            match self { $(Self::$name => $text),+ }
        }

        const fn rate(self) -> f64 {
            match self { $(Self::$name => $rate),+ }
        }
    }
} }

faults! {
    CallLost "call lost" 0.08
    ReplyLost "reply lost" 0.08
    CallDoubled "call doubled" 0.10
    CallLate "call late" 0.06
    ReplyLate "reply late" 0.06
    CallVeryLate "call very late" 0.02
    NobodyThere "no responder" 0.01
    CrashBeforeCommit "participant crashed before its commit" 0.03
    CrashAfterCommit "participant crashed after its commit" 0.03
    Conflict "participant's transaction began again" 0.05
    AnswerOfCommitLost "participant's commit without its answer" 0.03
    NotNow "participant said not now" 0.05
    StoreUnavailable "store unavailable" 0.03
    StoreDown "store down for a while" 0.004
    CommitUnsaid "store committed without saying so" 0.03
    CommitLost "store said nothing and did not" 0.03
    CommitLate "store said nothing and did later" 0.02
    CommitStalls "store hung in a commit" 0.01
    ChangeUnavailable "store unavailable for what nodes change" 0.03
    ChangeUnsaid "store changed what nodes asked for without saying so" 0.04
    GaveLate "store gave shards away after it had not answered" 0.10
    NodeDied "a node died" 0.30
    NodeStoodStill "a node stood still" 0.35
    NodeCutOff "a node was cut off from the store" 0.35
    NodeLeft "a node left in good order" 0.30
    NodeJoined "a node more was started" 0.30
    Deployed "a newer release was rolled out" 0.30
    CrashBeforeWrite "engine died before a commit" 0.02
    CrashAfterWrite "engine died after a commit" 0.02
    TakenOver "engine taken over while it lived" 0.01
    BankCallLost "third party's call lost" 0.08
    BankAnswerLost "third party's answer lost" 0.10
    BankCallLate "third party's call landed late" 0.10
    BankAccepted "third party accepted, and answered late" 0.45
    BankFailedLater "third party accepted, and failed later" 0.25
    BankSecondRefused "third party refused a second attempt while the first was on its way" 0.70
    BankTwice "third party reported twice" 0.40
    BankNever "third party never reported" 0.35
    BankForgot "third party forgot" 0.30
    BankMovedAfterClose "third party moved the money after its close was asked for" 0.50
    BankPaidAllTheSame "third party said no for good, and paid all the same" 0.30
    BankNotFinal "third party's refusal was not final" 0.15
    BankPoor "third party's balance was insufficient for a while" 0.10
    BankRefused "third party refused for good" 0.08
    DepotLate "carrier's third party: call landed late" 0.40
    DepotSilent "carrier's third party: answer lost" 0.15
    CancelAsked "a user cancelled" 0.10
    OperatorActed "an operator acted" 0.10
    StartDoubled "a start came twice" 0.20
    KeyTaken "a key was used for another input" 0.08
    PaidTwice "an order was paid twice" 0.30
    Refused "a participant refused" 0.05
}

/// The faults of one run.
pub(crate) struct Weather {
    world: Arc<World>,
    rates: Mutex<BTreeMap<Fault, f64>>,
    /// How participants are spared. Tight ones are no fault: they stay when the faults are over.
    pub(crate) limits: Limits,
}

/// Often so tight that a town's few calls fill a line and open a breaker.
fn limits(world: &World) -> Limits {
    let concurrent = [1, 2, 512];
    let concurrent = world.pick(&concurrent).copied().unwrap_or(512);
    let calls_min = if world.chance(0.6) { 4 } else { 100 };
    Limits { concurrent, calls_min, window: Duration::from_secs(120), ..Limits::DEFAULT }
}

impl Weather {
    /// What the world's seed gives.
    pub(crate) fn of(world: &Arc<World>) -> Arc<Self> {
        let mut rates = BTreeMap::new();
        for &fault in Fault::ALL {
            if world.chance(0.45) {
                let strength = [0.5, 1.0, 2.0];
                let strength = world.pick(&strength).copied().unwrap_or(1.0);
                rates.insert(fault, (fault.rate() * strength).min(0.9));
            }
        }
        Arc::new(Self { world: world.clone(), rates: Mutex::new(rates), limits: limits(world) })
    }

    /// None at all: for scripted scenarios.
    #[cfg(test)]
    pub(crate) fn fair(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), rates: Mutex::default(), limits: Limits::DEFAULT })
    }

    /// Does it happen now? Counted when it does.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let rate = locked(&self.rates).get(&fault).copied().unwrap_or(0.0);
        let strikes = self.world.chance(rate);
        if strikes {
            self.world.count(fault.text());
        }
        strikes
    }

    /// Makes a fault certain, or impossible: for scripted scenarios.
    #[cfg(test)]
    pub(crate) fn set(&self, fault: Fault, rate: f64) {
        locked(&self.rates).insert(fault, rate);
    }

    /// Faults are over; what people do is, too.
    pub(crate) fn heal(&self) {
        locked(&self.rates).clear();
    }
}
