//! Autoscalers, budgets and node pools.

use super::Checker;
use crate::k8s::{self, IntOrPercent};
use crate::spec::codes;
use crate::units::Span;

pub(in crate::spec::manifest) fn hpa(
    o: &k8s::HorizontalPodAutoscaler,
    c: &mut Checker<'_, '_, '_>,
) {
    c.meta(&o.metadata);
    let spec = &o.spec;
    for (value, field) in
        [(&spec.scale_target_ref.kind, "kind"), (&spec.scale_target_ref.name, "name")]
    {
        if value.is_empty() {
            let at = format!("spec.scaleTargetRef.{field}");
            let message = format!("`scaleTargetRef` lacks `{field}`");
            let help = "write `scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: …}`";
            c.error(codes::MISSING_FIELD, &at, message, help);
        }
    }
    c.between("spec.maxReplicas", spec.max_replicas.into(), 1, i32::MAX.into());
    c.not_negative("spec.minReplicas", spec.min_replicas.map(i64::from));
    let min = spec.min_replicas.unwrap_or(1);
    if min > spec.max_replicas && spec.max_replicas > 0 {
        let message =
            format!("`minReplicas` ({min}) is above `maxReplicas` ({})", spec.max_replicas);
        c.error(
            codes::CONTRADICTION,
            "spec.minReplicas",
            message,
            "swap the two, or raise `maxReplicas`",
        );
    }
    for (i, metric) in spec.metrics.iter().enumerate() {
        metric_spec(metric, &format!("spec.metrics.{i}"), c);
    }
    let Some(behavior) = &spec.behavior else { return };
    for (rules, name) in [(&behavior.scale_up, "scaleUp"), (&behavior.scale_down, "scaleDown")] {
        let Some(rules) = rules else { continue };
        let at = format!("spec.behavior.{name}");
        c.one_of(
            format_args!("{at}.selectPolicy"),
            rules.select_policy.as_deref(),
            &["Max", "Min", "Disabled"],
        );
        if let Some(window) = rules.stabilization_window_seconds {
            c.between(format_args!("{at}.stabilizationWindowSeconds"), window.into(), 0, 3600);
        }
        for (j, policy) in rules.policies.iter().flatten().enumerate() {
            let at = format!("{at}.policies.{j}");
            c.one_of(format_args!("{at}.type"), Some(&policy.kind), &["Pods", "Percent"]);
            c.between(format_args!("{at}.value"), policy.value.into(), 1, i32::MAX.into());
            c.between(format_args!("{at}.periodSeconds"), policy.period_seconds.into(), 1, 1800);
        }
    }
}

fn metric_spec(metric: &k8s::MetricSpec, at: &str, c: &mut Checker<'_, '_, '_>) {
    let kinds = ["Resource", "ContainerResource", "Pods", "Object", "External"];
    c.one_of(format_args!("{at}.type"), Some(&metric.kind), &kinds);
    let field = match metric.kind.as_str() {
        "Resource" if metric.resource.is_none() => "resource",
        "ContainerResource" if metric.container_resource.is_none() => "containerResource",
        "Pods" if metric.pods.is_none() => "pods",
        "Object" if metric.object.is_none() => "object",
        "External" if metric.external.is_none() => "external",
        "" => "type",
        _ => "",
    };
    if !field.is_empty() {
        let message = format!("the metric lacks `{field}`");
        let help = "write for example `{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}`";
        c.error(codes::MISSING_FIELD, &format!("{at}.{field}"), message, help);
    }
    for (resource, name) in
        [(&metric.resource, "resource"), (&metric.container_resource, "containerResource")]
    {
        let Some(resource) = resource else { continue };
        let at = format!("{at}.{name}.target");
        if let Some(n) = resource.target.average_utilization {
            c.between(format_args!("{at}.averageUtilization"), n.into(), 1, i32::MAX.into());
        } else if resource.target.average_value.is_none() {
            let help = "add `averageUtilization: 70` or `averageValue: 500m`";
            c.error(codes::MISSING_FIELD, &at, "the target of the metric has no value", help);
        }
    }
}

pub(in crate::spec::manifest) fn vpa(o: &k8s::VerticalPodAutoscaler, c: &mut Checker<'_, '_, '_>) {
    c.meta(&o.metadata);
    if o.spec.target_ref.as_ref().is_none_or(|t| t.name.is_empty() || t.kind.is_empty()) {
        let help = "add `targetRef: {apiVersion: apps/v1, kind: Deployment, name: …}`";
        c.error(codes::MISSING_FIELD, "spec.targetRef", "the autoscaler has no target", help);
    }
    let mode = o.spec.update_policy.as_ref().and_then(|p| p.update_mode.as_deref());
    let modes = ["Off", "Initial", "Recreate", "InPlaceOrRecreate", "InPlace", "Auto"];
    c.one_of("spec.updatePolicy.updateMode", mode, &modes);
}

pub(in crate::spec::manifest) fn scaled_object(o: &k8s::ScaledObject, c: &mut Checker<'_, '_, '_>) {
    c.meta(&o.metadata);
    let spec = &o.spec;
    if spec.scale_target_ref.name.is_empty() {
        let help = "write `scaleTargetRef: {name: …}`";
        let at = "spec.scaleTargetRef.name";
        c.error(codes::MISSING_FIELD, at, "`scaleTargetRef` lacks `name`", help);
    }
    let (min, max) = (spec.min_replica_count.unwrap_or(0), spec.max_replica_count.unwrap_or(100));
    c.not_negative("spec.minReplicaCount", Some(min.into()));
    c.between("spec.maxReplicaCount", max.into(), 1, i32::MAX.into());
    if min > max && max > 0 {
        let message = format!("`minReplicaCount` ({min}) is above `maxReplicaCount` ({max})");
        let help = "swap the two, or raise `maxReplicaCount`";
        c.error(codes::CONTRADICTION, "spec.minReplicaCount", message, help);
    }
    if let Some(idle) = spec.idle_replica_count {
        c.not_negative("spec.idleReplicaCount", Some(idle.into()));
        if idle >= min && idle >= 0 {
            let message = format!("`idleReplicaCount` ({idle}) is not below the minimum ({min})");
            let help = "raise `minReplicaCount`, or remove `idleReplicaCount`";
            c.error(codes::CONTRADICTION, "spec.idleReplicaCount", message, help);
        }
    }
    for (value, name, low) in [
        (spec.polling_interval, "pollingInterval", 1),
        (spec.cooldown_period, "cooldownPeriod", 0),
        (spec.initial_cooldown_period, "initialCooldownPeriod", 0),
    ] {
        if let Some(value) = value {
            c.between(format_args!("spec.{name}"), value.into(), low, 31_536_000);
        }
    }
    if spec.triggers.is_empty() {
        let help = "add for example a trigger of type `cron` or `prometheus`";
        c.error(codes::MISSING_FIELD, "spec.triggers", "the ScaledObject has no trigger", help);
    }
    let of_pods = |t: &k8s::ScaledObjectTrigger| matches!(t.kind.as_str(), "cpu" | "memory");
    if min == 0 && !spec.triggers.is_empty() && spec.triggers.iter().all(of_pods) {
        let message = "with `cpu` and `memory` triggers alone the target cannot go to zero";
        let help = "set `minReplicaCount: 1` or more, or add a trigger of another type";
        c.error(codes::CONTRADICTION, "spec.minReplicaCount", message, help);
    }
    for (i, trigger) in spec.triggers.iter().enumerate() {
        if let Err(problem) = crate::spec::manifest::triggers::read(trigger) {
            let code = if problem.missing { codes::MISSING_FIELD } else { codes::BAD_VALUE };
            let at = format!("spec.triggers.{i}.{}", problem.path);
            c.error(code, &at, problem.message, problem.help);
        }
    }
}

pub(in crate::spec::manifest) fn pdb(o: &k8s::PodDisruptionBudget, c: &mut Checker<'_, '_, '_>) {
    c.meta(&o.metadata);
    if o.spec.min_available.is_some() && o.spec.max_unavailable.is_some() {
        let message = "`minAvailable` and `maxUnavailable` exclude each other";
        c.error(codes::CONTRADICTION, "spec.maxUnavailable", message, "remove one of the two");
    }
    for (value, name) in
        [(o.spec.min_available, "minAvailable"), (o.spec.max_unavailable, "maxUnavailable")]
    {
        let path = format!("spec.{name}");
        match value {
            Some(IntOrPercent::Int(n)) => c.not_negative(&path, Some(n.into())),
            Some(IntOrPercent::Percent(n)) => c.between(&path, n.into(), 0, 100),
            None => {}
        }
    }
    let policies = ["IfHealthyBudget", "AlwaysAllow"];
    c.one_of(
        "spec.unhealthyPodEvictionPolicy",
        o.spec.unhealthy_pod_eviction_policy.as_deref(),
        &policies,
    );
}

pub(in crate::spec::manifest) fn node_pool(o: &k8s::NodePool, c: &mut Checker<'_, '_, '_>) {
    c.meta(&o.metadata);
    let at = "spec.template.spec";
    let spec = &o.spec.template.spec;
    if spec.node_class_ref.name.is_empty() {
        let help =
            "add `nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}`";
        c.error(
            codes::MISSING_FIELD,
            &format!("{at}.nodeClassRef"),
            "the pool names no node class",
            help,
        );
    }
    for (i, one) in spec.requirements.iter().enumerate() {
        let at = format!("{at}.requirements.{i}");
        let operators = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"];
        c.one_of(format_args!("{at}.operator"), Some(&one.operator), &operators);
        if one.key.is_empty() {
            c.error(
                codes::MISSING_FIELD,
                &at,
                "a requirement has no `key`",
                "add for example `key: karpenter.sh/capacity-type`",
            );
        }
        if one.operator == "In" && one.values.is_empty() {
            c.error(
                codes::MISSING_FIELD,
                &format!("{at}.values"),
                "the operator `In` needs values",
                "add `values: […]`",
            );
        }
    }
    duration(&format!("{at}.expireAfter"), spec.expire_after.as_deref(), c);
    duration(&format!("{at}.terminationGracePeriod"), spec.termination_grace_period.as_deref(), c);
    c.amounts("spec.limits", &o.spec.limits);
    if let Some(weight) = o.spec.weight {
        c.between("spec.weight", weight.into(), 1, 100);
    }
    let Some(disruption) = &o.spec.disruption else { return };
    let policies = ["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"];
    c.one_of(
        "spec.disruption.consolidationPolicy",
        disruption.consolidation_policy.as_deref(),
        &policies,
    );
    duration("spec.disruption.consolidateAfter", disruption.consolidate_after.as_deref(), c);
    for (i, budget) in disruption.budgets.iter().enumerate() {
        let at = format!("spec.disruption.budgets.{i}");
        let number = budget.nodes.strip_suffix('%').unwrap_or(&budget.nodes);
        let good = number.parse::<u32>().is_ok_and(|n| n <= 100 || !budget.nodes.ends_with('%'));
        if !good {
            let message = format!("`nodes` cannot be `{}`", budget.nodes);
            c.error(
                codes::BAD_VALUE,
                &format!("{at}.nodes"),
                message,
                "write a number or a percentage in quotes: `\"3\"` or `\"10%\"`",
            );
        }
        if let Some(schedule) = &budget.schedule {
            c.cron(&format!("{at}.schedule"), schedule);
        }
        if budget.schedule.is_some() != budget.duration.is_some() {
            let message = "`schedule` and `duration` belong together";
            c.error(codes::CONTRADICTION, &at, message, "give both or none");
        }
        duration(&format!("{at}.duration"), budget.duration.as_deref(), c);
    }
}

fn duration(path: &str, text: Option<&str>, c: &mut Checker<'_, '_, '_>) {
    let Some(text) = text.filter(|t| *t != "Never") else { return };
    if let Err(e) = text.parse::<Span>() {
        c.with_mend(codes::BAD_VALUE, path, &e.to_string());
    }
}
