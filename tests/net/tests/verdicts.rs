//! What a block rule does to those it blocks, and that rule, interface and reason count the same packets.

use net_tests::{
    Context, Namespace, OUTSIDE, OUTSIDE6, Port, Result, Site, serve_echo, skip, until,
};
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// Who is not answered waits this long.
const SILENCE: Duration = Duration::from_millis(1500);
/// Who is refused hears it at once.
const AT_ONCE: Duration = Duration::from_millis(500);
const RETURNED: u16 = 8081;
const DROPPED: u16 = 8082;
const PASSED: u16 = 8080;
const DATAGRAMS: u64 = 10;
const INET: usize = 0;
const IN: usize = 0;
const OUT: usize = 1;

const RULES: &str = "\
block drop
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass quick inet6 proto icmp6 icmp6-type { neighbrsol, neighbradv, routersol }
pass quick inet6 proto icmp6 from any to ff02::/16 allow-opts
pass in on ap1 proto { tcp, udp } to port 8080 label \"passed\"
block return in on ap1 proto { tcp, udp } to port 8081 label \"returned\"
block drop in on ap1 proto { tcp, udp } to port 8082 label \"dropped\"
pass out on ap0
";

fn listen(host: &Namespace) -> Result<Vec<TcpListener>> {
    let ports = [PASSED, RETURNED, DROPPED];
    let bind = |port: &u16| TcpListener::bind(("::", *port)).context(port);
    host.inside(|| ports.iter().map(bind).collect())
}

fn udp(site: &Site, to: &str, port: u16) -> Result<UdpSocket> {
    let to: IpAddr = to.parse().context(to)?;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = site.host(Port::Inside).inside(|| {
        let socket = UdpSocket::bind(any).context("bind")?;
        socket.connect((to, port)).context("connect")?;
        Ok(socket)
    })?;
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}

#[test]
fn block_return_answers_and_block_drop_does_not() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(RULES)?;
    let _listening = listen(site.host(Port::Outside))?;
    let _echo = serve_echo(site.host(Port::Outside), PASSED)?;
    for to in [OUTSIDE, OUTSIDE6] {
        site.dial(to, PASSED, SILENCE)?
            .context(format!("{to}: a passed port"))?;
        let started = Instant::now();
        let refused = site
            .dial(to, RETURNED, SILENCE)?
            .map_err(|error| error.kind());
        let after = started.elapsed();
        assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused), "{to}");
        assert!(after < AT_ONCE, "{to}: {after:?}");
        let silent = site
            .dial(to, DROPPED, SILENCE)?
            .map_err(|error| error.kind());
        assert_eq!(silent.err(), Some(ErrorKind::TimedOut), "{to}");
        println!("{to}: TCP refused after {after:?}, or nothing for {SILENCE:?}");

        let mut heard = [0; 16];
        let answered = udp(&site, to, PASSED)?;
        answered.send(b"hello").context("send")?;
        assert_eq!(answered.recv(&mut heard).context(to)?, 5);
        let refused = udp(&site, to, RETURNED)?;
        refused.send(b"hello").context("send")?;
        let error = refused.recv(&mut heard).map_err(|error| error.kind());
        assert_eq!(error, Err(ErrorKind::ConnectionRefused), "{to}");
        let silent = udp(&site, to, DROPPED)?;
        silent.send(b"hello").context("send")?;
        let error = silent.recv(&mut heard).map_err(|error| error.kind());
        assert_eq!(error, Err(ErrorKind::WouldBlock), "{to}");
    }
    Ok(())
}

/// Everything that is counted when inside talks to outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    passed: u64,
    returned: u64,
    dropped: u64,
    /// Inside: passed in, blocked in, passed out.
    inside: [u64; 3],
    /// Outside: passed out, passed in.
    outside: [u64; 2],
    matched: u64,
}

fn count(site: &Site) -> Result<Counted> {
    let rule = |label: &str| -> Result<u64> {
        // Lists are expanded: TCP, then UDP.
        let rules = site.get("/v1/rules")?;
        let all = rules.as_array().into_iter().flatten();
        let labeled = all.filter(|rule| rule["label"] == label);
        Ok(labeled
            .filter_map(|rule| rule["input"]["packets"].as_u64())
            .sum())
    };
    let [passed_in, blocked_in] = site.interface_packets("ap1", INET, IN)?;
    Ok(Counted {
        passed: rule("passed")?,
        returned: rule("returned")?,
        dropped: rule("dropped")?,
        inside: [
            passed_in,
            blocked_in,
            site.interface_packets("ap1", INET, OUT)?[0],
        ],
        outside: [
            site.interface_packets("ap0", INET, OUT)?[0],
            site.interface_packets("ap0", INET, IN)?[0],
        ],
        matched: site.reason("match")?,
    })
}

#[test]
fn rule_interface_and_reason_count_the_packets_that_were_sent() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(RULES)?;
    let echo = serve_echo(site.host(Port::Outside), PASSED)?;
    // Neighbors are known afterwards; what is under way at that moment is not counted below.
    let [passed, returned, dropped] =
        [PASSED, RETURNED, DROPPED].map(|port| udp(&site, OUTSIDE, port));
    let [passed, returned, dropped] = [passed?, returned?, dropped?];
    let mut heard = [0; 16];
    passed.send(b"first").context("send")?;
    passed.recv(&mut heard).context("first")?;
    let before = count(&site)?;
    for _ in 0..DATAGRAMS {
        passed.send(b"hello").context("send")?;
        passed.recv(&mut heard).context("hello")?;
        dropped.send(b"hello").context("send")?;
        returned.send(b"hello").context("send")?;
        // The answer, which would otherwise be the result of the next send.
        assert_eq!(
            returned.recv(&mut heard).map_err(|error| error.kind()),
            Err(ErrorKind::ConnectionRefused)
        );
    }
    assert_eq!(echo.heard(), DATAGRAMS + 1);
    let n = DATAGRAMS;
    let wanted = Counted {
        passed: before.passed + n,
        returned: before.returned + n,
        dropped: before.dropped + n,
        inside: [
            before.inside[0] + n,
            before.inside[1] + 2 * n,
            before.inside[2] + n,
        ],
        outside: [before.outside[0] + n, before.outside[1] + n],
        matched: before.matched + 2 * n,
    };
    let mut last = before;
    let counted = until("counters that agree", || {
        last = count(&site)?;
        Ok((last == wanted).then_some(last))
    });
    assert_eq!(last, wanted);
    println!("{:?}", counted?);
    Ok(())
}
