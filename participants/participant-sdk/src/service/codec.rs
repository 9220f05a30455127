//! Payloads into the types of contracts, and back; what cannot be read or written is an honest answer, too.

use crate::{barrier::Hold, outcome::Otherwise};
use serde::{Serialize, de::DeserializeOwned};
use tercet_core::{Answer, Call, Payload, Phase, Refusal};

/// The call's request. A try that cannot be read did nothing and never will; an undo that cannot be read may be read by another
/// version, and must not look done.
pub(super) fn request<T: DeserializeOwned>(call: &Call) -> Result<T, Otherwise> {
    call.request.parse().map_err(|error| {
        let reason = format!("the request of {} cannot be read: {error}", call.contract);
        if call.phase == Phase::Try {
            Otherwise::Refused(Refusal::new("unreadable_request", reason))
        } else {
            Otherwise::Retry { after: None, reason }
        }
    })
}

/// The try's reply: from the barrier's row, which has it whatever its size, else from the call.
pub(super) fn tried<T: DeserializeOwned>(call: &Call, row: &Hold) -> Result<Option<T>, Otherwise> {
    let stored = match &row.try_answer {
        Some(Answer::Done(reply)) => Some(reply),
        _ => call.reply.as_ref(),
    };
    stored.map(Payload::parse).transpose().map_err(|error| Otherwise::Retry {
        after: None,
        reason: format!("the reply of {} cannot be read: {error}", call.contract),
    })
}

/// The try's reply, where there must be one.
pub(super) fn must_be_tried<T: DeserializeOwned>(call: &Call, row: &Hold) -> Result<T, Otherwise> {
    tried(call, row)?
        .ok_or_else(|| Otherwise::Retry { after: None, reason: format!("the reply of {} is not known", call.contract) })
}

/// A reply that is committed with what it tells of; one that cannot be written rolls that back.
pub(super) fn written<T: Serialize>(reply: &T) -> Result<Payload, Otherwise> {
    Payload::of(reply).map_err(|error| {
        Otherwise::Refused(Refusal::new("unwritable_reply", format!("the reply cannot be written as JSON: {error}")))
    })
}

/// A reply that tells of what a third party did: that stays *done* even where its reply cannot be written.
pub(super) fn told<T: Serialize>(reply: &T) -> Payload {
    Payload::of(reply).unwrap_or_else(|error| {
        tracing::error!(%error, "a third party's reply cannot be written as JSON; it is done all the same");
        Payload::null()
    })
}
