//! One gzip member (RFC 1952): where the header ends, the comment in it, and a reader of the deflated body that stops at
//! a limit. Nothing of the header but the comment is used; the signature does not cover the rest of it.

use std::io::{self, Read};

use flate2::bufread::DeflateDecoder;

const HEADER: usize = 10;
const TRAILER: usize = 8;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// A member cut in its parts, nothing decompressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Member<'a> {
    /// Extra flags of the header, which signing keeps.
    pub(crate) xfl: u8,
    /// The comment without its zero byte.
    pub(crate) comment: Option<&'a [u8]>,
    /// Deflated data and trailer, to the end of the input.
    pub(crate) body: &'a [u8],
}

/// Cuts the header off; the error says what is wrong with it.
pub(crate) fn split(bytes: &[u8]) -> Result<Member<'_>, &'static str> {
    let truncated = "the gzip header is cut short";
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err("not a gzip file");
    }
    let (fixed, mut rest) = bytes.split_at_checked(HEADER).ok_or(truncated)?;
    let flags = fixed[3];
    if fixed[2] != 8 || flags & RESERVED != 0 {
        return Err("a gzip file of an unknown kind");
    }
    if flags & FEXTRA != 0 {
        let (length, after) = rest.split_at_checked(2).ok_or(truncated)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        rest = after.get(length..).ok_or(truncated)?;
    }
    if flags & FNAME != 0 {
        (_, rest) = zero_ended(rest).ok_or(truncated)?;
    }
    let mut comment = None;
    if flags & FCOMMENT != 0 {
        let (text, after) = zero_ended(rest).ok_or(truncated)?;
        (comment, rest) = (Some(text), after);
    }
    if flags & FHCRC != 0 {
        let (want, after) = rest.split_at_checked(2).ok_or(truncated)?;
        let header = &bytes[..bytes.len() - rest.len()];
        if crc32fast::hash(header) as u16 != u16::from_le_bytes([want[0], want[1]]) {
            return Err("the checksum of the gzip header is wrong");
        }
        rest = after;
    }
    Ok(Member {
        xfl: fixed[8],
        comment,
        body: rest,
    })
}

fn zero_ended(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Why the body could not be read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It grew past the limit.
    TooLong,
    /// The deflated data or the checksum is wrong, or the file is cut short.
    Damaged(&'static str),
}

/// Reads the unpacked body, up to a limit. A read error means: ask `fault`.
pub(crate) struct Inflate<'a> {
    decoder: DeflateDecoder<&'a [u8]>,
    crc: crc32fast::Hasher,
    room: u64,
    length: u32,
    ended: bool,
    fault: Option<Fault>,
}

impl<'a> Inflate<'a> {
    /// `body` is deflated data and trailer; at most `limit` bytes will come out.
    pub(crate) fn new(body: &'a [u8], limit: u64) -> Self {
        Inflate {
            decoder: DeflateDecoder::new(body),
            crc: crc32fast::Hasher::new(),
            room: limit,
            length: 0,
            ended: false,
            fault: None,
        }
    }

    /// What stopped the reading, if it was not the end.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// True once a read has met the end of the data.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// After the end: compares length and CRC-32 with the trailer, and nothing may follow it.
    pub(crate) fn check_trailer(self) -> Result<(), Fault> {
        let rest = self.decoder.into_inner();
        let Some((trailer, after)) = rest.split_at_checked(TRAILER) else {
            return Err(Fault::Damaged("the file is cut short"));
        };
        let word = |at: usize| {
            u32::from_le_bytes([
                trailer[at],
                trailer[at + 1],
                trailer[at + 2],
                trailer[at + 3],
            ])
        };
        if word(0) != self.crc.finalize() || word(4) != self.length {
            return Err(Fault::Damaged("the gzip checksum is wrong"));
        }
        if !after.is_empty() {
            return Err(Fault::Damaged("more data follows the gzip data"));
        }
        Ok(())
    }

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        io::Error::other("stopped")
    }
}

impl Read for Inflate<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more than there is room for tells "exactly full" from "too long".
        let most = usize::try_from(self.room.saturating_add(1)).unwrap_or(usize::MAX);
        let end = buffer.len().min(most);
        let buffer = &mut buffer[..end];
        let Ok(n) = self.decoder.read(buffer) else {
            return Err(self.fail(Fault::Damaged("the compressed data is damaged")));
        };
        if n as u64 > self.room {
            return Err(self.fail(Fault::TooLong));
        }
        self.ended |= n == 0 && !buffer.is_empty();
        self.crc.update(&buffer[..n]);
        self.room -= n as u64;
        self.length = self.length.wrapping_add(n as u32);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 2, 3];
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn every_header_field_is_stepped_over_and_the_comment_found() {
        let bytes = header(FEXTRA | FNAME | FCOMMENT, b"\x03\x00abcname\0signed\0body");
        let member = split(&bytes).unwrap();
        assert_eq!(member.comment, Some(&b"signed"[..]));
        assert_eq!(member.body, b"body");
        assert_eq!(member.xfl, 2);
    }

    #[test]
    fn a_header_checksum_is_checked() {
        let mut bytes = header(FHCRC, b"");
        let crc = (crc32fast::hash(&bytes) as u16).to_le_bytes();
        bytes.extend_from_slice(&crc);
        bytes.extend_from_slice(b"body");
        assert_eq!(split(&bytes).unwrap().body, b"body");
        bytes[4] ^= 1;
        assert_eq!(
            split(&bytes),
            Err("the checksum of the gzip header is wrong")
        );
    }

    #[test]
    fn a_header_cut_anywhere_is_refused() {
        let bytes = header(FEXTRA | FNAME | FCOMMENT, b"\x03\x00abcname\0signed\0");
        for end in 0..bytes.len() {
            assert!(split(&bytes[..end]).is_err(), "{end}");
        }
        assert!(split(&bytes).is_ok());
    }

    #[test]
    fn unknown_methods_and_flags_are_refused() {
        assert!(split(&header(0x20, b"x")).is_err());
        let mut other = header(0, b"x");
        other[2] = 7;
        assert!(split(&other).is_err());
    }
}
