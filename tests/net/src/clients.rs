//! Owns what people on the hosts do with real programs, and that it came out right: web pages, large files, datagrams,
//! pings and traceroutes.

use crate::{Context, Failure, Namespace, PATIENCE, Port, Result, Site};
use hosts::one_line;
use hosts::service::Web;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Instant;

/// Bytes of the large file: some thousand packets.
pub const LARGE: usize = 10_000_000;

/// Largest datagram of IPv4 whose pieces reach the program. The kernel joins pieces for packet sockets in a fanout group
/// with PACKET_FANOUT_FLAG_DEFRAG (packet(7)), which DPDK asks for, and the ring has 2048 bytes for each frame. So the
/// program sees this one whole, larger than its link, and cuts it. IPv6 is left alone; `tests/vm` has cards that bring
/// IPv4 in pieces.
pub const WHOLE4: usize = 1_800;

/// Where a web server keeps a file.
#[must_use]
pub fn url_at(host: &str, port: u16, name: &str) -> String {
    match host.contains(':') {
        true => format!("http://[{host}]:{port}/{name}"),
        false => format!("http://{host}:{port}/{name}"),
    }
}

/// Gets a small page.
///
/// # Errors
/// When it cannot be had.
pub fn fetch(host: &Namespace, url: &str) -> Result<String> {
    let got = host.run(&["curl", "-sS", "-m", "30", url])?;
    if got.ok() {
        return Ok(got.text);
    }
    Err(Failure(format!("{url}: {}", got.text)))
}

/// A web server with the file `large`, and that file.
///
/// # Errors
/// When it does not start.
pub fn serve_large(host: &Namespace) -> Result<(Web, Vec<u8>)> {
    let content = noise(LARGE, 20_261_121);
    let web = Web::serve(host, &[80], &[("large", content.clone())])?;
    Ok((web, content))
}

/// Gets the large file from port 80 of `from` and compares its digest.
///
/// # Errors
/// When it cannot be had.
///
/// # Panics
/// When a byte differs.
pub fn download(site: &Site, client: &Namespace, from: &str, content: &[u8]) -> Result<()> {
    download_at(site, client, &url_at(from, 80, "large"), content)
}

/// As [`download`], from anywhere.
///
/// # Errors
/// When it cannot be had.
///
/// # Panics
/// When a byte differs.
pub fn download_at(site: &Site, client: &Namespace, url: &str, content: &[u8]) -> Result<()> {
    let file = site.file("download");
    let started = Instant::now();
    let path = file.display().to_string();
    let got = client.run(&["curl", "-sS", "-m", "60", "-o", &path, url])?;
    if !got.ok() {
        return Err(Failure(format!("{url}: {}", got.text)));
    }
    let seconds = started.elapsed().as_secs_f64();
    same(&file, content, url)?;
    println!(
        "{:.0} MB from {url} in {seconds:.2} s, {:.0} Mbit/s",
        content.len() as f64 * 1e-6,
        content.len() as f64 * 8e-6 / seconds
    );
    Ok(())
}

fn same(file: &Path, content: &[u8], what: &str) -> Result<()> {
    let bytes = std::fs::read(file).context(file.display())?;
    let (got, wanted) = (Sha256::digest(&bytes), Sha256::digest(content));
    assert_eq!(got, wanted, "{what}: {} bytes", bytes.len());
    Ok(())
}

/// Sends one datagram and waits for nothing.
///
/// # Errors
/// When it cannot be sent.
pub fn say(client: &Namespace, to: &str, port: u16, size: usize) -> Result<()> {
    let to = SocketAddr::new(to.parse::<IpAddr>().context(to)?, port);
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = client.inside(|| UdpSocket::bind(any).context("bind"))?;
    let sent = socket.send_to(&noise(size, size as u64), to);
    sent.map(drop).context(format!("{to}: {size} bytes"))
}

/// Sends datagrams of several sizes to an echo server and expects each back; how many.
///
/// # Errors
/// When one does not come back.
///
/// # Panics
/// When a byte differs.
pub fn echoes(client: &Namespace, to: &str, port: u16, sizes: &[usize]) -> Result<usize> {
    let to = SocketAddr::new(to.parse::<IpAddr>().context(to)?, port);
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = client.inside(|| {
        let socket = UdpSocket::bind(any).context("bind")?;
        socket.connect(to).context("connect")?;
        Ok(socket)
    })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut heard = vec![0; 1 << 16];
    for size in sizes {
        let said = noise(*size, *size as u64);
        socket.send(&said).context(format!("{to}: {size} bytes"))?;
        let length = socket.recv(&mut heard);
        let length = length.context(format!("{to}: {size} bytes"))?;
        assert_eq!(heard[..length], said, "{to}: {size} bytes");
    }
    Ok(sizes.len())
}

/// Pings `to`; every ping must be answered. What ping said.
///
/// # Errors
/// When an answer is missing.
pub fn ping(host: &Namespace, to: &str, words: &[&str]) -> Result<String> {
    let usual = ["ping", "-c3", "-i0.2", "-W5", to];
    let said = host.run(&[&usual, words].concat())?.text;
    match said.contains(" 0% packet loss") {
        true => Ok(said),
        false => Err(Failure(format!(
            "ping {to} {}: {}",
            words.join(" "),
            one_line(&said)
        ))),
    }
}

/// Routers on the way to `to`, and the last host, as traceroute sees them from inside; `mode` is `-U` or `-I`.
///
/// # Errors
/// When traceroute fails.
pub fn hops(site: &Site, to: &str, mode: &str) -> Result<Vec<String>> {
    let said = site.inside(&["traceroute", "-n", "-q1", "-w3", "-m5", mode, to])?;
    println!("traceroute {mode} {to}: {}", one_line(&said));
    let lines = said.lines().skip(1);
    let hops = lines.filter_map(|line| line.split_whitespace().nth(1));
    Ok(hops.map(Into::into).collect())
}

/// Both ways of traceroute see the firewall as a router.
///
/// # Errors
/// As [`hops`].
///
/// # Panics
/// When they do not.
pub fn one_router_on_the_way(site: &Site, router: &str, to: &str) -> Result<()> {
    for mode in ["-U", "-I"] {
        assert_eq!(hops(site, to, mode)?, [router, to], "{mode}");
    }
    Ok(())
}

/// Learned path MTUs are forgotten, so that the next sender has to learn again.
///
/// # Errors
/// What `ip` says.
pub fn forget_paths(host: &Namespace) -> Result<()> {
    for family in ["-4", "-6"] {
        host.run(&["ip", family, "route", "flush", "cache"])?;
    }
    Ok(())
}

/// Whether the host at a port has learned that packets to `to` may only have `mtu` bytes.
///
/// # Errors
/// What `ip` says.
pub fn has_learned(site: &Site, port: Port, to: &str, mtu: usize) -> Result<bool> {
    let route = site.host(port).run(&["ip", "route", "get", to])?.text;
    Ok(
        route.contains(&format!(" mtu {mtu} "))
            || route.trim_end().ends_with(&format!("mtu {mtu}")),
    )
}

/// Bytes that do not repeat (xorshift64), the same for the same seed.
#[must_use]
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}
