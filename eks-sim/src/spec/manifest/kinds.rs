//! The kinds that are known, their API groups and current versions, and what becomes of them.

/// What becomes of an object of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// Decoded, checked and given to the simulation.
    Typed,
    /// Read; not simulated, though it acts on a real cluster's capacity or traffic.
    NotModelled,
    /// Read; without influence on capacity, time or cost.
    NoEffect,
}

/// A kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Name.
    pub kind: &'static str,
    /// API group, empty for core.
    pub group: &'static str,
    /// Current version.
    pub version: &'static str,
    /// Groups it had before.
    pub old_groups: &'static [&'static str],
    /// What becomes of it.
    pub fate: Fate,
    /// Whether it lives in a namespace.
    pub namespaced: bool,
}

const fn typed(kind: &'static str, group: &'static str, version: &'static str) -> Kind {
    Kind { kind, group, version, old_groups: &[], fate: Fate::Typed, namespaced: true }
}
const fn other(kind: &'static str, group: &'static str, version: &'static str, fate: Fate) -> Kind {
    Kind { kind, group, version, old_groups: &[], fate, namespaced: true }
}
const fn old(mut kind: Kind, groups: &'static [&'static str]) -> Kind {
    kind.old_groups = groups;
    kind
}
const fn cluster(mut kind: Kind) -> Kind {
    kind.namespaced = false;
    kind
}

use Fate::{NoEffect, NotModelled};

/// All known kinds.
pub const KINDS: &[Kind] = &[
    old(typed("Deployment", "apps", "v1"), &["extensions"]),
    old(typed("ReplicaSet", "apps", "v1"), &["extensions"]),
    old(typed("DaemonSet", "apps", "v1"), &["extensions"]),
    typed("StatefulSet", "apps", "v1"),
    typed("ReplicationController", "", "v1"),
    typed("Job", "batch", "v1"),
    typed("CronJob", "batch", "v1"),
    typed("Pod", "", "v1"),
    typed("Service", "", "v1"),
    old(typed("HorizontalPodAutoscaler", "autoscaling", "v2"), &["extensions"]),
    typed("VerticalPodAutoscaler", "autoscaling.k8s.io", "v1"),
    typed("ScaledObject", "keda.sh", "v1alpha1"),
    typed("PodDisruptionBudget", "policy", "v1"),
    cluster(typed("PriorityClass", "scheduling.k8s.io", "v1")),
    cluster(typed("Namespace", "", "v1")),
    typed("ResourceQuota", "", "v1"),
    typed("LimitRange", "", "v1"),
    typed("PersistentVolumeClaim", "", "v1"),
    cluster(typed("PersistentVolume", "", "v1")),
    cluster(typed("StorageClass", "storage.k8s.io", "v1")),
    cluster(typed("ValidatingAdmissionPolicy", "admissionregistration.k8s.io", "v1")),
    cluster(typed("ValidatingAdmissionPolicyBinding", "admissionregistration.k8s.io", "v1")),
    cluster(typed("Node", "", "v1")),
    cluster(typed("NodePool", "karpenter.sh", "v1")),
    cluster(typed("EC2NodeClass", "karpenter.k8s.aws", "v1")),
    cluster(typed("NodeClass", "eks.amazonaws.com", "v1")),
    cluster(typed("KubeSchedulerConfiguration", "kubescheduler.config.k8s.io", "v1")),
    cluster(typed("ENIConfig", "crd.k8s.amazonaws.com", "v1alpha1")),
    typed("SecurityGroupPolicy", "vpcresources.k8s.aws", "v1beta1"),
    old(typed("Ingress", "networking.k8s.io", "v1"), &["extensions"]),
    other("NetworkPolicy", "networking.k8s.io", "v1", NotModelled),
    cluster(other("IngressClass", "networking.k8s.io", "v1", NotModelled)),
    other("Endpoints", "", "v1", NotModelled),
    other("EndpointSlice", "discovery.k8s.io", "v1", NotModelled),
    other("PodTemplate", "", "v1", NotModelled),
    cluster(other("RuntimeClass", "node.k8s.io", "v1", NotModelled)),
    cluster(other("CSIDriver", "storage.k8s.io", "v1", NotModelled)),
    cluster(other("CSINode", "storage.k8s.io", "v1", NotModelled)),
    cluster(other("VolumeAttachment", "storage.k8s.io", "v1", NotModelled)),
    other("CSIStorageCapacity", "storage.k8s.io", "v1", NotModelled),
    cluster(other("VolumeAttributesClass", "storage.k8s.io", "v1", NotModelled)),
    cluster(other("FlowSchema", "flowcontrol.apiserver.k8s.io", "v1", NotModelled)),
    cluster(other("PriorityLevelConfiguration", "flowcontrol.apiserver.k8s.io", "v1", NotModelled)),
    cluster(other(
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io",
        "v1",
        NotModelled,
    )),
    cluster(other(
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io",
        "v1",
        NotModelled,
    )),
    cluster(other("MutatingAdmissionPolicy", "admissionregistration.k8s.io", "v1", NotModelled)),
    cluster(other(
        "MutatingAdmissionPolicyBinding",
        "admissionregistration.k8s.io",
        "v1",
        NotModelled,
    )),
    cluster(other("ClusterPolicy", "kyverno.io", "v1", NotModelled)),
    other("Policy", "kyverno.io", "v1", NotModelled),
    cluster(other("ValidatingPolicy", "policies.kyverno.io", "v1", NotModelled)),
    cluster(other("MutatingPolicy", "policies.kyverno.io", "v1", NotModelled)),
    cluster(other("ConstraintTemplate", "templates.gatekeeper.sh", "v1", NotModelled)),
    cluster(other("NodeClaim", "karpenter.sh", "v1", NotModelled)),
    cluster(other("NodeOverlay", "karpenter.sh", "v1alpha1", NotModelled)),
    other("TargetGroupBinding", "elbv2.k8s.aws", "v1beta1", NotModelled),
    cluster(other("IngressClassParams", "elbv2.k8s.aws", "v1beta1", NotModelled)),
    other("ScaledJob", "keda.sh", "v1alpha1", NotModelled),
    other("Gateway", "gateway.networking.k8s.io", "v1", NotModelled),
    cluster(other("GatewayClass", "gateway.networking.k8s.io", "v1", NotModelled)),
    other("HTTPRoute", "gateway.networking.k8s.io", "v1", NotModelled),
    cluster(other("CustomResourceDefinition", "apiextensions.k8s.io", "v1", NoEffect)),
    cluster(other("APIService", "apiregistration.k8s.io", "v1", NoEffect)),
    other("TriggerAuthentication", "keda.sh", "v1alpha1", NoEffect),
    cluster(other("ClusterTriggerAuthentication", "keda.sh", "v1alpha1", NoEffect)),
    other("ServiceAccount", "", "v1", NoEffect),
    other("ConfigMap", "", "v1", NoEffect),
    other("Secret", "", "v1", NoEffect),
    other("Event", "", "v1", NoEffect),
    other("Lease", "coordination.k8s.io", "v1", NoEffect),
    other("ControllerRevision", "apps", "v1", NoEffect),
    other("Role", "rbac.authorization.k8s.io", "v1", NoEffect),
    other("RoleBinding", "rbac.authorization.k8s.io", "v1", NoEffect),
    cluster(other("ClusterRole", "rbac.authorization.k8s.io", "v1", NoEffect)),
    cluster(other("ClusterRoleBinding", "rbac.authorization.k8s.io", "v1", NoEffect)),
    cluster(other("CertificateSigningRequest", "certificates.k8s.io", "v1", NoEffect)),
    other("ServiceMonitor", "monitoring.coreos.com", "v1", NoEffect),
    other("PodMonitor", "monitoring.coreos.com", "v1", NoEffect),
    other("PrometheusRule", "monitoring.coreos.com", "v1", NoEffect),
    other("Prometheus", "monitoring.coreos.com", "v1", NotModelled),
    other("Alertmanager", "monitoring.coreos.com", "v1", NotModelled),
];

/// The kind of a group, current or old.
#[must_use]
pub fn find(group: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.kind == kind && (k.group == group || k.old_groups.contains(&group)))
}

/// `apps/v1` → (`apps`, `v1`); `v1` → (``, `v1`).
#[must_use]
pub fn split_api_version(text: &str) -> (&str, &str) {
    text.rsplit_once('/').unwrap_or(("", text))
}

/// Versions that are read without a remark although they are not the current one.
#[must_use]
pub fn same_shape(kind: &Kind, version: &str) -> bool {
    version == kind.version
        || (kind.kind == "HorizontalPodAutoscaler" && version == "v1")
        || (kind.kind == "VerticalPodAutoscaler" && version == "v1beta2")
}
