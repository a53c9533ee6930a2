//! Bridges as people see them: members, the spanning tree, and what workers tell of stations.

use wire::ether;

use super::*;
use crate::api::{BridgeView, MadeOf, StationView};

const FILES: [(&str, &str); 4] = [
    ("hostname.em0", "up\n"),
    ("hostname.em1", "up\n"),
    (
        "hostname.bridge0",
        "add em0 add em1\nstp em1 ifcost em1 700 blocknonip em0 protected em0 1,3\n\
         spanpriority 4096 maxaddr 7 timeout 4\nstatic em0 02:00:00:00:00:0a\nup\n",
    ),
    ("pf.conf", "pass\n"),
];

fn boxed() -> Rig {
    let mut b = Rig::new();
    b.push(&FILES).unwrap();
    b
}

fn number(b: &Rig, name: &str) -> InterfaceId {
    b.control
        .fleet
        .current()
        .interfaces
        .by_name(name)
        .unwrap()
        .id
}

fn view(b: &mut Rig) -> BridgeView {
    let all = b.control.interfaces();
    let found = all.into_iter().find(|i| i.name == "bridge0").unwrap();
    match found.made {
        MadeOf::Bridge(bridge) => bridge,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bridge_is_shown_with_its_members_and_its_tree() {
    let bridge = view(&mut boxed());
    assert_eq!(bridge.members, ["em0", "em1"]);
    assert_eq!((bridge.max_addr, bridge.timeout_s), (7, 4));
    let [em0, em1] = &bridge.ports[..] else {
        panic!("{bridge:?}")
    };
    assert_eq!(em0.flags, ["LEARNING", "DISCOVER", "BLOCKNONIP"]);
    assert_eq!((&em0.protected[..], em0.role), (&[1, 3][..], None));
    assert_eq!(
        em1.flags,
        ["LEARNING", "DISCOVER", "STP", "AUTOEDGE", "PTP", "AUTOPTP"]
    );
    assert_eq!(
        (em1.number, em1.priority, em1.cost, em1.role, em1.state),
        (1, 128, 700, Some("disabled"), Some("discarding"))
    );
    let stp = &bridge.stp;
    assert_eq!((stp.protocol, stp.priority, stp.hello_s), ("rstp", 4096, 2));
    let root = stp.root.clone().unwrap();
    assert_eq!(
        (root.lladdr == stp.lladdr, root.cost, root.port),
        (true, 0, None)
    );
}

#[test]
fn a_bridge_without_a_tree_has_its_settings_and_no_root() {
    let mut b = Rig::new();
    let files = [
        FILES[0],
        FILES[1],
        ("hostname.bridge0", "add em0\nfwddelay 7\n"),
        FILES[3],
    ];
    b.push(&files).unwrap();
    let stp = view(&mut b).stp;
    assert_eq!((stp.forward_delay_s, stp.root), (7, None));
}

#[test]
fn stations_are_those_that_are_still_true_the_latest_of_each() {
    let mut b = boxed();
    let (bridge, em0, em1) = (number(&b, "bridge0"), number(&b, "em0"), number(&b, "em1"));
    let station = |last: u8, member, seen_s, epoch| {
        let addr = ether::Addr([2, 0, 0, 0, 0, last]);
        let told = Station {
            addr,
            member,
            epoch,
            seen_s,
        };
        (bridge, told)
    };
    {
        let mut workers = b.workers.lock().unwrap();
        // Two workers tell of one that has moved; one is of an epoch that is over, one of no member.
        workers[0].stations = vec![
            station(1, em0, 2, 0),
            station(2, em1, 2, 9),
            station(3, InterfaceId(90), 2, 0),
            station(4, em0, 0, 0),
        ];
        workers[1].stations = vec![station(1, em1, 3, 0)];
    }
    // It is second 5.
    let list = b.control.stations().all().unwrap();
    let short: Vec<(&str, &str, u32, bool)> = list
        .iter()
        .map(|s| (s.lladdr.as_str(), s.member.as_str(), s.age_s, s.fixed))
        .collect();
    assert_eq!(
        short,
        [
            ("02:00:00:00:00:0a", "em0", 0, true),
            ("02:00:00:00:00:01", "em1", 2, false),
        ],
        "{list:?}"
    );
}

#[test]
fn stations_are_forgotten_by_all_workers() {
    let mut b = boxed();
    let (bridge, em0) = (number(&b, "bridge0"), number(&b, "em0"));
    let all = |last: u8| Station {
        addr: ether::Addr([2, 0, 0, 0, 0, last]),
        member: em0,
        epoch: 0,
        seen_s: 4,
    };
    for worker in b.workers.lock().unwrap().iter_mut() {
        worker.stations = (1..4).map(|n| (bridge, all(n))).collect();
    }
    let learned = |list: Vec<StationView>| list.iter().filter(|s| !s.fixed).count();
    let forget = |b: &mut Rig, what| b.control.forget_stations("bridge0", what);
    assert_eq!(learned(b.control.stations().all().unwrap()), 3);
    assert_eq!(forget(&mut b, Some("2:0:0:0:0:1")), Ok(true));
    assert_eq!(learned(b.control.stations().all().unwrap()), 2);
    assert_eq!(forget(&mut b, Some("02:00:00:00:00:01")), Ok(false));
    assert_eq!(forget(&mut b, None), Ok(true));
    assert_eq!(learned(b.control.stations().all().unwrap()), 0);
    let wrong = b.control.forget_stations("em0", None);
    assert_eq!(wrong, Err("em0 is not a bridge".into()));
    assert_eq!(
        forget(&mut b, Some("x")),
        Err("'x' is not a station address".into())
    );
}

#[test]
fn a_static_station_is_taken_back_by_a_command() {
    let mut b = boxed();
    b.control
        .change_network(
            "ifconfig bridge0 deladdr 02:00:00:00:00:0a",
            &Proof::Console,
        )
        .unwrap();
    assert!(b.control.stations().all().unwrap().is_empty());
}
