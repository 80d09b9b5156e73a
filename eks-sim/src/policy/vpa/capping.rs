//! Bends a recommendation to one pod's policy, LimitRanges and limits, and keeps limits in
//! proportion to requests.
//!
//! Upstream: kubernetes/autoscaler `vertical-pod-autoscaler/pkg/utils/vpa/
//! {capping,limit_and_request_scaling}.go` at 55c37cd. Differences: a resource that a
//! recommendation does not name is left out instead of being set to zero.

use super::recommender::{ContainerPolicy, Recommendation};
use super::{Amounts, Resource};
use crate::k8s::{LimitRangeItem, Pod};

/// What a recommendation may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ControlledValues {
    /// Requests, and limits in proportion.
    #[default]
    RequestsAndLimits,
    /// Requests, up to the limits.
    RequestsOnly,
}

/// A value that belongs to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a, T> {
    /// Container.
    pub container: &'a str,
    /// Value.
    pub value: T,
}

/// Requests and limits of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ContainerView<'a> {
    /// Name.
    pub name: &'a str,
    /// Requests.
    pub requests: Amounts,
    /// Limits.
    pub limits: Amounts,
}

/// Containers of a pod; what a running container was given beats what the spec says.
#[must_use]
pub fn container_views(pod: &Pod) -> Vec<ContainerView<'_>> {
    let view = |c: &'_ crate::k8s::Container| {
        let status = pod.status.container_statuses.iter().find(|s| s.name == c.name);
        let resources = status.and_then(|s| s.resources.as_ref()).unwrap_or(&c.resources);
        (Amounts::lower(&resources.requests), Amounts::lower(&resources.limits))
    };
    let views = pod.spec.containers.iter().map(|c| {
        let (requests, limits) = view(c);
        ContainerView { name: &c.name, requests, limits }
    });
    views.collect()
}

/// The part of a LimitRange item that capping reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Boundaries {
    /// Minimum.
    pub min: Amounts,
    /// Maximum.
    pub max: Amounts,
    /// Default limit.
    pub default: Amounts,
}

impl Boundaries {
    /// From a LimitRange item.
    #[must_use]
    pub fn lower(item: &LimitRangeItem) -> Self {
        Self {
            min: Amounts::lower(&item.min),
            max: Amounts::lower(&item.max),
            default: Amounts::lower(&item.default),
        }
    }
}

/// A new limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitScaling {
    /// The limit, absent if none is set.
    pub limit: Option<i64>,
    /// Whether an explanation is attached: no limit set, or the ratio could not be kept.
    pub annotated: bool,
}

/// The limit that stands to `recommended` as `limit` to `request`; zero counts as unset.
#[must_use]
pub fn proportional_limit(
    limit: Option<i64>,
    request: Option<i64>,
    recommended: Option<i64>,
    default: Option<i64>,
) -> LimitScaling {
    let set = |x: Option<i64>| x.filter(|x| *x != 0);
    let none = LimitScaling { limit: None, annotated: true };
    let Some(limit) = set(limit).or(set(default)) else { return none };
    let Some(recommended) = set(recommended) else { return none };
    match set(request) {
        Some(request) if request != limit => {
            let scaled = i128::from(limit) * i128::from(recommended);
            let scaled = i64::try_from(scaled.div_euclid(i128::from(request)));
            LimitScaling { limit: Some(scaled.unwrap_or(i64::MAX)), annotated: scaled.is_err() }
        }
        _ => LimitScaling { limit: Some(recommended), annotated: false },
    }
}

/// `amount × to / from`, cut or rounded up, saturated.
fn scale(amount: i64, to: i64, from: i64, up: bool) -> i64 {
    if from == 0 {
        return amount;
    }
    let (product, from) = (i128::from(amount) * i128::from(to), i128::from(from));
    let cut = product.div_euclid(from);
    let rounded = if up && product.rem_euclid(from) != 0 { cut + 1 } else { cut };
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// What admission and the updater apply to one pod. `policy` answers for each container;
/// `pod_range` and `container_range` are the namespace's LimitRange items.
#[must_use]
pub fn cap<'a>(
    containers: &[ContainerView<'a>],
    recommendations: &[Named<'a, Recommendation>],
    policy: impl Fn(&str) -> ContainerPolicy,
    container_range: Option<&Boundaries>,
    pod_range: Option<&Boundaries>,
) -> Vec<Named<'a, Recommendation>> {
    let mut result = recommendations.to_vec();
    if let Some(range) = pod_range {
        for c in containers {
            if !c.requests.is_empty() && result.iter().all(|r| r.container != c.name) {
                let value = Recommendation { target: c.requests, ..Recommendation::default() };
                result.push(Named { container: c.name, value });
            }
        }
        for pick in [upper as Pick, target, lower] {
            for resource in Resource::ALL {
                fit_pod_range(containers, &mut result, range, resource, pick);
            }
        }
    }
    // Recommendations for containers that the pod does not have are dropped.
    result.retain(|r| containers.iter().any(|c| c.name == r.container));
    for r in &mut result {
        let Some(container) = containers.iter().find(|c| c.name == r.container) else { continue };
        let policy = policy(r.container);
        for pick in [target as Pick, lower, upper] {
            let amounts = pick(&mut r.value);
            fit_container_range(container, amounts, container_range);
            *amounts = policy.clamp(*amounts);
            if policy.controlled_values == ControlledValues::RequestsOnly {
                below_limits(container, amounts);
            }
        }
    }
    result
}

/// One of the three amounts of a recommendation.
type Pick = fn(&mut Recommendation) -> &mut Amounts;

fn target(r: &mut Recommendation) -> &mut Amounts {
    &mut r.target
}
fn lower(r: &mut Recommendation) -> &mut Amounts {
    &mut r.lower_bound
}
fn upper(r: &mut Recommendation) -> &mut Amounts {
    &mut r.upper_bound
}

fn below_limits(container: &ContainerView<'_>, amounts: &mut Amounts) {
    for resource in Resource::ALL {
        let limit = container.limits.get(resource);
        if let (Some(x), Some(limit)) = (amounts.get_mut(resource), limit) {
            *x = (*x).min(limit);
        }
    }
}

fn fit_pod_range(
    containers: &[ContainerView<'_>],
    recommendations: &mut [Named<'_, Recommendation>],
    range: &Boundaries,
    resource: Resource,
    pick: Pick,
) {
    let min = range.min.get(resource).unwrap_or(0);
    let max = range.max.get(resource).unwrap_or(0);
    let (mut limits, mut requests) = (0_i64, 0_i64);
    for c in containers {
        let named = recommendations.iter_mut().find(|r| r.container == c.name);
        let recommended = match named {
            Some(r) => pick(&mut r.value).get(resource),
            None => c.requests.get(resource),
        };
        let (limit, request) = (c.limits.get(resource), c.requests.get(resource));
        let scaled = proportional_limit(limit, request, recommended, range.default.get(resource));
        limits = limits.saturating_add(scaled.limit.unwrap_or(0));
        requests = requests.saturating_add(recommended.unwrap_or(0));
    }
    let fits = min <= limits && min <= requests && (max == 0 || max >= limits);
    if fits || limits == 0 {
        return;
    }
    let (to, from, up) = if min > requests {
        (min, requests, resource == Resource::Cpu)
    } else if max != 0 && max < limits {
        (max, limits, false)
    } else {
        (min, limits, false)
    };
    for r in recommendations.iter_mut().filter(|r| containers.iter().any(|c| c.name == r.container))
    {
        if let Some(x) = pick(&mut r.value).get_mut(resource) {
            *x = scale(*x, to, from, up);
        }
    }
}

fn fit_container_range(
    container: &ContainerView<'_>,
    amounts: &mut Amounts,
    range: Option<&Boundaries>,
) {
    let Some(range) = range else { return };
    for resource in Resource::ALL {
        let bound = |bound: Option<i64>| boundary(container, resource, bound, range);
        let min = range.min.get(resource).map(|min| min.max(bound(Some(min)).unwrap_or(0)));
        let max = bound(range.max.get(resource));
        if let Some(x) = amounts.get_mut(resource) {
            if let Some(min) = min.filter(|m| *m != 0) {
                *x = (*x).max(min);
            }
            if let Some(max) = max.filter(|m| *m != 0) {
                *x = (*x).min(max);
            }
        }
    }
}

/// The request at which the limit, kept in proportion, reaches `bound`.
fn boundary(
    container: &ContainerView<'_>,
    resource: Resource,
    bound: Option<i64>,
    range: &Boundaries,
) -> Option<i64> {
    let set = |x: Option<i64>| x.filter(|x| *x != 0);
    let limit = set(container.limits.get(resource)).or(set(range.default.get(resource)))?;
    let bound = bound?;
    Some(match set(container.requests.get(resource)) {
        Some(request) => scale(request, bound, limit, false),
        None => bound,
    })
}

/// Requests and limits of a container at admission, after [`cap`]: the target as requests and,
/// unless only requests are controlled, limits in proportion.
#[must_use]
pub fn admit(
    container: &ContainerView<'_>,
    target: Amounts,
    values: ControlledValues,
    default_limit: Amounts,
) -> (Amounts, Amounts) {
    let (mut requests, mut limits) = (container.requests, container.limits);
    for resource in Resource::ALL {
        let Some(wanted) = target.get(resource) else { continue };
        if values == ControlledValues::RequestsAndLimits {
            let (limit, request) = (limits.get(resource), requests.get(resource));
            let default = default_limit.get(resource);
            let scaled = proportional_limit(limit, request, Some(wanted), default).limit;
            let slot = limits.get_mut(resource);
            *slot = scaled.or(*slot);
        }
        *requests.get_mut(resource) = Some(wanted);
    }
    (requests, limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn admission_keeps_the_ratio() {
        let container = ContainerView {
            name: "a",
            requests: Amounts { cpu: Some(100), memory: Some(1000) },
            limits: Amounts { cpu: Some(300), memory: None },
        };
        let target = Amounts { cpu: Some(250), memory: Some(5000) };
        let both = ControlledValues::RequestsAndLimits;
        let (requests, limits) = admit(&container, target, both, Amounts::default());
        assert_eq!(requests, target);
        assert_eq!(limits, Amounts { cpu: Some(750), memory: None });
        let only = ControlledValues::RequestsOnly;
        let (_, limits) = admit(&container, target, only, Amounts::default());
        assert_eq!(limits, container.limits);
    }

    #[test]
    fn a_container_without_recommendation_joins_the_pod_range() {
        let view = |name, cpu| ContainerView {
            name,
            requests: Amounts { cpu: Some(cpu), memory: None },
            limits: Amounts { cpu: Some(cpu), memory: None },
        };
        let target = Amounts { cpu: Some(300), memory: None };
        let r = Named { container: "a", value: Recommendation { target, ..Default::default() } };
        let range =
            Boundaries { max: Amounts { cpu: Some(200), memory: None }, ..Boundaries::default() };
        let containers = [view("a", 100), view("b", 100)];
        let none = |_: &str| ContainerPolicy::default();
        let capped = cap(&containers, &[r], none, None, Some(&range));
        let cpu: Vec<_> = capped.iter().map(|r| (r.container, r.value.target.cpu)).collect();
        assert_eq!(cpu, [("a", Some(150)), ("b", Some(50))]);
    }

    proptest! {
        #[test]
        fn nothing_overflows_and_the_policy_wins(
            request in prop::option::of(0..=i64::MAX), limit in prop::option::of(0..=i64::MAX),
            wanted in 0..=i64::MAX, min in 1..=i64::MAX, bound in prop::option::of(0..=i64::MAX),
        ) {
            let one = |cpu| Amounts { cpu, memory: None };
            let container =
                ContainerView { name: "a", requests: one(request), limits: one(limit) };
            let range = Boundaries { min: one(bound), max: one(bound), default: one(None) };
            let value = Recommendation { target: one(Some(wanted)), ..Default::default() };
            let policy = ContainerPolicy { min_allowed: one(Some(min)), ..Default::default() };
            let named = [Named { container: "a", value }];
            let capped = cap(&[container], &named, |_| policy, Some(&range), Some(&range));
            prop_assert!(capped[0].value.target.cpu.unwrap() >= min);
        }
    }
}
