//! `route-to`, `reply-to`, `dup-to`: next hops, and the interfaces that the old form `(em0 192.0.2.1)` names.

use ruleset::{RouteKind, RouteOption};

use super::Lowering;
use crate::ast;
use crate::policy::Rule;

impl Lowering<'_> {
    pub(super) fn route(&mut self, rule: &Rule) -> Option<Box<RouteOption>> {
        let (kind, pool) = rule.route.as_ref()?;
        let any_family = rule.naf.is_some() || rule.prefer_ipv6_nexthop;
        let af = rule.af.filter(|_| !any_family);
        let mut via = Vec::new();
        for host in &pool.hosts {
            if let Some(name) = &host.via {
                let kif = self.kif(name, host.span);
                via.extend(self.blocks(host, af).into_iter().map(|b| (b, kif)));
            }
        }
        Some(Box::new(RouteOption {
            kind: match kind {
                ast::RouteKind::Route => RouteKind::RouteTo,
                ast::RouteKind::Reply => RouteKind::ReplyTo,
                ast::RouteKind::Dup => RouteKind::DupTo,
            },
            pool: self.pool(pool, af),
            via,
            any_family,
            prefers_inet6: rule.prefer_ipv6_nexthop,
        }))
    }
}
