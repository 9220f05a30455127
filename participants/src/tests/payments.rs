//! The refund ledger and its ceiling.

use super::{Bench, bench, eur, id, line, reply, sale};
use crate::{
    channel::Behaviour,
    money::{Currency, Money},
    orders::OrderState,
    payments::{
        self, BookRefunded, Booked, Evidence, HoldRefund, MoneyLedger, PaymentLedger, Receipt, RefundState,
        RefundToHold,
    },
};
use tercet_core::Answer;

async fn paid() -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    bench.shop.seed(&[sale("o-1", OrderState::Paid)]).await.unwrap();
    bench
}

fn hold(refund: &str, amount: Money) -> RefundToHold {
    let (payment, reason) = (id("pay-o-1"), "test".to_owned());
    RefundToHold { refund: id(refund), payment, amount, reason, received: None }
}

async fn ledger(bench: &Bench) -> PaymentLedger {
    payments::ledger(bench.shop.databases.payments.reader()).await.unwrap()
}

async fn money(bench: &Bench) -> MoneyLedger {
    ledger(bench).await.money["EUR"]
}

#[tokio::test]
async fn amounts_that_cannot_be_held_are_refused_with_both_figures() {
    let bench = paid().await;
    let amounts = [eur(0), eur(-1), eur(17_926), Money::new(1, Currency::KWD)];
    let mut said = Vec::new();
    for (saga, amount) in (1..).zip(amounts) {
        said.push(line(&bench.step::<HoldRefund>(saga, &hold(&format!("r-{saga}"), amount)).try_().await));
    }
    let nowhere = RefundToHold { payment: id("pay-none"), ..hold("r-9", eur(1)) };
    said.push(line(&bench.step::<HoldRefund>(9, &nowhere).try_().await));
    insta::assert_snapshot!(said.join("\n"), @"
    refused bad_amount: 0.00 EUR cannot be refunded, 179.25 EUR is left
    refused bad_amount: -0.01 EUR cannot be refunded, 179.25 EUR is left
    refused above_left: 179.26 EUR is more than the 179.25 EUR that is left
    refused bad_amount: KWD and EUR cannot be added up
    refused no_payment: there is no payment pay-none
    ");
    assert_eq!(money(&bench).await.reserved, 0);
    bench.is_sound().await;
}

#[tokio::test]
async fn b46_two_halves_leave_exactly_nothing() {
    let bench = paid().await;
    let too_much = bench.step::<HoldRefund>(1, &hold("r-1", eur(17_926))).try_().await;
    insta::assert_snapshot!(line(&too_much), @"refused above_left: 179.26 EUR is more than the 179.25 EUR that is left");
    bench.step::<HoldRefund>(2, &hold("r-2", eur(8_963))).through().await;
    bench.step::<HoldRefund>(3, &hold("r-3", eur(8_962))).through().await;
    let left = payments::left_of(bench.shop.databases.payments.reader(), &id("pay-o-1")).await.unwrap();
    assert_eq!(left, eur(0));
    bench.is_sound().await;
}

#[tokio::test]
async fn b37_two_equal_partial_refunds_are_two_and_a_repeat_is_answered_with_its_own() {
    let bench = paid().await;
    let first = bench.step::<HoldRefund>(1, &hold("r-1", eur(1_000)));
    let second = bench.step::<HoldRefund>(2, &hold("r-2", eur(1_000)));
    first.through().await;
    let tried = second.try_().await;
    assert_eq!(reply::<HoldRefund>(&tried).refund, id("r-2"));
    second.confirm().await;
    assert_eq!(second.try_().await, tried);
    let other_saga = bench.step::<HoldRefund>(3, &hold("r-2", eur(1_000))).try_().await;
    insta::assert_snapshot!(line(&other_saga), @"refused duplicate: the refund r-2 is or was held already");
    assert_eq!(money(&bench).await, MoneyLedger { received: 17_925, refunded: 2_000, reserved: 0 });
    bench.is_sound().await;
}

#[tokio::test]
async fn a_released_refund_is_not_held_again() {
    let bench = paid().await;
    let first = bench.step::<HoldRefund>(1, &hold("r-1", eur(17_925)));
    first.try_().await;
    first.cancel().await;
    assert_eq!(money(&bench).await.reserved, 0);
    assert_eq!(bench.step::<HoldRefund>(2, &hold("r-1", eur(1))).try_().await.as_str(), "refused");
    bench.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refunds_at_once_never_exceed_what_was_received() {
    let bench = paid().await;
    let mut tries = Vec::new();
    for saga in 1..=60 {
        let step = bench.step::<HoldRefund>(saga, &hold(&format!("r-{saga}"), eur(1_500)));
        tries.push(tokio::spawn(async move {
            let said = step.try_().await;
            match (said.as_str(), saga % 2) {
                ("done", 0) => step.cancel().await,
                ("done", _) => step.confirm().await,
                _ => said,
            }
        }));
    }
    for tried in tries {
        let said = tried.await.unwrap();
        match &said {
            Answer::Refused(no) => assert_eq!(no.code, "above_left"),
            other => assert_eq!(other.as_str(), "done"),
        }
    }
    let now = money(&bench).await;
    assert!(now.refunded <= now.received && now.reserved == 0, "{now:?}");
    // 17,925 holds eleven times 1,500: what was released was held again by others, or was asked for too early.
    assert_eq!(now.refunded % 1_500, 0);
    bench.is_sound().await;
}

#[tokio::test]
async fn money_that_moved_is_booked_whatever_the_refund_is_held_as() {
    let bench = paid().await;
    let released = bench.step::<HoldRefund>(1, &hold("r-1", eur(10_000)));
    released.try_().await;
    released.cancel().await;
    bench.step::<HoldRefund>(2, &hold("r-2", eur(10_000))).through().await;
    let evidence = |refund: &str, amount| Evidence {
        refund: id(refund),
        payment: id("pay-o-1"),
        amount: eur(amount),
        transaction: format!("t-{refund}"),
    };
    let book = async |saga, evidence: Evidence| {
        reply::<BookRefunded>(&bench.step::<BookRefunded>(saga, &evidence).try_().await)
    };
    assert_eq!(book(3, evidence("r-2", 10_000)).await, Booked::Known);
    assert_eq!(book(4, evidence("r-1", 10_000)).await, Booked::Against);
    assert_eq!(book(5, evidence("r-1", 10_000)).await, Booked::Known);
    assert_eq!(book(6, evidence("r-never-held", 5)).await, Booked::Against);
    let now = ledger(&bench).await;
    assert_eq!(now.money["EUR"].refunded, 20_005);
    insta::assert_snapshot!(now.attention["pay-o-1"], @"0.05 EUR of refund r-never-held moved although it was released");
    let state = payments::refund_state(bench.shop.databases.payments.reader(), &id("r-1")).await.unwrap();
    assert_eq!(state, Some(RefundState::Refunded));
    bench.is_sound().await;
}

#[tokio::test]
async fn money_that_came_late_is_booked_once_by_the_refund_that_gives_it_back() {
    let bench = paid().await;
    let late = Receipt { transaction: "t-late".to_owned(), amount: eur(500) };
    let with = |refund: &str, amount| RefundToHold { received: Some(late.clone()), ..hold(refund, eur(amount)) };
    bench.step::<HoldRefund>(1, &with("r-1", 18_000)).through().await;
    let again = bench.step::<HoldRefund>(2, &with("r-2", 500)).try_().await;
    insta::assert_snapshot!(line(&again), @"refused above_left: 5.00 EUR is more than the 4.25 EUR that is left");
    assert_eq!(money(&bench).await, MoneyLedger { received: 18_425, refunded: 18_000, reserved: 0 });
    bench.is_sound().await;
}
