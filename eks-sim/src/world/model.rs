//! The immutable input of all replications: the scenario and its manifests, lowered to dense
//! tables. Built once by [`super::lower`], shared by reference.

pub use super::fault_model::{FaultKind, FaultModel, RandomFault};
use super::karpenter::KarpenterModel;
use super::settings::Settings;
use super::steps::{RevisionModel, StepModel};
pub use super::trace::{TraceModel, TraceNode, TracePod};
use crate::catalog::{CapacityType, Defaults, InstanceType};
use crate::k8s;
use crate::policy::kube_scheduler::Profile;
use crate::policy::traffic::{Discipline, Markov, RateProfile};
use crate::policy::vpc_cni::{AddressSpace, Cidr, Holding, Placement};
use crate::spec::scenario::{ClusterAutoscalerSpec, CniSpec};
use crate::units::{Bytes, Dist, Id, IdVec, MilliCpu, MoneyRate, SimTime, Span};
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
    /// VPC CNI settings.
    pub cni: CniSpec,
    /// Node groups.
    pub groups: IdVec<GroupModel, GroupModel>,
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
    /// Services in an order in which callers come before the called.
    pub service_order: Vec<Id<ServiceModel>>,
    /// HPAs.
    pub hpas: IdVec<HpaModel, HpaModel>,
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

/// A subnet.
#[derive(Clone, Debug)]
pub struct SubnetModel {
    /// Name.
    pub name: String,
    /// Zone.
    pub zone: Id<Zone>,
    /// First address and prefix length.
    pub network: (u32, u8),
    /// Addresses held by something outside the cluster.
    pub used_addresses: u32,
}

impl SubnetModel {
    /// Its addresses before the cluster takes any.
    ///
    /// # Panics
    /// Never: size and use were checked when the model was built.
    #[must_use]
    pub fn space(&self) -> AddressSpace {
        let cidr = Cidr::containing(self.network.0.into(), self.network.1);
        let mut space = AddressSpace::new(cidr).expect("the size of a subnet was checked");
        let mut out = Vec::new();
        space
            .take(Holding::Other, self.used_addresses, &mut Placement::Sequential, &mut out)
            .expect("the number of used addresses was checked");
        space
    }

    /// The block as text.
    #[must_use]
    pub fn cidr(&self) -> String {
        let [a, b, c, d] = self.network.0.to_be_bytes();
        format!("{a}.{b}.{c}.{d}/{}", self.network.1)
    }
}

/// Where instances of a group come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// A managed node group: an Auto Scaling group keeps its desired size.
    Managed,
    /// A NodePool: Karpenter asks EC2 for each instance; sizes mean nothing.
    NodePool,
    /// Nodes of a trace: they are there from the start, and nothing replaces them.
    Trace,
}

/// Instances of like origin: a managed node group, or what a NodePool launches.
#[derive(Clone, Debug)]
pub struct GroupModel {
    /// Name.
    pub name: String,
    /// Who asks for its instances.
    pub kind: GroupKind,
    /// Instance types: of a node group preferred first, of a NodePool all that it could launch.
    pub types: Vec<GroupType>,
    /// Nodes at least.
    pub min: u32,
    /// Nodes at most.
    pub max: u32,
    /// Nodes at the start.
    pub desired: u32,
    /// Subnets.
    pub subnets: Vec<Id<SubnetModel>>,
    /// Node boot, from running to registered.
    pub boot: Dist,
    /// Price of the root volume.
    pub disk_rate: MoneyRate,
    /// Size of the root volume in GiB.
    pub disk_gib: u32,
}

impl GroupModel {
    /// Whether an Auto Scaling group keeps its size.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.kind == GroupKind::Managed
    }
}

/// An instance type of a group, as it is bought.
#[derive(Clone, Debug)]
pub struct GroupType {
    /// Catalogue row.
    pub instance_type: &'static InstanceType,
    /// On-demand or spot.
    pub capacity: CapacityType,
    /// Price.
    pub rate: MoneyRate,
    /// Fee of EKS Auto Mode on top.
    pub fee: MoneyRate,
    /// Chance an hour that a spot instance is reclaimed.
    pub interruption_per_hour: f64,
    /// Template of the node object, without name and zone labels.
    pub node: k8s::Node,
    /// Taints of the template that something on the node removes once it is up.
    pub startup_taints: Vec<k8s::Taint>,
    /// Allocatable CPU.
    pub allocatable_cpu: MilliCpu,
    /// Allocatable memory.
    pub allocatable_memory: Bytes,
    /// Pods it may hold.
    pub max_pods: u32,
}

/// A container image.
#[derive(Clone, Debug)]
pub struct ImageModel {
    /// Reference.
    pub name: String,
    /// Compressed size.
    pub size: Bytes,
}

/// A pod template with everything about it that decisions need, precomputed.
#[derive(Clone, Debug)]
pub struct Template {
    /// Namespace.
    pub namespace: String,
    /// The template, defaulted.
    pub object: Arc<k8s::PodTemplateSpec>,
    /// Controller of the pods, as the scheduler's default spreading sees it.
    pub owner: Option<k8s::OwnerReference>,
    /// Effective CPU request.
    pub request_cpu: MilliCpu,
    /// Effective memory request.
    pub request_memory: Bytes,
    /// CPU limit: the sum over containers, if all have one.
    pub limit_cpu: Option<MilliCpu>,
    /// Memory limit: the sum over containers, if all have one.
    pub limit_memory: Option<Bytes>,
    /// Priority.
    pub priority: i32,
    /// Uses the node's network.
    pub host_network: bool,
    /// Belongs to a DaemonSet.
    pub daemon: bool,
    /// Belongs to a trace: nothing but its running time is simulated.
    pub trace: bool,
    /// Images in the order they are pulled, with whether the registry is asked each time.
    pub images: Vec<(Id<ImageModel>, bool)>,
    /// Init containers that run to their end.
    pub init_containers: u32,
    /// Containers that go on running.
    pub containers: u32,
    /// Readiness: initial delay, period, successes; `None` without a probe.
    pub readiness: Option<ProbeModel>,
    /// Grace period.
    pub grace: Span,
    /// Time of preStop hooks.
    pub pre_stop: Span,
    /// Services that select the pods.
    pub services: Vec<Id<ServiceModel>>,
    /// CPU of an idle pod.
    pub idle_cpu: MilliCpu,
    /// Memory of an idle pod.
    pub idle_memory: Bytes,
    /// Bytes a second by which its memory grows while its containers run.
    pub memory_growth: f64,
    /// Some container has the resize policy RestartContainer.
    pub restarts_on_resize: bool,
    /// How long an unreachable node is tolerated; `None` is for ever.
    pub unreachable_toleration: Option<Span>,
    /// Time from container start until it can serve, if set.
    pub startup: Option<Dist>,
    /// Running time of a Job's pod.
    pub duration: Option<Dist>,
    /// Share of a Job's pods that fail.
    pub failure_probability: f64,
    /// `restartPolicy: OnFailure`.
    pub restarts_on_failure: bool,
    /// Claims, by name in the namespace, or of the StatefulSet's templates.
    pub claims: Vec<ClaimModel>,
    /// Why admission refuses the pods, whatever else there is: the text after `is forbidden: `.
    pub refusal: Option<String>,
    /// Quotas of its namespace that cover the pods.
    pub quotas: Vec<u32>,
    /// Profile that schedules the pods; `None` if no scheduler has the name.
    pub profile: Option<u32>,
}

/// A ResourceQuota.
#[derive(Clone, Debug)]
pub struct QuotaModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Limits.
    pub hard: k8s::ResourceList,
    /// Scopes.
    pub scopes: Vec<String>,
}

/// Timing of a readiness probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeModel {
    /// First call after the container's start.
    pub initial_delay: Span,
    /// Between calls.
    pub period: Span,
    /// Successes needed.
    pub successes: u32,
}

/// A claim of a pod template.
#[derive(Clone, Debug)]
pub struct ClaimModel {
    /// Name; of a claim template the pod's name is appended.
    pub name: String,
    /// Whether each pod has its own.
    pub per_pod: bool,
    /// Size in GiB.
    pub gib: f64,
    /// Price.
    pub rate: MoneyRate,
    /// Whether it lives in one zone (EBS).
    pub zonal: bool,
    /// The object, or the template of the object.
    pub object: Arc<k8s::PersistentVolumeClaim>,
}

/// Kind of a workload, with its own settings.
#[derive(Clone, Debug)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment(Box<k8s::DeploymentSpec>),
    /// A ReplicaSet without Deployment.
    ReplicaSet(Box<k8s::ReplicaSetSpec>),
    /// A StatefulSet.
    StatefulSet(Box<k8s::StatefulSetSpec>),
    /// A DaemonSet.
    DaemonSet(Box<k8s::DaemonSetSpec>),
    /// A Job.
    Job(Box<JobModel>),
    /// A pod without owner.
    Pod,
    /// Pods of one shape of a trace.
    Trace,
}

impl WorkloadKind {
    /// The kind's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deployment(_) => "Deployment",
            Self::ReplicaSet(_) => "ReplicaSet",
            Self::StatefulSet(_) => "StatefulSet",
            Self::DaemonSet(_) => "DaemonSet",
            Self::Job(_) => "Job",
            Self::Pod => "Pod",
            Self::Trace => "Trace",
        }
    }
}

/// A workload that exists from the start.
#[derive(Clone, Debug)]
pub struct WorkloadModel {
    /// Kind and settings.
    pub kind: WorkloadKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// Template.
    pub template: Id<Template>,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `minReadySeconds`.
    pub min_ready: Span,
    /// The VPA that sizes its pods.
    pub vpa: Option<Id<VpaModel>>,
    /// Whether it is one of the cluster's add-ons.
    pub addon: bool,
}

/// A Job.
#[derive(Clone, Debug, Default)]
pub struct JobModel {
    /// The specification.
    pub spec: k8s::JobSpec,
}

/// A CronJob.
#[derive(Clone, Debug)]
pub struct CronModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// The specification.
    pub spec: k8s::CronJobSpec,
    /// Due times within the run, in order.
    pub due: Vec<SimTime>,
    /// Model of its Jobs.
    pub job: Id<WorkloadModel>,
}

/// A Service and the requests that reach it.
#[derive(Clone, Debug)]
pub struct ServiceModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// Requests, if the scenario describes any.
    pub traffic: Option<TrafficModel>,
    /// Whether it has a load balancer.
    pub load_balancer: bool,
}

/// Requests of a Service.
#[derive(Clone, Debug)]
pub struct TrafficModel {
    /// Rate from outside, if there is any.
    pub rate: Option<RateProfile>,
    /// Random calm and busy times of it.
    pub markov: Option<Markov>,
    /// How often clients outside try again.
    pub retries: u32,
    /// CPU seconds of a request.
    pub cpu_seconds: f64,
    /// Standard deviation of the same over its mean.
    pub service_cv: f64,
    /// Seconds besides.
    pub latency_floor: f64,
    /// Memory of a request in flight.
    pub memory: Bytes,
    /// Longest wait.
    pub timeout: Span,
    /// Requests a pod works on at once.
    pub concurrency: Option<u32>,
    /// Requests that may wait for each pod.
    pub queue_bound: Option<u32>,
    /// Order of work.
    pub discipline: Discipline,
    /// Each pod has a queue of its own.
    pub own_queues: bool,
    /// Calls stay in the caller's zone where it has an endpoint.
    pub zone_aware: bool,
    /// Requests it sends on.
    pub calls: Vec<CallModel>,
}

/// Requests sent on to another Service.
#[derive(Clone, Copy, Debug)]
pub struct CallModel {
    /// Where to.
    pub to: Id<ServiceModel>,
    /// Calls per request.
    pub per_request: f64,
    /// How often a failed call is tried again.
    pub retries: u32,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug)]
pub struct HpaModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// The object.
    pub object: k8s::HorizontalPodAutoscaler,
    /// What it scales.
    pub target: Id<WorkloadModel>,
}

/// A custom or external metric.
#[derive(Clone, Debug)]
pub struct MetricModel {
    /// Name.
    pub name: String,
    /// Where its values come from.
    pub source: MetricSource,
}

/// Where the values of a metric come from.
#[derive(Clone, Debug)]
pub enum MetricSource {
    /// Thousandths from each time on, and their age when they are read.
    Values(Vec<(SimTime, i64)>, Span),
    /// A Service.
    Service(Id<ServiceModel>, Measure),
}

/// What a metric tells of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests that reach it, per second.
    RequestsPerSecond,
    /// Requests that wait.
    Waiting,
    /// Mean time in the system.
    LatencySeconds,
}

/// A VerticalPodAutoscaler.
#[derive(Clone, Debug)]
pub struct VpaModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The object.
    pub object: k8s::VerticalPodAutoscaler,
    /// What it sizes.
    pub target: Id<WorkloadModel>,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug)]
pub struct BudgetModel {
    /// The object.
    pub object: k8s::PodDisruptionBudget,
    /// Templates whose pods it protects.
    pub templates: Vec<Id<Template>>,
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
