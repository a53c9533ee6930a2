//! `set …`

use super::state::{near_timeout, timeout_named};
use super::{Parsed, Parser};
use crate::ast::{Node, Num, SetOption, Text};
use crate::lex::Tok;
use crate::words::OPTIONS;
use ruleset::Limits;

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
            "loginterface" => SetOption::LogInterface(self.name_or_all()?),
            "optimization" => SetOption::Optimization(self.optimization()?),
            "reassemble" => self.reassemble()?,
            "require-order" => SetOption::RequireOrder {
                on: self.yes_or_no()?,
            },
            "ruleset-optimization" => SetOption::RulesetOptimization(self.ruleset_optimization()?),
            "skip" => SetOption::SkipOn(self.opt_on()?),
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
            self.bare(format!("pfctl: unknown debug level \"{}\"", level.text));
            let text = format!("error setting debuglevel {}", level.text);
            let hint = format!("known here: {}", LEVELS.join(" "));
            return Err(self.fail_hint(level.span, "debug-level", text, Some(hint)));
        }
        Ok(level)
    }

    fn hostid(&mut self) -> Parsed<u32> {
        let word = self.word("a number")?;
        let Some(number) = c_number(&word.text) else {
            let text = format!("{} is not a number", word.text);
            return Err(self.fail(word.span, "hostid", text));
        };
        match u32::try_from(number) {
            Ok(id) if id != 0 => Ok(id),
            _ => Err(self.fail(word.span, "hostid", "hostid must be non-zero")),
        }
    }

    /// One pair, or several in braces.
    fn settings(&mut self, item: fn(&mut Self) -> Parsed<(Text, Num)>) -> Parsed<Vec<(Text, Num)>> {
        self.one_or_list(item)
    }

    fn limit(&mut self) -> Parsed<(Text, Num)> {
        let name = self.name("the name of a limit")?;
        let number = self.non_negative()?;
        // There are no rules for it, so a limit of it limits nothing; FreeBSD's files may have it.
        let known = Limits::NAMES.into_iter().chain(["eth-anchors"]);
        if !known.clone().any(|l| l.eq_ignore_ascii_case(&name.text)) {
            let near = crate::near::nearest(&name.text, known.clone());
            let hint = match near {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("known here: {}", known.collect::<Vec<_>>().join(" ")),
            };
            self.bare("pfctl: Bad pool name.".into());
            let text = format!("unable to set limit {} {}", name.text, number.n);
            return Err(self.fail_hint(name.span, "limit", text, Some(hint)));
        }
        Ok((name, number))
    }

    fn timeout(&mut self) -> Parsed<(Text, Num)> {
        let name = self.name("the name of a timeout")?;
        let number = self.non_negative()?;
        if timeout_named(&name.text).is_none() && !name.text.starts_with("sctp.") {
            self.bare("pfctl: illegal timeout name".into());
            let text = format!("unknown timeout {}", name.text);
            let hint = near_timeout(&name.text);
            return Err(self.fail_hint(name.span, "timeout", text, hint));
        }
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
            self.bare("pfctl: unknown state timeouts hint".into());
            let text = format!("unknown optimization {}", name.text);
            let hint = format!("known here: {}", NAMES.join(" "));
            return Err(self.fail_hint(name.span, "optimization", text, Some(hint)));
        }
        Ok(name)
    }

    fn ruleset_optimization(&mut self) -> Parsed<Text> {
        let name = self.names("none, basic or profile")?;
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
        let word = self.name("yes or no")?;
        if word.text == "yes" {
            return Ok(true);
        }
        let text = format!("invalid value '{}', expected 'yes' or 'no'", word.text);
        Err(self.fail(word.span, "yes-no", text))
    }

    /// A name, also the reserved word `all`.
    fn name_or_all(&mut self) -> Parsed<Text> {
        if self.take("all") {
            let (text, span) = ("all".into(), self.last);
            return Ok(Text { text, span });
        }
        self.name("an interface, a group or none")
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
        let watermarks = match self.at_char(b'(') {
            true => Some(self.watermarks()?),
            false => None,
        };
        let wrong = match watermarks {
            Some(_) if mode.text != "adaptive" => "syncookies start/end only apply to adaptive",
            Some((start, end)) if end >= start => "start must be higher than end",
            _ => return Ok(SetOption::Syncookies { mode, watermarks }),
        };
        self.bare(format!("pfctl: {wrong}"));
        let hint = Some(wrong.to_string());
        let text = "error setting syncookies";
        Err(self.fail_hint(mode.span, "syncookies", text, hint))
    }

    /// `(start 25%, end 12%)`: both in percent, either may be left out.
    fn watermarks(&mut self) -> Parsed<(u8, u8)> {
        let (mut start, mut end) = (0, 0);
        for (is_start, share) in self.list(b'(', b')', Self::watermark)? {
            match is_start {
                true => start = share,
                false => end = share,
            }
        }
        let start = if start == 0 { WATERMARK_START } else { start };
        let end = if end == 0 { start / 2 } else { end };
        Ok((start, end))
    }

    fn watermark(&mut self) -> Parsed<(bool, u8)> {
        let word = self.name("start or end")?;
        let share = self.name("a percentage")?;
        let digits = share.text.strip_suffix('%').map(str::parse::<f64>);
        let Some(Ok(value)) = digits else {
            return Err(self.unexpected_hint("a percentage is written as in 25%".into()));
        };
        if !(value > 0.0 && value <= 100.0) {
            return Err(self.fail(share.span, "syncookies", "illegal percentage value"));
        }
        match word.text.as_str() {
            "start" => Ok((true, value as u8)),
            "end" => Ok((false, value as u8)),
            _ => Err(self.fail(word.span, "syncookies", "illegal syncookie option")),
        }
    }
}

/// Share of the limit of states at which adaptive syncookies begin unless told otherwise, in percent.
const WATERMARK_START: u8 = 25;

/// A number as strtoul(3) reads it: decimal, `0x10`, `010`.
pub(crate) fn c_number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u64::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}
