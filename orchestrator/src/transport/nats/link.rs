//! The connection and the inbox that replies come to.

use futures_util::StreamExt;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tercet_nats::{
    ConnectError, Patience, Settings,
    async_nats::{Client, Message, Subscriber, connection::State},
    connect, settled,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// What the servers call this client.
const NAME: &str = "tercet";

/// How long a server may take to take in what is left when this node ends.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// A connection, whether it stands or not.
pub(super) struct Link {
    settings: Settings,
    line: Mutex<Line>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
    next: AtomicU64,
    stop: CancellationToken,
}

enum Line {
    /// There is none, and why.
    Down(String),
    /// There is one, with an inbox for replies.
    Up(Client, Arc<str>),
}

impl Link {
    pub(super) async fn start(settings: Settings) -> Result<Arc<Self>, ConnectError> {
        let first = connect(&settings, NAME).await;
        let link = Arc::new(Self {
            settings,
            line: Mutex::new(Line::Down("there is no connection to NATS yet".to_owned())),
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            stop: CancellationToken::new(),
        });
        let replies = match first {
            Ok(client) => link.listen(client).await,
            Err(error) if error.may_pass() => {
                tracing::warn!("{error}; it is tried again");
                link.down(error.to_string());
                None
            }
            Err(error) => return Err(error),
        };
        tokio::spawn(keep(link.clone(), replies));
        Ok(link)
    }

    /// The client and its inbox, or why there is none.
    pub(super) fn up(&self) -> Result<(Client, Arc<str>), String> {
        match &*lock(&self.line) {
            Line::Up(client, inbox) if client.connection_state() == State::Connected => {
                Ok((client.clone(), inbox.clone()))
            }
            Line::Up(..) => Err(format!("the connection to NATS at {} is lost", self.settings)),
            Line::Down(why) => Err(why.clone()),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A place that a reply can come to.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        let (send, reply) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(number, send);
        Waiting { link: self.clone(), number, reply }
    }

    pub(super) async fn close(&self) {
        self.stop.cancel();
        if let Ok((client, _)) = self.up() {
            // A server that is gone in this moment takes nothing any more.
            drop(tokio::time::timeout(FLUSH_MAX, settled(&client)).await);
        }
        self.down("this node is shutting down".to_owned());
        lock(&self.waiting).clear();
    }

    async fn listen(&self, client: Client) -> Option<Subscriber> {
        let inbox: Arc<str> = client.new_inbox().into();
        let replies = client.subscribe(format!("{inbox}.*")).await.ok()?;
        *lock(&self.line) = Line::Up(client, inbox);
        Some(replies)
    }

    fn down(&self, why: String) {
        *lock(&self.line) = Line::Down(why);
    }

    fn deliver(&self, reply: Message) {
        let number = reply.subject.rsplit('.').next().and_then(|token| token.parse::<u64>().ok());
        let waiting = number.and_then(|number| lock(&self.waiting).remove(&number));
        match waiting {
            Some(waiting) => drop(waiting.send(reply)),
            None => tracing::debug!(subject = %reply.subject, "a reply came that nobody waits for"),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).field("up", &self.up().is_ok()).finish_non_exhaustive()
    }
}

/// Takes replies in, through every reconnect; makes the first connection where there was none at the start.
async fn keep(link: Arc<Link>, mut replies: Option<Subscriber>) {
    loop {
        let Some(listening) = &mut replies else {
            tokio::select! {
                () = link.stop.cancelled() => return,
                client = Patience::new(&link.settings, NAME).connect(|error| link.down(error.to_string())) => {
                    replies = link.listen(client).await;
                }
            }
            continue;
        };
        tokio::select! {
            () = link.stop.cancelled() => return,
            reply = listening.next() => match reply {
                Some(reply) => link.deliver(reply),
                None => {
                    link.down(format!("the connection to NATS at {} is lost", link.settings));
                    replies = None;
                }
            },
        }
    }
}

/// A call that waits for its reply; the place is given up with it.
pub(super) struct Waiting {
    link: Arc<Link>,
    number: u64,
    reply: oneshot::Receiver<Message>,
}

impl Waiting {
    pub(super) fn subject(&self, inbox: &str) -> String {
        format!("{inbox}.{}", self.number)
    }

    pub(super) async fn reply(mut self, within: Duration) -> Option<Message> {
        tokio::time::timeout(within, &mut self.reply).await.ok()?.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.link.waiting).remove(&self.number);
    }
}

/// Nothing panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
