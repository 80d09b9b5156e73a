//! The network: blocks, subnets and who holds their addresses, settings of the CNI, ENIConfigs.

use super::Errors;
use super::cluster::node_subnets;
use crate::catalog::{Defaults, Region};
use crate::policy::vpc_cni::address_space::usable_addresses;
use crate::policy::vpc_cni::config::CniClocks;
use crate::policy::vpc_cni::consumers::{ConsumerRules, control_plane_subnets};
use crate::policy::vpc_cni::{AddressSpace, Cidr, CniConfig, Holding, Placement};
use crate::spec::Manifests;
use crate::spec::scenario::{ClusterSpec, NetworkSpec, SubnetSpec};
use crate::units::{Id, Span};
use crate::world::model::{EniConfigModel, Model, NetworkModel, SubnetModel, SubnetRole, Zone};

/// Label that names a node's ENIConfig when `ENI_CONFIG_LABEL_DEF` is not set.
const ENI_CONFIG_LABEL: &str = "k8s.amazonaws.com/eniConfig";

pub(super) fn network(
    cluster: &ClusterSpec,
    region: Region,
    manifests: &Manifests,
    model: &mut Model,
    errors: &mut Errors,
) {
    let net = &cluster.network;
    let Some(vpc) = cidr(&net.vpc_cidr, "cluster.network.vpcCidr", errors) else { return };
    let mut blocks = vec![vpc];
    for (i, text) in net.secondary_cidrs.iter().enumerate() {
        blocks.extend(cidr(text, &format!("cluster.network.secondaryCidrs[{i}]"), errors));
    }
    let default = default_subnets(region);
    let subnets = if net.subnets.is_empty() { &default } else { &net.subnets };
    // Given blocks first, so that the free ones are really free.
    let mut used: Vec<Cidr> =
        subnets.iter().filter_map(|s| s.cidr.as_ref()?.parse::<Cidr>().ok()).collect();
    model.network = settings(cluster, &model.defaults, errors);
    for (i, s) in subnets.iter().enumerate() {
        let path = format!("cluster.network.subnets[{i}]");
        if subnets[..i].iter().any(|other| other.name == s.name) {
            errors.error(
                format!("{path}.name"),
                format!("subnet `{}` is there twice", s.name),
                "give each subnet its own name",
            );
        }
        if !region.zones().contains(&s.zone.as_str()) {
            errors.error(
                format!("{path}.zone"),
                format!("`{}` is not a zone of {}", s.zone, region.name()),
                format!("use one of {}", region.zones().join(", ")),
            );
            continue;
        }
        let Some(block) = block_of(s, &path, &blocks, &mut used, errors) else { continue };
        let subnet = subnet(s, block, &path, model, errors);
        model.subnets.push(subnet);
    }
    control_plane(net, model, errors);
    for (i, s) in subnets.iter().enumerate() {
        let found = model.subnets.iter().find(|(_, m)| m.name == s.name).map(|(_, m)| m);
        if let Some(m) = found {
            check_room(m, &format!("cluster.network.subnets[{i}]"), errors);
        }
    }
    eni_configs(manifests, model, errors);
}

/// A /20 in each of the first three zones.
fn default_subnets(region: Region) -> Vec<SubnetSpec> {
    let zones = region.zones().iter().take(3);
    zones
        .map(|zone| SubnetSpec {
            name: zone.chars().last().map_or_else(String::new, |c| c.to_string()),
            zone: (*zone).to_owned(),
            prefix: Some(20),
            ..SubnetSpec::default()
        })
        .collect()
}

fn subnet(
    s: &SubnetSpec,
    block: Cidr,
    path: &str,
    model: &mut Model,
    errors: &mut Errors,
) -> SubnetModel {
    let mut prefix_reservations = Vec::new();
    for (i, text) in s.prefix_reservations.iter().enumerate() {
        let at = format!("{path}.prefixReservations[{i}]");
        let Some(range) = cidr(text, &at, errors) else { continue };
        if block.covers(range) && range.prefix_length() <= 28 {
            prefix_reservations.push(range);
        } else {
            errors.error(
                at,
                format!("{range} is no part of {block} that prefixes could be kept in"),
                "reserve a /28 or a larger block inside the subnet",
            );
        }
    }
    SubnetModel {
        name: s.name.clone(),
        id: s.id.clone(),
        zone: zone_id(&s.zone, model),
        network: (block.first().into(), block.prefix_length()),
        role: match s.role.as_str() {
            "pods" => SubnetRole::Pods,
            "public" => SubnetRole::Public,
            _ => SubnetRole::Nodes,
        },
        tags: s.tags.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        used_addresses: s.used_addresses,
        scattered: s.used_placement == "scattered",
        prefix_reservations,
        nat_gateways: s.nat_gateways,
        vpc_endpoints: s.vpc_endpoints,
        control_plane_enis: 0,
        random_placement: model.network.random_placement,
    }
}

/// Spreads the control plane's interfaces over its subnets that have room. EKS creates no cluster
/// in subnets with fewer than six free addresses; one that filled up later goes on.
fn control_plane(net: &NetworkSpec, model: &mut Model, errors: &mut Errors) {
    let mut subnets: Vec<Id<SubnetModel>> = if net.control_plane_subnets.is_empty() {
        node_subnets(model)
    } else {
        let named = |s: &SubnetModel| net.control_plane_subnets.contains(&s.name);
        model.subnets.iter().filter(|(_, s)| named(s)).map(|(id, _)| id).collect()
    };
    let rules =
        ConsumerRules { control_plane_enis: net.control_plane_enis, ..ConsumerRules::default() };
    let free = |id: Id<SubnetModel>| {
        let s = &model.subnets[id];
        let usable = u64::from(usable_addresses(s.network.1).unwrap_or(0));
        usable.saturating_sub(s.held_from_the_start())
    };
    for &id in &subnets {
        if free(id) < u64::from(rules.cluster_subnet_free) {
            errors.warning(
                "cluster.network.subnets",
                format!(
                    "the cluster subnet `{}` has {} free addresses; EKS asks for {} and refuses \
                     upgrades below that",
                    model.subnets[id].name,
                    free(id),
                    rules.cluster_subnet_free
                ),
                "use a larger block, or name other subnets in `controlPlaneSubnets`",
            );
        }
    }
    let roomy = |id: &Id<SubnetModel>| free(*id) >= u64::from(net.control_plane_enis);
    if subnets.iter().any(roomy) {
        subnets.retain(roomy);
    }
    for index in control_plane_subnets(&rules, subnets.len()) {
        model.subnets[subnets[index]].control_plane_enis += 1;
    }
    model.network.rules = rules;
}

/// What is in a subnet from the start must fit into it.
fn check_room(subnet: &SubnetModel, path: &str, errors: &mut Errors) {
    let cidr = Cidr::containing(subnet.network.0.into(), subnet.network.1);
    let Ok(mut space) = AddressSpace::new(cidr) else { return };
    for range in &subnet.prefix_reservations {
        // Ranges were checked when they were read.
        let _ = space.reserve_for_prefixes(*range);
    }
    let held = u32::try_from(subnet.held_from_the_start()).unwrap_or(u32::MAX);
    let usable = space.usable();
    let all = space.take(Holding::Other, held, &mut Placement::Sequential, &mut Vec::new());
    if all.is_err() {
        let kept = if subnet.prefix_reservations.is_empty() {
            ""
        } else {
            ", some of them kept for prefixes"
        };
        errors.error(
            format!("{path}.usedAddresses"),
            format!("{held} addresses do not fit into {cidr}"),
            format!("it has {usable} usable ones{kept}"),
        );
    }
}

/// The CNI's settings in effect.
fn settings(cluster: &ClusterSpec, d: &Defaults, errors: &mut Errors) -> NetworkModel {
    let cni = &cluster.network.cni;
    let ipv6 = cluster.network.ip_family == "ipv6";
    let mut config = CniConfig::default();
    config.warm_eni_target = cni.warm_eni_target;
    config.warm_ip_target = cni.warm_ip_target;
    config.minimum_ip_target = cni.minimum_ip_target;
    config.warm_prefix_target = cni.warm_prefix_target;
    config.max_eni = cni.max_eni;
    // EKS switches prefixes on in IPv6 clusters.
    config.prefix_delegation = cni.enable_prefix_delegation || ipv6;
    config.custom_networking = cni.aws_vpc_k8s_cni_custom_network_cfg;
    config.pod_eni = cni.enable_pod_eni;
    config.subnet_discovery = cni.enable_subnet_discovery;
    config.manage_enis_non_schedulable = cni.aws_manage_enis_non_schedulable;
    config.ipv6 = ipv6;
    config.ip_cooldown = Span::from_secs(u64::from(cni.ip_cooldown_period));
    config.cluster_name.clone_from(&cni.cluster_name);
    config.clocks = clocks(d);
    if let Err(problem) = config.effective_prefix_delegation(true) {
        errors.error(
            "cluster.network.cni",
            format!("the CNI would not start: {problem}"),
            "change the settings as it says",
        );
    }
    let label = &cni.eni_config_label_def;
    NetworkModel {
        cni_enabled: cni.enabled,
        cni: config,
        random_placement: cluster.network.address_placement != "sequential",
        eni_config_label: if label.is_empty() {
            ENI_CONFIG_LABEL.to_owned()
        } else {
            label.clone()
        },
        ..NetworkModel::default()
    }
}

fn clocks(d: &Defaults) -> CniClocks {
    let mut clocks = CniClocks::default();
    clocks.loop_sleep = d.span("vpc_cni.pool_check_sleep");
    clocks.shrink_interval = d.span("vpc_cni.shrink_interval");
    clocks.eni_minimum_age = d.span("vpc_cni.eni_min_age");
    clocks.shortage_back_off = d.span("vpc_cni.insufficient_cidr_backoff");
    clocks.detach_pause = d.span("vpc_cni.detach_delete_pause");
    clocks.branch_cooldown = d.span("vpc_cni.branch_eni_cooldown");
    clocks
}

/// ENIConfigs with their subnets. Without custom networking they mean nothing.
fn eni_configs(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    for config in &manifests.eni_configs {
        let (name, wanted) = (&config.object.metadata.name, &config.object.spec.subnet);
        let found = model.subnets.iter().find(|(_, s)| s.is_called(wanted)).map(|(id, _)| id);
        match found {
            Some(subnet) => {
                model.network.eni_configs.push(EniConfigModel { name: name.clone(), subnet });
            }
            None if model.network.cni.custom_networking => errors.error(
                "cluster.network.subnets",
                format!("ENIConfig `{name}` names the subnet `{wanted}`, which is not there"),
                format!("add the subnet, or give the one that is meant `id: {wanted}`"),
            ),
            None => {}
        }
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
    s: &SubnetSpec,
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
