//! `inet`, `inet6`, `dest` and the words that ask others for addresses. Takes both hostname.if(5)'s order, `ADDR MASK BROADCAST`, and
//! ifconfig(8)'s, `ADDR [DEST] [netmask MASK] [broadcast ADDR]`: no netmask can be mistaken for the other end of a link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::feature::Feature;
use crate::reading::Reading;
use crate::source::{Word, printable};
use crate::{InterfaceAddress, Kind, Slaac, prefix};

/// Old files have `dhcp NONE NONE NONE`: mask, broadcast and options of the time before.
const NONES: usize = 3;

/// What follows an address of IPv4.
#[derive(Default)]
struct Rest4<'l> {
    mask: Option<u8>,
    dest: Option<Ipv4Addr>,
    broadcast: Option<(Ipv4Addr, Word<'l>)>,
    alias: bool,
}

impl<'l> Reading<'l, '_> {
    /// An address without a family before it is one of IPv4, as for ifconfig(8).
    pub(crate) fn bare_address(&mut self, _word: Word<'l>) -> Option<()> {
        self.at -= 1;
        self.inet()
    }

    /// After `inet`.
    pub(crate) fn inet(&mut self) -> Option<()> {
        let alias = self.take("alias");
        let word = self.argument("inet")?;
        if word.text == "autoconf" {
            return self.autoconf4(word);
        }
        let (text, bits) = cut(word.text);
        let Ok(addr) = text.parse::<Ipv4Addr>() else {
            let hint = text
                .parse::<Ipv6Addr>()
                .is_ok()
                .then(|| "write inet6 for an IPv6 address".to_string());
            return self.not_an_address(word, "IPv4", hint);
        };
        let bits = match bits {
            Some(_) => Some(self.bits_of(word, 32)?),
            None => None,
        };
        let mut rest = Rest4 {
            mask: bits,
            alias,
            ..Rest4::default()
        };
        self.rest4(&mut rest)?;
        let prefix_len = match (rest.mask, rest.dest) {
            (Some(bits), _) => bits,
            (None, Some(_)) => 32,
            (None, None) if addr.is_loopback() => 8,
            (None, None) => return self.no_netmask(addr),
        };
        let loopback = addr.is_loopback() && self.interface.kind != Kind::Loopback;
        if addr.is_unspecified()
            || addr.is_multicast()
            || loopback
            || addr.is_broadcast()
            || prefix_len == 0
        {
            return self.unfit(word);
        }
        if rest.dest.is_none() {
            self.edge_of_network(word, addr, prefix_len);
        }
        self.broadcast_fits(addr, prefix_len, rest.broadcast);
        self.add(
            word,
            InterfaceAddress {
                addr: addr.into(),
                prefix_len,
                broadcast: rest.broadcast.map(|(addr, _)| addr),
                dest: rest.dest.map(IpAddr::V4),
                alias: rest.alias,
                origin: self.line.origin_of(word),
            },
        )
    }

    /// Netmask, other end and broadcast address, in either order.
    fn rest4(&mut self, rest: &mut Rest4<'l>) -> Option<()> {
        while let Some(word) = self.peek() {
            match word.text {
                "netmask" => {
                    self.at += 1;
                    let mask = self.argument("netmask")?;
                    rest.mask = Some(self.netmask(mask)?);
                }
                "broadcast" => {
                    self.at += 1;
                    let at = self.argument("broadcast")?;
                    rest.broadcast = Some((self.broadcast(at)?, at));
                }
                "dest" | "dstaddr" => {
                    self.at += 1;
                    let at = self.peek();
                    rest.dest = Some(self.ip4("dest")?);
                    self.needs(at.unwrap_or(word), Feature::PointToPoint);
                }
                "alias" => {
                    self.at += 1;
                    rest.alias = true;
                }
                "NONE" => self.at += 1,
                text if text.starts_with(|c: char| c.is_ascii_digit()) => {
                    self.at += 1;
                    self.place4(word, rest)?;
                }
                _ => break,
            }
        }
        Some(())
    }

    /// A number or address without a word before it.
    fn place4(&mut self, word: Word<'l>, rest: &mut Rest4<'l>) -> Option<()> {
        if rest.mask.is_none()
            && let Some(bits) = prefix::netmask(word.text)
        {
            rest.mask = Some(bits);
        } else if rest.mask.is_none() && rest.dest.is_none() {
            match word.text.parse::<Ipv4Addr>() {
                Ok(dest) if !odd_mask(dest) => {
                    self.needs(word, Feature::PointToPoint);
                    rest.dest = Some(dest);
                }
                _ => return self.netmask(word).map(|_| ()),
            }
        } else {
            rest.broadcast = Some((self.broadcast(word)?, word));
        }
        Some(())
    }

    fn netmask(&mut self, word: Word<'l>) -> Option<u8> {
        let found = prefix::netmask(word.text);
        if found.is_none() {
            let text = format!("'{}' is not a netmask", printable(word.text));
            let hint = "255.255.255.0, 0xffffff00 or 24".to_string();
            self.error(word, "bad-netmask", text, Some(hint));
        }
        found
    }

    fn no_netmask(&mut self, addr: Ipv4Addr) -> Option<()> {
        let text = format!("no netmask after {addr}");
        let hint = format!("write 'inet {addr} 255.255.255.0' or 'inet {addr}/24'");
        let word = self.peek().unwrap_or(self.line.end());
        self.error(word, "missing-netmask", text, Some(hint));
        None
    }

    fn broadcast(&mut self, word: Word<'l>) -> Option<Ipv4Addr> {
        let found = word.text.parse().ok();
        if found.is_none() {
            let text = format!("'{}' is not a broadcast address", printable(word.text));
            self.error(word, "bad-address", text, None);
        }
        found
    }

    /// After `inet6`: `eui64` or `autoconf` alone, or an address.
    pub(crate) fn inet6(&mut self) -> Option<()> {
        if let Some(word) = self.peek()
            && self.inet6_word(word)
        {
            return Some(());
        }
        let mut alias = self.take("alias");
        let word = self.argument("inet6")?;
        let (text, bits) = cut(word.text);
        let Some(addr) = self.address6(text) else {
            let hint = text
                .parse::<Ipv4Addr>()
                .is_ok()
                .then(|| "write inet for an IPv4 address".to_string());
            return self.not_an_address(word, "IPv6", hint);
        };
        let mut prefix_len = match bits {
            Some(_) => Some(self.bits_of(word, 128)?),
            None => None,
        };
        let dest = self.rest6(&mut prefix_len, &mut alias)?;
        let whole = if dest.is_some() { 128 } else { 64 };
        // OpenBSD takes 64 if nothing is said.
        let prefix_len = prefix_len.unwrap_or(whole);
        let loopback = addr.is_loopback() && self.interface.kind != Kind::Loopback;
        if addr.is_unspecified()
            || addr.is_multicast()
            || loopback
            || addr.to_ipv4_mapped().is_some()
            || prefix_len == 0
        {
            return self.unfit(word);
        }
        self.add(
            word,
            InterfaceAddress {
                addr: addr.into(),
                prefix_len,
                broadcast: None,
                dest: dest.map(IpAddr::V6),
                alias,
                origin: self.line.origin_of(word),
            },
        )
    }

    /// Words after `inet6` that are no address; `auto_linklocal` and the like are FreeBSD's. True if there was one.
    fn inet6_word(&mut self, word: Word<'l>) -> bool {
        match word.text {
            "eui64" | "auto_linklocal" => self.interface.link_local = true,
            "autoconf" | "accept_rtadv" => {
                self.at += 1;
                self.autoconf6(word);
                return true;
            }
            "temporary" | "autoconfprivacy" => {
                self.needs(word, Feature::SlaacTemporary);
                self.interface.slaac = Some(Slaac { temporary: true });
            }
            "-autoconfprivacy" | "-temporary" | "-ifdisabled" | "no_radr" | "-no_radr"
            | "-accept_rtadv" | "-auto_linklocal" => {}
            _ => return false,
        }
        self.at += 1;
        true
    }

    /// Other end, prefix length and lifetimes.
    fn rest6(&mut self, bits: &mut Option<u8>, alias: &mut bool) -> Option<Option<Ipv6Addr>> {
        let mut dest = None;
        while let Some(word) = self.peek() {
            match word.text {
                "prefixlen" => {
                    self.at += 1;
                    let length = self.argument("prefixlen")?;
                    *bits = Some(self.length(length, 128)?);
                }
                "alias" => *alias = self.take("alias"),
                "NONE" => self.at += 1,
                "pltime" | "vltime" => {
                    self.at += 1;
                    self.argument(word.text)?;
                    self.notice(word, format!("'{}' has no effect here", word.text));
                }
                "dest" => {
                    self.at += 1;
                    let at = self.argument("dest")?;
                    dest = Some(self.dest6(at)?);
                }
                text if text.contains(':') && dest.is_none() => {
                    self.at += 1;
                    dest = Some(self.dest6(word)?);
                }
                text if text.starts_with(|c: char| c.is_ascii_digit()) && bits.is_none() => {
                    self.at += 1;
                    *bits = Some(self.length(word, 128)?);
                }
                _ => break,
            }
        }
        Some(dest)
    }

    fn dest6(&mut self, word: Word<'l>) -> Option<Ipv6Addr> {
        self.needs(word, Feature::PointToPoint);
        match self.address6(word.text) {
            Some(addr) => Some(addr),
            None => {
                self.not_an_address(word, "IPv6", None)?;
                None
            }
        }
    }

    /// An address, perhaps with this interface after `%`.
    fn address6(&self, text: &str) -> Option<Ipv6Addr> {
        let scope = format!("%{}", self.interface.name);
        text.strip_suffix(&scope).unwrap_or(text).parse().ok()
    }

    /// `dest ADDR` on a line of its own: the other end for the address before.
    pub(crate) fn dest(&mut self) -> Option<()> {
        let (dest, word) = self.ip("dest")?;
        self.needs(word, Feature::PointToPoint);
        let same = |a: &&mut InterfaceAddress| a.addr.is_ipv4() == dest.is_ipv4();
        match self.interface.addresses.iter_mut().rev().find(same) {
            Some(address) => address.dest = Some(dest),
            None => {
                let text = "no address of this family stands before it".to_string();
                self.error(word, "no-address", text, None);
            }
        }
        Some(())
    }

    pub(crate) fn dhcp(&mut self, word: Word<'l>) -> Option<()> {
        self.autoconf4(word)?;
        for _ in 0..NONES {
            self.take("NONE");
        }
        Some(())
    }

    /// `inet autoconf`.
    pub(crate) fn autoconf4(&mut self, word: Word<'l>) -> Option<()> {
        self.needs(word, Feature::Dhcp);
        self.interface.dhcp = true;
        Some(())
    }

    /// `inet6 autoconf [temporary]`.
    pub(crate) fn autoconf6(&mut self, word: Word<'l>) -> Option<()> {
        self.needs(word, Feature::Slaac);
        let mut slaac = self.interface.slaac.unwrap_or_default();
        if let Some(word) = self.peek()
            && (self.take("temporary") || self.take("autoconfprivacy"))
        {
            self.needs(word, Feature::SlaacTemporary);
            slaac.temporary = true;
        }
        self.take("-temporary");
        self.interface.slaac = Some(slaac);
        self.interface.link_local = true;
        Some(())
    }

    pub(crate) fn not_an_address(
        &mut self,
        word: Word<'l>,
        family: &str,
        hint: Option<String>,
    ) -> Option<()> {
        let text = format!("'{}' is not an {family} address", printable(word.text));
        self.error(word, "bad-address", text, hint);
        None
    }

    fn unfit(&mut self, word: Word<'l>) -> Option<()> {
        let text = format!(
            "'{}' cannot be the address of an interface",
            printable(word.text)
        );
        self.error(word, "bad-address", text, None);
        Some(())
    }

    /// The `/n` of an address.
    fn bits_of(&mut self, word: Word<'l>, most: u8) -> Option<u8> {
        let at = word.text.find('/').map_or(0, |slash| slash + 1);
        self.length(word.part(at, word.text.len()), most)
    }

    fn length(&mut self, word: Word<'l>, most: u8) -> Option<u8> {
        let length = prefix::length(word.text, most);
        if length.is_none() {
            let text = format!(
                "'{}' is not a prefix length from 1 to {most}",
                printable(word.text)
            );
            self.error(word, "bad-prefix-length", text, None);
        }
        length
    }

    fn broadcast_fits(
        &mut self,
        addr: Ipv4Addr,
        prefix_len: u8,
        broadcast: Option<(Ipv4Addr, Word<'l>)>,
    ) {
        let Some((given, word)) = broadcast else {
            return;
        };
        let last = prefix::last4(addr, prefix_len);
        if given != last {
            let text = format!("the broadcast address of {addr}/{prefix_len} is {last}");
            self.line
                .warning(self.reporter, word, "odd-broadcast", text);
        }
    }

    /// The first and the last address of a network are not for hosts (but see RFC 3021 for /31).
    fn edge_of_network(&mut self, word: Word<'l>, addr: Ipv4Addr, prefix_len: u8) {
        if prefix_len >= 31 {
            return;
        }
        let what = if prefix::network(addr.into(), prefix_len) == IpAddr::V4(addr) {
            "network's own"
        } else if prefix::last4(addr, prefix_len) == addr {
            "broadcast"
        } else {
            return;
        };
        let text = format!("{addr} is the {what} address of its /{prefix_len}");
        self.line.warning(self.reporter, word, "odd-address", text);
    }

    fn add(&mut self, word: Word<'l>, address: InterfaceAddress) -> Option<()> {
        if self.interface.kind == Kind::Loopback {
            // lo0 has these without being told.
            if is_usual(&self.interface.name, &address) {
                return Some(());
            }
            self.needs(word, Feature::Loopback);
        }
        let addr = address.addr;
        if self.interface.addresses.iter().any(|a| a.addr == addr) {
            let text = format!("{addr} is in this file twice");
            self.error(word, "duplicate-address", text, None);
        } else {
            self.interface.addresses.push(address);
        }
        Some(())
    }
}

/// What `lo0` has anyway.
fn is_usual(name: &str, address: &InterfaceAddress) -> bool {
    let own = match address.addr {
        IpAddr::V4(addr) => addr == Ipv4Addr::LOCALHOST,
        IpAddr::V6(addr) => addr == Ipv6Addr::LOCALHOST || addr.is_unicast_link_local(),
    };
    name == "lo0" && own
}

/// Begins like a netmask and is none: `255.0.255.0`.
fn odd_mask(addr: Ipv4Addr) -> bool {
    addr.octets()[0] == 255
}

/// `ADDR/n` in its two halves.
fn cut(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((addr, bits)) => (addr, Some(bits)),
        None => (text, None),
    }
}
