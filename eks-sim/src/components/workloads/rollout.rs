//! Deployments: revisions, rolling update, Recreate, proportional scaling, progress.
//!
//! Upstream: kubernetes v1.34 `pkg/controller/deployment/{deployment_controller,sync,rolling,
//! recreate,progress}.go`. Differences: a sync ends with its first kind of write and goes on when
//! that write has been seen; the ReplicaSets' status is read from their pods, so no status write
//! lies between a pod's readiness and the Deployment's next step; history is cleaned up by
//! revision as upstream, once the rollout is complete.

use super::{Workloads, available, wake};
use crate::engine::Cx;
use crate::k8s::DeploymentSpec;
use crate::policy::workloads::{
    ReplicaSetView, RolloutRules, ScaledSet, proportional_scale, rollout_sync,
};
use crate::units::{Id, SimTime, Span};
use crate::world::{Change, Client, Request, Set, Workload};

/// Progress of a Deployment.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    /// Writes about its sets that have not been seen.
    writes: u32,
    /// Last progress.
    since: SimTime,
    /// (updated, old, available) pods at that time.
    seen: (u32, u32, u32),
    /// Whether all pods were new and available (upstream's condition Progressing with the reason
    /// `NewReplicaSetAvailable`): it stays so, whatever the pods do, until old pods appear.
    complete: bool,
    /// Whether the deadline has passed since the last progress.
    timed_out: bool,
    /// Whether the Deployment was paused when last looked at.
    paused: bool,
    /// Next look on the agenda because of `minReadySeconds` or the deadline.
    looks: [SimTime; 2],
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            writes: 0,
            since: SimTime::ZERO,
            seen: (0, u32::MAX, 0),
            complete: false,
            timed_out: false,
            paused: false,
            looks: [SimTime::NEVER; 2],
        }
    }
}

impl Rollout {
    /// A new ReplicaSet begins a rollout (reason `NewReplicaSetCreated`).
    fn begin(&mut self, now: SimTime) {
        self.since = now;
        self.complete = false;
        self.timed_out = false;
    }

    /// Pausing hides whether a rollout was complete; resuming starts the deadline anew unless it
    /// has passed (`checkPausedConditions`).
    fn pause(&mut self, paused: bool, now: SimTime) {
        let resumed = self.paused && !paused;
        self.paused = paused;
        if resumed && !self.timed_out {
            self.begin(now);
        }
    }
}

/// A Deployment with its sets.
struct Sight {
    /// Sets in order of creation.
    sets: Vec<Id<Set>>,
    views: Vec<ReplicaSetView>,
    /// Position of the set of the current template.
    new: Option<usize>,
    rules: RolloutRules,
}

impl Workloads {
    pub(super) fn rollout_of(&mut self, workload: Id<Workload>) -> &mut Rollout {
        while self.rollouts.len() <= workload.index() {
            self.rollouts.push(Rollout::default());
        }
        &mut self.rollouts[workload]
    }

    /// A write about the workload's sets was seen or refused.
    pub(super) fn written(&mut self, workload: Id<Workload>) {
        let r = self.rollout_of(workload);
        r.writes = r.writes.saturating_sub(1);
    }

    fn write(&mut self, workload: Id<Workload>, request: Request, cx: &mut Cx<'_>) {
        self.rollout_of(workload).writes += 1;
        cx.submit(Client::Deployment, request);
    }

    pub(super) fn sync_deployment(
        &mut self,
        workload: Id<Workload>,
        spec: &DeploymentSpec,
        cx: &mut Cx<'_>,
    ) {
        let now = cx.now();
        let rollout = self.rollout_of(workload);
        rollout.pause(spec.paused, now);
        if rollout.writes > 0 {
            return;
        }
        let sight = self.look_at(workload, spec, cx);
        if !spec.paused && self.new_revision(workload, &sight, cx) {
            return;
        }
        if spec.paused || is_scaling(&sight, cx) {
            self.scale(workload, &sight, cx);
        } else {
            self.roll_out(workload, &sight, cx);
        }
        self.note_progress(workload, spec, &sight, cx);
    }

    fn look_at(&mut self, workload: Id<Workload>, spec: &DeploymentSpec, cx: &mut Cx<'_>) -> Sight {
        let now = cx.now();
        let row = &cx.api().workloads[workload];
        let (template, min_ready) = (row.template(cx.model()), row.min_ready(cx.model()));
        let sets = row.sets.clone();
        let mut again: Option<SimTime> = None;
        let views = sets
            .iter()
            .map(|&set| {
                let row = &cx.api().sets[set];
                let mut available_pods = row.ready;
                if !min_ready.is_zero() {
                    let pods = row.pods.iter().filter_map(|p| cx.api().pods.get(*p));
                    let ready = pods.filter(|p| available(p, min_ready, now, &mut again));
                    available_pods = ready.count() as u32;
                }
                ReplicaSetView {
                    replicas: row.desired as i32,
                    available: available_pods as i32,
                    pods: row.pods.len() as i32,
                }
            })
            .collect();
        let new = sets.iter().position(|&s| cx.api().sets[s].template == template);
        let mut rules = RolloutRules::lower(spec);
        rules.replicas = row.replicas as i32;
        self.look_again(workload, 0, again, cx);
        Sight { sets, views, new, rules }
    }

    /// Puts a later look on the agenda unless an earlier or equal one is there.
    fn look_again(
        &mut self,
        workload: Id<Workload>,
        which: usize,
        at: Option<SimTime>,
        cx: &mut Cx<'_>,
    ) {
        let now = cx.now();
        let look = &mut self.rollout_of(workload).looks[which];
        let waits = *look > now && *look != SimTime::NEVER;
        if let Some(at) = at.filter(|&at| !waits || at < *look) {
            *look = at;
            cx.at(at, wake(super::Event::SyncWorkload(workload)));
        }
    }

    /// Creates the set of the current template, or makes an old one the newest; true if it wrote.
    fn new_revision(&mut self, workload: Id<Workload>, sight: &Sight, cx: &mut Cx<'_>) -> bool {
        let api = cx.api();
        let newest = sight.sets.iter().map(|&s| api.sets[s].revision).max().unwrap_or(0);
        match sight.new {
            None => {
                let total = sight.views.iter().map(|v| v.replicas).sum();
                let recreates =
                    sight.rules.strategy == crate::policy::workloads::RolloutStrategy::Recreate;
                if recreates && sight.views.iter().any(|v| v.pods > 0 || v.replicas > 0) {
                    // Recreate waits for the old pods before it makes the new set.
                    return false;
                }
                let desired = sight.rules.new_size(total, 0).max(0).unsigned_abs();
                let now = cx.now();
                self.rollout_of(workload).begin(now);
                self.write(workload, Request::CreateSet { workload, desired }, cx);
                true
            }
            Some(at) if api.sets[sight.sets[at]].revision < newest => {
                self.write(workload, Request::ReviveSet { set: sight.sets[at] }, cx);
                true
            }
            Some(_) => false,
        }
    }

    fn resize(
        &mut self,
        workload: Id<Workload>,
        sight: &Sight,
        at: usize,
        size: i32,
        cx: &mut Cx<'_>,
    ) {
        let set = sight.sets[at];
        let desired = size.max(0).unsigned_abs();
        if cx.api().sets[set].desired == desired {
            return;
        }
        let replicas = sight.rules.replicas.max(0).unsigned_abs();
        let max = replicas + sight.rules.surge().max(0).unsigned_abs();
        self.write(workload, Request::ScaleSet { set, desired, replicas, max }, cx);
    }

    /// The replica count changed: one active set follows it, several share it.
    fn scale(&mut self, workload: Id<Workload>, sight: &Sight, cx: &mut Cx<'_>) {
        let order = newest_first(sight);
        let api = cx.api();
        let sets: Vec<ScaledSet> = order
            .iter()
            .map(|&at| {
                let row = &api.sets[sight.sets[at]];
                ScaledSet {
                    replicas: row.desired as i32,
                    max_replicas_annotation: Some(row.max_replicas as i32),
                }
            })
            .collect();
        let status = sight.sets.iter().map(|&s| api.sets[s].active as i32).sum();
        let saturated = sight.new.is_some_and(|at| {
            let row = &api.sets[sight.sets[at]];
            let replicas = sight.rules.replicas;
            row.desired as i32 == replicas
                && row.desired_replicas as i32 == replicas
                && sight.views[at].available == replicas
        });
        let sizes = proportional_scale(&sight.rules, &sets, status, saturated);
        for (&at, size) in order.iter().zip(sizes) {
            self.resize(workload, sight, at, size, cx);
        }
    }

    /// One step from the older sets to the newest.
    fn roll_out(&mut self, workload: Id<Workload>, sight: &Sight, cx: &mut Cx<'_>) {
        let old: Vec<usize> = (0..sight.sets.len()).filter(|&i| Some(i) != sight.new).collect();
        let old_views: Vec<ReplicaSetView> = old.iter().map(|&i| sight.views[i]).collect();
        let new_view = sight.new.map_or_else(ReplicaSetView::default, |at| sight.views[at]);
        let step = rollout_sync(&sight.rules, new_view, &old_views);
        if let Some(at) = sight.new {
            self.resize(workload, sight, at, step.new, cx);
        }
        for (&at, &size) in old.iter().zip(&step.old) {
            self.resize(workload, sight, at, size, cx);
        }
    }

    /// Progress, the deadline, and the end of the rollout.
    fn note_progress(
        &mut self,
        workload: Id<Workload>,
        spec: &DeploymentSpec,
        sight: &Sight,
        cx: &mut Cx<'_>,
    ) {
        let now = cx.now();
        let api = cx.api();
        let active = |at: usize| api.sets[sight.sets[at]].active;
        let updated = sight.new.map_or(0, active);
        let total: u32 = (0..sight.sets.len()).map(active).sum();
        let available: i32 = sight.views.iter().map(|v| v.available).sum();
        let replicas = sight.rules.replicas.max(0).unsigned_abs();
        let complete = updated == replicas
            && total == replicas
            && available.unsigned_abs() >= replicas
            && sight.new.is_some();
        let numbers = (updated, total - updated, available.unsigned_abs());
        let r = self.rollout_of(workload);
        let progress = numbers.0 > r.seen.0 || numbers.1 < r.seen.1 || numbers.2 > r.seen.2;
        r.seen = numbers;
        if progress {
            r.since = now;
            r.timed_out = false;
        }
        if complete {
            if !core::mem::replace(&mut r.complete, true) {
                cx.emit(Change::RolloutComplete(workload));
                self.clean_history(workload, spec, sight, cx);
            }
            return;
        }
        // A finished rollout does not time out because it is scaled or its pods are replaced.
        if r.complete && (total == updated || !progress) {
            return;
        }
        r.complete = false;
        let deadline = spec.progress_deadline_seconds.unwrap_or(600);
        if spec.paused || deadline == i32::MAX || r.timed_out {
            return;
        }
        // Upstream looks a second after the deadline, since conditions have whole seconds.
        let due = r.since + Span::from_secs(u64::from(deadline.max(0).unsigned_abs()) + 1);
        if due <= now {
            r.timed_out = true;
            cx.emit(Change::ProgressDeadlineExceeded(workload));
        } else {
            self.look_again(workload, 1, Some(due), cx);
        }
    }

    /// Deletes old sets beyond `revisionHistoryLimit`, lowest revision first.
    fn clean_history(
        &mut self,
        workload: Id<Workload>,
        spec: &DeploymentSpec,
        sight: &Sight,
        cx: &mut Cx<'_>,
    ) {
        let limit = spec.revision_history_limit.unwrap_or(10).max(0).unsigned_abs() as usize;
        let mut old: Vec<(u32, Id<Set>)> = (0..sight.sets.len())
            .filter(|&at| Some(at) != sight.new)
            .map(|at| (cx.api().sets[sight.sets[at]].revision, sight.sets[at]))
            .collect();
        old.sort_unstable();
        let surplus = old.len().saturating_sub(limit);
        for &(_, set) in &old[..surplus] {
            let row = &cx.api().sets[set];
            if row.desired == 0 && row.pods.is_empty() {
                self.write(workload, Request::DeleteSet { set }, cx);
            }
        }
    }
}

/// Whether an active set was last scaled for another replica count.
fn is_scaling(sight: &Sight, cx: &Cx<'_>) -> bool {
    let active = |s: &&Id<Set>| cx.api().sets[**s].desired > 0;
    let scaled = |s: &Id<Set>| cx.api().sets[*s].desired_replicas as i32 != sight.rules.replicas;
    let all = sight.sets.iter().filter(active);
    // A set that already has the size keeps its old annotation; rolling out goes on then.
    let only = sight.sets.iter().filter(active).count() == 1;
    all.clone().any(scaled)
        && !(only && all.clone().all(|s| cx.api().sets[*s].desired as i32 == sight.rules.replicas))
}

/// Positions of the sets, the current one first, then from the newest to the oldest.
fn newest_first(sight: &Sight) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sight.sets.len()).rev().collect();
    order.sort_by_key(|&at| Some(at) != sight.new);
    order
}
