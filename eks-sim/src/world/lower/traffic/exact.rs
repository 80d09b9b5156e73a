//! The exact mode: whether it is wanted, and whether its requests are few enough.

use super::Errors;
use crate::spec::scenario::Scenario;
use crate::units::{IdVec, SimTime};
use crate::world::model::{Model, ServiceModel};

pub(super) fn lower(scenario: &Scenario, model: &mut Model, errors: &mut Errors) {
    match scenario.spec.load.mode.as_deref() {
        None | Some("fluid") => {}
        Some("exact") => {
            model.exact_requests = true;
            check_number(model, errors);
        }
        Some(other) => errors.error(
            "load.mode",
            format!("`{other}` is no way to simulate requests"),
            "use fluid or exact",
        ),
    }
}

/// Every request is an event, so that there must not be too many of them.
fn check_number(model: &Model, errors: &mut Errors) {
    let expected = expected(model);
    let most = model.limits.requests;
    if expected > most as f64 {
        errors.error(
            "load.mode",
            format!(
                "about {} requests and calls are too many to simulate one by one (the limit is \
                 {most})",
                expected.round()
            ),
            "shorten `duration`, lower the rates, raise `limits.requests`, or use `mode: fluid`",
        );
    }
}

/// Requests and calls of a replication, without repetitions.
fn expected(model: &Model) -> f64 {
    let end = SimTime::ZERO + model.duration;
    let mut visits: IdVec<ServiceModel, f64> = model.services.iter().map(|_| 0.0).collect();
    let mut all = 0.0;
    for &id in &model.service_order {
        let Some(traffic) = &model.services[id].traffic else { continue };
        if let Some(rate) = &traffic.rate {
            let mut pieces = rate.segments(SimTime::ZERO, end, |_| 0.5).peekable();
            while let Some((from, rate)) = pieces.next() {
                let to = pieces.peek().map_or(end, |piece| piece.0);
                visits[id] += rate * to.since(from).secs_f64();
            }
        }
        let here = visits[id];
        all += here;
        for call in &traffic.calls {
            visits[call.to] += here * call.per_request;
        }
    }
    all
}
