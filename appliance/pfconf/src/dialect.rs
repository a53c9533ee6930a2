//! Which system a ruleset is from, found by looking: some statements exist in FreeBSD (and in OpenBSD up to 4.6) only.
//! It decides how rules are printed. Read first: pf.conf(5) of FreeBSD.

use crate::ast::{AnchorKind, FilterOpts, Head, Host, HostKind, Node, PoolOpts, SetOption, Side};

/// True for a statement that today's OpenBSD does not have.
pub(crate) fn is_freebsd(node: &Node) -> bool {
    match node {
        Node::Translation(_) | Node::Scrub(_) | Node::Ether(_) => true,
        Node::Altq { .. } | Node::AltqQueue => true,
        Node::Set(option) => matches!(
            option,
            SetOption::RequireOrder { .. } | SetOption::FailPolicy { .. } | SetOption::KeepCounters
        ),
        Node::Anchor(anchor) => {
            anchor.kind != AnchorKind::Filter || rule(&anchor.head, &anchor.opts)
        }
        Node::Rule(stmt) => rule(&stmt.head, &stmt.opts),
        Node::Antispoof(antispoof) => {
            antispoof.ridentifier.is_some() || !antispoof.more_labels.is_empty()
        }
        _ => false,
    }
}

fn rule(head: &Head, opts: &FilterOpts) -> bool {
    let route = head.route.as_ref().or(opts.route.as_ref());
    let early = head.route.is_some();
    // Without anything behind it, a route before the family is also one after the addresses.
    early && (head.af.is_some() || !head.proto.is_empty() || given(&head.from) || given(&head.to))
        || route.is_some_and(|r| r.hosts.iter().any(is_via))
        || opts.ridentifier.is_some()
        || !opts.more_labels.is_empty()
        || opts.dummynet.is_some()
        || opts.max_pkt_size.is_some()
        || head.prefer_ipv6_nexthop
        || opts.prefer_ipv6_nexthop.is_some()
        || route.is_some_and(|r| pool(&r.pool))
        || [&opts.nat, &opts.rdr, &opts.binat]
            .into_iter()
            .flatten()
            .any(|target| pool(&target.pool))
}

fn given(side: &Side) -> bool {
    !side.hosts.is_empty() || !side.ports.is_empty()
}

/// `(if gateway)`
fn is_via(host: &Host) -> bool {
    matches!(host.kind, HostKind::Via { .. })
}

fn pool(opts: &PoolOpts) -> bool {
    opts.endpoint_independent || opts.map_e.is_some()
}
