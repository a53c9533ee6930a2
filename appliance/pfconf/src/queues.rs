//! `queue …`: the tree of queues of an interface.

use crate::ast::{Curve, QueueDef};
use crate::build::Builder;
use crate::policy::IfItemKind;
use crate::resolve::Resolved;
use crate::source::Span;

/// All queues, in the order of their definition.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    pub(crate) list: Vec<Queue>,
}

/// One queue on one interface, or a child without its own.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) interface: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) bandwidth: Option<Curve>,
    pub(crate) min: Option<Curve>,
    pub(crate) max: Option<Curve>,
    pub(crate) flows: Option<u32>,
    pub(crate) quantum: Option<u32>,
    pub(crate) default: bool,
    pub(crate) qlimit: Option<u32>,
    pub(crate) span: Span,
}

impl Queues {
    /// The trees as `pfctl -v` prints them: each root with what hangs below it.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for root in self.list.iter().filter(|q| q.parent.is_none()) {
            self.print(&mut out, root, 0);
        }
        out
    }

    fn print(&self, out: &mut String, queue: &Queue, depth: usize) {
        *out += &queue_text(queue);
        out.push('\n');
        if depth < self.list.len() {
            for child in self.children(queue) {
                self.print(out, child, depth + 1);
            }
        }
    }

    fn children<'q>(&'q self, parent: &'q Queue) -> impl Iterator<Item = &'q Queue> {
        self.list
            .iter()
            .filter(|q| q.parent.as_ref() == Some(&parent.name))
            .filter(|q| q.interface.is_none() || q.interface == parent.interface)
    }

    /// What is wrong with the trees as a whole: text and place.
    pub(crate) fn contradiction(&self) -> Option<(String, Span)> {
        let known = |name: &String| self.list.iter().any(|q| q.name == *name);
        for queue in &self.list {
            if let Some(parent) = queue.parent.as_ref().filter(|p| !known(p)) {
                let text = format!("queue {}: parent {parent} not found", queue.name);
                return Some((text, queue.span));
            }
            if queue.parent.is_some() && queue.bandwidth.is_none() {
                let text = format!("queue {}: no bandwidth was specified", queue.name);
                return Some((text, queue.span));
            }
        }
        self.list
            .iter()
            .filter(|q| q.parent.is_none())
            .find_map(|root| self.root_contradiction(root))
    }

    fn root_contradiction(&self, root: &Queue) -> Option<(String, Span)> {
        let leaf = |queue: &Queue| self.children(queue).next().is_none();
        let in_tree = self
            .list
            .iter()
            .filter(|q| self.root_of(q) == Some(&root.name));
        let defaults: Vec<&Queue> = in_tree.filter(|q| q.default).collect();
        if let Some(inner) = defaults.iter().find(|q| !leaf(q)) {
            let text = format!("default queue {} is not a leaf queue", inner.name);
            return Some((text, inner.span));
        }
        let needs_default = root.bandwidth.is_some();
        if needs_default && defaults.is_empty() {
            return Some(("no default queue specified".into(), root.span));
        }
        None
    }

    fn root_of<'q>(&'q self, queue: &'q Queue) -> Option<&'q String> {
        let mut at = queue;
        for _ in 0..=self.list.len() {
            match &at.parent {
                None => return Some(&at.name),
                Some(parent) => at = self.list.iter().find(|q| q.name == *parent)?,
            }
        }
        None
    }
}

/// A queue as `pfctl -v` prints it.
pub(crate) fn queue_text(queue: &Queue) -> String {
    let mut text = format!("queue {}", queue.name);
    match (&queue.parent, &queue.interface) {
        (Some(parent), _) => text += &format!(" parent {parent}"),
        (None, Some(interface)) => text += &format!(" on {interface}"),
        (None, None) => {}
    }
    if let Some(flows) = queue.flows {
        text += &format!(" flows {flows}");
    }
    if let Some(quantum) = queue.quantum {
        text += &format!(" quantum {quantum}");
    }
    for (comma, word, curve) in [
        ("", "bandwidth", queue.bandwidth),
        (",", "min", queue.min),
        (",", "max", queue.max),
    ] {
        // A rate of 0 is none.
        if let Some(curve) = curve.filter(|c| c.rate != 0) {
            text += &format!("{comma} {word} {}", curve_text(curve));
        }
    }
    if queue.default {
        text += " default";
    }
    if let Some(qlimit) = queue.qlimit.filter(|n| *n != 0) {
        text += &format!(" qlimit {qlimit}");
    }
    text
}

fn curve_text(curve: Curve) -> String {
    match curve.burst {
        Some((rate, ms)) => {
            let rate = rate_text(rate);
            format!("{} burst {rate} for {ms}ms", rate_text(curve.rate))
        }
        None => rate_text(curve.rate),
    }
}

/// A unit only where nothing is lost by it; in its place pfctl leaves a blank.
fn rate_text(rate: u64) -> String {
    let mut rate = rate;
    let mut unit = 0;
    while rate >= 1000 && rate.is_multiple_of(1000) && unit < 3 {
        rate /= 1000;
        unit += 1;
    }
    format!("{rate}{}", [" ", "K", "M", "G"][unit])
}

impl Builder<'_> {
    /// False for a name that is no interface where the interfaces are known.
    fn may_be_interface(&self, name: &str) -> bool {
        self.known.env.interfaces.is_empty() || self.known.interface(name).is_some()
    }

    pub(crate) fn queue(&mut self, def: &QueueDef, span: Span) -> Resolved<()> {
        if def.parent.is_none() && def.interfaces.is_empty() {
            let text = "root queue without interface";
            return Err(self.fail(span, "queue", text));
        }
        let mut interfaces: Vec<Option<String>> = Vec::new();
        for item in &def.interfaces {
            match IfItemKind::of(item) {
                IfItemKind::Name(name) if !item.not && self.may_be_interface(&name) => {
                    interfaces.push(Some(name));
                }
                _ => return Err(self.fail(item.span, "queue", "not an interface")),
            }
        }
        if interfaces.is_empty() {
            interfaces.push(None);
        }
        if def.bandwidth.is_none() && def.flows.is_none() {
            let text = "no bandwidth or flow specification";
            return Err(self.fail(span, "queue", text));
        }
        for interface in interfaces {
            self.queues.list.push(Queue {
                name: def.name.text.clone(),
                interface,
                parent: def.parent.as_ref().map(|p| p.text.clone()),
                bandwidth: def.bandwidth,
                min: def.min,
                max: def.max,
                flows: def.flows,
                quantum: def.quantum,
                default: def.default,
                qlimit: def.qlimit,
                span,
            });
        }
        Ok(())
    }
}
