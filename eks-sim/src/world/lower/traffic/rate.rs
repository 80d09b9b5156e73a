//! Rates of requests over time.

use super::super::Errors;
use crate::policy::traffic::markov::Markov;
use crate::policy::traffic::rate::{Burst, Diurnal, RateError, RateProfile, Shape, Spike};
use crate::spec::scenario::{DiurnalSpec, RateSpec, RateStep};
use crate::units::{SimTime, Span};
use crate::world::model::Model;
use std::path::Path;

/// Pieces of a smooth rate are at least this long.
const RESOLUTION: Span = Span::from_secs(60);
/// Pieces of a smooth rate at most; a longer run gets longer pieces.
const MOST_SMOOTH_PIECES: u64 = 50_000;
/// Pieces of a rate at most.
const MOST_PIECES: u64 = 1_000_000;
const DAY: i64 = 86_400;

/// The rate over time; nothing when a mistake was reported.
pub(super) fn profile(
    spec: &RateSpec,
    path: &str,
    folder: &Path,
    model: &Model,
    errors: &mut Errors,
) -> Option<RateProfile> {
    let shape = shape(spec, path, folder, model, errors)?;
    let spikes = spec.spikes.iter().map(|s| Spike {
        at: SimTime::ZERO + s.at,
        duration: s.duration,
        factor: s.factor.unwrap_or(1.0),
        add: s.add.map_or(0.0, |r| r.get()),
    });
    let spikes = spikes.collect();
    let resolution = RESOLUTION.max(model.duration / MOST_SMOOTH_PIECES);
    let built = RateProfile::new(shape)
        .and_then(|p| p.with_resolution(resolution))
        .and_then(|p| p.with_spikes(spikes));
    let built = refuse(built, path, errors)?;
    let Some(b) = &spec.burst else { return Some(built) };
    let every = b.every.unwrap_or(Span::from_secs(60));
    if !(0.0..=10.0).contains(&b.cv) {
        errors.error(
            format!("{path}.burst.cv"),
            format!("{} is no coefficient of variation", b.cv),
            "write a number from 0 to 10",
        );
        return None;
    }
    if every.is_zero() || model.duration.nanos() / every.nanos().max(1) > MOST_PIECES {
        errors.error(
            format!("{path}.burst.every"),
            format!("{every} is too short"),
            "write for example `1m`",
        );
        return None;
    }
    refuse(built.with_burst(Burst { cv: b.cv, every }), &format!("{path}.burst"), errors)
}

/// Random calm and busy times; nothing inside when there are none.
#[expect(clippy::option_option, reason = "refused, or without modulation, or with")]
pub(super) fn markov(spec: &RateSpec, path: &str, errors: &mut Errors) -> Option<Option<Markov>> {
    let Some(m) = &spec.markov else { return Some(None) };
    match Markov::new(m.factor, m.busy, m.calm, m.calm_factor) {
        Ok(markov) => Some(Some(markov)),
        Err(e) => {
            errors.error(format!("{path}.markov"), e.to_string(), "see the message");
            None
        }
    }
}

fn refuse(
    built: Result<RateProfile, RateError>,
    path: &str,
    errors: &mut Errors,
) -> Option<RateProfile> {
    built.map_err(|e| errors.error(path, e.to_string(), "correct the rate")).ok()
}

fn shape(
    spec: &RateSpec,
    path: &str,
    folder: &Path,
    model: &Model,
    errors: &mut Errors,
) -> Option<Shape> {
    let shapes = [
        spec.constant.is_some(),
        spec.steps.is_some(),
        spec.ramp.is_some(),
        spec.diurnal.is_some(),
        spec.csv.is_some(),
    ];
    if shapes.iter().filter(|s| **s).count() != 1 {
        errors.error(
            path,
            "a rate needs exactly one shape",
            "use one of constant, steps, ramp, diurnal, csv",
        );
        return None;
    }
    if let Some(rate) = spec.constant {
        Some(Shape::Constant(rate.get()))
    } else if let Some(steps) = &spec.steps {
        Some(Shape::Steps(points(steps)))
    } else if let Some(ramp) = &spec.ramp {
        Some(Shape::Lines(points(ramp)))
    } else if let Some(d) = &spec.diurnal {
        diurnal(d, path, model, errors)
    } else if let Some(file) = &spec.csv {
        let rows = read_series(&folder.join(file), &format!("{path}.csv"), errors)?;
        Some(Shape::Lines(rows))
    } else {
        None
    }
}

/// In order of time; of several points at one time the last counts.
fn points(steps: &[RateStep]) -> Vec<(SimTime, f64)> {
    let all = steps.iter().map(|s| (SimTime::ZERO + s.at, s.rate.get()));
    unique(all.collect())
}

fn unique(mut all: Vec<(SimTime, f64)>) -> Vec<(SimTime, f64)> {
    all.sort_by_key(|p| p.0);
    let mut kept: Vec<(SimTime, f64)> = Vec::with_capacity(all.len());
    for point in all {
        match kept.last_mut() {
            Some(last) if last.0 == point.0 => last.1 = point.1,
            _ => kept.push(point),
        }
    }
    kept
}

fn diurnal(d: &DiurnalSpec, path: &str, model: &Model, errors: &mut Errors) -> Option<Shape> {
    let (low, high) = (d.low.get(), d.high.get());
    if low > high {
        errors.error(format!("{path}.diurnal.low"), "low is above high", "swap the two");
        return None;
    }
    let peak = Span::from_secs(u64::from(d.peak.map_or(14 * 60, |p| p.minutes())) * 60);
    // 1970-01-01 was a Thursday, three days after a Monday.
    let after_monday = (model.start_unix + 3 * DAY).rem_euclid(7 * DAY);
    let wave = Diurnal::new(low, high, peak)
        .with_weekend(d.weekend.unwrap_or(1.0))
        .starting(Span::from_secs(after_monday.unsigned_abs()));
    Some(Shape::Diurnal(wave))
}

/// Reads `time_s,rate` or `timestamp,value` rows.
fn read_series(path: &Path, field: &str, errors: &mut Errors) -> Option<Vec<(SimTime, f64)>> {
    match series(path) {
        Ok(rows) => Some(unique(rows)),
        Err(message) => {
            let help = "give a CSV file with the columns time_s,rate or timestamp,value";
            errors.error(field, message, help);
            None
        }
    }
}

fn series(path: &Path) -> Result<Vec<(SimTime, f64)>, String> {
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
