//! Kubernetes quantities (`500m`, `2Gi`, `1e3`), and the integers they become.
//!
//! Upstream: kubernetes v1.34.1, `apimachinery/pkg/api/resource/quantity.go`.
//! Differences: amounts beyond ±10^28 saturate instead of growing without bound.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANO: i128 = 1_000_000_000;
/// Largest magnitude kept, in nano-units.
const LIMIT: i128 = 10_i128.pow(37);

/// How a quantity was written; it decides how it is printed again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Format {
    /// Powers of ten with a letter: `100m`, `5k`.
    #[default]
    DecimalSI,
    /// Powers of two: `128Mi`.
    BinarySI,
    /// Powers of ten with an exponent: `1e3`.
    DecimalExponent,
}

/// A fixed-point number with nano precision, as Kubernetes writes resources.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a quantity{}", self.hint())]
pub struct QuantityError {
    text: String,
}

impl QuantityError {
    fn hint(&self) -> &'static str {
        let t = self.text.as_str();
        if t.is_empty() {
            "; write for example `500m` or `2Gi`"
        } else if t.ends_with('B') || t.ends_with('b') {
            "; sizes have no `B`: write for example `512Mi` or `2Gi`"
        } else if t.ends_with('K') {
            "; the decimal kilo is a small `k`, the binary one is `Ki`"
        } else if t.ends_with("gi") || t.ends_with("mi") || t.ends_with("ki") {
            "; binary suffixes are `Ki`, `Mi`, `Gi`, `Ti`"
        } else if t.contains(char::is_whitespace) {
            "; no space between number and suffix: `512Mi`"
        } else {
            "; write for example `500m` (cores) or `2Gi` (bytes)"
        }
    }
}

impl Quantity {
    /// From whole units.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self { nano: units as i128 * NANO, format: Format::DecimalSI }
    }
    /// From thousandths.
    #[must_use]
    pub const fn from_milli(milli: i64) -> Self {
        Self { nano: milli as i128 * 1_000_000, format: Format::DecimalSI }
    }
    /// From bytes, printed with binary suffixes.
    #[must_use]
    pub const fn from_bytes(bytes: i64) -> Self {
        Self { nano: bytes as i128 * NANO, format: Format::BinarySI }
    }
    /// From nano-units (saturating).
    #[must_use]
    pub fn from_nano(nano: i128) -> Self {
        Self { nano: nano.clamp(-LIMIT, LIMIT), format: Format::DecimalSI }
    }
    /// Nano-units.
    #[must_use]
    pub const fn nano(self) -> i128 {
        self.nano
    }
    /// How it was written.
    #[must_use]
    pub const fn format(self) -> Format {
        self.format
    }
    /// `Value()`: whole units, rounded away from zero.
    #[must_use]
    pub fn value(self) -> i64 {
        saturate(div_away(self.nano, NANO))
    }
    /// `MilliValue()`: thousandths, rounded away from zero.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        saturate(div_away(self.nano, 1_000_000))
    }
    /// As processor time.
    #[must_use]
    pub fn milli_cpu(self) -> MilliCpu {
        MilliCpu(self.milli_value())
    }
    /// As memory or storage.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        Bytes(self.value())
    }
    /// The value as a float, for formulas that upstream computes in floats.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.nano as f64 / 1e9
    }
    /// Whether it is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nano == 0
    }
    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.nano < 0
    }
}

fn saturate(x: i128) -> i64 {
    x.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn div_away(x: i128, by: i128) -> i128 {
    if x >= 0 { (x + by - 1) / by } else { (x - by + 1) / by }
}

impl PartialEq for Quantity {
    fn eq(&self, o: &Self) -> bool {
        self.nano == o.nano
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, o: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for Quantity {
    fn cmp(&self, o: &Self) -> core::cmp::Ordering {
        self.nano.cmp(&o.nano)
    }
}
impl core::hash::Hash for Quantity {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.nano.hash(state);
    }
}
impl Add for Quantity {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        let format = if self.nano == 0 { o.format } else { self.format };
        Self { nano: (self.nano + o.nano).clamp(-LIMIT, LIMIT), format }
    }
}
impl AddAssign for Quantity {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}
impl Sub for Quantity {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self { nano: (self.nano - o.nano).clamp(-LIMIT, LIMIT), format: self.format }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text).ok_or_else(|| QuantityError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (number.is_empty() && suffix.is_empty()) {
        return None;
    }
    let (binary, decimal, format) = scale(suffix)?;
    let nano = magnitude(whole, fraction, binary, decimal);
    let nano =
        if format == Format::BinarySI { nano.min(i128::from(i64::MAX) * NANO) } else { nano };
    Some(Quantity { nano: if negative { -nano } else { nano }, format })
}

/// Suffix → (power of two, power of ten, format).
fn scale(suffix: &str) -> Option<(u32, i32, Format)> {
    let found = match suffix {
        "" => (0, 0, Format::DecimalSI),
        "n" => (0, -9, Format::DecimalSI),
        "u" => (0, -6, Format::DecimalSI),
        "m" => (0, -3, Format::DecimalSI),
        "k" => (0, 3, Format::DecimalSI),
        "M" => (0, 6, Format::DecimalSI),
        "G" => (0, 9, Format::DecimalSI),
        "T" => (0, 12, Format::DecimalSI),
        "P" => (0, 15, Format::DecimalSI),
        "E" => (0, 18, Format::DecimalSI),
        "Ki" => (10, 0, Format::BinarySI),
        "Mi" => (20, 0, Format::BinarySI),
        "Gi" => (30, 0, Format::BinarySI),
        "Ti" => (40, 0, Format::BinarySI),
        "Pi" => (50, 0, Format::BinarySI),
        "Ei" => (60, 0, Format::BinarySI),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            // Exponents past these bounds all mean "saturated" or "zero".
            let clipped: i64 = exponent.parse().unwrap_or(1000).clamp(-1000, 1000);
            (0, clipped as i32, Format::DecimalExponent)
        }
    };
    Some(found)
}

/// `whole.fraction × 2^binary × 10^decimal` in nano-units, finer digits rounded up, saturated.
fn magnitude(whole: &str, fraction: &str, binary: u32, decimal: i32) -> i128 {
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|&b| b == b'0');
    let mut mantissa: i128 = 0;
    let mut dropped = 0_i64;
    let mut inexact = false;
    for b in digits {
        if mantissa < 10_i128.pow(27) {
            mantissa = mantissa * 10 + i128::from(b - b'0');
        } else {
            dropped += 1;
            inexact |= b != b'0';
        }
    }
    if mantissa == 0 {
        return 0;
    }
    let exponent = i64::from(decimal) + 9 - fraction.len() as i64 + dropped;
    if exponent > 37 {
        return LIMIT;
    }
    // Multiply by the binary factor first so that `0.25Mi` stays exact.
    let Some(scaled) = mantissa.checked_mul(1 << binary.min(30)) else { return LIMIT };
    let Some(scaled) = scaled.checked_mul(1 << (binary.max(30) - 30)) else { return LIMIT };
    if exponent >= 0 {
        let Some(power) = 10_i128.checked_pow(exponent as u32) else { return LIMIT };
        return scaled.checked_mul(power).map_or(LIMIT, |x| (x + i128::from(inexact)).min(LIMIT));
    }
    match 10_i128.checked_pow((-exponent) as u32) {
        Some(power) => ((scaled + i128::from(inexact) + power - 1) / power).min(LIMIT),
        None => 1,
    }
}

impl fmt::Display for Quantity {
    /// The canonical text, as `kubectl` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.nano;
        if n == 0 {
            return f.write_str("0");
        }
        let whole = n % NANO == 0;
        if self.format == Format::BinarySI && whole && (n / NANO).abs() >= 1024 {
            let (mut v, mut step) = (n / NANO, 0);
            while v % 1024 == 0 && step < 6 {
                v /= 1024;
                step += 1;
            }
            return write!(f, "{v}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]);
        }
        let (mut v, mut step) = (n, 0);
        while v % 1000 == 0 && step < 9 {
            v /= 1000;
            step += 1;
        }
        if self.format == Format::DecimalExponent {
            let exponent = step as i32 * 3 - 9;
            return if exponent == 0 { write!(f, "{v}") } else { write!(f, "{v}e{exponent}") };
        }
        write!(f, "{v}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][step])
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl serde::de::Visitor<'_> for V {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as `500m` or `2Gi`")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Quantity, E> {
                v.parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Quantity, E> {
                Ok(Quantity::from_units(v))
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Quantity, E> {
                v.to_string().parse().map_err(E::custom)
            }
            fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Quantity, E> {
                // `{v:?}` prints the shortest digits, so `cpu: 0.5` is read as written.
                format!("{v:?}").parse().map_err(E::custom)
            }
        }
        d.deserialize_any(V)
    }
}
impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "description": "a Kubernetes quantity, for example 500m or 2Gi"
        })
    }
}

macro_rules! integer_resource {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
        )]
        pub struct $name(i64);
        impl $name {
            /// None.
            pub const ZERO: Self = Self(0);
            #[doc = concat!("From ", $unit, ".")]
            #[must_use]
            pub const fn new(raw: i64) -> Self {
                Self(raw)
            }
            #[doc = concat!("The amount in ", $unit, ".")]
            #[must_use]
            pub const fn raw(self) -> i64 {
                self.0
            }
        }
        impl Add for $name {
            type Output = Self;
            fn add(self, o: Self) -> Self {
                Self(self.0.saturating_add(o.0))
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, o: Self) {
                *self = *self + o;
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, o: Self) -> Self {
                Self(self.0.saturating_sub(o.0))
            }
        }
        impl SubAssign for $name {
            fn sub_assign(&mut self, o: Self) {
                *self = *self - o;
            }
        }
        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self(self.0.saturating_neg())
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, |a, b| a + b)
            }
        }
    };
}

integer_resource!(
    /// Processor time in thousandths of a core.
    MilliCpu,
    "thousandths of a core"
);
integer_resource!(
    /// Memory or storage in bytes.
    Bytes,
    "bytes"
);

impl Bytes {
    /// From mebibytes.
    #[must_use]
    pub const fn from_mib(mib: i64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }
    /// Whole mebibytes, cut.
    #[must_use]
    pub const fn whole_mib(self) -> i64 {
        self.0 >> 20
    }
}
impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Quantity::from_milli(self.0))
    }
}
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Quantity::from_bytes(self.0))
    }
}
impl From<Quantity> for MilliCpu {
    fn from(q: Quantity) -> Self {
        q.milli_cpu()
    }
}
impl From<Quantity> for Bytes {
    fn from(q: Quantity) -> Self {
        q.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_vectors() {
        let text = include_str!("../../tests/data/conformance/scheduler/quantity.json");
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert!(cases.len() > 40);
        for case in cases {
            let (text, expect) = (case["input"]["quantity"].as_str().unwrap(), &case["expect"]);
            let got = text.parse::<Quantity>();
            assert_eq!(got.is_ok(), expect["valid"].as_bool().unwrap(), "{text}");
            let Ok(q) = got else { continue };
            if let Some(v) = expect["value"].as_i64() {
                assert_eq!(q.value(), v, "{text}");
            }
            if let Some(v) = expect["milli_value"].as_i64() {
                assert_eq!(q.milli_value(), v, "{text}");
            }
            if let Some(v) = expect["canonical"].as_str() {
                assert_eq!(q.to_string(), v, "{text}");
            }
            if let Some(v) = expect["format"].as_str() {
                assert_eq!(format!("{:?}", q.format()), v, "{text}");
            }
        }
    }

    #[test]
    fn kubectl_oddities() {
        for (text, canonical) in
            [("1E", "1E"), ("12E", "12E"), ("1.", "1"), (".", "0"), ("0.1Ki", "102400m")]
        {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), canonical);
        }
        for text in ["1e3Mi", "5K", "1KiB", "", "5 Gi", "1_000", "é"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?[0-9.]{0,60}[a-zA-Z]{0,3}[-+]?[0-9]{0,30}") {
            if let Ok(q) = text.parse::<Quantity>() {
                let _ = (q.value(), q.milli_value(), q.to_string(), q + q, q - q);
            }
        }
        #[test]
        fn canonical_text_round_trips(milli: i64) {
            let q = Quantity::from_milli(milli);
            proptest::prop_assert_eq!(q.to_string().parse::<Quantity>().unwrap(), q);
        }
    }
}
