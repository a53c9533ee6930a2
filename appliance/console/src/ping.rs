//! What `ping` prints, as OpenBSD's does.
//!
//! Read first: ping(8).

use std::net::IpAddr;
use std::time::Duration;

use control::api::PingReply;

/// A running ping.
pub(crate) struct Ping {
    to: IpAddr,
    sent: u32,
    times: Vec<Duration>,
}

impl Ping {
    pub(crate) fn new(to: IpAddr) -> Self {
        Ping {
            to,
            sent: 0,
            times: Vec::new(),
        }
    }

    pub(crate) fn title(&self) -> String {
        format!("PING {0} ({0}): 56 data bytes", self.to)
    }

    /// The line for one reply, which is counted.
    pub(crate) fn line(&mut self, reply: &PingReply) -> String {
        self.sent += 1;
        match reply {
            PingReply::Answer {
                bytes,
                seq,
                ttl,
                rtt,
            } => {
                self.times.push(*rtt);
                let hops = if self.to.is_ipv4() { "ttl" } else { "hlim" };
                format!(
                    "{bytes} bytes from {}: icmp_seq={seq} {hops}={ttl} time={} ms",
                    self.to,
                    millis(*rtt)
                )
            }
            PingReply::Timeout { seq } => format!("no answer from {}: icmp_seq={seq}", self.to),
        }
    }

    /// The last lines.
    pub(crate) fn summary(&self) -> String {
        let received = self.times.len();
        let lost = match self.sent {
            0 => 0.0,
            sent => 100.0 - received as f64 * 100.0 / f64::from(sent),
        };
        let mut out = format!("--- {} ping statistics ---\n", self.to);
        out += &format!(
            "{} packets transmitted, {received} packets received, {lost:.1}% packet loss\n",
            self.sent
        );
        let (Some(min), Some(max)) = (self.times.iter().min(), self.times.iter().max()) else {
            return out;
        };
        let mean = self.times.iter().sum::<Duration>().as_secs_f64() / received as f64;
        let square = |t: &Duration| (t.as_secs_f64() - mean).powi(2);
        let deviation = (self.times.iter().map(square).sum::<f64>() / received as f64).sqrt();
        out += &format!(
            "round-trip min/avg/max/std-dev = {}/{:.3}/{}/{:.3} ms\n",
            millis(*min),
            mean * 1000.0,
            millis(*max),
            deviation * 1000.0
        );
        out
    }
}

fn millis(t: Duration) -> String {
    format!("{:.3}", t.as_secs_f64() * 1000.0)
}
