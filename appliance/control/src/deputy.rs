//! Who looks after laggs while the control core is busy. Checking a bundle of thousands of rules takes a while, and frames
//! must not leave by a cable that is pulled meanwhile.
//!
//! A deputy belongs to a thread of its own. It acts only when the control core has not been seen for some milliseconds, and
//! does only what cannot wait: a port without a link is not used if another one is ready. Log, announcements and everything
//! else are the control core's, which finds out about the link by itself when it is back, and has the last word.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use net::LaggProtocol;
use sync::{Counter, Masks};

/// The control core looks at links every 2 ms.
const ABSENT_MS: u64 = 4;

/// Looks after laggs on behalf of the control core.
#[derive(Clone, Debug, Default)]
pub struct Deputy(Arc<Desk>);

#[derive(Debug, Default)]
struct Desk {
    wards: Mutex<Vec<Ward>>,
    /// When the control core was there last; it writes.
    seen_ms: Counter,
    /// How often masks were changed; the deputy writes.
    acted: Counter,
}

/// A lagg as the control core left it.
#[derive(Debug)]
pub(crate) struct Ward {
    /// Port numbers by place.
    pub(crate) ports: Vec<u16>,
    /// Places that can be used, by what the control core knows: with LACP, those agreed on.
    pub(crate) usable: u32,
    pub(crate) protocol: LaggProtocol,
    /// Failover: frames of ports that do not send are taken, too.
    pub(crate) receive_all: bool,
    pub(crate) min_links: u16,
    pub(crate) masks: Arc<Masks>,
}

impl Deputy {
    fn wards(&self) -> MutexGuard<'_, Vec<Ward>> {
        self.0.wards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a lagg to look after.
    pub fn is_needed(&self) -> bool {
        !self.wards().is_empty()
    }

    /// Takes ports without a link out of use, if the control core has not been there for a while. `has_link` asks a driver;
    /// times are milliseconds since start. True if anything changed.
    pub fn stand_in(&self, now_ms: u64, has_link: impl Fn(u16) -> bool) -> bool {
        if now_ms < self.0.seen_ms.get() + ABSENT_MS {
            return false;
        }
        let mut acted = false;
        for ward in self.wards().iter() {
            if ward.relieve(&has_link) {
                acted = true;
                // After the masks: the control core that sees it overrules them.
                self.0.acted.add(1);
            }
        }
        acted
    }

    /// The control core is there. Tells how often the deputy has acted up to now.
    pub(crate) fn report(&self, now_ms: u64) -> u64 {
        self.0.seen_ms.set(now_ms);
        self.0.acted.get()
    }

    /// Everything there is to look after.
    pub(crate) fn hand_over(&self, wards: Vec<Ward>) {
        *self.wards() = wards;
    }
}

impl Ward {
    fn relieve(&self, has_link: impl Fn(u16) -> bool) -> bool {
        let with_link = |places: u32| {
            let ports = self.ports.iter().enumerate();
            let some = ports.filter(|(n, port)| places >> n & 1 == 1 && has_link(**port));
            some.fold(0u32, |mask, (n, _)| mask | 1 << n)
        };
        let send = self.masks.send();
        // Where nothing is sent there is nothing to be taken out of use.
        if with_link(send) == send {
            return false;
        }
        let usable = with_link(self.usable);
        if usable == 0 || usable.count_ones() < u32::from(self.min_links) {
            return false;
        }
        match self.protocol {
            LaggProtocol::Failover => {
                let first = 1 << usable.trailing_zeros();
                let receive = if self.receive_all { usable } else { first };
                self.masks.set(first, receive);
            }
            _ => self.masks.set(usable, self.masks.receive()),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deputy(protocol: LaggProtocol, usable: u32, masks: (u32, u32)) -> (Deputy, Arc<Masks>) {
        let deputy = Deputy::default();
        let masks = Arc::new(Masks::new(masks.0, masks.1));
        deputy.hand_over(vec![Ward {
            ports: vec![7, 5, 6],
            usable,
            protocol,
            receive_all: false,
            min_links: 1,
            masks: masks.clone(),
        }]);
        deputy.report(1000);
        (deputy, masks)
    }

    #[test]
    fn it_acts_only_when_the_control_core_is_away_and_only_where_another_port_is_ready() {
        const OVER: LaggProtocol = LaggProtocol::Failover;
        const BALANCE: LaggProtocol = LaggProtocol::LoadBalance;
        // Protocol, usable places, ports without a link, now, then what sends and is heard.
        for (protocol, usable, down, now_ms, want) in [
            (OVER, 0b111, &[7][..], 1003, (0b001, 0b001)),
            (OVER, 0b111, &[7], 1004, (0b010, 0b010)),
            (OVER, 0b111, &[7, 5], 1004, (0b100, 0b100)),
            (OVER, 0b101, &[7], 1004, (0b100, 0b100)),
            (OVER, 0b111, &[5], 1004, (0b001, 0b001)),
            (OVER, 0b001, &[7], 1004, (0b001, 0b001)),
            (OVER, 0b111, &[5, 6, 7], 1004, (0b001, 0b001)),
            (BALANCE, 0b111, &[6], 1004, (0b011, 0b111)),
        ] {
            let before = match protocol {
                OVER => (1, 1),
                _ => (usable, usable),
            };
            let (deputy, masks) = deputy(protocol, usable, before);
            let acted = deputy.stand_in(now_ms, |port| !down.contains(&port));
            assert_eq!((masks.send(), masks.receive()), want, "{usable:b} {down:?}");
            assert_eq!(acted, want != before, "{usable:b} {down:?}");
            assert_eq!(deputy.report(now_ms), u64::from(acted));
        }
    }
}
