//! Owns traffic that goes on while something is done to the box: many TCP connections that move data, each byte of which
//! is checked, and an echo for UDP.

use crate::{Context, Failure, Namespace, PATIENCE, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that each connection sends and gets back in a round.
const PIECE: usize = 64;
/// Longest wait before looking at the deadline again.
const TURN: Duration = Duration::from_millis(100);
/// A round takes at least this long: a crowd at full speed would leave nothing of two cores for the program.
const PACE: Duration = Duration::from_millis(50);
/// A round in which a connection loses packets several times in a row still ends within this.
const ROUND: Duration = Duration::from_secs(30);

/// Connections from one host to another that move data until told to stop.
#[derive(Debug)]
pub struct Crowd {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
    size: usize,
}

/// One connection, both of its ends.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    /// Bytes that the client still has to hear in this round.
    missing: usize,
    /// Bytes heard so far; the next one has this number.
    heard: u64,
}

impl Crowd {
    /// Connects `size` times from `client` to `to`, an address of `server`, and begins to move data.
    ///
    /// # Errors
    /// When a connection does not come about.
    pub fn start(
        client: &Namespace,
        server: &Namespace,
        to: SocketAddr,
        size: usize,
    ) -> Result<Self> {
        let listener = server.inside(|| TcpListener::bind(to).context(to))?;
        // One after the other: the backlog of a listener is short.
        let one = |_| {
            pair(
                TcpStream::connect_timeout(&to, PATIENCE).context(to)?,
                &listener,
            )
        };
        let mut pairs: Vec<Pair> = client.inside(|| (0..size).map(one).collect())?;
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (asked, counted) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                let began = Instant::now();
                round(&mut pairs)?;
                std::thread::sleep(PACE.saturating_sub(began.elapsed()));
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Ok(Self {
            stop,
            rounds,
            thread: Some(thread),
            size,
        })
    }

    /// Rounds that have ended: in each, every connection moved data both ways.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Waits until every connection has moved data that was not sent before this call.
    ///
    /// # Errors
    /// When one is broken.
    pub fn must_go_on(&self) -> Result<()> {
        // The round that is under way may have begun before.
        let wanted = self.rounds() + 2;
        let deadline = Instant::now() + 3 * ROUND;
        while self.rounds() < wanted {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            if ended || Instant::now() > deadline {
                return Err(Failure("a connection is broken".into()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends it; bytes that went each way in all.
    ///
    /// # Errors
    /// When any connection broke, lost a byte or changed one.
    pub fn finish(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self
            .thread
            .take()
            .ok_or_else(|| Failure("no thread".into()))?;
        thread.join().map_err(|_| Failure("panicked".into()))??;
        Ok(self.rounds() * (self.size * PIECE) as u64)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Ok(Err(failure))) = ended {
            println!("crowd: {failure}");
        }
    }
}

/// Finds the other end of a connection.
/// Its address may have been translated on the way, so the accepted one must say what the client was told.
fn pair(mut client: TcpStream, listener: &TcpListener) -> Result<Pair> {
    let (mut server, from) = listener.accept().context("accept")?;
    server.set_read_timeout(Some(PATIENCE))?;
    let (said, mut heard) = (client.local_addr()?.port().to_be_bytes(), [0; 2]);
    client.write_all(&said).context("client")?;
    server.read_exact(&mut heard).context(from)?;
    if heard != said {
        return Err(Failure(format!("{from} was accepted out of order")));
    }
    client.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok(Pair {
        client,
        server,
        missing: 0,
        heard: 0,
    })
}

/// Byte number `n` of every connection.
fn byte(n: u64) -> u8 {
    (n % 251) as u8
}

/// Each client says a piece, each server sends it back, each client hears it.
fn round(pairs: &mut [Pair]) -> Result<()> {
    let deadline = Instant::now() + ROUND;
    for (n, pair) in pairs.iter_mut().enumerate() {
        let piece: Vec<u8> = (0..PIECE as u64).map(|k| byte(pair.heard + k)).collect();
        // An idle connection has room for so little.
        pair.client
            .write_all(&piece)
            .context(format!("connection {n} says"))?;
        pair.missing = PIECE;
    }
    while pairs.iter().any(|pair| pair.missing > 0) {
        if Instant::now() > deadline {
            let silent = pairs.iter().filter(|pair| pair.missing > 0).count();
            return Err(Failure(format!(
                "{silent} connections moved nothing for {ROUND:?}"
            )));
        }
        turn(pairs)?;
    }
    Ok(())
}

/// Waits for sockets of unfinished connections and moves what is there.
fn turn(pairs: &mut [Pair]) -> Result<()> {
    let busy: Vec<usize> = (0..pairs.len()).filter(|n| pairs[*n].missing > 0).collect();
    let ready: Vec<(usize, bool, bool)> = {
        let watch = |stream| PollFd::new(stream, PollFlags::IN);
        let ends = busy
            .iter()
            .flat_map(|n| [watch(&pairs[*n].server), watch(&pairs[*n].client)]);
        let mut all: Vec<PollFd<'_>> = ends.collect();
        let wait = Timespec::try_from(TURN).context("time")?;
        poll(&mut all, Some(&wait)).context("poll")?;
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let by_pair = busy.iter().zip(all.chunks(2));
        by_pair
            .map(|(n, ends)| (*n, is_ready(&ends[0]), is_ready(&ends[1])))
            .collect()
    };
    for (n, server, client) in ready {
        if server {
            echo(&mut pairs[n].server).context(format!("server of connection {n}"))?;
        }
        if client {
            hear(&mut pairs[n]).context(format!("client of connection {n}"))?;
        }
    }
    Ok(())
}

fn echo(server: &mut TcpStream) -> Result<()> {
    let mut piece = [0; PIECE];
    let length = read_some(server, &mut piece)?;
    server.write_all(&piece[..length]).context("write")
}

fn hear(pair: &mut Pair) -> Result<()> {
    let mut piece = [0; PIECE];
    let length = read_some(&mut pair.client, &mut piece)?;
    for got in &piece[..length] {
        if *got != byte(pair.heard) {
            return Err(Failure(format!("byte {} is {got}", pair.heard)));
        }
        pair.heard += 1;
    }
    pair.missing = pair.missing.saturating_sub(length);
    Ok(())
}

/// Reads what there is; the end of the connection is an error.
fn read_some(stream: &mut TcpStream, piece: &mut [u8]) -> Result<usize> {
    match stream.read(piece) {
        Ok(0) => Err(Failure("closed by the other side".into())),
        Ok(length) => Ok(length),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// A UDP server that sends back what it hears, and counts it.
#[derive(Debug)]
pub struct UdpEcho {
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// Starts one on a port of `host`, for both families.
///
/// # Errors
/// When the port is taken.
pub fn serve_echo(host: &Namespace, port: u16) -> Result<UdpEcho> {
    let socket = host.inside(|| UdpSocket::bind(("::", port)).context(port))?;
    socket.set_read_timeout(Some(TURN))?;
    let (stop, heard) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (asked, counted) = (stop.clone(), heard.clone());
    let thread = std::thread::spawn(move || {
        let mut datagram = vec![0; 65536];
        while !asked.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                counted.fetch_add(1, Ordering::Relaxed);
                // Nobody may be there any more.
                socket.send_to(&datagram[..length], from).ok();
            }
        }
    });
    Ok(UdpEcho {
        stop,
        heard,
        thread: Some(thread),
    })
}

impl UdpEcho {
    /// Datagrams heard.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It has nothing to say.
        self.thread.take().map(JoinHandle::join);
    }
}
