//! Types of the scenario file (`apiVersion: eks-sim/v1`, `kind: Scenario`).
//!
//! Every field has a documented default; unknown fields are refused. The JSON Schema of these
//! types is published as `scenarios/scenario.schema.json`.

mod changes;
mod cluster;
mod cluster_autoscaler;
mod faults;
mod instance_requirements;
mod mesh;
mod network;
mod node_groups;
mod objective;
mod scaling;
mod traffic;
mod values;

pub use changes::*;
pub use cluster::*;
pub use cluster_autoscaler::*;
pub use faults::*;
pub use instance_requirements::*;
pub use mesh::*;
pub use network::*;
pub use node_groups::*;
pub use objective::*;
pub use scaling::*;
pub use traffic::*;
pub use values::*;

use crate::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A scenario: everything one study needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// Always `eks-sim/v1`.
    pub api_version: String,
    /// Always `Scenario`.
    pub kind: String,
    /// Name and description.
    pub metadata: ScenarioMeta,
    /// The scenario itself.
    #[serde(default)]
    pub spec: ScenarioSpec,
}

/// Name and description of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioMeta {
    /// Name: lower-case letters, digits and `-`; the output folder is called after it.
    pub name: String,
    /// What the scenario asks.
    #[serde(default)]
    pub description: String,
}

/// The body of a scenario. All paths of `--set`, variants and plans are relative to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ScenarioSpec {
    /// Virtual time of one replication (default `1h`).
    pub duration: Span,
    /// Warm-up at the start that no metric counts (default `0s`).
    pub warmup: Span,
    /// Civil time of the start, RFC 3339 in UTC (default Monday `2026-01-05T00:00:00Z`); cron
    /// schedules and diurnal traffic refer to it.
    pub start_time: String,
    /// Root seed of all randomness (default 1).
    pub seed: u64,
    /// Replications (default 20).
    pub replications: u32,
    /// The cluster.
    pub cluster: ClusterSpec,
    /// Manifest files, folders or globs, relative to the scenario file.
    pub manifests: Vec<String>,
    /// Requests that reach Services, and how Services handle them.
    pub traffic: Vec<TrafficSpec>,
    /// How requests are simulated.
    pub load: LoadSpec,
    /// A service mesh: a sidecar in every pod that it covers.
    pub mesh: Option<MeshSpec>,
    /// Custom and external metrics that HPAs read.
    pub metrics: Vec<CustomMetricSpec>,
    /// Bounds of HPAs that move during the run: schedules, forecasts.
    pub scaling: Vec<ScalingSpec>,
    /// How Jobs behave: durations, failures, extra schedules.
    pub jobs: Vec<JobBehaviorSpec>,
    /// How workloads behave where a manifest cannot say: start time, idle use, memory.
    pub workloads: Vec<WorkloadBehaviorSpec>,
    /// Image sizes; the first entry whose pattern matches counts.
    pub images: Vec<ImageSpec>,
    /// Pods with arrival and duration from CSV files.
    pub trace: Option<TraceSpec>,
    /// What the user does during the run: rollouts, rollbacks, drains.
    pub changes: Vec<ChangeSpec>,
    /// Things that go wrong.
    pub faults: Vec<FaultSpec>,
    /// What must hold.
    pub objectives: Vec<ObjectiveSpec>,
    /// Alternatives to compare.
    pub variants: Vec<VariantSpec>,
    /// Search space of `plan`.
    pub plan: Option<PlanSpec>,
    /// Overrides of named constants (`kubelet.lease_renew_interval: 10s`), see
    /// `eks-sim catalog constants`.
    pub constants: BTreeMap<String, serde_json::Value>,
    /// Distance of the points of time series and plots (default: a 288th of the duration, at
    /// least 1 s).
    pub time_step: Option<Span>,
    /// Bounds that end a replication with a diagnosis instead of hanging.
    pub limits: LimitsSpec,
}

impl Default for ScenarioSpec {
    fn default() -> Self {
        Self {
            duration: Span::from_secs(3600),
            warmup: Span::ZERO,
            start_time: "2026-01-05T00:00:00Z".to_owned(),
            seed: 1,
            replications: 20,
            cluster: ClusterSpec::default(),
            manifests: Vec::new(),
            traffic: Vec::new(),
            load: LoadSpec::default(),
            mesh: None,
            metrics: Vec::new(),
            scaling: Vec::new(),
            jobs: Vec::new(),
            workloads: Vec::new(),
            images: Vec::new(),
            trace: None,
            changes: Vec::new(),
            faults: Vec::new(),
            objectives: Vec::new(),
            variants: Vec::new(),
            plan: None,
            constants: BTreeMap::new(),
            time_step: None,
            limits: LimitsSpec::default(),
        }
    }
}

/// Bounds of a replication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LimitsSpec {
    /// Events at one instant (default 10,000,000).
    pub events_per_instant: u64,
    /// Events in one replication (default 20,000,000,000).
    pub events_per_run: u64,
    /// Pods alive at once (default 5,000,000).
    pub pods: u32,
    /// Requests in one replication with `load: {mode: exact}`, each call and each repetition
    /// counted (default 20,000,000).
    pub requests: u64,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            events_per_instant: 10_000_000,
            events_per_run: 20_000_000_000,
            pods: 5_000_000,
            requests: 20_000_000,
        }
    }
}

/// A named alternative of the scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VariantSpec {
    /// Name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Path → value, with the grammar of `--set`.
    #[serde(default)]
    pub set: BTreeMap<String, serde_json::Value>,
    /// Manifests instead of the scenario's.
    #[serde(default)]
    pub manifests: Option<Vec<String>>,
}

/// Search space of `plan`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PlanSpec {
    /// Fields to vary.
    pub variables: Vec<PlanVariableSpec>,
}

/// A field that `plan` varies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanVariableSpec {
    /// Path, with the grammar of `--set`.
    pub path: String,
    /// Values to try.
    #[serde(default)]
    pub one_of: Vec<serde_json::Value>,
    /// First and last integer to try.
    #[serde(default)]
    pub range: Option<[i64; 2]>,
}

/// A trace of pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraceSpec {
    /// CSV `id,cpu_millicores,mem_bytes`: nodes that are there from the start (absent: the
    /// cluster's node groups alone).
    #[serde(default)]
    pub nodes: Option<String>,
    /// CSV `id,arrival_s,cpu_millicores,mem_bytes,duration_s`, sorted by arrival.
    pub pods: String,
}

/// Size of images whose reference matches a pattern.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// Pattern with `*`, matched against the whole reference.
    pub name: String,
    /// Compressed size, as pulled.
    pub size: crate::units::Quantity,
}
