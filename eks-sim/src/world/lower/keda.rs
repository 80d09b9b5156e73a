//! ScaledObjects: an HPA with the triggers' metrics, and the rules to and from zero.

use super::Errors;
use crate::k8s::{self, MetricIdentifier, MetricSpec, MetricTarget, NamedMetric, ResourceMetric};
use crate::policy::hpa::{HpaSpec, ScaledObjectRules};
use crate::spec::Manifests;
use crate::spec::cron::{Schedule, Zone};
use crate::spec::manifest::triggers::{self, ResourceTarget, Trigger};
use crate::units::key::key_str;
use crate::units::{Quantity, SimTime, Span};
use crate::world::model::{
    HpaModel, MetricModel, MetricSource, Model, ScaledObjectModel, TriggerKind, TriggerModel,
};

/// Changes of a cron trigger beyond this number are a mistake of units, not a schedule.
const MOST_CHANGES: usize = 100_000;

pub(super) fn lower(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    for sourced in &manifests.scaled_objects {
        let object = &sourced.object;
        let (name, spec) = (&object.metadata.name, &object.spec);
        let namespace = object.metadata.namespace_or_default();
        let Some(target) = super::autoscaling::scalable(&spec.scale_target_ref, namespace, model)
        else {
            errors.warning(
                "manifests",
                format!(
                    "ScaledObject/{name} scales {}/{}, which is not among the manifests",
                    spec.scale_target_ref.kind, spec.scale_target_ref.name
                ),
                "add the workload, or correct scaleTargetRef; the ScaledObject is ignored",
            );
            continue;
        };
        say_what_is_left_out(object, errors);
        let (mut metrics, mut lowered) = (Vec::new(), Vec::new());
        for (i, trigger) in spec.triggers.iter().enumerate() {
            // Checked when the manifest was read.
            let Ok(read) = triggers::read(trigger) else { continue };
            let (metric, kind, activation) = lower_trigger(&read, object, i, model, errors);
            metrics.push(metric);
            lowered.extend(kind.map(|kind| TriggerModel { kind, activation }));
        }
        let rules = rules(spec, model);
        let hpa = hpa(object, metrics, &rules);
        let bounds = match HpaSpec::lower(&hpa) {
            Ok(spec) => (spec.min_replicas, spec.max_replicas),
            Err(problem) => {
                let message = format!("ScaledObject/{name}: {problem}");
                errors.error("manifests", message, "correct the manifest");
                continue;
            }
        };
        model.hpas.push(HpaModel {
            namespace: namespace.to_owned(),
            name: hpa.metadata.name.clone(),
            key: key_str(&format!("HorizontalPodAutoscaler/{namespace}/{}", hpa.metadata.name)),
            object: hpa,
            target,
            bounds,
            ambiguous: false,
        });
        model.scaled_objects.push(ScaledObjectModel {
            namespace: namespace.to_owned(),
            name: name.clone(),
            key: key_str(&format!("ScaledObject/{namespace}/{name}")),
            target,
            rules,
            triggers: lowered,
        });
    }
}

fn say_what_is_left_out(object: &k8s::ScaledObject, errors: &mut Errors) {
    let name = &object.metadata.name;
    let modifiers = object.spec.advanced.as_ref().is_some_and(|a| a.scaling_modifiers.is_some());
    let paused = |key: &String| key.starts_with("autoscaling.keda.sh/paused");
    if object.spec.idle_replica_count.is_some_and(|idle| idle > 0) {
        errors.warning(
            "manifests",
            format!("ScaledObject/{name}: its HPA lifts `idleReplicaCount` to the minimum at once"),
            "write `idleReplicaCount: 0`, the only value that KEDA's documentation supports",
        );
    }
    for (there, what) in [
        (object.spec.fallback.is_some(), "`fallback`: triggers do not fail"),
        (modifiers, "`scalingModifiers`: each trigger counts by itself"),
        (object.metadata.annotations.keys().any(paused), "the annotation that pauses it"),
    ] {
        if there {
            let message = format!("ScaledObject/{name}: not simulated is {what}");
            errors.warning("manifests", message, "nothing to do");
        }
    }
}

fn rules(spec: &k8s::ScaledObjectSpec, model: &Model) -> ScaledObjectRules {
    let d = &model.defaults;
    let secs = |given: Option<i32>, constant: &str| {
        given.map_or_else(|| d.span(constant), |s| Span::from_secs(s.max(0).unsigned_abs().into()))
    };
    let count = |given: Option<i32>, constant: &str| {
        given.unwrap_or_else(|| i32::try_from(d.i64(constant)).unwrap_or(i32::MAX))
    };
    ScaledObjectRules {
        polling_interval: secs(spec.polling_interval, "keda.polling_interval")
            .max(Span::from_secs(1)),
        cooldown: secs(spec.cooldown_period, "keda.cooldown_period"),
        initial_cooldown: secs(spec.initial_cooldown_period, "keda.initial_cooldown_period"),
        min_replicas: count(spec.min_replica_count, "keda.min_replica_count"),
        max_replicas: count(spec.max_replica_count, "keda.max_replica_count"),
        idle_replicas: spec.idle_replica_count,
    }
}

fn hpa(
    object: &k8s::ScaledObject,
    metrics: Vec<MetricSpec>,
    rules: &ScaledObjectRules,
) -> k8s::HorizontalPodAutoscaler {
    let advanced = object.spec.advanced.as_ref();
    let config = advanced.and_then(|a| a.horizontal_pod_autoscaler_config.as_ref());
    let mut hpa = k8s::HorizontalPodAutoscaler::default();
    let name = format!("keda-hpa-{}", object.metadata.name);
    hpa.metadata.name = config.and_then(|c| c.name.clone()).unwrap_or(name);
    hpa.metadata.namespace = object.metadata.namespace.clone();
    hpa.spec.scale_target_ref = object.spec.scale_target_ref.clone();
    hpa.spec.min_replicas = Some(rules.hpa_min_replicas());
    hpa.spec.max_replicas = rules.max_replicas;
    hpa.spec.metrics = metrics;
    hpa.spec.behavior = config.and_then(|c| c.behavior.clone());
    hpa
}

fn amount(milli: i64, total: bool) -> MetricTarget {
    let value = Some(Quantity::from_milli(milli));
    let kind = if total { "Value" } else { "AverageValue" }.to_owned();
    if total {
        return MetricTarget { kind, value, ..MetricTarget::default() };
    }
    MetricTarget { kind, average_value: value, ..MetricTarget::default() }
}

fn external(name: String, target: MetricTarget) -> MetricSpec {
    let metric = MetricIdentifier { name, selector: None };
    MetricSpec {
        kind: "External".to_owned(),
        external: Some(NamedMetric { metric, target, described_object: None }),
        ..MetricSpec::default()
    }
}

/// The HPA's metric, what wakes the target, and from which value on.
fn lower_trigger(
    trigger: &Trigger,
    object: &k8s::ScaledObject,
    number: usize,
    model: &mut Model,
    errors: &mut Errors,
) -> (MetricSpec, Option<TriggerKind>, i64) {
    match trigger {
        Trigger::Cron { start, end, zone, desired } => {
            let name = format!("s{number}-cron-{}", object.metadata.name);
            let inside = cron_times(start, end, zone, model);
            // The metric is one outside the times; whether it is active is known besides.
            let series = |value: &dyn Fn(bool) -> i64| {
                let values = inside.iter().map(|&(at, inside)| (at, value(inside))).collect();
                MetricSource::Values(values, Span::ZERO)
            };
            let milli = desired.saturating_mul(1000);
            let metric = series(&|inside| if inside { milli } else { 1000 });
            let active = series(&i64::from);
            model.metrics.push(MetricModel { name: name.clone(), source: metric });
            model.metrics.push(MetricModel { name: format!("{name} is active"), source: active });
            let kind = TriggerKind::Metric(model.metrics.len() - 1);
            (external(name, amount(1000, false)), Some(kind), 0)
        }
        Trigger::Resource { resource, target, container } => {
            (resource_metric(resource, *target, container.clone()), Some(TriggerKind::Resource), 0)
        }
        Trigger::External { names, threshold, activation, total } => {
            let found = names.iter().find_map(|n| {
                let at = model.metrics.iter().position(|m| m.name == *n)?;
                Some((n.clone(), at))
            });
            let own = || names.first().cloned().unwrap_or_else(|| format!("s{number}"));
            if found.is_none() {
                let (object, kind) = (&object.metadata.name, &object.spec.triggers[number].kind);
                errors.warning(
                    "metrics",
                    format!(
                        "ScaledObject/{object}: its trigger {number} (`{kind}`) reads `{}`, which \
                         nothing serves",
                        own()
                    ),
                    format!("add `{{name: {}, values: […]}}` to `metrics`", own()),
                );
            }
            let (name, kind) = match found {
                Some((name, at)) => (name, Some(TriggerKind::Metric(at))),
                None => (own(), None),
            };
            (external(name, amount(*threshold, *total)), kind, *activation)
        }
    }
}

fn resource_metric(
    resource: &str,
    target: ResourceTarget,
    container: Option<String>,
) -> MetricSpec {
    let target = match target {
        ResourceTarget::Utilization(percent) => MetricTarget {
            kind: "Utilization".to_owned(),
            average_utilization: Some(percent),
            ..MetricTarget::default()
        },
        ResourceTarget::AverageValue(amount) => MetricTarget {
            kind: "AverageValue".to_owned(),
            average_value: Some(amount),
            ..MetricTarget::default()
        },
    };
    let named = container.is_some();
    let metric = Some(ResourceMetric { name: resource.to_owned(), container, target });
    if named {
        let kind = "ContainerResource".to_owned();
        return MetricSpec { kind, container_resource: metric, ..MetricSpec::default() };
    }
    MetricSpec { kind: "Resource".to_owned(), resource: metric, ..MetricSpec::default() }
}

/// Whether a cron trigger is active, from each time on: while its next end comes before its next
/// start.
fn cron_times(
    start: &Schedule,
    end: &Schedule,
    zone: &Zone,
    model: &Model,
) -> Vec<(SimTime, bool)> {
    let begin = model.start_unix;
    let over = begin.saturating_add(model.duration.whole_secs() as i64);
    let inside = |at: i64| match (start.next_after(at, zone), end.next_after(at, zone)) {
        (Some(start), Some(end)) => end < start,
        (None, Some(_)) => true,
        _ => false,
    };
    let mut at = begin;
    let mut times = vec![(SimTime::ZERO, inside(at))];
    while times.len() < MOST_CHANGES {
        let next = [start, end].iter().filter_map(|s| s.next_after(at, zone)).min();
        let Some(next) = next.filter(|&n| n < over) else { break };
        at = next;
        let since = SimTime::from_secs(at.saturating_sub(begin).unsigned_abs());
        times.push((since, inside(at)));
    }
    times
}
