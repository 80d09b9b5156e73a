//! Time in the system over all requests: a mixture of one distribution for each interval.
//!
//! Each interval contributes a gamma distribution of its mean and spread, cut into strata that are
//! counted at their middles. Shapes are rounded, so that quantiles of the unit distribution are
//! worked out once for each shape.

use crate::policy::traffic::queueing::Latency;
use crate::units::histogram::Histogram;
use crate::units::math::sqrt;
use crate::world::machines::Passage;
use std::collections::BTreeMap;

/// Strata: width and number, from the shortest times to the longest. They are finer where the
/// reported percentiles lie.
const STRATA: [(f64, u32); 3] = [(0.01, 90), (0.005, 16), (0.001, 20)];
/// Steps of the coefficient of variation.
const SHAPES: f64 = 16.0;
/// Largest coefficient of variation that is told apart.
const MOST_VARIATION: f64 = 8.0;
/// Bits of a mean that are dropped: the rest tells values apart that differ by 1/128.
const DROPPED: u32 = 45;
/// Parts in which an interval is cut when its mean moves by more than this share.
const MOVES: f64 = 0.02;
const PARTS: u32 = 8;
/// Counts of one request, so that small shares of few requests count too.
const UNIT: f64 = 1000.0;

#[derive(Debug, Default)]
pub(super) struct LatencyMixture {
    /// Requests by mean, rounded as in a [`Histogram`], and shape.
    parts: BTreeMap<(u64, u32), f64>,
    /// Σ requests and Σ requests × mean.
    requests: f64,
    seconds: f64,
    /// Nanoseconds of single requests.
    single: Histogram,
}

impl LatencyMixture {
    /// Adds the requests of an interval.
    pub(super) fn record(&mut self, past: Passage, requests: f64) {
        if requests <= 0.0 {
            return;
        }
        self.requests += requests;
        self.seconds += requests * past.mean;
        let moves = past.drift.abs() > MOVES * past.mean;
        let parts = if moves { PARTS } else { 1 };
        for part in 0..parts {
            let place = (f64::from(part) + 0.5) / f64::from(parts) * 2.0 - 1.0;
            let mean = (past.mean + past.drift * place).max(0.0);
            self.record_branches(mean, &past, requests / f64::from(parts));
        }
    }

    /// Requests that make the call of a branch and those that do not.
    fn record_branches(&mut self, mean: f64, past: &Passage, requests: f64) {
        let branch = past.branch;
        if branch.share <= 0.0 {
            return self.record_part(mean, past.sd, requests);
        }
        let variance = branch.without(past.sd * past.sd);
        let short = (mean - branch.share * branch.mean).max(0.0);
        self.record_part(short, sqrt(variance), requests * (1.0 - branch.share));
        let both = sqrt(variance + branch.sd * branch.sd);
        self.record_part(short + branch.mean, both, requests * branch.share);
    }

    /// Adds a single request that took this long.
    pub(super) fn record_one(&mut self, nanos: u64) {
        self.requests += 1.0;
        self.seconds += nanos as f64 / 1e9;
        self.single.record_many(nanos, UNIT as u64);
    }

    fn record_part(&mut self, mean: f64, sd: f64, requests: f64) {
        let variation = if mean > 0.0 { (sd / mean).min(MOST_VARIATION) } else { 0.0 };
        let shape = (variation * SHAPES).round() as u32;
        *self.parts.entry((mean.to_bits() >> DROPPED, shape)).or_insert(0.0) += requests;
    }

    /// The distribution of all requests, in nanoseconds.
    pub(super) fn histogram(&self) -> Histogram {
        let mut histogram = self.single.clone();
        let mut shapes: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
        for (&(bits, shape), requests) in &self.parts {
            let mean = f64::from_bits((bits << DROPPED) | (1 << (DROPPED - 1)));
            for &(share, quantile) in shapes.entry(shape).or_insert_with(|| strata(shape)).iter() {
                let nanoseconds = (mean * quantile * 1e9).round() as u64;
                histogram.record_many(nanoseconds, (requests * share * UNIT).round() as u64);
            }
        }
        histogram
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.seconds / self.requests)
    }
}

fn strata(shape: u32) -> Vec<(f64, f64)> {
    let unit = Latency { mean: 1.0, sd: f64::from(shape) / SHAPES };
    let mut below = 0.0;
    let mut all = Vec::new();
    for (width, count) in STRATA {
        for _ in 0..count {
            all.push((width, unit.quantile(below + 0.5 * width)));
            below += width;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::math::ln;
    use crate::world::machines::Branch;

    fn quantile(all: &LatencyMixture, p: f64) -> f64 {
        all.histogram().quantile(p).expect("requests") as f64 / 1e9
    }

    #[test]
    fn an_exponential_interval_has_its_quantiles() {
        let mut all = LatencyMixture::default();
        all.record(Passage { mean: 0.5, sd: 0.5, ..Passage::default() }, 1e6);
        for p in [0.5, 0.9, 0.95, 0.99] {
            let want = -0.5 * ln(1.0 - p);
            assert!((quantile(&all, p) / want - 1.0).abs() < 0.02, "{p}: {}", quantile(&all, p));
        }
        assert!((all.mean().unwrap() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_rare_call_makes_a_second_hump() {
        let mut all = LatencyMixture::default();
        let branch = Branch { share: 0.03, mean: 0.4, sd: 0.0 };
        let sd = sqrt(0.01 * 0.01 + branch.between());
        all.record(Passage { mean: 0.062, sd, drift: 0.0, branch }, 1e6);
        assert!((quantile(&all, 0.5) / 0.05 - 1.0).abs() < 0.02, "{}", quantile(&all, 0.5));
        assert!(quantile(&all, 0.95) < 0.08, "{}", quantile(&all, 0.95));
        assert!((quantile(&all, 0.99) / 0.45 - 1.0).abs() < 0.03, "{}", quantile(&all, 0.99));
    }

    #[test]
    fn a_moving_interval_is_spread() {
        let mut all = LatencyMixture::default();
        all.record(Passage { mean: 1.0, drift: 1.0, ..Passage::default() }, 80.0);
        assert!((quantile(&all, 0.99) - 1.875).abs() < 0.01, "{}", quantile(&all, 0.99));
        assert!((quantile(&all, 0.5) - 1.0).abs() < 0.2);
    }
}
