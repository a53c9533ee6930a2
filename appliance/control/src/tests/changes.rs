//! Interfaces and routes changed at run time.

use super::*;
use crate::api::{Applied, InterfaceView};

const TREE: [(&str, &str); 2] = [EM0, ("pf.conf", "pass\n")];

fn typed(b: &mut Rig, command: &str) -> Result<Applied, Refused> {
    b.control.change_network(command, &Proof::Console)
}

fn view(b: &mut Rig, name: &str) -> InterfaceView {
    let found = b.control.interfaces().into_iter().find(|i| i.name == name);
    found.unwrap()
}

#[test]
fn a_change_is_in_force_at_once_and_gone_with_the_next_apply() {
    let mut b = Rig::new();
    b.push(&TREE).unwrap();
    let generation = b.control.generation();
    assert!(view(&mut b, "em0").up);
    typed(&mut b, "ifconfig em0 down").unwrap();
    typed(&mut b, "ifconfig em1 inet 198.51.100.1/24 group lan up").unwrap();
    assert_eq!(b.control.generation(), generation + 2);
    assert!(!view(&mut b, "em0").up);
    assert_eq!(view(&mut b, "em1").groups, ["lan"]);
    typed(&mut b, "route add 10.0.0.0/8 198.51.100.9").unwrap();
    let dest: IpAddr = "10.0.0.0".parse().unwrap();
    assert!(b.control.routes().iter().any(|r| r.dest == dest));
    assert_eq!(
        b.control.status().network_changes,
        [
            "ifconfig em0 down",
            "ifconfig em1 inet 198.51.100.1/24 group lan up",
            "route add 10.0.0.0/8 198.51.100.9"
        ]
    );
    // The same bundle again: what was typed goes.
    b.push(&TREE).unwrap();
    assert!(view(&mut b, "em0").up);
    assert!(b.control.status().network_changes.is_empty());
    assert!(!b.control.routes().iter().any(|r| r.dest == dest));
}

#[test]
fn everything_can_be_taken_back() {
    let mut b = Rig::new();
    b.push(&TREE).unwrap();
    typed(&mut b, "ifconfig em0 down").unwrap();
    assert!(typed(&mut b, "").unwrap().changed);
    assert!(view(&mut b, "em0").up);
    assert!(!typed(&mut b, "").unwrap().changed);
}

#[test]
fn a_wrong_command_changes_nothing() {
    let mut b = Rig::new();
    b.push(&TREE).unwrap();
    let generation = b.control.generation();
    for command in [
        "ifconfig em0 uup",
        "ifconfig em0 mtu 99999",
        "route add x y",
        "reboot",
        "ifconfig em0 up\nifconfig em1 up",
    ] {
        assert!(typed(&mut b, command).is_err(), "{command}");
    }
    let stranger = Proof::Bearer("wrong".into());
    assert!(
        b.control
            .change_network("ifconfig em0 down", &stranger)
            .is_err()
    );
    assert_eq!(b.control.generation(), generation);
    assert!(b.control.status().network_changes.is_empty());
    // A bundle that is refused leaves what was typed alone.
    typed(&mut b, "ifconfig em0 down").unwrap();
    b.push(&[EM0, ("pf.conf", "pas\n")]).unwrap_err();
    assert_eq!(b.control.status().network_changes, ["ifconfig em0 down"]);
    assert!(!view(&mut b, "em0").up);
}

#[test]
fn groups_are_demoted_within_bounds() {
    let mut b = Rig::new();
    b.push(&[
        ("hostname.em0", "inet 192.0.2.1/24\ngroup wan\n"),
        ("pf.conf", "pass\n"),
    ])
    .unwrap();
    for (by, count) in [(128, 128), (128, 255), (0, 255), (-127, 128), (-500, 0)] {
        assert_eq!(b.control.demote_group("wan", by), Ok(count));
    }
    assert!(b.control.demote_group("dmz", 1).is_err());
}
