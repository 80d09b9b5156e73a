//! Fargate profiles: which pods they take, what size a pod gets, what Fargate does not run.
//!
//! Upstream: EKS user guide, "Fargate profile", "Fargate pod configuration" (sizes) and "AWS Fargate"
//! (considerations); the words of refusals are those that the fargate-scheduler's events were seen to
//! have. Differences: ephemeral storage is not counted; a pod that matches several profiles takes
//! the first by name, unless its label `eks.amazonaws.com/fargate-profile` names one.

use crate::catalog::fargate_fit;
use crate::k8s::PodSpec;
use crate::units::{Bytes, MilliCpu};

/// Label by which a pod chooses among profiles that match it.
pub const PROFILE_LABEL: &str = "eks.amazonaws.com/fargate-profile";
/// Key of the label and of the taint that tell a Fargate node.
pub const COMPUTE_TYPE: &str = "eks.amazonaws.com/compute-type";

/// vCPU and memory of the micro-VM for these requests (the larger of the largest init container
/// and the sum of the others): 256 MiB are added for Kubernetes' own parts, then the next size is
/// taken.
#[must_use]
pub fn size(cpu: MilliCpu, memory: Bytes, overhead: Bytes) -> Option<(MilliCpu, Bytes)> {
    if cpu == MilliCpu::ZERO && memory == Bytes::ZERO {
        return fargate_fit(cpu, memory);
    }
    fargate_fit(cpu, memory + overhead)
}

/// Why Fargate does not run a pod of this specification; `block_volumes` are claims of EBS.
#[must_use]
pub fn refusal(spec: &PodSpec, block_volumes: &[&str]) -> Option<String> {
    let mut fields: Vec<&str> = Vec::new();
    if spec.host_network {
        fields.push("HostNetwork");
    }
    let containers = || spec.init_containers.iter().chain(&spec.containers);
    if containers().flat_map(|c| &c.ports).any(|p| p.host_port > 0) {
        fields.push("HostPort");
    }
    let mut reasons = Vec::new();
    if !fields.is_empty() {
        reasons.push(format!("fields not supported: {}", fields.join(", ")));
    }
    let privileged = containers()
        .filter_map(|c| c.security_context.as_ref())
        .any(|s| s.privileged == Some(true));
    if privileged {
        reasons.push("invalid SecurityContext fields: Privileged".to_owned());
    }
    let devices: Vec<String> = containers()
        .flat_map(|c| c.resources.requests.keys().chain(c.resources.limits.keys()))
        .filter(|name| name.contains('/'))
        .map(|name| format!("resource not supported: {name}"))
        .collect();
    reasons.extend(devices.into_iter().collect::<std::collections::BTreeSet<_>>());
    for (key, value) in [("kubernetes.io/arch", "arm64"), ("kubernetes.io/os", "windows")] {
        if spec.node_selector.get(key).is_some_and(|v| v == value) {
            reasons.push(format!("{key} {value} is not supported"));
        }
    }
    for claim in block_volumes {
        reasons.push(format!("volumes not supported: {claim} is a block volume (EBS)"));
    }
    let why = reasons.join("; ");
    (!why.is_empty()).then(|| format!("Pod not supported on Fargate: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Validation E6 and G8.
    #[test]
    fn sizes_round_up() {
        let mib = Bytes::from_mib;
        let of = |cpu, memory| size(MilliCpu::new(cpu), memory, mib(256));
        assert_eq!(of(1000, Bytes::new(2_500_000_000)), Some((MilliCpu::new(1000), mib(3072))));
        assert_eq!(of(0, Bytes::ZERO), Some((MilliCpu::new(250), mib(512))));
        assert_eq!(of(250, mib(512)), Some((MilliCpu::new(250), mib(1024))));
        assert_eq!(of(1000, mib(8192)), Some((MilliCpu::new(2000), mib(9216))));
        assert_eq!(of(16_000, mib(120 * 1024)), None);
    }

    #[test]
    fn what_fargate_does_not_run() {
        let spec = |text: &str| serde_json::from_str::<PodSpec>(text).unwrap();
        assert_eq!(refusal(&spec(r#"{"containers": [{"name": "a"}]}"#), &[]), None);
        for (text, word) in [
            (r#"{"containers": [{"name": "a"}], "hostNetwork": true}"#, "HostNetwork"),
            (
                r#"{"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}]}"#,
                "HostPort",
            ),
            (
                r#"{"containers": [{"name": "a", "securityContext": {"privileged": true}}]}"#,
                "Privileged",
            ),
            (
                r#"{"containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": 1}}}]}"#,
                "nvidia.com/gpu",
            ),
            (
                r#"{"containers": [{"name": "a"}], "nodeSelector": {"kubernetes.io/arch": "arm64"}}"#,
                "arm64",
            ),
        ] {
            let why = refusal(&spec(text), &[]).unwrap_or_default();
            assert!(why.contains(word), "{word}: {why}");
        }
        let plain = spec(r#"{"containers": [{"name": "a"}]}"#);
        assert!(refusal(&plain, &["data"]).unwrap_or_default().contains("data"));
    }
}
