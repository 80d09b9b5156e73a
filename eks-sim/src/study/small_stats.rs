//! Means with Student intervals and sample quantiles, as far as summaries need them.

use serde::Serialize;

/// A mean over replications with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Mean of the observations.
    pub mean: f64,
    /// Half of the width of the 95 % interval; infinite for one observation.
    #[serde(serialize_with = "finite_or_null")]
    pub half_width: f64,
    /// Lower end of the interval.
    #[serde(serialize_with = "finite_or_null")]
    pub lo: f64,
    /// Upper end of the interval.
    #[serde(serialize_with = "finite_or_null")]
    pub hi: f64,
    /// Observations.
    pub n: usize,
}

fn finite_or_null<S: serde::Serializer>(value: &f64, s: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { s.serialize_f64(*value) } else { s.serialize_none() }
}

impl Estimate {
    /// Of the finite values, in their order; none if there are none.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let values = values.filter(|v| v.is_finite());
        let n = values.clone().count();
        let first = values.clone().next()?;
        // Sums of distances from the first value: equal values give exactly themselves.
        let mean = first + values.clone().map(|v| v - first).sum::<f64>() / n as f64;
        let half_width = if n < 2 {
            f64::INFINITY
        } else {
            let squares: f64 = values.map(|v| (v - mean) * (v - mean)).sum();
            let variance = squares / (n - 1) as f64;
            student_95(n - 1) * (variance / n as f64).sqrt()
        };
        Some(Self { mean, half_width, lo: mean - half_width, hi: mean + half_width, n })
    }

    /// The estimate of the values times a constant.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let (a, b) = (self.lo * factor, self.hi * factor);
        Self {
            mean: self.mean * factor,
            half_width: self.half_width * factor.abs(),
            lo: a.min(b),
            hi: a.max(b),
            n: self.n,
        }
    }
}

/// 97.5 % quantiles of Student's distribution with 1 to 30 degrees of freedom.
const STUDENT_975: [f64; 30] = [
    12.706_204_736,
    4.302_652_730,
    3.182_446_305,
    2.776_445_105,
    2.570_581_836,
    2.446_911_851,
    2.364_624_252,
    2.306_004_135,
    2.262_157_163,
    2.228_138_852,
    2.200_985_160,
    2.178_812_830,
    2.160_368_656,
    2.144_786_688,
    2.131_449_546,
    2.119_905_299,
    2.109_815_578,
    2.100_922_040,
    2.093_024_054,
    2.085_963_447,
    2.079_613_845,
    2.073_873_068,
    2.068_657_610,
    2.063_898_562,
    2.059_538_553,
    2.055_529_439,
    2.051_830_516,
    2.048_407_142,
    2.045_229_642,
    2.042_272_456,
];

/// 97.5 % quantile of Student's distribution; beyond 30 degrees of freedom the Cornish-Fisher
/// expansion around the normal quantile, which is right to 1e-6 there.
#[must_use]
pub fn student_95(degrees: usize) -> f64 {
    let index = degrees.saturating_sub(1);
    if let Some(&t) = STUDENT_975.get(index) {
        return t;
    }
    let z: f64 = 1.959_963_984_540_054;
    let (v, z2) = (degrees as f64, z * z);
    let first = z * (z2 + 1.0) / 4.0;
    let second = z * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0;
    let third = z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0;
    z + (first + (second + third / v) / v) / v
}

/// Quantile of sorted values by linear interpolation (type 7); not-a-number without values.
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
    fn student_quantiles_agree_with_the_distribution() {
        use statrs::distribution::{ContinuousCDF, StudentsT};
        for degrees in [1, 2, 5, 19, 30, 31, 63, 199, 5000] {
            let exact = StudentsT::new(0.0, 1.0, degrees as f64).unwrap().inverse_cdf(0.975);
            assert!((student_95(degrees) - exact).abs() < 2e-6, "{degrees}: {exact}");
        }
    }

    #[test]
    fn estimates() {
        let e = Estimate::of([1.0, 2.0, f64::NAN, 3.0].into_iter()).unwrap();
        assert_eq!((e.mean, e.n), (2.0, 3));
        assert!((e.half_width - 4.302_652_73 / 3f64.sqrt()).abs() < 1e-9);
        let equal = Estimate::of([0.1; 7].into_iter()).unwrap();
        assert_eq!((equal.mean, equal.half_width), (0.1, 0.0));
        assert!(Estimate::of([f64::NAN].into_iter()).is_none());
        assert_eq!(Estimate::of([4.0].into_iter()).unwrap().half_width, f64::INFINITY);
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
