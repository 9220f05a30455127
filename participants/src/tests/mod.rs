//! A shop in a temporary directory on a clock that stands, and calls as an orchestrator makes them.

mod callbacks;
mod channel;
mod charges;
mod conformance;
mod events;
mod finding;
mod gateway;
mod grants;
mod inventory;
mod money;
mod orders;
mod payments;
mod placing;
mod pricing;
mod requests;
mod servers;
mod shop;
mod spending;

use crate::{
    Sale, Settings, Shop,
    channel::{Behaviour, Behaviours, Buyer, Charges, Charging},
    clock::HandClock,
    money::{Currency, Minor, Money},
    orders::{OrderState, SeedLine, SeedOrder},
};
use std::{fmt::Debug, str::FromStr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tercet_core::{Answer, Call, IdempotencyKey, Millis, Operation, Participant, Phase};
use tercet_participant::conformance::{Calls, at};

/// A shop to test.
pub(crate) struct Bench {
    pub(crate) shop: Shop,
    pub(crate) clock: Arc<HandClock>,
    _dir: TempDir,
}

/// A shop whose channel behaves to everybody like this.
pub(crate) async fn bench(behaviour: Behaviour) -> Bench {
    bench_with(behaviour, true).await
}

pub(crate) async fn bench_with(behaviour: Behaviour, closes: bool) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock::new(at()));
    let shop = Box::pin(Shop::open(dir.path(), settings(behaviour, closes, &clock))).await.unwrap();
    Bench { shop, clock, _dir: dir }
}

fn settings(behaviour: Behaviour, closes: bool, clock: &Arc<HandClock>) -> Settings {
    Settings {
        behaviours: Behaviours::always(behaviour),
        charges: Charges::always(Charging::new(Buyer::Waits)),
        closes,
        clock: clock.clone(),
        patience: Duration::from_secs(60),
        minor_per_point: 1,
    }
}

/// An id that is known to be one.
pub(crate) fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) const fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

/// An order of 179.25 EUR over three lines, with everything a payment grants and costs, in that state.
pub(crate) fn sale(order: &str, state: OrderState) -> Sale {
    let line = |sku: &str, quantity, price| SeedLine { sku: id(sku), quantity, price: Minor(price) };
    let order = SeedOrder {
        id: id(order),
        user: id("mia"),
        payment: id(&format!("pay-{order}")),
        lines: vec![line("cup", 3, 9_000), line("pot", 1, 6_000), line("tea", 2, 4_000)],
        paid: eur(17_925),
        coupon: Some(id(&format!("spent-{order}"))),
        points_spent: 75,
        red_packet: Some(id(&format!("packet-{order}"))),
        state,
        after_sales_until: Some(at().plus(Duration::from_secs(7 * 24 * 3600))),
    };
    Sale {
        coupon_value: eur(1_000),
        points_granted: 179,
        coupon_granted: Some((id(&format!("granted-{}", order.id)), eur(500))),
        red_packet_value: eur(300),
        order,
    }
}

/// The one step of a saga, as an orchestrator would ask for it.
pub(crate) struct Step {
    participant: Arc<dyn Participant>,
    calls: Calls,
    key: Option<String>,
}

impl Bench {
    /// The participant that offers `O`.
    pub(crate) fn participant<O: Operation>(&self) -> Arc<dyn Participant> {
        let offers = |p: &Arc<dyn Participant>| p.contracts().iter().any(|c| c.as_str() == O::NAME);
        self.shop.participants().into_iter().find(offers).unwrap()
    }

    /// A step of the saga of that number.
    pub(crate) fn step<O: Operation>(&self, saga: u64, request: &O::Request) -> Step {
        Step { participant: self.participant::<O>(), calls: Calls::of::<O>(request).unwrap().saga(saga), key: None }
    }

    /// Nothing is out of joint in any database.
    pub(crate) async fn is_sound(&self) {
        assert_eq!(self.shop.violations().await, []);
    }
}

impl Step {
    /// With a key of the business's own.
    pub(crate) fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    pub(crate) async fn ask(&self, phase: Phase, attempt: u32) -> Answer {
        let call = Call { phase, ..self.calls.clone().attempt(attempt).execute() };
        let key = self.key.as_ref().map_or(call.key.clone(), |key| key.parse::<IdempotencyKey>().unwrap());
        self.participant.call(Call { key, ..call }).await
    }

    pub(crate) async fn try_(&self) -> Answer {
        self.ask(Phase::Try, 1).await
    }

    pub(crate) async fn confirm(&self) -> Answer {
        self.ask(Phase::Confirm, 1).await
    }

    pub(crate) async fn cancel(&self) -> Answer {
        self.ask(Phase::Cancel, 1).await
    }

    /// Try, and confirm what was tried.
    pub(crate) async fn through(&self) {
        assert_eq!(self.try_().await.as_str(), "done");
        assert_eq!(self.confirm().await.as_str(), "done");
    }
}

/// The answer in one line, as snapshots show it.
pub(crate) fn line(answer: &Answer) -> String {
    match answer {
        Answer::Done(reply) => format!("done {reply:?}"),
        Answer::Refused(refusal) => format!("refused {refusal}"),
        Answer::Retry { reason, .. } => format!("retry {reason}"),
        Answer::Pending(note) => format!("pending {note:?}"),
        Answer::Expired | Answer::Absent | Answer::Closed => answer.as_str().to_owned(),
    }
}

/// The reply of a done answer.
pub(crate) fn reply<O: Operation>(answer: &Answer) -> O::Reply {
    match answer {
        Answer::Done(reply) => reply.parse().unwrap(),
        other => panic!("not done: {}", line(other)),
    }
}

/// A moment after the one that every test begins at.
pub(crate) fn later(seconds: u64) -> Millis {
    at().plus(Duration::from_secs(seconds))
}

/// Runs `work`; each time that many sleep on the clock it moves on by a second, until the work is done.
pub(crate) async fn while_time_passes<T>(clock: &HandClock, sleepers: usize, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        let asleep = async {
            // Whoever the last move woke gets its turn first.
            tokio::task::yield_now().await;
            while clock.sleepers() < sleepers {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = asleep => clock.advance(Duration::from_secs(1)),
        }
    }
}
