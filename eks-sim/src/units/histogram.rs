//! A log-binned histogram of integers: mergeable, exact in its counts, bounded in its error.
//!
//! Values below 128 have a bin each; above, every power of two is cut into 128 bins, so a bin is
//! at most 1/128 of its values wide and a reported quantile is off by at most 0.4 %. Counts are
//! integers: merging in any order gives the same histogram.

use serde::Serialize;

/// Bits of a value that are kept.
const PRECISION: u32 = 7;
/// Bins per power of two.
const BINS: usize = 1 << PRECISION;

/// Counts of integer values, for example latencies in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// Counts by bin, as far as the largest value reached.
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Histogram {
    /// Largest relative distance between a reported quantile and the exact one.
    pub const RELATIVE_ERROR: f64 = 1.0 / (2 * BINS) as f64;

    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts a value `times` times.
    pub fn record_many(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        let bin = bin_of(value);
        if self.counts.len() <= bin {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] = self.counts[bin].saturating_add(times);
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count = self.count.saturating_add(times);
        self.sum = self.sum.saturating_add(u128::from(value) * u128::from(times));
    }

    /// Adds all counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Forgets all values, keeping memory.
    pub fn clear(&mut self) {
        self.counts.clear();
        (self.count, self.sum, self.min, self.max) = (0, 0, 0, 0);
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
    /// Exact sum of the values.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sum
    }
    /// Exact mean, if there are values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }
    /// Exact smallest value.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }
    /// Exact largest value.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// The value of rank ⌈p·n⌉ (the smallest of which at least a share `p` of all values is not
    /// larger), to within [`Self::RELATIVE_ERROR`]; exact at both ends.
    #[must_use]
    pub fn quantile(&self, p: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((p * self.count as f64).ceil() as u64).clamp(1, self.count);
        if rank == 1 {
            return Some(self.min);
        }
        if rank == self.count {
            return Some(self.max);
        }
        let mut seen = 0;
        let bin = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Some(middle_of(bin.unwrap_or(self.counts.len())).clamp(self.min, self.max))
    }

    /// Number of values above `limit`, where values in the bin of `limit` count as not above.
    #[must_use]
    pub fn count_above(&self, limit: u64) -> u64 {
        self.counts.iter().skip(bin_of(limit) + 1).sum()
    }

    /// The occupied bins in rising order: smallest value of the bin, and its count.
    pub fn bins(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let occupied = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        occupied.map(|(bin, count)| (bounds_of(bin).0, *count))
    }
}

fn bin_of(value: u64) -> usize {
    let octave = (value | (BINS as u64 - 1)).ilog2() + 1 - PRECISION;
    // Octave 0 holds the values below 128; octave k those from 2^(k+6), in steps of 2^(k-1).
    if octave == 0 {
        return value as usize;
    }
    octave as usize * BINS + ((value >> (octave - 1)) as usize - BINS).min(BINS - 1)
}

/// Smallest value of a bin, and the number of values in it.
fn bounds_of(bin: usize) -> (u64, u64) {
    let (octave, place) = (bin / BINS, (bin % BINS) as u64);
    match octave {
        0 => (place, 1),
        _ => ((place + BINS as u64) << (octave - 1), 1 << (octave - 1)),
    }
}

fn middle_of(bin: usize) -> u64 {
    let (low, width) = bounds_of(bin);
    low + (width - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = prop_oneof![0..300u64, 0..1_000_000u64, any::<u64>(), Just(u64::MAX)];
        proptest::collection::vec(value, 1..300)
    }

    fn histogram(values: &[u64]) -> Histogram {
        let mut all = Histogram::new();
        values.iter().for_each(|value| all.record(*value));
        all
    }

    proptest! {
        #[test]
        fn a_bin_holds_its_values(value: u64) {
            let (low, width) = bounds_of(bin_of(value));
            prop_assert!(low <= value && value - low < width, "{low} {width}");
            prop_assert!(width == 1 || width <= low / BINS as u64);
        }

        #[test]
        fn quantiles_are_close(mut values in values(), p in 0.0..1.0f64) {
            let all = histogram(&values);
            values.sort_unstable();
            let rank = ((p * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let got = all.quantile(p).expect("there are values");
            prop_assert!(got.abs_diff(exact) as f64 <= exact as f64 * Histogram::RELATIVE_ERROR);
            prop_assert_eq!(all.sum(), values.iter().map(|v| u128::from(*v)).sum::<u128>());
            prop_assert_eq!(all.quantile(0.0), values.first().copied());
            prop_assert_eq!(all.quantile(1.0), values.last().copied());
        }

        #[test]
        fn merging_is_recording_all(one in values(), two in values()) {
            let mut merged = histogram(&one);
            merged.merge(&histogram(&two));
            let mut reversed = histogram(&two);
            reversed.merge(&histogram(&one));
            let all: Vec<u64> = one.iter().chain(&two).copied().collect();
            prop_assert_eq!(&merged, &histogram(&all));
            prop_assert_eq!(merged, reversed);
        }
    }

    #[test]
    fn bins_are_in_order_without_gaps() {
        let mut next = 0u64;
        for bin in 0..57 * BINS {
            let (low, width) = bounds_of(bin);
            assert_eq!(low, next, "bin {bin}");
            assert_eq!(bin_of(low), bin);
            next = low + width;
        }
        assert_eq!(Histogram::new().quantile(0.5), None);
        assert_eq!(histogram(&[5, 7, 900]).count_above(7), 1);
    }
}
