//! Bounds of HPAs that move during the run: schedules and forecasts become changes at set times.

use super::{Errors, pods, traffic};
use crate::policy::traffic::RateProfile;
use crate::spec::cron::{Schedule, Zone};
use crate::spec::scenario::{ForecastSpec, ScalingSpec, Scenario, ScheduledBounds};
use crate::spec::suggest;
use crate::units::{Id, SimTime, Span};
use crate::world::model::{HpaModel, HpaPatch, Model};

/// Changes beyond this number are a mistake of units.
const MOST_CHANGES: usize = 100_000;

/// The bounds that a schedule sets, from a time on.
#[derive(Clone, Copy)]
struct Setting {
    at: SimTime,
    min: Option<i32>,
    max: Option<i32>,
}

pub(super) fn lower(scenario: &Scenario, model: &mut Model, errors: &mut Errors) {
    let mut patches = Vec::new();
    let mut seen: Vec<Id<HpaModel>> = Vec::new();
    for (i, entry) in scenario.spec.scaling.iter().enumerate() {
        let path = format!("scaling[{i}]");
        let Some(hpa) = find(&entry.hpa, &format!("{path}.hpa"), model, errors) else { continue };
        if seen.contains(&hpa) {
            let message = format!("`{}` is scaled twice", entry.hpa);
            errors.error(format!("{path}.hpa"), message, "merge the two entries");
            continue;
        }
        seen.push(hpa);
        patches.extend(entry_patches(entry, hpa, &path, model, errors));
    }
    patches.sort_by_key(|p: &HpaPatch| p.at);
    model.hpa_patches = patches;
}

/// The HPA that a text names, directly or by its ScaledObject.
fn find(text: &str, path: &str, model: &Model, errors: &mut Errors) -> Option<Id<HpaModel>> {
    let is = |h: &HpaModel| {
        let of_keda = h.name.strip_prefix("keda-hpa-").unwrap_or_default();
        text != "*"
            && (pods::names(text, "HorizontalPodAutoscaler", &h.namespace, &h.name)
                || pods::names(text, "ScaledObject", &h.namespace, of_keda))
    };
    let found = model.hpas.iter().find(|(_, h)| is(h)).map(|(id, _)| id);
    if found.is_none() {
        let all: Vec<String> =
            model.hpas.iter().map(|(_, h)| format!("HorizontalPodAutoscaler/{}", h.name)).collect();
        let help = match suggest::nearest(text, all.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if all.is_empty() => "add the HPA to the manifests; they hold none".to_owned(),
            None => format!("write {}", suggest::list(all.iter().map(String::as_str))),
        };
        errors.error(path, format!("there is no HPA `{text}`"), help);
    }
    found
}

fn entry_patches(
    entry: &ScalingSpec,
    hpa: Id<HpaModel>,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Vec<HpaPatch> {
    let mut settings = Vec::new();
    for (j, bounds) in entry.schedule.iter().enumerate() {
        scheduled(bounds, &format!("{path}.schedule[{j}]"), model, &mut settings, errors);
    }
    settings.sort_by_key(|s: &Setting| s.at);
    let forecast = entry.forecast.as_ref();
    let wanted = forecast
        .and_then(|f| forecasts(f, hpa, &format!("{path}.forecast"), model, errors))
        .unwrap_or_default();
    if entry.schedule.is_empty() && forecast.is_none() {
        let message = format!("the entry of `{}` changes nothing", entry.hpa);
        errors.error(path, message, "give `schedule` or `forecast`");
    }
    merge(model.hpas[hpa].bounds, &settings, &wanted, hpa)
}

/// Both lists in order of time; the larger minimum counts, and none exceeds the maximum.
fn merge(
    (mut min, mut max): (i32, i32),
    settings: &[Setting],
    wanted: &[(SimTime, i32)],
    hpa: Id<HpaModel>,
) -> Vec<HpaPatch> {
    let mut times: Vec<SimTime> =
        settings.iter().map(|s| s.at).chain(wanted.iter().map(|w| w.0)).collect();
    times.sort_unstable();
    times.dedup();
    let (mut settings, mut wanted) = (settings.iter().peekable(), wanted.iter().peekable());
    let (mut foreseen, mut last) = (0, (min, max));
    let mut patches = Vec::new();
    for at in times {
        while let Some(s) = settings.next_if(|s| s.at <= at) {
            (min, max) = (s.min.unwrap_or(min), s.max.unwrap_or(max));
        }
        while let Some(w) = wanted.next_if(|w| w.0 <= at) {
            foreseen = w.1;
        }
        let bounds = (min.max(foreseen).min(max), max);
        if bounds != last {
            last = bounds;
            patches.push(HpaPatch { at, hpa, min: bounds.0, max: bounds.1 });
        }
    }
    patches
}

fn scheduled(
    bounds: &ScheduledBounds,
    path: &str,
    model: &Model,
    settings: &mut Vec<Setting>,
    errors: &mut Errors,
) {
    let count = |n: Option<u32>| n.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    let (min, max) = (count(bounds.min_replicas), count(bounds.max_replicas));
    if min.is_none() && max.is_none() {
        let help = "add `minReplicas` or `maxReplicas`";
        return errors.error(path, "the entry sets no bound", help);
    }
    if max == Some(0) || min.zip(max).is_some_and(|(min, max)| min > max) {
        let message = "`maxReplicas` is 0 or below `minReplicas`";
        return errors.error(format!("{path}.maxReplicas"), message, "raise `maxReplicas`");
    }
    match (&bounds.cron, bounds.at) {
        (Some(cron), None) => {
            let zone = bounds.time_zone.as_deref().map_or(Ok(Zone::default()), Zone::parse);
            let (schedule, zone) = match (Schedule::parse(cron), zone) {
                (Ok(schedule), Ok(zone)) => (schedule, zone),
                (Err(e), _) => return cron_error(&format!("{path}.cron"), &e.to_string(), errors),
                (_, Err(e)) => {
                    return cron_error(&format!("{path}.timeZone"), &e.to_string(), errors);
                }
            };
            let begin = model.start_unix;
            let end = begin.saturating_add(model.duration.whole_secs() as i64);
            let mut at = begin - 1;
            while let Some(next) = schedule.next_after(at, &zone).filter(|&n| n < end) {
                let since = SimTime::from_secs(next.saturating_sub(begin).unsigned_abs());
                settings.push(Setting { at: since, min, max });
                at = next;
                if settings.len() >= MOST_CHANGES {
                    break;
                }
            }
        }
        (None, Some(at)) => settings.push(Setting { at: SimTime::ZERO + at, min, max }),
        _ => {
            let help = "write `cron: \"0 8 * * *\"` or `at: 2h`";
            errors.error(path, "the entry needs either `cron` or `at`", help);
        }
    }
}

fn cron_error(path: &str, text: &str, errors: &mut Errors) {
    let (message, help) = text.split_once("; ").unwrap_or((text, "correct it"));
    errors.error(path, message, help);
}

/// `minReplicas` that the forecast asks for, from each time on.
fn forecasts(
    spec: &ForecastSpec,
    hpa: Id<HpaModel>,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<Vec<(SimTime, i32)>> {
    let rate = forecast_rate(spec, hpa, path, model, errors)?;
    let per_replica = spec.per_replica.get();
    if per_replica <= 0.0 {
        let help = "write what a replica takes, for example `perReplica: 50/s`";
        errors.error(format!("{path}.perReplica"), "a replica that takes nothing", help);
        return None;
    }
    if !(-1.0..=100.0).contains(&spec.error) {
        let message = format!("a forecast cannot be wrong by {}", spec.error);
        errors.error(format!("{path}.error"), message, "write a number from -1 to 100");
        return None;
    }
    let every = spec.every.unwrap_or(Span::from_secs(300));
    if every.is_zero() || model.duration.nanos() / every.nanos().max(1) > MOST_CHANGES as u64 {
        let message = format!("a forecast every {every} is too often");
        errors.error(format!("{path}.every"), message, "write for example `5m`");
        return None;
    }
    let rate = rate.without_bursts();
    let ahead = spec.ahead.unwrap_or(Span::from_secs(600));
    let mut all = Vec::new();
    let mut at = SimTime::ZERO;
    let end = SimTime::ZERO + model.duration;
    while at < end {
        let begin = SimTime::ZERO + at.since(SimTime::ZERO).saturating_sub(spec.lag);
        let pieces = rate.segments(begin, begin + ahead.max(Span::from_nanos(1)), |_| 0.5);
        let highest = pieces.map(|p| p.1).fold(0.0, f64::max) * (1.0 + spec.error);
        all.push((at, ((highest / per_replica) - 1e-9).ceil().max(0.0) as i32));
        at += every;
    }
    Some(all)
}

fn forecast_rate<'m>(
    spec: &ForecastSpec,
    hpa: Id<HpaModel>,
    path: &str,
    model: &'m Model,
    errors: &mut Errors,
) -> Option<&'m RateProfile> {
    let rate_of = |s| model.services[s].traffic.as_ref().and_then(|t| t.rate.as_ref());
    if let Some(of) = &spec.of {
        let service = traffic::find(of, &format!("{path}.of"), model, errors)?;
        if rate_of(service).is_none() {
            let message = format!("`{of}` has no rate from outside to forecast");
            let help = "name a Service whose `traffic` has a `rate`";
            errors.error(format!("{path}.of"), message, help);
        }
        return rate_of(service);
    }
    let template = model.workloads[model.hpas[hpa].target].template;
    let found = model.templates[template].services.iter().find_map(|&s| rate_of(s));
    if found.is_none() {
        let help = "write `of: Service/NAME`, a Service whose `traffic` has a `rate`";
        errors.error(path, "the target's pods have no rate from outside to forecast", help);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_minimum_counts_and_equal_bounds_are_left_out() {
        let at = SimTime::from_secs;
        let set = |secs, min, max| Setting { at: at(secs), min, max };
        let settings = [set(10, Some(5), None), set(40, Some(1), Some(6))];
        let wanted = [(at(0), 2), (at(20), 8), (at(30), 8), (at(50), 3)];
        let got: Vec<_> = merge((1, 20), &settings, &wanted, Id::new(0))
            .iter()
            .map(|p| (p.at.secs_f64() as u64, p.min, p.max))
            .collect();
        assert_eq!(got, [(0, 2, 20), (10, 5, 20), (20, 8, 20), (40, 6, 6), (50, 3, 6)]);
    }
}
