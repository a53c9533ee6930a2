//! `rad.conf`: settings for all interfaces and for one, prefixes, name servers, and what is wrong.

use super::*;
use crate::tests::{good, said};

const EM1: (&str, &str) = ("hostname.em1", "inet6 2001:db8:1::1 64\n");

#[test]
fn a_bare_interface_announces_its_own_networks() {
    let config = good(&[EM1, ("rad.conf", "interface em1\n")]);
    let mut want = RouterAdvert::new(Named {
        name: "em1".into(),
        origin: Origin {
            file: "rad.conf".into(),
            line: 1,
        },
    });
    assert_eq!(config.adverts, [want.clone()]);
    // What stands before is for all that follow.
    let config = good(&[
        EM1,
        (
            "rad.conf",
            "default router no\nhop limit 64\nmtu 1400\ninterface em1 { no auto prefix }\n",
        ),
    ]);
    want.default_router = false;
    want.hop_limit = 64;
    want.mtu = Some(1400);
    want.auto_prefix = None;
    want.interface.origin.line = 4;
    assert_eq!(config.adverts, [want]);
}

#[test]
fn every_setting_is_read() {
    let config = good(&[
        EM1,
        (
            "rad.conf",
            "interface em1 {\n  managed address configuration yes\n  other configuration yes\n  router lifetime 600\n  \
             reachable time 30000\n  retrans timer 1000\n  source link-layer address no\n  auto prefix { valid lifetime 100 }\n  \
             prefix 2001:db8:2::5/64 {\n    autonomous address-configuration no\n    on-link no\n    preferred lifetime 10\n  }\n  \
             dns {\n    lifetime 300\n    nameserver { 2001:db8::53, 2001:db8::54 }\n    search example.org\n  }\n  \
             nat64 prefix 64:ff9b::/96 { lifetime 400 }\n}\n",
        ),
    ]);
    let advert = &config.adverts[0];
    assert!(advert.managed && advert.other && !advert.source_station);
    assert_eq!(
        (
            advert.router_lifetime,
            advert.reachable_ms,
            advert.retrans_ms
        ),
        (600, 30_000, 1000)
    );
    assert_eq!(advert.auto_prefix.unwrap().valid, 100);
    let prefix = advert.prefixes[0];
    assert_eq!(prefix.prefix.to_string(), "2001:db8:2::");
    assert!(!prefix.autonomous && !prefix.on_link && prefix.preferred == 10);
    let servers: Vec<String> = advert.dns_servers.iter().map(|a| a.to_string()).collect();
    assert_eq!(servers, ["2001:db8::53", "2001:db8::54"]);
    assert_eq!(
        (advert.dns_search.join(" "), advert.dns_lifetime),
        ("example.org".into(), 300)
    );
    assert_eq!(advert.nat64, [("64:ff9b::".parse().unwrap(), 96, 400)]);
}

#[test]
fn wrong_settings_are_placed_and_explained() {
    for (text, want) in [
        (
            "interface em7\n",
            "1: error: no interface 'em7' is configured",
        ),
        ("interface em9\n", "1: warning: em9 has no address of IPv6"),
        ("inteface em9\n", "1:1: error: unknown word 'inteface'"),
        (
            "interface em9 {\n  prefix 2001:db8::\n}\n",
            "2:10: error: '2001:db8::' is not a prefix",
        ),
        (
            "interface em9 {\n  default router maybe\n}\n",
            "2:18: error: 'maybe' is not yes or no",
        ),
        (
            "interface em9 {\n  dns { nameserver 10.0.0.1 }\n}\n",
            "2:20: error: '10.0.0.1' is not an IPv6 address",
        ),
        (
            "hop limit 256\n",
            "1:11: error: '256' is not a number from 0 to 255",
        ),
        (
            "interface em9 {\n",
            "1:16: error: the file ends where something is missing",
        ),
        (
            "interface em9\ninterface em9\n",
            "2: error: em9 is told of already, see rad.conf:1",
        ),
    ] {
        let found = said("rad.conf", text);
        assert!(found.contains(&want.to_string()), "{text}: {found:?}");
    }
}
