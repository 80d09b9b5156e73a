//! The updater: which pods it evicts or resizes, and how fast.

use super::{Event, Seen, State, Vpa, pods_of, wake};
use crate::engine::Cx;
use crate::k8s::VpaEvictionRequirement;
use crate::policy::vpa::{
    ControlledValues, Group, InPlaceDecision, InPlaceView, Priority, ResizeStatus, Resource,
    Termination, UpdateConfig, UpdateMode, UpdatePod, eviction_allowed, in_place_decision,
    priority, update_order,
};
use crate::units::{Id, SimTime, Span};
use crate::world::model::{VpaContainer, VpaModel};
use crate::world::recommendations::Targets;
use crate::world::{Client, Phase, Pod, PodId, Reason, Request, Workload};

/// What becomes of a pod.
enum Wish {
    Resize,
    Evict,
    /// Its node can never hold these targets.
    Remember,
}

impl Vpa {
    /// Evicts or resizes pods whose requests are off.
    pub(super) fn update(&mut self, i: usize, cx: &mut Cx<'_>) {
        let state = &self.states[i];
        let mode = mode(&cx.model().vpas[Id::new(i as u32)], cx);
        if !mode.updates() || state.recommended.iter().all(Option::is_none) {
            return;
        }
        for at in 0..state.workloads.len() {
            let workload = self.states[i].workloads[at];
            self.update_workload(i, workload, cx);
        }
    }

    fn update_workload(&mut self, i: usize, workload: Id<Workload>, cx: &mut Cx<'_>) {
        let vpa = &cx.model().vpas[Id::new(i as u32)];
        let state = &self.states[i];
        if self.is_quiet(vpa, state, workload, cx) {
            return;
        }
        let policy = vpa.object.spec.update_policy.as_ref();
        let requirements = policy.map_or(&[][..], |p| &p.eviction_requirements);
        let (mut live, mut pending) = (Vec::new(), 0);
        for id in pods_of(&[workload], cx.api()) {
            let Some(pod) = cx.api().pods.get(id).filter(|p| p.is_active()) else { continue };
            pending += i32::from(pod.phase == Phase::Pending);
            live.push(Candidate::new(id, pod, vpa, state, cx));
        }
        let config = &self.settings.update;
        let mut group = Group::new(
            cx.api().workloads[workload].replicas as i32,
            live.len() as i32,
            pending,
            policy.and_then(|p| p.min_replicas).unwrap_or(config.min_replicas),
            config.eviction_tolerance,
        );
        let pods: Vec<UpdatePod<'_>> = live.iter().map(Candidate::as_pod).collect();
        let mut wishes = Vec::new();
        for at in update_order(&pods, config) {
            let candidate = &live[at];
            let seen = state.seen(candidate.id);
            let view = candidate.view(seen, vpa, state, &group, config, cx);
            match in_place_decision(&view) {
                InPlaceDecision::Approved => wishes.push((candidate.id, Wish::Resize)),
                InPlaceDecision::Infeasible => {
                    wishes.push((candidate.id, Wish::Remember));
                    continue;
                }
                InPlaceDecision::Evict
                    if group.can_evict(candidate.pending)
                        && candidate.may_go(requirements, vpa, state, cx) =>
                {
                    wishes.push((candidate.id, Wish::Evict));
                }
                _ => continue,
            }
            group.disrupt(candidate.pending);
        }
        let loop_ends = cx.now() + self.settings.updater_period;
        for (pod, wish) in wishes {
            match wish {
                Wish::Resize => self.resize(i, pod, cx),
                Wish::Remember => {
                    let targets = cx.api().vpas[Id::new(i as u32)];
                    if let Some(seen) = self.states[i].seen_mut(pod) {
                        seen.infeasible = targets;
                    }
                }
                Wish::Evict => match self.token(cx.now(), loop_ends) {
                    Some(at) if at <= cx.now() => evict(pod, cx),
                    Some(at) => cx.at(at, wake(Event::Evict(pod))),
                    None => break,
                },
            }
        }
    }

    /// Whether no pod can be admitted to an update: a short look that leaves nothing out.
    fn is_quiet(&self, vpa: &VpaModel, state: &State, workload: Id<Workload>, cx: &Cx<'_>) -> bool {
        // Bounds that depend on a pod's limits are left to the full look.
        if vpa.container_range.is_some() || vpa.pod_range.is_some() {
            return false;
        }
        let config = &self.settings.update;
        let mut last = None;
        pods_of(&[workload], cx.api()).all(|id| {
            let Some(pod) = cx.api().pods.get(id).filter(|p| p.is_active()) else { return true };
            if pod.last_oom.is_some() {
                return false;
            }
            let size = (pod.template, pod.shape);
            let diff = match last {
                Some((known, diff)) if known == size => diff,
                _ => match diff_within_bounds(pod, vpa, state, cx) {
                    Some(diff) => diff,
                    None => return false,
                },
            };
            last = Some((size, diff));
            let old = pod.started != SimTime::NEVER
                && cx.now().since(pod.started) >= config.lifetime_threshold;
            !old || diff < config.min_change_priority
        })
    }

    /// When the next eviction may start; `None` if that is after the loop's deadline.
    fn token(&mut self, now: SimTime, deadline: SimTime) -> Option<SimTime> {
        let (rate, burst) = self.settings.eviction_rate;
        if rate <= 0.0 {
            return Some(now);
        }
        let depth = Span::from_secs_f64(burst.max(1.0) / rate);
        let full = self.bucket_full.max(now) + Span::from_secs_f64(1.0 / rate);
        let at = now + full.since(now).saturating_sub(depth);
        if at > deadline {
            return None;
        }
        self.bucket_full = full;
        Some(at)
    }

    fn resize(&mut self, i: usize, id: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let vpa = &cx.model().vpas[Id::new(i as u32)];
        let state = &mut self.states[i];
        if let Some(seen) = state.seen_mut(id) {
            seen.resize_asked = now;
            seen.infeasible = None;
        }
        let Some(pod) = cx.api().pods.get(id) else { return };
        let template = pod.template;
        let views = cx.api().container_views(pod, cx.model());
        let containers = vpa.admitted(&views, &state.recommended);
        let shape = cx.intern_shape(template, &containers);
        cx.submit(Client::Vpa, Request::ResizePod { pod: id, shape });
    }
}

/// Asks for an eviction; budgets may refuse it.
pub(super) fn evict(pod: PodId, cx: &mut Cx<'_>) {
    if cx.api().pods.get(pod).is_some_and(Pod::is_active) {
        cx.submit(Client::Vpa, Request::EvictPod { pod, reason: Reason::VpaEviction });
    }
}

/// The mode as far as the cluster can do it: before 1.33 pods cannot be resized.
fn mode(vpa: &VpaModel, cx: &Cx<'_>) -> UpdateMode {
    match vpa.mode {
        mode if cx.model().minor_version >= 33 => mode,
        UpdateMode::InPlaceOrRecreate => UpdateMode::Recreate,
        UpdateMode::InPlace => UpdateMode::Initial,
        mode => mode,
    }
}

/// How far a pod's requests are from their targets, if all lie between the bounds; for containers
/// without a LimitRange.
fn diff_within_bounds(pod: &Pod, vpa: &VpaModel, state: &State, cx: &Cx<'_>) -> Option<f64> {
    let limited = |c: &VpaContainer| c.policy.controlled_values == ControlledValues::RequestsOnly;
    if vpa.containers.iter().any(limited) {
        return None;
    }
    let shape = pod.shape.map(|s| cx.api().shapes.get(s));
    let template = &cx.model().templates[pod.template];
    // Sidecars, which come last, are not sized.
    let containers = template.uses.iter().take(template.containers as usize);
    let mut sums = [(0_i64, 0_i64, false); 2];
    for (i, c) in containers.enumerate() {
        let Some(r) = vpa.container(&c.name).and_then(|at| state.recommended[at]) else { continue };
        let requests =
            shape.and_then(|s| s.containers.get(i)).map_or(c.requests, |own| own.requests);
        for (resource, sum) in Resource::ALL.into_iter().zip(&mut sums) {
            let Some(target) = r.target.get(resource) else { continue };
            let request = requests.get(resource)?;
            let low = r.lower_bound.get(resource).is_some_and(|low| request < low);
            let high = r.upper_bound.get(resource).is_some_and(|high| request > high);
            if low || high {
                return None;
            }
            *sum = (sum.0.saturating_add(request), sum.1.saturating_add(target), true);
        }
    }
    let one = |(resource, (requested, wanted, seen)): (Resource, (i64, i64, bool))| {
        let milli = if resource == Resource::Cpu { 1.0 } else { 1000.0 };
        let requested = (requested as f64 * milli).max(1.0);
        if seen { (requested - wanted as f64 * milli).abs() / requested } else { 0.0 }
    };
    Some(Resource::ALL.into_iter().zip(sums).map(one).sum())
}

/// A pod that the updater looks at.
struct Candidate {
    id: PodId,
    pending: bool,
    priority: Priority,
    age: Option<Span>,
    terminations: Vec<Termination>,
}

impl Candidate {
    fn new(id: PodId, pod: &Pod, vpa: &VpaModel, state: &State, cx: &Cx<'_>) -> Self {
        let views = cx.api().container_views(pod, cx.model());
        let capped = vpa.capped(&views, &state.recommended);
        // Containers of mode Off are not observed.
        let main = views.get(cx.model().templates[pod.template].main);
        let at = main.and_then(|v| vpa.container(v.name));
        let observed = at.is_some_and(|at| !vpa.containers[at].policy.off);
        let terminations =
            pod.last_oom.map(|(_, run)| Termination { oom_killed: true, run, observed });
        Self {
            id,
            pending: pod.phase == Phase::Pending,
            priority: priority(&views, &capped, None),
            age: (pod.started != SimTime::NEVER).then(|| cx.now().since(pod.started)),
            terminations: terminations.into_iter().collect(),
        }
    }

    fn as_pod(&self) -> UpdatePod<'_> {
        UpdatePod { priority: self.priority, age: self.age, terminations: &self.terminations }
    }

    fn view(
        &self,
        seen: Option<&Seen>,
        vpa: &VpaModel,
        state: &State,
        group: &Group,
        config: &UpdateConfig,
        cx: &Cx<'_>,
    ) -> InPlaceView {
        let (api, machines) = (cx.api(), cx.machines());
        let pod = api.pods.get(self.id);
        let asked = pod.is_some_and(|p| p.resizing.is_some());
        let resize = machines.pod(self.id).and_then(|m| m.resize);
        let failed = seen.and_then(|s| s.infeasible).map(|id| api.targets.get(id));
        let lower = failed.is_some_and(|failed| some_lower(state, failed));
        InPlaceView {
            mode: mode(vpa, cx),
            pending: self.pending,
            known: true,
            // Smaller targets than those that could never fit are a new attempt.
            resize: resize.or(asked.then_some(ResizeStatus::InProgress)).filter(|_| !lower),
            since_last_attempt: seen.map_or(Span::ZERO, |s| cx.now().since(s.resize_asked)),
            group_disruptable: group.is_disruptable(),
            skip_disruption_budget: config.skip_disruption_budget,
            restarts_containers: pod
                .is_some_and(|p| cx.model().templates[p.template].restarts_on_resize),
            last_infeasible: failed.is_some(),
            lower_than_last_infeasible: lower,
        }
    }

    fn may_go(
        &self,
        requirements: &[VpaEvictionRequirement],
        vpa: &VpaModel,
        state: &State,
        cx: &Cx<'_>,
    ) -> bool {
        if requirements.is_empty() {
            return true;
        }
        let Some(pod) = cx.api().pods.get(self.id) else { return false };
        let views = cx.api().container_views(pod, cx.model());
        eviction_allowed(requirements, &views, &vpa.capped(&views, &state.recommended))
    }
}

/// Whether some target lies below the one that failed.
fn some_lower(state: &State, failed: &Targets) -> bool {
    let pairs = state.recommended.iter().zip(&failed.containers);
    pairs.filter_map(|(now, then)| Some((now.as_ref()?.target, (*then)?))).any(|(now, then)| {
        let lower = |r| matches!((now.get(r), then.get(r)), (Some(a), Some(b)) if a < b);
        Resource::ALL.into_iter().any(lower)
    })
}
