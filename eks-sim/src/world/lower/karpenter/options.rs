//! Flags and feature gates of Karpenter.

use super::super::Errors;
use crate::policy::karpenter::options::{
    CandidateOrder, MinValuesPolicy, Options, PreferencePolicy,
};
use crate::spec::scenario::{ClusterSpec, KarpenterSpec};
use crate::world::model::Model;

/// The options, if something in the cluster acts on NodePools.
pub(super) fn options(
    cluster: &ClusterSpec,
    model: &Model,
    errors: &mut Errors,
) -> Option<Options> {
    let d = &model.defaults;
    let given = match (&cluster.autoscaler.karpenter, &cluster.autoscaler.auto_mode) {
        (None, None) => return None,
        (Some(given), _) => given.clone(),
        (None, Some(_)) => KarpenterSpec::default(),
    };
    let mut options = Options {
        batch_idle_duration: given
            .batch_idle_duration
            .unwrap_or_else(|| d.span("karpenter.batch_idle_duration")),
        batch_max_duration: given
            .batch_max_duration
            .unwrap_or_else(|| d.span("karpenter.batch_max_duration")),
        vm_memory_overhead_percent: given
            .vm_memory_overhead_percent
            .unwrap_or_else(|| d.f64("karpenter.vm_memory_overhead_percent")),
        interruption_queue: given.interruption_queue || cluster.autoscaler.auto_mode.is_some(),
        candidate_order: order(given.version.as_deref(), errors),
        ..Options::default()
    };
    match given.preference_policy.as_deref() {
        None | Some("Respect") => {}
        Some("Ignore") => options.preference_policy = PreferencePolicy::Ignore,
        Some(other) => errors.error(
            "cluster.autoscaler.karpenter.preferencePolicy",
            format!("`{other}` is not a preference policy"),
            "use Respect or Ignore",
        ),
    }
    match given.min_values_policy.as_deref() {
        None | Some("Strict") => {}
        Some("BestEffort") => options.min_values_policy = MinValuesPolicy::BestEffort,
        Some(other) => errors.error(
            "cluster.autoscaler.karpenter.minValuesPolicy",
            format!("`{other}` is not a policy for minValues"),
            "use Strict or BestEffort",
        ),
    }
    for (name, &on) in &given.feature_gates {
        gate(name, on, &mut options, errors);
    }
    Some(options)
}

fn gate(name: &str, on: bool, options: &mut Options, errors: &mut Errors) {
    let path = format!("cluster.autoscaler.karpenter.featureGates.{name}");
    let gates = &mut options.feature_gates;
    let simulated = match name {
        "SpotToSpotConsolidation" => {
            gates.spot_to_spot_consolidation = on;
            true
        }
        "NodeRepair" => {
            gates.node_repair = on;
            true
        }
        "StaticCapacity" => {
            gates.static_capacity = on;
            true
        }
        "NodeOverlay" | "CapacityBuffer" | "ReservedCapacity" => false,
        "NodeClassCEL" => false,
        _ => {
            errors.error(
                path,
                format!("`{name}` is not a feature gate of Karpenter"),
                "use SpotToSpotConsolidation, NodeRepair, NodeOverlay, StaticCapacity, \
                 CapacityBuffer, ReservedCapacity or NodeClassCEL",
            );
            return;
        }
    };
    if !simulated && on && name != "ReservedCapacity" {
        let message = format!("the feature gate {name} has no effect in the simulation yet");
        errors.warning(path, message, "leave it out");
    }
}

/// v1.13 and older sort consolidation candidates by disruption cost.
fn order(version: Option<&str>, errors: &mut Errors) -> CandidateOrder {
    let Some(text) = version else { return CandidateOrder::default() };
    let mut parts = text.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor >= 14 => CandidateOrder::SavingsPerDisruption,
        (Some(Ok(1)), Some(Ok(_))) => CandidateOrder::DisruptionCost,
        _ => {
            errors.error(
                "cluster.autoscaler.karpenter.version",
                format!("`{text}` is not a version of Karpenter that is simulated"),
                "write for example `1.14.0`; 1.0 and later are understood",
            );
            CandidateOrder::default()
        }
    }
}
