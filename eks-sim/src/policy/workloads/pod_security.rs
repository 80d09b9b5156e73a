//! Pod Security Admission: what a pod breaks at a level.
//!
//! Upstream: kubernetes/kubernetes v1.34 `staging/src/k8s.io/pod-security-admission/policy`.
//! Differences: AppArmor, SELinux, sysctls and Windows host processes are not in our pod type.

use crate::k8s::{Container, PodSpec, SecurityContext};

/// Level of a namespace label `pod-security.kubernetes.io/…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PodSecurityLevel {
    /// No checks.
    #[default]
    Privileged,
    /// No known privilege escalations.
    Baseline,
    /// Hardened pods.
    Restricted,
}

impl PodSecurityLevel {
    /// From the label's value; unknown values count as restricted, as upstream does.
    #[must_use]
    pub fn from_label(value: &str) -> Self {
        match value {
            "privileged" => Self::Privileged,
            "baseline" => Self::Baseline,
            _ => Self::Restricted,
        }
    }
}

/// Capabilities that the baseline level lets a container add.
pub(super) const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Checks that `pod` fails at `level`, by upstream's identifiers, in a fixed order.
#[must_use]
pub fn pod_security_violations(level: PodSecurityLevel, pod: &PodSpec) -> Vec<&'static str> {
    let mut broken = Vec::new();
    if level >= PodSecurityLevel::Baseline {
        baseline(pod, level, &mut broken);
    }
    if level >= PodSecurityLevel::Restricted {
        restricted(pod, &mut broken);
    }
    broken
}

fn containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.containers.iter().chain(&pod.init_containers)
}

fn contexts(pod: &PodSpec) -> impl Iterator<Item = &SecurityContext> {
    containers(pod).filter_map(|c| c.security_context.as_ref())
}

fn baseline(pod: &PodSpec, level: PodSecurityLevel, broken: &mut Vec<&'static str>) {
    let mut add = |id, is_broken: bool| {
        if is_broken {
            broken.push(id);
        }
    };
    add("hostNamespaces", pod.host_network || pod.host_pid || pod.host_ipc);
    add("privileged", contexts(pod).any(|c| c.privileged == Some(true)));
    // The restricted level has its own, stricter check of capabilities and volumes.
    if level == PodSecurityLevel::Baseline {
        let foreign = |c: &SecurityContext| {
            let added = c.capabilities.iter().flat_map(|caps| &caps.add);
            added.into_iter().any(|cap| !BASELINE_CAPABILITIES.contains(&cap.as_str()))
        };
        add("capabilities_baseline", contexts(pod).any(foreign));
        add("hostPathVolumes", pod.volumes.iter().any(|v| v.host_path.is_some()));
    }
    add("hostPorts", containers(pod).any(|c| c.ports.iter().any(|p| p.host_port != 0)));
    let masked = |c: &SecurityContext| c.proc_mount.as_deref().is_none_or(|m| m == "Default");
    add("procMount", !contexts(pod).all(masked));
    if level == PodSecurityLevel::Baseline {
        let unconfined = |c: &SecurityContext| {
            c.seccomp_profile.as_ref().is_some_and(|p| p.kind == "Unconfined")
        };
        let any = pod.security_context.iter().chain(contexts(pod)).any(unconfined);
        add("seccompProfile_baseline", any);
    }
}

fn restricted(pod: &PodSpec, broken: &mut Vec<&'static str>) {
    let foreign_volume = pod.volumes.iter().any(|v| {
        v.host_path.is_some()
            || v.aws_elastic_block_store.is_some()
            || v.gce_persistent_disk.is_some()
            || v.iscsi.is_some()
            || v.rbd.is_some()
    });
    let escalates = |c: &Container| {
        let context = c.security_context.as_ref();
        context.and_then(|s| s.allow_privilege_escalation) != Some(false)
    };
    let of_pod = pod.security_context.as_ref();
    let non_root = |c: &Container| {
        let own = c.security_context.as_ref().and_then(|s| s.run_as_non_root);
        own.or(of_pod.and_then(|s| s.run_as_non_root)) == Some(true)
    };
    let root = |c: &SecurityContext| c.run_as_user == Some(0);
    let sealed = |c: &Container| {
        let own = c.security_context.as_ref().and_then(|s| s.seccomp_profile.as_ref());
        let profile = own.or(of_pod.and_then(|s| s.seccomp_profile.as_ref()));
        profile.is_some_and(|p| matches!(p.kind.as_str(), "RuntimeDefault" | "Localhost"))
    };
    let capable = |c: &Container| {
        let caps = c.security_context.as_ref().and_then(|s| s.capabilities.as_ref());
        caps.is_none_or(|caps| {
            !caps.drop.iter().any(|d| d == "ALL")
                || caps.add.iter().any(|a| a != "NET_BIND_SERVICE")
        })
    };
    let checks = [
        ("restrictedVolumes", foreign_volume),
        ("allowPrivilegeEscalation", containers(pod).any(escalates)),
        ("runAsNonRoot", !containers(pod).all(non_root)),
        ("runAsUser", of_pod.into_iter().chain(contexts(pod)).any(root)),
        ("seccompProfile_restricted", !containers(pod).all(sealed)),
        ("capabilities_restricted", containers(pod).any(capable)),
    ];
    broken.extend(checks.iter().filter(|(_, fails)| *fails).map(|(id, _)| *id));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(level: PodSecurityLevel, pod: serde_json::Value) -> Vec<&'static str> {
        pod_security_violations(level, &serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn levels_grow_stricter() {
        use PodSecurityLevel::{Baseline, Privileged, Restricted};
        let plain = json!({"containers": [{"name": "a"}]});
        assert!(check(Baseline, plain.clone()).is_empty());
        assert_eq!(
            check(Restricted, plain),
            [
                "allowPrivilegeEscalation",
                "runAsNonRoot",
                "seccompProfile_restricted",
                "capabilities_restricted"
            ]
        );
        let host = json!({"hostNetwork": true, "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
            "containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 80}],
                "securityContext": {"privileged": true,
                    "capabilities": {"add": ["CHOWN", "NET_ADMIN"]}}}]});
        assert!(check(Privileged, host.clone()).is_empty());
        assert_eq!(
            check(Baseline, host),
            [
                "hostNamespaces",
                "privileged",
                "capabilities_baseline",
                "hostPathVolumes",
                "hostPorts"
            ]
        );
        let hardened = json!({"securityContext": {"runAsNonRoot": true,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}]});
        assert!(check(Restricted, hardened).is_empty());
        assert_eq!(PodSecurityLevel::from_label("oops"), Restricted);
    }
}
