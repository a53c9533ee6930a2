//! Owns a host's end of an 802.1Q link. A kernel with the module 8021q has VLAN interfaces; one without it can be told by
//! its traffic control to push and take tags, with two eBPF programs of one line each. Either way real frames with tags are
//! on the wire.
//!
//! Read first: IEEE 802.1Q 9.6, tc-bpf(8), bpf-helpers(7) (`bpf_skb_vlan_push`, `bpf_skb_vlan_pop`).

use crate::{Context, Namespace, Result};
use std::path::Path;

/// Numbers of the helpers are those of the kernel's interface (linux/bpf.h); 0x8100 stands in network order.
const PROGRAMS: &str = "\
static long (*vlan_push)(void *, unsigned short, unsigned short) = (void *)18;
static long (*vlan_pop)(void *) = (void *)19;
__attribute__((section(\"tag\"), used)) int add_tag(void *skb) { vlan_push(skb, 0x0081, VID); return 0; }
__attribute__((section(\"untag\"), used)) int take_tag(void *skb) { vlan_pop(skb); return 0; }
";

/// A bridge of these interfaces whose frames have the tag `vid` on the wire; the name of the interface that addresses
/// belong on. `scratch` is a directory for what is compiled.
///
/// # Errors
/// When the kernel can do neither, or there is no compiler for it.
pub fn tagged_bridge(
    host: &Namespace,
    interfaces: &[&str],
    vid: u16,
    scratch: &Path,
) -> Result<String> {
    host.must("ip link add br0 type bridge")?;
    for interface in interfaces {
        host.must(&format!("ip address flush dev {interface}"))?;
        host.must(&format!("ip link set {interface} master br0 up"))?;
    }
    host.must("ip link set br0 up")?;
    let name = format!("br0.{vid}");
    let add = format!("ip link add link br0 name {name} type vlan id {vid}");
    if host.must(&add).is_ok() {
        host.must(&format!("ip link set {name} up"))?;
        println!("tags: a VLAN interface of the kernel");
        return Ok(name);
    }
    let object = compile(host, vid, scratch)?;
    for interface in interfaces {
        host.must(&format!("tc qdisc add dev {interface} clsact"))?;
        for (way, section) in [("egress", "tag"), ("ingress", "untag")] {
            host.must(&format!(
                "tc filter add dev {interface} {way} bpf direct-action object-file {object} section {section}"
            ))?;
        }
    }
    println!("tags: traffic control, for this kernel has no 8021q");
    Ok("br0".into())
}

fn compile(host: &Namespace, vid: u16, scratch: &Path) -> Result<String> {
    let (source, object) = (scratch.join("vlan.c"), scratch.join("vlan.o"));
    std::fs::write(&source, PROGRAMS.replace("VID", &vid.to_string())).context("vlan.c")?;
    let (source, object) = (source.display(), object.display().to_string());
    host.must(&format!("clang -O2 -target bpf -c {source} -o {object}"))?;
    Ok(object)
}
