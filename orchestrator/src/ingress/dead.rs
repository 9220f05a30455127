//! Dead letters: what came by way of a stream and can never succeed as things are, with the reason, until somebody sends it again or
//! drops it.

use tercet_core::Millis;
use tercet_nats::{
    async_nats::HeaderMap,
    protocol::{CAME, CODE, Door, REASON, plain, printable},
    streams::{Begin, Came, Kept, Outgoing, Stream, StreamError, Streams},
};

/// The longest reason that is kept, in characters.
const REASON_MAX: usize = 1_000;

/// A message that can never succeed as things are: unless a definition that was missing is there now, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number; as long as the stream is not made anew, no other has it.
    pub number: u64,
    /// Where it came in.
    pub door: Option<Door>,
    /// Why it cannot succeed: a code.
    pub code: String,
    /// Why it cannot succeed.
    pub reason: String,
    /// When it had first been stored, by the server's clock.
    pub came: Option<Millis>,
    /// When it was laid aside.
    pub at: Millis,
    /// What it says, byte for byte.
    pub body: Vec<u8>,
}

/// The dead letters of a namespace.
#[derive(Clone, Debug)]
pub struct DeadLetters(Streams);

impl DeadLetters {
    /// Those in these streams.
    #[must_use]
    pub fn new(streams: Streams) -> Self {
        Self(streams)
    }

    /// Lays a message aside; its number among the dead letters. Once more is the same letter.
    ///
    /// # Errors
    /// Why it is not laid aside: it must come again.
    pub(super) async fn bury(&self, came: &Came, door: Door, code: &str, reason: &str) -> Result<u64, StreamError> {
        let mut headers = own(&came.headers());
        let reason: String = reason.chars().take(REASON_MAX).collect();
        headers.insert(CODE, code);
        headers.insert(REASON, printable(&reason));
        headers.insert(CAME, came.at.0.to_string());
        let subject = door.dead(self.0.namespace());
        let letter = Outgoing { subject, id: came.id(), headers, body: came.body().to_vec() };
        Ok(self.0.publish(Stream::Dead, letter).await?.number)
    }

    /// At most `limit` letters from that number on, oldest first.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn page(&self, from: u64, limit: usize) -> Result<Vec<DeadLetter>, StreamError> {
        self.0.find(Stream::Dead).await?;
        let page = self.0.page(Stream::Dead, Begin::Number(from), limit).await?;
        Ok(page.into_iter().map(DeadLetter::of).collect())
    }

    /// The letter of that number, if it is there.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn one(&self, number: u64) -> Result<Option<DeadLetter>, StreamError> {
        Ok(self.0.message(Stream::Dead, number).await?.map(DeadLetter::of))
    }

    /// Sends a letter to where it came in, as it came, and drops it once it is stored there: `false` when there is no such letter. Where
    /// the end of this is not heard of, once more is harmless: a key or an id starts or tells once.
    ///
    /// # Errors
    /// Why it is not known to be stored: it is still here.
    pub async fn resend(&self, number: u64) -> Result<bool, StreamError> {
        let made = self.0.find(Stream::Dead).await?.made;
        let Some(kept) = self.0.message(Stream::Dead, number).await? else { return Ok(false) };
        let door = Door::of(&kept.subject);
        let subject = door.map_or_else(|| kept.subject.clone(), |door| door.stored(self.0.namespace()));
        let id = format!("resent-{made}-{number}");
        let message = Outgoing { subject, id, headers: own(&kept.headers), body: kept.body };
        self.0.publish(Stream::In, message).await?;
        self.0.delete(Stream::Dead, number).await?;
        Ok(true)
    }

    /// Drops a letter for good: `false` when there is no such letter.
    ///
    /// # Errors
    /// Why it is not known to be dropped.
    pub async fn discard(&self, number: u64) -> Result<bool, StreamError> {
        self.0.delete(Stream::Dead, number).await
    }
}

impl DeadLetter {
    fn of(kept: Kept) -> Self {
        let text = |name: &str| kept.headers.get(name).map(|value| plain(value.as_str())).unwrap_or_default();
        Self {
            number: kept.number,
            door: Door::of(&kept.subject),
            code: text(CODE),
            reason: text(REASON),
            came: text(CAME).parse().ok().map(Millis),
            at: kept.at,
            body: kept.body,
        }
    }
}

/// What the sender said about it (its trace, say), without what the server and whoever laid it aside have said.
fn own(headers: &HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::new();
    for (name, values) in headers.iter() {
        let text: &str = name.as_ref();
        if !text.to_ascii_lowercase().starts_with("nats-") && ![CODE, REASON, CAME].contains(&text) {
            for value in values {
                own.append(name.clone(), value.clone());
            }
        }
    }
    own
}
