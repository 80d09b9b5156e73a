//! What a scenario writes for a distribution, and its check.

use super::shape::Shape;
use crate::units::Span;
use crate::units::math::{ln, pow, sqrt};
use crate::units::special::{normal_cdf, normal_quantile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Largest and smallest shape parameter, outside of which a distribution is not computable to
/// full accuracy (and not plausible as a model of a delay).
const SHAPES: (f64, f64) = (0.01, 10_000.0);
/// Most points of an empirical distribution.
const MAX_POINTS: usize = 1_000_000;
/// Deepest nesting of `shifted`.
const MAX_DEPTH: usize = 4;

/// A value of a distribution: a duration or a plain number.
pub trait DistValue: Copy {
    /// The value as a number: seconds for durations.
    fn number(self) -> f64;
}

impl DistValue for Span {
    fn number(self) -> f64 {
        self.secs_f64()
    }
}

impl DistValue for f64 {
    fn number(self) -> f64 {
        self
    }
}

/// A distribution as the scenario writes it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DistSpec<V> {
    /// Always the same value.
    Constant(V),
    /// All values between two bounds alike.
    Uniform(Bounds<V>),
    /// Memoryless.
    Exponential(ExponentialSpec<V>),
    /// The logarithm is normal.
    LogNormal(LogNormalSpec<V>),
    /// Normal, without the part below zero.
    Normal(NormalSpec<V>),
    /// Gamma, by `shape` with `scale`, or by `mean` with `cv`.
    Gamma(GammaSpec<V>),
    /// Weibull.
    Weibull(WeibullSpec<V>),
    /// Pareto, with an optional upper bound at which the tail is cut off.
    Pareto(ParetoSpec<V>),
    /// Beta, stretched from `min` to `max`.
    Beta(BetaSpec<V>),
    /// A triangle from `min` over `mode` to `max`.
    Triangular(TriangularSpec<V>),
    /// Measured: quantiles or samples.
    Empirical(EmpiricalSpec<V>),
    /// Another distribution with a fixed amount added.
    Shifted(ShiftedSpec<V>),
}

/// A lower and an upper bound.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds<V> {
    /// Smallest value.
    pub min: V,
    /// Largest value.
    pub max: V,
}

/// Parameters of an exponential distribution.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExponentialSpec<V> {
    /// Expected value.
    pub mean: V,
}

/// Parameters of a lognormal distribution: `median` with `p95`, `p99` or `sigma`, or `mean` with
/// `cv`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogNormalSpec<V> {
    /// The value half of all draws stay below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<V>,
    /// The value 95 % of all draws stay below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<V>,
    /// The value 99 % of all draws stay below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<V>,
    /// Standard deviation of the natural logarithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// Expected value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<V>,
    /// Standard deviation divided by the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cv: Option<f64>,
}

/// Parameters of a normal distribution.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NormalSpec<V> {
    /// Expected value before the part below zero is cut off.
    pub mean: V,
    /// Standard deviation before the part below zero is cut off.
    pub sd: V,
}

/// Parameters of a gamma distribution: `shape` with `scale`, or `mean` with `cv`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GammaSpec<V> {
    /// Shape; 1 is an exponential distribution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<f64>,
    /// Scale: mean divided by shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<V>,
    /// Expected value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<V>,
    /// Standard deviation divided by the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cv: Option<f64>,
}

/// Parameters of a Weibull distribution.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeibullSpec<V> {
    /// Shape; below 1 the hazard falls with age, above 1 it grows.
    pub shape: f64,
    /// The value 63.2 % of all draws stay below.
    pub scale: V,
}

/// Parameters of a Pareto distribution.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParetoSpec<V> {
    /// Smallest value.
    pub min: V,
    /// Exponent of the tail.
    pub alpha: f64,
    /// Largest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<V>,
}

/// Parameters of a beta distribution.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BetaSpec<V> {
    /// Smallest value.
    pub min: V,
    /// Largest value.
    pub max: V,
    /// First shape.
    pub alpha: f64,
    /// Second shape.
    pub beta: f64,
}

/// Parameters of a triangular distribution.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriangularSpec<V> {
    /// Smallest value.
    pub min: V,
    /// Most likely value.
    pub mode: V,
    /// Largest value.
    pub max: V,
}

/// A measured distribution: exactly one of the two fields.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmpiricalSpec<V> {
    /// Pairs of probability and value, both increasing, from 0 to 1; straight lines between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Vec<(f64, V)>>,
    /// Measured values in any order, at least two; straight lines between neighbours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Vec<V>>,
}

/// A distribution moved by a fixed amount.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShiftedSpec<V> {
    /// The amount added to every draw.
    pub by: V,
    /// The distribution that is moved.
    pub of: Box<DistSpec<V>>,
}

/// Why parameters are not a distribution.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistError {
    /// A parameter outside its range.
    #[error("{kind}: `{field}` is {value}; it must be {must}")]
    Range {
        /// Name of the distribution.
        kind: &'static str,
        /// Name of the parameter.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is needed.
        must: &'static str,
    },
    /// The wrong set of parameters.
    #[error("{kind} needs {needs}")]
    Fields {
        /// Name of the distribution.
        kind: &'static str,
        /// What is needed.
        needs: &'static str,
    },
}

type Checked = Result<Shape, DistError>;

fn range(
    ok: bool,
    kind: &'static str,
    field: &'static str,
    value: f64,
    must: &'static str,
) -> Result<f64, DistError> {
    if ok { Ok(value) } else { Err(DistError::Range { kind, field, value, must }) }
}

fn positive(kind: &'static str, field: &'static str, value: f64) -> Result<f64, DistError> {
    range(value > 0.0 && value.is_finite(), kind, field, value, "above zero")
}

fn not_negative(kind: &'static str, field: &'static str, value: f64) -> Result<f64, DistError> {
    range(value >= 0.0 && value.is_finite(), kind, field, value, "zero or more")
}

fn finite(kind: &'static str, field: &'static str, value: f64) -> Result<f64, DistError> {
    range(value.is_finite(), kind, field, value, "a finite number")
}

fn shape(kind: &'static str, field: &'static str, value: f64) -> Result<f64, DistError> {
    let ok = (SHAPES.0..=SHAPES.1).contains(&value);
    range(ok, kind, field, value, "between 0.01 and 10000")
}

/// `max`, at least `min`.
fn ordered(kind: &'static str, field: &'static str, min: f64, max: f64) -> Result<f64, DistError> {
    range(max >= min && max.is_finite(), kind, field, max, "not below the value before it")
}

impl<V: DistValue> DistSpec<V> {
    /// The distribution, if the parameters make one.
    pub(super) fn check(&self) -> Checked {
        self.check_nested(MAX_DEPTH)
    }

    fn check_nested(&self, depth: usize) -> Checked {
        match self {
            Self::Constant(value) => {
                Ok(Shape::Constant(finite("constant", "value", value.number())?))
            }
            Self::Uniform(bounds) => {
                let min = finite("uniform", "min", bounds.min.number())?;
                Ok(Shape::Uniform {
                    min,
                    max: ordered("uniform", "max", min, bounds.max.number())?,
                })
            }
            Self::Exponential(spec) => Ok(Shape::Exponential {
                mean: positive("exponential", "mean", spec.mean.number())?,
            }),
            Self::LogNormal(spec) => spec.check(),
            Self::Normal(spec) => {
                let mean = not_negative("normal", "mean", spec.mean.number())?;
                let sd = positive("normal", "sd", spec.sd.number())?;
                Ok(Shape::Normal { mean, sd, below: normal_cdf(-mean / sd) })
            }
            Self::Gamma(spec) => spec.check(),
            Self::Weibull(spec) => Ok(Shape::Weibull {
                shape: shape("weibull", "shape", spec.shape)?,
                scale: positive("weibull", "scale", spec.scale.number())?,
            }),
            Self::Pareto(spec) => spec.check(),
            Self::Beta(spec) => {
                let min = finite("beta", "min", spec.min.number())?;
                Ok(Shape::Beta {
                    min,
                    max: ordered("beta", "max", min, spec.max.number())?,
                    alpha: shape("beta", "alpha", spec.alpha)?,
                    beta: shape("beta", "beta", spec.beta)?,
                })
            }
            Self::Triangular(spec) => {
                let min = finite("triangular", "min", spec.min.number())?;
                let mode = ordered("triangular", "mode", min, spec.mode.number())?;
                let max = ordered("triangular", "max", mode, spec.max.number())?;
                Ok(Shape::Triangular { min, mode, max })
            }
            Self::Empirical(spec) => spec.check(),
            Self::Shifted(spec) if depth > 0 => Ok(Shape::Shifted {
                by: finite("shifted", "by", spec.by.number())?,
                of: Box::new(spec.of.check_nested(depth - 1)?),
            }),
            Self::Shifted(_) => Err(DistError::Fields {
                kind: "shifted",
                needs: "less nesting; add the amounts up",
            }),
        }
    }
}

impl<V: DistValue> LogNormalSpec<V> {
    fn check(&self) -> Checked {
        let kind = "lognormal";
        let number = |value: Option<V>| value.map(V::number);
        let (upper, name, share) = match (self.p95, self.p99) {
            (p95, None) => (number(p95), "p95", 0.95),
            (None, p99) => (number(p99), "p99", 0.99),
            // Both: refused below, as any other surplus.
            (p95, _) => (number(p95), "p95", f64::NAN),
        };
        match (number(self.median), upper, self.sigma, number(self.mean), self.cv) {
            (Some(median), Some(upper), None, None, None) if !share.is_nan() => {
                let median = positive(kind, "median", median)?;
                let ok = upper >= median && upper.is_finite();
                let upper = range(ok, kind, name, upper, "at least the median")?;
                Ok(Shape::LogNormal {
                    mu: ln(median),
                    sigma: ln(upper / median) / normal_quantile(share),
                })
            }
            (Some(median), None, Some(sigma), None, None) => Ok(Shape::LogNormal {
                mu: ln(positive(kind, "median", median)?),
                sigma: not_negative(kind, "sigma", sigma)?,
            }),
            (None, None, None, Some(mean), Some(cv)) => {
                let mean = positive(kind, "mean", mean)?;
                let cv = not_negative(kind, "cv", cv)?;
                let square = libm::log1p(cv * cv);
                Ok(Shape::LogNormal { mu: ln(mean) - 0.5 * square, sigma: sqrt(square) })
            }
            _ => {
                let needs = "`median` with `p95`, `p99` or `sigma`, or `mean` with `cv`";
                Err(DistError::Fields { kind, needs })
            }
        }
    }
}

impl<V: DistValue> GammaSpec<V> {
    fn check(&self) -> Checked {
        let kind = "gamma";
        match (self.shape, self.scale, self.mean, self.cv) {
            (Some(k), Some(scale), None, None) => Ok(Shape::Gamma {
                shape: shape(kind, "shape", k)?,
                scale: positive(kind, "scale", scale.number())?,
            }),
            (None, None, Some(mean), Some(cv)) => {
                let mean = positive(kind, "mean", mean.number())?;
                let ok = (0.01..=10.0).contains(&cv);
                let cv = range(ok, kind, "cv", cv, "between 0.01 and 10")?;
                Ok(Shape::Gamma { shape: 1.0 / (cv * cv), scale: mean * cv * cv })
            }
            _ => {
                Err(DistError::Fields { kind, needs: "`shape` with `scale`, or `mean` with `cv`" })
            }
        }
    }
}

impl<V: DistValue> ParetoSpec<V> {
    fn check(&self) -> Checked {
        let kind = "pareto";
        let min = positive(kind, "min", self.min.number())?;
        let alpha = shape(kind, "alpha", self.alpha)?;
        let Some(max) = self.max else {
            return Ok(Shape::Pareto { min, alpha, max: f64::INFINITY, beyond: 0.0 });
        };
        let ok = max.number() > min && max.number().is_finite();
        let max = range(ok, kind, "max", max.number(), "above `min`")?;
        Ok(Shape::Pareto { min, alpha, max, beyond: pow(min / max, alpha) })
    }
}

impl<V: DistValue> EmpiricalSpec<V> {
    fn check(&self) -> Checked {
        let kind = "empirical";
        let enough = 2..=MAX_POINTS;
        let points = match (&self.quantiles, &self.samples) {
            (Some(points), None) if enough.contains(&points.len()) => from_quantiles(points),
            (None, Some(samples)) if enough.contains(&samples.len()) => from_samples(samples),
            _ => {
                let needs = "either `quantiles` or `samples`, with 2 to 1000000 entries";
                return Err(DistError::Fields { kind, needs });
            }
        };
        Ok(Shape::Empirical(points?))
    }
}

fn from_quantiles<V: DistValue>(pairs: &[(f64, V)]) -> Result<Arc<[(f64, f64)]>, DistError> {
    let kind = "empirical";
    let points: Vec<_> = pairs.iter().map(|(p, v)| (*p, v.number())).collect();
    let first = points.first().map_or(f64::NAN, |point| point.0);
    let last = points.last().map_or(f64::NAN, |point| point.0);
    range(first == 0.0, kind, "first probability", first, "0 (the smallest value)")?;
    range(last == 1.0, kind, "last probability", last, "1 (the largest value)")?;
    for pair in points.windows(2) {
        range(pair[1].0 > pair[0].0, kind, "probability", pair[1].0, "above the one before")?;
        finite(kind, "value", pair[0].1)?;
        ordered(kind, "value", pair[0].1, pair[1].1)?;
    }
    Ok(points.into())
}

/// Evenly spaced probabilities over the sorted samples: quantiles of type 7.
fn from_samples<V: DistValue>(samples: &[V]) -> Result<Arc<[(f64, f64)]>, DistError> {
    let mut values = Vec::with_capacity(samples.len());
    for sample in samples {
        values.push(finite("empirical", "sample", sample.number())?);
    }
    values.sort_by(f64::total_cmp);
    let last = (values.len() - 1) as f64;
    Ok(values.iter().enumerate().map(|(at, value)| (at as f64 / last, *value)).collect())
}
