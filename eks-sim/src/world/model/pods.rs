//! Pod templates and what admission, scheduling and the kubelet need to know of them, lowered.

use super::{GroupModel, ServiceModel};
use crate::k8s;
use crate::policy::vpa::Amounts;
use crate::units::{Bytes, Dist, Id, MilliCpu, MoneyRate, Span};
use std::sync::Arc;

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
    /// Gets a branch interface with security groups of its own.
    pub branch: bool,
    /// Belongs to a DaemonSet.
    pub daemon: bool,
    /// Belongs to a trace: nothing but its running time is simulated.
    pub trace: bool,
    /// Images in the order they are pulled, with whether the registry is asked each time.
    pub images: Vec<(Id<ImageModel>, bool)>,
    /// Init containers that run to their end.
    pub init_containers: u32,
    /// Init containers that go on running: the containers start after them.
    pub sidecars: u32,
    /// Containers that go on running.
    pub containers: u32,
    /// Readiness: initial delay, period, successes; `None` without a probe.
    pub readiness: Option<ProbeModel>,
    /// Grace period.
    pub grace: Span,
    /// Time of preStop hooks.
    pub pre_stop: Span,
    /// Share of the requests that its pods answer with an error.
    pub errors: f64,
    /// Services that select the pods.
    pub services: Vec<Id<ServiceModel>>,
    /// Containers that go on running, then sidecars: what each uses.
    pub uses: Vec<ContainerUse>,
    /// The container that serves requests and whose memory grows, by position in `uses`.
    pub main: usize,
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
    /// What Fargate makes of the pods, if a profile takes them.
    pub fargate: Option<FargateModel>,
}

/// Pods on Fargate.
#[derive(Clone, Debug)]
pub struct FargateModel {
    /// The profile's micro-VMs.
    pub group: Id<GroupModel>,
    /// Size of theirs.
    pub type_index: u32,
    /// Why Fargate does not run them.
    pub refusal: Option<String>,
}

/// What one container of an idle pod uses.
#[derive(Clone, Debug)]
pub struct ContainerUse {
    /// Name.
    pub name: String,
    /// Millicores.
    pub idle_cpu: f64,
    /// Bytes.
    pub idle_memory: f64,
    /// Memory limit; none if it is 0 or absent.
    pub memory_limit: Option<i64>,
    /// Requests.
    pub requests: Amounts,
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
