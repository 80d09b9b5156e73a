//! IPv4 ranges: reading, overlap, and the next free range of a VPC.
//!
//! Upstream: Amazon VPC user guide, "VPC CIDR blocks" and "Subnet sizing" (sizes /28 to /16).

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An aligned range of IPv4 addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cidr {
    first: u32,
    prefix_length: u8,
}

/// Why a text is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// Not `a.b.c.d/n`.
    #[error("`{0}` is not an IPv4 range; write for example `10.0.0.0/16`")]
    Malformed(String),
    /// Bits are set behind the prefix.
    #[error("`{given}` does not begin at a multiple of its size; write `{aligned}`")]
    Unaligned {
        /// What was written.
        given: String,
        /// The range that holds its first address.
        aligned: Cidr,
    },
}

impl Cidr {
    /// The range of `prefix_length` bits (at most 32) that holds `address`.
    #[must_use]
    pub fn containing(address: Ipv4Addr, prefix_length: u8) -> Self {
        let prefix_length = prefix_length.min(32);
        Self { first: u32::from(address) & mask(prefix_length), prefix_length }
    }
    /// Number of leading bits that are fixed.
    #[must_use]
    pub const fn prefix_length(self) -> u8 {
        self.prefix_length
    }
    /// How many addresses it holds.
    #[must_use]
    pub const fn size(self) -> u64 {
        1 << (32 - self.prefix_length as u32)
    }
    /// Its lowest address.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }
    /// Its highest address.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        (self.first | !mask(self.prefix_length)).into()
    }
    /// Whether it holds `address`.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix_length) == self.first
    }
    /// Whether it holds all of `other`.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.prefix_length <= other.prefix_length && self.contains(other.first())
    }
    /// Whether some address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }
    /// The lowest range of `prefix_length` inside this one that overlaps none of `used`.
    #[must_use]
    pub fn next_free(self, prefix_length: u8, used: &[Self]) -> Option<Self> {
        if prefix_length < self.prefix_length || prefix_length > 32 {
            return None;
        }
        let end = u64::from(self.first) + self.size();
        let step = 1u64 << (32 - u32::from(prefix_length));
        let mut at = u64::from(self.first);
        while at + step <= end {
            let first = u32::try_from(at).ok()?;
            let candidate = Self { first, prefix_length };
            match used.iter().filter(|other| other.overlaps(candidate)).max_by_key(|o| o.last()) {
                None => return Some(candidate),
                // Whatever ends last blocks everything up to its end; go on at the next multiple.
                Some(other) => at = (u64::from(u32::from(other.last())) + 1).div_ceil(step) * step,
            }
        }
        None
    }
}

const fn mask(prefix_length: u8) -> u32 {
    if prefix_length == 0 { 0 } else { u32::MAX << (32 - prefix_length as u32) }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first(), self.prefix_length)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let malformed = || CidrError::Malformed(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
        let canonical = length.len() <= 2 && length.bytes().all(|b| b.is_ascii_digit());
        let length: u8 = length.parse().map_err(|_| malformed())?;
        if length > 32 || !canonical {
            return Err(malformed());
        }
        let aligned = Self::containing(address, length);
        if aligned.first() == address {
            Ok(aligned)
        } else {
            Err(CidrError::Unaligned { given: text.to_owned(), aligned })
        }
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
impl schemars::JsonSchema for Cidr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$",
            "description": "an IPv4 range, for example 10.0.0.0/16"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn reads_prints_and_refuses() {
        assert_eq!(cidr("10.0.32.0/19").to_string(), "10.0.32.0/19");
        assert_eq!(cidr("0.0.0.0/0").size(), 1 << 32);
        assert_eq!(cidr("10.0.0.16/28").last(), Ipv4Addr::new(10, 0, 0, 31));
        for bad in ["", "10.0.0.0", "10.0.0/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "a/8"]
        {
            assert!(matches!(bad.parse::<Cidr>(), Err(CidrError::Malformed(_))), "{bad}");
        }
        let unaligned = "10.0.1.0/16".parse::<Cidr>();
        let mend = unaligned.unwrap_err().to_string();
        assert!(mend.ends_with("write `10.0.0.0/16`"), "{mend}");
    }

    #[test]
    fn overlap_and_next_free() {
        assert!(cidr("10.0.0.0/16").overlaps(cidr("10.0.3.0/24")));
        assert!(!cidr("10.0.0.0/24").overlaps(cidr("10.0.1.0/24")));
        let vpc = cidr("10.0.0.0/16");
        let used = [cidr("10.0.0.0/24"), cidr("10.0.10.0/23"), cidr("10.0.1.0/28")];
        assert_eq!(vpc.next_free(24, &used), Some(cidr("10.0.2.0/24")));
        assert_eq!(vpc.next_free(19, &used), Some(cidr("10.0.32.0/19")));
        assert_eq!(vpc.next_free(16, &used), None);
        assert_eq!(vpc.next_free(8, &[]), None);
        assert_eq!(cidr("255.255.255.0/24").next_free(24, &[]), Some(cidr("255.255.255.0/24")));
        assert_eq!(cidr("255.255.255.0/24").next_free(24, &[cidr("255.255.255.255/32")]), None);
    }
}
