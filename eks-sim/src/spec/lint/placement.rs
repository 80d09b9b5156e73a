//! Pods that no node can take, subnets that cannot hold their nodes.

use super::Input;
use crate::catalog::{Architecture, InstanceType, InterfaceLimits, foreign_machine};
use crate::k8s::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec, ResourceList};
use crate::spec::codes;
use crate::spec::diagnostic::Reporter;
use crate::spec::manifest::TemplateRef;
use crate::spec::scenario::{ClusterSpec, CniSpec, HybridNodesSpec, NodeGroupSpec, SubnetSpec};
use crate::spec::validate::span_of;
use std::collections::BTreeMap;

pub(super) fn check(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let cluster = &input.scenario.spec.cluster;
    subnets(input, reporter);
    // Karpenter and Auto Mode choose types by themselves.
    let free_choice =
        cluster.autoscaler.karpenter.is_some() || cluster.autoscaler.auto_mode.is_some();
    if free_choice || cluster.node_groups.is_empty() {
        return;
    }
    let hybrid = cluster.hybrid_nodes.iter().map(|h| hybrid_shape(h, &cluster.region));
    let shapes: Vec<Shape<'_>> =
        cluster.node_groups.iter().flat_map(|g| shapes_of(g, cluster)).chain(hybrid).collect();
    if shapes.is_empty() {
        return;
    }
    let on_fargate = |t: &TemplateRef<'_>| {
        t.kind != "DaemonSet"
            && cluster
                .fargate_profiles
                .iter()
                .flat_map(|p| &p.selectors)
                .any(|s| s.takes(t.metadata.namespace_or_default(), t.labels))
    };
    for template in input.templates.iter().filter(|t| !on_fargate(t)) {
        let what = format!("{}/{}", template.kind, template.metadata.name);
        let willing: Vec<&Shape<'_>> = shapes.iter().filter(|s| s.admits(template.spec)).collect();
        if willing.is_empty() {
            let message =
                format!("no node group satisfies the node selector or affinity of {what}");
            let help = "add the labels to a node group (`labels: {…}`), choose its architecture or zone, or remove the selector";
            let at = if template.spec.node_selector.is_empty() {
                template.at("spec.template.spec.affinity")
            } else {
                template.at("spec.template.spec.nodeSelector")
            };
            reporter.warning(codes::NO_NODE_MATCHES, at, message, help);
            continue;
        }
        let request = requests(template.spec);
        if !willing.iter().any(|s| s.holds(&request)) {
            let shown: Vec<String> = request.iter().map(|(k, v)| format!("{k} {v}")).collect();
            let message = format!(
                "{what} requests {}, more than any allowed instance type has",
                shown.join(", ")
            );
            let help = "lower the request, or allow a larger type in `instanceTypes`";
            let at = template.at("spec.template.spec.containers");
            reporter.warning(codes::POD_FITS_NOWHERE, at, message, help);
        }
    }
}

/// A node that could come: a group's type in a zone.
struct Shape<'a> {
    instance: &'a InstanceType,
    labels: BTreeMap<String, String>,
}

/// Whether nodes of the group may live in the subnet.
fn may_hold_nodes(group: &NodeGroupSpec, subnet: &SubnetSpec) -> bool {
    match group.subnets.is_empty() {
        true => subnet.role == "nodes",
        false => group.subnets.contains(&subnet.name),
    }
}

fn shapes_of<'a>(group: &NodeGroupSpec, cluster: &ClusterSpec) -> Vec<Shape<'a>> {
    let (subnets, region) = (&cluster.network.subnets, cluster.region.as_str());
    let mut zones: Vec<String> =
        subnets.iter().filter(|s| may_hold_nodes(group, s)).map(|s| s.zone.clone()).collect();
    if zones.is_empty() {
        zones = ["a", "b", "c"].iter().map(|z| format!("{region}{z}")).collect();
    }
    zones.sort();
    zones.dedup();
    let os = if group.ami_family.starts_with("WINDOWS") { "windows" } else { "linux" };
    let mut shapes = Vec::new();
    for instance in super::types_of(group, cluster) {
        for zone in &zones {
            let mut labels = group.labels.clone();
            for (key, value) in [
                ("kubernetes.io/arch", instance.architecture.as_str()),
                ("beta.kubernetes.io/arch", instance.architecture.as_str()),
                ("kubernetes.io/os", os),
                ("beta.kubernetes.io/os", os),
                ("node.kubernetes.io/instance-type", instance.name),
                ("beta.kubernetes.io/instance-type", instance.name),
                ("topology.kubernetes.io/zone", zone),
                ("failure-domain.beta.kubernetes.io/zone", zone),
                ("topology.kubernetes.io/region", region),
                ("eks.amazonaws.com/nodegroup", &group.name),
                ("eks.amazonaws.com/capacityType", &group.capacity_type),
            ] {
                labels.insert(key.to_owned(), value.to_owned());
            }
            shapes.push(Shape { instance, labels });
        }
    }
    shapes
}

/// A machine outside AWS.
fn hybrid_shape(h: &HybridNodesSpec, region: &str) -> Shape<'static> {
    let arch = match h.architecture.as_deref() {
        Some("arm64") => Architecture::Arm64,
        _ => Architecture::Amd64,
    };
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/arch", arch.as_str()),
        ("kubernetes.io/os", "linux"),
        ("topology.kubernetes.io/region", region),
        ("eks.amazonaws.com/compute-type", "hybrid"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    labels.extend(h.labels.clone());
    Shape { instance: foreign_machine(&h.name, h.vcpu, h.memory.bytes(), arch), labels }
}

impl Shape<'_> {
    fn admits(&self, spec: &PodSpec) -> bool {
        let selected = spec.node_selector.iter().all(|(k, v)| self.labels.get(k) == Some(v));
        let terms = spec
            .affinity
            .as_ref()
            .and_then(|a| a.node_affinity.as_ref())
            .and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref())
            .map(|s| s.node_selector_terms.as_slice());
        selected && terms.is_none_or(|terms| terms.iter().any(|t| self.term(t)))
    }
    fn term(&self, term: &NodeSelectorTerm) -> bool {
        // Fields name a single node, which cannot be known before it is there.
        term.match_expressions.iter().all(|e| self.expression(e))
    }
    fn expression(&self, e: &NodeSelectorRequirement) -> bool {
        let value = self.labels.get(&e.key);
        let compare = |above: bool| {
            let pair =
                (value.map(|v| v.parse::<i64>()), e.values.first().map(|v| v.parse::<i64>()));
            matches!(pair, (Some(Ok(a)), Some(Ok(b))) if if above { a > b } else { a < b })
        };
        match e.operator.as_str() {
            "In" => value.is_some_and(|v| e.values.contains(v)),
            "NotIn" => value.is_none_or(|v| !e.values.contains(v)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => compare(true),
            "Lt" => compare(false),
            _ => true,
        }
    }
    /// Whether the whole machine has as much; what the system reserves is left out, so that the
    /// lint never speaks without need.
    fn holds(&self, request: &ResourceList) -> bool {
        request.iter().all(|(name, amount)| match name.as_str() {
            "cpu" => self.instance.cpu().is_none_or(|c| amount.milli_cpu() <= c),
            "memory" => self.instance.memory.is_none_or(|m| amount.bytes() <= m),
            "nvidia.com/gpu" => amount.value() <= i64::from(self.instance.gpu_count()),
            _ => true,
        })
    }
}

/// A pod's request: the sum of its containers and sidecars, or the largest init container.
fn requests(spec: &PodSpec) -> ResourceList {
    let mut sum = ResourceList::new();
    let sidecars =
        spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    for container in spec.containers.iter().chain(sidecars) {
        for (name, amount) in &container.resources.requests {
            *sum.entry(name.clone()).or_default() += *amount;
        }
    }
    for container in &spec.init_containers {
        for (name, amount) in &container.resources.requests {
            let slot = sum.entry(name.clone()).or_insert(*amount);
            *slot = (*slot).max(*amount);
        }
    }
    sum
}

/// Addresses that a node with few pods holds under the CNI's settings.
fn held(limits: &InterfaceLimits, cni: &CniSpec) -> u64 {
    let spare = u64::from(cni.warm_ip_target.max(cni.minimum_ip_target));
    if cni.enable_prefix_delegation {
        return 1 + 16 * spare.div_ceil(16).max(1);
    }
    if cni.warm_ip_target > 0 {
        return 1 + spare;
    }
    // The first interface, and the spare ones once it has a pod.
    let interfaces = (1 + cni.warm_eni_target).min(limits.max_enis_default_card.max(1));
    u64::from(interfaces) * u64::from(limits.ipv4_per_eni)
}

/// Addresses that AWS keeps in every subnet.
const RESERVED: u64 = 5;

fn subnets(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let cluster = &input.scenario.spec.cluster;
    let network = &cluster.network;
    if network.subnets.is_empty() {
        return;
    }
    // Where pods live in other subnets or have IPv6 addresses, a node takes one address.
    let cni = &network.cni;
    let elsewhere =
        cni.aws_vpc_k8s_cni_custom_network_cfg || network.ip_family == "ipv6" || !cni.enabled;
    let mut wanted: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for group in &cluster.node_groups {
        let own: Vec<&SubnetSpec> =
            network.subnets.iter().filter(|s| may_hold_nodes(group, s)).collect();
        let each = u64::from(group.max_size).div_ceil(own.len().max(1) as u64);
        let per_node = super::types_of(group, cluster)
            .into_iter()
            .filter_map(|t| t.interfaces.as_ref())
            .map(|i| if elsewhere { 1 } else { held(i, &network.cni) })
            .max()
            .unwrap_or(1);
        for subnet in own {
            let slot = wanted.entry(&subnet.name).or_insert((0, &group.name));
            slot.0 = slot.0.saturating_add(each.saturating_mul(per_node));
        }
    }
    for (i, subnet) in network.subnets.iter().enumerate() {
        let prefix =
            subnet.prefix.or_else(|| subnet.cidr.as_ref()?.rsplit_once('/')?.1.parse().ok());
        let Some(prefix) = prefix.filter(|p| (16..=28).contains(p)) else { continue };
        let size = 1_u64 << (32 - u32::from(prefix));
        let free = size.saturating_sub(RESERVED + u64::from(subnet.used_addresses));
        let Some((need, group)) = wanted.get(subnet.name.as_str()).filter(|w| w.0 > free) else {
            continue;
        };
        let message = format!(
            "the subnet `{}` has {free} free addresses; at their largest, its nodes (group `{group}`) hold at least {need}",
            subnet.name
        );
        let at = span_of(input.tree, &format!("spec.cluster.network.subnets.{i}.name"));
        let help = "use a larger block, fewer nodes (`maxSize`), or `cni: {WARM_IP_TARGET: 2}`";
        reporter.warning(codes::SUBNET_TOO_SMALL, at, message, help);
    }
}
