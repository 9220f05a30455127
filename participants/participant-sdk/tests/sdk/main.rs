//! The SDK as a participant's author and an orchestrator see it: the barrier's two bodies, third parties, faults, the outbox.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod events;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod honesty;
#[cfg(feature = "nats")]
#[cfg(test)]
mod nats;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod pivots;
#[cfg(test)]
mod places;
#[cfg(test)]
mod remotes;
#[cfg(test)]
mod servers;
#[cfg(feature = "nats")]
#[cfg(test)]
mod streams;
