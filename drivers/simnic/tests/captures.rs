//! Every capture of the shared collection is read to its end or refused with a place and a reason, and
//! goes through a port without loss that is not counted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nic::{Burst, RxQueue, TxQueue};
use simnic::capture::{self, Reader};
use simnic::{SimNet, SimStats};

fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("FUGU_SHARED").map_or(root.join("../shared"), PathBuf::from);
    shared.join("pcaps").is_dir().then(|| shared.join("pcaps"))
}

fn captures(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            captures(&path, found);
        } else if path.extension().is_some_and(|extension| extension != "tsv") {
            found.push(path);
        }
    }
}

/// How many packets each capture has, as other readers counted them.
fn manifest(folder: &Path) -> HashMap<PathBuf, u64> {
    let text = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        (folder.join(columns[0]), columns[4].parse().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn the_collection_is_read_and_goes_through_a_port() {
    let Some(folder) = shared() else {
        println!("skipped: no ../shared");
        return;
    };
    let mut files = Vec::new();
    captures(&folder, &mut files);
    let expected = manifest(&folder);
    let mut net = SimNet::new(64);
    let port = net.port(1);
    let mut queues = port.queues().unwrap();
    let (mut packets, mut injected, mut refused) = (0u64, 0u64, 0);
    for file in &files {
        let bytes = capture::load(file).unwrap();
        let reader = match Reader::new(&bytes) {
            Ok(reader) => reader,
            Err(error) => {
                println!("{}: {error}", file.display());
                refused += 1;
                continue;
            }
        };
        let before = packets;
        for packet in reader {
            let packet = match packet {
                Ok(packet) => packet,
                Err(error) => {
                    println!("{}: {error}", file.display());
                    refused += 1;
                    break;
                }
            };
            packets += 1;
            let Some(frame) = packet.ethernet() else {
                continue;
            };
            injected += 1;
            if port.inject(&frame) {
                let mut burst = Burst::new();
                assert_eq!(queues.rx[0].receive(&mut burst), 1);
                assert_eq!(queues.tx[0].transmit(&mut burst), 1);
                assert_eq!(port.take().as_deref(), Some(&*frame));
            }
        }
        assert_eq!(packets - before, expected[file], "{}", file.display());
    }
    println!(
        "{} captures, {refused} refused, {packets} packets, {injected} injected",
        files.len()
    );
    let SimStats {
        rx_packets,
        rx_oversize,
        ..
    } = port.stats();
    assert_eq!(rx_packets + rx_oversize, injected);
    assert_eq!(net.pool().in_use(), 0);
    assert_eq!(files.len(), expected.len());
    assert!(refused <= 1, "{refused}");
}
