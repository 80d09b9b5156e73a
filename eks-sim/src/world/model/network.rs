//! Subnets, who holds their addresses from the start, and the CNI's settings, lowered.

use super::{ServiceModel, Zone};
use crate::policy::vpc_cni::consumers::{ConsumerRules, LoadBalancer};
use crate::policy::vpc_cni::{AddressSpace, Cidr, CniConfig, Holding, Placement};
use crate::units::Id;
use crate::units::key::{key, mix64};

/// What a subnet is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubnetRole {
    /// Nodes of groups that name no subnets, internal load balancers.
    #[default]
    Nodes,
    /// Only what the CNI puts there.
    Pods,
    /// Load balancers that face the internet.
    Public,
}

/// A subnet.
#[derive(Clone, Debug)]
pub struct SubnetModel {
    /// Name.
    pub name: String,
    /// Its id in AWS, if the scenario gives one.
    pub id: Option<String>,
    /// Zone.
    pub zone: Id<Zone>,
    /// First address and prefix length.
    pub network: (u32, u8),
    /// What it is for.
    pub role: SubnetRole,
    /// Keys and values of its tags.
    pub tags: Vec<(String, String)>,
    /// Addresses held by something outside the cluster.
    pub used_addresses: u32,
    /// Whether these are scattered at random; else they are the lowest.
    pub scattered: bool,
    /// Ranges kept for /28 prefixes.
    pub prefix_reservations: Vec<Cidr>,
    /// NAT gateways.
    pub nat_gateways: u32,
    /// Interface endpoints.
    pub vpc_endpoints: u32,
    /// Interfaces of the control plane.
    pub control_plane_enis: u32,
    /// Whether EC2 gives out random free addresses, and not the lowest.
    pub random_placement: bool,
}

impl SubnetModel {
    /// Its addresses before nodes take any: what the cluster did not put there, gateways,
    /// endpoints and the control plane. `below` gives a number below its argument.
    ///
    /// # Panics
    /// Never: size and use were checked when the model was built.
    #[must_use]
    pub fn space_with(&self, below: &mut dyn FnMut(u32) -> u32) -> AddressSpace {
        let random = self.random_placement;
        let cidr = Cidr::containing(self.network.0.into(), self.network.1);
        let mut space = AddressSpace::new(cidr).expect("the size of a subnet was checked");
        for range in &self.prefix_reservations {
            space.reserve_for_prefixes(*range).expect("reservations were checked");
        }
        let mut out = Vec::new();
        let held = [
            (Holding::Other, self.used_addresses, self.scattered),
            (Holding::NatGateway, self.nat_gateways, random),
            (Holding::Endpoint, self.vpc_endpoints, random),
            (Holding::ControlPlane, self.control_plane_enis, random),
        ];
        for (holding, count, scattered) in held {
            let mut at = if scattered { Placement::Random(below) } else { Placement::Sequential };
            space.take(holding, count, &mut at, &mut out).expect("the sum of them was checked");
        }
        space
    }

    /// The same with a fixed luck, for answers without a run.
    #[must_use]
    pub fn space(&self) -> AddressSpace {
        let start = key(&[u64::from(self.network.0), u64::from(self.network.1)]);
        let mut turn = 0;
        self.space_with(&mut |n| {
            turn += 1;
            let hash = mix64(key(&[start, turn]));
            ((u128::from(hash) * u128::from(n)) >> 64) as u32
        })
    }

    /// Addresses that [`SubnetModel::space`] takes.
    #[must_use]
    pub fn held_from_the_start(&self) -> u64 {
        [self.used_addresses, self.nat_gateways, self.vpc_endpoints, self.control_plane_enis]
            .iter()
            .map(|n| u64::from(*n))
            .sum()
    }

    /// Its tags as the policy reads them.
    #[must_use]
    pub fn tag_pairs(&self) -> Vec<(&str, &str)> {
        self.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }

    /// Whether a manifest means this subnet by `text`.
    #[must_use]
    pub fn is_called(&self, text: &str) -> bool {
        self.name == text || self.id.as_deref() == Some(text)
    }

    /// The block as text.
    #[must_use]
    pub fn cidr(&self) -> String {
        let [a, b, c, d] = self.network.0.to_be_bytes();
        format!("{a}.{b}.{c}.{d}/{}", self.network.1)
    }
}

/// An ENIConfig.
#[derive(Clone, Debug)]
pub struct EniConfigModel {
    /// Name: what the node's label says, usually its zone.
    pub name: String,
    /// Its subnet.
    pub subnet: Id<super::SubnetModel>,
}

/// A load balancer that a Service or an Ingress asks for.
#[derive(Clone, Debug)]
pub struct LoadBalancerModel {
    /// `Service/NAMESPACE/NAME` or `Ingress/NAMESPACE/NAME`.
    pub name: String,
    /// Kind.
    pub kind: LoadBalancer,
    /// Services whose requests it carries.
    pub services: Vec<Id<ServiceModel>>,
    /// Its subnets, at most one a zone.
    pub subnets: Vec<Id<super::SubnetModel>>,
    /// Stable identity for draws.
    pub key: u64,
}

/// The network beside its subnets.
#[derive(Clone, Debug, Default)]
pub struct NetworkModel {
    /// Whether addresses of pods are modelled.
    pub cni_enabled: bool,
    /// The CNI's settings in effect.
    pub cni: CniConfig,
    /// Whether EC2 gives out random free addresses, and not the lowest.
    pub random_placement: bool,
    /// Label of nodes that names their ENIConfig.
    pub eni_config_label: String,
    /// ENIConfigs.
    pub eni_configs: Vec<EniConfigModel>,
    /// Load balancers.
    pub load_balancers: Vec<LoadBalancerModel>,
    /// What load balancers and the control plane need.
    pub rules: ConsumerRules,
}
