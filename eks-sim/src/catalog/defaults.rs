//! The constants as a run uses them: the shipped values with a scenario's overrides on top.

use super::constants::{self, Constant, ConstantError, ConstantValue, constants};
use crate::units::{Bytes, Money, MoneyRate, Quantity, Span};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why an override is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverrideError {
    /// No such constant.
    #[error(transparent)]
    Unknown(#[from] ConstantError),
    /// A value of another kind or unit, or outside its range.
    #[error("constant `{name}` takes {wanted}: {problem}")]
    Value {
        /// The constant.
        name: String,
        /// What it takes, with its unit.
        wanted: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// The same constant twice.
    #[error("constant `{0}` is set twice; keep one of the lines")]
    Twice(String),
}

impl OverrideError {
    /// The constant that was to be set.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Unknown(
                ConstantError::Unknown { name, .. } | ConstantError::Kind { name, .. },
            )
            | Self::Value { name, .. }
            | Self::Twice(name) => name,
        }
    }
}

/// Values of a scenario that replace shipped ones, checked for name, kind and unit.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Overrides {
    values: BTreeMap<String, ConstantValue>,
}

impl Overrides {
    /// Checks a list of (dotted name, value).
    ///
    /// Durations are strings such as `90s`; other numbers are numbers in the constant's unit, or
    /// strings that end in it (`0.05 USD/h`, `12%` for a fraction); a distribution is an object
    /// or a single value that then always occurs.
    ///
    /// # Errors
    /// All mistakes of the list.
    pub fn check<'a>(
        list: impl IntoIterator<Item = (&'a str, &'a Value)>,
    ) -> Result<Self, Vec<OverrideError>> {
        let (mut values, mut errors) = (BTreeMap::new(), Vec::new());
        for (name, value) in list {
            match check_one(name, value) {
                Ok(value) => {
                    if values.insert(name.to_owned(), value).is_some() {
                        errors.push(OverrideError::Twice(name.to_owned()));
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { values }) } else { Err(errors) }
    }
    /// The overrides by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ConstantValue)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v))
    }
    /// Whether nothing is overridden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

fn check_one(name: &str, value: &Value) -> Result<ConstantValue, OverrideError> {
    let constant = constants().find(name)?;
    read_override(constant, value).map_err(|problem| OverrideError::Value {
        name: name.to_owned(),
        wanted: format!("{} ({})", constant.value.kind(), constant.unit),
        problem,
    })
}

fn read_override(constant: &Constant, value: &Value) -> Result<ConstantValue, String> {
    match (&constant.value, value) {
        (ConstantValue::Span(_), _) => read_span(value).map(ConstantValue::Span),
        (ConstantValue::Bool(_), Value::Bool(b)) => Ok(ConstantValue::Bool(*b)),
        (ConstantValue::Text(_), Value::String(t)) => Ok(ConstantValue::Text(t.clone())),
        (ConstantValue::Quantity(_), Value::String(t)) => {
            let q: Quantity = t.parse().map_err(|e: crate::units::QuantityError| e.to_string())?;
            let positive = !q.is_negative();
            positive.then_some(ConstantValue::Quantity(q)).ok_or("write 0 or more".to_owned())
        }
        (ConstantValue::Integer(base), _) => {
            let number = read_number(constant, value)?;
            let whole = number as i64;
            if whole as f64 != number {
                return Err(format!("`{value}` is not whole; write for example `{base}`"));
            }
            check_range(constant, number, *base as f64)?;
            Ok(ConstantValue::Integer(whole))
        }
        (ConstantValue::Number(base), _) => {
            let number = read_number(constant, value)?;
            check_range(constant, number, *base)?;
            Ok(ConstantValue::Number(number))
        }
        (ConstantValue::Distribution(_), _) => {
            read_distribution(constant, value).map(ConstantValue::Distribution)
        }
        _ => Err(format!("`{value}` is not; the shipped value is `{}`", constant.value)),
    }
}

fn read_span(value: &Value) -> Result<Span, String> {
    match value {
        Value::String(text) => text.parse::<Span>().map_err(|e| e.to_string()),
        Value::Number(n) => Err(format!("`{n}` has no unit; write for example `{n}s`")),
        other => Err(format!("`{other}` is no duration; write for example `90s`")),
    }
}

fn read_number(constant: &Constant, value: &Value) -> Result<f64, String> {
    let mend = || {
        let unit = constant.bare_unit();
        format!("`{value}` is not a number of {unit}; write for example `{}`", constant.value)
    };
    let number = match value {
        Value::Number(n) => n.as_f64().ok_or_else(mend)?,
        Value::String(text) => {
            let at = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+'));
            let (digits, unit) = text.split_at(at.unwrap_or(text.len()));
            let number: f64 = digits.parse().map_err(|_| mend())?;
            match unit.trim() {
                "" => number,
                "%" if constant.bare_unit() == "fraction" => number / 100.0,
                "%" if constant.bare_unit() == "percent" => number,
                unit if unit == constant.bare_unit() => number,
                _ => return Err(mend()),
            }
        }
        _ => return Err(mend()),
    };
    if number.is_finite() { Ok(number) } else { Err(mend()) }
}

/// Values keep the sign of the shipped one, and fractions stay within 0 and 1.
fn check_range(constant: &Constant, number: f64, base: f64) -> Result<(), String> {
    if number < 0.0 && base >= 0.0 {
        return Err(format!("`{number}` is negative; write 0 or more"));
    }
    let bounded = constant.bare_unit() == "fraction" && (0.0..=1.0).contains(&base);
    if bounded && number > 1.0 && !constant.unit.contains("can exceed") {
        return Err(format!("`{number}` is above 1; write a fraction such as `0.1` or `10%`"));
    }
    Ok(())
}

/// The family and its parameters are checked where the distribution is built.
fn read_distribution(constant: &Constant, value: &Value) -> Result<Value, String> {
    match value {
        Value::Object(object) if object.len() == 1 => Ok(value.clone()),
        Value::Object(_) => {
            Err(format!("write one family with its parameters, such as `{}`", constant.value))
        }
        Value::String(_) | Value::Number(_) if constant.bare_unit() == "duration" => {
            read_span(value).map(|s| serde_json::json!({ "constant": s.to_string() }))
        }
        Value::String(_) | Value::Number(_) => {
            read_number(constant, value).map(|x| serde_json::json!({ "constant": x }))
        }
        other => Err(format!("`{other}` is not; write for example `{}`", constant.value)),
    }
}

/// The values of a run. The typed readers are for names written in this crate: an unknown name or
/// another kind is an error of the program, because overrides were checked before.
///
/// ```
/// use eks_sim::catalog::{Defaults, Overrides};
/// use eks_sim::units::Span;
///
/// let value = serde_json::json!("5s");
/// let overrides = Overrides::check([("kubelet.lease_renew_interval", &value)]).unwrap();
/// let defaults = Defaults::with(overrides);
/// assert_eq!(defaults.span("kubelet.lease_renew_interval"), Span::from_secs(5));
/// assert_eq!(defaults.u64("kubelet.max_pods"), 110);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Defaults {
    overrides: Arc<Overrides>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self::standard()
    }
}

impl Defaults {
    /// The shipped values.
    #[must_use]
    pub fn standard() -> Self {
        Self::with(Overrides::default())
    }
    /// The shipped values with `overrides` on top.
    #[must_use]
    pub fn with(overrides: Overrides) -> Self {
        Self { overrides: Arc::new(overrides) }
    }
    /// The overrides in force.
    #[must_use]
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }
    /// The value in force with the constant it belongs to.
    ///
    /// # Errors
    /// When there is no such constant.
    pub fn find(&self, name: &str) -> Result<(&Constant, &ConstantValue), ConstantError> {
        let constant = constants().find(name)?;
        Ok((constant, self.overrides.values.get(name).unwrap_or(&constant.value)))
    }
    fn read<'a, T>(
        &'a self,
        name: &str,
        wanted: &'static str,
        read: impl FnOnce(&'a ConstantValue, &'a str) -> Option<T>,
    ) -> Result<T, ConstantError> {
        let (constant, value) = self.find(name)?;
        read(value, constant.bare_unit()).ok_or_else(|| ConstantError::Kind {
            name: name.to_owned(),
            found: value.kind(),
            unit: constant.unit.to_owned(),
            wanted,
        })
    }
}

/// Writes the fallible and the infallible reader of one kind.
macro_rules! readers {
    ($($name:ident, $try_name:ident, $type:ty, $wanted:literal, $read:expr;)*) => {
        impl Defaults {
            $(
                #[doc = concat!("Reads ", $wanted, ".")]
                ///
                /// # Errors
                /// When there is no such constant or it is of another kind.
                pub fn $try_name(&self, name: &str) -> Result<$type, ConstantError> {
                    self.read(name, $wanted, $read)
                }
                #[doc = concat!("Reads ", $wanted, " whose name is written in the program.")]
                ///
                /// # Panics
                /// When there is no such constant or it is of another kind.
                #[must_use]
                #[track_caller]
                pub fn $name(&self, name: &str) -> $type {
                    match self.$try_name(name) {
                        Ok(value) => value,
                        Err(error) => panic!("{error}"),
                    }
                }
            )*
        }
    };
}

readers! {
    span, try_span, Span, "a duration", |v, _| constants::span(v);
    f64, try_f64, f64, "a number", |v, _| constants::number(v);
    i64, try_i64, i64, "a whole number",
        |v, _| if let ConstantValue::Integer(n) = v { Some(*n) } else { None };
    u64, try_u64, u64, "a whole number of at least 0",
        |v, _| if let ConstantValue::Integer(n) = v { u64::try_from(*n).ok() } else { None };
    bool, try_bool, bool, "true or false",
        |v, _| if let ConstantValue::Bool(b) = v { Some(*b) } else { None };
    quantity, try_quantity, Quantity, "a quantity",
        |v, _| if let ConstantValue::Quantity(q) = v { Some(*q) } else { None };
    bytes, try_bytes, Bytes, "a size", constants::bytes;
    rate, try_rate, MoneyRate, "a price an hour", constants::rate;
    money, try_money, Money, "a price", constants::money;
    text, try_text, &str, "a text",
        |v, _| if let ConstantValue::Text(t) = v { Some(t.as_str()) } else { None };
    dist, try_dist, &Value, "a distribution",
        |v, _| if let ConstantValue::Distribution(d) = v { Some(d) } else { None };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(name: &str, value: Value) -> String {
        let errors = Overrides::check([(name, &value)]).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].name(), name);
        errors[0].to_string()
    }

    #[test]
    fn overrides_replace_values() {
        let list = [
            ("hpa.tolerance", json!("20%")),
            ("scheduler.client_qps", json!(167)),
            ("price.alb_hour", json!("0.03 USD/h")),
            ("kubelet.eviction_hard_memory_available", json!("200Mi")),
            ("ec2.pending_to_running", json!("9s")),
            ("cluster_autoscaler.expander", json!("priority")),
            ("cluster_autoscaler.expendable_pods_priority_cutoff", json!(-5)),
        ];
        let overrides = Overrides::check(list.iter().map(|(k, v)| (*k, v))).unwrap();
        let d = Defaults::with(overrides);
        assert_eq!(d.f64("hpa.tolerance"), 0.2);
        assert_eq!(d.f64("scheduler.client_qps"), 167.0);
        assert_eq!(d.rate("price.alb_hour"), MoneyRate::from_usd_per_hour(0.03));
        assert_eq!(d.bytes("kubelet.eviction_hard_memory_available"), Bytes::from_mib(200));
        assert_eq!(d.dist("ec2.pending_to_running"), &json!({"constant": "9s"}));
        assert_eq!(d.text("cluster_autoscaler.expander"), "priority");
        assert_eq!(d.i64("cluster_autoscaler.expendable_pods_priority_cutoff"), -5);
        assert_eq!(d.span("hpa.sync_period"), Span::from_secs(15));
        assert_eq!(d.overrides().iter().count(), 7);
    }

    #[test]
    fn refusals_say_how_to_mend() {
        let text = refusal("hpa.sync_period", json!(15));
        assert!(text.contains("write for example `15s`"), "{text}");
        assert!(refusal("hpa.tolerance", json!(10)).contains("`0.1` or `10%`"));
        assert!(refusal("kubelet.max_pods", json!(1.5)).contains("not whole"));
        assert!(refusal("kubelet.max_pods", json!(-1)).contains("0 or more"));
        assert!(refusal("price.alb_hour", json!("3 EUR/h")).contains("USD/h"));
        assert!(refusal("ec2.pending_to_running", json!({})).contains("lognormal"));
        assert!(refusal("ec2.pending_to_running", json!(3)).contains("`3s`"));
        assert!(refusal("hpa.tolerence", json!(0.2)).contains("did you mean `hpa.tolerance`"));
        let twice = json!(20);
        let errors = Overrides::check([("kubelet.max_pods", &twice); 2]).unwrap_err();
        assert_eq!(errors, [OverrideError::Twice("kubelet.max_pods".into())]);
    }

    #[test]
    fn readers_check_kind_and_unit() {
        let d = Defaults::standard();
        assert!(d.try_span("hpa.tolerance").is_err());
        assert!(d.try_rate("price.ebs_gp3_gb").is_err(), "a GB-month is no hour");
        assert_eq!(d.money("price.ebs_gp3_gb"), Money::from_usd(0.08));
        assert_eq!(d.rate("price.eks_cluster_standard"), MoneyRate::from_usd_per_hour(0.10));
        assert_eq!(d.bytes("fargate.memory_overhead"), Bytes::from_mib(256));
        assert_eq!(d.span("cni.ip_cooldown"), Span::from_secs(30));
        let error = d.try_u64("hpa.sync_period").unwrap_err().to_string();
        assert_eq!(
            error,
            "constant `hpa.sync_period` is a duration in `duration`, \
             not a whole number of at least 0"
        );
    }
}
