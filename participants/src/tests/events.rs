//! What is published of orders: whatever happens to them, and whatever is rolled back or cut off, each version once.

use super::{Bench, bench, eur, id, later, sale};
use crate::{
    channel::Behaviour,
    orders::{self, AwaitShipment, Goods, OrderEvent, OrderState, Part, RefundOrder, STATES, ToRefund},
};
use proptest::prelude::*;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use std::collections::BTreeMap;
use tercet_core::Phase;
use tercet_participant::{
    Database, SeaOrm,
    database::{Access, Tx},
    outbox::{EventFilter, Published},
};

const ORDERS: [&str; 3] = ["o-paid", "o-shipped", "o-completed"];

/// Something that may happen to the orders.
#[derive(Clone, Debug)]
enum Happening {
    /// A phase of one of four refunds, maybe doubled, maybe before its try.
    Refund { order: usize, refund: u64, amount: i64, phase: Phase },
    /// The warehouse was told.
    Told { order: usize },
    /// Somebody moves the order, and the transaction ends like this.
    Moved { order: usize, to: usize, end: End },
}

#[derive(Clone, Copy, Debug)]
enum End {
    Committed,
    RolledBack,
    /// The process dies: the transaction is dropped where it stands.
    CutOff,
}

fn happening() -> impl Strategy<Value = Happening> {
    let phase = prop_oneof![Just(Phase::Try), Just(Phase::Confirm), Just(Phase::Cancel)];
    let end = prop_oneof![3 => Just(End::Committed), 1 => Just(End::RolledBack), 1 => Just(End::CutOff)];
    let order = 0..ORDERS.len();
    prop_oneof![
        4 => (order.clone(), 0..4_u64, prop_oneof![Just(17_925), 1..9_000_i64], phase)
            .prop_map(|(order, refund, amount, phase)| Happening::Refund { order, refund, amount, phase }),
        1 => order.clone().prop_map(|order| Happening::Told { order }),
        3 => (order, 0..STATES.len(), end).prop_map(|(order, to, end)| Happening::Moved { order, to, end }),
    ]
}

fn database(bench: &Bench) -> &SeaOrm {
    &bench.shop.databases.orders
}

async fn happens(bench: &Bench, happening: Happening) {
    match happening {
        Happening::Refund { order, refund, amount, phase } => {
            let request = ToRefund {
                refund: id(&format!("r-{order}-{refund}")),
                order: id(ORDERS[order]),
                claim: id("c-1"),
                part: Part::Amount(eur(amount)),
                goods: Goods::Kept,
            };
            bench.step::<RefundOrder>(order as u64 * 10 + refund, &request).ask(phase, 1).await;
        }
        Happening::Told { order } => {
            bench.step::<AwaitShipment>(100 + order as u64, &id(ORDERS[order])).try_().await;
        }
        Happening::Moved { order, to, end } => {
            let tx = database(bench).begin(Access::Write).await.unwrap();
            let moved = orders::change(&tx, &id(ORDERS[order]), STATES[to], Some(&id("c-1")), later(0)).await;
            match (moved, end) {
                (Ok(()), End::Committed) => Tx::commit(tx).await.unwrap(),
                (_, End::CutOff) => drop(tx),
                (Err(_), End::Committed) | (_, End::RolledBack) => Tx::rollback(tx).await.unwrap(),
            }
        }
    }
}

/// Every event, page by page.
async fn published(bench: &Bench) -> Vec<Published> {
    let (mut all, mut wanted) = (Vec::new(), EventFilter::default());
    loop {
        let page = database(bench).events(&wanted, 7).await.unwrap();
        let Some(last) = page.last() else { return all };
        wanted.after = Some(last.number);
        all.extend(page);
    }
}

/// The events of each order are its versions from 1, each leads on from the one before, and the last is the row.
async fn check(bench: &Bench) {
    let mut events: BTreeMap<String, Vec<OrderEvent>> = BTreeMap::new();
    for Published { event, .. } in published(bench).await {
        let told: OrderEvent = event.data.parse().unwrap();
        assert_eq!((&event.subject.0, event.version.0), (&told.order, told.order_version));
        let kind = match told.was {
            None => "order.created".to_owned(),
            Some(was) if was == told.state => "order.changed".to_owned(),
            Some(_) => format!("order.{}", told.state),
        };
        assert_eq!(event.kind, kind);
        events.entry(told.order.clone()).or_default().push(told);
    }
    for order in ORDERS {
        let (row, events) = (orders::view(database(bench).reader(), &id(order)).await.unwrap(), &events[order]);
        let versions: Vec<i64> = events.iter().map(|event| event.order_version).collect();
        assert_eq!(versions, (1..=row.order_version).collect::<Vec<_>>(), "{order}");
        let was: Vec<Option<OrderState>> = events.iter().map(|event| event.was).collect();
        let before = std::iter::once(None).chain(events.iter().map(|event| Some(event.state)));
        assert_eq!(was, before.take(events.len()).collect::<Vec<_>>(), "{order}");
        let last = events.last().unwrap();
        assert_eq!(
            (last.state, last.came_from, last.refunded, last.held),
            (row.state, row.came_from, row.refunded, row.held)
        );
    }
}

async fn orders_to_begin_with() -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    let states = [OrderState::Paid, OrderState::Shipped, OrderState::Completed];
    let sales: Vec<_> = states.into_iter().map(|state| sale(&format!("o-{state}"), state)).collect();
    for _ in 0..2 {
        bench.shop.seed(&sales).await.unwrap();
    }
    bench
}

#[tokio::test]
async fn an_order_that_is_refunded_tells_its_whole_way() {
    let bench = orders_to_begin_with().await;
    let request = ToRefund {
        refund: id("r-1"),
        order: id("o-paid"),
        claim: id("c-1"),
        part: Part::Whole,
        goods: Goods::NotShipped,
    };
    bench.step::<RefundOrder>(1, &request).through().await;
    let told = published(&bench).await.into_iter().filter(|published| published.event.subject.0 == "o-paid");
    let told: Vec<String> = told.map(|Published { event, .. }| format!("{} {}", event.id(), event.kind)).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    o-paid@1 order.created
    o-paid@2 order.in_after_sales
    o-paid@3 order.after_sales_done
    ");
    check(&bench).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_events_of_an_order_are_its_versions_whatever_happens(history in proptest::collection::vec(happening(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = orders_to_begin_with().await;
            for one in history {
                happens(&bench, one).await;
            }
            check(&bench).await;
        });
    }
}

#[tokio::test]
async fn orders_that_wait_for_their_money_are_found_by_time_a_page_at_a_time() {
    let bench = orders_to_begin_with().await;
    let mut placed = Vec::new();
    for second in 0..5 {
        // Two in each second, so that a page ends between two of the same time.
        let pair = ["a", "b"].map(|name| sale(&format!("o-{second}-{name}"), OrderState::PendingPayment));
        placed.extend(pair.iter().map(|sale| sale.order.id.to_string()));
        bench.shop.seed(&pair).await.unwrap();
        bench.clock.advance(std::time::Duration::from_secs(1));
    }
    let (mut found, mut last) = (Vec::new(), None);
    loop {
        let page = bench.shop.unpaid_orders(later(4), last.as_ref(), 3).await.unwrap();
        found.extend(page.iter().map(|unpaid| unpaid.order.to_string()));
        match page.into_iter().next_back() {
            Some(unpaid) => last = Some(unpaid),
            None => break,
        }
    }
    assert_eq!(found, placed[..8], "those of the first four seconds");
    for (order, waits) in [("o-0-a", true), ("o-paid", false), ("nobody's", false)] {
        assert_eq!(bench.shop.is_unpaid(&id(order)).await.unwrap(), waits, "{order}");
    }
    let plan = "EXPLAIN QUERY PLAN SELECT * FROM orders WHERE state = 'pending_payment' AND placed_at_ms BETWEEN 0 AND 9 \
                ORDER BY placed_at_ms, id LIMIT 3";
    let statement = Statement::from_string(DbBackend::Sqlite, plan);
    let plan = database(&bench).reader().query_one_raw(statement).await.unwrap().unwrap();
    let plan: String = plan.try_get("", "detail").unwrap();
    assert!(plan.contains("idx-orders-state-placed (state=? AND placed_at_ms>? AND placed_at_ms<?)"), "{plan}");
}
