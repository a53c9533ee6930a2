//! "Stupid Bridge Tricks", as the article has it: a bridge that slides into a cable, and a second uplink that some hosts'
//! connections to some ports are sliced out to. Only the names of the cards are ours, and the address of the box is one of
//! the network that the other addresses are of.
//!
//! ```text
//!   inside 216.28.123.99, .50 --- ap1 [ bridge0 ] ap0 216.28.123.123 --- outside 216.28.120.1   (the old line)
//!                                   ap3 192.168.1.64 ------------------- dsl 192.168.0.1        (the new line)
//! ```
//!
//! Both lines lead to a server with the address 203.0.113.9, which says what it is called and whom it sees.

use hosts::service::{self, Web};
use net_tests::clients::{LARGE, download_at, fetch, noise, ping, url_at};
use net_tests::{
    Cable, Capture, Etc, Failure, Mirror, Namespace, Plan, Port, Result, Site, skip, until,
};
use serde_json::Value;

/// The article's, with `$dsl_enable` still to be said.
const RULES: &str = r#"# Specify our interfaces
ext_if1="ap0" 
ext_if2="ap3" 
ext_gw2="192.168.0.1" 
int_if="ap1" 

# This contains localnet traffic that does not go out a T (shouldn't be state tracked (for this application anyway))
table <localnet> persist { 216.28.123.0/24 216.28.124.0/24 216.28.125.0/24 216.29.126.0/24 }

# Make this a # sign to disable the dsl routing
dsl_enable = "DSL_ENABLE"

# A list of all ports to send through the dsl connection
dslports="{ 22 80 110 143 443 }" 
# Table of ips to use the dsl modem for outgoing traffic
dslnet = "{ 216.28.123.34/32 216.28.123.175/32 216.28.123.176/32 216.28.123.99/32 216.28.123.10/32 }" 

# Network address translations
$dsl_enable nat on $ext_if2 from $dslnet to any port $dslports -> ($ext_if2)

# Pass quick all of our local traffic without further ado
pass quick on { $ext_if1 $int_if } from <localnet> to <localnet>

# Run our load-balancer here
# pass our dsl ports first
$dsl_enable pass in quick on $int_if route-to ($ext_if2 $ext_gw2) proto { tcp udp } from $dslnet to !<localnet>  port $dslports modulate state label "DSL-1 $srcaddr:$dstport" 
$dsl_enable pass out quick on $ext_if1 route-to ($ext_if2 $ext_gw2) proto { tcp udp } from $ext_if2 to any port $dslports modulate state label "DSL-2 $srcaddr:$dstport" 

# Modulate state on all connections
pass on $ext_if1 modulate state
"#;
/// A host of `dslnet`, and one that is not.
const CHOSEN: &str = "216.28.123.99";
const OTHER: &str = "216.28.123.50";
/// The old line's router, and a neighbor at its side.
const GATEWAY: &str = "216.28.120.1";
const NEAR: &str = "216.28.123.200";
/// A server that both lines lead to.
const SERVER: &str = "203.0.113.9";
/// The box on the new line.
const SLICED: &str = "192.168.1.64";
const LABEL: &str = "DSL-1 216.28.123.99:80";

fn etc(enable: &str) -> Etc {
    Etc::with_rules(&RULES.replace("DSL_ENABLE", enable))
        .with("hostname.ap0", "inet 216.28.123.123 255.255.252.0 NONE\n")
        .with("hostname.ap1", "up media auto\n")
        .with("bridgename.bridge0", "add ap1\nadd ap0\nup\n")
        .with("hostname.ap3", "inet 192.168.1.64 255.255.0.0 NONE\n")
        .with("mygate", "216.28.120.1\n")
}

/// The bridge is in the cable, and hosts on both sides and behind the new line have their addresses.
fn open() -> Result<Site> {
    let site = Site::open(&Plan {
        etc: etc(""),
        more: vec![Cable {
            host: "dsl",
            interface: "eth0",
        }],
        ..Plan::default()
    })?;
    let (inside, outside) = (site.host(Port::Inside), site.host(Port::Outside));
    for host in [inside, outside] {
        host.must("ip address flush dev eth0")?;
    }
    for address in [CHOSEN, OTHER] {
        inside.address(&format!("{address}/22"))?;
    }
    inside.route("default", GATEWAY)?;
    outside.address(&format!("{GATEWAY}/22"))?;
    outside.address(&format!("{NEAR}/22"))?;
    let dsl = site.host_named("dsl")?;
    dsl.address("192.168.0.1/16")?;
    for host in [outside, dsl] {
        host.must(&format!("ip address add {SERVER}/32 dev lo"))?;
    }
    until("an answer across the bridge", || {
        let got = inside.run(&["ping", "-c1", "-W1", GATEWAY])?;
        Ok(got.ok().then_some(()))
    })?;
    Ok(site)
}

/// The page of a server, fetched from one of the inside host's addresses.
fn page(site: &Site, from: &str, to: &str, port: u16) -> Result<String> {
    let url = url_at(to, port, "");
    let words = ["curl", "-sS", "-m", "20", "--interface", from, &url];
    let said = site.inside(&words)?;
    println!("{from} -> {to}:{port}: {said}");
    Ok(said)
}

fn mac(host: &Namespace) -> Result<String> {
    Ok(host
        .must("cat /sys/class/net/eth0/address")?
        .trim()
        .to_owned())
}

/// What `pfctl -s labels` prints for a label: evaluations, packets, bytes, in, in, out, out, states.
fn label(site: &Site, label: &str) -> Result<Option<[u64; 8]>> {
    let printed = site.console(&format!("pfctl -s labels | match {}", &label[6..]))?;
    let rest = printed.iter().find_map(|line| line.strip_prefix(label));
    let Some(rest) = rest else {
        return Ok(None);
    };
    println!("{label}{rest}");
    let numbers: Vec<u64> = rest
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    let all = <[u64; 8]>::try_from(numbers);
    all.map(Some).map_err(|_| Failure(format!("{label}{rest}")))
}

#[test]
fn what_was_not_chosen_crosses_the_bridge_unchanged() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open()?;
    let (inside, outside) = (site.host(Port::Inside), site.host(Port::Outside));
    let said = ping(inside, GATEWAY, &[])?;
    assert!(said.contains("ttl=64"), "a hop: {said}");
    // Both ends see each other's cards, and frames have them.
    let (here, there) = (mac(inside)?, mac(outside)?);
    let known = inside.must(&format!("ip neighbor show {GATEWAY}"))?;
    assert!(known.contains(&there), "{known}");
    let mut seen = Capture::start(outside, "eth0", "icmp[icmptype] == icmp-echo")?;
    ping(inside, GATEWAY, &["-s", "1400"])?;
    let line = seen.next_with(&format!("> {GATEWAY}"))?;
    println!("{line}");
    assert!(line.contains(&format!("{here} > {there}")), "{line}");
    assert!(line.contains(&format!("{CHOSEN} > {GATEWAY}")), "{line}");
    drop(seen);

    let _old = Mirror::serve(outside, "old line", &[80, 8080])?;
    let _new = Mirror::serve(site.host_named("dsl")?, "new line", &[80, 8080])?;
    for (from, to, port) in [
        // Not a chosen port, not a chosen host, not a host outside.
        (CHOSEN, SERVER, 8080),
        (OTHER, SERVER, 80),
        (OTHER, SERVER, 8080),
        (CHOSEN, NEAR, 80),
    ] {
        assert_eq!(page(&site, from, to, port)?, format!("old line saw {from}"));
    }
    // Who is served by the inside notices nothing.
    let _web = Web::serve(inside, &[80], &[("page", b"from inside".to_vec())])?;
    assert_eq!(fetch(outside, &url_at(CHOSEN, 80, "page"))?, "from inside");

    for way in [&[][..], &["-R"]] {
        let _bulk = service::bulk(outside, 5201)?;
        let usual = ["iperf3", "-J", "-c", GATEWAY, "-n", "20000000"];
        let said = site.inside(&[&usual, way].concat())?;
        let report: Value = serde_json::from_str(&said).unwrap_or_default();
        let received = &report["end"]["sum_received"];
        println!("iperf3 {way:?}: {received}");
        assert!(received["bytes"].as_u64() > Some(LARGE as u64), "{said}");
    }
    Ok(())
}

#[test]
fn chosen_hosts_and_ports_take_the_second_uplink_and_the_labels_count_them() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open()?;
    let dsl = site.host_named("dsl")?;
    let old = Mirror::serve(site.host(Port::Outside), "old line", &[80, 443])?;
    let new = Mirror::serve(dsl, "new line", &[80, 443])?;
    let mut seen = Capture::start(dsl, "eth0", "tcp port 80")?;
    for _ in 0..3 {
        assert_eq!(
            page(&site, CHOSEN, SERVER, 80)?,
            format!("new line saw {SLICED}")
        );
    }
    assert_eq!(
        page(&site, CHOSEN, SERVER, 443)?,
        format!("new line saw {SLICED}")
    );
    assert_eq!(
        page(&site, OTHER, SERVER, 443)?,
        format!("old line saw {OTHER}")
    );
    let packets = seen.rest();
    let sent = packets
        .iter()
        .filter(|line| line.contains(&format!("> {SERVER}.")))
        .count() as u64;
    let all = packets.len() as u64;
    drop(seen);

    let counts = label(&site, LABEL)?.ok_or_else(|| Failure(format!("no label {LABEL}")))?;
    let [
        _,
        both,
        bytes,
        packets_in,
        bytes_in,
        packets_out,
        bytes_out,
        states,
    ] = counts;
    assert_eq!(
        (both, packets_in, packets_out, states),
        (all, sent, all - sent, 3)
    );
    assert_eq!(bytes, bytes_in + bytes_out);
    let rule = site.rule(LABEL)?;
    println!("{rule}");
    drop((old, new));

    // A large file, whose sequence numbers are modulated on both lines.
    let content = noise(LARGE, 7);
    let web = Web::serve(
        site.host_named("dsl")?,
        &[80],
        &[("large", content.clone())],
    )?;
    download_at(
        &site,
        site.host(Port::Inside),
        &url_at(SERVER, 80, "large"),
        &content,
    )?;
    drop(web);
    let after = label(&site, LABEL)?.ok_or_else(|| Failure(format!("no label {LABEL}")))?;
    assert!(after[6] > bytes_out + LARGE as u64, "{after:?}");
    assert_eq!(after[7], 4);

    // "disable the DSL routing if there is a suspected problem"
    site.accept(&etc("#"))?;
    let _old = Mirror::serve(site.host(Port::Outside), "old line", &[80])?;
    let _new = Mirror::serve(site.host_named("dsl")?, "new line", &[80])?;
    assert_eq!(
        page(&site, CHOSEN, SERVER, 80)?,
        format!("old line saw {CHOSEN}")
    );
    assert_eq!(label(&site, LABEL)?, None);
    Ok(())
}
