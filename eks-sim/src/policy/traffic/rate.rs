//! Request rates over time, and their approximation by constant pieces.
//!
//! Upstream: none. A profile is a shape, times random bursts, times or plus spikes.
//! Differences from the exact curve: pieces of a ramp or a day's wave are at most
//! [`RateProfile::resolution`] long and carry the exact mean over the piece, so the number of
//! requests is exact.

use crate::units::math::{cos, exp, ln, sin, sqrt};
use crate::units::special::normal_quantile;
use crate::units::{SimTime, Span};

const DAY: Span = Span::from_secs(86_400);

/// The undisturbed rate over time, in requests per second.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The same all the time.
    Constant(f64),
    /// From each time on a new rate; zero before the first.
    Steps(Vec<(SimTime, f64)>),
    /// Straight lines between the points; level before the first and after the last. This is also
    /// the shape of a measured series.
    Lines(Vec<(SimTime, f64)>),
    /// A day's wave.
    Diurnal(Diurnal),
}

/// A cosine between `low`, twelve hours from the peak, and `high` at the peak, every day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diurnal {
    /// Lowest rate.
    pub low: f64,
    /// Highest rate.
    pub high: f64,
    /// Time of day of the highest rate.
    pub peak: Span,
    /// Time from Monday 00:00 to the start of the run, in the same time zone as `peak`.
    pub start: Span,
    /// Factor for each day of the week, Monday first; it changes at midnight.
    pub weekdays: [f64; 7],
}

/// A deviation from the shape for a while. Overlapping spikes add up and multiply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spike {
    /// Start.
    pub at: SimTime,
    /// Length.
    pub duration: Span,
    /// Factor on the shape (with its bursts).
    pub factor: f64,
    /// Rate added, in requests per second.
    pub add: f64,
}

/// Random lognormal factors of mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Standard deviation of a factor.
    pub cv: f64,
    /// How long a factor lasts.
    pub every: Span,
}

/// A request rate over time.
#[derive(Clone, Debug, PartialEq)]
pub struct RateProfile {
    shape: Shape,
    spikes: Vec<Spike>,
    burst: Option<Burst>,
    resolution: Span,
}

/// Why something is not a rate profile.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RateError {
    /// A rate or factor that is negative or not finite.
    #[error("{0} is {1}; rates and factors must be zero or more")]
    Negative(&'static str, f64),
    /// Times out of order.
    #[error("the time {0} is not after the one before it; sort the points by time")]
    Order(SimTime),
    /// No points.
    #[error("the rate has no points; give at least one")]
    Empty,
    /// A length of zero.
    #[error("{0} is zero; give a length such as `1m`")]
    Zero(&'static str),
}

fn check(what: &'static str, value: f64) -> Result<(), RateError> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(RateError::Negative(what, value)) }
}

impl Shape {
    fn check(&self) -> Result<(), RateError> {
        match self {
            Self::Constant(rate) => check("the rate", *rate),
            Self::Steps(points) | Self::Lines(points) => {
                if points.is_empty() {
                    return Err(RateError::Empty);
                }
                points.iter().try_for_each(|point| check("a rate", point.1))?;
                match points.windows(2).find(|pair| pair[1].0 <= pair[0].0) {
                    Some(pair) => Err(RateError::Order(pair[1].0)),
                    None => Ok(()),
                }
            }
            Self::Diurnal(day) => {
                check("`low`", day.low)?;
                check("`high`", day.high)?;
                day.weekdays.iter().try_for_each(|factor| check("a weekday's factor", *factor))
            }
        }
    }

    /// The rate at an instant.
    fn rate_at(&self, at: SimTime) -> f64 {
        match self {
            Self::Constant(rate) => *rate,
            Self::Steps(points) => {
                let after = points.partition_point(|point| point.0 <= at);
                after.checked_sub(1).map_or(0.0, |index| points[index].1)
            }
            Self::Lines(points) => line_at(points, at),
            Self::Diurnal(day) => day.rate_at(at),
        }
    }

    /// The mean rate between two instants with no break of the shape between them.
    fn mean(&self, from: SimTime, to: SimTime) -> f64 {
        match self {
            Self::Constant(_) | Self::Steps(_) => self.rate_at(from),
            Self::Lines(points) => 0.5 * (line_at(points, from) + line_at(points, to)),
            Self::Diurnal(day) => day.mean(from, to),
        }
    }

    /// The first instant after `at` at which the rate changes, or would be too far from a piece
    /// that began at `at`.
    fn next_break(&self, at: SimTime, resolution: Span) -> SimTime {
        match self {
            Self::Constant(_) => SimTime::NEVER,
            Self::Steps(points) => first_after(points, at).unwrap_or(SimTime::NEVER),
            Self::Lines(points) => {
                let Some(next) = first_after(points, at) else { return SimTime::NEVER };
                let level = line_at(points, at) == line_at(points, next);
                if level { next } else { next.min(grid_after(at, resolution)) }
            }
            Self::Diurnal(day) => {
                let midnight = DAY - day.clock(at) % DAY;
                let grid = grid_after(at, resolution).min(at + midnight);
                if day.low == day.high { at + midnight } else { grid }
            }
        }
    }
}

fn first_after(points: &[(SimTime, f64)], at: SimTime) -> Option<SimTime> {
    points.get(points.partition_point(|point| point.0 <= at)).map(|point| point.0)
}

/// The first multiple of `resolution` after `at`.
fn grid_after(at: SimTime, resolution: Span) -> SimTime {
    at.floor_to(resolution) + resolution
}

fn line_at(points: &[(SimTime, f64)], at: SimTime) -> f64 {
    let after = points.partition_point(|point| point.0 <= at);
    match (after.checked_sub(1).and_then(|index| points.get(index)), points.get(after)) {
        (Some((t0, r0)), Some((t1, r1))) => {
            let share = at.since(*t0).nanos() as f64 / t1.since(*t0).nanos() as f64;
            r0 + (r1 - r0) * share
        }
        (Some(point), None) | (None, Some(point)) => point.1,
        (None, None) => 0.0,
    }
}

impl Diurnal {
    /// The same wave on every day, for a run that starts at midnight of a Monday.
    #[must_use]
    pub fn new(low: f64, high: f64, peak: Span) -> Self {
        Self { low, high, peak, start: Span::ZERO, weekdays: [1.0; 7] }
    }

    /// The same with a factor on Saturdays and Sundays.
    #[must_use]
    pub fn with_weekend(mut self, factor: f64) -> Self {
        (self.weekdays[5], self.weekdays[6]) = (factor, factor);
        self
    }

    /// The same for a run that starts this long after Monday 00:00.
    #[must_use]
    pub fn starting(mut self, after_monday: Span) -> Self {
        self.start = after_monday;
        self
    }

    /// Time since the Monday before the run.
    fn clock(&self, at: SimTime) -> Span {
        self.start + at.since(SimTime::ZERO)
    }

    fn weekday_factor(&self, at: SimTime) -> f64 {
        let day = self.clock(at).nanos() / DAY.nanos() % 7;
        self.weekdays.get(day as usize).copied().unwrap_or(1.0)
    }

    /// Angle of the wave: zero at the peak.
    fn angle(&self, time_of_day: Span) -> f64 {
        core::f64::consts::TAU * (time_of_day.secs_f64() - self.peak.secs_f64()) / DAY.secs_f64()
    }

    fn level(&self, wave: f64, at: SimTime) -> f64 {
        let middle = 0.5 * (self.low + self.high);
        (middle + 0.5 * (self.high - self.low) * wave) * self.weekday_factor(at)
    }

    fn rate_at(&self, at: SimTime) -> f64 {
        self.level(cos(self.angle(self.clock(at) % DAY)), at)
    }

    /// Mean over a part of one day: the exact integral of the cosine.
    fn mean(&self, from: SimTime, to: SimTime) -> f64 {
        let start = self.clock(from) % DAY;
        let (a, b) = (self.angle(start), self.angle(start + to.since(from)));
        if b <= a { self.rate_at(from) } else { self.level((sin(b) - sin(a)) / (b - a), from) }
    }
}

impl RateProfile {
    /// A profile with pieces of at most a minute.
    ///
    /// # Errors
    /// When a rate is negative or points are out of order.
    pub fn new(shape: Shape) -> Result<Self, RateError> {
        shape.check()?;
        Ok(Self { shape, spikes: Vec::new(), burst: None, resolution: Span::from_secs(60) })
    }

    /// The same with spikes.
    ///
    /// # Errors
    /// When a factor or rate is negative.
    pub fn with_spikes(mut self, spikes: Vec<Spike>) -> Result<Self, RateError> {
        for spike in &spikes {
            check("a spike's factor", spike.factor)?;
            check("a spike's rate", spike.add)?;
        }
        self.spikes = spikes;
        Ok(self)
    }

    /// The same with random bursts.
    ///
    /// # Errors
    /// When the spread is negative or a burst has no length.
    pub fn with_burst(mut self, burst: Burst) -> Result<Self, RateError> {
        check("the burst's cv", burst.cv)?;
        if burst.every.is_zero() {
            return Err(RateError::Zero("the length of a burst"));
        }
        self.burst = (burst.cv > 0.0).then_some(burst);
        Ok(self)
    }

    /// The same without random bursts, as a forecast sees it.
    #[must_use]
    pub fn without_bursts(&self) -> Self {
        Self { burst: None, ..self.clone() }
    }

    /// The same with pieces of at most this length.
    ///
    /// # Errors
    /// When the length is zero.
    pub fn with_resolution(mut self, resolution: Span) -> Result<Self, RateError> {
        if resolution.is_zero() {
            return Err(RateError::Zero("the resolution"));
        }
        self.resolution = resolution;
        Ok(self)
    }

    /// Longest piece of a curve.
    #[must_use]
    pub fn resolution(&self) -> Span {
        self.resolution
    }

    /// The exact rate at an instant, in requests per second.
    ///
    /// `uniform(n)` is the random number, strictly between 0 and 1, of the n-th burst.
    pub fn rate_at(&self, at: SimTime, uniform: impl Fn(u64) -> f64) -> f64 {
        self.disturb(self.shape.rate_at(at), at, uniform)
    }

    /// The constant piece from `at` on: its rate and its end. `factor` modulates the shape, not
    /// what spikes add.
    pub fn piece(&self, at: SimTime, factor: f64, uniform: impl Fn(u64) -> f64) -> (f64, SimTime) {
        let end = self.next_break(at);
        let mean = self.shape.mean(at, end);
        (self.disturb(mean * factor, at, uniform), end)
    }

    fn disturb(&self, rate: f64, at: SimTime, uniform: impl Fn(u64) -> f64) -> f64 {
        let mut rate = rate * self.burst.map_or(1.0, |burst| burst.factor(at, uniform));
        let mut added = 0.0;
        for spike in self.spikes.iter().filter(|spike| spike.covers(at)) {
            rate *= spike.factor;
            added += spike.add;
        }
        rate + added
    }

    /// The end of the constant piece that begins at `at`.
    #[must_use]
    pub fn next_break(&self, at: SimTime) -> SimTime {
        let mut next = self.shape.next_break(at, self.resolution);
        if let Some(burst) = self.burst {
            next = next.min(grid_after(at, burst.every));
        }
        for spike in &self.spikes {
            for edge in [spike.at, spike.at + spike.duration] {
                if edge > at {
                    next = next.min(edge);
                }
            }
        }
        next
    }

    /// The constant pieces from `from` to before `to`: start and rate. Neighbours may be equal.
    pub fn segments<'a, F: Fn(u64) -> f64 + 'a>(
        &'a self,
        from: SimTime,
        to: SimTime,
        uniform: F,
    ) -> impl Iterator<Item = (SimTime, f64)> + 'a {
        let mut at = from;
        std::iter::from_fn(move || {
            if at >= to {
                return None;
            }
            let start = at;
            let (rate, end) = self.piece(start, 1.0, &uniform);
            at = end;
            Some((start, rate))
        })
    }
}

impl Spike {
    fn covers(&self, at: SimTime) -> bool {
        at >= self.at && at < self.at + self.duration
    }
}

impl Burst {
    fn factor(&self, at: SimTime, uniform: impl Fn(u64) -> f64) -> f64 {
        let square = ln(1.0 + self.cv * self.cv);
        let index = at.nanos() / self.every.nanos().max(1);
        exp(sqrt(square) * normal_quantile(uniform(index)) - 0.5 * square)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> SimTime {
        SimTime::from_secs(secs)
    }

    fn profile(shape: Shape) -> RateProfile {
        RateProfile::new(shape).expect("a valid shape")
    }

    fn half(_: u64) -> f64 {
        0.5
    }

    /// Requests between two instants by the pieces.
    fn total(profile: &RateProfile, from: SimTime, to: SimTime) -> f64 {
        let pieces: Vec<_> = profile.segments(from, to, half).collect();
        let ends = pieces.iter().skip(1).map(|piece| piece.0).chain([to]);
        pieces.iter().zip(ends).map(|((at, rate), end)| end.since(*at).secs_f64() * rate).sum()
    }

    #[test]
    fn steps_and_spikes() {
        let steps = Shape::Steps(vec![(secs(10), 5.0), (secs(20), 8.0)]);
        let spike = |at, factor, add| Spike { at, duration: Span::from_secs(4), factor, add };
        let profile = profile(steps)
            .with_spikes(vec![spike(secs(12), 2.0, 0.0), spike(secs(14), 1.0, 3.0)])
            .expect("valid spikes");
        let got: Vec<_> = profile.segments(secs(0), secs(30), half).collect();
        let want = [(0, 0.0), (10, 5.0), (12, 10.0), (14, 13.0), (16, 8.0), (18, 5.0), (20, 8.0)];
        assert_eq!(got, want.map(|(at, rate)| (secs(at), rate)));
        assert_eq!(profile.rate_at(secs(15), half), 13.0);
    }

    #[test]
    fn a_ramp_keeps_its_requests() {
        let points = vec![(secs(100), 0.0), (secs(1000), 90.0), (secs(2000), 90.0)];
        let profile = profile(Shape::Lines(points));
        assert!((total(&profile, secs(0), secs(1000)) - 40_500.0).abs() < 1e-6);
        assert_eq!(profile.rate_at(secs(550), half), 45.0);
        // Level parts are one piece.
        assert_eq!(profile.segments(secs(1000), secs(5000), half).count(), 2);
    }

    #[test]
    fn a_day_peaks_at_its_hour() {
        let day = Diurnal::new(200.0, 6000.0, Span::from_secs(13 * 3600)).with_weekend(0.5);
        let wave = profile(Shape::Diurnal(day));
        assert_eq!(wave.rate_at(secs(13 * 3600), half), 6000.0);
        assert!((wave.rate_at(secs(3600), half) - 200.0).abs() < 1e-9);
        assert!((wave.rate_at(secs((5 * 24 + 13) * 3600), half) - 3000.0).abs() < 1e-9);
        // The mean of a whole day is the middle, whatever the resolution.
        for resolution in [60, 900, 7000] {
            let coarse = wave.clone().with_resolution(Span::from_secs(resolution)).expect("valid");
            let got = total(&coarse, secs(0), secs(86_400));
            assert!((got / 86_400.0 - 3100.0).abs() < 1e-6, "{got}");
        }
        assert_eq!(wave.segments(secs(0), secs(86_400), half).count(), 1440);
        // A run that starts on Saturday at 13:00.
        let saturday = profile(Shape::Diurnal(day.starting(Span::from_secs((5 * 24 + 13) * 3600))));
        assert!((saturday.rate_at(SimTime::ZERO, half) - 3000.0).abs() < 1e-9);
    }

    #[test]
    fn bursts_have_mean_one_and_their_spread() {
        let burst = Burst { cv: 0.2, every: Span::from_secs(60) };
        let profile = profile(Shape::Constant(100.0)).with_burst(burst).expect("valid");
        let n = 10_000_u64;
        let grid = |index: u64| (index as f64 * 0.618_033_988_749_895 + 0.5).fract().max(1e-9);
        let rates: Vec<f64> =
            profile.segments(secs(0), secs(60 * n), grid).map(|piece| piece.1).collect();
        assert_eq!(rates.len() as u64, n);
        let mean = rates.iter().sum::<f64>() / n as f64;
        let square = rates.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / n as f64;
        assert!((mean - 100.0).abs() < 0.1 && (sqrt(square) - 20.0).abs() < 0.1, "{mean} {square}");
    }

    #[test]
    fn mistakes_are_refused() {
        let refused = |shape| RateProfile::new(shape).expect_err("refused").to_string();
        assert!(refused(Shape::Constant(-1.0)).contains("zero or more"));
        assert!(refused(Shape::Constant(f64::NAN)).contains("zero or more"));
        assert!(refused(Shape::Steps(Vec::new())).contains("no points"));
        let points = vec![(secs(5), 1.0), (secs(5), 2.0)];
        assert!(refused(Shape::Lines(points)).contains("sort the points"));
        let constant = profile(Shape::Constant(1.0));
        assert!(constant.clone().with_resolution(Span::ZERO).is_err());
        assert!(constant.with_burst(Burst { cv: 0.2, every: Span::ZERO }).is_err());
    }
}
