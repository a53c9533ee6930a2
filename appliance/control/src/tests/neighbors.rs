//! Neighbors that are set: from files and commands to what workers know and people see.

use super::*;

const FILES: [(&str, &str); 3] = [
    (
        "hostname.em0",
        "inet 192.0.2.1/24\ninet6 2001:db8::1 64\n!arp -s 192.0.2.9 00:11:22:33:44:09\n\
         !arp -s 192.0.2.50 auto pub\n!ndp -s 2001:db8::50 00:11:22:33:44:50 proxy\n",
    ),
    ("hostname.em1", "inet 198.51.100.1/24\n"),
    ("pf.conf", "pass\n"),
];

fn set(b: &mut Rig) -> Vec<String> {
    let all = b.control.neighbors().entries.into_iter();
    all.filter(|n| n.state == "static")
        .map(|n| {
            let published = if n.published { " published" } else { "" };
            format!(
                "{} {} {}{published}",
                n.interface,
                n.addr,
                n.lladdr.unwrap()
            )
        })
        .collect()
}

#[test]
fn files_and_commands_set_neighbors_and_take_them_back() {
    let mut b = Rig::new();
    b.push(&FILES).unwrap();
    let of_files = [
        "em0 192.0.2.9 00:11:22:33:44:09",
        "em0 192.0.2.50 02:00:00:00:00:00 published",
        "em0 2001:db8::50 00:11:22:33:44:50 published",
    ];
    assert_eq!(set(&mut b), of_files);
    let type_ = |b: &mut Rig, line: &str| b.control.change_network(line, &Proof::Console);
    type_(&mut b, "arp -s 198.51.100.7 00:11:22:33:44:07").unwrap();
    type_(&mut b, "arp -d 192.0.2.9").unwrap();
    let listening = b.control.fleet.current().interfaces.listening().clone();
    assert_eq!(listening.all_fixed().len(), 1);
    assert_eq!(set(&mut b).len(), 3);
    assert!(type_(&mut b, "arp -d 192.0.2.9").is_err());
    // What workers know is what is wanted: no tick publishes it again.
    for _ in 0..5 {
        b.control.on_event(crate::Event::Tick);
    }
    b.advance(5_000);
    let after = b.control.fleet.current().interfaces.listening().clone();
    assert_eq!(after.all_fixed(), listening.all_fixed());
    type_(&mut b, "").unwrap();
    assert_eq!(set(&mut b), of_files);
}
