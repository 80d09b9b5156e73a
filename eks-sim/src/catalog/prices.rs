//! Prices by region and purchase option, and the hazard of a spot interruption.

use super::defaults::Defaults;
use crate::units::{MoneyRate, math};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// Hours of a month in AWS's own price examples.
const HOURS_PER_MONTH: f64 = 730.0;

/// Purchase option, spelled as in `karpenter.sh/capacity-type`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum CapacityType {
    /// Paid by the second, stays until terminated.
    #[default]
    OnDemand,
    /// Spare capacity that EC2 may reclaim.
    Spot,
}

impl CapacityType {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        }
    }
}
impl fmt::Display for CapacityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no purchase option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capacity type `{0}`; write `on-demand` or `spot`")]
pub struct UnknownCapacityType(pub String);

impl FromStr for CapacityType {
    type Err = UnknownCapacityType;
    /// Reads Karpenter's spelling and that of managed node groups (`ON_DEMAND`, `SPOT`).
    fn from_str(text: &str) -> Result<Self, UnknownCapacityType> {
        match text {
            "on-demand" | "ON_DEMAND" => Ok(Self::OnDemand),
            "spot" | "SPOT" => Ok(Self::Spot),
            _ => Err(UnknownCapacityType(text.to_owned())),
        }
    }
}

/// What a price rests on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PriceBasis {
    /// AWS's price list.
    #[default]
    List,
    /// An older list price times the later change in us-east-1.
    Scaled,
    /// The us-east-1 price times the region's usual ratio.
    Estimate,
    /// On-demand less the saving of the Spot Advisor (an average over a month, no quoted price).
    SpotAdvisor,
    /// On-demand less the region's median saving: the advisor has no entry.
    SpotMedian,
}

impl PriceBasis {
    /// Short name for tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Scaled => "scaled",
            Self::Estimate => "estimate",
            Self::SpotAdvisor => "spot-advisor",
            Self::SpotMedian => "spot-median",
        }
    }
}

/// A price with what it rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct PriceQuote {
    /// The price.
    pub rate: MoneyRate,
    /// What it rests on.
    pub basis: PriceBasis,
}

/// What one region offers of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RegionOffer {
    /// Zones that have the type.
    pub zone_count: u8,
    /// On-demand Linux price, if known.
    pub on_demand: Option<MoneyRate>,
    /// What that price rests on.
    pub basis: PriceBasis,
    /// The price list of April 2025.
    pub list_2025_04: Option<MoneyRate>,
    /// Saving of spot against on-demand, percent (Spot Advisor).
    pub spot_savings_percent: Option<u8>,
    /// Share of spot instances reclaimed in a month.
    pub interruption_band: Option<InterruptionBand>,
}

/// The Spot Advisor's bands of monthly interruption frequency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[non_exhaustive]
pub enum InterruptionBand {
    /// Below 5 %.
    #[serde(rename = "<5%")]
    Below5,
    /// 5 to 10 %.
    #[serde(rename = "5-10%")]
    From5To10,
    /// 10 to 15 %.
    #[serde(rename = "10-15%")]
    From10To15,
    /// 15 to 20 %.
    #[serde(rename = "15-20%")]
    From15To20,
    /// Above 20 %.
    #[serde(rename = ">20%")]
    Above20,
}

impl InterruptionBand {
    pub(super) const CELLS: [(&'static str, Option<Self>); 6] = [
        ("", None),
        ("<5%", Some(Self::Below5)),
        ("5-10%", Some(Self::From5To10)),
        ("10-15%", Some(Self::From10To15)),
        ("15-20%", Some(Self::From15To20)),
        (">20%", Some(Self::Above20)),
    ];

    /// The advisor's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Below5 => "<5%",
            Self::From5To10 => "5-10%",
            Self::From10To15 => "10-15%",
            Self::From15To20 => "15-20%",
            Self::Above20 => ">20%",
        }
    }
    /// Name of the constant that holds the share of instances reclaimed in a month.
    #[must_use]
    pub const fn constant(self) -> &'static str {
        match self {
            Self::Below5 => "spot.monthly_interruption.lt5",
            Self::From5To10 => "spot.monthly_interruption.5_10",
            Self::From10To15 => "spot.monthly_interruption.10_15",
            Self::From15To20 => "spot.monthly_interruption.15_20",
            Self::Above20 => "spot.monthly_interruption.gt20",
        }
    }
}

/// Interruptions an hour of one spot instance: the band's monthly share through
/// [`hazard_from_monthly`]; an unknown band takes `spot.monthly_interruption_unknown_band`.
#[must_use]
pub fn spot_hazard_per_hour(band: Option<InterruptionBand>, defaults: &Defaults) -> f64 {
    let name = band.map_or("spot.monthly_interruption_unknown_band", InterruptionBand::constant);
    hazard_from_monthly(defaults.f64(name))
}

/// Constant hazard an hour that reclaims the share `monthly` within 730 hours: −ln(1−p)/730.
/// Shares are held within [0, 1).
#[must_use]
pub fn hazard_from_monthly(monthly: f64) -> f64 {
    let share = if monthly.is_nan() { 0.0 } else { monthly.clamp(0.0, 1.0 - f64::EPSILON) };
    (-math::ln(1.0 - share)).max(0.0) / HOURS_PER_MONTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazards_match_the_closed_form() {
        // validation C1.
        assert!((hazard_from_monthly(0.05) - 7.0265e-5).abs() < 1e-9);
        assert!((hazard_from_monthly(0.20) - 3.0568e-4).abs() < 1e-8);
        assert_eq!(hazard_from_monthly(0.0), 0.0);
        assert!(hazard_from_monthly(1.0).is_finite());
        // Hazards a month of the five bands (control-plane facts, section 9).
        let defaults = Defaults::standard();
        let bands = InterruptionBand::CELLS.iter().filter_map(|c| c.1);
        for (band, month) in bands.zip([0.0253, 0.0780, 0.1335, 0.1924, 0.3567]) {
            let hazard = spot_hazard_per_hour(Some(band), &defaults) * 730.0;
            assert!((hazard - month).abs() < 6e-5, "{band:?} {hazard}");
        }
    }
}
