//! Owns a load: very many TCP connections at the same time, from several addresses to several ports, each of which moves
//! data that is checked. The connections are those of the program `net-load`, several times.

use crate::{Failure, Namespace, Result};
use hosts::Running;
use std::net::SocketAddr;
use std::time::Duration;

/// Opening some thousand connections, or talking on them, ends within this.
const ROUND: Duration = Duration::from_secs(120);

/// What one process of the client opens, and one process of the server takes.
#[derive(Debug, Clone)]
pub struct Share {
    /// Connections.
    pub count: usize,
    /// Addresses of the client.
    pub from: Vec<String>,
    /// End of the server.
    pub to: SocketAddr,
}

/// Connections that are open.
#[derive(Debug)]
pub struct Load {
    clients: Vec<Running>,
    _servers: Vec<Running>,
}

impl Load {
    /// Opens all connections; they stay open. `program` is where `net-load` is.
    ///
    /// # Errors
    /// When one does not come about.
    pub fn open(
        program: &str,
        client: &Namespace,
        server: &Namespace,
        shares: &[Share],
    ) -> Result<Self> {
        let mut servers = Vec::new();
        for share in shares {
            servers.push(server.spawn(&[program, "serve", &share.to.to_string()])?);
            server.wait_for_port(share.to.port(), ROUND)?;
        }
        let mut clients = Vec::new();
        for share in shares {
            let (count, to) = (share.count.to_string(), share.to.to_string());
            let from = share.from.iter().map(String::as_str);
            let words: Vec<&str> = [program, "dial", &count, &to]
                .into_iter()
                .chain(from)
                .collect();
            clients.push(client.spawn(&words)?);
        }
        let mut load = Self {
            clients,
            _servers: servers,
        };
        load.all_say("open")?;
        Ok(load)
    }

    /// Every client of every process says something and hears it again.
    ///
    /// # Errors
    /// When a connection is broken, or lost or changed a byte.
    pub fn talk(&mut self) -> Result<()> {
        for client in &mut self.clients {
            client.write_line("talk")?;
        }
        self.all_say("talked")
    }

    fn all_say(&mut self, wanted: &str) -> Result<()> {
        for client in &mut self.clients {
            let said = client.read_line(ROUND)?;
            if said != wanted {
                return Err(Failure(format!("net-load: {said}")));
            }
        }
        Ok(())
    }
}
