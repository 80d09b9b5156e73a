//! The network of a scenario: blocks, subnets, who holds their addresses, settings of the CNI.

use super::super::scenario::{Scenario, SubnetSpec};
use super::super::{codes, suggest};
use super::Checker;

/// An IPv4 block as first address and prefix length, and the mend if it is none.
fn block(text: &str) -> Result<(u32, u8), String> {
    let bad = || "write an IPv4 block such as `10.0.0.0/16`".to_owned();
    let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| bad())?;
    let prefix: u8 = prefix.parse().map_err(|_| bad())?;
    if prefix > 32 {
        return Err(bad());
    }
    let first = u32::from(address);
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    if first & !mask != 0 {
        let aligned = std::net::Ipv4Addr::from(first & mask);
        return Err(format!("the block starts at `{aligned}/{prefix}`; write that"));
    }
    Ok((first, prefix))
}

fn inside(inner: (u32, u8), outer: (u32, u8)) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(outer.1)).unwrap_or(0);
    inner.1 >= outer.1 && inner.0 & mask == outer.0
}

pub(super) fn check(scenario: &Scenario, c: &mut Checker<'_, '_>) {
    let cluster = &scenario.spec.cluster;
    let network = &cluster.network;
    let at = "spec.cluster.network";
    let mut blocks = Vec::new();
    let own = std::iter::once((format!("{at}.vpcCidr"), &network.vpc_cidr));
    let more = network.secondary_cidrs.iter().enumerate();
    for (path, text) in own.chain(more.map(|(i, t)| (format!("{at}.secondaryCidrs.{i}"), t))) {
        match block(text) {
            Ok(b) if (16..=28).contains(&b.1) => blocks.push(b),
            Ok(_) => {
                let message = format!("a VPC block cannot be `{text}`");
                c.error(codes::OUT_OF_RANGE, &path, message, "use a prefix from /16 to /28");
            }
            Err(mend) => {
                c.error(codes::BAD_VALUE, &path, format!("`{text}` is no address block"), mend)
            }
        }
    }
    subnets(scenario, &blocks, c);
    families(scenario, c);
    control_plane(scenario, c);
    cni(scenario, c);
}

/// Zone, size and block of every subnet.
fn subnets(scenario: &Scenario, blocks: &[(u32, u8)], c: &mut Checker<'_, '_>) {
    let region = &scenario.spec.cluster.region;
    let network = &scenario.spec.cluster.network;
    let mut taken: Vec<((u32, u8), &str)> = Vec::new();
    for (i, subnet) in network.subnets.iter().enumerate() {
        let at = format!("spec.cluster.network.subnets.{i}");
        if !subnet.zone.starts_with(region.as_str()) || subnet.zone.len() != region.len() + 1 {
            let message = format!("`{}` is no zone of {region}", subnet.zone);
            let help = format!("write for example `{region}a`");
            c.error(codes::UNKNOWN_VALUE, &format!("{at}.zone"), message, help);
        }
        uses(subnet, &at, c);
        let Some(block) = subnet_block(subnet, &at, c) else { continue };
        reservations(subnet, block, &at, c);
        let path = format!("{at}.cidr");
        let text = subnet.cidr.as_deref().unwrap_or("");
        if !blocks.is_empty() && !blocks.iter().any(|o| inside(block, *o)) {
            let message = format!("`{text}` is outside the VPC ({})", network.vpc_cidr);
            let help = "choose a block inside it, or add one to `secondaryCidrs`";
            c.error(codes::OUT_OF_RANGE, &path, message, help);
        }
        if let Some((_, other)) = taken.iter().find(|(t, _)| inside(block, *t) || inside(*t, block))
        {
            let message = format!("`{text}` overlaps the subnet `{other}`");
            c.error(codes::CONTRADICTION, &path, message, "choose a block that is free");
        }
        taken.push((block, &subnet.name));
    }
}

/// The block of a subnet, if it has a good one of its own.
fn subnet_block(subnet: &SubnetSpec, at: &str, c: &mut Checker<'_, '_>) -> Option<(u32, u8)> {
    match (&subnet.cidr, subnet.prefix) {
        (Some(_), Some(_)) => {
            let message = format!("the subnet `{}` has both `cidr` and `prefix`", subnet.name);
            c.error(
                codes::CONTRADICTION,
                &format!("{at}.prefix"),
                message,
                "remove one of the two",
            );
        }
        (None, None) => {
            let message = format!("the subnet `{}` has no size", subnet.name);
            c.error(codes::MISSING_FIELD, at, message, "add `prefix: 24` or `cidr: 10.0.0.0/24`");
        }
        (None, Some(prefix)) if !(16..=28).contains(&prefix) => {
            let message = format!("a subnet cannot be a /{prefix}");
            let path = format!("{at}.prefix");
            c.error(codes::OUT_OF_RANGE, &path, message, "write a number from 16 to 28");
        }
        (None, Some(_)) => {}
        (Some(text), None) => match block(text) {
            Ok(block) if (16..=28).contains(&block.1) => return Some(block),
            Ok(_) => {
                let message = format!("a subnet cannot be `{text}`");
                let path = format!("{at}.cidr");
                c.error(codes::OUT_OF_RANGE, &path, message, "use a prefix from /16 to /28");
            }
            Err(mend) => {
                let message = format!("`{text}` is no address block");
                c.error(codes::BAD_VALUE, &format!("{at}.cidr"), message, mend);
            }
        },
    }
    None
}

/// What a subnet is for, and what lies in it.
fn uses(subnet: &SubnetSpec, at: &str, c: &mut Checker<'_, '_>) {
    c.one_of(&format!("{at}.role"), &subnet.role, &["nodes", "pods", "public"]);
    let placements = ["sequential", "scattered"];
    c.one_of(&format!("{at}.usedPlacement"), &subnet.used_placement, &placements);
    let limit = 1 << 16;
    let counts = [
        ("usedAddresses", subnet.used_addresses),
        ("natGateways", subnet.nat_gateways),
        ("vpcEndpoints", subnet.vpc_endpoints),
    ];
    for (field, count) in counts {
        if count >= limit {
            let message = format!("`{field}` cannot be {count}: no subnet has so many addresses");
            let help = "the largest subnet, a /16, has 65,531 usable addresses";
            c.error(codes::OUT_OF_RANGE, &format!("{at}.{field}"), message, help);
        }
    }
}

/// Subnet CIDR reservations of type prefix: inside the subnet, a /28 or larger. A subnet that
/// gets the next free block has no known range to reserve.
fn reservations(subnet: &SubnetSpec, own: (u32, u8), at: &str, c: &mut Checker<'_, '_>) {
    for (i, text) in subnet.prefix_reservations.iter().enumerate() {
        let path = format!("{at}.prefixReservations.{i}");
        match block(text) {
            Ok(range) if inside(range, own) && range.1 <= 28 => {}
            Ok(_) => {
                let message = format!("`{text}` is no range of the subnet for /28 prefixes");
                let help = "reserve a /28 or a larger block inside the subnet";
                c.error(codes::OUT_OF_RANGE, &path, message, help);
            }
            Err(mend) => {
                c.error(codes::BAD_VALUE, &path, format!("`{text}` is no address block"), mend)
            }
        }
    }
}

/// `ipFamily`, placement, and what IPv6 excludes.
fn families(scenario: &Scenario, c: &mut Checker<'_, '_>) {
    let network = &scenario.spec.cluster.network;
    let at = "spec.cluster.network";
    c.one_of(&format!("{at}.ipFamily"), &network.ip_family, &["ipv4", "ipv6"]);
    let placements = ["random", "sequential"];
    c.one_of(&format!("{at}.addressPlacement"), &network.address_placement, &placements);
    let ipv6 = network.ip_family == "ipv6";
    if network.cni.enable_ipv6.is_some_and(|on| on != ipv6) {
        let message = "`ENABLE_IPv6` contradicts `ipFamily`".to_owned();
        let help = "leave `ENABLE_IPv6` out; it follows `cluster.network.ipFamily`";
        c.error(codes::CONTRADICTION, &format!("{at}.cni.ENABLE_IPv6"), message, help);
    }
    if ipv6 && network.cni.aws_vpc_k8s_cni_custom_network_cfg {
        let message = "custom networking does not exist in IPv6 clusters".to_owned();
        let help = "remove `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG`, or use `ipFamily: ipv4`";
        let path = format!("{at}.cni.AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG");
        c.error(codes::CONTRADICTION, &path, message, help);
    }
}

/// Subnets and number of the control plane's interfaces.
fn control_plane(scenario: &Scenario, c: &mut Checker<'_, '_>) {
    let network = &scenario.spec.cluster.network;
    let at = "spec.cluster.network";
    if !(2..=4).contains(&network.control_plane_enis) {
        let message = format!("`controlPlaneEnis` cannot be {}", network.control_plane_enis);
        let help = "EKS keeps 2 to 4 interfaces in the cluster's subnets";
        c.error(codes::OUT_OF_RANGE, &format!("{at}.controlPlaneEnis"), message, help);
    }
    for (i, name) in network.control_plane_subnets.iter().enumerate() {
        if !network.subnets.iter().any(|s| s.name == *name) {
            let names = || network.subnets.iter().map(|s| s.name.as_str());
            let help = match suggest::nearest(name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if network.subnets.is_empty() => {
                    "leave it out, or describe the subnets under `subnets`".to_owned()
                }
                None => format!("write {}", suggest::list(names())),
            };
            let path = format!("{at}.controlPlaneSubnets.{i}");
            c.error(codes::NO_SUCH_OBJECT, &path, format!("no subnet `{name}`"), help);
        }
    }
    let somewhere = network.subnets.is_empty() || network.subnets.iter().any(|s| s.role == "nodes");
    if !somewhere {
        let message = "no subnet has the role `nodes`".to_owned();
        let help = "leave `role` out where nodes are to live";
        c.error(codes::CONTRADICTION, &format!("{at}.subnets"), message, help);
    }
}

/// Settings of the CNI that do not go together.
fn cni(scenario: &Scenario, c: &mut Checker<'_, '_>) {
    let cni = &scenario.spec.cluster.network.cni;
    let at = "spec.cluster.network.cni";
    let modes = ["strict", "standard"];
    let mode = &cni.pod_security_group_enforcing_mode;
    c.one_of(&format!("{at}.POD_SECURITY_GROUP_ENFORCING_MODE"), mode, &modes);
    let targets = [
        ("WARM_ENI_TARGET", cni.warm_eni_target),
        ("WARM_IP_TARGET", cni.warm_ip_target),
        ("MINIMUM_IP_TARGET", cni.minimum_ip_target),
        ("WARM_PREFIX_TARGET", cni.warm_prefix_target),
        ("MAX_ENI", cni.max_eni),
    ];
    for (name, value) in targets {
        if value > 65_536 {
            let message = format!("`{name}` cannot be {value}");
            let help = "no node holds more than some thousand addresses";
            c.error(codes::OUT_OF_RANGE, &format!("{at}.{name}"), message, help);
        }
    }
    if cni.aws_vpc_k8s_cni_custom_network_cfg && cni.max_eni == 1 {
        let message = "custom networking needs a second interface; `MAX_ENI` forbids it".to_owned();
        c.error(codes::CONTRADICTION, &format!("{at}.MAX_ENI"), message, "write 2 or more");
    }
}
