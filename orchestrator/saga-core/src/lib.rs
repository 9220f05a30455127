//! The pure core of Tercet, a saga orchestrator: what a saga is, and what follows from what happened.
//!
//! No clock, no randomness, no I/O, no runtime: time enters inside events, so a journal folds to the same state wherever
//! and whenever it is read. The shell is the crate `tercet`; participants are written with `tercet-participant`; a crate of
//! contracts needs this one alone.

pub mod canary;
pub mod command;
pub mod contract;
mod decide;
pub mod definition;
pub mod dsl;
pub mod entry;
pub mod event;
pub mod graph;
pub mod ids;
pub mod lint;
pub mod payload;
pub mod policy;
pub mod state;
pub mod wire;

pub use command::{Command, Delivery, deliveries, outstanding};
pub use contract::{Data, Is, Kind, Operation, Refusal, Signal, StepKind, Verdict, kind, refuse};
pub use decide::{Illegal, Starting, choices, decide, needs_force, start};
pub use definition::{BuildError, BuildErrors, Definition, Description, Graph, Part};
pub use dsl::{Cancelled, Confirmed, Handle, Saga, Scope, Trying};
pub use entry::{Entry, Fact};
pub use event::{Action, Answered, Choice, Event, Operated, Sender, Signalled, Timer, What};
pub use ids::{
    BadName, ContractName, DefinitionName, IdempotencyKey, Millis, Namespace, ParticipantName, SHARDS, SagaId, SagaKey,
    ShardId, SignalId, StepInstance, StepName,
};
pub use payload::{Payload, PayloadHash};
pub use policy::{OnExhausted, OnRefused, Policy, Retry, days, hours, minutes, seconds};
pub use schemars;
pub use state::{Life, State, Status, StepState, apply};
pub use wire::{Answer, Answering, Call, PANICKED, Participant, Phase};
