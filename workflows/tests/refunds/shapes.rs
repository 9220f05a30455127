//! What each shape of a refund changes when nothing goes wrong: every figure, and nothing else.

use crate::support::{Shape, World};

async fn check(shape: Shape) -> String {
    World::new(1).await.undisturbed(shape).await.1.to_string()
}

#[tokio::test]
async fn all_of_an_order_that_has_not_left() {
    insta::assert_snapshot!(check(Shape::Full).await, @r"
    channel.accounts.EUR.balance -17925
    channel.accounts.EUR.given_back +17925
    channel.refunds.succeeded +1
    coupons.vouchers.spent -1
    coupons.vouchers.taken +1
    gateway.given_back.EUR +17925
    gateway.refunds.succeeded +1
    notices.refunded +1
    orders.refunded.EUR +17925
    orders.states.after_sales_done +1
    orders.states.awaiting_shipment -1
    payments.money.EUR.refunded +17925
    payments.refunds.refunded +1
    points.balance -104
    points.given_back +75
    points.taken +179
    red_packets.vouchers.taken +1
    red_packets.vouchers.usable -1
    shipments.shipments.stopped +1
    shipments.shipments.waiting -1
    shipments.stopped +6
    stock.available +6
    stock.returned +6
    stock.sold -6
    ");
}

#[tokio::test]
async fn some_lines_of_an_order_that_has_not_left() {
    insta::assert_snapshot!(check(Shape::Partial).await, @r"
    channel.accounts.EUR.balance -11320
    channel.accounts.EUR.given_back +11320
    channel.refunds.succeeded +1
    gateway.given_back.EUR +11320
    gateway.refunds.succeeded +1
    notices.refunded +1
    orders.refunded.EUR +11320
    payments.money.EUR.refunded +11320
    payments.refunds.refunded +1
    points.balance -66
    points.given_back +47
    points.taken +113
    shipments.stopped +3
    stock.available +3
    stock.returned +3
    stock.sold -3
    ");
}

#[tokio::test]
async fn all_of_an_order_that_came_back() {
    insta::assert_snapshot!(check(Shape::Returned).await, @r"
    channel.accounts.EUR.balance -17925
    channel.accounts.EUR.given_back +17925
    channel.refunds.succeeded +1
    coupons.vouchers.spent -1
    coupons.vouchers.taken +1
    gateway.given_back.EUR +17925
    gateway.refunds.succeeded +1
    notices.refunded +1
    orders.refunded.EUR +17925
    orders.states.after_sales_done +1
    orders.states.shipped -1
    payments.money.EUR.refunded +17925
    payments.refunds.refunded +1
    points.balance -104
    points.given_back +75
    points.taken +179
    red_packets.vouchers.taken +1
    red_packets.vouchers.usable -1
    stock.available +6
    stock.returned +6
    stock.sold -6
    ");
}

#[tokio::test]
async fn some_of_the_money_of_goods_that_are_kept() {
    insta::assert_snapshot!(check(Shape::Kept).await, @r"
    channel.accounts.EUR.balance -5000
    channel.accounts.EUR.given_back +5000
    channel.refunds.succeeded +1
    gateway.given_back.EUR +5000
    gateway.refunds.succeeded +1
    notices.refunded +1
    orders.refunded.EUR +5000
    payments.money.EUR.refunded +5000
    payments.refunds.refunded +1
    points.balance -29
    points.given_back +20
    points.taken +49
    ");
}

#[tokio::test]
async fn a_piece_under_the_claim_that_has_the_order_already() {
    insta::assert_snapshot!(check(Shape::WithinClaim).await, @r"
    channel.accounts.EUR.balance -2830
    channel.accounts.EUR.given_back +2830
    channel.refunds.succeeded +1
    gateway.given_back.EUR +2830
    gateway.refunds.succeeded +1
    notices.refunded +1
    orders.refunded.EUR +2830
    orders.states.completed +1
    orders.states.in_after_sales -1
    payments.money.EUR.refunded +2830
    payments.refunds.refunded +1
    points.balance -17
    points.given_back +11
    points.taken +28
    stock.available +1
    stock.returned +1
    stock.sold -1
    ");
}

#[tokio::test]
async fn the_second_payment_of_an_order() {
    insta::assert_snapshot!(check(Shape::PaidTwice).await, @r"
    channel.accounts.EUR.balance -17925
    channel.accounts.EUR.given_back +17925
    channel.refunds.succeeded +1
    gateway.given_back.EUR +17925
    gateway.refunds.succeeded +1
    notices.refunded +1
    payments.money.EUR.refunded +17925
    payments.refunds.refunded +1
    ");
}
