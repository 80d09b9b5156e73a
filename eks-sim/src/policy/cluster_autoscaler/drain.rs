//! Whether a pod lets its node be drained.
//!
//! Upstream: simulator/drainability/rules and utils/drain of release 1.37. The first rule that
//! has an opinion decides.

use crate::k8s::{StringMap, Volume};
use crate::units::{SimTime, Span};

/// Annotation by which a pod allows or forbids its eviction.
pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// Annotation that lists local volumes which do not matter.
pub const SAFE_LOCAL_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// Annotation that makes a pod count as a DaemonSet pod.
pub const DAEMON_SET_POD: &str = "cluster-autoscaler.kubernetes.io/daemonset-pod";
/// Annotation of static pods.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Time beyond its grace after which a terminating pod is taken for gone.
pub const LONG_TERMINATING_EXTRA: Span = Span::from_secs(30);
const DEFAULT_GRACE_SECS: i64 = 30;

/// The controller of a pod as the API server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller<'a> {
    /// The pod has no controller.
    None,
    /// Named by the pod but gone.
    Missing {
        /// Kind.
        kind: &'a str,
    },
    /// Exists.
    Found {
        /// Kind.
        kind: &'a str,
        /// Replicas, where the kind has them.
        replicas: Option<i64>,
    },
}

impl<'a> Controller<'a> {
    /// Kind of the controller.
    #[must_use]
    pub const fn kind(&self) -> Option<&'a str> {
        match self {
            Self::None => None,
            Self::Missing { kind } | Self::Found { kind, .. } => Some(kind),
        }
    }
}

/// What the rules read of a pod.
#[derive(Clone, Copy, Debug)]
pub struct PodFacts<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Annotations.
    pub annotations: &'a StringMap,
    /// Controller.
    pub controller: Controller<'a>,
    /// Volumes.
    pub volumes: &'a [Volume],
    /// `status.phase`.
    pub phase: &'a str,
    /// `Always` if absent.
    pub restart_policy: Option<&'a str>,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace_seconds: Option<i64>,
    /// Creation.
    pub created: SimTime,
    /// Deletion timestamp.
    pub deleted: Option<SimTime>,
}

impl<'a> PodFacts<'a> {
    fn annotation(&self, key: &str) -> Option<&'a str> {
        self.annotations.get(key).map(String::as_str)
    }
}

/// Flags of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOptions {
    /// `--skip-nodes-with-system-pods`.
    pub skip_system_pods: bool,
    /// `--skip-nodes-with-local-storage`.
    pub skip_local_storage: bool,
    /// `--skip-nodes-with-custom-controller-pods`.
    pub skip_custom_controller_pods: bool,
    /// `--min-replica-count`.
    pub min_replica_count: i64,
    /// `--blocking-system-pod-distruption-timeout`.
    pub system_pod_timeout: Span,
}

impl DrainOptions {
    /// The rules' part of the flags.
    #[must_use]
    pub const fn from_flags(flags: &super::Flags) -> Self {
        Self {
            skip_system_pods: flags.skip_nodes_with_system_pods,
            skip_local_storage: flags.skip_nodes_with_local_storage,
            skip_custom_controller_pods: flags.skip_nodes_with_custom_controller_pods,
            min_replica_count: flags.min_replica_count,
            system_pod_timeout: flags.blocking_system_pod_disruption_timeout,
        }
    }
}

/// Why a pod blocks the drain of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BlockingReason {
    /// The owner is gone.
    ControllerNotFound,
    /// The owner has fewer replicas than `--min-replica-count`.
    MinReplicasReached,
    /// Nothing would recreate the pod.
    NotReplicated,
    /// A kube-system pod without a budget.
    UnmovableKubeSystemPod,
    /// `safe-to-evict: "false"`.
    NotSafeToEvictAnnotation,
    /// Local storage would be lost.
    LocalStorageRequested,
    /// A budget allows no disruption.
    NotEnoughPdb,
}

impl BlockingReason {
    /// Upstream's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ControllerNotFound => "ControllerNotFound",
            Self::MinReplicasReached => "MinReplicasReached",
            Self::NotReplicated => "NotReplicated",
            Self::UnmovableKubeSystemPod => "UnmovableKubeSystemPod",
            Self::NotSafeToEvictAnnotation => "NotSafeToEvictAnnotation",
            Self::LocalStorageRequested => "LocalStorageRequested",
            Self::NotEnoughPdb => "NotEnoughPdb",
        }
    }
}

/// What becomes of a pod when its node is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Evicted.
    Drain,
    /// The node waits for it to finish.
    Wait,
    /// It forbids the drain.
    Blocked(BlockingReason),
    /// Ignored.
    Skip,
}

/// Whether the pod is a static pod.
#[must_use]
pub fn is_mirror_pod(pod: &PodFacts<'_>) -> bool {
    pod.annotations.contains_key(MIRROR)
}

/// Whether the pod is one of a DaemonSet.
#[must_use]
pub fn is_daemon_set_pod(pod: &PodFacts<'_>) -> bool {
    pod.controller.kind() == Some("DaemonSet") || pod.annotation(DAEMON_SET_POD) == Some("true")
}

/// Whether the pod should have been gone for 30 s.
#[must_use]
pub fn is_long_terminating(pod: &PodFacts<'_>, now: SimTime) -> bool {
    let grace = pod.grace_seconds.unwrap_or(DEFAULT_GRACE_SECS).max(0).unsigned_abs();
    pod.deleted.is_some_and(|at| at + Span::from_secs(grace) + LONG_TERMINATING_EXTRA < now)
}

/// What the drain of its node means for `pod`; `pdbs` are the disruptions that the budgets
/// selecting it still allow.
#[must_use]
pub fn drain_outcome(
    pod: &PodFacts<'_>,
    pdbs: &[i32],
    options: &DrainOptions,
    now: SimTime,
) -> DrainOutcome {
    use DrainOutcome::{Blocked, Drain, Skip, Wait};
    if is_mirror_pod(pod) || is_long_terminating(pod, now) {
        return Skip;
    }
    if let Some(reason) = controller_blocks(pod, options) {
        return Blocked(reason);
    }
    let safe = pod.annotation(SAFE_TO_EVICT);
    if is_daemon_set_pod(pod) || safe == Some("true") || is_terminal(pod) {
        return Drain;
    }
    if safe == Some("on-completion") {
        return Wait;
    }
    if !is_replicated(pod, options) {
        return Blocked(BlockingReason::NotReplicated);
    }
    if options.skip_system_pods && pod.namespace == "kube-system" && pdbs.is_empty() {
        return if now < pod.created + options.system_pod_timeout {
            Blocked(BlockingReason::UnmovableKubeSystemPod)
        } else {
            Drain
        };
    }
    if safe == Some("false") {
        return Blocked(BlockingReason::NotSafeToEvictAnnotation);
    }
    if options.skip_local_storage && has_blocking_local_storage(pod) {
        return Blocked(BlockingReason::LocalStorageRequested);
    }
    if pdbs.iter().any(|&allowed| allowed < 1) {
        return Blocked(BlockingReason::NotEnoughPdb);
    }
    Drain
}

fn controller_blocks(pod: &PodFacts<'_>, options: &DrainOptions) -> Option<BlockingReason> {
    const WATCHED: [&str; 5] =
        ["ReplicationController", "DaemonSet", "Job", "ReplicaSet", "StatefulSet"];
    if !options.skip_custom_controller_pods {
        return None;
    }
    match pod.controller {
        Controller::Missing { kind } if WATCHED.contains(&kind) => {
            Some(BlockingReason::ControllerNotFound)
        }
        Controller::Found { kind: "ReplicationController" | "ReplicaSet", replicas } => replicas
            .filter(|&n| n < options.min_replica_count)
            .map(|_| BlockingReason::MinReplicasReached),
        _ => None,
    }
}

fn is_terminal(pod: &PodFacts<'_>) -> bool {
    let restarts = pod.restart_policy.unwrap_or("Always");
    pod.phase == "Failed" || (pod.phase == "Succeeded" && restarts != "Always")
}

fn is_replicated(pod: &PodFacts<'_>, options: &DrainOptions) -> bool {
    match pod.controller.kind() {
        None => false,
        Some("ReplicationController" | "Job" | "ReplicaSet" | "StatefulSet") => true,
        Some(_) => !options.skip_custom_controller_pods,
    }
}

fn has_blocking_local_storage(pod: &PodFacts<'_>) -> bool {
    let listed = pod.annotation(SAFE_LOCAL_VOLUMES).unwrap_or_default();
    pod.volumes.iter().any(|volume| {
        let on_disk = volume.empty_dir.as_ref().is_some_and(|e| e.medium != "Memory");
        let local = volume.host_path.is_some() || on_disk;
        local && !listed.split(',').any(|name| name == volume.name)
    })
}
