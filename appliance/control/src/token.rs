//! Bearer tokens: only a hash is kept, comparison takes the same time for every wrong one.
//!
//! The hash is Argon2id with little memory (a 256 MiB guest must afford it on its control core). Scrapers show the
//! same right token every few seconds, so the last one that was right is remembered as a keyed SHA-256 and found
//! without Argon2. Read first: RFC 9106.

use sha2::{Digest, Sha256};

/// Least characters of a token. Who can guess fewer will.
pub const TOKEN_CHARS_MIN: usize = 16;
/// Most characters of a token; longer ones are not even hashed.
pub const TOKEN_CHARS_MAX: usize = 256;
/// Memory of one hash in KiB.
const MEMORY_KIB: u32 = 1024;
/// Passes over that memory.
const PASSES: u32 = 3;

/// Salt and hash of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash {
    salt: [u8; 16],
    hash: [u8; 32],
}

/// Hashes stay out of logs too.
impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl TokenHash {
    /// Hashes a token with a random salt.
    pub fn new(token: &str, salt: [u8; 16]) -> Result<TokenHash, String> {
        let n = token.chars().count();
        if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&n) {
            return Err(format!(
                "a token has {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} characters, this one has {n}"
            ));
        }
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a token has letters, digits and punctuation only".into());
        }
        let hash = argon2(token, &salt)?;
        Ok(TokenHash { salt, hash })
    }

    /// True if `token` is the one that was hashed.
    pub fn matches(&self, token: &str) -> bool {
        token.len() <= TOKEN_CHARS_MAX
            && argon2(token, &self.salt).is_ok_and(|hash| same(&hash, &self.hash))
    }

    /// As [`TokenHash::parse`] reads it.
    pub fn to_text(&self) -> String {
        format!("{}:{}", hex(&self.salt), hex(&self.hash))
    }

    /// Reads what [`TokenHash::to_text`] wrote.
    pub fn parse(text: &str) -> Option<TokenHash> {
        let (salt, hash) = text.split_once(':')?;
        Some(TokenHash {
            salt: unhex(salt)?,
            hash: unhex(hash)?,
        })
    }
}

fn argon2(token: &str, salt: &[u8; 16]) -> Result<[u8; 32], String> {
    let mut out = [0; 32];
    let params = argon2::Params::new(MEMORY_KIB, PASSES, 1, Some(out.len()));
    let params = params.map_err(|error| error.to_string())?;
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(token.as_bytes(), salt, &mut out)
        .map_err(|error| error.to_string())?;
    Ok(out)
}

/// Equality whose time does not depend on where the first difference is.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differences = a.iter().zip(b).fold(0u8, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differences) == 0
}

/// Remembers the token that was right last, so that the next question is answered fast.
pub struct Memo {
    key: [u8; 32],
    right: Option<[u8; 32]>,
}

impl Memo {
    /// `key` must be random: the memory of a token must not be a hash that a dictionary holds.
    pub fn new(key: [u8; 32]) -> Self {
        Memo { key, right: None }
    }

    /// True if `token` matches one of `hashes`.
    pub fn matches<'a>(
        &mut self,
        token: &str,
        hashes: impl IntoIterator<Item = &'a TokenHash>,
    ) -> bool {
        let mut sha = Sha256::new();
        sha.update(self.key);
        sha.update(token.as_bytes());
        let digest: [u8; 32] = sha.finalize().into();
        if self.right.is_some_and(|right| same(&right, &digest)) {
            return true;
        }
        let found = hashes.into_iter().any(|hash| hash.matches(token));
        if found {
            self.right = Some(digest);
        }
        found
    }

    /// The set of valid tokens has changed.
    pub fn forget(&mut self) {
        self.right = None;
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut out = [0; N];
    for (n, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "correct-horse-battery";

    #[test]
    fn only_the_hashed_token_matches_also_after_a_round_trip() {
        let hash = TokenHash::new(TOKEN, [7; 16]).unwrap();
        let read = TokenHash::parse(&hash.to_text()).unwrap();
        assert_eq!(read, hash);
        assert!(read.matches(TOKEN));
        for wrong in ["", "correct-horse-batterz", "correct-horse-batter"] {
            assert!(!read.matches(wrong), "{wrong}");
        }
        assert!(!format!("{hash:?}{}", hash.to_text()).contains("horse"));
    }

    #[test]
    fn tokens_that_are_too_short_or_unprintable_are_refused() {
        for (token, good) in [
            ("0123456789abcde", false),
            ("0123456789abcdef", true),
            ("0123456789abcde f", false),
            ("0123456789abcdé!", false),
        ] {
            assert_eq!(TokenHash::new(token, [0; 16]).is_ok(), good, "{token}");
        }
        assert!(TokenHash::new(&"a".repeat(TOKEN_CHARS_MAX + 1), [0; 16]).is_err());
    }

    #[test]
    fn damaged_hashes_are_no_hashes() {
        let text = TokenHash::new(TOKEN, [7; 16]).unwrap().to_text();
        for bad in [
            "",
            ":",
            &text[1..],
            &text.replace(':', ""),
            &text.replace('0', "g"),
        ] {
            assert_eq!(TokenHash::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_memo_forgets_when_told() {
        let hash = TokenHash::new(TOKEN, [7; 16]).unwrap();
        let mut memo = Memo::new([1; 32]);
        assert!(memo.matches(TOKEN, [&hash]));
        assert!(memo.matches(TOKEN, []), "remembered");
        assert!(!memo.matches("another-token-of-length", []));
        memo.forget();
        assert!(!memo.matches(TOKEN, []));
    }
}
