//! The eight states, and what refunds do to an order.

use super::{Bench, bench, eur, id, later, line, reply, sale};
use crate::{
    channel::Behaviour,
    ids::{ClaimId, OrderId, RefundId},
    orders::{
        self, AwaitShipment, Awaiting, Goods, OrderState, Part, PartLine, RefundOrder, Refunding, STATES, ToRefund,
        View,
    },
};
use tercet_core::Answer;
use tercet_participant::{
    Database, SeaOrm,
    database::{Access, Tx},
};

async fn with_orders(states: &[OrderState]) -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    let sales: Vec<_> = states.iter().map(|&state| sale(&format!("o-{state}"), state)).collect();
    bench.shop.seed(&sales).await.unwrap();
    bench
}

fn db(bench: &Bench) -> &SeaOrm {
    &bench.shop.databases.orders
}

async fn view(bench: &Bench, order: &str) -> View {
    orders::view(db(bench).reader(), &id(order)).await.unwrap()
}

/// One order in `from`, asked to go to `to`: what it says.
async fn change(bench: &Bench, from: OrderState, to: OrderState) -> String {
    let order: OrderId = id(&format!("o-{from}"));
    let claim: ClaimId = id("c-1");
    let tx = db(bench).begin(Access::Write).await.unwrap();
    if from == OrderState::InAfterSales {
        let before: OrderId = id("o-shipped");
        orders::change(&tx, &before, from, Some(&claim), later(0)).await.unwrap();
        let said = orders::change(&tx, &before, to, Some(&claim), later(0)).await;
        Tx::rollback(tx).await.unwrap();
        return said.map_or_else(|no| no.to_string(), |()| "ok".to_owned());
    }
    let said = orders::change(&tx, &order, to, Some(&claim), later(0)).await;
    Tx::rollback(tx).await.unwrap();
    said.map_or_else(|no| no.to_string(), |()| "ok".to_owned())
}

#[tokio::test]
async fn every_change_of_state_is_in_the_table_or_refused_with_the_current_state() {
    let before: Vec<_> = STATES.into_iter().filter(|&s| s != OrderState::InAfterSales).collect();
    let bench = with_orders(&before).await;
    let mut table = String::new();
    for from in STATES {
        let (mut allowed, mut refused) = (Vec::new(), 0);
        for to in STATES {
            let said = change(&bench, from, to).await;
            if said == "ok" {
                allowed.push(to.as_str());
            } else {
                let expected = format!("order_is_{from}: an order that is {from} cannot become {to}");
                assert!(said.starts_with(&expected), "{said}");
                refused += 1;
            }
        }
        table += &format!("{from} -> [{}], {refused} refused\n", allowed.join(", "));
    }
    insta::assert_snapshot!(table, @"
    pending_payment -> [paid, cancelled], 6 refused
    paid -> [awaiting_shipment, in_after_sales], 6 refused
    cancelled -> [], 8 refused
    awaiting_shipment -> [shipped, in_after_sales], 6 refused
    shipped -> [completed, in_after_sales], 6 refused
    completed -> [in_after_sales], 7 refused
    in_after_sales -> [shipped], 7 refused
    after_sales_done -> [], 8 refused
    ");
    let undone = change(&bench, OrderState::InAfterSales, OrderState::AfterSalesDone).await;
    insta::assert_snapshot!(undone, @"order_is_in_after_sales: an order that is in_after_sales cannot become after_sales_done: 0 of 17925 minor units are refunded, and 0 refunds are open");
}

#[test]
fn the_table_of_states_is_domains() {
    let mut table = String::new();
    for from in STATES {
        let came_from = (from == OrderState::InAfterSales).then_some(OrderState::Shipped);
        let to: Vec<_> = STATES.into_iter().filter(|&to| from.allows(to, came_from)).map(OrderState::as_str).collect();
        table += &format!("{from} -> {}\n", if to.is_empty() { "nothing".to_owned() } else { to.join(", ") });
    }
    insta::assert_snapshot!(table, @"
    pending_payment -> paid, cancelled
    paid -> awaiting_shipment, in_after_sales
    cancelled -> nothing
    awaiting_shipment -> shipped, in_after_sales
    shipped -> completed, in_after_sales
    completed -> in_after_sales
    in_after_sales -> shipped, after_sales_done
    after_sales_done -> nothing
    ");
}

#[tokio::test]
async fn a_completed_order_goes_into_after_sales_while_the_window_is_open() {
    let bench = with_orders(&[OrderState::Completed]).await;
    let (order, claim) = (id("o-completed"), id("c-1"));
    let week = 7 * 24 * 3600;
    let enter = async |seconds| {
        let tx = db(&bench).begin(Access::Write).await.unwrap();
        let said = orders::change(&tx, &order, OrderState::InAfterSales, Some(&claim), later(seconds)).await;
        Tx::rollback(tx).await.unwrap();
        said.map_or_else(|no| no.to_string(), |()| "ok".to_owned())
    };
    assert_eq!(enter(week).await, "ok");
    insta::assert_snapshot!(enter(week + 1).await, @"window_closed: the after-sales window of order o-completed is closed");
}

fn request(order: &str, refund: &str, claim: &str, part: Part, goods: Goods) -> ToRefund {
    ToRefund { refund: id(refund), order: id(order), claim: id(claim), part, goods }
}

fn lines(of: &[(&str, u32)]) -> Part {
    Part::Lines(of.iter().map(|&(sku, quantity)| PartLine { sku: id(sku), quantity, amount: None }).collect())
}

async fn try_part(bench: &Bench, saga: u64, order: &str, part: Part) -> Answer {
    let request = request(order, &format!("r-{saga}"), "c-1", part, Goods::NotShipped);
    bench.step::<RefundOrder>(saga, &request).try_().await
}

fn refunding(answer: &Answer) -> Refunding {
    reply::<RefundOrder>(answer)
}

#[tokio::test]
async fn the_reply_carries_what_the_other_steps_need() {
    let bench = with_orders(&[OrderState::Shipped]).await;
    let request = request("o-shipped", "r-1", "c-1", lines(&[("cup", 2)]), Goods::Returned);
    let answer = bench.step::<RefundOrder>(1, &request).try_().await;
    insta::assert_snapshot!(line(&answer), @r#"done {"order":"o-shipped","user":"mia","payment":"pay-o-shipped","amount":{"minor":5660,"currency":"EUR"},"whole":{"minor":17925,"currency":"EUR"},"lines":[{"sku":"cup","quantity":2}],"coupon":"spent-o-shipped","points_spent":75,"red_packet":"packet-o-shipped","shipped":true}"#);
}

#[tokio::test]
async fn a_full_refund_ends_the_order_and_a_cancelled_one_leaves_it_as_it_was() {
    for state in [OrderState::Paid, OrderState::AwaitingShipment] {
        let bench = with_orders(&[state]).await;
        let order = format!("o-{state}");
        let before = view(&bench, &order).await;
        let cancelled = request(&order, "r-1", "c-1", Part::Whole, Goods::NotShipped);
        let step = bench.step::<RefundOrder>(1, &cancelled);
        assert_eq!(refunding(&step.try_().await).amount, eur(17_925));
        let inside = view(&bench, &order).await;
        assert_eq!((inside.state, inside.came_from, inside.held), (OrderState::InAfterSales, Some(state), 17_925));
        bench.is_sound().await;
        step.cancel().await;
        let back = view(&bench, &order).await;
        assert_eq!(back, View { order_version: back.order_version, ..before });
        bench.is_sound().await;

        let confirmed = request(&order, "r-2", "c-2", Part::Whole, Goods::NotShipped);
        bench.step::<RefundOrder>(2, &confirmed).through().await;
        let done = view(&bench, &order).await;
        assert_eq!((done.state, done.refunded, done.held, done.claim), (OrderState::AfterSalesDone, 17_925, 0, None));
        bench.is_sound().await;
    }
}

#[tokio::test]
async fn a_partial_refund_takes_the_order_back_where_it_was() {
    let bench = with_orders(&[OrderState::Paid]).await;
    let part = request("o-paid", "r-1", "c-1", lines(&[("cup", 1)]), Goods::NotShipped);
    bench.step::<RefundOrder>(1, &part).through().await;
    let back = view(&bench, "o-paid").await;
    assert_eq!((back.state, back.refunded), (OrderState::Paid, 2_830));
    let rest = request("o-paid", "r-2", "c-1", Part::Whole, Goods::NotShipped);
    let step = bench.step::<RefundOrder>(2, &rest);
    assert_eq!(refunding(&step.try_().await).amount, eur(17_925 - 2_830));
    step.confirm().await;
    assert_eq!(view(&bench, "o-paid").await.state, OrderState::AfterSalesDone);
    bench.is_sound().await;
}

#[tokio::test]
async fn pieces_of_a_line_add_up_to_it() {
    let bench = with_orders(&[OrderState::Paid]).await;
    let mut amounts = Vec::new();
    for saga in 1..=3 {
        let part = request("o-paid", &format!("r-{saga}"), "c-1", lines(&[("cup", 1)]), Goods::NotShipped);
        let step = bench.step::<RefundOrder>(saga, &part);
        amounts.push(refunding(&step.try_().await).amount.minor.0);
        step.confirm().await;
    }
    assert_eq!(amounts, [2_830, 2_830, 2_831]);
    bench.is_sound().await;
}

#[tokio::test]
async fn two_refunds_under_one_claim_leave_after_sales_together() {
    let bench = with_orders(&[OrderState::Paid]).await;
    let one = bench.step::<RefundOrder>(1, &request("o-paid", "r-1", "c", Part::Amount(eur(8_963)), Goods::NotShipped));
    let two = bench.step::<RefundOrder>(2, &request("o-paid", "r-2", "c", Part::Amount(eur(8_962)), Goods::NotShipped));
    assert_eq!((one.try_().await.as_str(), two.try_().await.as_str()), ("done", "done"));
    one.cancel().await;
    let inside = view(&bench, "o-paid").await;
    assert_eq!((inside.state, inside.held), (OrderState::InAfterSales, 8_962));
    two.confirm().await;
    let back = view(&bench, "o-paid").await;
    assert_eq!((back.state, back.refunded, back.held), (OrderState::Paid, 8_962, 0));
    bench.is_sound().await;
}

#[tokio::test]
async fn a_refund_within_a_claim_and_its_cancel_leave_the_claims_own_state_alone() {
    let bench = with_orders(&[OrderState::Shipped]).await;
    let (order, claim) = (id("o-shipped"), id("c-1"));
    let tx = db(&bench).begin(Access::Write).await.unwrap();
    orders::change(&tx, &order, OrderState::InAfterSales, Some(&claim), later(0)).await.unwrap();
    Tx::commit(tx).await.unwrap();
    let whole = request("o-shipped", "r-1", "c-1", Part::Whole, Goods::Returned);
    let step = bench.step::<RefundOrder>(1, &whole);
    step.try_().await;
    step.cancel().await;
    let still = view(&bench, "o-shipped").await;
    assert_eq!((still.state, still.claim, still.held), (OrderState::InAfterSales, Some(id("c-1")), 0));

    let other = request("o-shipped", "r-2", "c-2", Part::Whole, Goods::Returned);
    let said = bench.step::<RefundOrder>(2, &other).try_().await;
    insta::assert_snapshot!(line(&said), @"refused order_is_in_after_sales: the order is in after-sales under claim c-1, not c-2");
    bench.step::<RefundOrder>(3, &request("o-shipped", "r-3", "c-1", Part::Whole, Goods::Returned)).through().await;
    assert_eq!(view(&bench, "o-shipped").await.state, OrderState::AfterSalesDone);
    bench.is_sound().await;
}

#[tokio::test]
async fn b46_lines_beyond_the_order_are_refused_with_both_figures_and_two_halves_leave_nothing() {
    let bench = with_orders(&[OrderState::Paid]).await;
    let priced = |sku: &str, quantity, minor| PartLine { sku: id(sku), quantity, amount: Some(eur(minor)) };
    let over = vec![priced("cup", 3, 8_491), priced("pot", 1, 5_660), priced("tea", 2, 3_775)];
    let said = try_part(&bench, 1, "o-paid", Part::Lines(over)).await;
    insta::assert_snapshot!(line(&said), @"refused above_left: 179.26 EUR is more than the 179.25 EUR that is left");
    let shifted = vec![priced("cup", 3, 8_492), priced("pot", 1, 5_659), priced("tea", 2, 3_774)];
    let said = try_part(&bench, 2, "o-paid", Part::Lines(shifted)).await;
    insta::assert_snapshot!(line(&said), @"refused above_left: 84.92 EUR for cup asked, 84.91 EUR left of it");
    for (saga, minor) in [(3, 8_963), (4, 8_962)] {
        let part = request("o-paid", &format!("r-{saga}"), "c-1", Part::Amount(eur(minor)), Goods::NotShipped);
        bench.step::<RefundOrder>(saga, &part).through().await;
    }
    let done = view(&bench, "o-paid").await;
    assert_eq!((done.state, done.paid - done.refunded), (OrderState::AfterSalesDone, 0));
    bench.is_sound().await;
}

#[tokio::test]
async fn what_cannot_be_refunded_is_refused_in_words() {
    let bench = with_orders(&[OrderState::Paid, OrderState::PendingPayment]).await;
    let jpy = crate::money::Money::new(1, crate::money::Currency::JPY);
    let mut said = Vec::new();
    let parts = [
        Part::Amount(eur(0)),
        Part::Amount(eur(-5)),
        Part::Amount(eur(17_926)),
        Part::Amount(jpy),
        Part::Lines(vec![]),
        lines(&[("cup", 4)]),
        lines(&[("cup", 0)]),
        lines(&[("cup", 1), ("cup", 1)]),
        lines(&[("spoon", 1)]),
    ];
    for (saga, part) in (1..).zip(parts) {
        said.push(line(&try_part(&bench, saga, "o-paid", part).await));
    }
    said.push(line(&try_part(&bench, 20, "o-pending_payment", Part::Whole).await));
    said.push(line(&try_part(&bench, 21, "o-none", Part::Whole).await));
    let returned = request("o-paid", "r-22", "c-1", Part::Whole, Goods::Returned);
    said.push(line(&bench.step::<RefundOrder>(22, &returned).try_().await));
    insta::assert_snapshot!(said.join("\n"), @"
    refused bad_amount: 0.00 EUR cannot be refunded, 179.25 EUR is left
    refused bad_amount: -0.05 EUR cannot be refunded, 179.25 EUR is left
    refused above_left: 179.26 EUR is more than the 179.25 EUR that is left
    refused bad_amount: JPY and EUR cannot be added up
    refused bad_amount: 0.00 EUR cannot be refunded, 179.25 EUR is left
    refused bad_lines: 4 of cup asked, 3 left; each variant stands once
    refused bad_lines: 0 of cup asked, 3 left; each variant stands once
    refused bad_lines: 1 of cup asked, 3 left; each variant stands once
    refused no_line: the order has no spoon
    refused order_is_pending_payment: an order that is pending_payment cannot become in_after_sales
    refused no_order: there is no order o-none
    refused goods_not_shipped: the goods of order o-paid have not left
    ");
    bench.is_sound().await;
}

#[tokio::test]
async fn one_refund_request_is_held_once() {
    let bench = with_orders(&[OrderState::Paid]).await;
    let again: RefundId = id("r-1");
    let part = |saga| {
        let request = ToRefund {
            refund: again.clone(),
            ..request("o-paid", "x", "c-1", lines(&[("cup", 1)]), Goods::NotShipped)
        };
        bench.step::<RefundOrder>(saga, &request)
    };
    part(1).through().await;
    insta::assert_snapshot!(line(&part(2).try_().await), @"refused duplicate: the refund r-1 is or was held already");
}

#[tokio::test]
async fn awaiting_shipment_that_reaches_after_sales_changes_the_way_back() {
    let bench = with_orders(&[OrderState::Paid, OrderState::Shipped]).await;
    let refund = bench.step::<RefundOrder>(1, &request("o-paid", "r-1", "c-1", Part::Whole, Goods::NotShipped));
    refund.try_().await;
    let order: OrderId = id("o-paid");
    let told = bench.step::<AwaitShipment>(2, &order).try_().await;
    assert_eq!(reply::<AwaitShipment>(&told), Awaiting::Noted);
    refund.cancel().await;
    assert_eq!(view(&bench, "o-paid").await.state, OrderState::AwaitingShipment);

    bench.step::<RefundOrder>(3, &request("o-paid", "r-3", "c-1", Part::Whole, Goods::NotShipped)).through().await;
    let late = bench.step::<AwaitShipment>(4, &order).try_().await;
    assert_eq!(reply::<AwaitShipment>(&late), Awaiting::Nothing);
    assert_eq!(view(&bench, "o-paid").await.state, OrderState::AfterSalesDone);
    let gone = bench.step::<AwaitShipment>(5, &id("o-shipped")).try_().await;
    insta::assert_snapshot!(line(&gone), @"refused order_is_shipped: an order that is shipped cannot become awaiting_shipment");
    bench.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn partial_refunds_at_once_never_take_more_than_the_order_has() {
    let bench = with_orders(&[OrderState::Paid]).await;
    let mut tries = Vec::new();
    for saga in 1..=40 {
        let part = request("o-paid", &format!("r-{saga}"), "c-1", Part::Amount(eur(1_000)), Goods::NotShipped);
        let step = bench.step::<RefundOrder>(saga, &part);
        tries.push(tokio::spawn(async move {
            let said = step.try_().await;
            match (said.as_str(), saga % 3) {
                ("done", 0) => step.cancel().await,
                ("done", _) => step.confirm().await,
                _ => said,
            }
        }));
    }
    for tried in tries {
        let said = tried.await.unwrap();
        assert!(matches!(said.as_str(), "done" | "refused"), "{}", line(&said));
    }
    let after = view(&bench, "o-paid").await;
    assert!(after.refunded <= 17_925 && after.held == 0, "{after:?}");
    assert!(after.refunded >= 10_000, "{after:?}");
    bench.is_sound().await;
}
