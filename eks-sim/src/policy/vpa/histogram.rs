//! Bucketed histograms of usage, plain and with exponentially decaying weights.
//!
//! Upstream: kubernetes/autoscaler `vertical-pod-autoscaler/pkg/recommender/util/
//! {histogram,histogram_options,decaying_histogram}.go` at 55c37cd. Differences: the reference
//! time of the decay is rounded from the start of the run, not from the year 1; negative weights
//! count as zero instead of ending the program.

use crate::units::{SimTime, Span, math};
use std::collections::BTreeMap;

/// Half-lives after which the reference time of a decaying histogram moves (`maxDecayExponent`).
const MAX_DECAY_EXPONENT: u64 = 100;
/// Largest weight in a checkpoint (`MaxCheckpointWeight`).
const MAX_CHECKPOINT_WEIGHT: f64 = 10_000.0;

/// Where the buckets of a histogram lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    first: f64,
    /// Growth of bucket sizes; absent = equal sizes.
    ratio: Option<f64>,
    /// Natural logarithm of the ratio.
    log_ratio: f64,
    buckets: usize,
    epsilon: f64,
}

impl Layout {
    /// Equal buckets of `size` up to `max`; a bucket below weight `epsilon` is empty.
    #[must_use]
    pub fn linear(max: f64, size: f64, epsilon: f64) -> Self {
        Self {
            first: size,
            ratio: None,
            log_ratio: 1.0,
            buckets: bucket_count((max / size).ceil()),
            epsilon,
        }
    }
    /// Buckets that grow by `ratio` from `first` up to `max`.
    #[must_use]
    pub fn exponential(max: f64, first: f64, ratio: f64, epsilon: f64) -> Self {
        let log_ratio = math::ln(ratio);
        let last = (math::ln(max * (ratio - 1.0) / first + 1.0) / log_ratio).ceil();
        Self { first, ratio: Some(ratio), log_ratio, buckets: bucket_count(last), epsilon }
    }
    /// The recommender's buckets for cpu in cores: 0.01 to 1000, each 5 % larger.
    #[must_use]
    pub fn cpu() -> Self {
        Self::exponential(1000.0, 0.01, 1.05, 0.0001)
    }
    /// The recommender's buckets for memory in bytes: 1e7 to 1e12, each 5 % larger.
    #[must_use]
    pub fn memory() -> Self {
        Self::exponential(1e12, 1e7, 1.05, 0.0001)
    }
    /// Number of buckets.
    #[must_use]
    pub const fn buckets(&self) -> usize {
        self.buckets
    }
    /// The bucket that holds `value`.
    #[must_use]
    pub fn find(&self, value: f64) -> usize {
        let at = match self.ratio {
            None => value / self.first,
            Some(_) if value < self.first => 0.0,
            Some(ratio) => math::ln(value * (ratio - 1.0) / self.first + 1.0) / self.log_ratio,
        };
        // The cast saturates, so negative and huge values end in the first and last bucket.
        (at as usize).min(self.buckets - 1)
    }
    /// Where a bucket begins.
    #[must_use]
    pub fn start(&self, bucket: usize) -> f64 {
        match self.ratio {
            _ if bucket == 0 => 0.0,
            None => bucket as f64 * self.first,
            Some(ratio) => self.first * (math::pow(ratio, bucket as f64) - 1.0) / (ratio - 1.0),
        }
    }
}

/// The last bucket has no end, so one more than the logarithm; bounded against absurd layouts.
fn bucket_count(last: f64) -> usize {
    (last.clamp(0.0, 1e6) as usize) + 1
}

/// A distribution of weighted samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    layout: Layout,
    weights: Vec<f64>,
    /// Where each bucket begins.
    starts: Vec<f64>,
    total: f64,
    /// First non-empty bucket, the last one if all are empty.
    min: usize,
    /// Last non-empty bucket, the first one if all are empty.
    max: usize,
}

/// A histogram as it is stored.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Checkpoint {
    /// Sum of all weights.
    pub total_weight: f64,
    /// Relative weights, at most 10,000.
    pub bucket_weights: BTreeMap<i64, u32>,
}

/// Why a checkpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The total is negative or not a number.
    #[error("a checkpoint of total weight {0} cannot be loaded; the weight must not be negative")]
    Total(f64),
    /// No such bucket.
    #[error("the checkpoint has bucket {0}, which the histogram does not have")]
    Bucket(i64),
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let weights = vec![0.0; layout.buckets];
        let starts = (0..layout.buckets).map(|bucket| layout.start(bucket)).collect();
        Self { layout, weights, starts, total: 0.0, min: layout.buckets - 1, max: 0 }
    }
    /// Adds a sample.
    pub fn add(&mut self, value: f64, weight: f64) {
        let bucket = self.layout.find(value);
        let weight = weight.max(0.0);
        self.weights[bucket] += weight;
        self.total += weight;
        if self.weights[bucket] >= self.layout.epsilon {
            self.min = self.min.min(bucket);
            self.max = self.max.max(bucket);
        }
    }
    /// Takes a sample out again; a bucket never falls below zero.
    pub fn subtract(&mut self, value: f64, weight: f64) {
        let bucket = self.layout.find(value);
        let held = self.weights[bucket];
        let weight = weight.max(0.0);
        let weight = if weight > held - self.layout.epsilon { held } else { weight };
        self.total -= weight;
        self.weights[bucket] -= weight;
        self.trim();
    }
    /// Whether no bucket has weight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights[self.min] < self.layout.epsilon
    }
    /// Sum of all weights.
    #[must_use]
    pub const fn total_weight(&self) -> f64 {
        self.total
    }
    /// Weight of a bucket.
    #[must_use]
    pub fn weight(&self, bucket: usize) -> f64 {
        self.weights.get(bucket).copied().unwrap_or(0.0)
    }
    /// Its layout.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }
    /// The end of the bucket in which the percentile lies; zero if empty.
    #[must_use]
    pub fn percentile(&self, percentile: f64) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        let threshold = percentile * self.total;
        let (mut sum, mut bucket) = (0.0, self.min);
        while bucket < self.max {
            sum += self.weights[bucket];
            if sum >= threshold {
                break;
            }
            bucket += 1;
        }
        // The last bucket has no end.
        self.starts[(bucket + 1).min(self.layout.buckets - 1)]
    }
    /// Several percentiles in one walk over the buckets.
    #[must_use]
    pub fn percentiles<const N: usize>(&self, percentiles: [f64; N]) -> [f64; N] {
        if self.is_empty() {
            return [0.0; N];
        }
        let thresholds = percentiles.map(|p| p * self.total);
        let mut found = [self.max.max(self.min); N];
        let (mut sum, mut open) = (0.0, N);
        let mut done = [false; N];
        for bucket in self.min..self.max {
            sum += self.weights[bucket];
            for i in 0..N {
                if !done[i] && sum >= thresholds[i] {
                    (found[i], done[i]) = (bucket, true);
                    open -= 1;
                }
            }
            if open == 0 {
                break;
            }
        }
        found.map(|bucket| self.starts[(bucket + 1).min(self.layout.buckets - 1)])
    }
    /// Adds all samples of another histogram of the same layout.
    pub fn merge(&mut self, other: &Self) {
        debug_assert!(self.layout == other.layout, "histograms of one layout");
        for (weight, more) in self.weights.iter_mut().zip(&other.weights) {
            *weight += more;
        }
        self.total += other.total;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
    /// Multiplies all weights.
    fn scale(&mut self, factor: f64) {
        self.weights.iter_mut().for_each(|w| *w *= factor);
        self.total *= factor;
        self.trim();
    }
    fn trim(&mut self) {
        let epsilon = self.layout.epsilon;
        while self.weights[self.min] < epsilon && self.min < self.layout.buckets - 1 {
            self.min += 1;
        }
        while self.weights[self.max] < epsilon && self.max > 0 {
            self.max -= 1;
        }
    }
    /// Relative weights for storage; relatively tiny buckets are dropped.
    #[must_use]
    pub fn save(&self) -> Checkpoint {
        let range =
            || self.weights.iter().enumerate().skip(self.min).take_while(|b| b.0 <= self.max);
        let largest = range().fold(0.0, |max, (_, w)| f64::max(max, *w));
        let mut bucket_weights = BTreeMap::new();
        for (bucket, weight) in range() {
            let relative = (weight * MAX_CHECKPOINT_WEIGHT / largest + 0.5).floor() as u32;
            if relative > 0 {
                bucket_weights.insert(bucket as i64, relative);
            }
        }
        Checkpoint { total_weight: self.total, bucket_weights }
    }
    /// Adds what a checkpoint holds.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let total = checkpoint.total_weight;
        if !total.is_finite() || total < 0.0 {
            return Err(CheckpointError::Total(total));
        }
        let mut entries = Vec::with_capacity(checkpoint.bucket_weights.len());
        let mut sum = 0_i64;
        for (&bucket, &weight) in &checkpoint.bucket_weights {
            let index = usize::try_from(bucket).ok().filter(|b| *b < self.layout.buckets);
            entries.push((index.ok_or(CheckpointError::Bucket(bucket))?, weight));
            sum = sum.saturating_add(weight.into());
        }
        if sum == 0 {
            return Ok(());
        }
        let ratio = total / sum as f64;
        for (bucket, weight) in entries {
            self.min = self.min.min(bucket);
            self.max = self.max.max(bucket);
            self.weights[bucket] += f64::from(weight) * ratio;
        }
        self.total += total;
        Ok(())
    }
}

/// A histogram whose samples lose half their weight every half-life. Percentiles do not change
/// with time alone, so newer samples get larger weights instead.
#[derive(Clone, Debug, PartialEq)]
pub struct DecayingHistogram {
    histogram: Histogram,
    half_life: Span,
    /// When a sample would have its plain weight; absent before the first sample.
    reference: Option<SimTime>,
}

impl DecayingHistogram {
    /// An empty histogram.
    #[must_use]
    pub fn new(layout: Layout, half_life: Span) -> Self {
        Self { histogram: Histogram::new(layout), half_life, reference: None }
    }
    /// Adds a sample.
    pub fn add(&mut self, value: f64, weight: f64, time: SimTime) {
        let factor = self.factor(time);
        self.histogram.add(value, weight * factor);
    }
    /// Takes a sample out again.
    pub fn subtract(&mut self, value: f64, weight: f64, time: SimTime) {
        let factor = self.factor(time);
        self.histogram.subtract(value, weight * factor);
    }
    /// The weighted distribution.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram {
        &self.histogram
    }
    /// See [`Histogram::percentile`].
    #[must_use]
    pub fn percentile(&self, percentile: f64) -> f64 {
        self.histogram.percentile(percentile)
    }
    /// See [`Histogram::percentiles`].
    #[must_use]
    pub fn percentiles<const N: usize>(&self, percentiles: [f64; N]) -> [f64; N] {
        self.histogram.percentiles(percentiles)
    }
    /// Adds all samples of another histogram of the same layout and half-life.
    pub fn merge(&mut self, other: &Self) {
        match (self.reference, other.reference) {
            (_, None) => {}
            (None, Some(_)) => *self = other.clone(),
            (Some(own), Some(theirs)) if own >= theirs => {
                let mut moved = other.clone();
                moved.shift(theirs, own);
                self.histogram.merge(&moved.histogram);
            }
            (Some(own), Some(theirs)) => {
                self.shift(own, theirs);
                self.histogram.merge(&other.histogram);
            }
        }
    }
    /// Loads a checkpoint taken relative to `reference`.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn load(
        &mut self,
        checkpoint: &Checkpoint,
        reference: SimTime,
    ) -> Result<(), CheckpointError> {
        self.histogram.load(checkpoint)?;
        self.reference = Some(reference);
        Ok(())
    }

    fn factor(&mut self, time: SimTime) -> f64 {
        let mut reference = *self.reference.get_or_insert(round(time, self.half_life));
        if time.since(reference) > self.half_life * MAX_DECAY_EXPONENT {
            // The exponent has grown too large: restate all weights for a later reference.
            let next = round(time, self.half_life);
            self.shift(reference, next);
            reference = next;
        }
        math::exp2(half_lives(reference, time, self.half_life))
    }
    fn shift(&mut self, from: SimTime, to: SimTime) {
        let exponent = half_lives(to, from, self.half_life).round();
        self.histogram.scale(math::exp2(exponent));
        self.reference = Some(to);
    }
}

/// Half-lives from `from` to `to`, negative if that is earlier.
fn half_lives(from: SimTime, to: SimTime, half_life: Span) -> f64 {
    let span = (i128::from(to.nanos()) - i128::from(from.nanos())) as f64;
    span / half_life.nanos().max(1) as f64
}

/// The nearest multiple of `unit`, upwards in the middle.
fn round(time: SimTime, unit: Span) -> SimTime {
    (time + unit / 2).floor_to(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn upstream_layouts() {
        assert_eq!((Layout::cpu().buckets(), Layout::memory().buckets()), (176, 176));
    }

    proptest! {
        #[test]
        fn buckets_hold_their_values(value in 0.0..1e13_f64) {
            for layout in [Layout::cpu(), Layout::memory(), Layout::linear(100.0, 0.5, 1e-15)] {
                let bucket = layout.find(value);
                prop_assert!(bucket < layout.buckets());
                prop_assert!(layout.start(bucket) <= value * (1.0 + 1e-9));
                if bucket + 1 < layout.buckets() {
                    prop_assert!(value <= layout.start(bucket + 1) * (1.0 + 1e-9));
                }
            }
        }

        #[test]
        fn percentiles_grow_and_subtraction_undoes(
            samples in prop::collection::vec((0.0..2000.0_f64, 0.01..5.0_f64, 0..10_000_000_u64), 1..40),
        ) {
            let mut h = DecayingHistogram::new(Layout::cpu(), Span::from_secs(86_400));
            for (value, weight, t) in &samples {
                h.add(*value, *weight, SimTime::from_secs(*t));
            }
            let read: Vec<f64> = (0..=10).map(|p| h.percentile(f64::from(p) / 10.0)).collect();
            prop_assert!(read.windows(2).all(|w| w[0] <= w[1]), "{read:?}");
            for (value, weight, t) in &samples {
                h.subtract(*value, *weight, SimTime::from_secs(*t));
            }
            prop_assert!(h.histogram().total_weight().abs() < 1e-6 * 2_f64.powi(100));
        }

        #[test]
        fn one_walk_finds_what_several_find(
            values in prop::collection::vec(0.0..900.0_f64, 0..40), p in 0.0..1.0_f64,
        ) {
            let mut h = Histogram::new(Layout::cpu());
            values.iter().for_each(|v| h.add(*v, 0.1));
            let wanted = [0.9, p, 0.5];
            prop_assert_eq!(h.percentiles(wanted), wanted.map(|p| h.percentile(p)));
        }

        #[test]
        fn a_checkpoint_keeps_percentiles(values in prop::collection::vec(0.01..900.0_f64, 1..40)) {
            let mut h = Histogram::new(Layout::cpu());
            values.iter().for_each(|v| h.add(*v, 1.0));
            let mut back = Histogram::new(Layout::cpu());
            back.load(&h.save()).unwrap();
            prop_assert!((back.total_weight() - h.total_weight()).abs() < 1e-9);
            let far = (back.percentile(0.9) / h.percentile(0.9) - 1.0).abs();
            prop_assert!(far < 2.0, "{far}");
            prop_assert_eq!(back.percentile(0.0), h.percentile(0.0));
        }

        #[test]
        fn merging_is_adding(times in prop::collection::vec(0..12_u64, 2..20)) {
            let new = || DecayingHistogram::new(Layout::cpu(), Span::from_secs(86_400));
            let (mut all, mut a, mut b) = (new(), new(), new());
            for (i, day) in times.iter().enumerate() {
                let (value, t) = (1.0 + i as f64, SimTime::from_secs(day * 86_400));
                all.add(value, 1.0, t);
                if i % 2 == 0 { a.add(value, 1.0, t) } else { b.add(value, 1.0, t) }
            }
            a.merge(&b);
            // Older samples lose their weight to rounding, so the times stay within days.
            for p in [0.05, 0.35, 0.65, 0.95, 1.0] {
                prop_assert_eq!(a.percentile(p), all.percentile(p));
            }
        }
    }
}
