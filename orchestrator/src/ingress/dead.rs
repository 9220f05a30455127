//! Dead letters: what came by way of a stream and can never succeed as things are, with the reason, until somebody sends it again or
//! drops it.
//!
//! A letter is its message, byte for byte, with the reason in headers. A message that fills what the server takes leaves no room for
//! these: its body is then kept beside the letter, in parts, which the letter names by their numbers. The parts are stored before it
//! and deleted before it, so that a letter that can be seen is whole.

use tercet_core::Millis;
use tercet_nats::{
    async_nats::HeaderMap,
    protocol::{CAME, CODE, Door, PART, PARTS, REASON, plain, printable},
    streams::{Begin, Came, Kept, Outgoing, Stream, StreamError, Streams},
};

/// The longest reason that is kept, in characters.
const REASON_MAX: usize = 1_000;

/// What a part leaves to its own headers, in bytes.
const PART_HEADERS: usize = 512;

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
        let reason: String = reason.chars().take(REASON_MAX).collect();
        let mut headers = own(&came.headers());
        headers.insert(CODE, code);
        headers.insert(REASON, printable(&reason));
        headers.insert(CAME, came.at.0.to_string());
        let subject = door.dead(self.0.namespace());
        let letter = Outgoing { subject, id: Some(came.id()), headers, body: came.body().to_vec() };
        match self.0.publish(Stream::Dead, letter.clone()).await {
            Err(StreamError::TooLarge { .. }) => self.bury_in_parts(came, letter, &reason).await,
            stored => Ok(stored?.number),
        }
    }

    async fn bury_in_parts(&self, came: &Came, letter: Outgoing, reason: &str) -> Result<u64, StreamError> {
        let parts = self.store_parts(&letter.subject, &came.id(), &letter.body).await?;
        let mut letter = Outgoing { body: Vec::new(), ..letter };
        letter.headers.insert(PARTS, parts.join(","));
        let stored = match self.0.publish(Stream::Dead, letter.clone()).await {
            // It is the sender's own headers that fill it. None of them is for a node.
            Err(StreamError::TooLarge { .. }) => {
                let said = [CODE, CAME, PARTS].map(|name| (name, letter.headers.get(name).cloned()));
                letter.headers = HeaderMap::new();
                for (name, value) in said {
                    value.into_iter().for_each(|value| letter.headers.insert(name, value));
                }
                let reason = format!("{reason}; its sender's own headers were too large to be kept");
                letter.headers.insert(REASON, printable(&reason));
                self.0.publish(Stream::Dead, letter).await
            }
            stored => stored,
        };
        let number = stored?.number;
        tracing::warn!(
            dead_letter = number,
            parts = parts.len(),
            "a message with the reason why it cannot succeed is larger than `max_payload` of nats-server: its body is kept in parts"
        );
        Ok(number)
    }

    /// The numbers of the parts.
    async fn store_parts(&self, subject: &str, letter: &str, body: &[u8]) -> Result<Vec<String>, StreamError> {
        let room = self.0.payload_max().saturating_sub(PART_HEADERS).max(1);
        let mut parts = Vec::new();
        for (index, part) in body.chunks(room).enumerate() {
            let mut headers = HeaderMap::new();
            headers.insert(PART, letter);
            // Cut otherwise it is another part: the server's limit may have been changed since it was last tried.
            let id = Some(format!("{letter}-{}-{}", index * room, part.len()));
            let part = Outgoing { subject: subject.to_owned(), id, headers, body: part.to_vec() };
            parts.push(self.0.publish(Stream::Dead, part).await?.number.to_string());
        }
        Ok(parts)
    }

    /// At most `limit` letters from that number on, oldest first.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn page(&self, from: u64, limit: usize) -> Result<Vec<DeadLetter>, StreamError> {
        self.0.find(Stream::Dead).await?;
        let (mut letters, mut from) = (Vec::new(), from);
        while letters.len() < limit {
            let wanted = limit - letters.len();
            let page = self.0.page(Stream::Dead, Begin::Number(from), wanted).await?;
            let is_last = page.len() < wanted;
            from = page.last().map_or(from, |last| last.number + 1);
            for kept in page {
                letters.extend(self.letter(kept).await?);
            }
            if is_last {
                break;
            }
        }
        Ok(letters)
    }

    /// The letter of that number, if it is there.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn one(&self, number: u64) -> Result<Option<DeadLetter>, StreamError> {
        match self.0.message(Stream::Dead, number).await? {
            Some(kept) => self.letter(kept).await,
            None => Ok(None),
        }
    }

    /// Sends a letter to where it came in, as it came, and drops it once it is stored there: `false` when there is no such letter. Where
    /// the end of this is not heard of, once more is harmless: a key or an id starts or tells once.
    ///
    /// # Errors
    /// Why it is not known to be stored: it is still here.
    pub async fn resend(&self, number: u64) -> Result<bool, StreamError> {
        let made = self.0.find(Stream::Dead).await?.made;
        let Some(kept) = self.0.message(Stream::Dead, number).await?.filter(is_letter) else { return Ok(false) };
        let (subject, headers, parts) = (kept.subject.clone(), own(&kept.headers), parts(&kept));
        let Some(body) = self.body(kept).await? else {
            // Sending or dropping it was broken off: it had begun.
            self.0.delete(Stream::Dead, number).await?;
            return Ok(false);
        };
        let subject = Door::of(&subject).map_or(subject, |door| door.stored(self.0.namespace()));
        let id = Some(format!("resent-{made}-{number}"));
        let message = Outgoing { subject, id, headers, body };
        match self.0.publish(Stream::In, message.clone()).await {
            // It came without an id, and there is no room for one.
            Err(StreamError::TooLarge { .. }) => self.0.publish(Stream::In, Outgoing { id: None, ..message }).await?,
            stored => stored?,
        };
        self.delete(number, &parts).await?;
        Ok(true)
    }

    /// Drops a letter for good: `false` when there is no such letter.
    ///
    /// # Errors
    /// Why it is not known to be dropped.
    pub async fn discard(&self, number: u64) -> Result<bool, StreamError> {
        let Some(kept) = self.0.message(Stream::Dead, number).await?.filter(is_letter) else { return Ok(false) };
        self.delete(number, &parts(&kept)).await
    }

    async fn delete(&self, number: u64, parts: &[u64]) -> Result<bool, StreamError> {
        for part in parts {
            self.0.delete(Stream::Dead, *part).await?;
        }
        self.0.delete(Stream::Dead, number).await
    }

    /// Nothing for a part, or where one is missing.
    async fn letter(&self, kept: Kept) -> Result<Option<DeadLetter>, StreamError> {
        if !is_letter(&kept) {
            return Ok(None);
        }
        let text = |name: &str| kept.headers.get(name).map(|value| plain(value.as_str())).unwrap_or_default();
        let letter = DeadLetter {
            number: kept.number,
            door: Door::of(&kept.subject),
            code: text(CODE),
            reason: text(REASON),
            came: text(CAME).parse().ok().map(Millis),
            at: kept.at,
            body: Vec::new(),
        };
        Ok(self.body(kept).await?.map(|body| DeadLetter { body, ..letter }))
    }

    /// What it says; nothing where a part of it is missing.
    async fn body(&self, kept: Kept) -> Result<Option<Vec<u8>>, StreamError> {
        let mut body = kept.body.clone();
        for part in parts(&kept) {
            let Some(part) = self.0.message(Stream::Dead, part).await? else { return Ok(None) };
            body.extend(part.body);
        }
        Ok(Some(body))
    }
}

fn is_letter(kept: &Kept) -> bool {
    kept.headers.get(PART).is_none()
}

/// The numbers of the parts that its body is in.
fn parts(kept: &Kept) -> Vec<u64> {
    let named = kept.headers.get(PARTS).map(|value| value.as_str()).unwrap_or_default();
    named.split(',').filter_map(|number| number.parse().ok()).collect()
}

/// What the sender said about it (its trace, say), without what the server and whoever laid it aside have said.
fn own(headers: &HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::new();
    for (name, values) in headers.iter() {
        let text: &str = name.as_ref();
        if !text.to_ascii_lowercase().starts_with("nats-") && ![CODE, REASON, CAME, PART, PARTS].contains(&text) {
            for value in values {
                own.append(name.clone(), value.clone());
            }
        }
    }
    own
}
