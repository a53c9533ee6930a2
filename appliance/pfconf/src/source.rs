//! Source texts and places in them. Everything that is said about a configuration carries a [`Span`]; this file
//! turns spans back into file, line and column. It knows nothing of the language.

use std::rc::Rc;

/// Number of a source text, in the order of opening: 0 is the main file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct FileId(pub(crate) u32);

/// A piece of a source text: bytes `start..end`. Text that came out of a macro has the span of the macro's use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Span {
    pub(crate) file: FileId,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// From the beginning of `self` to the end of `last`; `self` alone if they are in different files.
    pub(crate) fn to(self, last: Span) -> Span {
        if self.file != last.file || last.end < self.start {
            return self;
        }
        Span {
            end: last.end,
            ..self
        }
    }
}

/// One opened source text.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// As messages name it.
    pub(crate) name: String,
    text: Rc<[u8]>,
    line_starts: Vec<u32>,
}

impl SourceFile {
    fn new(name: &str, text: Vec<u8>) -> Self {
        let mut line_starts = vec![0];
        line_starts.extend(
            text.iter()
                .enumerate()
                .filter(|(_, b)| **b == b'\n')
                .map(|(n, _)| n as u32 + 1),
        );
        SourceFile {
            name: name.into(),
            text: text.into(),
            line_starts,
        }
    }

    fn line_index(&self, at: u32) -> usize {
        self.line_starts.partition_point(|start| *start <= at) - 1
    }

    fn line_bytes(&self, index: usize) -> &[u8] {
        let start = self.line_starts[index] as usize;
        let end = self
            .line_starts
            .get(index + 1)
            .map_or(self.text.len(), |next| *next as usize - 1);
        &self.text[start..end]
    }
}

/// Where a span begins, in a person's terms.
#[derive(Debug)]
pub(crate) struct Position {
    /// From 1.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// In characters, at least 1, not beyond the end of the line.
    pub(crate) length: u32,
}

/// All texts of one compilation.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// Most texts: files that include each other twice double with every level.
    const FILES_MAX: usize = 4096;

    /// True if one more text of this length may be opened, as far as the whole compilation is concerned.
    pub(crate) fn have_room_for(&self, len: usize) -> bool {
        let all: usize = self.files.iter().map(|file| file.text.len()).sum();
        self.files.len() < Self::FILES_MAX && all + len <= crate::SOURCE_BYTES_MAX
    }

    pub(crate) fn open(&mut self, name: &str, text: Vec<u8>) -> FileId {
        self.files.push(SourceFile::new(name, text));
        FileId(self.files.len() as u32 - 1)
    }

    pub(crate) fn name(&self, file: FileId) -> &str {
        &self.files[file.0 as usize].name
    }

    pub(crate) fn text(&self, file: FileId) -> Rc<[u8]> {
        self.files[file.0 as usize].text.clone()
    }

    /// Line of the first byte of `span`, from 1.
    pub(crate) fn line(&self, span: Span) -> u32 {
        self.files[span.file.0 as usize].line_index(span.start) as u32 + 1
    }

    pub(crate) fn position(&self, span: Span) -> Position {
        let file = &self.files[span.file.0 as usize];
        let index = file.line_index(span.start);
        let line = file.line_bytes(index);
        let from = (span.start - file.line_starts[index]) as usize;
        let to = from + span.end.saturating_sub(span.start) as usize;
        let chars = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().count() as u32;
        Position {
            line: index as u32 + 1,
            column: chars(&line[..from.min(line.len())]) + 1,
            length: chars(&line[from.min(line.len())..to.min(line.len())]).max(1),
        }
    }

    /// The line that `span` begins in, without its line feed.
    pub(crate) fn line_text(&self, span: Span) -> String {
        let file = &self.files[span.file.0 as usize];
        let line = file.line_bytes(file.line_index(span.start));
        String::from_utf8_lossy(line).trim_end().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_found_in_its_line_counting_characters() {
        let mut sources = Sources::default();
        let file = sources.open("f", "ab\n\u{e9}\u{e9} cd\n".as_bytes().to_vec());
        let span = Span {
            file,
            start: 8,
            end: 10,
        };
        let p = sources.position(span);
        assert_eq!((p.line, p.column, p.length), (2, 4, 2));
        assert_eq!(sources.line_text(span), "\u{e9}\u{e9} cd");
    }

    #[test]
    fn the_end_of_the_file_has_a_position() {
        let mut sources = Sources::default();
        let file = sources.open("f", b"ab\n".to_vec());
        let p = sources.position(Span {
            file,
            start: 3,
            end: 3,
        });
        assert_eq!((p.line, p.column, p.length), (2, 1, 1));
    }
}
