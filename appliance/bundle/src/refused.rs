//! Why a bundle is refused, in words for people and for machines. Knows no format.

use std::fmt;

use crate::Limits;
use crate::gzip::Fault;

/// Why a bundle was not accepted, and at which entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The entry's name as the archive has it (made printable), or `None` where the archive as a whole is meant.
    pub entry: Option<String>,
    /// What is wrong with it.
    pub why: Why,
}

impl Refused {
    pub(crate) fn whole(why: Why) -> Self {
        Refused { entry: None, why }
    }

    pub(crate) fn entry(raw: &[u8], why: Why) -> Self {
        const SHOWN: usize = 200;
        let shown = &raw[..raw.len().min(SHOWN)];
        Refused {
            entry: Some(String::from_utf8_lossy(shown).escape_debug().to_string()),
            why,
        }
    }
}

/// Reasons to refuse a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// The upload is larger than `limit` bytes.
    UploadTooLarge {
        /// [`Limits::compressed`].
        limit: usize,
    },
    /// Unpacked it is larger than `limit` bytes.
    UnpackedTooLarge {
        /// [`Limits::unpacked`].
        limit: u64,
    },
    /// More than `limit` files and directories.
    TooManyEntries {
        /// [`Limits::entries`].
        limit: usize,
    },
    /// A file is larger than `limit` bytes.
    FileTooLarge {
        /// Bytes the header announces.
        size: u64,
        /// [`Limits::file`].
        limit: u64,
    },
    /// A path is longer than `limit` bytes.
    NameTooLong {
        /// [`Limits::path`].
        limit: usize,
    },
    /// A path has more than `limit` components.
    TooDeep {
        /// [`Limits::depth`].
        limit: usize,
    },
    /// A path begins with `/`.
    AbsoluteName,
    /// A path contains `..`.
    ClimbingName,
    /// A path contains `.` or nothing between two slashes, or a file's name ends in a slash.
    OddName,
    /// A path contains a control character.
    ControlInName,
    /// A path is not UTF-8.
    NameNotUtf8,
    /// The path was there before, as a file, or is a directory as well.
    Duplicate,
    /// Neither a file nor a directory; the text says what.
    Kind(&'static str),
    /// The archive ends within this file.
    CutShort,
    /// A tar or pax header that Fugu does not accept.
    OddHeader,
    /// The compressed data or the archive cannot be read; the text says where it fails.
    Damaged(&'static str),
    /// No file in it.
    Empty,
}

impl Why {
    pub(crate) fn of(fault: Fault, limits: &Limits) -> Why {
        match fault {
            Fault::TooLong => Why::UnpackedTooLarge {
                limit: limits.unpacked,
            },
            Fault::Damaged(text) => Why::Damaged(text),
        }
    }

    /// Stable short name for machines, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Why::UploadTooLarge { .. } | Why::UnpackedTooLarge { .. } => "bundle-too-large",
            Why::TooManyEntries { .. } => "bundle-too-many-entries",
            Why::FileTooLarge { .. } => "bundle-file-too-large",
            Why::NameTooLong { .. }
            | Why::TooDeep { .. }
            | Why::AbsoluteName
            | Why::ClimbingName
            | Why::OddName
            | Why::ControlInName
            | Why::NameNotUtf8 => "bundle-bad-name",
            Why::Duplicate => "bundle-duplicate",
            Why::Kind(_) => "bundle-not-a-file",
            Why::CutShort | Why::OddHeader | Why::Damaged(_) => "bundle-damaged",
            Why::Empty => "bundle-empty",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::UploadTooLarge { limit } => write!(f, "larger than {limit} bytes"),
            Why::UnpackedTooLarge { limit } => {
                write!(f, "larger than {limit} bytes when unpacked")
            }
            Why::TooManyEntries { limit } => write!(f, "more than {limit} files and directories"),
            Why::FileTooLarge { size, limit } => {
                write!(f, "{size} bytes, but a file may have at most {limit}")
            }
            Why::NameTooLong { limit } => write!(f, "the name is longer than {limit} bytes"),
            Why::TooDeep { limit } => write!(f, "more than {limit} directories deep"),
            Why::AbsoluteName => f.write_str("the name is absolute, not relative to the etc tree"),
            Why::ClimbingName => f.write_str("the name climbs out of the etc tree with '..'"),
            Why::OddName => f.write_str("the name has an empty or '.' part"),
            Why::ControlInName => f.write_str("the name has a control character in it"),
            Why::NameNotUtf8 => f.write_str("the name is not UTF-8"),
            Why::Duplicate => f.write_str("the name is in the archive twice"),
            Why::Kind(kind) => write!(f, "is {kind}; only files and directories are accepted"),
            Why::CutShort => f.write_str("the archive ends within this file"),
            Why::OddHeader => f.write_str("the archive has a header that is not accepted"),
            Why::Damaged(text) => f.write_str(text),
            Why::Empty => f.write_str("no file in it"),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "bundle: {entry}: {}", self.why),
            None => write!(f, "bundle: {}", self.why),
        }
    }
}

impl std::error::Error for Refused {}
