//! Stable 64-bit keys of names and number lists; fixed for good, since they address random draws.

/// Odd constant nearest to 2^64 over the golden ratio, the increment of SplitMix64.
pub const PHI: u64 = 0x9E37_79B9_7F4A_7C15;
/// Separates the hash of texts from that of number lists.
const TEXT: u64 = 0x7465_7874;

/// The key of a list of numbers; order and length count.
#[must_use]
pub const fn key(parts: &[u64]) -> u64 {
    let mut hash = mix64(parts.len() as u64);
    let mut at = 0;
    while at < parts.len() {
        hash = absorb(hash, parts[at]);
        at += 1;
    }
    hash
}

/// The key of a name such as `namespace/name`: its bytes in words of eight, little-endian, the
/// last one filled up with zeros, after its length.
#[must_use]
pub const fn key_str(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = mix64((bytes.len() as u64) ^ (TEXT << 32));
    let mut at = 0;
    while at < bytes.len() {
        let mut word = 0;
        let mut shift = 0;
        while shift < 64 && at < bytes.len() {
            word |= (bytes[at] as u64) << shift;
            shift += 8;
            at += 1;
        }
        hash = absorb(hash, word);
    }
    hash
}

/// Adds one word to a running hash; for a given `hash` no two words give the same result.
const fn absorb(hash: u64, word: u64) -> u64 {
    mix64(hash.rotate_left(23).wrapping_add(mix64(word ^ PHI)))
}

/// The finaliser of SplitMix64 (Stafford's variant 13), a bijection on 64 bits.
#[must_use]
pub const fn mix64(x: u64) -> u64 {
    let x = x.wrapping_add(PHI);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
