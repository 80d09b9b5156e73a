//! Users of subnet addresses besides nodes: the control plane, load balancers.
//!
//! Upstream: EKS user guide (network requirements), Elastic Load Balancing user guide. Where EKS
//! and ELB do not publish how they choose, this says so.

use serde::{Deserialize, Serialize};

use super::address_space::{AddressSpace, Holding, Placement, Shortage};

/// Addresses these users need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct ConsumerRules {
    /// Interfaces of the EKS control plane (2; 2 to 4 are seen).
    pub control_plane_enis: u32,
    /// Free addresses a cluster subnet must have for creation and upgrades (6, user guide).
    pub cluster_subnet_free: u32,
    /// Free addresses a cluster subnet should have (16, user guide).
    pub cluster_subnet_free_advised: u32,
    /// Zones an application load balancer needs at least (2).
    pub alb_zones: u32,
    /// Free addresses each subnet of an application load balancer must have (8).
    pub alb_subnet_free: u32,
    /// Longest prefix of a subnet of an application load balancer (27).
    pub alb_longest_prefix: u8,
    /// Addresses that an application load balancer grows to at most (100, memory).
    pub alb_addresses: u32,
}

impl Default for ConsumerRules {
    fn default() -> Self {
        Self {
            control_plane_enis: 2,
            cluster_subnet_free: 6,
            cluster_subnet_free_advised: 16,
            alb_zones: 2,
            alb_subnet_free: 8,
            alb_longest_prefix: 27,
            alb_addresses: 100,
        }
    }
}

/// Kinds of load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancer {
    /// Application: one address per zone, more as it scales.
    Application,
    /// Network: one address per zone.
    Network,
    /// Classic: like an application load balancer, in one zone or more.
    Classic,
}

/// Why a load balancer or a cluster cannot use its subnets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubnetRefusal {
    /// Too few zones.
    #[error("{given} zones are given, {needed} are needed")]
    Zones {
        /// Subnets given, one a zone.
        given: u32,
        /// Zones needed.
        needed: u32,
    },
    /// A subnet is too small.
    #[error("subnet {index} is smaller than a /{longest_prefix}")]
    TooSmall {
        /// Position of the subnet.
        index: usize,
        /// Longest prefix that is allowed.
        longest_prefix: u8,
    },
    /// A subnet has too few free addresses.
    #[error("subnet {index} has {free} free addresses, {needed} are needed")]
    TooFull {
        /// Position of the subnet.
        index: usize,
        /// Its free addresses.
        free: u32,
        /// Free addresses needed.
        needed: u32,
    },
}

/// Subnet (position) of each control-plane interface: one after another over the subnets in
/// order. EKS does not publish its choice.
#[must_use]
pub fn control_plane_subnets(rules: &ConsumerRules, subnets: usize) -> Vec<usize> {
    if subnets == 0 {
        return Vec::new();
    }
    (0..rules.control_plane_enis as usize).map(|eni| eni % subnets).collect()
}

/// Whether EKS accepts the cluster's subnets, for creation or an upgrade (which creates new
/// interfaces before it deletes the old ones).
///
/// # Errors
/// Names the first subnet with too few free addresses.
pub fn cluster_subnets_suffice(rules: &ConsumerRules, free: &[u32]) -> Result<(), SubnetRefusal> {
    let needed = rules.cluster_subnet_free;
    match free.iter().position(|free| *free < needed) {
        Some(index) => Err(SubnetRefusal::TooFull { index, free: free[index], needed }),
        None => Ok(()),
    }
}

/// Whether a load balancer can be created in these subnets, one per zone.
///
/// # Errors
/// Names what does not suffice.
pub fn load_balancer_fits(
    rules: &ConsumerRules,
    kind: LoadBalancer,
    subnets: &[&AddressSpace],
) -> Result<(), SubnetRefusal> {
    let (zones, needed, longest_prefix) = match kind {
        LoadBalancer::Application => {
            (rules.alb_zones, rules.alb_subnet_free, rules.alb_longest_prefix)
        }
        LoadBalancer::Classic => (1, rules.alb_subnet_free, rules.alb_longest_prefix),
        LoadBalancer::Network => (1, 1, 32),
    };
    if (subnets.len() as u32) < zones {
        return Err(SubnetRefusal::Zones { given: subnets.len() as u32, needed: zones });
    }
    for (index, subnet) in subnets.iter().enumerate() {
        if subnet.cidr().prefix_length() > longest_prefix {
            return Err(SubnetRefusal::TooSmall { index, longest_prefix });
        }
        if subnet.free() < needed {
            return Err(SubnetRefusal::TooFull { index, free: subnet.free(), needed });
        }
    }
    Ok(())
}

/// Takes one address for a user that is no node: load balancer, gateway, endpoint, Fargate pod.
///
/// # Errors
/// When the subnet is full.
pub fn take_one(
    subnet: &mut AddressSpace,
    holding: Holding,
    placement: &mut Placement<'_>,
) -> Result<core::net::Ipv4Addr, Shortage> {
    let mut out = Vec::with_capacity(1);
    subnet.take(holding, 1, placement, &mut out)?;
    Ok(out[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_balancers_need_room() {
        let rules = ConsumerRules::default();
        let mut a = AddressSpace::new("10.0.0.0/27".parse().unwrap()).unwrap();
        let b = AddressSpace::new("10.0.1.0/28".parse().unwrap()).unwrap();
        let alb = LoadBalancer::Application;
        assert!(load_balancer_fits(&rules, alb, &[&a, &a]).is_ok());
        assert!(matches!(load_balancer_fits(&rules, alb, &[&a]), Err(SubnetRefusal::Zones { .. })));
        let small = load_balancer_fits(&rules, alb, &[&a, &b]);
        assert_eq!(small, Err(SubnetRefusal::TooSmall { index: 1, longest_prefix: 27 }));
        a.take(Holding::Other, 20, &mut Placement::Sequential, &mut Vec::new()).unwrap();
        let full = load_balancer_fits(&rules, alb, &[&a, &a]);
        assert_eq!(full, Err(SubnetRefusal::TooFull { index: 0, free: 7, needed: 8 }));
        assert!(load_balancer_fits(&rules, LoadBalancer::Network, &[&b]).is_ok());
        assert!(take_one(&mut a, Holding::LoadBalancer, &mut Placement::Sequential).is_ok());
        assert_eq!(a.count(Holding::LoadBalancer), 1);
    }

    #[test]
    fn control_plane_interfaces_alternate() {
        let rules = ConsumerRules { control_plane_enis: 4, ..ConsumerRules::default() };
        assert_eq!(control_plane_subnets(&rules, 3), [0, 1, 2, 0]);
        assert!(control_plane_subnets(&rules, 0).is_empty());
        assert!(cluster_subnets_suffice(&rules, &[6, 16]).is_ok());
        assert!(cluster_subnets_suffice(&rules, &[6, 5]).is_err());
    }
}
