//! "Improving Network Reliability", as the article has it: a failover lagg of two ports with a VLAN on top, and translation
//! on the way out. Only the names of the cards are ours. A Linux switch with tags on both of its ports is the other end.
//!
//! The ports' driver reports no links here, so a cable that is pulled behind one goes unnoticed, unless somebody is asked
//! for: probing is what finds a port that is up and dead. `tests/vm` pulls links that the driver does report.

use hosts::service::Web;
use net_tests::clients::echoes;
use net_tests::clients::{download_at, noise, ping, url_at};
use net_tests::http::Request;
use net_tests::{
    Cable, Capture, Crowd, Etc, Mirror, OUTSIDE, Plan, Port, ROUTER_OUTSIDE, Result, Site, TOKEN,
    serve_echo, skip, tagged_bridge, until,
};
use std::time::Instant;

const RC_CONF: &str = r#"cloned_interfaces="lagg0 vlan0" 
ifconfig_ap1="up" 
ifconfig_ap3="up" 
ifconfig_lagg0="laggproto failover laggport ap1 laggport ap3" 
ifconfig_vlan0="vlan 22 vlandev lagg0 192.168.1.5 netmask 255.255.255.0" 
"#;
const RULES: &str = "\
match out on ap0 inet from vlan0:network nat-to (ap0)
block return
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass in on vlan0
pass out
";
/// The box and the host behind the switch, on the VLAN.
const BOX: &str = "192.168.1.5";
const HOST: &str = "192.168.1.77";
const OF_STANDBY: &str = "fugu_lagg_port_ready{lagg=\"lagg0\",port=\"ap3\"}";
const BULK: usize = 10_000_000;

fn etc(fugu_conf: &str) -> Etc {
    Etc::with_rules(RULES)
        .without("hostname.ap1")
        .with("rc.conf", RC_CONF)
        .with("fugu.conf", fugu_conf)
}

/// The inside host has both ports' other ends, as a switch with the VLAN 22 on both.
fn open(fugu_conf: &str) -> Result<Site> {
    let site = Site::open(&Plan {
        etc: etc(fugu_conf),
        more: vec![Cable {
            host: "inside",
            interface: "eth1",
        }],
        ..Plan::default()
    })?;
    let inside = site.host(Port::Inside);
    let on = tagged_bridge(inside, &["eth0", "eth1"], 22, &site.file(""))?;
    inside.must(&format!("ip address add {HOST}/24 dev {on}"))?;
    inside.must(&format!("ip route add default via {BOX}"))?;
    until("an answer through the lagg", || {
        let got = inside.run(&["ping", "-c1", "-W1", OUTSIDE])?;
        Ok(got.ok().then_some(()))
    })?;
    Ok(site)
}

/// What `ifconfig` prints for an interface, without the margin.
fn ifconfig(site: &Site, name: &str) -> Result<Vec<String>> {
    let lines = site.console(&format!("ifconfig {name}"))?;
    println!("{}", lines.join("\n"));
    Ok(lines.iter().map(|line| line.trim().to_owned()).collect())
}

/// The lines of `ifconfig lagg0` about its ports.
fn ports(site: &Site) -> Result<Vec<String>> {
    let mut lines = ifconfig(site, "lagg0")?;
    lines.retain(|line| line.starts_with("lagg"));
    Ok(lines)
}

/// A value of `/metrics`.
fn metric(site: &Site, name: &str) -> Result<Option<u64>> {
    let reply = site.ask(&Request {
        path: "/metrics",
        token: Some(TOKEN),
        ..Request::default()
    })?;
    let text = reply.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(value.and_then(|value| value.trim().parse().ok()))
}

/// Whether frames leave by ap1, whether ap1 is ready, and how often they began to leave by another port.
fn metrics(site: &Site) -> Result<[Option<u64>; 3]> {
    let of = |name: &str| metric(site, name);
    Ok([
        of("fugu_lagg_port_sends{lagg=\"lagg0\",port=\"ap1\"}")?,
        of("fugu_lagg_port_ready{lagg=\"lagg0\",port=\"ap1\"}")?,
        of("fugu_lagg_switches_total{lagg=\"lagg0\"}")?,
    ])
}

#[test]
fn a_vlan_on_a_failover_lagg_passes_traffic_with_tags() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open("")?;
    let (inside, outside) = (site.host(Port::Inside), site.host(Port::Outside));
    let _mirror = Mirror::serve(outside, "outside", &[8080])?;
    let url = url_at(OUTSIDE, 8080, "");
    assert_eq!(
        site.inside(&["curl", "-sS", "-m", "20", &url])?,
        format!("outside saw {ROUTER_OUTSIDE}")
    );
    // Both ways by the master, with the tag; nothing by the standby.
    let mut master = Capture::start(inside, "eth0", "")?;
    let mut standby = Capture::start(inside, "eth1", "")?;
    println!("{}", hosts::last_line(&ping(inside, BOX, &[])?));
    for way in [format!("{HOST} > {BOX}"), format!("{BOX} > {HOST}")] {
        let line = master.next_with(&way)?;
        println!("{line}");
        assert!(
            line.contains("802.1Q") && line.contains(": vlan 22,"),
            "{line}"
        );
    }
    let strays = standby.rest();
    let of_box = |line: &&String| line.contains(&format!("{BOX} > "));
    assert_eq!(strays.iter().find(of_box), None);
    drop((master, standby));

    let content = noise(BULK, 22);
    let _web = Web::serve(outside, &[80], &[("large", content.clone())])?;
    download_at(&site, inside, &url_at(OUTSIDE, 80, "large"), &content)?;
    let _echo = serve_echo(outside, 7)?;
    // The largest has 1500 bytes, and 1518 with its tag.
    println!(
        "{} datagrams came back",
        echoes(inside, OUTSIDE, 7, &[0, 100, 1472])?
    );

    let vlan = ifconfig(&site, "vlan0")?;
    assert!(
        vlan.iter()
            .any(|line| line == "vlan: 22 parent interface: lagg0")
    );
    let lagg = ifconfig(&site, "lagg0")?;
    for wanted in [
        "status: active",
        "laggproto failover",
        "laggport: ap1 flags=5<MASTER,ACTIVE>",
        "laggport: ap3 flags=0<>",
    ] {
        assert!(
            lagg.iter().any(|line| line == wanted),
            "no {wanted} in {lagg:?}"
        );
    }
    // All of them have the first port's address.
    let mut stations = Vec::new();
    for name in ["ap1", "ap3", "lagg0", "vlan0"] {
        let lines = ifconfig(&site, name)?;
        let station = |line: &String| {
            Some(
                line.strip_prefix("lladdr ")
                    .or(line.strip_prefix("ether "))?
                    .to_owned(),
            )
        };
        stations.extend(lines.iter().find_map(station));
        let of_lagg = |line: &String| line == "lagg: laggdev lagg0";
        assert_eq!(
            lines.iter().any(of_lagg),
            name.starts_with("ap"),
            "{lines:?}"
        );
    }
    assert!(
        stations.len() == 4 && stations.windows(2).all(|two| two[0] == two[1]),
        "{stations:?}"
    );
    Ok(())
}

#[test]
fn probing_finds_a_port_that_is_up_and_dead_and_connections_go_on_by_the_other() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open(&format!(
        "lagg0 probe {HOST} interval 50ms misses 3\nlagg0 hold-time 200ms\n"
    ))?;
    let (inside, outside) = (site.host(Port::Inside), site.host(Port::Outside));
    let to = format!("{OUTSIDE}:7000")
        .parse()
        .map_err(|_| net_tests::Failure("address".into()))?;
    let crowd = Crowd::start(inside, outside, to, 20)?;
    crowd.must_go_on()?;
    until("both ports ready", || {
        let [sends, ready, _] = metrics(&site)?;
        let all = [sends, ready, metric(&site, OF_STANDBY)?];
        Ok((all == [Some(1); 3]).then_some(()))
    })?;
    let [_, _, before] = metrics(&site)?;
    let begin = site.program.said().len();
    let says = |text: &str| {
        until(format!("\"{text}\""), || {
            let said = site.program.said();
            Ok(said[begin..].contains(text).then_some(()))
        })
    };

    let started = Instant::now();
    inside.must("ip link set eth0 down")?;
    says("lagg0: frames leave by ap3 now")?;
    println!(
        "noticed after {:?} (3 questions, 50 ms apart)",
        started.elapsed()
    );
    says("lagg0: ap1 is not to be used: nobody answers behind it")?;
    assert_eq!(metrics(&site)?, [Some(0), Some(0), before.map(|n| n + 1)]);
    let after = ports(&site)?;
    assert!(
        after.contains(&"laggport: ap1 flags=1<MASTER>".to_owned()),
        "{after:?}"
    );
    assert!(
        after.contains(&"laggport: ap3 flags=4<ACTIVE>".to_owned()),
        "{after:?}"
    );
    crowd.must_go_on()?;

    // The cable is back, and so is the master.
    inside.must("ip link set eth0 up")?;
    says("lagg0: frames leave by ap1 now")?;
    crowd.must_go_on()?;

    // A standby that dies is told, though nobody misses it.
    inside.must("ip link set eth1 down")?;
    says("lagg0: ap3 is not to be used: nobody answers behind it")?;
    assert_eq!(metric(&site, OF_STANDBY)?, Some(0));
    assert_eq!(metrics(&site)?, [Some(1), Some(1), before.map(|n| n + 2)]);
    crowd.must_go_on()?;
    println!("{} bytes each way, no connection lost", crowd.finish()?);
    Ok(())
}
