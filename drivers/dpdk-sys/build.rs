//! Generates the bindings, compiles the C shim, and names the archives to link.
//!
//! Owns the choice of DPDK libraries. Everything of DPDK is linked statically, also in a test program
//! that takes glibc dynamically, so that both run the same drivers. Read first: DPDK's `libdpdk.pc`
//! (which libraries exist) and ld(1) on `--whole-archive` (drivers register themselves in
//! constructors that nothing refers to, so the linker must be told to keep them).

use std::env;
use std::path::PathBuf;

/// Drivers and buses: reached only through their constructors, so each is taken whole.
const DRIVERS: &[&str] = &[
    "net_virtio",
    "net_e1000",
    "net_igc",
    "net_ixgbe",
    "net_i40e",
    "net_iavf",
    "net_ice",
    "net_vmxnet3",
    "net_ena",
    "net_af_packet",
    "net_memif",
    "net_ring",
    "net_null",
    "common_iavf",
    "bus_pci",
    "bus_vdev",
    "mempool_ring",
];

/// Libraries that the drivers name. Whole as well: some register tail queues and log types in
/// constructors, and they call each other in circles.
const LIBRARIES: &[&str] = &[
    "ethdev",
    "mbuf",
    "net",
    "hash",
    "rcu",
    "security",
    "cryptodev",
    "timer",
    "meter",
    "pci",
    "mempool",
    "ring",
    "eal",
    "telemetry",
    "kvargs",
];

/// What is not DPDK and has a static form in Debian.
const FOREIGN: &[&str] = &["numa", "bsd", "md"];

/// Functions that `dpdk` calls. The list is the whole surface; extend it, never open it.
const FUNCTIONS: &[&str] = &[
    "rte_eal_init",
    "rte_thread_(register|unregister)",
    "rte_strerror",
    "rte_socket_id",
    "rte_log_set_global_level",
    "rte_pktmbuf_pool_create",
    "rte_mempool_(avail_count|in_use_count)",
    "rte_ring_create",
    "rte_eth_from_rings",
    "rte_eth_find_next",
    "rte_eth_dev_(info_get|get_name_by_port|configure|start|stop|socket_id|adjust_nb_rx_tx_desc)",
    "rte_eth_dev_(get_mtu|set_mtu|set_link_up|set_link_down|mac_addr_add|mac_addr_remove|default_mac_addr_set)",
    "rte_eth_dev_rss_hash_conf_get",
    "rte_eth_(rx|tx)_queue_setup",
    "rte_eth_macaddr_get",
    "rte_eth_link_get_nowait",
    "rte_eth_stats_(get|reset)",
    "rte_eth_xstats_(get|get_names)",
    "rte_eth_(promiscuous|allmulticast)_(enable|disable)",
    "fugu_.*",
];

const VARIABLES: &[&str] = &[
    "RTE_MAX_ETHPORTS",
    "RTE_PKTMBUF_HEADROOM",
    "RTE_ETH_MQ_.*",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_ETH_XSTATS_NAME_SIZE",
    "RTE_LOG_.*",
    "RING_F_(SP_ENQ|SC_DEQ|EXACT_SZ)",
    "FUGU_.*",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim.c");
    println!("cargo::rerun-if-changed=shim.h");
    let library = pkg_config::Config::new()
        .cargo_metadata(false)
        .atleast_version("22.11")
        .probe("libdpdk")
        .expect("DPDK 22.11 or newer (Debian package libdpdk-dev)");
    generate_bindings(&library);
    compile_shim(&library);
    link(&library);
}

/// Where DPDK's headers are, and the configuration each of them expects to be included already.
fn header_arguments(library: &pkg_config::Library) -> Vec<String> {
    let mut arguments: Vec<String> = library
        .include_paths
        .iter()
        .map(|path| format!("-I{}", path.display()))
        .collect();
    // corei7 is what DPDK was compiled for; its inline functions need SSE4.2.
    arguments.extend(["-include", "rte_config.h", "-march=corei7"].map(String::from));
    arguments
}

fn generate_bindings(library: &pkg_config::Library) {
    let mut builder = bindgen::Builder::default()
        .header("shim.h")
        .clang_args(header_arguments(library))
        .use_core()
        .layout_tests(true)
        .derive_debug(false)
        .derive_default(false)
        .prepend_enum_name(false)
        .generate_comments(false)
        .allowlist_type("rte_mbuf")
        // Wire headers are packed and aligned at once, which Rust cannot say. Nobody reads them here.
        .opaque_type("rte_.*_hdr|rte_arp_.*|rte_ether_.*")
        // Reached through pointers only.
        .opaque_type("rte_mempool|rte_ring|rte_device|rte_eth_fp_ops|rte_eth_dev_.*_callback.*");
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in VARIABLES {
        builder = builder.allowlist_var(name);
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    builder
        .generate()
        .expect("bindings for libdpdk")
        .write_to_file(out.join("bindings.rs"))
        .expect("OUT_DIR is writable");
}

fn compile_shim(library: &pkg_config::Library) {
    let mut build = cc::Build::new();
    build.file("shim.c").opt_level(3);
    for argument in header_arguments(library) {
        build.flag(argument);
    }
    // Warnings of DPDK's own headers are not ours to mend.
    build.warnings(false).compile("fugu_dpdk_shim");
}

fn link(library: &pkg_config::Library) {
    for path in &library.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    // pkg-config leaves the system's own directory out; `static` libraries are searched only where we say.
    println!("cargo::rustc-link-search=native=/usr/lib/x86_64-linux-gnu");
    for name in DRIVERS.iter().chain(LIBRARIES) {
        println!("cargo::rustc-link-lib=static:+whole-archive,-bundle=rte_{name}");
    }
    for name in FOREIGN {
        println!("cargo::rustc-link-lib=static:-bundle={name}");
    }
    for name in ["m", "pthread", "dl"] {
        println!("cargo::rustc-link-lib={name}");
    }
}
