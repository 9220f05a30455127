//! Telling a saga: the signal goes into the receiver's inbox, and its verdict comes back into the sender's.

use super::{
    Shared,
    message::{Heard, HeardWhat, Note},
};
use crate::store::InboxItem;
use std::sync::Arc;
use tercet_core::{Answer, Payload, SagaId, Sender, SignalId, StepInstance, Verdict, canary::broken, entry::Target};

/// What is told, by whom and to whom.
pub(super) struct Tell {
    pub(super) from: SagaId,
    pub(super) step: StepInstance,
    pub(super) id: SignalId,
    pub(super) target: Target,
    pub(super) payload: Payload,
}

pub(super) async fn tell(shared: Arc<Shared>, tell: Tell, heard: Heard) {
    let what = match put(&shared, tell).await {
        Ok(what) => what,
        Err(error) => HeardWhat::NoResponder(error.to_string()),
    };
    shared.heard(Heard { what, ..heard });
}

async fn put(shared: &Shared, tell: Tell) -> Result<HeardWhat, crate::store::StoreError> {
    let Tell { from, step, id, target, payload } = tell;
    let Target::Signal { signal, definition, key } = target else { return Ok(HeardWhat::Told) };
    let namespace = shared.settings.namespace.clone();
    let Some(row) = shared.store.find(namespace, definition.clone(), key.clone()).await? else {
        return Ok(HeardWhat::Unknown(format!("no saga `{definition}` is known under the key `{key}`")));
    };
    let note = Note::Signal { id, name: signal, payload, from: Some(Sender { saga: from, step }) };
    shared.store.deliver(vec![InboxItem { saga: row.id, at: shared.env.now(), message: note.to_bytes() }]).await?;
    shared.poke_inbox();
    if broken("silence_is_too_late") {
        return Ok(HeardWhat::Answer(Answer::Done(Payload::of(&Verdict::TooLate).unwrap_or_else(|_| Payload::null()))));
    }
    Ok(HeardWhat::Told)
}
