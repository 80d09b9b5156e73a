//! Simulated time: integer nanoseconds since the start of a run.

use core::fmt;
use core::ops::{Add, AddAssign, Div, Mul, Rem, Sub};
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant of virtual time, in nanoseconds since the start of the run.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
pub struct SimTime(u64);

/// A length of virtual time, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Span(u64);

impl SimTime {
    /// The start of the run.
    pub const ZERO: Self = Self(0);
    /// An instant that never comes.
    pub const NEVER: Self = Self(u64::MAX);
    /// From nanoseconds since the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
    /// From whole seconds since the start.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }
    /// Nanoseconds since the start.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
    /// Seconds since the start as a float, for reports and formulas.
    #[must_use]
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
    /// Time since `earlier`; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
    /// This instant cut down to a multiple of `unit` (unchanged for a zero unit).
    #[must_use]
    pub const fn floor_to(self, unit: Span) -> Self {
        if unit.0 == 0 { self } else { Self(self.0 - self.0 % unit.0) }
    }
}

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// The longest span.
    pub const MAX: Self = Self(u64::MAX);
    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }
    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }
    /// From seconds as a float, to the nearest nanosecond (negative and not-a-number are zero).
    #[must_use]
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * 1e9).round() as u64)
    }
    /// Nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
    /// Whole seconds, cut.
    #[must_use]
    pub const fn whole_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }
    /// Seconds as a float.
    #[must_use]
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
    /// Whether no time passes.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
    /// This span less `other`, at least zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add<Span> for SimTime {
    type Output = Self;
    fn add(self, d: Span) -> Self {
        Self(self.0.saturating_add(d.0))
    }
}
impl AddAssign<Span> for SimTime {
    fn add_assign(&mut self, d: Span) {
        *self = *self + d;
    }
}
impl Sub<Span> for SimTime {
    type Output = Self;
    fn sub(self, d: Span) -> Self {
        Self(self.0.saturating_sub(d.0))
    }
}
impl Add for Span {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self(self.0.saturating_add(o.0))
    }
}
impl AddAssign for Span {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}
impl Sub for Span {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self(self.0.saturating_sub(o.0))
    }
}
impl Mul<u64> for Span {
    type Output = Self;
    fn mul(self, k: u64) -> Self {
        Self(self.0.saturating_mul(k))
    }
}
impl Div<u64> for Span {
    type Output = Self;
    fn div(self, k: u64) -> Self {
        Self(self.0 / k.max(1))
    }
}
impl Rem for Span {
    type Output = Self;
    fn rem(self, o: Self) -> Self {
        Self(if o.0 == 0 { 0 } else { self.0 % o.0 })
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0 / 1_000_000_000;
        let ms = self.0 / 1_000_000 % 1000;
        write!(f, "{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60)
    }
}
impl fmt::Display for Span {
    /// The shortest exact spelling, for example `1h30m` or `250ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        const UNITS: [(u64, &str); 7] = [
            (86_400_000_000_000, "d"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        let mut rest = self.0;
        for (size, name) in UNITS {
            if rest >= size {
                write!(f, "{}{name}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// A number without a unit.
    #[error("`{0}` has no unit; write for example `{0}s`, `{0}m` or `{0}h`")]
    NoUnit(String),
    /// Anything else.
    #[error("`{0}` is not a duration; write for example `90s`, `15m`, `2h30m` or `3d`")]
    Malformed(String),
    /// More than 2^64 nanoseconds.
    #[error("`{0}` is too long; the longest duration is about 584 years")]
    TooLong(String),
}

impl FromStr for Span {
    type Err = SpanError;

    /// Reads `90s`, `2h30m`, `1.5h`, `250ms`, `3d`; units `d h m s ms us ns`.
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let malformed = || SpanError::Malformed(text.to_owned());
        let too_long = || SpanError::TooLong(text.to_owned());
        let mut rest = text;
        let mut total: u128 = 0;
        if rest.is_empty() {
            return Err(malformed());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(letters);
            if unit.is_empty() {
                let alone = !number.is_empty() && tail.is_empty() && total == 0;
                return Err(if alone { SpanError::NoUnit(text.to_owned()) } else { malformed() });
            }
            let size: u128 = match unit {
                "d" => 86_400_000_000_000,
                "h" => 3_600_000_000_000,
                "m" => 60_000_000_000,
                "s" => 1_000_000_000,
                "ms" => 1_000_000,
                "us" => 1_000,
                "ns" => 1,
                _ => return Err(malformed()),
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(malformed());
            }
            if whole.len() > 20 || fraction.len() > 15 {
                return Err(too_long());
            }
            let whole: u128 =
                if whole.is_empty() { 0 } else { whole.parse().map_err(|_| malformed())? };
            total += whole * size;
            if !fraction.is_empty() {
                let scale = 10u128.pow(fraction.len() as u32);
                let part: u128 = fraction.parse().map_err(|_| malformed())?;
                total += part * size / scale;
            }
            rest = next;
        }
        u64::try_from(total).map(Span).map_err(|_| too_long())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl serde::de::Visitor<'_> for V {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `90s`, `15m` or `2h30m`")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Span, E> {
                v.parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Span, E> {
                Err(E::custom(SpanError::NoUnit(v.to_string())))
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Span, E> {
                Err(E::custom(SpanError::NoUnit(v.to_string())))
            }
            fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Span, E> {
                Err(E::custom(SpanError::NoUnit(v.to_string())))
            }
        }
        d.deserialize_any(V)
    }
}
impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^([0-9]+(\.[0-9]+)?|\.[0-9]+)(d|h|m|s|ms|us|ns)(([0-9]+(\.[0-9]+)?|\.[0-9]+)(d|h|m|s|ms|us|ns))*$",
            "description": "a duration with units d h m s ms us ns, for example 90s or 2h30m"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, nanos) in [
            ("90s", 90_000_000_000),
            ("2h30m", 9_000_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("250ms", 250_000_000),
            ("0s", 0),
            ("3d", 259_200_000_000_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().nanos(), nanos, "{text}");
        }
        assert_eq!(Span::from_secs(5400).to_string(), "1h30m");
        assert_eq!("90".parse::<Span>(), Err(SpanError::NoUnit("90".into())));
        for bad in ["", "s", "5x", "-3s", "1..2s", "3 s", ".s"] {
            assert!(matches!(bad.parse::<Span>(), Err(SpanError::Malformed(_))), "{bad}");
        }
        assert!(matches!("99999999999d".parse::<Span>(), Err(SpanError::TooLong(_))));
    }

    proptest::proptest! {
        #[test]
        fn display_round_trips(nanos: u64) {
            let span = Span::from_nanos(nanos);
            proptest::prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }
}
