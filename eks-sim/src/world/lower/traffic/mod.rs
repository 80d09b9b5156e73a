//! Traffic: what requests cost, the call graph in order.

mod exact;
mod rate;
mod series;

use super::{Errors, pods, weights};
use crate::policy::traffic::retry::RetryBudget;
use crate::policy::traffic::{Discipline, RetryPolicy};
use crate::spec::scenario::{RetrySpec, Scenario, TrafficSpec};
use crate::units::{Id, Span};
use crate::world::model::{CallModel, ColdStart, Model, ServiceModel, TrafficModel};
use std::path::Path;

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
        let Some(lowered) = entry(t, service, &path, folder, model, errors) else { continue };
        model.services[service].traffic = Some(lowered);
    }
    // Services that are only called get the default cost of a request.
    let called: Vec<Id<ServiceModel>> = model
        .services
        .iter()
        .filter_map(|(_, s)| s.traffic.as_ref())
        .flat_map(|t| t.calls.iter().map(|c| c.to))
        .collect();
    for id in called {
        if model.services[id].traffic.is_none() {
            let spec = TrafficSpec { timeout: Span::from_secs(5), ..TrafficSpec::default() };
            model.services[id].traffic = entry(&spec, id, "traffic", folder, model, errors);
        }
    }
    match order(model) {
        Ok(order) => {
            model.service_order = order;
            exact::lower(scenario, model, errors);
        }
        Err(cycle) => errors.error(
            "traffic",
            format!("Services call each other in a circle: {}", cycle.join(" -> ")),
            "remove one of the calls; a circle would multiply requests without end",
        ),
    }
}

pub(super) fn find(
    text: &str,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<Id<ServiceModel>> {
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
    service: Id<ServiceModel>,
    path: &str,
    folder: &Path,
    model: &Model,
    errors: &mut Errors,
) -> Option<TrafficModel> {
    let discipline = match t.discipline.as_deref() {
        None | Some("processorSharing") => Discipline::ProcessorSharing,
        Some("fifo") => Discipline::Fifo,
        Some(other) => {
            errors.error(
                format!("{path}.discipline"),
                format!("`{other}` is not a queue discipline"),
                "use processorSharing or fifo",
            );
            return None;
        }
    };
    let own_queues = match t.balancing.as_deref() {
        None | Some("shared") => false,
        Some("random") => true,
        Some(other) => {
            errors.error(
                format!("{path}.balancing"),
                format!("`{other}` is no way to spread requests"),
                "use shared or random",
            );
            return None;
        }
    };
    if t.zone_aware && own_queues {
        errors.error(
            format!("{path}.balancing"),
            "zone-aware routing with a queue for each pod is not modelled yet",
            "drop `zoneAware` or use `balancing: shared`",
        );
        return None;
    }
    let at = format!("{path}.weights");
    if t.zone_aware && !t.weights.is_empty() {
        errors.error(at, "weights and `zoneAware` are not modelled together", "drop one of them");
        return None;
    }
    let (backends, shares) = weights::backends(&t.weights, service, &at, model, errors)?;
    let cv = t.per_request.cv;
    if !(0.0..=100.0).contains(&cv) {
        errors.error(
            format!("{path}.perRequest.cv"),
            format!("{cv} is no coefficient of variation"),
            "write a number from 0 to 100",
        );
        return None;
    }
    let (rate, markov, noise) = match &t.rate {
        Some(spec) => {
            let at = format!("{path}.rate");
            (
                Some(rate::profile(spec, &at, folder, model, errors)?),
                rate::markov(spec, &at, errors)?,
                rate::noise(spec, &at, model, errors)?,
            )
        }
        None => (None, None, None),
    };
    Some(TrafficModel {
        rate,
        markov,
        noise,
        retry: retry(t.retries, &t.retry, path, errors),
        cold_start: cold_start(t, path, errors),
        cpu_seconds: t.per_request.cpu.secs_f64(),
        service_cv: cv,
        latency_floor: t.per_request.latency_floor.secs_f64(),
        memory: t.per_request.memory.bytes(),
        timeout: t.timeout,
        concurrency: t.concurrency.map(|c| c.max(1)),
        queue_bound: t.queue_bound,
        discipline,
        own_queues,
        zone_aware: t.zone_aware,
        backends,
        weights: shares,
        calls: calls(t, path, model, errors),
    })
}

fn calls(t: &TrafficSpec, path: &str, model: &Model, errors: &mut Errors) -> Vec<CallModel> {
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
        let retry = retry(call.retries, &call.retry, &at, errors);
        if let Some(to) = find(&call.to, &format!("{at}.to"), model, errors) {
            calls.push(CallModel { to, per_request: call.per_request, retry });
        }
    }
    calls
}

/// Most repetitions of a failed request.
const MOST_RETRIES: u32 = 10;
/// Longest pause in multiples of the base, unless the scenario says more.
const LONGEST_PAUSE: u64 = 10;

fn retry(most: u32, spec: &RetrySpec, path: &str, errors: &mut Errors) -> RetryPolicy {
    if most > MOST_RETRIES {
        errors.error(
            format!("{path}.retries"),
            format!("{most} repetitions are too many"),
            format!("write a number from 0 to {MOST_RETRIES}"),
        );
    }
    let backoff_max = spec.max_backoff.unwrap_or(spec.backoff * LONGEST_PAUSE);
    if backoff_max < spec.backoff {
        errors.error(
            format!("{path}.retry.maxBackoff"),
            format!("the longest pause of {backoff_max} is below its base of {}", spec.backoff),
            "make `maxBackoff` at least `backoff`, or drop it",
        );
    }
    if most == 0 && *spec != RetrySpec::default() {
        errors.warning(
            format!("{path}.retry"),
            "nothing is tried again, so this has no effect",
            "set `retries` to 1 or more",
        );
    }
    let budget = spec
        .budget
        .as_ref()
        .map(|b| RetryBudget { ratio: b.ratio.get(), per_second: b.min_per_second.get() });
    RetryPolicy { most: most.min(MOST_RETRIES), backoff: spec.backoff, backoff_max, budget }
}

fn cold_start(t: &TrafficSpec, path: &str, errors: &mut Errors) -> Option<ColdStart> {
    let spec = t.cold_start.as_ref()?;
    if !(1.0..=1000.0).contains(&spec.slowdown) {
        errors.error(
            format!("{path}.coldStart.slowdown"),
            format!("a request cannot take {} times as long", spec.slowdown),
            "write a number from 1 to 1000, for example 3",
        );
    }
    Some(ColdStart { duration: spec.duration, slowdown: spec.slowdown })
}

/// Callers before the called, or the names of a circle.
fn order(model: &Model) -> Result<Vec<Id<ServiceModel>>, Vec<String>> {
    let mut incoming: Vec<u32> = vec![0; model.services.len()];
    let calls = |id: Id<ServiceModel>| {
        model.services[id].traffic.iter().flat_map(|t| t.calls.iter().map(|c| c.to))
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
