//! Anchors: rules that stand elsewhere are put where they are called, so that the dataplane walks one list. A rule of
//! an anchor that is called twice stands there twice, and still is one rule: it counts in one place.
//!
//! Read first: pf.conf(5), ANCHORS.

use std::collections::BTreeMap;

use ruleset::{ANCHOR_DEPTH_MAX, Action, AnchorId, BlockReply, RuleNr};

use super::Lowering;
use crate::Built;
use crate::ast::{AnchorKind, TranslationKind};
use crate::policy::{AnchorCall, Rule, RuleKind};
use crate::source::Span;

/// Most anchors, those on the way to others included.
const ANCHORS_MAX: usize = u16::MAX as usize;

/// A rule and where it belongs.
pub(crate) struct PlacedRule<'r> {
    /// Number of its anchor; 0 is the main ruleset.
    pub(crate) anchor: u16,
    /// Number among the rules of its anchor that are of its kind.
    pub(crate) nr: u32,
    pub(crate) rule: &'r Rule,
}

/// One ruleset.
struct Body<'r> {
    rules: Vec<&'r Rule>,
    /// Place of the first rule in the list of all.
    first: usize,
}

/// All rulesets by their paths; the main one has the empty path and is the first.
pub(crate) struct Anchors<'r> {
    bodies: BTreeMap<String, Body<'r>>,
}

impl<'r> Anchors<'r> {
    /// Finds all rulesets: the main one, what stands in braces, and what was loaded. The last text for a path counts,
    /// but the same name in braces twice is a mistake.
    pub(crate) fn gather(built: &'r Built, lowering: &mut Lowering<'_>) -> Self {
        let mut found = Gathered {
            bodies: BTreeMap::new(),
            lowering,
        };
        found.bodies.insert(String::new(), &built.rules);
        found.braces(&built.rules);
        for (path, rules) in &built.loaded {
            found.bodies.insert(path.clone(), rules);
            found.braces(rules);
        }
        found.ways();
        let mut first = 0;
        let mut bodies = BTreeMap::new();
        for (path, rules) in found.bodies {
            let rules: Vec<&Rule> = rules.iter().collect();
            let count = rules.len();
            bodies.insert(path, Body { rules, first });
            first += count;
        }
        Anchors { bodies }
    }

    /// Paths of all anchors in the order of their numbers.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.bodies.keys().cloned().collect()
    }

    /// All rules, each once: those of the main ruleset, then those of each anchor.
    pub(crate) fn rules(&self) -> impl Iterator<Item = PlacedRule<'r>> {
        let anchors = (0..).zip(self.bodies.values());
        anchors.flat_map(|(anchor, body)| {
            let numbers = numbers(&body.rules);
            let rules = body.rules.iter().zip(numbers);
            rules.map(move |(rule, nr)| PlacedRule { anchor, nr, rule })
        })
    }

    /// The rules in the order in which they are asked.
    pub(super) fn flatten(&self, lowering: &mut Lowering<'_>, rules_max: usize) -> Flattened {
        let mut flat = Flat {
            anchors: self,
            lowered: Vec::new(),
            inward: BTreeMap::new(),
            scrub: Vec::new(),
            ether: Vec::new(),
            rules: Vec::new(),
            numbers: Vec::new(),
            rules_max,
            full: None,
        };
        flat.lower(lowering);
        flat.put_ether("", 0);
        flat.put_scrub("", 0);
        flat.put_translations();
        flat.put("", 0, None);
        if let Some(span) = flat.full {
            let text = format!("the anchors called here have more than {rules_max} rules together");
            lowering.error(span, "anchors-too-large", text);
        }
        Flattened {
            rules: flat.rules,
            numbers: flat.numbers,
            scrub: flat.scrub,
            ether: flat.ether,
        }
    }

    /// Paths that a call runs the rules of, in their order.
    fn called<'a>(&'a self, call: &'a AnchorCall) -> Vec<&'a str> {
        if !call.children {
            let found = self.bodies.get_key_value(&call.path);
            return found.map(|(path, _)| path.as_str()).into_iter().collect();
        }
        let paths = self.bodies.keys().map(String::as_str);
        paths.filter(|path| is_child(&call.path, path)).collect()
    }
}

/// True if the anchor stands directly below `outer`.
fn is_child(outer: &str, path: &str) -> bool {
    let name = match outer {
        "" => Some(path),
        outer => path
            .strip_prefix(outer)
            .and_then(|rest| rest.strip_prefix('/')),
    };
    name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// Numbers of rules as PF gives them: each kind of ruleset counts for itself.
fn numbers(rules: &[&Rule]) -> Vec<u32> {
    let mut next = [0; 6];
    let number = |rule: &&Rule| {
        let next = &mut next[usize::from(rule.kind.group().min(5))];
        *next += 1;
        *next - 1
    };
    rules.iter().map(number).collect()
}

struct Gathered<'r, 'l, 'a> {
    bodies: BTreeMap<String, &'r [Rule]>,
    lowering: &'l mut Lowering<'a>,
}

impl<'r> Gathered<'r, '_, '_> {
    /// What stands in braces in these rules. A list of interfaces gives several anchor rules with the same braces.
    fn braces(&mut self, rules: &'r [Rule]) {
        for rule in rules {
            let (Some(call), Some(body)) = (rule.kind.call(), &rule.body) else {
                continue;
            };
            match self.bodies.get(&call.path) {
                Some(same) if *same == body.as_slice() => continue,
                Some(_) => self.exists(&call.path, rule.span),
                None => {}
            }
            self.bodies.insert(call.path.clone(), body);
            self.braces(body);
        }
    }

    fn exists(&mut self, path: &str, span: Span) {
        let text = format!("inline anchor '{path}' already exists");
        self.lowering.error(span, "anchor-exists", text);
    }

    /// Anchors on the way to others exist as well, without rules.
    fn ways(&mut self) {
        let paths: Vec<String> = self.bodies.keys().cloned().collect();
        for path in &paths {
            for (end, _) in path.match_indices('/') {
                self.bodies.entry(path[..end].into()).or_insert(&[]);
            }
        }
        if self.bodies.len() > ANCHORS_MAX {
            let text = format!("more than {ANCHORS_MAX} anchors");
            self.lowering.error(Span::default(), "anchor-limit", text);
        }
    }
}

/// All rules in the order in which they are asked.
pub(super) struct Flattened {
    pub(super) rules: Vec<ruleset::Rule>,
    /// For each of `rules` its place among [`Anchors::rules`].
    pub(super) numbers: Vec<u32>,
    pub(super) scrub: Vec<ruleset::ScrubRule>,
    pub(super) ether: Vec<ruleset::EtherRule>,
}

/// The lists under construction.
pub(super) struct Flat<'f, 'r> {
    anchors: &'f Anchors<'r>,
    /// Each rule once, in the order of [`Anchors::rules`].
    lowered: Vec<ruleset::Rule>,
    /// The way in of each `binat`, by the same number.
    inward: BTreeMap<usize, ruleset::Rule>,
    pub(super) scrub: Vec<ruleset::ScrubRule>,
    pub(super) ether: Vec<ruleset::EtherRule>,
    pub(super) rules: Vec<ruleset::Rule>,
    numbers: Vec<u32>,
    rules_max: usize,
    /// The call for which there was no room.
    full: Option<Span>,
}

impl<'r> Flat<'_, 'r> {
    fn lower(&mut self, lowering: &mut Lowering<'_>) {
        let paths = self.anchors.paths();
        for placed in self.anchors.rules() {
            let path = &paths[usize::from(placed.anchor)];
            lowering.anchor.clone_from(path);
            let mut rule = lowering.rule(placed.rule);
            rule.anchor = AnchorId(placed.anchor);
            rule.nr = placed.nr;
            if let RuleKind::Translation {
                kind: TranslationKind::Binat,
                ..
            } = placed.rule.kind
            {
                let inward = lowering.binat_inward(placed.rule, &rule);
                self.inward.insert(self.lowered.len(), inward);
            }
            self.lowered.push(rule);
        }
        lowering.anchor.clear();
    }

    /// Puts the rules of an anchor here. `depth` anchors are around it.
    fn put(&mut self, path: &str, depth: usize, caller: Option<RuleNr>) {
        let anchors = self.anchors;
        let Some(body) = anchors.bodies.get(path) else {
            return;
        };
        for (n, rule) in body.rules.iter().enumerate() {
            // An anchor calls only what is of its own kind. Translations stand in front of all this, and rules of the
            // old scrub ruleset have a list of their own.
            if !is_filter(rule) {
                continue;
            }
            let Some(at) = self.place(body.first + n, rule, caller) else {
                return;
            };
            if let RuleKind::Anchor { call, .. } = &rule.kind {
                self.call(call, at.0 as usize, depth);
            }
        }
    }

    /// Puts rule `n` of all here, if there is room.
    pub(super) fn place(
        &mut self,
        n: usize,
        rule: &Rule,
        caller: Option<RuleNr>,
    ) -> Option<RuleNr> {
        self.push(n, rule, self.lowered(n), caller)
    }

    /// The same for the other way of a `binat`.
    pub(super) fn place_inward(&mut self, n: usize, rule: &Rule, caller: Option<RuleNr>) {
        if let Some(inward) = self.inward.get(&n).cloned() {
            self.push(n, rule, inward, caller);
        }
    }

    fn push(
        &mut self,
        n: usize,
        rule: &Rule,
        lowered: ruleset::Rule,
        caller: Option<RuleNr>,
    ) -> Option<RuleNr> {
        if !self.has_room(rule) {
            return None;
        }
        let at = RuleNr(self.rules.len() as u32);
        self.rules.push(ruleset::Rule { caller, ..lowered });
        self.numbers.push(n as u32);
        Some(at)
    }

    /// Room for one rule more; if there is none, this one is remembered.
    pub(super) fn has_room(&mut self, rule: &Rule) -> bool {
        let has_room = self.rules.len() + self.scrub.len() + self.ether.len() < self.rules_max;
        if !has_room {
            self.full.get_or_insert(rule.span);
        }
        has_room
    }

    /// Rule `n` of all as the dataplane knows it.
    pub(super) fn lowered(&self, n: usize) -> ruleset::Rule {
        self.lowered[n].clone()
    }

    /// Rules of an anchor with their places among all.
    pub(super) fn body(&self, path: &str) -> Vec<(usize, &'r Rule)> {
        let body = self.anchors.bodies.get(path);
        let rules = body.map(|b| (b.first..).zip(b.rules.iter().copied()));
        rules.into_iter().flatten().collect()
    }

    /// Paths that a call runs the rules of.
    pub(super) fn called(&self, call: &AnchorCall) -> Vec<String> {
        let called = self.anchors.called(call);
        called.into_iter().map(String::from).collect()
    }

    /// The rules of the anchor that is called at `at` end here.
    pub(super) fn close_anchor(&mut self, at: RuleNr) {
        let end = self.rules.len() as u32;
        self.rules[at.0 as usize].action = Action::Anchor { end };
    }

    fn call(&mut self, call: &AnchorCall, at: usize, depth: usize) {
        if depth == ANCHOR_DEPTH_MAX {
            // Anchors that call each other in a circle: PF drops a packet that would go in deeper.
            self.rules[at].action = Action::Block(BlockReply::Drop);
            self.rules[at].quick = true;
            return;
        }
        for path in self.anchors.called(call) {
            self.put(path, depth + 1, Some(RuleNr(at as u32)));
        }
        self.rules[at].action = Action::Anchor {
            end: self.rules.len() as u32,
        };
    }
}

fn is_filter(rule: &Rule) -> bool {
    match &rule.kind {
        RuleKind::Filter(_) => true,
        RuleKind::Anchor { kind, .. } => *kind == AnchorKind::Filter,
        _ => false,
    }
}
