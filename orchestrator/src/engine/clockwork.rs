//! Standing loops: timers that are due soon, the inbox, recovery after a restart, old journals. None of them scans what waits.

use super::{
    Shared,
    message::{Coming, Incoming, Message, Note},
};
use crate::store::{Filter, InboxId, InboxItem, StoreError};
use std::{sync::Arc, time::Duration};
use tercet_core::{Signalled, What};

/// Rows read in one go.
const PAGE: u32 = 1_000;

/// Between two looks at old journals.
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// How long the key of an ended saga still answers after its journal is gone.
const KEYS_KEPT: u32 = 4;

/// Every half look-ahead: the timers that are due before the next look but one, page by page.
pub(super) async fn timers(shared: Arc<Shared>) {
    let mut after = None;
    let mut until = shared.env.now().plus(shared.settings.look_ahead);
    while !shared.is_stopped() {
        match shared.store.timers_due(after.take(), until, PAGE).await {
            Ok(rows) => {
                after = rows.last().filter(|_| rows.len() == PAGE as usize).cloned();
                shared.send(Message::Timers(rows));
                if after.is_none() {
                    shared.env.sleep_until(shared.env.now().plus(shared.settings.look_ahead / 2)).await;
                    until = shared.env.now().plus(shared.settings.look_ahead);
                }
            }
            Err(error) => pause(&shared, &error).await,
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
    while !shared.is_stopped() {
        let rows = shared.store.inbox(shared.inbox_in_hand(), PAGE).await;
        let more = match rows {
            Ok(rows) => {
                shared.can_read();
                let more = rows.len() == PAGE as usize;
                rows.into_iter().for_each(|(id, item)| hand_over(&shared, id, &item));
                more
            }
            Err(error) => {
                pause(&shared, &error).await;
                continue;
            }
        };
        if !more {
            let wait = shared.env.sleep_until(shared.env.now().plus(shared.settings.inbox_every));
            tokio::select! {
                biased;
                () = shared.inbox.notified() => {}
                () = wait => {}
            }
        }
    }
}

fn hand_over(shared: &Shared, id: InboxId, item: &InboxItem) {
    shared.hand_over(id);
    let what = match serde_json::from_slice::<Note>(&item.message) {
        Ok(Note::Answer { step, phase, answer }) => Coming::Answer { step, phase, answer },
        Ok(Note::Cancel { by, reason }) => Coming::Event(What::CancelRequested { by, reason }),
        Ok(Note::Signal { id, name, payload, from }) => {
            Coming::Event(What::Signalled(Signalled { id, name, payload, from }))
        }
        Err(error) => {
            tracing::error!(saga.id = %item.saga, %error, "failed to read an inbox row: it is left in place");
            return;
        }
    };
    shared.send(Message::Event(Incoming { saga: item.saga, what, inbox: Some(id), reply: None }));
}

/// Takes up what had not ended when the last process did; first what a person is shown, since that may be mended by now.
pub(super) async fn recovery(shared: Arc<Shared>) {
    let parked = Filter { parked: Some(true), ..Filter::default() };
    let mut before = None;
    while !shared.is_stopped() {
        match shared.store.list(parked.clone(), before, PAGE).await {
            Ok(rows) => {
                let Some(last) = rows.last() else { break };
                before = Some(last.id);
                let open = rows.into_iter().filter(|row| !row.projection.status.is_end());
                open.for_each(|row| shared.send(Message::Shown(row.id, row.projection)));
            }
            Err(error) => pause(&shared, &error).await,
        }
    }
    let mut after = None;
    while !shared.is_stopped() {
        match shared.store.unfinished(after, PAGE).await {
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
