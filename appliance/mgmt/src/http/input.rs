//! Bytes of a connection on their way to being understood: what came and was not taken yet, lines, lengths of chunks. Read first:
//! RFC 9112 section 7.1 (chunks).

/// Bytes in order of arrival; taking some from the front costs nothing until the next bytes come, so a body of many
/// tiny chunks is read in linear time.
#[derive(Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    start: usize,
}

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.buffer.len() {
            *self = Input::default();
        }
    }

    /// Moves up to `max` bytes to `to`.
    pub(super) fn move_to(&mut self, to: &mut Vec<u8>, max: usize) -> usize {
        let n = self.bytes().len().min(max);
        to.extend_from_slice(&self.bytes()[..n]);
        self.consume(n);
        n
    }

    /// Takes a line without its end; `None` until it is complete.
    pub(super) fn take_line(&mut self, max: usize) -> Result<Option<Vec<u8>>, (u16, &'static str)> {
        let bytes = self.bytes();
        let Some(end) = bytes.iter().take(max + 2).position(|b| *b == b'\n') else {
            let too_long = bytes.len() >= max + 2;
            return if too_long {
                Err((400, "a line of the body is too long"))
            } else {
                Ok(None)
            };
        };
        let line = &bytes[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.consume(end + 1);
        Ok(Some(line))
    }
}

/// The length in hexadecimal, before any extension. At most 8 digits: more is beyond every limit.
pub(super) fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|b| *b == b';').next()?.trim_ascii_end();
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
