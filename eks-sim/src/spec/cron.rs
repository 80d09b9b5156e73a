//! Cron expressions and when they fire.
//!
//! Upstream: github.com/robfig/cron v3.0.1 `parser.go`/`spec.go`, which Kubernetes 1.34's CronJob
//! controller and Karpenter's budgets use.
//! Differences: named zones follow today's rules (POSIX strings below), not history.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// A parsed cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    any_day: bool,
    any_weekday: bool,
    /// Seconds of `@every`.
    every: Option<i64>,
}

/// Why a text is not a cron expression: `wrong; mend`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

fn error<T>(text: impl Into<String>) -> Result<T, CronError> {
    Err(CronError(text.into()))
}

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, words: &[] },
    Field { name: "hour", min: 0, max: 23, words: &[] },
    Field { name: "day of month", min: 1, max: 31, words: &[] },
    Field {
        name: "month",
        min: 1,
        max: 12,
        words: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Field {
        name: "day of week",
        min: 0,
        max: 6,
        words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

impl Schedule {
    /// Reads five fields, or a word such as `@hourly` or `@every 90m`.
    ///
    /// # Errors
    /// When the text is not a cron expression; the message says how to mend it.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            return error("a time zone inside the expression; use the field `timeZone`");
        }
        let expression = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        if let Some(span) = expression.strip_prefix("@every ") {
            let span: crate::units::Span =
                span.trim().parse().map_err(|e| CronError(format!("{e}")))?;
            let seconds = i64::try_from(span.whole_secs()).unwrap_or(i64::MAX);
            let never = Self::fields([0; 5], [false; 2]);
            return Ok(Self { every: Some(seconds.max(1)), ..never });
        }
        if expression.starts_with('@') {
            return error(format!(
                "`{expression}` is unknown; write `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly` or five fields"
            ));
        }
        let parts: Vec<&str> = expression.split_ascii_whitespace().collect();
        if parts.len() != 5 {
            return error(format!(
                "{} fields instead of five; write `minute hour day-of-month month day-of-week`, for example `0 3 * * *`",
                parts.len()
            ));
        }
        let mut bits = [0; 5];
        let mut any = [false; 5];
        for (i, field) in FIELDS.iter().enumerate() {
            for part in parts[i].split(',') {
                let (set, star) = range(part, field)?;
                bits[i] |= set;
                any[i] |= star;
            }
        }
        Ok(Self::fields(bits, [any[2], any[4]]))
    }

    const fn fields(b: [u64; 5], any: [bool; 2]) -> Self {
        let [minute, hour, day, month, weekday] = b;
        let [any_day, any_weekday] = any;
        Self { minute, hour, day, month, weekday, any_day, any_weekday, every: None }
    }

    fn day_matches(&self, date: Date) -> bool {
        let in_month = has(self.day, date.day());
        let in_week = has(self.weekday, date.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday { in_month && in_week } else { in_month || in_week }
    }

    /// The first time after `after` (Unix seconds) at which it fires in `zone`; `None` if it does
    /// not within five years (`0 0 30 2 *`).
    #[must_use]
    pub fn next_after(&self, after: i64, zone: &Zone) -> Option<i64> {
        if let Some(seconds) = self.every {
            return after.checked_add(seconds);
        }
        let start = Timestamp::from_second(after.checked_add(1)?).ok()?;
        let local = zone.0.to_datetime(start);
        let mut date = local.date();
        // A minute that has begun is over, unless it begins now.
        let mut from = if local.second() == 0 {
            local.time()
        } else {
            match local.checked_add(1.minute()) {
                Ok(next) => {
                    date = next.date();
                    next.time()
                }
                Err(_) => return None,
            }
        };
        for _ in 0..366 * 5 {
            if has(self.month, date.month()) && self.day_matches(date) {
                let found = self.in_day(date, from, after, zone);
                if found.is_some() {
                    return found;
                }
            }
            date = date.tomorrow().ok()?;
            from = Time::midnight();
        }
        None
    }

    fn in_day(&self, date: Date, from: Time, after: i64, zone: &Zone) -> Option<i64> {
        for hour in from.hour()..24 {
            let first = if hour == from.hour() { from.minute() } else { 0 };
            if !has(self.hour, hour) {
                continue;
            }
            for minute in (first..60).filter(|&m| has(self.minute, m)) {
                let at = DateTime::from_parts(date, Time::constant(hour, minute, 0, 0));
                // A time that the clocks skip does not fire; of a doubled one the first does.
                let zoned = zone.0.to_ambiguous_zoned(at);
                if matches!(zoned.offset(), AmbiguousOffset::Gap { .. }) {
                    continue;
                }
                let Ok(fires) = zoned.compatible() else { continue };
                let second = fires.timestamp().as_second();
                if second > after {
                    return Some(second);
                }
            }
        }
        None
    }
}

fn has(bits: u64, n: i8) -> bool {
    u32::try_from(n).is_ok_and(|n| n < 64 && bits >> n & 1 == 1)
}

fn number(text: &str, field: &Field) -> Result<u32, CronError> {
    let lower = text.to_ascii_lowercase();
    if let Some(i) = field.words.iter().position(|w| *w == lower) {
        return Ok(field.min + u32::try_from(i).unwrap_or(0));
    }
    let n: u32 = match text.parse() {
        Ok(n) if text.bytes().all(|b| b.is_ascii_digit()) => n,
        _ => {
            return error(format!(
                "`{text}` is no {}; write a number from {} to {}",
                field.name, field.min, field.max
            ));
        }
    };
    if n < field.min || n > field.max {
        let sunday = if field.max == 6 && n == 7 { " (Sunday is 0)" } else { "" };
        return error(format!(
            "{} {n} does not exist; write a number from {} to {}{sunday}",
            field.name, field.min, field.max
        ));
    }
    Ok(n)
}

/// The set of one part such as `*/15`, `1-5` or `mon`, and whether it is a plain star.
fn range(part: &str, field: &Field) -> Result<(u64, bool), CronError> {
    let (bounds, step) = match part.split_once('/') {
        Some((bounds, step)) => (bounds, Some(step)),
        None => (part, None),
    };
    let mut star = bounds == "*" || bounds == "?";
    let (low, mut high) = if star {
        (field.min, field.max)
    } else {
        match bounds.split_once('-') {
            Some((a, b)) => (number(a, field)?, number(b, field)?),
            None => {
                let n = number(bounds, field)?;
                (n, n)
            }
        }
    };
    let mut by = 1;
    if let Some(step) = step {
        by = match step.parse::<u32>() {
            Ok(n) if n > 0 && step.bytes().all(|b| b.is_ascii_digit()) => n,
            _ => return error(format!("`{step}` is no step; write for example `*/15`")),
        };
        if !star && !bounds.contains('-') {
            high = field.max;
        }
        star &= by == 1;
    }
    if low > high {
        return error(format!(
            "the range `{bounds}` of {} is upside down; write the smaller number first",
            field.name
        ));
    }
    let mut bits = 0;
    let mut n = low;
    while n <= high {
        bits |= 1_u64 << n;
        n = n.saturating_add(by);
    }
    Ok((bits, star))
}

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

/// Common zones with today's rules (IANA tz 2025b, last line of each file).
const ZONES: &[(&str, &str)] = &[
    ("Africa/Cairo", "EET-2EEST,M4.5.5/0,M10.5.4/24"),
    ("Africa/Johannesburg", "SAST-2"),
    ("Africa/Lagos", "WAT-1"),
    ("Africa/Nairobi", "EAT-3"),
    ("America/Argentina/Buenos_Aires", "<-03>3"),
    ("America/Bogota", "<-05>5"),
    ("America/Chicago", "CST6CDT,M3.2.0,M11.1.0"),
    ("America/Denver", "MST7MDT,M3.2.0,M11.1.0"),
    ("America/Halifax", "AST4ADT,M3.2.0,M11.1.0"),
    ("America/Los_Angeles", "PST8PDT,M3.2.0,M11.1.0"),
    ("America/Mexico_City", "CST6"),
    ("America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
    ("America/Phoenix", "MST7"),
    ("America/Sao_Paulo", "<-03>3"),
    ("America/Toronto", "EST5EDT,M3.2.0,M11.1.0"),
    ("America/Vancouver", "PST8PDT,M3.2.0,M11.1.0"),
    ("Asia/Bangkok", "<+07>-7"),
    ("Asia/Calcutta", "IST-5:30"),
    ("Asia/Dhaka", "<+06>-6"),
    ("Asia/Dubai", "<+04>-4"),
    ("Asia/Ho_Chi_Minh", "<+07>-7"),
    ("Asia/Hong_Kong", "HKT-8"),
    ("Asia/Jakarta", "WIB-7"),
    ("Asia/Jerusalem", "IST-2IDT,M3.4.4/26,M10.5.0"),
    ("Asia/Karachi", "PKT-5"),
    ("Asia/Kolkata", "IST-5:30"),
    ("Asia/Manila", "PST-8"),
    ("Asia/Riyadh", "<+03>-3"),
    ("Asia/Seoul", "KST-9"),
    ("Asia/Shanghai", "CST-8"),
    ("Asia/Singapore", "<+08>-8"),
    ("Asia/Taipei", "CST-8"),
    ("Asia/Tokyo", "JST-9"),
    ("Australia/Brisbane", "AEST-10"),
    ("Australia/Melbourne", "AEST-10AEDT,M10.1.0,M4.1.0/3"),
    ("Australia/Perth", "AWST-8"),
    ("Australia/Sydney", "AEST-10AEDT,M10.1.0,M4.1.0/3"),
    ("Europe/Amsterdam", CET),
    ("Europe/Athens", EET),
    ("Europe/Berlin", CET),
    ("Europe/Brussels", CET),
    ("Europe/Budapest", CET),
    ("Europe/Copenhagen", CET),
    ("Europe/Dublin", "GMT0IST,M3.5.0/1,M10.5.0"),
    ("Europe/Helsinki", EET),
    ("Europe/Istanbul", "<+03>-3"),
    ("Europe/Kiev", EET),
    ("Europe/Kyiv", EET),
    ("Europe/Lisbon", "WET0WEST,M3.5.0/1,M10.5.0"),
    ("Europe/London", "GMT0BST,M3.5.0/1,M10.5.0"),
    ("Europe/Madrid", CET),
    ("Europe/Moscow", "MSK-3"),
    ("Europe/Oslo", CET),
    ("Europe/Paris", CET),
    ("Europe/Prague", CET),
    ("Europe/Rome", CET),
    ("Europe/Stockholm", CET),
    ("Europe/Vienna", CET),
    ("Europe/Warsaw", CET),
    ("Europe/Zurich", CET),
    ("Pacific/Auckland", "NZST-12NZDT,M9.5.0,M4.1.0/3"),
    ("Pacific/Honolulu", "HST10"),
    ("US/Central", "CST6CDT,M3.2.0,M11.1.0"),
    ("US/Eastern", "EST5EDT,M3.2.0,M11.1.0"),
    ("US/Mountain", "MST7MDT,M3.2.0,M11.1.0"),
    ("US/Pacific", "PST8PDT,M3.2.0,M11.1.0"),
];
const CET: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const EET: &str = "EET-2EEST,M3.5.0/3,M10.5.0/4";

impl Zone {
    /// Reads `UTC`, `+02:00`, `UTC-5`, or a name such as `Europe/Berlin`.
    ///
    /// # Errors
    /// When the zone is unknown; the message says how to mend it.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if matches!(text, "" | "UTC" | "Etc/UTC" | "Z" | "GMT" | "Etc/GMT" | "UCT" | "Zulu") {
            return Ok(Self::default());
        }
        if let Some((_, rule)) = ZONES.iter().find(|z| z.0 == text) {
            return TimeZone::posix(rule).map(Self).map_err(|e| CronError(e.to_string()));
        }
        let offset = text.strip_prefix("UTC").or_else(|| text.strip_prefix("GMT")).unwrap_or(text);
        if let Some(seconds) = offset_seconds(offset)
            && let Ok(offset) = jiff::tz::Offset::from_seconds(seconds)
        {
            return Ok(Self(TimeZone::fixed(offset)));
        }
        // Whatever a time zone database of the machine knows would differ between machines.
        let near = crate::spec::suggest::nearest(text, ZONES.iter().map(|z| z.0));
        let near = near.map_or_else(|| "UTC".to_owned(), str::to_owned);
        error(format!(
            "the time zone `{text}` is unknown; write for example `{near}` or an offset such as `+02:00`"
        ))
    }
}

fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..=14).contains(&hours) && (0..60).contains(&minutes))
        .then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unix seconds of a UTC time.
    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn next(expression: &str, after: &str, zone: &str) -> String {
        let schedule = Schedule::parse(expression).unwrap();
        let fires = schedule.next_after(at(after), &Zone::parse(zone).unwrap());
        fires.map_or("never".to_owned(), |s| Timestamp::from_second(s).unwrap().to_string())
    }

    #[test]
    fn fires() {
        for (expression, after, zone, expected) in [
            ("*/15 * * * *", "2024-03-01T10:07:30Z", "UTC", "2024-03-01T10:15:00Z"),
            ("0 3 * * *", "2024-03-01T03:00:00Z", "UTC", "2024-03-02T03:00:00Z"),
            ("0 0 29 2 *", "2024-03-01T00:00:00Z", "UTC", "2028-02-29T00:00:00Z"),
            ("0 0 30 2 *", "2024-03-01T00:00:00Z", "UTC", "never"),
            ("30 4 1,15 * fri", "2024-03-02T00:00:00Z", "UTC", "2024-03-08T04:30:00Z"),
            ("@hourly", "2024-12-31T23:59:59Z", "UTC", "2025-01-01T00:00:00Z"),
            ("@every 90m", "2024-01-01T00:00:00Z", "UTC", "2024-01-01T01:30:00Z"),
            ("10/20 5 * jan-MAR *", "2024-04-01T00:00:00Z", "UTC", "2025-01-01T05:10:00Z"),
            ("0 9 * * mon-fri", "2024-03-29T12:00:00Z", "Europe/Berlin", "2024-04-01T07:00:00Z"),
            // 02:30 does not exist on 31 March 2024 in Berlin.
            ("30 2 * * *", "2024-03-31T00:00:00Z", "Europe/Berlin", "2024-04-01T00:30:00Z"),
            ("0 9 * * *", "2024-01-01T00:00:00Z", "+05:30", "2024-01-01T03:30:00Z"),
            ("59 23 31 12 *", "2024-12-31T23:58:30Z", "UTC", "2024-12-31T23:59:00Z"),
        ] {
            assert_eq!(next(expression, after, zone), expected, "{expression} after {after}");
        }
    }

    #[test]
    fn refusals_say_the_mend() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "@never",
            "a * * * *",
            "TZ=UTC * * * * *",
            "-1 * * * *",
            "1,, * * * *",
        ] {
            let e = Schedule::parse(text).unwrap_err().to_string();
            assert!(e.contains("; "), "{text}: {e}");
        }
        assert!(Zone::parse("Europe/Berlim").unwrap_err().to_string().contains("Europe/Berlin"));
        assert!(ZONES.iter().all(|z| Zone::parse(z.0).is_ok()));
    }

    #[test]
    fn next_is_later_and_minimal() {
        let schedule = Schedule::parse("7 */3 * * *").unwrap();
        let zone = Zone::default();
        let mut now = at("2024-02-28T00:00:00Z");
        for _ in 0..100 {
            let next = schedule.next_after(now, &zone).unwrap();
            assert!(next > now && next - now <= 3 * 3600);
            assert_eq!(next % 60, 0);
            now = next;
        }
    }
}
