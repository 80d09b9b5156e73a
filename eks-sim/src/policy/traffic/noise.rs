//! Noise on a rate that remembers: log-normal factors of mean 1 whose logarithms form an
//! autoregression of first order.
//!
//! Upstream: none; the sampled Ornstein–Uhlenbeck process.
//! Differences: none. The random numbers are passed in.

use crate::units::math::{exp, ln, sqrt};
use crate::units::special::normal_quantile;
use crate::units::{SimTime, Span};

/// Noise whose correlation fades.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Standard deviation of the logarithm.
    sigma: f64,
    /// Correlation of neighbours.
    memory: f64,
    every: Span,
}

/// Where the noise stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cursor {
    /// Factors drawn so far.
    drawn: u64,
    /// The last one, in standard deviations of the logarithm.
    level: f64,
}

impl Noise {
    /// Factors of standard deviation `cv` that change each `every`; their correlation falls to
    /// 1/e over `correlation` (zero: they are independent).
    #[must_use]
    pub fn new(cv: f64, correlation: Span, every: Span) -> Self {
        let every = every.max(Span::from_millis(1));
        let memory = if correlation.is_zero() {
            0.0
        } else {
            exp(-every.secs_f64() / correlation.secs_f64())
        };
        Self { sigma: sqrt(ln(1.0 + cv * cv)), memory, every }
    }

    /// Moves the cursor to `at`; gives the factor there and the time it ends.
    ///
    /// `uniform(n)` is the random number, strictly between 0 and 1, of the n-th factor.
    pub fn at(
        &self,
        cursor: &mut Cursor,
        at: SimTime,
        uniform: impl Fn(u64) -> f64,
    ) -> (f64, SimTime) {
        let wanted = at.nanos() / self.every.nanos() + 1;
        while cursor.drawn < wanted {
            let fresh = normal_quantile(uniform(cursor.drawn));
            let memory = if cursor.drawn == 0 { 0.0 } else { self.memory };
            cursor.level = memory * cursor.level + sqrt(1.0 - memory * memory) * fresh;
            cursor.drawn += 1;
        }
        let factor = exp(self.sigma * cursor.level - 0.5 * self.sigma * self.sigma);
        (factor, at.floor_to(self.every) + self.every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::key::mix64;

    #[test]
    fn mean_spread_and_memory() {
        let noise = Noise::new(0.3, Span::from_secs(600), Span::from_secs(60));
        let unit = |k: u64| ((mix64(k) >> 11) | 1) as f64 / 9_007_199_254_740_992.0;
        let (mut cursor, mut at, n) = (Cursor::default(), SimTime::ZERO, 200_000);
        let mut factors = Vec::with_capacity(n);
        for _ in 0..n {
            let (factor, end) = noise.at(&mut cursor, at, unit);
            factors.push(factor);
            at = end;
        }
        let count = n as f64;
        let mean = factors.iter().sum::<f64>() / count;
        let square = |lag: usize| {
            factors.iter().zip(&factors[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>()
                / count
        };
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((sqrt(square(0)) / 0.3 - 1.0).abs() < 0.03, "{}", sqrt(square(0)));
        // The covariance of log-normal factors is exp(σ² e^(−lag/correlation)) − 1.
        let want = exp(ln(1.09) * exp(-1.0)) - 1.0;
        assert!((square(10) / want - 1.0).abs() < 0.1, "{} {want}", square(10));
    }

    #[test]
    fn a_jump_draws_what_it_passed() {
        let noise = Noise::new(0.3, Span::from_secs(600), Span::from_secs(60));
        let grid = |n: u64| (n as f64 * 0.618_033_988_749_895 + 0.5).fract().max(1e-9);
        let (mut one, mut two) = (Cursor::default(), Cursor::default());
        (0..50).for_each(|k| {
            noise.at(&mut one, SimTime::from_secs(60 * k), grid);
        });
        noise.at(&mut two, SimTime::from_secs(60 * 49 + 30), grid);
        assert_eq!(one, two);
    }
}
