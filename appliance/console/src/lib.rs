//! The serial console, sans-io: bytes from the line and time in, bytes for the line out. A serial line has no terminal
//! driver behind it, so editing, history, paging and echo are done here.
//!
//! May not know ports, files or threads; asks the control core through [`control::api::Api`] only. Needs nothing of
//! the terminal but printing, backspace and carriage return; what is more (clearing, asking for the size) only happens
//! when somebody asks for it.
//!
//! Read first: `docs/console.md`.

#![forbid(unsafe_code)]

mod address;
mod anchors;
mod bridge;
mod commands;
mod dialog;
mod duration;
mod editor;
mod explain;
mod filter;
mod follow;
mod json;
mod keys;
mod killing;
mod layers;
mod listing;
mod net;
mod netchange;
mod output;
mod painter;
mod pfchange;
mod pfctl;
mod ping;
mod tcpdump;
mod words;

use std::collections::VecDeque;
use std::time::Duration;

use control::api::Api;

use dialog::{Dialog, Next, Setup};
use editor::{Edit, Editor};
use filter::Filter;
use follow::Follow;
use keys::{Decoder, Key};
use output::Output;
use painter::Painter;
use ping::Ping;

pub use dialog::Random;

/// The size assumed until `resize` knows better.
pub const ROWS: u16 = 24;
/// See [`ROWS`].
pub const COLUMNS: u16 = 80;
/// A terminal that can tell its size does so within this time, at any speed.
const SIZE_WAIT: Duration = Duration::from_secs(2);
/// Between two looks at a running ping.
const PING_STEP: Duration = Duration::from_millis(20);
const MORE: &[u8] = b"--More--";

/// The console of one line.
pub struct Console {
    rows: u16,
    columns: u16,
    decoder: Decoder,
    editor: Editor,
    painter: Painter,
    mode: Mode,
    prompt: String,
    pager: bool,
    random: Random,
    out: Vec<u8>,
}

/// What keys mean just now.
enum Mode {
    /// A command is typed.
    Command,
    /// A question is answered.
    Dialog(Dialog),
    /// Lines wait for a key.
    Pager(VecDeque<String>),
    /// A ping runs.
    Ping(Ping, Filter),
    /// Something goes on printing.
    Follow(Follow, Filter),
    /// The terminal was asked for its size.
    Size(Duration),
}

/// What the caller does.
impl Console {
    /// A console on a line that shows `rows` by `columns` characters ([`ROWS`] and [`COLUMNS`] if nobody knows).
    /// `random` makes tokens, so it must be good.
    pub fn new(rows: u16, columns: u16, random: Random) -> Self {
        Console {
            rows: rows.max(2),
            columns: columns.max(20),
            decoder: Decoder::default(),
            editor: Editor::default(),
            painter: Painter::default(),
            mode: Mode::Command,
            prompt: String::new(),
            pager: true,
            random,
            out: Vec::new(),
        }
    }

    /// Greets, and begins the wizard if nothing was configured yet. Called once, and again by `exit`.
    pub fn start(&mut self, api: &mut dyn Api) {
        let status = api.status();
        self.set_prompt(&status.hostname);
        self.line("");
        self.line(&format!("Fugu {} on {}", status.version, status.hostname));
        if let Some(epitaph) = &status.epitaph {
            self.line(&format!("The previous run died: {epitaph}"));
        }
        if api.needs_wizard() {
            self.line("Nothing is configured yet, so everything is blocked.");
            let next = Setup::begin(api);
            self.follow(next);
        } else {
            self.line("help lists the commands.");
        }
        self.repaint();
    }

    /// Takes bytes from the line.
    pub fn feed(&mut self, bytes: &[u8], api: &mut dyn Api, now: Duration) {
        for byte in bytes {
            if let Some(key) = self.decoder.key(*byte) {
                self.on_key(key, api, now);
            }
        }
    }

    /// Looks after what runs: answers to a ping, a terminal that does not answer.
    pub fn poll(&mut self, now: Duration, api: &mut dyn Api) {
        match &mut self.mode {
            Mode::Ping(..) => self.poll_ping(api),
            Mode::Follow(..) => self.poll_follow(api),
            Mode::Size(until) if now >= *until => {
                let (rows, columns) = (self.rows, self.columns);
                self.finish(&format!(
                    "The terminal does not tell its size; {columns}x{rows} stays."
                ));
            }
            _ => {}
        }
    }

    /// When [`Console::poll`] should be called next; never, if nothing runs.
    pub fn poll_at(&self, now: Duration) -> Option<Duration> {
        match self.mode {
            Mode::Ping(..) | Mode::Follow(..) => Some(now + PING_STEP),
            Mode::Size(until) => Some(until),
            Mode::Command | Mode::Dialog(_) | Mode::Pager(_) => None,
        }
    }

    /// Bytes for the line.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Prints a message that nobody asked for, above the line being edited, which stays as it is.
    pub fn print_async(&mut self, text: &str) {
        self.painter.clear(&mut self.out);
        for line in text.lines() {
            self.line(line);
        }
        self.repaint();
    }
}

/// Keys.
impl Console {
    fn on_key(&mut self, key: Key, api: &mut dyn Api, now: Duration) {
        match &mut self.mode {
            Mode::Command => self.command_key(key, api, now),
            Mode::Dialog(_) => self.dialog_key(key, api),
            Mode::Pager(_) => self.pager_key(key),
            Mode::Ping(..) if key == Key::Ctrl(b'c') => {
                api.ping_stop();
                self.painter.clear(&mut self.out);
                self.line("^C");
                self.end_ping();
            }
            Mode::Size(_) => self.size_key(key),
            Mode::Follow(follow, _) if matches!(key, Key::Ctrl(b'c') | Key::Char(b'q')) => {
                let said = follow.stop(api);
                self.painter.clear(&mut self.out);
                self.line("^C");
                self.text(&said);
                self.end_follow();
            }
            Mode::Ping(..) | Mode::Follow(..) => {}
        }
    }

    fn command_key(&mut self, key: Key, api: &mut dyn Api, now: Duration) {
        if key == Key::Char(b'?') && self.question_mark_asks() {
            return self.explain(api);
        }
        match self.editor.key(key) {
            Edit::Changed => self.repaint(),
            Edit::Nothing => self.bell(),
            Edit::Enter => {
                self.end_line();
                let line = self.editor.take();
                self.editor.remember(&line);
                self.execute(&line, api, now);
            }
            Edit::NotMine => match key {
                Key::Tab => self.complete(api),
                Key::Ctrl(b'c') => {
                    self.editor.reset();
                    self.end_line_with("^C");
                    self.repaint();
                }
                Key::Ctrl(b'd') => self.exit(api),
                Key::Ctrl(b'l') => self.clear_screen(),
                _ => {}
            },
        }
    }

    fn dialog_key(&mut self, key: Key, api: &mut dyn Api) {
        // No history in a dialog: answers are not commands, and some are secret.
        if matches!(
            key,
            Key::Up | Key::Down | Key::Ctrl(b'p' | b'n' | b'r' | b'y')
        ) {
            return self.bell();
        }
        match self.editor.key(key) {
            Edit::Changed => self.repaint(),
            Edit::Nothing => self.bell(),
            Edit::Enter => {
                self.end_line();
                let line = self.editor.take();
                if let Mode::Dialog(dialog) = std::mem::replace(&mut self.mode, Mode::Command) {
                    let next = dialog.answer(&line, api, &mut self.random);
                    self.refresh_prompt(api);
                    self.follow(next);
                    self.repaint();
                }
            }
            Edit::NotMine if matches!(key, Key::Ctrl(b'c' | b'd')) => {
                self.editor.reset();
                self.end_line_with("^C");
                if let Mode::Dialog(dialog) = std::mem::replace(&mut self.mode, Mode::Command) {
                    self.text(dialog.left());
                }
                self.repaint();
            }
            Edit::NotMine if key == Key::Ctrl(b'l') => self.clear_screen(),
            Edit::NotMine => {}
        }
    }

    fn pager_key(&mut self, key: Key) {
        let lines = match key {
            Key::Char(b' ') | Key::Ctrl(b'f') => self.page(),
            Key::Enter | Key::Down | Key::Char(b'j') => 1,
            Key::Char(b'q' | b'Q') | Key::Ctrl(b'c' | b'd') => 0,
            _ => return self.bell(),
        };
        if let Mode::Pager(mut waiting) = std::mem::replace(&mut self.mode, Mode::Command) {
            self.painter.clear(&mut self.out);
            if lines > 0 {
                self.print_some(&mut waiting, lines);
            }
            if lines > 0 && !waiting.is_empty() {
                self.mode = Mode::Pager(waiting);
            }
            self.repaint();
        }
    }

    fn size_key(&mut self, key: Key) {
        match key {
            Key::CursorAt(rows, columns) if rows >= 2 && columns >= 20 => {
                (self.rows, self.columns) = (rows, columns);
                self.finish(&format!("{columns}x{rows}"));
            }
            Key::CursorAt(..) | Key::Ctrl(b'c') => self.finish("The size stays as it was."),
            // Typed ahead: it would be taken for part of the answer.
            _ => self.bell(),
        }
    }
}

/// Commands.
impl Console {
    fn execute(&mut self, line: &str, api: &mut dyn Api, now: Duration) {
        let parts = words::pipe(line);
        let (command, pipes) = parts
            .split_first()
            .map_or((line, &[][..]), |(c, p)| (c.as_str(), p));
        let command = words::split(command);
        let filter = match Filter::parse(pipes) {
            Ok(_) if command.is_empty() && !pipes.is_empty() => {
                Err("'|': a command is missing before it".to_string())
            }
            other => other,
        };
        match filter.and_then(|f| Ok((f, commands::run(&command, api)?))) {
            Ok((filter, output)) => self.on_output(output, filter, api, now),
            Err(why) => self.line(&why),
        }
        self.repaint();
    }

    fn on_output(&mut self, output: Output, mut filter: Filter, api: &mut dyn Api, now: Duration) {
        match output {
            Output::Text(text) => {
                self.refresh_prompt(api);
                let mut lines: VecDeque<String> = text
                    .lines()
                    .filter(|l| filter.passes(l))
                    .map(clean)
                    .collect();
                lines.extend(filter.finish());
                self.page_or_end(lines);
            }
            Output::Ask(next) => self.follow(next),
            Output::Ping(to) => {
                let ping = Ping::new(to);
                self.line(&ping.title());
                self.mode = Mode::Ping(ping, filter);
            }
            Output::Follow(follow) => {
                self.mode = Mode::Follow(follow, filter);
                self.poll_follow(api);
            }
            Output::AskSize => {
                // Save the cursor, go as far as possible, ask where that is, come back (VT100 user guide, chapter 3).
                self.out
                    .extend_from_slice(b"\x1b7\x1b[999;999H\x1b[6n\x1b8");
                self.mode = Mode::Size(now + SIZE_WAIT);
            }
            Output::Size(rows, columns) => (self.rows, self.columns) = (rows, columns),
            Output::Pager(on) => self.pager = on,
            Output::Clear => self.clear_screen(),
            Output::Exit => self.exit(api),
        }
    }

    /// Says what a dialog says and asks what it asks.
    fn follow(&mut self, next: Next) {
        self.text(&next.text);
        self.mode = next.dialog.map_or(Mode::Command, Mode::Dialog);
    }

    fn exit(&mut self, api: &mut dyn Api) {
        self.editor = Editor::default();
        self.end_line();
        self.start(api);
    }

    fn poll_ping(&mut self, api: &mut dyn Api) {
        let replies = api.ping_poll();
        let Mode::Ping(ping, filter) = &mut self.mode else {
            return;
        };
        let Some(replies) = replies else {
            return self.end_ping();
        };
        let lines: Vec<String> = replies
            .iter()
            .map(|r| ping.line(r))
            .filter(|l| filter.passes(l))
            .collect();
        for line in lines {
            self.line(&line);
        }
    }

    fn poll_follow(&mut self, api: &mut dyn Api) {
        let Mode::Follow(follow, filter) = &mut self.mode else {
            return;
        };
        let Some(text) = follow.poll(api) else {
            return self.end_follow();
        };
        let lines = text.lines().filter(|l| filter.passes(l)).map(clean);
        let lines: Vec<String> = lines.collect();
        for line in lines {
            self.line(&line);
        }
    }

    fn end_follow(&mut self) {
        if let Mode::Follow(_, filter) = std::mem::replace(&mut self.mode, Mode::Command)
            && let Some(count) = filter.finish()
        {
            self.line(&count);
        }
        self.repaint();
    }

    fn end_ping(&mut self) {
        if let Mode::Ping(ping, mut filter) = std::mem::replace(&mut self.mode, Mode::Command) {
            for line in ping.summary().lines().filter(|l| filter.passes(l)) {
                self.line(line);
            }
            if let Some(count) = filter.finish() {
                self.line(&count);
            }
        }
        self.repaint();
    }

    /// Ends what had no line of its own.
    fn finish(&mut self, text: &str) {
        self.mode = Mode::Command;
        self.painter.clear(&mut self.out);
        self.line(text);
        self.repaint();
    }
}

/// Completion and `?`.
impl Console {
    /// True unless the `?` belongs to a pattern or stands in quotes.
    fn question_mark_asks(&self) -> bool {
        let before = self.before_cursor();
        let quoted = before.matches('"').count() % 2 == 1;
        let words = words::split(words::pipe(&before).last().map_or("", String::as_str));
        let in_pattern =
            words.first().is_some_and(|w| w == "match") && words::pipe(&before).len() > 1;
        !quoted && !in_pattern && self.editor.search_prompt().is_none()
    }

    fn before_cursor(&self) -> String {
        self.editor.text()[..self.editor.cursor()].to_string()
    }

    /// What could stand at the cursor, and how much of it was typed.
    fn candidates(&mut self, api: &mut dyn Api) -> (commands::Candidates, String) {
        let before = self.before_cursor();
        let parts = words::pipe(&before);
        let part = parts.last().map_or("", String::as_str);
        let mut words = words::split(part);
        let partial = if part.ends_with(' ') || part.is_empty() {
            String::new()
        } else {
            words.pop().unwrap_or_default()
        };
        let mut found = match (parts.len(), words.len()) {
            (1, _) => commands::candidates(&words, api),
            (_, 0) => vec![
                ("match".into(), "lines that match a pattern"),
                ("count".into(), "how many lines"),
            ],
            _ => Vec::new(),
        };
        // The line holds ASCII only, so other names cannot be completed.
        found.retain(|(name, _)| name.is_ascii() && name.starts_with(&partial));
        (found, partial)
    }

    fn complete(&mut self, api: &mut dyn Api) {
        let (found, partial) = self.candidates(api);
        let common = common_prefix(found.iter().map(|(name, _)| name.as_str()));
        let more = common.get(partial.len()..).unwrap_or("").to_string();
        match (found.len(), more.as_str()) {
            (0, _) => self.bell(),
            (1, more) => {
                self.editor.insert(format!("{more} ").as_bytes());
                self.repaint();
            }
            (_, "") => {
                self.end_line();
                let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
                for line in columns(&names, usize::from(self.columns)) {
                    self.line(&line);
                }
                self.repaint();
            }
            (_, more) => {
                self.editor.insert(more.as_bytes());
                self.repaint();
            }
        }
    }

    fn explain(&mut self, api: &mut dyn Api) {
        let (found, _) = self.candidates(api);
        self.end_line();
        if found.is_empty() {
            self.line("  Nothing that is known can come here.");
        }
        for (name, help) in found {
            self.line(&clean(&format!("  {name:<12} {help}")));
        }
        self.repaint();
    }
}

/// Printing.
impl Console {
    fn set_prompt(&mut self, hostname: &str) {
        // Half the line at least is for what is typed.
        let room = usize::from(self.columns) / 2 - 2;
        let name: String = clean(hostname)
            .chars()
            .filter(char::is_ascii)
            .take(room)
            .collect();
        self.prompt = format!("{}> ", if name.is_empty() { "fugu" } else { &name });
    }

    /// A bundle may have changed `myname`.
    fn refresh_prompt(&mut self, api: &mut dyn Api) {
        let hostname = api.status().hostname;
        self.set_prompt(&hostname);
    }

    fn line(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn text(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&clean(line));
        }
    }

    fn bell(&mut self) {
        self.out.push(0x07);
    }

    /// Leaves the line being edited on the screen and goes to the next.
    fn end_line(&mut self) {
        self.end_line_with("");
    }

    fn end_line_with(&mut self, mark: &str) {
        self.out.extend_from_slice(mark.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.painter.forget();
    }

    fn clear_screen(&mut self) {
        self.out.extend_from_slice(b"\x1b[H\x1b[2J");
        self.painter.forget();
        self.repaint();
    }

    /// Makes the last line what it should be.
    fn repaint(&mut self) {
        let (line, column) = self.bottom_line();
        self.painter.paint(&mut self.out, &line, column);
    }

    fn bottom_line(&self) -> (Vec<u8>, usize) {
        let prompt = match &self.mode {
            Mode::Pager(_) => return (MORE.to_vec(), MORE.len()),
            Mode::Ping(..) | Mode::Follow(..) | Mode::Size(_) => return (Vec::new(), 0),
            Mode::Dialog(d) => d.prompt(),
            Mode::Command => self
                .editor
                .search_prompt()
                .unwrap_or_else(|| self.prompt.clone()),
        };
        let mut line = prompt.into_bytes();
        // Never in the last column: terminals differ in what happens then. And some room is for what is typed.
        let width = usize::from(self.columns) - 1;
        line.truncate(width - 10);
        if matches!(&self.mode, Mode::Dialog(d) if d.is_secret()) {
            let column = line.len();
            return (line, column);
        }
        let text = self.editor.text();
        let (from, to) = window(text.len(), self.editor.cursor(), width - line.len());
        let column = line.len() + self.editor.cursor() - from;
        line.extend_from_slice(&text.as_bytes()[from..to]);
        (line, column)
    }

    /// Rows of text on one page; one is for `--More--`.
    fn page(&self) -> usize {
        usize::from(self.rows) - 1
    }

    /// Prints as many lines as fill `rows` rows of the screen, at least one.
    fn print_some(&mut self, lines: &mut VecDeque<String>, rows: usize) {
        let mut left = rows;
        while let Some(line) = lines.front() {
            let takes = self.rows_of(line);
            if takes > left && left < rows {
                return;
            }
            left = left.saturating_sub(takes);
            if let Some(line) = lines.pop_front() {
                self.line(&line);
            }
            if left == 0 {
                return;
            }
        }
    }

    fn rows_of(&self, line: &str) -> usize {
        // A tab counts as eight: at worst a page ends a little early.
        let width: usize = line.chars().map(|c| if c == '\t' { 8 } else { 1 }).sum();
        width.div_ceil(usize::from(self.columns)).max(1)
    }

    /// Prints lines if they fit on the screen (or nobody is to be stopped), else the first page.
    fn page_or_end(&mut self, mut lines: VecDeque<String>) {
        let rows: usize = lines.iter().map(|l| self.rows_of(l)).sum();
        if !self.pager || rows <= self.page() {
            for line in lines {
                self.line(&line);
            }
            self.mode = Mode::Command;
            return;
        }
        let page = self.page();
        self.print_some(&mut lines, page);
        self.mode = if lines.is_empty() {
            Mode::Command
        } else {
            Mode::Pager(lines)
        };
    }
}

/// A line without control characters: a description in a bundle must not move the cursor of who reads it.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' { '?' } else { c })
        .collect()
}

/// Which part of a text of `len` characters is shown in `room` columns, so that the cursor is in it. Moves by half of the
/// room, so that typing on at the end of a long line does not redraw all of it for each key.
fn window(len: usize, cursor: usize, room: usize) -> (usize, usize) {
    let step = (room / 2).max(1);
    let from = if cursor < room {
        0
    } else {
        (cursor - room) / step * step + step
    };
    (from, len.min(from + room))
}

fn common_prefix<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let mut common = names.next().unwrap_or("").to_string();
    for name in names {
        let same = common
            .bytes()
            .zip(name.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        common.truncate(same);
    }
    common
}

/// Names side by side.
fn columns(names: &[&str], width: usize) -> Vec<String> {
    let cell = names.iter().map(|n| n.len()).max().unwrap_or(0) + 2;
    let per_line = (width / cell).max(1);
    let join = |chunk: &[&str]| {
        let line: String = chunk.iter().map(|n| format!("{n:<cell$}")).collect();
        line.trim_end().to_string()
    };
    names.chunks(per_line).map(join).collect()
}

#[cfg(test)]
mod tests;
