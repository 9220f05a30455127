//! What every store demands of a batch before it touches a row.

use super::{Batch, Change, JournalRow, Projection, Start, StoreError, TimerChange};
use std::collections::HashSet;
use tercet_core::SagaId;

/// # Errors
/// [`StoreError::Refused`] for a batch that could not leave gap-free journals of the right sagas; [`StoreError::Conflict`] for
/// one that has an entry twice.
pub(super) fn sound(batch: &Batch) -> Result<(), StoreError> {
    batch.starts.iter().try_for_each(|start| start_is_whole(start))?;
    batch.changes.iter().try_for_each(|change| change_is_of_one_saga(change))?;
    texts_can_be_kept(batch)?;
    let mut seen = HashSet::with_capacity(batch.changes.len());
    match batch.changes.iter().flat_map(|change| &change.entries).find(|entry| !seen.insert((entry.saga, entry.seq))) {
        Some(twice) => Err(StoreError::Conflict { saga: twice.saga }),
        None => Ok(()),
    }
}

fn start_is_whole(start: &Start) -> Result<(), StoreError> {
    let saga = start.row.id;
    if start.entries.first().is_none_or(|entry| entry.seq != 1) {
        return Err(StoreError::Refused(format!("the start of saga {saga} has no entry 1")));
    }
    in_order(saga, &start.entries)?;
    if start.timers.iter().any(|timer| timer.saga != saga) {
        return Err(StoreError::Refused(format!("the start of saga {saga} has a timer of another")));
    }
    Ok(())
}

fn change_is_of_one_saga(change: &Change) -> Result<(), StoreError> {
    change.entries.first().map_or(Ok(()), |first| in_order(first.saga, &change.entries))
}

fn in_order(saga: SagaId, entries: &[JournalRow]) -> Result<(), StoreError> {
    let fits = |pair: &[JournalRow]| pair[0].seq.checked_add(1) == Some(pair[1].seq);
    if entries.iter().all(|entry| entry.saga == saga && entry.seq > 0) && entries.windows(2).all(fits) {
        Ok(())
    } else {
        Err(StoreError::Refused(format!("the entries for saga {saga} are not one row of its own, without gaps")))
    }
}

/// PostgreSQL keeps no U+0000 in a text, so no store does: the same batch has the same end on all of them.
fn texts_can_be_kept(batch: &Batch) -> Result<(), StoreError> {
    let changed =
        batch.changes.iter().filter_map(|change| change.projection.as_ref()).map(|(_, projection)| projection);
    let projections = batch.starts.iter().map(|start| &start.row.projection).chain(changed);
    let outputs = projections.filter_map(|projection: &Projection| projection.output.as_deref());
    let moved = batch.changes.iter().flat_map(|change| &change.timers).map(|change| match change {
        TimerChange::Set(timer) => &timer.name,
        TimerChange::Clear(_, name) => name,
    });
    let begun = batch.starts.iter().flat_map(|start| &start.timers).map(|timer| &timer.name);
    let timers = begun.chain(moved).map(|name| name.0.as_str());
    let audit = batch.changes.iter().flat_map(|change| &change.audit);
    let audit = audit.flat_map(|row| [row.actor.as_str(), row.action.as_str(), row.reason.as_str()]);
    match outputs.chain(timers).chain(audit).find(|text| text.contains('\0')) {
        Some(text) => Err(StoreError::Refused(format!("the text {text:?} has the character U+0000"))),
        None => Ok(()),
    }
}
