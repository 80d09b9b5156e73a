//! What autoscalers of pods tell: events as Kubernetes words them, and their conditions.

use super::detail::pod_name;
use super::outcome::EventRow;
use crate::engine::View;
use crate::policy::hpa::{Decision, HpaSpec, Target, Usage};
use crate::policy::vpa::Amounts;
use crate::units::{Id, Quantity, SimTime};
use crate::world::{Change, Hpa, PodId, Reason};
use std::fmt::Write as _;

const CONTROLLER: &str = "horizontal-pod-autoscaler";

/// The rows of a change, in order; none if autoscalers have nothing to do with it.
pub(super) fn rows(now: SimTime, change: &Change, v: &View<'_>, out: &mut Vec<EventRow>) {
    let mut row = |component, kind, object: String, reason: &str, message: String| {
        out.push(EventRow { at: now, component, kind, object, reason: reason.to_owned(), message });
    };
    match *change {
        Change::HpaDecided(h) => {
            let Some((spec, decision)) = v.hpa.last(h) else { return };
            for event in decision.events(spec) {
                row(CONTROLLER, "hpa", hpa_name(h, v), event.reason(), event.to_string());
            }
            row(CONTROLLER, "hpa", hpa_name(h, v), "Status", status(spec, decision));
        }
        Change::HpaPatched(h) => {
            let (min, max) = v.world.api.hpas[h].bounds;
            let message = format!("minReplicas {min}, maxReplicas {max}");
            row("kubectl", "hpa", hpa_name(h, v), "Patched", message);
        }
        Change::TriggersChanged(id, active) => {
            let object = &v.model.scaled_objects[id];
            let name = format!("{}/{}", object.namespace, object.name);
            let (reason, message) = if active {
                ("ScalerActive", "Scaling is performed because triggers are active")
            } else {
                ("ScalerNotActive", "Scaling is not performed because triggers are not active")
            };
            row("keda-operator", "scaledobject", name, reason, message.to_owned());
        }
        Change::VpaRecommended(id) => {
            let vpa = &v.model.vpas[id];
            let targets = v.world.api.vpas[id].map(|t| v.world.api.targets.get(t));
            let mut text = Vec::new();
            for (c, target) in vpa.containers.iter().zip(targets.iter().flat_map(|t| &t.containers))
            {
                let target = target.map_or_else(|| "nothing".to_owned(), amounts);
                text.push(format!("{}: {target}", c.name));
            }
            let name = format!("{}/{}", vpa.namespace, vpa.name);
            row("vpa-recommender", "vpa", name, "RecommendationProvided", text.join("; "));
        }
        Change::PodDeleting(p, Reason::VpaEviction) => {
            let message = "Pod was evicted by VPA Updater to apply resource recommendation.";
            row("vpa-updater", "pod", pod(p, v), "EvictedByVPA", message.to_owned());
        }
        Change::PodResizing(p) => {
            let message = "Pod was resized in place by VPA Updater.";
            row("vpa-updater", "pod", pod(p, v), "InPlaceResizedByVPA", message.to_owned());
        }
        Change::PodResized(p) => {
            let Some(found) = v.world.api.pods.get(p) else { return };
            let size = v.world.api.size_of(found, v.model);
            let requests = Amounts {
                cpu: Some(size.request_cpu.raw()),
                memory: Some(size.request_memory.raw()),
            };
            row("kubelet", "pod", pod(p, v), "ResizeCompleted", amounts(requests));
        }
        Change::PodOomKilled(p) => {
            row(
                "kubelet",
                "pod",
                pod(p, v),
                "OOMKilling",
                "Memory cgroup out of memory".to_owned(),
            );
        }
        _ => {}
    }
}

fn pod(p: PodId, v: &View<'_>) -> String {
    let (namespace, name) = pod_name(p, v.world, v.model);
    format!("{namespace}/{name}")
}

fn hpa_name(h: Id<Hpa>, v: &View<'_>) -> String {
    let model = &v.model.hpas[Id::new(h.raw())];
    format!("{}/{}", model.namespace, model.name)
}

fn amounts(a: Amounts) -> String {
    let cpu = a.cpu.map(|c| format!("cpu {}", Quantity::from_milli(c)));
    let memory = a.memory.map(|m| format!("memory {}", Quantity::from_bytes(m)));
    cpu.into_iter().chain(memory).collect::<Vec<_>>().join(", ")
}

/// Replicas, metrics against their targets, and conditions, as `kubectl describe` shows them.
fn status(spec: &HpaSpec, d: &Decision) -> String {
    let mut text = format!("{} current / {} desired", d.current, d.desired);
    for (metric, usage) in spec.metrics.iter().zip(&d.usage) {
        let target = match metric.target {
            Target::Utilization(percent) => format!("{percent}%"),
            Target::AverageValue(milli) => format!("{} (avg)", Quantity::from_milli(milli)),
            Target::Value(milli) => Quantity::from_milli(milli).to_string(),
        };
        let now = match usage {
            None => "<unknown>".to_owned(),
            Some(Usage::Utilization { percent, .. }) => format!("{percent}%"),
            Some(Usage::Average(milli) | Usage::Total(milli)) => {
                Quantity::from_milli(*milli).to_string()
            }
        };
        let _ = write!(text, "; {} {now} / {target}", metric.name);
    }
    let _ = write!(text, "; AbleToScale {}", condition(d.able_to_scale.status()));
    let _ = write!(text, " {}", d.able_to_scale.reason());
    if let Some(active) = d.scaling_active {
        let _ = write!(text, "; ScalingActive {}", condition(active.status()));
        let _ = write!(text, " {}", active.reason(spec));
    }
    if let Some(limited) = d.scaling_limited {
        let _ = write!(text, "; ScalingLimited {}", condition(limited.status()));
        let _ = write!(text, " {}", limited.reason());
    }
    text
}

const fn condition(status: bool) -> &'static str {
    if status { "True" } else { "False" }
}
