//! Samples over replications: values that were not observed are left out.

use super::stats::{CONFIDENCE, Estimate};

/// Mean and interval of the finite values, in their order; none if there are none. Values that
/// are all equal give exactly that value and an interval of no width.
#[must_use]
pub fn estimate(values: impl Iterator<Item = f64>) -> Option<Estimate> {
    let values: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    let first = *values.first()?;
    let n = values.len();
    if n > 1 && values.iter().all(|v| *v == first) {
        return Some(Estimate { mean: first, half_width: 0.0, lo: first, hi: first, n });
    }
    Estimate::of_mean(&values, CONFIDENCE)
}

/// The estimate of the values times a constant.
#[must_use]
pub fn scaled(estimate: &Estimate, factor: f64) -> Estimate {
    let (a, b) = (estimate.lo * factor, estimate.hi * factor);
    Estimate {
        mean: estimate.mean * factor,
        half_width: estimate.half_width * factor.abs(),
        lo: a.min(b),
        hi: a.max(b),
        n: estimate.n,
    }
}

/// Quantile of sorted values by linear interpolation (type 7, as [`super::stats`] has it);
/// not-a-number without values.
#[must_use]
pub fn quantile_sorted(sorted: &[f32], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = at.floor();
    let value = |i: usize| sorted.get(i).map_or(f64::NAN, |&v| f64::from(v));
    let (lo, hi) = (value(below as usize), value((below as usize + 1).min(last)));
    lo + (hi - lo) * (at - below)
}

/// The value rounded to so many significant decimal digits; the same on every platform.
#[must_use]
pub fn round_significant(value: f64, digits: usize) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    format!("{:.*e}", digits.saturating_sub(1), value).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates() {
        let e = estimate([1.0, 2.0, f64::NAN, 3.0].into_iter()).unwrap();
        assert_eq!((e.mean, e.n), (2.0, 3));
        assert!((e.half_width - 4.302_652_73 / 3f64.sqrt()).abs() < 1e-8);
        let equal = estimate([0.1; 7].into_iter()).unwrap();
        assert_eq!((equal.mean, equal.half_width), (0.1, 0.0));
        assert!(estimate([f64::NAN].into_iter()).is_none());
        assert_eq!(estimate([4.0].into_iter()).unwrap().half_width, f64::INFINITY);
        assert_eq!(scaled(&e, -2.0).lo, -2.0 * e.hi);
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile_sorted(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile_sorted(&[1.0, 2.0, 3.0, 4.0], 1.0), 4.0);
        assert!(quantile_sorted(&[], 0.5).is_nan());
    }

    #[test]
    fn rounding_keeps_digits() {
        assert_eq!(round_significant(1234.5678, 6), 1234.57);
        assert_eq!(round_significant(-0.000_123_456_7, 3), -0.000_123);
    }
}
