//! Control plane and node groups.

use super::Errors;
use crate::catalog::{
    AmiFamily, CapacityType, Catalog, Defaults, InstanceType, MaxPodsRule, NodeAmounts,
    NodeResources, NodeSettings, PodNetwork, Region, eks_version, eks_versions, extended_resources,
    node_resources, spot_hazard_per_hour,
};
use crate::k8s::{self, ResourceList};
use crate::spec::scenario::{ClusterSpec, NodeGroupSpec};
use crate::spec::selection::types_of;
use crate::units::{Bytes, Dist, Id, Money, MoneyRate, Quantity};
use crate::world::model::{
    ControlPlaneModel, GroupModel, GroupType, Model, SubnetModel, SubnetRole,
};

/// Hours that a monthly price is spread over.
const MONTH_HOURS: f64 = 730.0;

pub(super) fn region_and_version(cluster: &ClusterSpec, errors: &mut Errors) -> (Region, u32) {
    let region = cluster.region.parse::<Region>().unwrap_or_else(|e| {
        errors.error("cluster.region", e.to_string(), "these regions have prices in the catalogue");
        Region::US_EAST_1
    });
    let minor = cluster.version.strip_prefix("1.").and_then(|m| m.parse().ok());
    let known = eks_version(&cluster.version).is_some();
    if !known {
        let names: Vec<String> = eks_versions().iter().map(|v| v.name()).collect();
        errors.error(
            "cluster.version",
            format!("`{}` is not a Kubernetes version of EKS", cluster.version),
            format!("use one of {}", names.join(", ")),
        );
    }
    (region, minor.unwrap_or(34))
}

pub(super) fn control_plane(
    cluster: &ClusterSpec,
    region: Region,
    d: &Defaults,
    start_unix: i64,
    errors: &mut Errors,
) -> ControlPlaneModel {
    let plane = &cluster.control_plane;
    let extended = plane.extended_support.unwrap_or_else(|| {
        let end = eks_version(&cluster.version).map(|v| v.end_standard());
        end.and_then(|e| format!("{e}T00:00:00Z").parse::<jiff::Timestamp>().ok())
            .is_some_and(|end| end.as_second() <= start_unix)
    });
    let mut fee = if extended {
        d.rate("price.eks_cluster_extended")
    } else {
        d.rate("price.eks_cluster_standard")
    };
    let mut qps = (d.f64("scheduler.client_qps"), d.i64("scheduler.client_burst") as f64);
    if plane.tier != "standard" {
        let name = plane.tier.to_lowercase();
        match (
            d.try_rate(&format!("provisioned.{name}.price")),
            d.try_f64(&format!("provisioned.{name}.pods_per_second")),
        ) {
            (Ok(price), Ok(rate)) => {
                fee += price;
                qps = (rate, rate * 2.0);
            }
            _ => errors.error(
                "cluster.controlPlane.tier",
                format!("`{}` is not a control-plane tier", plane.tier),
                "use standard, xl, 2xl, 4xl or 8xl",
            ),
        }
    }
    if plane.api_servers == 0 || plane.api_servers > 100 {
        errors.error(
            "cluster.controlPlane.apiServers",
            "API servers must be 1 to 100",
            "EKS runs 2",
        );
    }
    if plane.etcd_members == 0 || plane.etcd_members > 9 || plane.etcd_members.is_multiple_of(2) {
        errors.error(
            "cluster.controlPlane.etcdMembers",
            format!("{} is not a size of an etcd cluster", plane.etcd_members),
            "use an odd number from 1 to 9; EKS runs 3",
        );
    }
    ControlPlaneModel {
        api_servers: plane.api_servers,
        etcd_members: plane.etcd_members,
        replace_members: plane.replace_members,
        fee,
        zones: region.zones().iter().take(3).map(|z| (*z).to_owned()).collect(),
        scheduler_qps: qps.0,
        scheduler_burst: qps.1,
    }
}

pub(super) fn groups(
    cluster: &ClusterSpec,
    region: Region,
    model: &mut Model,
    errors: &mut Errors,
) {
    for (i, g) in cluster.node_groups.iter().enumerate() {
        let path = format!("cluster.nodeGroups[{i}]");
        let Some(group) = group(g, &path, region, model, errors) else { continue };
        if model.groups.iter().any(|(_, other)| other.name == group.name) {
            errors.error(
                format!("{path}.name"),
                format!("node group `{}` is there twice", group.name),
                "give each group its own name",
            );
        }
        model.groups.push(group);
    }
}

fn group(
    g: &NodeGroupSpec,
    path: &str,
    region: Region,
    model: &Model,
    errors: &mut Errors,
) -> Option<GroupModel> {
    let kind = super::node_groups::kind(g, path, errors)?;
    let capacities = super::node_groups::capacities(g, path, errors)?;
    let ami = super::node_groups::image(g, path, errors)?;
    if g.min_size > g.max_size || g.desired_size > g.max_size || g.desired_size < g.min_size {
        errors.error(
            format!("{path}.desiredSize"),
            format!(
                "sizes do not fit: min {}, desired {}, max {}",
                g.min_size, g.desired_size, g.max_size
            ),
            "keep minSize <= desiredSize <= maxSize",
        );
    }
    if g.max_size > 100_000 {
        errors.error(
            format!("{path}.maxSize"),
            format!("{} nodes are too many", g.max_size),
            "at most 100,000 are simulated",
        );
    }
    let subnets = group_subnets(g, path, model, errors);
    let listed = listed_types(g, path, region, model, errors)?;
    let mut types: Vec<GroupType> = Vec::new();
    for (at, instance, weight) in listed {
        for &capacity in &capacities {
            let t = group_type(g, instance, capacity, ami.0, region, model, &at, errors);
            types.extend(t.map(|t| GroupType { weight, ..t }));
        }
    }
    // The list once for on-demand, once for spot.
    types.sort_by_key(|t| t.capacity == CapacityType::Spot);
    let scaling = super::node_groups::scaling(g, kind, path, errors)?;
    let boot: Dist = serde_json::from_value(model.defaults.dist(ami.1).clone()).ok()?;
    if types.is_empty() || subnets.is_empty() {
        return None;
    }
    let gib_month = model.defaults.money("price.ebs_gp3_gb");
    Some(GroupModel {
        name: g.name.clone(),
        types,
        min: g.min_size,
        max: g.max_size,
        desired: g.desired_size,
        kind,
        subnets,
        boot,
        disk_rate: monthly_rate(gib_month, f64::from(g.disk_size)),
        disk_gib: g.disk_size,
        scaling,
    })
}

/// The types that a group names, or that its requirements leave: place, type, weight.
fn listed_types(
    g: &NodeGroupSpec,
    path: &str,
    region: Region,
    model: &Model,
    errors: &mut Errors,
) -> Option<Vec<(String, &'static InstanceType, u32)>> {
    let overrides = g.mixed_instances.as_ref().map_or(&[][..], |m| &m.overrides);
    if !overrides.is_empty() {
        let at = format!("{path}.mixedInstances.overrides");
        let found = types_of(g, region, &model.defaults);
        if found.is_empty() {
            errors.error(
                at,
                format!("no instance type of {} meets the requirements", region.name()),
                "ask for less; see `eks-sim catalog`",
            );
            return None;
        }
        return Some(found.into_iter().map(|(t, weight)| (at.clone(), t, weight)).collect());
    }
    let mut found = Vec::new();
    for (k, name) in g.instance_types.iter().enumerate() {
        let at = format!("{path}.instanceTypes[{k}]");
        let Some(instance) = Catalog::embedded().get(name) else {
            let near = Catalog::embedded().nearest_names(name, 3);
            errors.error(
                at,
                format!("unknown instance type `{name}`"),
                if near.is_empty() {
                    "list types with `eks-sim catalog`".to_owned()
                } else {
                    format!("did you mean {}?", near.join(", "))
                },
            );
            continue;
        };
        found.push((at, instance, 1));
    }
    if g.instance_types.is_empty() {
        errors.error(
            format!("{path}.instanceTypes"),
            "no instance type is given",
            "write for example `[m6i.large]`",
        );
    }
    Some(found)
}

/// A price per GiB and month as a rate for so many GiB.
pub(super) fn monthly_rate(per_gib_month: Money, gib: f64) -> MoneyRate {
    MoneyRate::from_usd_per_hour(per_gib_month.usd() * gib / MONTH_HOURS)
}

/// Subnets of groups and NodePools that name none.
pub(super) fn node_subnets(model: &Model) -> Vec<Id<SubnetModel>> {
    let nodes = model.subnets.iter().filter(|(_, s)| s.role == SubnetRole::Nodes);
    nodes.map(|(id, _)| id).collect()
}

fn group_subnets(
    g: &NodeGroupSpec,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Vec<Id<SubnetModel>> {
    if g.subnets.is_empty() {
        return node_subnets(model);
    }
    let mut found = Vec::new();
    for (k, name) in g.subnets.iter().enumerate() {
        match model.subnets.iter().find(|(_, s)| s.name == *name) {
            Some((id, _)) => found.push(id),
            None => {
                let names: Vec<&str> = model.subnets.iter().map(|(_, s)| s.name.as_str()).collect();
                errors.error(
                    format!("{path}.subnets[{k}]"),
                    format!("there is no subnet `{name}`"),
                    format!("use one of {}", names.join(", ")),
                );
            }
        }
    }
    found
}

/// The user's `maxPods`; a managed node group takes no more than 110 or 250.
fn capped_max_pods(
    g: &NodeGroupSpec,
    instance: &InstanceType,
    path: &str,
    errors: &mut Errors,
) -> Option<u32> {
    let (asked, cap) = (g.max_pods?, instance.managed_node_group_cap());
    if let Some(cap) = cap.filter(|cap| asked > *cap) {
        let vcpu = instance.vcpu.unwrap_or(0);
        errors.warning(
            path,
            format!("maxPods {asked} is cut to {cap} on `{}` with {vcpu} vCPU", instance.name),
            "managed node groups allow 110 pods a node below 30 vCPU, else 250",
        );
    }
    Some(cap.map_or(asked, |cap| asked.min(cap)))
}

/// The CNI's mode as the max-pods rules know it; IPv6 counts as prefixes.
fn pod_network(model: &Model) -> PodNetwork {
    let cni = &model.network.cni;
    PodNetwork::new(cni.prefix_delegation || cni.ipv6, cni.custom_networking)
}

#[expect(clippy::too_many_arguments, reason = "everything a node's size depends on")]
fn group_type(
    g: &NodeGroupSpec,
    instance: &'static InstanceType,
    capacity: CapacityType,
    ami: AmiFamily,
    region: Region,
    model: &Model,
    path: &str,
    errors: &mut Errors,
) -> Option<GroupType> {
    let Some(mut rate) = instance.price(region, capacity) else {
        let how = if capacity == CapacityType::Spot { "spot" } else { "on-demand" };
        errors.error(
            path,
            format!("`{}` has no {how} price in {}", instance.name, region.name()),
            "choose another type or region; see `eks-sim catalog`",
        );
        return None;
    };
    if model.network.cni.ipv6 && !instance.supports_prefixes() {
        errors.error(
            path,
            format!("the CNI does not start on `{}` in an IPv6 cluster", instance.name),
            "choose a nitro or bare-metal type, or `ipFamily: ipv4`",
        );
        return None;
    }
    let mut settings = NodeSettings::new(&model.defaults);
    settings.ami_family = ami;
    settings.max_pods = capped_max_pods(g, instance, path, errors);
    settings.max_pods_rule = MaxPodsRule::ManagedNodeGroup;
    if ami == AmiFamily::Windows {
        let licence = super::node_groups::windows(g, instance, &mut settings, path, model, errors)?;
        rate += licence;
    }
    settings.pod_network = pod_network(model);
    settings.root_volume = Bytes::new(i64::from(g.disk_size).saturating_mul(1 << 30));
    let Some(resources) = node_resources(instance, &settings) else {
        errors.error(
            path,
            format!("the size of `{}` is not known", instance.name),
            "choose another type; see `eks-sim catalog`",
        );
        return None;
    };
    if resources.allocatable.cpu.raw() <= 0 || resources.allocatable.memory.raw() <= 0 {
        errors.error(
            path,
            format!("`{}` leaves nothing for pods", instance.name),
            "choose a larger type",
        );
        return None;
    }
    if instance.burstable == Some(true) {
        errors.warning(
            path,
            format!(
                "the CPU credits of `{}` are not simulated: it runs at full speed",
                instance.name
            ),
            "results that depend on CPU need a type that is not burstable, such as m6i.large",
        );
    }
    let band = instance.interruption_band(region);
    let hazard = match capacity {
        CapacityType::Spot => spot_hazard_per_hour(band, &model.defaults),
        _ => 0.0,
    };
    let pod_eni = pod_eni(instance, model);
    let (capacity_list, allocatable) = resource_lists(&resources, instance, pod_eni);
    let node = k8s::Node {
        metadata: k8s::ObjectMeta {
            labels: super::node_groups::labels(g, instance, capacity, ami, region),
            ..k8s::ObjectMeta::default()
        },
        spec: k8s::NodeSpec {
            taints: super::node_groups::taints(&g.taints),
            ..k8s::NodeSpec::default()
        },
        status: k8s::NodeStatus {
            capacity: capacity_list,
            allocatable,
            ..k8s::NodeStatus::default()
        },
    };
    Some(GroupType {
        instance_type: instance,
        capacity,
        fee: MoneyRate::ZERO,
        startup_taints: super::node_groups::taints(&g.startup_taints),
        weight: 1,
        rate,
        interruption_per_hour: hazard,
        node,
        allocatable_cpu: resources.allocatable.cpu,
        allocatable_memory: resources.allocatable.memory,
        max_pods: resources.pods,
    })
}

/// Whether nodes of the type get a trunk interface, and so `vpc.amazonaws.com/pod-eni`.
pub(super) fn pod_eni(instance: &InstanceType, model: &Model) -> bool {
    let cni = &model.network.cni;
    let limits = instance.interfaces.map(|i| crate::policy::vpc_cni::EniLimits {
        enis: i.max_enis_default_card,
        ipv4_per_eni: i.ipv4_per_eni,
    });
    // One interface is the instance's own, the next one is the trunk.
    model.network.cni_enabled && cni.pod_eni && limits.is_some_and(|l| cni.eni_limit(l) >= 2)
}

/// Capacity and allocatable of a node, as its status lists them.
pub(super) fn resource_lists(
    resources: &NodeResources,
    instance: &InstanceType,
    pod_eni: bool,
) -> (ResourceList, ResourceList) {
    let list = |amounts: &NodeAmounts| {
        let mut list = ResourceList::new();
        list.insert("cpu".to_owned(), Quantity::from_milli(amounts.cpu.raw()));
        list.insert("memory".to_owned(), Quantity::from_bytes(amounts.memory.raw()));
        list.insert(
            "ephemeral-storage".to_owned(),
            Quantity::from_bytes(amounts.ephemeral_storage.raw()),
        );
        list.insert("pods".to_owned(), Quantity::from_units(i64::from(resources.pods)));
        for (name, count) in extended_resources(instance, pod_eni) {
            list.insert(name.to_owned(), Quantity::from_units(i64::from(count)));
        }
        list
    };
    (list(&resources.capacity), list(&resources.allocatable))
}
