//! Signatures as `signify -S -z` makes them: in the comment field of the gzip header stand an ordinary signify signature
//! and the message it covers, a few `key=value` lines and the SHA-512/256 of each 64 KiB of all that follows the header.
//! So the whole compressed body is checked before a single byte is decompressed.
//!
//! Not covered by the signature, and therefore never used: the gzip name, time and system, and the text after
//! `untrusted comment:`.
//!
//! Read first: signify(1), and `docs/bundle.md` for the layout.

mod key;

use std::fmt;

use ed25519_dalek::Signature;
use sha2::{Digest, Sha512_256};

use crate::base64;
use crate::date::Date;
use crate::gzip;

pub use key::{KeyError, KeyId, PublicKey, SecretKey};

/// First line of all signify files.
const UNTRUSTED: &str = "untrusted comment: ";

/// signify writes comments of at most this many bytes.
const COMMENT_LIMIT: usize = 1024;

/// "Ed", key id, signature.
const SIGNATURE_LENGTH: usize = 2 + 8 + 64;

const ALGORITHM: &str = "SHA512/256";

/// Bytes of the body under one hash; signify knows no other value.
const BLOCK: usize = 65_536;

/// What a valid signature says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Which trusted key made it.
    pub key_id: KeyId,
    /// When, by the clock of the signing machine; feeds [`crate::replay::admit`].
    pub date: Date,
    /// File name of the secret key as the signer had it, with its directories if `signify` made the signature.
    pub key_name: String,
}

/// Why a signature does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureError {
    /// Not a gzip file; the text says why.
    NotGzip(&'static str),
    /// No signature in the header.
    Unsigned,
    /// There is something, but not as signify writes it; the text says where.
    Malformed(&'static str),
    /// Made by a key that is not trusted here.
    UnknownKey(KeyId),
    /// The key is trusted, but did not sign these bytes.
    Forged,
    /// The signature is good, but a block of the body is not the one that was signed, counted from 0.
    Changed(usize),
    /// Data is missing at the end, or there is more than was signed.
    Length,
    /// Signed with `-n`, which leaves the date out: nothing would keep it from being replayed.
    Undated,
}

impl SignatureError {
    /// Stable short name for machines, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            SignatureError::NotGzip(_) => "not-a-bundle",
            SignatureError::Unsigned => "unsigned",
            SignatureError::Malformed(_) => "malformed-signature",
            SignatureError::UnknownKey(_) => "unknown-key",
            SignatureError::Forged | SignatureError::Changed(_) | SignatureError::Length => {
                "bad-signature"
            }
            SignatureError::Undated => "undated-signature",
        }
    }
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignatureError::NotGzip(text) => f.write_str(text),
            SignatureError::Unsigned => f.write_str("not signed"),
            SignatureError::Malformed(text) => write!(f, "malformed signature: {text}"),
            SignatureError::UnknownKey(id) => {
                write!(f, "signed by key {id}, which is not trusted here")
            }
            SignatureError::Forged => f.write_str("the signature does not match"),
            SignatureError::Changed(block) => {
                write!(f, "changed after signing, in block {block} of 64 KiB")
            }
            SignatureError::Length => f.write_str("cut short, or longer than what was signed"),
            SignatureError::Undated => f.write_str("signed without a date: sign without -n"),
        }
    }
}

impl std::error::Error for SignatureError {}

/// True if the bytes carry a signature, valid or not.
pub fn is_signed(bytes: &[u8]) -> bool {
    gzip::split(bytes).is_ok_and(|member| {
        member
            .comment
            .is_some_and(|c| c.starts_with(UNTRUSTED.as_bytes()))
    })
}

/// Checks that one of the `trusted` keys signed all of `bytes`. Decompresses nothing.
pub fn verify(bytes: &[u8], trusted: &[PublicKey]) -> Result<Verified, SignatureError> {
    let member = gzip::split(bytes).map_err(SignatureError::NotGzip)?;
    let comment = member.comment.ok_or(SignatureError::Unsigned)?;
    let envelope = Envelope::parse(comment)?;
    // Key ids are not unique by construction, so every trusted key with this id may try.
    let mut candidates = trusted
        .iter()
        .filter(|key| key.id == envelope.key_id)
        .peekable();
    if candidates.peek().is_none() {
        return Err(SignatureError::UnknownKey(envelope.key_id));
    }
    if !candidates.any(|key| key.accepts(envelope.message, &envelope.signature)) {
        return Err(SignatureError::Forged);
    }
    let statement = Statement::parse(envelope.message)?;
    check_blocks(member.body, &statement.hashes)?;
    if statement.date == Date(0) {
        return Err(SignatureError::Undated);
    }
    Ok(Verified {
        key_id: envelope.key_id,
        date: statement.date,
        key_name: statement.key_name.to_string(),
    })
}

/// The untrusted outside of the comment: who says to have signed what.
struct Envelope<'a> {
    key_id: KeyId,
    signature: Signature,
    message: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn parse(comment: &'a [u8]) -> Result<Self, SignatureError> {
        let after = comment
            .strip_prefix(UNTRUSTED.as_bytes())
            .ok_or(SignatureError::Unsigned)?;
        let (text, after) = line(after).ok_or(SignatureError::Malformed("no first line"))?;
        if text.len() > COMMENT_LIMIT {
            return Err(SignatureError::Malformed("the comment is too long"));
        }
        let (coded, message) = line(after).ok_or(SignatureError::Malformed("no second line"))?;
        let raw: [u8; SIGNATURE_LENGTH] = base64::decode(coded)
            .and_then(|raw| raw.try_into().ok())
            .ok_or(SignatureError::Malformed("not a signature in base64"))?;
        let (kind, rest) = raw.split_at(2);
        if kind != b"Ed" {
            return Err(SignatureError::Malformed("not an Ed25519 signature"));
        }
        let (id, signature) = rest.split_at(8);
        let bad = |_| SignatureError::Malformed("not an Ed25519 signature");
        Ok(Envelope {
            key_id: KeyId(id.try_into().map_err(bad)?),
            signature: Signature::from_bytes(signature.try_into().map_err(bad)?),
            message,
        })
    }
}

/// The signed part: key=value lines, an empty line, one hash a line.
struct Statement<'a> {
    date: Date,
    key_name: &'a str,
    hashes: Vec<[u8; 32]>,
}

impl<'a> Statement<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, SignatureError> {
        let malformed = SignatureError::Malformed;
        let text = std::str::from_utf8(message).map_err(|_| malformed("not text"))?;
        let (head, tail) = text
            .split_once("\n\n")
            .ok_or(malformed("no empty line before the hashes"))?;
        let (mut date, mut key_name, mut algorithm, mut block_size) = (None, "", "", "");
        for pair in head.lines() {
            match pair.split_once('=') {
                Some(("date", value)) => date = Date::parse(value),
                Some(("key", value)) => key_name = value,
                Some(("algorithm", value)) => algorithm = value,
                Some(("blocksize", value)) => block_size = value,
                _ => return Err(malformed("an unknown line before the hashes")),
            }
        }
        if algorithm != ALGORITHM {
            return Err(malformed("the algorithm is not SHA512/256"));
        }
        if block_size != BLOCK.to_string() {
            return Err(malformed("the block size is not 65536"));
        }
        let hashes = tail
            .lines()
            .map(|hex| unhex(hex).ok_or(malformed("a hash is not 64 hexadecimal digits")))
            .collect::<Result<_, _>>()?;
        Ok(Statement {
            date: date.ok_or(malformed("no date"))?,
            key_name,
            hashes,
        })
    }
}

fn check_blocks(body: &[u8], hashes: &[[u8; 32]]) -> Result<(), SignatureError> {
    let mut blocks = 0;
    for (number, block) in body.chunks(BLOCK).enumerate() {
        let want = hashes.get(number).ok_or(SignatureError::Length)?;
        if <[u8; 32]>::from(Sha512_256::digest(block)) != *want {
            // A short last block where more were signed is a truncation, and is told as such.
            return Err(if block.len() < BLOCK && number + 1 < hashes.len() {
                SignatureError::Length
            } else {
                SignatureError::Changed(number)
            });
        }
        blocks = number + 1;
    }
    if blocks == hashes.len() {
        Ok(())
    } else {
        Err(SignatureError::Length)
    }
}

/// Signs a `.tgz`, as `signify -S -z` would at that date; an old signature is replaced. `key_name` is the file name of the
/// secret key, `admin.sec`, from which readers guess the name of the public one.
///
/// Fails only if `tgz` is not a gzip file or `key_name` has characters that cannot stand in a line of text.
pub fn sign(
    tgz: &[u8],
    key: &SecretKey,
    key_name: &str,
    date: Date,
) -> Result<Vec<u8>, SignatureError> {
    if key_name.chars().any(char::is_control) {
        return Err(SignatureError::Malformed(
            "the name of the key has a control character in it",
        ));
    }
    let member = gzip::split(tgz).map_err(SignatureError::NotGzip)?;
    let mut message =
        format!("date={date}\nkey={key_name}\nalgorithm={ALGORITHM}\nblocksize={BLOCK}\n\n");
    for block in member.body.chunks(BLOCK) {
        message.push_str(&hex(&Sha512_256::digest(block)));
        message.push('\n');
    }
    let base = key_name.rsplit('/').next().unwrap_or(key_name);
    let comment = match base.strip_suffix(".sec") {
        Some(stem) => format!("verify with {stem}.pub"),
        None => format!("signature from {base}"),
    };
    let mut raw = b"Ed".to_vec();
    raw.extend_from_slice(&key.id().0);
    raw.extend_from_slice(&key.sign(message.as_bytes()));
    let coded = base64::encode(&raw);

    const GZIP_COMMENT_ONLY: [u8; 8] = [0x1f, 0x8b, 8, 1 << 4, 0, 0, 0, 0];
    let mut signed = GZIP_COMMENT_ONLY.to_vec();
    // signify always writes 3, Unix, for the system.
    signed.extend_from_slice(&[member.xfl, 3]);
    signed.extend_from_slice(format!("{UNTRUSTED}{comment}\n{coded}\n{message}\0").as_bytes());
    signed.extend_from_slice(member.body);
    Ok(signed)
}

/// The bytes up to the first line feed, and those after it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == b'\n')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "../signature_tests.rs"]
mod tests;
