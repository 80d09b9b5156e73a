//! The cron schedules of disruption budgets, in UTC.
//!
//! Upstream: robfig/cron v3 ParseStandard, as karpenter's nodepool.go calls it: five fields or
//! a macro. Differences: `TZ=` prefixes are refused, since upstream adds its own.

use crate::units::Span;

/// A schedule: bits of the allowed values, or a fixed interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Five fields.
    Fields(Fields),
    /// `@every`, in seconds.
    Every(i64),
}

/// Bits of the allowed values of each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    minute: u64,
    hour: u64,
    day: Field,
    month: u64,
    weekday: Field,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    star: bool,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cron schedule; write five fields such as `0 9 * * mon-fri`, or `@daily`")]
pub struct CronError(pub String);

const DAY: i64 = 86_400;
/// Years after which the search for a hit ends.
const HORIZON_DAYS: i64 = 5 * 366;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl core::str::FromStr for Schedule {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let error = || CronError(text.to_owned());
        if let Some(interval) = text.strip_prefix("@every ") {
            let span: Span = interval.parse().map_err(|_| error())?;
            let secs = i64::try_from(span.whole_secs()).map_err(|_| error())?;
            return Ok(Self::Every(secs.max(1)));
        }
        let expanded = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { return Err(error()) };
        let read =
            |text: &str, min, max, names: &[&str]| field(text, min, max, names).ok_or_else(error);
        Ok(Self::Fields(Fields {
            minute: read(minute, 0, 59, &[])?.bits,
            hour: read(hour, 0, 23, &[])?.bits,
            day: read(day, 1, 31, &[])?,
            month: read(month, 1, 12, &MONTHS)?.bits,
            weekday: read(weekday, 0, 6, &WEEKDAYS)?,
        }))
    }
}

fn field(text: &str, min: u32, max: u32, names: &[&str]) -> Option<Field> {
    let mut out = Field { bits: 0, star: false };
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(digits(step).filter(|&s| s > 0)?)),
            None => (part, None),
        };
        let star = range == "*" || range == "?";
        let (low, high) = if star {
            (min, max)
        } else if let Some((low, high)) = range.split_once('-') {
            (value(low, min, names)?, value(high, min, names)?)
        } else {
            let low = value(range, min, names)?;
            (low, if step.is_some() { max } else { low })
        };
        if low < min || high > max || low > high {
            return None;
        }
        let step = step.unwrap_or(1);
        out.star |= star && step == 1;
        let mut at = low;
        while at <= high {
            out.bits |= 1 << at;
            at = at.saturating_add(step);
        }
    }
    Some(out)
}

fn digits(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn value(text: &str, min: u32, names: &[&str]) -> Option<u32> {
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
    named.map(|i| i as u32 + min).or_else(|| digits(text))
}

impl Schedule {
    /// First hit after `after` (Unix seconds), if any within five years.
    #[must_use]
    pub fn next(&self, after: i64) -> Option<i64> {
        match self {
            Self::Every(interval) => Some(after.saturating_add(*interval)),
            Self::Fields(fields) => fields.next(after),
        }
    }
}

impl Fields {
    fn next(&self, after: i64) -> Option<i64> {
        let first = after.saturating_add(1);
        let first_day = first.div_euclid(DAY);
        (0..HORIZON_DAYS).find_map(|offset| {
            let day = first_day.checked_add(offset)?;
            if !self.day_matches(day) {
                return None;
            }
            let from = if offset == 0 { first.rem_euclid(DAY) } else { 0 };
            self.time_from(from).map(|second| day * DAY + second)
        })
    }

    /// First allowed second of a day at or after `from`.
    fn time_from(&self, from: i64) -> Option<i64> {
        let from_minute = (from + 59) / 60;
        (from_minute / 60..24).filter(|hour| self.hour >> hour & 1 == 1).find_map(|hour| {
            let start = (from_minute - hour * 60).max(0);
            (start..60).find(|m| self.minute >> m & 1 == 1).map(|m| (hour * 60 + m) * 60)
        })
    }

    fn day_matches(&self, day: i64) -> bool {
        let (month, of_month) = month_and_day(day);
        // 1 January 1970 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let day_ok = self.day.bits >> of_month & 1 == 1;
        let weekday_ok = self.weekday.bits >> weekday & 1 == 1;
        let both = self.day.star || self.weekday.star;
        self.month >> month & 1 == 1
            && if both { day_ok && weekday_ok } else { day_ok || weekday_ok }
    }
}

/// Month and day of month of a day since 1970 (proleptic Gregorian calendar).
fn month_and_day(day: i64) -> (i64, i64) {
    // Years start in March, so that the leap day is the last of its year.
    let day_of_era = (day + 719_468).rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    (if month < 10 { month + 3 } else { month - 9 }, day_of_year - (153 * month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_follow_the_calendar() {
        for (text, after, expect) in [
            ("0 9 * * mon-fri", 1_772_355_600, Some(1_772_442_000)), // Sunday 1 March 2026, 09:00
            ("@yearly", 0, Some(31_536_000)),
            ("*/15 * * * *", 900, Some(1800)),
            ("0 0 29 2 *", 0, Some(68_169_600)),
            ("0 0 30 2 *", 0, None),
            ("0 0 13 * 5", 0, Some(86_400)), // day or weekday: Friday 2 January 1970
            ("@every 90s", 10, Some(100)),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.next(after), expect, "{text}");
        }
        for bad in ["", "* * * *", "60 * * * *", "* * * * 7", "5-1 * * * *", "*/0 * * * *", "@x"] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad}");
        }
    }
}
