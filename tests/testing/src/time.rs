//! Time that stands while anything is under way and jumps to what is due next when nothing is.
//!
//! Databases run on threads of their own, so tokio's paused clock is no use here: it would jump while a query is out. This one
//! counts what is under way: calls to participants, work of the store, hooks. The engine reads nothing else, so nothing sleeps,
//! three minutes between two queries cost nothing, and no outcome depends on the machine's speed.

use crate::locked;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};
use tercet_core::Millis;
use tokio::sync::{Notify, oneshot};

/// Turns in which every task that can go on does. A chain from a call's answer to the next call takes fewer.
const TURNS: usize = 24;

/// The time of a [`World`](crate::World).
pub struct Time {
    inner: Mutex<Inner>,
    rest: Notify,
    begins: Millis,
}

struct Inner {
    now: Millis,
    sleepers: BTreeMap<(Millis, u64), Sleeper>,
    /// Numbers sleepers, and counts what was ever under way.
    count: u64,
    busy: i64,
    random: u64,
    /// The process is to die: nothing under way is waited for.
    crash: bool,
}

struct Sleeper {
    wake: oneshot::Sender<()>,
    /// It sleeps inside of something that is counted as under way.
    within: bool,
}

impl Time {
    /// A clock that stands at `begins`, and draws random numbers from `seed`.
    #[must_use]
    pub fn new(begins: Millis, seed: u64) -> Arc<Self> {
        let inner = Inner { now: begins, sleepers: BTreeMap::new(), count: 0, busy: 0, random: seed, crash: false };
        Arc::new(Self { inner: Mutex::new(inner), rest: Notify::new(), begins })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.inner().now
    }

    /// When the world began.
    #[must_use]
    pub fn begins(&self) -> Millis {
        self.begins
    }

    /// The next random number of the world's seed (splitmix64).
    pub fn random(&self) -> u64 {
        let mut inner = self.inner();
        inner.random = inner.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = inner.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Something is under way until the guard is dropped: time stands.
    #[must_use]
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.count(1);
        Busy { time: self.clone(), by: 1 }
    }

    /// What is under way waits for something else that is counted by itself: the engine, say.
    #[must_use]
    pub fn waiting(self: &Arc<Self>) -> Busy {
        self.count(-1);
        Busy { time: self.clone(), by: -1 }
    }

    fn count(&self, by: i64) {
        let mut inner = self.inner();
        inner.busy += by;
        inner.count += 1;
        if inner.busy <= 0 {
            self.rest.notify_one();
        }
    }

    /// The process is to die.
    pub(crate) fn crash(&self) {
        self.inner().crash = true;
        self.rest.notify_one();
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.inner().crash
    }

    pub(crate) fn recover(&self) {
        self.inner().crash = false;
    }

    /// Comes back when nothing is under way and nothing can go on by itself, or the process is to die.
    pub async fn quiet(&self) {
        loop {
            let (busy, crash, count) = {
                let inner = self.inner();
                (inner.busy, inner.crash, inner.count)
            };
            if crash {
                return;
            }
            if busy > 0 {
                self.rest.notified().await;
                continue;
            }
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            let inner = self.inner();
            if inner.busy <= 0 && inner.count == count {
                return;
            }
        }
    }

    /// Jumps to what is due next. False when nothing ever is.
    pub(crate) fn advance(&self) -> bool {
        let mut inner = self.inner();
        let Some((&(due, _), _)) = inner.sleepers.first_key_value() else { return false };
        inner.now = inner.now.max(due);
        let now = inner.now;
        while let Some(entry) = inner.sleepers.first_entry().filter(|entry| entry.key().0 <= now) {
            let sleeper = entry.remove();
            if sleeper.within {
                inner.busy += 1;
                inner.count += 1;
            }
            let _ = sleeper.wake.send(());
        }
        true
    }

    fn sleeper(self: &Arc<Self>, due: Millis, within: bool) -> Sleep {
        let mut inner = self.inner();
        if due <= inner.now {
            return Sleep { time: self.clone(), key: None, woken: None };
        }
        let (wake, woken) = oneshot::channel();
        inner.count += 1;
        let key = (due, inner.count);
        inner.sleepers.insert(key, Sleeper { wake, within });
        if within {
            inner.busy -= 1;
            if inner.busy <= 0 {
                self.rest.notify_one();
            }
        }
        Sleep { time: self.clone(), key: Some(key), woken: Some(woken) }
    }

    /// Sleeps outside of everything that is counted as under way.
    pub fn sleep(self: &Arc<Self>, wait: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.sleeper(self.now().plus(wait), false)
    }

    /// Sleeps inside of something that is counted: a participant that takes its time, a hook.
    pub fn sleep_within(self: &Arc<Self>, wait: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.sleeper(self.now().plus(wait), true)
    }

    pub(crate) fn sleep_until(self: &Arc<Self>, due: Millis) -> impl Future<Output = ()> + Send + use<> {
        self.sleeper(due, false)
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Time").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// Counts as under way while it lives.
#[derive(Debug)]
pub struct Busy {
    time: Arc<Time>,
    by: i64,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.time.count(-self.by);
    }
}

/// A sleeper's own end. Dropped, it sleeps no longer.
struct Sleep {
    time: Arc<Time>,
    key: Option<(Millis, u64)>,
    woken: Option<oneshot::Receiver<()>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(woken) = &mut self.woken else { return Poll::Ready(()) };
        Pin::new(woken).poll(cx).map(|_| ())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut inner = self.time.inner();
        if inner.sleepers.remove(&key).is_some_and(|sleeper| sleeper.within) {
            inner.busy += 1;
        }
    }
}

/// A world's clock, as participants read it: `Service::builder(…).clock(place.clock())`.
#[derive(Clone, Debug)]
pub struct Clock(pub(crate) Arc<Time>);

impl tercet_participant::Clock for Clock {
    fn now(&self) -> Millis {
        self.0.now()
    }
}

/// One process's environment: what it spawned dies with it.
pub struct Process {
    time: Arc<Time>,
    tasks: Mutex<Vec<tokio::task::AbortHandle>>,
}

impl Process {
    pub(crate) fn new(time: &Arc<Time>) -> Arc<Self> {
        Arc::new(Self { time: time.clone(), tasks: Mutex::default() })
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        locked(&self.tasks).drain(..).for_each(|task| task.abort());
    }
}

impl tercet::Environment for Process {
    fn now(&self) -> Millis {
        self.time.now()
    }

    fn random(&self) -> u64 {
        self.time.random()
    }

    fn sleep_until(&self, at: Millis) -> tercet::env::Task {
        Box::pin(self.time.sleep_until(at))
    }

    fn spawn(&self, task: tercet::env::Task) {
        let mut tasks = locked(&self.tasks);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task).abort_handle());
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Process")
    }
}
