//! Rates of requests over time.

use super::super::Errors;
use super::series;
use crate::policy::traffic::Noise;
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
pub(super) const MOST_PIECES: u64 = 1_000_000;
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

/// Noise with a memory; nothing inside when there is none.
#[expect(clippy::option_option, reason = "refused, or without noise, or with")]
pub(super) fn noise(
    spec: &RateSpec,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<Option<Noise>> {
    let Some(n) = &spec.noise else { return Some(None) };
    let every = n.every.unwrap_or(Span::from_secs(60));
    if !(0.0..=10.0).contains(&n.cv) {
        errors.error(
            format!("{path}.noise.cv"),
            format!("{} is no coefficient of variation", n.cv),
            "write a number from 0 to 10",
        );
        return None;
    }
    if every.is_zero() || model.duration.nanos() / every.nanos().max(1) > MOST_PIECES {
        errors.error(
            format!("{path}.noise.every"),
            format!("{every} is too short"),
            "write for example `1m`",
        );
        return None;
    }
    Some(Some(Noise::new(n.cv, n.correlation.unwrap_or(Span::from_secs(600)), every)))
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
        spec.prometheus.is_some(),
        spec.counts.is_some(),
    ];
    if shapes.iter().filter(|s| **s).count() != 1 {
        errors.error(
            path,
            "a rate needs exactly one shape",
            "use one of constant, steps, ramp, diurnal, csv, prometheus, counts",
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
        let rows = series::csv(&folder.join(file));
        taken(rows, &format!("{path}.csv"), series::CSV_HELP, errors).map(Shape::Lines)
    } else if let Some(spec) = &spec.prometheus {
        let rows = series::prometheus(spec, folder);
        let path = format!("{path}.prometheus");
        taken(rows, &path, series::PROMETHEUS_HELP, errors).map(Shape::Lines)
    } else if let Some(spec) = &spec.counts {
        let rows = series::counts(spec, folder, model.duration);
        taken(rows, &format!("{path}.counts"), series::COUNTS_HELP, errors).map(Shape::Steps)
    } else {
        None
    }
}

fn taken(
    rows: Result<Vec<(SimTime, f64)>, String>,
    path: &str,
    help: &str,
    errors: &mut Errors,
) -> Option<Vec<(SimTime, f64)>> {
    rows.map(unique).map_err(|message| errors.error(path, message, help)).ok()
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
    let mut wave = Diurnal::new(low, high, peak).with_weekend(d.weekend.unwrap_or(1.0));
    if let Some(weekdays) = d.weekdays {
        if d.weekend.is_some() {
            errors.error(
                format!("{path}.diurnal.weekend"),
                "`weekend` and `weekdays` both set the factors of Saturday and Sunday",
                "drop `weekend`",
            );
        }
        wave.weekdays = weekdays;
    }
    let wave = wave.starting(Span::from_secs(after_monday.unsigned_abs()));
    Some(Shape::Diurnal(wave))
}
