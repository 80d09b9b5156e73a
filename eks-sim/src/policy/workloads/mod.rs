//! Decisions of the workload controllers and of the admission plug-ins that bear on pods.
//!
//! Upstream: kubernetes/kubernetes `pkg/controller/{deployment,replicaset,statefulset,daemon,job,
//! cronjob,disruption}`, `pkg/registry/core/pod/storage/eviction.go`, `plugin/pkg/admission/
//! {limitranger,resourcequota}`, `staging/src/k8s.io/pod-security-admission` (v1.28 to v1.34; each
//! file says what it differs in). Everything is a function of small plain views.

mod cron_job;
mod daemon;
mod job;
mod limits;
mod pdb;
mod pod_security;
mod pod_security_text;
mod quota;
mod replica_set;
mod rollout;
mod stateful;

pub use super::hpa::PodPhase;
pub use cron_job::{ConcurrencyPolicy, CronDecision, CronRules, CronView, cron_sync};
pub use daemon::{DaemonNode, DaemonStep, DaemonUpdate, daemon_update};
pub use job::{
    ContainerExit, FailureAction, JobDecision, JobOutcome, JobRules, JobView, PodFailure,
    backoff_delay, failure_action, job_sync, pending_indexes,
};
pub use limits::{
    Found, LimitViolation, apply_limit_range, pod_limits, pod_requests, validate_limit_range,
};
pub use pdb::{Budget, BudgetStatus, Eviction, EvictionPod, evict};
pub use pod_security::{PodSecurityLevel, pod_security_violations};
pub use pod_security_text::pod_security_refusal;
pub use quota::{QuotaError, QuotaPod, quota_admits, quota_charge, quota_release, quota_usage};
pub use replica_set::{
    BURST_REPLICAS, ScaleDownPod, scale_down_order, slow_start_batches, sync_diff,
};
pub use rollout::{
    ReplicaSetView, RolloutRules, RolloutStep, RolloutStrategy, ScaledSet, proportional_scale,
    rollout_sync,
};
pub use stateful::{StatefulAction, StatefulPod, StatefulRules, stateful_sync};
