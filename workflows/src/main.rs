//! The `tercet` command: the reference sagas, and the shop's participants in the process of `dev` and `serve`.

use std::{process::ExitCode, sync::Arc, time::Duration};
use tercet::{
    Env, Machine, Tercet,
    cli::{Exit, Failure, Hosted},
    config::Config,
    transport::Nats,
};
use tercet_shop::{
    Settings, Shop,
    channel::{Behaviour, Behaviours, Buyer, Charges, Charging},
    clock::{Clock, SystemClock},
};
use tercet_workflows::{
    bench, clock, demo,
    events::OrderEvents,
    ingress::Courier,
    new,
    order_book::OrderBook,
    registry,
    sweep::{self, Sweep},
};

/// How long the gateway waits after the channel asked for patience.
const PATIENCE: Duration = Duration::from_secs(5);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    small_pages();
    Tercet::new("tercet")
        .registry(registry())
        .settings(sweep::Settings::declared())
        .settings([clock::declared()])
        .participants(shop)
        .demo(demo::demo)
        .command(bench::bench)
        .command(new::new)
        .main()
}

/// Keeps to pages of 4 KiB, also where the system gives huge ones unasked. With those the allocator's many threads (each connection to an
/// SQLite file is one) hold two megabytes wherever they touch a few bytes: twice the memory, and clearing it costs more than they save.
fn small_pages() {
    // Where that is refused the process is larger, and does the same.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// The shop, with a channel that does what it is asked; with `nats.url` it runs somewhere else, as `tercet-shop`.
async fn shop(config: Config) -> Result<Hosted, Failure> {
    let (env, clock): (Env, Arc<dyn Clock>) = match clock::of(&config.own) {
        Some(hurried) => (hurried.clone(), hurried),
        None => (Arc::new(Machine::new()), Arc::new(SystemClock)),
    };
    let sweeping = sweep::Settings::of(&config.own);
    if let Some(nats) = config.nats {
        let orders = Nats::start(nats, config.namespace).await;
        let orders = orders.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        return Ok(Hosted::default().env(env.clone()).beside(move |engine, stop| async move {
            let sweep = Sweep::new(OrderBook::There(Arc::new(orders.clone())), engine, env, sweeping);
            tokio::select! {
                () = sweep.run() => {}
                () = stop.cancelled() => {}
            }
            orders.close().await;
        }));
    }
    let behaviours = Behaviours::always(Behaviour::Succeed);
    let charges = Charges::always(Charging::new(Buyer::Pays { after: PATIENCE }));
    let settings = Settings { behaviours, charges, clock, ..Settings::seeded(0, PATIENCE) };
    let shop = Arc::new(Shop::open(&config.participants(), settings).await?);
    let (participants, ticking) = (shop.participants(), env.clone());
    let (events, callbacks) = (OrderEvents(shop.clone()), shop.clone());
    let hosted = Hosted::new(participants).env(env).events(Arc::new(events));
    let hosted = hosted.routes(move |address| callbacks.callbacks(address).map_err(Failure::from));
    Ok(hosted.beside(move |engine, stop| async move {
        let sweep = Sweep::new(shop.clone(), engine.clone(), ticking.clone(), sweeping);
        tokio::select! {
            () = Courier::new(shop, engine, ticking).run() => {}
            () = sweep.run() => {}
            () = stop.cancelled() => {}
        }
    }))
}
