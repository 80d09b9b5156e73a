//! The network: VPC, subnets and who holds their addresses, VPC CNI.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// VPC, subnets and CNI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// Address block of the VPC (default `10.0.0.0/16`).
    pub vpc_cidr: String,
    /// Further blocks, for example `100.64.0.0/16`.
    pub secondary_cidrs: Vec<String>,
    /// `ipv4` (default) or `ipv6`: pods take no IPv4 address, each node gets a /80.
    pub ip_family: String,
    /// Subnets (default: a /20 in each of three zones).
    pub subnets: Vec<SubnetSpec>,
    /// Subnets of the control plane's interfaces, by name (default: those with role `nodes`).
    pub control_plane_subnets: Vec<String>,
    /// Interfaces of the control plane, 2 to 4 (default 2); each holds an address.
    pub control_plane_enis: u32,
    /// Which free address EC2 gives out: `random` (default) or `sequential`, the lowest. AWS does
    /// not say; random scatters single addresses, which breaks /28 blocks.
    pub address_placement: String,
    /// VPC CNI settings by their environment variable.
    pub cni: CniSpec,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            vpc_cidr: "10.0.0.0/16".to_owned(),
            secondary_cidrs: Vec::new(),
            ip_family: "ipv4".to_owned(),
            subnets: Vec::new(),
            control_plane_subnets: Vec::new(),
            control_plane_enis: 2,
            address_placement: "random".to_owned(),
            cni: CniSpec::default(),
        }
    }
}

/// A subnet: `cidr`, or `prefix` and it gets the next free aligned block of the VPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubnetSpec {
    /// Name.
    pub name: String,
    /// Its id, if ENIConfigs or EC2NodeClasses of the manifests name it by that
    /// (`subnet-0a1b2c`); they may also use the name.
    #[serde(default)]
    pub id: Option<String>,
    /// Availability zone, for example `us-east-1a`.
    pub zone: String,
    /// Address block.
    #[serde(default)]
    pub cidr: Option<String>,
    /// Prefix length 16 to 28.
    #[serde(default)]
    pub prefix: Option<u8>,
    /// What it is for: `nodes` (default) is used by groups that name no subnets and by internal
    /// load balancers; `pods` only by the CNI; `public` by load balancers that face the internet.
    #[serde(default = "nodes")]
    pub role: String,
    /// Tags, such as `kubernetes.io/role/cni: "1"` for subnet discovery of the CNI.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Addresses that something outside the cluster holds (default 0).
    #[serde(default)]
    pub used_addresses: u32,
    /// Where these lie: `sequential` (default), the lowest, or `scattered` at random, as in a
    /// subnet with a long past.
    #[serde(default = "sequential")]
    pub used_placement: String,
    /// Ranges kept for /28 prefixes by a subnet CIDR reservation.
    #[serde(default)]
    pub prefix_reservations: Vec<String>,
    /// NAT gateways; each holds an address.
    #[serde(default)]
    pub nat_gateways: u32,
    /// Interface endpoints; each holds an address.
    #[serde(default)]
    pub vpc_endpoints: u32,
}

fn nodes() -> String {
    "nodes".to_owned()
}
fn sequential() -> String {
    "sequential".to_owned()
}

impl Default for SubnetSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            id: None,
            zone: String::new(),
            cidr: None,
            prefix: None,
            role: nodes(),
            tags: BTreeMap::new(),
            used_addresses: 0,
            used_placement: sequential(),
            prefix_reservations: Vec::new(),
            nat_gateways: 0,
            vpc_endpoints: 0,
        }
    }
}

/// VPC CNI settings (names and defaults are the add-on's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default, deny_unknown_fields)]
pub struct CniSpec {
    /// Whether addresses of pods are modelled at all (true); without, every pod gets one at once
    /// and subnets hold only nodes.
    #[serde(rename = "enabled")]
    pub enabled: bool,
    /// Spare interfaces (1).
    pub warm_eni_target: u32,
    /// Spare addresses; overrides the interface target.
    pub warm_ip_target: u32,
    /// Addresses held at least.
    pub minimum_ip_target: u32,
    /// Spare prefixes (1).
    pub warm_prefix_target: u32,
    /// Interfaces at most; 0 is the type's limit.
    pub max_eni: u32,
    /// /28 prefixes instead of single addresses.
    pub enable_prefix_delegation: bool,
    /// Seconds before a freed address is used again (30).
    pub ip_cooldown_period: u32,
    /// Custom networking: pods live in the subnet of the zone's ENIConfig (manifests), the
    /// node's first interface serves none (false).
    pub aws_vpc_k8s_cni_custom_network_cfg: bool,
    /// Node label whose value names the ENIConfig; empty (default) is the label
    /// `k8s.amazonaws.com/eniConfig`, usual is `topology.kubernetes.io/zone`.
    pub eni_config_label_def: String,
    /// New interfaces may go to tagged subnets of the node's zone (true).
    pub enable_subnet_discovery: bool,
    /// Security groups for pods: a branch interface for each pod that a SecurityGroupPolicy of
    /// the manifests selects (false).
    pub enable_pod_eni: bool,
    /// `strict` (default) or `standard`; without influence on addresses.
    pub pod_security_group_enforcing_mode: String,
    /// Follows `ipFamily` when not given.
    #[serde(rename = "ENABLE_IPv6")]
    pub enable_ipv6: Option<bool>,
    /// Grow the pools of cordoned nodes too (false).
    pub aws_manage_enis_non_schedulable: bool,
    /// Name of the cluster, for subnets with `cni.networking.k8s.aws/cluster/NAME` tags.
    pub cluster_name: String,
}

impl Default for CniSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            warm_eni_target: 1,
            warm_ip_target: 0,
            minimum_ip_target: 0,
            warm_prefix_target: 1,
            max_eni: 0,
            enable_prefix_delegation: false,
            ip_cooldown_period: 30,
            aws_vpc_k8s_cni_custom_network_cfg: false,
            eni_config_label_def: String::new(),
            enable_subnet_discovery: true,
            enable_pod_eni: false,
            pod_security_group_enforcing_mode: "strict".to_owned(),
            enable_ipv6: None,
            aws_manage_enis_non_schedulable: false,
            cluster_name: String::new(),
        }
    }
}
