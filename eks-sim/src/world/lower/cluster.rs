//! Control plane, network and node groups.

use super::Errors;
use crate::catalog::{
    AmiFamily, CapacityType, Catalog, Defaults, InstanceType, MaxPodsRule, NodeAmounts,
    NodeResources, NodeSettings, PodNetwork, Region, eks_version, eks_versions, extended_resources,
    node_resources, spot_hazard_per_hour,
};
use crate::k8s::{self, ResourceList};
use crate::policy::vpc_cni::Cidr;
use crate::spec::scenario::{ClusterSpec, NodeGroupSpec};
use crate::units::{Bytes, Dist, Id, Money, MoneyRate, Quantity};
use crate::world::model::{ControlPlaneModel, GroupModel, GroupType, Model, SubnetModel, Zone};

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

pub(super) fn network(
    cluster: &ClusterSpec,
    region: Region,
    model: &mut Model,
    errors: &mut Errors,
) {
    let net = &cluster.network;
    let Some(vpc) = cidr(&net.vpc_cidr, "cluster.network.vpcCidr", errors) else { return };
    let mut blocks = vec![vpc];
    for (i, text) in net.secondary_cidrs.iter().enumerate() {
        blocks.extend(cidr(text, &format!("cluster.network.secondaryCidrs[{i}]"), errors));
    }
    let mut used: Vec<Cidr> = Vec::new();
    let default: Vec<crate::spec::scenario::SubnetSpec> = region
        .zones()
        .iter()
        .take(3)
        .map(|zone| crate::spec::scenario::SubnetSpec {
            name: zone.chars().last().map_or_else(String::new, |c| c.to_string()),
            zone: (*zone).to_owned(),
            prefix: Some(20),
            ..Default::default()
        })
        .collect();
    let subnets = if net.subnets.is_empty() { &default } else { &net.subnets };
    // Given blocks first, so that the free ones are really free.
    for s in subnets {
        used.extend(s.cidr.as_ref().and_then(|c| c.parse::<Cidr>().ok()));
    }
    let mut names: Vec<&str> = Vec::new();
    for (i, s) in subnets.iter().enumerate() {
        let path = format!("cluster.network.subnets[{i}]");
        if names.contains(&s.name.as_str()) {
            errors.error(
                format!("{path}.name"),
                format!("subnet `{}` is there twice", s.name),
                "give each subnet its own name",
            );
        }
        names.push(&s.name);
        if !region.zones().contains(&s.zone.as_str()) {
            errors.error(
                format!("{path}.zone"),
                format!("`{}` is not a zone of {}", s.zone, region.name()),
                format!("use one of {}", region.zones().join(", ")),
            );
            continue;
        }
        let Some(block) = block_of(s, &path, &blocks, &mut used, errors) else { continue };
        let zone = zone_id(&s.zone, model);
        let usable = crate::policy::vpc_cni::address_space::usable_addresses(block.prefix_length());
        if s.used_addresses > usable.unwrap_or(0) {
            errors.error(
                format!("{path}.usedAddresses"),
                format!("{} addresses do not fit into {block}", s.used_addresses),
                format!("it has {} usable ones", usable.unwrap_or(0)),
            );
            continue;
        }
        model.subnets.push(SubnetModel {
            name: s.name.clone(),
            zone,
            network: (block.first().into(), block.prefix_length()),
            used_addresses: s.used_addresses,
        });
    }
}

fn zone_id(name: &str, model: &mut Model) -> Id<Zone> {
    let found = model.zones.iter().find(|(_, n)| n.as_str() == name).map(|(id, _)| id);
    found.unwrap_or_else(|| model.zones.push(name.to_owned()))
}

fn cidr(text: &str, path: &str, errors: &mut Errors) -> Option<Cidr> {
    text.parse::<Cidr>()
        .map_err(|e| errors.error(path, e.to_string(), "write for example `10.0.0.0/16`"))
        .ok()
}

/// The subnet's own block, or the next free one of its prefix length.
fn block_of(
    s: &crate::spec::scenario::SubnetSpec,
    path: &str,
    vpc: &[Cidr],
    used: &mut Vec<Cidr>,
    errors: &mut Errors,
) -> Option<Cidr> {
    match (&s.cidr, s.prefix) {
        (Some(text), None) => {
            let block = cidr(text, &format!("{path}.cidr"), errors)?;
            if !(16..=28).contains(&block.prefix_length()) {
                errors.error(
                    format!("{path}.cidr"),
                    format!("{block} is no size of a subnet"),
                    "use a prefix length from 16 to 28",
                );
                return None;
            }
            if !vpc.iter().any(|b| b.covers(block)) {
                let blocks: Vec<String> = vpc.iter().map(ToString::to_string).collect();
                errors.error(
                    format!("{path}.cidr"),
                    format!("{block} lies outside the VPC ({})", blocks.join(", ")),
                    "choose a block inside it, or add one to secondaryCidrs",
                );
                return None;
            }
            let twice = used.iter().filter(|u| u.overlaps(block)).count() > 1;
            if twice {
                errors.error(
                    format!("{path}.cidr"),
                    format!("{block} overlaps another subnet"),
                    "use `prefix: N` instead of `cidr` to get the next free block",
                );
                return None;
            }
            Some(block)
        }
        (None, Some(prefix)) => {
            if !(16..=28).contains(&prefix) {
                errors.error(
                    format!("{path}.prefix"),
                    format!("/{prefix} is no size of a subnet"),
                    "use a prefix length from 16 to 28",
                );
                return None;
            }
            let block = vpc.iter().find_map(|b| b.next_free(prefix, used));
            match block {
                Some(block) => used.push(block),
                None => errors.error(
                    format!("{path}.prefix"),
                    format!("the VPC has no free /{prefix} left"),
                    "use smaller subnets, a larger vpcCidr, or add a block to secondaryCidrs",
                ),
            }
            block
        }
        _ => {
            errors.error(
                path,
                format!("subnet `{}` needs either a cidr or a prefix", s.name),
                "write `cidr: 10.0.1.0/24`, or `prefix: 24` for the next free block",
            );
            None
        }
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
        let Some(group) = group(g, &path, cluster, region, model, errors) else { continue };
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
    cluster: &ClusterSpec,
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
    let mut types: Vec<GroupType> = Vec::new();
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
        for &capacity in &capacities {
            let t = group_type(g, instance, capacity, ami.0, cluster, region, model, &at, errors);
            types.extend(t);
        }
    }
    if g.instance_types.is_empty() {
        errors.error(
            format!("{path}.instanceTypes"),
            "no instance type is given",
            "write for example `[m6i.large]`",
        );
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

/// A price per GiB and month as a rate for so many GiB.
pub(super) fn monthly_rate(per_gib_month: Money, gib: f64) -> MoneyRate {
    MoneyRate::from_usd_per_hour(per_gib_month.usd() * gib / MONTH_HOURS)
}

fn group_subnets(
    g: &NodeGroupSpec,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Vec<Id<SubnetModel>> {
    if g.subnets.is_empty() {
        return model.subnets.ids().collect();
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

#[expect(clippy::too_many_arguments, reason = "everything a node's size depends on")]
fn group_type(
    g: &NodeGroupSpec,
    instance: &'static InstanceType,
    capacity: CapacityType,
    ami: AmiFamily,
    cluster: &ClusterSpec,
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
    let mut settings = NodeSettings::new(&model.defaults);
    settings.ami_family = ami;
    settings.max_pods = g.max_pods;
    settings.max_pods_rule = MaxPodsRule::ManagedNodeGroup;
    if ami == AmiFamily::Windows {
        let licence = super::node_groups::windows(g, instance, &mut settings, path, model, errors)?;
        rate += licence;
    }
    settings.pod_network = if cluster.network.cni.enable_prefix_delegation {
        PodNetwork::Prefix
    } else {
        PodNetwork::Secondary
    };
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
    let (capacity_list, allocatable) = resource_lists(&resources, instance);
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
        rate,
        interruption_per_hour: hazard,
        node,
        allocatable_cpu: resources.allocatable.cpu,
        allocatable_memory: resources.allocatable.memory,
        max_pods: resources.pods,
    })
}

/// Capacity and allocatable of a node, as its status lists them.
pub(super) fn resource_lists(
    resources: &NodeResources,
    instance: &InstanceType,
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
        for (name, count) in extended_resources(instance, false) {
            list.insert(name.to_owned(), Quantity::from_units(i64::from(count)));
        }
        list
    };
    (list(&resources.capacity), list(&resources.allocatable))
}
