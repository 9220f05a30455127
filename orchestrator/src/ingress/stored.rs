//! What comes by way of a stream: told to be done after the commit, and not before.

use super::{AT_ONCE, DRAIN_MAX, DeadLetters, Ingress, No};
use crate::engine::Health;
use std::{sync::Arc, time::Duration};
use tercet_nats::{
    protocol::Door,
    streams::{Came, Coming, Stream, StreamError, Streams},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Messages that are asked for ahead.
const AHEAD: usize = 256;

/// Between attempts to open the stream: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Until a message that cannot be taken now comes again: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How often an engine that takes no work is asked whether it does again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Ingress {
    /// Takes messages in until `stop`, through everything that may befall the broker.
    pub(super) async fn take_stored(&self, streams: &Streams, stop: &CancellationToken) {
        let (mut last, mut pause) = (None, PAUSE.0);
        while !stop.is_cancelled() {
            let error = match self.open(streams).await {
                Ok(coming) => {
                    (last, pause) = (None, PAUSE.0);
                    match self.session(streams, coming, stop).await {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if last.as_ref() != Some(&error) {
                tracing::warn!("{error}; it is tried again");
                last = Some(error);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn open(&self, streams: &Streams) -> Result<Coming, StreamError> {
        streams.ensure(Stream::Dead).await?;
        streams.coming(AHEAD).await
    }

    async fn session(
        &self, streams: &Streams, mut coming: Coming, stop: &CancellationToken,
    ) -> Result<(), StreamError> {
        let dead = Arc::new(DeadLetters::new(streams.clone()));
        let permits = Arc::new(Semaphore::new(AT_ONCE as usize));
        let ended = loop {
            let next = async {
                self.ready().await;
                let permit = permits.clone().acquire_owned().await.ok();
                (permit, coming.next().await)
            };
            let (permit, came) = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                next = next => next,
            };
            let came = match came {
                Ok(came) => came,
                Err(error) => break Err(error),
            };
            let (this, dead) = (self.clone(), dead.clone());
            tokio::spawn(async move {
                this.take_one(&dead, came).await;
                drop(permit);
            });
        };
        coming.give_back().await;
        // What is not done in time comes again, here or elsewhere.
        drop(tokio::time::timeout(DRAIN_MAX, permits.acquire_many(AT_ONCE)).await);
        ended
    }

    /// While the engine takes no work nothing is asked for, so that all that waits does not go round and round.
    async fn ready(&self) {
        while self.engine.health() != Health::Ready {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn take_one(&self, dead: &DeadLetters, came: Came) {
        let taken = match came.door() {
            Some(door) => self.take(door, came.body()).await.map_err(|no| (door, no)),
            None => Err((Door::Start, No::Never("bad_subject", "its subject is none that is known here".to_owned()))),
        };
        match taken {
            Ok(_) => came.done().await,
            Err((_, No::Later(why))) => {
                tracing::debug!(
                    message.number = came.number,
                    message.times = came.times,
                    why,
                    "a message cannot be taken now"
                );
                again(came).await;
            }
            Err((door, No::Never(code, why))) => match dead.bury(&came, door, code, &why).await {
                Ok(number) => {
                    tracing::error!(dead_letter = number, code, why, "a message can never succeed and was laid aside");
                    metrics::counter!("tercet_dead_letters_total", "code" => code).increment(1);
                    came.done().await;
                }
                Err(error) => {
                    tracing::warn!(%error, code, why, "a message can never succeed, and could not be laid aside; it comes again");
                    again(came).await;
                }
            },
        }
    }
}

async fn again(came: Came) {
    let doublings = u32::try_from(came.times.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let after = AGAIN.0.saturating_mul(1 << doublings).min(AGAIN.1);
    came.later(after).await;
}
