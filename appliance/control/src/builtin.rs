//! The policy without a bundle: nothing passes but management, which is one address, one port, echo requests and what
//! IPv6 needs to be a neighbor. An ordinary etc tree, put through the same code as an upload.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::settings::{Management, Settings};

/// Name in the place of a file for messages about the built-in policy.
pub const ORIGIN: &str = "built-in";

/// The etc tree for these settings.
pub fn tree(settings: &Settings, api_port: u16) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut rules = String::from("block drop\n");
    for m in &settings.management {
        let lines = files
            .entry(format!("hostname.{}", m.interface))
            .or_default();
        let word = if m.addr.is_ipv4() { "inet" } else { "inet6" };
        lines.push_str(&format!("{word} {}/{}\n", m.addr, m.prefix_len));
        rules.push_str(&rules_for(m, api_port));
    }
    let gateways: String = settings.gateways.iter().map(|g| format!("{g}\n")).collect();
    if !gateways.is_empty() {
        files.insert("mygate".into(), gateways);
    }
    files.insert("pf.conf".into(), rules);
    files
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect()
}

fn rules_for(m: &Management, api_port: u16) -> String {
    let (on, to) = (&m.interface, m.addr);
    match m.addr {
        IpAddr::V4(_) => format!(
            "pass in on {on} inet proto tcp to {to} port {api_port}\n\
             pass in on {on} inet proto icmp to {to} icmp-type echoreq\n\
             pass out on {on} inet proto icmp from {to} icmp-type echoreq\n"
        ),
        IpAddr::V6(_) => format!(
            "pass in on {on} inet6 proto tcp to {to} port {api_port}\n\
             pass in on {on} inet6 proto icmp6 to {to} icmp6-type echoreq\n\
             pass out on {on} inet6 proto icmp6 from {to} icmp6-type echoreq\n\
             pass on {on} inet6 proto icmp6 icmp6-type {{ neighbrsol neighbradv }} no state\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_on_one_interface_share_its_file() {
        let mut settings = Settings::default();
        for (addr, prefix_len) in [("192.0.2.10", 24), ("2001:db8::10", 64)] {
            let addr = addr.parse().unwrap();
            let m = Management {
                interface: "vio0".into(),
                addr,
                prefix_len,
            };
            settings.set_management(m, None);
        }
        settings.gateways.push("192.0.2.1".parse().unwrap());
        let files = tree(&settings, 8080);
        let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
        assert_eq!(
            text("hostname.vio0"),
            "inet 192.0.2.10/24\ninet6 2001:db8::10/64\n"
        );
        assert_eq!(text("mygate"), "192.0.2.1\n");
        assert!(
            text("pf.conf").contains("pass in on vio0 inet proto tcp to 192.0.2.10 port 8080\n")
        );
        let (_, said) = netconf::parse(&files);
        assert!(!netconf::has_errors(&said), "{said:?}");
    }

    #[test]
    fn without_a_management_address_everything_is_blocked() {
        let files = tree(&Settings::default(), 80);
        assert_eq!(files.len(), 1);
        assert_eq!(files["pf.conf"], b"block drop\n");
    }
}
