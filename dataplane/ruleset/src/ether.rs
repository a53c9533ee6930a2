//! Rules for Ethernet frames (`ether`), which FreeBSD has below the others: a ruleset of their own that knows stations,
//! types, and of IP packets the addresses. Without a match a frame passes.
//!
//! Read first: pf.conf(5) of FreeBSD, "ETHERNET FILTERING"; pf_test_eth_rule().

use crate::Ruleset;
use crate::facts::Facts;
use crate::matches::{Routes, l3_matches, on_matches};
use crate::rule::{Action, Rule, TagId};
use crate::walk::ANCHOR_DEPTH_MAX;

/// An Ethernet address in a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Station {
    /// The address.
    pub addr: [u8; 6],
    /// Bits that count.
    pub mask: [u8; 6],
    /// With `!`.
    pub negate: bool,
}

impl Station {
    fn matches(&self, addr: [u8; 6]) -> bool {
        let same = |n: usize| (self.addr[n] ^ addr[n]) & self.mask[n] == 0;
        (0..6).all(same) != self.negate
    }
}

/// An `ether` rule.
#[derive(Clone, Debug)]
pub struct EtherRule {
    /// What it has in common with others: action, direction, interface, addresses (`l3`), tags. The end of an anchor is
    /// a number in this ruleset.
    pub rule: Rule,
    /// Place among all rules of the text, for who gives it its slot.
    pub number: u32,
    /// `proto`: EtherType.
    pub ethertype: Option<u16>,
    /// `from`
    pub src: Option<Station>,
    /// `to`
    pub dst: Option<Station>,
}

/// What is known of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Source address.
    pub src: [u8; 6],
    /// Destination address.
    pub dst: [u8; 6],
    /// Its type, behind a priority tag.
    pub ethertype: u16,
    /// It carries IP: addresses and family of `facts` are those of the packet.
    pub is_ip: bool,
    /// Direction, interface and tag; of IP packets family and addresses.
    pub facts: Facts,
}

impl EtherRule {
    fn matches(&self, ruleset: &Ruleset, frame: &Frame, routes: &impl Routes) -> bool {
        let (rule, facts) = (&self.rule, &frame.facts);
        rule.direction.is_none_or(|d| d == facts.direction)
            && rule.on.is_none_or(|on| on_matches(on, facts))
            && self.ethertype.is_none_or(|t| t == frame.ethertype)
            && self.src.is_none_or(|s| s.matches(frame.src))
            && self.dst.is_none_or(|s| s.matches(frame.dst))
            // Addresses are asked of IP packets alone, as on FreeBSD: ARP passes a rule that has some.
            && (!frame.is_ip || l3_matches(ruleset, rule, facts, routes))
            && rule.tagged.is_none_or(|t| (t.tag == facts.tag) != t.negate)
    }
}

/// The rule that decides about a frame, none if no rule matches, and the frame's tag from now on. `evaluated` hears of
/// every rule that was looked at.
pub fn decide<'r>(
    ruleset: &'r Ruleset,
    mut frame: Frame,
    routes: &impl Routes,
    mut evaluated: impl FnMut(&Rule),
) -> (Option<&'r Rule>, TagId) {
    let mut decided: Option<(usize, &Rule)> = None;
    // End of each anchor that the walk is in, and where it is to go on if that is quick and decided.
    let mut inside: heapless::Vec<(u32, usize), ANCHOR_DEPTH_MAX> = heapless::Vec::new();
    let mut at = 0;
    while let Some(found) = ruleset.ether.get(at) {
        while let Some((_, anchor)) = inside.last().copied().filter(|f| f.0 as usize <= at) {
            inside.pop();
            let quick = ruleset.ether[anchor].rule.quick;
            if quick && decided.is_some_and(|(by, _)| by > anchor) {
                return (decided.map(|d| d.1), frame.facts.tag);
            }
        }
        let rule = &found.rule;
        evaluated(rule);
        let matches = found.matches(ruleset, &frame, routes);
        at += 1;
        if let (Action::Anchor { end }, false) = (rule.action, matches) {
            at = end as usize;
        }
        if !matches {
            continue;
        }
        if rule.tag != TagId::default() {
            frame.facts.tag = rule.tag;
        }
        match rule.action {
            Action::Anchor { end } => {
                // The compiler has refused deeper nesting.
                if inside.push((end, at - 1)).is_err() {
                    at = end as usize;
                }
                continue;
            }
            Action::Match => {}
            _ => decided = Some((at - 1, rule)),
        }
        if rule.quick {
            break;
        }
    }
    (decided.map(|d| d.1), frame.facts.tag)
}
