//! Money as integer nano-dollars, and prices that accumulate without rounding.

use super::Span;
use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use serde::{Deserialize, Serialize};

const NANOS_PER_HOUR: i128 = 3_600 * 1_000_000_000;

/// An amount in US dollars, held as nano-dollars.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// From nano-dollars.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }
    /// Nano-dollars.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }
    /// Nearest amount to a float of dollars (saturating; not-a-number is zero).
    #[must_use]
    pub fn from_usd(usd: f64) -> Self {
        Self((usd * 1e9).round() as i64)
    }
    /// Dollars as a float, for reports.
    #[must_use]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e9
    }
}
impl Add for Money {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self(self.0.saturating_add(o.0))
    }
}
impl AddAssign for Money {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}
impl Sub for Money {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self(self.0.saturating_sub(o.0))
    }
}
impl SubAssign for Money {
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}
impl Neg for Money {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}
impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, |a, b| a + b)
    }
}
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${:.2}", self.usd())
    }
}

/// A price in nano-dollars an hour.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
pub struct MoneyRate(i64);

impl MoneyRate {
    /// Free of charge.
    pub const ZERO: Self = Self(0);
    /// From nano-dollars an hour.
    #[must_use]
    pub const fn from_nanos_per_hour(nanos: i64) -> Self {
        Self(nanos)
    }
    /// Nearest rate to a float of dollars an hour.
    #[must_use]
    pub fn from_usd_per_hour(usd: f64) -> Self {
        Self((usd * 1e9).round() as i64)
    }
    /// Nano-dollars an hour.
    #[must_use]
    pub const fn nanos_per_hour(self) -> i64 {
        self.0
    }
    /// Dollars an hour as a float, for reports.
    #[must_use]
    pub fn usd_per_hour(self) -> f64 {
        self.0 as f64 / 1e9
    }
}
impl Add for MoneyRate {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self(self.0.saturating_add(o.0))
    }
}
impl AddAssign for MoneyRate {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}
impl Sub for MoneyRate {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self(self.0.saturating_sub(o.0))
    }
}
impl SubAssign for MoneyRate {
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}
impl fmt::Display for MoneyRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${:.4}/h", self.usd_per_hour())
    }
}

/// Price × time, kept exactly (nano-dollar·nanoseconds an hour) and divided once, in the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct UsageCost(i128);

impl UsageCost {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Adds the cost of `span` at `rate`.
    pub fn add(&mut self, rate: MoneyRate, span: Span) {
        self.0 += i128::from(rate.0) * i128::from(span.nanos());
    }
    /// Adds another sum.
    pub fn merge(&mut self, other: Self) {
        self.0 += other.0;
    }
    /// The amount, rounded half away from zero to a nano-dollar.
    #[must_use]
    pub fn amount(self) -> Money {
        let half = if self.0 >= 0 { NANOS_PER_HOUR / 2 } else { -NANOS_PER_HOUR / 2 };
        let nanos = (self.0 + half) / NANOS_PER_HOUR;
        Money(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn month_of_cluster_fee_is_73_dollars() {
        let mut cost = UsageCost::ZERO;
        for _ in 0..730 {
            cost.add(MoneyRate::from_usd_per_hour(0.10), Span::from_secs(3600));
        }
        assert_eq!(cost.amount(), Money::from_usd(73.0));
        assert_eq!(cost.amount().to_string(), "$73.00");
    }
}
