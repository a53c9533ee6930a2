//! `hostname.IF` and the old `bridgename.IF`: addresses and options as ifconfig(8) takes them, and `!` lines. Grammar of
//! hostname.if(5). What is peculiar to one kind of interface is in `layered` and `bridge`, addresses are in `address`.

use crate::feature::Feature;
use crate::reading::{DOMAINS, Reading};
use crate::source::{Line, Reporter, Source, Word, printable};
use crate::{
    InterfaceConfig, Kind, NetConfig, Origin, Station, bridge, layered, names_of, near, neighbors,
    route,
};
use pfconf::diag::Severity;

/// Smallest that IPv4 allows (RFC 791), and what the cards' jumbo frames carry.
const MTU: std::ops::RangeInclusive<u32> = 68..=9216;

/// Words that mean nothing to DPDK, or nothing that could be otherwise here, and how many arguments they take: noted and
/// left out.
const IGNORED: [(&str, usize); 66] = [
    ("media", 1),
    ("mediaopt", 1),
    ("-mediaopt", 1),
    ("mode", 1),
    ("instance", 1),
    ("debug", 0),
    ("-debug", 0),
    ("wol", 0),
    ("-wol", 0),
    ("wol_magic", 0),
    ("-wol_magic", 0),
    ("tso", 0),
    ("-tso", 0),
    ("tso4", 0),
    ("-tso4", 0),
    ("tso6", 0),
    ("-tso6", 0),
    ("lro", 0),
    ("-lro", 0),
    ("rxcsum", 0),
    ("-rxcsum", 0),
    ("txcsum", 0),
    ("-txcsum", 0),
    ("rxcsum6", 0),
    ("-rxcsum6", 0),
    ("txcsum6", 0),
    ("-txcsum6", 0),
    ("vlanmtu", 0),
    ("-vlanmtu", 0),
    ("vlanhwtag", 0),
    ("-vlanhwtag", 0),
    ("vlanhwfilter", 0),
    ("-vlanhwfilter", 0),
    ("vlanhwtso", 0),
    ("-vlanhwtso", 0),
    ("vlanhwcsum", 0),
    ("-vlanhwcsum", 0),
    ("polling", 0),
    ("-polling", 0),
    ("promisc", 0),
    ("-promisc", 0),
    ("llprio", 1),
    ("metric", 1),
    ("mpls", 0),
    ("-mpls", 0),
    ("hwfeatures", 0),
    ("use_flowid", 0),
    ("-use_flowid", 0),
    ("use_numa", 0),
    ("-use_numa", 0),
    ("flowid_shift", 1),
    ("rr_limit", 1),
    ("laggtype", 1),
    ("lacp_strict", 0),
    ("-lacp_strict", 0),
    ("rxprio", 1),
    ("ignore_source", 0),
    ("-ignore_source", 0),
    ("link2", 0),
    ("-link2", 0),
    ("ifdisabled", 0),
    ("-ifdisabled", 0),
    ("auto_linklocal", 0),
    ("-auto_linklocal", 0),
    ("no_radr", 0),
    ("-no_radr", 0),
];

/// Words of ifconfig(8) about what Fugu does not do.
const NOT_YET: [&str; 40] = [
    "-alias",
    "-autoconf",
    "-temporary",
    "advbase",
    "advskew",
    "anycast",
    "arp",
    "-arp",
    "balancing",
    "bssid",
    "carpdev",
    "carpnodes",
    "carppeer",
    "chan",
    "create",
    "delete",
    "destroy",
    "endpoint",
    "flowdst",
    "flowsrc",
    "join",
    "keepalive",
    "maxupd",
    "monitor",
    "nwid",
    "nwkey",
    "pair",
    "pass",
    "patch",
    "pflowproto",
    "pppoedev",
    "soii",
    "-soii",
    "ssid",
    "staticarp",
    "syncdev",
    "syncpeer",
    "vhid",
    "wgkey",
    "wpakey",
];

/// Words that go with any interface.
const COMMON: [&str; 27] = [
    "name",
    "inet",
    "inet6",
    "alias",
    "autoconf",
    "dest",
    "dhcp",
    "up",
    "down",
    "mtu",
    "lladdr",
    "description",
    "-description",
    "group",
    "-group",
    "rdomain",
    "-rdomain",
    "priority",
    "rtlabel",
    "-rtlabel",
    "-inet",
    "-inet6",
    "netmask",
    "broadcast",
    "prefixlen",
    "media",
    "!route",
];

/// Reads a file `PREFIX.{suffix}` and adds the interface, or what it says to an interface that is there already.
pub(crate) fn read(
    suffix: &str,
    file: &str,
    bytes: &[u8],
    config: &mut NetConfig,
    reporter: &mut Reporter,
) {
    let Some(fresh) = named(suffix, file, reporter) else {
        return;
    };
    let Some(source) = Source::new(file, bytes, reporter) else {
        return;
    };
    // bridgename.bridge0 comes before hostname.bridge0 and is about the same bridge.
    let same = |i: &InterfaceConfig| i.name == fresh.name && !i.is_renamed();
    let mut interface = match config.interfaces.iter().position(same) {
        Some(place) => config.interfaces.remove(place),
        None => fresh,
    };
    let neighbors = config.neighbors.len();
    for line in source.lines(reporter) {
        if line.words[0].text.starts_with('!') {
            command(&line, &mut interface, config, reporter);
        } else {
            // What was wrong has been reported; the next line is a new chance.
            let _understood = read_line(&line, &mut interface, reporter);
        }
    }
    // The word name may have come after them.
    for neighbor in config.neighbors.iter_mut().skip(neighbors) {
        neighbor.interface = Some(interface.name.clone());
    }
    if let Some(other) = config.interface(&interface.name) {
        let file = &other.origin.file;
        let text = format!("{} is configured in {file} already", interface.name);
        let (origin, error) = (&interface.origin, Severity::Error);
        reporter.push(crate::source::at(origin, error, "configured-twice", text));
    }
    config.interfaces.push(interface);
}

/// Reads one line in the language of ifconfig(8).
pub(crate) fn read_line(
    line: &Line<'_>,
    interface: &mut InterfaceConfig,
    reporter: &mut Reporter,
) -> Option<()> {
    let mut reading = Reading {
        line,
        at: 0,
        interface,
        reporter,
    };
    while let Some(word) = reading.next() {
        reading.word(word)?;
    }
    Some(())
}

/// A `!` line: a route, a neighbor, or ifconfig(8) for this very interface. There is no shell for the rest.
fn command(
    line: &Line<'_>,
    interface: &mut InterfaceConfig,
    config: &mut NetConfig,
    reporter: &mut Reporter,
) {
    let Some((command, words)) = route::command(line, reporter) else {
        return;
    };
    if matches!(command, "route" | "/sbin/route") {
        let route = route::add(line, words, &interface.name, reporter);
        config.routes.extend(route);
        return;
    }
    if let Some(v4) = neighbors::family(command) {
        let own = Some(interface.name.as_str());
        if let Some(fresh) = neighbors::set(line, words, v4, own, reporter) {
            neighbors::add(line, line.words[0], fresh, config, reporter);
        }
        return;
    }
    let own = |word: &Word<'_>| word.text == "$if" || word.text == "\\$if";
    let ours = |word: &Word<'_>| own(word) || word.text == interface.name;
    if matches!(command, "ifconfig" | "/sbin/ifconfig") && words.first().is_some_and(ours) {
        let rest = Line {
            words: words[1..].to_vec(),
            ..line.clone()
        };
        let _understood = read_line(&rest, interface, reporter);
        return;
    }
    let text = format!("'{}' is not run: there is no shell", printable(command));
    line.error(reporter, line.whole(), "command", text).hint = Some(
        "of commands, '!route add', '!arp -s', '!ndp -s' and '!ifconfig $if' are understood".into(),
    );
}

/// An interface as yet without anything, if the file's name is good for one.
fn named(suffix: &str, file: &str, reporter: &mut Reporter) -> Option<InterfaceConfig> {
    let origin = Origin {
        file: file.to_string(),
        line: 0,
    };
    if let Some(lladdr) = names_of::station(suffix) {
        return Some(InterfaceConfig {
            lladdr: Some(lladdr),
            ..fresh(&suffix.to_ascii_lowercase(), Kind::Ethernet, origin)
        });
    }
    let driver = names_of::driver(suffix);
    let plain = driver.bytes().all(|b| b.is_ascii_alphabetic()) && driver.len() < suffix.len();
    if !names_of::is_interface(suffix) || !plain && names_of::dotted(suffix).is_none() {
        let text = format!(
            "not read: '{}' is not the name of an interface",
            printable(suffix)
        );
        reporter
            .whole_file(Severity::Warning, "odd-interface-name", file, text)
            .hint = Some(
            "names are a driver and a number, em0, or a station address, 00:11:22:33:44:55".into(),
        );
        return None;
    }
    match made(suffix, origin) {
        Ok(interface) => Some(interface),
        Err(text) => {
            reporter.whole_file(Severity::Error, "not-supported-yet", file, text);
            None
        }
    }
}

/// An interface of this name, or what is to be said about its kind.
pub(crate) fn made(name: &str, origin: Origin) -> Result<InterfaceConfig, String> {
    let kind = names_of::kind(name.split('.').next().unwrap_or(name))
        .map_err(|kind| format!("interfaces of the kind '{kind}' are not supported yet"))?;
    let mut interface = fresh(name, kind, origin);
    if let Some((parent, vid)) = names_of::dotted(name) {
        interface.kind = layered::vlan_on(parent, vid, &interface.origin);
    }
    Ok(interface)
}

pub(crate) fn fresh(name: &str, kind: Kind, origin: Origin) -> InterfaceConfig {
    InterfaceConfig {
        name: name.to_string(),
        kind,
        up: true,
        origin,
        ..InterfaceConfig::default()
    }
}

impl<'l> Reading<'l, '_> {
    /// `None` once something is not understood: what follows it cannot be either.
    fn word(&mut self, word: Word<'l>) -> Option<()> {
        match word.text {
            "inet" => self.inet(),
            "inet6" => self.inet6(),
            "dest" => self.dest(),
            "dhcp" | "DHCP" | "SYNCDHCP" | "NOSYNCDHCP" => self.dhcp(word),
            "autoconf" => self.autoconf4(word),
            "rtsol" | "accept_rtadv" => self.autoconf6(word),
            text if text.starts_with(|c: char| c.is_ascii_digit())
                && (text.contains('.') || text.contains(':')) =>
            {
                self.bare_address(word)
            }
            _ => self.option(word),
        }
    }

    fn option(&mut self, word: Word<'l>) -> Option<()> {
        match word.text {
            "up" => self.interface.up = true,
            "down" => self.interface.up = false,
            "mtu" => self.mtu()?,
            "name" => self.rename(word)?,
            "description" | "descr" => {
                let text = self.argument(word.text)?;
                self.interface.description = Some(printable(text.text));
            }
            "-description" | "-descr" => self.interface.description = None,
            "group" => self.group()?,
            "-group" => {
                let name = self.argument("-group")?;
                self.interface.groups.retain(|group| group != name.text);
            }
            "lladdr" | "ether" | "link" | "hwaddr" => self.lladdr(word)?,
            "rdomain" | "fib" => {
                self.number(word.text, DOMAINS, |i, n| i.rdomain = n as u16)?;
                if self.interface.rdomain != 0 {
                    self.needs(word, Feature::Rdomain);
                }
            }
            "-rdomain" => self.interface.rdomain = 0,
            "priority" if !matches!(self.interface.kind, Kind::Bridge(_)) => {
                self.needs(word, Feature::InterfacePriority);
                self.number("priority", 0..=15, |i, n| i.priority = Some(n as u8))?;
            }
            "rtlabel" => {
                self.needs(word, Feature::RouteLabel);
                let label = self.argument("rtlabel")?;
                self.interface.route_label = Some(printable(label.text));
            }
            "-rtlabel" => self.interface.route_label = None,
            // No address unless it is asked for: nothing to do.
            "-inet" | "-inet6" => {}
            _ => return self.special(word),
        }
        Some(())
    }

    /// Words of one kind of interface, and those that are none.
    fn special(&mut self, word: Word<'l>) -> Option<()> {
        let read = match &self.interface.kind {
            Kind::Vlan(_) => self.vlan_word(word),
            Kind::Lagg(_) => self.lagg_word(word),
            Kind::Bridge(_) => self.bridge_word(word),
            Kind::Gif(_) => self.gif_word(word),
            Kind::Ethernet | Kind::Loopback => None,
        };
        match read {
            Some(understood) => understood,
            None => self.other(word),
        }
    }

    fn other(&mut self, word: Word<'l>) -> Option<()> {
        let text = word.text;
        if let Some((_, arguments)) = IGNORED.iter().find(|(name, _)| *name == text) {
            for _ in 0..*arguments {
                self.argument(text)?;
            }
            self.notice(word, format!("'{text}' has no effect here"));
            return Some(());
        }
        if NOT_YET.contains(&text) {
            self.line.not_yet(self.reporter, word);
            return None;
        }
        if let Some(owner) = owner(text) {
            let (name, is) = (&self.interface.name, names_of::called(&self.interface.kind));
            let message = format!("'{text}' is for {owner}; {name} is {is}");
            self.error(word, "wrong-kind", message, None);
            return None;
        }
        let words = COMMON.iter().chain(words_of(&self.interface.kind)).copied();
        let hint = near::hint(text, words);
        let message = format!("unknown word '{}'", printable(text));
        self.error(word, "unknown-word", message, hint);
        None
    }

    fn mtu(&mut self) -> Option<()> {
        let word = self.argument("mtu")?;
        match crate::source::number(word.text) {
            Some(mtu) if MTU.contains(&mtu) => self.interface.mtu = Some(mtu as u16),
            _ => {
                let text = format!(
                    "'{}' is not a size between {} and {}",
                    printable(word.text),
                    MTU.start(),
                    MTU.end()
                );
                self.error(word, "bad-mtu", text, None);
            }
        }
        Some(())
    }

    /// `name NAME`, FreeBSD's word: from here on the card is called so, whatever its driver says.
    fn rename(&mut self, word: Word<'l>) -> Option<()> {
        let given = self.argument("name")?;
        let interface = &mut *self.interface;
        let refused = match interface.kind {
            Kind::Ethernet => names_of::for_card(given.text).err(),
            _ => Some(format!("{} is no card", interface.name)),
        };
        if let Some(text) = refused {
            self.error(given, "bad-name", text, None);
            return Some(());
        }
        self.needs(word, Feature::Rename);
        let old = std::mem::replace(&mut self.interface.name, given.text.to_string());
        if self.interface.lladdr.is_none() && self.interface.card.is_none() {
            self.interface.card = Some(old);
        }
        Some(())
    }

    /// `lladdr ADDR` or `lladdr random`.
    fn lladdr(&mut self, word: Word<'l>) -> Option<()> {
        self.needs(word, Feature::StationAddress);
        if self.take("random") {
            self.interface.station = Some(Station::Random);
            return Some(());
        }
        let at = self.peek();
        let station = self.station(word.text)?;
        if station[0] & 1 != 0 || station == [0; 6] {
            let text = "this cannot be the address of one station".to_string();
            self.error(at.unwrap_or(word), "bad-address", text, None);
        }
        self.interface.station = Some(Station::Given(station));
        Some(())
    }

    fn group(&mut self) -> Option<()> {
        let word = self.argument("group")?;
        let name = word.text;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let ends_in_digit = name.ends_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || !plain || ends_in_digit || name.len() > names_of::LIMIT {
            let text = format!("'{}' cannot be the name of a group", printable(name));
            let hint = "up to 15 letters, digits and underscores, the last one not a digit";
            self.error(word, "bad-group", text, Some(hint.to_string()));
        } else if !self.interface.groups.iter().any(|g| g == name) {
            self.interface.groups.push(name.to_string());
        }
        Some(())
    }
}

/// Words that only interfaces of this kind have.
fn words_of(kind: &Kind) -> &'static [&'static str] {
    match kind {
        Kind::Ethernet | Kind::Loopback => &[],
        Kind::Vlan(_) => &layered::VLAN_WORDS,
        Kind::Lagg(_) => &layered::LAGG_WORDS,
        Kind::Bridge(_) => &bridge::WORDS,
        Kind::Gif(_) => &layered::GIF_WORDS,
    }
}

/// Every word that some interface takes.
#[cfg(test)]
pub(crate) fn all_words() -> Vec<&'static str> {
    let kinds = [
        &layered::VLAN_WORDS[..],
        &layered::LAGG_WORDS,
        &bridge::WORDS,
        &layered::GIF_WORDS,
    ];
    let all = COMMON.iter().chain(kinds.into_iter().flatten());
    all.copied().collect()
}

/// Whose word this is, for those who write it in the wrong file.
fn owner(word: &str) -> Option<&'static str> {
    let of = [
        (&layered::VLAN_WORDS[..], "VLANs"),
        (&layered::LAGG_WORDS[..], "laggs and trunks"),
        (&bridge::WORDS[..], "bridges"),
        (&layered::GIF_WORDS[..], "tunnels"),
    ];
    let found = of.iter().find(|(words, _)| words.contains(&word));
    found.map(|(_, owner)| *owner)
}
