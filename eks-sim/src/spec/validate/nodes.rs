//! Nodes that are no EC2 instances, quotas, and flags of Cluster Autoscaler.

use super::{Checker, unique};
use crate::spec::codes;
use crate::spec::manifest;
use crate::spec::scenario::{ClusterAutoscalerSpec, Scenario, TaintSpec};

/// Quotas of on-demand vCPUs; those of spot have `spot-` before them.
const QUOTAS: [&str; 10] =
    ["standard", "f", "g", "p", "x", "inf", "trn", "dl", "hpc", "high-memory"];

pub(super) fn taints(list: &[TaintSpec], at: &str, c: &mut Checker<'_, '_>) {
    for (i, taint) in list.iter().enumerate() {
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        c.one_of(&format!("{at}.{i}.effect"), &taint.effect, &effects);
    }
}

/// Fargate profiles, hybrid nodes, quotas.
pub(super) fn outside(scenario: &Scenario, c: &mut Checker<'_, '_>) {
    let cluster = &scenario.spec.cluster;
    let at = "spec.cluster";
    let profiles = &cluster.fargate_profiles;
    unique(c, "spec.cluster.fargateProfiles", profiles.iter().map(|p| p.name.as_str()));
    for (i, profile) in profiles.iter().enumerate() {
        name(&profile.name, "Fargate profile", &format!("{at}.fargateProfiles.{i}.name"), c);
        if profile.selectors.is_empty() {
            let message = format!("the Fargate profile `{}` has no selector", profile.name);
            let path = format!("{at}.fargateProfiles.{i}.selectors");
            let help = "add for example `selectors: [{namespace: shop}]`";
            c.error(codes::MISSING_FIELD, &path, message, help);
        }
    }
    unique(c, "spec.cluster.hybridNodes", cluster.hybrid_nodes.iter().map(|h| h.name.as_str()));
    for (i, h) in cluster.hybrid_nodes.iter().enumerate() {
        let at = format!("{at}.hybridNodes.{i}");
        name(&h.name, "set of hybrid nodes", &format!("{at}.name"), c);
        taints(&h.taints, &format!("{at}.taints"), c);
        if h.vcpu == 0 {
            let message = "a machine has at least one processor".to_owned();
            c.error(codes::OUT_OF_RANGE, &format!("{at}.vcpu"), message, "write for example 16");
        }
    }
    let mut known: Vec<String> = QUOTAS.iter().map(|q| (*q).to_owned()).collect();
    known.extend(QUOTAS.iter().map(|q| format!("spot-{q}")));
    known.push("fargate".to_owned());
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    for quota in cluster.vcpu_quotas.keys() {
        c.one_of(&format!("{at}.vcpuQuotas.{quota}"), quota, &names);
    }
}

fn name(name: &str, what: &str, path: &str, c: &mut Checker<'_, '_>) {
    if let Some(mend) = manifest::name_problem(name) {
        c.error(codes::BAD_NAME, path, format!("`{name}` is no name for a {what}"), mend);
    }
}

/// Flags that have a form or a range.
pub(super) fn cluster_autoscaler(spec: &ClusterAutoscalerSpec, at: &str, c: &mut Checker<'_, '_>) {
    for expander in spec.expander.split(',').map(str::trim) {
        let path = format!("{at}.expander");
        if expander == "price" {
            let message = "the expander `price` needs a price model, which AWS has not".to_owned();
            let help = "write for example `priority,least-waste`";
            c.error(codes::UNKNOWN_VALUE, &path, message, help);
            continue;
        }
        let known = ["random", "most-pods", "least-waste", "least-nodes", "priority"];
        c.one_of(&path, expander, &known);
    }
    for (field, text) in [("coresTotal", &spec.cores_total), ("memoryTotal", &spec.memory_total)] {
        let range = text.split_once(':').and_then(|(min, max)| {
            Some((min.trim().parse::<i64>().ok()?, max.trim().parse::<i64>().ok()?))
        });
        if !range.is_some_and(|(min, max)| 0 <= min && min <= max) {
            let message = format!("`{text}` is no range");
            let help = "write MIN:MAX, for example `0:320000`";
            c.error(codes::BAD_VALUE, &format!("{at}.{field}"), message, help);
        }
    }
    for (field, value, most) in [
        ("scaleDownUtilizationThreshold", spec.scale_down_utilization_threshold, 1.0),
        ("scaleDownGpuUtilizationThreshold", spec.scale_down_gpu_utilization_threshold, 1.0),
        ("scaleDownCandidatesPoolRatio", spec.scale_down_candidates_pool_ratio, 1.0),
        ("maxTotalUnreadyPercentage", spec.max_total_unready_percentage, 100.0),
        ("memoryDifferenceRatio", spec.memory_difference_ratio, 1.0),
        ("maxFreeDifferenceRatio", spec.max_free_difference_ratio, 1.0),
        ("maxAllocatableDifferenceRatio", spec.max_allocatable_difference_ratio, 1.0),
    ] {
        if !(0.0..=most).contains(&value) {
            let message = format!("`{field}` cannot be {value}");
            let help = format!("write a number from 0 to {most}");
            c.error(codes::OUT_OF_RANGE, &format!("{at}.{field}"), message, help);
        }
    }
    for priority in spec.priorities.keys() {
        if priority.trim().parse::<i64>().is_err() {
            let message = format!("`{priority}` is no priority");
            let help = "write a number; the highest that matches wins";
            c.error(codes::BAD_VALUE, &format!("{at}.priorities.{priority}"), message, help);
        }
    }
}
