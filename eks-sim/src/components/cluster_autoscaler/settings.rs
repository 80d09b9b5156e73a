//! The scenario's flags as the policy's, and what the loops need of each pod template.

use crate::k8s::{PodSpec, ResourceList};
use crate::policy::cluster_autoscaler::estimator::GroupShape;
use crate::policy::cluster_autoscaler::expander::{ExpanderKind, PodPrices, Priorities};
use crate::policy::cluster_autoscaler::flags::Range;
use crate::policy::cluster_autoscaler::utilization::GPU;
use crate::policy::cluster_autoscaler::{Flags, pending, requests};
use crate::spec::scenario::{ClusterAutoscalerSpec, node_limits};
use crate::units::Span;
use crate::world::Model;
use crate::world::model::{GroupModel, Template};
use std::collections::BTreeMap;

const HOSTNAME: &str = "kubernetes.io/hostname";

/// Constants `cluster_autoscaler.*` that are no flags.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constants {
    /// `eviction_retry`: pause between attempts to evict a pod.
    pub eviction_retry: Span,
    /// `drain_poll`: pause between looks whether the pods are gone.
    pub drain_poll: Span,
    /// `termination_headroom`: time that pods get beyond their grace.
    pub headroom: Span,
    /// `aws_refresh_interval`: time between refreshes of what the provider caches.
    pub refresh: Span,
    /// `template_max_pods`: pods of a node made up from a launch template.
    pub template_pods: i64,
    /// `template_stabilization`: time a node must be ready before it stands for its group.
    pub stabilization: Span,
    /// `loop_time`: shortest time from one loop to the next.
    pub loop_time: Span,
    /// What the `price` expander takes for a pod's requests.
    pub prices: PodPrices,
}

impl Constants {
    pub(super) fn new(model: &Model) -> Self {
        let d = &model.defaults;
        Self {
            eviction_retry: d.span("cluster_autoscaler.eviction_retry"),
            drain_poll: d.span("cluster_autoscaler.drain_poll"),
            headroom: d.span("cluster_autoscaler.termination_headroom"),
            refresh: d.span("cluster_autoscaler.aws_refresh_interval"),
            template_pods: d.i64("cluster_autoscaler.template_max_pods"),
            stabilization: d.span("cluster_autoscaler.template_stabilization"),
            // Never zero: loops that follow each other at one instant would never end.
            loop_time: d.span("cluster_autoscaler.loop_time").max(Span::from_millis(1)),
            prices: PodPrices {
                cpu_hour: d.f64("cluster_autoscaler.price_cpu_hour"),
                gib_hour: d.f64("cluster_autoscaler.price_gib_hour"),
            },
        }
    }
}

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

/// The policy's flags.
#[expect(clippy::too_many_lines, reason = "one line for each flag")]
pub(super) fn flags(spec: &ClusterAutoscalerSpec, model: &Model) -> Flags {
    let defaults = Flags::default();
    let usual = ClusterAutoscalerSpec::default();
    // The release goes with the cluster's version, as its documentation asks for.
    let release = i64::from(spec.minor().unwrap_or(model.minor_version));
    // Whether a default of the newest release holds in this one already.
    let since =
        |name: &str| release >= model.defaults.i64(&format!("cluster_autoscaler.{name}_since"));
    let switch = |name: &str, given: Option<bool>| {
        given.unwrap_or_else(|| {
            since(name) && model.defaults.bool(&format!("cluster_autoscaler.{name}"))
        })
    };
    // A flag that the scenario leaves alone has the value of its constant, which a scenario may
    // override too.
    let span = |name: &str, given: Span, usual: Span| {
        let constant = model.defaults.span(&format!("cluster_autoscaler.{name}"));
        if given == usual { constant } else { given }
    };
    let on = |name: &str, given: bool, usual: bool| {
        let constant = model.defaults.bool(&format!("cluster_autoscaler.{name}"));
        if given == usual { constant } else { given }
    };
    Flags {
        max_node_startup_time: span(
            "max_node_startup_time",
            spec.max_node_startup_time,
            usual.max_node_startup_time,
        ),
        balancing_ignore_label: spec.balancing_ignore_labels.clone(),
        cores_total: range(&spec.cores_total).unwrap_or(defaults.cores_total),
        memory_total: range(&spec.memory_total).unwrap_or(defaults.memory_total),
        max_total_unready_percentage: spec.max_total_unready_percentage,
        ok_total_unready_count: spec.ok_total_unready_count as usize,
        max_nodes_per_scaleup: spec.max_nodes_per_scaleup.into(),
        fastpath_binpacking_enabled: spec.fastpath_binpacking_enabled,
        initial_node_group_backoff_duration: span(
            "initial_node_group_backoff_duration",
            spec.initial_node_group_backoff_duration,
            usual.initial_node_group_backoff_duration,
        ),
        max_node_group_backoff_duration: span(
            "max_node_group_backoff_duration",
            spec.max_node_group_backoff_duration,
            usual.max_node_group_backoff_duration,
        ),
        node_group_backoff_reset_timeout: span(
            "node_group_backoff_reset_timeout",
            spec.node_group_backoff_reset_timeout,
            usual.node_group_backoff_reset_timeout,
        ),
        scale_down_unready_enabled: spec.scale_down_unready_enabled,
        scale_down_gpu_utilization_threshold: spec.scale_down_gpu_utilization_threshold,
        scale_down_non_empty_candidates_count: spec.scale_down_non_empty_candidates_count as usize,
        scale_down_candidates_pool_ratio: spec.scale_down_candidates_pool_ratio,
        scale_down_candidates_pool_min_count: spec.scale_down_candidates_pool_min_count as usize,
        unremovable_node_recheck_timeout: span(
            "unremovable_node_recheck_timeout",
            spec.unremovable_node_recheck_timeout,
            usual.unremovable_node_recheck_timeout,
        ),
        node_delete_delay_after_taint: span(
            "node_delete_delay_after_taint",
            spec.node_delete_delay_after_taint,
            usual.node_delete_delay_after_taint,
        ),
        max_pod_eviction_time: span(
            "max_pod_eviction_time",
            spec.max_pod_eviction_time,
            usual.max_pod_eviction_time,
        ),
        skip_nodes_with_custom_controller_pods: spec.skip_nodes_with_custom_controller_pods,
        min_replica_count: spec.min_replica_count.into(),
        blocking_system_pod_disruption_timeout: span(
            "blocking_system_pod_disruption_timeout",
            spec.blocking_system_pod_disruption_timeout,
            usual.blocking_system_pod_disruption_timeout,
        ),
        ignore_mirror_pods_utilization: spec.ignore_mirror_pods_utilization,
        daemonset_eviction_for_empty_nodes: on(
            "daemonset_eviction_for_empty_nodes",
            spec.daemonset_eviction_for_empty_nodes,
            usual.daemonset_eviction_for_empty_nodes,
        ),
        daemonset_eviction_for_occupied_nodes: on(
            "daemonset_eviction_for_occupied_nodes",
            spec.daemonset_eviction_for_occupied_nodes,
            usual.daemonset_eviction_for_occupied_nodes,
        ),
        cordon_node_before_terminating: switch(
            "cordon_node_before_terminating",
            spec.cordon_node_before_terminating,
        ),
        enforce_node_group_min_size: spec.enforce_node_group_min_size,
        max_bulk_soft_taint_count: spec.max_bulk_soft_taint_count as usize,
        memory_difference_ratio: spec.memory_difference_ratio,
        max_free_difference_ratio: spec.max_free_difference_ratio,
        max_allocatable_difference_ratio: spec.max_allocatable_difference_ratio,
        scan_interval: spec.scan_interval,
        expander: match &spec.expander {
            Some(chain) => expanders(chain),
            None if since("expander") => defaults.expander.clone(),
            None => vec![ExpanderKind::Random],
        },
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
        frequent_loops_enabled: switch("frequent_loops_enabled", spec.frequent_loops_enabled),
        ..defaults
    }
}

/// Smallest and largest size of each group: its own, or those that `nodes` gives it.
pub(super) fn limits(spec: &ClusterAutoscalerSpec, model: &Model) -> Vec<(u32, u32)> {
    let given: BTreeMap<&str, (u32, u32)> = spec
        .nodes
        .iter()
        .filter_map(|text| node_limits(text))
        .map(|(min, max, name)| (name, (min, max)))
        .collect();
    let of = |g: &GroupModel| given.get(g.name.as_str()).copied().unwrap_or((g.min, g.max));
    model.groups.iter().map(|(_, g)| of(g)).collect()
}

/// `MIN:MAX`.
fn range(text: &str) -> Option<Range> {
    let (min, max) = text.split_once(':')?;
    Some(Range { min: min.trim().parse().ok()?, max: max.trim().parse().ok()? })
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
            "price" => Some(ExpanderKind::Price),
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
            shape: shape(&template.object.spec),
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

/// Requests and constraints of a pod.
pub(super) fn shape(spec: &PodSpec) -> GroupShape {
    let all = &requests::pod_requests(spec);
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
