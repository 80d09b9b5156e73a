//! Settings of the CNI that leave nodes without network or pods without addresses.

use super::Input;
use crate::catalog::PodNetwork;
use crate::spec::codes;
use crate::spec::diagnostic::Reporter;
use crate::spec::scenario::{NodeGroupSpec, SubnetSpec};
use crate::spec::validate::span_of;
use std::collections::BTreeSet;

pub(super) fn check(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let cni = &input.scenario.spec.cluster.network.cni;
    if !cni.enabled {
        return;
    }
    if cni.aws_vpc_k8s_cni_custom_network_cfg {
        eni_configs(input, reporter);
    }
    density(input, reporter);
    karpenter_density(input, reporter);
    trunks(input, reporter);
    without_effect(input, reporter);
}

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Subnets in which a group's nodes may live.
fn own<'a>(group: &NodeGroupSpec, subnets: &'a [SubnetSpec]) -> Vec<&'a SubnetSpec> {
    let suits = |s: &&SubnetSpec| match group.subnets.is_empty() {
        true => s.role == "nodes",
        false => group.subnets.contains(&s.name),
    };
    subnets.iter().filter(suits).collect()
}

/// Every node of a group finds its ENIConfig.
fn eni_configs(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let cluster = &input.scenario.spec.cluster;
    let label = match cluster.network.cni.eni_config_label_def.as_str() {
        "" => "k8s.amazonaws.com/eniConfig",
        label => label,
    };
    let known: BTreeSet<&str> =
        input.manifests.eni_configs.iter().map(|c| &*c.object.metadata.name).collect();
    for (i, group) in cluster.node_groups.iter().enumerate() {
        let wanted: BTreeSet<&str> = match group.labels.get(label) {
            Some(name) => [name.as_str()].into(),
            None if label == ZONE_LABEL => {
                own(group, &cluster.network.subnets).iter().map(|s| s.zone.as_str()).collect()
            }
            None => ["default"].into(),
        };
        let missing: Vec<&str> = wanted.difference(&known).copied().collect();
        if missing.is_empty() {
            continue;
        }
        let message = format!(
            "custom networking is on, and there is no ENIConfig `{}` for nodes of the group `{}`: \
             they never become Ready",
            missing.join("`, `"),
            group.name
        );
        let at = span_of(input.tree, &format!("spec.cluster.nodeGroups.{i}.name"));
        let help = "add an ENIConfig of that name to the manifests; with `ENI_CONFIG_LABEL_DEF: \
                    topology.kubernetes.io/zone` its name is the zone's";
        reporter.warning(codes::ENI_CONFIG_MISSING, at, message, help);
    }
}

/// A group's `maxPods` is no more than the CNI has addresses for, host-network pods apart.
fn density(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let cluster = &input.scenario.spec.cluster;
    let cni = &cluster.network.cni;
    if cluster.network.ip_family == "ipv6" {
        return;
    }
    let custom = cni.aws_vpc_k8s_cni_custom_network_cfg;
    let mode = PodNetwork::new(cni.enable_prefix_delegation, custom);
    for (i, group) in cluster.node_groups.iter().enumerate() {
        let Some(asked) = group.max_pods else { continue };
        for t in super::types_of(group, cluster) {
            let Some(addresses) = t.pod_addresses(mode, Some(cni.max_eni)) else { continue };
            if asked <= addresses.saturating_add(2) {
                continue;
            }
            let why = if custom { " under custom networking" } else { "" };
            let message = format!(
                "`maxPods` is {asked}, but `{}` has addresses for {addresses} pods{why}: the \
                 others wait in ContainerCreating",
                t.name
            );
            let at = span_of(input.tree, &format!("spec.cluster.nodeGroups.{i}.maxPods"));
            let help = format!(
                "write {} (with two pods on the host's network), or leave `maxPods` out",
                addresses + 2
            );
            reporter.warning(codes::MORE_PODS_THAN_ADDRESSES, at, message, help);
            break;
        }
    }
}

/// Karpenter's nodes allow the published number of pods, whatever the CNI's mode.
fn karpenter_density(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let cluster = &input.scenario.spec.cluster;
    let custom = cluster.network.cni.aws_vpc_k8s_cni_custom_network_cfg;
    let prefixes = cluster.network.cni.enable_prefix_delegation;
    if cluster.autoscaler.karpenter.is_none() || !custom || prefixes {
        return;
    }
    for class in &input.manifests.ec2_node_classes {
        if class.object.spec.kubelet.as_ref().is_some_and(|k| k.max_pods.is_some()) {
            continue;
        }
        let message = format!(
            "custom networking is on, and the EC2NodeClass `{}` does not lower maxPods: its nodes \
             allow more pods than they have addresses for",
            class.object.metadata.name
        );
        let help = "set `kubelet: {maxPods: …}` to (interfaces - 1) x (addresses - 1) + 2 of its \
                    smallest type, or `--reserved-enis=1`";
        reporter.warning(codes::MORE_PODS_THAN_ADDRESSES, class.span, message, help);
    }
}

/// Pods with security groups of their own need a type with a trunk interface.
fn trunks(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let cluster = &input.scenario.spec.cluster;
    let scaler = &cluster.autoscaler;
    let chosen = scaler.karpenter.is_some() || scaler.auto_mode.is_some();
    let Some(policy) = input.manifests.security_group_policies.first() else { return };
    if !cluster.network.cni.enable_pod_eni || chosen {
        return;
    }
    let types = cluster.node_groups.iter().flat_map(|g| super::types_of(g, cluster));
    let mut types = types.peekable();
    let trunking =
        |t: &crate::catalog::InstanceType| t.interfaces.is_some_and(|i| i.trunking == Some(true));
    if types.peek().is_none() || types.any(trunking) {
        return;
    }
    let message = "no instance type of the node groups can carry branch interfaces: pods that \
                   SecurityGroupPolicies select stay Pending";
    let help = "add a type that can, for example m5.large; t2, t3 and t4g cannot";
    reporter.warning(codes::NO_TRUNK, policy.span, message, help);
}

/// Objects whose switch is off, in the scenario and in every variant.
fn without_effect(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let spec = &input.scenario.spec;
    let cni = &spec.cluster.network.cni;
    let varied = |name: &str| {
        spec.variants.iter().any(|v| {
            v.manifests.is_some()
                || v.set
                    .iter()
                    .any(|(path, value)| path.contains(name) || value.to_string().contains(name))
        })
    };
    let custom = "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG";
    if let Some(config) = input.manifests.eni_configs.first()
        && !cni.aws_vpc_k8s_cni_custom_network_cfg
        && !varied(custom)
    {
        let message = format!("ENIConfigs have no effect: `{custom}` is off");
        let help = format!("write `cni: {{{custom}: true}}`, or remove them");
        reporter.warning(codes::NETWORK_OBJECT_UNUSED, config.span, message, help);
    }
    if let Some(policy) = input.manifests.security_group_policies.first()
        && !cni.enable_pod_eni
        && !varied("ENABLE_POD_ENI")
    {
        let message = "SecurityGroupPolicies have no effect: `ENABLE_POD_ENI` is off";
        let help = "write `cni: {ENABLE_POD_ENI: true}`, or remove them";
        reporter.warning(codes::NETWORK_OBJECT_UNUSED, policy.span, message, help);
    }
}
