//! Traffic: rates as pieces, the call graph in order.

use super::{Errors, pods};
use crate::spec::scenario::{RateSpec, Scenario, TrafficSpec};
use crate::units::{Id, SimTime, Span, math};
use crate::world::model::{Model, ServiceModel, TrafficModel};
use std::path::Path;
use std::sync::Arc;

/// Pieces of a smooth rate: at most this long.
const RESOLUTION: Span = Span::from_secs(300);
/// Pieces of a rate at most.
const MOST_PIECES: u64 = 1_000_000;

pub(super) fn lower(scenario: &Scenario, folder: &Path, model: &mut Model, errors: &mut Errors) {
    for (i, t) in scenario.spec.traffic.iter().enumerate() {
        let path = format!("traffic[{i}]");
        let Some(service) = find(&t.to, &format!("{path}.to"), model, errors) else { continue };
        if model.services[service].traffic.is_some() {
            errors.error(
                format!("{path}.to"),
                format!("`{}` has traffic twice", t.to),
                "merge the two entries",
            );
            continue;
        }
        let Some(lowered) = entry(t, &path, folder, model, errors) else { continue };
        model.services[service].traffic = Some(lowered);
    }
    // Services that are only called get the default cost of a request.
    let called: Vec<Id<ServiceModel>> = model
        .services
        .iter()
        .filter_map(|(_, s)| s.traffic.as_ref())
        .flat_map(|t| t.calls.iter().map(|c| c.0))
        .collect();
    for id in called {
        if model.services[id].traffic.is_none() {
            let spec = TrafficSpec { timeout: Span::from_secs(5), ..TrafficSpec::default() };
            model.services[id].traffic = entry(&spec, "traffic", folder, model, errors);
        }
    }
    match order(model) {
        Ok(order) => model.service_order = order,
        Err(cycle) => errors.error(
            "traffic",
            format!("Services call each other in a circle: {}", cycle.join(" -> ")),
            "remove one of the calls; a circle would multiply requests without end",
        ),
    }
}

fn find(text: &str, path: &str, model: &Model, errors: &mut Errors) -> Option<Id<ServiceModel>> {
    let found = model
        .services
        .iter()
        .find(|(_, s)| text != "*" && pods::names(text, "Service", &s.namespace, &s.name))
        .map(|(id, _)| id);
    if found.is_none() {
        let names: Vec<&str> = model.services.iter().map(|(_, s)| s.name.as_str()).collect();
        let wanted = text.rsplit('/').next().unwrap_or(text);
        let help = match crate::spec::suggest::nearest(wanted, names.iter().copied()) {
            Some(near) => format!("did you mean `Service/{near}`?"),
            None if !text.starts_with("Service/") => {
                "write `Service/NAME` or `Service/NAMESPACE/NAME`".to_owned()
            }
            None => "add the Service to the manifests".to_owned(),
        };
        errors.error(path, format!("there is no Service `{text}`"), help);
    }
    found
}

fn entry(
    t: &TrafficSpec,
    path: &str,
    folder: &Path,
    model: &Model,
    errors: &mut Errors,
) -> Option<TrafficModel> {
    let fifo = match t.discipline.as_deref() {
        None | Some("processorSharing") => false,
        Some("fifo") => true,
        Some(other) => {
            errors.error(
                format!("{path}.discipline"),
                format!("`{other}` is not a queue discipline"),
                "use processorSharing or fifo",
            );
            return None;
        }
    };
    let mut calls = Vec::new();
    for (k, call) in t.calls.iter().enumerate() {
        let at = format!("{path}.calls[{k}]");
        if !call.per_request.is_finite() || !(0.0..=1000.0).contains(&call.per_request) {
            errors.error(
                format!("{at}.perRequest"),
                format!("{} calls per request are out of range", call.per_request),
                "write a number from 0 to 1000",
            );
            continue;
        }
        if let Some(id) = find(&call.to, &format!("{at}.to"), model, errors) {
            calls.push((id, call.per_request));
        }
    }
    let (rate, burst) = match &t.rate {
        Some(spec) => (
            pieces(spec, &format!("{path}.rate"), folder, model, errors)?,
            burst(spec, &format!("{path}.rate.burst"), model, errors)?,
        ),
        None => (Vec::new(), None),
    };
    Some(TrafficModel {
        rate: Arc::new(rate),
        burst,
        cpu_seconds: t.per_request.cpu.secs_f64(),
        latency_floor: t.per_request.latency_floor.secs_f64(),
        memory: t.per_request.memory.bytes(),
        timeout: t.timeout,
        concurrency: t.concurrency,
        fifo,
        calls,
    })
}

#[expect(clippy::option_option, reason = "refused, or without modulation, or with")]
fn burst(
    spec: &RateSpec,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<Option<(f64, Span)>> {
    let Some(b) = &spec.burst else { return Some(None) };
    let every = b.every.unwrap_or(Span::from_secs(60));
    if !b.cv.is_finite() || !(0.0..=10.0).contains(&b.cv) {
        errors.error(
            format!("{path}.cv"),
            format!("{} is no coefficient of variation", b.cv),
            "write a number from 0 to 10",
        );
        return None;
    }
    if every.is_zero() || model.duration.nanos() / every.nanos().max(1) > MOST_PIECES {
        errors.error(
            format!("{path}.every"),
            format!("{every} is too short"),
            "write for example `1m`",
        );
        return None;
    }
    Some((b.cv > 0.0).then_some((b.cv, every)))
}

/// The rate as constant pieces.
fn pieces(
    spec: &RateSpec,
    path: &str,
    folder: &Path,
    model: &Model,
    errors: &mut Errors,
) -> Option<Vec<(SimTime, f64)>> {
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
    let mut points: Vec<(SimTime, f64)> = if let Some(rate) = spec.constant {
        vec![(SimTime::ZERO, rate.get())]
    } else if let Some(steps) = &spec.steps {
        let mut list = vec![(SimTime::ZERO, 0.0)];
        list.extend(steps.iter().map(|s| (SimTime::ZERO + s.at, s.rate.get())));
        list
    } else if let Some(ramp) = &spec.ramp {
        let knots: Vec<(f64, f64)> = ramp.iter().map(|s| (s.at.secs_f64(), s.rate.get())).collect();
        linear(&knots, model)
    } else if let Some(d) = &spec.diurnal {
        let peak = f64::from(d.peak.map_or(14 * 60, |p| p.minutes())) * 60.0;
        let (low, high) = (d.low.get(), d.high.get());
        if low > high {
            errors.error(format!("{path}.diurnal.low"), "low is above high", "swap the two");
            return None;
        }
        sampled(model, |t| {
            let clock = model.start_unix as f64 + t;
            let angle = (clock - peak) / 86_400.0 * 2.0 * core::f64::consts::PI;
            // 1970-01-01 was a Thursday: days 2 and 3 of each week are Saturday and Sunday.
            let day = (clock / 86_400.0).floor().rem_euclid(7.0);
            let weekend = (2.0..4.0).contains(&day);
            let wave = (low + high) / 2.0 + (high - low) / 2.0 * math::cos(angle);
            if weekend { wave * d.weekend.unwrap_or(1.0).max(0.0) } else { wave }
        })
    } else if let Some(file) = &spec.csv {
        let knots = read_series(&folder.join(file), &format!("{path}.csv"), errors)?;
        linear(&knots, model)
    } else {
        return None;
    };
    points.sort_by_key(|p| p.0);
    // Of several points at one time the last counts.
    let mut unique: Vec<(SimTime, f64)> = Vec::with_capacity(points.len());
    for p in points {
        match unique.last_mut() {
            Some(last) if last.0 == p.0 => last.1 = p.1,
            _ => unique.push(p),
        }
    }
    for spike in &spec.spikes {
        unique = with_spike(&unique, spike);
    }
    Some(unique)
}

fn sampled(model: &Model, rate: impl Fn(f64) -> f64) -> Vec<(SimTime, f64)> {
    let step = RESOLUTION.max(model.duration / MOST_PIECES);
    let count = model.duration.nanos() / step.nanos().max(1) + 1;
    (0..count)
        .map(|i| {
            let at = step * i;
            // The value in the middle of the piece stands for it.
            (SimTime::ZERO + at, rate(at.secs_f64() + step.secs_f64() / 2.0).max(0.0))
        })
        .collect()
}

/// Linear between the knots, constant outside.
fn linear(knots: &[(f64, f64)], model: &Model) -> Vec<(SimTime, f64)> {
    let mut sorted = knots.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut all = sampled(model, |t| {
        let after = sorted.partition_point(|k| k.0 <= t);
        match (after.checked_sub(1).and_then(|i| sorted.get(i)), sorted.get(after)) {
            (Some(a), Some(b)) if b.0 > a.0 => a.1 + (b.1 - a.1) * (t - a.0) / (b.0 - a.0),
            (Some(a), _) => a.1,
            (None, Some(b)) => b.1,
            (None, None) => 0.0,
        }
    });
    // Series finer than the resolution keep their own points.
    if sorted.windows(2).any(|w| w[1].0 - w[0].0 < RESOLUTION.secs_f64()) {
        let end = model.duration.secs_f64();
        all = sorted
            .iter()
            .filter(|k| k.0 <= end)
            .map(|k| (SimTime::ZERO + Span::from_secs_f64(k.0), k.1))
            .collect();
        if all.first().is_none_or(|f| f.0 > SimTime::ZERO) {
            all.insert(0, (SimTime::ZERO, sorted.first().map_or(0.0, |k| k.1)));
        }
    }
    all
}

fn with_spike(
    points: &[(SimTime, f64)],
    spike: &crate::spec::scenario::SpikeSpec,
) -> Vec<(SimTime, f64)> {
    let (from, to) = (SimTime::ZERO + spike.at, SimTime::ZERO + spike.at + spike.duration);
    let at = |t: SimTime| {
        let i = points.partition_point(|p| p.0 <= t);
        i.checked_sub(1).map_or(0.0, |i| points[i].1)
    };
    let lift = |t: SimTime, rate: f64| {
        if t >= from && t < to {
            rate * spike.factor.unwrap_or(1.0).max(0.0) + spike.add.map_or(0.0, |r| r.get())
        } else {
            rate
        }
    };
    let mut times: Vec<SimTime> = points.iter().map(|p| p.0).chain([from, to]).collect();
    times.sort_unstable();
    times.dedup();
    times.into_iter().map(|t| (t, lift(t, at(t)))).collect()
}

/// Reads `time_s,rate` rows.
fn read_series(path: &Path, field: &str, errors: &mut Errors) -> Option<Vec<(f64, f64)>> {
    let fail = |errors: &mut Errors, message: String| {
        errors.error(field, message, "give a CSV file with the columns time_s,rate");
    };
    let mut reader = match csv::Reader::from_path(path) {
        Ok(reader) => reader,
        Err(e) => {
            fail(errors, format!("cannot read {}: {e}", path.display()));
            return None;
        }
    };
    let mut rows = Vec::new();
    for (i, row) in reader.deserialize::<(f64, f64)>().enumerate() {
        match row {
            Ok((t, rate)) if t.is_finite() && t >= 0.0 && rate.is_finite() && rate >= 0.0 => {
                rows.push((t, rate));
            }
            Ok(_) => {
                fail(errors, format!("{}:{}: a number is out of range", path.display(), i + 2));
                return None;
            }
            Err(e) => {
                fail(errors, format!("{}: {e}", path.display()));
                return None;
            }
        }
        if rows.len() as u64 > MOST_PIECES {
            fail(errors, format!("{} has more than {MOST_PIECES} rows", path.display()));
            return None;
        }
    }
    Some(rows)
}

/// Callers before the called, or the names of a circle.
fn order(model: &Model) -> Result<Vec<Id<ServiceModel>>, Vec<String>> {
    let mut incoming: Vec<u32> = vec![0; model.services.len()];
    let calls = |id: Id<ServiceModel>| {
        model.services[id].traffic.iter().flat_map(|t| t.calls.iter().map(|c| c.0))
    };
    for id in model.services.ids() {
        calls(id).for_each(|to| incoming[to.index()] += 1);
    }
    let mut ready: Vec<Id<ServiceModel>> =
        model.services.ids().filter(|id| incoming[id.index()] == 0).collect();
    let mut order = Vec::new();
    let mut next = 0;
    while let Some(&id) = ready.get(next) {
        next += 1;
        order.push(id);
        for to in calls(id) {
            incoming[to.index()] -= 1;
            if incoming[to.index()] == 0 {
                ready.push(to);
            }
        }
    }
    if order.len() == model.services.len() {
        return Ok(order);
    }
    let left = model.services.iter().filter(|(id, _)| incoming[id.index()] > 0);
    Err(left.map(|(_, s)| s.name.clone()).collect())
}
