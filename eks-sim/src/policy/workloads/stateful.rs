//! StatefulSet: which ordinals to create or delete in one sync.
//!
//! Upstream: kubernetes/kubernetes v1.34 `pkg/controller/statefulset/stateful_set_control.go`.
//! Differences: identity and claim repairs are not modelled.

use super::PodPhase;
use crate::k8s::{IntOrPercent, StatefulSetSpec};

/// What a StatefulSet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatefulRules {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `podManagementPolicy: Parallel`.
    pub parallel: bool,
    /// `updateStrategy.type: OnDelete`.
    pub on_delete: bool,
    /// Ordinals below it are not updated.
    pub partition: i32,
    /// `maxUnavailable`, read with gate MaxUnavailableStatefulSet only; absent = one at a time.
    pub max_unavailable: Option<IntOrPercent>,
}

impl StatefulRules {
    /// From a StatefulSet, with the API's defaults. The gate MaxUnavailableStatefulSet is alpha (off)
    /// up to 1.34 and on by default from 1.35.
    #[must_use]
    pub fn lower(spec: &StatefulSetSpec, minor_version: u32) -> Self {
        let rolling = spec.update_strategy.rolling_update.as_ref();
        Self {
            replicas: spec.replicas.unwrap_or(1),
            parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
            on_delete: spec.update_strategy.kind.as_deref() == Some("OnDelete"),
            partition: rolling.and_then(|r| r.partition).unwrap_or(0),
            max_unavailable: rolling
                .and_then(|r| r.max_unavailable)
                .filter(|_| minor_version >= 35),
        }
    }
}

/// A pod of a StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatefulPod {
    /// Its ordinal.
    pub ordinal: i32,
    /// Phase.
    pub phase: PodPhase,
    /// Ready for minReadySeconds.
    pub available: bool,
    /// Being deleted.
    pub terminating: bool,
    /// Made from the newest template.
    pub updated: bool,
}

impl StatefulPod {
    fn healthy(&self) -> bool {
        self.phase == PodPhase::Running && self.available && !self.terminating
    }
}

/// What to do with one ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatefulAction {
    /// Create it.
    Create {
        /// Ordinal.
        ordinal: i32,
        /// From the newest template (else from the one before).
        updated: bool,
    },
    /// Delete it.
    Delete {
        /// Ordinal.
        ordinal: i32,
    },
}

/// One sync; `pods` are those that exist, sorted by ordinal.
#[must_use]
pub fn stateful_sync(rules: &StatefulRules, pods: &[StatefulPod]) -> Vec<StatefulAction> {
    let mut actions = Vec::new();
    let replicas = rules.replicas.max(0);
    let waits = fill(rules, pods, replicas, &mut actions);
    if !waits && !condemn(rules, pods, replicas, &mut actions) {
        update(rules, pods, replicas, &mut actions);
    }
    actions
}

fn find(pods: &[StatefulPod], ordinal: i32) -> Option<&StatefulPod> {
    pods.binary_search_by_key(&ordinal, |p| p.ordinal).ok().and_then(|at| pods.get(at))
}

/// Creates what lacks, lowest first; true if the sync must end.
fn fill(
    rules: &StatefulRules,
    pods: &[StatefulPod],
    replicas: i32,
    actions: &mut Vec<StatefulAction>,
) -> bool {
    for ordinal in 0..replicas {
        let Some(pod) = find(pods, ordinal) else {
            let updated = rules.on_delete || ordinal >= rules.partition;
            actions.push(StatefulAction::Create { ordinal, updated });
            if !rules.parallel {
                return true;
            }
            continue;
        };
        if matches!(pod.phase, PodPhase::Failed | PodPhase::Succeeded) && !pod.terminating {
            actions.push(StatefulAction::Delete { ordinal });
            if !rules.parallel {
                return true;
            }
            continue;
        }
        if !rules.parallel && !pod.healthy() {
            return true;
        }
    }
    false
}

/// Deletes what is too many, highest first; true if the sync must end.
fn condemn(
    rules: &StatefulRules,
    pods: &[StatefulPod],
    replicas: i32,
    actions: &mut Vec<StatefulAction>,
) -> bool {
    let first_unhealthy = pods.iter().find(|p| !p.healthy()).map(|p| p.ordinal);
    for pod in pods.iter().rev().filter(|p| p.ordinal >= replicas) {
        if pod.terminating {
            if !rules.parallel {
                return true;
            }
            continue;
        }
        // An unhealthy pod may go only if no pod below it is unhealthy too.
        if !rules.parallel && !pod.healthy() && first_unhealthy != Some(pod.ordinal) {
            return true;
        }
        actions.push(StatefulAction::Delete { ordinal: pod.ordinal });
        if !rules.parallel {
            return true;
        }
    }
    false
}

/// Deletes pods of older templates, highest first.
fn update(
    rules: &StatefulRules,
    pods: &[StatefulPod],
    replicas: i32,
    actions: &mut Vec<StatefulAction>,
) {
    if rules.on_delete {
        return;
    }
    if let Some(max) = rules.max_unavailable {
        let own = || pods.iter().filter(|p| (0..replicas).contains(&p.ordinal));
        let targets = own().rev().filter(|p| p.ordinal >= rules.partition);
        let max = i64::from(max.of_rounded_up(replicas).max(1));
        let healthy = own().filter(|p| p.healthy()).count();
        let down = i64::from(replicas) - i64::try_from(healthy).unwrap_or(i64::MAX);
        let room = usize::try_from((max - down).max(0)).unwrap_or(0);
        let stale = targets.filter(|p| !p.updated && !p.terminating).take(room);
        actions.extend(stale.map(|p| StatefulAction::Delete { ordinal: p.ordinal }));
        return;
    }
    for ordinal in (rules.partition.max(0)..replicas).rev() {
        // One that this sync creates (Parallel) is not healthy yet.
        let Some(pod) = find(pods, ordinal) else { return };
        if !pod.updated && !pod.terminating {
            actions.push(StatefulAction::Delete { ordinal });
            return;
        }
        if !pod.healthy() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StatefulAction::{Create, Delete};

    fn rules(replicas: i32) -> StatefulRules {
        StatefulRules {
            replicas,
            parallel: false,
            on_delete: false,
            partition: 0,
            max_unavailable: None,
        }
    }

    fn pod(ordinal: i32) -> StatefulPod {
        StatefulPod {
            ordinal,
            phase: PodPhase::Running,
            available: true,
            terminating: false,
            updated: true,
        }
    }

    #[test]
    fn ordered_creation_waits_for_readiness() {
        assert_eq!(stateful_sync(&rules(3), &[]), [Create { ordinal: 0, updated: true }]);
        let starting = StatefulPod { available: false, ..pod(0) };
        assert_eq!(stateful_sync(&rules(3), &[starting]), []);
        assert_eq!(stateful_sync(&rules(3), &[pod(0)]), [Create { ordinal: 1, updated: true }]);
        let parallel = StatefulRules { parallel: true, ..rules(3) };
        assert_eq!(stateful_sync(&parallel, &[starting]).len(), 2);
    }

    #[test]
    fn scale_down_goes_from_the_top_one_by_one() {
        let pods = [pod(0), pod(1), pod(2)];
        assert_eq!(stateful_sync(&rules(1), &pods), [Delete { ordinal: 2 }]);
        let leaving = [pod(0), pod(1), StatefulPod { terminating: true, ..pod(2) }];
        assert_eq!(stateful_sync(&rules(1), &leaving), []);
        let sick = [pod(0), StatefulPod { available: false, ..pod(1) }, pod(2)];
        assert_eq!(stateful_sync(&rules(1), &sick), [Delete { ordinal: 2 }]);
        let both = [pod(0), sick[1], StatefulPod { available: false, ..pod(2) }];
        assert_eq!(stateful_sync(&rules(1), &both), []);
        let parallel = StatefulRules { parallel: true, ..rules(1) };
        assert_eq!(stateful_sync(&parallel, &pods).len(), 2);
    }

    #[test]
    fn updates_go_down_to_the_partition() {
        let old = |o| StatefulPod { updated: false, ..pod(o) };
        let partitioned = StatefulRules { partition: 1, ..rules(3) };
        let pods = [old(0), old(1), old(2)];
        assert_eq!(stateful_sync(&partitioned, &pods), [Delete { ordinal: 2 }]);
        let next = [old(0), old(1), pod(2)];
        assert_eq!(stateful_sync(&partitioned, &next), [Delete { ordinal: 1 }]);
        let done = [old(0), pod(1), pod(2)];
        assert_eq!(stateful_sync(&partitioned, &done), []);
        let lost = [pod(1), pod(2)];
        let created = [Create { ordinal: 0, updated: false }];
        assert_eq!(stateful_sync(&partitioned, &lost), created);
        let two = StatefulRules { max_unavailable: Some(IntOrPercent::Int(2)), ..rules(3) };
        assert_eq!(stateful_sync(&two, &pods).len(), 2);
        let parallel = StatefulRules { parallel: true, ..rules(3) };
        let gone = [old(0), old(1)];
        let created = [Create { ordinal: 2, updated: true }];
        assert_eq!(stateful_sync(&parallel, &gone), created);
        let manual = StatefulRules { on_delete: true, ..rules(3) };
        assert_eq!(stateful_sync(&manual, &pods), []);
    }
}
