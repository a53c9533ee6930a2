//! Finding out how large a packet may be, through translation: a link of the box that takes 1280 bytes, and one behind
//! the next router, whose errors come back to an address that the sender does not have.

use hosts::service;
use net_tests::clients::{download_at, has_learned, serve_large, url_at};
use net_tests::{
    Etc, NAT_RULES, Namespace, OUTSIDE, OUTSIDE6, Plan, Port, ROUTER_OUTSIDE, ROUTER_OUTSIDE6,
    Result, Site, skip,
};

/// Bytes that the narrow link takes: the least that IPv6 allows.
const NARROW: usize = 1280;
/// What IPv6 hosts are told of it when their packets leave as IPv4: headers differ by 20 (RFC 7915 5.1).
const NARROW64: usize = NARROW + 20;
/// The host behind the narrow link.
const FAR: &str = "198.51.100.2";
const FAR6: &str = "2001:db8:9::2";
const FAR64: &str = "64:ff9b::c633:6402";
const BULK_PORT: u16 = 5201;

/// Sends bulk from inside, where senders have to learn.
fn upload(site: &Site, server: &Namespace, to: &str) -> Result<()> {
    let _bulk = service::bulk(server, BULK_PORT)?;
    let port = BULK_PORT.to_string();
    let said = site.inside(&["iperf3", "-c", to, "-p", &port, "-n", "5M", "-f", "m"])?;
    let sent = said.lines().find(|line| line.ends_with("sender"));
    println!("{to}: {}", hosts::one_line(sent.unwrap_or(&said)));
    Ok(())
}

/// Pings with a packet that may not be cut, until the answer is that it is too large.
fn told(site: &Site, to: &str, wanted: &str) -> Result<()> {
    let words = ["ping", "-c1", "-W2", "-M", "do", "-s1400", to];
    let said = site.host(Port::Inside).run(&words)?.text;
    assert!(said.contains(wanted), "{to}: {said}");
    println!("{to}: {wanted}");
    Ok(())
}

#[test]
fn senders_behind_translation_learn_of_a_narrow_link_of_the_box() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let narrow = format!("inet 192.0.2.1/24\ninet6 2001:db8:1::1/64\nmtu {NARROW}\n");
    let site = Site::open(&Plan {
        etc: Etc::with_rules(NAT_RULES).with("hostname.ap0", &narrow),
        ..Plan::default()
    })?;
    told(&site, OUTSIDE, "Frag needed and DF set (mtu = 1280)")?;
    told(&site, OUTSIDE6, "Packet too big: mtu=1280")?;
    for to in [OUTSIDE, OUTSIDE6] {
        assert!(has_learned(&site, Port::Inside, to, NARROW)?, "{to}");
        upload(&site, site.host(Port::Outside), to)?;
    }
    let (_web, content) = serve_large(site.host(Port::Inside))?;
    for from in [ROUTER_OUTSIDE, ROUTER_OUTSIDE6] {
        let outside = site.host(Port::Outside);
        download_at(&site, outside, &url_at(from, 8080, "large"), &content)?;
    }
    println!("{} packets were too large", site.reason("mtu")?);
    Ok(())
}

/// The outside host becomes a router with a narrow link to one more host. That one says in its SYN segments that it takes
/// what Ethernet does, so that only errors tell of the link.
fn far_host(site: &Site) -> Result<Namespace> {
    let (router, far) = (site.host(Port::Outside), Namespace::new("far")?);
    router.connect("narrow", &far)?;
    let mtu = NARROW.to_string();
    for name in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        let output = router.run(&["sysctl", "-q", "-w", &format!("{name}=1")])?;
        assert!(output.ok(), "{}", output.text);
    }
    router.ip(&["address", "add", "198.51.100.1/24", "dev", "narrow"])?;
    router.ip(&["address", "add", "2001:db8:9::1/64", "dev", "narrow"])?;
    router.ip(&["link", "set", "narrow", "mtu", &mtu])?;
    far.address(&format!("{FAR}/24"))?;
    far.address(&format!("{FAR6}/64"))?;
    far.ip(&["link", "set", "eth0", "mtu", &mtu])?;
    let route = ["route", "add", "default", "via"];
    far.ip(&[&route[..], &["198.51.100.1", "advmss", "1460"]].concat())?;
    far.ip(&[&["-6"], &route[..], &["2001:db8:9::1", "advmss", "1440"]].concat())?;
    Ok(far)
}

#[test]
fn errors_of_a_router_far_away_find_the_sender_behind_translation() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::open(&Plan {
        etc: Etc::with_rules(NAT_RULES).with("mygate", "192.0.2.2\n2001:db8:1::2\n"),
        ..Plan::default()
    })?;
    let far = far_host(&site)?;
    told(&site, FAR, "Frag needed and DF set (mtu = 1280)")?;
    told(&site, FAR6, "Packet too big: mtu=1280")?;
    told(&site, FAR64, "Packet too big: mtu=1300")?;
    for (to, mtu) in [(FAR, NARROW), (FAR6, NARROW), (FAR64, NARROW64)] {
        assert!(has_learned(&site, Port::Inside, to, mtu)?, "{to}");
        upload(&site, &far, to)?;
    }
    let (_web, content) = serve_large(site.host(Port::Inside))?;
    for from in [ROUTER_OUTSIDE, ROUTER_OUTSIDE6] {
        download_at(&site, &far, &url_at(from, 8080, "large"), &content)?;
    }
    Ok(())
}
