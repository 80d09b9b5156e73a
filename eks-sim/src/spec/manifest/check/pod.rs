//! Pods, their templates, and what limits them.

use super::{Checker, dns_label};
use crate::k8s::{
    self, Affinity, Container, NodeSelectorTerm, PodAffinity, PodSpec, ResourceRequirements,
};
use crate::spec::codes;
use core::fmt;
use std::collections::BTreeSet;

/// A pod's specification at `path`; `claims` are volumes that the workload adds.
pub(super) fn spec(spec: &PodSpec, path: &str, claims: &[&str], c: &mut Checker<'_, '_, '_>) {
    if spec.containers.is_empty() {
        let at = format!("{path}.containers");
        c.error(
            codes::MISSING_FIELD,
            &at,
            "the pod has no container",
            "add `containers: [{name: …, image: …}]`",
        );
    }
    let mut names = BTreeSet::new();
    let groups = [("containers", &spec.containers), ("initContainers", &spec.init_containers)];
    for (group, list) in groups {
        for (i, one) in list.iter().enumerate() {
            let at = format!("{path}.{group}.{i}");
            container(one, &at, c);
            if !one.name.is_empty() && !names.insert(one.name.as_str()) {
                let message = format!("two containers are called `{}`", one.name);
                c.error(
                    codes::NOT_UNIQUE,
                    &format!("{at}.name"),
                    message,
                    "give each its own name",
                );
            }
        }
    }
    volumes(spec, path, claims, c);
    c.one_of(
        format_args!("{path}.preemptionPolicy"),
        spec.preemption_policy.as_deref(),
        &["PreemptLowerPriority", "Never"],
    );
    c.not_negative(
        format_args!("{path}.terminationGracePeriodSeconds"),
        spec.termination_grace_period_seconds,
    );
    c.amounts(format_args!("{path}.overhead"), &spec.overhead);
    placement(spec, path, c);
}

fn container(one: &Container, at: &str, c: &mut Checker<'_, '_, '_>) {
    if one.name.is_empty() {
        c.error(
            codes::MISSING_FIELD,
            &format!("{at}.name"),
            "a container has no `name`",
            "add `name: …`",
        );
    } else if let Some(mend) = dns_label(&one.name) {
        let message = format!("`{}` is no name for a container", one.name);
        c.error(codes::BAD_NAME, &format!("{at}.name"), message, mend);
    }
    if one.image.as_deref().is_none_or(|i| i.trim().is_empty()) {
        let message = format!("the container `{}` has no `image`", one.name);
        c.error(codes::MISSING_FIELD, &format!("{at}.image"), message, "add `image: …`");
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    c.one_of(format_args!("{at}.imagePullPolicy"), one.image_pull_policy.as_deref(), &policies);
    resources(&one.resources, format_args!("{at}.resources"), c);
    let mut seen = BTreeSet::new();
    for (i, port) in one.ports.iter().enumerate() {
        let path = format!("{at}.ports.{i}");
        c.between(format_args!("{path}.containerPort"), port.container_port.into(), 1, 65535);
        c.between(format_args!("{path}.hostPort"), port.host_port.into(), 0, 65535);
        c.one_of(
            format_args!("{path}.protocol"),
            port.protocol.as_deref(),
            &["TCP", "UDP", "SCTP"],
        );
        if let Some(name) = port.name.as_deref()
            && !seen.insert(name)
        {
            let message = format!("two ports are called `{name}`");
            c.error(codes::NOT_UNIQUE, &format!("{path}.name"), message, "give each its own name");
        }
    }
    for (probe, name) in [
        (&one.readiness_probe, "readinessProbe"),
        (&one.liveness_probe, "livenessProbe"),
        (&one.startup_probe, "startupProbe"),
    ] {
        let Some(probe) = probe else { continue };
        for (value, field) in [
            (probe.initial_delay_seconds, "initialDelaySeconds"),
            (probe.period_seconds, "periodSeconds"),
            (probe.timeout_seconds, "timeoutSeconds"),
            (probe.success_threshold, "successThreshold"),
            (probe.failure_threshold, "failureThreshold"),
        ] {
            c.not_negative(format_args!("{at}.{name}.{field}"), Some(value.into()));
        }
    }
}

fn resources(
    resources: &ResourceRequirements,
    path: fmt::Arguments<'_>,
    c: &mut Checker<'_, '_, '_>,
) {
    c.amounts(format_args!("{path}.requests"), &resources.requests);
    c.amounts(format_args!("{path}.limits"), &resources.limits);
    for (name, request) in &resources.requests {
        let Some(limit) = resources.limits.get(name).filter(|limit| request > *limit) else {
            continue;
        };
        let message = format!("the request of `{name}` ({request}) is above its limit ({limit})");
        let requests = format!("{path}.requests");
        let at = c.node.at(&requests).and_then(|n| n.get(name)).map(|n| n.span);
        let span = at.unwrap_or_else(|| c.span(&requests));
        let help = format!("raise the limit to {request}, or lower the request");
        c.reporter.error(codes::REQUEST_OVER_LIMIT, span, message, help);
    }
}

fn volumes(spec: &PodSpec, path: &str, claims: &[&str], c: &mut Checker<'_, '_, '_>) {
    let mut names: BTreeSet<&str> = claims.iter().copied().collect();
    for (i, volume) in spec.volumes.iter().enumerate() {
        if !names.insert(&volume.name) && !claims.contains(&volume.name.as_str()) {
            let message = format!("two volumes are called `{}`", volume.name);
            let at = format!("{path}.volumes.{i}.name");
            c.error(codes::NOT_UNIQUE, &at, message, "give each its own name");
        }
    }
    let groups = [("containers", &spec.containers), ("initContainers", &spec.init_containers)];
    for (group, list) in groups {
        for (i, container) in list.iter().enumerate() {
            for (j, mount) in container.volume_mounts.iter().enumerate() {
                if names.contains(mount.name.as_str()) {
                    continue;
                }
                let near = crate::spec::suggest::nearest(&mount.name, names.iter().copied());
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("add a volume `{}` to `volumes`", mount.name),
                };
                let at = format!("{path}.{group}.{i}.volumeMounts.{j}.name");
                let message = format!("the pod has no volume `{}`", mount.name);
                c.error(codes::NO_SUCH_OBJECT, &at, message, help);
            }
        }
    }
}

fn placement(spec: &PodSpec, path: &str, c: &mut Checker<'_, '_, '_>) {
    for (i, toleration) in spec.tolerations.iter().enumerate() {
        let at = format!("{path}.tolerations.{i}");
        c.one_of(format_args!("{at}.operator"), Some(&toleration.operator), &["Equal", "Exists"]);
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        c.one_of(format_args!("{at}.effect"), Some(&toleration.effect), &effects);
        if toleration.operator == "Exists" && !toleration.value.is_empty() {
            let message = "a toleration with `operator: Exists` has no value";
            c.error(
                codes::CONTRADICTION,
                &format!("{at}.value"),
                message,
                "remove `value`, or write `operator: Equal`",
            );
        }
        if toleration.key.is_empty() && toleration.operator != "Exists" {
            let message = "a toleration without `key` needs `operator: Exists`";
            c.error(codes::CONTRADICTION, &at, message, "add `key: …` or `operator: Exists`");
        }
    }
    for (i, spread) in spec.topology_spread_constraints.iter().enumerate() {
        let at = format!("{path}.topologySpreadConstraints.{i}");
        c.between(format_args!("{at}.maxSkew"), spread.max_skew.into(), 1, i32::MAX.into());
        let field = format!("{at}.whenUnsatisfiable");
        if spread.when_unsatisfiable.is_empty() {
            c.error(
                codes::MISSING_FIELD,
                &field,
                "a spread constraint lacks `whenUnsatisfiable`",
                "add `whenUnsatisfiable: DoNotSchedule` or `ScheduleAnyway`",
            );
        }
        c.one_of(&field, Some(&spread.when_unsatisfiable), &["DoNotSchedule", "ScheduleAnyway"]);
        if spread.topology_key.is_empty() {
            let help = "add for example `topologyKey: topology.kubernetes.io/zone`";
            c.error(
                codes::MISSING_FIELD,
                &format!("{at}.topologyKey"),
                "a spread constraint lacks `topologyKey`",
                help,
            );
        }
    }
    if let Some(affinity) = &spec.affinity {
        affinities(affinity, path, c);
    }
}

fn affinities(affinity: &Affinity, path: &str, c: &mut Checker<'_, '_, '_>) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(nodes) = &affinity.node_affinity {
        let at = format!("{path}.affinity.nodeAffinity");
        if let Some(selector) = &nodes.required_during_scheduling_ignored_during_execution {
            let at = format!("{at}.{required}.nodeSelectorTerms");
            if selector.node_selector_terms.is_empty() {
                c.error(
                    codes::MISSING_FIELD,
                    &at,
                    "a required node affinity has no term",
                    "add a term with `matchExpressions`",
                );
            }
            for (i, one) in selector.node_selector_terms.iter().enumerate() {
                term(one, &format!("{at}.{i}"), c);
            }
        }
        for (i, wish) in
            nodes.preferred_during_scheduling_ignored_during_execution.iter().enumerate()
        {
            let at = format!("{at}.{preferred}.{i}");
            c.between(format_args!("{at}.weight"), wish.weight.into(), 1, 100);
            term(&wish.preference, &format!("{at}.preference"), c);
        }
    }
    for (pods, name) in
        [(&affinity.pod_affinity, "podAffinity"), (&affinity.pod_anti_affinity, "podAntiAffinity")]
    {
        if let Some(pods) = pods {
            pod_affinity(pods, &format!("{path}.affinity.{name}"), [required, preferred], c);
        }
    }
}

fn pod_affinity(pods: &PodAffinity, at: &str, names: [&str; 2], c: &mut Checker<'_, '_, '_>) {
    let [required, preferred] = names;
    let need = |key: &str, at: String, c: &mut Checker<'_, '_, '_>| {
        if key.is_empty() {
            let help = "add for example `topologyKey: kubernetes.io/hostname`";
            c.error(
                codes::MISSING_FIELD,
                &format!("{at}.topologyKey"),
                "a pod affinity lacks `topologyKey`",
                help,
            );
        }
    };
    for (i, one) in pods.required_during_scheduling_ignored_during_execution.iter().enumerate() {
        need(&one.topology_key, format!("{at}.{required}.{i}"), c);
    }
    for (i, one) in pods.preferred_during_scheduling_ignored_during_execution.iter().enumerate() {
        let at = format!("{at}.{preferred}.{i}");
        c.between(format_args!("{at}.weight"), one.weight.into(), 1, 100);
        need(&one.pod_affinity_term.topology_key, format!("{at}.podAffinityTerm"), c);
    }
}

fn term(term: &NodeSelectorTerm, at: &str, c: &mut Checker<'_, '_, '_>) {
    let operators = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
    for (i, one) in term.match_expressions.iter().enumerate() {
        let at = format!("{at}.matchExpressions.{i}");
        c.one_of(format_args!("{at}.operator"), Some(&one.operator), &operators);
        let wants = matches!(one.operator.as_str(), "In" | "NotIn" | "Gt" | "Lt");
        if wants && one.values.is_empty() {
            let message = format!("the operator `{}` needs values", one.operator);
            c.error(codes::MISSING_FIELD, &format!("{at}.values"), message, "add `values: […]`");
        }
        if matches!(one.operator.as_str(), "Exists" | "DoesNotExist") && !one.values.is_empty() {
            let message = format!("the operator `{}` takes no values", one.operator);
            c.error(
                codes::CONTRADICTION,
                &format!("{at}.values"),
                message,
                "remove `values`, or write `operator: In`",
            );
        }
    }
}

pub(in crate::spec::manifest) fn pod(object: &k8s::Pod, c: &mut Checker<'_, '_, '_>) {
    c.meta(&object.metadata);
    let policies = ["Always", "OnFailure", "Never"];
    c.one_of("spec.restartPolicy", object.spec.restart_policy.as_deref(), &policies);
    spec(&object.spec, "spec", &[], c);
}

pub(in crate::spec::manifest) fn pvc(
    object: &k8s::PersistentVolumeClaim,
    c: &mut Checker<'_, '_, '_>,
) {
    c.meta(&object.metadata);
    claim(&object.spec, "spec", c);
}

/// A claim's specification at `path`.
pub(super) fn claim(
    spec: &k8s::PersistentVolumeClaimSpec,
    path: &str,
    c: &mut Checker<'_, '_, '_>,
) {
    let modes = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];
    let at = format!("{path}.accessModes");
    if spec.access_modes.is_empty() {
        c.error(
            codes::MISSING_FIELD,
            &at,
            "the claim has no `accessModes`",
            "add `accessModes: [ReadWriteOnce]`",
        );
    }
    for (i, mode) in spec.access_modes.iter().enumerate() {
        c.one_of(format_args!("{at}.{i}"), Some(mode), &modes);
    }
    let requests = format!("{path}.resources.requests");
    c.amounts(&requests, &spec.resources.requests);
    if spec.resources.requests.get("storage").is_none_or(|q| q.is_zero()) {
        c.error(
            codes::MISSING_FIELD,
            &requests,
            "the claim requests no storage",
            "add `resources: {requests: {storage: 10Gi}}`",
        );
    }
}

pub(in crate::spec::manifest) fn quota(object: &k8s::ResourceQuota, c: &mut Checker<'_, '_, '_>) {
    c.meta(&object.metadata);
    c.amounts("spec.hard", &object.spec.hard);
}

pub(in crate::spec::manifest) fn limit_range(
    object: &k8s::LimitRange,
    c: &mut Checker<'_, '_, '_>,
) {
    c.meta(&object.metadata);
    for (i, item) in object.spec.limits.iter().enumerate() {
        let at = format!("spec.limits.{i}");
        c.one_of(
            format_args!("{at}.type"),
            Some(&item.kind),
            &["Container", "Pod", "PersistentVolumeClaim"],
        );
        for (list, name) in [
            (&item.min, "min"),
            (&item.max, "max"),
            (&item.default, "default"),
            (&item.default_request, "defaultRequest"),
        ] {
            c.amounts(format_args!("{at}.{name}"), list);
        }
        for (name, min) in &item.min {
            if let Some(max) = item.max.get(name).filter(|max| min > *max) {
                let message = format!("the smallest `{name}` ({min}) is above the largest ({max})");
                c.error(codes::CONTRADICTION, &format!("{at}.min"), message, "swap the two");
            }
        }
    }
}
