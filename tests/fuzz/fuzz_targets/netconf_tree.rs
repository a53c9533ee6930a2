//! The small files of an etc tree: never a panic, and never a control character in a message.

#![no_main]

use libfuzzer_sys::fuzz_target;

// New names go to the end: the corpus counts on the order.
const NAMES: [&str; 17] = [
    "hostname.em0",
    "hostname.00:11:22:33:44:55",
    "mygate",
    "myname",
    "hosts",
    "resolv.conf",
    "services",
    "protocols",
    "fugu.conf",
    "rc.conf",
    "rc.conf.local",
    "bridgename.bridge0",
    "hostname.vlan0",
    "hostname.lagg0",
    "hostname.gif0",
    "rad.conf",
    "sysctl.conf",
];

// A zero byte goes on to the next file, and behind the last one to commands that were typed.
fuzz_target!(|data: &[u8]| {
    let contents = data.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let files = NAMES.iter().map(|name| name.to_string()).zip(contents);
    let typed = data.split(|byte| *byte == 0).nth(NAMES.len());
    let typed = String::from_utf8_lossy(typed.unwrap_or_default());
    let typed: Vec<String> = typed.lines().map(str::to_string).collect();
    let (_, diagnostics) = netconf::parse_changed(&files.collect(), &typed);
    for diagnostic in diagnostics {
        let shown = format!("{diagnostic}\n{}", diagnostic.excerpt());
        assert!(!shown.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')));
    }
});
