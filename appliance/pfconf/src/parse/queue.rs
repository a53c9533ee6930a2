//! `queue name on em0 parent p bandwidth 10M burst 20M for 100ms, min 1M, max 20M …`

use super::{Parsed, Parser};
use crate::ast::{Curve, Node, QueueDef};
use crate::lex::Tok;

const OPTIONS: &[&str] = &[
    "bandwidth",
    "parent",
    "default",
    "qlimit",
    "flows",
    "quantum",
];

/// Bits per second that no link comes near.
const BANDWIDTH_MAX: f64 = 1e18;

/// `Kbit`, `KB` and so on are `K`.
fn without_bits(unit: &str) -> &str {
    let rest = unit.get(1..).unwrap_or_default();
    match ["Bit", "B", "bit", "b"].contains(&rest) {
        true => &unit[..1],
        false => unit,
    }
}

/// Longest name of a queue.
const QUEUE_NAME_MAX: usize = 63;

impl Parser<'_> {
    pub(super) fn queue(&mut self) -> Parsed<Node> {
        self.expect("queue")?;
        if self.altq {
            self.skip_line();
            return Ok(Node::AltqQueue);
        }
        let name = self.name("the name of a queue")?;
        if name.text.len() > QUEUE_NAME_MAX {
            return Err(self.fail(name.span, "queue-name", "queuename too long"));
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
        self.queue_opt(&mut queue)?;
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
            self.queue_once("number of flows", queue.flows.is_some(), start)?;
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
            None => Err(self.fail(time.span, "burst", "time in scspec must be in ms")),
        }
    }

    /// Bits per second: a number, or one with K, M or G (powers of 1000).
    fn bandwidth(&mut self) -> Parsed<u64> {
        if let Tok::Number(n) = self.tok.tok {
            self.advance();
            let too_big = "bandwidth number too big";
            return u64::try_from(n).map_err(|_| self.fail(self.last, "bandwidth", too_big));
        }
        let word = self.name("a bandwidth")?;
        let digits = word.text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (digits, unit) = word.text.split_at(digits.unwrap_or(word.text.len()));
        let value = digits.parse::<f64>().unwrap_or(0.0);
        if unit == "%" {
            let text = match value <= 100.0 {
                true => "no bandwidth in % yet",
                false => "bandwidth spec out of range",
            };
            return Err(self.fail(word.span, "bandwidth", text));
        }
        let factor = match without_bits(unit) {
            "b" => 1.0,
            "K" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            other => {
                let text = format!("unknown unit \"{other}\"");
                let hint = Some("the units are b K M G, in bits per second".into());
                return Err(self.fail_hint(word.span, "bandwidth", text, hint));
            }
        };
        match value * factor < BANDWIDTH_MAX {
            true => Ok((value * factor) as u64),
            false => Err(self.fail(word.span, "bandwidth", "bandwidth number too big")),
        }
    }
}
