//! Job: pods to create and delete, completion, failure and back-off.
//!
//! Upstream: kubernetes/kubernetes v1.34 `pkg/controller/job/{job_controller,backoff_utils,
//! indexed_job_utils,pod_failure_policy,success_policy}.go`. Differences: finalizer bookkeeping takes no sync.

use crate::k8s::{JobSpec, PodFailurePolicy, SuccessPolicy};
use crate::units::{SimTime, Span};

/// Most pods created or deleted in one sync (`MaxPodCreateDeletePerSync`).
const MAX_PODS_PER_SYNC: i32 = 500;
/// First wait after a failed pod (`DefaultJobPodFailureBackOff`).
const POD_FAILURE_BACKOFF: Span = Span::from_secs(10);
/// Longest wait after failed pods (`MaxJobPodFailureBackOff`).
const MAX_POD_FAILURE_BACKOFF: Span = Span::from_secs(600);

/// What a Job asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRules {
    /// Pods at a time.
    pub parallelism: i32,
    /// Successes wanted; absent = work queue.
    pub completions: Option<i32>,
    /// One pod per index.
    pub indexed: bool,
    /// Failures tolerated.
    pub backoff_limit: i32,
    /// Failures tolerated per index.
    pub backoff_limit_per_index: Option<i32>,
    /// Indexes that may fail for good.
    pub max_failed_indexes: Option<i32>,
    /// Time the Job may run.
    pub active_deadline: Option<Span>,
    /// Time after which a finished Job is removed.
    pub ttl_after_finished: Option<Span>,
    /// No pods may run.
    pub suspend: bool,
    /// `restartPolicy: OnFailure` of the pods.
    pub restart_on_failure: bool,
}

impl JobRules {
    /// From a Job, with the API's defaults.
    #[must_use]
    pub fn lower(spec: &JobSpec) -> Self {
        let seconds = |s: i64| Span::from_secs(u64::try_from(s).unwrap_or(0));
        let neither = spec.completions.is_none() && spec.parallelism.is_none();
        let per_index = spec.backoff_limit_per_index.is_some();
        Self {
            parallelism: spec.parallelism.unwrap_or(1),
            completions: if neither { Some(1) } else { spec.completions },
            indexed: spec.completion_mode.as_deref() == Some("Indexed"),
            backoff_limit: spec.backoff_limit.unwrap_or(if per_index { i32::MAX } else { 6 }),
            backoff_limit_per_index: spec.backoff_limit_per_index,
            max_failed_indexes: spec.max_failed_indexes,
            active_deadline: spec.active_deadline_seconds.map(seconds),
            ttl_after_finished: spec.ttl_seconds_after_finished.map(|s| seconds(s.into())),
            suspend: spec.suspend.unwrap_or(false),
            restart_on_failure: spec.template.spec.restart_policy.as_deref() == Some("OnFailure"),
        }
    }
}

/// The state of a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct JobView {
    /// Pods that are neither finished nor being deleted.
    pub active: i32,
    /// Pods being deleted that have not finished; they hold places when only failed pods are
    /// replaced (a podFailurePolicy is set).
    pub terminating: i32,
    /// Successes (distinct indexes in indexed mode).
    pub succeeded: i32,
    /// Failures that count.
    pub failed: i32,
    /// Container restarts of active pods.
    pub restarts: i32,
    /// Indexes that failed for good.
    pub failed_indexes: i32,
    /// A failure matched a FailJob rule.
    pub fail_job: bool,
    /// A rule of the successPolicy holds ([`success_policy_met`]).
    pub success_met: bool,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// When the last of these finished.
    pub last_failure: Option<SimTime>,
    /// `status.startTime`.
    pub started: Option<SimTime>,
}

/// How a Job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// Complete.
    Complete,
    /// Failed: too many failures.
    BackoffLimitExceeded,
    /// Failed: ran too long.
    DeadlineExceeded,
    /// Failed: a rule of the podFailurePolicy.
    PodFailurePolicy,
    /// Failed: some indexes failed, the others are done.
    FailedIndexes,
    /// Failed: too many indexes failed.
    MaxFailedIndexesExceeded,
}

/// What one sync does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct JobDecision {
    /// Pods to create, in slow-start batches.
    pub create: i32,
    /// Active pods to delete.
    pub delete: i32,
    /// Time to wait before pods may be created.
    pub wait: Option<Span>,
    /// Whether it ended; all active pods are then deleted.
    pub outcome: Option<JobOutcome>,
}

/// Wait before the pod after the `failures`-th failure in a row.
#[must_use]
pub fn backoff_delay(failures: u32) -> Span {
    match failures {
        0 => Span::ZERO,
        n => {
            let factor = 1_u64.checked_shl(n - 1).unwrap_or(u64::MAX);
            (POD_FAILURE_BACKOFF * factor).min(MAX_POD_FAILURE_BACKOFF)
        }
    }
}

/// One sync of a Job that has not ended yet.
#[must_use]
pub fn job_sync(rules: &JobRules, view: &JobView, now: SimTime) -> JobDecision {
    if let Some(outcome) = failure(rules, view, now) {
        return JobDecision {
            delete: view.active,
            outcome: Some(outcome),
            ..JobDecision::default()
        };
    }
    if view.success_met {
        return JobDecision {
            delete: view.active,
            outcome: Some(JobOutcome::Complete),
            ..JobDecision::default()
        };
    }
    let done = view.succeeded.saturating_add(view.failed_indexes);
    let finished = match rules.completions {
        None => view.succeeded > 0 && view.active == 0,
        Some(completions) => done >= completions && view.active == 0,
    };
    if finished && !rules.suspend {
        let failed = view.failed_indexes > 0;
        let outcome = if failed { JobOutcome::FailedIndexes } else { JobOutcome::Complete };
        return JobDecision { outcome: Some(outcome), ..JobDecision::default() };
    }
    manage(rules, view, done, now)
}

fn failure(rules: &JobRules, view: &JobView, now: SimTime) -> Option<JobOutcome> {
    if view.fail_job {
        return Some(JobOutcome::PodFailurePolicy);
    }
    // Restarts reach the limit, failures must exceed it.
    let restarted = rules.restart_on_failure
        && if rules.backoff_limit == 0 {
            view.restarts > 0
        } else {
            view.restarts >= rules.backoff_limit
        };
    if view.failed > rules.backoff_limit || restarted {
        return Some(JobOutcome::BackoffLimitExceeded);
    }
    if rules.max_failed_indexes.is_some_and(|most| view.failed_indexes > most) {
        return Some(JobOutcome::MaxFailedIndexesExceeded);
    }
    let (deadline, started) = (rules.active_deadline?, view.started?);
    let late = !rules.suspend && now.since(started) >= deadline;
    late.then_some(JobOutcome::DeadlineExceeded)
}

fn manage(rules: &JobRules, view: &JobView, done: i32, now: SimTime) -> JobDecision {
    let wanted = match rules.completions {
        _ if rules.suspend => 0,
        // A work queue that has seen a success only runs out.
        None if view.succeeded > 0 => view.active,
        None => rules.parallelism,
        Some(completions) => completions.saturating_sub(done).clamp(0, rules.parallelism.max(0)),
    };
    let excess = view.active.saturating_sub(wanted);
    if excess > 0 {
        return JobDecision { delete: excess.min(MAX_PODS_PER_SYNC), ..JobDecision::default() };
    }
    let lack = wanted.saturating_sub(view.active).saturating_sub(view.terminating);
    if lack <= 0 {
        return JobDecision::default();
    }
    // Indexes back off one by one, so an indexed Job with its own limits does not wait as a whole.
    if rules.backoff_limit_per_index.is_none()
        && let Some(last) = view.last_failure
    {
        let wait = backoff_delay(view.failures_in_a_row).saturating_sub(now.since(last));
        if !wait.is_zero() {
            return JobDecision { wait: Some(wait), ..JobDecision::default() };
        }
    }
    JobDecision { create: lack.min(MAX_PODS_PER_SYNC), ..JobDecision::default() }
}

/// The lowest `count` indexes that are not in `taken` (sorted: active, succeeded or failed).
#[must_use]
pub fn pending_indexes(taken: &[i32], count: i32, completions: i32) -> Vec<i32> {
    let count = usize::try_from(count.max(0)).unwrap_or(0);
    (0..completions.max(0)).filter(|i| taken.binary_search(i).is_err()).take(count).collect()
}

/// Whether a rule of the policy holds; `succeeded` are the indexes that did, sorted.
#[must_use]
pub fn success_policy_met(policy: &SuccessPolicy, succeeded: &[u32]) -> bool {
    policy.rules.iter().any(|rule| {
        let listed = rule.succeeded_indexes.as_deref().map(ranges);
        let inside =
            |i: &u32| listed.as_ref().is_none_or(|l| l.iter().any(|r| (r.0..=r.1).contains(i)));
        let count = succeeded.iter().filter(|i| inside(i)).count() as u64;
        let wanted = match (rule.succeeded_count, &listed) {
            (Some(n), _) => u64::from(n.max(0).unsigned_abs()),
            (None, Some(l)) => l.iter().map(|r| u64::from(r.1 - r.0) + 1).sum(),
            (None, None) => return false,
        };
        count >= wanted
    })
}

/// `0,2-4` as ranges; what cannot be read is left out.
fn ranges(text: &str) -> Vec<(u32, u32)> {
    let one = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some((from.trim().parse().ok()?, to.trim().parse().ok()?)).filter(|(a, b)| a <= b)
    };
    text.split(',').filter_map(one).collect()
}

/// A terminated container of a failed pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerExit<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its exit code.
    pub code: i32,
}

/// A failed pod as a podFailurePolicy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodFailure<'a> {
    /// Terminated containers.
    pub exits: &'a [ContainerExit<'a>],
    /// Conditions as (type, status).
    pub conditions: &'a [(&'a str, &'a str)],
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureAction {
    /// The Job fails at once.
    FailJob,
    /// The index fails at once.
    FailIndex,
    /// It does not count.
    Ignore,
    /// It counts towards the limit.
    Count,
}

/// The action of the first rule that matches, else [`FailureAction::Count`].
#[must_use]
pub fn failure_action(policy: Option<&PodFailurePolicy>, pod: &PodFailure<'_>) -> FailureAction {
    let rules = policy.map_or(&[][..], |p| &p.rules);
    for rule in rules {
        let codes = rule.on_exit_codes.as_ref().is_some_and(|on| {
            pod.exits.iter().any(|exit| {
                let named = on.container_name.as_deref().is_none_or(|name| name == exit.name);
                let listed = on.values.contains(&exit.code);
                let holds = match on.operator.as_str() {
                    "In" => listed,
                    "NotIn" => !listed,
                    _ => false,
                };
                named && exit.code != 0 && holds
            })
        });
        let conditions = rule.on_pod_conditions.iter().any(|on| {
            let status = on.status.as_deref().unwrap_or("True");
            pod.conditions.iter().any(|(kind, value)| *kind == on.kind && *value == status)
        });
        if codes || conditions {
            return match rule.action.as_str() {
                "FailJob" => FailureAction::FailJob,
                "FailIndex" => FailureAction::FailIndex,
                "Ignore" => FailureAction::Ignore,
                _ => FailureAction::Count,
            };
        }
    }
    FailureAction::Count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rules(spec: serde_json::Value) -> JobRules {
        JobRules::lower(&serde_json::from_value(spec).unwrap())
    }

    const NOW: SimTime = SimTime::from_secs(10_000);

    #[test]
    fn defaults() {
        let plain = rules(json!({}));
        assert_eq!((plain.parallelism, plain.completions, plain.backoff_limit), (1, Some(1), 6));
        assert_eq!(rules(json!({"parallelism": 4})).completions, None);
        assert_eq!(rules(json!({"backoffLimitPerIndex": 1})).backoff_limit, i32::MAX);
    }

    #[test]
    fn wants_no_more_than_what_is_left() {
        let job = rules(json!({"parallelism": 5, "completions": 8}));
        let view = JobView { succeeded: 6, ..JobView::default() };
        assert_eq!(job_sync(&job, &view, NOW).create, 2);
        let view = JobView { succeeded: 6, active: 4, ..JobView::default() };
        assert_eq!(job_sync(&job, &view, NOW).delete, 2);
        let view = JobView { succeeded: 8, ..JobView::default() };
        assert_eq!(job_sync(&job, &view, NOW).outcome, Some(JobOutcome::Complete));
        let queue = rules(json!({"parallelism": 3}));
        let view = JobView { succeeded: 1, active: 2, ..JobView::default() };
        assert_eq!(job_sync(&queue, &view, NOW), JobDecision::default());
        let big = rules(json!({"parallelism": 2000, "completions": 2000}));
        assert_eq!(job_sync(&big, &JobView::default(), NOW).create, 500);
        let suspended = rules(json!({"parallelism": 3, "suspend": true}));
        let view = JobView { active: 3, ..JobView::default() };
        assert_eq!(job_sync(&suspended, &view, NOW).delete, 3);
    }

    #[test]
    fn failures_back_off_and_end() {
        let job = rules(json!({"backoffLimit": 2}));
        let failed = |n: u32, ago| JobView {
            failed: i32::try_from(n).unwrap(),
            failures_in_a_row: n,
            last_failure: Some(NOW - Span::from_secs(ago)),
            ..JobView::default()
        };
        assert_eq!(job_sync(&job, &failed(2, 5), NOW).wait, Some(Span::from_secs(15)));
        assert_eq!(job_sync(&job, &failed(2, 20), NOW).create, 1);
        let over = job_sync(&job, &failed(3, 5), NOW).outcome;
        assert_eq!(over, Some(JobOutcome::BackoffLimitExceeded));
        let delays: Vec<u64> = (0..9).map(|n| backoff_delay(n).whole_secs()).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(backoff_delay(u32::MAX), MAX_POD_FAILURE_BACKOFF);
        let deadline = rules(json!({"activeDeadlineSeconds": 60}));
        let view = JobView { started: Some(NOW - Span::from_secs(60)), ..JobView::default() };
        let late = job_sync(&deadline, &view, NOW).outcome;
        assert_eq!(late, Some(JobOutcome::DeadlineExceeded));
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let policy: PodFailurePolicy = serde_json::from_value(json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1]}}]}))
        .unwrap();
        let act = |code, conditions| {
            let exits = [ContainerExit { name: "main", code }];
            failure_action(Some(&policy), &PodFailure { exits: &exits, conditions })
        };
        assert_eq!(act(42, &[("DisruptionTarget", "True")]), FailureAction::Ignore);
        assert_eq!(act(42, &[]), FailureAction::FailJob);
        assert_eq!(act(7, &[]), FailureAction::FailIndex);
        assert_eq!(act(1, &[]), FailureAction::Count);
        assert_eq!(act(0, &[("DisruptionTarget", "False")]), FailureAction::Count);
        assert_eq!(pending_indexes(&[0, 2, 3], 2, 6), [1, 4]);
    }

    proptest! {
        #[test]
        fn never_more_pods_than_wanted(
            parallelism in 0..=i32::MAX, completions in prop::option::of(0..=i32::MAX),
            active in 0..=i32::MAX, succeeded in 0..=i32::MAX, terminating in 0..=i32::MAX,
        ) {
            let rules = JobRules { parallelism, completions, ..rules(json!({})) };
            let view = JobView { active, succeeded, terminating, ..JobView::default() };
            let step = job_sync(&rules, &view, NOW);
            prop_assert!(step.create >= 0 && step.delete >= 0);
            prop_assert!(step.create == 0 || active + step.create <= parallelism);
            prop_assert!(step.create == 0 || step.delete == 0);
        }
    }
}
