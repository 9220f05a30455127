//! Hooks: what a test's author does in a world, when a step is reached, after a time, or again and again.

use crate::{
    hold::Hold,
    locked,
    log::{Mark, What},
    world::World,
};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tercet_core::StepInstance;

/// A future of an author's closure.
pub(crate) type Doing<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// An author's closure.
pub(crate) type Does<P, T> = Arc<dyn Fn(World<P>) -> Doing<T> + Send + Sync>;

pub(crate) fn boxed<P, T, F>(does: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Does<P, T>
where
    F: Future<Output = T> + Send + 'static,
{
    Arc::new(move |world| Box::pin(does(world)))
}

/// When a hook acts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum When {
    /// Once a step of the saga under test is in its journal.
    Reached(StepInstance),
    /// So long after the start.
    After(Duration),
    /// Once so many writes are made.
    Written(u32),
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reached(step) => write!(f, "when {step}"),
            Self::After(time) => write!(f, "after {} s", time.as_secs_f64()),
            Self::Written(nth) => write!(f, "after write {nth}"),
        }
    }
}

/// A hook.
pub(crate) struct Hook<P> {
    pub(crate) when: When,
    pub(crate) does: Does<P, ()>,
}

impl<P> Clone for Hook<P> {
    fn clone(&self) -> Self {
        Self { when: self.when.clone(), does: self.does.clone() }
    }
}

/// The hooks of a world at work.
#[derive(Default)]
pub(crate) struct Hooks {
    /// Hooks that act at this moment.
    acting: AtomicU32,
    /// Which is held back, and until when.
    held: Mutex<Option<(String, Hold)>>,
}

impl Hooks {
    pub(crate) fn acting(&self) -> u32 {
        self.acting.load(Ordering::Relaxed)
    }

    /// The hook of that name is held back.
    pub(crate) fn hold(&self, name: String, hold: Hold) {
        *locked(&self.held) = Some((name, hold));
    }
}

impl<P: Send + Sync + 'static> World<P> {
    /// Does `does` again and again, each time after as long as it says: an outbox's relay, a third party that reports. Time stands
    /// meanwhile.
    pub fn pump<F>(&self, does: impl Fn(Self) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Duration> + Send + 'static,
    {
        let world = self.within();
        tokio::spawn(async move {
            loop {
                let busy = world.time.busy();
                let wait = match tokio::spawn(does(world.clone())).await {
                    Ok(wait) => wait,
                    Err(error) => return world.inner.log.wrong(format!("a pump failed: {}", panicked(error))),
                };
                drop(busy);
                world.time.sleep(wait.max(Duration::from_millis(1))).await;
            }
        });
    }

    /// Waits until it is time, and acts.
    pub(crate) fn spawn_hook(&self, hook: Hook<P>) {
        let (world, begun) = (self.within(), self.now());
        tokio::spawn(async move {
            let name = hook.when.to_string();
            match &hook.when {
                When::After(time) => world.time.sleep_until(begun.plus(*time)).await,
                When::Written(nth) => world.store.once(|journal| journal.writes() >= *nth).await,
                When::Reached(step) => {
                    let reached = |saga| world.store.knows(saga, step);
                    world.store.once(|_| world.try_saga().is_some_and(reached)).await;
                }
            }
            let _acting = Acting::enter(&world.inner.hooks);
            let busy = world.time.busy();
            world.inner.log.neighbour(&What::Hook(name.clone()), world.store.armed());
            world.hold_hook(&name).await;
            world.inner.log.of_world(Mark::Hook, format!("{name}:"));
            if let Err(error) = tokio::spawn((hook.does)(world.clone())).await {
                world.inner.log.wrong(format!("the hook `{name}` failed: {}", panicked(error)));
            }
            drop(busy);
        });
    }

    async fn hold_hook(&self, name: &str) {
        let held = locked(&self.inner.hooks.held).take_if(|(held, _)| held == name);
        let Some((_, hold)) = held else { return };
        let armed = self.store.armed();
        let Some(due) = armed.get(&(hold.saga.clone(), hold.timer.clone())) else { return };
        self.inner.log.of_world(Mark::Fault, format!("{name} is held back until {hold}"));
        let until = hold.edge.of(*due);
        self.time.sleep_within(until.since(self.time.now())).await;
    }
}

/// Counted while a hook acts, whatever ends it.
struct Acting(Arc<Hooks>);

impl Acting {
    fn enter(hooks: &Arc<Hooks>) -> Self {
        hooks.acting.fetch_add(1, Ordering::Relaxed);
        Self(hooks.clone())
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.0.acting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a task that panicked said.
pub(crate) fn panicked(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => message(&*panic),
        Err(error) => error.to_string(),
    }
}

/// A panic's text.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
