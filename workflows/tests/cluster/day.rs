//! A day: the shop is stocked, buyers come, refunds are asked for, things go wrong, until all sagas have come to rest.

use crate::{
    check::{self, Report},
    face::Nodes,
    faults,
    options::Options,
    place::Place,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tercet_shop::{
    Settings, Shop,
    channel::Script,
    clock::{HurriedClock, Pace},
};
use tercet_workflows::demo::{Cases, DemoError, Face, Sagas, Stage, Story, wares};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// The pace of the third party's delays, by everybody's clock.
const PACE: Duration = Duration::from_secs(30);

/// By that clock: for so long nothing may come any more from a channel that reports late, until a day is over.
const QUIET: Duration = Duration::from_secs(180);

/// By the machine's clock: whatever is declared to wait is shorter.
const STALLED_AFTER: Duration = Duration::from_secs(150);

/// By the machine's clock: no fault keeps all nodes away for so long.
const GONE_AFTER: Duration = Duration::from_secs(40);

/// Opens the shop's databases, beside whoever has them open.
pub(crate) async fn open_shop(url: &str, options: &Options) -> Shop {
    let clock = Arc::new(HurriedClock(Pace::of(options.times)));
    let settings = Settings { clock, ..Settings::seeded(options.seed, PACE) };
    Box::pin(Shop::open_at(url, settings)).await.unwrap()
}

/// Runs a day to its end.
pub(crate) async fn run(options: Options) -> Report {
    let begun = Instant::now();
    let cases = Cases::draw(options.seed, options.sagas).unwrap();
    let mut place = Place::new(&options);
    let script = Script {
        refunds: cases.behaviours(options.seed, PACE).unwrap(),
        charges: cases.charges(options.seed, PACE).unwrap(),
    };
    script.write(&place.script()).unwrap();
    let shop = open_shop(&place.shop, &options).await;
    stock(&shop, &cases).await;
    place.open();
    let nodes = Nodes::at(place.nodes.iter().map(|node| node.url()).collect());
    let set_up = begun.elapsed();

    let (told, at_rest) = watch::channel(0);
    let faults = faults::all(place, options.sagas as u64, options.rounds, options.lease, at_rest);
    let faults = tokio::spawn(faults);
    let stalled = until_rest(&nodes, &cases, &options, &told).await;
    let took = begun.elapsed() - set_up;
    drop(told);
    let (mut place, fired) = faults.await.unwrap();
    let mut wrong = place.fallen();
    match stalled {
        Ok(()) => {}
        Err(Stalled::Nobody) => {
            panic!("no node has answered for {GONE_AFTER:?}:\n{}{}", wrong.join("\n"), place.said())
        }
        Err(Stalled::Stuck(sagas)) => wrong.push(format!("{sagas}\n{}", place.said())),
    }
    Box::pin(check::check(check::Ended { options, cases, script, nodes, place, shop, fired, took, wrong })).await
}

/// The goods, what buyers have in their purses, and the sales of earlier days.
async fn stock(shop: &Shop, cases: &Cases) {
    shop.seed(&cases.sales).await.unwrap();
    shop.put_on_sale(&wares().unwrap()).await.unwrap();
    let wallets: Vec<_> = cases.stories.iter().map(Story::wallet).collect();
    shop.endow(&wallets).await.unwrap();
}

/// Buyers and refunds, so many at a time: whoever has come to rest makes room for the next.
fn let_in(nodes: &Nodes, cases: &Cases, at_once: usize) -> JoinSet<Result<(), DemoError>> {
    let [front, back] = [(); 2].map(|()| Arc::new(Semaphore::new(at_once.div_ceil(2))));
    let mut inside = JoinSet::new();
    for story in cases.stories.clone() {
        let (door, stage) = (front.clone(), Stage(nodes.clone()));
        inside.spawn(async move {
            let _inside = door.acquire_owned().await.unwrap();
            stage.play(&story).await
        });
    }
    for request in cases.requests.clone() {
        let (door, stage) = (back.clone(), Stage(nodes.clone()));
        inside.spawn(async move {
            let _inside = door.acquire_owned().await.unwrap();
            stage.ask(&request).await?;
            stage.0.ended(request.definition, &request.key).await
        });
    }
    inside
}

/// Why a day does not come to its end.
enum Stalled {
    /// No node answers.
    Nobody,
    /// Nothing goes on; with the sagas that have neither ended nor parked.
    Stuck(String),
}

/// Follows all sagas until each has ended or stands parked, and nothing more comes.
async fn until_rest(nodes: &Nodes, cases: &Cases, options: &Options, told: &watch::Sender<u64>) -> Result<(), Stalled> {
    let mut inside = let_in(nodes, cases, options.at_once);
    let (mut last, mut changed) = (Sagas::default(), Instant::now());
    loop {
        let counts = timeout(GONE_AFTER, nodes.counts()).await.map_err(|_| Stalled::Nobody)?;
        let sagas = Sagas::of(&counts.unwrap());
        let at_rest = sagas.confirmed + sagas.cancelled + sagas.parked;
        told.send_replace(at_rest);
        if sagas != last {
            (last, changed) = (sagas, Instant::now());
        }
        while let Some(left) = inside.try_join_next() {
            left.unwrap().unwrap();
        }
        let is_idle = inside.is_empty() && sagas.under_way == 0;
        if is_idle && changed.elapsed() > QUIET / options.times {
            return Ok(());
        }
        if changed.elapsed() > STALLED_AFTER {
            return Err(Stalled::Stuck(stuck(nodes, sagas).await));
        }
        sleep(Duration::from_millis(150)).await;
    }
}

/// Sagas that have neither ended nor parked, in words.
async fn stuck(nodes: &Nodes, sagas: Sagas) -> String {
    let mut text = format!("nothing has ended for {STALLED_AFTER:?}: {sagas:?}");
    for saga in nodes.all().await.unwrap() {
        let is_at_rest = crate::face::status(saga["status"].as_str().unwrap()).is_end() || saga["parked"] != 0;
        if !is_at_rest && text.len() < 20_000 {
            let shown = nodes.get(&format!("sagas/{}", saga["id"].as_str().unwrap())).await.unwrap();
            text.push_str(&format!("\n{} {}: {} {}", saga["definition"], saga["key"], shown["says"], shown["waits"]));
        }
    }
    text
}
