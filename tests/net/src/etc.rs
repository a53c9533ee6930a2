//! Owns configurations: etc trees in memory, as a directory, as a bundle.

use crate::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything may go out from inside, management may be reached, nothing else; answers say so.
pub const BASE_RULES: &str = "\
block return log
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass in on ap1 proto { tcp, udp }
pass in on ap1 inet proto icmp
pass in on ap1 inet6 proto icmp6
pass out on ap0
";

/// Everything from inside leaves with the address of the firewall, and IPv6 hosts reach IPv4 ones by the well-known
/// prefix. What comes to the firewall's ports 8080 and 53 is for inside.
pub const NAT_RULES: &str = "\
block return log
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass quick inet6 proto icmp6 icmp6-type { neighbrsol neighbradv }
match out on ap0 inet nat-to (ap0)
match out on ap0 inet6 nat-to (ap0)
pass in on ap1
pass in on ap1 inet6 from any to 64:ff9b::/96 af-to inet from (ap0)
pass out on ap0
pass in on ap0 inet proto tcp to (ap0) port 8080 rdr-to 10.0.1.2 port 80
pass in on ap0 inet6 proto tcp to (ap0) port 8080 rdr-to 2001:db8:2::2 port 80
pass in on ap0 inet proto udp to (ap0) port 53 rdr-to 10.0.1.2
pass in on ap0 inet6 proto udp to (ap0) port 53 rdr-to 2001:db8:2::2
pass out on ap1 to { 10.0.1.2 2001:db8:2::2 }
";

/// An etc tree: path to text.
#[derive(Debug, Clone)]
pub struct Etc(BTreeMap<String, Vec<u8>>);

impl Default for Etc {
    fn default() -> Self {
        Self::with_rules(BASE_RULES)
    }
}

impl Etc {
    /// The site's interfaces, with these rules.
    #[must_use]
    pub fn with_rules(rules: &str) -> Self {
        Self(BTreeMap::new())
            .with("myname", "nettest\n")
            .with(
                "hostname.ap0",
                "inet 192.0.2.1/24\ninet6 2001:db8:1::1/64\n",
            )
            .with("hostname.ap1", "inet 10.0.1.1/24\ninet6 2001:db8:2::1/64\n")
            .with("hostname.ap2", "inet 172.16.0.1/24\n")
            .with("pf.conf", rules)
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn with(mut self, name: &str, text: &str) -> Self {
        self.0.insert(name.to_owned(), text.as_bytes().to_vec());
        self
    }

    /// Takes a file out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// Writes it into an empty directory.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_to(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).context(directory.display())?;
        for (name, text) in &self.0 {
            std::fs::write(directory.join(name), text).context(name)?;
        }
        Ok(())
    }

    /// The bundle of it.
    ///
    /// # Errors
    /// When a name is not allowed.
    pub fn pack(&self) -> Result<Vec<u8>> {
        bundle::pack(&self.0).context("pack")
    }
}
