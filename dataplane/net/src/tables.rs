//! Several routing tables, and the routing domain that each belongs to.
//!
//! Read first: rdomain(4), rtable(4) of OpenBSD. A *routing domain* has interfaces and addresses of its own; the table
//! with its number has the routes of these interfaces. Further tables of a domain have only the routes that were added
//! to them. Built on the control core, immutable, published with the interfaces.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::domain::Domain;
use crate::kif::InterfaceId;
use crate::route::{Route, RouteTable};

/// Highest number of a table and of a domain (OpenBSD: RT_TABLEID_MAX).
pub const RTABLE_MAX: u8 = 255;

/// All routing tables of a box.
#[derive(Debug, Clone)]
pub struct RouteTables {
    /// Tables with their domains, sorted by number; table 0 is the first.
    tables: Vec<(Domain, RouteTable)>,
    /// Place of each number in `tables`.
    places: [Option<u8>; RTABLE_MAX as usize + 1],
    /// Labels of routes; a route has the number of its label here, from 1.
    labels: Vec<String>,
}

impl RouteTables {
    /// All tables. Of two with one number the first counts; table 0 is always there. `labels` are those that the routes
    /// name by number, from 1.
    pub fn new(tables: Vec<(Domain, RouteTable)>, labels: Vec<String>) -> Self {
        let mut all = tables;
        if !all.iter().any(|(domain, _)| domain.rtable == 0) {
            all.push((Domain::MAIN, RouteTable::default()));
        }
        all.sort_by_key(|(domain, _)| domain.rtable);
        all.dedup_by_key(|(domain, _)| domain.rtable);
        let mut places = [None; RTABLE_MAX as usize + 1];
        for (place, (domain, _)) in all.iter().enumerate() {
            places[usize::from(domain.rtable)] = Some(place as u8);
        }
        RouteTables {
            tables: all,
            places,
            labels,
        }
    }

    /// The table with this number.
    #[inline]
    pub fn get(&self, rtable: u8) -> Option<&RouteTable> {
        let place = self.places[usize::from(rtable)]?;
        self.tables.get(usize::from(place)).map(|(_, table)| table)
    }

    /// The domain that a table belongs to; 0 for one that does not exist, as in OpenBSD.
    #[inline]
    pub fn rdomain_of(&self, rtable: u8) -> u8 {
        let place = self.places[usize::from(rtable)];
        let entry = place.and_then(|place| self.tables.get(usize::from(place)));
        entry.map_or(0, |(domain, _)| domain.rdomain)
    }

    /// The route for a destination in a table.
    #[inline]
    pub fn lookup(&self, rtable: u8, dst: IpAddr) -> Option<&Route> {
        self.get(rtable)?.lookup(dst)
    }

    /// Whether it matters anywhere which links are there; see [`RouteTable::has_choices`].
    pub fn has_choices(&self) -> bool {
        self.tables.iter().any(|(_, table)| table.has_choices())
    }

    /// All tables where only the links of these interfaces are there; see [`RouteTable::with_links`].
    pub fn with_links(&self, is_there: impl Fn(InterfaceId) -> bool) -> RouteTables {
        let tables = self.tables.iter();
        RouteTables {
            tables: tables
                .map(|(domain, table)| (*domain, table.with_links(&is_there)))
                .collect(),
            places: self.places,
            labels: self.labels.clone(),
        }
    }

    /// Whether packets go the same ways by both.
    pub fn leads_as(&self, other: &RouteTables) -> bool {
        let used = |tables: &RouteTables| -> Vec<Route> {
            let all = tables.tables.iter().flat_map(|(_, table)| table.iter());
            all.filter(|r| r.active)
                .map(|r| Route { link: true, ..*r })
                .collect()
        };
        used(self) == used(other)
    }

    /// All tables by number.
    pub fn iter(&self) -> impl Iterator<Item = (Domain, &RouteTable)> {
        self.tables.iter().map(|(domain, table)| (*domain, table))
    }

    /// The label with the number that a route has.
    pub fn label(&self, number: u16) -> Option<&str> {
        let place = usize::from(number).checked_sub(1)?;
        self.labels.get(place).map(String::as_str)
    }

    /// The number of a label, if a route has it.
    pub fn label_number(&self, label: &str) -> Option<u16> {
        let place = self.labels.iter().position(|known| known == label)?;
        u16::try_from(place + 1).ok()
    }
}

impl Default for RouteTables {
    fn default() -> Self {
        RouteTable::default().into()
    }
}

/// A box with one table.
impl From<RouteTable> for RouteTables {
    fn from(table: RouteTable) -> Self {
        RouteTables::new(alloc::vec![(Domain::MAIN, table)], Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::InterfaceTable;
    use crate::interface::tests::interface;
    use crate::route::{StaticRoute, Target};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn via(prefix: &str, gateway: &str, label: u16) -> StaticRoute {
        StaticRoute {
            label,
            ..StaticRoute::new(prefix.parse().unwrap(), Target::Gateway(ip(gateway), None))
        }
    }

    /// Domains 0 and 4 with the same addresses, and table 1 of domain 0.
    fn tables() -> RouteTables {
        let addrs = &["192.0.2.1/24"];
        let mut em1 = interface(1, "em1", addrs);
        em1.rdomain = 4;
        let interfaces = InterfaceTable::build(vec![interface(0, "em0", addrs), em1]).unwrap();
        let table = |rtable, rdomain, gateway, label| {
            let domain = Domain { rtable, rdomain };
            let statics = [via("0.0.0.0/0", gateway, label)];
            let table = RouteTable::build_of(&interfaces, domain, &statics).unwrap();
            (domain, table)
        };
        let all = vec![
            table(4, 4, "192.0.2.4", 1),
            table(1, 0, "192.0.2.9", 0),
            table(0, 0, "192.0.2.2", 0),
        ];
        RouteTables::new(all, vec!["lab".into()])
    }

    #[test]
    fn each_table_has_its_routes_and_only_that_of_a_domain_has_its_networks() {
        let tables = tables();
        for (rtable, dst, interface, gateway) in [
            (0, "10.0.0.1", 0, Some("192.0.2.2")),
            (1, "10.0.0.1", 0, Some("192.0.2.9")),
            (4, "10.0.0.1", 1, Some("192.0.2.4")),
            (0, "192.0.2.7", 0, None),
            (1, "192.0.2.7", 0, Some("192.0.2.9")),
            (4, "192.0.2.7", 1, None),
        ] {
            let route = tables.lookup(rtable, ip(dst)).unwrap();
            let expected = (interface, gateway.map(ip));
            assert_eq!(
                (route.interface.0, route.gateway),
                expected,
                "{dst} in {rtable}"
            );
        }
        assert_eq!(tables.lookup(2, ip("192.0.2.7")), None);
        let domains: Vec<u8> = [0, 1, 2, 4].map(|n| tables.rdomain_of(n)).into();
        assert_eq!(domains, [0, 0, 0, 4]);
    }

    #[test]
    fn a_gateway_is_looked_for_in_the_domain_of_the_table() {
        let mut em1 = interface(1, "em1", &["10.0.0.1/24"]);
        em1.rdomain = 4;
        let em0 = interface(0, "em0", &["192.0.2.1/24"]);
        let interfaces = InterfaceTable::build(vec![em0, em1]).unwrap();
        for (rdomain, gateway, good) in [
            (0, "192.0.2.9", true),
            (0, "10.0.0.9", false),
            (4, "192.0.2.9", false),
            (4, "10.0.0.9", true),
            // Our own.
            (0, "192.0.2.1", false),
        ] {
            let domain = Domain { rtable: 9, rdomain };
            let built = RouteTable::build_of(&interfaces, domain, &[via("0.0.0.0/0", gateway, 0)]);
            assert_eq!(built.is_ok(), good, "{gateway} in {rdomain}");
        }
    }

    #[test]
    fn labels_are_found_by_number_and_by_name() {
        let tables = tables();
        let route = tables.lookup(4, ip("10.0.0.1")).unwrap();
        assert_eq!(tables.label(route.label), Some("lab"));
        assert_eq!(tables.label_number("lab"), Some(1));
        assert_eq!((tables.label(0), tables.label(2)), (None, None));
        assert_eq!(tables.label_number("other"), None);
    }
}
