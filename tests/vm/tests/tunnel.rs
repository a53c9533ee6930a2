//! Tunnels of Fugu against those of Linux: `gif` against `sit`, `ipip` and `ip6tnl`.
//!
//! ```text
//!   client 2001:db8:2::2 --- [ Fugu ] 192.0.2.1 ======= 192.0.2.2 [ Linux ] --- server 2001:db8:3::2
//!          10.0.1.2           gif0    2001:db8:1::1     2001:db8:1::2  sit0           10.0.3.2
//! ```

use hosts::service::Web;
use hosts::{Context, Failure, Result};
use std::net::SocketAddr;
use std::time::Duration;
use vm_tests::pair::Pair;
use vm_tests::peer::skip;
use vm_tests::stream::Transfer;

const LARGE_BYTES: usize = 2_000_000;
const UPLOAD: Duration = Duration::from_secs(2);
/// Bytes of a ping that are headers.
const PING4: u16 = 28;
const PING6: u16 = 48;
const LINUX: &str = "
    ip address add 192.0.2.2/24 dev eth0
    ip address add 2001:db8:1::2/64 dev eth0
    ip address add 10.0.3.1/24 dev eth1
    ip address add 2001:db8:3::1/64 dev eth1
";
const FUGU_CARD: &str = "inet 192.0.2.1/24\ninet6 2001:db8:1::1/64\n";
/// The client's card is configured for management; it is a network of IPv6, too.
const CLIENT_CARD: &str = "inet 172.16.0.1/24\ninet6 2001:db8:2::1/64\n";

/// The two machines with their ends of an underlay, and hosts with addresses.
fn pair() -> Result<Pair> {
    let mut pair = Pair::boot(1)?;
    pair.peer.setup(LINUX)?;
    pair.server().address("10.0.3.2/24")?;
    pair.server().route("default", "10.0.3.1")?;
    pair.server().address("2001:db8:3::2/64")?;
    pair.server().route("default", "2001:db8:3::1")?;
    pair.client().address("2001:db8:2::2/64")?;
    pair.client().route("default", "2001:db8:2::1")?;
    Ok(pair)
}

fn web(pair: &Pair) -> Result<Web> {
    Web::serve(pair.server(), &[80], &[("large", vec![b'x'; LARGE_BYTES])])
}

/// Rules by which the tunnel is used from the client's side and pinged from the other, each counted by a label.
fn rules(outer: &str) -> String {
    format!(
        "set skip on lo\nblock return log\n\
         pass in quick on vio2 proto tcp to 172.16.0.1 port 80\n\
         pass quick on {{ vio0 vio2 }} inet6 proto icmp6 icmp6-type {{ neighbrsol neighbradv }}\n\
         pass in on vio2 to {{ 10.0.3.0/24 2001:db8:3::/64 }}\n\
         pass out on gif0 label inner\n\
         pass out on vio0 proto {outer} label outer\n\
         pass in on vio0 proto {outer} label outer\n\
         pass in on gif0 proto {{ icmp icmp6 }} label back\n\
         pass out on vio2 label client\n"
    )
}

fn ping(pair: &Pair, from_server: bool, words: &[&str]) -> Result<String> {
    let host = if from_server {
        pair.server()
    } else {
        pair.client()
    };
    let usual = ["ping", "-c", "3", "-i", "0.2", "-W", "5"];
    let output = host.run(&[&usual, words].concat())?;
    if output.ok() {
        return Ok(hosts::last_line(&output.text));
    }
    Err(Failure(format!("ping {words:?}: {output:?}")))
}

/// A ping that is too big for the path, and what the path's MTU is said to be.
fn too_big(pair: &Pair, mtu: u16, bytes: u16, address: &str) -> Result<()> {
    let size = bytes.to_string();
    let words = [
        "ping", "-c", "2", "-i", "0.2", "-W", "5", "-M", "do", "-s", &size, address,
    ];
    let output = pair.client().run(&words)?;
    assert!(!output.ok(), "{output:?}");
    let said = [
        format!("mtu={mtu}"),
        format!("mtu: {mtu}"),
        format!("mtu = {mtu}"),
    ];
    assert!(
        said.iter().any(|words| output.text.contains(words)),
        "{output:?}"
    );
    Ok(())
}

/// Bytes there and back over TCP: a page from the server, and more towards it.
fn carries_tcp(pair: &Pair, address: &str) -> Result<()> {
    let end = SocketAddr::new(address.parse().context(address)?, 80);
    let url = format!("http://{end}/large");
    let words = [
        "curl",
        "-sS",
        "-m",
        "60",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        &url,
    ];
    let got = pair.client().run(&words)?;
    assert_eq!(
        (got.text.as_str(), got.status),
        (&*LARGE_BYTES.to_string(), Some(0))
    );
    let end = SocketAddr::new(end.ip(), 5201);
    let upload = Transfer::upload(pair.client(), pair.server(), end)?;
    std::thread::sleep(UPLOAD);
    println!(
        "{address}: {LARGE_BYTES} bytes down, {} up",
        upload.finish()?
    );
    Ok(())
}

/// Everything that goes through a tunnel in either direction: `mtu` of it, `header` bytes of a ping around its data.
fn carries_all(pair: &Pair, mtu: u16, header: u16, client: &str, server: &str) -> Result<()> {
    let before = (
        pair.counted("inner")?,
        pair.counted("outer")?,
        pair.counted("back")?,
    );
    println!("mtu {mtu}: {}", ping(pair, false, &[server])?);
    let after = (
        pair.counted("inner")?,
        pair.counted("outer")?,
        pair.counted("back")?,
    );
    let more = |then: [u64; 2], now: [u64; 2]| [now[0] - then[0], now[1] - then[1]];
    assert_eq!(more(before.0, after.0), [3, 3], "on the tunnel");
    assert_eq!(more(before.1, after.1), [3, 3], "around it");
    assert_eq!(more(before.2, after.2), [0, 0], "nobody asked from there");
    too_big(pair, mtu, mtu - header + 1, server)?;
    let fits = (mtu - header).to_string();
    println!("{}", ping(pair, false, &["-M", "do", "-s", &fits, server])?);
    println!("in pieces: {}", ping(pair, false, &["-s", "3000", server])?);
    println!("and back: {}", ping(pair, true, &[client])?);
    println!("in pieces: {}", ping(pair, true, &["-s", "3000", client])?);
    carries_tcp(pair, server)?;
    // What was pinged from the server: in by the tunnel, and back.
    let back = pair.counted("back")?;
    assert!(back[0] >= 6 && back[1] >= 6, "{back:?}");
    Ok(())
}

/// Fugu with a tunnel between these ends, which leads to both networks of the server.
fn configure(pair: &Pair, ends: &str, line: &str, outer: &str) -> Result<()> {
    let gif = format!(
        "tunnel {ends}\ninet 10.0.9.1/24\ninet6 2001:db8:f::1/64\n{line}\n\
         !route add -inet6 2001:db8:3::/64 2001:db8:f::2\n!route add -inet 10.0.3.0/24 10.0.9.2\n"
    );
    pair.configure(&[
        ("hostname.vio0", FUGU_CARD),
        ("hostname.vio2", CLIENT_CARD),
        ("hostname.gif0", &gif),
        ("pf.conf", &rules(outer)),
    ])?;
    // What was learned of the last tunnel's path.
    for family in ["-4", "-6"] {
        let flush = ["ip", family, "route", "flush", "cache"];
        assert!(pair.client().run(&flush)?.ok());
    }
    Ok(())
}

#[test]
fn ipv6_through_a_gif_tunnel_to_sit() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut pair = pair()?;
    pair.peer.setup(
        "ip tunnel add tun0 mode sit local 192.0.2.2 remote 192.0.2.1 ttl 64
         ip link set tun0 up
         ip address add 2001:db8:f::2/64 dev tun0
         ip route add 2001:db8:2::/64 dev tun0",
    )?;
    let _web = web(&pair)?;
    // 1280 is a gif's default; what the link below carries is set on it by hand.
    for (mtu, line) in [(1280, ""), (1480, "mtu 1480")] {
        configure(&pair, "192.0.2.1 192.0.2.2", line, "ipv6")?;
        carries_all(&pair, mtu, PING6, "2001:db8:2::2", "2001:db8:3::2")?;
    }
    Ok(())
}

#[test]
fn ipv4_in_ipv4_and_both_in_ipv6_to_linux() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut pair = pair()?;
    pair.peer.setup(
        "ip tunnel add tun0 mode ipip local 192.0.2.2 remote 192.0.2.1 ttl 64
         ip link set tun0 up
         ip address add 10.0.9.2/24 dev tun0
         ip route add 172.16.0.0/24 dev tun0",
    )?;
    let _web = web(&pair)?;
    configure(&pair, "192.0.2.1 192.0.2.2", "", "ipencap")?;
    carries_all(&pair, 1280, PING4, "172.16.0.2", "10.0.3.2")?;
    pair.peer.setup(
        "ip link del tun0
         ip -6 tunnel add tun1 mode any local 2001:db8:1::2 remote 2001:db8:1::1 encaplimit none
         ip link set tun1 up
         ip address add 10.0.9.2/24 dev tun1
         ip address add 2001:db8:f::2/64 dev tun1
         ip route add 172.16.0.0/24 dev tun1
         ip route add 2001:db8:2::/64 dev tun1",
    )?;
    configure(&pair, "2001:db8:1::1 2001:db8:1::2", "", "ipencap")?;
    carries_all(&pair, 1280, PING4, "172.16.0.2", "10.0.3.2")?;
    configure(&pair, "2001:db8:1::1 2001:db8:1::2", "mtu 1460", "ipv6")?;
    carries_all(&pair, 1460, PING6, "2001:db8:2::2", "2001:db8:3::2")
}
