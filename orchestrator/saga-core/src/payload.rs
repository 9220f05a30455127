//! Payloads: JSON kept as the bytes it came in, parsed only by who needs it, shared and never cloned on its way.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::{
    fmt,
    sync::{Arc, LazyLock},
};

/// A JSON text, shared.
///
/// ```
/// use tercet_core::Payload;
/// let payload = Payload::of(&("a", 1)).unwrap();
/// assert_eq!(payload.as_str(), r#"["a",1]"#);
/// assert_eq!(payload.parse::<(String, u8)>().unwrap().1, 1);
/// ```
#[derive(Clone)]
pub struct Payload(Arc<RawValue>);

impl Payload {
    /// `value` as JSON.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON: a map whose keys are not text, say.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(value).map(|raw| Self(Arc::from(raw)))
    }

    /// Bytes that came from outside, if they are one JSON value.
    ///
    /// # Errors
    /// When they are not JSON.
    pub fn from_bytes(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice::<Box<RawValue>>(bytes).map(|raw| Self(Arc::from(raw)))
    }

    /// JSON `null`: the reply of an operation that has nothing to say.
    #[must_use]
    pub fn null() -> Self {
        static NULL: LazyLock<Payload> = LazyLock::new(|| Payload(Arc::from(RawValue::NULL.to_owned())));
        NULL.clone()
    }

    /// The value in it.
    ///
    /// # Errors
    /// When it is JSON of another shape; the error names the line and column.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.0.get())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The JSON text's length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.get().len()
    }

    /// The raw value, for mappers.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.0
    }

    /// SHA-256 of the canonical JSON (RFC 8785): equal for texts that differ in spaces or in the order of keys alone.
    ///
    /// # Errors
    /// When the text has no canonical form: a number beyond IEEE double, say.
    pub fn hash(&self) -> serde_json::Result<PayloadHash> {
        let value: serde_json::Value = self.parse()?;
        Ok(PayloadHash(Sha256::digest(serde_json_canonicalizer::to_vec(&value)?).into()))
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.get() == other.0.get()
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(from).map(|raw| Self(Arc::from(raw)))
    }
}

/// What two starts under one key are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayloadHash(pub [u8; 32]);
