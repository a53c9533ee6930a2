//! IPv4 in pieces between real hosts, on links of 1500 bytes: pings as large as packets can be and answers of name servers,
//! both ways, with and without translation. (`tests/net` cannot show this: there the kernel joins the pieces.)

use hosts::lookup::{asks, name_server};
use vm_tests::lab::{Lab, ping};
use vm_tests::{Failure, Namespace, NicModel, Result, skip};

const OUTSIDE: &str = "192.0.2.2";
const INSIDE: &str = "10.0.1.2";
const OUR_OUTSIDE: &str = "192.0.2.1";
const OUR_INSIDE: &str = "10.0.1.1";
/// Echo data in pings of 6 and of 41 pieces.
const SIZES: [&str; 2] = ["8000", "60000"];

const PLAIN: &str = "\
block return log
pass in quick on vio2 proto tcp to 172.16.0.1 port 80
pass on { vio0 vio1 } inet proto { icmp udp }
";

/// Inside is behind the address of the box, which hands pings and questions of names on.
const TRANSLATED: &str = "\
block return log
pass in quick on vio2 proto tcp to 172.16.0.1 port 80
pass in on vio1 inet proto { icmp udp }
pass out on vio0 inet proto { icmp udp } nat-to (vio0)
pass in on vio0 inet proto icmp to (vio0) rdr-to 10.0.1.2
pass in on vio0 inet proto udp to (vio0) port 53 rdr-to 10.0.1.2
pass out on vio1 inet proto { icmp udp } to 10.0.1.2
";

fn rules(lab: &Lab, rules: &str) -> Result<String> {
    lab.accept(&[
        ("myname", "pieces\n"),
        ("hostname.vio0", "inet 192.0.2.1/24\n"),
        ("hostname.vio1", "inet 10.0.1.1/24\n"),
        ("hostname.vio2", "inet 172.16.0.1/24\n"),
        ("pf.conf", rules),
    ])
}

/// Pieces that the host received, and datagrams that it made of them.
fn pieces(host: &Namespace) -> Result<(u64, u64)> {
    let text = host.run(&["cat", "/proc/net/snmp"])?.text;
    let of = |name| number(&text, name).ok_or_else(|| Failure(format!("no {name}: {text}")));
    Ok((of("ReasmReqds")?, of("ReasmOKs")?))
}

/// Of the two lines about IP: the names, and below them the numbers.
fn number(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Ip: "));
    let mut pairs = lines.next()?.split(' ').zip(lines.next()?.split(' '));
    pairs.find(|(n, _)| *n == name)?.1.parse().ok()
}

/// Pings of every size; what arrived, arrived in pieces.
fn pings(from: &Namespace, to: &str) -> Result<()> {
    let before = pieces(from)?;
    for size in SIZES {
        println!("{size} bytes to {to}: {}", ping(from, to, &["-s", size])?);
    }
    let after = pieces(from)?;
    let came = (after.0 - before.0, after.1 - before.1);
    println!("{} pieces made {} datagrams", came.0, came.1);
    // Three answers of each size, none of them joined on the way.
    assert_eq!(came, (3 * (6 + 41), 6), "answers of {to}");
    Ok(())
}

#[test]
fn ipv4_in_pieces_passes_with_and_without_translation() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let lab = Lab::open(&Lab::options(3, NicModel::Virtio))?;
    let (outside, inside) = (lab.host(0), lab.host(1));
    outside.address("192.0.2.2/24")?;
    outside.route("default", OUR_OUTSIDE)?;
    inside.address("10.0.1.2/24")?;
    inside.route("default", OUR_INSIDE)?;

    let held = all_ask(&lab);
    println!("dropped: {}", lab.drops()?);
    held
}

fn all_ask(lab: &Lab) -> Result<()> {
    let (outside, inside) = (lab.host(0), lab.host(1));
    rules(lab, PLAIN)?;
    pings(inside, OUTSIDE)?;
    pings(outside, INSIDE)?;
    pings(inside, OUR_INSIDE)?;
    both_ask((inside, OUTSIDE), (outside, INSIDE))?;

    rules(lab, TRANSLATED)?;
    pings(inside, OUTSIDE)?;
    pings(outside, OUR_OUTSIDE)?;
    both_ask((inside, OUTSIDE), (outside, OUR_OUTSIDE))
}

/// Each asks the other, whom it knows by that address.
fn both_ask(one: (&Namespace, &str), two: (&Namespace, &str)) -> Result<()> {
    for ((client, to), (server, _)) in [(one, two), (two, one)] {
        let (_running, records) = name_server(server)?;
        let before = pieces(client)?;
        asks(client, to, &records)?;
        let after = pieces(client)?;
        assert_eq!(after.1 - before.1, 3, "answers larger than the link");
    }
    Ok(())
}
