//! Time-weighted sums, updated on change.

use crate::units::{SimTime, Span};

/// A piecewise constant value: its integral and its largest value from a start on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Integral {
    value: f64,
    since: SimTime,
    sum: f64,
    max: f64,
    from: SimTime,
}

impl Integral {
    /// Counts from `from` on.
    pub(crate) fn new(from: SimTime) -> Self {
        Self { from, ..Self::default() }
    }
    /// The value now.
    pub(crate) const fn value(&self) -> f64 {
        self.value
    }
    /// The value changes.
    pub(crate) fn set(&mut self, now: SimTime, value: f64) {
        self.sum += self.value * now.since(self.since.max(self.from)).secs_f64();
        self.since = now;
        self.value = value;
        if now >= self.from {
            self.max = self.max.max(value);
        }
    }
    /// The value changes by `delta`.
    pub(crate) fn add(&mut self, now: SimTime, delta: f64) {
        self.set(now, self.value + delta);
    }
    /// Ends the count: (integral, mean, largest).
    pub(crate) fn finish(mut self, end: SimTime) -> (f64, f64, f64) {
        // The value at the start of the count matters even if it never changes.
        self.max = if self.since < self.from { self.max.max(self.value) } else { self.max };
        self.set(end, self.value);
        let span: Span = end.since(self.from);
        let mean = if span.is_zero() { f64::NAN } else { self.sum / span.secs_f64() };
        (self.sum, mean, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_its_start() {
        let mut i = Integral::new(SimTime::from_secs(10));
        i.set(SimTime::ZERO, 4.0);
        i.set(SimTime::from_secs(15), 2.0);
        let (sum, mean, max) = i.finish(SimTime::from_secs(20));
        assert_eq!((sum, mean, max), (30.0, 3.0, 2.0));
    }
}
