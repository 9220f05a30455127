//! The sweep: every ten minutes it looks for orders that wait for their money for longer than they may, which their sagas' timers
//! should have ended. It asks the saga to cancel, and never writes an order itself. In normal running it finds nothing, and its
//! count stays zero:
//!
//! | metric | label `found` | what |
//! |---|---|---|
//! | `tercet_shop_sweep_total` | `overdue` | the saga's window had passed, and no timer had ended it: it was asked to cancel |
//! | | `no_saga` | the order names a saga that is not there: a person must look |
//! | | `ended` | the saga has ended, and the order is still pending: a person must look |
//! | | `unreadable` | the saga's journal cannot be read, or the saga cannot be asked: a person must look |
//!
//! What a person must look at is told and counted in each round, until somebody has; it keeps no other order waiting.
//!
//! It runs in every node, since each can ask any saga: where participants are processes of their own it asks that of the orders for
//! them. What several nodes find at once is cancelled once.

use crate::{
    create_order,
    order_book::{BookError, OrderBook},
};
use metrics::{Counter, counter};
use std::time::Duration;
use tercet::{
    Engine, EngineError, Env,
    config::{Own, Setting},
    engine::Health,
};
use tercet_core::{Command, Millis, SagaId, State, outstanding};
use tercet_shop::orders::Unpaid;

/// How a sweep goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between two rounds.
    pub every: Duration,
    /// How long an order waits for its money, by default. One that was given less is found that much later; one that was given more
    /// is left alone until its own time.
    pub window: Duration,
    /// How much later a timer may fire before it counts as lost.
    pub margin: Duration,
    /// Orders in a page.
    pub page: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let window = Duration::from_millis(create_order::PAY_WITHIN_MS);
        Self { every: minutes(10), window, margin: minutes(5), page: 256 }
    }
}

impl Settings {
    /// The settings as a program declares them, each with its default.
    #[must_use]
    pub fn declared() -> [Setting; 4] {
        let second = Duration::from_secs(1);
        let (day, year) = (24 * 3_600 * second, 365 * 24 * 3_600 * second);
        let time = |key, default| {
            Setting::time(key, default, second..=day, "a time of 1 s to 1 day, with its unit, as in `10s` or `5 min`")
        };
        let window = "a time of 1 s to 1 year, with its unit, as in `30 min` or `2h`";
        [
            time("sweep.every", "10min"),
            time("sweep.margin", "5min"),
            Setting::number("sweep.page", "256", 1..=10_000, "a number of orders, 1 to 10000"),
            Setting::time("sweep.window", "30min", second..=year, window),
        ]
    }

    /// What a program that declares them was told.
    #[must_use]
    pub fn of(told: &Own) -> Self {
        let usual = Self::default();
        let time = |key, usual| told.time(key).unwrap_or(usual);
        Self {
            every: time("sweep.every", usual.every),
            window: time("sweep.window", usual.window),
            margin: time("sweep.margin", usual.margin),
            page: told.number("sweep.page").unwrap_or(usual.page),
        }
    }
}

/// What a round found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Orders whose timer had not ended them, and whose saga was asked to cancel.
    pub overdue: u64,
    /// Orders without a saga.
    pub no_saga: u64,
    /// Orders whose saga has ended.
    pub ended: u64,
    /// Orders whose saga's journal cannot be read, or whose saga cannot be asked.
    pub unreadable: u64,
}

/// Why a round broke off; the next one begins anew.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The orders cannot be read.
    #[error(transparent)]
    Orders(#[from] BookError),
    /// The engine does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A bug.
    #[error("a bug in the sweep: {0}")]
    Name(#[from] tercet_core::BadName),
}

/// What there is to say of an order that is pending for too long.
enum Found {
    /// Its saga is at it, or has time left.
    Nothing,
    /// Its saga was asked to cancel.
    Overdue,
    NoSaga,
    Ended(SagaId),
    Unreadable(SagaId, String),
}

/// The sweep.
pub struct Sweep {
    orders: OrderBook,
    engine: Engine,
    env: Env,
    settings: Settings,
    counted: [Counter; 4],
}

impl Sweep {
    /// The sweep of those orders, through that engine.
    #[must_use]
    pub fn new(orders: impl Into<OrderBook>, engine: Engine, env: Env, settings: Settings) -> Self {
        let counted = ["overdue", "no_saga", "ended", "unreadable"];
        let counted = counted.map(|found| counter!("tercet_shop_sweep_total", "found" => found));
        Self { orders: orders.into(), engine, env, settings, counted }
    }

    /// Goes round until the engine has stopped.
    pub async fn run(self) {
        while !matches!(self.engine.health(), Health::Stopped(_)) {
            self.env.sleep_until(self.env.now().plus(self.settings.every)).await;
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "failed to look for orders that are overdue; it is tried again");
            }
        }
    }

    /// One round, page by page; says what it found.
    ///
    /// # Errors
    /// When a database or the engine does not answer: what was found so far is dealt with.
    pub async fn round(&self) -> Result<Swept, SweepError> {
        let Settings { window, margin, page, .. } = self.settings;
        let now = self.env.now();
        let before = Millis(now.0.saturating_sub(millis(window + margin)));
        let mut swept = Swept::default();
        let mut last: Option<Unpaid> = None;
        loop {
            let orders = self.orders.unpaid(before, last.as_ref(), page, now).await?;
            for order in &orders {
                let found = self.look(order, now).await?;
                self.count(order, found, &mut swept);
            }
            match orders.into_iter().next_back() {
                Some(order) => last = Some(order),
                None => return Ok(swept),
            }
        }
    }

    async fn look(&self, order: &Unpaid, now: Millis) -> Result<Found, SweepError> {
        // What is no key is no saga's.
        let Ok(key) = order.key.as_str().parse() else { return Ok(Found::NoSaga) };
        let Some(row) = self.engine.find(create_order::NAME.parse()?, key).await? else { return Ok(Found::NoSaga) };
        if row.projection.status.is_end() {
            // It may have ended since the order was read, and the order with it.
            let is_left = self.orders.is_unpaid(order, now).await?;
            return Ok(if is_left { Found::Ended(row.id) } else { Found::Nothing });
        }
        let shown = self.engine.show(row.id).await?;
        let Some(state) = shown.state else {
            let why = shown.unreadable.unwrap_or_else(|| "its entries do not fit together".to_owned());
            return Ok(Found::Unreadable(row.id, why));
        };
        match window_ends(&state).filter(|ends| ends.plus(self.settings.margin) < now) {
            Some(ended) => self.cancel(order, row.id, ended).await,
            None => Ok(Found::Nothing),
        }
    }

    async fn cancel(&self, order: &Unpaid, saga: SagaId, ended: Millis) -> Result<Found, SweepError> {
        let id = &order.order;
        tracing::error!(order.id = %id, saga.id = %saga, "an order's window has passed and no timer has ended it: cancelling");
        let reason = format!("the payment's window ended at {}, and no timer had fired", ended.0);
        match self.engine.cancel(saga, "sweep".to_owned(), reason).await {
            // Too late: it was decided meanwhile.
            Ok(_) | Err(EngineError::TooLate { .. }) => Ok(Found::Overdue),
            Err(error @ (EngineError::Unavailable(_) | EngineError::Stopped(_))) => Err(error.into()),
            Err(error) => Ok(Found::Unreadable(saga, error.to_string())),
        }
    }

    fn count(&self, order: &Unpaid, found: Found, swept: &mut Swept) {
        let id = &order.order;
        let (count, of) = match found {
            Found::Nothing => return,
            Found::Overdue => (&mut swept.overdue, 0),
            Found::NoSaga => {
                tracing::error!(order.id = %id, saga.key = %order.key, "an order waits for its money and its saga is not there");
                (&mut swept.no_saga, 1)
            }
            Found::Ended(saga) => {
                tracing::error!(order.id = %id, saga.id = %saga, "an order waits for its money and its saga has ended");
                (&mut swept.ended, 2)
            }
            Found::Unreadable(saga, why) => {
                tracing::error!(order.id = %id, saga.id = %saga, why, "an order waits for its money and its saga cannot be read or asked");
                (&mut swept.unreadable, 3)
            }
        };
        *count += 1;
        self.counted[of].increment(1);
    }
}

impl std::fmt::Debug for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweep").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// When the saga is to be woken at the latest, if it only waits: whatever else it has in hand is seen to by the engine.
fn window_ends(state: &State) -> Option<Millis> {
    let wakes = outstanding(state).into_iter().map(|command| match command {
        Command::Wake { at, .. } => Some(at),
        Command::Call(_) | Command::Tell { .. } => None,
    });
    let wakes: Option<Vec<Millis>> = wakes.collect();
    wakes?.into_iter().min()
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
