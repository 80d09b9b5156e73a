//! Strict reading of a case's input: a key that nobody reads makes the case unsupported.

use super::super::Refusal;
use crate::units::SimTime;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Keys that say where a case comes from.
const PROVENANCE: [&str; 6] =
    ["origin", "upstream_test", "upstream_documented", "source", "derived", "note"];

/// An object of a case whose keys must all be known.
pub(in crate::study::conformance) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Refuses keys other than `known` and those of provenance.
    pub(in crate::study::conformance) fn new(
        value: &'a Value,
        known: &[&str],
    ) -> Result<Self, Refusal> {
        let map = value.as_object().ok_or_else(|| bad("an object was expected here"))?;
        let stranger =
            |key: &&String| !known.contains(&key.as_str()) && !PROVENANCE.contains(&key.as_str());
        match map.keys().find(stranger) {
            Some(key) => Err(bad(&format!("key `{key}` is not read"))),
            None => Ok(Self(map)),
        }
    }
    /// The value of `key`, null if absent.
    pub(in crate::study::conformance) fn get(&self, key: &str) -> &'a Value {
        self.0.get(key).unwrap_or(&Value::Null)
    }
    /// Whether `key` is present and not null.
    pub(in crate::study::conformance) fn has(&self, key: &str) -> bool {
        !self.get(key).is_null()
    }
    /// The value of `key` as `T`.
    pub(in crate::study::conformance) fn read<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<T, Refusal> {
        read(self.get(key)).map_err(|e| bad(&format!("key `{key}`: {e}")))
    }
    /// The value of `key`, or the default of `T` if absent.
    pub(in crate::study::conformance) fn read_or<T: DeserializeOwned>(
        &self,
        key: &str,
        default: T,
    ) -> Result<T, Refusal> {
        if self.has(key) { self.read(key) } else { Ok(default) }
    }
    /// The elements of the list at `key`; empty if absent.
    pub(in crate::study::conformance) fn list(&self, key: &str) -> &'a [Value] {
        self.get(key).as_array().map_or(&[], Vec::as_slice)
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

/// A case that cannot be read.
pub(in crate::study::conformance) fn bad(why: &str) -> Refusal {
    Refusal::Unsupported(why.to_owned())
}

/// An RFC 3339 time as time since the Unix epoch.
pub(in crate::study::conformance) fn instant(text: &str) -> Result<SimTime, Refusal> {
    let stamp: jiff::Timestamp =
        text.parse().map_err(|_| bad(&format!("`{text}` is not an RFC 3339 time")))?;
    Ok(SimTime::from_nanos(u64::try_from(stamp.as_nanosecond()).unwrap_or(0)))
}

/// Runs every case of a vector file and lists what differs.
#[cfg(test)]
pub(in crate::study::conformance) fn check(path: &str) {
    let full = format!("{}/tests/data/conformance/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&full).expect("vector file");
    let file: Value = serde_json::from_str(&text).expect("vector file is JSON");
    let cases = file["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    let mut failures = Vec::new();
    for case in cases {
        let expect = &case["expect"];
        let wants_error = expect.get("error").is_some_and(|e| !e.is_null());
        let verdict = match super::super::evaluate(&file, case) {
            Err(Refusal::Error(_)) if wants_error => continue,
            Err(refusal) => format!("{refusal:?}"),
            Ok(value) if wants_error => format!("no error but {value}"),
            Ok(value) => {
                let Some(keys) = expect.as_object() else { panic!("expect is no object") };
                let differs = |(key, want): (&String, &Value)| {
                    let got = value.get(key);
                    let passes = got.is_some_and(|got| same(key, got, want));
                    (!passes).then(|| format!("{key}: got {got:?}, want {want}"))
                };
                let all: Vec<String> = keys.iter().filter_map(differs).collect();
                if all.is_empty() {
                    continue;
                }
                all.join("; ")
            }
        };
        failures.push(format!("{}: {verdict}", case["name"]));
    }
    let (failed, total) = (failures.len(), cases.len());
    assert!(failures.is_empty(), "{failed} of {total} fail:\n{}", failures.join("\n"));
}

/// The departures from exact equality that vpa-estimator's `compare` states.
#[cfg(test)]
fn same(key: &str, got: &Value, want: &Value) -> bool {
    let (Some(a), Some(b)) = (got.as_f64(), want.as_f64()) else { return close(got, want) };
    match key {
        "cpuMillicores" => (a - b).abs() <= 1.0,
        "memoryBytes" => (a - b).abs() <= 1e-9 * b.abs(),
        _ => close(got, want),
    }
}

#[cfg(test)]
fn close(got: &Value, want: &Value) -> bool {
    match (got, want) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && b.iter().all(|(k, b)| a.get(k).is_some_and(|a| same(k, a, b)))
        }
        (Value::Number(a), Value::Number(b)) if b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            (a - b).abs() <= (1e-9 * b.abs()).max(1e-12)
        }
        _ => got == want,
    }
}
