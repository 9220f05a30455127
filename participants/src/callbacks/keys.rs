//! Keys: a secret shared with a channel, the channel's public key, a private key to sign with. None of them can be printed.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use std::{fmt, sync::Arc};

/// The shortest secret that is taken, in bytes: half of what the hash has.
const SECRET_BYTES_MIN: usize = 16;

/// Why a key cannot be used. Never says what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A secret that can be guessed.
    #[error("a shared secret has {SECRET_BYTES_MIN} bytes or more, this one has {0}")]
    Short(usize),
    /// Not a PEM block of that kind.
    #[error("this is no `{0}` in PEM form")]
    Pem(&'static str),
    /// Not an RSA key of 2048 to 8192 bits.
    #[error("this is no RSA key of 2048 to 8192 bits: {0}")]
    Rsa(String),
    /// The system has no random numbers to make one of.
    #[error("failed to make a key: the system gives no random numbers")]
    Random,
}

/// A secret that the channel and the merchant share.
#[derive(Clone)]
pub struct SharedKey(hmac::Key);

impl SharedKey {
    /// The key of that secret.
    ///
    /// # Errors
    /// When it is so short that it can be guessed.
    pub fn new(secret: &[u8]) -> Result<Self, BadKey> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(BadKey::Short(secret.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// A key that nobody else has: for a channel in the same process.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self, BadKey> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map(Self).map_err(|_| BadKey::Random)
    }

    pub(crate) fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        context.sign().as_ref().to_vec()
    }

    /// In constant time, whatever was given.
    pub(crate) fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        hmac::verify(&self.0, &parts.concat(), tag).is_ok()
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(…)")
    }
}

/// An RSA key that verifies.
#[derive(Clone)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// The key in a `PUBLIC KEY` block.
    ///
    /// # Errors
    /// When it is none of RSA.
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        let der = block(pem, "PUBLIC KEY")?;
        rsa_of(&der).map(|key| Self(key.to_vec())).ok_or_else(|| BadKey::Rsa("it is of another kind".to_owned()))
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}

/// An RSA key that signs.
#[derive(Clone)]
pub struct PrivateKey(Arc<KeyPair>);

impl PrivateKey {
    /// The key in a `PRIVATE KEY` block (PKCS #8).
    ///
    /// # Errors
    /// When it is none of RSA, or too small.
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        let der = block(pem, "PRIVATE KEY")?;
        let pair = KeyPair::from_pkcs8(&der).map_err(|error| BadKey::Rsa(error.to_string()))?;
        Ok(Self(Arc::new(pair)))
    }

    /// Its other half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BadKey> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| BadKey::Random)?;
        Ok(signature)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// The bytes of the one block of that kind.
fn block(pem: &str, kind: &'static str) -> Result<Vec<u8>, BadKey> {
    let begin = format!("-----BEGIN {kind}-----");
    let end = format!("-----END {kind}-----");
    let inner = pem.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(inner, _)| inner);
    let digits: String = inner.ok_or(BadKey::Pem(kind))?.split_ascii_whitespace().collect();
    STANDARD.decode(digits).map_err(|_| BadKey::Pem(kind))
}

/// `rsaEncryption`, without parameters, as DER.
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The RSA key within a `SubjectPublicKeyInfo`: the algorithm, then the key as a string of bits.
fn rsa_of(der: &[u8]) -> Option<&[u8]> {
    let (info, rest) = tagged(0x30, der)?;
    let (bits, more) = tagged(0x03, info.strip_prefix(&RSA)?)?;
    // The first byte of a string of bits says how many of its last are not used: none.
    bits.strip_prefix(&[0]).filter(|_| rest.is_empty() && more.is_empty())
}

/// The content of the value of that tag, and what follows it.
fn tagged(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = der.strip_prefix(&[tag])?.split_first()?;
    if length < 0x80 {
        return rest.split_at_checked(usize::from(length));
    }
    let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f)).filter(|(length, _)| length.len() <= 4)?;
    rest.split_at_checked(length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
}
