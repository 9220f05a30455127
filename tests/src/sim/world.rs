//! The executor: one thread, virtual time, one seed. Each step runs a task picked by chance among those that can go on; when none
//! can, the clock moves to the next sleeper. The same seed gives the same run to the last step.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tercet::env::{Environment, Task};
use tercet_core::Millis;

/// When every run begins: a moment late in 2025.
const EPOCH: Millis = Millis(1_764_000_000_000);

/// Tasks that live and die together: an engine's incarnation, a participant's, the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process(u32);

/// A simulated world: tasks, time, chance, and what was seen in it.
pub(crate) struct World {
    core: Mutex<Core>,
    woken: Arc<Mutex<Vec<usize>>>,
    traces: bool,
}

struct Core {
    rng: ChaCha8Rng,
    now: Millis,
    tasks: Vec<Option<Running>>,
    free: Vec<usize>,
    ready: Vec<usize>,
    sleepers: BTreeMap<(Millis, u64), Waker>,
    numbers: u64,
    processes: u32,
    dead: BTreeSet<Process>,
    /// Processes that stand still, and those of their tasks that would go on.
    still: BTreeMap<Process, Vec<usize>>,
    steps: u64,
    hash: u64,
    counts: BTreeMap<&'static str, u64>,
    timeline: Vec<(Millis, String)>,
    violation: Option<String>,
}

struct Running {
    process: Process,
    waker: Arc<TaskWaker>,
    /// Absent while it is polled.
    task: Option<Task>,
}

struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            locked(&self.woken).push(self.task);
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// A task ran, or the clock moved.
    On,
    /// Nothing is left to do before the limit.
    Idle,
}

pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world of that seed; `traces` keeps a timeline for people.
    pub(crate) fn new(seed: u64, traces: bool) -> Arc<Self> {
        let core = Core {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: EPOCH,
            tasks: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
            sleepers: BTreeMap::new(),
            numbers: 0,
            processes: 0,
            dead: BTreeSet::new(),
            still: BTreeMap::new(),
            steps: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            counts: BTreeMap::new(),
            timeline: Vec::new(),
            violation: None,
        };
        Arc::new(Self { core: Mutex::new(core), woken: Arc::default(), traces })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        locked(&self.core)
    }

    // ---- time and chance

    pub(crate) fn now(&self) -> Millis {
        self.core().now
    }

    /// True that often.
    pub(crate) fn chance(&self, of: f64) -> bool {
        of > 0.0 && self.core().rng.random_bool(of.min(1.0))
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&self, from: u64, to: u64) -> u64 {
        self.core().rng.random_range(from..=to)
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        let last = of.len().checked_sub(1)?;
        of.get(usize::try_from(self.between(0, last as u64)).unwrap_or(0))
    }

    /// Done after that long.
    pub(crate) fn sleep(self: &Arc<Self>, time: Duration) -> Sleep {
        self.until(self.now().plus(time))
    }

    /// Done after a time by chance, in milliseconds.
    pub(crate) fn some_time(self: &Arc<Self>, from: u64, to: u64) -> Sleep {
        self.sleep(Duration::from_millis(self.between(from, to)))
    }

    fn until(self: &Arc<Self>, at: Millis) -> Sleep {
        Sleep { world: self.clone(), at, id: None }
    }

    // ---- processes and tasks

    pub(crate) fn process(&self) -> Process {
        let mut core = self.core();
        core.processes += 1;
        Process(core.processes)
    }

    pub(crate) fn is_alive(&self, process: Process) -> bool {
        !self.core().dead.contains(&process)
    }

    /// Ends a process: all its tasks are dropped where they stand, the running one as soon as it pauses.
    pub(crate) fn kill(&self, process: Process) {
        let mut dropped = Vec::new();
        {
            let mut core = self.core();
            core.dead.insert(process);
            for at in 0..core.tasks.len() {
                if core.tasks[at].as_ref().is_some_and(|task| task.process == process && task.task.is_some()) {
                    dropped.push(core.tasks[at].take());
                    core.free.push(at);
                }
            }
        }
        drop(dropped);
    }

    /// Stops a process where it stands; its timers and whatever reaches it wait.
    pub(crate) fn stand_still(&self, process: Process) {
        self.core().still.entry(process).or_default();
    }

    /// A process that stood still goes on, late.
    pub(crate) fn go_on(&self, process: Process) {
        let mut core = self.core();
        let waiting = core.still.remove(&process).unwrap_or_default();
        core.ready.extend(waiting);
    }

    /// Runs `work` as part of a process, unless that is dead.
    pub(crate) fn spawn(&self, process: Process, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_task(process, Box::pin(work));
    }

    fn spawn_task(&self, process: Process, task: Task) {
        let mut core = self.core();
        if core.dead.contains(&process) {
            drop(core);
            return drop(task);
        }
        let at = core.free.pop().unwrap_or_else(|| {
            core.tasks.push(None);
            core.tasks.len() - 1
        });
        let waker = Arc::new(TaskWaker { task: at, queued: AtomicBool::new(false), woken: self.woken.clone() });
        waker.wake_by_ref();
        core.tasks[at] = Some(Running { process, waker, task: Some(task) });
    }

    /// Runs one task, or moves the clock, but not past `limit`.
    pub(crate) fn step(&self, limit: Millis) -> Stepped {
        let Some((at, waker, mut task)) = self.next_task() else { return self.advance(limit) };
        let waker = Waker::from(waker);
        let done = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut core = self.core();
        let process = core.tasks[at].as_ref().map(|running| running.process);
        let dead = process.is_none_or(|process| core.dead.contains(&process));
        if done || dead {
            core.tasks[at] = None;
            core.free.push(at);
            drop(core);
            drop(task);
        } else if let Some(running) = &mut core.tasks[at] {
            running.task = Some(task);
        }
        Stepped::On
    }

    fn next_task(&self) -> Option<(usize, Arc<TaskWaker>, Task)> {
        let woken = std::mem::take(&mut *locked(&self.woken));
        let mut core = self.core();
        core.ready.extend(woken);
        while !core.ready.is_empty() {
            let last = core.ready.len() - 1;
            let place = core.rng.random_range(0..=last);
            let at = core.ready.swap_remove(place);
            let Some(process) = core.tasks[at].as_ref().map(|running| running.process) else { continue };
            if let Some(waiting) = core.still.get_mut(&process) {
                waiting.push(at);
                continue;
            }
            let Some(running) = &mut core.tasks[at] else { continue };
            let Some(task) = running.task.take() else { continue };
            let waker = running.waker.clone();
            waker.queued.store(false, Ordering::Relaxed);
            core.steps += 1;
            let seen = at as u64 ^ (core.now.0 as u64).rotate_left(20);
            core.hash = (core.hash ^ seen).wrapping_mul(0x0100_0000_01b3);
            return Some((at, waker, task));
        }
        None
    }

    fn advance(&self, limit: Millis) -> Stepped {
        let mut due = Vec::new();
        {
            let mut core = self.core();
            let Some((&(at, _), _)) = core.sleepers.first_key_value() else { return Stepped::Idle };
            if at > limit {
                return Stepped::Idle;
            }
            core.now = core.now.max(at);
            while let Some(sleeper) = core.sleepers.first_entry().filter(|sleeper| sleeper.key().0 <= at) {
                due.push(sleeper.remove());
            }
        }
        due.into_iter().for_each(Waker::wake);
        Stepped::On
    }

    /// Drops every task, so that nothing holds the world any more.
    pub(crate) fn end(&self) {
        let tasks = std::mem::take(&mut self.core().tasks);
        drop(tasks);
        let sleepers = std::mem::take(&mut self.core().sleepers);
        drop(sleepers);
    }

    // ---- what is seen

    /// A line of the timeline.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if self.traces {
            let text = text();
            let mut core = self.core();
            let now = core.now;
            core.timeline.push((now, text));
        }
    }

    /// Something happened that is counted.
    pub(crate) fn count(&self, what: &'static str) {
        *self.core().counts.entry(what).or_default() += 1;
        self.note(|| format!("fault or event: {what}"));
    }

    /// What must not be, is. The first one counts.
    pub(crate) fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("VIOLATION: {what}"));
        self.core().violation.get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.core().violation.clone()
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.core().counts.clone()
    }

    /// Every line so far, each with the milliseconds since the beginning.
    pub(crate) fn timeline(&self) -> Vec<(i64, String)> {
        self.core().timeline.iter().map(|(at, text)| (at.0 - EPOCH.0, text.clone())).collect()
    }

    /// Steps so far, and a number that any difference between two runs changes.
    pub(crate) fn fingerprint(&self) -> (u64, u64) {
        let core = self.core();
        (core.steps, core.hash)
    }
}

/// A wait in virtual time.
pub(crate) struct Sleep {
    world: Arc<World>,
    at: Millis,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let world = self.world.clone();
        let mut core = world.core();
        if core.now >= self.at {
            return Poll::Ready(());
        }
        core.numbers += 1;
        let id = *self.id.get_or_insert(core.numbers);
        core.sleepers.insert((self.at, id), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let gone = self.world.core().sleepers.remove(&(self.at, id));
            drop(gone);
        }
    }
}

/// The environment of one process: what an engine runs in.
pub(crate) struct Home {
    pub(crate) world: Arc<World>,
    pub(crate) process: Process,
    /// Milliseconds that its clock is ahead.
    pub(crate) skew: i64,
}

impl Environment for Home {
    fn now(&self) -> Millis {
        Millis(self.world.now().0 + self.skew)
    }

    fn random(&self) -> u64 {
        self.world.core().rng.random()
    }

    fn sleep_until(&self, at: Millis) -> Task {
        Box::pin(self.world.until(Millis(at.0 - self.skew)))
    }

    fn spawn(&self, task: Task) {
        self.world.spawn_task(self.process, task);
    }
}

/// `work`, or nothing when it takes longer.
pub(crate) async fn within<T>(world: &Arc<World>, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut limit = world.sleep(limit);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        Pin::new(&mut limit).poll(cx).map(|()| None)
    })
    .await
}
