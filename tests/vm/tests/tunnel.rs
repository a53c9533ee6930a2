//! Tunnels of Fugu against those of Linux: `gif` against `sit`, `ipip` and `ip6tnl`.
//!
//! ```text
//!   client 2001:db8:2::2 --- [ Fugu ] 192.0.2.1 ======= 192.0.2.2 [ Linux ] --- server 2001:db8:3::2
//!          10.0.1.2           gif0    2001:db8:1::1     2001:db8:1::2  sit0           10.0.3.2
//! ```

use hosts::service::Web;
use hosts::{Context, Failure, Result};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use vm_tests::pair::{Pair, wait};
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

/// Beyond a router that is part of the Linux machine: a link of 1400 bytes, and the other ends of tunnels behind it.
const FAR: &str = "
    ip netns add far
    ip link add narrow mtu 1400 type veth peer name eth0 mtu 1400 netns far
    ip address add 198.51.100.1/24 dev narrow
    ip address add 2001:db8:51::1/64 dev narrow
    ip link set narrow up
    ip -n far link set lo up
    ip -n far link set eth0 up
    ip -n far address add 198.51.100.2/24 dev eth0
    ip -n far address add 2001:db8:51::2/64 dev eth0
    ip -n far route add default via 198.51.100.1
    ip -n far route add default via 2001:db8:51::1
    ip -n far tunnel add tun4 mode sit local 198.51.100.2 remote 192.0.2.1 ttl 64
    ip -n far -6 tunnel add tun6 mode any local 2001:db8:51::2 remote 2001:db8:1::1 encaplimit none
    ip -n far link set tun4 up
    ip -n far link set tun6 up
    ip -n far address add 2001:db8:f::2/64 dev tun4
    ip -n far address add 2001:db8:6::2/64 dev tun6
    mkdir /www
    dd if=/dev/zero of=/www/large bs=1000 count=2000
    ip netns exec far httpd -p 80 -h /www
";

/// A page from an address in the far end, and a megabyte towards it.
fn carries_far(pair: &mut Pair, address: &str) -> Result<()> {
    const UP: usize = 1_000_000;
    let url = format!("http://[{address}]/large");
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
    let listen = "ip netns exec far sh -c 'nc -l -p 9 | wc -c >/tmp/got' >/dev/null 2>&1 & sleep 1";
    pair.peer.setup(&format!("rm -f /tmp/got\n{listen}"))?;
    let end = SocketAddr::new(address.parse().context(address)?, 9);
    let mut stream = pair
        .client()
        .inside(|| TcpStream::connect(end).context("connect"))?;
    stream.write_all(&vec![b'x'; UP])?;
    drop(stream);
    wait("all bytes have come up", || {
        let got = pair.peer.run("cat /tmp/got")?;
        Ok((got.text == UP.to_string()).then_some(()))
    })
}

#[test]
fn a_narrow_path_between_the_ends_of_a_tunnel_is_found_out() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut pair = pair()?;
    pair.peer.setup(FAR)?;
    for (ends, line, net, tunnel, room) in [
        (
            "192.0.2.1 198.51.100.2",
            "mtu 1480\ntunneldf",
            "f",
            "tun4",
            1380,
        ),
        (
            "2001:db8:1::1 2001:db8:51::2",
            "mtu 1460",
            "6",
            "tun6",
            1360,
        ),
    ] {
        let gif = format!("tunnel {ends}\ninet6 2001:db8:{net}::1/64\n{line}\n");
        let routes = "!route add -inet 198.51.100.0/24 192.0.2.2\n!route add -inet6 2001:db8:51::/64 2001:db8:1::2\n";
        pair.configure(&[
            ("hostname.vio0", &format!("{FUGU_CARD}{routes}")),
            ("hostname.vio2", CLIENT_CARD),
            ("hostname.gif0", &gif),
            (
                "pf.conf",
                "set skip on lo\nblock return log\npass on { vio2 gif0 }\npass out on vio0\n\
                         pass on vio0 inet6 proto icmp6 icmp6-type { neighbrsol neighbradv }\n",
            ),
        ])?;
        let back = format!("ip -n far route replace 2001:db8:2::/64 dev {tunnel}");
        pair.peer.must(&back)?;
        let server = format!("2001:db8:{net}::2");
        println!("{ends}: {}", ping(&pair, false, &[&server])?);
        // The router tells Fugu, and Fugu tells the client when it tries again.
        let (big, fits) = ((room - PING6 + 1).to_string(), (room - PING6).to_string());
        let tried = [
            "ping", "-c", "1", "-W", "1", "-M", "do", "-s", &big, &server,
        ];
        assert!(!pair.client().run(&tried)?.ok(), "it does not fit");
        too_big(&pair, room, room - PING6 + 1, &server)?;
        println!(
            "{}",
            ping(&pair, false, &["-M", "do", "-s", &fits, &server])?
        );
        println!(
            "in pieces: {}",
            ping(&pair, false, &["-s", "3000", &server])?
        );
        carries_far(&mut pair, &server)?;
    }
    Ok(())
}
