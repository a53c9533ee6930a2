//! Answers the questions of the control core, a little in every turn.

use net::InterfaceId;
use nic::Nic;

use crate::mail::{Mail, Report};
use crate::turn::Worker;

/// Places of the state table, or of that of stations, looked at per turn: each state is four lines, told whole.
const PLACES_PER_TURN: usize = 128;
/// Places of the state table looked at for one question: whoever asks hears soon that it is looked at, however few states
/// a large table has.
const PLACES_PER_ANSWER: usize = 128 * PLACES_PER_TURN;

/// A question that is being answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listing {
    /// Until this place, or until so many are told.
    States {
        next: u32,
        left: u32,
        until: u32,
    },
    Neighbors {
        next: usize,
    },
    Stations {
        next: usize,
    },
    Flush {
        bridge: InterfaceId,
        next: usize,
    },
}

impl<N: Nic> Worker<N> {
    /// Reads mail and goes on with answers. True if there was any.
    pub(crate) fn take_mail(&mut self, now_ms: u64) -> bool {
        // What has no room stays in the ring, and with it what was asked later.
        if self.listing.is_none() && self.kill_jobs.takes_orders() {
            self.listing = self.ends.mail.pop().and_then(|mail| match mail {
                Mail::ListStates { from, count } => Some(Listing::States {
                    next: from,
                    left: count,
                    until: (from as usize + PLACES_PER_ANSWER).min(self.states.capacity()) as u32,
                }),
                Mail::ListNeighbors => Some(Listing::Neighbors { next: 0 }),
                Mail::Watch(watched) => {
                    self.watched = watched;
                    None
                }
                Mail::Kill(kill, order) => {
                    self.begin_kill(kill, Some(order));
                    None
                }
                Mail::Forget(interface, ip) => {
                    self.neighbors.forget_one(now_ms, interface, ip);
                    None
                }
                Mail::ListStations => Some(Listing::Stations { next: 0 }),
                Mail::ForgetStation(bridge, addr) => {
                    self.stations.forget(bridge, addr);
                    None
                }
                Mail::FlushStations(bridge) => Some(Listing::Flush { bridge, next: 0 }),
            });
        }
        let Some(listing) = self.listing.take() else {
            return false;
        };
        self.listing = match listing {
            Listing::States { next, left, until } => self.list_states(next, left, until),
            Listing::Neighbors { next } => self.list_neighbors(next),
            Listing::Stations { next } => self.list_stations(next),
            Listing::Flush { bridge, next } => {
                let next = self.stations.flush(bridge, next, PLACES_PER_TURN);
                next.map(|next| Listing::Flush { bridge, next })
            }
        };
        true
    }

    fn list_states(&mut self, from: u32, mut left: u32, until: u32) -> Option<Listing> {
        let end = (from as usize + PLACES_PER_TURN).min(until as usize);
        let mut next = end as u32;
        for (idx, st) in self.states.iter_in(from as usize..end) {
            if left == 0 {
                next = idx.0;
                break;
            }
            if self
                .ends
                .reports
                .push(Report::State(st.into_owned()))
                .is_err()
            {
                let next = idx.0;
                return Some(Listing::States { next, left, until });
            }
            left -= 1;
        }
        let at_end = next as usize >= self.states.capacity();
        if left > 0 && next < until {
            return Some(Listing::States { next, left, until });
        }
        let report = Report::StatesEnd {
            next: (!at_end).then_some(next),
        };
        match self.ends.reports.push(report) {
            Ok(()) => None,
            Err(_) => Some(Listing::States {
                next,
                left: 0,
                until,
            }),
        }
    }

    fn list_stations(&mut self, from: usize) -> Option<Listing> {
        for (at, bridge, station) in self.stations.iter_in(from, PLACES_PER_TURN) {
            let report = Report::Station(bridge, station);
            if self.ends.reports.push(report).is_err() {
                return Some(Listing::Stations { next: at });
            }
        }
        let next = from.saturating_add(PLACES_PER_TURN);
        if next < self.stations.places() {
            return Some(Listing::Stations { next });
        }
        match self.ends.reports.push(Report::StationsEnd) {
            Ok(()) => None,
            Err(_) => Some(Listing::Stations { next: usize::MAX }),
        }
    }

    fn list_neighbors(&mut self, from: usize) -> Option<Listing> {
        for (n, entry) in self.neighbors.iter().enumerate().skip(from) {
            if self.ends.reports.push(Report::Neighbor(entry)).is_err() {
                return Some(Listing::Neighbors { next: n });
            }
        }
        match self.ends.reports.push(Report::NeighborsEnd) {
            Ok(()) => None,
            Err(_) => Some(Listing::Neighbors { next: usize::MAX }),
        }
    }
}
