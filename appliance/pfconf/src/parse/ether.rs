//! FreeBSD's rules for Ethernet frames: `ether block in on em0 proto arp from MAC to MAC l3 from … to … label "x"`.

use super::{Parsed, Parser};
use crate::ast::{
    ActionKind, EtherAnchor, EtherStmt, FilterOpts, Head, Mac, NameOrNumber, Node, Proto,
};
use crate::lex::Tok;

impl Parser<'_> {
    /// After the word `ether`.
    pub(super) fn ether(&mut self) -> Parsed<Node> {
        let anchored = self.take("anchor");
        let (action, mut anchor) = match anchored {
            false => (self.ether_action()?, None),
            true => {
                let name = self.opt_anchor_name()?;
                (ActionKind::Pass, Some(EtherAnchor { name, body: None }))
            }
        };
        let mut head = Head {
            direction: self.opt_direction(),
            ..Head::default()
        };
        head.quick = self.take("quick");
        head.on = self.opt_on()?;
        let bridge_to = match self.take("bridge-to") {
            true => Some(self.interface_name()?),
            false => None,
        };
        let protocols = match self.take("proto") {
            true => self.one_or_list(Self::ether_proto)?,
            false => Vec::new(),
        };
        let (mut from, mut to) = (Vec::new(), Vec::new());
        if !self.take("all") {
            if self.take("from") {
                from = self.macs()?;
            }
            if self.take("to") {
                to = self.macs()?;
            }
        }
        if self.take("l3") {
            self.addresses(&mut head)?;
        }
        let opts = self.filter_opts(FilterOpts::default())?;
        if let Some(anchor) = &mut anchor {
            if self.at_char(b'{') {
                anchor.body = Some(self.anchor_body()?);
            }
            self.check_anchor(anchor.name.as_ref(), &opts, anchor.body.is_some())?;
        }
        Ok(Node::Ether(Box::new(EtherStmt {
            action,
            anchor,
            head,
            bridge_to,
            protocols,
            from,
            to,
            opts,
        })))
    }

    fn ether_action(&mut self) -> Parsed<ActionKind> {
        for (word, kind) in [
            ("pass", ActionKind::Pass),
            ("block", ActionKind::Block),
            ("match", ActionKind::Match),
        ] {
            if self.take(word) {
                return Ok(kind);
            }
        }
        Err(self.unexpected_word(&["pass", "block", "match"]))
    }

    /// A number, or the name of a protocol.
    fn ether_proto(&mut self) -> Parsed<u16> {
        let proto: Proto = match self.tok.tok {
            Tok::Number(n) => {
                self.advance();
                Proto {
                    value: NameOrNumber::Number(n),
                    span: self.last,
                }
            }
            _ => {
                let name = self.name("an Ethernet protocol")?;
                Proto {
                    value: NameOrNumber::Name(name.text),
                    span: name.span,
                }
            }
        };
        let number = match &proto.value {
            NameOrNumber::Number(n) => u16::try_from(*n).ok(),
            NameOrNumber::Name(name) => ether_proto_number(name),
        };
        number.ok_or_else(|| self.fail(proto.span, "ether-proto", "unknown ethernet protocol"))
    }

    /// Addresses; `any` is no address at all.
    fn macs(&mut self) -> Parsed<Vec<Mac>> {
        if self.take("any") {
            return Ok(Vec::new());
        }
        self.one_or_list(Self::mac)
    }

    fn mac(&mut self) -> Parsed<Mac> {
        let not = self.take_char(b'!');
        let word = self.name("an Ethernet address")?;
        let (address, given) = match word.text.split_once('&') {
            Some((address, mask)) => (address.to_string(), Some(mask.to_string())),
            None => (word.text.clone(), None),
        };
        let mut mask = [0xff; 6];
        if let Some(given) = given.filter(|m| !m.is_empty()) {
            match mac_bytes(&given) {
                Some(bytes) => mask = bytes,
                None => return Err(self.fail(word.span, "mac", "invalid ethernet mask")),
            }
        } else if self.take_char(b'/') {
            let bits: u8 = self.number_in("a number of bits", 0..=48, "invalid mask")?;
            let ones = (u64::MAX << (48 - u32::from(bits))) & 0xffff_ffff_ffff;
            mask.copy_from_slice(&ones.to_be_bytes()[2..]);
        }
        match mac_bytes(&address) {
            Some(bytes) => Ok(Mac { bytes, mask, not }),
            None => {
                let text = format!("invalid ethernet address {address}");
                let hint = Some("six bytes in hex, as in 00:11:22:33:44:55".into());
                Err(self.fail_hint(word.span, "mac", text, hint))
            }
        }
    }
}

fn ether_proto_number(name: &str) -> Option<u16> {
    if let Some(hex) = name.strip_prefix("0x") {
        return u16::from_str_radix(hex, 16).ok();
    }
    match name {
        "ip" | "ipv4" => Some(0x0800),
        "arp" => Some(0x0806),
        "rarp" => Some(0x8035),
        "vlan" => Some(0x8100),
        "ipv6" => Some(0x86dd),
        _ => None,
    }
}

fn mac_bytes(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|p| (1..=2).contains(&p.len()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}
