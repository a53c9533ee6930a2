//! `!route add` lines of `hostname.IF`. Other commands are errors: there is no shell to run them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prefix;
use crate::source::{Line, Reporter, Word, printable};
use crate::{NextHop, PRIORITY_STATIC, StaticRoute};

/// Options of route(8) without a meaning here.
const IGNORED: [&str; 3] = ["-n", "-q", "-v"];

const NOT_YET: [&str; 17] = [
    "-iface",
    "-interface",
    "-ifp",
    "-ifa",
    "-link",
    "-mpath",
    "-priority",
    "-label",
    "-reject",
    "-blackhole",
    "-cloning",
    "-mpls",
    "-mtu",
    "-T",
    "-llinfo",
    "-static",
    "-expire",
];

/// The route of a line that begins with `!`, or `None` and a message.
pub(crate) fn command(
    line: &Line<'_>,
    interface: &str,
    reporter: &mut Reporter,
) -> Option<StaticRoute> {
    let arguments = route_arguments(line, reporter)?;
    let mut wanted = Wanted::default();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match word.text {
            "-inet" => wanted.family6 = Some(false),
            "-inet6" => wanted.family6 = Some(true),
            "-net" => wanted.net = true,
            "-host" => wanted.host = true,
            "-netmask" | "-prefixlen" => match rest.next() {
                Some(mask) => wanted.mask = Some(*mask),
                None => {
                    let text = format!("'{}' needs something after it", word.text);
                    line.error(reporter, line.end(), "missing-word", text);
                    return None;
                }
            },
            text if IGNORED.contains(&text) => {}
            text if NOT_YET.contains(&text) => {
                line.not_yet(reporter, *word);
                return None;
            }
            text if text.starts_with('-') => {
                let text = format!("unknown option '{}' of route", printable(text));
                line.error(reporter, *word, "unknown-word", text);
                return None;
            }
            _ if wanted.place(*word) => {}
            _ => {
                let text = format!("'{}' is one word too many", printable(word.text));
                line.error(reporter, *word, "extra-word", text);
                return None;
            }
        }
    }
    wanted.route(line, interface, reporter)
}

/// The words after `!route add`.
fn route_arguments<'a>(line: &'a Line<'_>, reporter: &mut Reporter) -> Option<&'a [Word<'a>]> {
    // `! route` is as good as `!route`.
    let (command, rest) = match (line.words[0].text.strip_prefix('!')?, line.words.get(1)) {
        ("", Some(word)) => (word.text, 2),
        ("", None) => {
            let text = "'!' is not followed by a command";
            line.error(reporter, line.end(), "missing-word", text);
            return None;
        }
        (command, _) => (command, 1),
    };
    if !matches!(command, "route" | "/sbin/route") {
        let text = format!("'{}' is not run: there is no shell", printable(command));
        line.error(reporter, line.whole(), "command", text).hint =
            Some("of commands, only '!route add' is understood".into());
        return None;
    }
    let mut words = &line.words[rest..];
    while let [first, more @ ..] = words
        && IGNORED.contains(&first.text)
    {
        words = more;
    }
    match words {
        [first, more @ ..] if first.text == "add" => Some(more),
        [first, ..] => {
            line.not_yet(reporter, *first).hint = Some("only 'route add' is".into());
            None
        }
        [] => {
            line.error(
                reporter,
                line.end(),
                "missing-word",
                "'route' needs something after it",
            );
            None
        }
    }
}

/// What the line asks for, in words.
#[derive(Default)]
struct Wanted<'a> {
    family6: Option<bool>,
    net: bool,
    host: bool,
    dest: Option<Word<'a>>,
    gateway: Option<Word<'a>>,
    mask: Option<Word<'a>>,
}

impl<'a> Wanted<'a> {
    /// Destination, gateway, mask, in this order.
    fn place(&mut self, word: Word<'a>) -> bool {
        for slot in [&mut self.dest, &mut self.gateway, &mut self.mask] {
            if slot.is_none() {
                *slot = Some(word);
                return true;
            }
        }
        false
    }

    fn route(
        &self,
        line: &Line<'_>,
        interface: &str,
        reporter: &mut Reporter,
    ) -> Option<StaticRoute> {
        let (Some(dest_word), Some(gateway_word)) = (self.dest, self.gateway) else {
            let what = if self.dest.is_none() {
                "destination"
            } else {
                "gateway"
            };
            let text = format!("the {what} is missing");
            line.error(reporter, line.end(), "missing-word", text).hint =
                Some("route add DESTINATION/BITS GATEWAY".into());
            return None;
        };
        let (gateway, scope) = gateway(line, gateway_word, interface, reporter)?;
        let (dest, prefix_len) = self.destination(line, dest_word, gateway, reporter)?;
        if dest.is_ipv4() != gateway.is_ipv4() || self.family6 == Some(gateway.is_ipv4()) {
            line.error(
                reporter,
                gateway_word,
                "mixed-families",
                "destination and gateway are not of the same family",
            );
            return None;
        }
        let network = prefix::network(dest, prefix_len);
        if network != dest {
            let text = format!("host bits are set; taken as {network}/{prefix_len}");
            line.warning(reporter, dest_word, "host-bits", text);
        }
        Some(StaticRoute {
            dest: network,
            prefix_len,
            hop: NextHop::Gateway {
                addr: gateway,
                interface: scope,
            },
            table: 0,
            priority: PRIORITY_STATIC,
            multipath: false,
            label: None,
            mtu: None,
            origin: line.origin(),
        })
    }

    fn destination(
        &self,
        line: &Line<'_>,
        word: Word<'a>,
        gateway: IpAddr,
        reporter: &mut Reporter,
    ) -> Option<(IpAddr, u8)> {
        if word.text == "default" {
            let any: IpAddr = match gateway {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            return Some((any, 0));
        }
        let (text, bits) = match word.text.split_once('/') {
            Some((text, _)) => (text, Some(word.part(text.len() + 1, word.text.len()))),
            None => (word.text, None),
        };
        let Ok(dest) = text.parse::<IpAddr>() else {
            let text = format!("'{}' is not an address or network", printable(word.text));
            line.error(reporter, word, "bad-address", text);
            return None;
        };
        let most = prefix::width(dest);
        if let Some(bits) = bits.or(self.mask) {
            let length = match dest {
                IpAddr::V4(_) => prefix::netmask(bits.text),
                IpAddr::V6(_) => prefix::length(bits.text, most),
            };
            if length.is_none() {
                let text = format!(
                    "'{}' is not a prefix length or netmask",
                    printable(bits.text)
                );
                line.error(reporter, bits, "bad-prefix-length", text);
            }
            return Some((dest, length?));
        }
        // route(8) would guess a class A, B or C network here. Ask instead.
        let looks_like_network = dest.is_ipv4() && text.ends_with(".0") || text.ends_with("::");
        if self.net || looks_like_network && !self.host {
            let text = "this network has no prefix length";
            line.error(reporter, word, "missing-netmask", text).hint = Some(format!(
                "write {dest}/24, or '-host' before it for a single host"
            ));
            return None;
        }
        Some((dest, most))
    }
}

/// Could be the name of an interface, or the station address of a file bound to one.
fn is_plausible(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b':';
    name.len() <= "00:11:22:33:44:55".len() && name.bytes().all(plain)
}

/// A gateway and the interface after `%`, which a link-local one needs. `$if` is the file's own interface.
pub(crate) fn gateway(
    line: &Line<'_>,
    word: Word<'_>,
    interface: &str,
    reporter: &mut Reporter,
) -> Option<(IpAddr, Option<String>)> {
    let (text, scope) = match word.text.split_once('%') {
        Some((text, "$if" | "\\$if")) => (text, Some(interface)),
        Some((text, scope)) => (text, Some(scope)),
        None => (word.text, None),
    };
    let Ok(addr) = text.parse::<IpAddr>() else {
        let text = format!("'{}' is not the address of a gateway", printable(word.text));
        line.error(reporter, word, "bad-address", text);
        return None;
    };
    if scope.is_some_and(|scope| !scope.is_empty() && !is_plausible(scope)) {
        let text = format!(
            "'{}' does not name an interface after '%'",
            printable(word.text)
        );
        line.error(reporter, word, "bad-name", text);
        return None;
    }
    let unfit = match addr {
        IpAddr::V4(a) => a.is_broadcast() || scope.is_some(),
        IpAddr::V6(a) => scope.is_some() && !a.is_unicast_link_local(),
    };
    if unfit || addr.is_unspecified() || addr.is_multicast() || addr.is_loopback() {
        let text = format!("'{}' cannot be a gateway", printable(word.text));
        line.error(reporter, word, "bad-address", text);
        return None;
    }
    let link_local = matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local());
    if link_local && scope.is_none_or(str::is_empty) {
        let text = "a link-local gateway needs its interface";
        line.error(reporter, word, "missing-interface", text).hint =
            Some(format!("write {addr}%em0"));
        return None;
    }
    Some((addr, scope.map(str::to_string)))
}
