//! Standing loops: timers that are due soon, the inbox, old journals; and recovery of what a new owner takes up. None of them scans
//! what waits.

use super::{
    Shared, elsewhere,
    message::{Coming, Incoming, Message, Note, Reply, Snapshot},
};
use crate::store::{Filter, InboxId, InboxItem, Shards, StoreError};
use std::{sync::Arc, time::Duration};
use tercet_core::{Operated, SagaId, ShardId, Signalled, What};

/// Rows read in one go.
const PAGE: u32 = 1_000;

/// Between two looks at old journals.
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// How long the key of an ended saga still answers after its journal is gone.
const KEYS_KEPT: u32 = 4;

/// Every half look-ahead: the timers that are due before the next look but one, page by page.
pub(super) async fn timers(shared: Arc<Shared>) {
    while !shared.is_stopped() {
        timers_of(&shared, shared.owns()).await;
        timers_of_guests(&shared).await;
        shared.env.sleep_until(shared.env.now().plus(shared.settings.look_ahead / 2)).await;
    }
}

/// Those of sagas that were lent to this node: few.
async fn timers_of_guests(shared: &Shared) {
    let guests = shared.guests.borrow().clone();
    if !guests.is_empty() {
        match shared.store.timers_of(guests).await {
            Ok(rows) => shared.send(Message::Timers(rows)),
            Err(error) => pause(shared, &error).await,
        }
    }
}

/// Those of shards that have just become this node's, since the next look may be far.
pub(super) async fn timers_of_gained(shared: Arc<Shared>, gained: Shards) {
    timers_of(&shared, gained).await;
}

async fn timers_of(shared: &Shared, of: Shards) {
    let until = shared.env.now().plus(shared.settings.look_ahead);
    let mut after = None;
    while !shared.is_stopped() {
        match shared.store.timers_due(of, after.clone(), until, PAGE).await {
            Ok(rows) => {
                let last = rows.last().filter(|_| rows.len() == PAGE as usize).cloned();
                shared.send(Message::Timers(rows));
                let Some(last) = last else { return };
                after = Some(last);
            }
            Err(error) => pause(shared, &error).await,
        }
    }
}

/// Waits before the store is asked again that could not be read.
pub(super) async fn pause(shared: &Shared, error: &StoreError) {
    shared.cannot_read(&error.to_string());
    shared.env.sleep_until(shared.env.now().plus(Duration::from_millis(500))).await;
}

/// The inbox: at every wake-up, and every second should one be lost.
pub(super) async fn inbox(shared: Arc<Shared>) {
    let every = match shared.store.cluster() {
        Some(_) => shared.settings.inbox_every.min(shared.settings.look_every),
        None => shared.settings.inbox_every,
    };
    while !shared.is_stopped() {
        let rows = inbox_rows(&shared).await;
        let more = match rows {
            Ok(rows) => {
                shared.can_read();
                let more = rows.len() >= PAGE as usize;
                rows.into_iter().for_each(|(id, item)| hand_over(&shared, id, &item));
                more
            }
            Err(error) => {
                pause(&shared, &error).await;
                continue;
            }
        };
        if !more {
            let wait = shared.env.sleep_until(shared.env.now().plus(every));
            tokio::select! {
                biased;
                () = shared.inbox.notified() => {}
                () = wait => {}
            }
        }
    }
}

/// Of this node's shards, and of the sagas lent to it.
async fn inbox_rows(shared: &Shared) -> Result<Vec<(InboxId, InboxItem)>, StoreError> {
    let mut rows = shared.store.inbox(shared.owns(), shared.inbox_in_hand(), PAGE).await?;
    let guests = shared.guests.borrow().clone();
    if let Some(cluster) = shared.store.cluster().filter(|_| !guests.is_empty()) {
        rows.extend(cluster.inbox_of(guests, shared.inbox_in_hand(), PAGE).await?);
    }
    Ok(rows)
}

fn hand_over(shared: &Arc<Shared>, id: InboxId, item: &InboxItem) {
    shared.hand_over(id, item.saga);
    match serde_json::from_slice::<Note>(&item.message) {
        Ok(Note::Start { ticket, new }) => {
            shared.env.spawn(Box::pin(elsewhere::start_for(shared.clone(), id, ticket, new)));
        }
        Ok(note) => {
            let (what, reply) = coming(shared, id, item.saga, note);
            shared.send(Message::Event(Incoming { saga: item.saga, what, inbox: Some(id), reply }));
        }
        Err(error) => {
            tracing::error!(saga.id = %item.saga, %error, "failed to read an inbox row: it is left in place");
        }
    }
}

/// What an inbox row says, and who waits for what comes of it.
fn coming(shared: &Arc<Shared>, row: InboxId, saga: SagaId, note: Note) -> (Coming, Option<Reply<Snapshot>>) {
    let what = match note {
        Note::Answer { step, phase, answer } => return (Coming::Answer { step, phase, answer }, None),
        Note::Asked { ticket, note } => {
            let reply = elsewhere::answer_by(shared, ticket, saga, row);
            return (coming(shared, row, saga, *note).0, Some(reply));
        }
        Note::Begun | Note::Start { .. } => return (Coming::Begun, None),
        Note::Cancel { by, reason } => What::CancelRequested { by, reason },
        Note::Operate { step, action, by, reason } => What::Operated(Operated { step, action, by, reason }),
        Note::Signal { id, name, payload, from } => What::Signalled(Signalled { id, name, payload, from }),
    };
    (Coming::Event(what), None)
}

/// Takes up what has not ended in shards that have become this node's; first what a person is shown, since that may be mended by now.
pub(super) async fn recovery(shared: Arc<Shared>, gained: Shards) {
    let parked = Filter { parked: Some(true), ..Filter::default() };
    let mut before = None;
    while !shared.is_stopped() {
        match shared.store.list(parked.clone(), before, PAGE).await {
            Ok(rows) => {
                let Some(last) = rows.last() else { break };
                before = Some(last.id);
                let open = rows.into_iter().filter(|row| gained.have(row.id) && !row.projection.status.is_end());
                open.for_each(|row| shared.send(Message::Shown(row.id, row.projection)));
            }
            Err(error) => pause(&shared, &error).await,
        }
    }
    let mut after = None;
    while !shared.is_stopped() {
        match shared.store.unfinished(gained, after, PAGE).await {
            Ok(sagas) => {
                let Some(last) = sagas.last().copied() else { return };
                after = Some(last);
                shared.send(Message::Recover(sagas));
            }
            Err(error) => pause(&shared, &error).await,
        }
    }
}

/// Deletes journals of sagas that ended long ago.
pub(super) async fn purging(shared: Arc<Shared>) {
    let Some(retention) = shared.settings.retention else { return };
    while !shared.is_stopped() {
        let now = shared.env.now();
        // One node of several is enough.
        if !shared.owns().contains(ShardId::FIRST) {
            shared.env.sleep_until(now.plus(PURGE_EVERY)).await;
            continue;
        }
        let ended = tercet_core::Millis(now.0.saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)));
        let keys = retention.saturating_mul(KEYS_KEPT);
        let keys = tercet_core::Millis(now.0.saturating_sub(i64::try_from(keys.as_millis()).unwrap_or(i64::MAX)));
        match shared.store.purge(ended, keys, PAGE).await {
            Ok(purged) if purged == u64::from(PAGE) => {}
            Ok(_) => shared.env.sleep_until(now.plus(PURGE_EVERY)).await,
            Err(error) => pause(&shared, &error).await,
        }
    }
}
