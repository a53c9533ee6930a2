//! Targets of `nat-to`, `rdr-to`, `binat-to`, `af-to`, `route-to` and of the old `->`: several addresses become an
//! automatic table, as in PF; the old dialect keeps its lists. Read first: pf.conf(5), POOL OPTIONS.

use ruleset::{Af, Direction, PortOp};

use crate::ast::{self, FilterOpts, PoolKind, PoolOpts, Redirect, TargetPort};
use crate::build::Builder;
use crate::expand::{Target, Targets};
use crate::md5::md5;
use crate::policy::{Addr, Divert, Host, Modifiers, Pool, Rule, Table};
use crate::resolve::Resolved;
use crate::source::Span;

/// Ports that source translation chooses from unless told otherwise.
pub(crate) const NAT_PORTS: (u16, u16) = (50001, 65535);

const NEEDS_PEER: &str = "route spec requires :peer with dynamic interface addresses";

/// Targets of a rule whose addresses are chosen and whose ports are not.
#[derive(Default)]
pub(crate) struct Chosen {
    pub(crate) nat: Option<Pool>,
    rdr: Option<Pool>,
    route: Option<Pool>,
}

/// What a pool is for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum PoolUse {
    Nat,
    Rdr,
    Route,
}

impl Builder<'_> {
    /// Resolves the targets of a rule. A route of the old position is already there.
    pub(crate) fn targets(&mut self, early: &Targets, opts: &FilterOpts) -> Resolved<Targets> {
        let mut targets = early.clone();
        if let Some(nat) = opts.nat.as_ref().or(opts.binat.as_ref()) {
            let mut nat = self.target(nat)?;
            nat.spec.pool.static_port |= opts.binat.is_some();
            targets.nat = Some(nat);
        }
        if let Some(rdr) = &opts.rdr {
            targets.rdr = Some(self.target(rdr)?);
        }
        if let Some(af_to) = &opts.af_to {
            let mut from = self.target(&af_to.from)?;
            if let Some(to) = &af_to.to {
                let mut to = self.target(to)?;
                // As in pfctl, the options of the second pool are those of the first.
                from.spec.pool = std::mem::take(&mut to.spec.pool);
                targets.rdr = Some(to);
            }
            targets.nat = Some(from);
        }
        if let Some(route) = &opts.route {
            if targets.route.is_some() {
                let text = "cannot respecify route-to/reply-to/dup-to";
                return Err(self.fail(route.span, "respecified", text));
            }
            let hosts = self.hosts(&route.hosts)?;
            self.mention_tables(&hosts);
            targets.route = Some(Target {
                spec: route.clone(),
                hosts,
            });
        }
        Ok(targets)
    }

    pub(crate) fn target(&mut self, redirect: &Redirect) -> Resolved<Target<Redirect>> {
        let hosts = self.rule_hosts(&redirect.hosts)?;
        self.mention_tables(&hosts);
        Ok(Target {
            spec: redirect.clone(),
            hosts,
        })
    }

    fn mention_tables(&mut self, hosts: &[Host]) {
        for host in hosts {
            if let Addr::Table(name) = &host.addr {
                self.mention_table(name, host.span);
            }
        }
    }

    /// Chooses the addresses of each target that fit the rule. A rule without a family takes that of the first. What
    /// does not fit has been said.
    pub(crate) fn choose_targets(&mut self, rule: &mut Rule, targets: &Targets) -> Chosen {
        let mut chosen = Chosen::default();
        if let Some(rdr) = &targets.rdr {
            let (spec, hosts) = (&rdr.spec, &rdr.hosts);
            let pool = self.pool(rule, hosts, &spec.pool, PoolUse::Rdr, spec.span);
            chosen.rdr = pool.ok();
        }
        if let Some(nat) = &targets.nat {
            let (spec, hosts) = (&nat.spec, &nat.hosts);
            let pool = self.pool(rule, hosts, &spec.pool, PoolUse::Nat, spec.span);
            chosen.nat = pool.ok();
        }
        if let Some(route) = &targets.route {
            let (spec, hosts) = (&route.spec, &route.hosts);
            let pool = self.pool(rule, hosts, &spec.pool, PoolUse::Route, spec.span);
            chosen.route = pool.ok();
        }
        chosen
    }

    /// Gives the chosen targets their ports and options, and the rule its targets.
    pub(crate) fn finish_targets(
        &mut self,
        rule: &mut Rule,
        targets: &Targets,
        chosen: &mut Chosen,
    ) {
        if let (Some(nat), Some(mut pool)) = (&targets.nat, chosen.nat.take()) {
            let finished = self.finish_redirect(&mut pool, nat, rule, PoolUse::Nat);
            rule.nat = finished.ok().map(|()| pool.into());
        }
        if let (Some(rdr), Some(mut pool)) = (&targets.rdr, chosen.rdr.take()) {
            let finished = self.finish_redirect(&mut pool, rdr, rule, PoolUse::Rdr);
            rule.rdr = finished.ok().map(|()| pool.into());
        }
        if let (Some(route), Some(mut pool)) = (&targets.route, chosen.route.take()) {
            let finished = self.finish_pool(&mut pool, &route.hosts, rule);
            rule.route = finished.ok().map(|()| (route.spec.kind, pool.into()));
        }
    }

    fn finish_redirect(
        &mut self,
        pool: &mut Pool,
        target: &Target<Redirect>,
        rule: &Rule,
        usage: PoolUse,
    ) -> Resolved<()> {
        let spec = &target.spec;
        pool.ports = match usage {
            PoolUse::Rdr => self.rdr_ports(spec.port.as_ref(), rule)?,
            _ => self.nat_ports(spec.port.as_ref())?,
        };
        self.finish_pool(pool, &target.hosts, rule)?;
        if spec.pool.static_port {
            self.check_nat_option("static-port", pool, usage, spec.span)?;
            pool.ports = (0, 0);
        }
        if let Some((offset, length, id)) = spec.pool.map_e {
            self.check_nat_option("map-e-portset", pool, usage, spec.span)?;
            if ruleset::PortSet::new(offset, length, id).is_none() {
                let text = format!("there is no port set {id} of {length} bits behind {offset}");
                return Err(self.fail(spec.span, "map-e", text));
            }
        }
        Ok(())
    }

    /// Options that choose the port say so where there is none to choose.
    fn check_nat_option(
        &mut self,
        option: &str,
        pool: &Pool,
        usage: PoolUse,
        span: Span,
    ) -> Resolved<()> {
        let text = if usage == PoolUse::Rdr {
            format!("the '{option}' option is only valid with nat rules")
        } else if pool.ports == (0, 0) {
            format!("the '{option}' option can't be used 'static-port'")
        } else if pool.ports.0 != NAT_PORTS.0 && pool.ports.1 != NAT_PORTS.1 {
            format!("the '{option}' option can't be used when specifying a port range")
        } else {
            return Ok(());
        };
        Err(self.fail(span, "pool", text))
    }

    fn nat_ports(&mut self, port: Option<&TargetPort>) -> Resolved<(u16, u16)> {
        let Some(port) = port else {
            return Ok(NAT_PORTS);
        };
        Ok(match self.target_ports(port)? {
            (0, None | Some(0)) => NAT_PORTS,
            (low, high) => (low, high.filter(|h| *h != 0).unwrap_or(low)),
        })
    }

    /// `p:*` is as long as the rule's own range of ports.
    fn rdr_ports(&mut self, port: Option<&TargetPort>, rule: &Rule) -> Resolved<(u16, u16)> {
        let Some(port) = port else {
            return Ok((0, 0));
        };
        let (low, high) = self.target_ports(port)?;
        let range = rule.dst.port.filter(|_| port.star);
        Ok(match (high, range) {
            (Some(high), _) if high < low => {
                let text = "invalid rdr-to port range";
                return Err(self.fail(port.span, "port-range", text));
            }
            (Some(high), _) => (low, high),
            (None, Some(range)) => {
                let length = match range.op {
                    PortOp::Eq => 0,
                    _ => range.b.wrapping_sub(range.a),
                };
                (low, low.wrapping_add(length))
            }
            (None, None) => (low, 0),
        })
    }

    /// The first port, and the last if it is another.
    fn target_ports(&mut self, port: &TargetPort) -> Resolved<(u16, Option<u16>)> {
        let low = self.service(&port.low, port.span)?;
        let high = match &port.high {
            Some(high) => Some(self.service(high, port.span)?),
            None => None,
        };
        Ok((low, high.filter(|high| *high != low)))
    }

    /// The pool of those hosts that fit the rule; its kind is looked at later.
    fn pool(
        &mut self,
        rule: &mut Rule,
        hosts: &[Host],
        opts: &PoolOpts,
        usage: PoolUse,
        span: Span,
    ) -> Resolved<Pool> {
        let via = |h: &&Host| h.via.is_some();
        let mixed = usage != PoolUse::Route && hosts.iter().any(|h| !via(&h));
        if let Some(hop) = hosts.iter().find(via).filter(|_| mixed) {
            let text = "a next hop with its interface and other targets in one translation";
            return Err(self.fail(hop.span, "pool", text));
        }
        let old = hosts.iter().any(|h| via(&h)) || self.old_translation;
        let hosts = match old {
            true => self.fitting_old(rule, hosts, usage, span)?,
            false => self.fitting(rule, hosts, usage, span)?,
        };
        let mut pool = Pool {
            hosts,
            table: None,
            kind: opts.kind,
            key: None,
            sticky: opts.sticky,
            static_port: opts.static_port,
            ports: (0, 0),
            map_e: opts.map_e,
            endpoint_independent: opts.endpoint_independent,
        };
        if opts.kind == PoolKind::SourceHash {
            pool.key = Some(self.hash_key(opts));
        }
        if pool.hosts.len() > 1 && opts.kind == PoolKind::Bitmask {
            let text = "pool type is not valid for multiple translation or routing addresses";
            return Err(self.fail(span, "pool", text));
        }
        // Next hops of the other family are gone by now, and with them what made it a pool of the old kind.
        let old = self.old_translation || pool.hosts.iter().any(|h| via(&h));
        if pool.hosts.len() > 1 && !old {
            let mixed = |h: &Host| !matches!(h.addr, Addr::Masked { .. });
            if pool.hosts.iter().any(mixed) {
                let text = "multiple tables or dynamic interfaces not supported for translation or routing";
                return Err(self.fail(span, "pool", text));
            }
            pool.table = Some(self.automatic_table(&pool.hosts, span)?);
        }
        Ok(pool)
    }

    /// Targets of today's rules: all of one family, which becomes that of the rule.
    fn fitting(
        &mut self,
        rule: &mut Rule,
        hosts: &[Host],
        usage: PoolUse,
        span: Span,
    ) -> Resolved<Vec<Host>> {
        let routing = usage == PoolUse::Route;
        let word = if routing { "routing" } else { "translation" };
        let new_family = rule.naf.filter(|_| !routing);
        let mut af = rule.af.or(new_family.map(other_family));
        let mut fitting = Vec::new();
        for host in hosts {
            if routing && needs_peer(&host.addr) {
                return Err(self.fail(host.span, "pool", NEEDS_PEER));
            }
            if routing && rule.prefer_ipv6_nexthop {
                fitting.push(host.clone());
                continue;
            }
            let Some(of) = host.af() else {
                fitting.push(host.clone());
                continue;
            };
            let text = match (rule.naf, new_family) {
                (Some(_), Some(new)) if new != of => {
                    format!("{word} spec contains addresses that don't match target address family")
                }
                (None, _) if rule.af.is_some_and(|rule| rule != of) => continue,
                (None, _) if af.is_some_and(|af| af != of) => {
                    format!("{word} spec contains addresses with different address families")
                }
                _ => {
                    af = af.or(Some(of));
                    fitting.push(host.clone());
                    continue;
                }
            };
            return Err(self.fail(host.span, "family", text));
        }
        rule.af = rule.af.or(af);
        if fitting.is_empty() {
            let text = format!("af mismatch in {word} spec");
            let hint = Some("no target is of the rule's address family".into());
            return Err(self.fail_hint(span, "family", text, hint));
        }
        Ok(fitting)
    }

    /// Targets of the old dialect: the first chooses the family of a rule that has none, others are left out.
    fn fitting_old(
        &mut self,
        rule: &mut Rule,
        hosts: &[Host],
        usage: PoolUse,
        span: Span,
    ) -> Resolved<Vec<Host>> {
        let routing = usage == PoolUse::Route;
        let bare = |h: &&Host| h.via.is_none() && needs_peer(&h.addr);
        if let Some(host) = hosts.iter().find(bare).filter(|_| routing) {
            return Err(self.fail(host.span, "pool", NEEDS_PEER));
        }
        if routing && rule.prefer_ipv6_nexthop {
            return Ok(hosts.to_vec());
        }
        let wanted = match (rule.naf, routing) {
            (Some(_), true) => None,
            (naf, _) => naf.or(rule.af).or_else(|| hosts.iter().find_map(Host::af)),
        };
        let fits = |h: &&Host| wanted.is_none() || h.af().is_none() || h.af() == wanted;
        let fitting: Vec<Host> = hosts.iter().filter(fits).cloned().collect();
        if fitting.is_empty() {
            let text = match routing {
                true => "no routing address with matching address family found.",
                false => "no translation address with matching address family found.",
            };
            return Err(self.fail(span, "family", text));
        }
        if rule.naf.is_none() {
            rule.af = rule.af.or(wanted);
        }
        Ok(fitting)
    }

    /// The kind given, or round-robin where several addresses may answer; not every kind can have several.
    fn finish_pool(&mut self, pool: &mut Pool, all: &[Host], rule: &Rule) -> Resolved<()> {
        let first = &pool.hosts[0];
        let several = pool.hosts.len() > 1
            || matches!(first.addr, Addr::Table(_))
            || is_multi_address(&first.addr) && first.via.is_none();
        // FreeBSD leaves a translation to another family as it is.
        let as_given = rule.naf.is_some() && self.known.env.freebsd && pool.hosts.len() == 1;
        if pool.kind == PoolKind::None && several && !as_given {
            pool.kind = PoolKind::RoundRobin;
        }
        if as_given || !matches!(pool.kind, PoolKind::None | PoolKind::Bitmask) {
            return Ok(());
        }
        if let Some(table) = all.iter().find(|h| matches!(h.addr, Addr::Table(_))) {
            let text = "tables are not supported by pool type";
            return Err(self.fail(table.span, "pool", text));
        }
        for host in all.iter().filter(|h| is_multi_address(&h.addr)) {
            if let (Addr::Dynamic(dynamic), None) = (&host.addr, &host.via) {
                let name = &dynamic.name;
                let text = format!("interface ({name}) is not supported by pool type");
                return Err(self.fail(host.span, "pool", text));
            }
        }
        Ok(())
    }

    fn hash_key(&mut self, opts: &PoolOpts) -> [u32; 4] {
        let Some(key) = &opts.key else {
            return self.random_key;
        };
        let Some(hex) = key.text.strip_prefix("0x") else {
            return md5(key.text.as_bytes());
        };
        let word = |n: usize| {
            let digits = hex.get(n * 8..n * 8 + 8);
            digits.and_then(|d| u32::from_str_radix(d, 16).ok())
        };
        [0, 1, 2, 3].map(|n| word(n).unwrap_or(0))
    }

    /// Several targets are looked up in a table of their own.
    fn automatic_table(&mut self, hosts: &[Host], span: Span) -> Resolved<String> {
        let name = format!("__automatic_{}", self.automatic_tables);
        self.automatic_tables += 1;
        let list = crate::tables::list_text(hosts);
        self.output += &format!("table <{name}> const{list}\n");
        self.put_table(Table {
            name: name.clone(),
            anchor: String::new(),
            constant: true,
            persist: false,
            counters: false,
            entries: hosts.to_vec(),
            keeps_contents: false,
            span,
        });
        Ok(name)
    }

    /// What `binat-to` cannot do with the source and the target of a rule.
    pub(crate) fn check_binat(&mut self, rule: &Rule, nat: Option<&Pool>, span: Span) {
        let target = nat.and_then(|pool| pool.hosts.first());
        let Some(target) = target else {
            return;
        };
        let table = nat.is_some_and(|pool| pool.table.is_some());
        let (src, nat) = (&rule.src.addr, &target.addr);
        let one = |a: &Addr| matches!(a, Addr::Any | Addr::Masked { .. } | Addr::Dynamic(_));
        let mut wrong: Vec<String> = Vec::new();
        match src {
            Addr::Table(name) => wrong.push(format!(
                "invalid use of table <{name}> as the source address of a binat-to rule"
            )),
            Addr::Dynamic(d) if is_multi_address(src) => wrong.push(format!(
                "invalid use of interface ({}) as the source address of a binat-to rule",
                d.name
            )),
            _ if !one(src) || !one(nat) || table => {
                let text = "binat-to requires a specified source and redirect address";
                wrong.push(text.into());
            }
            _ => {}
        }
        if is_multi_address(src) || is_multi_address(nat) {
            wrong.push("dynamic interfaces must be used with :0 in a binat-to rule".into());
        }
        if prefix_of(src) != prefix_of(nat) || matches!(src, Addr::Any) {
            let text = "source and redir addresess must have a matching network mask in binat-rule";
            wrong.push(text.into());
        }
        if matches!(nat, Addr::Table(_)) || table {
            let text = "tables cannot be used as the redirect address of a binat-to rule";
            wrong.push(text.into());
        }
        if rule.direction.is_some() {
            wrong.push("binat-to cannot be specified with a direction".into());
        }
        for text in wrong {
            self.fail(span, "binat", text);
        }
    }

    /// `divert-to` chooses the rule's family if it has none.
    pub(crate) fn divert(&mut self, base: &mut Rule, opts: &FilterOpts) -> Resolved<()> {
        let Some((divert, span)) = &opts.divert else {
            return Ok(());
        };
        base.divert = Some(match divert {
            ast::Divert::Reply => {
                if base.direction == Some(Direction::In) {
                    let text = "divert-reply used with incoming rule";
                    return Err(self.fail(*span, "divert", text));
                }
                Divert::Reply
            }
            ast::Divert::Packet { port } => {
                let port = self.divert_port(port, *span)?;
                // A socket wants whole segments, unless reassembly was switched off above.
                base.scrub.reassemble_tcp |= self.settings.reassemble;
                Divert::Packet { port }
            }
            ast::Divert::To { host, port } => {
                if base.direction == Some(Direction::Out) && !self.known.env.freebsd {
                    let text = "divert-to used with outgoing rule";
                    return Err(self.fail(*span, "divert", text));
                }
                let port = self.divert_port(port, *span)?;
                self.divert_to(base, host, port)?
            }
            ast::Divert::Socket { port } => {
                let port = self.divert_port(port, *span)?;
                Divert::Socket { port }
            }
        });
        Ok(())
    }

    fn divert_port(&mut self, port: &str, span: Span) -> Resolved<u16> {
        if port.contains(':') {
            return Err(self.fail(span, "divert", format!("port is invalid: {port}")));
        }
        match self.service(port, span)? {
            0 => Err(self.fail(span, "divert", "invalid divert port: 0")),
            port => Ok(port),
        }
    }

    fn divert_to(&mut self, base: &mut Rule, host: &ast::Text, port: u16) -> Resolved<Divert> {
        let item = ast::Host {
            kind: ast::HostKind::Name {
                text: host.text.clone(),
                bits: None,
            },
            not: false,
            weight: 0,
            span: host.span,
        };
        let found = self.host(&item)?;
        if self.known.env.freebsd {
            // The address is looked up and then forgotten.
            return Ok(Divert::Socket { port });
        }
        let chosen = found.iter().find_map(|h| match h.addr {
            Addr::Masked { af, addr, .. } if base.af.is_none_or(|b| b == af) => Some((af, addr)),
            _ => None,
        });
        let Some((af, addr)) = chosen else {
            let text = "divert-to address family mismatch";
            return Err(self.fail(host.span, "family", text));
        };
        base.af = Some(af);
        Ok(Divert::To { addr, af, port })
    }
}

/// `(em0)` may have several addresses; `(em0:0)` of a name ending in a digit has one.
fn is_multi_address(addr: &Addr) -> bool {
    let Addr::Dynamic(dynamic) = addr else {
        return false;
    };
    let Modifiers { no_alias, .. } = dynamic.mods;
    !no_alias || !dynamic.name.ends_with(|c: char| c.is_ascii_digit())
}

/// Bits of the network; a dynamic address is a whole one.
fn prefix_of(addr: &Addr) -> Option<u8> {
    match addr {
        Addr::Masked { af, bits, .. } if *bits < af.bits() => Some(*bits),
        _ => None,
    }
}

/// `(if)` as a next hop is nothing but the machine itself.
fn needs_peer(addr: &Addr) -> bool {
    let peer = Modifiers {
        peer: true,
        ..Modifiers::default()
    };
    matches!(addr, Addr::Dynamic(dynamic) if dynamic.mods != peer)
}

fn other_family(af: Af) -> Af {
    match af {
        Af::Inet => Af::Inet6,
        Af::Inet6 => Af::Inet,
    }
}
