//! Waiting here for sagas that other nodes work on: their journals are looked at, those of all who wait in one read.

use super::{
    EngineError, Shared,
    active::{has_reached, unfold},
    message::{Message, Reply, Snapshot, Until},
};
use crate::store::{JournalRow, StoreError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tercet_core::{Millis, SagaId, canary::broken};
use tokio::sync::Notify;

/// Between two looks at a saga, at first and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Never, to a simulation.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Between two reads, whoever comes meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Journals read at once.
const AT_ONCE: usize = 1_000;

/// Sagas that somebody waits for here and another node works on.
#[derive(Default)]
pub(super) struct Watching {
    all: Mutex<All>,
    came: Notify,
}

#[derive(Default)]
struct All {
    sagas: BTreeMap<SagaId, Watched>,
    /// A task looks at them: one, however often there is nobody for a moment.
    is_looking: bool,
}

struct Watched {
    /// When it is looked at next, and how long it rests after that.
    due: Millis,
    pause: Duration,
    waiting: Vec<(Until, Reply<Snapshot>)>,
}

impl Watching {
    fn with<T>(&self, work: impl FnOnce(&mut All) -> T) -> T {
        work(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers when the saga has come so far.
pub(super) fn watch(shared: &Arc<Shared>, saga: SagaId, until: Until, reply: Reply<Snapshot>) {
    let now = shared.env.now();
    let is_looking = shared.watching.with(|all| {
        let new = || Watched { due: now, pause: LOOK.0, waiting: Vec::new() };
        let watched = all.sagas.entry(saga).or_insert_with(new);
        (watched.due, watched.pause) = (now, LOOK.0);
        watched.waiting.push((until, reply));
        std::mem::replace(&mut all.is_looking, true)
    });
    if is_looking {
        shared.watching.came.notify_one();
    } else {
        shared.env.spawn(Box::pin(looks(shared.clone())));
    }
}

/// Looks at what is due while anybody waits.
async fn looks(shared: Arc<Shared>) {
    while let Some(due) = next(&shared) {
        let now = shared.env.now();
        if due > now {
            tokio::select! {
                biased;
                () = shared.watching.came.notified() => {}
                () = shared.env.sleep_until(due) => {}
            }
            continue;
        }
        let sagas: Vec<SagaId> = shared.watching.with(|all| {
            let due = all.sagas.iter().filter(|(_, watched)| watched.due <= now);
            // Who has waited longest comes first: where there are more than can be read in their time, all have their turn.
            let mut due: Vec<_> = due.map(|(saga, watched)| (watched.due, *saga)).collect();
            due.sort_unstable();
            due.into_iter().map(|(_, saga)| saga).take(AT_ONCE).collect()
        });
        for (saga, journal) in read(&shared, sagas).await {
            seen(&shared, saga, journal);
        }
        shared.env.sleep_until(shared.env.now().plus(PAUSE)).await;
    }
}

/// When somebody is looked after next. Those who have gone are forgotten; `None`: nobody is left.
fn next(shared: &Shared) -> Option<Millis> {
    let is_stopped = shared.is_stopped();
    shared.watching.with(|all| {
        all.sagas.retain(|_, watched| {
            watched.waiting.retain(|(_, reply)| !reply.is_closed());
            !(is_stopped || watched.waiting.is_empty())
        });
        let due = all.sagas.values().map(|watched| watched.due).min();
        all.is_looking = due.is_some();
        due
    })
}

/// The journals, or why one cannot be read.
async fn read(shared: &Shared, sagas: Vec<SagaId>) -> Vec<(SagaId, Result<Vec<JournalRow>, EngineError>)> {
    match shared.answered(shared.store.journals(sagas.clone())).await {
        Ok(journals) => sagas.into_iter().zip(journals.into_iter().map(Ok)).collect(),
        // One is damaged.
        Err(StoreError::Corrupt(_)) if sagas.len() > 1 => {
            let mut all = Vec::with_capacity(sagas.len());
            for saga in sagas {
                let one = shared.answered(shared.store.journals(vec![saga])).await;
                all.push((saga, one.map(|mut one| one.pop().unwrap_or_default()).map_err(EngineError::from)));
            }
            all
        }
        Err(error) => {
            let error = EngineError::from(error);
            sagas.into_iter().map(|saga| (saga, Err(error.clone()))).collect()
        }
    }
}

/// Answers those who waited for what is there now, and all of them where there is nothing to wait for.
fn seen(shared: &Shared, saga: SagaId, journal: Result<Vec<JournalRow>, EngineError>) {
    let state = match journal {
        Ok(journal) if journal.is_empty() => Err(EngineError::UnknownSaga { saga }),
        Ok(journal) => unfold(&journal).map(Arc::new).map_err(|why| EngineError::Quarantined { saga, why }),
        Err(EngineError::Unavailable(_)) => return rests(shared, saga),
        Err(error) => Err(error),
    };
    let told = shared.watching.with(|all| {
        let watched = all.sagas.get_mut(&saga)?;
        let is_told = |(until, _): &mut (Until, _)| state.as_ref().map_or(true, |state| has_reached(state, until));
        Some(watched.waiting.extract_if(.., is_told).collect::<Vec<_>>())
    });
    for (_, reply) in told.unwrap_or_default() {
        drop(reply.send(state.clone().map(|state| Snapshot { state })));
    }
    rests(shared, saga);
}

/// It is looked at again later; or it has become this node's meanwhile (or been lent, and then it comes back here).
fn rests(shared: &Shared, saga: SagaId) {
    let is_own = shared.owns().have(saga);
    let own = shared.watching.with(|all| {
        let watched = all.sagas.get_mut(&saga)?;
        if watched.pause == LOOK.1 && is_own {
            return all.sagas.remove(&saga);
        }
        let pause = if broken("looks_once_for_who_waits") { A_YEAR } else { watched.pause };
        watched.due = shared.env.now().plus(pause);
        watched.pause = (watched.pause * 2).min(LOOK.1);
        None
    });
    for (until, reply) in own.map_or_else(Vec::new, |own| own.waiting) {
        shared.send(Message::Watch(saga, until, reply));
    }
}
