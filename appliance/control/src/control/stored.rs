//! Settings that outlive bundles: management addresses, token, keys, the date that signed bundles must be later than. A change
//! that cannot be kept is none.

use std::net::IpAddr;

use bundle::Date;

use super::Control;
use crate::settings::{self, Management, Settings};
use crate::store::Store;
use crate::token::TokenHash;

impl Control {
    /// Addresses given for this run win over stored ones.
    pub(crate) fn effective(&self) -> &Settings {
        if self.given.management.is_empty() {
            &self.stored
        } else {
            &self.given
        }
    }

    pub(super) fn keep_settings(&mut self) -> Result<(), String> {
        let text = self.stored.to_text();
        let kept = self.store.store_settings(text.as_bytes());
        kept.map_err(|error| format!("the settings cannot be stored: {error}"))
    }

    /// Changes stored settings; if they cannot be kept, nothing has changed.
    fn change_settings(&mut self, new: Settings) -> Result<(), String> {
        let old = std::mem::replace(&mut self.stored, new);
        self.keep_settings().inspect_err(|_| self.stored = old)?;
        self.memo.forget();
        Ok(())
    }

    pub(crate) fn change_management(
        &mut self,
        interface: &str,
        addr: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
    ) -> Result<(), String> {
        if !self.facts.iter().any(|f| f.name == interface) {
            let names: Vec<&str> = self.facts.iter().map(|f| f.name.as_str()).collect();
            return Err(format!(
                "there is no interface '{interface}'; there are: {}",
                names.join(" ")
            ));
        }
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        let network = net::IfAddr { addr, prefix_len };
        if addr.is_unspecified() || addr.is_multicast() || addr.is_loopback() || prefix_len > bits {
            return Err(format!(
                "{addr}/{prefix_len} cannot be the address of an interface"
            ));
        }
        if let Some(gateway) = gateway.filter(|g| !network.on_link(*g) || *g == addr) {
            return Err(format!(
                "the gateway {gateway} is not a neighbor in {}",
                network.network()
            ));
        }
        let mut new = self.stored.clone();
        let interface = interface.to_string();
        new.set_management(
            Management {
                interface,
                addr,
                prefix_len,
            },
            gateway,
        );
        self.change_settings(new)?;
        if self.running.is_none() {
            self.publish_builtin();
        }
        Ok(())
    }

    pub(crate) fn change_token(&mut self, token: &str) -> Result<(), String> {
        let mut new = self.stored.clone();
        new.token = if token.is_empty() {
            None
        } else {
            let mut salt = [0; 16];
            self.clock.random(&mut salt);
            Some(TokenHash::new(token, salt)?)
        };
        self.change_settings(new)
    }

    pub(crate) fn add_key(&mut self, text: &str) -> Result<String, String> {
        let key = settings::key(text)?;
        let id = key.id.to_string();
        let mut new = self.stored.clone();
        new.trust(key)?;
        self.change_settings(new)?;
        Ok(id)
    }

    pub(crate) fn remove_key(&mut self, id: &str) -> Result<(), String> {
        let mut new = self.stored.clone();
        new.keys.retain(|key| key.id.to_string() != id);
        if new.keys.len() == self.stored.keys.len() {
            return Err(format!("no stored key has the id {id}"));
        }
        self.change_settings(new)
    }

    /// The date that signed bundles must be later than.
    pub(crate) fn floor(&self) -> Option<Date> {
        self.stored.floor
    }

    /// Forgets it. The running bundle's date does not bring it back at the next start.
    pub(crate) fn reset_floor(&mut self) -> Result<(), String> {
        let mut new = self.stored.clone();
        new.floor = None;
        new.forgiven = self.running.as_ref().map(|r| r.digest);
        self.change_settings(new)
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.running.is_none() && self.effective().management.is_empty()
    }
}

pub(super) fn load_settings(store: &mut dyn Store) -> Settings {
    let Some(bytes) = store.load_settings() else {
        return Settings::default();
    };
    let (settings, problems) = Settings::parse(&bytes);
    problems
        .iter()
        .for_each(|p| log::warn!("stored settings: {p}"));
    settings
}
