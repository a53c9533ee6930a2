//! Owns traffic that is watched while links come and go: numbered datagrams, and a connection whose bytes must all arrive.
//!
//! Sockets are made inside the namespaces of the two hosts, so that one clock sees both ends.

use crate::{Context, Failure, Namespace, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Source ports that take turns, so that a hash over ports uses every member of an aggregation.
const FLOWS: usize = 8;
/// Between two datagrams.
const PERIOD: Duration = Duration::from_millis(1);
/// What is still under way when a stream ends arrives within this.
const REST: Duration = Duration::from_secs(2);
/// Bytes of a connection that are sent at once, every five [`PERIOD`]s.
const BLOCK: usize = 4096;
/// A connection that makes no progress for so long has not survived.
const STALLED: Duration = Duration::from_secs(60);

/// Numbered datagrams from one host to another, a thousand a second.
#[derive(Debug)]
pub struct Datagrams {
    ends: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    sender: JoinHandle<Result<()>>,
    receiver: JoinHandle<BTreeMap<u64, Instant>>,
}

/// What became of them.
#[derive(Debug)]
pub struct Arrived {
    /// Number and time of arrival.
    pub at: BTreeMap<u64, Instant>,
    /// Number of those sent.
    pub sent: u64,
}

impl Datagrams {
    /// Starts to send from `from` to an address of `to`.
    ///
    /// # Errors
    /// When sockets cannot be made.
    pub fn start(from: &Namespace, to: &Namespace, address: SocketAddr) -> Result<Self> {
        let input = to.inside(|| UdpSocket::bind(address).context("bind"))?;
        input.set_read_timeout(Some(PERIOD * 100))?;
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = || -> Result<UdpSocket> {
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            Ok(socket)
        };
        let sockets = from.inside(|| (0..FLOWS).map(|_| socket()).collect::<Result<Vec<_>>>())?;
        let ends = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(0));
        let (ended, count) = (Arc::clone(&ends), Arc::clone(&next));
        let sender = std::thread::spawn(move || send(&sockets, &count, &ended));
        let ended = Arc::clone(&ends);
        let receiver = std::thread::spawn(move || receive(&input, &ended));
        Ok(Self {
            ends,
            next,
            sender,
            receiver,
        })
    }

    /// The number that is sent next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// When a thread failed.
    pub fn finish(self) -> Result<Arrived> {
        let sent = self.next();
        self.ends.store(true, Ordering::Relaxed);
        self.sender.join().map_err(|_| panicked())??;
        let mut at = self.receiver.join().map_err(|_| panicked())?;
        at.retain(|number, _| *number < sent);
        Ok(Arrived { at, sent })
    }
}

fn send(sockets: &[UdpSocket], next: &AtomicU64, ends: &AtomicBool) -> Result<()> {
    let started = Instant::now();
    for number in 0.. {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        let due = started + PERIOD * u32::try_from(number).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        next.store(number, Ordering::Relaxed);
        // A refusal that came back for an earlier one is no reason to stop.
        sockets[number as usize % sockets.len()]
            .send(&number.to_be_bytes())
            .ok();
    }
    Ok(())
}

fn receive(input: &UdpSocket, ends: &AtomicBool) -> BTreeMap<u64, Instant> {
    let mut arrived = BTreeMap::new();
    let mut ended: Option<Instant> = None;
    let mut bytes = [0; 8];
    while ended.is_none_or(|at| at.elapsed() < REST) {
        if let Ok(8) = input.recv(&mut bytes) {
            arrived.insert(u64::from_be_bytes(bytes), Instant::now());
        }
        if ended.is_none() && ends.load(Ordering::Relaxed) {
            ended = Some(Instant::now());
        }
    }
    arrived
}

impl Arrived {
    /// How many of the numbers from `first` up to `end` are missing.
    #[must_use]
    pub fn lost(&self, first: u64, end: u64) -> u64 {
        (end - first) - self.at.range(first..end).count() as u64
    }
}

/// Median and worst, for people.
#[must_use]
pub fn median_and_worst(numbers: &[u64]) -> (u64, u64) {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    (median, sorted.last().copied().unwrap_or_default())
}

/// A connection over which blocks go until it is finished.
#[derive(Debug)]
pub struct Transfer {
    ends: Arc<AtomicBool>,
    sender: JoinHandle<Result<u64>>,
    receiver: JoinHandle<Result<u64>>,
}

impl Transfer {
    /// Connects from `client` to an address of `server`, which begins to send.
    ///
    /// # Errors
    /// When they cannot connect.
    pub fn download(client: &Namespace, server: &Namespace, address: SocketAddr) -> Result<Self> {
        let (client, server) = connect(client, server, address)?;
        Self::start(server, client)
    }

    /// Connects from `client`, which begins to send, to an address of `server`.
    ///
    /// # Errors
    /// When they cannot connect.
    pub fn upload(client: &Namespace, server: &Namespace, address: SocketAddr) -> Result<Self> {
        let (client, server) = connect(client, server, address)?;
        Self::start(client, server)
    }

    fn start(from: TcpStream, to: TcpStream) -> Result<Self> {
        from.set_write_timeout(Some(STALLED))?;
        to.set_read_timeout(Some(STALLED))?;
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        Ok(Self {
            ends,
            sender: std::thread::spawn(move || send_blocks(from, &ended)),
            receiver: std::thread::spawn(move || receive_blocks(to)),
        })
    }

    /// Ends it; the number of bytes that came, all of them and the right ones.
    ///
    /// # Errors
    /// When it did not survive.
    pub fn finish(self) -> Result<u64> {
        self.ends.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_| panicked())??;
        let got = self.receiver.join().map_err(|_| panicked())??;
        if sent == got {
            return Ok(got);
        }
        Err(Failure(format!("transfer: {got} bytes of {sent}")))
    }
}

fn panicked() -> Failure {
    Failure("a thread of the stream panicked".into())
}

/// Both ends of a new connection, that of `client` first.
fn connect(
    client: &Namespace,
    server: &Namespace,
    address: SocketAddr,
) -> Result<(TcpStream, TcpStream)> {
    let listener = server.inside(|| TcpListener::bind(address).context("bind"))?;
    let there =
        || TcpStream::connect_timeout(&address, STALLED).context(format!("connect {address}"));
    let near = client.inside(there)?;
    let (far, _) = listener.accept()?;
    Ok((near, far))
}

fn send_blocks(mut output: TcpStream, ends: &AtomicBool) -> Result<u64> {
    let mut sent = 0;
    while !ends.load(Ordering::Relaxed) {
        let block: Vec<u8> = (sent..sent + BLOCK as u64).map(byte_at).collect();
        output.write_all(&block).context("transfer, sending")?;
        sent += BLOCK as u64;
        std::thread::sleep(PERIOD * 5);
    }
    Ok(sent)
}

fn receive_blocks(mut input: TcpStream) -> Result<u64> {
    let (mut got, mut bytes) = (0, [0; BLOCK]);
    loop {
        let count = input.read(&mut bytes).context("transfer, receiving")?;
        if count == 0 {
            return Ok(got);
        }
        for byte in &bytes[..count] {
            if *byte != byte_at(got) {
                return Err(Failure(format!("transfer: another byte at {got}")));
            }
            got += 1;
        }
    }
}

fn byte_at(place: u64) -> u8 {
    (place ^ place >> 8 ^ place >> 16) as u8
}
