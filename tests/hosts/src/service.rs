//! Owns real servers on the hosts that tests talk to through the machine: for the web, for names, for bulk, and an echo.
//!
//! Read first: the nginx manual, dnsmasq(8), iperf3(1), socat(1).

use crate::namespace::{Namespace, Running};
use crate::scratch::Scratch;
use crate::{Context, Result};
use std::time::Duration;

const START_PATIENCE: Duration = Duration::from_secs(10);

/// A web server and its files.
#[derive(Debug)]
pub struct Web {
    _running: Running,
    files: Scratch,
}

impl Web {
    /// Serves `files` (name, content) on these TCP ports of `host`, IPv4 and IPv6.
    ///
    /// # Errors
    /// When nginx does not start.
    pub fn serve(host: &Namespace, ports: &[u16], files: &[(&str, Vec<u8>)]) -> Result<Self> {
        let scratch = Scratch::new()?;
        for (name, content) in files {
            std::fs::write(scratch.join(name), content).context(name)?;
        }
        let root = scratch.path().display().to_string();
        let listen: String = ports
            .iter()
            .map(|port| format!("listen {port}; listen [::]:{port}; "))
            .collect();
        // One process: workers would outlive a master that is killed, and keep what they inherited open.
        let configuration = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/error; user root;\nevents {{}}\nhttp {{ access_log off; \
             client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3; \
             uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\nserver {{ {listen} root {root}; }} }}\n"
        );
        let path = scratch.join("nginx.conf");
        std::fs::write(&path, configuration).context(path.display())?;
        let running = host.spawn(&["nginx", "-p", &root, "-c", &path.display().to_string()])?;
        let web = Self {
            _running: running,
            files: scratch,
        };
        for port in ports {
            host.wait_for_port(*port, START_PATIENCE)?;
        }
        Ok(web)
    }

    /// Adds or replaces a file.
    ///
    /// # Errors
    /// The file system's.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        std::fs::write(self.files.join(name), content).context(name)
    }
}

/// Starts a server that sends back every line, on a TCP port of `host`.
///
/// # Errors
/// When socat does not start.
pub fn echo(host: &Namespace, port: u16) -> Result<Running> {
    let running = host.spawn(&[
        "socat",
        &format!("TCP6-LISTEN:{port},ipv6only=0,reuseaddr,fork"),
        "EXEC:cat",
    ])?;
    host.wait_for_port(port, START_PATIENCE)?;
    Ok(running)
}

/// Starts a server of iperf3 on a port of `host`, for both families. It is good for one client: who comes while it has
/// not finished with the one before is refused.
///
/// # Errors
/// When it does not start.
pub fn bulk(host: &Namespace, port: u16) -> Result<Running> {
    let number = port.to_string();
    // Nobody reads its output, and a full pipe would stop it.
    let running = host.spawn(&["iperf3", "-s", "-p", &number, "--logfile", "/dev/null"])?;
    host.wait_for_port(port, START_PATIENCE)?;
    Ok(running)
}

/// Starts a name server on port 53 of `host`, for both families, that knows these names: each with strings of at most 255
/// letters, which are its TXT record.
///
/// # Errors
/// When dnsmasq does not start.
pub fn names(host: &Namespace, records: &[(&str, Vec<String>)]) -> Result<Running> {
    let usual = "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file --user=root \
                 --log-facility=/dev/null --edns-packet-max=8000 --no-daemon";
    let mut words: Vec<String> = usual.split_whitespace().map(Into::into).collect();
    for (name, strings) in records {
        words.push(format!("--txt-record={name},{}", strings.join(",")));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let running = host.spawn(&words)?;
    host.wait_for_port(53, START_PATIENCE)?;
    Ok(running)
}
