//! Calls as an orchestrator would make them, for tests.

use std::time::Duration;
use tercet_core::{
    BadName, Call, Data, IdempotencyKey, Millis, Operation, Payload, Phase, SagaId, ShardId, StepInstance,
};

/// The moment that calls are made at unless told otherwise; a test's clock stands there.
#[must_use]
pub const fn at() -> Millis {
    Millis(1_700_000_000_000)
}

/// The calls of one step.
#[derive(Clone, Debug)]
pub struct Calls {
    call: Call,
}

impl Calls {
    /// Calls of the step `step` of the first saga.
    ///
    /// # Errors
    /// When the contract's name is none, or the request cannot be written as JSON.
    pub fn of<O: Operation>(request: &O::Request) -> Result<Self, CallsError> {
        Self::raw(O::NAME, Payload::of(request)?)
    }

    /// Calls with a request as it is, readable or not.
    ///
    /// # Errors
    /// When the contract's name is none.
    pub fn raw(contract: &str, request: Payload) -> Result<Self, CallsError> {
        let saga = saga(1).ok_or(CallsError::Shard)?;
        let step: StepInstance = "step".parse()?;
        let call = Call {
            key: IdempotencyKey::of_step(saga, &step),
            saga,
            step,
            contract: contract.parse()?,
            phase: Phase::Try,
            attempt: 1,
            issued: at(),
            timeout: Duration::from_secs(10),
            expires: None,
            fence: false,
            request,
            reply: None,
        };
        Ok(Self { call })
    }

    /// The same step of the saga of that number.
    #[must_use]
    pub fn saga(mut self, number: u64) -> Self {
        if let Some(saga) = saga(number) {
            self.call.saga = saga;
            self.call.key = IdempotencyKey::of_step(saga, &self.call.step);
        }
        self
    }

    /// As of that attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.call.attempt = attempt;
        self
    }

    /// Made at that moment.
    #[must_use]
    pub fn issued(mut self, issued: Millis) -> Self {
        self.call.issued = issued;
        self
    }

    /// Carrying that expiry.
    #[must_use]
    pub fn expires(mut self, expires: Millis) -> Self {
        self.call.expires = Some(expires);
        self
    }

    /// Carrying the try's reply, as confirms and cancels do.
    #[must_use]
    pub fn reply<T: Data>(mut self, reply: &T) -> Self {
        self.call.reply = Payload::of(reply).ok();
        self
    }

    pub(super) fn made(&self) -> Millis {
        self.call.issued
    }

    fn phase(&self, phase: Phase) -> Call {
        Call { phase, ..self.call.clone() }
    }

    /// The try, or execute.
    #[must_use]
    pub fn execute(&self) -> Call {
        self.phase(Phase::Try)
    }

    /// The confirm.
    #[must_use]
    pub fn confirm(&self) -> Call {
        self.phase(Phase::Confirm)
    }

    /// The cancel, or compensate.
    #[must_use]
    pub fn cancel(&self) -> Call {
        self.phase(Phase::Cancel)
    }

    /// The query.
    #[must_use]
    pub fn query(&self) -> Call {
        self.phase(Phase::Query)
    }

    /// The query that rules out attempts which were not handed on.
    #[must_use]
    pub fn fence(&self) -> Call {
        Call { fence: true, ..self.phase(Phase::Query) }
    }

    /// The close.
    #[must_use]
    pub fn close(&self) -> Call {
        self.phase(Phase::Close)
    }

    /// The word that the saga has ended.
    #[must_use]
    pub fn forget(&self) -> Call {
        self.phase(Phase::Forget)
    }
}

/// Why calls could not be made up.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    /// The contract's name is none.
    #[error("failed to make up a call: {0}")]
    Name(#[from] BadName),
    /// The request cannot be written.
    #[error("failed to make up a call: {0}")]
    Request(#[from] serde_json::Error),
    /// There is no shard for it.
    #[error("failed to make up a call: there is no shard 0")]
    Shard,
}

fn saga(number: u64) -> Option<SagaId> {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    ShardId::new(0).map(|shard| SagaId::from_parts(at().0.unsigned_abs(), random, shard))
}
