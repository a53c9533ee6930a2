//! What the box answers for: its own addresses in every routing domain, and addresses that it was told to answer for.

use net_tests::{Cable, Etc, Plan, Port, Result, Site, skip, until};

const RULES: &str = "\
block return log
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass quick inet6 proto icmp6 icmp6-type { neighbrsol neighbradv }
pass in on ap1
pass out on ap0
pass in on ap3 proto { tcp icmp icmp6 }
";
/// Addresses on the link of the inside that are at the outside host.
const ELSEWHERE: [&str; 2] = ["10.0.1.50", "2001:db8:2::50"];
/// The box in its second domain.
const LAB: &str = "198.51.100.1";
const LAB6: &str = "2001:db8:4::1";
/// A station that is nobody's.
const NOBODY: &str = "02:00:00:00:de:ad";

fn open() -> Result<Site> {
    let etc = Etc::with_rules(RULES)
        .with(
            "hostname.ap0",
            "inet 192.0.2.1/24\ninet6 2001:db8:1::1 64\n\
             !route add -host 10.0.1.50 192.0.2.2\n!route add 2001:db8:2::50/128 2001:db8:1::2\n",
        )
        .with(
            "hostname.ap1",
            "inet 10.0.1.1/24\ninet6 2001:db8:2::1 64\n\
             !arp -s 10.0.1.50 auto pub\n!ndp -s 2001:db8:2::50 auto proxy\n",
        )
        .with(
            "hostname.ap3",
            "rdomain 4\ninet 198.51.100.1/24\ninet6 2001:db8:4::1 64\n",
        );
    let site = Site::open(&Plan {
        etc,
        more: vec![Cable {
            host: "lab",
            interface: "eth0",
        }],
        ..Plan::default()
    })?;
    let lab = site.host_named("lab")?;
    lab.address("198.51.100.2/24")?;
    lab.address("2001:db8:4::2/64")?;
    let outside = site.host(Port::Outside);
    for addr in ELSEWHERE {
        outside.must(&format!("ip address add {addr} dev lo"))?;
    }
    Ok(site)
}

fn answers(site: &Site, from: &str, to: &str) -> Result<()> {
    let host = site.host_named(from)?;
    until(format!("an answer of {to}"), || {
        let got = host.run(&["ping", "-c1", "-W1", to])?;
        Ok(got.ok().then_some(()))
    })
}

#[test]
fn the_box_answers_in_every_domain_and_for_whom_it_publishes() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open()?;
    for to in [LAB, LAB6] {
        answers(&site, "lab", to)?;
    }
    // The API is there too, for those whom the rules let in; who has no token is told so.
    let url = format!("http://{LAB}/healthz");
    let lab = site.host_named("lab")?;
    let got = lab.run(&["curl", "-sS", "--max-time", "5", &url])?;
    assert_eq!(got.text.trim(), "ok", "{got:?}");
    let inside = site.host(Port::Inside);
    for to in ELSEWHERE {
        answers(&site, "inside", to)?;
        let neighbors = inside
            .run(&["ip", "neigh", "show", to, "dev", "eth0"])?
            .text;
        println!("{}", neighbors.trim());
        assert!(neighbors.contains("lladdr"), "on the link: {neighbors}");
    }
    let shown = site.console("arp -a")?;
    let published = shown.iter().find(|l| l.starts_with("10.0.1.50"));
    assert!(published.is_some_and(|l| l.ends_with('p')), "{shown:#?}");
    // A neighbor that is set is believed, whoever answers.
    site.console(&format!("arp -s 10.0.1.2 {NOBODY}"))?;
    let gone = inside.run(&["ping", "-c1", "-W1", ELSEWHERE[0]])?;
    assert!(!gone.ok(), "{}", gone.text);
    site.console("arp -d 10.0.1.2")?;
    answers(&site, "inside", ELSEWHERE[0])
}
