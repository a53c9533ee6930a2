//! Packets in words: `in on em0 tcp 198.51.100.7:51000 > 203.0.113.5:445 flags S`.

use std::net::IpAddr;

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// It comes in on an interface.
    In,
    /// The box itself sends it.
    Out,
}

/// A packet in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// Which way.
    pub way: Way,
    /// Where it comes in.
    pub interface: Option<String>,
    /// IP protocol.
    pub proto: u8,
    /// Source.
    pub src: (IpAddr, u16),
    /// Destination.
    pub dst: (IpAddr, u16),
    /// TCP flags.
    pub flags: u8,
    /// ICMP type and code.
    pub icmp: (u8, u8),
    /// Traffic class.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Bytes of the IP packet; 0 is as many as it takes.
    pub size: u16,
    /// Tag that it carries.
    pub tagged: Option<String>,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// What a packet is like if nothing else is said.
const TTL_DEFAULT: u8 = 64;

const PROTOCOLS: [(&str, u8); 10] = [
    ("tcp", TCP),
    ("udp", UDP),
    ("icmp", ICMP),
    ("icmp6", ICMP6),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ospf", 89),
    ("carp", 112),
    ("sctp", 132),
];

/// Letters of pf.conf(5), `flags`.
const FLAGS: [(char, u8); 8] = [
    ('F', 1),
    ('S', 2),
    ('R', 4),
    ('P', 8),
    ('A', 16),
    ('U', 32),
    ('E', 64),
    ('W', 128),
];

/// Names of ICMP types: (name, ICMP, ICMPv6).
const TYPES: [(&str, u8, u8); 8] = [
    ("echoreq", 8, 128),
    ("echorep", 0, 129),
    ("unreach", 3, 1),
    ("timex", 11, 3),
    ("routersol", 10, 133),
    ("routeradv", 9, 134),
    ("neighbrsol", 255, 135),
    ("neighbradv", 255, 136),
];

/// How such a description looks, for messages.
pub const EXAMPLE: &str = "in on em0 tcp 198.51.100.7:51000 > 203.0.113.5:445 flags S";

struct Words<'a> {
    words: std::iter::Peekable<std::str::SplitAsciiWhitespace<'a>>,
}

impl<'a> Words<'a> {
    fn take(&mut self, word: &str) -> bool {
        self.words.next_if(|w| *w == word).is_some()
    }

    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        let next = self.words.next();
        next.ok_or_else(|| format!("{what} is missing; such as: {EXAMPLE}"))
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse()
            .map_err(|_| format!("'{word}': {what} was expected"))
    }
}

/// Reads a description. The error says which word is wrong.
pub fn parse(text: &str) -> Result<Described, String> {
    let mut words = Words {
        words: text.split_ascii_whitespace().peekable(),
    };
    let way = match words.take("out") {
        true => Way::Out,
        false => {
            words.take("in");
            Way::In
        }
    };
    let interface = match words.take("on") {
        true => Some(words.next("the name of an interface")?.to_string()),
        false => None,
    };
    if way == Way::In && interface.is_none() {
        return Err(format!(
            "on which interface does it come in? Such as: {EXAMPLE}"
        ));
    }
    let _family = words.take("inet") || words.take("inet6");
    words.take("proto");
    let proto = protocol(words.next("a protocol")?)?;
    words.take("from");
    let src = end(words.next("the source address")?, proto)?;
    let _arrow = words.take(">") || words.take("->") || words.take("to");
    let dst = end(words.next("the destination address")?, proto)?;
    let mut described = Described {
        way,
        interface,
        proto,
        src,
        dst,
        flags: 0x02,
        icmp: (if proto == ICMP6 { 128 } else { 8 }, 0),
        tos: 0,
        ttl: TTL_DEFAULT,
        size: 0,
        tagged: None,
    };
    while let Some(word) = words.words.next() {
        option(&mut described, word, &mut words)?;
    }
    check(&described)?;
    Ok(described)
}

fn option(described: &mut Described, word: &str, words: &mut Words<'_>) -> Result<(), String> {
    match word {
        "flags" => described.flags = flags(words.next("TCP flags")?)?,
        "icmp-type" | "icmp6-type" | "type" => {
            described.icmp.0 = icmp_type(words.next("an ICMP type")?, described.proto)?;
        }
        "code" => described.icmp.1 = words.number("an ICMP code")?,
        "tos" => {
            let word = words.next("a traffic class")?;
            let hex = word.strip_prefix("0x").map(|h| u8::from_str_radix(h, 16));
            let value = hex.unwrap_or_else(|| word.parse());
            described.tos = value.map_err(|_| format!("'{word}': tos is a number up to 255"))?;
        }
        "ttl" => described.ttl = words.number("a number up to 255")?,
        "size" => described.size = words.number("a number of bytes")?,
        "tagged" => described.tagged = Some(words.next("the name of a tag")?.to_string()),
        other => {
            let known = "flags, icmp-type, code, tos, ttl, size, tagged";
            return Err(format!("'{other}' is not understood; there is {known}"));
        }
    }
    Ok(())
}

fn check(d: &Described) -> Result<(), String> {
    if d.src.0.is_ipv4() != d.dst.0.is_ipv4() {
        return Err(format!("{} and {} are of two families", d.src.0, d.dst.0));
    }
    match (d.proto, d.src.0.is_ipv4()) {
        (ICMP, false) => Err("icmp is for IPv4; icmp6 for IPv6".into()),
        (ICMP6, true) => Err("icmp6 is for IPv6; icmp for IPv4".into()),
        _ => Ok(()),
    }
}

fn protocol(word: &str) -> Result<u8, String> {
    let known = PROTOCOLS.iter().find(|(name, _)| *name == word);
    let number = known.map(|(_, n)| *n).or_else(|| word.parse().ok());
    number.ok_or_else(|| {
        format!("'{word}' is no protocol; there is tcp, udp, icmp, icmp6 or a number")
    })
}

/// `1.2.3.4:80`, `[2001:db8::1]:80`, or without a port.
fn end(word: &str, proto: u8) -> Result<(IpAddr, u16), String> {
    let wrong = || format!("'{word}' is no address; write 1.2.3.4:80 or [2001:db8::1]:80");
    let has_ports = matches!(proto, TCP | UDP);
    if let Ok(addr) = word.parse::<std::net::SocketAddr>() {
        return match has_ports {
            true => Ok((addr.ip(), addr.port())),
            false => Err(format!("'{word}': this protocol has no ports")),
        };
    }
    let bare = word.trim_start_matches('[').trim_end_matches(']');
    let addr: IpAddr = bare.parse().map_err(|_| wrong())?;
    match has_ports {
        true => Err(format!(
            "'{word}': the port is missing, such as {}",
            std::net::SocketAddr::new(addr, 80)
        )),
        false => Ok((addr, 0)),
    }
}

fn flags(word: &str) -> Result<u8, String> {
    let mut all = 0;
    for letter in word.chars() {
        let known = FLAGS.iter().find(|(l, _)| *l == letter);
        let (_, bit) = known.ok_or_else(|| format!("'{word}': flags are letters of FSRPAUEW"))?;
        all |= bit;
    }
    Ok(all)
}

fn icmp_type(word: &str, proto: u8) -> Result<u8, String> {
    let known = TYPES.iter().find(|(name, ..)| *name == word);
    let number = match known {
        Some((_, _, six)) if proto == ICMP6 => Some(*six),
        Some((_, four, _)) if *four != 255 => Some(*four),
        _ => word.parse().ok(),
    };
    number
        .ok_or_else(|| format!("'{word}' is no ICMP type; there is echoreq, unreach … or a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read() {
        let d = parse(EXAMPLE).unwrap();
        assert_eq!((d.way, d.interface.as_deref()), (Way::In, Some("em0")));
        assert_eq!((d.proto, d.flags), (6, 2));
        assert_eq!((d.src.1, d.dst.1), (51000, 445));
        let d =
            parse("in on em1 udp [2001:db8::1]:53 > [2001:db8::2]:1000 size 900 tos 0x10").unwrap();
        assert_eq!((d.size, d.tos, d.dst.1), (900, 16, 1000));
        let d = parse("out icmp 10.0.0.1 > 10.0.0.2 icmp-type unreach code 1 tagged X").unwrap();
        assert_eq!((d.way, d.icmp), (Way::Out, (3, 1)));
        assert_eq!(d.tagged.as_deref(), Some("X"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("tcp 1.2.3.4:1 > 1.2.3.5:2", "on which interface"),
            (
                "in on em0 tpc 1.2.3.4:1 > 1.2.3.5:2",
                "'tpc' is no protocol",
            ),
            ("in on em0 tcp 1.2.3.4 > 1.2.3.5:2", "the port is missing"),
            ("in on em0 icmp 1.2.3.4:1 > 1.2.3.5", "no ports"),
            (
                "in on em0 tcp 1.2.3.4:1 >",
                "the destination address is missing",
            ),
            ("in on em0 tcp 1.2.3.4:1 > [::1]:2", "two families"),
            ("in on em0 icmp6 1.2.3.4 > 1.2.3.5", "icmp6 is for IPv6"),
            ("in on em0 tcp 1.2.3.4:1 > 1.2.3.5:2 flags X", "FSRPAUEW"),
            (
                "in on em0 tcp 1.2.3.4:1 > 1.2.3.5:2 colour red",
                "'colour' is not understood",
            ),
            (
                "in on em0 tcp 1.2.3.4:1 > 1.2.3.500:2",
                "'1.2.3.500:2' is no address",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
