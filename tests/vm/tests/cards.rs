//! Cards that change places, get another address, or are not there: what is bound by `hostname.LLADDR` stays where it was, and
//! the box comes up and says what it misses.

use vm_tests::lab::{File, Lab, ping};
use vm_tests::{NicModel, Result, skip};

/// The file of the card that the tests change.
const LAN_FILE: &str = "hostname.52:54:00:00:00:02";
const LAN: usize = 1;
const SPARE: usize = 3;

/// Three cards with names, one with a group.
const FILES: [File<'static>; 6] = [
    ("myname", "cards\n"),
    (
        "hostname.52:54:00:00:00:01",
        "name wan0\ninet 192.0.2.1/24\n",
    ),
    (LAN_FILE, "name lan0\ninet 10.0.1.1/24\n"),
    (
        "hostname.52:54:00:00:00:03",
        "name adm0\ninet 172.16.0.1/24\n",
    ),
    (
        "hostname.52:54:00:00:00:04",
        "group spare\ninet 10.0.4.1/24\n",
    ),
    (
        "pf.conf",
        "block return log\n\
         pass in quick on adm0 proto tcp to 172.16.0.1 port 80\n\
         pass in on { lan0 spare } inet proto icmp\n\
         pass in on lan0 inet proto tcp from lan0:network to !(lan0)\n\
         pass out on wan0 inet nat-to (wan0)\n",
    ),
];

fn open() -> Result<Lab> {
    let lab = Lab::open(&Lab::options(4, NicModel::Virtio))?;
    lab.host(0).address("192.0.2.2/24")?;
    lab.host(LAN).address("10.0.1.2/24")?;
    lab.host(LAN).route("default", "10.0.1.1")?;
    lab.host(SPARE).address("10.0.4.2/24")?;
    lab.host(SPARE).route("default", "10.0.4.1")?;
    println!("{}", lab.accept(&FILES)?);
    Ok(lab)
}

/// The hosts at these ports reach outside, and the box can be managed.
fn works(lab: &Lab, ports: &[usize]) -> Result<()> {
    for port in ports {
        // Neighbors are asked for after each start.
        lab.host(*port).run(&["ping", "-c1", "-W5", "192.0.2.2"])?;
        ping(lab.host(*port), "192.0.2.2", &[])?;
    }
    lab.metrics("fugu_").map(|lines| assert!(!lines.is_empty()))
}

/// Rules about the card that is missing are in force all the same.
fn rules_are_there(lab: &mut Lab) -> Result<()> {
    let rules = lab.ask("pfctl -sr")?;
    println!("{rules}");
    assert!(rules.contains("on lan0 inet proto icmp"), "{rules}");
    assert!(rules.contains("on lan0 inet proto tcp"), "{rules}");
    Ok(())
}

/// What the box says at its start about the file of a card that it does not find.
fn misses(said: &str) {
    let wanted = format!(
        "{LAN_FILE}: warning: this machine has no card with the address 52:54:00:00:00:02; the file has no effect"
    );
    assert!(said.contains(&wanted), "{said}");
}

#[test]
fn names_stay_with_their_cards() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let lab = open()?;
    works(&lab, &[LAN, SPARE])?;

    // In other slots.
    let (mut lab, said) = lab.rebuilt(|machine| machine.plugged = Some(vec![3, 2, 1, 0]))?;
    assert!(!said.contains("has no card"), "{said}");
    works(&lab, &[LAN, SPARE])?;
    let shown = lab.ask("ifconfig lan0")?;
    println!("{shown}");
    assert!(shown.contains("lladdr 52:54:00:00:00:02"), "{shown}");
    assert!(shown.contains("inet 10.0.1.1"), "{shown}");

    // One with another address.
    let other = "52:54:00:00:00:aa".to_owned();
    let (mut lab, said) = lab.rebuilt(|machine| {
        machine.plugged = None;
        machine.stations = [(LAN, other)].into();
    })?;
    misses(&said);
    works(&lab, &[SPARE])?;
    rules_are_there(&mut lab)?;

    // One missing.
    let (mut lab, said) = lab.rebuilt(|machine| {
        machine.stations.clear();
        machine.plugged = Some(vec![0, 2, 3]);
    })?;
    misses(&said);
    works(&lab, &[SPARE])?;
    rules_are_there(&mut lab)?;

    let (lab, said) = lab.rebuilt(|machine| machine.plugged = None)?;
    assert!(!said.contains("has no card"), "{said}");
    works(&lab, &[LAN, SPARE])
}

#[test]
fn a_card_that_is_asked_for_stays_until_the_box_is_off() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let (mut lab, _) = open()?.rebuilt(|machine| machine.removable = true)?;
    works(&lab, &[LAN, SPARE])?;
    lab.vm.ask_for_card(LAN)?;
    works(&lab, &[LAN, SPARE])?;
    let again = lab.vm.ask_for_card(LAN);
    println!("asked for again: {again:?}");
    let (lab, said) = lab.rebuilt(|machine| machine.plugged = Some(vec![0, 2, 3]))?;
    misses(&said);
    works(&lab, &[SPARE])
}

/// Both ports of a lagg lead to hosts of one network; the first one is in use.
#[test]
fn a_lagg_lives_on_with_the_card_that_is_left() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let lab = Lab::open(&Lab::options(4, NicModel::Virtio))?;
    for port in [LAN, SPARE] {
        lab.host(port).address(&format!("10.0.1.{}/24", port + 1))?;
    }
    let files = [
        ("myname", "cards\n"),
        (LAN_FILE, "name lan0\nup\n"),
        (
            "hostname.52:54:00:00:00:03",
            "name adm0\ninet 172.16.0.1/24\n",
        ),
        ("hostname.52:54:00:00:00:04", "name lan1\nup\n"),
        (
            "hostname.trunk0",
            "trunkproto failover trunkport lan0 trunkport lan1\ninet 10.0.1.1/24\n",
        ),
        (
            "pf.conf",
            "block return log\n\
             pass in quick on adm0 proto tcp to 172.16.0.1 port 80\n\
             pass in on trunk0 inet proto icmp\n",
        ),
    ];
    println!("{}", lab.accept(&files)?);
    ping(lab.host(LAN), "10.0.1.1", &[])?;
    let (mut lab, said) = lab.rebuilt(|machine| machine.plugged = Some(vec![3, 2, 0]))?;
    misses(&said);
    ping(lab.host(SPARE), "10.0.1.1", &[])?;
    let shown = lab.ask("ifconfig trunk0")?;
    println!("{shown}");
    assert!(shown.contains("lan1 port"), "{shown}");
    let (lab, said) = lab.rebuilt(|machine| machine.plugged = None)?;
    assert!(!said.contains("has no card"), "{said}");
    ping(lab.host(LAN), "10.0.1.1", &[]).map(drop)
}
