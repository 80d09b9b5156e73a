//! Nodes that are no EC2 instances, quotas, and flags of Cluster Autoscaler.

use super::{Checker, unique};
use crate::spec::codes;
use crate::spec::manifest;
use crate::spec::scenario::{ClusterAutoscalerSpec, ClusterSpec, Scenario, TaintSpec, node_limits};
use crate::spec::suggest;

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
pub(super) fn cluster_autoscaler(
    spec: &ClusterAutoscalerSpec,
    cluster: &ClusterSpec,
    at: &str,
    c: &mut Checker<'_, '_>,
) {
    for expander in spec.expander.iter().flat_map(|chain| chain.split(',')).map(str::trim) {
        let path = format!("{at}.expander");
        let known = ["random", "most-pods", "least-waste", "least-nodes", "price", "priority"];
        c.one_of(&path, expander, &known);
        if expander == "price" {
            let message = "Cluster Autoscaler has no price model of AWS and does not start with \
                           the expander `price`"
                .to_owned();
            let help = "it is simulated with the catalogue's prices; on a real cluster use for \
                        example `priority,least-waste`";
            c.warning(codes::REFUSED_BY_AWS, &path, message, help);
        }
    }
    if let Some(version) = spec.version.as_ref().filter(|_| spec.minor().is_none()) {
        let message = format!("`{version}` is no release of Cluster Autoscaler");
        let help = "write for example `1.34` or `1.34.1`";
        c.error(codes::BAD_VALUE, &format!("{at}.version"), message, help);
    }
    for (i, text) in spec.nodes.iter().enumerate() {
        limits(text, cluster, &format!("{at}.nodes.{i}"), c);
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

/// An entry of `nodes`: the Auto Scaling group must exist and take these sizes.
fn limits(text: &str, cluster: &ClusterSpec, path: &str, c: &mut Checker<'_, '_>) {
    let Some((min, max, name)) = node_limits(text) else {
        let message = format!("`{text}` gives no sizes");
        c.error(codes::BAD_VALUE, path, message, "write MIN:MAX:NAME, for example `2:10:workers`");
        return;
    };
    let Some(group) = cluster.node_groups.iter().find(|g| g.name == name) else {
        let names = || cluster.node_groups.iter().map(|g| g.name.as_str());
        let help = match suggest::nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the groups are {}", suggest::list(names())),
        };
        c.error(codes::NO_SUCH_OBJECT, path, format!("no node group `{name}`"), help);
        return;
    };
    if min > max || min < group.min_size || max > group.max_size {
        let (least, most) = (group.min_size, group.max_size);
        let message = format!("the group `{name}` has {least} to {most} nodes, not {min} to {max}");
        let help = format!("write sizes from {least} to {most}; EC2 refuses others");
        c.error(codes::OUT_OF_RANGE, path, message, help);
    }
}
