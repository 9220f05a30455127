//! The race of the buyer's payment against the order's and the payment's deadline: the channel's report comes from 50 ms before to 50 ms
//! after it, and each charge that is done ends as exactly one of *order confirmed* and *money given back*.

use crate::{
    bills::{Bill, Money, PATIENCE, world},
    support::{Holds, Kept, Setup, World},
};
use std::{collections::BTreeMap, time::Duration};
use tercet_shop::channel::Charging;

/// Orders that race at once: they share the moment at which all their deadlines fall.
const AT_ONCE: usize = 50;

/// From the deadline to the report, and from the payment to the report.
fn drawn(world: &World) -> (i64, u64) {
    let random = world.time.random();
    (i64::try_from(random % 101).unwrap() - 50, (random >> 32) % 41)
}

/// A payment that is reported so long before or after the deadline. The order waits from now on, the payment is asked after each minute
/// from now on and closed when the order's patience ends; every other link expires at that moment, too.
async fn racing(world: &World, number: usize) -> Bill {
    let (report, lag) = drawn(world);
    let mut bill = world.bill().await;
    let deadline = i64::try_from(PATIENCE.as_millis()).unwrap();
    let paid = u64::try_from(deadline + report).unwrap() - lag;
    let charging = Charging::paid(Duration::from_millis(paid)).reported(1, Duration::from_millis(lag));
    world.charge_goes(bill.payment(), charging);
    bill.request.expires_at_ms = (number.is_multiple_of(2)).then(|| world.now().plus(PATIENCE).0);
    bill
}

async fn race(rounds: usize) {
    let world = world(261, Setup { kept: Kept::OnDisk, ..Setup::default() }).await;
    let mut counts = BTreeMap::<Money, usize>::new();
    for _ in 0..rounds / AT_ONCE {
        let before = world.ledger().await;
        let (mut bills, mut sagas) = (Vec::new(), Vec::new());
        for number in 0..AT_ONCE {
            bills.push(racing(&world, number).await);
        }
        for bill in &bills {
            sagas.push(world.pays(bill).await);
        }
        for saga in sagas {
            world.settled(saga).await;
        }
        world.calms_down().await;
        world.slate(&before, Holds::None).await;
        for money in world.money_of(&bills).await {
            *counts.entry(money).or_default() += 1;
        }
    }
    let of = |money| counts.get(&money).copied().unwrap_or(0);
    let (kept, back, none) = (of(Money::Kept), of(Money::GivenBack), of(Money::NeverCame));
    println!(
        "{rounds} rounds: {kept} orders confirmed, {back} payments given back, {none} links closed before they were paid"
    );
    assert_eq!(kept + back + none, rounds);
    assert!(kept > 0 && back > 0, "a race that only one side wins shows nothing");
}

#[tokio::test]
async fn a_payment_races_the_deadline_a_hundred_times() {
    race(100).await;
}

#[tokio::test]
#[ignore = "a thousand rounds: `./tests/run shop` runs them"]
async fn a_payment_races_the_deadline_a_thousand_times() {
    race(1_000).await;
}
