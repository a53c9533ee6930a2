//! What all views share: field ranges, big-endian access, and the macro that declares a view.
//!
//! May know nothing about any particular format.

/// A range of bytes in a header, offsets from its first byte.
pub(crate) type Field = core::ops::Range<usize>;

/// Reads a big-endian 16-bit field.
#[inline]
pub(crate) fn be16(bytes: &[u8], field: Field) -> u16 {
    let bytes = &bytes[field];
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// Reads a big-endian 32-bit field.
#[inline]
pub(crate) fn be32(bytes: &[u8], field: Field) -> u32 {
    let bytes = &bytes[field];
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Reads a field of exactly `N` bytes.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], field: Field) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[field]);
    out
}

/// Declares a view struct over bytes and the calls all views share. `$check` is a
/// `fn(&[u8]) -> Result<(), Malformed>` in the same module.
macro_rules! view {
    ($(#[$meta:meta])* $name:ident, $check:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name<T: AsRef<[u8]>> {
            buffer: T,
        }

        impl<T: AsRef<[u8]>> $name<T> {
            /// Checks the bytes against the format and returns the view, or the rule that was
            /// broken. After `Ok` no getter panics.
            #[inline]
            pub fn new_checked(buffer: T) -> Result<Self, $crate::Malformed> {
                $check(buffer.as_ref())?;
                Ok(Self { buffer })
            }

            /// A view without a check, for writing into a fresh buffer. Getters and setters panic
            /// where the buffer is too short.
            #[inline]
            pub const fn new_unchecked(buffer: T) -> Self {
                Self { buffer }
            }

            /// Checks again, after a setter of a length voided the promise of `new_checked`.
            #[inline]
            pub fn check(&self) -> Result<(), $crate::Malformed> {
                $check(self.buffer.as_ref())
            }

            /// All bytes under the view, including any after the end of the packet.
            #[inline]
            pub fn as_bytes(&self) -> &[u8] {
                self.buffer.as_ref()
            }

            /// Gives the buffer back.
            #[inline]
            pub fn into_inner(self) -> T {
                self.buffer
            }
        }
    };
}
