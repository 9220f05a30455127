//! What comes by way of a stream: told to be done after the commit, and not before.

use super::{AT_ONCE, DRAIN_MAX, DeadLetters, Ingress, No, waits::Waits};
use crate::{Machine, engine::Health, env::Environment};
use metrics::{counter, gauge};
use std::{sync::Arc, time::Duration};
use tercet_nats::{
    protocol::Door,
    streams::{Came, Coming, Standing, Stream, StreamError, Streams},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Messages that are asked for ahead.
const AHEAD: usize = 256;

/// Between attempts to open the stream: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How often an engine that takes no work is asked whether it does again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often it is counted what waits in the stream.
const COUNT_EVERY: Duration = Duration::from_secs(5);

impl Ingress {
    /// Takes messages in until `stop`, through everything that may befall the broker.
    pub(super) async fn take_stored(&self, streams: &Streams, stop: &CancellationToken) {
        tokio::select! {
            () = self.take_all(streams, stop) => {}
            () = count(streams) => {}
        }
    }

    async fn take_all(&self, streams: &Streams, stop: &CancellationToken) {
        let permits = Arc::new(Semaphore::new(AT_ONCE as usize));
        let (mut last, mut pause, mut made) = (None, PAUSE.0, None);
        while !stop.is_cancelled() {
            let error = match self.open(streams).await {
                Ok(coming) => {
                    (last, pause) = (None, PAUSE.0);
                    if made.replace(coming.stream().made).is_some_and(|made| made != coming.stream().made) {
                        tracing::warn!(
                            "the stream of what comes in was lost, with what no node had taken, and is made anew"
                        );
                    }
                    match self.session(streams, coming, &permits, stop).await {
                        Ok(()) => break,
                        // Where nothing is lost nothing need be said.
                        Err(StreamError::Reconnected { .. }) => continue,
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
        // What is not done in time comes again, here or elsewhere.
        drop(tokio::time::timeout(DRAIN_MAX, permits.acquire_many(AT_ONCE)).await);
    }

    async fn open(&self, streams: &Streams) -> Result<Coming, StreamError> {
        streams.ensure(Stream::Dead).await?;
        streams.coming(AHEAD).await
    }

    async fn session(
        &self, streams: &Streams, mut coming: Coming, permits: &Arc<Semaphore>, stop: &CancellationToken,
    ) -> Result<(), StreamError> {
        let dead = Arc::new(DeadLetters::new(streams.clone()));
        let waits = self.waits.within(coming.stream().kept);
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
                this.take_one(&dead, came, waits).await;
                drop(permit);
            });
        };
        coming.give_back().await;
        ended
    }

    /// While the engine takes no work nothing is asked for, so that all that waits does not go round and round.
    async fn ready(&self) {
        while self.engine.health() != Health::Ready {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn take_one(&self, dead: &DeadLetters, came: Came, waits: Waits) {
        let taken = match came.door() {
            Some(door) => self.take(door, came.body()).await.map_err(|no| (door, no)),
            None => Err((Door::Start, No::Never("bad_subject", "its subject is none that is known here".to_owned()))),
        };
        match taken {
            Ok(_) => came.done().await,
            Err((_, No::Later(why))) => later(came, waits.usual(), &why).await,
            Err((door, No::Early(why))) => {
                let waited = Machine::new().now().since(came.at);
                match waits.left(waited) {
                    Some(left) => later(came, Waits { most: waits.most.min(left), ..waits }, &why).await,
                    None => {
                        let why = format!("{why}, and none was started within {} s", waits.for_saga.as_secs());
                        lay_aside(dead, came, door, "no_saga", &why).await;
                    }
                }
            }
            Err((door, No::Never(code, why))) => lay_aside(dead, came, door, code, &why).await,
        }
    }
}

/// It comes again. Said aloud once, when it has waited for long.
async fn later(came: Came, waits: Waits, why: &str) {
    let (number, times) = (came.number, came.times);
    if waits.is_long(times) {
        tracing::warn!(
            message.number = number,
            message.times = times,
            why,
            "a message waits for long; it is tried again"
        );
    } else {
        tracing::debug!(message.number = number, message.times = times, why, "a message cannot be taken now");
    }
    came.later(waits.until_next(times)).await;
}

async fn lay_aside(dead: &DeadLetters, came: Came, door: Door, code: &'static str, why: &str) {
    match dead.bury(&came, door, code, why).await {
        Ok(number) => {
            tracing::error!(dead_letter = number, code, why, "a message can never succeed and was laid aside");
            counter!("tercet_dead_letters_total", "code" => code).increment(1);
            came.done().await;
        }
        Err(error) => {
            tracing::warn!(%error, code, why, "a message can never succeed, and could not be laid aside; it comes again");
            let after = Waits::default().usual().until_next(came.times);
            came.later(after).await;
        }
    }
}

/// Says what waits in the stream, for whoever watches the nodes.
async fn count(streams: &Streams) {
    loop {
        if let Ok(Standing { messages, oldest }) = streams.standing(Stream::In).await {
            let age = oldest.map_or(Duration::ZERO, |oldest| Machine::new().now().since(oldest));
            gauge!("tercet_stored_messages").set(f64::from(u32::try_from(messages).unwrap_or(u32::MAX)));
            gauge!("tercet_stored_oldest_seconds").set(age.as_secs_f64());
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}
