//! Attribute-based selection of instance types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An entry of a mixed instances policy: a type with its weight, or requirements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OverrideSpec {
    /// An instance type.
    pub instance_type: Option<String>,
    /// Units of the group's size that one instance counts for, 1 to 999 (all entries have a weight
    /// or none has).
    pub weighted_capacity: Option<u32>,
    /// What the types have to be like instead of their names.
    pub instance_requirements: Option<InstanceRequirementsSpec>,
}

/// What instance types have to be like, by the names of EC2's API. Types of the architecture that
/// the makers of the processors imply: Arm for `amazon-web-services` alone, else x86.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct InstanceRequirementsSpec {
    /// Virtual processors (needs a `min`).
    pub v_cpu_count: BoundsSpec,
    /// Memory in MiB (needs a `min`).
    #[serde(rename = "memoryMiB")]
    pub memory_mib: BoundsSpec,
    /// Memory for each virtual processor in GiB.
    #[serde(rename = "memoryGiBPerVCpu")]
    pub memory_gib_per_v_cpu: FloatBoundsSpec,
    /// `intel`, `amd`, `amazon-web-services` (default all).
    pub cpu_manufacturers: Vec<String>,
    /// `current`, `previous` (default both).
    pub instance_generations: Vec<String>,
    /// Burstable types: `excluded` (default), `included` or `required`.
    pub burstable_performance: Option<String>,
    /// Bare metal: `excluded` (default), `included` or `required`.
    pub bare_metal: Option<String>,
    /// Types with local disks: `included` (default), `excluded` or `required`.
    pub local_storage: Option<String>,
    /// GPUs and other accelerators (default any number; `max: 0` leaves such types out).
    pub accelerator_count: BoundsSpec,
    /// Only these types; `*` stands for any letters: `m6i.*`.
    pub allowed_instance_types: Vec<String>,
    /// Not these types, with the same patterns.
    pub excluded_instance_types: Vec<String>,
    /// How much dearer than the cheapest C, M or R type an on-demand type may be, in percent (20).
    pub on_demand_max_price_percentage_over_lowest_price: Option<u32>,
    /// The same of spot prices (100).
    pub spot_max_price_percentage_over_lowest_price: Option<u32>,
}

/// From, to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BoundsSpec {
    /// At least.
    pub min: Option<u32>,
    /// At most.
    pub max: Option<u32>,
}

impl BoundsSpec {
    /// Whether a number is within.
    #[must_use]
    pub fn has(&self, value: u32) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

/// From, to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FloatBoundsSpec {
    /// At least.
    pub min: Option<f64>,
    /// At most.
    pub max: Option<f64>,
}

impl FloatBoundsSpec {
    /// Whether a number is within.
    #[must_use]
    pub fn has(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}
