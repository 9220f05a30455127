//! Ids and names: newtypes, checked where they are made, the same text in code, journal, wire and page.

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, sync::Arc};
use uuid::Uuid;

/// Shards of a Tercet installation; fixed for ever, since a saga's shard is part of its id.
pub const SHARDS: u16 = 1024;

/// The longest name of a definition, step, participant, operation or signal, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A running or ended saga: a UUIDv7 whose last ten bits are its shard.
///
/// ```
/// use tercet_core::{SagaId, ShardId};
/// let id = SagaId::from_parts(1_700_000_000_000, [7; 10], ShardId::new(5).unwrap());
/// assert_eq!(id.shard().get(), 5);
/// assert_eq!(id.to_string().parse::<SagaId>().unwrap(), id);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SagaId(Uuid);

impl SagaId {
    /// An id from the shell's clock (`unix_ms`, milliseconds since 1970) and random bytes, in a shard of the caller's choice.
    #[must_use]
    pub fn from_parts(unix_ms: u64, random: [u8; 10], shard: ShardId) -> Self {
        let mut random = random;
        random[8] = (random[8] & !0b11) | (shard.0 >> 8) as u8;
        random[9] = (shard.0 & 0xff) as u8;
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    /// The id of the saga that stands at a step of `parent`, or undoes that step: in the parent's shard, and the same whenever it
    /// is asked for, so that a child needs no look-up to be told anything.
    #[must_use]
    pub fn of_child(parent: Self, step: &StepInstance, undoes: bool) -> Self {
        let name = format!("{parent}/{step}/{undoes}");
        let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let mut random = [0; 10];
        random.copy_from_slice(&digest[..10]);
        let bytes = parent.as_bytes();
        let unix_ms = bytes[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte));
        Self::from_parts(unix_ms, random, parent.shard())
    }

    /// The lowest id of that moment (`unix_ms`, milliseconds since 1970): every saga started then or later has a higher one. No
    /// saga has this one itself.
    #[must_use]
    pub fn first_at(unix_ms: u64) -> Self {
        Self(Uuid::from_u128(u128::from(unix_ms.min((1 << 48) - 1)) << 80))
    }

    /// The shard that owns this saga.
    #[must_use]
    pub fn shard(self) -> ShardId {
        let bytes = self.0.as_bytes();
        ShardId((u16::from(bytes[14]) << 8 | u16::from(bytes[15])) & (SHARDS - 1))
    }

    /// The id as its sixteen bytes, in an order that follows time: how stores keep it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id that a store kept as `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SagaId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Uuid::parse_str(text).map(Self).map_err(|_| BadName::SagaId { text: shortened(text) })
    }
}

/// One of the [`SHARDS`] parts into which sagas fall by their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(u16);

impl ShardId {
    /// The first shard.
    pub const FIRST: Self = Self(0);

    /// The shard of that number, if there is one.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SHARDS { Some(Self(number)) } else { None }
    }

    /// Its number, below [`SHARDS`].
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// What is wrong with a name, a key or an id; the text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No character at all.
    #[error("a {what} cannot be empty")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// Longer than the limit.
    #[error("a {what} has at most {limit} bytes, this one has {bytes}")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Bytes allowed.
        limit: usize,
        /// Bytes found.
        bytes: usize,
    },
    /// A character that would break subjects, paths or terminals.
    #[error("a {what} is made of {allowed}; `{found}` is not among them, in `{text}`")]
    Character {
        /// Which name.
        what: &'static str,
        /// The characters that are allowed, in words.
        allowed: &'static str,
        /// The first one that is not, escaped.
        found: String,
        /// The name, shortened.
        text: String,
    },
    /// An operation's or signal's name without its version.
    #[error("`{text}` is not a contract's name: it reads `participant.operation/version`, as in `inventory.reserve/1`")]
    Contract {
        /// The name, shortened.
        text: String,
    },
    /// Not a UUID.
    #[error("`{text}` is not a saga's id: it reads like 01890a5d-ac96-774b-bcce-b302099a8057")]
    SagaId {
        /// The text, shortened.
        text: String,
    },
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_default).collect();
    if text.chars().count() > 80 {
        short.push('…');
    }
    short
}

fn checked(
    what: &'static str, limit: usize, allowed: &'static str, fits: fn(char) -> bool, text: &str,
) -> Result<Arc<str>, BadName> {
    if text.is_empty() {
        return Err(BadName::Empty { what });
    }
    if text.len() > limit {
        return Err(BadName::TooLong { what, limit, bytes: text.len() });
    }
    match text.chars().find(|&c| !fits(c)) {
        Some(c) => {
            Err(BadName::Character { what, allowed, found: c.escape_default().to_string(), text: shortened(text) })
        }
        None => Ok(Arc::from(text)),
    }
}

/// Letters, digits, `_` and `-`: what stands in a NATS subject, a URL path and a terminal without a thought.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

const PLAIN: &str = "ASCII letters, digits, `_` and `-`";

macro_rules! names { ($($(#[$doc:meta])+ $name:ident $what:literal $limit:ident $allowed:expr, $fits:expr;)+) => { $(
    $(#[$doc])+
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    #[serde(transparent)]
    pub struct $name(Arc<str>);

    impl $name {
        /// The name as text.
        #[must_use]
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }

    impl FromStr for $name {
        type Err = BadName;

        fn from_str(text: &str) -> Result<Self, BadName> {
            checked($what, $limit, $allowed, $fits, text).map(Self)
        }
    }

    impl fmt::Display for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.pad(&self.0)
        }
    }

    impl fmt::Debug for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Debug::fmt(&*self.0, f)
        }
    }

    impl<'de> Deserialize<'de> for $name {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
        }
    }
)+ } }

names! {
    /// A part of an installation that shares nothing with the others: its subjects, keys and sagas are its own.
    Namespace "namespace" NAME_BYTES_MAX PLAIN, plain;
    /// A definition's name, as in `refund`.
    DefinitionName "definition's name" NAME_BYTES_MAX PLAIN, plain;
    /// A step's name, as in `restock`: unique in its definition.
    StepName "step's name" NAME_BYTES_MAX PLAIN, plain;
    /// A step where it stands in its fan-outs, as in `lines[3].restock`: unique in its saga, and the barrier's key beside it.
    StepInstance "step instance" INSTANCE_BYTES_MAX "step names, `.` and `[index]`", |c| plain(c) || matches!(c, '.' | '[' | ']');
    /// The caller's own name for a saga, as in an order's number: one saga for each (namespace, definition, key).
    SagaKey "saga's key" INSTANCE_BYTES_MAX "characters that can be printed", printable;
    /// What a third party knows an effect by: the same for every attempt, for ever.
    IdempotencyKey "idempotency key" INSTANCE_BYTES_MAX "characters that can be printed", printable;
    /// A signal's own id: the same in every re-send, and in its verdict.
    SignalId "signal's id" INSTANCE_BYTES_MAX "characters that can be printed", printable;
    /// A contract's name with its version, as in `inventory.reserve/1`.
    ContractName "contract's name" NAME_BYTES_MAX "ASCII letters, digits, `_`, `-`, `.` and `/`", |c| plain(c) || c == '.' || c == '/';
    /// A participant's name, as in `inventory`.
    ParticipantName "participant's name" NAME_BYTES_MAX PLAIN, plain;
}

/// Room for fan-outs within fan-outs, and for a saga's id before a step instance.
const INSTANCE_BYTES_MAX: usize = 255;

fn printable(c: char) -> bool {
    !c.is_control()
}

impl ContractName {
    /// The participant, the operation and the version in an operation's contract: `inventory`, `reserve`, 1.
    ///
    /// # Errors
    /// When the name does not read `participant.operation/version`.
    pub fn parts(&self) -> Result<(&str, &str, u32), BadName> {
        let parts = || {
            let (path, version) = self.0.split_once('/')?;
            let (participant, operation) = path.split_once('.')?;
            let fits = |s: &str| !s.is_empty() && s.chars().all(plain);
            (fits(participant) && fits(operation)).then_some((participant, operation, version.parse().ok()?))
        };
        parts().ok_or_else(|| BadName::Contract { text: shortened(&self.0) })
    }
}

impl IdempotencyKey {
    /// The key of an effect whose step names none of its own: the step instance's.
    #[must_use]
    pub fn of_step(saga: SagaId, step: &StepInstance) -> Self {
        Self(Arc::from(format!("{saga}/{step}")))
    }
}

impl SignalId {
    /// The id of what a `signal` step tells: the step instance's.
    #[must_use]
    pub fn of_step(saga: SagaId, step: &StepInstance) -> Self {
        Self(Arc::from(format!("{saga}/{step}")))
    }
}

impl SagaKey {
    /// The key of the saga that takes back an effect: the effect's own.
    pub(crate) fn of_effect(key: &IdempotencyKey) -> Self {
        Self(key.0.clone())
    }

    /// The key of the saga that undoes a child.
    pub(crate) fn of_undo(parent: SagaId, step: &StepInstance) -> Self {
        Self(Arc::from(format!("{parent}/{step}/undo")))
    }

    /// The key of a child: its parent and the step instance it stands at.
    #[must_use]
    pub fn of_child(parent: SagaId, step: &StepInstance) -> Self {
        Self(Arc::from(format!("{parent}/{step}")))
    }
}

impl StepName {
    /// Stands for a name that could not be one, so that a declaration can go on and report all its mistakes.
    pub(crate) fn stand_in(number: usize) -> Self {
        Self(Arc::from(format!("step-{number}")))
    }

    /// The saga's own output, where it is shown beside steps.
    pub(crate) fn output() -> Self {
        Self(Arc::from(crate::definition::OUTPUT))
    }

    /// The saga itself, where it is shown beside steps.
    pub(crate) fn saga() -> Self {
        Self(Arc::from(crate::definition::SAGA))
    }
}

impl StepInstance {
    /// A step outside every fan-out.
    #[must_use]
    pub fn plain(name: &StepName) -> Self {
        Self(name.0.clone())
    }

    /// A step behind the items of the fan-outs around it, as in `lines[3].restock`; `items` names each fan-out and the item's index.
    pub(crate) fn in_items(items: &str, name: &StepName) -> Self {
        Self(Arc::from(format!("{items}{name}")))
    }

    /// The step's name: what stands behind the last dot.
    #[must_use]
    pub fn step(&self) -> &str {
        self.0.rsplit_once('.').map_or(&*self.0, |(_, name)| name)
    }
}

/// A moment on the shell's clock: milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// The moment `wait` later; the last one there is, if that would be past it.
    #[must_use]
    pub fn plus(self, wait: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long it is from `earlier` to this moment; nothing when it lies behind.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
