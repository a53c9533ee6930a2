//! HTTP from people who do not mean well: none of it keeps an honest client from being served.

use bundle::signature::SecretKey;
use net_tests::http::{Request, connect, exchange};
use net_tests::{
    API, BASE_RULES, Context, Etc, Failure, Namespace, Plan, Port, Result, Site, TOKEN, skip, until,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const ATTACKERS: usize = 200;
/// Memory that all of it may cost.
const GROWTH_KIB: u64 = 64 << 10;
/// Who attacks by halves.
const HOLE: &str = "172.16.0.200";
/// An honest client waits no longer, whatever others do.
const HONEST: Duration = Duration::from_secs(5);

fn api() -> Result<SocketAddr> {
    API.parse().context(API)
}

/// Asks for the status as anybody would; how long that took.
fn honest(site: &Site) -> Result<Duration> {
    let started = Instant::now();
    site.get("/v1/status")?;
    Ok(started.elapsed())
}

/// Several honest questions; the slowest.
fn served(site: &Site, while_what: &str) -> Result<()> {
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        slowest = slowest.max(honest(site).context(while_what)?);
    }
    println!("{while_what}: slowest honest answer {slowest:?}");
    assert!(slowest < HONEST, "{while_what}: {slowest:?}");
    Ok(())
}

#[test]
fn heads_without_end_are_refused() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut site = Site::open(&Plan::default())?;
    let memory = site.program.resident_kib()?;
    let long = "a".repeat(64 << 10);
    let cases = [
        ("a header line of 64 KiB", format!("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n")),
        ("a path of 64 KiB", format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n")),
        ("64 KiB and no line end", long.clone()),
        ("a method of 64 KiB", format!("{long} / HTTP/1.1\r\n\r\n")),
        ("a thousand header lines", format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000))),
        ("two lengths", "PUT /v1/bundle HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".into()),
        (
            "a length and chunks",
            "PUT /v1/bundle HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        ("bytes that are no text", "\u{0}\u{1}\u{2}\r\n\r\n".into()),
        ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n".into()),
    ];
    for (what, bytes) in &cases {
        let mut stream = connect(site.host(Port::Management), api()?)?;
        // A reset after the answer has the answer thrown away by some systems; what matters is that it ends here.
        match exchange(&mut stream, bytes.as_bytes()) {
            Ok(reply) => {
                println!("{what}: {} {}", reply.status, reply.text());
                assert!((400..600).contains(&reply.status), "{what}: {reply:?}");
            }
            Err(failure) => println!("{what}: {failure}"),
        }
        served(&site, what)?;
    }
    let length = format!("Content-Length: {}\r\n", u64::MAX);
    let reply = site.ask(&Request {
        path: "/v1/status",
        token: Some(TOKEN),
        lines: &length,
        ..Request::default()
    });
    println!("a body of 2^64-1 bytes announced: {reply:?}");
    served(&site, "after all of it")?;
    let grown = site.program.resident_kib()?.saturating_sub(memory);
    println!("memory: {memory} KiB, then {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{grown} KiB");
    assert!(site.program.is_running()?);
    Ok(())
}

/// Connections that say a little at a time.
fn slow_ones(site: &Site, beginning: &str) -> Result<Vec<TcpStream>> {
    let host = site.host(Port::Management);
    let mut all = Vec::new();
    for _ in 0..ATTACKERS {
        let mut stream = connect(host, api()?)?;
        // It may have been ended for one of the others already.
        stream.write_all(beginning.as_bytes()).ok();
        stream.set_nonblocking(true)?;
        all.push(stream);
    }
    Ok(all)
}

/// True if the other side has ended it.
fn is_over(stream: &mut TcpStream) -> bool {
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn two_hundred_slow_clients_keep_nobody_out() -> Result<()> {
    if skip() {
        return Ok(());
    }
    // Somebody whose signature would count may send a body without a token: so may everybody else, up to its end.
    let key = SecretKey::generate([1; 32], [1; 8]).public("office public key");
    let mut site = Site::open(&Plan {
        trusted_key: Some(key.to_file()),
        ..Plan::default()
    })?;
    let memory = site.program.resident_kib()?;
    let health = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let upload = "PUT /v1/bundle HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nx";
    for (n, (what, beginning)) in [
        ("silent connections", ""),
        ("heads a byte at a time", "GET /v1/sta"),
        ("answers nobody reads", &health),
        ("bodies a byte at a time", upload),
    ]
    .into_iter()
    .enumerate()
    {
        let mut all = slow_ones(&site, beginning)?;
        for _ in 0..3 {
            // One more byte each: they are not dead, only slow.
            all.iter_mut().for_each(|stream| drop(stream.write(b"x")));
            served(&site, &format!("{ATTACKERS} {what}"))?;
        }
        site.accept(&Etc::with_rules(&format!("{BASE_RULES}# number {n}\n")))
            .context(what)?;
        let over = all.iter_mut().map(is_over).filter(|over| *over).count();
        println!("{what}: {over} of {ATTACKERS} were ended by the box meanwhile");
    }
    let grown = site.program.resident_kib()?.saturating_sub(memory);
    println!("memory: {memory} KiB, then {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{grown} KiB");
    assert!(site.program.is_running()?);
    Ok(())
}

/// One address of the management network is behind a cable that leads nowhere: handshakes from there never complete.
fn swallow(site: &Site) -> Result<Namespace> {
    let (host, hole) = (site.host(Port::Management), Namespace::new("hole")?);
    host.connect("hole0", &hole)?;
    host.ip(&["route", "add", HOLE, "dev", "hole0"])?;
    let station = ["lladdr", "02:00:00:00:00:01", "nud", "permanent"];
    host.ip(&[&["neighbor", "add", HOLE, "dev", "hole0"][..], &station].concat())?;
    for setting in [
        "conf.all.forwarding=1",
        "conf.eth0.proxy_arp=1",
        "neigh.eth0.proxy_delay=0",
    ] {
        let done = host.run(&["sysctl", "-q", "-w", &format!("net.ipv4.{setting}")])?;
        done.ok().then_some(()).ok_or(Failure(done.text))?;
    }
    Ok(hole)
}

#[test]
fn two_hundred_half_open_connections_keep_nobody_out() -> Result<()> {
    if skip() {
        return Ok(());
    }
    if hosts::missing_program(&["hping3"]).is_some() {
        println!("skipped: no hping3: run ci/setup");
        return Ok(());
    }
    let mut site = Site::open(&Plan::default())?;
    let _hole = swallow(&site)?;
    let before = site.get("/v1/info")?["half_open"].as_u64();
    let count = ATTACKERS.to_string();
    let words = [
        "hping3",
        "-q",
        "-S",
        "-p",
        "80",
        "-a",
        HOLE,
        "-i",
        "u1000",
        "-c",
        &count,
        "172.16.0.1",
    ];
    // Its exit status tells that no answer came back.
    let said = site.host(Port::Management).run(&words)?;
    println!("{}", hosts::one_line(&said.text));
    served(&site, "half-open connections")?;
    let states = site.get("/v1/states?limit=1000")?;
    let from_hole = |state: &&serde_json::Value| state["src"]["addr"] == HOLE;
    let open = states
        .as_array()
        .into_iter()
        .flatten()
        .filter(from_hole)
        .count();
    println!("{open} states from the hole; half-open before: {before:?}");
    assert!(open > ATTACKERS / 2, "the attack reached the box: {states}");
    until("a connection during it", || {
        Ok(honest(&site).ok().filter(|time| *time < HONEST))
    })?;
    assert!(site.program.is_running()?);
    Ok(())
}
