//! `sysctl.conf`: knobs of a BSD kernel's network. There is no such kernel here, so a line is one of four: what the box does
//! anyway is taken, what it can do is done, what it would do otherwise is refused with a sentence, and what means nothing to it
//! is said to have no effect. Nothing is passed over in silence.
//!
//! Read first: sysctl(2) and sysctl.conf(5) of OpenBSD, inet(4) and if_bridge(4) of FreeBSD.

use crate::source::{Line, Reporter, Source, Word, printable};
use crate::{Kind, NetConfig, near};

/// What the box makes of a knob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Knob {
    /// The box is always like one of these; anything else is refused, and why.
    Fixed(&'static [&'static str], &'static str),
    /// Standby ports of laggs receive.
    LaggReceivesAll,
}

use Knob::{Fixed, LaggReceivesAll};

const FORWARDS: &str = "packets are always forwarded; what is not to pass is blocked in pf.conf";
const REDIRECTS: &str = "the box sends no redirects: hosts are to learn their routes elsewhere";
const TAKES_REDIRECTS: &str = "redirects are never followed: anybody on a link could send them";
const BROADCASTS: &str = "packets to the broadcast address of another network are dropped";
const GROUPS: &str = "packets for groups are not forwarded: there is no routing of multicast";
const SOURCE_ROUTES: &str = "source routes are not followed";
const WAYS: &str =
    "routes with -mpath always share the work; leave -mpath out of those that shall not";
const ECHO: &str = "echo requests to a broadcast address are not answered";
const HOPS: &str = "packets of the box begin with 64 hops";
const MEMBERS: &str = "rules are asked on the members of a bridge, in and out";
const NO_BRIDGE: &str = "rules are asked on the members of a bridge, not on the bridge itself";
const BRIDGE_ALL: &str =
    "frames that are no IP pass a bridge; write blocknonip for the members that they shall not";
const ADVERTS: &str = "addresses are learned from routers where hostname.IF says inet6 autoconf";
const STEALTH: &str = "the time to live is lowered by every packet that is forwarded";

/// The knobs that say something about what the box does.
const KNOBS: &[(&str, Knob)] = &[
    ("net.inet.ip.forwarding", Fixed(&["1"], FORWARDS)),
    ("net.inet6.ip6.forwarding", Fixed(&["1"], FORWARDS)),
    ("net.inet.ip.fastforwarding", Fixed(&["1"], FORWARDS)),
    ("net.inet.ip.redirect", Fixed(&["0"], REDIRECTS)),
    ("net.inet6.ip6.redirect", Fixed(&["0"], REDIRECTS)),
    ("net.inet.icmp.rediraccept", Fixed(&["0"], TAKES_REDIRECTS)),
    (
        "net.inet6.icmp6.rediraccept",
        Fixed(&["0"], TAKES_REDIRECTS),
    ),
    (
        "net.inet.icmp.drop_redirect",
        Fixed(&["1"], TAKES_REDIRECTS),
    ),
    ("net.inet.ip.directed-broadcast", Fixed(&["0"], BROADCASTS)),
    ("net.inet.icmp.bmcastecho", Fixed(&["0"], ECHO)),
    ("net.inet.ip.mforwarding", Fixed(&["0"], GROUPS)),
    ("net.inet6.ip6.mforwarding", Fixed(&["0"], GROUPS)),
    ("net.inet.ip.sourceroute", Fixed(&["0"], SOURCE_ROUTES)),
    (
        "net.inet.ip.accept_sourceroute",
        Fixed(&["0"], SOURCE_ROUTES),
    ),
    ("net.inet.ip.multipath", Fixed(&["1"], WAYS)),
    ("net.inet6.ip6.multipath", Fixed(&["1"], WAYS)),
    ("net.inet.ip.ttl", Fixed(&["64"], HOPS)),
    ("net.inet6.ip6.hlim", Fixed(&["64"], HOPS)),
    ("net.inet6.ip6.accept_rtadv", Fixed(&["0"], ADVERTS)),
    ("net.inet.ip.stealth", Fixed(&["0"], STEALTH)),
    ("net.link.bridge.pfil_member", Fixed(&["1"], MEMBERS)),
    ("net.link.bridge.pfil_bridge", Fixed(&["0"], NO_BRIDGE)),
    ("net.link.bridge.pfil_onlyip", Fixed(&["0"], BRIDGE_ALL)),
    ("net.link.lagg.failover_rx_all", LaggReceivesAll),
];

/// What the file asks for beyond one knob.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Knobs {
    /// `net.link.lagg.failover_rx_all`, if it is said.
    lagg_receives_all: Option<bool>,
}

impl Knobs {
    /// Carries out what concerns interfaces. `fugu.conf`, which is about one of them, comes after.
    pub(crate) fn apply(&self, config: &mut NetConfig) {
        for interface in &mut config.interfaces {
            if let (Kind::Lagg(lagg), Some(all)) = (&mut interface.kind, self.lagg_receives_all) {
                lagg.receive_all = all;
            }
        }
    }
}

/// Reads the file: lines `NAME=VALUE`.
pub(crate) fn read(source: &Source<'_>, reporter: &mut Reporter) -> Knobs {
    let mut knobs = Knobs::default();
    for line in source.lines(reporter) {
        let text: Vec<&str> = line.words.iter().map(|w| w.text).collect();
        let text = text.join(" ");
        let Some((name, value)) = text.split_once('=') else {
            let text = "a line is NAME=VALUE";
            line.error(reporter, line.whole(), "syntax", text);
            continue;
        };
        // OpenBSD may write `name?=value`: no error if there is no such name.
        let name = name.trim().trim_end_matches('?').trim_end();
        knob(&line, name, value.trim(), &mut knobs, reporter);
    }
    knobs
}

fn knob(line: &Line<'_>, name: &str, value: &str, knobs: &mut Knobs, reporter: &mut Reporter) {
    let place = line.whole();
    let found = KNOBS.iter().find(|(known, _)| *known == name);
    match found.map(|(_, knob)| *knob) {
        Some(Fixed(values, _)) if values.contains(&value) => {}
        Some(Fixed(values, why)) => {
            let text = format!("{}={} cannot be had: {why}", name, printable(value));
            line.error(reporter, place, "refused-sysctl", text).hint =
                Some(format!("leave the line out, or say {name}={}", values[0]));
        }
        Some(LaggReceivesAll) => match value {
            "0" | "1" => knobs.lagg_receives_all = Some(value == "1"),
            _ => {
                let text = format!("'{}' is neither 0 nor 1", printable(value));
                line.error(reporter, place, "bad-number", text);
            }
        },
        None => without_effect(line, place, name, reporter),
    }
}

fn without_effect(line: &Line<'_>, place: Word<'_>, name: &str, reporter: &mut Reporter) {
    let network = name.starts_with("net.");
    let near = near::hint(name, KNOBS.iter().map(|(known, _)| *known));
    let text = format!("{} has no effect on this box", printable(name));
    match network {
        true => line.warning(reporter, place, "no-effect", text).hint = near,
        // What is about processes, memory and devices of another kernel.
        false => {
            line.notice(reporter, place, "no-effect", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::tree;
    use crate::{Kind, NetConfig, Severity};

    fn read(sysctl: &str, more: &[(&str, &str)]) -> (NetConfig, Vec<String>) {
        let mut files = vec![
            ("sysctl.conf", sysctl),
            ("hostname.em0", "inet 192.0.2.1/24\n"),
        ];
        files.extend(more);
        let (config, said) = crate::parse(&tree(&files));
        (config, said.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_the_box_does_anyway_is_taken() {
        let (_, said) = read(
            "# a router\nnet.inet.ip.forwarding=1 # yes\nnet.inet6.ip6.forwarding = 1\n\
             net.inet.ip.redirect=0\nnet.inet.icmp.rediraccept=0\nnet.inet.ip.directed-broadcast=0\n\
             net.inet.ip.mforwarding=0\nnet.inet.ip.multipath=1\nnet.link.bridge.pfil_member=1\n",
            &[],
        );
        assert_eq!(said, Vec::<String>::new());
    }

    #[test]
    fn what_it_does_otherwise_is_refused_and_what_it_does_not_know_is_said() {
        for (line, want) in [
            (
                "net.inet.ip.forwarding=0",
                "sysctl.conf:1:1: error: net.inet.ip.forwarding=0 cannot be had: packets are always forwarded; what is not to pass is blocked in pf.conf",
            ),
            (
                "net.inet.ip.forwarding=2",
                "sysctl.conf:1:1: error: net.inet.ip.forwarding=2 cannot be had: packets are always forwarded; what is not to pass is blocked in pf.conf",
            ),
            (
                "net.inet.ip.directed-broadcast=1",
                "sysctl.conf:1:1: error: net.inet.ip.directed-broadcast=1 cannot be had: packets to the broadcast address of another network are dropped",
            ),
            (
                "net.inet.ip.mforwarding=1",
                "sysctl.conf:1:1: error: net.inet.ip.mforwarding=1 cannot be had: packets for groups are not forwarded: there is no routing of multicast",
            ),
            (
                "net.inet.tcp.ecn?=1",
                "sysctl.conf:1:1: warning: net.inet.tcp.ecn has no effect on this box",
            ),
            (
                "kern.maxfiles=100000",
                "sysctl.conf:1:1: notice: kern.maxfiles has no effect on this box",
            ),
            (
                "net.inet.ip.forwarding",
                "sysctl.conf:1:1: error: a line is NAME=VALUE",
            ),
            (
                "net.link.lagg.failover_rx_all=yes",
                "sysctl.conf:1:1: error: 'yes' is neither 0 nor 1",
            ),
        ] {
            assert_eq!(read(&format!("{line}\n"), &[]).1, [want], "{line}");
        }
        let files = tree(&[
            ("sysctl.conf", "net.inet.ip.forwardin=1\n"),
            ("hostname.em0", "up\n"),
        ]);
        let (_, said) = crate::parse(&files);
        assert_eq!(said[0].severity, Severity::Warning);
        assert!(
            said[0]
                .hint
                .as_ref()
                .unwrap()
                .contains("net.inet.ip.forwarding")
        );
    }

    #[test]
    fn standby_ports_of_laggs_receive_if_it_is_said() {
        let lagg = ("hostname.lagg0", "laggproto failover laggport em0\n");
        let receives = |sysctl: &str, more: &[(&str, &str)]| {
            let mut files = vec![lagg];
            files.extend(more);
            let (config, said) = read(sysctl, &files);
            assert!(said.iter().all(|s| !s.contains("error")), "{said:?}");
            match &config.interface("lagg0").unwrap().kind {
                Kind::Lagg(lagg) => lagg.receive_all,
                other => panic!("{other:?}"),
            }
        };
        assert!(!receives("net.link.lagg.failover_rx_all=0\n", &[]));
        assert!(receives("net.link.lagg.failover_rx_all=1\n", &[]));
        // Who speaks of one lagg is heard before who speaks of all.
        let one = ("fugu.conf", "lagg0 receive active\n");
        assert!(!receives("net.link.lagg.failover_rx_all=1\n", &[one]));
    }
}
