//! Owns a stream of numbered datagrams from one host to another that sends each back, and the account of every one of them.
//!
//! Loss is counted by number, not by time: a sender that the machine did not let run for a while sends less, and loses
//! nothing by it.

use crate::{Context, Failure, Namespace, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Room for what arrives while a receiver is not let run: seconds of the stream.
const BUFFER: usize = 64 << 20;
/// Nothing for so long after the last one: no more will come.
const SILENCE: Duration = Duration::from_secs(1);
/// Who is further behind than this many datagrams leaves them out: a burst would only fill queues.
const BEHIND_MAX: u64 = 64;
const LENGTH: usize = 64;
const PANICKED: &str = "a thread of the stream panicked";

/// A stream under way.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: JoinHandle<Result<()>>,
    /// Far end, near end.
    receivers: [JoinHandle<Result<Vec<Arrival>>>; 2],
    started: Instant,
}

/// A datagram that came.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    number: u64,
    at: Instant,
}

/// What became of a stream.
#[derive(Debug)]
pub struct Account {
    /// Datagrams sent.
    pub sent: u64,
    /// How long it went on.
    pub lasted: Duration,
    /// Those that reached the far end.
    pub there: Way,
    /// Those that came back.
    pub back: Way,
}

/// One direction of a stream.
#[derive(Debug)]
pub struct Way {
    /// By number: it arrived.
    arrived: Vec<bool>,
    /// Arrivals of a number that had arrived before.
    pub twice: u64,
    /// Arrivals of a number that nobody sent.
    pub strange: u64,
    /// The longest time between two arrivals.
    pub longest: Duration,
}

impl Way {
    fn new(arrivals: &[Arrival], sent: u64) -> Self {
        let mut way = Way {
            arrived: vec![false; sent as usize],
            twice: 0,
            strange: 0,
            longest: Duration::ZERO,
        };
        for arrival in arrivals {
            match way.arrived.get_mut(arrival.number as usize) {
                Some(seen) => way.twice += u64::from(std::mem::replace(seen, true)),
                None => way.strange += 1,
            }
        }
        let pauses = arrivals.windows(2).map(|pair| pair[1].at - pair[0].at);
        way.longest = pauses.max().unwrap_or_default();
        way
    }

    /// Datagrams that arrived.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.iter().filter(|seen| **seen).count() as u64
    }

    /// How many of those with the numbers `from..to` did not arrive.
    #[must_use]
    pub fn lost(&self, from: u64, to: u64) -> u64 {
        let all = self.arrived.iter().enumerate();
        let inside = all.filter(|(n, _)| (from..to).contains(&(*n as u64)));
        inside.filter(|(_, seen)| !**seen).count() as u64
    }
}

impl Stream {
    /// Sends `per_second` datagrams a second from `near` to a port of `far`, which `near` knows as `to`.
    ///
    /// # Errors
    /// When sockets are not to be had.
    pub fn start(
        near: &Namespace,
        far: &Namespace,
        to: SocketAddr,
        per_second: u64,
    ) -> Result<Self> {
        let echo = socket(far, to.port())?;
        let own = socket(near, 0)?;
        own.connect(to).context(to)?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let sender = {
            let (socket, stop, sent) = (own.try_clone()?, stop.clone(), sent.clone());
            std::thread::spawn(move || send(&socket, &stop, &sent, per_second))
        };
        let receive = |socket: UdpSocket, echoes: bool| {
            let stop = stop.clone();
            std::thread::spawn(move || receive(&socket, &stop, echoes))
        };
        Ok(Self {
            receivers: [receive(echo, true), receive(own, false)],
            stop,
            sent,
            sender,
            started: Instant::now(),
        })
    }

    /// How many were sent up to now, which is the number of the next one.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it and waits for the last ones.
    ///
    /// # Errors
    /// When sockets failed.
    pub fn end(self) -> Result<Account> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| Failure(PANICKED.into());
        self.sender.join().map_err(panicked)??;
        let lasted = self.started.elapsed();
        let sent = self.sent.load(Ordering::Relaxed);
        let [there, back] = self.receivers.map(|receiver| {
            let arrivals = receiver.join().map_err(panicked)??;
            Ok::<_, Failure>(Way::new(&arrivals, sent))
        });
        Ok(Account {
            sent,
            lasted,
            there: there?,
            back: back?,
        })
    }
}

fn socket(host: &Namespace, port: u16) -> Result<UdpSocket> {
    let socket = host.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).context("bind"))?;
    set_socket_recv_buffer_size_force(&socket, BUFFER).context("SO_RCVBUFFORCE")?;
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}

fn send(socket: &UdpSocket, stop: &AtomicBool, sent: &AtomicU64, per_second: u64) -> Result<()> {
    /// Between two looks at the clock.
    const STEP: Duration = Duration::from_millis(1);
    let (started, mut left_out) = (Instant::now(), 0);
    let mut datagram = [0; LENGTH];
    while !stop.load(Ordering::Relaxed) {
        let due = started.elapsed().as_micros() as u64 * per_second / 1_000_000 - left_out;
        let mut number = sent.load(Ordering::Relaxed);
        let behind = due.saturating_sub(number);
        if behind > BEHIND_MAX {
            left_out += behind - BEHIND_MAX;
        }
        for _ in 0..behind.min(BEHIND_MAX) {
            datagram[..8].copy_from_slice(&number.to_be_bytes());
            match socket.send(&datagram) {
                Ok(_) => number += 1,
                // The far end does not listen yet, or no longer.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error).context("send"),
            }
        }
        sent.store(number, Ordering::Relaxed);
        std::thread::sleep(STEP);
    }
    Ok(())
}

fn receive(socket: &UdpSocket, stop: &AtomicBool, echoes: bool) -> Result<Vec<Arrival>> {
    use std::io::ErrorKind::{ConnectionRefused, TimedOut, WouldBlock};
    let mut arrivals = Vec::new();
    let mut datagram = [0; LENGTH];
    loop {
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => {
                let at = Instant::now();
                if echoes {
                    // A reply that is lost here is lost like any other.
                    socket.send_to(&datagram[..length], from).ok();
                }
                let number = u64::from_be_bytes(std::array::from_fn(|n| datagram[n]));
                arrivals.push(Arrival { number, at });
            }
            Err(error) if matches!(error.kind(), TimedOut | WouldBlock) => {
                if stop.load(Ordering::Relaxed) {
                    return Ok(arrivals);
                }
            }
            Err(error) if error.kind() == ConnectionRefused => {}
            Err(error) => return Err(error).context("receive"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_and_what_came_twice_is_told_by_number() {
        let started = Instant::now();
        let arrival = |(n, number): (u64, &u64)| Arrival {
            number: *number,
            at: started + Duration::from_millis(n * n),
        };
        let arrivals: Vec<Arrival> = (0..).zip(&[0, 2, 1, 2, 5, 9]).map(arrival).collect();
        let way = Way::new(&arrivals, 7);
        assert_eq!((way.arrived(), way.twice, way.strange), (4, 1, 1));
        assert_eq!((way.lost(0, 7), way.lost(0, 3), way.lost(3, 5)), (3, 0, 2));
        assert_eq!(way.longest, Duration::from_millis(9));
    }

    #[test]
    fn every_datagram_of_a_quiet_cable_comes_back() -> Result<()> {
        let (near, far) = match (Namespace::new("near"), Namespace::new("far")) {
            (Ok(near), Ok(far)) => (near, far),
            (Err(failure), _) | (_, Err(failure)) => {
                println!("skipped: no network namespaces (not root?): {failure}");
                return Ok(());
            }
        };
        near.connect("eth1", &far)?;
        near.ip(&["address", "add", "192.0.2.1/24", "dev", "eth1"])?;
        far.address("192.0.2.2/24")?;
        let to = SocketAddr::from(([192, 0, 2, 2], 7000));
        let stream = Stream::start(&near, &far, to, 1000)?;
        while stream.sent() < 100 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let account = stream.end()?;
        assert!(account.sent >= 100);
        for way in [&account.there, &account.back] {
            let found = (way.arrived(), way.twice, way.strange);
            assert_eq!(found, (account.sent, 0, 0));
            assert_eq!(way.lost(0, account.sent), 0);
        }
        Ok(())
    }
}
