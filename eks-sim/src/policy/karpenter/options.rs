//! Settings and feature gates with their real names and defaults.
//!
//! Upstream: karpenter pkg/operator/options and karpenter-provider-aws pkg/operator/options.

use crate::units::Span;
use serde::{Deserialize, Serialize};

/// Whether preferences of pods are honoured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreferencePolicy {
    /// Treated as required, relaxed one by one.
    #[default]
    Respect,
    /// Dropped up front.
    Ignore,
}

/// What happens when `minValues` cannot be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MinValuesPolicy {
    /// The pod does not fit.
    #[default]
    Strict,
    /// The number is lowered.
    BestEffort,
}

/// Options of the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Options {
    /// Quiet time that closes a batch.
    pub batch_idle_duration: Span,
    /// Longest batch.
    pub batch_max_duration: Span,
    /// Preferences of pods.
    pub preference_policy: PreferencePolicy,
    /// `minValues` of NodePools.
    pub min_values_policy: MinValuesPolicy,
    /// Share of memory the hypervisor is assumed to keep.
    pub vm_memory_overhead_percent: f64,
    /// Network interfaces kept free of pods.
    pub reserved_enis: i64,
    /// Whether an interruption queue is read.
    pub interruption_queue: bool,
    /// Feature gates.
    pub feature_gates: FeatureGates,
    /// Order of consolidation candidates.
    pub candidate_order: CandidateOrder,
}

/// Feature gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
pub struct FeatureGates {
    /// Replace unhealthy nodes.
    pub node_repair: bool,
    /// Replace a spot node by a cheaper one.
    pub spot_to_spot_consolidation: bool,
    /// Prices and capacities changed by NodeOverlays.
    pub node_overlay: bool,
    /// NodePools with `replicas`.
    pub static_capacity: bool,
    /// Head-room by CapacityBuffers.
    pub capacity_buffer: bool,
    /// Capacity reservations.
    pub reserved_capacity: bool,
    /// Kubelet values as expressions.
    #[serde(rename = "NodeClassCEL")]
    pub node_class_cel: bool,
}

/// How consolidation candidates are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CandidateOrder {
    /// v1.14: price over reschedule cost, descending.
    #[default]
    SavingsPerDisruption,
    /// v1.13 and older: disruption cost times lifetime left, ascending.
    DisruptionCost,
}

impl Default for FeatureGates {
    fn default() -> Self {
        Self {
            node_repair: false,
            spot_to_spot_consolidation: false,
            node_overlay: false,
            static_capacity: false,
            capacity_buffer: false,
            reserved_capacity: true,
            node_class_cel: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_idle_duration: Span::from_secs(1),
            batch_max_duration: Span::from_secs(10),
            preference_policy: PreferencePolicy::Respect,
            min_values_policy: MinValuesPolicy::Strict,
            vm_memory_overhead_percent: 0.075,
            reserved_enis: 0,
            interruption_queue: false,
            feature_gates: FeatureGates::default(),
            candidate_order: CandidateOrder::SavingsPerDisruption,
        }
    }
}

impl Options {
    /// How long pods are nominated to a node, which consolidation leaves alone meanwhile.
    #[must_use]
    pub fn nomination_window(&self) -> Span {
        (self.batch_max_duration * 2).max(Span::from_secs(10))
    }
}
