//! Finding orders: each query against the whole table filtered and sorted by hand, page by page, with many orders that are alike, and
//! while others come in.

use super::{Bench, bench, id, line, reply};
use crate::{
    channel::Behaviour,
    ids::OrderId,
    money::{Currency, Minor, Money},
    orders::{
        self, Amounts, Cursor, FindOrders, FoundOrder, OrderPage, OrderQuery, OrderState, PAGE_MAX, SeedLine,
        SeedOrder, find_orders, selected,
    },
};
use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Statement};
use tercet_core::Millis;
use tercet_participant::{
    Database,
    database::{Access, Tx},
};

const USERS: [&str; 3] = ["mia", "tom", "zoe"];
const STATES: [OrderState; 3] = [OrderState::PendingPayment, OrderState::Paid, OrderState::Cancelled];
const AMOUNTS: [i64; 4] = [500, 700, 700, 90_000];

/// The order of that number: of a few buyers, in a few states, at a few prices, several in the same millisecond.
fn order(number: usize) -> (SeedOrder, Millis) {
    let currency = if number.is_multiple_of(5) { Currency::JPY } else { Currency::EUR };
    let amount = Money::new(AMOUNTS[number % AMOUNTS.len()], currency);
    let order = SeedOrder {
        // The ids do not stand in the order of time.
        id: id(&format!("o-{:03}", number * 37 % 101)),
        user: id(USERS[number / 2 % USERS.len()]),
        payment: id(&format!("pay-{number}")),
        lines: vec![SeedLine { sku: id("cup"), quantity: 1, price: amount.minor }],
        paid: amount,
        coupon: None,
        points_spent: 0,
        red_packet: None,
        state: STATES[number / 3 % STATES.len()],
        after_sales_until: None,
    };
    (order, Millis(1_000 + i64::try_from(number / 6).unwrap()))
}

async fn insert(bench: &Bench, orders: impl IntoIterator<Item = (SeedOrder, Millis)>) {
    let tx = bench.shop.databases.orders.begin(Access::Write).await.unwrap();
    for (order, at) in orders {
        orders::seed(&tx, &order, at).await.unwrap();
    }
    Tx::commit(tx).await.unwrap();
}

async fn with_orders(count: usize) -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    insert(&bench, (0..count).map(order)).await;
    bench
}

async fn page(bench: &Bench, query: &OrderQuery) -> OrderPage {
    find_orders(bench.shop.databases.orders.reader(), query).await.unwrap()
}

/// All pages, `limit` orders each.
async fn pages(bench: &Bench, query: &OrderQuery, limit: u32) -> Vec<FoundOrder> {
    let (mut all, mut after) = (Vec::new(), query.after.clone());
    loop {
        let page = page(bench, &OrderQuery { after, limit, ..query.clone() }).await;
        assert!(page.next.is_none() || page.orders.len() == limit as usize, "only the last page is short");
        all.extend(page.orders);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

/// What fits, by hand.
fn expected(count: usize, query: &OrderQuery) -> Vec<OrderId> {
    let fits = |(order, at): &(SeedOrder, Millis)| {
        query.user.as_ref().is_none_or(|user| *user == order.user)
            && query.state.is_none_or(|state| state == order.state)
            && query
                .amount
                .is_none_or(|a| a.currency == order.paid.currency && (a.least..=a.most).contains(&order.paid.minor))
            && query.since_ms.is_none_or(|since| since <= at.0)
            && query.before_ms.is_none_or(|before| at.0 < before)
    };
    let mut all: Vec<_> = (0..count).map(order).filter(fits).collect();
    let by_amount = query.amount.is_some() && query.user.is_none();
    all.sort_by_key(|(order, at)| (if by_amount { order.paid.minor.0 } else { at.0 }, order.id.clone()));
    all.into_iter().rev().map(|(order, _)| order.id).collect()
}

/// Every way of asking: by each of user, state, amount and time, and by each of their combinations.
fn queries() -> Vec<OrderQuery> {
    let amounts = |least, most| Some(Amounts { currency: Currency::EUR, least: Minor(least), most: Minor(most) });
    let mut all = Vec::new();
    for user in [None, Some("tom")] {
        for state in [None, Some(OrderState::Paid)] {
            for amount in [None, amounts(600, 90_000), amounts(700, 700), amounts(701, 699)] {
                for (since_ms, before_ms) in [(None, None), (Some(1_003), None), (Some(1_002), Some(1_012))] {
                    let user = user.map(id);
                    all.push(OrderQuery { user, state, amount, since_ms, before_ms, after: None, limit: 1 });
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn every_query_finds_what_fits_in_its_order_whatever_a_page_holds() {
    let bench = with_orders(100).await;
    let mut found = 0;
    for query in queries() {
        let expected = expected(100, &query);
        found += expected.len();
        for limit in [1, 3, 7, PAGE_MAX] {
            let orders: Vec<_> = pages(&bench, &query, limit).await.into_iter().map(|found| found.order).collect();
            assert_eq!(orders, expected, "{query:?}, {limit} a page");
        }
    }
    assert!(found > 500, "the queries find something: {found}");
}

#[tokio::test]
async fn each_goes_along_an_index_and_sorts_nothing() {
    let bench = with_orders(100).await;
    let db = bench.shop.databases.orders.reader();
    let mut ways = Vec::new();
    for query in queries() {
        for after in [None, cursor(&bench, &query).await] {
            let query = OrderQuery { after, ..query.clone() };
            let asked = selected(&query).unwrap().build(DbBackend::Sqlite).to_string();
            let plan = Statement::from_string(DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {asked}"));
            let plan: Vec<String> =
                db.query_all_raw(plan).await.unwrap().iter().map(|row| row.try_get("", "detail").unwrap()).collect();
            let named = [query.user.is_some(), query.amount.is_some(), query.state.is_some()];
            let named = ["user", "amount", "state"].into_iter().zip(named).filter(|(_, is)| *is);
            let named: Vec<_> = named.map(|(name, _)| name).collect();
            ways.push(format!("{}: {}", named.join("+"), plan.join("; ")));
        }
    }
    ways.sort();
    ways.dedup();
    insta::assert_snapshot!(ways.join("\n"), @r"
    : SEARCH orders USING INDEX idx-orders-placed (placed_at_ms>? AND placed_at_ms<?)
    amount+state: SEARCH orders USING INDEX idx-orders-amount (currency=? AND amount>? AND amount<?)
    amount: SEARCH orders USING INDEX idx-orders-amount (currency=? AND amount>? AND amount<?)
    state: SEARCH orders USING INDEX idx-orders-state-placed (state=? AND placed_at_ms>? AND placed_at_ms<?)
    user+amount+state: SEARCH orders USING INDEX idx-orders-user-placed (user_id=? AND placed_at_ms>? AND placed_at_ms<?)
    user+amount: SEARCH orders USING INDEX idx-orders-user-placed (user_id=? AND placed_at_ms>? AND placed_at_ms<?)
    user+state: SEARCH orders USING INDEX idx-orders-user-placed (user_id=? AND placed_at_ms>? AND placed_at_ms<?)
    user: SEARCH orders USING INDEX idx-orders-user-placed (user_id=? AND placed_at_ms>? AND placed_at_ms<?)
    ");
}

async fn cursor(bench: &Bench, query: &OrderQuery) -> Option<Cursor> {
    page(bench, query).await.next
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_ended_while_orders_come_in() {
    let bench = with_orders(60).await;
    let query = OrderQuery { limit: 4, ..OrderQuery::default() };
    let before = expected(60, &query);
    let (mut seen, mut after) = (Vec::new(), None);
    for turn in 0.. {
        let page = page(&bench, &OrderQuery { after, ..query.clone() }).await;
        seen.extend(page.orders.into_iter().map(|found| found.order));
        after = page.next;
        let Some(Cursor::Newest { placed_at_ms, order: last }) = &after else { break };
        // One that is newer than all, and two in the same millisecond as the page's last: just before it, and just behind it.
        let fresh = |name: String, at| (SeedOrder { id: id(&name), ..order(0).0 }, Millis(at));
        let news = [
            fresh(format!("newer-{turn}"), 5_000 + turn),
            fresh(format!("{last}-before"), *placed_at_ms),
            fresh(format!("{}-behind-{turn}", &last.as_str()[..last.as_str().len() - 1]), *placed_at_ms),
        ];
        insert(&bench, news).await;
    }
    let olds: Vec<_> = seen.iter().filter(|order| before.contains(order)).cloned().collect();
    assert_eq!(olds, before, "each that was there is seen once, in its order");
    let news: Vec<_> = seen.iter().filter(|order| !before.contains(order)).collect();
    assert!(news.iter().all(|order| order.as_str().contains("-behind-")), "{news:?}");
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "none is seen twice");
}

#[tokio::test]
async fn it_is_an_operation_and_refuses_what_makes_no_sense() {
    let bench = with_orders(12).await;
    let ask = async |query: OrderQuery| bench.step::<FindOrders>(1, &query).ask(tercet_core::Phase::Try, 1).await;
    let query = OrderQuery { user: Some(id("tom")), limit: 2, ..OrderQuery::default() };
    let found = reply::<FindOrders>(&ask(query.clone()).await);
    assert_eq!((found.orders.len(), found.next.is_some()), (2, true));
    let eur = Amounts { currency: Currency::EUR, least: Minor(0), most: Minor(1_000) };
    let by_amount = OrderQuery { amount: Some(eur), after: found.next, limit: 2, ..OrderQuery::default() };
    let said = [
        line(&ask(OrderQuery { limit: 0, ..query.clone() }).await),
        line(&ask(OrderQuery { limit: PAGE_MAX + 1, ..query }).await),
        line(&ask(by_amount).await),
    ];
    insta::assert_snapshot!(said.join("\n"), @r"
    refused bad_limit: a page has 1 to 500 orders
    refused bad_limit: a page has 1 to 500 orders
    refused other_cursor: the cursor is of a query whose orders come in another way
    ");
}
