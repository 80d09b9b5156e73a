//! The immutable input of all replications: the scenario and its manifests, lowered to dense
//! tables. Built once by [`super::lower`], shared by reference.

mod autoscaling;
mod cloud;
mod network;
mod pods;
mod services;
mod workloads;

pub use super::fault_model::{FaultKind, FaultModel, RandomFault, StockoutModel, StockoutRate};
pub use super::trace::{TraceModel, TraceNode, TracePod};
pub use autoscaling::{
    HpaModel, HpaPatch, Measure, MetricModel, MetricSource, ScaledObjectModel, TriggerKind,
    TriggerModel, VpaContainer, VpaModel,
};
pub use cloud::{
    Allocation, GroupKind, GroupModel, GroupType, MaxUnavailable, ScalingModel, UpdateModel,
};
pub use network::{EniConfigModel, LoadBalancerModel, NetworkModel, SubnetModel, SubnetRole};
pub use pods::{
    ClaimModel, ContainerUse, FargateModel, ImageModel, ProbeModel, QuotaModel, Template,
};
pub use services::{CallModel, ColdStart, ServiceModel, TrafficModel};
pub use workloads::{BudgetModel, CronModel, JobModel, WorkloadKind, WorkloadModel};

use super::karpenter::KarpenterModel;
use super::settings::Settings;
use super::steps::{RevisionModel, StepModel};
use crate::catalog::Defaults;
use crate::k8s;
use crate::policy::kube_scheduler::Profile;
use crate::spec::scenario::{ClusterAutoscalerSpec, CniSpec};
use crate::units::{Id, IdVec, MoneyRate, SimTime, Span};
use std::sync::Arc;

/// Everything a replication starts from.
#[derive(Debug)]
pub struct Model {
    /// Name of the scenario.
    pub name: String,
    /// Virtual time of a replication.
    pub duration: Span,
    /// Time at the start that no metric counts.
    pub warmup: Span,
    /// Distance of time-series points.
    pub step: Span,
    /// Root seed.
    pub seed: u64,
    /// Civil time of the start, in seconds since 1970.
    pub start_unix: i64,
    /// Events at one instant and in one run, at most.
    pub limits: Limits,
    /// Numbers that model the world, resolved.
    pub settings: Settings,
    /// Region.
    pub region: String,
    /// Kubernetes minor version (34 for 1.34).
    pub minor_version: u32,
    /// Control plane.
    pub control_plane: ControlPlaneModel,
    /// Availability zones in use, by name.
    pub zones: IdVec<Zone, String>,
    /// Subnets.
    pub subnets: IdVec<SubnetModel, SubnetModel>,
    /// VPC CNI settings as written.
    pub cni: CniSpec,
    /// The CNI's settings in effect, ENIConfigs, load balancers.
    pub network: NetworkModel,
    /// Node groups: those of Auto Scaling first.
    pub groups: IdVec<GroupModel, GroupModel>,
    /// vCPUs that the account may run, by quota.
    pub vcpu_quotas: std::collections::BTreeMap<String, u32>,
    /// Cluster Autoscaler, if it runs.
    pub cluster_autoscaler: Option<ClusterAutoscalerSpec>,
    /// Karpenter, if it runs.
    pub karpenter: Option<KarpenterModel>,
    /// Images.
    pub images: IdVec<ImageModel, ImageModel>,
    /// Pod templates.
    pub templates: IdVec<Template, Template>,
    /// Workloads that exist from the start.
    pub workloads: IdVec<WorkloadModel, WorkloadModel>,
    /// Changes of replicas by hand: when, what, how many.
    pub scalings: Vec<(SimTime, Id<WorkloadModel>, u32)>,
    /// CronJobs.
    pub cron_jobs: IdVec<CronModel, CronModel>,
    /// Services.
    pub services: IdVec<ServiceModel, ServiceModel>,
    /// Requests are simulated one by one.
    pub exact_requests: bool,
    /// Services in an order in which callers come before the called.
    pub service_order: Vec<Id<ServiceModel>>,
    /// HPAs.
    pub hpas: IdVec<HpaModel, HpaModel>,
    /// Changes of their bounds, by time.
    pub hpa_patches: Vec<HpaPatch>,
    /// ScaledObjects.
    pub scaled_objects: IdVec<ScaledObjectModel, ScaledObjectModel>,
    /// Custom and external metrics.
    pub metrics: Vec<MetricModel>,
    /// VPAs.
    pub vpas: IdVec<VpaModel, VpaModel>,
    /// Disruption budgets.
    pub budgets: IdVec<BudgetModel, BudgetModel>,
    /// Faults that the scenario sets.
    pub faults: Vec<FaultModel>,
    /// What the user does during the run.
    pub steps: Vec<StepModel>,
    /// Workloads as these steps leave them.
    pub revisions: IdVec<RevisionModel, RevisionModel>,
    /// ResourceQuotas.
    pub quotas: Vec<QuotaModel>,
    /// kube-scheduler's profiles.
    pub profiles: Vec<Profile>,
    /// Objects the scheduler reads beside pods and nodes.
    pub objects: SchedulerObjects,
    /// Pods of a trace, if any.
    pub trace: Option<Arc<TraceModel>>,
    /// The constants, with the scenario's overrides.
    pub defaults: Defaults,
}

/// An availability zone.
#[derive(Debug)]
pub struct Zone;

/// Bounds of a replication.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events at one instant.
    pub events_per_instant: u64,
    /// Events in all.
    pub events_per_run: u64,
    /// Pods at once.
    pub pods: u32,
    /// Attempts of single requests, in the exact mode.
    pub requests: u64,
}

/// The control plane.
#[derive(Clone, Debug)]
pub struct ControlPlaneModel {
    /// API servers.
    pub api_servers: u32,
    /// etcd members.
    pub etcd_members: u32,
    /// Whether lost members are replaced.
    pub replace_members: bool,
    /// Fee, tier included.
    pub fee: MoneyRate,
    /// Zone names of the members, round robin; they may lie outside the cluster's own zones.
    pub zones: Vec<String>,
    /// Pods a second the scheduler may bind.
    pub scheduler_qps: f64,
    /// Burst of the same.
    pub scheduler_burst: f64,
}

/// Objects the scheduler reads beside pods and nodes.
#[derive(Clone, Debug, Default)]
pub struct SchedulerObjects {
    /// Services.
    pub services: Vec<k8s::Service>,
    /// Namespaces.
    pub namespaces: Vec<k8s::Namespace>,
    /// Storage classes; those that claims name and nobody describes are EKS's `gp2`.
    pub storage_classes: Vec<k8s::StorageClass>,
}
