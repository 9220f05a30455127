//! Sagas that another node owns: what reaches this one for them goes into their inbox, and the answer comes back through the database.

use super::{
    EngineError, Shared,
    active::unfold,
    message::{Coming, Incoming, Message, NewSaga, Note, Reply, Snapshot, StartedSaga},
    watching,
    worker::Worker,
    writing::UNSURE,
};
use crate::store::{Cluster, InboxId, InboxItem, Shards, StoreError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tercet_core::{DefinitionName, Millis, Operated, SagaId, Signalled, What};
use tokio::sync::oneshot;

/// Between two looks at whether answers are there.
const ANSWERS_EVERY: Duration = Duration::from_millis(50);

/// How long a caller waits for the owner's answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// An answer this old has nobody who waits for it.
const STALE: Duration = Duration::from_secs(600);

/// Inbox rows of one saga that are looked through for one.
const ROWS_MAX: u32 = 1_000;

/// What the node says that was asked: of a start, which saga it is, and whether it is new.
type Answered = Result<Option<(SagaId, bool)>, EngineError>;

/// What this node has asked others and waits for.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<Asks>);

#[derive(Debug, Default)]
struct Asks {
    /// By its ticket: until when, and who.
    tickets: BTreeMap<i64, (Millis, oneshot::Sender<Answered>)>,
    /// A task looks for answers: one, however often nothing is asked for a moment.
    is_looking: bool,
}

impl Asked {
    fn with<T>(&self, work: impl FnOnce(&mut Asks) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Worker {
    /// What came for a saga that another node owns.
    pub(super) fn elsewhere(&mut self, saga: SagaId, message: Message) {
        match message {
            // Its owner reads it, too.
            Message::Event(Incoming { inbox: Some(id), .. }) => self.shared.taken(&[id]),
            Message::Event(Incoming { what, reply: Some(reply), .. }) => match note_of(what) {
                Some(note) => self.shared.env.spawn(Box::pin(ask(self.shared.clone(), saga, note, reply))),
                None => drop(reply.send(Err(EngineError::Unavailable(UNSURE.to_owned())))),
            },
            Message::Watch(saga, until, reply) => watching::watch(&self.shared, saga, until, reply),
            // Timers, answers to calls: the owner has them, or asks again.
            _ => {}
        }
    }
}

fn note_of(what: Coming) -> Option<Note> {
    match what {
        Coming::Answer { step, phase, answer } => Some(Note::Answer { step, phase, answer }),
        Coming::Event(What::Signalled(Signalled { id, name, payload, from })) => {
            Some(Note::Signal { id, name, payload, from })
        }
        Coming::Event(What::CancelRequested { by, reason }) => Some(Note::Cancel { by, reason }),
        Coming::Event(What::Operated(Operated { step, action, by, reason })) => {
            Some(Note::Operate { step, action, by, reason })
        }
        Coming::Event(_) | Coming::Due(_) | Coming::Begun => None,
    }
}

/// Puts it into the saga's inbox and waits for what its owner says.
async fn ask(shared: Arc<Shared>, saga: SagaId, note: Note, reply: Reply<Snapshot>) {
    let asked = |ticket| Note::Asked { ticket, note: Box::new(note) };
    let answered = match put(&shared, saga, asked).await {
        Ok(answer) => answer.await.unwrap_or_else(|_| Err(EngineError::Unavailable(UNSURE.to_owned()))),
        Err(error) => Err(error.into()),
    };
    let snapshot = match answered {
        Ok(_) => read(&shared, saga).await.and_then(|snapshot| snapshot.ok_or(EngineError::UnknownSaga { saga })),
        Err(error) => Err(error),
    };
    drop(reply.send(snapshot));
}

/// Puts what is made of a ticket into the saga's inbox; the answer to the ticket.
async fn put(
    shared: &Arc<Shared>, saga: SagaId, note: impl FnOnce(i64) -> Note,
) -> Result<oneshot::Receiver<Answered>, StoreError> {
    let ticket = shared.env.random() as i64;
    let (answered, answer) = oneshot::channel();
    let until = shared.env.now().plus(ANSWER_MAX);
    let is_looking = shared.asked.with(|asked| {
        asked.tickets.insert(ticket, (until, answered));
        std::mem::replace(&mut asked.is_looking, true)
    });
    if !is_looking {
        shared.env.spawn(Box::pin(answers(shared.clone())));
    }
    let message = note(ticket).to_bytes();
    let put = shared.store.deliver(vec![InboxItem { saga, at: shared.env.now(), message }]).await;
    if let Err(error) = put {
        shared.asked.with(|asked| asked.tickets.remove(&ticket));
        return Err(error);
    }
    // Perhaps it is this node's by now.
    shared.poke_inbox();
    Ok(answer)
}

/// Hands out answers while anybody waits for one: one query for all of them.
async fn answers(shared: Arc<Shared>) {
    let Some(cluster) = shared.store.cluster() else { return };
    loop {
        shared.env.sleep_until(shared.env.now().plus(ANSWERS_EVERY)).await;
        let now = shared.env.now();
        let tickets: Vec<i64> = shared.asked.with(|asked| {
            asked.tickets.retain(|_, (until, reply)| *until > now && !reply.is_closed());
            asked.is_looking = !asked.tickets.is_empty();
            asked.tickets.keys().copied().collect()
        });
        if tickets.is_empty() {
            return;
        }
        let older = Millis(now.0.saturating_sub(STALE.as_millis() as i64));
        for (ticket, answer) in cluster.answers(tickets, older).await.unwrap_or_default() {
            let answer = serde_json::from_slice(&answer).unwrap_or_else(|error| {
                Err(EngineError::Bug(format!("another node's answer cannot be read: {error}")))
            });
            if let Some((_, reply)) = shared.asked.with(|asked| asked.tickets.remove(&ticket)) {
                drop(reply.send(answer));
            }
        }
    }
}

/// Has a saga started by a node that has its definition. `None`: there is no such node.
pub(super) async fn start(shared: &Arc<Shared>, new: &NewSaga) -> Option<Result<StartedSaga, EngineError>> {
    let saga = match place_for(shared, new).await {
        Ok(Some(saga)) => saga,
        // It may be that its nodes are being replaced.
        Ok(None) => return was_known(shared, new).await.then(|| Err(nobody_runs(new))),
        Err(error) => return Some(Err(error.into())),
    };
    let answered = match put(shared, saga, |ticket| Note::Start { ticket, new: new.clone() }).await {
        Ok(answer) => answer.await.unwrap_or_else(|_| Err(EngineError::Unavailable(UNSURE.to_owned()))),
        Err(error) => Err(error.into()),
    };
    Some(answered.and_then(|started| match started {
        Some((id, new)) => Ok(StartedSaga { id, new }),
        None => Err(EngineError::Bug("a start was answered without a saga".to_owned())),
    }))
}

/// Some node has run the definition before, in the version asked for or its first.
async fn was_known(shared: &Shared, new: &NewSaga) -> bool {
    let known = shared.store.definition(new.definition.clone(), new.version.unwrap_or(1)).await;
    shared.store.cluster().is_some() && !matches!(known, Ok(None))
}

fn nobody_runs(new: &NewSaga) -> EngineError {
    EngineError::Unavailable(format!("no node that runs `{}` is there now: try again", new.definition))
}

/// An id, which no saga gets, in a shard of a node that has the definition: in its inbox that node finds the start.
async fn place_for(shared: &Shared, new: &NewSaga) -> Result<Option<SagaId>, StoreError> {
    let Some(cluster) = shared.store.cluster() else { return Ok(None) };
    let view = cluster.view().await?;
    let has = |(name, version): &(DefinitionName, u32)| {
        *name == new.definition && new.version.is_none_or(|wanted| wanted == *version)
    };
    let here = view.members.iter().filter(|member| member.until > view.now);
    let able: Vec<Shards> =
        here.filter(|member| member.info.definitions.iter().any(has)).map(|m| view.owned_by(m.node)).collect();
    let shards = able.iter().fold(Shards::NONE, |all, owned| all.with(owned));
    let random = shared.env.random();
    let id = |shard| SagaId::from_parts(shared.env.now().0.unsigned_abs(), [0; 10], shard);
    Ok(shards.nth((random >> 32) as u32).map(id))
}

/// Another node's start, which this node has the definition for, or says that it has not.
pub(super) async fn start_for(shared: Arc<Shared>, row: InboxId, ticket: i64, new: NewSaga) {
    let (reply, started) = oneshot::channel();
    shared.send(Message::Start(new.clone(), reply));
    let Some(cluster) = shared.store.cluster() else { return };
    if let Ok(started) = started.await {
        let answer = started.map(|started| Some((started.id, started.new))).map_err(|error| match error {
            // The shard has changed hands since this node was chosen.
            EngineError::UnknownDefinition { .. } => nobody_runs(&new),
            other => other,
        });
        if let Err(error) = say(&shared, cluster, ticket, &answer).await {
            tracing::warn!(%error, "failed to answer another node");
        }
        // After the answer: a start is done twice without harm.
        if let Err(error) = shared.store.forget_inbox(vec![row]).await {
            tracing::debug!(%error, "failed to delete an inbox row: it is read again");
        }
    }
    shared.taken(&[row]);
}

/// A reply that goes back to the node that asked, once this one knows what to say.
pub(super) fn answer_by(shared: &Arc<Shared>, ticket: i64, saga: SagaId, row: InboxId) -> Reply<Snapshot> {
    let (reply, answer) = oneshot::channel::<Result<Snapshot, EngineError>>();
    let shared = shared.clone();
    shared.clone().env.spawn(Box::pin(async move {
        // Without a word from the worker nobody knows: the other node says so by itself.
        let Ok(answer) = answer.await else { return };
        let Some(cluster) = shared.store.cluster() else { return };
        let answer = match answer {
            // It was done where the row went with it. Where the row is there still, whoever reads it again does it, and answers.
            Err(EngineError::Unavailable(why)) if why == UNSURE => match is_there(cluster, saga, row).await {
                Ok(false) => Ok(None),
                _ => return,
            },
            answer => answer.map(|_| None),
        };
        if let Err(error) = say(&shared, cluster, ticket, &answer).await {
            tracing::warn!(%error, "failed to answer another node");
        }
    }));
    reply
}

async fn is_there(cluster: &dyn Cluster, saga: SagaId, row: InboxId) -> Result<bool, StoreError> {
    let rows = cluster.inbox_of(vec![saga], Vec::new(), ROWS_MAX).await?;
    Ok(rows.len() == ROWS_MAX as usize || rows.iter().any(|(id, _)| *id == row))
}

async fn say(shared: &Shared, cluster: &dyn Cluster, ticket: i64, answer: &Answered) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(answer).or_else(|_| {
        let said = answer.as_ref().err().map_or_else(String::new, ToString::to_string);
        serde_json::to_vec(&Answered::Err(EngineError::Bug(said)))
    });
    cluster.answer(ticket, shared.env.now(), bytes.unwrap_or_default()).await
}

async fn read(shared: &Shared, saga: SagaId) -> Result<Option<Snapshot>, EngineError> {
    let journal = shared.store.journals(vec![saga]).await?.pop().unwrap_or_default();
    if journal.is_empty() {
        return Ok(None);
    }
    let state = unfold(&journal).map_err(|why| EngineError::Quarantined { saga, why })?;
    Ok(Some(Snapshot { state: Arc::new(state) }))
}
