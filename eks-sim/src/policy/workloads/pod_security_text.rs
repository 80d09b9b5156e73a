//! Pod Security Admission: the words of a refusal.
//!
//! Upstream: kubernetes/kubernetes v1.34 `staging/src/k8s.io/pod-security-admission/{admission,
//! policy}`: reason and detail of each check. Differences: those of [`super::pod_security`].

use super::{PodSecurityLevel, pod_security_violations};
use crate::k8s::{Container, PodSpec, SecurityContext};

/// Checks of the restricted level alone.
const RESTRICTED_CHECKS: [&str; 6] = [
    "allowPrivilegeEscalation",
    "capabilities_restricted",
    "restrictedVolumes",
    "runAsNonRoot",
    "runAsUser",
    "seccompProfile_restricted",
];

/// What the API server writes after `is forbidden: `, if the pod breaks the level.
#[must_use]
pub fn pod_security_refusal(
    level: PodSecurityLevel,
    version: &str,
    pod: &PodSpec,
) -> Option<String> {
    let broken = pod_security_violations(level, pod);
    if broken.is_empty() {
        return None;
    }
    let name = match level {
        PodSecurityLevel::Privileged => "privileged",
        PodSecurityLevel::Baseline => "baseline",
        PodSecurityLevel::Restricted => "restricted",
    };
    // Upstream runs the checks of baseline first, then those that restricted adds, each in the
    // order of their identifiers (policy/registry.go).
    let mut parts: Vec<(bool, &str)> =
        broken.iter().map(|id| (RESTRICTED_CHECKS.contains(id), *id)).collect();
    parts.sort_unstable();
    let texts: Vec<String> = parts.into_iter().map(|p| reason(p.1, pod)).collect();
    Some(format!("violates PodSecurity \"{name}:{version}\": {}", texts.join(", ")))
}

fn reason(id: &str, pod: &PodSpec) -> String {
    match id {
        "hostNamespaces" => format!("host namespaces ({})", host_namespaces(pod)),
        "privileged" => must_not("privileged", "set securityContext.privileged=true", pod, |c| {
            c.privileged == Some(true)
        }),
        "hostPathVolumes" => {
            let names =
                quoted(pod.volumes.iter().filter(|v| v.host_path.is_some()).map(|v| &*v.name));
            format!("hostPath volumes ({} {})", plural("volume", names.len()), names.join(", "))
        }
        "hostPorts" => host_ports(pod),
        "capabilities_baseline" => added(pod, "non-default capabilities", |cap| {
            !super::pod_security::BASELINE_CAPABILITIES.contains(&cap)
        }),
        "procMount" => {
            must_not("procMount", "set securityContext.procMount to \"Unmasked\"", pod, |c| {
                c.proc_mount.as_deref().is_some_and(|m| m != "Default")
            })
        }
        "seccompProfile_baseline" => must_not(
            "seccompProfile",
            "set securityContext.seccompProfile.type to \"Unconfined\"",
            pod,
            |c| c.seccomp_profile.as_ref().is_some_and(|p| p.kind == "Unconfined"),
        ),
        "restrictedVolumes" => restricted_volumes(pod),
        "allowPrivilegeEscalation" => {
            let silent = |c: &Container| {
                let context = c.security_context.as_ref();
                context.and_then(|s| s.allow_privilege_escalation) != Some(false)
            };
            format!(
                "allowPrivilegeEscalation != false ({} must set \
                 securityContext.allowPrivilegeEscalation=false)",
                named(pod, silent)
            )
        }
        "runAsNonRoot" => {
            let silent = |c: &Container| {
                c.security_context.as_ref().and_then(|s| s.run_as_non_root) != Some(true)
            };
            format!(
                "runAsNonRoot != true (pod or {} must set securityContext.runAsNonRoot=true)",
                named(pod, silent)
            )
        }
        "runAsUser" => {
            must_not("runAsUser=0", "set runAsUser=0", pod, |c| c.run_as_user == Some(0))
        }
        "seccompProfile_restricted" => {
            let silent = |c: &Container| {
                let profile = c.security_context.as_ref().and_then(|s| s.seccomp_profile.as_ref());
                !profile.is_some_and(|p| matches!(p.kind.as_str(), "RuntimeDefault" | "Localhost"))
            };
            format!(
                "seccompProfile (pod or {} must set securityContext.seccompProfile.type to \
                 \"RuntimeDefault\" or \"Localhost\")",
                named(pod, silent)
            )
        }
        "capabilities_restricted" => unrestricted_capabilities(pod),
        other => other.to_owned(),
    }
}

fn containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().chain(&pod.containers)
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(|n| format!("\"{n}\"")).collect()
}

fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// `container "a"` or `containers "a", "b"` for those that fail.
fn named(pod: &PodSpec, fails: impl Fn(&Container) -> bool) -> String {
    let names = quoted(containers(pod).filter(|c| fails(c)).map(|c| c.name.as_str()));
    format!("{} {}", plural("container", names.len()), names.join(", "))
}

/// Whether the pod's own context, containers, or both do what they must not.
fn must_not(
    title: &str,
    what: &str,
    pod: &PodSpec,
    fails: impl Fn(&SecurityContext) -> bool,
) -> String {
    let of_pod = pod.security_context.as_ref().is_some_and(&fails);
    let in_container = |c: &Container| c.security_context.as_ref().is_some_and(&fails);
    let who = match (of_pod, containers(pod).any(in_container)) {
        (true, true) => format!("pod and {}", named(pod, in_container)),
        (true, false) => "pod".to_owned(),
        _ => named(pod, in_container),
    };
    format!("{title} ({who} must not {what})")
}

fn host_namespaces(pod: &PodSpec) -> String {
    let all = [
        (pod.host_network, "hostNetwork=true"),
        (pod.host_pid, "hostPID=true"),
        (pod.host_ipc, "hostIPC=true"),
    ];
    let set: Vec<&str> = all.iter().filter(|a| a.0).map(|a| a.1).collect();
    set.join(", ")
}

fn host_ports(pod: &PodSpec) -> String {
    let uses = |c: &Container| c.ports.iter().any(|p| p.host_port != 0);
    let mut ports: Vec<i64> = containers(pod)
        .flat_map(|c| c.ports.iter().map(|p| i64::from(p.host_port)))
        .filter(|p| *p != 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let verb = if containers(pod).filter(|c| uses(c)).count() == 1 { "uses" } else { "use" };
    let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let word = plural("hostPort", ports.len());
    format!("hostPort ({} {verb} {word} {})", named(pod, uses), list.join(", "))
}

fn capabilities(c: &Container) -> (&[String], &[String]) {
    let caps = c.security_context.as_ref().and_then(|s| s.capabilities.as_ref());
    caps.map_or((&[], &[]), |caps| (&caps.add, &caps.drop))
}

fn added(pod: &PodSpec, title: &str, foreign: impl Fn(&str) -> bool) -> String {
    let fails = |c: &Container| capabilities(c).0.iter().any(|cap| foreign(cap));
    let mut names: Vec<&str> = containers(pod)
        .flat_map(|c| capabilities(c).0)
        .map(String::as_str)
        .filter(|cap| foreign(cap))
        .collect();
    names.sort_unstable();
    names.dedup();
    let list = quoted(names.into_iter()).join(", ");
    let who = named(pod, fails);
    format!("{title} ({who} must not include {list} in securityContext.capabilities.add)")
}

fn unrestricted_capabilities(pod: &PodSpec) -> String {
    let keeps = |c: &Container| !capabilities(c).1.iter().any(|d| d == "ALL");
    let foreign = |c: &Container| capabilities(c).0.iter().any(|a| a != "NET_BIND_SERVICE");
    let mut parts = Vec::new();
    if containers(pod).any(keeps) {
        let who = named(pod, keeps);
        parts.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if containers(pod).any(foreign) {
        let text = added(pod, "", |cap| cap != "NET_BIND_SERVICE");
        parts.push(text.trim_start_matches(" (").trim_end_matches(')').to_owned());
    }
    format!("unrestricted capabilities ({})", parts.join("; "))
}

fn restricted_volumes(pod: &PodSpec) -> String {
    let kind = |v: &crate::k8s::Volume| {
        [
            (v.host_path.is_some(), "hostPath"),
            (v.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
            (v.gce_persistent_disk.is_some(), "gcePersistentDisk"),
            (v.iscsi.is_some(), "iscsi"),
            (v.rbd.is_some(), "rbd"),
        ]
        .into_iter()
        .find(|k| k.0)
        .map(|k| k.1)
    };
    let found: Vec<(&str, &str)> =
        pod.volumes.iter().filter_map(|v| kind(v).map(|k| (v.name.as_str(), k))).collect();
    let names = quoted(found.iter().map(|f| f.0));
    let mut kinds: Vec<&str> = found.iter().map(|f| f.1).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let verb = if names.len() == 1 { "uses" } else { "use" };
    format!(
        "restricted volume types ({} {} {verb} restricted volume {} {})",
        plural("volume", names.len()),
        names.join(", "),
        plural("type", kinds.len()),
        quoted(kinds.into_iter()).join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(level: PodSecurityLevel, pod: serde_json::Value) -> String {
        let pod = serde_json::from_value(pod).unwrap();
        pod_security_refusal(level, "latest", &pod).unwrap_or_default()
    }

    /// Texts as in `staging/src/k8s.io/pod-security-admission/policy/check_*_test.go`.
    #[test]
    fn words_are_upstreams() {
        use PodSecurityLevel::{Baseline, Restricted};
        assert_eq!(
            refusal(Restricted, json!({"containers": [{"name": "web"}]})),
            "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false \
             (container \"web\" must set securityContext.allowPrivilegeEscalation=false), \
             unrestricted capabilities (container \"web\" must set \
             securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \
             \"web\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \
             \"web\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
             \"Localhost\")"
        );
        let privileged = json!({"hostNetwork": true, "hostPID": true,
            "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
            "containers": [{"name": "a", "securityContext": {"privileged": true}},
                           {"name": "b", "ports": [{"containerPort": 1, "hostPort": 80}]}]});
        assert_eq!(
            refusal(Baseline, privileged),
            "violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true, \
             hostPID=true), hostPath volumes (volume \"root\"), hostPort (container \"b\" uses \
             hostPort 80), privileged (container \"a\" must not set \
             securityContext.privileged=true)"
        );
    }
}
