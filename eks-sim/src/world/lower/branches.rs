//! Security groups for pods: which pods get a branch interface.
//!
//! Upstream: aws/amazon-vpc-resource-controller-k8s, its pod webhook: pods that a
//! SecurityGroupPolicy of their namespace selects ask for one `vpc.amazonaws.com/pod-eni`; pods
//! on the host's network do not. From memory.
//! Differences: `serviceAccountSelector` is not followed, since labels of service accounts are
//! not read.

use crate::k8s::{PodSpec, PodTemplateSpec};
use crate::spec::Manifests;
use crate::units::Quantity;
use crate::world::model::Model;

/// The extended resource of branch interfaces.
pub(super) const POD_ENI: &str = "vpc.amazonaws.com/pod-eni";

/// Whether pods of the template get a branch interface.
pub(super) fn wanted(
    object: &PodTemplateSpec,
    namespace: &str,
    manifests: &Manifests,
    model: &Model,
) -> bool {
    let network = &model.network;
    if !network.cni_enabled || !network.cni.pod_eni || object.spec.host_network {
        return false;
    }
    manifests.security_group_policies.iter().map(|p| &p.object).any(|policy| {
        policy.metadata.namespace_or_default() == namespace
            && policy.spec.pod_selector.as_ref().is_some_and(|s| s.matches(&object.metadata.labels))
    })
}

/// What the webhook adds: a request and a limit on the first container.
pub(super) fn request(spec: &mut PodSpec) {
    if let Some(first) = spec.containers.first_mut() {
        let resources = &mut first.resources;
        resources.requests.insert(POD_ENI.to_owned(), Quantity::from_units(1));
        resources.limits.insert(POD_ENI.to_owned(), Quantity::from_units(1));
    }
}
