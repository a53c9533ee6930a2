//! `set …`: what the options of a ruleset are after the whole file was read. Read first: pf.conf(5), OPTIONS.

use ruleset::{Limits, SynCookies, Timeout, Timeouts};

use crate::ast::{IfItem, IfKind, Num, SetOption, Text};
use crate::build::Builder;
use crate::message::{Audience, Message};
use crate::resolve::Resolved;
use crate::source::Span;

/// The options of a ruleset; the defaults are PF's.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) block_returns: bool,
    pub(crate) if_bound: bool,
    pub(crate) timeouts: Timeouts,
    adaptive_set: bool,
    pub(crate) limits: Limits,
    /// Names with the places they were written at.
    pub(crate) skip: Vec<(String, Span)>,
    pub(crate) reassemble: bool,
    pub(crate) reassemble_no_df: bool,
    pub(crate) log_interface: Option<String>,
    pub(crate) debug: String,
    pub(crate) host_id: Option<u32>,
    pub(crate) ruleset_optimization: Option<String>,
    /// `set fingerprints`, and where it stands.
    pub(crate) fingerprints: Option<(String, Span)>,
    /// Mode, and percentages of the limit of states.
    syncookies: CookieMode,
    /// Where each option was set, by its name: `limit states`.
    pub(crate) places: Vec<(String, Span)>,
}

/// `set syncookies`, as written.
#[derive(Clone, Copy, Debug)]
enum CookieMode {
    Never,
    Always,
    /// Percent of the limit of states: start, end.
    Adaptive((u32, u32)),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            block_returns: false,
            if_bound: false,
            timeouts: Timeouts::default(),
            adaptive_set: false,
            limits: Limits::default(),
            skip: Vec::new(),
            reassemble: true,
            reassemble_no_df: false,
            log_interface: None,
            debug: "err".into(),
            host_id: None,
            ruleset_optimization: None,
            fingerprints: None,
            syncookies: CookieMode::Never,
            places: Vec::new(),
        }
    }
}

/// Seconds of the seven TCP timeouts, first to tsdiff, under each optimization.
const OPTIMIZATIONS: [(&str, [u32; 7]); 5] = [
    ("normal", [120, 30, 86400, 900, 45, 90, 30]),
    ("satellite", [180, 35, 86400, 905, 50, 95, 60]),
    ("high-latency", [180, 35, 86400, 905, 50, 95, 60]),
    ("conservative", [3600, 900, 432_000, 3600, 600, 180, 60]),
    ("aggressive", [30, 5, 18000, 60, 30, 30, 10]),
];

impl Settings {
    fn optimize(&mut self, name: &str) {
        let mut all = OPTIMIZATIONS.iter();
        if let Some((_, seconds)) = all.find(|o| o.0.eq_ignore_ascii_case(name)) {
            for (class, seconds) in Timeout::ALL.into_iter().zip(seconds) {
                self.timeouts.set(class, *seconds);
            }
        }
    }

    fn set_timeout(&mut self, name: &str, seconds: u32) {
        if let Some(class) = Timeout::ALL.into_iter().find(|t| t.name() == name) {
            let adaptive = [Timeout::AdaptiveStart, Timeout::AdaptiveEnd];
            self.adaptive_set |= adaptive.contains(&class);
            self.timeouts.set(class, seconds);
        }
    }

    fn set_limit(&mut self, name: &str, value: u32) {
        if let Some(limit) = self.limits.get_mut(&name.to_ascii_lowercase()) {
            // pf.conf(5): 0 is no limit.
            *limit = if value == 0 { u32::MAX } else { value };
        }
    }

    /// True if the text sets no adaptive timeout, so that they follow the limit of states.
    pub(crate) fn adaptive_follows_limit(&self) -> bool {
        !self.adaptive_set
    }

    fn set_syncookies(&mut self, mode: &str, watermarks: Option<(u8, u8)>) {
        /// pf.conf(5): 25 % and 12 %.
        const DEFAULT: (u32, u32) = (25, 12);
        let percent = |(start, end): (u8, u8)| (u32::from(start), u32::from(end));
        self.syncookies = match mode {
            "always" => CookieMode::Always,
            "adaptive" => CookieMode::Adaptive(watermarks.map_or(DEFAULT, percent)),
            _ => CookieMode::Never,
        };
    }

    /// What `set syncookies` says, in states: of the limit that holds in the end.
    pub(crate) fn final_syncookies(&self) -> SynCookies {
        match self.syncookies {
            CookieMode::Never => SynCookies::Never,
            CookieMode::Always => SynCookies::Always,
            CookieMode::Adaptive((start, end)) => {
                SynCookies::adaptive(self.limits.states, start, end)
            }
        }
    }

    /// The timeouts of the ruleset: unless set, the adaptive ones follow the limit of states (60 % and 120 %).
    pub(crate) fn final_timeouts(&self) -> Timeouts {
        let mut timeouts = self.timeouts;
        if !self.adaptive_set {
            // Without a limit of states there is none to come near to.
            let tenth = match self.limits.states {
                u32::MAX => 0,
                limit => limit / 10,
            };
            timeouts.set(Timeout::AdaptiveStart, tenth.saturating_mul(6));
            timeouts.set(Timeout::AdaptiveEnd, tenth.saturating_mul(12));
        }
        timeouts
    }
}

/// The names that [`Settings::places`] has for what a statement sets, with their places.
fn names_of(option: &SetOption, span: Span) -> Vec<(String, Span)> {
    let name = match option {
        SetOption::BlockPolicy { .. } => "block-policy",
        SetOption::FailPolicy { .. } => "fail-policy",
        SetOption::KeepCounters => "keepcounters",
        SetOption::Debug(_) => "debug",
        SetOption::Fingerprints(_) => "fingerprints",
        SetOption::HostId(_) => "hostid",
        SetOption::LogInterface(_) => "loginterface",
        SetOption::Reassemble { .. } => "reassemble",
        SetOption::SkipOn(_) => "skip on",
        SetOption::StatePolicy { .. } => "state-policy",
        SetOption::Syncookies { .. } => "syncookies",
        SetOption::RequireOrder { .. }
        | SetOption::RulesetOptimization(_)
        | SetOption::StateDefaults(_) => return Vec::new(),
        SetOption::Optimization(_) => {
            let tcp = Timeout::ALL
                .into_iter()
                .filter(|t| t.name().starts_with("tcp."));
            return tcp
                .map(|t| (format!("timeout {}", t.name()), span))
                .collect();
        }
        SetOption::Limits(limits) => {
            let all = limits.iter();
            return all
                .map(|(n, _)| (format!("limit {}", n.text.to_ascii_lowercase()), n.span))
                .collect();
        }
        SetOption::Timeouts(timeouts) => {
            let all = timeouts.iter();
            return all
                .map(|(n, _)| (format!("timeout {}", n.text), n.span))
                .collect();
        }
    };
    vec![(name.into(), span)]
}

impl Builder<'_> {
    pub(crate) fn set(&mut self, option: &SetOption, span: Span) -> Resolved<()> {
        self.settings.places.extend(names_of(option, span));
        let text = match option {
            SetOption::BlockPolicy { returns } => {
                self.settings.block_returns = *returns;
                format!("block-policy {}", drop_or_return(*returns))
            }
            SetOption::FailPolicy { returns } => {
                format!("fail-policy {}", drop_or_return(*returns))
            }
            SetOption::KeepCounters => "keepcounters".into(),
            SetOption::Debug(level) => {
                self.settings.debug.clone_from(&level.text);
                format!("debug {}", level.text)
            }
            SetOption::Fingerprints(file) => self.fingerprints(file)?,
            SetOption::HostId(id) => {
                self.settings.host_id = Some(*id);
                format!("hostid 0x{id:08x}")
            }
            SetOption::Limits(limits) => return self.limits(limits),
            SetOption::LogInterface(name) => {
                let none = name.text == "none";
                self.settings.log_interface = (!none).then(|| name.text.clone());
                format!("loginterface {}", name.text)
            }
            SetOption::Optimization(name) => {
                self.settings.optimize(&name.text);
                format!("optimization {}", name.text)
            }
            SetOption::Reassemble { on, no_df } => {
                self.settings.reassemble = *on;
                self.settings.reassemble_no_df = *no_df;
                // pfctl leaves a blank at the end of the line without no-df.
                let (on, no_df) = (yes_or_no(*on), if *no_df { "no-df" } else { "" });
                format!("reassemble {on} {no_df}")
            }
            SetOption::RequireOrder { on } => format!("require-order {}", yes_or_no(*on)),
            SetOption::RulesetOptimization(how) => {
                // The first one counts.
                let slot = &mut self.settings.ruleset_optimization;
                slot.get_or_insert_with(|| how.text.clone());
                return Ok(());
            }
            SetOption::SkipOn(items) => {
                return self.skip_on(items, span);
            }
            SetOption::StateDefaults(opts) => {
                if self.state_defaults.is_some() {
                    let text = "cannot redefine state-defaults";
                    return Err(self.fail(span, "respecified", text));
                }
                self.state_defaults = Some(opts.clone());
                return Ok(());
            }
            SetOption::StatePolicy { if_bound } => {
                self.settings.if_bound = *if_bound;
                let word = if *if_bound { "if-bound" } else { "floating" };
                format!("state-policy {word}")
            }
            SetOption::Syncookies { mode, watermarks } => {
                self.settings.set_syncookies(&mode.text, *watermarks);
                syncookies_text(mode, *watermarks)
            }
            SetOption::Timeouts(timeouts) => {
                for (name, number) in timeouts {
                    self.settings.set_timeout(&name.text, number.n as u32);
                    self.output += &format!("set timeout {} {}\n", name.text, number.n);
                }
                return Ok(());
            }
        };
        self.output += &format!("set {text}\n");
        Ok(())
    }

    fn limits(&mut self, limits: &[(Text, Num)]) -> Resolved<()> {
        for (name, number) in limits {
            self.settings.set_limit(&name.text, number.n as u32);
            self.output += &format!("set limit {} {}\n", name.text, number.n);
        }
        Ok(())
    }

    fn fingerprints(&mut self, file: &Text) -> Resolved<String> {
        self.settings.fingerprints = Some((file.text.clone(), file.span));
        Ok(format!("fingerprints \"{}\"", file.text))
    }

    /// `set skip on { a b }`; `none` alone, and nothing at all, take every name off the list.
    fn skip_on(&mut self, items: &[IfItem], span: Span) -> Resolved<()> {
        let none = |item: &IfItem| !item.not && item.kind == IfKind::Name("none".into());
        if items.is_empty() || matches!(items, [one] if none(one)) {
            self.output += "set skip on none\n";
            self.settings.skip.clear();
            return Ok(());
        }
        self.output += "set skip on {";
        let mut wrong = Ok(());
        for item in items {
            let name = match &item.kind {
                IfKind::Name(name) => name.as_str(),
                IfKind::Any => "any",
                _ => "",
            };
            self.output += &format!(" {name}");
            if item.not {
                let text = "skip on ! <interface> is not supported";
                wrong = Err(self.fail(item.span, "skip", text));
            } else if name.is_empty() {
                let text = "skip on rdomain <num> is not supported";
                wrong = Err(self.fail(item.span, "skip", text));
            } else {
                self.mention_interface(name, item.span);
                self.settings.skip.push((name.into(), item.span));
            }
        }
        self.output += " }\n";
        if wrong.is_err() {
            let text = "error setting skip interface(s)";
            let echo = Message::error("skip", span, text).to(Audience::Pfctl);
            self.messages.add(echo.pfctl_line(self.line));
        }
        wrong
    }
}

fn drop_or_return(returns: bool) -> &'static str {
    if returns { "return" } else { "drop" }
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn syncookies_text(mode: &Text, watermarks: Option<(u8, u8)>) -> String {
    match watermarks {
        Some((start, end)) => format!("syncookies {} (start {start}%, end {end}%)", mode.text),
        None => format!("syncookies {}", mode.text),
    }
}
