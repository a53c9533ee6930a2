//! What users of a firewall do all day, through the real program: downloads, datagrams, ping, traceroute, and finding out
//! how large a packet may be. IPv4 and IPv6.

use hosts::service::Web;
use net_tests::{
    BASE_RULES, Context, Etc, Failure, INSIDE, INSIDE6, Namespace, OUTSIDE, OUTSIDE6, PATIENCE,
    Plan, Port, ROUTER_INSIDE, ROUTER_INSIDE6, Result, Site, noise, serve_echo, skip,
};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, UdpSocket};
use std::time::Instant;

const LARGE: usize = 10_000_000;
/// Of the narrow link.
const NARROW: usize = 1300;

/// An address as it stands in a URL.
fn in_url(address: &str) -> String {
    if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}

fn serve_large(host: &Namespace) -> Result<(Web, Vec<u8>)> {
    let content = noise(LARGE, 20261121);
    let web = Web::serve(host, &[80], &[("large", content.clone())])?;
    Ok((web, content))
}

/// Fetches the large file from `client` and compares its digest.
fn download(site: &Site, client: Port, from: &str, content: &[u8]) -> Result<()> {
    let (file, url) = (
        site.file("download"),
        format!("http://{}/large", in_url(from)),
    );
    let started = Instant::now();
    let path = file.display().to_string();
    let got = site
        .host(client)
        .run(&["curl", "-sS", "-m", "60", "-o", &path, &url])?;
    if !got.ok() {
        return Err(Failure(format!("{url}: {}", got.text)));
    }
    let seconds = started.elapsed().as_secs_f64();
    let bytes = std::fs::read(&file).context(path)?;
    assert_eq!(
        Sha256::digest(&bytes),
        Sha256::digest(content),
        "{url}: {} bytes",
        bytes.len()
    );
    println!(
        "10 MB from {from} in {seconds:.2} s, {:.0} Mbit/s",
        LARGE as f64 * 8e-6 / seconds
    );
    Ok(())
}

#[test]
fn ten_megabytes_arrive_unharmed() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(BASE_RULES)?;
    let (_web, content) = serve_large(site.host(Port::Outside))?;
    for from in [OUTSIDE, OUTSIDE6] {
        download(&site, Port::Inside, from, &content)?;
    }
    Ok(())
}

#[test]
fn two_workers_carry_the_same_download() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::open(&Plan {
        queues: 2,
        cpus: "0,1",
        ..Plan::default()
    })?;
    let workers = site.get("/v1/status")?["workers"]
        .as_array()
        .map_or(0, Vec::len);
    assert_eq!(workers, 2);
    let (_web, content) = serve_large(site.host(Port::Outside))?;
    // Several connections, so that both workers own some.
    for from in [OUTSIDE, OUTSIDE6, OUTSIDE, OUTSIDE6] {
        download(&site, Port::Inside, from, &content)?;
    }
    let status = site.get("/v1/status")?;
    let packets: Vec<u64> = status["workers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|worker| worker["packets"].as_u64())
        .collect();
    println!("packets by worker: {packets:?}");
    assert!(packets.iter().all(|count| *count > 0), "{packets:?}");
    Ok(())
}

#[test]
fn datagrams_of_every_size_come_back() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(BASE_RULES)?;
    let echo = serve_echo(site.host(Port::Outside), 7)?;
    let sizes = [0, 1, 17, 18, 19, 512, 1400, 1452];
    for to in [OUTSIDE, OUTSIDE6] {
        let to: IpAddr = to.parse().context(to)?;
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = site.host(Port::Inside).inside(|| {
            let client = UdpSocket::bind(any).context("bind")?;
            client.connect((to, 7)).context("connect")?;
            Ok(client)
        })?;
        client.set_read_timeout(Some(PATIENCE))?;
        for size in sizes {
            let said = noise(size, size as u64);
            client.send(&said).context(size)?;
            let mut heard = vec![0; 2048];
            let length = client
                .recv(&mut heard)
                .context(format!("{to}: {size} bytes"))?;
            assert_eq!(heard[..length], said, "{to}: {size} bytes");
        }
    }
    assert_eq!(echo.heard(), 2 * sizes.len() as u64);
    println!("{} datagrams there and back", echo.heard());
    Ok(())
}

#[test]
fn ping_and_traceroute_see_the_firewall_as_a_router() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(BASE_RULES)?;
    for (to, router) in [(OUTSIDE, ROUTER_INSIDE), (OUTSIDE6, ROUTER_INSIDE6)] {
        let said = site.inside(&["ping", "-c5", "-i0.2", "-W2", to])?;
        println!("{to}: {}", hosts::last_line(&said));
        assert!(said.contains(" 0% packet loss"), "{said}");
        // The router counts as a hop.
        assert!(said.contains("ttl=63"), "{said}");
        // The firewall itself answers as well.
        site.inside(&["ping", "-c1", "-W2", router])?;
        for mode in ["-U", "-I"] {
            let said = site.inside(&["traceroute", "-n", "-q1", "-w3", "-m5", mode, to])?;
            let hops: Vec<&str> = said
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().nth(1))
                .collect();
            assert_eq!(hops, [router, to], "{mode}: {said}");
            println!("traceroute {mode} {to}: {}", hosts::one_line(&said));
        }
    }
    Ok(())
}

#[test]
fn senders_learn_how_large_a_packet_may_be() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let rules = format!("{BASE_RULES}pass in on ap0 proto tcp to port 80\npass out on ap1\n");
    let narrow = format!("inet 192.0.2.1/24\ninet6 2001:db8:1::1/64\nmtu {NARROW}\n");
    let site = Site::open(&Plan {
        etc: Etc::with_rules(&rules).with("hostname.ap0", &narrow),
        ..Plan::default()
    })?;
    for (to, wanted) in [
        (OUTSIDE, "Frag needed and DF set (mtu = 1300)"),
        (OUTSIDE6, "Packet too big: mtu=1300"),
    ] {
        let said = site
            .host(Port::Inside)
            .run(&["ping", "-c1", "-W2", "-M", "do", "-s1400", to])?
            .text;
        assert!(said.contains(wanted), "{said}");
        println!("{to}: {wanted}");
        let route = site.inside(&["ip", "route", "get", to])?;
        assert!(route.contains("mtu 1300"), "{route}");
        site.inside(&[
            "ip",
            if to.contains(':') { "-6" } else { "-4" },
            "route",
            "flush",
            "cache",
        ])?;
    }
    // The server is inside: it is the one who has to learn.
    let (_web, content) = serve_large(site.host(Port::Inside))?;
    for from in [INSIDE, INSIDE6] {
        download(&site, Port::Outside, from, &content)?;
    }
    let too_large = site.reason("mtu")?;
    println!("{too_large} packets were too large");
    assert!(too_large >= 4, "{too_large}");
    Ok(())
}
