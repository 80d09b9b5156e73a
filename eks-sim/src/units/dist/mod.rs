//! Probability distributions of the scenario file, sampled by inverse transform.
//!
//! One draw consumes one uniform number, so the same uniform gives a comparable value in every
//! variant of a study, and antithetic or quasi-random numbers work without change. All functions
//! rest on software `libm`: the bits are the same on every platform and in every build, which
//! [`pinned_digest`] checks.
//!
//! ```yaml
//! duration: 3s                                    # the same as {constant: 3s}
//! duration: {lognormal: {median: 6m, p95: 20m}}
//! duration: {shifted: {by: 20s, of: {exponential: {mean: 40s}}}}
//! ```

mod shape;
mod spec;
#[cfg(test)]
mod tests;

use crate::units::Span;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use shape::Shape;
pub use spec::{
    BetaSpec, Bounds, DistError, DistSpec, DistValue, EmpiricalSpec, ExponentialSpec, GammaSpec,
    LogNormalSpec, NormalSpec, ParetoSpec, ShiftedSpec, TriangularSpec, WeibullSpec,
};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A distribution of values of type `V`; see [`Dist`] and [`DistF64`].
#[derive(Clone, PartialEq, Debug)]
pub struct DistOf<V> {
    spec: Arc<DistSpec<V>>,
    shape: Shape,
}

/// A distribution of durations.
///
/// ```
/// use eks_sim::units::{Span, dist::Dist};
/// let boot: Dist = serde_json::from_str(r#"{"lognormal": {"median": "40s", "p95": "75s"}}"#)?;
/// assert_eq!(boot.sample_span(0.5), Span::from_secs(40));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub type Dist = DistOf<Span>;

/// A distribution of plain numbers.
pub type DistF64 = DistOf<f64>;

impl<V: DistValue> DistOf<V> {
    /// From what a scenario writes.
    ///
    /// # Errors
    /// When the parameters do not make a distribution.
    pub fn new(spec: DistSpec<V>) -> Result<Self, DistError> {
        let shape = spec.check()?;
        Ok(Self { spec: Arc::new(spec), shape })
    }

    /// Always `value`.
    #[must_use]
    pub fn constant(value: V) -> Self {
        let shape = Shape::Constant(value.number());
        Self { spec: Arc::new(DistSpec::Constant(value)), shape }
    }
}

impl<V> DistOf<V> {
    /// What the scenario wrote.
    #[must_use]
    pub fn spec(&self) -> &DistSpec<V> {
        &self.spec
    }

    /// The value for a uniform number `u` between 0 and 1; seconds for durations.
    #[must_use]
    pub fn sample(&self, u: f64) -> f64 {
        // The ends of the interval would give infinite values.
        self.shape.quantile(u.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0))
    }

    /// The value that is not exceeded with probability `p`; seconds for durations.
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        self.sample(p)
    }

    /// Expected value, possibly infinite; seconds for durations.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.shape.mean()
    }

    /// Variance, possibly infinite; square seconds for durations.
    #[must_use]
    pub fn variance(&self) -> f64 {
        self.shape.variance()
    }

    /// Standard deviation divided by the mean; zero for a mean of zero.
    #[must_use]
    pub fn cv(&self) -> f64 {
        let mean = self.mean();
        if mean == 0.0 { 0.0 } else { self.variance().sqrt() / mean }
    }

    /// Smallest possible value; seconds for durations.
    #[must_use]
    pub fn lower_bound(&self) -> f64 {
        self.shape.lower_bound()
    }

    /// The value if it is always the same.
    #[must_use]
    pub fn as_constant(&self) -> Option<f64> {
        if let Shape::Constant(value) = self.shape { Some(value) } else { None }
    }
}

impl Dist {
    /// The duration for a uniform number `u` between 0 and 1, to the nearest nanosecond.
    #[must_use]
    pub fn sample_span(&self, u: f64) -> Span {
        match *self.spec() {
            DistSpec::Constant(span) => span,
            _ => Span::from_secs_f64(self.sample(u)),
        }
    }

    /// Expected duration.
    #[must_use]
    pub fn mean_span(&self) -> Span {
        Span::from_secs_f64(self.mean())
    }
}

impl From<Span> for Dist {
    fn from(span: Span) -> Self {
        Self::constant(span)
    }
}

impl<V: Serialize + Copy> Serialize for DistOf<V> {
    /// A constant is written as its value alone.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.spec {
            DistSpec::Constant(value) => value.serialize(serializer),
            spec => spec.serialize(serializer),
        }
    }
}

impl<'de, V: DistValue + Deserialize<'de>> Deserialize<'de> for DistOf<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistVisitor(PhantomData))
    }
}

/// Reads a map as a [`DistSpec`] and anything else as a constant.
struct DistVisitor<V>(PhantomData<V>);

impl<V> DistVisitor<V> {
    fn constant<'de, D, E>(value: D) -> Result<DistOf<V>, E>
    where
        V: DistValue + Deserialize<'de>,
        D: Deserializer<'de, Error = E>,
        E: de::Error,
    {
        let value = V::deserialize(value)?;
        DistOf::new(DistSpec::Constant(value)).map_err(E::custom)
    }
}

impl<'de, V: DistValue + Deserialize<'de>> Visitor<'de> for DistVisitor<V> {
    type Value = DistOf<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a distribution such as `{exponential: {mean: 40s}}`")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Self::constant(de::value::StrDeserializer::new(text))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Self::constant(de::value::U64Deserializer::new(number))
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Self::constant(de::value::I64Deserializer::new(number))
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Self::constant(de::value::F64Deserializer::new(number))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let spec = DistSpec::deserialize(MapAccessDeserializer::new(map))?;
        DistOf::new(spec).map_err(de::Error::custom)
    }
}

impl<V: JsonSchema> JsonSchema for DistOf<V> {
    fn schema_name() -> Cow<'static, str> {
        format!("DistributionOf{}", V::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "a fixed value, or a distribution by its name",
            "anyOf": [
                generator.subschema_for::<V>(),
                generator.subschema_for::<DistSpec<V>>(),
            ]
        })
    }
}

#[cfg(feature = "rand_distr")]
impl<V> rand_distr::Distribution<f64> for DistOf<V> {
    fn sample<R: rand::Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        let word = rng.next_u64();
        DistOf::sample(self, ((word >> 11) | 1) as f64 * (1.0 / 9_007_199_254_740_992.0))
    }
}

/// Distributions of every kind, for tests of all of them.
fn specimens() -> Vec<DistSpec<f64>> {
    let log_normal = |median, p95, sigma, mean, cv| {
        DistSpec::LogNormal(LogNormalSpec { median, p95, p99: None, sigma, mean, cv })
    };
    let gamma = |shape, scale| {
        let (shape, scale) = (Some(shape), Some(scale));
        DistSpec::Gamma(GammaSpec { shape, scale, mean: None, cv: None })
    };
    let beta = |alpha, beta| DistSpec::Beta(BetaSpec { min: 1.0, max: 5.0, alpha, beta });
    vec![
        DistSpec::Constant(3.0),
        DistSpec::Uniform(Bounds { min: 2.0, max: 7.0 }),
        DistSpec::Exponential(ExponentialSpec { mean: 40.0 }),
        log_normal(Some(360.0), Some(1200.0), None, None, None),
        log_normal(Some(2.0), None, Some(0.5), None, None),
        log_normal(None, None, None, Some(10.0), Some(0.3)),
        DistSpec::Normal(NormalSpec { mean: 10.0, sd: 2.0 }),
        DistSpec::Normal(NormalSpec { mean: 1.0, sd: 2.0 }),
        gamma(0.3, 2.0),
        gamma(4.0, 0.5),
        DistSpec::Gamma(GammaSpec { shape: None, scale: None, mean: Some(5.0), cv: Some(1.5) }),
        DistSpec::Weibull(WeibullSpec { shape: 0.7, scale: 100.0 }),
        DistSpec::Weibull(WeibullSpec { shape: 2.5, scale: 10.0 }),
        DistSpec::Pareto(ParetoSpec { min: 1.0, alpha: 5.0, max: None }),
        DistSpec::Pareto(ParetoSpec { min: 1.0, alpha: 1.1, max: Some(1000.0) }),
        beta(2.0, 5.0),
        beta(0.5, 0.8),
        DistSpec::Triangular(TriangularSpec { min: 1.0, mode: 2.0, max: 6.0 }),
        DistSpec::Empirical(EmpiricalSpec {
            quantiles: Some(vec![(0.0, 1.0), (0.5, 3.0), (0.9, 4.0), (1.0, 20.0)]),
            samples: None,
        }),
        DistSpec::Empirical(EmpiricalSpec {
            quantiles: None,
            samples: Some(vec![5.0, 1.0, 2.0, 2.0, 9.0]),
        }),
        DistSpec::Shifted(ShiftedSpec {
            by: 20.0,
            of: Box::new(DistSpec::Exponential(ExponentialSpec { mean: 40.0 })),
        }),
    ]
}

/// A hash over the exact bits of samples of every kind of distribution.
///
/// It has to equal [`PINNED_DIGEST`] in every build: the library alone, the workspace, the
/// command line program. A difference means that a dependency changed the arithmetic.
#[doc(hidden)]
#[must_use]
pub fn pinned_digest() -> u64 {
    let mut digest = 0xCBF2_9CE4_8422_2325_u64;
    let specimens = specimens();
    for dist in specimens.into_iter().filter_map(|spec| DistOf::new(spec).ok()) {
        for n in 1..400_u32 {
            // An even grid with a bias into both tails.
            let even = f64::from(n) / 400.0;
            let u = even * even * (3.0 - 2.0 * even);
            digest = (digest ^ dist.sample(u).to_bits()).wrapping_mul(0x0000_0100_0000_01B3);
            digest ^= digest >> 29;
        }
        digest ^= dist.mean().to_bits() ^ dist.variance().to_bits().rotate_left(17);
    }
    digest
}

/// What [`pinned_digest`] has to return.
#[doc(hidden)]
pub const PINNED_DIGEST: u64 = 13_306_841_917_560_986_459;
