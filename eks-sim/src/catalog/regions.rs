//! Regions with prices, and their availability zones.

use super::constants::constants;
use super::nearest::nearest;
use core::fmt;
use core::str::FromStr;

/// Number of regions with prices.
pub(super) const REGION_COUNT: usize = 3;

/// Name, zones (EC2's offerings list of 2026-10 names types in this many zones) and the constant
/// that holds the median spot saving, in the order of the price columns.
const REGIONS: [(&str, &[&str], &str); REGION_COUNT] = [
    (
        "us-east-1",
        &["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "us-east-1e", "us-east-1f"],
        "spot.median_savings_us_east_1",
    ),
    (
        "us-west-2",
        &["us-west-2a", "us-west-2b", "us-west-2c", "us-west-2d"],
        "spot.median_savings_us_west_2",
    ),
    ("eu-west-1", &["eu-west-1a", "eu-west-1b", "eu-west-1c"], "spot.median_savings_eu_west_1"),
];

/// A region with prices in the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Region(u8);

impl Region {
    /// us-east-1, the region with list prices for every type.
    pub const US_EAST_1: Self = Self(0);

    /// All regions, in the order of the price columns.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..REGION_COUNT as u8).map(Self)
    }
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
    fn row(self) -> &'static (&'static str, &'static [&'static str], &'static str) {
        &REGIONS[self.index()]
    }
    /// The region's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }
    /// Its zones by letter.
    #[must_use]
    pub fn zones(self) -> &'static [&'static str] {
        self.row().1
    }
    /// The region that a zone name belongs to.
    #[must_use]
    pub fn of_zone(zone: &str) -> Option<Self> {
        Self::all().find(|r| r.zones().contains(&zone))
    }
    /// Median saving of spot against on-demand, percent.
    #[must_use]
    pub fn median_spot_savings_percent(self) -> i64 {
        constants().get(self.row().2).and_then(super::Constant::as_i64).unwrap_or(0)
    }
}
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A region without prices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no prices for region `{name}`; supported: us-east-1, us-west-2, eu-west-1{hint}")]
pub struct UnknownRegion {
    /// The text.
    pub name: String,
    hint: String,
}

impl FromStr for Region {
    type Err = UnknownRegion;
    fn from_str(text: &str) -> Result<Self, UnknownRegion> {
        Self::all().find(|r| r.name() == text).ok_or_else(|| {
            let near = nearest(text, REGIONS.iter().map(|r| r.0), 1);
            let hint = near.first().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
            UnknownRegion { name: text.to_owned(), hint }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_read_and_refuse() {
        for region in Region::all() {
            assert_eq!(region.name().parse::<Region>(), Ok(region));
            assert_eq!(Region::of_zone(region.zones()[0]), Some(region));
        }
        let error = "us-east1".parse::<Region>().unwrap_err().to_string();
        assert!(error.ends_with("(did you mean `us-east-1`?)"), "{error}");
        let error = "ap-south-1".parse::<Region>().unwrap_err().to_string();
        assert!(error.contains("supported: us-east-1, us-west-2, eu-west-1"), "{error}");
        assert_eq!(Region::US_EAST_1.median_spot_savings_percent(), 66);
    }
}
