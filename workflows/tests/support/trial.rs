//! One saga from a fresh sale to its end, and what it changed.

use super::{
    sales::{Case, Shape},
    slate::{Delta, Holds},
    world::{World, ended},
};
use std::{collections::BTreeMap, sync::Arc};
use tercet_core::{Phase, SagaId, State};
use tercet_shop::{Ledger, channel::Behaviour};

const REFUSED: &str = "money: its try was refused: account_closed: the refund failed for good";

/// A saga that has ended, or is parked.
pub(crate) struct Trial {
    pub(crate) case: Case,
    pub(crate) before: Ledger,
    pub(crate) state: Arc<State>,
    pub(crate) delta: Delta,
}

impl Trial {
    pub(crate) fn saga(&self) -> SagaId {
        self.state.saga()
    }

    pub(crate) fn ended(&self) -> &'static str {
        ended(&self.state)
    }

    /// The step that is parked, and why.
    pub(crate) fn parked(&self) -> String {
        parked(&self.state)
    }
}

pub(crate) fn parked(state: &Arc<State>) -> String {
    let all: Vec<_> = state.parked().map(|(step, why)| format!("{step}: {why}")).collect();
    all.join("\n")
}

impl World {
    /// Sells something, arranges what is to go wrong, and refunds it.
    pub(crate) async fn trial(&self, shape: Shape, arrange: impl FnOnce(&Self, &Case)) -> Trial {
        let case = self.case(shape).await;
        let before = self.ledger().await;
        arrange(self, &case);
        let state = self.refund(&case).await;
        self.tried(case, before, state).await
    }

    pub(crate) async fn tried(&self, case: Case, before: Ledger, state: Arc<State>) -> Trial {
        let holds = if state.life.is_ended() { Holds::None } else { Holds::Some };
        let delta = self.slate(&before, holds).await;
        Trial { case, before, state, delta }
    }

    /// The same saga, once it has gone on to its end or is parked again.
    pub(crate) async fn goes_on(&self, trial: Trial) -> Trial {
        let state = self.settled(trial.saga()).await;
        self.tried(trial.case, trial.before, state).await
    }

    /// The third party's definite no; for money that is not ours to keep, a person's cancel after it.
    pub(crate) async fn refused_by_third_party(&self, shape: Shape, arrange: impl FnOnce(&Self, &Case)) -> Trial {
        let trial = self
            .trial(shape, |world, case| {
                world.behave(&case.refund, Behaviour::Refuse);
                arrange(world, case);
            })
            .await;
        if shape != Shape::PaidTwice {
            return trial;
        }
        assert_eq!(trial.parked(), REFUSED);
        self.cancel(trial.saga()).await.unwrap();
        self.goes_on(trial).await
    }

    /// What nothing but the shape decides: which calls are made, and what is changed, when nothing goes wrong.
    pub(crate) async fn undisturbed(&self, shape: Shape) -> (Vec<(String, Phase)>, Delta) {
        let trial = self.trial(shape, |_, _| {}).await;
        assert_eq!(trial.ended(), "confirmed", "{:#?}", trial.state);
        (self.calls(trial.saga()), trial.delta)
    }

    /// The same for a refund that the third party refuses.
    pub(crate) async fn refused(&self, shape: Shape) -> (Vec<(String, Phase)>, Delta) {
        let trial = self.refused_by_third_party(shape, |_, _| {}).await;
        assert_eq!(trial.ended(), "cancelled", "{:#?}", trial.state);
        (self.calls(trial.saga()), trial.delta)
    }

    fn calls(&self, saga: SagaId) -> Vec<(String, Phase)> {
        let counts: BTreeMap<_, _> = self.wires.counts(saga);
        assert!(counts.values().all(|&count| count == 1), "asked more than once: {counts:?}");
        counts.into_keys().collect()
    }
}

/// One test for each shape of a refund.
macro_rules! each_shape {
    ($name:ident, $check:ident) => {
        mod $name {
            use crate::support::Shape;

            #[tokio::test]
            async fn full() {
                super::$check(Shape::Full).await;
            }

            #[tokio::test]
            async fn partial() {
                super::$check(Shape::Partial).await;
            }

            #[tokio::test]
            async fn returned() {
                super::$check(Shape::Returned).await;
            }

            #[tokio::test]
            async fn kept() {
                super::$check(Shape::Kept).await;
            }

            #[tokio::test]
            async fn within_claim() {
                super::$check(Shape::WithinClaim).await;
            }

            #[tokio::test]
            async fn paid_twice() {
                super::$check(Shape::PaidTwice).await;
            }
        }
    };
}
pub(crate) use each_shape;
