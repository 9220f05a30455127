//! Every single-fault world of each shape of a refund: of one that is confirmed, of one that the third party refuses. The money and
//! the books are in step in each of them, every effect is there once, and a cancelled refund leaves everything as it was.

use crate::support::{
    Delta, Shape, World, each_shape,
    kit::{self, Cast},
};
use std::sync::Arc;
use tercet::EngineError;
use tercet_core::Action;
use tercet_shop::{Ledger, channel::Behaviour};
use tercet_testing::{End, Figures};

/// Whether the buyer hears of it: nobody is told of a `refund_money` that a person cancelled.
fn failed(shape: Shape) -> Delta {
    if shape == Shape::PaidTwice { Delta::nothing() } else { Delta::told_of_failure() }
}

/// What a refund must have changed by its end.
struct Slate {
    before: Ledger,
    whole: Delta,
    failed: Delta,
}

impl Slate {
    async fn check(&self, world: &tercet_testing::World<Cast>) -> Result<(), String> {
        let delta = world.participants().delta(&self.before).await?;
        let (delta, should) = match world.end() {
            End::Confirmed => (delta, &self.whole),
            End::Cancelled => (delta.without_traces(), &self.failed),
            End::Parked => return Err("it is parked".to_owned()),
        };
        if delta == *should { Ok(()) } else { Err(format!("this has changed:\n{delta}\nand this should:\n{should}")) }
    }
}

async fn figures(world: tercet_testing::World<Cast>, slate: Arc<Slate>) -> Figures {
    Delta::between(&slate.before, world.participants().last().await).into_figures()
}

/// A person cancels it; where that was asked before, it is marked as not done.
async fn gives_up(world: tercet_testing::World<Cast>) {
    match world.cancel(world.saga()).await {
        Err(EngineError::TooLate { state: "trying", .. }) => {
            world.operate(world.saga(), "money", Action::MarkNotDone { force: false }).await.unwrap();
        }
        done => done.unwrap(),
    }
}

async fn check(shape: Shape) {
    let (_, whole) = World::new(21).await.undisturbed(shape).await;
    let sold = World::new(22).await;
    let case = sold.case(shape).await;
    let slate = Arc::new(Slate { before: sold.ledger().await, whole, failed: failed(shape) });
    let (counted, checked, refund) = (slate.clone(), slate, case.refund.clone());
    let registry = tercet_workflows::registry().unwrap();
    let mut worlds = kit::worlds(registry, &sold, (case.definition, case.refund.as_str(), &case.input))
        .course("refused by the channel", move |world| {
            world.participants().shop.channel().tell(refund.clone(), Behaviour::Refuse);
            async {}
        })
        .figures(move |world| figures(world, counted.clone()))
        .clean_slate(move |world| {
            let slate = checked.clone();
            async move { slate.check(&world).await }
        });
    if shape == Shape::PaidTwice {
        // Money that is not ours to keep: a person decides.
        worlds = worlds.when_parked("money", gives_up);
    }
    worlds.run().await;
}
each_shape!(every_single_fault_world_of_a_refund_ends_well, check);
