//! Small values with units: rates, percentages, times of day.

use core::fmt;
use core::str::FromStr;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A rate, as events per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct PerSecond(f64);

impl PerSecond {
    /// From events per second.
    #[must_use]
    pub const fn new(per_second: f64) -> Self {
        Self(per_second)
    }
    /// Events per second.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// A share written as `99.9%` or as a fraction `0.999`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Fraction(f64);

impl Fraction {
    /// From a fraction.
    #[must_use]
    pub const fn new(fraction: f64) -> Self {
        Self(fraction)
    }
    /// The fraction.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// A time of day `HH:MM`, as minutes since midnight UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Minutes since midnight.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

fn finite_non_negative(text: &str) -> Option<f64> {
    let plain =
        text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    text.parse::<f64>().ok().filter(|v| plain && v.is_finite() && *v >= 0.0)
}

impl FromStr for PerSecond {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a rate; write for example `200/s`, `90/m` or `5/h`");
        let (number, unit) = text.split_once('/').ok_or_else(bad)?;
        let value = finite_non_negative(number.trim()).ok_or_else(bad)?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(bad()),
        };
        Ok(Self(value / seconds))
    }
}

impl FromStr for Fraction {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a share; write for example `99.9%` or `0.999`");
        match text.strip_suffix('%') {
            Some(percent) => {
                finite_non_negative(percent.trim()).map(|p| Self(p / 100.0)).ok_or_else(bad)
            }
            None => finite_non_negative(text).map(Self).ok_or_else(bad),
        }
    }
}

impl FromStr for TimeOfDay {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a time of day; write for example \"13:00\"");
        let (hours, minutes) = text.split_once(':').ok_or_else(bad)?;
        let (h, m): (u16, u16) =
            (hours.parse().map_err(|_| bad())?, minutes.parse().map_err(|_| bad())?);
        if h > 23 || m > 59 { Err(bad()) } else { Ok(Self(h * 60 + m)) }
    }
}

impl fmt::Display for PerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}
impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

struct TextVisitor<T> {
    wanted: &'static str,
    number: fn(f64) -> Result<T, String>,
}
impl<T: FromStr<Err = String>> Visitor<'_> for TextVisitor<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<T, E> {
        v.parse().map_err(E::custom)
    }
    fn visit_i64<E: Error>(self, v: i64) -> Result<T, E> {
        (self.number)(v as f64).map_err(E::custom)
    }
    fn visit_u64<E: Error>(self, v: u64) -> Result<T, E> {
        (self.number)(v as f64).map_err(E::custom)
    }
    fn visit_f64<E: Error>(self, v: f64) -> Result<T, E> {
        (self.number)(v).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for PerSecond {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(TextVisitor {
            wanted: "a rate such as `200/s`",
            number: |v| Err(format!("`{v}` has no unit; write for example `{v}/s`")),
        })
    }
}
impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(TextVisitor {
            wanted: "a share such as `99.9%` or `0.999`",
            number: |v| v.to_string().parse(),
        })
    }
}
impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(TextVisitor {
            wanted: "a time of day such as \"13:00\"",
            number: |v| Err(format!("`{v}` is not a time of day; write it in quotes: \"13:00\"")),
        })
    }
}

macro_rules! text_value {
    ($name:ident, $schema:literal, $description:literal, $types:tt) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $schema.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": $types, "description": $description})
            }
        }
    };
}
text_value!(PerSecond, "Rate", "a rate with unit, for example 200/s, 90/m or 5/h", "string");
text_value!(Fraction, "Share", "a share, for example 99.9% or 0.999", ["string", "number"]);
text_value!(TimeOfDay, "TimeOfDay", "a time of day, for example 13:00", "string");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_shares_and_times_read() {
        assert_eq!("200/s".parse(), Ok(PerSecond(200.0)));
        assert_eq!("90/m".parse(), Ok(PerSecond(1.5)));
        assert_eq!("99.9%".parse(), Ok(Fraction(0.9990000000000001)));
        assert_eq!("13:05".parse(), Ok(TimeOfDay(785)));
        for bad in ["200", "x/s", "-1/s", "5/fortnight", "NaN/s", "inf/s"] {
            assert!(bad.parse::<PerSecond>().is_err(), "{bad}");
        }
        for bad in ["25:00", "1300", "12:60"] {
            assert!(bad.parse::<TimeOfDay>().is_err(), "{bad}");
        }
    }
}
