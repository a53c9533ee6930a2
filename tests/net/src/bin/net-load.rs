//! The load tool: very many TCP connections that are open at the same time. Runs on a host of a test, one process for
//! some thousand connections, since systems limit the files that a process may have open.
//!
//! ```text
//! net-load serve ADDRESS:PORT ...            sends back what it hears, for ever
//! net-load dial COUNT ADDRESS:PORT FROM ...  opens connections; then obeys lines of its input: `talk`
//! ```
//!
//! It says `open`, `talked` or what went wrong, one line each. Read first: epoll(7).

#![forbid(unsafe_code)]

use net_tests::{Context, Failure, PATIENCE, Result};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

/// Connections that are opened, or talk, at the same time: the queue of a listener and the ring of a card are short.
const BATCH: usize = 200;
/// Bytes that a client says in a round.
const SAID: usize = 8;
/// Events taken at once.
const EVENTS: usize = 256;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((word, ends)) if word == "serve" => serve(ends),
        Some((word, rest)) if word == "dial" => dial(rest),
        _ => Err(Failure("serve or dial".into())),
    };
    if let Err(failure) = done {
        println!("{failure}");
        std::process::exit(1);
    }
}

fn parsed<T: std::str::FromStr>(word: &str) -> Result<T> {
    word.parse()
        .map_err(|_| Failure(format!("'{word}' is not understood")))
}

/// Sends back what anybody says.
fn serve(ends: &[String]) -> Result<()> {
    let mut listeners = Vec::new();
    for end in ends {
        let listener = TcpListener::bind(parsed::<SocketAddr>(end)?).context(end)?;
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    let ready = epoll::create(CreateFlags::CLOEXEC).context("epoll")?;
    for (n, listener) in listeners.iter().enumerate() {
        let data = EventData::new_u64(n as u64);
        epoll::add(&ready, listener, data, EventFlags::IN).context("epoll")?;
    }
    let first = listeners.len();
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        epoll::wait(&ready, rustix::buffer::spare_capacity(&mut events), None).context("epoll")?;
        for event in &events {
            let n = event.data.u64() as usize;
            match n.checked_sub(first) {
                None => accept(&listeners[n], &ready, first, &mut streams)?,
                Some(n) => echo(&mut streams[n]),
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    ready: &rustix::fd::OwnedFd,
    first: usize,
    streams: &mut Vec<TcpStream>,
) -> Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let data = EventData::new_u64((first + streams.len()) as u64);
                epoll::add(ready, &stream, data, EventFlags::IN).context("epoll")?;
                streams.push(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is wrong with a connection its client will find.
fn echo(stream: &mut TcpStream) {
    let mut piece = [0; 64];
    if let Ok(length) = stream.read(&mut piece) {
        stream.write_all(&piece[..length]).ok();
        if length == 0 {
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
    }
}

fn dial(words: &[String]) -> Result<()> {
    let [count, to, from @ ..] = words else {
        return Err(Failure("dial COUNT TO FROM ...".into()));
    };
    let (count, to): (usize, SocketAddr) = (parsed(count)?, parsed(to)?);
    let from: Vec<IpAddr> = from
        .iter()
        .map(|word| parsed(word))
        .collect::<Result<_>>()?;
    let mut streams: Vec<TcpStream> = Vec::with_capacity(count);
    while streams.len() < count {
        let begin = streams.len();
        for n in begin..count.min(begin + BATCH) {
            streams.push(begun(from[n % from.len()], to)?);
        }
        for stream in &streams[begin..] {
            opened(stream).context(format!("connections from {begin} on"))?;
        }
        talk(&mut streams[begin..], begin as u64)?;
    }
    println!("open");
    for (round, line) in (1..).zip(std::io::stdin().lock().lines()) {
        if line? != "talk" {
            return Err(Failure("talk is all there is".into()));
        }
        for (n, batch) in streams.chunks_mut(BATCH).enumerate() {
            talk(batch, round << 32 | (n * BATCH) as u64)?;
        }
        println!("talked");
    }
    Ok(())
}

/// A connection that is not there yet.
fn begun(from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None).context("socket")?;
    bind(&socket, &SocketAddr::new(from, 0)).context(from)?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(Failure(format!("{from} > {to}: {error}"))),
    }
}

/// Waits for it.
fn opened(stream: &TcpStream) -> Result<()> {
    let started = Instant::now();
    let left = PATIENCE.saturating_sub(started.elapsed());
    let left = Timespec::try_from(left).context("time")?;
    let mut socket = [PollFd::new(stream, PollFlags::OUT)];
    if poll(&mut socket, Some(&left)).context("poll")? == 0 {
        return Err(Failure("no answer".into()));
    }
    sockopt::socket_error(stream)
        .context("socket")?
        .context("connect")?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(())
}

/// Every client says a number and hears it again.
fn talk(streams: &mut [TcpStream], begin: u64) -> Result<()> {
    for (n, stream) in (begin..).zip(&mut *streams) {
        stream
            .write_all(&n.to_be_bytes())
            .context(format!("client {n} says"))?;
    }
    for (n, stream) in (begin..).zip(&mut *streams) {
        let mut heard = [0; SAID];
        stream
            .read_exact(&mut heard)
            .context(format!("client {n} hears"))?;
        if heard != n.to_be_bytes() {
            return Err(Failure(format!("client {n} heard {heard:?}")));
        }
    }
    Ok(())
}
