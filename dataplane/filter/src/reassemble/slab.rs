//! Places for pieces, and lists of them. Knows neither rules for overlaps nor time.

use alloc::vec::Vec;

/// No place.
pub(super) const NIL: u16 = u16::MAX;

/// A piece of a datagram, in a buffer of its own.
#[derive(Debug)]
pub struct Piece<B> {
    /// The buffer.
    pub buf: B,
    /// Where its IP header begins in the buffer.
    pub ip_at: u16,
    /// Where its part of the datagram begins in the buffer.
    pub at: u16,
    /// Where that part belongs, in bytes from the end of the datagram's header.
    pub offset: u16,
    /// Its bytes.
    pub len: u16,
    /// Others follow.
    pub more: bool,
}

impl<B> Piece<B> {
    /// Where the next one begins.
    pub fn end(&self) -> u32 {
        u32::from(self.offset) + u32::from(self.len)
    }

    /// Takes `n` bytes, fewer than it has, off its front.
    pub fn cut_front(&mut self, n: u16) {
        self.at += n;
        self.offset += n;
        self.len -= n;
    }
}

/// A fixed number of places.
pub(super) struct Slab<B> {
    places: Vec<Place<B>>,
    free: u16,
    used: usize,
}

struct Place<B> {
    piece: Option<Piece<B>>,
    next: u16,
}

/// A list of places in the order of offsets, as long as whoever adds to it keeps to that.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) count: u16,
    /// Bytes of all pieces.
    pub(super) bytes: u32,
}

impl List {
    pub(super) const EMPTY: List = List {
        first: NIL,
        last: NIL,
        count: 0,
        bytes: 0,
    };
}

impl<B> Slab<B> {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, usize::from(NIL)) as u16;
        let place = |n: u16| Place {
            piece: None,
            next: if n + 1 < capacity { n + 1 } else { NIL },
        };
        Slab {
            places: (0..capacity).map(place).collect(),
            free: 0,
            used: 0,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.places.len()
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn is_full(&self) -> bool {
        self.free == NIL
    }

    fn place(&self, n: u16) -> Option<&Place<B>> {
        self.places.get(usize::from(n))
    }

    pub(super) fn get(&self, n: u16) -> Option<&Piece<B>> {
        self.place(n)?.piece.as_ref()
    }

    pub(super) fn get_mut(&mut self, n: u16) -> Option<&mut Piece<B>> {
        self.places.get_mut(usize::from(n))?.piece.as_mut()
    }

    /// The place after `n` in its list; the first of `list` for no place.
    pub(super) fn after(&self, list: &List, n: u16) -> u16 {
        if n == NIL {
            return list.first;
        }
        self.place(n).map_or(NIL, |place| place.next)
    }

    /// Puts a piece behind place `prev` of the list, at its front for no place. Gives it back if there is no room.
    pub(super) fn insert(
        &mut self,
        list: &mut List,
        prev: u16,
        piece: Piece<B>,
    ) -> Result<(), Piece<B>> {
        let n = self.free;
        let next = self.after(list, prev);
        let Some(place) = self.places.get_mut(usize::from(n)) else {
            return Err(piece);
        };
        self.free = place.next;
        self.used += 1;
        list.count += 1;
        list.bytes += u32::from(piece.len);
        *place = Place {
            piece: Some(piece),
            next,
        };
        match self.places.get_mut(usize::from(prev)) {
            Some(before) => before.next = n,
            None => list.first = n,
        }
        if next == NIL {
            list.last = n;
        }
        Ok(())
    }

    /// Takes the piece behind place `prev` out of the list, the first for no place.
    pub(super) fn remove(&mut self, list: &mut List, prev: u16) -> Option<Piece<B>> {
        let n = self.after(list, prev);
        let free = self.free;
        let place = self.places.get_mut(usize::from(n))?;
        let piece = place.piece.take()?;
        let next = core::mem::replace(&mut place.next, free);
        self.free = n;
        self.used -= 1;
        list.count -= 1;
        list.bytes -= u32::from(piece.len);
        match self.places.get_mut(usize::from(prev)) {
            Some(before) => before.next = next,
            None => list.first = next,
        }
        if next == NIL {
            list.last = prev;
        }
        Some(piece)
    }

    /// Shortens the piece at `n` at its front.
    pub(super) fn cut_front(&mut self, list: &mut List, n: u16, bytes: u16) {
        if let Some(piece) = self.get_mut(n) {
            piece.cut_front(bytes);
            list.bytes -= u32::from(bytes);
        }
    }
}
