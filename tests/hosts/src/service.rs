//! Owns real servers on the hosts: a web server and an echo server that tests talk to through the machine.
//!
//! Read first: the nginx manual, socat(1).

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
