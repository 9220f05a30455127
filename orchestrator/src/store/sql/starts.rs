//! Starts of a batch: in what order they are written, and what became of each.

use super::rows;
use crate::store::{SagaRow, Start, Started, StoreError};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tercet_core::{PayloadHash, SagaId};

/// A saga's key as its unique index has it.
pub(super) fn key_of(row: &SagaRow) -> (&str, &str, &str) {
    (row.key.as_str(), row.definition.as_str(), row.namespace.as_str())
}

pub(super) type OwnedKey = (String, String, String);

pub(super) fn owned_key(row: &SagaRow) -> OwnedKey {
    let (key, definition, namespace) = key_of(row);
    (key.to_owned(), definition.to_owned(), namespace.to_owned())
}

/// Who has a key, with what payload.
pub(super) type Owners = HashMap<OwnedKey, (SagaId, PayloadHash)>;

/// A row of a query for the owners of keys.
pub(super) type OwnerRow = (String, String, String, Vec<u8>, Vec<u8>);

pub(super) fn owner(
    (key, definition, namespace, id, hash): OwnerRow,
) -> Result<(OwnedKey, (SagaId, PayloadHash)), StoreError> {
    Ok(((key, definition, namespace), (rows::id_from(id)?, rows::hash_from(hash)?)))
}

/// The starts by number, in the order of their keys.
pub(super) fn in_order(starts: &[Arc<Start>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..starts.len()).collect();
    order.sort_by_key(|&i| key_of(&starts[i].row));
    order
}

/// Which starts begin the sagas that are new: of two under one id, the first in order.
pub(super) fn winners(starts: &[Arc<Start>], order: Vec<usize>, mut new: HashSet<SagaId>) -> HashSet<usize> {
    order.into_iter().filter(|&i| new.remove(&starts[i].row.id)).collect()
}

/// The rows of those that do not win.
pub(super) fn losers<'s>(starts: &'s [Arc<Start>], wins: &HashSet<usize>) -> impl Iterator<Item = &'s SagaRow> {
    starts.iter().enumerate().filter(|(i, _)| !wins.contains(i)).map(|(_, start)| &start.row)
}

/// What became of each start, and those that win.
pub(super) fn sort_out(
    starts: Vec<Arc<Start>>, wins: &HashSet<usize>, owners: &Owners,
) -> Result<(Vec<Started>, Vec<Arc<Start>>), StoreError> {
    let outcome = |(i, start): (usize, &Arc<Start>)| {
        if wins.contains(&i) {
            return Ok(Started::New);
        }
        let owner = owners.get(&owned_key(&start.row));
        let &(by, hash) = owner.ok_or(StoreError::Conflict { saga: start.row.id })?;
        Ok(Started::Taken { by, same_payload: hash == start.row.payload_hash })
    };
    let started = starts.iter().enumerate().map(outcome).collect::<Result<_, _>>()?;
    let winners = starts.into_iter().enumerate().filter(|(i, _)| wins.contains(i)).map(|(_, start)| start).collect();
    Ok((started, winners))
}
