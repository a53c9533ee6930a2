//! Rulesets as they are found on firewalls of companies, written as pf.conf and compiled.
//!
//! The mix is that of an edge with servers behind it: most lines publish a service of one server, some open it to the
//! network of a partner, some say what networks inside may reach outside, a few block networks or ports, few have a
//! range of ports or `quick`. Services are drawn from those that are usual, or from high ports. Clients are in 10/8
//! (2001:db8:a::/48), servers in 10.1/16 (2001:db8:a:1::/64). The last two lines let all clients out, so that what is
//! measured passes, or is blocked by the first line, and PF's last match makes every rule before it count.

use std::fmt::Write;

use pfconf::{Files, Options, compile};
use ruleset::{RuleSlot, Ruleset, TableSlot};
use simnic::rng::Rng;
use sync::Overlay;

use crate::world::World;

/// Ports that services use; others are above 1024 and below [`SERVICES_END`].
const SERVICES: [u16; 12] = [80, 443, 22, 25, 53, 110, 143, 993, 3306, 5432, 8080, 8443];
/// No rule opens a port from here on.
pub(crate) const SERVICES_END: u16 = 20_000;
/// Sources are translated to this address.
const OUTSIDE: &str = "203.0.113.1";
/// An address that is translated to [`SERVER`].
pub(crate) const PUBLISHED: u32 = 0xcb00_7150;
/// A server.
pub(crate) const SERVER: u32 = 0x0a01_000a;
/// First address of the table, and how far its entries lie apart.
const TABLE_FIRST: u32 = 0x2000_0000;
const TABLE_STEP: u32 = 509;

/// What a ruleset does beside filtering.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Filter,
    /// IPv6.
    Filter6,
    /// Clients' sources are translated.
    Nat,
    /// A server is published by another address.
    Rdr,
    /// What a large table holds is blocked.
    Table,
}

/// A ruleset to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Policy {
    pub(crate) purpose: Purpose,
    /// Rules in all.
    pub(crate) rules: usize,
    /// Prefixes in the table.
    pub(crate) entries: usize,
}

struct TableFile(Vec<u8>);

impl Files for TableFile {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        (name == "/etc/table").then(|| self.0.clone())
    }
}

impl Policy {
    /// Compiles it, as generation `load` of a box whose tables were edited by `edits`.
    pub(crate) fn compile(
        self,
        world: World,
        load: u32,
        edits: &std::sync::Arc<Overlay>,
    ) -> Ruleset {
        let text = self.text(world);
        let compiled = compile(
            "pf.conf",
            text.as_bytes(),
            &TableFile(self.table()),
            &world.environment(),
            &Options::default(),
        );
        let mut ruleset = compiled
            .ruleset
            .unwrap_or_else(|| panic!("{:?}\n{text:.2000}", compiled.diagnostics.first()));
        assert_eq!(ruleset.rules.len(), self.rules, "rules");
        for (n, rule) in ruleset.rules.iter_mut().enumerate() {
            rule.slot = RuleSlot(n as u32 + 1);
        }
        let mut tables = 0;
        ruleset.settle_in(load, edits, |_| {
            tables += 1;
            TableSlot(tables - 1)
        });
        ruleset
    }

    fn text(self, world: World) -> String {
        let [inside, outside] = world.names();
        let family = if self.purpose == Purpose::Filter6 {
            "inet6"
        } else {
            "inet"
        };
        let all = self.address(&mut Rng::new(0), 8);
        // Neighbor discovery must pass.
        let mut first = vec![
            "block all".to_string(),
            "pass inet6 proto icmp6 no state".to_string(),
        ];
        // What leaves has been translated when rules are asked.
        let leaving = if self.purpose == Purpose::Nat {
            OUTSIDE
        } else {
            &all
        };
        let mut last = vec![
            format!("pass in on {inside} {family} from {all} to any"),
            format!("pass out on {outside} {family} from {leaving} to any"),
        ];
        match self.purpose {
            Purpose::Filter | Purpose::Filter6 => {}
            Purpose::Nat => first.push(format!(
                "match out on {outside} inet from {all} to any nat-to {OUTSIDE}"
            )),
            Purpose::Rdr => {
                let at = |bits| std::net::Ipv4Addr::from_bits(bits);
                let (published, server) = (at(PUBLISHED), at(SERVER));
                first.push(format!(
                    "match in on {outside} inet proto udp from any to {published} port 53 rdr-to {server}"
                ));
                last.push(format!(
                    "pass on {{ {inside}, {outside} }} inet proto udp from any to {server} port 53"
                ));
            }
            Purpose::Table => first.push(format!("block in quick on {outside} from <bad>")),
        }
        let mut text = String::from("set limit { states 100000000, table-entries 10000000 }\n");
        if self.purpose == Purpose::Table {
            text += "table <bad> persist file \"/etc/table\"\n";
        }
        // What a list in braces adds.
        let more = usize::from(self.purpose == Purpose::Rdr);
        let between = self.rules.saturating_sub(first.len() + last.len() + more);
        let mut rng = Rng::new(2025);
        let lines = (0..between).map(|_| self.line(&mut rng, inside, outside));
        for line in first.into_iter().chain(lines).chain(last) {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "{line}");
        }
        text
    }

    /// One line of the mix.
    fn line(self, rng: &mut Rng, inside: &str, outside: &str) -> String {
        let family = if self.purpose == Purpose::Filter6 {
            "inet6"
        } else {
            "inet"
        };
        let echo = if self.purpose == Purpose::Filter6 {
            "icmp6 from"
        } else {
            "icmp from"
        };
        let (server, servers) = (self.address(rng, 32), self.address(rng, 24));
        let (clients, network) = (self.clients(rng), self.network(rng));
        let service = service(rng);
        let low = 1024 + rng.below(8000);
        match rng.below(20) {
            0..6 => format!(
                "pass in on {outside} {family} proto tcp from any to {server} port {service}"
            ),
            6..8 => format!(
                "pass in on {outside} {family} proto udp from any to {server} port {service}"
            ),
            8..10 => format!(
                "pass in on {outside} {family} proto tcp from {network} to {servers} port {service}"
            ),
            10..13 => format!(
                "pass in on {inside} {family} proto tcp from {clients} to any port {service}"
            ),
            13 => format!(
                "pass in on {inside} {family} proto udp from {clients} to {network} port {service}"
            ),
            14 => format!(
                "pass in quick on {inside} {family} proto tcp from {clients} to {network} port {low}:{}",
                low + 1 + rng.below(2000)
            ),
            15 => format!("block in quick on {outside} {family} from {network} to any"),
            16 => format!(
                "block in on {outside} {family} proto tcp from any to {server} port {service}"
            ),
            17 => format!(
                "pass out on {outside} {family} proto tcp from {clients} to {network} port {service}"
            ),
            18 => format!("pass in on {outside} {family} proto {echo} {network} to {servers}"),
            _ => format!(
                "block return in on {inside} {family} proto tcp from {clients} to any port {}",
                [25, 135, 139, 445][rng.below(4) as usize]
            ),
        }
    }

    /// A server, the network it is in, or all that is ours.
    fn address(self, rng: &mut Rng, bits: u8) -> String {
        let (a, b) = (rng.below(256), rng.below(256));
        match (self.purpose, bits) {
            (Purpose::Filter6, 32) => format!("2001:db8:a:1::{a:x}:{b:x}"),
            (Purpose::Filter6, 24) => format!("2001:db8:a:1::{a:x}:0/112"),
            (Purpose::Filter6, _) => "2001:db8:a::/48".into(),
            (_, 32) => format!("10.1.{a}.{b}"),
            (_, 24) => format!("10.1.{a}.0/24"),
            _ => "10.0.0.0/8".into(),
        }
    }

    /// A network of clients.
    fn clients(self, rng: &mut Rng) -> String {
        let (a, b) = (2 + rng.below(250), rng.below(256));
        match self.purpose {
            Purpose::Filter6 => format!("2001:db8:a:{a:x}{b:02x}::/64"),
            _ => format!("10.{a}.{b}.0/24"),
        }
    }

    /// A network outside: most are small. None of them is where packets of the bench come from or go to.
    fn network(self, rng: &mut Rng) -> String {
        let (a, b, c) = (rng.below(16), rng.below(256), rng.below(256));
        match (self.purpose, rng.below(10)) {
            (Purpose::Filter6, 0..7) => format!("2001:db8:{:x}:{b:x}{c:02x}::/64", 0x100 + a),
            (Purpose::Filter6, _) => format!("2001:db8:{:x}::/48", 0x100 + a * 256 + b),
            (_, 0..3) => format!("172.{}.{b}.{c}", 16 + a),
            (_, 3..8) => format!("172.{}.{b}.0/24", 16 + a),
            _ => format!("172.{}.{}.0/20", 16 + a, b & 0xf0),
        }
    }

    /// A list of networks, one per line.
    fn table(self) -> Vec<u8> {
        let mut text = String::new();
        for n in 0..self.entries {
            let addr = std::net::Ipv4Addr::from_bits(table_entry(n));
            let _infallible = match n % 10 {
                0 => writeln!(text, "{addr}/24"),
                1 => writeln!(text, "{addr}/28"),
                _ => writeln!(text, "{addr}"),
            };
        }
        text.into_bytes()
    }
}

/// An address of entry `n` of the table.
pub(crate) fn table_entry(n: usize) -> u32 {
    TABLE_FIRST + n as u32 * TABLE_STEP
}

fn service(rng: &mut Rng) -> u16 {
    match rng.below(3) {
        0 => 1024 + rng.below(u64::from(SERVICES_END) - 1024) as u16,
        _ => SERVICES[rng.below(SERVICES.len() as u64) as usize],
    }
}
