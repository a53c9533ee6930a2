//! `queue name on em0 parent p bandwidth 10M burst 20M for 100ms, min 1M, max 20M …`

use super::{Parsed, Parser};
use crate::ast::{Curve, Node, QueueDef};

const OPTIONS: &[&str] = &[
    "bandwidth",
    "parent",
    "default",
    "qlimit",
    "flows",
    "quantum",
];

/// Longest name of a queue.
const QUEUE_NAME_MAX: usize = 63;

impl Parser<'_> {
    pub(super) fn queue(&mut self) -> Parsed<Node> {
        self.expect("queue")?;
        if self.altq {
            return Ok(self.refused("queue of altq", self.last));
        }
        let name = self.name("the name of a queue")?;
        if name.text.len() > QUEUE_NAME_MAX {
            let text = format!("queue name too long (max {QUEUE_NAME_MAX} chars)");
            return Err(self.fail(name.span, "queue-name", text));
        }
        let interfaces = self.opt_on()?;
        let mut queue = QueueDef {
            name,
            interfaces,
            parent: None,
            bandwidth: None,
            min: None,
            max: None,
            flows: None,
            quantum: None,
            default: false,
            qlimit: None,
        };
        while !self.at_end() {
            self.queue_opt(&mut queue)?;
        }
        Ok(Node::Queue(Box::new(queue)))
    }

    fn queue_opt(&mut self, queue: &mut QueueDef) -> Parsed<()> {
        let start = self.tok.span;
        if self.take("bandwidth") {
            self.queue_once("bandwidth", queue.bandwidth.is_some(), start)?;
            return self.bandwidths(queue);
        }
        if self.take("parent") {
            self.queue_once("parent", queue.parent.is_some(), start)?;
            queue.parent = Some(self.name("the name of a queue")?);
        } else if self.take("default") {
            self.queue_once("default", queue.default, start)?;
            queue.default = true;
        } else if self.take("qlimit") {
            self.queue_once("qlimit", queue.qlimit.is_some(), start)?;
            let text = "qlimit out of range: max 65535";
            queue.qlimit = Some(self.number_in("a number of packets", 0..=65535, text)?);
        } else if self.take("flows") {
            self.queue_once("flows", queue.flows.is_some(), start)?;
            let text = "number of flows out of range: max 32767";
            queue.flows = Some(self.number_in("a number of flows", 1..=32767, text)?);
        } else if self.take("quantum") {
            self.queue_once("quantum", queue.quantum.is_some(), start)?;
            let text = "quantum out of range: max 65535";
            queue.quantum = Some(self.number_in("a number of bytes", 1..=65535, text)?);
        } else {
            return Err(self.unexpected_word(OPTIONS));
        }
        Ok(())
    }

    fn queue_once(&mut self, option: &str, again: bool, span: crate::source::Span) -> Parsed<()> {
        if !again {
            return Ok(());
        }
        let text = format!("{option} cannot be respecified");
        Err(self.fail(span, "respecified", text))
    }

    /// The bandwidth, and `min` and `max` which stand directly after it.
    fn bandwidths(&mut self, queue: &mut QueueDef) -> Parsed<()> {
        queue.bandwidth = Some(self.curve()?);
        loop {
            let comma = self.take_char(b',');
            if self.at("min") && queue.min.is_none() {
                self.advance();
                queue.min = Some(self.curve()?);
            } else if self.at("max") && queue.max.is_none() {
                self.advance();
                queue.max = Some(self.curve()?);
            } else if comma {
                return Err(self.unexpected_word(&["min", "max"]));
            } else {
                return Ok(());
            }
        }
    }

    fn curve(&mut self) -> Parsed<Curve> {
        let rate = self.bandwidth()?;
        if !self.take("burst") {
            return Ok(Curve { rate, burst: None });
        }
        let burst = self.bandwidth()?;
        self.expect("for")?;
        let time = self.name("a time in milliseconds, as in 100ms")?;
        let ms = time.text.strip_suffix("ms").and_then(|n| n.parse().ok());
        match ms {
            Some(ms) => Ok(Curve {
                rate,
                burst: Some((burst, ms)),
            }),
            None => {
                let text = format!("time {} has no valid unit", time.text);
                Err(self.fail(time.span, "burst", text))
            }
        }
    }

    /// Bits per second: a number, or one with K, M or G (powers of 1000).
    fn bandwidth(&mut self) -> Parsed<u64> {
        let word = self.word("a bandwidth")?;
        let digits = word.text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (digits, unit) = word.text.split_at(digits.unwrap_or(word.text.len()));
        let unit = ["Bit", "bit", "B", "b"]
            .iter()
            .find_map(|bits| unit.strip_suffix(bits).filter(|u| !u.is_empty()))
            .unwrap_or(unit);
        let factor = match unit {
            "" | "b" => 1.0,
            "K" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            _ => {
                let text = format!("unknown unit {unit}");
                let hint = Some("the units are b K M G, in bits per second".into());
                return Err(self.fail_hint(word.span, "bandwidth", text, hint));
            }
        };
        match digits.parse::<f64>() {
            Ok(n) if n * factor < 1e18 => Ok((n * factor) as u64),
            _ => Err(self.fail(word.span, "bandwidth", "bandwidth number too big")),
        }
    }
}
