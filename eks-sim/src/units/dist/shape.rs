//! The distributions themselves, on plain numbers: quantile, mean, variance.

use crate::units::math::{exp, ln, ln_gamma, pow, sqrt};
use crate::units::special::{
    beta_quantile, gamma_quantile, normal_cdf, normal_density, normal_quantile,
};
use std::sync::Arc;

/// A checked distribution. Sampling is by inverse transform: one uniform per draw.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Shape {
    Constant(f64),
    Uniform {
        min: f64,
        max: f64,
    },
    Exponential {
        mean: f64,
    },
    LogNormal {
        mu: f64,
        sigma: f64,
    },
    /// Truncated at zero; `below` is the probability that is cut off.
    Normal {
        mean: f64,
        sd: f64,
        below: f64,
    },
    Gamma {
        shape: f64,
        scale: f64,
    },
    Weibull {
        shape: f64,
        scale: f64,
    },
    /// `beyond` is the probability above the upper bound that is cut off.
    Pareto {
        min: f64,
        alpha: f64,
        max: f64,
        beyond: f64,
    },
    Beta {
        min: f64,
        max: f64,
        alpha: f64,
        beta: f64,
    },
    Triangular {
        min: f64,
        mode: f64,
        max: f64,
    },
    /// Points (probability, value), both increasing, from 0 to 1; straight lines between.
    Empirical(Arc<[(f64, f64)]>),
    /// Another distribution, moved.
    Shifted {
        by: f64,
        of: Box<Shape>,
    },
}

impl Shape {
    /// The value at probability `u`, 0 < u < 1.
    pub(super) fn quantile(&self, u: f64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform { min, max } => min + u * (max - min),
            Self::Exponential { mean } => mean * unit_exponential(u),
            Self::LogNormal { mu, sigma } => exp(mu + sigma * normal_quantile(u)),
            Self::Normal { mean, sd, below } => {
                (mean + sd * truncated_normal_quantile(*below, u)).max(0.0)
            }
            Self::Gamma { shape, scale } => scale * gamma_quantile(*shape, u),
            Self::Weibull { shape, scale } => scale * pow(unit_exponential(u), 1.0 / shape),
            Self::Pareto { min, alpha, max, beyond } => {
                let survival = beyond + (1.0 - u) * (1.0 - beyond);
                (min * pow(survival, -1.0 / alpha)).clamp(*min, *max)
            }
            Self::Beta { min, max, alpha, beta } => {
                min + (max - min) * beta_quantile(*alpha, *beta, u)
            }
            Self::Triangular { min, mode, max } => triangular_quantile(*min, *mode, *max, u),
            Self::Empirical(points) => empirical_quantile(points, u),
            Self::Shifted { by, of } => by + of.quantile(u),
        }
    }

    /// Expected value; infinite for a Pareto tail of alpha up to 1.
    pub(super) fn mean(&self) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform { min, max } => 0.5 * (min + max),
            Self::Exponential { mean } => *mean,
            Self::LogNormal { mu, sigma } => exp(mu + 0.5 * sigma * sigma),
            Self::Normal { mean, sd, .. } => mean + sd * hazard_at_cut(*mean, *sd),
            Self::Gamma { shape, scale } => shape * scale,
            Self::Weibull { shape, scale } => scale * gamma(1.0 + 1.0 / shape),
            Self::Pareto { .. } => self.pareto_moment(1.0),
            Self::Beta { min, max, alpha, beta } => min + (max - min) * alpha / (alpha + beta),
            Self::Triangular { min, mode, max } => (min + mode + max) / 3.0,
            Self::Empirical(points) => segments(points).map(|(w, a, b)| w * 0.5 * (a + b)).sum(),
            Self::Shifted { by, of } => by + of.mean(),
        }
    }

    /// Variance; infinite for a Pareto tail of alpha up to 2.
    pub(super) fn variance(&self) -> f64 {
        match self {
            Self::Constant(_) => 0.0,
            Self::Uniform { min, max } => (max - min) * (max - min) / 12.0,
            Self::Exponential { mean } => mean * mean,
            Self::LogNormal { mu, sigma } => {
                let square = sigma * sigma;
                libm::expm1(square) * exp(2.0 * mu + square)
            }
            Self::Normal { mean, sd, .. } => {
                let hazard = hazard_at_cut(*mean, *sd);
                sd * sd * (1.0 - mean / sd * hazard - hazard * hazard)
            }
            Self::Gamma { shape, scale } => shape * scale * scale,
            Self::Weibull { shape, scale } => {
                let first = gamma(1.0 + 1.0 / shape);
                scale * scale * (gamma(1.0 + 2.0 / shape) - first * first)
            }
            Self::Pareto { .. } => {
                let mean = self.pareto_moment(1.0);
                let second = self.pareto_moment(2.0);
                if second.is_finite() { second - mean * mean } else { f64::INFINITY }
            }
            Self::Beta { min, max, alpha, beta } => {
                let total = alpha + beta;
                let width = max - min;
                width * width * alpha * beta / (total * total * (total + 1.0))
            }
            Self::Triangular { min, mode, max } => {
                let (a, b, c) = (mode - min, max - min, max - mode);
                (a * a + b * b + c * c) / 36.0
            }
            Self::Empirical(points) => {
                let mean = self.mean();
                segments(points).map(|(w, a, b)| w * square_mean(a - mean, b - mean)).sum()
            }
            Self::Shifted { of, .. } => of.variance(),
        }
    }

    /// The `k`-th moment about zero of a Pareto distribution, bounded or not.
    fn pareto_moment(&self, k: f64) -> f64 {
        let Self::Pareto { min, alpha, max, beyond } = *self else { return f64::NAN };
        if max.is_infinite() {
            let scale = pow(min, k);
            return if alpha > k { scale * alpha / (alpha - k) } else { f64::INFINITY };
        }
        let factor = alpha * pow(min, alpha) / (1.0 - beyond);
        if (alpha - k).abs() < 1e-9 {
            factor * ln(max / min)
        } else {
            factor * (pow(max, k - alpha) - pow(min, k - alpha)) / (k - alpha)
        }
    }

    /// Smallest possible value.
    pub(super) fn lower_bound(&self) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform { min, .. }
            | Self::Pareto { min, .. }
            | Self::Beta { min, .. }
            | Self::Triangular { min, .. } => *min,
            Self::Empirical(points) => points.first().map_or(0.0, |point| point.1),
            Self::Shifted { by, of } => by + of.lower_bound(),
            _ => 0.0,
        }
    }
}

/// -ln(1 - u), accurate for small `u` too.
fn unit_exponential(u: f64) -> f64 {
    -libm::log1p(-u)
}

fn gamma(x: f64) -> f64 {
    exp(ln_gamma(x))
}

/// Standard normal quantile of a distribution with the lowest `below` of probability cut off.
fn truncated_normal_quantile(below: f64, u: f64) -> f64 {
    // From the upper end, where the probability kept is not a small difference.
    let above = (1.0 - below) * (1.0 - u);
    if above < 0.5 { -normal_quantile(above) } else { normal_quantile(below + u * (1.0 - below)) }
}

/// Density over survival of the standard normal at the point where zero cuts.
fn hazard_at_cut(mean: f64, sd: f64) -> f64 {
    let cut = -mean / sd;
    normal_density(cut) / normal_cdf(-cut)
}

fn triangular_quantile(min: f64, mode: f64, max: f64, u: f64) -> f64 {
    let width = max - min;
    if width <= 0.0 {
        return min;
    }
    if u < (mode - min) / width {
        min + sqrt(u * width * (mode - min))
    } else {
        max - sqrt((1.0 - u) * width * (max - mode))
    }
}

fn empirical_quantile(points: &[(f64, f64)], u: f64) -> f64 {
    let after = points.partition_point(|point| point.0 < u).clamp(1, points.len() - 1);
    let (p0, v0) = points[after - 1];
    let (p1, v1) = points[after];
    if p1 <= p0 { v1 } else { v0 + (v1 - v0) * ((u - p0) / (p1 - p0)).clamp(0.0, 1.0) }
}

/// Weight and end values of each straight piece.
fn segments(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64, f64)> {
    points.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[0].1, pair[1].1))
}

/// Mean of the square of a variable uniform between `a` and `b`.
fn square_mean(a: f64, b: f64) -> f64 {
    (a * a + a * b + b * b) / 3.0
}
