//! Jobs and CronJobs (batch/v1).

use super::{LabelSelector, ObjectMeta, PodTemplateSpec};
use serde::{Deserialize, Serialize};

/// A Job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Job {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: JobSpec,
}

/// `spec` of a Job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// Pods at a time (1).
    pub parallelism: Option<i32>,
    /// Successes wanted (1 if parallelism is absent too).
    pub completions: Option<i32>,
    /// `NonIndexed` (default) or `Indexed`.
    pub completion_mode: Option<String>,
    /// Failures tolerated (6).
    pub backoff_limit: Option<i32>,
    /// Failures tolerated per index.
    pub backoff_limit_per_index: Option<i32>,
    /// Indexes that may fail before the Job does.
    pub max_failed_indexes: Option<i32>,
    /// When enough of an indexed Job has succeeded.
    pub success_policy: Option<SuccessPolicy>,
    /// Seconds the Job may run.
    pub active_deadline_seconds: Option<i64>,
    /// Seconds after which a finished Job is removed.
    pub ttl_seconds_after_finished: Option<i32>,
    /// No pods while set.
    pub suspend: Option<bool>,
    /// Controller that looks after the Job: absent or `kubernetes.io/job-controller` is the
    /// built-in one.
    pub managed_by: Option<String>,
    /// Pods it owns.
    pub selector: Option<LabelSelector>,
    /// What a pod failure means.
    pub pod_failure_policy: Option<PodFailurePolicy>,
    /// `TerminatingOrFailed` (default) or `Failed`: when a pod is replaced.
    pub pod_replacement_policy: Option<String>,
    /// Template.
    pub template: PodTemplateSpec,
}

impl JobSpec {
    /// Whether another controller than the built-in one looks after the Job.
    #[must_use]
    pub fn has_other_manager(&self) -> bool {
        self.managed_by.as_deref().is_some_and(|m| m != "kubernetes.io/job-controller")
    }
}

/// When enough of an indexed Job has succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessPolicy {
    /// One that holds is enough.
    pub rules: Vec<SuccessPolicyRule>,
}

/// A rule of a success policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessPolicyRule {
    /// Indexes that count: `0,2-4`; absent are all.
    pub succeeded_indexes: Option<String>,
    /// How many of them must succeed; absent are all of them.
    pub succeeded_count: Option<i32>,
}

/// What a pod failure means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodFailurePolicy {
    /// First match decides.
    pub rules: Vec<PodFailurePolicyRule>,
}

/// A rule of a pod failure policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodFailurePolicyRule {
    /// `FailJob`, `FailIndex`, `Ignore` or `Count`.
    pub action: String,
    /// By exit code.
    pub on_exit_codes: Option<OnExitCodes>,
    /// By pod condition.
    pub on_pod_conditions: Vec<OnPodCondition>,
}

/// Exit codes of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OnExitCodes {
    /// Container, absent for all.
    pub container_name: Option<String>,
    /// `In` or `NotIn`.
    pub operator: String,
    /// Codes.
    pub values: Vec<i32>,
}

/// Condition of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OnPodCondition {
    /// Type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Status (`True`).
    pub status: Option<String>,
}

/// A CronJob.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJob {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: CronJobSpec,
}

/// `spec` of a CronJob.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobSpec {
    /// Cron expression.
    pub schedule: String,
    /// Zone of the expression (UTC).
    pub time_zone: Option<String>,
    /// `Allow` (default), `Forbid` or `Replace`.
    pub concurrency_policy: Option<String>,
    /// Lateness tolerated.
    pub starting_deadline_seconds: Option<i64>,
    /// No new Jobs while set.
    pub suspend: Option<bool>,
    /// Successful Jobs kept (3).
    pub successful_jobs_history_limit: Option<i32>,
    /// Failed Jobs kept (1).
    pub failed_jobs_history_limit: Option<i32>,
    /// Template of the Jobs.
    pub job_template: JobTemplateSpec,
}

/// Template of a CronJob's Jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobTemplateSpec {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Specification.
    pub spec: JobSpec,
}
