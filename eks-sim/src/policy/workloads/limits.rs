//! LimitRange: defaults for containers, then minimum, maximum and ratio.
//!
//! Upstream: kubernetes/kubernetes v1.34 `plugin/pkg/admission/limitranger/admission.go`,
//! `pkg/apis/core/v1/defaults.go`. Differences: items for PersistentVolumeClaims are not read here.

use crate::k8s::{LimitRangeItem, PodSpec, ResourceList, ResourceRequirements};
use crate::units::Quantity;

/// A limit that a pod breaks, worded as `limitranger/admission.go` does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitViolation {
    /// A request or limit below the minimum, or no request at all.
    #[error("minimum {resource} usage per {scope} is {bound}{found}")]
    Minimum {
        /// Resource.
        resource: String,
        /// `Container` or `Pod`.
        scope: &'static str,
        /// Minimum.
        bound: Quantity,
        /// What the pod says.
        found: Found,
    },
    /// A request or limit above the maximum, or no limit at all.
    #[error("maximum {resource} usage per {scope} is {bound}{found}")]
    Maximum {
        /// Resource.
        resource: String,
        /// `Container` or `Pod`.
        scope: &'static str,
        /// Maximum.
        bound: Quantity,
        /// What the pod says.
        found: Found,
    },
    /// The limit is too many times the request.
    #[error("{resource} max limit to request ratio per {scope} is {bound}, but {why}")]
    Ratio {
        /// Resource.
        resource: String,
        /// `Container` or `Pod`.
        scope: &'static str,
        /// Largest ratio.
        bound: Quantity,
        /// What is wrong with it.
        why: String,
    },
}

/// What the pod says about a resource that breaks a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has no request.
    NoRequest,
    /// It has no limit.
    NoLimit,
    /// Its request is this.
    Request(Quantity),
    /// Its limit is this.
    Limit(Quantity),
}

impl core::fmt::Display for Found {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoRequest => f.write_str(".  No request is specified"),
            Self::NoLimit => f.write_str(".  No limit is specified"),
            Self::Request(q) => write!(f, ", but request is {q}"),
            Self::Limit(q) => write!(f, ", but limit is {q}"),
        }
    }
}

/// Fills in what the containers of `pod` leave open: a limit without request first sets the
/// request (API defaulting), then the items' defaults follow.
pub fn apply_limit_range(pod: &mut PodSpec, items: &[LimitRangeItem]) {
    let containers = pod.containers.iter_mut().chain(&mut pod.init_containers);
    for container in containers {
        let resources = &mut container.resources;
        fill(&mut resources.requests, &resources.limits);
        for item in items.iter().filter(|i| i.kind == "Container") {
            let (limits, requests) = defaults(item);
            fill(&mut resources.limits, &limits);
            fill(&mut resources.requests, &requests);
        }
    }
}

fn fill(into: &mut ResourceList, from: &ResourceList) {
    for (resource, amount) in from {
        into.entry(resource.clone()).or_insert(*amount);
    }
}

/// Default limits and requests of an item, with the API's own defaults between its fields.
fn defaults(item: &LimitRangeItem) -> (ResourceList, ResourceList) {
    let mut limits = item.default.clone();
    fill(&mut limits, &item.max);
    let mut requests = item.default_request.clone();
    fill(&mut requests, &limits);
    fill(&mut requests, &item.min);
    (limits, requests)
}

/// Everything that `pod` breaks; empty = admitted.
#[must_use]
pub fn validate_limit_range(pod: &PodSpec, items: &[LimitRangeItem]) -> Vec<LimitViolation> {
    let mut broken = Vec::new();
    for item in items {
        match item.kind.as_str() {
            "Container" => {
                for c in pod.containers.iter().chain(&pod.init_containers) {
                    let r = &c.resources;
                    check("Container", item, &r.requests, &r.limits, &mut broken);
                }
            }
            "Pod" => {
                let requests = pod_requests(pod);
                let limits = pod_limits(pod);
                check("Pod", item, &requests, &limits, &mut broken);
            }
            _ => {}
        }
    }
    broken
}

fn check(
    scope: &'static str,
    item: &LimitRangeItem,
    requests: &ResourceList,
    limits: &ResourceList,
    broken: &mut Vec<LimitViolation>,
) {
    for (resource, &bound) in &item.min {
        let (request, limit) = (requests.get(resource).copied(), limits.get(resource).copied());
        let low = match (request, limit) {
            (None, _) => Some(Found::NoRequest),
            (Some(r), _) if r < bound => Some(Found::Request(r)),
            (_, Some(l)) if l < bound => Some(Found::Limit(l)),
            _ => None,
        };
        if let Some(found) = low {
            let resource = resource.clone();
            broken.push(LimitViolation::Minimum { resource, scope, bound, found });
        }
    }
    for (resource, &bound) in &item.max {
        let (request, limit) = (requests.get(resource).copied(), limits.get(resource).copied());
        let high = match (request, limit) {
            (_, None) => Some(Found::NoLimit),
            (_, Some(l)) if l > bound => Some(Found::Limit(l)),
            (Some(r), _) if r > bound => Some(Found::Request(r)),
            _ => None,
        };
        if let Some(found) = high {
            let resource = resource.clone();
            broken.push(LimitViolation::Maximum { resource, scope, bound, found });
        }
    }
    for (resource, &bound) in &item.max_limit_request_ratio {
        let amount = |list: &ResourceList| {
            list.get(resource).map(|q| q.as_f64()).filter(|amount| *amount > 0.0)
        };
        let why = match (amount(requests), amount(limits)) {
            (None, _) => "no request is specified or request is 0".to_owned(),
            (_, None) => "no limit is specified or limit is 0".to_owned(),
            (Some(request), Some(limit)) if limit / request > bound.as_f64() => {
                format!("provided ratio is {:.6}", limit / request)
            }
            _ => continue,
        };
        let resource = resource.clone();
        broken.push(LimitViolation::Ratio { resource, scope, bound, why });
    }
}

/// A pod's requests: containers and sidecars together, or the largest init step; pod-level
/// requests replace that sum where they are stated; overhead comes on top.
#[must_use]
pub fn pod_requests(pod: &PodSpec) -> ResourceList {
    let mut total = totals(pod, |r| &r.requests);
    add(&mut total, &pod.overhead);
    total
}

/// A pod's limits by the same formula; overhead is added only where a limit is stated.
#[must_use]
pub fn pod_limits(pod: &PodSpec) -> ResourceList {
    let mut total = totals(pod, |r| &r.limits);
    for (resource, amount) in &mut total {
        *amount += pod.overhead.get(resource).copied().unwrap_or_default();
    }
    total
}

fn totals(pod: &PodSpec, list: fn(&ResourceRequirements) -> &ResourceList) -> ResourceList {
    let mut total = ResourceList::new();
    for c in &pod.containers {
        add(&mut total, list(&c.resources));
    }
    let mut sidecars = ResourceList::new();
    let mut peak = ResourceList::new();
    for c in &pod.init_containers {
        let own = list(&c.resources);
        if c.restart_policy.as_deref() == Some("Always") {
            add(&mut total, own);
            add(&mut sidecars, own);
            raise(&mut peak, &sidecars);
        } else {
            // An init step runs beside the sidecars that were started before it.
            let mut step = sidecars.clone();
            add(&mut step, own);
            raise(&mut peak, &step);
        }
    }
    raise(&mut total, &peak);
    if let Some(resources) = &pod.resources {
        total.extend(list(resources).iter().map(|(name, amount)| (name.clone(), *amount)));
    }
    total
}

fn add(into: &mut ResourceList, from: &ResourceList) {
    for (resource, amount) in from {
        *into.entry(resource.clone()).or_default() += *amount;
    }
}

fn raise(into: &mut ResourceList, to: &ResourceList) {
    for (resource, amount) in to {
        let held = into.entry(resource.clone()).or_default();
        *held = (*held).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: serde_json::Value) -> PodSpec {
        serde_json::from_value(json!({ "containers": containers })).unwrap()
    }

    fn item(value: serde_json::Value) -> LimitRangeItem {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn defaults_fill_in_order() {
        let mut p = pod(json!([
            {"name": "a"},
            {"name": "b", "resources": {"limits": {"cpu": "700m"}}},
        ]));
        let limits = item(json!({"type": "Container", "default": {"cpu": "500m"},
            "defaultRequest": {"cpu": "200m"}, "max": {"memory": "1Gi"}}));
        apply_limit_range(&mut p, &[limits]);
        let get = |i: usize, r: &str| {
            let res = &p.containers[i].resources;
            (res.requests[r].to_string(), res.limits[r].to_string())
        };
        assert_eq!(get(0, "cpu"), ("200m".into(), "500m".into()));
        assert_eq!(get(1, "cpu"), ("700m".into(), "700m".into()));
        assert_eq!(get(0, "memory"), ("1Gi".into(), "1Gi".into()));
    }

    #[test]
    fn bounds_and_ratio_are_checked() {
        let p = pod(json!([{"name": "a", "resources": {
            "requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}}]));
        let broken = |value| validate_limit_range(&p, &[item(value)]).len();
        assert_eq!(broken(json!({"type": "Container", "min": {"cpu": "100m"}})), 0);
        assert_eq!(broken(json!({"type": "Container", "min": {"cpu": "101m"}})), 1);
        assert_eq!(broken(json!({"type": "Container", "min": {"memory": "1Mi"}})), 1);
        assert_eq!(broken(json!({"type": "Pod", "max": {"cpu": "1"}})), 0);
        assert_eq!(broken(json!({"type": "Pod", "max": {"cpu": "999m", "memory": "1Gi"}})), 2);
        assert_eq!(broken(json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "10"}})), 0);
        assert_eq!(broken(json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "9"}})), 1);
    }

    #[test]
    fn words_are_upstreams() {
        // Wording: plugin/pkg/admission/limitranger/admission.go.
        let p = pod(json!([{"name": "a", "resources": {
            "requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}}]));
        let limits = item(json!({"type": "Container", "min": {"cpu": "200m", "memory": "1Gi"},
            "max": {"cpu": "500m"}, "maxLimitRequestRatio": {"cpu": "4"}}));
        let said: Vec<String> =
            validate_limit_range(&p, &[limits]).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "minimum cpu usage per Container is 200m, but request is 100m",
                "minimum memory usage per Container is 1Gi.  No request is specified",
                "maximum cpu usage per Container is 500m, but limit is 1",
                "cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000",
            ]
        );
    }

    #[test]
    fn totals_count_init_steps_and_sidecars() {
        let p: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "300m"}}}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always",
                 "resources": {"requests": {"cpu": "100m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "500m"}}}],
            "overhead": {"cpu": "10m"}}))
        .unwrap();
        assert_eq!(pod_requests(&p)["cpu"], Quantity::from_milli(610));
        assert!(pod_limits(&p).is_empty());
        let mut p = p;
        p.resources = Some(serde_json::from_value(json!({"requests": {"cpu": "2"}})).unwrap());
        assert_eq!(pod_requests(&p)["cpu"], Quantity::from_milli(2010));
    }
}
