//! The fixed names of the language: ICMP types and codes, DSCP values, TCP flags. Read first: pf.conf(5),
//! icmp(4), icmp6(4), RFC 2474 (DSCP). Names of services, protocols and hosts come with the environment.

use ruleset::Af;

use crate::near::nearest;

const ICMP_TYPES: &[(&str, u8)] = &[
    ("echoreq", 8),
    ("echorep", 0),
    ("unreach", 3),
    ("squench", 4),
    ("redir", 5),
    ("althost", 6),
    ("routeradv", 9),
    ("routersol", 10),
    ("timex", 11),
    ("paramprob", 12),
    ("timereq", 13),
    ("timerep", 14),
    ("inforeq", 15),
    ("inforep", 16),
    ("maskreq", 17),
    ("maskrep", 18),
    ("trace", 30),
    ("dataconv", 31),
    ("mobredir", 32),
    ("ipv6-where", 33),
    ("ipv6-here", 34),
    ("mobregreq", 35),
    ("mobregrep", 36),
    ("skip", 39),
    ("photuris", 40),
];

const ICMP6_TYPES: &[(&str, u8)] = &[
    ("unreach", 1),
    ("toobig", 2),
    ("timex", 3),
    ("paramprob", 4),
    ("echoreq", 128),
    ("echorep", 129),
    ("groupqry", 130),
    ("listqry", 130),
    ("grouprep", 131),
    ("listenrep", 131),
    ("groupterm", 132),
    ("listendone", 132),
    ("routersol", 133),
    ("routeradv", 134),
    ("neighbrsol", 135),
    ("neighbradv", 136),
    ("redir", 137),
    ("routrrenum", 138),
    ("wrureq", 139),
    ("wrurep", 140),
    ("fqdnreq", 139),
    ("fqdnrep", 140),
    ("niqry", 139),
    ("nirep", 140),
    ("mtraceresp", 200),
    ("mtrace", 201),
    ("listenrepv2", 143),
];

/// Name, type, code.
const ICMP_CODES: &[(&str, u8, u8)] = &[
    ("net-unr", 3, 0),
    ("host-unr", 3, 1),
    ("proto-unr", 3, 2),
    ("port-unr", 3, 3),
    ("needfrag", 3, 4),
    ("srcfail", 3, 5),
    ("net-unk", 3, 6),
    ("host-unk", 3, 7),
    ("isolate", 3, 8),
    ("net-prohib", 3, 9),
    ("host-prohib", 3, 10),
    ("net-tos", 3, 11),
    ("host-tos", 3, 12),
    ("filter-prohib", 3, 13),
    ("host-preced", 3, 14),
    ("cutoff-preced", 3, 15),
    ("redir-net", 5, 0),
    ("redir-host", 5, 1),
    ("redir-tos-net", 5, 2),
    ("redir-tos-host", 5, 3),
    ("normal-adv", 9, 0),
    ("common-adv", 9, 16),
    ("transit", 11, 0),
    ("reassemb", 11, 1),
    ("badhead", 12, 0),
    ("optmiss", 12, 1),
    ("badlen", 12, 2),
    ("unknown-ind", 40, 0),
    ("auth-fail", 40, 1),
    ("decrypt-fail", 40, 2),
];

const ICMP6_CODES: &[(&str, u8, u8)] = &[
    ("admin-unr", 1, 1),
    ("noroute-unr", 1, 0),
    ("beyond-unr", 1, 2),
    ("addr-unr", 1, 3),
    ("port-unr", 1, 4),
    ("transit", 3, 0),
    ("reassemb", 3, 1),
    ("badhead", 4, 0),
    ("nxthdr", 4, 1),
    ("redironlink", 137, 0),
    ("redirrouter", 137, 1),
];

/// Names of `tos`; DSCP values stand in the upper six bits.
const TOS: &[(&str, u8)] = &[
    ("lowdelay", 0x10),
    ("throughput", 0x08),
    ("reliability", 0x04),
    ("critical", 0xa0),
    ("inetcontrol", 0xc0),
    ("netcontrol", 0xe0),
    ("ef", 0xb8),
    ("cs0", 0),
    ("cs1", 0x20),
    ("cs2", 0x40),
    ("cs3", 0x60),
    ("cs4", 0x80),
    ("cs5", 0xa0),
    ("cs6", 0xc0),
    ("cs7", 0xe0),
    ("af11", 0x28),
    ("af12", 0x30),
    ("af13", 0x38),
    ("af21", 0x48),
    ("af22", 0x50),
    ("af23", 0x58),
    ("af31", 0x68),
    ("af32", 0x70),
    ("af33", 0x78),
    ("af41", 0x88),
    ("af42", 0x90),
    ("af43", 0x98),
];

/// Letters of TCP flags, lowest bit first.
const TCP_FLAGS: &str = "FSRPAUEW";

fn types(af: Af) -> &'static [(&'static str, u8)] {
    match af {
        Af::Inet => ICMP_TYPES,
        Af::Inet6 => ICMP6_TYPES,
    }
}

fn codes(af: Af) -> &'static [(&'static str, u8, u8)] {
    match af {
        Af::Inet => ICMP_CODES,
        Af::Inet6 => ICMP6_CODES,
    }
}

pub(crate) fn icmp_type(af: Af, name: &str) -> Option<u8> {
    types(af).iter().find(|t| t.0 == name).map(|t| t.1)
}

/// The name that prints carry: the first in the table.
pub(crate) fn icmp_type_name(af: Af, number: u8) -> Option<&'static str> {
    types(af).iter().find(|t| t.1 == number).map(|t| t.0)
}

pub(crate) fn icmp_code(af: Af, icmp_type: u8, name: &str) -> Option<u8> {
    let mut all = codes(af).iter();
    all.find(|c| c.0 == name && c.1 == icmp_type).map(|c| c.2)
}

pub(crate) fn icmp_code_name(af: Af, icmp_type: u8, code: u8) -> Option<&'static str> {
    let mut all = codes(af).iter();
    all.find(|c| c.1 == icmp_type && c.2 == code).map(|c| c.0)
}

pub(crate) fn near_icmp_type(af: Af, name: &str) -> Option<String> {
    nearest(name, types(af).iter().map(|t| t.0)).map(|t| format!("did you mean '{t}'?"))
}

pub(crate) fn near_icmp_code(af: Af, name: &str) -> Option<String> {
    nearest(name, codes(af).iter().map(|t| t.0)).map(|t| format!("did you mean '{t}'?"))
}

/// Type of the message that `return-icmp` sends.
pub(crate) fn unreachable_type(af: Af) -> u8 {
    match af {
        Af::Inet => 3,
        Af::Inet6 => 1,
    }
}

/// Code that `return-icmp` sends unless told otherwise: port unreachable.
pub(crate) fn unreachable_default(af: Af) -> (u8, u8) {
    match af {
        Af::Inet => (3, 3),
        Af::Inet6 => (1, 4),
    }
}

pub(crate) fn tos(name: &str) -> Option<u8> {
    let mut all = TOS.iter();
    all.find(|t| t.0.eq_ignore_ascii_case(name)).map(|t| t.1)
}

pub(crate) fn near_tos(name: &str) -> Option<String> {
    nearest(name, TOS.iter().map(|t| t.0)).map(|t| format!("did you mean '{t}'?"))
}

/// `SA` to bits; none if a letter is no flag.
pub(crate) fn tcp_flags(letters: &str) -> Option<u8> {
    letters.chars().try_fold(0, |bits, letter| {
        TCP_FLAGS.find(letter).map(|bit| bits | 1u8 << bit)
    })
}

/// Bits to `SA`.
pub(crate) fn tcp_flags_text(bits: u8) -> String {
    let letters = TCP_FLAGS.chars().enumerate();
    letters
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, letter)| letter)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_translate_both_ways() {
        assert_eq!(icmp_type(Af::Inet, "echoreq"), Some(8));
        assert_eq!(icmp_type_name(Af::Inet6, 128), Some("echoreq"));
        assert_eq!(icmp_type_name(Af::Inet6, 130), Some("groupqry"));
        assert_eq!(icmp_code(Af::Inet, 3, "needfrag"), Some(4));
        assert_eq!(icmp_code(Af::Inet, 11, "needfrag"), None);
        assert_eq!(icmp_code_name(Af::Inet6, 3, 1), Some("reassemb"));
        assert_eq!(tcp_flags("SA"), Some(0x12));
        assert_eq!(tcp_flags("SX"), None);
        assert_eq!(tcp_flags_text(0x12), "SA");
        assert_eq!(tos("EF"), Some(0xb8));
    }
}
