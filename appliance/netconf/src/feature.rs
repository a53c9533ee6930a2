//! What the files can say and Fugu cannot do yet. The parsers read all of it; a word that stands for something in [`LACKING`] is
//! refused in one way. Whoever makes a feature work takes its line out of the table, and nothing else changes here.

/// Something a file can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Feature {
    /// 802.1Q.
    Vlan,
    /// 802.1ad, and a VLAN on a VLAN.
    QinQ,
    /// `txprio` of a VLAN.
    VlanPrio,
    /// `failover`.
    LaggFailover,
    /// `loadbalance`, `roundrobin`, `broadcast`, `none`.
    LaggBalance,
    /// `lacp`.
    Lacp,
    /// `probe` in fugu.conf.
    LaggProbe,
    /// `failback`, `hold-time`, `min-links`, `receive` in fugu.conf.
    LaggPolicy,
    /// A bridge with members that learn.
    Bridge,
    /// `stp`.
    BridgeStp,
    /// `addspan`.
    BridgeSpan,
    /// `rule`.
    BridgeRule,
    /// `static`.
    BridgeStatic,
    /// `protected`, `private`.
    BridgeProtected,
    /// `sticky`, `ifmaxaddr`.
    BridgeSticky,
    /// IP in IP.
    Gif,
    /// Addresses on `lo0` or a second loopback interface.
    Loopback,
    /// `inet autoconf`, `dhcp`.
    Dhcp,
    /// `inet6 autoconf`.
    Slaac,
    /// `temporary`: addresses for privacy.
    SlaacTemporary,
    /// `lladdr`.
    StationAddress,
    /// `dest`: the other end of a point-to-point link.
    PointToPoint,
    /// `rdomain`.
    Rdomain,
    /// `route -T`.
    RouteTable,
    /// `route -iface`.
    RouteInterface,
    /// `route -blackhole`, `-reject`.
    RouteBlackhole,
    /// `route -mpath`.
    RouteMultipath,
    /// `priority` of an interface.
    InterfacePriority,
    /// `route -label`, `rtlabel`.
    RouteLabel,
    /// `route -mtu`.
    RouteMtu,
    /// `rad.conf`.
    RouterAdvertisements,
    /// `name`, `ifconfig_IF_name`.
    Rename,
}

/// What is refused, with the words for it.
const LACKING: &[(Feature, &str)] = &[
    (Feature::BridgeSticky, "sticky or limited ports of a bridge"),
    (
        Feature::SlaacTemporary,
        "temporary addresses: that of a firewall is to stay what its rules and peers know",
    ),
    (Feature::RouteMtu, "an MTU of a route"),
];

/// The words for a feature if it is refused.
pub fn lacking(feature: Feature) -> Option<&'static str> {
    let found = LACKING.iter().find(|(lacks, _)| *lacks == feature);
    found.map(|(_, words)| *words)
}
