//! Owns a site: the program, a host at each of its ports, and what people there do.

use crate::http::{Reply, Request};
use crate::{Context, Etc, Failure, Namespace, Output, Program, Result, until};
use hosts::scratch::Scratch;
use hosts::{fuguctl, one_line};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The outside host.
pub const OUTSIDE: &str = "192.0.2.2";
/// Its IPv6 address.
pub const OUTSIDE6: &str = "2001:db8:1::2";
/// The inside host.
pub const INSIDE: &str = "10.0.1.2";
/// Its IPv6 address.
pub const INSIDE6: &str = "2001:db8:2::2";
/// Fugu as the inside host sees it.
pub const ROUTER_INSIDE: &str = "10.0.1.1";
/// The same for IPv6.
pub const ROUTER_INSIDE6: &str = "2001:db8:2::1";
/// Fugu as the outside host sees it.
pub const ROUTER_OUTSIDE: &str = "192.0.2.1";
/// The same for IPv6.
pub const ROUTER_OUTSIDE6: &str = "2001:db8:1::1";
/// The outside host's IPv4 address under the well-known prefix of RFC 6052.
pub const OUTSIDE64: &str = "64:ff9b::c000:202";
/// Where Fugu is managed.
pub const API: &str = "172.16.0.1:80";
/// The bearer token.
pub const TOKEN: &str = "a-token-for-tests-between-namespaces";
/// Memory for packet buffers and tables.
const MEMORY_MIB: u32 = 256;

/// The three ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// ap0
    Outside,
    /// ap1
    Inside,
    /// ap2
    Management,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration it starts with.
    pub etc: Etc,
    /// Receive queues of each port.
    pub queues: u32,
    /// `--cpus`
    pub cpus: &'static str,
    /// Text of a `.pub` file to trust.
    pub trusted_key: Option<String>,
    /// Where ports `ap3`, `ap4`, … lead.
    pub more: Vec<Cable>,
    /// Ports behind those that are there already, see [`Site::open_in`].
    pub ready: usize,
}

/// Where another port of the program leads: to an interface of a host, which is made if no port led there yet.
#[derive(Debug, Clone, Copy)]
pub struct Cable {
    /// Label of the host: `outside`, `inside`, `management`, or a new one.
    pub host: &'static str,
    /// Name of the interface there.
    pub interface: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            etc: Etc::default(),
            queues: 1,
            cpus: "0",
            trusted_key: None,
            more: Vec::new(),
            ready: 0,
        }
    }
}

impl Plan {
    /// The usual one with these rules.
    #[must_use]
    pub fn with_rules(rules: &str) -> Self {
        Self {
            etc: Etc::with_rules(rules),
            ..Self::default()
        }
    }

    /// With a worker on each of two cores.
    #[must_use]
    pub fn with_two_workers(self) -> Self {
        Self {
            queues: 2,
            cpus: "0,1",
            ..self
        }
    }
}

/// The program with its hosts.
#[derive(Debug)]
pub struct Site {
    // In this order they go away.
    /// The program.
    pub program: Program,
    /// With their labels, those of [`Port`] first.
    hosts: Vec<(&'static str, Namespace)>,
    firewall: Namespace,
    scratch: Scratch,
}

impl Site {
    /// A site with these rules.
    ///
    /// # Errors
    /// As [`Site::open`].
    pub fn with_rules(rules: &str) -> Result<Self> {
        Self::open(&Plan::with_rules(rules))
    }

    /// Sets up the hosts, starts the program, waits until it forwards.
    ///
    /// # Errors
    /// When any of that fails.
    pub fn open(plan: &Plan) -> Result<Self> {
        Self::open_in(Namespace::new("fw")?, plan)
    }

    /// As [`Site::open`], with the program in a namespace that may have cables of its own: `ready` of them, whose ends
    /// there are called as the ports behind the plan's.
    ///
    /// # Errors
    /// When any of that fails.
    pub fn open_in(firewall: Namespace, plan: &Plan) -> Result<Self> {
        let scratch = Scratch::new()?;
        // Frames belong to the program; the kernel here must not answer them too.
        let off = firewall.run(&["sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"])?;
        off.ok().then_some(()).ok_or(Failure(off.text))?;
        let usual = ["outside", "inside", "management"].map(|host| Cable {
            host,
            interface: "eth0",
        });
        let mut hosts = Vec::new();
        for (n, cable) in usual.iter().chain(&plan.more).enumerate() {
            if !hosts.iter().any(|(label, _)| *label == cable.host) {
                hosts.push((cable.host, Namespace::new(cable.host)?));
            }
            let host = named(&hosts, cable.host)?;
            firewall.connect_as(&format!("ap{n}"), host, cable.interface)?;
        }
        addresses(&hosts)?;
        let arguments = arguments(plan, &scratch)?;
        let program = Program::start(&firewall, &arguments, &scratch.join("fugu.log"))?;
        let mut site = Self {
            program,
            hosts,
            firewall,
            scratch,
        };
        site.program.wait_for("forwarding: ")?;
        Ok(site)
    }

    /// The host at a port.
    #[must_use]
    pub fn host(&self, port: Port) -> &Namespace {
        &self.hosts[port as usize].1
    }

    /// The host with a label that the plan gave it.
    ///
    /// # Errors
    /// When there is none.
    pub fn host_named(&self, label: &str) -> Result<&Namespace> {
        named(&self.hosts, label)
    }

    /// Where the program's ends of the cables are.
    #[must_use]
    pub fn firewall(&self) -> &Namespace {
        &self.firewall
    }

    /// A name in a directory that goes away with the site.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// What a command prints at the console, line by line.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn console(&self, command: &str) -> Result<Vec<String>> {
        crate::console::ask(&self.file("console"), command)
    }

    /// Runs `fuguctl push` of a tree on the management host.
    ///
    /// # Errors
    /// When it cannot be run; a refusal is in the output.
    pub fn push(&self, etc: &Etc) -> Result<Output> {
        let tree = Scratch::new()?;
        etc.write_to(tree.path())?;
        let url = format!("http://{API}");
        let words = ["push", &url, &tree.path().display().to_string()];
        fuguctl(self.host(Port::Management), &words, Some(TOKEN))
    }

    /// Pushes a tree that must be accepted.
    ///
    /// # Errors
    /// When it was not.
    pub fn accept(&self, etc: &Etc) -> Result<()> {
        let output = self.push(etc)?;
        output
            .ok()
            .then_some(())
            .ok_or_else(|| Failure(format!("push: {output:?}")))
    }

    /// Sends a request from the management host.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, request: &Request<'_>) -> Result<Reply> {
        let host = self.host(Port::Management);
        request.send(host, API.parse().context(API)?)
    }

    /// Uploads bytes as they are, with this token or none.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn upload(&self, body: &[u8], token: Option<&str>) -> Result<Reply> {
        self.ask(&Request {
            method: "PUT",
            path: "/v1/bundle",
            token,
            body,
            ..Request::default()
        })
    }

    /// JSON of a `GET` with the token.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn get(&self, path: &str) -> Result<Value> {
        let reply = self.ask(&Request {
            path,
            token: Some(TOKEN),
            ..Request::default()
        })?;
        if reply.status != 200 {
            return Err(Failure(format!("GET {path}: {reply:?}")));
        }
        serde_json::from_slice(&reply.body).context(path)
    }

    /// What must be the same before and after something that changes nothing: generation, digest, rules.
    ///
    /// # Errors
    /// As [`Site::get`].
    pub fn policy(&self) -> Result<(Value, Value, Vec<String>)> {
        let status = self.get("/v1/status")?;
        let rules = self.get("/v1/rules")?;
        let rules = rules.as_array().cloned().unwrap_or_default();
        let texts = rules.iter().map(|rule| text(rule, "text")).collect();
        Ok((
            status["generation"].clone(),
            status["digest"].clone(),
            texts,
        ))
    }

    /// The only rule with this label.
    ///
    /// # Errors
    /// When there is none.
    pub fn rule(&self, label: &str) -> Result<Value> {
        let rules = self.get("/v1/rules")?;
        let mut all = rules.as_array().into_iter().flatten();
        let found = all.find(|rule| rule["label"] == label).cloned();
        found.ok_or_else(|| Failure(format!("no rule with label {label}: {rules}")))
    }

    /// Drops counted for a reason.
    ///
    /// # Errors
    /// When there is no such reason.
    pub fn reason(&self, name: &str) -> Result<u64> {
        let info = self.get("/v1/info")?;
        let found = info["reasons"][name].as_u64();
        found.ok_or_else(|| Failure(format!("no reason {name}: {info}")))
    }

    /// What a limit of `pfctl -vsi` did, such as `syncookies sent`.
    ///
    /// # Errors
    /// When there is no such counter.
    pub fn limit(&self, name: &str) -> Result<u64> {
        let info = self.get("/v1/info")?;
        let found = info["limits"][name].as_u64();
        found.ok_or_else(|| Failure(format!("no limit counter {name}: {info}")))
    }

    /// States now.
    ///
    /// # Errors
    /// As [`Site::get`].
    pub fn states(&self) -> Result<u64> {
        let info = self.get("/v1/info")?;
        let found = info["states"].as_u64();
        found.ok_or_else(|| Failure(format!("no states: {info}")))
    }

    /// Packets that the filter let pass and blocked on an interface, by family (0 or 1) and direction (0 in, 1 out).
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn interface_packets(
        &self,
        name: &str,
        family: usize,
        direction: usize,
    ) -> Result<[u64; 2]> {
        let interfaces = self.get("/v1/interfaces")?;
        let mut all = interfaces.as_array().into_iter().flatten();
        let found = all.find(|interface| interface["name"] == name);
        let counts = found.map(|interface| &interface["pf"][family][direction]);
        let packets = |n: usize| counts?[n]["packets"].as_u64();
        match (packets(0), packets(1)) {
            (Some(passed), Some(blocked)) => Ok([passed, blocked]),
            _ => Err(Failure(format!("no interface {name}: {interfaces}"))),
        }
    }

    /// Tries a TCP connection from inside.
    ///
    /// # Errors
    /// When the host cannot be entered; how the attempt ended is the value.
    pub fn dial(
        &self,
        to: &str,
        port: u16,
        patience: Duration,
    ) -> Result<std::io::Result<std::net::TcpStream>> {
        let to = SocketAddr::new(to.parse::<IpAddr>().context(to)?, port);
        self.host(Port::Inside)
            .inside(|| Ok(std::net::TcpStream::connect_timeout(&to, patience)))
    }

    /// Pings from inside until the first answer comes: neighbors know each other then.
    ///
    /// # Errors
    /// When none comes.
    pub fn warm_up(&self) -> Result<()> {
        for to in [OUTSIDE, OUTSIDE6] {
            until(format!("an answer of {to}"), || {
                let got = self.host(Port::Inside).run(&["ping", "-c1", "-W1", to])?;
                Ok(got.ok().then_some(()))
            })?;
        }
        Ok(())
    }

    /// Runs a program inside that must end well; what it said.
    ///
    /// # Errors
    /// When it did not.
    pub fn inside(&self, words: &[&str]) -> Result<String> {
        let got = self.host(Port::Inside).run(words)?;
        if got.ok() {
            return Ok(got.text);
        }
        Err(Failure(format!(
            "{}: {}",
            words.join(" "),
            one_line(&got.text)
        )))
    }
}

/// A field as text, empty if it is none.
fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn named<'a>(hosts: &'a [(&'static str, Namespace)], label: &str) -> Result<&'a Namespace> {
    let found = hosts.iter().find(|(name, _)| *name == label);
    found
        .map(|(_, host)| host)
        .ok_or_else(|| Failure(format!("no host {label}")))
}

fn addresses(hosts: &[(&'static str, Namespace)]) -> Result<()> {
    for (port, address, gateway) in [
        (Port::Outside, "192.0.2.2/24", "192.0.2.1"),
        (Port::Outside, "2001:db8:1::2/64", "2001:db8:1::1"),
        (Port::Inside, "10.0.1.2/24", ROUTER_INSIDE),
        (Port::Inside, "2001:db8:2::2/64", ROUTER_INSIDE6),
    ] {
        hosts[port as usize].1.address(address)?;
        hosts[port as usize].1.route("default", gateway)?;
    }
    hosts[Port::Management as usize].1.address("172.16.0.2/24")
}

fn arguments(plan: &Plan, scratch: &Scratch) -> Result<Vec<String>> {
    let path = |name: &str| scratch.join(name).display().to_string();
    plan.etc.write_to(&scratch.join("etc"))?;
    std::fs::create_dir(scratch.join("state")).context("state")?;
    std::fs::write(scratch.join("token"), format!("{TOKEN}\n")).context("token")?;
    let mut words: Vec<String> = Vec::new();
    for n in 0..3 + plan.more.len() + plan.ready {
        let queues = match plan.queues {
            1 => String::new(),
            more => format!(",qpairs={more}"),
        };
        words.extend([
            "--vdev".into(),
            format!("net_af_packet{n},iface=ap{n}{queues}"),
        ]);
    }
    let memory = MEMORY_MIB.to_string();
    let (etc, state, token) = (path("etc"), path("state"), path("token"));
    let console = format!("unix:{}", path("console"));
    for (name, value) in [
        ("--etc", etc.as_str()),
        ("--state-dir", &state),
        ("--token-file", &token),
        ("--memory", &memory),
        ("--console", &console),
        ("--cpus", plan.cpus),
        ("--mgmt", "ap2:172.16.0.1/24"),
    ] {
        words.extend([name.to_owned(), value.to_owned()]);
    }
    words.push("--no-huge".into());
    if let Some(key) = &plan.trusted_key {
        std::fs::write(scratch.join("trusted.pub"), key).context("key")?;
        words.extend(["--trust".into(), path("trusted.pub")]);
    }
    Ok(words)
}
