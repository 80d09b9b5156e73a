//! CronJob: whether a run is due now and what happens to the runs before it.
//!
//! Upstream: kubernetes/kubernetes v1.34 `pkg/controller/cronjob/{cronjob_controllerv2,utils}.go`.
//! Differences: the caller supplies the due times of the schedule, so nothing is parsed here.

use crate::k8s::CronJobSpec;
use crate::units::{SimTime, Span};

/// Missed starts beyond which a warning event is recorded.
const TOO_MANY_MISSED: usize = 100;

/// What to do while an earlier run still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ConcurrencyPolicy {
    /// Run side by side.
    #[default]
    Allow,
    /// Skip the new run.
    Forbid,
    /// Delete the earlier run.
    Replace,
}

/// What a CronJob asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CronRules {
    /// Concurrency.
    pub concurrency: ConcurrencyPolicy,
    /// How late a run may start.
    pub starting_deadline: Option<Span>,
    /// No runs.
    pub suspend: bool,
    /// Successful Jobs kept.
    pub successful_history: i32,
    /// Failed Jobs kept.
    pub failed_history: i32,
}

impl CronRules {
    /// From a CronJob, with the API's defaults.
    #[must_use]
    pub fn lower(spec: &CronJobSpec) -> Self {
        let seconds = |s: i64| Span::from_secs(u64::try_from(s).unwrap_or(0));
        Self {
            concurrency: match spec.concurrency_policy.as_deref() {
                Some("Forbid") => ConcurrencyPolicy::Forbid,
                Some("Replace") => ConcurrencyPolicy::Replace,
                _ => ConcurrencyPolicy::Allow,
            },
            starting_deadline: spec.starting_deadline_seconds.map(seconds),
            suspend: spec.suspend.unwrap_or(false),
            successful_history: spec.successful_jobs_history_limit.unwrap_or(3),
            failed_history: spec.failed_jobs_history_limit.unwrap_or(1),
        }
    }
}

/// The state of a CronJob.
#[derive(Clone, Copy, Debug)]
pub struct CronView<'a> {
    /// The clock.
    pub now: SimTime,
    /// When it was created.
    pub created: SimTime,
    /// `status.lastScheduleTime`.
    pub last_schedule: Option<SimTime>,
    /// Runs that have not ended.
    pub active: usize,
    /// Due times of the schedule, ascending; those after the last run and up to now are looked at.
    pub due: &'a [SimTime],
}

/// What one sync does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronDecision {
    /// Nothing is due.
    Idle,
    /// The due time passed its deadline (event MissSchedule).
    TooLate {
        /// The due time.
        scheduled: SimTime,
    },
    /// An earlier run still runs and Forbid is set (event JobAlreadyActive).
    AlreadyActive {
        /// The due time.
        scheduled: SimTime,
    },
    /// Create a Job for this due time.
    Start {
        /// The due time; becomes `lastScheduleTime` and part of the Job's name.
        scheduled: SimTime,
        /// Delete the active runs first.
        replace: bool,
        /// More than a hundred starts were missed (event TooManyMissedTimes).
        too_many_missed: bool,
    },
}

/// One sync.
#[must_use]
pub fn cron_sync(rules: &CronRules, view: &CronView<'_>) -> CronDecision {
    if rules.suspend {
        return CronDecision::Idle;
    }
    let mut earliest = view.last_schedule.unwrap_or(view.created);
    if let Some(deadline) = rules.starting_deadline {
        earliest = earliest.max(view.now - deadline);
    }
    let from = view.due.partition_point(|t| *t <= earliest);
    let until = view.due.partition_point(|t| *t <= view.now);
    let missed = view.due.get(from..until).unwrap_or(&[]);
    let Some(&scheduled) = missed.last() else { return CronDecision::Idle };
    // `deadline before now` decides, so a run exactly at its deadline still starts.
    if rules.starting_deadline.is_some_and(|d| scheduled + d < view.now) {
        return CronDecision::TooLate { scheduled };
    }
    match rules.concurrency {
        ConcurrencyPolicy::Forbid if view.active > 0 => CronDecision::AlreadyActive { scheduled },
        policy => CronDecision::Start {
            scheduled,
            replace: policy == ConcurrencyPolicy::Replace && view.active > 0,
            too_many_missed: missed.len() > TOO_MANY_MISSED,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(spec: serde_json::Value) -> CronRules {
        CronRules::lower(&serde_json::from_value(spec).unwrap())
    }

    fn minutes(range: core::ops::Range<u64>) -> Vec<SimTime> {
        range.map(|m| SimTime::from_secs(60 * m)).collect()
    }

    #[test]
    fn the_most_recent_missed_start_is_due() {
        let due = minutes(1..10);
        let mut view = CronView {
            now: SimTime::from_secs(190),
            created: SimTime::ZERO,
            last_schedule: None,
            active: 1,
            due: &due,
        };
        let scheduled = SimTime::from_secs(180);
        let start = |replace| CronDecision::Start { scheduled, replace, too_many_missed: false };
        let policy = |p: &str| rules(json!({"concurrencyPolicy": p}));
        assert_eq!(cron_sync(&rules(json!({})), &view), start(false));
        assert_eq!(cron_sync(&policy("Replace"), &view), start(true));
        let skipped = CronDecision::AlreadyActive { scheduled };
        assert_eq!(cron_sync(&policy("Forbid"), &view), skipped);
        view.last_schedule = Some(scheduled);
        assert_eq!(cron_sync(&rules(json!({})), &view), CronDecision::Idle);
        let suspended = rules(json!({"suspend": true}));
        assert_eq!(cron_sync(&suspended, &view), CronDecision::Idle);
    }

    #[test]
    fn deadlines_and_many_missed_starts() {
        let due = minutes(1..200);
        let view = CronView {
            now: SimTime::from_secs(60 * 150 + 20),
            created: SimTime::ZERO,
            last_schedule: None,
            active: 0,
            due: &due,
        };
        let scheduled = SimTime::from_secs(60 * 150);
        let start =
            |too_many_missed| CronDecision::Start { scheduled, replace: false, too_many_missed };
        assert_eq!(cron_sync(&rules(json!({})), &view), start(true));
        let strict = rules(json!({"startingDeadlineSeconds": 10}));
        assert_eq!(cron_sync(&strict, &view), CronDecision::Idle);
        let lenient = rules(json!({"startingDeadlineSeconds": 600}));
        assert_eq!(cron_sync(&lenient, &view), start(false));
    }
}
