//! The network variables of FreeBSD's `rc.conf`, old names and new ones. Grammar of rc.conf(5); the values are in the language of
//! ifconfig(8) and route(8), as in `hostname.IF`. `rc.conf.local` overrides. Variables of daemons are none of our business.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pfconf::diag::Severity;

use crate::feature::Feature;
use crate::reading::Reading;
use crate::shell::{self, Variable};
use crate::source::{Line, Reporter, Source, Word, printable};
use crate::{
    Gateway, InterfaceConfig, Kind, Named, NetConfig, RC_CONF, RouterAdvert, interface, layered,
    names_of, near, neighbors, route, small, source,
};

/// Most addresses of one range, `10.0.0.1-99/24`.
const RANGE_LIMIT: u32 = 256;

/// Variables with one name.
const FIXED: [&str; 31] = [
    "cloned_interfaces",
    "defaultrouter",
    "firewall_enable",
    "gateway_enable",
    "gif_interfaces",
    "hostname",
    "ipfilter_enable",
    "ipv6_activate_all_interfaces",
    "ipv6_cpe_wanif",
    "ipv6_default_interface",
    "ipv6_defaultrouter",
    "ipv6_enable",
    "ipv6_gateway_enable",
    "ipv6_network_interfaces",
    "ipv6_static_routes",
    "natd_enable",
    "network_interfaces",
    "pf",
    "pf_enable",
    "pf_flags",
    "pf_rules",
    "pflog_enable",
    "pflog_logfile",
    "rtadvd_enable",
    "rtadvd_interfaces",
    "rtsold_enable",
    "static_arp_pairs",
    "static_ndp_pairs",
    "static_routes",
    "synchronous_dhclient",
    "background_dhclient",
];

/// Variables that go on with a name.
const PREFIXES: [&str; 11] = [
    "ifconfig_",
    "ipv4_addrs_",
    "ipv6_ifconfig_",
    "ipv6_prefix_",
    "gifconfig_",
    "vlans_",
    "create_args_",
    "route_",
    "ipv6_route_",
    "static_arp_",
    "static_ndp_",
];

/// Variables that Fugu would have to obey and cannot.
const NOT_YET: [&str; 4] = [
    "ipv6_cpe_wanif",
    "ipv6_default_interface",
    "ifconfig_DEFAULT",
    "autobridge_interfaces",
];

fn is_ours(name: &str) -> bool {
    let routed = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    FIXED.contains(&name) || NOT_YET.contains(&name) || routed
}

/// Reads the files, if they are there, and adds what they say.
pub(crate) fn read(
    files: &BTreeMap<String, Vec<u8>>,
    config: &mut NetConfig,
    reporter: &mut Reporter,
) {
    let variables = variables(files, reporter);
    if variables.is_empty() {
        return;
    }
    let mut rc = Rc {
        variables: &variables,
        made: Vec::new(),
        config,
        reporter,
    };
    rc.interfaces();
    rc.gateways();
    rc.routes();
    rc.neighbors();
    rc.whole_box();
    rc.add();
    strangers(&variables, reporter);
}

/// Those of all files; a later one takes the place of an earlier one.
fn variables(files: &BTreeMap<String, Vec<u8>>, reporter: &mut Reporter) -> Vec<Variable> {
    let mut all: Vec<Variable> = Vec::new();
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    let mut known = BTreeMap::new();
    for name in RC_CONF {
        let Some((name, bytes)) = files.get_key_value(name) else {
            continue;
        };
        let Some(source) = Source::new(name, bytes, reporter) else {
            continue;
        };
        let mut here: BTreeMap<String, u32> = BTreeMap::new();
        for variable in shell::variables(&source, &known, is_ours, reporter) {
            known.insert(variable.name.clone(), variable.value.clone());
            if let Some(first) = here.insert(variable.name.clone(), variable.number)
                && is_ours(&variable.name)
            {
                let (line, word) = variable.named();
                let text = format!("{} was set in line {first} already; this counts", word.text);
                line.warning(reporter, word, "duplicate-key", text);
            }
            match place.get(&variable.name) {
                Some(at) => all[*at] = variable,
                None => {
                    place.insert(variable.name.clone(), all.len());
                    all.push(variable);
                }
            }
        }
    }
    all
}

struct Rc<'v, 'c> {
    variables: &'v [Variable],
    made: Vec<InterfaceConfig>,
    config: &'c mut NetConfig,
    reporter: &'c mut Reporter,
}

/// A variable about an interface: `ifconfig_em0_alias3` in its parts.
struct About<'v> {
    interface: String,
    what: What,
    variable: &'v Variable,
}

/// In the order in which they take effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    CreateArgs,
    Name,
    Tunnel,
    Main,
    Addresses4,
    Alias(u32),
    Aliases,
    Main6,
    Old6,
    OldAlias6(u32),
    Prefix6,
    Description,
}

/// Which interface a variable is about, and what it says of it.
fn about(variable: &Variable) -> Option<About<'_>> {
    let name = variable.name.as_str();
    let (rest, what) = if let Some(rest) = name.strip_prefix("ifconfig_") {
        suffix(rest)
    } else if let Some(rest) = name.strip_prefix("ipv6_ifconfig_") {
        match suffix(rest) {
            (rest, What::Alias(n)) => (rest, What::OldAlias6(n)),
            _ => (rest, What::Old6),
        }
    } else if let Some(rest) = name.strip_prefix("ipv4_addrs_") {
        (rest, What::Addresses4)
    } else if let Some(rest) = name.strip_prefix("ipv6_prefix_") {
        (rest, What::Prefix6)
    } else if let Some(rest) = name.strip_prefix("gifconfig_") {
        (rest, What::Tunnel)
    } else {
        (name.strip_prefix("create_args_")?, What::CreateArgs)
    };
    Some(About {
        interface: interface_name(rest),
        what,
        variable,
    })
}

/// The end of `ifconfig_…`.
fn suffix(rest: &str) -> (&str, What) {
    for (end, what) in [
        ("_ipv6", What::Main6),
        ("_name", What::Name),
        ("_descr", What::Description),
        ("_aliases", What::Aliases),
    ] {
        if let Some(interface) = rest.strip_suffix(end) {
            return (interface, what);
        }
    }
    let alias = rest.rsplit_once("_alias");
    match alias.and_then(|(interface, n)| Some((interface, source::number(n)?))) {
        Some((interface, n)) => (interface.trim_end_matches("_ipv6"), What::Alias(n)),
        None => (rest, What::Main),
    }
}

/// Variables cannot have dots: `em0_22` is `em0.22`.
fn interface_name(text: &str) -> String {
    let dotted = text.replacen('_', ".", 1);
    if names_of::dotted(&dotted).is_some() {
        dotted
    } else {
        text.to_string()
    }
}

impl<'v> Rc<'v, '_> {
    fn find(&self, name: &str) -> Option<&'v Variable> {
        self.variables.iter().find(|v| v.name == name)
    }

    /// Words of a variable, if it is set and not `NO`.
    fn words(&self, name: &str) -> Option<(&'v Variable, Line<'v>)> {
        let variable = self.find(name)?;
        let line = variable.line()?;
        (!line.words[0].text.eq_ignore_ascii_case("no")).then_some((variable, line))
    }

    fn interfaces(&mut self) {
        for list in ["cloned_interfaces", "gif_interfaces"] {
            if let Some((_, line)) = self.words(list) {
                for word in &line.words {
                    self.interface(&line, *word, word.text);
                }
            }
        }
        let variables = self.variables;
        for variable in variables {
            if let Some(parent) = variable.name.strip_prefix("vlans_") {
                self.vlans(&interface_name(parent), variable);
            }
        }
        let mut all: Vec<About<'v>> = variables.iter().filter_map(about).collect();
        all.retain(|about| about.interface != "DEFAULT");
        all.sort_by_key(|about| about.what);
        for about in &all {
            self.about(about);
        }
    }

    /// The interface of that name, made if need be. Its place is that of the word where it is named first.
    fn interface(&mut self, line: &Line<'_>, word: Word<'_>, name: &str) -> Option<usize> {
        if let Some(at) = self.made.iter().position(|i| i.name == name) {
            return Some(at);
        }
        if !names_of::is_interface(name) {
            let text = format!("'{}' is not the name of an interface", printable(name));
            line.error(self.reporter, word, "bad-name", text);
            return None;
        }
        match interface::made(name, line.origin_of(word)) {
            Ok(interface) => {
                self.made.push(interface);
                Some(self.made.len() - 1)
            }
            Err(text) => {
                line.error(self.reporter, word, "not-supported-yet", text);
                None
            }
        }
    }

    /// `vlans_em0="22 dmz"`: `em0.22`, and `dmz` with the number in `create_args_dmz`.
    fn vlans(&mut self, parent: &str, variable: &'v Variable) {
        let Some(line) = variable.line() else {
            return;
        };
        for word in &line.words {
            let number = word.text.bytes().all(|b| b.is_ascii_digit());
            let name = match number {
                true => format!("{parent}.{}", word.text),
                false => word.text.to_string(),
            };
            let Some(at) = self.interface(&line, *word, &name) else {
                continue;
            };
            let made = &mut self.made[at];
            if !number {
                made.kind = layered::vlan_on(parent, 0, &made.origin);
                if let Kind::Vlan(vlan) = &mut made.kind {
                    vlan.vid = None;
                }
            }
        }
    }

    fn about(&mut self, about: &About<'v>) {
        let (line, word) = about.variable.named();
        if about.what == What::Name {
            self.rename(about, &line);
            return;
        }
        let Some(at) = self.interface(&line, word, &about.interface) else {
            return;
        };
        let interface = &mut self.made[at];
        let Some(line) = about.variable.line() else {
            return;
        };
        let before = interface.addresses.len();
        match about.what {
            What::Tunnel => {
                let mut reading = Reading {
                    line: &line,
                    at: 0,
                    interface,
                    reporter: self.reporter,
                };
                let _understood = reading.ends(word.text);
            }
            What::Main6 | What::Old6 | What::OldAlias6(_) => {
                read_inet6(&line, interface, self.reporter);
            }
            What::Addresses4 => ranges(&line, interface, self.reporter),
            What::Prefix6 => {
                line.not_yet(self.reporter, line.words[0]);
            }
            What::Description => {
                interface.description = Some(printable(&about.variable.value));
            }
            _ => {
                let _understood = interface::read_line(&line, interface, self.reporter);
            }
        }
        let alias = matches!(
            about.what,
            What::Alias(_) | What::Aliases | What::OldAlias6(_)
        );
        let added = interface.addresses.iter_mut().skip(before);
        added.for_each(|address| address.alias |= alias);
    }

    /// `ifconfig_em0_name="wan0"`: from here on the card is `wan0`.
    fn rename(&mut self, about: &About<'v>, named: &Line<'_>) {
        let Some(line) = about.variable.line() else {
            return;
        };
        let word = line.words[0];
        line.needs(self.reporter, word, Feature::Rename);
        if let Err(text) = names_of::for_card(word.text) {
            line.error(self.reporter, word, "bad-name", text);
            return;
        }
        if let Some(at) = self.interface(named, word, word.text) {
            self.made[at].card = Some(about.interface.clone());
            self.made[at].kind = Kind::Ethernet;
        }
    }

    fn gateways(&mut self) {
        for (name, inet6) in [("defaultrouter", false), ("ipv6_defaultrouter", true)] {
            let Some((_, line)) = self.words(name) else {
                continue;
            };
            let word = line.words[0];
            if line.words.len() > 1 {
                // "-interface gif0"
                let route = self.route(&line, inet6, Some("default"));
                self.config.routes.extend(route);
                continue;
            }
            let Some((addr, interface)) = route::gateway(&line, word, "", self.reporter) else {
                continue;
            };
            let origin = line.origin_of(word);
            let gateway = Gateway {
                addr,
                interface,
                origin,
            };
            if addr.is_ipv6() != inet6 {
                let text = format!("{name} is for the other family");
                line.error(self.reporter, word, "mixed-families", text);
            } else {
                small::gateway(&line, word, gateway, self.config, self.reporter);
            }
        }
    }

    fn routes(&mut self) {
        for (list, prefix, inet6) in [
            ("static_routes", "route_", false),
            ("ipv6_static_routes", "ipv6_route_", true),
        ] {
            let Some((_, line)) = self.words(list) else {
                continue;
            };
            for word in &line.words {
                // "name:interface" and "name:fib" set the route with the interface; ours are there from the start.
                let name = word.text.split(':').next().unwrap_or(word.text);
                let Some(variable) = self.find(&format!("{prefix}{name}")) else {
                    let text = format!("{prefix}{} is not set", printable(name));
                    line.error(self.reporter, *word, "missing-route", text);
                    continue;
                };
                if let Some(line) = variable.line() {
                    let route = self.route(&line, inet6, None);
                    self.config.routes.extend(route);
                }
            }
        }
    }

    /// `static_arp_pairs`, `static_ndp_pairs`: neighbors that are set.
    fn neighbors(&mut self) {
        for (list, prefix, v4) in [
            ("static_arp_pairs", "static_arp_", true),
            ("static_ndp_pairs", "static_ndp_", false),
        ] {
            let Some((_, line)) = self.words(list) else {
                continue;
            };
            for word in &line.words {
                let name = format!("{prefix}{}", word.text);
                let Some(pair) = self.find(&name).and_then(Variable::line) else {
                    let text = format!("{} is not set", printable(&name));
                    line.error(self.reporter, *word, "missing-neighbor", text);
                    continue;
                };
                let fresh = neighbors::pair(&pair, &pair.words, v4, None, self.reporter);
                if let Some(fresh) = fresh {
                    neighbors::add(&pair, pair.words[0], fresh, self.config, self.reporter);
                }
            }
        }
    }

    /// A route in the words of a line, perhaps with the family and a destination in front.
    fn route(
        &mut self,
        line: &Line<'_>,
        inet6: bool,
        dest: Option<&'static str>,
    ) -> Option<crate::StaticRoute> {
        let family = if inet6 { "-inet6" } else { "-inet" };
        let said = |word: &Word<'_>| matches!(word.text, "-inet" | "-inet6" | "-4" | "-6");
        let family = Some(family).filter(|_| !line.words.iter().any(said));
        let front = family.into_iter().chain(dest).map(|text| Word {
            text,
            ..line.words[0]
        });
        let words: Vec<Word<'_>> = front.chain(line.words.iter().copied()).collect();
        route::arguments(line, &words, "", self.reporter)
    }

    /// What is not about one interface.
    fn whole_box(&mut self) {
        if let Some((_, line)) = self.words("hostname")
            && self.config.hostname == "fugu"
        {
            small::hostname(&line, self.config, self.reporter);
        }
        let variables = self.variables;
        for variable in variables {
            self.remark(variable);
        }
        if self.is_on("ipv6_activate_all_interfaces") {
            self.made.iter_mut().for_each(|i| i.link_local = true);
        }
        if self.is_on("rtadvd_enable") {
            self.adverts();
        }
    }

    fn is_on(&self, name: &str) -> bool {
        self.find(name).is_some_and(|v| yes(&v.value))
    }

    /// Variables that have no effect although they seem to.
    fn remark(&mut self, variable: &Variable) {
        let (line, word) = variable.named();
        let on = yes(&variable.value);
        let text = match word.text {
            "gateway_enable" | "ipv6_gateway_enable" if !on => {
                "packets are forwarded whatever this says; block them in pf.conf"
            }
            "pf_enable" | "pf" if !on => "the rules are in force whatever this says",
            "pf_rules" if !variable.value.ends_with("/pf.conf") => "the rules are in pf.conf",
            "firewall_enable" | "ipfilter_enable" | "natd_enable" if on => {
                "the only packet filter here is pf"
            }
            name if NOT_YET.contains(&name) && !variable.value.is_empty() => {
                line.not_yet(self.reporter, word);
                return;
            }
            _ => return,
        };
        line.warning(self.reporter, word, "no-effect", text);
    }

    /// `rtadvd_interfaces`: hosts there are told of us, with the usual settings.
    fn adverts(&mut self) {
        let Some((_, line)) = self.words("rtadvd_interfaces") else {
            if let Some(variable) = self.find("rtadvd_enable") {
                let (line, word) = variable.named();
                let text = "which interfaces is not said";
                line.error(self.reporter, word, "missing-interface", text)
                    .hint = Some("set rtadvd_interfaces".into());
            }
            return;
        };
        for word in &line.words {
            line.needs(self.reporter, *word, Feature::RouterAdvertisements);
            self.config.adverts.push(RouterAdvert::new(Named {
                name: word.text.to_string(),
                origin: line.origin_of(*word),
            }));
        }
    }

    /// Adds the interfaces to those of `hostname.*`.
    fn add(&mut self) {
        for interface in self.made.drain(..) {
            let bare = interface.kind == Kind::Loopback && interface.addresses.is_empty();
            if bare && interface.name == "lo0" {
                continue;
            }
            let Some(other) = self.config.interface(&interface.name) else {
                self.config.interfaces.push(interface);
                continue;
            };
            let text = format!(
                "{} is configured in {} too",
                interface.name, other.origin.file
            );
            let severity = Severity::Error;
            let origin = &interface.origin;
            self.reporter.push(crate::source::at(
                origin,
                severity,
                "configured-twice",
                text,
            ));
        }
    }
}

fn yes(value: &str) -> bool {
    let words = ["yes", "true", "on", "1"];
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// An address of IPv6 and what follows, with or without `inet6` in front.
fn read_inet6(line: &Line<'_>, interface: &mut InterfaceConfig, reporter: &mut Reporter) {
    interface.link_local = true;
    if matches!(line.words[0].text, "inet6" | "up") {
        let _understood = interface::read_line(line, interface, reporter);
        return;
    }
    let front = Word {
        text: "inet6",
        ..line.words[0]
    };
    let words = std::iter::once(front).chain(line.words.iter().copied());
    let line = Line {
        words: words.collect(),
        ..line.clone()
    };
    let _understood = interface::read_line(&line, interface, reporter);
}

/// `ipv4_addrs_em0="192.0.2.1/24 10.0.0.1-5/28"`: all but the first are aliases.
fn ranges(line: &Line<'_>, interface: &mut InterfaceConfig, reporter: &mut Reporter) {
    for word in &line.words {
        let Some(addresses) = range(word.text) else {
            let text = format!("'{}' is not ADDR/BITS or A-B/BITS", printable(word.text));
            line.error(reporter, *word, "bad-address", text);
            continue;
        };
        for text in &addresses {
            let alias = !interface.addresses.is_empty();
            let part = |text| Word { text, ..*word };
            let mut words = vec![part("inet"), part(text)];
            if alias {
                words.insert(1, part("alias"));
            }
            let line = Line {
                words,
                ..line.clone()
            };
            let _understood = interface::read_line(&line, interface, reporter);
        }
    }
}

/// The addresses of `192.0.2.1-5/28`, each with its bits.
fn range(text: &str) -> Option<Vec<String>> {
    let (ends, bits) = text.split_once('/')?;
    let (first, last) = match ends.split_once('-') {
        Some((first, last)) => (first.parse::<Ipv4Addr>().ok()?, last),
        None => return Some(vec![text.to_string()]),
    };
    let last = match source::number(last) {
        Some(octet) if octet <= 255 => first.to_bits() & !0xff | octet,
        _ => last.parse::<Ipv4Addr>().ok()?.to_bits(),
    };
    let count = last.checked_sub(first.to_bits())?;
    if count >= RANGE_LIMIT {
        return None;
    }
    let all = first.to_bits()..=last;
    Some(
        all.map(|bits_of| format!("{}/{bits}", Ipv4Addr::from_bits(bits_of)))
            .collect(),
    )
}

/// What is left: daemons, and perhaps a name that is misspelled. One notice for all of them.
fn strangers(variables: &[Variable], reporter: &mut Reporter) {
    let mut others: Vec<&str> = Vec::new();
    let used = shell::used(variables);
    let stranger = |v: &&Variable| !is_ours(&v.name) && !used.contains(v.name.as_str());
    for variable in variables.iter().filter(stranger) {
        let (line, word) = variable.named();
        match misspelled(word.text) {
            Some(hint) => {
                let text = format!("nothing reads a variable '{}'", printable(word.text));
                line.warning(reporter, word, "unknown-key", text).hint =
                    Some(format!("did you mean '{hint}'?"));
            }
            None => others.push(&variable.name),
        }
    }
    for variable in variables.iter().filter(|v| is_lone_route(v, variables)) {
        let (line, word) = variable.named();
        let list = match word.text.starts_with("ipv6") {
            true => "ipv6_static_routes",
            false => "static_routes",
        };
        let text = format!("{} is not in {list}, so it is no route", word.text);
        line.warning(reporter, word, "unused-route", text);
    }
    if let Some(first) = others
        .first()
        .and_then(|n| variables.iter().find(|v| v.name == **n))
    {
        let (line, word) = first.named();
        let text = format!("left aside, not of the network: {}", shell::shown(&others));
        line.notice(reporter, word, "no-effect", text);
    }
}

/// `route_x` that no list names.
fn is_lone_route(variable: &Variable, all: &[Variable]) -> bool {
    let (list, name) = if let Some(name) = variable.name.strip_prefix("ipv6_route_") {
        ("ipv6_static_routes", name)
    } else if let Some(name) = variable.name.strip_prefix("route_") {
        ("static_routes", name)
    } else {
        return false;
    };
    let list = all.iter().find(|v| v.name == list);
    let mut names = list.iter().flat_map(|v| v.value.split_whitespace());
    !names.any(|word| word.split(':').next() == Some(name))
}

/// The variable that was probably meant.
fn misspelled(name: &str) -> Option<String> {
    if let Some(near) = near::nearest(name, FIXED).filter(|near| near.len() > 4) {
        return Some(near.to_string());
    }
    let (first, rest) = name.split_once('_')?;
    let heads = ["ifconfig", "gifconfig", "vlans"];
    let near = near::nearest(first, heads)?;
    (first.len() > 4).then(|| format!("{near}_{rest}"))
}
