//! What the recommender remembers of one container of a VPA's target: a cpu and a memory
//! histogram, and for each running container the memory peak of the current window.
//!
//! Upstream: kubernetes/autoscaler `vertical-pod-autoscaler/pkg/recommender/model/
//! {container,aggregate_container_state,aggregations_config}.go` at 55c37cd. Differences:
//! aggregates live in memory only; loading from a checkpoint is a method of the histogram.

use super::histogram::{DecayingHistogram, Layout};
use super::recommender::scale_amount;
use crate::units::{SimTime, Span};

/// Settings of the aggregation; defaults are the recommender's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AggregateConfig {
    /// `--memory-aggregation-interval` (24 h).
    pub memory_interval: Span,
    /// `--memory-aggregation-interval-count` (8).
    pub memory_intervals: u64,
    /// `--cpu-histogram-decay-half-life` (24 h).
    pub cpu_half_life: Span,
    /// `--memory-histogram-decay-half-life` (24 h).
    pub memory_half_life: Span,
    /// Weight of a cpu sample (0.1, `minSampleWeight`).
    pub cpu_weight: f64,
    /// Reaction to out-of-memory kills.
    pub oom: OomBump,
}

/// How much memory a container is taken to need after an out-of-memory kill.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OomBump {
    /// `--oom-bump-up-ratio` (1.2).
    pub ratio: f64,
    /// `--oom-min-bump-up-bytes` (100 MiB).
    pub min_bytes: i64,
}

impl Default for OomBump {
    fn default() -> Self {
        Self { ratio: 1.2, min_bytes: 100 << 20 }
    }
}

impl Default for AggregateConfig {
    fn default() -> Self {
        let day = Span::from_secs(86_400);
        Self {
            memory_interval: day,
            memory_intervals: 8,
            cpu_half_life: day,
            memory_half_life: day,
            cpu_weight: 0.1,
            oom: OomBump::default(),
        }
    }
}

/// A memory peak, stamped with the end of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPeak {
    /// Bytes.
    pub bytes: i64,
    /// End of the window.
    pub time: SimTime,
}

/// What a memory sample changes in the histogram: first the subtraction, then the addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PeakChange {
    /// Peak to take out.
    pub subtract: Option<WindowPeak>,
    /// Peak to put in.
    pub add: Option<WindowPeak>,
}

/// The memory peak of one running container in its current window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MemoryWindow {
    end: Option<SimTime>,
    usage_peak: i64,
    oom_peak: i64,
    last_sample: Option<SimTime>,
}

impl MemoryWindow {
    /// A usage sample; `None` if it is older than the last one or negative.
    pub fn usage(&mut self, time: SimTime, bytes: i64, interval: Span) -> Option<PeakChange> {
        if bytes < 0 || self.last_sample.is_some_and(|last| time < last) {
            return None;
        }
        Some(self.sample(time, bytes, interval, false))
    }

    /// An out-of-memory kill of a container with this request; `None` if it is too old.
    pub fn oom(
        &mut self,
        time: SimTime,
        request: i64,
        interval: Span,
        bump: &OomBump,
    ) -> Option<PeakChange> {
        let limit = self.last_sample.map(|last| last - interval);
        if limit.is_some_and(|limit| time < limit) {
            return None;
        }
        // An earlier estimate after a kill does not feed the next one.
        let used = request.max(self.usage_peak).max(0);
        let needed = used.saturating_add(bump.min_bytes).max(scale_amount(used, bump.ratio));
        Some(self.sample(time, needed, interval, true))
    }

    fn sample(&mut self, time: SimTime, bytes: i64, interval: Span, oom: bool) -> PeakChange {
        self.last_sample = Some(time);
        let end = self.end.unwrap_or(time);
        let mut change = PeakChange::default();
        if time < end {
            let old = self.usage_peak.max(self.oom_peak);
            if old == 0 || bytes <= old {
                return change;
            }
            change.subtract = Some(WindowPeak { bytes: old, time: end });
            change.add = Some(WindowPeak { bytes, time: end });
        } else {
            let late = time.since(end);
            let next = end + (late - late % interval) + interval;
            self.end = Some(next);
            (self.usage_peak, self.oom_peak) = (0, 0);
            change.add = Some(WindowPeak { bytes, time: next });
        }
        if oom {
            self.oom_peak = bytes;
        } else {
            self.usage_peak = bytes;
        }
        change
    }
}

/// Samples of all replicas of one container name.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerAggregate {
    cpu: DecayingHistogram,
    memory: DecayingHistogram,
    first_sample: Option<SimTime>,
    last_sample: SimTime,
    samples: u64,
    created: SimTime,
}

impl ContainerAggregate {
    /// An empty aggregate.
    #[must_use]
    pub fn new(config: &AggregateConfig, created: SimTime) -> Self {
        Self {
            cpu: DecayingHistogram::new(Layout::cpu(), config.cpu_half_life),
            memory: DecayingHistogram::new(Layout::memory(), config.memory_half_life),
            first_sample: None,
            last_sample: SimTime::ZERO,
            samples: 0,
            created,
        }
    }
    /// A cpu sample in cores. The caller drops samples that are not newer than the container's
    /// last one; other containers of the aggregate may well be older.
    pub fn add_cpu(&mut self, config: &AggregateConfig, time: SimTime, cores: f64) {
        self.cpu.add(cores, config.cpu_weight, time);
        self.last_sample = self.last_sample.max(time);
        self.first_sample = Some(self.first_sample.map_or(time, |first| first.min(time)));
        self.samples += 1;
    }
    /// Applies what a [`MemoryWindow`] answered.
    pub fn apply_memory(&mut self, change: &PeakChange) {
        if let Some(peak) = change.subtract {
            self.memory.subtract(peak.bytes as f64, 1.0, peak.time);
        }
        if let Some(peak) = change.add {
            self.memory.add(peak.bytes as f64, 1.0, peak.time);
        }
    }
    /// Adds all samples of another aggregate.
    pub fn merge(&mut self, other: &Self) {
        self.cpu.merge(&other.cpu);
        self.memory.merge(&other.memory);
        self.first_sample = match (self.first_sample, other.first_sample) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.last_sample = self.last_sample.max(other.last_sample);
        self.samples += other.samples;
    }
    /// Cpu histogram, in cores.
    #[must_use]
    pub const fn cpu(&self) -> &DecayingHistogram {
        &self.cpu
    }
    /// Memory histogram, in bytes.
    #[must_use]
    pub const fn memory(&self) -> &DecayingHistogram {
        &self.memory
    }
    /// Time between the first and the last cpu sample.
    #[must_use]
    pub fn lifespan(&self) -> Span {
        self.first_sample.map_or(Span::ZERO, |first| self.last_sample.since(first))
    }
    /// Number of cpu samples.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }
    /// Whether nothing was heard for the whole history (8 days by default).
    #[must_use]
    pub fn is_expired(&self, config: &AggregateConfig, now: SimTime) -> bool {
        let last = if self.samples == 0 { self.created } else { self.last_sample };
        now.since(last) >= config.memory_interval * config.memory_intervals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_expire_and_merge() {
        let config = AggregateConfig::default();
        let day = Span::from_secs(86_400);
        let mut a = ContainerAggregate::new(&config, SimTime::ZERO);
        assert!(!a.is_expired(&config, SimTime::ZERO + day * 7));
        assert!(a.is_expired(&config, SimTime::ZERO + day * 8));
        a.add_cpu(&config, SimTime::ZERO + day, 0.5);
        assert!(!a.is_expired(&config, SimTime::ZERO + day * 8));
        let mut b = ContainerAggregate::new(&config, SimTime::ZERO);
        b.add_cpu(&config, SimTime::ZERO + day * 3, 0.5);
        b.merge(&a);
        assert_eq!((b.samples(), b.lifespan()), (2, day * 2));
    }
}
