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
    /// Tracked compute resources that the pod does not state.
    #[error("must specify {0} for every container")]
    MustSpecify(String),
    /// The quota would be exceeded.
    #[error("exceeded quota: {resource}, requested: {requested}, used: {used}, limited: {limited}")]
    Exceeded {
        /// Tracked name.
        resource: String,
        /// What the pod adds.
        requested: Quantity,
        /// What is used already.
        used: Quantity,
        /// What is allowed.
        limited: Quantity,
    },
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
    for (resource, &limited) in hard {
        let requested = usage.get(resource).copied().unwrap_or_default();
        let held = after.entry(resource.clone()).or_default();
        let before = *held;
        *held += requested;
        // A name the pod does not add to is not checked: it may already be over.
        if !requested.is_zero() && *held > limited {
            let resource = resource.clone();
            return Err(QuotaError::Exceeded { resource, requested, used: before, limited });
        }
    }
    Ok(after)
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
        if !pod.containers.iter().chain(&pod.init_containers).all(states) {
            missing.push(name.as_str());
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(QuotaError::MustSpecify(missing.join(","))) }
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
        assert!(matches!(over, Err(QuotaError::Exceeded { resource, .. }) if resource == "cpu"));
    }

    #[test]
    fn tracked_resources_must_be_stated() {
        let p = pod(json!({"requests": {"cpu": "500m"}}));
        let hard = json!({"limits.cpu": "2", "memory": "1Gi", "cpu": "4"});
        let refused = admit(&p, hard, &[], json!({}));
        assert_eq!(refused, Err(QuotaError::MustSpecify("limits.cpu,memory".to_owned())));
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
