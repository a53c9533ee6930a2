//! What the box keeps beside its bundle: management address, token, trusted keys, replay floor. One small text, stored
//! as a whole; unknown lines are kept out with a warning, so that an older program can read a newer record.

use std::net::IpAddr;

use bundle::Date;
use bundle::signature::PublicKey;

use crate::token::{TokenHash, hex, unhex};

/// Most trusted keys.
pub const KEYS_MAX: usize = 16;
/// First line of the record.
const HEADER: &str = "fugu settings 1";

/// An address for management and the interface it is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Management {
    /// Interface name, such as `vio0`.
    pub interface: String,
    /// The address.
    pub addr: IpAddr,
    /// Bits of its network.
    pub prefix_len: u8,
}

/// Everything that is kept, or was given with kernel arguments or a seed disk for this run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// At most one address per family.
    pub management: Vec<Management>,
    /// Default gateways for management, at most one per family.
    pub gateways: Vec<IpAddr>,
    /// Hash of the bearer token.
    pub token: Option<TokenHash>,
    /// Keys whose signatures count.
    pub keys: Vec<PublicKey>,
    /// Date of the newest signed bundle that was accepted.
    pub floor: Option<Date>,
    /// The bundle that ran when the floor was reset: its date does not count.
    pub forgiven: Option<[u8; 32]>,
}

impl Settings {
    /// Replaces the management address of the same family, and its gateway.
    pub fn set_management(&mut self, new: Management, gateway: Option<IpAddr>) {
        let v4 = new.addr.is_ipv4();
        self.management.retain(|m| m.addr.is_ipv4() != v4);
        self.management.push(new);
        self.gateways.retain(|g| g.is_ipv4() != v4);
        self.gateways.extend(gateway);
    }

    /// Trusts a key; the same key twice is one key.
    pub fn trust(&mut self, key: PublicKey) -> Result<(), String> {
        self.keys.retain(|known| known.id != key.id);
        if self.keys.len() >= KEYS_MAX {
            return Err(format!("{KEYS_MAX} keys are trusted already"));
        }
        self.keys.push(key);
        Ok(())
    }

    /// The record.
    pub fn to_text(&self) -> String {
        let mut out = format!("{HEADER}\n");
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        for m in &self.management {
            line(format!(
                "management {} {}/{}",
                m.interface, m.addr, m.prefix_len
            ));
        }
        for gateway in &self.gateways {
            line(format!("gateway {gateway}"));
        }
        if let Some(token) = &self.token {
            line(format!("token {}", token.to_text()));
        }
        for key in &self.keys {
            let file = key.to_file();
            let base64 = file.lines().nth(1).unwrap_or_default();
            line(format!("key {base64} {}", key.comment));
        }
        if let Some(Date(seconds)) = self.floor {
            line(format!("floor {seconds}"));
        }
        if let Some(digest) = &self.forgiven {
            line(format!("forgiven {}", hex(digest)));
        }
        out
    }

    /// Reads a record, and says which lines it did not understand.
    pub fn parse(bytes: &[u8]) -> (Settings, Vec<String>) {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let mut settings = Settings::default();
        if lines.next() != Some(HEADER) {
            return (settings, vec!["not a record of settings".into()]);
        }
        let problems = lines
            .filter(|line| settings.read_line(line).is_none())
            .map(|line| {
                // The rest of the line may be a secret's hash.
                let word = line.split(' ').next().unwrap_or_default();
                format!("line '{word} …' is not understood")
            })
            .collect();
        (settings, problems)
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "management" => self.management.push(management(rest)?),
            "gateway" => self.gateways.push(rest.parse().ok()?),
            "token" => self.token = Some(TokenHash::parse(rest)?),
            "key" => self.trust(key(rest).ok()?).ok()?,
            "floor" => self.floor = Some(Date(rest.parse().ok()?)),
            "forgiven" => self.forgiven = Some(unhex(rest)?),
            _ => return None,
        }
        Some(())
    }
}

fn management(text: &str) -> Option<Management> {
    let (interface, network) = text.split_once(' ')?;
    let (addr, len) = network.split_once('/')?;
    let addr: IpAddr = addr.parse().ok()?;
    let prefix_len = len.parse().ok()?;
    (prefix_len <= if addr.is_ipv4() { 32 } else { 128 }).then(|| Management {
        interface: interface.into(),
        addr,
        prefix_len,
    })
}

/// A public key as the contents of a `.pub` file, or as its second line alone, perhaps with a comment after it.
pub fn key(text: &str) -> Result<PublicKey, String> {
    let text = text.trim();
    let file = if text.contains('\n') {
        format!("{text}\n")
    } else {
        let (base64, comment) = text.split_once(' ').unwrap_or((text, "key"));
        format!("untrusted comment: {comment}\n{base64}\n")
    };
    PublicKey::parse(file.as_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::signature::SecretKey;

    fn some_key(n: u8) -> PublicKey {
        SecretKey::generate([n; 32], [n; 8]).public("office public key")
    }

    #[test]
    fn a_record_reads_back_as_it_was() {
        let mut settings = Settings {
            token: Some(TokenHash::new("0123456789abcdef", [3; 16]).unwrap()),
            floor: Some(Date(1_790_000_000)),
            forgiven: Some([0x5a; 32]),
            ..Settings::default()
        };
        settings.set_management(
            Management {
                interface: "vio0".into(),
                addr: "192.0.2.9".parse().unwrap(),
                prefix_len: 24,
            },
            None,
        );
        settings.set_management(
            Management {
                interface: "em1".into(),
                addr: "192.0.2.10".parse().unwrap(),
                prefix_len: 24,
            },
            Some("192.0.2.1".parse().unwrap()),
        );
        settings.set_management(
            Management {
                interface: "em1".into(),
                addr: "2001:db8::1".parse().unwrap(),
                prefix_len: 64,
            },
            None,
        );
        settings.trust(some_key(1)).unwrap();
        settings.trust(some_key(1)).unwrap();
        settings.trust(some_key(2)).unwrap();
        assert_eq!((settings.management.len(), settings.keys.len()), (2, 2));
        let (read, problems) = Settings::parse(settings.to_text().as_bytes());
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(read, settings);
    }

    #[test]
    fn lines_that_are_not_understood_are_named_and_the_rest_counts() {
        let text = b"fugu settings 1\ngateway 192.0.2.1\ntoken secret\nfuture thing\nmanagement em0 1.2.3.4/33\n";
        let (settings, problems) = Settings::parse(text);
        assert_eq!(settings.gateways.len(), 1);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(!problems.concat().contains("secret"));
        assert_eq!(Settings::parse(b"\xff\xfe").1.len(), 1);
    }

    #[test]
    fn a_key_may_come_as_a_file_or_as_its_line() {
        let key_one = some_key(1);
        let file = key_one.to_file();
        let line = file.lines().nth(1).unwrap();
        assert_eq!(key(&file).unwrap(), key_one);
        assert_eq!(key(line).unwrap().id, key_one.id);
        assert_eq!(key(&format!("{line} office public key")).unwrap(), key_one);
        assert!(key("nonsense").is_err());
    }

    #[test]
    fn there_is_a_limit_to_trust() {
        let mut settings = Settings::default();
        for n in 0..KEYS_MAX as u8 {
            settings.trust(some_key(n)).unwrap();
        }
        assert!(settings.trust(some_key(100)).is_err());
        assert_eq!(settings.keys.len(), KEYS_MAX);
    }
}
