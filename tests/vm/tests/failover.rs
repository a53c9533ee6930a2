//! A failover lagg of two cards at a switch, a VLAN on top, translation behind it: the cable of the card in use is pulled
//! again and again under a download and a stream of numbered datagrams.
//!
//! ```text
//!   far 192.168.1.1 --- access port, VLAN 22 --- [ kernel's bridge ] === two cards: lagg0, vlan0 [ Fugu ] --- inside 10.0.1.2
//! ```

use hosts::access::AccessPort;
use hosts::service::{Web, echo};
use hosts::stream::{Account, Stream, Way};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use vm_tests::lab::{File, Lab, ping};
use vm_tests::office::say_and_hear;
use vm_tests::{Failure, Namespace, NicModel, Result, Running, skip};

const FAR: &str = "192.168.1.1";
const VID: u16 = 22;
/// Generous: two cores may be shared with a compiler.
const SOON: Duration = Duration::from_secs(30);
/// Datagrams a second, each of which comes back.
const RATE: u64 = 10_000;
/// Bytes of one download, and how many curl takes a second.
const DOWNLOAD: usize = 10_000_000;
const DOWNLOAD_RATE: &str = "1500k";
/// Between two pulls, so that each has a loss of its own.
const DWELL: Duration = Duration::from_millis(60);

const RULES: &str = "\
block return log
pass in quick on vio2 proto tcp to 172.16.0.1 port 80
match out on vlan0 inet nat-to (vlan0)
pass in on vio3
pass out on vlan0
";

/// The machine at its switch.
struct Trunk {
    // In this order: servers, cables, machine, hosts.
    _web: Web,
    _echo: Running,
    _cable: AccessPort,
    lab: Lab,
    far: Namespace,
    _switch: Namespace,
    /// What the box calls its first two cards.
    names: [String; 2],
}

impl Trunk {
    fn open(model: NicModel, files: &[File<'_>]) -> Result<Self> {
        let lab = Lab::open(&Lab::options(4, model))?;
        let (switch, far) = (Namespace::new("switch")?, Namespace::new("far")?);
        switch.ip(&["link", "add", "br0", "type", "bridge", "forward_delay", "0"])?;
        switch.ip(&["link", "set", "br0", "up"])?;
        let cable = AccessPort::connect(&far, &switch, "trunk", VID)?;
        for n in 0..2 {
            let port = format!("port{n}");
            let words = ["link", "set", "eth0", "netns", switch.name(), "name", &port];
            lab.host(n).ip(&words)?;
            switch.ip(&["link", "set", &port, "master", "br0", "up"])?;
        }
        switch.ip(&["link", "set", "trunk", "master", "br0"])?;
        far.address(&format!("{FAR}/24"))?;
        let inside = lab.host(3);
        inside.address("10.0.1.2/24")?;
        inside.route("default", "10.0.1.1")?;
        let web = Web::serve(&far, &[80], &[("large", vec![b'x'; DOWNLOAD])])?;
        let echo = echo(&far, 7)?;
        lab.accept(files)?;
        let names = [0, 1].map(|n| format!("{}{n}", model.interface()));
        let mut trunk = Self {
            _web: web,
            _echo: echo,
            _cable: cable,
            lab,
            far,
            _switch: switch,
            names,
        };
        trunk.lab.vm.expect("forwarding:", SOON)?;
        // Teaches everybody their neighbors.
        trunk.lab.host(3).run(&["ping", "-c1", "-W5", FAR])?;
        ping(trunk.lab.host(3), FAR, &[])?;
        Ok(trunk)
    }

    /// Pulls the cable of the card in use and leaves it out for a while; how long the box took to say that frames leave by
    /// the other one.
    fn pull(&mut self, used: usize, other: usize) -> Result<Duration> {
        let leaves = format!("lagg0: frames leave by {} now", self.names[other]);
        let told = self.cable(used, false, &leaves)?;
        std::thread::sleep(DWELL);
        Ok(told)
    }

    /// Pulls or plugs a cable and waits until the box has said what it made of it; how long that took.
    fn cable(&mut self, card: usize, up: bool, said: &str) -> Result<Duration> {
        let started = Instant::now();
        self.lab.vm.set_link(card, up)?;
        self.lab.vm.expect(said, SOON)?;
        Ok(started.elapsed())
    }

    /// How often frames began to leave by another card.
    fn switches(&self) -> Result<u64> {
        let told = self.lab.metrics("fugu_lagg_switches_total")?;
        let number = told.first().and_then(|line| line.rsplit(' ').next());
        let number = number.and_then(|text| text.parse().ok());
        number.ok_or_else(|| Failure(format!("{told:?}")))
    }
}

/// Downloads one after the other.
struct Downloads {
    running: Running,
    whole: u32,
}

impl Downloads {
    fn begin(host: &Namespace) -> Result<Running> {
        let url = format!("http://{FAR}/large");
        host.spawn(&[
            "curl",
            "-sS",
            "--limit-rate",
            DOWNLOAD_RATE,
            "-o",
            "/dev/null",
            "-w",
            "%{size_download} %{http_code}\\n",
            &url,
        ])
    }

    fn start(host: &Namespace) -> Result<Self> {
        let running = Self::begin(host)?;
        Ok(Self { running, whole: 0 })
    }

    /// Looks after the one that runs; the next one, if it is through.
    fn look(&mut self, host: &Namespace) -> Result<()> {
        if self.running.child().try_wait()?.is_some() {
            self.finish()?;
            self.running = Self::begin(host)?;
        }
        Ok(())
    }

    /// Waits for the one that runs. It must be whole.
    fn finish(&mut self) -> Result<()> {
        let told = self.running.read_line(2 * SOON)?;
        let status = self.running.child().wait()?;
        if !status.success() || told != format!("{DOWNLOAD} 200") {
            return Err(Failure(format!("a download broke: {status}: {told}")));
        }
        self.whole += 1;
        Ok(())
    }
}

/// A pull, and what was lost from it to the next one.
struct Pull {
    first: u64,
    told: Duration,
}

/// Pulls the cable of the card in use `count` times; the cards change places each time.
fn alternate(trunk: &mut Trunk, count: usize) -> Result<(Vec<Pull>, Account)> {
    under_load(trunk, count, |trunk, n| {
        let (used, other) = (n % 2, 1 - n % 2);
        let told = trunk.pull(used, other)?;
        let ready = format!("lagg0: {} is ready", trunk.names[used]);
        trunk.cable(used, true, &ready)?;
        Ok(told)
    })
}

/// Pulls the cable of the master `count` times, and plugs it in again: traffic comes back to it.
fn master(trunk: &mut Trunk, count: usize) -> Result<(Vec<Pull>, Account)> {
    under_load(trunk, count, |trunk, _| {
        let told = trunk.pull(0, 1)?;
        let back = format!("lagg0: frames leave by {} now", trunk.names[0]);
        trunk.cable(0, true, &back)?;
        Ok(told)
    })
}

/// What happens to downloads, a connection and a stream while `pull` is done `count` times.
fn under_load(
    trunk: &mut Trunk,
    count: usize,
    mut pull: impl FnMut(&mut Trunk, usize) -> Result<Duration>,
) -> Result<(Vec<Pull>, Account)> {
    let to = SocketAddr::new(FAR.parse().map_err(|_| Failure(FAR.into()))?, 7000);
    let stream = Stream::start(trunk.lab.host(3), &trunk.far, to, RATE)?;
    let mut downloads = Downloads::start(trunk.lab.host(3))?;
    let mut lasting = trunk
        .lab
        .host(3)
        .spawn(&["socat", "-", &format!("TCP4:{FAR}:7")])?;
    say_and_hear(&mut lasting, "before", SOON)?;
    let mut pulls = Vec::new();
    for n in 0..count {
        std::thread::sleep(DWELL);
        let first = stream.sent();
        let told = pull(trunk, n)?;
        pulls.push(Pull { first, told });
        downloads.look(trunk.lab.host(3))?;
    }
    say_and_hear(&mut lasting, "after", SOON)?;
    let account = stream.end()?;
    downloads.finish()?;
    println!(
        "{} downloads of {DOWNLOAD} bytes, all whole",
        downloads.whole
    );
    Ok((pulls, account))
}

/// Losses of each pull, in order of size.
fn losses(pulls: &[Pull], way: &Way, sent: u64) -> Vec<u64> {
    let ends = pulls.iter().skip(1).map(|pull| pull.first).chain([sent]);
    let spans = pulls.iter().zip(ends);
    let mut losses: Vec<u64> = spans.map(|(pull, end)| way.lost(pull.first, end)).collect();
    losses.sort_unstable();
    losses
}

/// Prints and checks what became of every datagram.
fn account(pulls: &[Pull], account: &Account) {
    let Account { sent, lasted, .. } = account;
    let rate = *sent as f64 / lasted.as_secs_f64();
    println!(
        "{sent} datagrams in {lasted:.1?}, {rate:.0} a second, {} pulls",
        pulls.len()
    );
    let mut told: Vec<Duration> = pulls.iter().map(|pull| pull.told).collect();
    told.sort_unstable();
    let (middle, worst) = (told[told.len() / 2], told[told.len() - 1]);
    println!("from pull to the line on the console: median {middle:.1?}, worst {worst:.1?}");
    for (name, way) in [("there", &account.there), ("back", &account.back)] {
        let losses = losses(pulls, way, *sent);
        let (middle, worst) = (losses[losses.len() / 2], losses[losses.len() - 1]);
        let lost: u64 = losses.iter().sum();
        let before = way.lost(0, pulls[0].first);
        println!(
            "{name}: {} arrived, {lost} lost: per pull median {middle}, worst {worst}; longest gap {:.1?}",
            way.arrived(),
            way.longest
        );
        assert_eq!((way.twice, way.strange), (0, 0), "{name}");
        assert_eq!(way.arrived() + before + lost, *sent, "{name}");
    }
    assert!(account.there.arrived() > sent / 2, "half of them are lost");
}

/// Two cards for virtual machines. The card that is in use is pulled each time, so the master need not come back.
fn files(rules: &str) -> [File<'_>; 9] {
    [
        ("myname", "trunk\n"),
        ("hostname.vio0", "up\n"),
        ("hostname.vio1", "up\n"),
        ("hostname.vio2", "inet 172.16.0.1/24\n"),
        ("hostname.vio3", "inet 10.0.1.1/24\n"),
        (
            "hostname.lagg0",
            "laggproto failover laggport vio0 laggport vio1\n",
        ),
        (
            "hostname.vlan0",
            "vlan 22 vlandev lagg0\ninet 192.168.1.5 255.255.255.0\n",
        ),
        ("fugu.conf", "lagg0 failback no\n"),
        ("pf.conf", rules),
    ]
}

#[test]
fn a_hundred_pulls_break_nothing() -> Result<()> {
    const PULLS: usize = 100;
    if skip() {
        return Ok(());
    }
    let files = files(RULES);
    let mut trunk = Trunk::open(NicModel::Virtio, &files)?;
    let before = trunk.switches()?;
    let (pulls, result) = alternate(&mut trunk, PULLS)?;
    account(&pulls, &result);
    let switches = trunk.switches()? - before;
    assert_eq!(switches, PULLS as u64);
    let seen = trunk.lab.vm.console().seen();
    assert!(!seen.contains("no port can be used"), "both were out");
    ping(trunk.lab.host(3), FAR, &[]).map(|line| println!("{line}"))
}

/// The control core checks thousands of rules while cables are pulled.
#[test]
fn cables_pulled_while_a_large_bundle_is_loaded() -> Result<()> {
    const PULLS: usize = 6;
    if skip() {
        return Ok(());
    }
    let large = |n: usize| {
        let rule = |m: usize| {
            let (a, b) = (m / 250, m % 250);
            format!(
                "pass in on vio3 proto tcp to 10.{a}.{b}.{n} port {}\n",
                m + 1
            )
        };
        RULES.to_owned() + &(0..2000).map(rule).collect::<String>()
    };
    let plain = files(RULES);
    let mut trunk = Trunk::open(NicModel::Virtio, &plain)?;
    let (pulls, result) = under_load(&mut trunk, PULLS, |trunk, n| {
        let (used, other) = (n % 2, 1 - n % 2);
        let rules = large(n);
        let mut files = plain;
        files[files.len() - 1].1 = &rules;
        let mut pushed = trunk.lab.start_push(&files)?;
        // Somewhere in the middle of it.
        std::thread::sleep(DWELL + Duration::from_millis(n as u64 * 50));
        let told = trunk.pull(used, other)?;
        pushed.accepted(SOON)?;
        let ready = format!("lagg0: {} is ready", trunk.names[used]);
        trunk.cable(used, true, &ready)?;
        Ok(told)
    })?;
    account(&pulls, &result);
    Ok(())
}

/// As the article prints it, for cards of Intel; the rest of the machine is ours.
#[test]
fn the_set_up_of_the_article_prints_what_the_article_prints() -> Result<()> {
    const PULLS: usize = 10;
    if skip() {
        return Ok(());
    }
    let rc_conf = "cloned_interfaces=\"lagg0 vlan0\" \n\
         ifconfig_em0=\"up\" \n\
         ifconfig_em1=\"up\" \n\
         ifconfig_lagg0=\"laggproto failover laggport em0 laggport em1\" \n\
         ifconfig_vlan0=\"vlan 22 vlandev lagg0 192.168.1.5 netmask 255.255.255.0\" \n";
    let rules = "\
         block return log\n\
         pass in quick on em2 proto tcp to 172.16.0.1 port 80\n\
         match out on vlan0 inet nat-to (vlan0)\n\
         pass in on em3\n\
         pass in quick on em3 proto tcp from 10.0.1.2 to port { 7 80 } modulate state label \"DSL-1 $srcaddr:$dstport\"\n\
         pass out on vlan0\n";
    let files = [
        ("myname", "article\n"),
        ("rc.conf", rc_conf),
        ("hostname.em2", "inet 172.16.0.1/24\n"),
        ("hostname.em3", "inet 10.0.1.1/24\n"),
        ("pf.conf", rules),
    ];
    let mut trunk = Trunk::open(NicModel::E1000e, &files)?;
    for (interface, wanted) in [
        (
            "em0",
            &[
                "lladdr 52:54:00:00:00:01",
                "status: active",
                "lagg: laggdev lagg0",
            ][..],
        ),
        (
            "em1",
            &[
                "lladdr 52:54:00:00:00:01",
                "status: active",
                "lagg: laggdev lagg0",
            ],
        ),
        (
            "lagg0",
            &[
                "lladdr 52:54:00:00:00:01",
                "status: active",
                "laggproto failover",
                "laggport: em0 flags=5<MASTER,ACTIVE>",
                "laggport: em1 flags=0<>",
            ],
        ),
        (
            "vlan0",
            &[
                "lladdr 52:54:00:00:00:01",
                "inet 192.168.1.5 netmask 0xffffff00 broadcast 192.168.1.255",
                "encap: vnetid 22 parent lagg0",
                "vlan: 22 parent interface: lagg0",
                "status: active",
            ],
        ),
    ] {
        shows(&mut trunk, &format!("ifconfig {interface}"), wanted)?;
    }
    let before = trunk.switches()?;
    let (pulls, result) = master(&mut trunk, PULLS)?;
    account(&pulls, &result);
    // There and back again.
    assert_eq!(trunk.switches()? - before, 2 * PULLS as u64);
    shows(
        &mut trunk,
        "pfctl -sl",
        &["DSL-1 10.0.1.2:7 ", "DSL-1 10.0.1.2:80 "],
    )?;
    let states = trunk.lab.ask("pfctl -ss")?;
    println!("{states}");
    Ok(())
}

/// Asks at the console; the answer must have these lines, or lines that begin so.
fn shows(trunk: &mut Trunk, command: &str, wanted: &[&str]) -> Result<()> {
    let said = trunk.lab.ask(command)?;
    println!("{said}");
    for line in wanted {
        let found = said.lines().any(|l| l.trim_start().starts_with(line));
        assert!(found, "{command}: no line '{line}':\n{said}");
    }
    Ok(())
}
