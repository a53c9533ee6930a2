//! Real programs through translation: downloads, datagrams, ping and traceroute from behind one address, a service behind
//! a redirection, and IPv6 hosts that reach IPv4 ones.

use hosts::service::Web;
use net_tests::{
    Context, Failure, INSIDE, Namespace, OUTSIDE, OUTSIDE6, PATIENCE, Port, ROUTER_INSIDE,
    ROUTER_INSIDE6, Result, Site, noise, serve_echo, skip,
};
use std::net::{IpAddr, UdpSocket};

/// Fugu as the outside host sees it.
const ROUTER_OUTSIDE: &str = "192.0.2.1";
/// The outside host's IPv4 address under the well-known prefix.
const OUTSIDE64: &str = "64:ff9b::c000:202";

/// Everything from inside leaves with the address of the firewall; what comes to its ports 8080 and 53 is for inside.
const RULES: &str = "\
block return log
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
match out on ap0 inet nat-to (ap0)
match out on ap0 inet6 nat-to (ap0)
pass in on ap1
pass out on ap0
pass in on ap0 inet proto tcp to (ap0) port 8080 rdr-to 10.0.1.2 port 80
pass in on ap0 inet proto udp to (ap0) port 53 rdr-to 10.0.1.2 port 7
pass out on ap1 inet to 10.0.1.2
";

fn fetch(host: &Namespace, url: &str) -> Result<String> {
    let got = host.run(&["curl", "-sS", "-m", "30", url])?;
    if got.ok() {
        return Ok(got.text);
    }
    Err(Failure(format!("{url}: {}", got.text)))
}

/// Sends datagrams of several sizes and expects each back.
fn echoes(client: &Namespace, to: &str, port: u16, sizes: &[usize]) -> Result<()> {
    let to: IpAddr = to.parse().context(to)?;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = client.inside(|| {
        let socket = UdpSocket::bind(any).context("bind")?;
        socket.connect((to, port)).context("connect")?;
        Ok(socket)
    })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for size in sizes {
        let said = noise(*size, *size as u64);
        socket.send(&said).context(size)?;
        let mut heard = vec![0; 2048];
        let length = socket.recv(&mut heard).context(format!("{to}: {size}"))?;
        assert_eq!(heard[..length], said, "{to}: {size} bytes");
    }
    Ok(())
}

#[test]
fn hosts_behind_one_address_reach_everything() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(RULES)?;
    let _web = Web::serve(
        site.host(Port::Outside),
        &[80],
        &[("word", b"outside".to_vec())],
    )?;
    let echo = serve_echo(site.host(Port::Outside), 7)?;
    let inside = site.host(Port::Inside);
    for (to, router) in [(OUTSIDE, ROUTER_INSIDE), (OUTSIDE6, ROUTER_INSIDE6)] {
        let url = match to.contains(':') {
            true => format!("http://[{to}]/word"),
            false => format!("http://{to}/word"),
        };
        assert_eq!(fetch(inside, &url)?, "outside");
        echoes(inside, to, 7, &[1, 512, 1400])?;
        let said = site.inside(&["ping", "-c3", "-i0.2", "-W2", to])?;
        assert!(said.contains(" 0% packet loss"), "{said}");
        for mode in ["-U", "-I"] {
            let said = site.inside(&["traceroute", "-n", "-q1", "-w3", "-m5", mode, to])?;
            let hops: Vec<&str> = said
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().nth(1))
                .collect();
            assert_eq!(hops, [router, to], "{mode}: {said}");
        }
    }
    println!("{} datagrams there and back", echo.heard());
    let states = site.get("/v1/states")?;
    let shown = states.as_array().into_iter().flatten();
    let translated: Vec<&serde_json::Value> = shown
        .filter(|s| s["translated_src"]["addr"] == INSIDE)
        .collect();
    assert!(
        translated
            .iter()
            .all(|s| s["src"]["addr"] == ROUTER_OUTSIDE),
        "{translated:?}"
    );
    assert!(!translated.is_empty(), "{states}");
    Ok(())
}

#[test]
fn services_inside_are_reached_through_redirections() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(RULES)?;
    let _web = Web::serve(
        site.host(Port::Inside),
        &[80],
        &[("word", b"inside".to_vec())],
    )?;
    let _echo = serve_echo(site.host(Port::Inside), 7)?;
    let outside = site.host(Port::Outside);
    let url = format!("http://{ROUTER_OUTSIDE}:8080/word");
    assert_eq!(fetch(outside, &url)?, "inside");
    echoes(outside, ROUTER_OUTSIDE, 53, &[1, 512, 1400])?;
    Ok(())
}

#[test]
fn an_ipv6_only_client_reaches_an_ipv4_only_server() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let rules = "pass in on ap1 inet6 from any to 64:ff9b::/96 af-to inet from (ap0)";
    let site = Site::with_rules(&format!("{RULES}{rules}\n"))?;
    let _web = Web::serve(
        site.host(Port::Outside),
        &[80],
        &[("large", noise(1_000_000, 7))],
    )?;
    let _echo = serve_echo(site.host(Port::Outside), 7)?;
    let inside = site.host(Port::Inside);
    let file = site.file("large").display().to_string();
    let url = format!("http://[{OUTSIDE64}]/large");
    let got = inside.run(&["curl", "-sS", "-m", "30", "-o", &file, &url])?;
    assert!(got.ok(), "{}", got.text);
    assert_eq!(std::fs::read(&file).context("large")?, noise(1_000_000, 7));
    echoes(inside, OUTSIDE64, 7, &[1, 512, 1400])?;
    let said = site.inside(&["ping", "-c3", "-i0.2", "-W2", OUTSIDE64])?;
    assert!(said.contains(" 0% packet loss"), "{said}");
    Ok(())
}
