//! The third party: it has a ledger of its own, moves money once for each key, and keeps whatever word the weather lets it keep.
//!
//! What it may do: lose calls and answers, carry out a call long after its caller has given up, accept and answer later, refuse a
//! second attempt while the first is on its way, report twice or never, forget what it is working on, refuse in a way that is not
//! final, say no for good and pay all the same, move the money after its close was asked for. What it never does: move money twice
//! under one key, or under a key that it closed for good or whose lifetime was over.

use super::{
    contracts::PLAIN,
    weather::{Fault, Weather},
    world::{Process, World, locked, within},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tercet_core::Millis;

/// What is asked of the bank under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: String,
    pub(crate) kind: Kind,
    /// Whose money: a charge's own, or that of the charge which is given back.
    pub(crate) payment: String,
    pub(crate) minor: i64,
    pub(crate) expires: Option<Millis>,
    pub(crate) sort: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Charge,
    Refund,
    Payout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On its way within the bank.
    Working,
    /// The money has moved.
    Done,
    /// Recorded as failed for good.
    Failed,
    /// The key is unusable.
    Closed,
}

#[derive(Clone, Debug)]
struct Entry {
    wanted: Wanted,
    standing: Standing,
    moved: u32,
    close_asked: bool,
}

/// What the bank says, as far as it is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Done(i64),
    /// Refused for good: recorded.
    Final(&'static str),
    /// This attempt is refused for good, since another one is being worked on.
    Second,
    /// Refused, but it may be carried out all the same.
    Soft,
    /// Insufficient balance: nothing was recorded.
    Poor,
    Accepted,
    Unknown,
    Nothing,
    Closed,
    Silence,
}

/// Who is called back when something is done or has failed for good.
pub(crate) trait CalledBack: Send + Sync {
    fn called_back(&self, key: &str, done: Result<i64, &'static str>);
}

pub(crate) struct Bank {
    world: Arc<World>,
    weather: Arc<Weather>,
    process: Process,
    entries: Mutex<BTreeMap<String, Entry>>,
    /// How long the next calls travel, in milliseconds, where a script says so.
    travels: Mutex<VecDeque<u64>>,
    back: Mutex<Option<Weak<dyn CalledBack>>>,
    arrivals: AtomicU64,
}

impl Bank {
    pub(crate) fn new(world: &Arc<World>, weather: &Arc<Weather>) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            weather: weather.clone(),
            process: world.process(),
            entries: Mutex::default(),
            travels: Mutex::default(),
            back: Mutex::new(None),
            arrivals: AtomicU64::new(0),
        })
    }

    pub(crate) fn calls_back(&self, whom: Weak<dyn CalledBack>) {
        *locked(&self.back) = Some(whom);
    }

    /// The next calls travel that long, in milliseconds: for scripted scenarios.
    #[cfg(test)]
    pub(crate) fn travel(&self, next: impl IntoIterator<Item = u64>) {
        locked(&self.travels).extend(next);
    }

    /// Calls that were asked to carry something out and arrived.
    #[cfg(test)]
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// How many entries there are for a payment's charge: one for each key it was asked under.
    #[cfg(test)]
    pub(crate) fn keys_of(&self, payment: &str) -> usize {
        locked(&self.entries).values().filter(|entry| entry.wanted.payment == payment).count()
    }

    /// A charge from before the run.
    pub(crate) fn charged_before(&self, payment: &str, minor: i64) {
        let key = format!("before:{payment}");
        let (payment, kind) = (payment.to_owned(), Kind::Charge);
        let wanted = Wanted { key: key.clone(), kind, payment, minor, expires: None, sort: PLAIN };
        let entry = Entry { wanted, standing: Standing::Done, moved: 1, close_asked: false };
        locked(&self.entries).insert(key, entry);
    }

    // ---- the way there and back

    /// Asks for the effect. It ends within `limit`, whatever becomes of the call.
    pub(crate) async fn submit(self: &Arc<Self>, wanted: Wanted, limit: Duration) -> Word {
        let this = self.clone();
        self.ask(limit, async move { this.arrived(wanted).await }).await
    }

    pub(crate) async fn look(self: &Arc<Self>, key: &str, limit: Duration) -> Word {
        let (this, key) = (self.clone(), key.to_owned());
        self.ask(limit, async move { this.looked(&key) }).await
    }

    pub(crate) async fn close(self: &Arc<Self>, key: &str, limit: Duration) -> Word {
        let (this, key) = (self.clone(), key.to_owned());
        self.ask(limit, async move { this.asked_to_close(&key) }).await
    }

    /// A call may be lost, or land long after its caller has given up; so may its answer be lost.
    async fn ask(self: &Arc<Self>, limit: Duration, work: impl Future<Output = Word> + Send + 'static) -> Word {
        if self.weather.strikes(Fault::BankCallLost) {
            self.world.sleep(limit).await;
            return Word::Silence;
        }
        let late = self.weather.strikes(Fault::BankCallLate);
        let travel = if late { self.world.between(2_000, 240_000) } else { self.world.between(1, 60) };
        let travel = locked(&self.travels).pop_front().unwrap_or(travel);
        let (sender, word) = tokio::sync::oneshot::channel();
        let this = self.clone();
        self.world.spawn(self.process, async move {
            this.world.sleep(Duration::from_millis(travel)).await;
            let word = work.await;
            if !this.weather.strikes(Fault::BankAnswerLost) {
                this.world.some_time(1, 60).await;
                drop(sender.send(word));
            } else {
                this.world.sleep(Duration::from_secs(3_600)).await;
                drop(sender);
            }
        });
        match within(&self.world, limit, word).await {
            Some(Ok(word)) => word,
            Some(Err(_)) | None => Word::Silence,
        }
    }

    // ---- what it does

    async fn arrived(self: Arc<Self>, wanted: Wanted) -> Word {
        let key = wanted.key.clone();
        self.world.note(|| format!("bank gets {wanted:?}"));
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        if wanted.expires.is_some_and(|expires| self.world.now() >= expires) {
            return Word::Final("expired");
        }
        if let Some(word) = self.known(&key) {
            return word;
        }
        if self.weather.strikes(Fault::BankPoor) {
            return Word::Poor;
        }
        let entry = Entry { wanted, standing: Standing::Working, moved: 0, close_asked: false };
        locked(&self.entries).insert(key.clone(), entry);
        if self.weather.strikes(Fault::BankRefused) {
            self.fails(&key);
            return Word::Final("refused");
        }
        if self.weather.strikes(Fault::BankNotFinal) {
            self.settles_later(key);
            return Word::Soft;
        }
        if self.weather.strikes(Fault::BankAccepted) {
            self.settles_later(key);
            return Word::Accepted;
        }
        self.moves(&key);
        self.known(&key).unwrap_or(Word::Unknown)
    }

    fn known(&self, key: &str) -> Option<Word> {
        let entry = locked(&self.entries).get(key).cloned()?;
        Some(match entry.standing {
            Standing::Done => Word::Done(entry.wanted.minor),
            Standing::Failed => Word::Final("failed"),
            Standing::Closed => Word::Final("closed"),
            Standing::Working if self.weather.strikes(Fault::BankSecondRefused) => Word::Second,
            Standing::Working => Word::Accepted,
        })
    }

    fn settles_later(self: &Arc<Self>, key: String) {
        let this = self.clone();
        self.world.spawn(self.process, async move {
            this.world.some_time(500, 400_000).await;
            if this.weather.strikes(Fault::BankFailedLater) {
                this.fails(&key);
            } else {
                this.moves(&key);
            }
        });
    }

    /// Moves the money, if the key still allows it.
    fn moves(self: &Arc<Self>, key: &str) {
        let now = self.world.now();
        let moved = {
            let mut entries = locked(&self.entries);
            let Some(entry) = entries.get_mut(key) else { return };
            let over = entry.wanted.expires.is_some_and(|expires| now >= expires);
            if entry.standing != Standing::Working {
                return;
            }
            if over {
                entry.standing = Standing::Failed;
                return;
            }
            entry.standing = Standing::Done;
            entry.moved += 1;
            entry.clone()
        };
        if moved.close_asked {
            self.world.count(Fault::BankMovedAfterClose.text());
        }
        self.world.note(|| format!("bank moved the money of {key}"));
        self.check(&moved.wanted);
        self.reports(key, Ok(moved.wanted.minor));
    }

    fn fails(self: &Arc<Self>, key: &str) {
        let kind = {
            let mut entries = locked(&self.entries);
            let Some(entry) = entries.get_mut(key).filter(|entry| entry.standing == Standing::Working) else { return };
            entry.standing = Standing::Failed;
            entry.wanted.kind
        };
        self.world.note(|| format!("bank says that {key} has failed"));
        self.reports(key, Err("failed"));
        // Money that comes in all the same can be given back; money that goes out could not be fetched.
        if kind == Kind::Charge && self.weather.strikes(Fault::BankPaidAllTheSame) {
            let (this, key) = (self.clone(), key.to_owned());
            self.world.spawn(self.process, async move {
                this.world.some_time(1_000, 300_000).await;
                if let Some(entry) = locked(&this.entries).get_mut(&key) {
                    entry.standing = Standing::Working;
                    entry.wanted.expires = None;
                }
                this.moves(&key);
            });
        }
    }

    fn reports(self: &Arc<Self>, key: &str, done: Result<i64, &'static str>) {
        let twice = self.weather.strikes(Fault::BankTwice);
        let never = self.weather.strikes(Fault::BankNever);
        let copies = if never { 0 } else { 1 + u8::from(twice) };
        for _ in 0..copies {
            let (this, key) = (self.clone(), key.to_owned());
            self.world.spawn(self.process, async move {
                this.world.some_time(1, 30_000).await;
                this.report(&key, done);
            });
        }
    }

    fn report(&self, key: &str, done: Result<i64, &'static str>) {
        let whom = locked(&self.back).as_ref().and_then(Weak::upgrade);
        if let Some(whom) = whom {
            whom.called_back(key, done);
        }
    }

    fn looked(&self, key: &str) -> Word {
        let Some(entry) = locked(&self.entries).get(key).cloned() else { return Word::Nothing };
        // Nothing is forgotten once the lifetime is over: after it, *absent* is taken for a final word.
        let over = entry.wanted.expires.is_some_and(|expires| self.world.now() >= expires);
        match entry.standing {
            Standing::Done => Word::Done(entry.wanted.minor),
            Standing::Failed => Word::Final("failed"),
            Standing::Closed => Word::Final("closed"),
            Standing::Working if !over && self.weather.strikes(Fault::BankForgot) => Word::Nothing,
            Standing::Working => Word::Soft,
        }
    }

    fn asked_to_close(&self, key: &str) -> Word {
        let standing = match locked(&self.entries).get_mut(key) {
            None => return Word::Nothing,
            Some(entry) => {
                entry.close_asked = true;
                entry.standing
            }
        };
        match standing {
            Standing::Done => locked(&self.entries).get(key).map_or(Word::Unknown, |e| Word::Done(e.wanted.minor)),
            Standing::Closed | Standing::Failed => Word::Closed,
            Standing::Working if self.weather.strikes(Fault::BankMovedAfterClose) => Word::Unknown,
            Standing::Working => {
                if let Some(entry) = locked(&self.entries).get_mut(key) {
                    entry.standing = Standing::Closed;
                }
                Word::Closed
            }
        }
    }

    // ---- what must hold of it

    /// Money moves once for each key, one charge for a payment, and no more goes back than came in.
    fn check(&self, wanted: &Wanted) {
        let entries = locked(&self.entries);
        let of = |kind: Kind| {
            let moved = move |entry: &&Entry| entry.moved > 0 && entry.wanted.kind == kind;
            entries.values().filter(moved).filter(|entry| entry.wanted.payment == wanted.payment)
        };
        let charges = of(Kind::Charge).count();
        let (came, went): (i64, i64) =
            (of(Kind::Charge).map(|e| e.wanted.minor).sum(), of(Kind::Refund).map(|e| e.wanted.minor).sum());
        let payouts = of(Kind::Payout).count();
        if entries.get(&wanted.key).is_some_and(|entry| entry.moved > 1) {
            self.world.violate(format!("the money of {} moved twice under one key", wanted.key));
        } else if charges > 1 || payouts > 1 {
            self.world.violate(format!("payment {} was carried out twice, under two keys", wanted.payment));
        } else if went > came {
            self.world.violate(format!("{went} of payment {} went back, {came} came in", wanted.payment));
        }
    }

    /// What moved for a payment: charged, given back.
    pub(crate) fn moved(&self, payment: &str) -> (i64, i64) {
        let entries = locked(&self.entries);
        let sum = |kind: Kind| {
            let fits = |e: &&Entry| e.moved > 0 && e.wanted.kind == kind && e.wanted.payment == payment;
            entries.values().filter(fits).map(|e| e.wanted.minor).sum()
        };
        (sum(Kind::Charge), sum(Kind::Refund))
    }

    /// Money moved under that key.
    pub(crate) fn has_moved(&self, key: &str) -> bool {
        locked(&self.entries).get(key).is_some_and(|entry| entry.moved > 0)
    }

    /// The nightly statement: everything that is done or has failed is reported once more.
    pub(crate) fn statement(&self) {
        let all: Vec<(String, Entry)> = locked(&self.entries).iter().map(|(k, e)| (k.clone(), e.clone())).collect();
        for (key, entry) in all {
            match entry.standing {
                Standing::Done => self.report(&key, Ok(entry.wanted.minor)),
                Standing::Failed => self.report(&key, Err("failed")),
                Standing::Working | Standing::Closed => {}
            }
        }
    }
}
