//! EKS add-ons as real pods: their manifests are shipped with the requests of the add-ons'
//! default configuration (`data/addons/*.yaml`, sources in each file).

use super::Errors;
use crate::spec::manifest::load_text;
use crate::spec::scenario::ClusterSpec;
use crate::spec::{Diagnostics, Manifests, Sources, suggest};

/// Label that marks objects of add-ons.
pub(super) const LABEL: &str = "eks-sim/addon";

const ADDONS: [(&str, &str); 7] = [
    ("vpc-cni", include_str!("../../../data/addons/vpc-cni.yaml")),
    ("kube-proxy", include_str!("../../../data/addons/kube-proxy.yaml")),
    ("karpenter", include_str!("../../../data/addons/karpenter.yaml")),
    ("coredns", include_str!("../../../data/addons/coredns.yaml")),
    ("metrics-server", include_str!("../../../data/addons/metrics-server.yaml")),
    ("aws-ebs-csi-driver", include_str!("../../../data/addons/aws-ebs-csi-driver.yaml")),
    ("eks-pod-identity-agent", include_str!("../../../data/addons/eks-pod-identity-agent.yaml")),
];

/// The user's objects behind those of the add-ons.
pub(super) fn with_addons(
    manifests: &Manifests,
    cluster: &ClusterSpec,
    errors: &mut Errors,
) -> Manifests {
    let mut all = Manifests::default();
    for (i, name) in cluster.addons.iter().enumerate() {
        let Some((_, text)) = ADDONS.iter().find(|(n, _)| n == name) else {
            let names = ADDONS.iter().map(|a| a.0);
            let help = match suggest::nearest(name, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("use some of {}", names.collect::<Vec<_>>().join(", ")),
            };
            let path = format!("cluster.addons[{i}]");
            errors.error(path, format!("`{name}` is not an add-on that is simulated"), help);
            continue;
        };
        let file = format!("addon {name}");
        let loaded = load_text(&file, text, &mut Sources::default(), &mut Diagnostics::default());
        all.deployments.extend(loaded.deployments.into_iter().filter(|d| {
            let m = &d.object.metadata;
            !manifests.deployments.iter().any(|o| {
                o.object.metadata.name == m.name
                    && o.object.metadata.namespace_or_default() == m.namespace_or_default()
            })
        }));
        all.daemon_sets.extend(loaded.daemon_sets.into_iter().filter(|d| {
            let m = &d.object.metadata;
            !manifests.daemon_sets.iter().any(|o| {
                o.object.metadata.name == m.name
                    && o.object.metadata.namespace_or_default() == m.namespace_or_default()
            })
        }));
        all.pdbs.extend(loaded.pdbs);
        all.services.extend(loaded.services);
    }
    let mut user = manifests.clone();
    all.deployments.append(&mut user.deployments);
    all.daemon_sets.append(&mut user.daemon_sets);
    all.pdbs.append(&mut user.pdbs);
    all.services.append(&mut user.services);
    Manifests {
        deployments: all.deployments,
        daemon_sets: all.daemon_sets,
        pdbs: all.pdbs,
        services: all.services,
        ..user
    }
}
