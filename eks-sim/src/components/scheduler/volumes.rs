//! Claims, volumes and attachment limits as the scheduler's cache sees them.
//!
//! A claim of EBS is unbound until its first pod runs somewhere; then a volume of the node's zone
//! is bound to it, and later pods of the claim fit in that zone only. Claims of other drivers
//! (EFS) count as bound to a volume that can be used anywhere.

use super::Scheduler;
use crate::engine::Cx;
use crate::k8s;
use crate::policy::kube_scheduler::{Cache, ClusterEvent};
use crate::units::Id;
use crate::world::model::{ClaimModel, Model, WorkloadKind};
use crate::world::{Node, PodId};

/// Driver of EBS volumes.
const EBS: &str = "ebs.csi.aws.com";
/// Label of a node's zone that EBS volumes ask for.
const ZONE: &str = "topology.ebs.csi.aws.com/zone";

/// Storage classes and the claims that pods share.
pub(super) fn known_at_start(model: &Model, cache: &mut Cache) {
    for class in &model.objects.storage_classes {
        cache.set_storage_class(class);
    }
    for (_, template) in model.templates.iter() {
        for claim in template.claims.iter().filter(|c| !c.per_pod) {
            set_claim(cache, &template.namespace, &claim.name, claim, None);
        }
    }
}

/// The EBS driver's CSINode: how many volumes the instance type can attach.
pub(super) fn attachments_of(node: Id<Node>, cache: &mut Cache, cx: &Cx<'_>) {
    let row = &cx.api().nodes[node];
    let instance = &cx.cloud().instances[row.instance];
    let kind = instance.group_type(cx.model()).instance_type;
    // The driver counts the interfaces that are attached when it starts: the primary one.
    let count = kind.csi_volume_limit(1, 0).and_then(|n| i32::try_from(n).ok());
    let driver = k8s::CsiNodeDriver {
        name: EBS.to_owned(),
        node_id: row.name().to_owned(),
        allocatable: Some(k8s::CsiVolumeNodeResources { count }),
    };
    cache.set_csi_node(&k8s::CsiNode {
        metadata: k8s::ObjectMeta { name: row.name().to_owned(), ..k8s::ObjectMeta::default() },
        spec: k8s::CsiNodeSpec { drivers: vec![driver] },
    });
}

/// Name of the claim of this number of the pod's template.
pub(super) fn claim_name(pod: PodId, index: usize, cx: &Cx<'_>) -> String {
    let Some(p) = cx.api().pods.get(pod) else { return String::new() };
    let claim = &cx.model().templates[p.template].claims[index];
    if !claim.per_pod {
        return claim.name.clone();
    }
    let workload = &cx.api().workloads[cx.api().sets[p.set].workload];
    let owner = &cx.model().workloads[workload.model].name;
    match workload.kind(cx.model()) {
        WorkloadKind::StatefulSet(_) => format!("{}-{owner}-{}", claim.name, p.ordinal),
        // An ephemeral volume: its claim lives with the pod.
        _ => format!("{owner}-{}-{}", p.ordinal, claim.name),
    }
}

/// The pod's specification with its own claims as volumes.
pub(super) fn with_claims(spec: &k8s::PodSpec, pod: PodId, cx: &Cx<'_>) -> k8s::PodSpec {
    let mut spec = spec.clone();
    let Some(p) = cx.api().pods.get(pod) else { return spec };
    for (i, claim) in cx.model().templates[p.template].claims.iter().enumerate() {
        if !claim.per_pod {
            continue;
        }
        spec.volumes.retain(|v| v.name != claim.name);
        spec.volumes.push(k8s::Volume {
            name: claim.name.clone(),
            persistent_volume_claim: Some(k8s::PersistentVolumeClaimSource {
                claim_name: claim_name(pod, i, cx),
                read_only: false,
            }),
            ..k8s::Volume::default()
        });
    }
    spec
}

/// Tells the cache of a claim; `zone` is where its volume is, once there is one.
fn set_claim(
    cache: &mut Cache,
    namespace: &str,
    name: &str,
    claim: &ClaimModel,
    zone: Option<&str>,
) {
    let mut object = (*claim.object).clone();
    object.metadata.namespace = Some(namespace.to_owned());
    name.clone_into(&mut object.metadata.name);
    if object.spec.storage_class_name.as_deref().is_none_or(str::is_empty) {
        object.spec.storage_class_name = Some("gp2".to_owned());
    }
    if zone.is_some() || !claim.zonal {
        let volume = format!("pvc-{namespace}-{name}");
        cache.set_volume(&volume_object(&volume, &object, zone, claim.zonal));
        object.spec.volume_name = Some(volume);
        "Bound".clone_into(&mut object.status.phase);
        let bound = ("pv.kubernetes.io/bind-completed".to_owned(), "yes".to_owned());
        object.metadata.annotations.extend([bound]);
    }
    cache.set_claim(&object);
}

fn volume_object(
    name: &str,
    claim: &k8s::PersistentVolumeClaim,
    zone: Option<&str>,
    zonal: bool,
) -> k8s::PersistentVolume {
    let in_zone = |zone: &str| k8s::VolumeNodeAffinity {
        required: Some(k8s::NodeSelector {
            node_selector_terms: vec![k8s::NodeSelectorTerm {
                match_expressions: vec![k8s::NodeSelectorRequirement {
                    key: ZONE.to_owned(),
                    operator: "In".to_owned(),
                    values: vec![zone.to_owned()],
                }],
                ..k8s::NodeSelectorTerm::default()
            }],
        }),
    };
    let driver = if zonal { EBS } else { "efs.csi.aws.com" };
    k8s::PersistentVolume {
        metadata: k8s::ObjectMeta { name: name.to_owned(), ..k8s::ObjectMeta::default() },
        spec: k8s::PersistentVolumeSpec {
            capacity: claim.spec.resources.requests.clone(),
            access_modes: claim.spec.access_modes.clone(),
            storage_class_name: claim.spec.storage_class_name.clone(),
            node_affinity: zone.map(in_zone),
            claim_ref: Some(k8s::ClaimReference {
                namespace: claim.metadata.namespace_or_default().to_owned(),
                name: claim.metadata.name.clone(),
                uid: None,
            }),
            csi: Some(k8s::CsiPersistentVolumeSource {
                driver: driver.to_owned(),
                volume_handle: name.to_owned(),
            }),
            ..k8s::PersistentVolumeSpec::default()
        },
        ..k8s::PersistentVolume::default()
    }
}

impl Scheduler {
    /// A pod's own claim appears with the pod, unless it is there from an earlier pod.
    pub(super) fn new_claim(&mut self, namespace: &str, name: &str, claim: &ClaimModel) {
        set_claim(&mut self.cache, namespace, name, claim, None);
    }

    /// A volume was made for the pod's claim, in the zone of its node.
    pub(super) fn volume_created(&mut self, pod: PodId, index: u8, cx: &mut Cx<'_>) {
        let Some(p) = cx.api().pods.get(pod) else { return };
        let template = &cx.model().templates[p.template];
        let (Some(claim), Some(node)) = (template.claims.get(usize::from(index)), p.node) else {
            return;
        };
        let instance = &cx.cloud().instances[cx.api().nodes[node].instance];
        let zone = claim.zonal.then(|| cx.model().zones[instance.zone].as_str());
        let name = claim_name(pod, usize::from(index), cx);
        set_claim(&mut self.cache, &template.namespace, &name, claim, zone);
        self.queue.on_event(&ClusterEvent::StorageChanged, cx.now(), &self.cache);
        self.go_on(cx);
    }
}
