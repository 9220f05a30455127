//! `tercet dev --demo`: a day in a shop. Orders are placed, paid for, paid late, paid twice, abandoned and cancelled, and earlier ones
//! are refunded by the hundred, against a third party that fails, times out and lies; then come the ledgers.
//!
//! Everything is real: each participant on a database of its own, the third party with its own ledger. Only the clock hurries. The
//! folder holds all of it: a demo that is killed goes on where it was when it is run again.

mod cases;
mod command;
mod face;
mod play;
mod report;
mod show;
mod stories;

pub use cases::{Cases, Request};
pub use command::{Flags, demo};
pub use play::{Face, Stage};
pub use report::{Ends, Report, Sagas, Told};
pub use show::{Progress, tables};
pub use stories::{Plot, Story, wares};

use crate::{clock::Hurried, desk::DeskError, ingress::Courier};
use face::Here;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tercet::{
    Engine, EngineError,
    cli::Hosted,
    store::{Count, SagaStatus},
};
use tercet_core::{DefinitionName, Millis};
use tercet_shop::{Settings, Shop, clock::Pace, shop};
use tokio::{sync::Semaphore, task::JoinSet};

/// How much faster than the machine's clock the demo's runs: three minutes in three seconds.
pub const TIMES: u32 = 60;

/// The pace of the third party's delays, by the demo's clock.
const PACE: Duration = Duration::from_secs(30);

/// Sagas under way at once, and buyers in the shop.
const AT_ONCE: u64 = 48;

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// What the demo's sales, refunds and misfortunes are drawn from.
    pub seed: u64,
    /// How many sagas.
    pub sagas: usize,
}

/// Why a demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The shop's databases.
    #[error("failed to open the shop: {0}")]
    Open(#[from] shop::OpenError),
    /// The shop's databases, later.
    #[error(transparent)]
    Shop(#[from] shop::ShopError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The order desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The store.
    #[error(transparent)]
    Store(#[from] tercet::store::StoreError),
    /// The folder.
    #[error("failed to use the demo's folder {}: {source}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The folder holds another demo.
    #[error("{} holds the demo of seed {} with {} sagas: run that one again, delete the folder, or name another one with `--data`", .folder.display(), .held.seed, .held.sagas)]
    Other {
        /// Which folder.
        folder: PathBuf,
        /// Its demo.
        held: Options,
    },
    /// A bug.
    #[error("a bug in the demo: {0}")]
    Bug(String),
}

/// A demo that is set up: its shop stands, its clock runs, and an engine can be run on it.
pub struct Demo {
    options: Options,
    cases: Cases,
    shop: Arc<Shop>,
    clock: Arc<Hurried>,
    folder: PathBuf,
}

/// What the folder remembers of its demo.
#[derive(Serialize, Deserialize)]
struct Kept {
    options: Options,
    /// When its clock began, in milliseconds since 1970 by the machine's.
    began_ms: i64,
}

impl Demo {
    /// Sets the demo up in `folder`, or takes up the one that is there.
    ///
    /// # Errors
    /// When the folder holds another demo, or a database cannot be opened.
    pub async fn open(folder: &Path, options: Options) -> Result<Self, DemoError> {
        let kept = keep(folder, options)?;
        let cases = Cases::draw(options.seed, options.sagas)?;
        let clock = Arc::new(Hurried::new(Pace::since(Millis(kept.began_ms), TIMES)));
        let settings = Settings {
            behaviours: cases.behaviours(options.seed, PACE)?,
            charges: cases.charges(options.seed, PACE)?,
            clock: clock.clone(),
            ..Settings::seeded(options.seed, PACE)
        };
        let shop = Arc::new(Shop::open(folder, settings).await?);
        Ok(Self { options, cases, shop, clock, folder: folder.to_owned() })
    }

    /// What a node hosts for it: the participants, the hurrying clock, the folder's database, and what carries the third party's
    /// reports.
    #[must_use]
    pub fn hosted(&self) -> Hosted {
        let (shop, clock) = (self.shop.clone(), self.clock.clone());
        Hosted::new(self.shop.participants()).env(self.clock.clone()).database(self.database()).beside(
            move |engine, stop| async move {
                tokio::select! {
                    () = Courier::new(shop, engine, clock).run() => {}
                    () = stop.cancelled() => {}
                }
            },
        )
    }

    /// Where the engine's database is.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("tercet.db")
    }

    /// Opens the shop, lets the buyers in, starts the refunds and follows all sagas until each has ended or stands parked; `seen` is
    /// shown how far they are some times a second.
    ///
    /// # Errors
    /// When the engine or a database fails.
    pub async fn run(&self, engine: &Engine, mut seen: impl FnMut(&Sagas)) -> Result<Report, DemoError> {
        self.stock().await?;
        let stage = Stage(Here { engine: engine.clone(), env: self.clock.clone() });
        let mut buyers = self.let_in(&stage);
        let mut requests = self.cases.requests.iter();
        let mut next = requests.next();
        loop {
            let sagas = Sagas::of(&engine.counts().await?);
            seen(&sagas);
            while let Some(left) = buyers.try_join_next() {
                left.map_err(|e| DemoError::Bug(e.to_string()))??;
            }
            if next.is_none() && buyers.is_empty() && sagas.under_way == 0 {
                break;
            }
            let mut room = AT_ONCE.saturating_sub(sagas.under_way);
            while let Some(request) = next.filter(|_| room > 0) {
                stage.ask(request).await?;
                next = requests.next();
                room -= 1;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // A last callback may still be due: it changes nothing, and the ledgers are read after it.
        Courier::new(self.shop.clone(), engine.clone(), self.clock.clone()).round().await?;
        Report::read(engine, &self.shop, &self.database()).await
    }

    /// The goods, what buyers have in their purses, and the sales of earlier days: once. A demo that is killed in this moment may
    /// find more on its shelves, which no figure depends on.
    async fn stock(&self) -> Result<(), DemoError> {
        self.shop.seed(&self.cases.sales).await?;
        let stocked = self.folder.join("stocked");
        if !stocked.exists() {
            self.shop.put_on_sale(&wares()?).await?;
            let wallets: Vec<_> = self.cases.stories.iter().map(Story::wallet).collect();
            self.shop.endow(&wallets).await?;
            let failed = |source| DemoError::Folder { folder: self.folder.clone(), source };
            std::fs::write(&stocked, "").map_err(failed)?;
        }
        Ok(())
    }

    /// The buyers, so many at a time.
    fn let_in(&self, stage: &Stage<Here>) -> JoinSet<Result<(), DemoError>> {
        let door = Arc::new(Semaphore::new(usize::try_from(AT_ONCE).unwrap_or(1)));
        let mut buyers = JoinSet::new();
        for story in self.cases.stories.clone() {
            let (door, stage) = (door.clone(), stage.clone());
            buyers.spawn(async move {
                let _inside = door.acquire_owned().await.map_err(|e| DemoError::Bug(e.to_string()))?;
                stage.play(&story).await
            });
        }
        buyers
    }

    /// What it runs.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// Where everything of it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl std::fmt::Debug for Demo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demo").field("options", &self.options).field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Sagas {
    /// All of them.
    #[must_use]
    pub fn of(counts: &[Count]) -> Self {
        Self::among(&counts.iter().collect::<Vec<_>>())
    }

    /// By definition.
    #[must_use]
    pub fn by_definition(counts: &[Count]) -> BTreeMap<String, Ends> {
        let names: BTreeSet<_> = counts.iter().map(|count| &count.definition).collect();
        let ends = |name: &DefinitionName| {
            let of_it = Self::among(&counts.iter().filter(|count| count.definition == *name).collect::<Vec<_>>());
            let Self { confirmed, cancelled, parked, .. } = of_it;
            (name.to_string(), Ends { confirmed, cancelled, parked })
        };
        names.into_iter().map(ends).collect()
    }

    fn among(counts: &[&Count]) -> Self {
        let sum = |which: fn(&Count) -> bool| counts.iter().filter(|count| which(count)).map(|count| count.sagas).sum();
        Self {
            confirmed: sum(|count| count.status == SagaStatus::Confirmed),
            cancelled: sum(|count| count.status == SagaStatus::Cancelled),
            parked: sum(|count| count.parked),
            trying: sum(|count| count.status == SagaStatus::Trying && !count.parked),
            confirming: sum(|count| count.status == SagaStatus::Confirming && !count.parked),
            cancelling: sum(|count| count.status == SagaStatus::Cancelling && !count.parked),
            under_way: sum(|count| !count.status.is_end() && !count.parked),
        }
    }
}

fn keep(folder: &Path, options: Options) -> Result<Kept, DemoError> {
    let failed = |source| DemoError::Folder { folder: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let path = folder.join("demo.json");
    if let Ok(text) = std::fs::read_to_string(&path) {
        let kept: Kept = serde_json::from_str(&text).map_err(|e| failed(e.into()))?;
        if kept.options != options {
            return Err(DemoError::Other { folder: folder.to_owned(), held: kept.options });
        }
        return Ok(kept);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let began_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let kept = Kept { options, began_ms };
    let text = serde_json::to_string(&kept).map_err(|e| failed(e.into()))?;
    std::fs::write(&path, text).map_err(failed)?;
    Ok(kept)
}
