//! ResourceQuota: what a pod uses of each tracked name and whether it still fits.
//!
//! Upstream: kubernetes/kubernetes v1.34 `pkg/quota/v1/evaluator/core/pods.go`,
//! `pkg/quota/v1/resources.go`. Differences: names of other kinds (`count/…`, storage) are not
//! used by pods and pass through unchanged.

use super::limits::{pod_limits, pod_requests};
use crate::k8s::{PodSpec, ResourceList};
use crate::units::Quantity;

/// A pod that a quota looks at.
#[derive(Clone, Copy, Debug)]
pub struct QuotaPod<'a> {
    /// Its spec, after all defaults.
    pub spec: &'a PodSpec,
    /// Whether it has affinity terms to pods of other namespaces.
    pub cross_namespace_affinity: bool,
}

/// Why a pod is refused (403).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// Tracked compute resources that containers do not state: resource and containers.
    #[error("must specify {}", unstated(.0))]
    MustSpecify(Vec<(String, Vec<String>)>),
    /// The quota would be exceeded in these names.
    #[error("requested: {}, used: {}, limited: {}", list(.requested), list(.used), list(.limited))]
    Exceeded {
        /// What the pod adds.
        requested: ResourceList,
        /// What is used already.
        used: ResourceList,
        /// What is allowed.
        limited: ResourceList,
    },
}

impl QuotaError {
    /// The text as the API server writes it after `is forbidden: `
    /// (`staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go`).
    #[must_use]
    pub fn named(&self, quota: &str) -> String {
        match self {
            Self::MustSpecify(_) => format!("failed quota: {quota}: {self}"),
            Self::Exceeded { .. } => format!("exceeded quota: {quota}, {self}"),
        }
    }
}

/// `cpu=1,memory=2Gi`, as upstream's `prettyPrint`.
fn list(amounts: &ResourceList) -> String {
    let parts: Vec<String> = amounts.iter().map(|(name, q)| format!("{name}={q}")).collect();
    parts.join(",")
}

/// `cpu for: web; memory for: log,web`.
fn unstated(missing: &[(String, Vec<String>)]) -> String {
    let parts: Vec<String> =
        missing.iter().map(|(r, names)| format!("{r} for: {}", names.join(","))).collect();
    parts.join("; ")
}

/// Whether the quota's scopes cover the pod.
#[must_use]
fn matches_scopes(pod: &QuotaPod<'_>, scopes: &[String]) -> bool {
    let spec = pod.spec;
    let states = |c: &crate::k8s::Container| {
        let lists = [&c.resources.requests, &c.resources.limits];
        lists.iter().any(|list| {
            list.iter().any(|(name, q)| matches!(name.as_str(), "cpu" | "memory") && !q.is_zero())
        })
    };
    let best_effort = || !spec.containers.iter().chain(&spec.init_containers).any(states);
    let terminating = spec.active_deadline_seconds.is_some_and(|s| s >= 0);
    scopes.iter().all(|scope| match scope.as_str() {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => spec.priority_class_name.as_ref().is_some_and(|p| !p.is_empty()),
        "CrossNamespacePodAffinity" => pod.cross_namespace_affinity,
        _ => false,
    })
}

/// What a live pod uses, by every name a quota may track.
#[must_use]
pub fn quota_usage(pod: &PodSpec) -> ResourceList {
    let mut usage = ResourceList::new();
    let one = Quantity::from_units(1);
    usage.insert("pods".to_owned(), one);
    usage.insert("count/pods".to_owned(), one);
    for (name, amount) in pod_requests(pod) {
        usage.insert(format!("requests.{name}"), amount);
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-")
        {
            usage.insert(name, amount);
        }
    }
    for (name, amount) in pod_limits(pod) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), amount);
        }
    }
    usage
}

/// Whether a new pod fits a quota; returns the usage after it, or `used` unchanged if the quota's
/// scopes do not cover the pod.
///
/// # Errors
/// See [`QuotaError`].
pub fn quota_admits(
    pod: &QuotaPod<'_>,
    hard: &ResourceList,
    scopes: &[String],
    used: &ResourceList,
) -> Result<ResourceList, QuotaError> {
    let mut after = used.clone();
    if !matches_scopes(pod, scopes) {
        return Ok(after);
    }
    must_specify(pod.spec, hard)?;
    let usage = quota_usage(pod.spec);
    let (mut over, mut before, mut limits) =
        (ResourceList::new(), ResourceList::new(), ResourceList::new());
    for (resource, &limited) in hard {
        let requested = usage.get(resource).copied().unwrap_or_default();
        let held = after.entry(resource.clone()).or_default();
        let used = *held;
        *held += requested;
        // A name the pod does not add to is not checked: it may already be over.
        if !requested.is_zero() && *held > limited {
            over.insert(resource.clone(), requested);
            before.insert(resource.clone(), used);
            limits.insert(resource.clone(), limited);
        }
    }
    if over.is_empty() {
        return Ok(after);
    }
    Err(QuotaError::Exceeded { requested: over, used: before, limited: limits })
}

/// Gives back what a pod that ended or is gone used.
pub fn quota_release(
    pod: &QuotaPod<'_>,
    hard: &ResourceList,
    scopes: &[String],
    used: &mut ResourceList,
) {
    if !matches_scopes(pod, scopes) {
        return;
    }
    let usage = quota_usage(pod.spec);
    for resource in hard.keys() {
        if let (Some(held), Some(amount)) = (used.get_mut(resource), usage.get(resource)) {
            *held = *held - *amount;
        }
    }
}

/// Adds what a pod holds, without a check.
pub fn quota_charge(
    pod: &QuotaPod<'_>,
    hard: &ResourceList,
    scopes: &[String],
    used: &mut ResourceList,
) {
    if !matches_scopes(pod, scopes) {
        return;
    }
    let usage = quota_usage(pod.spec);
    for resource in hard.keys() {
        if let Some(amount) = usage.get(resource) {
            *used.entry(resource.clone()).or_default() += *amount;
        }
    }
}

/// Each container must state each tracked compute resource.
fn must_specify(pod: &PodSpec, hard: &ResourceList) -> Result<(), QuotaError> {
    let mut missing = Vec::new();
    for name in hard.keys() {
        let (is_limit, resource) = match name.as_str() {
            "cpu" | "requests.cpu" => (false, "cpu"),
            "memory" | "requests.memory" => (false, "memory"),
            "limits.cpu" => (true, "cpu"),
            "limits.memory" => (true, "memory"),
            _ => continue,
        };
        let states = |c: &crate::k8s::Container| {
            let r = &c.resources;
            let list = if is_limit { &r.limits } else { &r.requests };
            list.get(resource).is_some_and(|q| !q.is_zero())
        };
        let all = pod.containers.iter().chain(&pod.init_containers);
        let mut silent: Vec<String> = all.filter(|c| !states(c)).map(|c| c.name.clone()).collect();
        silent.sort_unstable();
        if !silent.is_empty() {
            missing.push((name.clone(), silent));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(QuotaError::MustSpecify(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(value: serde_json::Value) -> ResourceList {
        serde_json::from_value(value).unwrap()
    }

    fn pod(resources: serde_json::Value) -> PodSpec {
        serde_json::from_value(json!({"containers": [{"name": "a", "resources": resources}]}))
            .unwrap()
    }

    fn admit(
        pod: &PodSpec,
        hard: serde_json::Value,
        scopes: &[&str],
        used: serde_json::Value,
    ) -> Result<ResourceList, QuotaError> {
        let scopes: Vec<String> = scopes.iter().map(|s| (*s).to_owned()).collect();
        let pod = QuotaPod { spec: pod, cross_namespace_affinity: false };
        quota_admits(&pod, &list(hard), &scopes, &list(used))
    }

    #[test]
    fn usage_adds_up_to_the_limit() {
        let p = pod(json!({"requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": 1}}));
        let hard = json!({"cpu": "2", "pods": 10, "requests.nvidia.com/gpu": 1});
        let after = admit(&p, hard.clone(), &[], json!({"cpu": "1500m"})).unwrap();
        assert_eq!(after, list(json!({"cpu": "2", "pods": 1, "requests.nvidia.com/gpu": 1})));
        let over = admit(&p, hard, &[], json!({"cpu": "1501m"}));
        // Wording: staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go.
        assert_eq!(
            over.unwrap_err().named("team"),
            "exceeded quota: team, requested: cpu=500m, used: cpu=1501m, limited: cpu=2"
        );
    }

    #[test]
    fn what_a_pod_used_is_given_back() {
        let p = pod(json!({"requests": {"cpu": "500m"}}));
        let mut used = list(json!({"cpu": "1500m", "pods": 3}));
        let view = QuotaPod { spec: &p, cross_namespace_affinity: false };
        quota_release(&view, &list(json!({"cpu": "2", "pods": 9})), &[], &mut used);
        assert_eq!(used, list(json!({"cpu": "1", "pods": 2})));
    }

    #[test]
    fn tracked_resources_must_be_stated() {
        let p = pod(json!({"requests": {"cpu": "500m"}}));
        let hard = json!({"limits.cpu": "2", "memory": "1Gi", "cpu": "4"});
        let refused = admit(&p, hard, &[], json!({}));
        // Wording: pkg/quota/v1/evaluator/core/pods.go.
        assert_eq!(
            refused.unwrap_err().named("team"),
            "failed quota: team: must specify limits.cpu for: a; memory for: a"
        );
    }

    #[test]
    fn scopes_select_pods() {
        let busy = pod(json!({"requests": {"cpu": "500m"}}));
        let idle = pod(json!({}));
        let none = json!({"pods": 0});
        assert!(admit(&busy, none.clone(), &["BestEffort"], json!({})).is_ok());
        assert!(admit(&idle, none.clone(), &["BestEffort"], json!({})).is_err());
        assert!(admit(&busy, none.clone(), &["NotBestEffort"], json!({})).is_err());
        assert!(admit(&busy, none.clone(), &["Terminating"], json!({})).is_ok());
        assert!(admit(&busy, none, &["NotTerminating"], json!({})).is_err());
    }
}
