//! Retries: how many attempts a request makes, and whether one of them succeeds.
//!
//! Upstream: none; independent attempts, as with a client or mesh that tries again at once.
//! Differences: no pause before an attempt and no retry budget; a failed attempt takes no time.

/// Attempts of a request whose single attempts succeed with some probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempts {
    /// Mean number of attempts: 1 to 1 + retries.
    pub mean: f64,
    /// Probability that one of them succeeds.
    pub success: f64,
}

impl Attempts {
    /// The attempts of a request that tries again at most `retries` times.
    #[must_use]
    pub fn new(success: f64, retries: u32) -> Self {
        let success = success.clamp(0.0, 1.0);
        let (mut mean, mut failing) = (1.0, 1.0 - success);
        for _ in 0..retries {
            mean += failing;
            failing *= 1.0 - success;
        }
        Self { mean, success: 1.0 - failing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_a_cut_off_geometric_series() {
        assert_eq!(Attempts::new(1.0, 3), Attempts { mean: 1.0, success: 1.0 });
        assert_eq!(Attempts::new(0.0, 3), Attempts { mean: 4.0, success: 0.0 });
        assert_eq!(Attempts::new(0.5, 2), Attempts { mean: 1.75, success: 0.875 });
        let once = Attempts::new(0.3, 0);
        assert!(once.mean == 1.0 && (once.success - 0.3).abs() < 1e-12, "{once:?}");
    }
}
