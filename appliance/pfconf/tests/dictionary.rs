//! The dictionary of the fuzz targets holds every word of the language. `FUGU_WRITE=1` writes it anew.

use std::path::Path;

/// Words that are no reserved words, and pieces that texts are made of.
const MORE: &[&str] = &[
    "10.0.0.0/8",
    "192.0.2.1",
    "10.0.0.1 - 10.0.0.9",
    "2001:db8::/32",
    "fe80::1%lo0",
    "(em0)",
    "(em0:network)",
    "em0:0",
    "em0:broadcast",
    "em0:peer",
    "self",
    "<t>",
    "\"t\"",
    "\"a\"",
    "$m",
    "m = \"",
    "{ ",
    " }",
    ", ",
    "! ",
    "!= ",
    "<= ",
    ">= ",
    ">< ",
    "<> ",
    "-> ",
    "= ",
    "80:90",
    "8000:*",
    "50%",
    "10M",
    "5K",
    "0x10",
    "\\\n",
    "\n",
    "#",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "echoreq",
    "unreach",
    "needfrag",
    "lowdelay",
    "ef",
    "S/SA",
    "em0",
    "em1",
    "lo0",
    "pflog1",
    "root",
    "wheel",
    "unknown",
    "states",
    "src-nodes",
    "frags",
    "tables",
    "table-entries",
    "anchors",
    "pktdelay-pkts",
    "tcp.first",
    "adaptive.start",
    "interval",
    "source-track",
    "overload",
    "max",
    "nat",
    "rdr",
    "binat",
    "nat-anchor",
    "rdr-anchor",
    "binat-anchor",
    "scrub-anchor",
    "altq",
    "hfsc",
    "ether",
    "l3",
    "bridge-to",
    "00:11:22:33:44:55",
    "ridentifier",
    "prefer-ipv6-nexthop",
    "map-e-portset",
    "endpoint-independent",
    "crop",
    "drop-ovl",
    "fail-policy",
    "require-order",
    "keepcounters",
    "from \"a\"",
    "const",
    "persist",
    "counters",
    "state limiter",
    "source limiter",
    "id 1",
    "entries",
    "rate 1/2",
    "above",
    "below",
    "mask",
    "$nr",
    "$if",
    "$srcaddr",
    "aggressive",
    "conservative",
    "high-latency",
    "satellite",
    "basic",
    "profile",
    "none",
    "no-df",
    "adaptive (start 25%, end 12%)",
    "urgent",
    "notice",
    "ttl",
];

fn quoted(word: &str) -> String {
    let bytes = word.bytes().map(|b| match b {
        b'"' | b'\\' => format!("\\{}", char::from(b)),
        b' '..=b'~' => char::from(b).to_string(),
        b => format!("\\x{b:02x}"),
    });
    format!("\"{}\"\n", bytes.collect::<String>())
}

#[test]
fn the_dictionary_of_the_fuzzer_holds_every_word() {
    let words = pfconf::reserved_words().iter().chain(MORE);
    let wanted = "# Words of pf.conf, written by appliance/pfconf/tests/dictionary.rs.\n"
        .to_string()
        + &words.map(|w| quoted(w)).collect::<String>();
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
    for target in ["pfconf", "pfconf_compile"] {
        let file = fuzz.join(format!("{target}.dict"));
        if std::env::var_os("FUGU_WRITE").is_some() {
            std::fs::write(&file, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == wanted,
            "{target}.dict is old: FUGU_WRITE=1 cargo test -p pfconf --test dictionary"
        );
    }
}
