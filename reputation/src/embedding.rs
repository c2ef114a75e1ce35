//! Where IPv4 hides in IPv6. Owns the ranges and their layouts; what becomes of an address or a prefix
//! in them is `address`'s and `cidr`'s.

/// A range of IPv6 whose addresses stand for IPv4 addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Embedding {
    /// The IPv6 prefix, left-aligned.
    pub prefix: u128,
    /// Its length in bits.
    pub prefix_len: u8,
    pub layout: Layout,
}

/// Where in such an address the IPv4 address sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The last 32 bits.
    Tail,
    /// 6to4: behind the first 16 bits. Anybody on the way may relay such traffic.
    SixToFour,
    /// Teredo: the last 32 bits, inverted. Relayed by third parties as well.
    Teredo,
    /// RFC 8215: the operator of the translator chooses among the layouts of RFC 6052 §2.2.
    LocalNat64,
}

/// The ways in which IPv4 hides in IPv6 and the prefix itself is bound to the IPv4 address or to a
/// translator.
///
/// ISATAP (`…:0:5efe:a.b.c.d`) is left out on purpose: its prefix is the client's own, so honouring it
/// would let every IPv6 client take the identity of any IPv4 address. So is NAT64 under a prefix of the
/// network's own, which nothing tells from ordinary addresses.
pub(crate) const EMBEDDINGS: [Embedding; 7] = [
    // ::ffff:0:0/96, mapped (RFC 4291)
    Embedding {
        prefix: 0xffff << 32,
        prefix_len: 96,
        layout: Layout::Tail,
    },
    // ::ffff:0:0:0/96, SIIT (RFC 2765)
    Embedding {
        prefix: 0xffff << 48,
        prefix_len: 96,
        layout: Layout::Tail,
    },
    // 64:ff9b::/96, NAT64 (RFC 6052)
    Embedding {
        prefix: 0x0064_ff9b << 96,
        prefix_len: 96,
        layout: Layout::Tail,
    },
    // 64:ff9b:1::/48, local NAT64 (RFC 8215)
    Embedding {
        prefix: 0x0064_ff9b_0001 << 80,
        prefix_len: 48,
        layout: Layout::LocalNat64,
    },
    // 2002::/16, 6to4 (RFC 3056)
    Embedding {
        prefix: 0x2002 << 112,
        prefix_len: 16,
        layout: Layout::SixToFour,
    },
    // 2001::/32, Teredo (RFC 4380)
    Embedding {
        prefix: 0x2001 << 112,
        prefix_len: 32,
        layout: Layout::Teredo,
    },
    // ::/96, compatible (RFC 4291)
    Embedding {
        prefix: 0,
        prefix_len: 96,
        layout: Layout::Tail,
    },
];

/// The upper 16 bits of the highest embedding: what is above it embeds nothing.
const HIGHEST_EMBEDDING: u128 = 0x2002;

impl Embedding {
    /// The embedding that `bits` lie in. `::` and `::1` are themselves.
    pub fn of(bits: u128) -> Option<&'static Self> {
        // Nearly all real traffic comes from 2400::/6 and 2800::/5: one comparison.
        if bits >> 112 > HIGHEST_EMBEDDING || bits <= 1 {
            return None;
        }
        EMBEDDINGS.iter().find(|embedding| embedding.covers(bits))
    }

    pub fn covers(&self, bits: u128) -> bool {
        (bits ^ self.prefix) >> (128 - u32::from(self.prefix_len)) == 0
    }
}

impl Layout {
    /// The IPv4 address that `bits` stand for.
    pub fn extract(self, bits: u128) -> u32 {
        match self {
            Self::Tail => low_32(bits),
            Self::SixToFour => low_32(bits >> 80),
            Self::Teredo => !low_32(bits),
            Self::LocalNat64 => local_nat64(bits),
        }
    }

    /// Whether third parties relay such traffic. A rogue relay could speak for any address embedded, so
    /// a local one, which the operator is likely to trust, is not believed. RFC 3056 §9 has routers drop
    /// what embeds no global address, but a rogue one would not.
    pub fn is_relayed(self) -> bool {
        matches!(self, Self::SixToFour | Self::Teredo)
    }
}

/// RFC 6052 §2.2: below a /96 the address is split around the octet at bits 64 to 71, which is zero like
/// all that follows the address. The length of the translator's prefix is unknown, so the layout is the
/// one that leaves most zeros behind the address, which is right unless the address ends in `.0`.
fn local_nat64(bits: u128) -> u32 {
    let tail = low_32(bits);
    let has_reserved_octet = (bits >> 56) & 0xff == 0;
    if !has_reserved_octet || tail & 0x00ff_ffff != 0 {
        return tail; // /96
    }
    let behind_the_octet = low_32(bits >> 24);
    if tail != 0 {
        return behind_the_octet; // /64: all of it is behind the octet
    }
    let before_the_octet = low_32(bits >> 64);
    if behind_the_octet & 0xff00 != 0 {
        return (before_the_octet << 24) | (behind_the_octet >> 8); // /56: 8 bits before, 24 behind
    }
    (before_the_octet << 16) | (behind_the_octet >> 16) // /48: 16 bits before, 16 behind
}

fn low_32(bits: u128) -> u32 {
    u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(u32::MAX)
}
