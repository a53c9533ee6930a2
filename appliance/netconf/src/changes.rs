//! Commands that people type while the box runs, `ifconfig …`, `route …`, `arp -s …`: laid on top of what the files say, in the order
//! they were typed. They mean what the same words mean in a file, and besides they can take things away.

use std::net::IpAddr;

use crate::names_of::{self, is_made};
use crate::source::{Line, Reporter, Source, Word, printable};
use crate::{
    InterfaceAddress, InterfaceConfig, NetConfig, Origin, StaticRoute, interface, near, neighbors,
    route,
};

/// The file that messages about typed commands name.
pub const TYPED: &str = "typed";

/// Words of ifconfig(8) that begin a change of addresses.
const REMOVES: [&str; 3] = ["delete", "-alias", "remove"];

/// Carries out the commands, one a line.
pub(crate) fn apply(commands: &[String], config: &mut NetConfig, reporter: &mut Reporter) {
    let text = commands.join("\n");
    let Some(source) = Source::new(TYPED, text.as_bytes(), reporter) else {
        return;
    };
    for line in source.lines(reporter) {
        match line.words[0].text {
            "ifconfig" => ifconfig(&line, config, reporter),
            "route" => routes(&line, config, reporter),
            "arp" => neighbors::typed(&line, true, config, reporter),
            "ndp" => neighbors::typed(&line, false, config, reporter),
            other => {
                let text = format!("'{}' changes nothing of the network", printable(other));
                line.error(reporter, line.words[0], "command", text);
            }
        }
    }
}

fn ifconfig(line: &Line<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    let Some(name) = line.words.get(1) else {
        let text = "'ifconfig' needs the name of an interface";
        line.error(reporter, line.end(), "missing-word", text);
        return;
    };
    let mut words = line.words[2..].to_vec();
    if words.first().is_some_and(|word| word.text == "destroy") {
        destroy(line, *name, config, reporter);
        return;
    }
    let creates = words.first().is_some_and(|word| word.text == "create");
    if creates {
        words.remove(0);
    }
    let known = config.interface(name.text).is_some();
    if is_made(name.text) && creates == known {
        let text = match known {
            true => format!("{} is there already", name.text),
            false => format!("there is no {}", printable(name.text)),
        };
        let error = line.error(reporter, *name, "unknown-interface", text);
        if !known {
            error.hint = Some(format!("ifconfig {} create …", name.text));
        }
        return;
    }
    let Some(interface) = the_interface(line, *name, config, reporter) else {
        return;
    };
    let rest = Line {
        words,
        ..line.clone()
    };
    if rest.words.iter().any(|word| REMOVES.contains(&word.text)) {
        remove(&rest, interface, reporter);
    } else {
        change(&rest, interface, reporter);
    }
}

/// The interface of that name. A card that no file names is as if its file were there and empty.
fn the_interface<'c>(
    line: &Line<'_>,
    name: Word<'_>,
    config: &'c mut NetConfig,
    reporter: &mut Reporter,
) -> Option<&'c mut InterfaceConfig> {
    if config.interface(name.text).is_none() {
        if !names_of::is_interface(name.text) {
            let text = format!("'{}' is not the name of an interface", printable(name.text));
            line.error(reporter, name, "bad-name", text);
            return None;
        }
        match interface::made(name.text, line.origin()) {
            Ok(mut fresh) => {
                fresh.up = is_made(name.text);
                config.interfaces.push(fresh);
            }
            Err(text) => {
                line.error(reporter, name, "not-supported-yet", text);
                return None;
            }
        }
    }
    config.interfaces.iter_mut().find(|i| i.name == name.text)
}

fn destroy(line: &Line<'_>, name: Word<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    if is_made(name.text) && config.interface(name.text).is_some() {
        config.interfaces.retain(|i| i.name != name.text);
        return;
    }
    let text = format!("{} cannot be destroyed", printable(name.text));
    line.error(reporter, name, "unknown-interface", text);
}

/// Words as in a file. An address that is no alias takes the place of the first one of its family, as ifconfig(8) has it.
fn change(line: &Line<'_>, interface: &mut InterfaceConfig, reporter: &mut Reporter) {
    let before = interface.addresses.len();
    for (word, v4) in [("-inet", true), ("-inet6", false)] {
        if line.words.iter().any(|w| w.text == word) {
            interface.addresses.retain(|a| a.addr.is_ipv4() != v4);
        }
    }
    let _understood = interface::read_line(line, interface, reporter);
    let fresh: Vec<InterfaceAddress> = interface
        .addresses
        .drain(before.min(interface.addresses.len())..)
        .collect();
    for address in fresh {
        let family = |a: &InterfaceAddress| a.addr.is_ipv4() == address.addr.is_ipv4();
        match interface.addresses.iter_mut().find(|a| family(a)) {
            Some(first) if !address.alias && address.addr.is_ipv4() => *first = address,
            _ => interface.addresses.push(address),
        }
    }
}

/// `[inet|inet6] ADDR delete`, `inet delete`: without an address the first one of IPv4.
fn remove(line: &Line<'_>, interface: &mut InterfaceConfig, reporter: &mut Reporter) {
    let addr = |word: &Word<'_>| word.text.split('/').next()?.parse::<IpAddr>().ok();
    let named = line.words.iter().find_map(addr);
    let is_it = |a: &InterfaceAddress| match named {
        Some(named) => a.addr == named,
        None => a.addr.is_ipv4(),
    };
    match interface.addresses.iter().position(is_it) {
        Some(place) => {
            interface.addresses.remove(place);
        }
        None => {
            let text = format!("{} has no such address", interface.name);
            line.error(reporter, line.words[0], "bad-address", text);
        }
    }
}

fn routes(line: &Line<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    let flags = ["-n", "-q", "-v"];
    let mut words = &line.words[1..];
    while let [first, more @ ..] = words
        && flags.contains(&first.text)
    {
        words = more;
    }
    let Some(first) = words.first() else {
        let text = "'route' needs something after it";
        line.error(reporter, line.end(), "missing-word", text);
        return;
    };
    match first.text {
        "add" => {
            let route = route::arguments(line, &words[1..], "", reporter);
            if let Some(route) = route {
                add(line, *first, route, config, reporter);
            }
        }
        "delete" | "del" => {
            if let Some(route) = route::destination(line, &words[1..], reporter)
                && !delete(&route, route.hop.gateway(), config)
            {
                let text = "there is no such route, or no file and no command made it";
                line.error(reporter, *first, "no-such-route", text);
            }
        }
        "change" => {
            if let Some(route) = route::arguments(line, &words[1..], "", reporter) {
                delete(&route, None, config);
                config.routes.push(route);
            }
        }
        "flush" => {
            config.routes.clear();
            config.gateways.clear();
        }
        other => {
            let text = format!("'{}' is not understood", printable(other));
            line.error(reporter, *first, "unknown-word", text).hint =
                near::hint(other, ["add", "delete", "change", "flush", "show", "get"]);
        }
    }
}

/// Whether a route of the files is for the same destinations.
fn same(one: &StaticRoute, two: &StaticRoute) -> bool {
    (one.dest, one.prefix_len, one.table) == (two.dest, two.prefix_len, two.table)
}

fn add(
    line: &Line<'_>,
    word: Word<'_>,
    route: StaticRoute,
    config: &mut NetConfig,
    reporter: &mut Reporter,
) {
    let first = config.routes.iter().find(|r| same(r, &route));
    let gateway = config
        .gateways
        .iter()
        .find(|g| route.prefix_len == 0 && g.addr.is_ipv4() == route.dest.is_ipv4());
    let origin = first.map(|r| &r.origin).or(gateway.map(|g| &g.origin));
    let other = first.is_some_and(|r| r.priority != route.priority);
    if let Some(Origin { file, line: number }) = origin.filter(|_| !route.multipath && !other) {
        let text = format!("there is such a route already, see {file}:{number}");
        line.error(reporter, word, "duplicate-route", text).hint =
            Some("route change replaces it, -mpath adds to it".into());
        return;
    }
    config.routes.push(route);
}

/// Takes away the routes for the same destinations, only those to `to` if it is said. True if there was one.
fn delete(route: &StaticRoute, to: Option<IpAddr>, config: &mut NetConfig) -> bool {
    let before = config.routes.len() + config.gateways.len();
    let is_it = |r: &StaticRoute| same(r, route) && (to.is_none() || r.hop.gateway() == to);
    config.routes.retain(|r| !is_it(r));
    if route.prefix_len == 0 && route.table == 0 {
        let family = |addr: IpAddr| addr.is_ipv4() == route.dest.is_ipv4();
        config
            .gateways
            .retain(|g| !(family(g.addr) && to.is_none_or(|to| to == g.addr)));
    }
    config.routes.len() + config.gateways.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{ip, tree};

    fn typed(commands: &[&str]) -> (NetConfig, Vec<String>) {
        let files = tree(&[
            (
                "hostname.em0",
                "inet 192.0.2.2/24\ninet alias 192.0.2.3/32\n!route add 10.9.0.0/16 192.0.2.9\n",
            ),
            ("mygate", "192.0.2.1\n"),
            ("hostname.em1", "up group lan\n"),
        ]);
        let commands: Vec<String> = commands.iter().map(ToString::to_string).collect();
        let (config, said) = crate::parse_with(&files, &commands, Reporter::lenient());
        (config, said.iter().map(ToString::to_string).collect())
    }

    fn addresses(config: &NetConfig, name: &str) -> Vec<String> {
        let all = &config.interface(name).unwrap().addresses;
        all.iter()
            .map(|a| format!("{}/{}", a.addr, a.prefix_len))
            .collect()
    }

    #[test]
    fn interfaces_change_as_they_are_told() {
        let (config, said) = typed(&[
            "ifconfig em0 down",
            "ifconfig em1 group dmz -group lan mtu 1400",
            "ifconfig em0 inet 192.0.2.3 delete",
            "ifconfig em0 inet 192.0.2.7 netmask 255.255.255.0",
            "ifconfig em0 inet alias 192.0.2.8/32",
            "ifconfig em2 up",
            "ifconfig vlan5 create vnetid 5 parent em1 inet 10.0.5.1/24",
        ]);
        assert!(said.is_empty(), "{said:?}");
        assert!(!config.interface("em0").unwrap().up);
        let em1 = config.interface("em1").unwrap();
        assert_eq!((em1.groups.join(" "), em1.mtu), ("dmz".into(), Some(1400)));
        assert_eq!(addresses(&config, "em0"), ["192.0.2.7/24", "192.0.2.8/32"]);
        assert!(config.interface("em2").unwrap().up);
        assert_eq!(addresses(&config, "vlan5"), ["10.0.5.1/24"]);
        let (config, _) = typed(&["ifconfig em0 -inet"]);
        assert!(addresses(&config, "em0").is_empty());
    }

    #[test]
    fn routes_come_and_go() {
        let (config, said) = typed(&[
            "route add 10.8.0.0/16 192.0.2.9",
            "route delete 10.9.0.0/16",
            "route -n change default 192.0.2.254",
        ]);
        assert!(said.is_empty(), "{said:?}");
        let routes: Vec<_> = config
            .routes
            .iter()
            .map(|r| (r.dest, r.hop.gateway().unwrap()))
            .collect();
        assert_eq!(
            routes,
            [
                (ip("10.8.0.0"), ip("192.0.2.9")),
                (ip("0.0.0.0"), ip("192.0.2.254"))
            ]
        );
        assert!(config.gateways.is_empty());
        let (config, _) = typed(&["route flush"]);
        assert!(config.routes.is_empty() && config.gateways.is_empty());
    }

    #[test]
    fn wrong_commands_are_placed_and_explained() {
        for (command, want) in [
            ("ifconfig em0 uup", "typed:1:14: error: unknown word 'uup'"),
            ("ifconfig vlan9 up", "typed:1:10: error: there is no vlan9"),
            (
                "ifconfig em0 destroy",
                "typed:1:10: error: em0 cannot be destroyed",
            ),
            (
                "ifconfig em0 inet 10.0.0.1 delete",
                "typed:1:14: error: em0 has no such address",
            ),
            (
                "route add default 192.0.2.9",
                "typed:1:7: error: there is such a route already, see mygate:1",
            ),
            (
                "route delete 10.1.0.0/16",
                "typed:1:7: error: there is no such route, or no file and no command made it",
            ),
            ("route ad x", "typed:1:7: error: 'ad' is not understood"),
            (
                "ls",
                "typed:1:1: error: 'ls' changes nothing of the network",
            ),
        ] {
            assert_eq!(typed(&[command]).1, [want], "{command}");
        }
    }
}
