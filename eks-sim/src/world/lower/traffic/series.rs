//! Rates from files: CSV series, answers of Prometheus, recorded counts.

use super::rate::MOST_PIECES;
use crate::spec::scenario::{CountsSpec, PrometheusSpec};
use crate::units::{SimTime, Span};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

type Rows = Vec<(SimTime, f64)>;

pub(super) const CSV_HELP: &str = "give a CSV file with the columns time_s,rate or timestamp,value";
pub(super) const PROMETHEUS_HELP: &str =
    "give the JSON answer of `/api/v1/query_range`, for example of `sum(rate(requests_total[1m]))`";
pub(super) const COUNTS_HELP: &str =
    "give numbers of requests, one for each interval of the length `every`";

/// Rows `time_s,rate` or `timestamp,value`.
pub(super) fn csv(path: &Path) -> Result<Vec<(SimTime, f64)>, String> {
    let name = path.display();
    let mut reader =
        csv::Reader::from_path(path).map_err(|e| format!("cannot read {name}: {e}"))?;
    let headers = reader.headers().map_err(|e| format!("{name}: {e}"))?.clone();
    let column = |names: &[&str]| headers.iter().position(|h| names.contains(&h.trim()));
    let relative = column(&["time_s"]);
    let time = relative
        .or_else(|| column(&["timestamp", "time", "Time"]))
        .ok_or_else(|| format!("{name} has no column `time_s` or `timestamp`"))?;
    let value = column(&["rate", "value", "Value"])
        .ok_or_else(|| format!("{name} has no column `rate` or `value`"))?;
    let (mut rows, mut first) = (Vec::new(), None);
    for (i, row) in reader.records().enumerate() {
        let row = row.map_err(|e| format!("{name}: {e}"))?;
        let bad = || format!("{name}:{}: a number is missing or out of range", i + 2);
        let at = row.get(time).and_then(instant).ok_or_else(bad)?;
        let start = if relative.is_some() { 0.0 } else { *first.get_or_insert(at) };
        let rate = row.get(value).and_then(|v| v.trim().parse::<f64>().ok()).ok_or_else(bad)?;
        let since = at - start;
        if !((0.0..1e10).contains(&since) && rate.is_finite() && rate >= 0.0) {
            return Err(bad());
        }
        rows.push((SimTime::ZERO + Span::from_secs_f64(since), rate));
        if rows.len() as u64 > MOST_PIECES {
            return Err(format!("{name} has more than {MOST_PIECES} rows"));
        }
    }
    Ok(rows)
}

/// Seconds as a number, or RFC 3339.
fn instant(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = text.parse::<f64>().ok();
    number.or_else(|| {
        let at = text.parse::<jiff::Timestamp>().ok()?;
        Some(at.as_second() as f64 + f64::from(at.subsec_nanosecond()) / 1e9)
    })
}

/// The answer of Prometheus to a range query; fields that are not needed are ignored.
#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Series {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(name, value)| self.metric.get(name) == Some(value))
    }
}

/// The sum of the chosen series, from their first sample on.
pub(super) fn prometheus(spec: &PrometheusSpec, folder: &Path) -> Result<Rows, String> {
    let path = folder.join(&spec.file);
    let name = path.display();
    let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {name}: {e}"))?;
    let answer: Answer = serde_json::from_str(&text).map_err(|e| format!("{name}: {e}"))?;
    if answer.status != "success" {
        return Err(format!("{name} is the answer to a query that failed: {}", answer.error));
    }
    let data = answer.data.ok_or_else(|| format!("{name} has no `data`"))?;
    if data.result_type != "matrix" {
        let kind = data.result_type;
        return Err(format!("{name} has the result type `{kind}`, not `matrix`"));
    }
    let all: Vec<Series> =
        serde_json::from_value(data.result).map_err(|e| format!("{name}: {e}"))?;
    let chosen: Vec<&Series> = all.iter().filter(|s| s.matches(&spec.labels)).collect();
    if chosen.is_empty() {
        return Err(format!("none of the {} series in {name} has the labels", all.len()));
    }
    let scale = scale(spec.scale)?;
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    for (at, value) in chosen.iter().flat_map(|s| &s.values) {
        let rate = value.parse::<f64>().ok().filter(|r| r.is_finite() && *r >= 0.0);
        let (Some(rate), true) = (rate, (0.0..1e12).contains(at)) else {
            return Err(format!("{name}: `{value}` at {at} is no rate"));
        };
        *sums.entry((at * 1000.0).round() as u64).or_insert(0.0) += rate * scale;
    }
    if sums.len() as u64 > MOST_PIECES {
        return Err(format!("{name} has more than {MOST_PIECES} samples"));
    }
    let first = sums.keys().next().copied().ok_or_else(|| format!("{name} has no samples"))?;
    Ok(sums
        .into_iter()
        .map(|(at, rate)| (SimTime::ZERO + Span::from_millis(at - first), rate))
        .collect())
}

fn scale(asked: Option<f64>) -> Result<f64, String> {
    match asked.unwrap_or(1.0) {
        s if s.is_finite() && s >= 0.0 => Ok(s),
        s => Err(format!("the factor `scale` cannot be {s}")),
    }
}

/// Counts of consecutive intervals as rates, from `from` on, for as long as the run lasts.
pub(super) fn counts(spec: &CountsSpec, folder: &Path, lasts: Span) -> Result<Rows, String> {
    let path = folder.join(&spec.file);
    let name = path.display();
    if spec.every.is_zero() {
        return Err("the intervals have no length; set `every`, for example to 1m".to_owned());
    }
    let scale = scale(spec.scale)?;
    let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {name}: {e}"))?;
    let end = spec.from + lasts;
    let (mut rows, mut at) = (Rows::new(), Span::ZERO);
    let seconds = spec.every.secs_f64();
    for (line, field) in fields(&text) {
        let count = field.parse::<f64>().ok().filter(|c| c.is_finite() && *c >= 0.0);
        let count = match count {
            Some(count) => count,
            None if line == 1 && rows.is_empty() && at.is_zero() => continue,
            None => return Err(format!("{name}:{line}: `{field}` is no number of requests")),
        };
        let next = at + spec.every;
        if next > spec.from && at < end {
            rows.push((SimTime::ZERO + at.saturating_sub(spec.from), count * scale / seconds));
        }
        at = next;
        if rows.len() as u64 > MOST_PIECES {
            return Err(format!(
                "the run takes more than {MOST_PIECES} intervals of {name}; shorten `duration`"
            ));
        }
    }
    if rows.is_empty() {
        return Err(format!("{name} ends at {at}, before the run begins"));
    }
    rows.push((SimTime::ZERO + at.saturating_sub(spec.from), 0.0));
    Ok(rows)
}

/// The fields that may hold a count, with their line: the last column of each row with commas, all
/// words of a line without.
fn fields(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(i, line)| {
        let last = line.rsplit_once(',').map(|(_, last)| last.trim());
        let words = if last.is_some() { "" } else { line };
        last.into_iter().chain(words.split_whitespace()).map(move |field| (i + 1, field))
    })
}
