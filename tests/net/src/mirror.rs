//! Owns a small web server that says who it is and whom it sees: which way a connection took and with which source is
//! then in the page that curl prints.

use crate::{Context, Namespace, Result};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks for connections, and how long a client may take to ask.
const TURN: Duration = Duration::from_millis(5);
const ASKING: Duration = Duration::from_secs(5);

/// A running server; ends with the value.
#[derive(Debug)]
pub struct Mirror {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Answers `NAME saw ADDRESS` to every request on these TCP ports of `host`, IPv4 and IPv6.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn serve(host: &Namespace, name: &'static str, ports: &[u16]) -> Result<Self> {
        let listeners = host.inside(|| {
            let each = ports.iter().map(|port| {
                let listener = TcpListener::bind(("::", *port)).context(port)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            each.collect::<Result<Vec<_>>>()
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                for (stream, from) in listeners.iter().filter_map(|l| l.accept().ok()) {
                    // A client that does not ask properly gets no answer, and its test sees that.
                    answer(stream, &format!("{name} saw {}", from.ip().to_canonical())).ok();
                }
                std::thread::sleep(TURN);
            }
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

fn answer(mut stream: TcpStream, text: &str) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ASKING))?;
    let (mut request, mut piece) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            n => request.extend_from_slice(&piece[..n]),
        }
    }
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}"
    )
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}
