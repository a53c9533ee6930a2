//! `set …`

use super::state::{near_timeout, timeout_named};
use super::{Parsed, Parser};
use crate::ast::{IfItem, IfKind, Node, Num, SetOption, Text};
use crate::lex::Tok;

const OPTIONS: &[&str] = &[
    "block-policy",
    "debug",
    "fail-policy",
    "fingerprints",
    "hostid",
    "keepcounters",
    "limit",
    "loginterface",
    "optimization",
    "reassemble",
    "require-order",
    "ruleset-optimization",
    "skip",
    "state-defaults",
    "state-policy",
    "syncookies",
    "timeout",
];

impl Parser<'_> {
    pub(super) fn set(&mut self) -> Parsed<Node> {
        self.expect("set")?;
        let Tok::Word(word) = &self.tok.tok else {
            return Err(self.unexpected_word(OPTIONS));
        };
        let word = word.clone();
        if !OPTIONS.contains(&word.as_str()) {
            return Err(self.unexpected_word(OPTIONS));
        }
        self.advance();
        self.set_option(&word).map(Node::Set)
    }

    fn set_option(&mut self, word: &str) -> Parsed<SetOption> {
        Ok(match word {
            "block-policy" => SetOption::BlockPolicy {
                returns: self.drop_or_return()?,
            },
            "fail-policy" => SetOption::FailPolicy {
                returns: self.drop_or_return()?,
            },
            "debug" => SetOption::Debug(self.debug_level()?),
            "fingerprints" => SetOption::Fingerprints(self.name("a file name")?),
            "hostid" => SetOption::HostId(self.hostid()?),
            "keepcounters" => SetOption::KeepCounters,
            "limit" => SetOption::Limits(self.settings(Self::limit)?),
            "loginterface" => SetOption::LogInterface(self.name("an interface, a group or none")?),
            "optimization" => SetOption::Optimization(self.optimization()?),
            "reassemble" => self.reassemble()?,
            "require-order" => {
                self.yes_or_no()?;
                SetOption::RequireOrder
            }
            "ruleset-optimization" => SetOption::RulesetOptimization(self.ruleset_optimization()?),
            "skip" => {
                self.expect("on")?;
                SetOption::SkipOn(self.one_or_list(Self::skip_interface)?)
            }
            "state-defaults" => SetOption::StateDefaults(self.state_defaults()?),
            "state-policy" => SetOption::StatePolicy {
                if_bound: self.state_policy()?,
            },
            "syncookies" => self.syncookies()?,
            _ => SetOption::Timeouts(self.settings(Self::timeout)?),
        })
    }

    fn drop_or_return(&mut self) -> Parsed<bool> {
        if self.take("drop") {
            return Ok(false);
        }
        if self.take("return") {
            return Ok(true);
        }
        Err(self.unexpected_word(&["drop", "return"]))
    }

    fn debug_level(&mut self) -> Parsed<Text> {
        const LEVELS: &[&str] = &[
            "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "none",
            "urgent", "misc", "loud",
        ];
        if self.take("debug") {
            let (text, span) = ("debug".into(), self.last);
            return Ok(Text { text, span });
        }
        let level = self.name("a level")?;
        if !LEVELS.contains(&level.text.as_str()) {
            let text = format!("unknown debug level '{}'", level.text);
            let hint = format!("known here: {}", LEVELS.join(" "));
            let text_span = level.span;
            return Err(self.fail_hint(text_span, "debug-level", text, Some(hint)));
        }
        Ok(level)
    }

    fn hostid(&mut self) -> Parsed<u32> {
        let word = self.word("a number")?;
        let number = match word.text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => word.text.parse().ok(),
        };
        match number {
            Some(0) => Err(self.fail(word.span, "hostid", "hostid must be non-zero")),
            Some(id) => Ok(id),
            None => Err(self.fail(word.span, "hostid", "illegal hostid")),
        }
    }

    /// One pair, or several in braces.
    fn settings(&mut self, item: fn(&mut Self) -> Parsed<(Text, Num)>) -> Parsed<Vec<(Text, Num)>> {
        self.one_or_list(item)
    }

    fn limit(&mut self) -> Parsed<(Text, Num)> {
        const LIMITS: &[&str] = &[
            "states",
            "src-nodes",
            "frags",
            "tables",
            "table-entries",
            "pktdelay-pkts",
            "anchors",
            "eth-anchors",
        ];
        let name = self.name("the name of a limit")?;
        if !LIMITS.iter().any(|l| l.eq_ignore_ascii_case(&name.text)) {
            let near = crate::words::nearest(&name.text, LIMITS.iter().copied());
            let hint = match near {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("known here: {}", LIMITS.join(" ")),
            };
            let text = format!("unable to set limit {}", name.text);
            return Err(self.fail_hint(name.span, "limit", text, Some(hint)));
        }
        let number = self.non_negative()?;
        Ok((name, number))
    }

    fn timeout(&mut self) -> Parsed<(Text, Num)> {
        let name = self.name("the name of a timeout")?;
        if timeout_named(&name.text).is_none() && !name.text.starts_with("sctp.") {
            let text = format!("unknown timeout {}", name.text);
            let hint = near_timeout(&name.text);
            return Err(self.fail_hint(name.span, "timeout", text, hint));
        }
        let number = self.non_negative()?;
        Ok((name, number))
    }

    fn non_negative(&mut self) -> Parsed<Num> {
        let number = self.number("a number")?;
        if u32::try_from(number.n).is_err() {
            let text = "only positive values permitted";
            return Err(self.fail(number.span, "number-range", text));
        }
        Ok(number)
    }

    fn optimization(&mut self) -> Parsed<Text> {
        const NAMES: &[&str] = &[
            "normal",
            "satellite",
            "high-latency",
            "conservative",
            "aggressive",
        ];
        let name = self.name("the name of an optimization")?;
        if !NAMES.iter().any(|n| n.eq_ignore_ascii_case(&name.text)) {
            let text = format!("unknown optimization {}", name.text);
            let hint = format!("known here: {}", NAMES.join(" "));
            return Err(self.fail_hint(name.span, "optimization", text, Some(hint)));
        }
        Ok(name)
    }

    fn ruleset_optimization(&mut self) -> Parsed<Text> {
        let name = self.word("none, basic or profile")?;
        if !["none", "basic", "profile", "yes", "no"].contains(&name.text.as_str()) {
            let text = format!("unknown ruleset-optimization {}", name.text);
            let hint = Some("known here: none basic profile".into());
            return Err(self.fail_hint(name.span, "optimization", text, hint));
        }
        Ok(name)
    }

    fn reassemble(&mut self) -> Parsed<SetOption> {
        let on = self.yes_or_no()?;
        let no_df = self.take("no-df");
        Ok(SetOption::Reassemble { on, no_df })
    }

    fn yes_or_no(&mut self) -> Parsed<bool> {
        if self.take("no") {
            return Ok(false);
        }
        if self.take("yes") {
            return Ok(true);
        }
        Err(self.unexpected_word(&["yes", "no"]))
    }

    fn skip_interface(&mut self) -> Parsed<IfItem> {
        if self.at_char(b'!') {
            return Err(self.unexpected("'set skip on' cannot be negated"));
        }
        let kind = IfKind::Name(self.interface_name()?);
        Ok(IfItem {
            kind,
            not: false,
            span: self.last,
        })
    }

    fn state_policy(&mut self) -> Parsed<bool> {
        if self.take("if-bound") {
            return Ok(true);
        }
        if self.take("floating") {
            return Ok(false);
        }
        Err(self.unexpected_word(&["if-bound", "floating"]))
    }

    fn syncookies(&mut self) -> Parsed<SetOption> {
        let mode = self.name("never, always or adaptive")?;
        if !["never", "always", "adaptive"].contains(&mode.text.as_str()) {
            let hint = Some("known here: never always adaptive".into());
            let text = "illegal value for syncookies";
            return Err(self.fail_hint(mode.span, "syncookies", text, hint));
        }
        let watermarks = match mode.text == "adaptive" && self.at_char(b'(') {
            true => Some(self.watermarks()?),
            false => None,
        };
        Ok(SetOption::Syncookies { mode, watermarks })
    }

    /// `(start 25%, end 12%)`
    fn watermarks(&mut self) -> Parsed<(Num, Num)> {
        self.expect_char(b'(')?;
        let start = self.watermark("start")?;
        self.take_char(b',');
        let end = self.watermark("end")?;
        self.expect_char(b')')?;
        Ok((start, end))
    }

    fn watermark(&mut self, word: &str) -> Parsed<Num> {
        self.expect(word)?;
        let share = self.word("a percentage")?;
        let number = share.text.strip_suffix('%').and_then(|n| n.parse().ok());
        match number {
            Some(n) if (0..=100).contains(&n) => Ok(Num {
                n,
                span: share.span,
            }),
            _ => Err(self.fail(share.span, "syncookies", "illegal percentage")),
        }
    }
}
