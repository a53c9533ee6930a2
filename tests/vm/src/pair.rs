//! Owns Fugu beside a Linux machine: the cables between them, a configuration, and what Fugu says of itself.
//!
//! ```text
//!   client 172.16.0.2 --- last port [ Fugu ] vio0, vio1, … === eth0, eth1, … [ Linux ] --- server
//! ```
//!
//! The client is also where Fugu is managed from.

use crate::office::{TOKEN, seed};
use crate::peer::Peer;
use crate::scratch::Scratch;
use crate::{Context, Failure, Firmware, Namespace, NicModel, Options, Result, Vm};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Two emulated machines on a busy one.
const BOOT: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The port that the seed disk makes manageable, and the client's.
pub const CLIENT_PORT: usize = 2;

/// The two machines.
#[derive(Debug)]
pub struct Pair {
    /// Fugu, with three ports; the last has a host, the client.
    pub vm: Vm,
    /// Linux, with a host, the server, after its cables.
    pub peer: Peer,
}

impl Pair {
    /// Switches both on, with one or two cables between them, and waits until Fugu can be managed.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn boot(cables: usize) -> Result<Self> {
        let peer = Peer::boot(cables, 1)?;
        let options = Options {
            firmware: Firmware::Direct(String::new()),
            nics: vec![NicModel::Virtio; CLIENT_PORT + 1],
            seed: Some(seed(NicModel::Virtio.interface())),
            cables: (0..cables).map(|nr| (nr, peer.cable(nr))).collect(),
            ..Options::default()
        };
        let mut vm = Vm::boot(&options)?;
        vm.expect("forwarding", BOOT)?;
        let pair = Self { vm, peer };
        pair.client().address("172.16.0.2/24")?;
        pair.client().route("default", "172.16.0.1")?;
        Ok(pair)
    }

    /// The host at Fugu.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        self.vm.host(CLIENT_PORT)
    }

    /// The host at Linux.
    #[must_use]
    pub fn server(&self) -> &Namespace {
        self.peer.host(0)
    }

    /// Gives Fugu a configuration: names of files and their text. The client's port is configured already.
    ///
    /// # Errors
    /// When it is refused, with what was said.
    pub fn configure(&self, files: &[(&str, &str)]) -> Result<()> {
        let tree = Scratch::new()?;
        let client = format!("hostname.vio{CLIENT_PORT}");
        let usual = [
            ("myname", "fugu.example\n"),
            (&*client, "inet 172.16.0.1/24\n"),
        ];
        for (name, text) in usual.iter().chain(files) {
            std::fs::write(tree.join(name), text).context(name)?;
        }
        let path = tree.path().display().to_string();
        let words = ["push", crate::office::MANAGEMENT_URL, &path];
        // A box that has just come up may not have its management address yet.
        wait("fuguctl push", || {
            let output = hosts::fuguctl(self.client(), &words, Some(TOKEN))?;
            match output.status {
                Some(0) => Ok(Some(())),
                Some(1) => Err(Failure(format!("push: {output:?}"))),
                _ => Ok(None),
            }
        })
    }

    /// What Fugu answers to `GET` of a path.
    ///
    /// # Errors
    /// When there is no answer, or no JSON in it.
    pub fn api(&self, path: &str) -> Result<Value> {
        let token = format!("Authorization: Bearer {TOKEN}");
        let url = format!("{}{path}", crate::office::MANAGEMENT_URL);
        let words = ["curl", "-sS", "-m", "20", "-H", &token, &url];
        let output = self.client().run(&words)?;
        serde_json::from_str(&output.text).context(format!("{path}: {output:?}"))
    }

    /// Packets that rules with this label have counted, in and out.
    ///
    /// # Errors
    /// As [`Pair::api`].
    pub fn counted(&self, label: &str) -> Result<[u64; 2]> {
        let rules = self.api("/v1/rules")?;
        let all = rules.as_array().cloned().unwrap_or_default();
        let mine = all.iter().filter(|rule| rule["label"] == label);
        let count = |rule: &Value, way: &str| rule[way]["packets"].as_u64().unwrap_or_default();
        Ok(mine.fold([0; 2], |sum, rule| {
            [
                sum[0] + count(rule, "input"),
                sum[1] + count(rule, "output"),
            ]
        }))
    }
}

/// Looks until something is there.
///
/// # Errors
/// After two minutes, or of the look.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < BOOT {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        std::thread::sleep(LOOK);
    }
    Err(Failure(format!("never seen: {what}")))
}
