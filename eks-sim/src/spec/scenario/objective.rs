//! What must hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An objective: the statistic of a metric must stay within a bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectiveSpec {
    /// Name of a metric, for example `pod_startup_seconds`, `served_ratio`,
    /// `cost_usd_per_month`, `ip_exhaustion_seconds`.
    pub metric: String,
    /// `mean`, `p50`, `p90`, `p95`, `p99`, `max` for metrics with many values a replication.
    #[serde(default)]
    pub stat: Option<String>,
    /// Largest value that is fine: a number, a duration (`60s`), a share (`99.9%`).
    #[serde(default)]
    pub max: Option<BoundValue>,
    /// Smallest value that is fine.
    #[serde(default)]
    pub min: Option<BoundValue>,
}

/// A bound: a number, a duration in seconds, or a share as a fraction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoundValue {
    /// The value in the metric's unit (seconds, fraction, dollars, count).
    pub value: f64,
    /// As it was written.
    pub text: String,
}

impl Serialize for BoundValue {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}
impl<'de> Deserialize<'de> for BoundValue {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl serde::de::Visitor<'_> for V {
            type Value = BoundValue;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a number, a duration such as `60s` or a share such as `99.9%`")
            }
            fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<BoundValue, E> {
                Ok(BoundValue { value: v, text: v.to_string() })
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<BoundValue, E> {
                Ok(BoundValue { value: v as f64, text: v.to_string() })
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<BoundValue, E> {
                Ok(BoundValue { value: v as f64, text: v.to_string() })
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BoundValue, E> {
                let value = if let Some(percent) = text.strip_suffix('%') {
                    percent.trim().parse::<f64>().ok().map(|p| p / 100.0)
                } else if let Ok(span) = text.parse::<crate::units::Span>() {
                    Some(span.secs_f64())
                } else {
                    text.trim_start_matches('$').parse::<f64>().ok()
                };
                match value.filter(|v| v.is_finite()) {
                    Some(value) => Ok(BoundValue { value, text: text.to_owned() }),
                    None => Err(E::custom(format!(
                        "`{text}` is not a bound; write a number, `60s` or `99.9%`"
                    ))),
                }
            }
        }
        d.deserialize_any(V)
    }
}
impl JsonSchema for BoundValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bound".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "description": "a number, a duration such as 60s, or a share such as 99.9%"
        })
    }
}
