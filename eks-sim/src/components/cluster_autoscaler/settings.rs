//! The scenario's flags as the policy's, and what the loops need of each pod template.

use crate::k8s::ResourceList;
use crate::policy::cluster_autoscaler::estimator::GroupShape;
use crate::policy::cluster_autoscaler::expander::{ExpanderKind, Priorities};
use crate::policy::cluster_autoscaler::utilization::GPU;
use crate::policy::cluster_autoscaler::{Flags, pending, requests};
use crate::spec::scenario::ClusterAutoscalerSpec;
use crate::units::Span;
use crate::world::Model;
use crate::world::model::Template;
use std::collections::BTreeMap;

const HOSTNAME: &str = "kubernetes.io/hostname";

/// What the loops need of a pod template.
#[derive(Clone, Debug)]
pub(super) struct TemplateFacts {
    /// Requests and constraints.
    pub shape: GroupShape,
    /// Effective requests by name.
    pub requests: ResourceList,
    /// Requests a GPU.
    pub gpu: bool,
    /// The delay annotation.
    pub delay: Option<Span>,
    /// Budgets that select its pods.
    pub budgets: Vec<usize>,
}

/// The policy's flags; those the scenario does not name keep upstream's defaults.
pub(super) fn flags(spec: &ClusterAutoscalerSpec) -> Flags {
    Flags {
        scan_interval: spec.scan_interval,
        expander: expanders(&spec.expander),
        balance_similar_node_groups: spec.balance_similar_node_groups,
        new_pod_scale_up_delay: spec.new_pod_scale_up_delay,
        max_node_provision_time: spec.max_node_provision_time,
        scale_down_enabled: spec.scale_down_enabled,
        scale_down_delay_after_add: spec.scale_down_delay_after_add,
        scale_down_delay_after_delete: spec.scale_down_delay_after_delete,
        scale_down_delay_after_failure: spec.scale_down_delay_after_failure,
        scale_down_unneeded_time: spec.scale_down_unneeded_time,
        scale_down_unready_time: spec.scale_down_unready_time,
        scale_down_utilization_threshold: spec.scale_down_utilization_threshold,
        max_graceful_termination_sec: spec.max_graceful_termination_sec.into(),
        max_nodes_total: spec.max_nodes_total.into(),
        expendable_pods_priority_cutoff: spec.expendable_pods_priority_cutoff,
        skip_nodes_with_local_storage: spec.skip_nodes_with_local_storage,
        skip_nodes_with_system_pods: spec.skip_nodes_with_system_pods,
        ignore_daemonsets_utilization: spec.ignore_daemonsets_utilization,
        max_scale_down_parallelism: spec.max_scale_down_parallelism.into(),
        max_drain_parallelism: spec.max_drain_parallelism.into(),
        frequent_loops_enabled: spec.frequent_loops_enabled,
        ..Flags::default()
    }
}

/// Names that are no expander are left out; the scenario's check names them.
fn expanders(chain: &str) -> Vec<ExpanderKind> {
    chain
        .split(',')
        .filter_map(|name| match name.trim() {
            "random" => Some(ExpanderKind::Random),
            "most-pods" => Some(ExpanderKind::MostPods),
            "least-waste" => Some(ExpanderKind::LeastWaste),
            "least-nodes" => Some(ExpanderKind::LeastNodes),
            "priority" => Some(ExpanderKind::Priority),
            _ => None,
        })
        .collect()
}

/// The priority expander's entries; unreadable ones make it keep every option, as upstream.
pub(super) fn priorities(spec: &ClusterAutoscalerSpec) -> Option<Priorities> {
    if spec.priorities.is_empty() {
        return None;
    }
    let mut entries = BTreeMap::new();
    for (number, patterns) in &spec.priorities {
        entries.insert(number.trim().parse::<i64>().ok()?, patterns.clone());
    }
    Priorities::new(&entries).ok()
}

/// Facts of every template of the model.
pub(super) fn facts(model: &Model) -> Vec<TemplateFacts> {
    let of = |(id, template): (crate::units::Id<Template>, &Template)| {
        let requests = requests::pod_requests(&template.object.spec);
        let budgets = model
            .budgets
            .iter()
            .filter(|(_, b)| b.templates.contains(&id))
            .map(|(b, _)| b.index())
            .collect();
        TemplateFacts {
            shape: shape(template, &requests),
            gpu: requests.contains_key(GPU),
            delay: delay(template),
            requests,
            budgets,
        }
    };
    model.templates.iter().map(of).collect()
}

fn delay(template: &Template) -> Option<Span> {
    template.object.metadata.annotations.get(pending::POD_DELAY)?.parse().ok()
}

fn shape(template: &Template, all: &ResourceList) -> GroupShape {
    let spec = &template.object.spec;
    let first = spec.containers.first().map(|c| &c.resources.requests);
    let amount = |list: &ResourceList, name: &str| list.get(name).copied();
    let cpu = |list: &ResourceList| amount(list, "cpu").map_or(0, |q| q.milli_value());
    let memory = |list: &ResourceList| amount(list, "memory").map_or(0, |q| q.value());
    let anti = spec.affinity.as_ref().and_then(|a| a.pod_anti_affinity.as_ref());
    let keys: Vec<&str> = anti
        .iter()
        .flat_map(|a| &a.required_during_scheduling_ignored_during_execution)
        .map(|t| t.topology_key.as_str())
        .collect();
    GroupShape {
        cpu: cpu(all),
        memory: memory(all),
        first_container_cpu: first.map_or(0, cpu),
        first_container_memory: first.map_or(0, memory),
        hostname_spread: spec
            .topology_spread_constraints
            .iter()
            .any(|c| c.topology_key == HOSTNAME),
        spread: !spec.topology_spread_constraints.is_empty(),
        hostname_anti_affinity: keys.contains(&HOSTNAME),
        other_anti_affinity: keys.iter().any(|k| *k != HOSTNAME),
    }
}
