//! Changes of interfaces and routes that are typed while the box runs: `ifconfig em0 down`, `route add …`. What was typed is
//! kept in words and laid on top of the files; the whole is checked and published as a generation like any other, so an error
//! changes nothing. It is not stored: the next apply, or a restart, and the box is what its bundle says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netconf::TYPED;
use worker::Mail;

use crate::api::{Applied, Proof, Refused};
use crate::control::Control;

/// Most commands that are kept; a box that was changed so often wants a bundle.
const CHANGES_MAX: usize = 256;

/// Longest command, in bytes.
const COMMAND_BYTES_MAX: usize = 1024;

/// Highest demotion of a group (carp(4)).
const DEMOTION_MAX: u16 = 255;

/// What groups were demoted by, by name.
pub(crate) type Demotions = BTreeMap<String, u16>;

impl Control {
    /// Carries out one more command; an empty one takes all of them back.
    pub(crate) fn change(&mut self, command: &str, proof: &Proof) -> Result<Applied, Refused> {
        if !self.may_edit(proof) {
            return Err(Refused::Unauthorized("the token is not valid".into()));
        }
        let line = command.trim();
        if line.len() > COMMAND_BYTES_MAX || self.changes.len() >= CHANGES_MAX && !line.is_empty() {
            let text = format!("at most {CHANGES_MAX} commands of {COMMAND_BYTES_MAX} bytes");
            return Err(Refused::TooLarge(text));
        }
        if line.contains(['\n', '\r']) {
            return Err(Refused::Failed("one command at a time".into()));
        }
        let mut changes = self.changes.clone();
        match line {
            "" => changes.clear(),
            line => changes.push(line.into()),
        }
        let digest = self.running.as_ref().map(|r| r.digest);
        let digest = digest.unwrap_or_default();
        if changes == self.changes {
            return Ok(self.applied(digest, false, Vec::new()));
        }
        self.fold_tables();
        let before = std::mem::replace(&mut self.changes, changes);
        let number = self.changes.len() as u32;
        let anchors = self.anchors.clone();
        let candidate = match self.check_running(&anchors) {
            Ok(candidate) => candidate,
            Err(diagnostics) => {
                self.changes = before;
                return Err(Refused::Invalid(diagnostics));
            }
        };
        let is_about = |d: &&pfconf::diag::Diagnostic| d.file == TYPED && d.line == number;
        let warnings = candidate.warnings.iter().filter(is_about);
        let warnings = warnings.cloned().collect();
        self.publish(candidate);
        match line {
            "" => log::info!(
                "the network is as the files have it: generation {}",
                self.generation()
            ),
            line => log::info!("typed: {line}: generation {}", self.generation()),
        }
        Ok(self.applied(digest, true, warnings))
    }

    /// Has all workers forget a neighbor; how many entries it had. An entry of our own address is none.
    pub(crate) fn forget(&mut self, addr: IpAddr) -> Result<u64, String> {
        let mut known = self.fleet.neighbors(self.clock.as_ref());
        known.entries.retain(|n| n.ip == addr);
        if known.entries.is_empty() {
            // Nobody knows it, if all have said so.
            return known.all().map(|_| 0);
        }
        for entry in &known.entries {
            self.fleet.tell_all(&Mail::Forget(entry.interface, addr))?;
        }
        Ok(known.entries.len() as u64)
    }

    /// Adds to the demotion of a group, or takes from it, and says what it is then.
    pub(crate) fn demote_group(&mut self, group: &str, by: i16) -> Result<u16, String> {
        let known = |i: &net::Interface| i.groups.iter().any(|g| g == group);
        if !self.fleet.current().interfaces.iter().any(known) {
            return Err(format!("no interface is in the group '{group}'"));
        }
        let count = self.demotions.entry(group.into()).or_default();
        *count = count.saturating_add_signed(by).min(DEMOTION_MAX);
        let count = *count;
        if by != 0 {
            log::info!("group {group}: demoted by {count}");
        }
        Ok(count)
    }
}
