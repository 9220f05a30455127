//! Stock: never below zero, given back once.

use super::{Bench, bench, id, line, sale};
use crate::{
    channel::Behaviour,
    ids::OrderId,
    inventory::{self, PutBack, Reserve, StockLedger},
    lines::{Line, OrderLines, RefundLines},
    orders::OrderState,
};
use tercet_core::Answer;

async fn stocked(pieces: u32) -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    let db = bench.shop.databases.inventory.writer();
    inventory::seed_stock(db, &Line { sku: id("last"), quantity: pieces }).await.unwrap();
    bench
}

fn order(number: u64, quantity: u32) -> OrderLines {
    OrderLines { order: id(&format!("o-{number}")), lines: vec![Line { sku: id("last"), quantity }] }
}

async fn stock(bench: &Bench) -> StockLedger {
    inventory::ledger(bench.shop.databases.inventory.reader()).await.unwrap()
}

/// Orders at once, each for that many pieces; every fifth of those that got them gives up. How many hold on.
async fn rush(bench: &Bench, quantities: &[u32], from: u64) -> i64 {
    let mut rush = Vec::new();
    for (number, &quantity) in (from..).zip(quantities) {
        let step = bench.step::<Reserve>(number, &order(number, quantity));
        rush.push(tokio::spawn(async move {
            let tried = step.try_().await;
            match (&tried, number % 5) {
                (Answer::Done(_), 0) => {
                    step.cancel().await;
                    0
                }
                (Answer::Done(_), _) => {
                    step.confirm().await;
                    i64::from(quantity)
                }
                (Answer::Refused(no), _) => {
                    assert_eq!(no.code, "no_stock");
                    0
                }
                (other, _) => panic!("{}", line(other)),
            }
        }));
    }
    let mut sold = 0;
    for order in rush {
        sold += order.await.unwrap();
    }
    sold
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b47_the_last_piece_is_sold_to_one_of_fifty() {
    let bench = stocked(1).await;
    let mut sold = rush(&bench, &[1; 50], 1).await;
    // An order that gave up made the piece sellable again.
    sold += rush(&bench, &[1; 4], 101).await;
    assert_eq!(sold, 1);
    let now = stock(&bench).await;
    assert_eq!((now.available, now.held, now.sold), (0, 0, 1));
    bench.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b47_no_order_is_given_less_than_it_bought() {
    let bench = stocked(10).await;
    let sold = rush(&bench, &[3, 4, 5], 1).await;
    let now = stock(&bench).await;
    assert!(sold == now.sold && [7, 8, 9].contains(&sold), "{sold} {now:?}");
    assert_eq!((now.available, now.held), (10 - sold, 0));
    bench.is_sound().await;
}

#[tokio::test]
async fn a_cancelled_reservation_is_sellable_again() {
    let bench = stocked(1).await;
    let first = bench.step::<Reserve>(1, &order(1, 1));
    assert_eq!(first.try_().await.as_str(), "done");
    let second = bench.step::<Reserve>(2, &order(2, 1));
    insta::assert_snapshot!(line(&second.try_().await), @"refused no_stock: 1 of last wanted, 0 left");
    first.cancel().await;
    bench.step::<Reserve>(3, &order(3, 1)).through().await;
    bench.is_sound().await;
}

#[tokio::test]
async fn an_order_of_several_lines_holds_all_of_them_or_none() {
    let bench = stocked(5).await;
    let both = vec![Line { sku: id("last"), quantity: 2 }, Line { sku: id("none"), quantity: 1 }];
    let said = bench.step::<Reserve>(1, &OrderLines { order: id("o-1"), lines: both }).try_().await;
    insta::assert_snapshot!(line(&said), @"refused no_variant: there is no none");
    assert_eq!(stock(&bench).await.held, 0);
    let twice = bench.step::<Reserve>(2, &order(1, 1));
    twice.through().await;
    let said = bench.step::<Reserve>(3, &order(1, 1)).try_().await;
    insta::assert_snapshot!(line(&said), @"refused duplicate: the order o-1 holds or held last already");
    bench.is_sound().await;
}

#[tokio::test]
async fn goods_come_back_once_and_never_more_than_were_sold() {
    let bench = bench(Behaviour::Succeed).await;
    bench.shop.seed(&[sale("o-1", OrderState::Shipped)]).await.unwrap();
    let order: OrderId = id("o-1");
    let back = |saga: u64, quantity| {
        let lines = vec![Line { sku: id("cup"), quantity }];
        let request = RefundLines { refund: id(&format!("r-{saga}")), order: order.clone(), lines };
        bench.step::<PutBack>(saga, &request)
    };
    let before = stock(&bench).await;
    let first = back(1, 2);
    first.try_().await;
    insta::assert_snapshot!(line(&back(2, 2).try_().await), @"refused above_sold: 2 of cup to come back, 1 left of order o-1");
    first.cancel().await;
    assert_eq!(stock(&bench).await, before);
    back(3, 3).through().await;
    let after = stock(&bench).await;
    assert_eq!((after.available, after.sold, after.returned), (3, before.sold - 3, 3));
    insta::assert_snapshot!(line(&back(4, 1).try_().await), @"refused above_sold: 1 of cup to come back, 0 left of order o-1");
    bench.is_sound().await;
}
