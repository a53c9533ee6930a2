//! `pfctl -k`, `-F states` and `-s kills`: how a kill is begun, how far it is, and what is said when it is done. A kill that
//! takes longer than a moment is followed, a line each second; who types ^C gets the prompt back, and the kill goes on.
//!
//! Read first: pfctl(8), -k.

use control::api::{Api, KillView, Killing};

use crate::json;

/// In which words pfctl says how many were killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Words {
    /// `-k label`, `-k id`, `-k key`
    Killed,
    /// `-k HOST`, with so many second ones.
    Hosts(usize),
    /// `-F states`
    Cleared,
}

impl Words {
    fn said(self, killed: u64) -> String {
        match self {
            Words::Killed => format!("killed {killed} states\n"),
            Words::Hosts(to) => {
                format!("killed {killed} states from 1 sources and {to} destinations\n")
            }
            Words::Cleared => format!("{killed} states cleared\n"),
        }
    }
}

/// A kill that is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Waiting {
    kill: u32,
    words: Words,
    /// Seconds for which the last line was.
    said_s: u64,
    /// What else the command says, before, and once the kill is done.
    before: String,
    after: String,
    over: bool,
}

/// Begins a kill.
pub(crate) fn begin(
    which: &Killing,
    on: Option<&str>,
    api: &mut dyn Api,
) -> Result<KillView, String> {
    let begun = api.kill_states(which, on);
    begun.map_err(|error| format!("pfctl: {error}"))
}

/// How a kill has begun.
pub(crate) enum Begun {
    /// It is done, and this is to be said.
    Done(String),
    /// It is waited for.
    Waits(Waiting),
}

/// What a kill that was begun has to say, between what else the command says.
pub(crate) fn begun(view: &KillView, words: Words, before: &str, after: &str) -> Begun {
    if view.done {
        return Begun::Done(format!("{before}{}{after}", words.said(view.killed)));
    }
    Begun::Waits(Waiting {
        kill: view.kill,
        words,
        said_s: view.seconds,
        before: before.into(),
        after: after.into(),
        over: false,
    })
}

impl Waiting {
    /// A line each second, and the last one; none when that was said.
    pub(crate) fn poll(&mut self, api: &mut dyn Api) -> Option<String> {
        (!self.over).then(|| std::mem::take(&mut self.before) + &self.news(api))
    }

    fn news(&mut self, api: &mut dyn Api) -> String {
        let Some(view) = api.kill_progress(self.kill) else {
            self.over = true;
            let kill = self.kill;
            return format!("pfctl: kill {kill} is over, and what it came to is forgotten\n");
        };
        if view.done {
            self.over = true;
            return self.words.said(view.killed) + &self.after;
        }
        if !view.stalled.is_empty() {
            self.over = true;
            let so_far = so_far(&view);
            let text = format!("pfctl: {so_far}; pfctl -s kills shows how it ends\n");
            return text + &self.after;
        }
        if view.seconds == self.said_s {
            return String::new();
        }
        self.said_s = view.seconds;
        so_far(&view) + "\n"
    }

    /// What is said to whoever does not wait.
    pub(crate) fn left(&self, api: &mut dyn Api) -> String {
        let text = match api.kill_progress(self.kill) {
            Some(view) if !view.done => {
                let so_far = so_far(&view);
                format!("{so_far}; it goes on, pfctl -s kills shows it\n")
            }
            Some(view) => self.words.said(view.killed),
            None => String::new(),
        };
        text + &self.after
    }
}

/// How far a kill is, and why not further.
fn so_far(view: &KillView) -> String {
    let KillView {
        killed, percent, ..
    } = view;
    let mut out = format!("killed {killed} states so far, {percent}% of the table looked at");
    let names: Vec<String> = view.stalled.iter().map(u16::to_string).collect();
    match names.as_slice() {
        [] => {}
        [one] => out += &format!(", worker {one} stands still: its states live until it goes on"),
        some => {
            let some = some.join(" and ");
            out += &format!(", workers {some} stand still: their states live until they go on");
        }
    }
    out
}

/// `-s kills`
pub(crate) fn list(api: &mut dyn Api, as_json: bool) -> String {
    let kills = api.kills();
    if as_json {
        return json::text(&kills);
    }
    kills.iter().map(line).collect()
}

fn line(view: &KillView) -> String {
    let KillView {
        kill,
        what,
        killed,
        seconds,
        ..
    } = view;
    let came_to = match view.done {
        true => format!("killed {killed} states in {seconds} s"),
        false => format!("{}, for {seconds} s", so_far(view)),
    };
    format!("kill {kill}: {what}: {came_to}\n")
}
