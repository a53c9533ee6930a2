//! Key files of signify: two lines, a comment and base64. Secret keys may be under a passphrase (bcrypt_pbkdf).

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha512};

use super::{COMMENT_LIMIT, UNTRUSTED, line};
use crate::base64;

const ALGORITHM: &[u8; 2] = b"Ed";
const KDF: &[u8; 2] = b"BK";

/// signify uses 42; a file with absurdly many would hang the program.
const ROUNDS_LIMIT: u32 = 10_000;

/// Number of a key pair, chosen at random when it is made; says which key to try, proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Why a key file cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// Not two lines of which the first is `untrusted comment: ...`.
    NotSignify,
    /// The second line is not base64 of the right length.
    BadLength,
    /// Not an Ed25519 key, or not a point on the curve.
    NotEd25519,
    /// A secret key where a public one is wanted.
    SecretNotPublic,
    /// A public key where a secret one is wanted.
    PublicNotSecret,
    /// The key is under a passphrase and none was given.
    PassphraseNeeded,
    /// The passphrase is wrong, or the file damaged.
    WrongPassphrase,
    /// An unknown way to derive the key from the passphrase, or too many rounds of it.
    UnknownDerivation,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::NotSignify => {
                "not a signify file: the first line must be 'untrusted comment: ...'"
            }
            KeyError::BadLength => {
                "not a signify key: the second line has the wrong length or is not base64"
            }
            KeyError::NotEd25519 => "not an Ed25519 key",
            KeyError::SecretNotPublic => "this is the secret key; the public one (.pub) is wanted",
            KeyError::PublicNotSecret => "this is the public key; the secret one (.sec) is wanted",
            KeyError::PassphraseNeeded => "the key is protected by a passphrase",
            KeyError::WrongPassphrase => "the passphrase is wrong, or the key is damaged",
            KeyError::UnknownDerivation => "the key is protected in a way that is not known",
        })
    }
}

impl std::error::Error for KeyError {}

const PUBLIC_LENGTH: usize = 2 + 8 + 32;
const SECRET_LENGTH: usize = 2 + 2 + 4 + 16 + 8 + 8 + 64;

/// A key to check signatures with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    /// Its number.
    pub id: KeyId,
    /// Text after `untrusted comment: `.
    pub comment: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Reads the contents of a `.pub` file.
    pub fn parse(file: &[u8]) -> Result<Self, KeyError> {
        let (comment, raw) = two_lines(file)?;
        let raw: [u8; PUBLIC_LENGTH] = match raw.len() {
            SECRET_LENGTH => return Err(KeyError::SecretNotPublic),
            _ => raw.try_into().map_err(|_| KeyError::BadLength)?,
        };
        if !raw.starts_with(ALGORITHM) {
            return Err(KeyError::NotEd25519);
        }
        let key = VerifyingKey::from_bytes(&array(&raw[10..])).map_err(|_| KeyError::NotEd25519)?;
        Ok(PublicKey {
            id: KeyId(array(&raw[2..10])),
            comment,
            key,
        })
    }

    /// The contents of a `.pub` file.
    pub fn to_file(&self) -> String {
        let mut raw = ALGORITHM.to_vec();
        raw.extend_from_slice(&self.id.0);
        raw.extend_from_slice(self.key.as_bytes());
        format!("{UNTRUSTED}{}\n{}\n", self.comment, base64::encode(&raw))
    }

    pub(super) fn accepts(&self, message: &[u8], signature: &Signature) -> bool {
        self.key.verify_strict(message, signature).is_ok()
    }
}

/// A key to sign with. Not printable.
pub struct SecretKey {
    id: KeyId,
    key: SigningKey,
}

impl SecretKey {
    /// A new pair; both arguments must be random.
    pub fn generate(seed: [u8; 32], id: [u8; 8]) -> Self {
        SecretKey {
            id: KeyId(id),
            key: SigningKey::from_bytes(&seed),
        }
    }

    /// Reads the contents of a `.sec` file; `passphrase` only if it is protected by one.
    pub fn parse(file: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let (_, raw) = two_lines(file)?;
        let raw: [u8; SECRET_LENGTH] = match raw.len() {
            PUBLIC_LENGTH => return Err(KeyError::PublicNotSecret),
            _ => raw.try_into().map_err(|_| KeyError::BadLength)?,
        };
        if !raw.starts_with(ALGORITHM) {
            return Err(KeyError::NotEd25519);
        }
        if raw[2..4] != *KDF {
            return Err(KeyError::UnknownDerivation);
        }
        let rounds = u32::from_be_bytes(array(&raw[4..8]));
        let mut pair: [u8; 64] = array(&raw[40..]);
        unmask(&mut pair, rounds, &raw[8..24], passphrase)?;
        if Sha512::digest(pair)[..8] != raw[24..32] {
            return Err(KeyError::WrongPassphrase);
        }
        let key = SigningKey::from_keypair_bytes(&pair).map_err(|_| KeyError::NotEd25519)?;
        Ok(SecretKey {
            id: KeyId(array(&raw[32..40])),
            key,
        })
    }

    /// The contents of a `.sec` file without a passphrase, as `signify -G -n` writes it.
    pub fn to_file(&self, comment: &str) -> String {
        let pair = self.key.to_keypair_bytes();
        let mut raw = ALGORITHM.to_vec();
        raw.extend_from_slice(KDF);
        // No rounds: no passphrase; the salt is not used then.
        raw.extend_from_slice(&[0; 4 + 16]);
        raw.extend_from_slice(&Sha512::digest(pair)[..8]);
        raw.extend_from_slice(&self.id.0);
        raw.extend_from_slice(&pair);
        format!("{UNTRUSTED}{comment}\n{}\n", base64::encode(&raw))
    }

    /// The public half.
    pub fn public(&self, comment: &str) -> PublicKey {
        PublicKey {
            id: self.id,
            comment: comment.to_string(),
            key: self.key.verifying_key(),
        }
    }

    /// Its number.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

fn unmask(
    pair: &mut [u8; 64],
    rounds: u32,
    salt: &[u8],
    passphrase: Option<&[u8]>,
) -> Result<(), KeyError> {
    if rounds == 0 {
        return Ok(());
    }
    if rounds > ROUNDS_LIMIT {
        return Err(KeyError::UnknownDerivation);
    }
    let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
    let mut mask = [0u8; 64];
    bcrypt_pbkdf::bcrypt_pbkdf(passphrase, salt, rounds, &mut mask)
        .map_err(|_| KeyError::WrongPassphrase)?;
    pair.iter_mut().zip(mask).for_each(|(byte, m)| *byte ^= m);
    Ok(())
}

/// Comment and decoded second line. A missing last line feed is forgiven, more lines are not.
fn two_lines(file: &[u8]) -> Result<(String, Vec<u8>), KeyError> {
    let after = file
        .strip_prefix(UNTRUSTED.as_bytes())
        .ok_or(KeyError::NotSignify)?;
    let (comment, rest) = line(after).ok_or(KeyError::NotSignify)?;
    if comment.len() > COMMENT_LIMIT {
        return Err(KeyError::NotSignify);
    }
    let comment = std::str::from_utf8(comment).map_err(|_| KeyError::NotSignify)?;
    let coded = rest.strip_suffix(b"\n").unwrap_or(rest);
    let raw = base64::decode(coded).ok_or(KeyError::BadLength)?;
    Ok((comment.trim_end_matches('\r').to_string(), raw))
}

/// The first `N` bytes; callers have checked that there are as many.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}
