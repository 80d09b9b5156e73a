//! Pods and their templates (core/v1).

use super::{Condition, IntOrPercent, LabelSelector, ObjectMeta};
use crate::units::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resource name → amount.
pub type ResourceList = BTreeMap<String, Quantity>;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: PodSpec,
    /// Observed state, where a dump has one.
    pub status: PodStatus,
}

/// The template of a workload's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplateSpec {
    /// Metadata of the pods.
    pub metadata: ObjectMeta,
    /// Specification of the pods.
    pub spec: PodSpec,
}

/// `spec` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Containers.
    pub containers: Vec<Container>,
    /// Init containers, in order; `restartPolicy: Always` makes one a sidecar.
    pub init_containers: Vec<Container>,
    /// Node the pod is bound to (bypasses the scheduler when set at creation).
    pub node_name: Option<String>,
    /// Labels the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Affinity rules.
    pub affinity: Option<Affinity>,
    /// Tolerations of node taints.
    pub tolerations: Vec<Toleration>,
    /// Spreading over topology domains.
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Name of the scheduler profile.
    pub scheduler_name: Option<String>,
    /// Name of the priority class.
    pub priority_class_name: Option<String>,
    /// Resolved priority.
    pub priority: Option<i32>,
    /// `PreemptLowerPriority` (default) or `Never`.
    pub preemption_policy: Option<String>,
    /// `Always` (default), `OnFailure` or `Never`.
    pub restart_policy: Option<String>,
    /// Seconds between SIGTERM and SIGKILL (30 by default).
    pub termination_grace_period_seconds: Option<i64>,
    /// Limit of a pod's life.
    pub active_deadline_seconds: Option<i64>,
    /// Whether the pod uses the node's network (and no address of its own).
    pub host_network: bool,
    /// Whether the pod shares the node's process namespace.
    #[serde(rename = "hostPID")]
    pub host_pid: bool,
    /// Whether the pod shares the node's IPC namespace.
    #[serde(rename = "hostIPC")]
    pub host_ipc: bool,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Resources a runtime class adds.
    pub overhead: ResourceList,
    /// Pod-level resources.
    pub resources: Option<ResourceRequirements>,
    /// Gates that hold the pod back from the scheduler.
    pub scheduling_gates: Vec<SchedulingGate>,
    /// Extra conditions for readiness.
    pub readiness_gates: Vec<ReadinessGate>,
    /// Service account.
    pub service_account_name: Option<String>,
    /// Runtime class.
    pub runtime_class_name: Option<String>,
    /// Security settings.
    pub security_context: Option<SecurityContext>,
}

/// What a resize in place does to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerResizePolicy {
    /// `cpu` or `memory`.
    pub resource_name: String,
    /// `NotRequired` or `RestartContainer`.
    pub restart_policy: String,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Name, unique in the pod.
    pub name: String,
    /// Image reference.
    pub image: Option<String>,
    /// `Always`, `IfNotPresent` or `Never`; default by tag.
    pub image_pull_policy: Option<String>,
    /// Requests and limits.
    pub resources: ResourceRequirements,
    /// Ports.
    pub ports: Vec<ContainerPort>,
    /// Whether the pod is ready for traffic.
    pub readiness_probe: Option<Probe>,
    /// Whether the container must be restarted.
    pub liveness_probe: Option<Probe>,
    /// Holds the other probes back until it succeeds.
    pub startup_probe: Option<Probe>,
    /// `Always` on an init container makes it a sidecar.
    pub restart_policy: Option<String>,
    /// What a resize in place does to the container.
    pub resize_policy: Vec<ContainerResizePolicy>,
    /// Mounted volumes.
    pub volume_mounts: Vec<VolumeMount>,
    /// Life-cycle hooks.
    pub lifecycle: Option<Lifecycle>,
    /// Security settings.
    pub security_context: Option<SecurityContext>,
}

/// Life-cycle hooks of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// Runs before SIGTERM.
    pub pre_stop: Option<LifecycleHandler>,
}

/// A hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LifecycleHandler {
    /// Sleeps.
    pub sleep: Option<SleepAction>,
}

/// A sleep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SleepAction {
    /// Seconds.
    pub seconds: i64,
}

/// Security settings of a pod or container that Pod Security Admission looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityContext {
    /// Full access to the host.
    pub privileged: Option<bool>,
    /// Must not run as root.
    pub run_as_non_root: Option<bool>,
    /// User id.
    pub run_as_user: Option<i64>,
    /// Whether a process may gain privileges.
    pub allow_privilege_escalation: Option<bool>,
    /// Capabilities.
    pub capabilities: Option<Capabilities>,
    /// Seccomp profile.
    pub seccomp_profile: Option<SeccompProfile>,
    /// `/proc` masking.
    pub proc_mount: Option<String>,
}

/// Linux capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Added.
    pub add: Vec<String>,
    /// Dropped.
    pub drop: Vec<String>,
}

/// Seccomp profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompProfile {
    /// `RuntimeDefault`, `Localhost` or `Unconfined`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Requests and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRequirements {
    /// Requests.
    pub requests: ResourceList,
    /// Limits.
    pub limits: ResourceList,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Name.
    pub name: Option<String>,
    /// Port in the container.
    pub container_port: i32,
    /// Port on the node; 0 is none.
    pub host_port: i32,
    /// Address on the node; empty is all.
    #[serde(rename = "hostIP")]
    pub host_ip: Option<String>,
    /// `TCP` (default), `UDP` or `SCTP`.
    pub protocol: Option<String>,
}

/// A probe; what it calls is not simulated, its timing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// Seconds before the first call.
    pub initial_delay_seconds: i32,
    /// Seconds between calls.
    pub period_seconds: i32,
    /// Seconds a call may take.
    pub timeout_seconds: i32,
    /// Successes needed.
    pub success_threshold: i32,
    /// Failures tolerated.
    pub failure_threshold: i32,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            initial_delay_seconds: 0,
            period_seconds: 10,
            timeout_seconds: 1,
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

/// A mounted volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// Name of the volume.
    pub name: String,
    /// Path.
    pub mount_path: String,
}

/// A volume of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// A claim.
    pub persistent_volume_claim: Option<PersistentVolumeClaimSource>,
    /// A claim that lives with the pod.
    pub ephemeral: Option<EphemeralVolumeSource>,
    /// Scratch space.
    pub empty_dir: Option<EmptyDirSource>,
    /// A path of the node.
    pub host_path: Option<HostPathSource>,
    /// In-tree EBS volume.
    pub aws_elastic_block_store: Option<AwsElasticBlockStoreSource>,
    /// In-tree GCE disk.
    pub gce_persistent_disk: Option<GcePersistentDiskSource>,
    /// In-tree iSCSI disk.
    pub iscsi: Option<IscsiSource>,
    /// In-tree Ceph block device.
    pub rbd: Option<RbdSource>,
    /// In-line CSI volume.
    pub csi: Option<CsiVolumeSource>,
}

/// A claim used as a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimSource {
    /// Name of the claim.
    pub claim_name: String,
    /// Mount read-only.
    pub read_only: bool,
}

/// A claim created with the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EphemeralVolumeSource {
    /// Template of the claim.
    pub volume_claim_template: Option<super::PersistentVolumeClaim>,
}

/// Scratch space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDirSource {
    /// Empty (disk) or `Memory`.
    pub medium: String,
}

/// A path of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostPathSource {
    /// Path.
    pub path: String,
}

/// In-tree EBS volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsElasticBlockStoreSource {
    /// Volume id.
    #[serde(rename = "volumeID")]
    pub volume_id: String,
    /// Mount read-only.
    pub read_only: bool,
}

/// In-tree GCE disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GcePersistentDiskSource {
    /// Disk name.
    pub pd_name: String,
    /// Mount read-only.
    pub read_only: bool,
}

/// In-tree iSCSI disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IscsiSource {
    /// Target portal.
    pub target_portal: String,
    /// Qualified name.
    pub iqn: String,
    /// Logical unit.
    pub lun: i32,
    /// Mount read-only.
    pub read_only: bool,
}

/// In-tree Ceph block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RbdSource {
    /// Monitors (`monitors` in YAML).
    pub monitors: Vec<String>,
    /// Image.
    pub image: String,
    /// Pool.
    pub pool: String,
    /// Mount read-only.
    pub read_only: bool,
}

/// In-line CSI volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiVolumeSource {
    /// Driver name.
    pub driver: String,
}

/// A scheduling gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulingGate {
    /// Name.
    pub name: String,
}

/// A readiness gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessGate {
    /// Condition that must be True.
    pub condition_type: String,
}

/// Affinity rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// Towards nodes.
    pub node_affinity: Option<NodeAffinity>,
    /// Towards pods.
    pub pod_affinity: Option<PodAffinity>,
    /// Away from pods.
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// Affinity towards nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAffinity {
    /// One of the terms must match.
    pub required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
    /// Weighted wishes.
    pub preferred_during_scheduling_ignored_during_execution: Vec<PreferredSchedulingTerm>,
}

/// Node selector: one of the terms must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// Terms.
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// A term: all expressions and fields must match; an empty one matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// On labels.
    pub match_expressions: Vec<NodeSelectorRequirement>,
    /// On fields (`metadata.name`).
    pub match_fields: Vec<NodeSelectorRequirement>,
}

/// An expression of a node selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorRequirement {
    /// Label key.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
    pub operator: String,
    /// Values.
    pub values: Vec<String>,
}

/// A weighted wish for nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreferredSchedulingTerm {
    /// 1 to 100.
    pub weight: i32,
    /// The term.
    pub preference: NodeSelectorTerm,
}

/// Affinity to or from pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinity {
    /// All must hold.
    pub required_during_scheduling_ignored_during_execution: Vec<PodAffinityTerm>,
    /// Weighted wishes.
    pub preferred_during_scheduling_ignored_during_execution: Vec<WeightedPodAffinityTerm>,
}

/// A term of pod (anti-)affinity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    /// Pods it speaks of; absent selects none.
    pub label_selector: Option<LabelSelector>,
    /// Namespaces by name.
    pub namespaces: Vec<String>,
    /// Namespaces by label.
    pub namespace_selector: Option<LabelSelector>,
    /// Node label that makes a domain.
    pub topology_key: String,
    /// Keys of the pod merged into the selector as equal.
    pub match_label_keys: Vec<String>,
    /// Keys of the pod merged into the selector as different.
    pub mismatch_label_keys: Vec<String>,
}

/// A weighted wish for pod (anti-)affinity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedPodAffinityTerm {
    /// 1 to 100.
    pub weight: i32,
    /// The term.
    pub pod_affinity_term: PodAffinityTerm,
}

/// A toleration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Taint key; empty with `Exists` tolerates all.
    pub key: String,
    /// `Equal` (default) or `Exists`.
    pub operator: String,
    /// Taint value for `Equal`.
    pub value: String,
    /// Effect; empty is all.
    pub effect: String,
    /// How long a NoExecute taint is tolerated.
    pub toleration_seconds: Option<i64>,
}

/// A topology spread constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySpreadConstraint {
    /// Allowed difference.
    pub max_skew: i32,
    /// Node label that makes a domain.
    pub topology_key: String,
    /// `DoNotSchedule` or `ScheduleAnyway`.
    pub when_unsatisfiable: String,
    /// Pods that count.
    pub label_selector: Option<LabelSelector>,
    /// Domains wanted.
    pub min_domains: Option<i32>,
    /// `Honor` (default) or `Ignore`.
    pub node_affinity_policy: Option<String>,
    /// `Honor` or `Ignore` (default).
    pub node_taints_policy: Option<String>,
    /// Keys of the pod merged into the selector.
    pub match_label_keys: Vec<String>,
}

/// Status of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Node reserved by preemption.
    pub nominated_node_name: Option<String>,
    /// RFC 3339 start time.
    pub start_time: Option<String>,
    /// Containers' status.
    pub container_statuses: Vec<ContainerStatus>,
    /// Init containers' status.
    pub init_container_statuses: Vec<ContainerStatus>,
    /// State of an in-place resize.
    pub resize: Option<String>,
}

/// Status of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Name.
    pub name: String,
    /// Ready.
    pub ready: bool,
    /// Restarts.
    pub restart_count: i32,
    /// Resources in force.
    pub resources: Option<ResourceRequirements>,
    /// Resources the node has set aside.
    pub allocated_resources: Option<ResourceList>,
}

/// A pod disruption budget's or rollout's number.
pub type MaxUnavailable = IntOrPercent;
