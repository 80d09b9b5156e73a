//! Which pods the updater changes, in which order, and how.
//!
//! Upstream: kubernetes/autoscaler `vertical-pod-autoscaler/pkg/updater/
//! {priority,restriction,logic}` at 55c37cd. Differences: none known.

use super::Resource;
use super::capping::{ContainerView, Named};
use super::recommender::Recommendation;
use crate::k8s::VpaEvictionRequirement;
use crate::units::Span;

/// How a VPA acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UpdateMode {
    /// Only recommends.
    Off,
    /// New pods only.
    Initial,
    /// Evicts; `Auto` is its deprecated name.
    #[default]
    Recreate,
    /// Resizes, falls back to eviction.
    InPlaceOrRecreate,
    /// Only resizes.
    InPlace,
}

impl UpdateMode {
    /// From a manifest; absent means Recreate. `None` for an unknown mode.
    #[must_use]
    pub fn lower(mode: Option<&str>) -> Option<Self> {
        Some(match mode {
            None | Some("Auto" | "Recreate") => Self::Recreate,
            Some("Off") => Self::Off,
            Some("Initial") => Self::Initial,
            Some("InPlaceOrRecreate") => Self::InPlaceOrRecreate,
            Some("InPlace") => Self::InPlace,
            Some(_) => return None,
        })
    }
    /// Whether new pods get the recommendation.
    #[must_use]
    pub fn admits(self) -> bool {
        self != Self::Off
    }
    /// Whether running pods are changed.
    #[must_use]
    pub fn updates(self) -> bool {
        matches!(self, Self::Recreate | Self::InPlaceOrRecreate | Self::InPlace)
    }
    /// Whether running pods may be resized in place.
    #[must_use]
    pub fn resizes(self) -> bool {
        matches!(self, Self::InPlaceOrRecreate | Self::InPlace)
    }
}

/// Score of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Priority {
    /// Some request lies outside the recommended range.
    pub outside_recommended_range: bool,
    /// Some container wants to grow.
    pub scale_up: bool,
    /// Relative differences of all resources, summed.
    pub resource_diff: f64,
}

/// Scores a pod (containers and init containers in `containers`); `observed` lists the containers
/// of a valid `vpaObservedContainers` annotation.
#[must_use]
pub fn priority(
    containers: &[ContainerView<'_>],
    recommendations: &[Named<'_, Recommendation>],
    observed: Option<&[&str]>,
) -> Priority {
    let mut result = Priority::default();
    for resource in Resource::ALL {
        let (mut requested, mut wanted, mut seen) = (0_i128, 0_i128, false);
        for c in containers {
            if observed.is_some_and(|names| !names.contains(&c.name)) {
                continue;
            }
            let Some(r) = recommendations.iter().find(|r| r.container == c.name) else { continue };
            let Some(target) = r.value.target.get(resource) else { continue };
            seen = true;
            wanted += i128::from(target);
            let Some(request) = c.requests.get(resource) else {
                result.scale_up = true;
                result.outside_recommended_range = true;
                continue;
            };
            requested += i128::from(request);
            result.scale_up |= target > request;
            let low = r.value.lower_bound.get(resource).is_some_and(|low| request < low);
            let high = r.value.upper_bound.get(resource).is_some_and(|high| request > high);
            result.outside_recommended_range |= low || high;
        }
        if seen {
            // Upstream counts thousandths of any unit, and at least one of them.
            let milli = if resource == Resource::Cpu { 1.0 } else { 1000.0 };
            let requested = (requested as f64 * milli).max(1.0);
            result.resource_diff += (requested - wanted as f64 * milli).abs() / requested;
        }
    }
    result
}

/// Container names in a `vpaObservedContainers` annotation; `None` if one of them is no valid name,
/// in which case the annotation is ignored.
#[must_use]
pub fn observed_containers(annotation: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = annotation.split(',').map(str::trim).collect();
    let valid = |name: &&str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(name.chars().next())
            && edge(name.chars().last())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    names.iter().all(valid).then_some(names)
}

/// Flags of the updater; defaults are upstream's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateConfig {
    /// `--pod-update-threshold` (0.1).
    pub min_change_priority: f64,
    /// `--in-recommendation-bounds-eviction-lifetime-threshold` (12 h).
    pub lifetime_threshold: Span,
    /// `--evict-after-oom-threshold` (10 min).
    pub evict_after_oom: Span,
    /// `--eviction-tolerance` (0.5).
    pub eviction_tolerance: f64,
    /// `--min-replicas` (2).
    pub min_replicas: i32,
    /// `--in-place-skip-disruption-budget` (off).
    pub skip_disruption_budget: bool,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            min_change_priority: 0.1,
            lifetime_threshold: Span::from_secs(12 * 3600),
            evict_after_oom: Span::from_secs(600),
            eviction_tolerance: 0.5,
            min_replicas: 2,
            skip_disruption_budget: false,
        }
    }
}

/// The last terminated state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Reason `OOMKilled`.
    pub oom_killed: bool,
    /// How long it had run.
    pub run: Span,
    /// Listed by the observed-containers annotation, and not in mode Off.
    pub observed: bool,
}

/// A pod that may be updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdatePod<'a> {
    /// Its score.
    pub priority: Priority,
    /// Time since its start, absent if it has not started.
    pub age: Option<Span>,
    /// Last terminations of its containers.
    pub terminations: &'a [Termination],
}

impl UpdatePod<'_> {
    fn is_admitted(&self, config: &UpdateConfig) -> bool {
        let quick_oom = self
            .terminations
            .iter()
            .any(|t| t.oom_killed && t.observed && t.run < config.evict_after_oom);
        if quick_oom {
            return self.priority.resource_diff != 0.0;
        }
        self.priority.outside_recommended_range
            || (self.age.is_some_and(|age| age >= config.lifetime_threshold)
                && self.priority.resource_diff >= config.min_change_priority)
    }
}

/// Indexes of the pods that are admitted to an update, best first: those that want to grow, then
/// by difference; ties keep the order given.
#[must_use]
pub fn update_order(pods: &[UpdatePod<'_>], config: &UpdateConfig) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pods.len()).filter(|i| pods[*i].is_admitted(config)).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&pods[*a].priority, &pods[*b].priority);
        b.scale_up.cmp(&a.scale_up).then(b.resource_diff.total_cmp(&a.resource_diff))
    });
    order
}

/// Whether the VPA's evictionRequirements let a pod go: one container must fulfil all of them.
#[must_use]
pub fn eviction_allowed(
    requirements: &[VpaEvictionRequirement],
    containers: &[ContainerView<'_>],
    recommendations: &[Named<'_, Recommendation>],
) -> bool {
    if requirements.is_empty() {
        return true;
    }
    containers.iter().any(|c| {
        let named = recommendations.iter().find(|r| r.container == c.name);
        named.is_some_and(|r| requirements.iter().all(|q| fulfils(q, c, &r.value)))
    })
}

fn fulfils(
    requirement: &VpaEvictionRequirement,
    container: &ContainerView<'_>,
    recommendation: &Recommendation,
) -> bool {
    requirement.resources.iter().any(|name| {
        let resource = match name.as_str() {
            "cpu" => Resource::Cpu,
            "memory" => Resource::Memory,
            _ => return false,
        };
        let Some(request) = container.requests.get(resource) else { return true };
        let Some(target) = recommendation.target.get(resource) else { return false };
        match requirement.change_requirement.as_str() {
            "TargetHigherThanRequests" => target > request,
            "TargetLowerThanRequests" => target < request,
            _ => false,
        }
    })
}

/// The pods of one controller during one loop of the updater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    configured: i32,
    running: i32,
    tolerance: i32,
    disrupted: i32,
    skipped: bool,
}

impl Group {
    /// At the start of a loop: `live` pods, `pending` of them; `min_replicas` as the VPA or the
    /// flag says.
    #[must_use]
    pub fn new(
        configured: i32,
        live: i32,
        pending: i32,
        min_replicas: i32,
        eviction_tolerance: f64,
    ) -> Self {
        Self {
            configured,
            running: live.saturating_sub(pending),
            tolerance: (f64::from(configured) * eviction_tolerance) as i32,
            disrupted: 0,
            skipped: live < min_replicas,
        }
    }
    /// Whether the group may lose one pod now.
    #[must_use]
    pub fn is_disruptable(&self) -> bool {
        if self.skipped {
            return false;
        }
        let alive = self.running.saturating_sub(self.disrupted);
        alive > self.configured.saturating_sub(self.tolerance)
            || (self.tolerance == 0 && self.running == self.configured && self.disrupted == 0)
    }
    /// Whether a pod may be evicted; pending pods always may.
    #[must_use]
    pub fn can_evict(&self, pending: bool) -> bool {
        !self.skipped && (pending || self.is_disruptable())
    }
    /// Counts an eviction or the start of a resize; those of pending pods cost nothing.
    pub fn disrupt(&mut self, pending: bool) {
        if !pending {
            self.disrupted = self.disrupted.saturating_add(1);
        }
    }
}

/// The kubelet's word on a resize under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeStatus {
    /// It waits for room on the node.
    Deferred,
    /// It can never fit.
    Infeasible,
    /// It runs.
    InProgress,
    /// It failed.
    Error,
    /// A condition without a known reason.
    Unknown,
}

/// What the in-place decision reads of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPlaceView {
    /// Mode of the VPA.
    pub mode: UpdateMode,
    /// The pod is pending.
    pub pending: bool,
    /// Its controller is known and the VPA has a recommendation.
    pub known: bool,
    /// Resize under way.
    pub resize: Option<ResizeStatus>,
    /// Time since the last attempt to resize it.
    pub since_last_attempt: Span,
    /// The group may lose one pod now.
    pub group_disruptable: bool,
    /// `--in-place-skip-disruption-budget`.
    pub skip_disruption_budget: bool,
    /// Some container has the resize policy RestartContainer.
    pub restarts_containers: bool,
    /// An earlier attempt was infeasible (mode InPlace).
    pub last_infeasible: bool,
    /// Some target lies below the one that was infeasible.
    pub lower_than_last_infeasible: bool,
}

/// What to do with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InPlaceDecision {
    /// Resize it.
    Approved,
    /// Wait for the next loop.
    Deferred,
    /// Evict it.
    Evict,
    /// Remember that these targets cannot fit.
    Infeasible,
    /// The same targets were infeasible before.
    InfeasibleCached,
}

/// How long the kubelet may defer a resize (`DeferredResizeUpdateTimeout`).
const DEFERRED_TIMEOUT: Span = Span::from_secs(300);
/// How long a resize may run (`InProgressResizeUpdateTimeout`).
const IN_PROGRESS_TIMEOUT: Span = Span::from_secs(3600);

/// Whether and how a pod is resized.
#[must_use]
pub fn in_place_decision(view: &InPlaceView) -> InPlaceDecision {
    if !view.mode.resizes() {
        return InPlaceDecision::Evict;
    }
    if view.pending || !view.known {
        return InPlaceDecision::Deferred;
    }
    let in_place_only = view.mode == UpdateMode::InPlace;
    if in_place_only && view.last_infeasible && !view.lower_than_last_infeasible {
        return InPlaceDecision::InfeasibleCached;
    }
    match view.resize {
        Some(ResizeStatus::Infeasible) if in_place_only => InPlaceDecision::Infeasible,
        Some(_) if in_place_only => InPlaceDecision::Deferred,
        Some(status) if view.group_disruptable && gave_up(status, view.since_last_attempt) => {
            InPlaceDecision::Evict
        }
        Some(_) => InPlaceDecision::Deferred,
        None if view.skip_disruption_budget && !view.restarts_containers => {
            InPlaceDecision::Approved
        }
        None if view.group_disruptable => InPlaceDecision::Approved,
        None => InPlaceDecision::Deferred,
    }
}

fn gave_up(status: ResizeStatus, waited: Span) -> bool {
    match status {
        ResizeStatus::Deferred => waited > DEFERRED_TIMEOUT,
        ResizeStatus::InProgress => waited > IN_PROGRESS_TIMEOUT,
        ResizeStatus::Infeasible | ResizeStatus::Error | ResizeStatus::Unknown => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::vpa::Amounts;
    use proptest::prelude::*;

    #[test]
    fn requirements_veto_by_direction() {
        let container = ContainerView {
            name: "a",
            requests: Amounts { cpu: Some(100), memory: Some(100) },
            ..ContainerView::default()
        };
        let target = Amounts { cpu: Some(50), memory: Some(200) };
        let named =
            [Named { container: "a", value: Recommendation { target, ..Default::default() } }];
        let allowed = |resources: &[&str], change: &str| {
            let requirement = VpaEvictionRequirement {
                resources: resources.iter().map(|r| (*r).to_owned()).collect(),
                change_requirement: change.to_owned(),
            };
            eviction_allowed(&[requirement], &[container], &named)
        };
        assert!(allowed(&["cpu", "memory"], "TargetHigherThanRequests"));
        assert!(!allowed(&["cpu"], "TargetHigherThanRequests"));
        assert!(allowed(&["cpu"], "TargetLowerThanRequests"));
        assert!(eviction_allowed(&[], &[], &[]));
    }

    #[test]
    fn modes() {
        let mode = |m| UpdateMode::lower(Some(m)).unwrap();
        assert_eq!(UpdateMode::lower(None), Some(UpdateMode::Recreate));
        assert_eq!(mode("Auto"), UpdateMode::Recreate);
        assert_eq!(UpdateMode::lower(Some("Sometimes")), None);
        assert!(!mode("Off").admits() && !mode("Initial").updates() && mode("Initial").admits());
        assert!(mode("InPlace").resizes() && !mode("Recreate").resizes());
    }

    proptest! {
        /// A loop never takes more running pods than the tolerance, or one if that is zero.
        #[test]
        fn evictions_respect_the_tolerance(
            configured in 0..200_i32, missing in 0..5_i32, tolerance in 0.0..1.0_f64,
        ) {
            let live = (configured - missing).max(0);
            let mut group = Group::new(configured, live, 0, 1, tolerance);
            let mut evicted = 0;
            for _ in 0..live {
                if group.can_evict(false) {
                    group.disrupt(false);
                    evicted += 1;
                }
            }
            let most = (f64::from(configured) * tolerance) as i32;
            prop_assert!(evicted <= most.max(1), "{evicted} of {most}");
        }
    }
}
