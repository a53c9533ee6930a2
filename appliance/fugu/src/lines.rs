//! Where people sit: terminals and sockets on one side, a [`console::Console`] per line on the other. Each line has a thread
//! that reads and one that writes, so a slow serial line never holds up the control thread; what lies between is bounded.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::Thread;
use std::time::Duration;

use console::Console;
use control::api::Api;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::args::ConsoleAt;
use crate::supervise::guarded;

/// Pieces of output on their way to a line's writer.
const PIECES_MAX: usize = 16;
/// Output kept for a line that does not keep up, in bytes; log lines beyond that are not shown on it.
const PENDING_MAX: usize = 1 << 20;
/// A terminal that went away is looked for again after this.
const REOPEN: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 512;

/// What happens on a line.
enum Input {
    /// Somebody is there.
    Opened(SyncSender<Vec<u8>>, (u16, u16)),
    /// Bytes from him.
    Bytes(Vec<u8>),
    /// He is gone.
    Closed,
}

/// One line.
#[derive(Default)]
struct Line {
    writer: Option<SyncSender<Vec<u8>>>,
    console: Option<Console>,
    size: (u16, u16),
    pending: Vec<u8>,
}

/// All lines.
pub(crate) struct Lines {
    inputs: Receiver<(usize, Input)>,
    lines: Vec<Line>,
    restore: Vec<(File, Termios)>,
    consoles_began: bool,
}

impl Lines {
    /// Opens them. `wake` is unparked when something comes in.
    pub(crate) fn open(at: &ConsoleAt, wake: &Thread) -> io::Result<Lines> {
        let (sender, inputs) = channel();
        let mut lines = Lines {
            inputs,
            lines: Vec::new(),
            restore: Vec::new(),
            consoles_began: false,
        };
        let port = |line: usize| Port {
            line,
            sender: sender.clone(),
            wake: wake.clone(),
        };
        match at {
            ConsoleAt::None => {}
            ConsoleAt::Stdio => {
                lines.remember_terminal()?;
                let port = port(0);
                lines.lines.push(Line::default());
                spawn("console", move || port.serve(io::stdin(), io::stdout()))?;
            }
            ConsoleAt::Unix(path) => {
                let listener = listen(path)?;
                let port = port(0);
                lines.lines.push(Line::default());
                spawn("console", move || port.accept(&listener))?;
            }
            ConsoleAt::Devices(paths) => {
                for (n, path) in paths.iter().enumerate() {
                    let (port, path) = (port(n), path.clone());
                    lines.lines.push(Line::default());
                    spawn("console", move || port.serve_device(&path))?;
                }
            }
        }
        Ok(lines)
    }

    /// A workstation's terminal must be as it was when the program ends.
    fn remember_terminal(&mut self) -> io::Result<()> {
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        if isatty(&stdin) {
            let before = tcgetattr(&stdin)?;
            self.restore.push((stdin, before));
        }
        Ok(())
    }

    /// True if there is anybody to print to.
    pub(crate) fn has_writer(&self) -> bool {
        self.lines.iter().any(|line| line.writer.is_some())
    }

    /// Greets on every line that is there. Before this, lines only show messages.
    pub(crate) fn begin_consoles(&mut self, api: &mut dyn Api) {
        self.consoles_began = true;
        for line in self.lines.iter_mut().filter(|l| l.writer.is_some()) {
            line.start_console(api);
        }
    }

    /// Shows a message on all lines, above what is being typed.
    pub(crate) fn print(&mut self, text: &str) {
        for line in self.lines.iter_mut().filter(|l| l.writer.is_some()) {
            line.print(text);
        }
    }

    /// Takes what came in, lets consoles work, passes on what they say. True if anything came in.
    pub(crate) fn poll(&mut self, now: Duration, api: &mut dyn Api) -> bool {
        let mut any = false;
        while let Ok((n, input)) = self.inputs.try_recv() {
            any = true;
            let began = self.consoles_began;
            if let Some(line) = self.lines.get_mut(n) {
                line.take(input, began, now, api);
            }
        }
        for line in &mut self.lines {
            line.poll(now, api);
            line.send();
        }
        any
    }

    /// When a console has something to do by itself.
    pub(crate) fn poll_at(&self, now: Duration) -> Option<Duration> {
        let consoles = self
            .lines
            .iter()
            .filter_map(|l| l.console.as_ref()?.poll_at(now));
        let unsent = self
            .lines
            .iter()
            .any(|l| l.writer.is_some() && !l.pending.is_empty());
        consoles
            .chain(unsent.then(|| now + Duration::from_millis(10)))
            .min()
    }

    /// Writes what is left, and puts the terminal back.
    pub(crate) fn close(mut self) {
        for line in &mut self.lines {
            if let Some(writer) = line.writer.take() {
                // The writer ends when the sender is gone; a moment is enough for a terminal, and none is owed to others.
                writer.try_send(std::mem::take(&mut line.pending)).ok();
            }
        }
        std::thread::sleep(Duration::from_millis(20));
        for (terminal, before) in &self.restore {
            tcsetattr(terminal, OptionalActions::Drain, before).ok();
        }
    }
}

impl Line {
    fn take(&mut self, input: Input, began: bool, now: Duration, api: &mut dyn Api) {
        match input {
            Input::Opened(writer, size) => {
                *self = Line {
                    writer: Some(writer),
                    size,
                    ..Line::default()
                };
                if began {
                    self.start_console(api);
                }
            }
            Input::Closed => *self = Line::default(),
            Input::Bytes(bytes) => {
                let Some(console) = &mut self.console else {
                    return;
                };
                if guarded("console", || console.feed(&bytes, api, now)).is_none() {
                    self.start_console(api);
                }
            }
        }
    }

    fn start_console(&mut self, api: &mut dyn Api) {
        let (rows, columns) = self.size;
        let mut console = Console::new(rows, columns, Box::new(crate::clock::random));
        let started = guarded("console", || {
            console.start(api);
            console
        });
        self.console = started;
    }

    fn poll(&mut self, now: Duration, api: &mut dyn Api) {
        let Some(console) = &mut self.console else {
            return;
        };
        let said = guarded("console", || {
            console.poll(now, api);
            console.take_output()
        });
        match said {
            Some(said) => self.pending.extend(said),
            None => self.start_console(api),
        }
    }

    fn print(&mut self, text: &str) {
        if self.pending.len() > PENDING_MAX {
            return;
        }
        match &mut self.console {
            Some(console) => console.print_async(text),
            None => self.pending.extend(format!("{text}\r\n").bytes()),
        }
    }

    fn send(&mut self) {
        let Some(writer) = &self.writer else {
            self.pending.clear();
            return;
        };
        if self.pending.is_empty() {
            return;
        }
        match writer.try_send(std::mem::take(&mut self.pending)) {
            Ok(()) => {}
            Err(TrySendError::Full(bytes)) => self.pending = bytes,
            Err(TrySendError::Disconnected(_)) => *self = Line::default(),
        }
    }
}

/// What a line's threads hold.
struct Port {
    line: usize,
    sender: Sender<(usize, Input)>,
    wake: Thread,
}

impl Port {
    fn tell(&self, input: Input) -> bool {
        let told = self.sender.send((self.line, input)).is_ok();
        self.wake.unpark();
        told
    }

    /// Reads until the end.
    fn serve(&self, input: impl Read + AsFd, output: impl Write + Send + 'static) {
        make_raw(&input);
        let size = size_of(&input);
        let (writer, pieces) = sync_channel(PIECES_MAX);
        if spawn("console writer", move || write_pieces(output, &pieces)).is_err() {
            return;
        }
        self.tell(Input::Opened(writer, size));
        self.read(input);
        self.tell(Input::Closed);
    }

    fn read(&self, mut input: impl Read) {
        let mut bytes = [0; READ_BYTES];
        loop {
            match input.read(&mut bytes) {
                Ok(0) => return,
                Ok(n) => {
                    if !self.tell(Input::Bytes(bytes[..n].to_vec())) {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn accept(&self, listener: &UnixListener) {
        for client in listener.incoming().flatten() {
            if let Ok(output) = client.try_clone() {
                self.serve(client, output);
            }
        }
    }

    /// A serial line stays, whoever hangs up.
    fn serve_device(&self, path: &Path) {
        loop {
            let input = OpenOptions::new().read(true).write(true).open(path);
            match input.and_then(|input| Ok((input.try_clone()?, input))) {
                Ok((output, input)) => self.serve(input, output),
                Err(error) => log::warn!("console {}: {error}", path.display()),
            }
            std::thread::sleep(REOPEN);
        }
    }
}

fn write_pieces(mut output: impl Write, pieces: &Receiver<Vec<u8>>) {
    while let Ok(piece) = pieces.recv() {
        if output
            .write_all(&piece)
            .and_then(|()| output.flush())
            .is_err()
        {
            return;
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
}

/// The socket of an earlier run is replaced; only the owner may connect, for the console asks nobody who he is.
fn listen(path: &PathBuf) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The console edits lines itself.
fn make_raw(terminal: &impl AsFd) {
    if !isatty(terminal) {
        return;
    }
    if let Ok(mut settings) = tcgetattr(terminal) {
        settings.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &settings).ok();
    }
}

/// Rows and columns, where the terminal knows them.
fn size_of(terminal: &impl AsFd) -> (u16, u16) {
    match tcgetwinsize(terminal) {
        Ok(size) if size.ws_row > 1 && size.ws_col > 19 => (size.ws_row, size.ws_col),
        _ => (console::ROWS, console::COLUMNS),
    }
}
