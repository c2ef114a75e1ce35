//! Where a prefix is kept: IPv4 on 32 bits, IPv6 prefixes of at most /64 on the upper 64 bits alone,
//! longer ones on all 128. Owns the arithmetic of prefixes on these three widths.

use super::column::Word;
use crate::address::ClientAddress;
use crate::cidr::Cidr;

/// The first address of a prefix on the width that suits its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    V4(u32),
    /// The upper half.
    V6(u64),
    V6Long(u128),
}

/// A width on which prefixes are kept.
pub(super) trait Key: Word {
    /// The longest prefix on this width.
    const WIDTH: u8;

    /// The first key of the prefix of `len` bits around this one; a `len` beyond the width is the width.
    fn first(self, len: u8) -> Self;
    /// The last key of that prefix.
    fn last(self, len: u8) -> Self;
    /// The key behind this one, unless it is the last there is.
    fn next(self) -> Option<Self>;
    /// The upper `bits`.
    fn top(self, bits: u8) -> usize;
}

impl Place {
    pub fn of(cidr: Cidr) -> Self {
        match cidr.network() {
            ClientAddress::V4(bits) => Self::V4(bits),
            ClientAddress::V6(bits) if cidr.len() <= u64::WIDTH => Self::V6(upper_half(bits)),
            ClientAddress::V6(bits) => Self::V6Long(bits),
        }
    }
}

pub(super) fn upper_half(bits: u128) -> u64 {
    u64::try_from(bits >> 64).unwrap_or(u64::MAX)
}

macro_rules! keys {
    ($($key:ty: $width:literal),*) => {$(
        impl Key for $key {
            const WIDTH: u8 = $width;

            fn first(self, len: u8) -> Self {
                let host_bits = Self::WIDTH.saturating_sub(len);
                self & Self::MAX.checked_shl(host_bits.into()).unwrap_or(0)
            }

            fn last(self, len: u8) -> Self {
                self | Self::MAX.checked_shr(len.into()).unwrap_or(0)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn top(self, bits: u8) -> usize {
                let host_bits = Self::WIDTH.saturating_sub(bits);
                let top = self.checked_shr(host_bits.into()).unwrap_or(0);
                usize::try_from(top).unwrap_or(usize::MAX)
            }
        }
    )*};
}

keys!(u32: 32, u64: 64, u128: 128);
