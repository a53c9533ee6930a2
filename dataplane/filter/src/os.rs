//! What a SYN segment tells of the system that sent it, as far as signatures look at it.
//!
//! Read first: pf.os(5); RFC 9293 3.1.

use ruleset::Fingerprints;
use ruleset::os::{OptionList, SignatureNr, Syn, SynOption};
use state::track::tcp::{ACK, SYN};
use wire::tcp::TcpOption;

use crate::describe::{Kind, PacketDesc};

/// The signature of a packet; none for anything but a SYN, for an option that no signature knows, and for a SYN that
/// no signature fits.
#[inline]
pub(crate) fn signature(
    list: &Fingerprints,
    frame: &mut [u8],
    pd: &PacketDesc,
) -> Option<SignatureNr> {
    let is_syn = pd.kind == Kind::Tcp && pd.segment.flags & (SYN | ACK) == SYN;
    if list.is_empty() || !is_syn {
        return None;
    }
    list.find(&syn(frame, pd)?)
}

fn syn(frame: &mut [u8], pd: &PacketDesc) -> Option<Syn> {
    let segment = wire::tcp::Packet::new_checked(&*pd.l4(frame)).ok()?;
    let mut syn = Syn {
        window: pd.segment.window,
        ttl: pd.ttl,
        dont_fragment: pd.dont_fragment,
        size: pd.ip_len,
        options: OptionList::default(),
        mss: 0,
        wscale: 0,
        zero_timestamp: false,
    };
    for option in segment.options() {
        let known = match option.ok()? {
            TcpOption::Nop => SynOption::Nop,
            TcpOption::Mss(mss) => {
                syn.mss = mss;
                SynOption::Mss
            }
            TcpOption::WindowScale(shift) => {
                syn.wscale = u16::from(shift);
                SynOption::WindowScale
            }
            TcpOption::SackPermitted => SynOption::Sack,
            TcpOption::Timestamps { value, .. } => {
                syn.zero_timestamp |= value == 0;
                SynOption::Timestamps
            }
            TcpOption::Sack(_) | TcpOption::Other { .. } => return None,
        };
        if !syn.options.push(known) {
            return None;
        }
    }
    Some(syn)
}
