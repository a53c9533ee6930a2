//! Names of ports that FreeBSD's services(5) has and OpenBSD's has not, or has otherwise. For trees of FreeBSD only: its
//! pfctl prints ports by name. The names are IANA's (RFC 6335) but for the few that the table marks.

/// Protocols that a name is for.
#[derive(Clone, Copy, PartialEq)]
enum For {
    Both,
    Tcp,
    Udp,
}

use For::{Both, Tcp, Udp};

const NAMES: &[(u16, &str, For)] = &[
    (2, "compressnet", Both),
    (3, "compressnet", Both),
    (5, "rje", Both),
    (27, "nsw-fe", Both),
    (29, "msg-icp", Both),
    (31, "msg-auth", Both),
    (33, "dsp", Both),
    (38, "rap", Both),
    (41, "graphics", Both),
    (43, "nicname", Both),
    (44, "mpm-flags", Both),
    (45, "mpm", Both),
    (46, "mpm-snd", Both),
    (47, "ni-ftp", Both),
    (48, "auditd", Both),
    (50, "re-mail-ck", Both),
    (51, "la-maint", Both),
    (52, "xns-time", Both),
    (54, "xns-ch", Both),
    (55, "isi-gl", Both),
    (56, "xns-auth", Both),
    (58, "xns-mail", Both),
    (62, "acas", Both),
    (63, "whoispp", Both),
    (64, "covia", Both),
    (65, "tacacs-ds", Both),
    (66, "sql-net", Both),
    (71, "netrjs-1", Both),
    (72, "netrjs-2", Both),
    (73, "netrjs-3", Both),
    (74, "netrjs-4", Both),
    (76, "deos", Both),
    (78, "vettcp", Both),
    (80, "http", Both),
    (82, "xfer", Both),
    (83, "mit-ml-dev", Both),
    (84, "ctf", Both),
    (85, "mit-ml-dev", Both),
    (86, "mfcobol", Both),
    (89, "su-mit-tg", Both),
    (90, "dnsix", Both),
    (91, "mit-dov", Both),
    (92, "npp", Both),
    (93, "dcp", Both),
    (94, "objcall", Both),
    (96, "dixie", Both),
    (97, "swift-rvf", Both),
    (98, "tacnews", Both),
    (99, "metagram", Both),
    // Not IANA's.
    (100, "newacct", Tcp),
    (103, "gppitnp", Both),
    (108, "snagas", Both),
    (112, "mcidas", Both),
    (116, "ansanotify", Both),
    (118, "sqlserv", Both),
    (120, "cfdptkt", Both),
    (121, "erpc", Both),
    (122, "smakynet", Both),
    (124, "ansatrader", Both),
    (125, "locus-map", Both),
    (126, "nxedit", Both),
    (127, "locus-con", Both),
    (128, "gss-xlicen", Both),
    (130, "cisco-fna", Both),
    (131, "cisco-tna", Both),
    (132, "cisco-sys", Both),
    (133, "statsrv", Both),
    (134, "ingres-net", Both),
    (136, "profile", Both),
    (140, "emfis-data", Both),
    (141, "emfis-cntl", Both),
    (142, "bl-idm", Both),
    (150, "sql-net", Both),
    (156, "sqlsrv", Both),
    (180, "ris", Both),
    (200, "src", Both),
    (1000, "cadlock2", Both),
    (1010, "surf", Both),
    (1021, "exp1", Both),
    (1022, "exp2", Both),
    (1025, "blackjack", Both),
    (1026, "cap", Both),
    (1058, "nim", Both),
    (1080, "socks", Both),
    (1099, "rmiregistry", Both),
    (1100, "mctp", Both),
    (1433, "ms-sql-s", Both),
    (1434, "ms-sql-m", Both),
    (1600, "issd", Both),
    (1999, "tcp-id-port", Both),
    (2003, "cfingerd", Tcp),
    (2004, "mailbox", Tcp),
    (2345, "dbm", Both),
    (3306, "mysql", Both),
    (3389, "ms-wbt-server", Both),
    (4321, "rwhois", Both),
    (4444, "krb524", Both),
    (5555, "personal-agent", Tcp),
    (5555, "rplay", Udp),
    (5900, "vnc-server", Both),
    (6000, "x11", Both),
    (6665, "ircu", Both),
    // IANA has another name; this one is in use.
    (6667, "ircd", Tcp),
    (7000, "afs3-fileserver", Both),
    (7001, "afs3-callback", Both),
    (8080, "http-alt", Both),
    (9876, "sd", Both),
];

/// True if the list speaks of the port, be it for the other protocol.
pub(crate) fn lists(port: u16) -> bool {
    NAMES.iter().any(|n| n.0 == port)
}

/// The name of a port for an IP protocol, 6 or 17.
pub(crate) fn name(port: u16, proto: u8) -> Option<&'static str> {
    let fits = |wanted: For| match wanted {
        Both => true,
        Tcp => proto == 6,
        Udp => proto == 17,
    };
    let mut all = NAMES.iter();
    all.find(|n| n.0 == port && fits(n.2)).map(|n| n.1)
}

/// The port of a name.
pub(crate) fn port(name: &str) -> Option<u16> {
    NAMES.iter().find(|n| n.1 == name).map(|n| n.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_the_protocol_where_they_differ() {
        assert_eq!(name(5555, 6), Some("personal-agent"));
        assert_eq!(name(5555, 17), Some("rplay"));
        assert_eq!(name(6667, 17), None);
        assert_eq!(port("msg-icp"), Some(29));
        assert!(NAMES.windows(2).all(|w| w[0].0 <= w[1].0));
    }
}
