//! Addresses and routes that are learned from real servers, and told to a real host.
//!
//! dnsmasq is the DHCP server and the router that advertises; leases shorter than its two minutes come from a server of a
//! few lines here.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hosts::Running;
use net_tests::http::Request;
use net_tests::{Context, Etc, OUTSIDE, Plan, Port, ROUTER_INSIDE6, Result, Site, skip, until};
use serde_json::Value;

/// The outside is learned; what goes out there has its address.
const RULES: &str = "\
block return log
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass in on ap0 inet6 proto icmp6 icmp6-type { routeradv, neighbrsol, neighbradv }
pass on ap1
pass out on ap0 inet6 proto icmp6
pass out on egress inet nat-to (ap0) label uplink
";

fn etc() -> Etc {
    Etc::with_rules(RULES)
        .with("hostname.ap0", "inet autoconf\ninet6 autoconf\n")
        .with(
            "rad.conf",
            "interface ap1 {\n\tdns {\n\t\tnameserver 2001:db8:2::1\n\t}\n}\n",
        )
}

fn open() -> Result<Site> {
    Site::open(&Plan {
        etc: etc(),
        ..Plan::default()
    })
}

/// dnsmasq on the outside host, giving 192.0.2.100 to .150 for two minutes and 2001:db8:1::/64 for ten.
fn server(site: &Site) -> Result<Running> {
    let leases = format!("--dhcp-leasefile={}", site.file("leases").display());
    site.host(Port::Outside).spawn(&[
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--pid-file=",
        "--log-facility=-",
        "--interface=eth0",
        "--dhcp-authoritative",
        "--dhcp-range=192.0.2.100,192.0.2.150,255.255.255.0,120",
        "--dhcp-option=3,192.0.2.2",
        "--dhcp-option=6,192.0.2.53",
        "--enable-ra",
        "--dhcp-range=2001:db8:1::,ra-only,64,600",
        "--ra-param=eth0,4,600",
        &leases,
    ])
}

fn interface(site: &Site, name: &str) -> Result<Value> {
    let all = site.get("/v1/interfaces")?;
    let mut all = all.as_array().into_iter().flatten();
    Ok(all.find(|i| i["name"] == name).cloned().unwrap_or_default())
}

/// Addresses of an interface that begin so.
fn addresses(site: &Site, name: &str, begins: &str) -> Result<Vec<String>> {
    let interface = interface(site, name)?;
    let all = interface["addresses"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let texts = all.iter().filter_map(|a| a[0].as_str());
    Ok(texts
        .filter(|a| a.starts_with(begins))
        .map(Into::into)
        .collect())
}

fn is_egress(site: &Site, name: &str) -> Result<bool> {
    let interface = interface(site, name)?;
    let groups = interface["groups"].as_array().cloned().unwrap_or_default();
    Ok(groups.iter().any(|g| g == "egress"))
}

fn pings(site: &Site, to: &str) -> Result<bool> {
    Ok(site
        .host(Port::Inside)
        .run(&["ping", "-c1", "-W1", to])?
        .ok())
}

#[test]
fn a_lease_of_dnsmasq_feeds_rules_egress_and_the_default_route() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open()?;
    assert!(
        !pings(&site, OUTSIDE)? && !is_egress(&site, "ap0")?,
        "nothing without a lease"
    );
    let _server = server(&site)?;
    let leased = until(
        "a lease",
        || Ok(addresses(&site, "ap0", "192.0.2.1")?.pop()),
    )?;
    assert!(is_egress(&site, "ap0")?);
    until("an answer by the lease", || {
        Ok(pings(&site, OUTSIDE)?.then_some(()))
    })?;
    let status = site.get("/v1/status")?;
    assert_eq!(status["leases"][0]["state"], "bound", "{status}");
    assert_eq!(status["nameservers"][0], "192.0.2.53", "{status}");
    let routes = site.get("/v1/routes")?.to_string();
    assert!(routes.contains("\"gateway\":\"192.0.2.2\""), "{routes}");
    let slaac = until("an address of the prefix", || {
        Ok(addresses(&site, "ap0", "2001:db8:1:")?.pop())
    })?;
    println!("leased {leased}, made {slaac}");
    // The address answers, and the default route leads to whoever advertised.
    let output = site
        .host(Port::Outside)
        .run(&["ping", "-c1", "-W1", &leased])?;
    assert!(!output.ok(), "the rules let nobody in: {}", output.text);
    until("a default route of IPv6", || {
        let routes = site.get("/v1/routes")?.to_string();
        Ok(routes.contains("\"gateway\":\"fe80::").then_some(()))
    })?;
    // What was learned outlives a new configuration.
    site.accept(&etc().with("myname", "other\n"))?;
    assert_eq!(addresses(&site, "ap0", "192.0.2.1")?, [leased]);
    assert!(pings(&site, OUTSIDE)?);
    Ok(())
}

/// A socket of the outside host's for a DHCP server.
fn server_socket(site: &Site) -> Result<UdpSocket> {
    site.host(Port::Outside).inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:67").context("port 67")?;
        socket.set_broadcast(true).context("broadcast")?;
        let patience = Some(Duration::from_millis(100));
        socket.set_read_timeout(patience).context("timeout")?;
        Ok(socket)
    })
}

/// Answers until told to stop: the same address for so many seconds.
fn serve(socket: &UdpSocket, seconds: u32, stop: &AtomicBool) {
    let mut buf = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        let heard = socket.recv_from(&mut buf);
        let answer = heard.ok().and_then(|(len, _)| answer(&buf[..len], seconds));
        if let Some(answer) = answer {
            // Who gets no answer asks again.
            socket.send_to(&answer, "255.255.255.255:68").ok();
        }
    }
}

/// What `ask` finds while the address is leased for so many seconds.
fn while_served<T>(site: &Site, seconds: u32, ask: impl FnOnce() -> Result<T>) -> Result<T> {
    let (socket, stop) = (server_socket(site)?, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&socket, seconds, &stop));
        let found = ask();
        stop.store(true, Ordering::Relaxed);
        found
    })
}

fn answer(question: &[u8], seconds: u32) -> Option<Vec<u8>> {
    let kind = question.windows(3).skip(240).find(|w| w[..2] == [53, 1])?[2];
    let kind = match kind {
        1 => 2,
        3 => 5,
        _ => return None,
    };
    let mut out = question.get(..240)?.to_vec();
    out[0] = 2;
    out[16..20].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 77).octets());
    out.extend([
        53, 1, kind, 54, 4, 192, 0, 2, 2, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 2, 51, 4,
    ]);
    out.extend(seconds.to_be_bytes());
    out.push(255);
    Some(out)
}

#[test]
fn a_lease_whose_server_has_gone_ends() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open()?;
    while_served(&site, 8, || {
        until("a lease", || {
            let found = addresses(&site, "ap0", "192.0.2.77")?;
            Ok((!found.is_empty()).then_some(()))
        })?;
        // Longer than the lease: it is renewed, not lost.
        std::thread::sleep(Duration::from_secs(10));
        assert_eq!(addresses(&site, "ap0", "192.0.2.77")?.len(), 1, "renewed");
        Ok(())
    })?;
    assert!(is_egress(&site, "ap0")?);
    until("the end of the lease", || {
        let found = addresses(&site, "ap0", "192.0.2.77")?;
        Ok(found.is_empty().then_some(()))
    })?;
    assert!(!is_egress(&site, "ap0")? && !pings(&site, OUTSIDE)?);
    Ok(())
}

#[test]
fn a_leased_address_that_a_host_has_is_declined() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open()?;
    site.host(Port::Outside).address("192.0.2.77/24")?;
    while_served(&site, 60, || {
        until("a conflict", || {
            let metrics = site.ask(&Request {
                path: "/metrics",
                token: Some(net_tests::TOKEN),
                ..Request::default()
            })?;
            let text = String::from_utf8_lossy(&metrics.body).into_owned();
            let counter = "fugu_address_conflicts_total";
            let line = text.lines().find(|l| l.starts_with(counter));
            Ok(line.is_some_and(|l| !l.ends_with(" 0")).then_some(()))
        })?;
        assert!(
            addresses(&site, "ap0", "192.0.2.77")?.is_empty(),
            "not used"
        );
        Ok(())
    })
}

#[test]
fn a_host_configures_itself_from_our_advertisements() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open()?;
    let host = site.host(Port::Inside);
    // What the site gave it goes with the link; it asks for routers when that is up again.
    for setting in ["accept_ra=1", "router_solicitations=3"] {
        let name = format!("net.ipv6.conf.eth0.{setting}");
        let set = host.run(&["sysctl", "-q", "-w", &name])?;
        assert!(set.ok(), "{}", set.text);
    }
    host.ip(&["link", "set", "eth0", "down"])?;
    host.ip(&["link", "set", "eth0", "up"])?;
    let made = until("an address of the prefix", || {
        let said = host.run(&[
            "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global",
        ])?;
        let dynamic = said
            .text
            .lines()
            .find(|l| l.contains("2001:db8:2:") && l.contains("dynamic"));
        Ok(dynamic.map(str::to_owned))
    })?;
    let routes = host.run(&["ip", "-6", "route", "show", "default"])?.text;
    assert!(
        routes.contains("proto ra") && routes.contains("via fe80::"),
        "{routes}"
    );
    println!("{} {}", made.trim(), routes.trim());
    until("an answer of the router", || {
        Ok(pings(&site, ROUTER_INSIDE6)?.then_some(()))
    })?;
    Ok(())
}
