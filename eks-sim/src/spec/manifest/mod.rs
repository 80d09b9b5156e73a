//! Kubernetes manifests: files, folders and patterns into typed objects.
//!
//! A life of a document: read ([`super::read`]), parsed into a tree, unpacked from its `List`,
//! recognised by group and kind ([`kinds`]), looked at for placeholders and patches, decoded,
//! checked, completed with upstream's defaults, and kept unless a later one replaces it.

pub mod files;
pub mod kinds;
mod misspelled;

mod check;
mod collect;
mod cross;
mod defaults;
mod modern;
mod template;
pub mod triggers;

pub use collect::{load_manifests, load_text};
pub use defaults::{
    default_container, default_cron_job, default_daemon_set, default_deployment, default_hpa,
    default_job, default_pod_spec, default_replica_set, default_scaled_object, default_service,
    default_stateful_set,
};

use super::source::SourceSpan;
use crate::k8s;

/// What is wrong with a name of an object (DNS-1123 label), with the mend.
#[must_use]
pub fn name_problem(name: &str) -> Option<String> {
    check::dns_label(name)
}

/// Whether an image has the tag `latest` or none, and no digest.
#[must_use]
pub fn floating_image(image: &str) -> bool {
    defaults::always_pulled(image)
}

/// An object and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<T> {
    /// The object, complete with upstream's defaults.
    pub object: T,
    /// Where the object stands.
    pub span: SourceSpan,
    /// Where some of its fields stand, by dotted path.
    pub marks: Vec<(&'static str, SourceSpan)>,
}

impl<T> Sourced<T> {
    /// Where a field stands (see [`MARKED`]), the object if it has none.
    #[must_use]
    pub fn at(&self, path: &str) -> SourceSpan {
        self.marks.iter().find(|m| m.0 == path).map_or(self.span, |m| m.1)
    }
}

/// Fields whose places are kept for messages about several objects.
pub const MARKED: &[&str] = &[
    "metadata.name",
    "spec.replicas",
    "spec.selector",
    "spec.scaleTargetRef",
    "spec.targetRef",
    "spec.metrics",
    "spec.triggers",
    "spec.minAvailable",
    "spec.maxUnavailable",
    "spec.schedule",
    "spec.serviceName",
    "spec.template.spec.volumes",
    "spec.template.spec.containers",
    "spec.template.spec.nodeSelector",
    "spec.template.spec.affinity",
    "spec.template.spec.priorityClassName",
    "spec.storageClassName",
    "spec.template.spec.nodeClassRef",
    "spec.subnet",
    "spec.template.spec.requirements.0",
    "spec.template.spec.requirements.1",
    "spec.template.spec.requirements.2",
    "spec.template.spec.requirements.3",
    "spec.template.spec.requirements.4",
    "spec.template.spec.requirements.5",
    "spec.template.spec.requirements.6",
    "spec.template.spec.requirements.7",
    "spec.template.spec.requirements.8",
    "spec.template.spec.requirements.9",
];

/// A document that is read but has no typed form: its kind is not simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmodelled {
    /// API group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace and name.
    pub name: String,
    /// Where it stands.
    pub span: SourceSpan,
}

/// The cluster's objects as they were given, in the order of files and documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// Deployments.
    pub deployments: Vec<Sourced<k8s::Deployment>>,
    /// ReplicaSets without a controller, and ReplicationControllers.
    pub replica_sets: Vec<Sourced<k8s::ReplicaSet>>,
    /// StatefulSets.
    pub stateful_sets: Vec<Sourced<k8s::StatefulSet>>,
    /// DaemonSets.
    pub daemon_sets: Vec<Sourced<k8s::DaemonSet>>,
    /// Jobs without a controller.
    pub jobs: Vec<Sourced<k8s::Job>>,
    /// CronJobs.
    pub cron_jobs: Vec<Sourced<k8s::CronJob>>,
    /// Pods without a controller.
    pub pods: Vec<Sourced<k8s::Pod>>,
    /// Services.
    pub services: Vec<Sourced<k8s::Service>>,
    /// HorizontalPodAutoscalers of every version, as v2.
    pub hpas: Vec<Sourced<k8s::HorizontalPodAutoscaler>>,
    /// VerticalPodAutoscalers.
    pub vpas: Vec<Sourced<k8s::VerticalPodAutoscaler>>,
    /// KEDA's ScaledObjects.
    pub scaled_objects: Vec<Sourced<k8s::ScaledObject>>,
    /// PodDisruptionBudgets.
    pub pdbs: Vec<Sourced<k8s::PodDisruptionBudget>>,
    /// PriorityClasses.
    pub priority_classes: Vec<Sourced<k8s::PriorityClass>>,
    /// Namespaces.
    pub namespaces: Vec<Sourced<k8s::Namespace>>,
    /// ResourceQuotas.
    pub resource_quotas: Vec<Sourced<k8s::ResourceQuota>>,
    /// LimitRanges.
    pub limit_ranges: Vec<Sourced<k8s::LimitRange>>,
    /// PersistentVolumeClaims.
    pub pvcs: Vec<Sourced<k8s::PersistentVolumeClaim>>,
    /// PersistentVolumes.
    pub pvs: Vec<Sourced<k8s::PersistentVolume>>,
    /// StorageClasses.
    pub storage_classes: Vec<Sourced<k8s::StorageClass>>,
    /// ValidatingAdmissionPolicies.
    pub admission_policies: Vec<Sourced<k8s::ValidatingAdmissionPolicy>>,
    /// Their bindings.
    pub admission_bindings: Vec<Sourced<k8s::ValidatingAdmissionPolicyBinding>>,
    /// Nodes, from dumps.
    pub nodes: Vec<Sourced<k8s::Node>>,
    /// Karpenter NodePools.
    pub node_pools: Vec<Sourced<k8s::NodePool>>,
    /// Karpenter EC2NodeClasses.
    pub ec2_node_classes: Vec<Sourced<k8s::Ec2NodeClass>>,
    /// ENIConfigs of the VPC CNI.
    pub eni_configs: Vec<Sourced<k8s::EniConfig>>,
    /// SecurityGroupPolicies: pods with branch interfaces.
    pub security_group_policies: Vec<Sourced<k8s::SecurityGroupPolicy>>,
    /// Ingresses.
    pub ingresses: Vec<Sourced<k8s::Ingress>>,
    /// NodeClasses of EKS Auto Mode.
    pub auto_node_classes: Vec<Sourced<k8s::NodeClass>>,
    /// KubeSchedulerConfiguration documents, as they are.
    pub scheduler_configurations: Vec<Sourced<serde_json::Value>>,
    /// Everything else.
    pub unmodelled: Vec<Unmodelled>,
}

/// A pod template of a workload, with what identifies it.
#[derive(Clone, Copy, Debug)]
pub struct TemplateRef<'a> {
    /// Kind of the workload.
    pub kind: &'static str,
    /// Metadata of the workload.
    pub metadata: &'a k8s::ObjectMeta,
    /// Labels of its pods.
    pub labels: &'a k8s::StringMap,
    /// Specification of its pods.
    pub spec: &'a k8s::PodSpec,
    /// Wanted pods, where the kind has a number.
    pub replicas: Option<i32>,
    /// Where the workload stands.
    pub span: SourceSpan,
    /// Where some of its fields stand.
    pub marks: &'a [(&'static str, SourceSpan)],
}

impl TemplateRef<'_> {
    /// Where a field stands, the workload if unknown.
    #[must_use]
    pub fn at(&self, path: &str) -> SourceSpan {
        self.marks.iter().find(|m| m.0 == path).map_or(self.span, |m| m.1)
    }
}

impl Manifests {
    /// Number of typed objects.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut count = self.deployments.len() + self.replica_sets.len() + self.stateful_sets.len();
        count += self.daemon_sets.len() + self.jobs.len() + self.cron_jobs.len() + self.pods.len();
        count += self.scheduler_configurations.len();
        count += self.admission_policies.len() + self.admission_bindings.len();
        count += self.services.len() + self.hpas.len() + self.vpas.len() + self.pdbs.len();
        count += self.scaled_objects.len();
        count += self.priority_classes.len() + self.namespaces.len() + self.resource_quotas.len();
        count += self.limit_ranges.len() + self.pvcs.len() + self.pvs.len() + self.nodes.len();
        count += self.auto_node_classes.len();
        count + self.storage_classes.len() + self.node_pools.len() + self.ec2_node_classes.len()
    }
    /// Whether there is no typed object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The pod templates of all workloads and the pods without one, in a fixed order.
    #[must_use]
    pub fn templates(&self) -> Vec<TemplateRef<'_>> {
        let mut out = Vec::new();
        let one = |n: Option<i32>| Some(n.unwrap_or(1));
        macro_rules! add {
            ($list:ident, $kind:literal, $template:ident, $($path:ident).+, $replicas:expr) => {
                for sourced in &self.$list {
                    let object = &sourced.object;
                    let $template = object;
                    let template = &$template.$($path).+;
                    out.push(TemplateRef {
                        kind: $kind,
                        metadata: &object.metadata,
                        labels: &template.metadata.labels,
                        spec: &template.spec,
                        replicas: $replicas(object),
                        span: sourced.span,
                        marks: &sourced.marks,
                    });
                }
            };
        }
        add!(deployments, "Deployment", o, spec.template, |o: &k8s::Deployment| one(o
            .spec
            .replicas));
        add!(replica_sets, "ReplicaSet", o, spec.template, |o: &k8s::ReplicaSet| one(o
            .spec
            .replicas));
        add!(stateful_sets, "StatefulSet", o, spec.template, |o: &k8s::StatefulSet| one(o
            .spec
            .replicas));
        add!(daemon_sets, "DaemonSet", o, spec.template, |_: &k8s::DaemonSet| None);
        add!(jobs, "Job", o, spec.template, |o: &k8s::Job| one(o.spec.parallelism));
        add!(cron_jobs, "CronJob", o, spec.job_template.spec.template, |_: &k8s::CronJob| None);
        for sourced in &self.pods {
            let object = &sourced.object;
            out.push(TemplateRef {
                kind: "Pod",
                metadata: &object.metadata,
                labels: &object.metadata.labels,
                spec: &object.spec,
                replicas: Some(1),
                span: sourced.span,
                marks: &sourced.marks,
            });
        }
        out
    }
}

#[cfg(test)]
mod tests;
