//! Owns the small network that demo and tests set up around the machine, and what its people do.
//!
//! ```text
//!   outside 192.0.2.2      --- vio0 [ Fugu ] vio1 --- inside 10.0.1.2
//!           2001:db8:1::2                             2001:db8:2::2
//!                               vio2 --- management 172.16.0.2
//! ```
//!
//! Bundles are in `tests/vm/demo/`; for other cards than virtio their interface names are replaced.

use crate::scratch::Scratch;
use crate::{
    Context, Failure, Firmware, Namespace, NicModel, Options, Output, Result, Running, Vm,
    repository,
};
use hosts::service::{Web, echo};
pub use hosts::{last_line, one_line};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The bearer token the seed disk gives the box.
pub const TOKEN: &str = "demo-token-of-ci-demo";
/// The outside host.
pub const OUTSIDE: &str = "192.0.2.2";
/// The outside host's IPv6 address.
pub const OUTSIDE6: &str = "2001:db8:1::2";
/// Where the box is managed.
pub const MANAGEMENT_URL: &str = "http://172.16.0.1";
/// What the outside web server has to show.
pub const PAGE: &str = "a page from outside";
/// Bytes of the file `large` on it.
pub const LARGE_BYTES: usize = 10_000_000;

/// The three ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Port 0.
    Outside,
    /// Port 1.
    Inside,
    /// Port 2.
    Management,
}

/// A machine with its three hosts and the servers outside.
#[derive(Debug)]
pub struct Office {
    // Servers end before the hosts they run on.
    _web: Web,
    _echo: Running,
    /// The machine.
    pub vm: Vm,
    interface: &'static str,
}

impl NicModel {
    /// The name a BSD gives its driver, without the number.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Virtio => "vio",
            Self::E1000 | Self::E1000e => "em",
            Self::Vmxnet3 => "vmx",
        }
    }
}

impl Office {
    /// A machine with three ports of one model.
    #[must_use]
    pub fn options(firmware: Firmware, model: NicModel) -> Options {
        Options {
            firmware,
            nics: vec![model; 3],
            seed: Some(seed(model.interface())),
            ..Options::default()
        }
    }

    /// Switches it on and sets up hosts and servers.
    ///
    /// # Errors
    /// When any of that fails; forwarding is not waited for.
    pub fn open(options: &Options) -> Result<Self> {
        let vm = Vm::boot(options)?;
        let interface = options
            .nics
            .first()
            .map_or("vio", |model| model.interface());
        addresses(&vm)?;
        let files = [
            ("index.html", PAGE.as_bytes().to_vec()),
            ("large", vec![b'x'; LARGE_BYTES]),
        ];
        let web = Web::serve(vm.host(0), &[80, 8080], &files)?;
        let echo = echo(vm.host(0), 7)?;
        Ok(Self {
            _web: web,
            _echo: echo,
            vm,
            interface,
        })
    }

    /// Cuts the power and switches it on again.
    ///
    /// # Errors
    /// As [`Vm::power_cycle`].
    pub fn power_cycle(self) -> Result<Self> {
        let Self {
            _web,
            _echo,
            vm,
            interface,
        } = self;
        Ok(Self {
            _web,
            _echo,
            vm: vm.power_cycle()?,
            interface,
        })
    }

    /// The host on that side.
    #[must_use]
    pub fn host(&self, side: Side) -> &Namespace {
        self.vm.host(side as usize)
    }

    /// Runs `fuguctl push` of a bundle on the management host.
    ///
    /// # Errors
    /// When it cannot be run; a refusal is in the output.
    pub fn push(&self, bundle: &str) -> Result<Output> {
        self.push_with_token(bundle, TOKEN)
    }

    /// The same with another token.
    ///
    /// # Errors
    /// When it cannot be run; a refusal is in the output.
    pub fn push_with_token(&self, bundle: &str, token: &str) -> Result<Output> {
        let tree = self.tree(bundle)?;
        self.fuguctl(
            &["push", MANAGEMENT_URL, &tree.path().display().to_string()],
            token,
        )
    }

    /// Pushes a bundle that must be accepted; what `fuguctl` said.
    ///
    /// # Errors
    /// When it was not.
    pub fn accept(&self, bundle: &str) -> Result<String> {
        let output = self.push(bundle)?;
        if output.ok() {
            Ok(one_line(&output.text))
        } else {
            Err(Failure(format!("push {bundle}: {output:?}")))
        }
    }

    /// Starts to push a bundle and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_push(&self, bundle: &str) -> Result<Push> {
        let tree = self.tree(bundle)?;
        let (token, path) = (
            format!("FUGU_TOKEN={TOKEN}"),
            tree.path().display().to_string(),
        );
        let running = self.host(Side::Management).spawn(&[
            "env",
            &token,
            &hosts::fuguctl_path().display().to_string(),
            "push",
            MANAGEMENT_URL,
            &path,
        ])?;
        Ok(Push {
            running,
            _tree: tree,
        })
    }

    /// `GET /v1/status` as JSON.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn status(&self) -> Result<Value> {
        let output = self.fuguctl(&["status", "--json", MANAGEMENT_URL], TOKEN)?;
        if !output.ok() {
            return Err(Failure(format!("status: {output:?}")));
        }
        serde_json::from_str(&output.text).context(format!("status: {}", output.text))
    }

    fn fuguctl(&self, words: &[&str], token: &str) -> Result<Output> {
        hosts::fuguctl(self.host(Side::Management), words, Some(token))
    }

    /// A copy of a bundle with this machine's interface names.
    fn tree(&self, bundle: &str) -> Result<Scratch> {
        let scratch = Scratch::new()?;
        let from = demo_tree(bundle);
        for entry in std::fs::read_dir(&from).context(from.display())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(from.join(&name)).context(&name)?;
            std::fs::write(
                scratch.join(&name.replace("vio", self.interface)),
                text.replace("vio", self.interface),
            )?;
        }
        Ok(scratch)
    }

    /// Fetches the page from inside.
    ///
    /// # Errors
    /// When it does not come, with curl's reason.
    pub fn page(&self, port: u16) -> Result<String> {
        let got = self.curl(port)?;
        if got.ok() && got.text.starts_with(PAGE) {
            Ok(format!("\"{PAGE}\""))
        } else {
            Err(Failure(last_line(&got.text)))
        }
    }

    /// Tries to connect from inside; a reset must come back: the connection is refused, not lost.
    ///
    /// # Errors
    /// When anything else happens.
    pub fn refused(&self, port: u16) -> Result<String> {
        let got = self.curl(port)?;
        if got.text.contains("Connection refused") {
            return Ok("connection refused".into());
        }
        Err(Failure(last_line(&got.text)))
    }

    /// Fetches the page from inside; what curl tells about the connection comes after it.
    ///
    /// # Errors
    /// When curl cannot be run.
    pub fn curl(&self, port: u16) -> Result<Output> {
        self.host(Side::Inside).run(&[
            "curl",
            "-sSv",
            "--max-time",
            "5",
            &format!("http://{OUTSIDE}:{port}/"),
        ])
    }

    /// Pings from inside; ping's summary.
    ///
    /// # Errors
    /// When an answer is missing.
    pub fn ping(&self, address: &str) -> Result<String> {
        let got = self
            .host(Side::Inside)
            .run(&["ping", "-c", "3", "-i", "0.2", "-W", "3", address])?;
        if got.ok() {
            Ok(last_line(&got.text))
        } else {
            Err(Failure(one_line(&got.text)))
        }
    }

    /// Connects from inside to the echo server.
    ///
    /// # Errors
    /// When socat cannot be run; whether it is connected shows with [`say_and_hear`].
    pub fn connect(&self) -> Result<Running> {
        self.host(Side::Inside)
            .spawn(&["socat", "-", &format!("TCP4:{OUTSIDE}:7")])
    }
}

/// An upload under way; given up when the value goes away.
#[derive(Debug)]
pub struct Push {
    running: Running,
    _tree: Scratch,
}

impl Push {
    /// True if it has ended and the bundle was accepted.
    ///
    /// # Errors
    /// The system's.
    pub fn has_succeeded(&mut self) -> Result<bool> {
        let status = self.running.child().try_wait().context("fuguctl")?;
        Ok(status.is_some_and(|status| status.success()))
    }
}

/// Says a word over a connection to the echo server and waits to hear it.
///
/// # Errors
/// When it is not heard.
pub fn say_and_hear(connection: &mut Running, word: &str, patience: Duration) -> Result<String> {
    connection.write_line(word)?;
    let heard = connection.read_line(patience)?;
    if heard == word {
        Ok(format!("said and heard \"{word}\""))
    } else {
        Err(Failure(format!("heard \"{heard}\"")))
    }
}

/// Where a demo bundle is.
#[must_use]
pub fn demo_tree(bundle: &str) -> PathBuf {
    repository().join("tests/vm/demo").join(bundle)
}

fn addresses(vm: &Vm) -> Result<()> {
    let sides = [
        (
            Side::Outside,
            ["192.0.2.2/24", "2001:db8:1::2/64"],
            ["192.0.2.1", "2001:db8:1::1"],
        ),
        (
            Side::Inside,
            ["10.0.1.2/24", "2001:db8:2::2/64"],
            ["10.0.1.1", "2001:db8:2::1"],
        ),
    ];
    for (side, addresses, gateways) in sides {
        for (address, gateway) in addresses.into_iter().zip(gateways) {
            vm.host(side as usize).address(address)?;
            vm.host(side as usize).route("default", gateway)?;
        }
    }
    vm.host(Side::Management as usize).address("172.16.0.2/24")
}

/// A seed disk that says who may manage the box, and from where: a tar archive of one file.
#[must_use]
pub fn seed(interface: &str) -> Vec<u8> {
    let text = format!("fugu.mgmt={interface}2:172.16.0.1/24\nfugu.token={TOKEN}\n");
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"FUGU-SEED");
    put(100, b"0000644\0");
    put(124, format!("{:011o}\0", text.len()).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(text.as_bytes());
    block.resize(4 * 512, 0);
    block
}
