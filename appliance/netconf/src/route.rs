//! Routes as route(8) takes them, from `!route add` lines and from variables of `rc.conf`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::feature::Feature;
use crate::prefix;
use crate::reading::DOMAINS;
use crate::source::{Line, Reporter, Word, printable};
use crate::{NextHop, PRIORITY_STATIC, StaticRoute, names_of};

/// Options of route(8) without a meaning here.
const IGNORED: [&str; 6] = ["-n", "-q", "-v", "-static", "-cloning", "-nocloning"];

const NOT_YET: [&str; 8] = [
    "-link",
    "-mpls",
    "-llinfo",
    "-expire",
    "-genmask",
    "-proto1",
    "-proto2",
    "-xresolve",
];

/// Best and worst priority of a static route (route(8)).
const PRIORITIES: std::ops::RangeInclusive<u32> = 1..=63;

/// RFC 791's least and the largest IP packet.
const MTUS: std::ops::RangeInclusive<u32> = 68..=65_535;

/// Longest label (RTLABEL_LEN without its zero).
const LABEL_MAX: usize = 31;

/// The command of a line that begins with `!`, and its words.
pub(crate) fn command<'l>(
    line: &'l Line<'_>,
    reporter: &mut Reporter,
) -> Option<(&'l str, &'l [Word<'l>])> {
    // `! route` is as good as `!route`.
    match (line.words[0].text.strip_prefix('!')?, line.words.get(1)) {
        ("", Some(word)) => Some((word.text, &line.words[2..])),
        ("", None) => {
            let text = "'!' is not followed by a command";
            line.error(reporter, line.end(), "missing-word", text);
            None
        }
        (command, _) => Some((command, &line.words[1..])),
    }
}

/// The route of the words after `route`, or `None` and a message.
pub(crate) fn add(
    line: &Line<'_>,
    words: &[Word<'_>],
    interface: &str,
    reporter: &mut Reporter,
) -> Option<StaticRoute> {
    let mut words = words;
    while let [first, more @ ..] = words
        && IGNORED.contains(&first.text)
    {
        words = more;
    }
    // `route -T 1 add` is as good as `route add -T 1`.
    let mut table = None;
    if let [option, number, more @ ..] = words
        && option.text == "-T"
    {
        (table, words) = (Some(*number), more);
    }
    match words {
        [first, more @ ..] if first.text == "add" => {
            let mut wanted = Wanted {
                own: interface,
                ..Wanted::default()
            };
            if let Some(number) = table {
                wanted.option_with(line, number, "-T", number, reporter)?;
            }
            wanted.read(line, more, reporter)
        }
        [first, ..] => {
            line.not_yet(reporter, *first).hint = Some("only 'route add' is".into());
            None
        }
        [] => {
            let text = "'route' needs something after it";
            line.error(reporter, line.end(), "missing-word", text);
            None
        }
    }
}

/// The route of the words after `route add`. `interface` is whose file it is; empty for none.
pub(crate) fn arguments(
    line: &Line<'_>,
    words: &[Word<'_>],
    interface: &str,
    reporter: &mut Reporter,
) -> Option<StaticRoute> {
    let wanted = Wanted {
        own: interface,
        ..Wanted::default()
    };
    wanted.read(line, words, reporter)
}

/// What `route delete` names: a destination, and a gateway perhaps. Where it leads means nothing without one.
pub(crate) fn destination(
    line: &Line<'_>,
    words: &[Word<'_>],
    reporter: &mut Reporter,
) -> Option<StaticRoute> {
    let wanted = Wanted {
        only_dest: true,
        ..Wanted::default()
    };
    wanted.read(line, words, reporter)
}

/// What the line asks for, in words.
#[derive(Default)]
struct Wanted<'a> {
    own: &'a str,
    only_dest: bool,
    family6: Option<bool>,
    net: bool,
    host: bool,
    iface: bool,
    blackhole: bool,
    reject: bool,
    multipath: bool,
    dest: Option<Word<'a>>,
    gateway: Option<Word<'a>>,
    mask: Option<Word<'a>>,
    interface: Option<String>,
    table: u16,
    priority: Option<u8>,
    label: Option<String>,
    mtu: Option<u16>,
}

impl<'a> Wanted<'a> {
    fn read(
        mut self,
        line: &Line<'_>,
        words: &[Word<'a>],
        reporter: &mut Reporter,
    ) -> Option<StaticRoute> {
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if self.flag(line, *word, reporter) || IGNORED.contains(&word.text) {
                continue;
            }
            if takes_argument(word.text) {
                let Some(value) = rest.next() else {
                    let text = format!("'{}' needs something after it", word.text);
                    line.error(reporter, line.end(), "missing-word", text);
                    return None;
                };
                self.option_with(line, *word, word.text, *value, reporter)?;
            } else if NOT_YET.contains(&word.text) {
                line.not_yet(reporter, *word);
                return None;
            } else if word.text.starts_with('-') {
                let text = format!("unknown option '{}' of route", printable(word.text));
                line.error(reporter, *word, "unknown-word", text);
                return None;
            } else if !self.place(*word) {
                let text = format!("'{}' is one word too many", printable(word.text));
                line.error(reporter, *word, "extra-word", text);
                return None;
            }
        }
        self.route(line, reporter)
    }

    /// Options that stand alone. True if it is one.
    fn flag(&mut self, line: &Line<'_>, word: Word<'a>, reporter: &mut Reporter) -> bool {
        match word.text {
            "-inet" | "-4" => self.family6 = Some(false),
            "-inet6" | "-6" => self.family6 = Some(true),
            "-net" => self.net = true,
            "-host" => self.host = true,
            "-iface" | "-interface" => {
                line.needs(reporter, word, Feature::RouteInterface);
                self.iface = true;
            }
            "-blackhole" | "-reject" => {
                line.needs(reporter, word, Feature::RouteBlackhole);
                self.blackhole |= word.text == "-blackhole";
                self.reject |= word.text == "-reject";
            }
            "-mpath" => {
                line.needs(reporter, word, Feature::RouteMultipath);
                self.multipath = true;
            }
            _ => return false,
        }
        true
    }

    fn option_with(
        &mut self,
        line: &Line<'_>,
        word: Word<'a>,
        option: &str,
        value: Word<'a>,
        reporter: &mut Reporter,
    ) -> Option<()> {
        match option {
            "-netmask" | "-prefixlen" => self.mask = Some(value),
            "-ifp" => {
                if !names_of::is_interface(value.text) {
                    let text = format!(
                        "'{}' is not the name of an interface",
                        printable(value.text)
                    );
                    line.error(reporter, value, "bad-name", text);
                    return None;
                }
                self.interface = Some(value.text.to_string());
            }
            "-ifa" => {
                line.notice(reporter, word, "no-effect", "'-ifa' has no effect here");
            }
            "-label" => {
                line.needs(reporter, word, Feature::RouteLabel);
                if value.text.len() > LABEL_MAX {
                    let text = format!("a label has at most {LABEL_MAX} characters");
                    line.error(reporter, value, "bad-name", text);
                }
                self.label = Some(printable(value.text));
            }
            "-priority" => {
                self.priority = Some(line.number_of(value, PRIORITIES, reporter)? as u8);
            }
            "-mtu" => {
                line.needs(reporter, word, Feature::RouteMtu);
                self.mtu = Some(line.number_of(value, MTUS, reporter)? as u16);
            }
            _ => {
                self.table = line.number_of(value, DOMAINS, reporter)? as u16;
                if self.table != 0 {
                    line.needs(reporter, word, Feature::RouteTable);
                }
            }
        }
        Some(())
    }

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

    fn route(&self, line: &Line<'_>, reporter: &mut Reporter) -> Option<StaticRoute> {
        let drops = self.blackhole || self.reject || self.only_dest;
        let missing = match (self.dest, self.gateway) {
            (None, _) => Some("destination"),
            (_, None) if !drops => Some("gateway"),
            _ => None,
        };
        let (Some(dest_word), None) = (self.dest, missing) else {
            let text = format!("the {} is missing", missing.unwrap_or("destination"));
            line.error(reporter, line.end(), "missing-word", text).hint =
                Some("route add DESTINATION/BITS GATEWAY".into());
            return None;
        };
        let hop = self.hop(line, reporter)?;
        let inet6 = self.family6.or(hop.gateway().map(|addr| addr.is_ipv6()));
        let (dest, prefix_len) =
            self.destination(line, dest_word, inet6 == Some(true), reporter)?;
        let mixed = hop.gateway().is_some_and(|g| g.is_ipv4() != dest.is_ipv4());
        if mixed || self.family6 == Some(dest.is_ipv4()) {
            let at = self.gateway.unwrap_or(dest_word);
            let text = "destination and gateway are not of the same family";
            line.error(reporter, at, "mixed-families", text);
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
            hop,
            table: self.table,
            priority: self.priority.unwrap_or(PRIORITY_STATIC),
            multipath: self.multipath,
            label: self.label.clone(),
            mtu: self.mtu,
            origin: line.origin_of(dest_word),
        })
    }

    fn hop(&self, line: &Line<'_>, reporter: &mut Reporter) -> Option<NextHop> {
        if self.blackhole || self.only_dest && self.gateway.is_none() {
            return Some(NextHop::Blackhole);
        }
        if self.reject {
            return Some(NextHop::Reject);
        }
        let word = self.gateway?;
        if self.iface {
            return self.interface_hop(line, word, reporter);
        }
        let (addr, scope) = gateway(line, word, self.own, reporter)?;
        let interface = scope.or_else(|| self.interface.clone());
        Some(NextHop::Gateway { addr, interface })
    }

    /// After `-iface`: an interface by its name, as on FreeBSD, or by an address of it, which is whose file it is.
    fn interface_hop(
        &self,
        line: &Line<'_>,
        word: Word<'a>,
        reporter: &mut Reporter,
    ) -> Option<NextHop> {
        if matches!(word.text, "$if" | "\\$if") {
            return Some(NextHop::Interface(self.own.to_string()));
        }
        if word.text.parse::<IpAddr>().is_ok() && !self.own.is_empty() {
            return Some(NextHop::Interface(self.own.to_string()));
        }
        if names_of::is_interface(word.text) {
            return Some(NextHop::Interface(word.text.to_string()));
        }
        let text = format!("'{}' is not the name of an interface", printable(word.text));
        line.error(reporter, word, "bad-name", text);
        None
    }

    fn destination(
        &self,
        line: &Line<'_>,
        word: Word<'a>,
        inet6: bool,
        reporter: &mut Reporter,
    ) -> Option<(IpAddr, u8)> {
        if word.text == "default" {
            let any: IpAddr = if inet6 {
                Ipv6Addr::UNSPECIFIED.into()
            } else {
                Ipv4Addr::UNSPECIFIED.into()
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

/// Options that have a value.
fn takes_argument(option: &str) -> bool {
    const OPTIONS: [&str; 9] = [
        "-netmask",
        "-prefixlen",
        "-ifp",
        "-ifa",
        "-label",
        "-priority",
        "-mtu",
        "-T",
        "-fib",
    ];
    OPTIONS.contains(&option)
}

/// Could be the name of an interface, or the station address of a file bound to one.
fn is_plausible(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'_');
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
