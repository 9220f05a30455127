//! The shop in the worlds of `tercet-testing`: opened from a folder in which everything was sold already.

use super::{Delta, clock::BEGINS, world::World};
use std::{sync::Arc, time::Duration};
use tercet::Registry;
use tercet_core::{Millis, Participant, Payload, Policy};
use tercet_participant::{
    database::Boxed,
    outbox::{Acknowledged, Completion, Ingress, Start, Told},
};
use tercet_shop::{
    Ledger, Shop,
    channel::{Behaviour, Behaviours, Buyer, Charges, Charging},
    clock::Waiting,
};
use tercet_testing::{Participants, Place, Time, Worlds};
use tercet_workflows::ingress::EngineIngress;
use tokio::sync::OnceCell;

/// Between two rounds of the courier at most.
const ROUND_EVERY: Duration = Duration::from_secs(30);

/// The shop as a world's participants.
pub(crate) struct Cast {
    pub(crate) shop: Arc<Shop>,
    /// Participants beside the shop's.
    more: Vec<Arc<dyn Participant>>,
    /// The figures at the end, read once.
    last: OnceCell<Ledger>,
}

impl Participants for Cast {
    fn all(&self) -> Vec<Arc<dyn Participant>> {
        self.shop.participants().into_iter().chain(self.more.clone()).collect()
    }
}

impl Cast {
    /// The shop in that place, with a channel that can close a refund or not.
    pub(crate) async fn open(place: Place, closes: bool, more: Vec<Arc<dyn Participant>>) -> Self {
        let settings = tercet_shop::Settings {
            behaviours: Behaviours::always(Behaviour::Succeed),
            charges: Charges::always(Charging::new(Buyer::Waits)),
            closes,
            clock: Arc::new(ShopTime(place.time().clone())),
            patience: Duration::from_secs(60),
            minor_per_point: 1,
        };
        Self { shop: Arc::new(Shop::open(place.folder(), settings).await.unwrap()), more, last: OnceCell::new() }
    }

    /// The figures of all databases when the world has come to rest.
    pub(crate) async fn last(&self) -> &Ledger {
        self.last.get_or_init(|| async { self.shop.ledger().await.unwrap() }).await
    }

    /// What has changed since `before`, when the world has come to rest; `Err` when an equation does not hold, or something more
    /// than before is held.
    pub(crate) async fn delta(&self, before: &Ledger) -> Result<Delta, String> {
        let after = self.last().await;
        let mut wrong: Vec<_> = self.shop.violations().await.iter().map(ToString::to_string).collect();
        wrong.extend(after.mismatches());
        if after.holds() != before.holds() {
            wrong.push(format!("{} things are held, and {} were before", after.holds(), before.holds()));
        }
        if wrong.is_empty() { Ok(Delta::between(before, after)) } else { Err(wrong.join("; ")) }
    }
}

/// The worlds of a saga of the shop, each of which begins with a copy of all of `sold`'s databases.
pub(crate) fn worlds(
    registry: Registry, sold: &World, (definition, key, input): (&str, &str, &Payload),
) -> Worlds<Cast> {
    tercet_testing::worlds(registry)
        .saga(definition, input)
        .participants(|place| Cast::open(place, true, Vec::new()))
        .key(key)
        .template(sold.folder())
        .begins(BEGINS)
        .crashes_on_disk()
        .pump(|world| async move {
            let next = carry(world).await;
            // Hours pass in many worlds: while nothing is due at the channel, a round now and then is enough.
            if next == ROUND_EVERY { ROUND_EVERY * 10 } else { next }
        })
}

/// What the courier does: the channel's reports into the gateway, and outboxes into the engine.
pub(crate) async fn carry(world: tercet_testing::World<Cast>) -> Duration {
    let shop = &world.participants().shop;
    let relay = shop.relay(Counted(EngineIngress(world.alive().await), world.time.clone()));
    let due = shop.turn(&relay).await.unwrap();
    due.map_or(ROUND_EVERY, |due| due.since(world.now())).min(ROUND_EVERY)
}

/// The shop's clock in a world. How long the gateway waits for the channel at most is no sleep inside of a call: the channel is at
/// work meanwhile.
struct ShopTime(Arc<Time>);

impl tercet_shop::clock::Clock for ShopTime {
    fn now(&self) -> Millis {
        self.0.now()
    }

    fn sleep(&self, wait: Duration) -> Waiting<'_> {
        if wait == Policy::PIVOT.timeout { Box::pin(self.0.sleep(wait)) } else { Box::pin(self.0.sleep_within(wait)) }
    }
}

/// The way into the engine, which counts its own work.
#[derive(Clone)]
struct Counted(EngineIngress, Arc<Time>);

impl Ingress for Counted {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let _waiting = self.1.waiting();
            self.0.complete(completion).await
        })
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let _waiting = self.1.waiting();
            self.0.start(start).await
        })
    }

    fn signal(&self, told: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let _waiting = self.1.waiting();
            self.0.signal(told).await
        })
    }
}
