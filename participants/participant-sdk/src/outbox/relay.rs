//! The relay: sends what waits in the outbox, and deletes a message only when Tercet has acknowledged it, by its id.

use super::{Completion, Message, MessageId, Queued, Start, Told};
use crate::database::{Boxed, Database, Fault};

/// What Tercet says to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It is journaled, or was before.
    Yes,
    /// It can never succeed: undecodable, an unknown definition, a key taken by another payload.
    Never(String),
    /// Not now, or nobody knows: it is sent again.
    Unavailable(String),
}

/// The way into Tercet: in this process, or over a connection. The same message may be sent any number of times.
pub trait Ingress: Send + Sync + 'static {
    /// Tells what became of a pending phase; answered after Tercet's commit.
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged>;

    /// Starts a saga; answered after Tercet's commit.
    fn start(&self, start: Start) -> Boxed<'_, Acknowledged>;

    /// Tells a saga; answered after Tercet's commit.
    fn signal(&self, told: Told) -> Boxed<'_, Acknowledged>;
}

/// Empties an outbox into an [`Ingress`]. Call [`Relay::sweep`] again and again: after a commit that queued something, and every
/// so often for what was left.
#[derive(Debug)]
pub struct Relay<D, I> {
    database: D,
    ingress: I,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages acknowledged and deleted.
    pub sent: u32,
    /// Messages set aside, for they can never succeed.
    pub buried: u32,
    /// Messages left for the next sweep.
    pub left: u32,
}

/// Messages read at a time.
const PAGE: u32 = 256;

impl<D: Database, I: Ingress> Relay<D, I> {
    /// A relay from that database's outbox.
    pub fn new(database: D, ingress: I) -> Self {
        Self { database, ingress }
    }

    /// Sends each message that waits now, once. One that is not taken holds up none of the others.
    ///
    /// # Errors
    /// When the database fails; what was sent and not deleted is sent again by the next sweep.
    pub async fn sweep(&self) -> Result<Swept, Fault> {
        let mut swept = Swept::default();
        let mut after: Option<MessageId> = None;
        loop {
            let page = self.database.outbox(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(swept) };
            after = Some(last.id);
            for queued in page {
                self.send(queued, &mut swept).await?;
            }
        }
    }

    async fn send(&self, queued: Queued, swept: &mut Swept) -> Result<(), Fault> {
        let id = queued.id;
        let said = match queued.message {
            Ok(Message::Complete(completion)) => self.ingress.complete(completion).await,
            Ok(Message::Start(start)) => self.ingress.start(start).await,
            Ok(Message::Signal(told)) => self.ingress.signal(told).await,
            Err(reason) => Acknowledged::Never(reason),
        };
        match said {
            Acknowledged::Yes => {
                self.database.outbox_delete(id).await?;
                swept.sent += 1;
            }
            Acknowledged::Never(reason) => {
                tracing::error!(message.id = id.0, %reason, "a message of the outbox can never succeed and was set aside");
                self.database.outbox_bury(id, &reason).await?;
                swept.buried += 1;
            }
            Acknowledged::Unavailable(reason) => {
                tracing::debug!(message.id = id.0, %reason, "a message of the outbox was not taken");
                swept.left += 1;
            }
        }
        Ok(())
    }
}
