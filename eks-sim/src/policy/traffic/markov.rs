//! A Markov-modulated rate: calm and busy times of exponential length take turns.
//!
//! Upstream: none; the switched Poisson process of two states (Fischer and Meier-Hellstern 1993).
//! Differences: none. The random numbers are passed in.

use crate::units::math::ln;
use crate::units::{SimTime, Span};

/// Two states of the load that take turns. The run begins calm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Markov {
    /// Factor in calm times.
    calm_factor: f64,
    /// Factor in busy times.
    busy_factor: f64,
    /// Mean length of calm times.
    calm: Span,
    /// Mean length of busy times.
    busy: Span,
}

/// Where a modulated rate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Number of the present time; odd ones are calm.
    number: u64,
    /// Its end.
    until: SimTime,
}

impl Default for Cursor {
    /// Before the first time.
    fn default() -> Self {
        Self { number: 0, until: SimTime::ZERO }
    }
}

/// Why something is not a modulation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MarkovError {
    /// A factor that is negative or not finite.
    #[error("the factor {0} is out of range; write a number from 0 to 1000")]
    Factor(f64),
    /// A length of zero.
    #[error("the mean length of a time is zero; write for example `1m`")]
    Length,
    /// The calm factor that keeps the mean would be negative.
    #[error(
        "busy times alone exceed the mean rate; make `factor` smaller, `busy` shorter, or set \
         `calmFactor`"
    )]
    Mean,
}

impl Markov {
    /// Busy times of mean length `busy` with `busy_factor`, between calm ones of mean length
    /// `calm`. Without a `calm_factor` the mean over time stays that of the shape.
    ///
    /// # Errors
    /// When a number is out of range.
    pub fn new(
        busy_factor: f64,
        busy: Span,
        calm: Span,
        calm_factor: Option<f64>,
    ) -> Result<Self, MarkovError> {
        let share = busy.secs_f64() / (busy + calm).secs_f64().max(f64::MIN_POSITIVE);
        if busy.is_zero() || calm.is_zero() {
            return Err(MarkovError::Length);
        }
        for factor in [busy_factor, calm_factor.unwrap_or(1.0)] {
            if !(0.0..=1000.0).contains(&factor) {
                return Err(MarkovError::Factor(factor));
            }
        }
        let calm_factor = calm_factor.unwrap_or((1.0 - share * busy_factor) / (1.0 - share));
        if calm_factor < 0.0 {
            return Err(MarkovError::Mean);
        }
        Ok(Self { calm_factor, busy_factor, calm, busy })
    }

    /// Moves the cursor to `at`; gives the factor there and the time it ends.
    ///
    /// `uniform(n)` is the random number, strictly between 0 and 1, of the n-th time.
    pub fn at(
        &self,
        cursor: &mut Cursor,
        at: SimTime,
        uniform: impl Fn(u64) -> f64,
    ) -> (f64, SimTime) {
        while cursor.until <= at {
            cursor.number += 1;
            let mean = if cursor.number % 2 == 1 { self.calm } else { self.busy };
            let length = Span::from_secs_f64(-mean.secs_f64() * ln(uniform(cursor.number)));
            cursor.until += length.max(Span::from_millis(1));
        }
        let factor = if cursor.number % 2 == 1 { self.calm_factor } else { self.busy_factor };
        (factor, cursor.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_kept_and_lengths_are_exponential() {
        let m = Markov::new(4.0, Span::from_secs(60), Span::from_secs(300), None).expect("valid");
        assert!((m.calm_factor - 0.4).abs() < 1e-12);
        let grid = |index: u64| (index as f64 * 0.618_033_988_749_895 + 0.5).fract().max(1e-9);
        let (mut cursor, mut at, mut sum) = (Cursor::default(), SimTime::ZERO, 0.0);
        for _ in 0..20_000 {
            let (factor, end) = m.at(&mut cursor, at, grid);
            sum += factor * end.since(at).secs_f64();
            at = end;
        }
        assert!((sum / at.secs_f64() - 1.0).abs() < 0.02, "{}", sum / at.secs_f64());
        assert!((at.secs_f64() / 20_000.0 / 180.0 - 1.0).abs() < 0.02);
    }

    #[test]
    fn mistakes_are_refused() {
        let (short, long) = (Span::from_secs(60), Span::from_secs(300));
        assert_eq!(Markov::new(7.0, short, long, None), Err(MarkovError::Mean));
        assert!(Markov::new(7.0, short, long, Some(0.5)).is_ok());
        assert_eq!(Markov::new(7.0, Span::ZERO, long, None), Err(MarkovError::Length));
        assert!(Markov::new(f64::NAN, short, long, None).is_err());
    }
}
