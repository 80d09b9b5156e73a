//! What an unquoted YAML scalar means.
//!
//! Upstream: sigs.k8s.io/yaml v1.6 (goyaml.v2 `resolve.go`), which kubectl 1.34 uses.
//! Differences: numbers with a sign before `0b` are read as text.

use super::node::{Flavour, Value};
use std::borrow::Cow;

/// The value of a plain (unquoted) scalar.
#[must_use]
pub fn plain<'s>(text: Cow<'s, str>, flavour: Flavour) -> Value<'s> {
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if flavour == Flavour::Manifest {
        match text.as_ref() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Value::Bool(false),
            _ => {}
        }
    }
    let numeric = matches!(text.as_bytes().first(), Some(b'0'..=b'9' | b'+' | b'-' | b'.'));
    if numeric && let Some(number) = number(&text, flavour) {
        return number;
    }
    Value::Str(text)
}

fn number(text: &str, flavour: Flavour) -> Option<Value<'static>> {
    // Real numbers are short; this also bounds the work on hostile ones.
    if text.len() > 400 {
        return None;
    }
    let manifest = flavour == Flavour::Manifest;
    let clean: Cow<'_, str> =
        if manifest && text.contains('_') { text.replace('_', "").into() } else { text.into() };
    let unsigned = clean.strip_prefix(['+', '-']).unwrap_or(&clean);
    let negative = clean.starts_with('-');
    if let Some(magnitude) = integer(unsigned, manifest) {
        return Some(match (negative, i64::try_from(magnitude)) {
            (false, Ok(n)) => Value::Int(n),
            (true, Ok(n)) => Value::Int(-n),
            (true, Err(_)) if magnitude == 1 << 63 => Value::Int(i64::MIN),
            (true, Err(_)) => Value::Float(-(magnitude as f64)),
            (false, Err(_)) => Value::Big(magnitude),
        });
    }
    if !is_float(unsigned) {
        return None;
    }
    clean.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::Float)
}

/// Go's `ParseUint(s, 0, 64)` for manifests, decimal digits (and `0x`, `0o`) for scenarios.
fn integer(text: &str, manifest: bool) -> Option<u64> {
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with(['+', '-']));
    }
    if let Some(octal) = text.strip_prefix("0o").or_else(|| text.strip_prefix("0O")) {
        return u64::from_str_radix(octal, 8).ok().filter(|_| !octal.starts_with(['+', '-']));
    }
    if let Some(binary) = text.strip_prefix("0b").filter(|_| manifest) {
        return u64::from_str_radix(binary, 2).ok().filter(|_| !binary.starts_with(['+', '-']));
    }
    if !all_digits {
        return None;
    }
    if manifest && text.len() > 1 && text.starts_with('0') {
        // `08` is no octal number; it falls through to a float, as upstream.
        return u64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

/// `[0-9]+(\.[0-9]*)?` or `\.[0-9]+`, then an optional exponent.
fn is_float(text: &str) -> bool {
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix('.') {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else { return rest.is_empty() };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Value<'_> {
        plain(Cow::Borrowed(text), Flavour::Manifest)
    }

    #[test]
    fn kubectl_reading() {
        let texts = ["yes", "on", "y", "ON", "Yes"];
        assert!(texts.iter().all(|t| manifest(t) == Value::Bool(true)));
        assert!(["NO", "n", "off"].iter().all(|t| manifest(t) == Value::Bool(false)));
        assert_eq!(manifest("017"), Value::Int(15));
        assert_eq!(manifest("08"), Value::Float(8.0));
        assert_eq!(manifest("0x1F"), Value::Int(31));
        assert_eq!(manifest("1_000"), Value::Int(1000));
        assert_eq!(manifest("-3"), Value::Int(-3));
        assert_eq!(manifest("1."), Value::Float(1.0));
        assert_eq!(manifest("1e3"), Value::Float(1000.0));
        assert_eq!(manifest("18446744073709551615"), Value::Big(u64::MAX));
        assert_eq!(manifest("-9223372036854775808"), Value::Int(i64::MIN));
        for text in
            ["500m", "1Gi", "1.2.3", "2024-01-01", "-", "+", ".", "1e", "0xzz", "yEs", "1e999"]
        {
            assert_eq!(manifest(text), Value::Str(text.into()), "{text}");
        }
    }

    #[test]
    fn scenario_reading() {
        let read = |t| plain(Cow::Borrowed(t), Flavour::Scenario);
        assert_eq!(read("yes"), Value::Str("yes".into()));
        assert_eq!(read("true"), Value::Bool(true));
        assert_eq!(read("017"), Value::Int(17));
        assert_eq!(read("1_000"), Value::Str("1_000".into()));
        assert_eq!(read("~"), Value::Null);
    }
}
