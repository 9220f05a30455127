//! Participants over NATS: each a micro service, with an endpoint for each operation.
//!
//! `nats micro ls`, `info` and `stats` show them; the endpoints' metadata name the contracts. Instances of a participant share the
//! calls: start as many as you like. A call is answered by [`Participant::call`], as it is in the process of an orchestrator.
//!
//! What a participant has to say by itself goes the other way: [`NatsIngress`] is where an outbox's relay sends starts, signals and
//! completions, answered after Tercet's commit; [`EventRelay`] carries published events to a broker's stream; and a service that has no
//! database of its own has a [`Publisher`], with the broker's guarantee and no more.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tercet_participant::nats::{Serving, Settings};
//! # async fn serve(inventory: Arc<dyn tercet_core::Participant>) -> Result<(), Box<dyn std::error::Error>> {
//! let serving = Serving::of([inventory], "default".parse()?).start(Settings::of("nats://127.0.0.1:4222")?).await?;
//! // … until this program is told to end:
//! serving.drain().await;
//! # Ok(())
//! # }
//! ```

mod caller;
mod desk;
mod discovery;
mod events;
mod ingress;
mod link;
mod publisher;
mod session;

pub use caller::Caller;
pub use events::EventRelay;
pub use ingress::NatsIngress;
pub use publisher::{PublishError, Publisher};
pub use tercet_nats::streams::{Stored, StreamError};
pub use tercet_nats::{ConnectError, Login, Settings, Texts, TextsError, Tls, UrlError, urls};

use desk::Desk;
use session::{Ended, Session};
use std::{sync::Arc, time::Duration};
use tercet_core::{Namespace, Participant};
use tercet_nats::{Patience, async_nats::Client, connect};
use tokio::{sync::watch, task::JoinHandle};

/// What the servers call this client.
const NAME: &str = "tercet-participant";

/// Calls under way at once in one process, of all its participants together, unless it is said otherwise. Each participant has a limit
/// of its own as well.
const CONCURRENCY: usize = 512;

/// Participants that are to be served.
pub struct Builder {
    participants: Vec<Arc<dyn Participant>>,
    namespace: Namespace,
    version: String,
    concurrency: usize,
}

/// Participants that are being served, until they are [drained](Serving::drain), or dropped: then at once.
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

/// Whether calls can come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no connection, and why.
    Down(String),
    /// Calls are taken in.
    Up,
    /// No more calls are taken in.
    Drained,
}

impl Serving {
    /// Participants of that namespace, each with a name of its own.
    pub fn of(participants: impl IntoIterator<Item = Arc<dyn Participant>>, namespace: Namespace) -> Builder {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Builder { participants: participants.into_iter().collect(), namespace, version, concurrency: CONCURRENCY }
    }

    /// Whether calls can come now.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Comes back once calls can come, or never will again.
    pub async fn up(&mut self) {
        let is_settled = |state: &State| !matches!(state, State::Down(_));
        drop(self.state.wait_for(is_settled).await);
    }

    /// Takes no more calls in, answers those that are there, and lets go of the connection. What slips through (a call that was on
    /// its way in the moment of leaving) is asked again by the orchestrator.
    pub async fn drain(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "serving broke off");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Builder {
    /// The version of this program, as discovery shows it: three numbers with dots between them, as in `1.4.0`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// So many calls under way at once: more wait.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.max(1);
        self
    }

    /// Serves them. Where no server is there yet, or it does not let this client in yet, it is tried again and again.
    ///
    /// # Errors
    /// What will not pass by itself: a file that cannot be read, say, or a server that is too old.
    pub async fn start(self, settings: Settings) -> Result<Serving, ConnectError> {
        let (first, why) = match connect(&settings, NAME).await {
            Ok(client) => (Some(client), String::new()),
            Err(error) if error.may_pass() => {
                tracing::warn!("{error}; it is tried again");
                (None, error.to_string())
            }
            Err(error) => return Err(error),
        };
        let (stop, stopping) = watch::channel(false);
        let (say, state) = watch::channel(State::Down(why));
        let desk = Arc::new(Desk::new(self.participants, self.namespace, self.version, self.concurrency));
        let task = tokio::spawn(run(desk, settings, first, stopping, say));
        let mut serving = Serving { stop, state, task };
        if serving.state() == State::Down(String::new()) {
            serving.up().await;
        }
        Ok(serving)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.participants.iter().map(|participant| participant.name()).collect();
        f.debug_struct("Builder").field("participants", &names).finish_non_exhaustive()
    }
}

/// A session lasts through every reconnect; one whose connection ended all the same is followed by another.
async fn run(
    desk: Arc<Desk>, settings: Settings, mut first: Option<Client>, mut stop: watch::Receiver<bool>,
    say: watch::Sender<State>,
) {
    loop {
        let client = match first.take() {
            Some(client) => client,
            None => tokio::select! {
                client = Patience::new(&settings, NAME).connect(|error| drop(say.send_replace(State::Down(error.to_string())))) => client,
                _ = stop.wait_for(|stop| *stop) => break,
            },
        };
        match Session::open(desk.clone(), client).await {
            Ok(session) => {
                say.send_replace(State::Up);
                if session.run(&mut stop).await == Ended::Drained {
                    break;
                }
                say.send_replace(State::Down(format!("the connection to NATS at {settings} is lost")));
            }
            Err(error) => {
                tracing::warn!(%error, "failed to subscribe; it is tried again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    say.send_replace(State::Drained);
}
