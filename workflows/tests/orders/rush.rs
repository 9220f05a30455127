//! Many buyers for few items, through the desk, the engine on its SQLite file, and the shop on its own: exactly as many are sold as
//! there are, and every other buyer is told that there is no stock.

use crate::{
    buyers::{one_piece, ware},
    support::{eur, id},
};
use std::{sync::Arc, time::Duration};
use tercet::{Engine, Env, Machine, Parts, Settings, Until, store::SqliteStore, transport::InProcess};
use tercet_core::{Payload, SagaId, Signal, Signalled};
use tercet_shop::{Shop, orders::Paid};
use tercet_workflows::desk::{self, Submitted};
use tokio::{sync::Semaphore, task::JoinSet};

/// Buyers who are served at once.
const AT_ONCE: usize = 100;

/// Longer than any of it takes.
const LIMIT: Duration = Duration::from_secs(3600);

async fn running(shop: &Shop, dir: &std::path::Path, env: &Env) -> Engine {
    let parts = Parts {
        store: Arc::new(SqliteStore::create(dir.join("tercet.db")).await.unwrap()),
        transport: Arc::new(InProcess::new(shop.participants())),
        registry: tercet_workflows::registry().unwrap(),
        env: env.clone(),
        settings: Settings::of("shop".parse().unwrap()),
    };
    Engine::run(parts).await.unwrap()
}

/// What a buyer hears: the order's saga, or the code of the no.
async fn buys(engine: Engine, env: Env, number: u32) -> Result<SagaId, String> {
    match desk::submit(&engine, &env, &one_piece(number, "hot", eur(100)), LIMIT).await.unwrap() {
        Submitted::Placed { order, duplicate: false } => Ok(order.as_str().parse().unwrap()),
        Submitted::Refused(refusal) => Err(refusal.code),
        other => panic!("{other:?}"),
    }
}

/// Pays for an order, and waits for its end.
async fn pays(engine: Engine, saga: SagaId) {
    let paid = Paid { payment: id(&format!("pay-{saga}")), amount: eur(100), transaction: format!("ch-{saga}") };
    let signalled = Signalled {
        id: format!("told-{saga}").parse().unwrap(),
        name: Paid::NAME.to_owned(),
        payload: Payload::of(&paid).unwrap(),
        from: None,
    };
    engine.signal(saga, signalled).await.unwrap();
    engine.wait(saga, Until::End).await.unwrap();
}

async fn check(buyers: u32, items: u32) {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::open(dir.path(), tercet_shop::Settings::seeded(1, Duration::from_secs(1))).await.unwrap();
    shop.put_on_sale(&[ware("hot", 100, items)]).await.unwrap();
    let env: Env = Arc::new(Machine::new());
    let engine = running(&shop, dir.path(), &env).await;
    let (room, mut rush) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for number in 0..buyers {
        let (engine, env, room) = (engine.clone(), env.clone(), room.clone());
        rush.spawn(async move {
            let _place = room.acquire().await.unwrap();
            buys(engine, env, number).await
        });
    }
    let (mut sagas, mut sold_out) = (Vec::new(), 0);
    for heard in rush.join_all().await {
        match heard {
            Ok(saga) => sagas.push(saga),
            Err(code) => {
                assert_eq!(code, "no_stock");
                sold_out += 1;
            }
        }
    }
    println!("{buyers} buyers for {items} items: {} bought one, {sold_out} heard that there is no stock", sagas.len());
    assert_eq!((u32::try_from(sagas.len()).unwrap(), sold_out), (items, buyers - items));
    let mut paying = JoinSet::new();
    sagas.into_iter().for_each(|saga| drop(paying.spawn(pays(engine.clone(), saga))));
    paying.join_all().await;
    while engine.counts().await.unwrap().iter().any(|count| !count.status.is_end() && count.sagas > 0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ledger = shop.ledger().await.unwrap();
    let (stock, pieces) = (ledger.stock, i64::from(items));
    assert_eq!((stock.stocked, stock.available, stock.held, stock.sold), (pieces, 0, 0, pieces));
    assert_eq!(ledger.orders.states["awaiting_shipment"], u64::from(items));
    assert_eq!(ledger.orders.states["cancelled"], u64::from(buyers - items));
    assert_eq!(ledger.notices["order_paid"], u64::from(items));
    assert_eq!((shop.violations().await, ledger.holds()), (Vec::new(), 0));
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_buyers_for_thirty_items_buy_exactly_thirty() {
    check(1_000, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: `./tests/run shop` runs it"]
async fn ten_thousand_buyers_for_three_hundred_items_buy_exactly_three_hundred() {
    check(10_000, 300).await;
}
