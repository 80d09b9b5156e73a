//! Weights of a Service's backends: where traffic goes first, and the changes that move it
//! (blue/green, canary).

use super::{Errors, pods, steps, traffic};
use crate::spec::scenario::{ChangeSpec, Scenario, ShiftSpec};
use crate::units::{Id, SimTime, Span};
use crate::world::model::{Model, ServiceModel, WorkloadModel};
use crate::world::steps::{Guard, StepKind, StepModel};
use std::collections::BTreeMap;

/// Backends in the order of their names, with their weights.
pub(super) type Backends = (Vec<Id<WorkloadModel>>, Vec<f64>);

/// Most steps of one shift.
const MOST_STEPS: usize = 100;

/// The backends that `traffic[].weights` names.
pub(super) fn backends(
    weights: &BTreeMap<String, f64>,
    service: Id<ServiceModel>,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<Backends> {
    let mut list: Backends = Default::default();
    for (name, &weight) in weights {
        let at = format!("{path}[\"{name}\"]");
        let workload = steps::find_workload(name, &at, model, errors)?;
        if !selects(service, workload, model) {
            let text = &model.services[service].name;
            errors.error(
                &at,
                format!("Service `{text}` does not select the pods of `{name}`"),
                "give the pods the labels of the Service's selector, as both colours need",
            );
            return None;
        }
        if list.0.contains(&workload) {
            errors.error(&at, format!("`{name}` is there twice"), "keep one of the two");
            return None;
        }
        list.0.push(workload);
        list.1.push(checked(weight, &at, errors)?);
    }
    if !weights.is_empty() {
        something(&list.1, path, errors)?;
        tell_left_out(service, &list.0, path, model, errors);
    }
    Some(list)
}

fn selects(service: Id<ServiceModel>, workload: Id<WorkloadModel>, model: &Model) -> bool {
    model.templates[model.workloads[workload].template].services.contains(&service)
}

fn checked(weight: f64, path: &str, errors: &mut Errors) -> Option<f64> {
    if weight.is_finite() && (0.0..=1e6).contains(&weight) {
        return Some(weight);
    }
    errors.error(path, format!("{weight} is no weight"), "write a number from 0 to 1000000");
    None
}

fn something(weights: &[f64], path: &str, errors: &mut Errors) -> Option<()> {
    if weights.iter().any(|&w| w > 0.0) {
        return Some(());
    }
    errors.error(path, "all weights are 0: no request would arrive", "give one of them a weight");
    None
}

/// Other workloads of the Service get nothing, which is rarely meant.
fn tell_left_out(
    service: Id<ServiceModel>,
    listed: &[Id<WorkloadModel>],
    path: &str,
    model: &Model,
    errors: &mut Errors,
) {
    for id in model.workloads.ids().filter(|id| !listed.contains(id)) {
        if selects(service, id, model) {
            let row = &model.workloads[id];
            let name = format!("{}/{}", row.kind.name(), row.name);
            let message = format!("`{name}` has no weight: its pods get no requests");
            errors.warning(path, message, format!("list it too, for example `{name}: 0`"));
        }
    }
}

/// Adds the steps of all changes of Services.
pub(super) fn lower(scenario: &Scenario, model: &mut Model, errors: &mut Errors) {
    if model.exact_requests {
        let weighted = |t: &crate::spec::scenario::TrafficSpec| !t.weights.is_empty();
        if let Some(i) = scenario.spec.traffic.iter().position(weighted) {
            errors.error(
                format!("traffic[{i}].weights"),
                "requests one by one (`load.mode: exact`) are not split by weight",
                "leave `load.mode: exact` or the weights out",
            );
        }
    }
    for (i, change) in scenario.spec.changes.iter().enumerate() {
        if change.moves_traffic() {
            one(change, &format!("changes[{i}]"), model, errors);
        }
    }
}

fn one(change: &ChangeSpec, path: &str, model: &mut Model, errors: &mut Errors) -> Option<()> {
    let target = change.target.as_deref().unwrap_or_default();
    let service = traffic::find(target, &format!("{path}.target"), model, errors)?;
    let listed =
        model.services[service].traffic.as_ref().map(|t| t.backends.clone()).unwrap_or_default();
    if listed.is_empty() {
        errors.error(
            path,
            format!("the traffic of `{target}` has no weights to change"),
            "list its backends in `traffic[].weights`, those that come later with 0",
        );
        return None;
    }
    let at = SimTime::ZERO + change.at;
    match &change.shift {
        Some(shift) if change.weights.is_empty() => {
            ladder(shift, at, service, &listed, &format!("{path}.shift"), model, errors)
        }
        Some(_) => {
            let help = "write two changes";
            errors.error(path, "a change has `weights` or `shift`, and not both", help);
            None
        }
        None => {
            let mut weights = vec![0.0; listed.len()];
            for (name, &weight) in &change.weights {
                let at = format!("{path}.weights[\"{name}\"]");
                let place = place(name, &listed, &at, model, errors)?;
                weights[place] = checked(weight, &at, errors)?;
            }
            something(&weights, &format!("{path}.weights"), errors)?;
            model.steps.push(weigh(at, service, weights, None));
            Some(())
        }
    }
}

fn weigh(
    at: SimTime,
    service: Id<ServiceModel>,
    weights: Vec<f64>,
    guard: Option<Guard>,
) -> StepModel {
    StepModel { at, kind: StepKind::Weights { service, weights, guard } }
}

/// Position of a workload among the backends.
fn place(
    name: &str,
    listed: &[Id<WorkloadModel>],
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<usize> {
    let of = |id: &Id<WorkloadModel>| {
        let row = &model.workloads[*id];
        pods::names(name, row.kind.name(), &row.namespace, &row.name)
    };
    let found = listed.iter().position(of);
    if found.is_none() {
        let name_of = |id: &Id<WorkloadModel>| {
            let row = &model.workloads[*id];
            format!("{}/{}", row.kind.name(), row.name)
        };
        let names: Vec<String> = listed.iter().map(name_of).collect();
        errors.error(
            path,
            format!("`{name}` is no backend of the Service"),
            format!("use {}, or list it in `traffic[].weights`", names.join(", ")),
        );
    }
    found
}

/// A canary: some percent of the requests at first, then more, and back if too many fail.
fn ladder(
    shift: &ShiftSpec,
    start: SimTime,
    service: Id<ServiceModel>,
    listed: &[Id<WorkloadModel>],
    path: &str,
    model: &mut Model,
    errors: &mut Errors,
) -> Option<()> {
    let from = place(&shift.from, listed, &format!("{path}.from"), model, errors)?;
    let to = place(&shift.to, listed, &format!("{path}.to"), model, errors)?;
    let at = format!("{path}.steps");
    let rises = shift.steps.windows(2).all(|w| w[0] < w[1]);
    let inside = shift.steps.iter().all(|p| p.is_finite() && (0.0..=100.0).contains(p));
    if from == to || shift.steps.is_empty() || !rises || !inside || shift.steps.len() > MOST_STEPS {
        errors.error(
            at,
            "a shift goes from one backend to another in rising percentages",
            "write for example `steps: [5, 25, 50, 100]`",
        );
        return None;
    }
    if shift.every == Some(Span::ZERO) {
        errors.error(format!("{path}.every"), "steps need time between them", "write `every: 10m`");
        return None;
    }
    let every = shift.every.unwrap_or(Span::from_secs(600));
    let share = |percent: f64| {
        let mut weights = vec![0.0; listed.len()];
        (weights[from], weights[to]) = (100.0 - percent, percent);
        weights
    };
    // The way back stands before the steps, at no time: the user takes it when a look is bad.
    let abort = model.steps.len() as u32;
    model.steps.push(weigh(SimTime::NEVER, service, share(0.0), None));
    let guard = shift.abort_above.map(|limit| Guard { backend: to, limit: limit.get(), abort });
    for (n, &percent) in shift.steps.iter().enumerate() {
        let looks = if n == 0 { None } else { guard };
        model.steps.push(weigh(start + every * n as u64, service, share(percent), looks));
    }
    if guard.is_some() {
        // A last look, one interval after the last step.
        let (last, n) = (*shift.steps.last()?, shift.steps.len() as u64);
        model.steps.push(weigh(start + every * n, service, share(last), guard));
    }
    Some(())
}
