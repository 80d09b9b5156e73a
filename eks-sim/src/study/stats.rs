//! Statistics over replications: means with intervals, differences, quantiles, stopping.
//!
//! All sums run in the order of the replication index, so a result does not depend on threads or
//! shards. Quantiles over replications are exact: sort, then interpolate.

use crate::units::math::sqrt;
use crate::units::special::{beta_cdf, normal_quantile, student_t_quantile};
use serde::Serialize;

pub use crate::units::histogram::Histogram;

/// Replications are looked at in blocks of this many when a study decides whether to stop.
pub const BLOCK: usize = 64;

/// The confidence of intervals unless something else is asked for.
pub const CONFIDENCE: f64 = 0.95;

/// A mean with its confidence interval.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Estimate {
    /// Mean, or share.
    pub mean: f64,
    /// Half the width of the interval; infinite for a single value.
    pub half_width: f64,
    /// Lower end of the interval.
    pub lo: f64,
    /// Upper end of the interval.
    pub hi: f64,
    /// Number of values.
    pub n: usize,
}

/// How an estimate stands to a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The whole interval is on the good side.
    Met,
    /// The whole interval is on the bad side.
    Missed,
    /// The limit lies inside the interval: more replications are needed to tell.
    Undecided,
}

impl Estimate {
    fn around(mean: f64, half_width: f64, n: usize) -> Self {
        Self { mean, half_width, lo: mean - half_width, hi: mean + half_width, n }
    }

    /// Mean of independent values with Student's interval; nothing for no values.
    #[must_use]
    pub fn of_mean(values: &[f64], confidence: f64) -> Option<Self> {
        let (mean, variance) = mean_variance(values)?;
        Some(Self::from_moments(mean, variance, values.len(), confidence))
    }

    fn from_moments(mean: f64, variance: f64, n: usize, confidence: f64) -> Self {
        if n < 2 {
            return Self::around(mean, f64::INFINITY, n);
        }
        let t = student_t_quantile((n - 1) as f64, 0.5 + 0.5 * confidence);
        Self::around(mean, t * sqrt(variance / n as f64), n)
    }

    /// Mean of `b - a`, replication by replication under common random numbers; nothing unless
    /// both have the same number of values.
    #[must_use]
    pub fn of_difference(a: &[f64], b: &[f64], confidence: f64) -> Option<Self> {
        if a.len() != b.len() {
            return None;
        }
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
        Self::of_mean(&differences, confidence)
    }

    /// Relative change of the mean from `a` to `b` (0.12 is 12 % more), paired by replication.
    ///
    /// The interval is that of a ratio of means by the delta method: the spread of b − r·a.
    /// Nothing if the lengths differ or the mean of `a` is zero.
    #[must_use]
    pub fn of_relative_change(a: &[f64], b: &[f64], confidence: f64) -> Option<Self> {
        let ((base, _), (other, _)) = (mean_variance(a)?, mean_variance(b)?);
        if a.len() != b.len() || base == 0.0 {
            return None;
        }
        let ratio = other / base;
        let residuals: Vec<f64> = a.iter().zip(b).map(|(a, b)| (b - ratio * a) / base).collect();
        let (_, variance) = mean_variance(&residuals)?;
        Some(Self::from_moments(ratio - 1.0, variance, a.len(), confidence))
    }

    /// Share of successes with Wilson's score interval, which stays inside 0 to 1 and is sound
    /// for few trials and for shares near the ends; nothing for no trials.
    #[must_use]
    pub fn of_share(successes: usize, trials: usize, confidence: f64) -> Option<Self> {
        if trials == 0 {
            return None;
        }
        let n = trials as f64;
        let share = successes.min(trials) as f64 / n;
        let z = normal_quantile(0.5 + 0.5 * confidence);
        let square = z * z / n;
        let centre = (share + 0.5 * square) / (1.0 + square);
        let spread = share * (1.0 - share) / n + 0.25 * square / n;
        let half_width = z * sqrt(spread) / (1.0 + square);
        let lo = if successes == 0 { 0.0 } else { (centre - half_width).max(0.0) };
        let hi = if successes >= trials { 1.0 } else { (centre + half_width).min(1.0) };
        Some(Self { mean: share, half_width, lo, hi, n: trials })
    }

    /// The quantile of a sorted sample, with an interval between two of its values that holds at
    /// the asked confidence for any distribution; nothing for no values.
    ///
    /// With too few values for the confidence an end is infinite.
    #[must_use]
    pub fn of_quantile(sorted: &[f64], p: f64, confidence: f64) -> Option<Self> {
        let mean = quantile_sorted(sorted, p)?;
        let n = sorted.len();
        let tail = 0.5 * (1.0 - confidence);
        // The number of values below the quantile is binomial; `below(k)` is P(number < k).
        let below = |k: usize| match k {
            0 => 0.0,
            k if k > n => 1.0,
            k => 1.0 - beta_cdf(k as f64, (n + 1 - k) as f64, p),
        };
        let low = partition(n + 1, |k| below(k) <= tail);
        let high = partition(n + 2, |k| below(k) < 1.0 - tail);
        let at = |rank: usize| rank.checked_sub(1).and_then(|index| sorted.get(index)).copied();
        let lo = low.checked_sub(1).and_then(at).unwrap_or(f64::NEG_INFINITY);
        let hi = at(high).unwrap_or(f64::INFINITY);
        Some(Self { mean, half_width: 0.5 * (hi - lo), lo, hi, n })
    }

    /// Whether zero lies outside the interval.
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.lo > 0.0 || self.hi < 0.0
    }

    /// Half the width relative to the mean; zero if both are zero.
    #[must_use]
    pub fn relative_half_width(&self) -> f64 {
        if self.half_width == 0.0 { 0.0 } else { self.half_width / self.mean.abs() }
    }

    /// Whether the quantity is at most `limit`.
    #[must_use]
    pub fn at_most(&self, limit: f64) -> Verdict {
        if self.hi <= limit {
            Verdict::Met
        } else if self.lo > limit {
            Verdict::Missed
        } else {
            Verdict::Undecided
        }
    }

    /// Whether the quantity is at least `limit`.
    #[must_use]
    pub fn at_least(&self, limit: f64) -> Verdict {
        if self.lo >= limit {
            Verdict::Met
        } else if self.hi < limit {
            Verdict::Missed
        } else {
            Verdict::Undecided
        }
    }
}

/// First number below `end` for which `holds` is false, if it holds for all smaller ones.
fn partition(end: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Mean and unbiased variance in two passes, in index order; the variance of one value is zero.
#[must_use]
pub fn mean_variance(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() == 1 {
        return Some((mean, 0.0));
    }
    // The second sum takes away what rounding of the mean adds to the first.
    let (mut squares, mut rest) = (0.0, 0.0);
    for value in values {
        squares += (value - mean) * (value - mean);
        rest += value - mean;
    }
    Some((mean, ((squares - rest * rest / n) / (n - 1.0)).max(0.0)))
}

/// Quantile of a sorted sample, of type 7 (Hyndman and Fan): straight line between the values at
/// ranks around 1 + (n − 1)·p, as NumPy, R and spreadsheets have it.
#[must_use]
pub fn quantile_sorted(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = p.clamp(0.0, 1.0) * last as f64;
    let below = (place.floor() as usize).min(last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    let share = place - below as f64;
    Some(if share == 0.0 || low == high { low } else { low + share * (high - low) })
}

/// Several quantiles of an unsorted sample.
#[must_use]
pub fn quantiles(values: &[f64], ps: &[f64]) -> Option<Vec<f64>> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    ps.iter().map(|p| quantile_sorted(&sorted, *p)).collect()
}

/// How precise a study has to be before it stops.
///
/// It is asked on prefixes of whole blocks of the replication index only, so the number of
/// replications does not depend on which finished first. As precision is looked at repeatedly
/// the interval at the stop covers slightly less often than its confidence says; the minimum
/// number of replications keeps that small.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct StopRule {
    /// Half the width of the interval, relative to the mean, that is precise enough.
    pub relative: f64,
    /// Half the width of the interval that is precise enough whatever the mean.
    pub absolute: f64,
    /// Confidence of the interval.
    pub confidence: f64,
    /// Fewest replications.
    pub min: usize,
    /// Most replications.
    pub max: usize,
}

/// Whether a study goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More replications are needed: up to this number in all.
    RunTo(usize),
    /// Precise enough after this many replications; later ones are not used.
    Precise(usize),
    /// Not precise enough, but the most replications are reached.
    Exhausted(usize),
}

impl StopRule {
    /// Stops at a relative precision, between `min` and `max` replications.
    #[must_use]
    pub fn relative(relative: f64, min: usize, max: usize) -> Self {
        Self { relative, absolute: 0.0, confidence: CONFIDENCE, min, max: max.max(min).max(1) }
    }

    /// Decides from the values so far of every metric that must be precise, each in replication
    /// order.
    #[must_use]
    pub fn progress(&self, metrics: &[&[f64]]) -> Progress {
        let done = metrics.iter().map(|values| values.len()).min().unwrap_or(0);
        let first = self.min.max(2).div_ceil(BLOCK).saturating_mul(BLOCK);
        let mut runs = first.min(self.max);
        loop {
            if done < runs {
                return Progress::RunTo(runs);
            }
            if metrics.iter().all(|values| self.is_precise(&values[..runs])) {
                return Progress::Precise(runs);
            }
            if runs >= self.max {
                return Progress::Exhausted(runs);
            }
            runs = (runs + BLOCK).min(self.max);
        }
    }

    fn is_precise(&self, values: &[f64]) -> bool {
        Estimate::of_mean(values, self.confidence).is_some_and(|estimate| {
            estimate.half_width <= self.absolute.max(self.relative * estimate.mean.abs())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::draws::{Draws, Rng, Stream};
    use statrs::distribution::{ContinuousCDF, StudentsT};

    fn close(got: f64, want: f64, what: &str) {
        assert!((got - want).abs() <= 1e-9 * want.abs().max(1.0), "{what}: {got} {want}");
    }

    fn normals(rng: &mut Rng, n: usize) -> Vec<f64> {
        (0..n).map(|_| normal_quantile(rng.uniform())).collect()
    }

    #[test]
    fn mean_with_interval() {
        let values = [4.0, 7.0, 1.0, 8.0];
        let estimate = Estimate::of_mean(&values, 0.95).unwrap();
        let t = StudentsT::new(0.0, 1.0, 3.0).unwrap().inverse_cdf(0.975);
        close(estimate.mean, 5.0, "mean");
        close(estimate.half_width, t * (10.0_f64 / 4.0).sqrt(), "half width");
        close(estimate.lo + estimate.half_width, 5.0, "lower end");
        assert_eq!(Estimate::of_mean(&[], 0.95), None);
        assert_eq!(Estimate::of_mean(&[3.0], 0.95).unwrap().half_width, f64::INFINITY);
        assert_eq!(Estimate::of_mean(&[3.0, 3.0], 0.95).unwrap().half_width, 0.0);
    }

    #[test]
    fn variance_survives_a_large_offset() {
        let values: Vec<f64> = (0..1000).map(|n| 1e9 + f64::from(n % 2)).collect();
        let (_, variance) = mean_variance(&values).unwrap();
        close(variance, 250.0 / 999.0, "variance");
    }

    /// The share of intervals that hold the true value is the confidence.
    fn coverage(of: impl Fn(&mut Rng) -> Estimate, truth: f64) -> f64 {
        let draws = Draws::new(11, 0);
        let hits = (0..4000).filter(|trial| {
            let estimate = of(&mut draws.rng(Stream::Bootstrap, *trial));
            (estimate.lo..=estimate.hi).contains(&truth)
        });
        hits.count() as f64 / 4000.0
    }

    #[test]
    fn intervals_cover_as_promised() {
        let mean = coverage(|rng| Estimate::of_mean(&normals(rng, 5), 0.9).unwrap(), 0.0);
        assert!((0.885..0.915).contains(&mean), "mean {mean}");
        let share = coverage(
            |rng| {
                let hits = (0..60).filter(|_| rng.uniform() < 0.1).count();
                Estimate::of_share(hits, 60, 0.95).unwrap()
            },
            0.1,
        );
        assert!((0.93..0.98).contains(&share), "share {share}");
        let median = coverage(
            |rng| {
                let mut values = normals(rng, 101);
                values.sort_by(f64::total_cmp);
                Estimate::of_quantile(&values, 0.5, 0.95).unwrap()
            },
            0.0,
        );
        assert!((0.945..0.975).contains(&median), "median {median}");
        let change = coverage(
            |rng| {
                let a: Vec<f64> = normals(rng, 40).iter().map(|z| 10.0 + z).collect();
                let noise = normals(rng, 40);
                let b: Vec<f64> = a.iter().zip(noise).map(|(a, z)| 1.2 * a + 0.3 * z).collect();
                Estimate::of_relative_change(&a, &b, 0.95).unwrap()
            },
            0.2,
        );
        assert!((0.935..0.965).contains(&change), "change {change}");
    }

    #[test]
    fn quantile_interval_ranks() {
        // For n = 101 and the median the textbook ranks at 95 % are 41 and 61.
        let values: Vec<f64> = (1..=101).map(f64::from).collect();
        let estimate = Estimate::of_quantile(&values, 0.5, 0.95).unwrap();
        assert_eq!((estimate.lo, estimate.mean, estimate.hi), (41.0, 51.0, 61.0));
        // Too few values to bound a 99th percentile from above.
        let estimate = Estimate::of_quantile(&values, 0.99, 0.95).unwrap();
        assert_eq!(estimate.hi, f64::INFINITY);
    }

    #[test]
    fn paired_differences_are_sharper() {
        let a = [10.0, 20.0, 30.0, 40.0];
        let b = [11.0, 21.5, 31.0, 41.5];
        let estimate = Estimate::of_difference(&a, &b, 0.95).unwrap();
        close(estimate.mean, 1.25, "mean");
        assert!(estimate.half_width < 0.5 && estimate.is_significant());
        assert_eq!(Estimate::of_difference(&a, &b[..3], 0.95), None);
    }

    #[test]
    fn wilson_examples() {
        // Published: 0 of 10 gives 0 to 0.2775, 5 of 10 gives 0.2366 to 0.7634.
        let none = Estimate::of_share(0, 10, 0.95).unwrap();
        assert_eq!(none.lo, 0.0);
        assert!((none.hi - 0.277_5).abs() < 1e-4, "{none:?}");
        let half = Estimate::of_share(5, 10, 0.95).unwrap();
        assert!((half.lo - 0.236_6).abs() < 1e-4 && (half.hi - 0.763_4).abs() < 1e-4, "{half:?}");
    }

    #[test]
    fn type_7_quantiles() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.1, 0.5, 0.9, 1])
        let got = quantiles(&[8.0, 1.0, 4.0, 2.0], &[0.0, 0.1, 0.5, 0.9, 1.0]).unwrap();
        for (got, want) in got.into_iter().zip([1.0, 1.3, 3.0, 6.8, 8.0]) {
            close(got, want, "quantile");
        }
        assert_eq!(quantiles(&[], &[0.5]), None);
    }

    #[test]
    fn verdicts() {
        let estimate = Estimate::of_mean(&[9.0, 10.0, 11.0], 0.95).unwrap();
        assert_eq!(estimate.at_most(20.0), Verdict::Met);
        assert_eq!(estimate.at_most(5.0), Verdict::Missed);
        assert_eq!(estimate.at_most(10.5), Verdict::Undecided);
        assert_eq!(estimate.at_least(5.0), Verdict::Met);
        assert_eq!(estimate.at_least(20.0), Verdict::Missed);
    }

    #[test]
    fn stops_on_whole_blocks_only() {
        let mut rng = Draws::new(2, 0).rng(Stream::Bootstrap, 0);
        let values: Vec<f64> = normals(&mut rng, 5000).iter().map(|z| 10.0 + 3.0 * z).collect();
        let rule = StopRule::relative(0.02, 64, 2000);
        let Progress::Precise(stop) = rule.progress(&[&values]) else { panic!("not precise") };
        assert!(stop % BLOCK == 0 && stop > 300, "{stop}");
        // Values beyond the stop do not matter, and before it more are asked for.
        assert_eq!(rule.progress(&[&values[..stop]]), Progress::Precise(stop));
        assert_eq!(rule.progress(&[&values[..stop - 1]]), Progress::RunTo(stop));
        assert_eq!(rule.progress(&[]), Progress::RunTo(64));
        let strict = StopRule::relative(1e-6, 64, 200);
        assert_eq!(strict.progress(&[&values]), Progress::Exhausted(200));
    }
}
