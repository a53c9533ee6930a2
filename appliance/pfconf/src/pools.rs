//! Targets of `nat-to`, `rdr-to`, `binat-to`, `af-to`, `route-to` and of the old `->`: several addresses become an
//! automatic table, as in PF; the old dialect keeps its lists. Read first: pf.conf(5), POOL OPTIONS.

use ruleset::{Af, Direction, PortOp};

use crate::ast::{self, FilterOpts, PoolKind, PoolOpts, Redirect, TargetPort};
use crate::build::Builder;
use crate::expand::{Lists, Target, Targets};
use crate::md5::md5;
use crate::policy::{Addr, Divert, Host, Modifiers, Pool, Rule, Table};
use crate::resolve::Resolved;
use crate::source::Span;

/// Ports that source translation chooses from unless told otherwise.
pub(crate) const NAT_PORTS: (u16, u16) = (50001, 65535);

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
            targets.nat = Some(self.target(nat)?);
        }
        if let Some(rdr) = &opts.rdr {
            targets.rdr = Some(self.target(rdr)?);
        }
        if let Some(af_to) = &opts.af_to {
            targets.nat = Some(self.target(&af_to.from)?);
            targets.rdr = match &af_to.to {
                Some(to) => Some(self.target(to)?),
                None => None,
            };
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
        let hosts = self.hosts(&redirect.hosts)?;
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

    /// Chooses the targets of the rule's family. What does not fit has been said.
    pub(crate) fn apply_targets(&mut self, rule: &mut Rule, targets: &Targets) {
        let af = |rule: &Rule| rule.naf.or(rule.af);
        if let Some(nat) = &targets.nat {
            let pool = self.redirect_pool(nat, af(rule), rule, PoolUse::Nat);
            rule.nat = pool.ok().map(Into::into);
        }
        if let Some(rdr) = &targets.rdr {
            let pool = self.redirect_pool(rdr, af(rule), rule, PoolUse::Rdr);
            rule.rdr = pool.ok().map(Into::into);
        }
        if let Some(route) = &targets.route {
            let spec = &route.spec;
            let af = self.route_family(rule, route);
            let pool = self.pool(&route.hosts, &spec.pool, af, PoolUse::Route, spec.span);
            rule.route = pool.ok().map(|pool| (spec.kind, pool.into()));
        }
    }

    /// `(if gw)` after `af-to` leads packets of the new family; with `prefer-ipv6-nexthop` the gateway decides.
    fn route_family(&self, rule: &Rule, route: &Target<ast::RouteSpec>) -> Option<Af> {
        if rule.prefer_ipv6_nexthop {
            return None;
        }
        let old = route.hosts.iter().any(|h| h.via.is_some());
        let forward = route.spec.kind == ast::RouteKind::Route;
        match rule.naf {
            Some(naf) if old && forward => Some(naf),
            _ => rule.af,
        }
    }

    fn redirect_pool(
        &mut self,
        target: &Target<Redirect>,
        af: Option<Af>,
        rule: &Rule,
        usage: PoolUse,
    ) -> Resolved<Pool> {
        let spec = &target.spec;
        let mut pool = self.pool(&target.hosts, &spec.pool, af, usage, spec.span)?;
        let one_dynamic = matches!(target.hosts.as_slice(), [h] if is_multi_address(&h.addr));
        if rule.naf.is_some() && one_dynamic && spec.pool.kind == PoolKind::None {
            pool.kind = PoolKind::None;
        }
        pool.ports = match usage {
            PoolUse::Rdr => self.rdr_ports(spec.port.as_ref(), rule)?,
            _ => self.nat_ports(spec.port.as_ref())?,
        };
        if !spec.pool.static_port {
            return Ok(pool);
        }
        if usage == PoolUse::Rdr {
            let text = "the 'static-port' option is only valid with nat rules";
            return Err(self.fail(spec.span, "pool", text));
        }
        if pool.ports != NAT_PORTS {
            let text = "the 'static-port' option can't be used when specifying a port range";
            return Err(self.fail(spec.span, "pool", text));
        }
        pool.ports = (0, 0);
        Ok(pool)
    }

    fn nat_ports(&mut self, port: Option<&TargetPort>) -> Resolved<(u16, u16)> {
        let Some(port) = port else {
            return Ok(NAT_PORTS);
        };
        let (low, high) = self.target_ports(port)?;
        Ok(match (low, high) {
            (0, None) => NAT_PORTS,
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

    fn target_ports(&mut self, port: &TargetPort) -> Resolved<(u16, Option<u16>)> {
        let low = self.service(&port.low, port.span)?;
        let high = match &port.high {
            Some(high) => Some(self.service(high, port.span)?),
            None => None,
        };
        if high.is_some_and(|high| high < low) {
            return Err(self.fail(port.span, "port-range", "invalid port range"));
        }
        Ok((low, high))
    }

    /// The pool of those hosts that are of the family, or of none.
    fn pool(
        &mut self,
        hosts: &[Host],
        opts: &PoolOpts,
        af: Option<Af>,
        usage: PoolUse,
        span: Span,
    ) -> Resolved<Pool> {
        let fits = |h: &&Host| af.is_none() || h.af().is_none() || h.af() == af;
        let chosen: Vec<Host> = hosts.iter().filter(fits).cloned().collect();
        if chosen.is_empty() {
            let text = "af mismatch in routing spec";
            let hint = Some("no target is of the rule's address family".into());
            return Err(self.fail_hint(span, "family", text, hint));
        }
        let old = chosen.iter().any(|h| h.via.is_some()) || self.old_translation;
        let kind = self.pool_kind(&chosen, opts, old, span)?;
        let mut pool = Pool {
            hosts: chosen,
            table: None,
            kind,
            key: None,
            sticky: opts.sticky,
            static_port: opts.static_port,
            ports: (0, 0),
            map_e: opts.map_e,
            endpoint_independent: opts.endpoint_independent,
        };
        if kind == PoolKind::SourceHash {
            pool.key = Some(self.hash_key(opts));
        }
        if pool.hosts.len() > 1 && !old {
            pool.table = Some(self.automatic_table(&pool.hosts, span)?);
        }
        if let (PoolUse::Rdr, Some(_)) = (usage, opts.map_e) {
            let text = "the 'map-e-portset' option is only valid with nat rules";
            return Err(self.fail(span, "pool", text));
        }
        Ok(pool)
    }

    /// The kind given, or round-robin where several addresses may answer.
    fn pool_kind(
        &mut self,
        hosts: &[Host],
        opts: &PoolOpts,
        old: bool,
        span: Span,
    ) -> Resolved<PoolKind> {
        let several = hosts.len() > 1
            || matches!(hosts[0].addr, Addr::Table(_))
            || is_multi_address(&hosts[0].addr);
        let routed_old = hosts.iter().any(|h| h.via.is_some());
        let kind = match opts.kind {
            PoolKind::None if several && (!routed_old || hosts.len() > 1) => PoolKind::RoundRobin,
            kind => kind,
        };
        if matches!(kind, PoolKind::None | PoolKind::Bitmask) {
            if let Some(table) = hosts.iter().find(|h| matches!(h.addr, Addr::Table(_))) {
                let text = "tables are not supported by pool type";
                return Err(self.fail(table.span, "pool", text));
            }
            for host in hosts.iter().filter(|h| is_multi_address(&h.addr)) {
                if let (Addr::Dynamic(dynamic), None) = (&host.addr, &host.via) {
                    let name = &dynamic.name;
                    let text = format!("interface ({name}) is not supported by pool type");
                    return Err(self.fail(host.span, "pool", text));
                }
            }
            if hosts.len() > 1 {
                let text = "pool type not valid with multiple addresses";
                return Err(self.fail(span, "pool", text));
            }
        }
        let mixed = |h: &Host| !matches!(h.addr, Addr::Masked { .. });
        if hosts.len() > 1 && !old && hosts.iter().any(mixed) {
            let text = "multiple tables or dynamic interfaces not supported as translation or \
                        routing addresses";
            return Err(self.fail(span, "pool", text));
        }
        Ok(kind)
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

    /// Two rules: out with the source translated, in with the destination translated back.
    pub(crate) fn binat(&mut self, base: &Rule, lists: &Lists, opts: &FilterOpts) -> Resolved<()> {
        let Some(nat) = lists.targets.nat.clone() else {
            return Ok(());
        };
        let span = opts.binat.as_ref().map_or(base.span, |b| b.span);
        let source = self.binat_source(lists, span)?;
        let af = base.af.or_else(|| source.af());
        let fits = |h: &&Host| af.is_none() || h.af().is_none() || h.af() == af;
        let Some(target) = nat.hosts.iter().find(fits).cloned() else {
            let text = "af mismatch in routing spec";
            return Err(self.fail(span, "family", text));
        };
        if prefix_of(&source) != prefix_of(&target) {
            let text = "binat-to source mask and redirect mask must be the same";
            return Err(self.fail(span, "binat", text));
        }
        let mut out = base.clone();
        out.direction = Some(Direction::Out);
        let mut spec = nat.spec.clone();
        spec.pool.static_port = true;
        let one = |host: Host, spec: Redirect| Target {
            spec,
            hosts: vec![host],
        };
        let out_lists = Lists {
            targets: Targets {
                nat: Some(one(target.clone(), spec)),
                ..Targets::default()
            },
            ..lists.items()
        };
        let mut inward = base.clone();
        inward.direction = Some(Direction::In);
        let in_lists = Lists {
            src: lists.dst.clone(),
            dst: vec![Host {
                not: false,
                ..target
            }],
            src_port: lists.dst_port.clone(),
            dst_port: lists.src_port.clone(),
            targets: Targets {
                rdr: Some(one(source, nat.spec)),
                ..Targets::default()
            },
            ..lists.items()
        };
        for (base, lists) in [(out, out_lists), (inward, in_lists)] {
            let rules = self.expand(&base, &lists)?;
            self.append(rules);
        }
        Ok(())
    }

    fn binat_source(&mut self, lists: &Lists, span: Span) -> Resolved<Host> {
        let text = match lists.src.as_slice() {
            [host] => match &host.addr {
                Addr::Masked { .. } => return Ok(host.clone()),
                Addr::Dynamic(d) if d.mods.no_alias => return Ok(host.clone()),
                Addr::Table(name) => {
                    format!(
                        "invalid use of table <{name}> as the source address of a binat-to rule"
                    )
                }
                Addr::Dynamic(d) => format!(
                    "invalid use of interface ({}) as the source address of a binat-to rule",
                    d.name
                ),
                _ => "binat-to requires a specified source and redirect address".into(),
            },
            _ => "binat-to requires a specified source and redirect address".to_string(),
        };
        Err(self.fail(span, "binat", text))
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
        match self.service(port, span)? {
            0 => Err(self.fail(span, "divert", "invalid divert port")),
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

fn prefix_of(host: &Host) -> Option<u8> {
    match host.addr {
        Addr::Masked { bits, .. } => Some(bits),
        _ => None,
    }
}
