//! `scrub (reassemble tcp)`: timestamps are checked and shifted, and no end lowers the time to live of its packets.
//!
//! Read first: pf.conf(5), `reassemble tcp`; RFC 7323 3 and 5.

use ruleset::{ActionFlags, Af};
use state::track::stamps::{self, Around, StampFlags, Stamped, Stamps};
use state::track::tcp::{RST, SYN};

use crate::Secrets;
use crate::describe::PacketDesc;
use crate::reason::Reason;
use crate::seq::Summed;

/// Kind and length of the timestamps option (RFC 7323 3.2).
const OPTION: [u8; 2] = [8, 10];

/// True if a state made with these actions follows timestamps.
pub(crate) fn is_asked(flags: ActionFlags) -> bool {
    flags.contains(ActionFlags::REASSEMBLE_TCP)
}

/// Judges a segment that fits its state's windows, and rewrites it. The pair is the sender's side, then the other.
pub(crate) fn test(
    (src, dst): (&mut Stamps, &mut Stamps),
    frame: &mut [u8],
    pd: &mut PacketDesc,
    around: &Around,
    secrets: &mut Secrets,
) -> Result<(), Reason> {
    let place = find(pd.l4(frame))?;
    let mut segment = Stamped {
        stamp: None,
        has_data: pd.segment.payload > 0,
        is_syn: pd.segment.flags & SYN != 0,
        is_reset: pd.segment.flags & RST != 0,
    };
    let read = place.and_then(|at| read(pd.l4(frame), at));
    if let Some((stamp, echo)) = read {
        // The other side's stamps came here shifted; its own numbers are what it sent.
        let shifted = echo != 0 && dst.flags.contains(StampFlags::STAMPS);
        let back = if shifted { dst.shift } else { 0 };
        segment.stamp = Some((stamp, echo.wrapping_sub(back)));
    }
    if !src.flags.contains(StampFlags::HEARD) {
        src.begin(&segment, pd.ttl, around.now, secrets.nonzero());
    }
    stamps::track(src, dst, &segment, around).map_err(|_| Reason::BadTimestamp)?;
    if let (Some(at), Some((stamp, echo))) = (place, segment.stamp) {
        let forth = stamp != 0 && src.flags.contains(StampFlags::STAMPS);
        let stamp = stamp.wrapping_add(if forth { src.shift } else { 0 });
        let mut l4 = Summed::tcp(pd.l4(frame));
        l4.replace(at + 2, stamp);
        l4.replace(at + 6, echo);
    }
    src.ttl = src.ttl.max(pd.ttl);
    raise_ttl(frame, pd, src.ttl);
    Ok(())
}

/// Where the timestamps option is; two of them are one too many.
fn find(l4: &[u8]) -> Result<Option<usize>, Reason> {
    const HEADER: usize = 20;
    let Ok(segment) = wire::tcp::Packet::new_checked(l4) else {
        return Ok(None);
    };
    let options = segment.option_bytes();
    let (mut at, mut found) = (0, None);
    while at < options.len() {
        let len = match options[at..] {
            [0, ..] => break,
            [1, ..] => 1,
            [_, len, ..] if len >= 2 && at + usize::from(len) <= options.len() => usize::from(len),
            _ => break,
        };
        if options[at..].starts_with(&OPTION) {
            if found.is_some() {
                return Err(Reason::BadTimestamp);
            }
            found = Some(HEADER + at);
        }
        at += len;
    }
    Ok(found)
}

fn read(l4: &[u8], at: usize) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from_be_bytes(*l4.get(at..)?.first_chunk()?));
    Some((word(at + 2)?, word(at + 6)?))
}

/// A packet goes on with the highest time to live that its sender has shown: with a lower one it might reach the
/// firewall and not the other side.
fn raise_ttl(frame: &mut [u8], pd: &mut PacketDesc, ttl: u8) {
    if pd.ttl >= ttl {
        return;
    }
    let Some(ip) = frame.get_mut(usize::from(pd.ip_at)..) else {
        return;
    };
    match pd.af {
        Af::Inet => {
            if let Ok(mut packet) = wire::ipv4::Packet::new_checked(ip) {
                packet.set_ttl(ttl);
                packet.fill_checksum();
            }
        }
        Af::Inet6 => {
            if let Ok(mut packet) = wire::ipv6::Packet::new_checked(ip) {
                packet.set_hop_limit(ttl);
            }
        }
    }
    pd.ttl = ttl;
}
