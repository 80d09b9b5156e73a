//! How many pods a node may hold, by interface limits and by the ceilings of EKS.
//!
//! Upstream: aws/amazon-vpc-cni-k8s b5218838 (2026-08-20) `misc/eni-max-pods.txt` and
//! `pkg/vpc/limits.go`; awslabs/amazon-eks-ami 81fec2e8 `max-pods-calculator.sh`; EKS user guide,
//! increase IP addresses (managed node groups). Only network card 0 counts.

use super::instance_types::{Hypervisor, InstanceType, InterfaceLimits};
use serde::{Deserialize, Serialize};

/// Addresses in a /28 prefix.
const PREFIX_ADDRESSES: u32 = 16;
/// aws-node and kube-proxy, which use the host's network.
const HOST_NETWORK_PODS: u32 = 2;
/// Ceiling of small instances and of EKS Auto Mode; also kubelet's own default.
const CEILING_SMALL: u32 = 110;
/// Ceiling of large instances.
const CEILING_LARGE: u32 = 250;

/// How the VPC CNI gives addresses to pods.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum PodNetwork {
    /// Secondary addresses on every interface.
    #[default]
    Secondary,
    /// Secondary addresses, none on the primary interface (custom networking).
    SecondaryCustom,
    /// /28 prefixes on every interface.
    Prefix,
    /// /28 prefixes, none on the primary interface.
    PrefixCustom,
}

impl PodNetwork {
    /// All modes, plain ones first.
    pub const ALL: [Self; 4] =
        [Self::Secondary, Self::SecondaryCustom, Self::Prefix, Self::PrefixCustom];

    /// The mode of `ENABLE_PREFIX_DELEGATION` and `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG`.
    #[must_use]
    pub const fn new(prefix_delegation: bool, custom_networking: bool) -> Self {
        match (prefix_delegation, custom_networking) {
            (false, false) => Self::Secondary,
            (false, true) => Self::SecondaryCustom,
            (true, false) => Self::Prefix,
            (true, true) => Self::PrefixCustom,
        }
    }
    /// Whether pods use prefixes.
    #[must_use]
    pub const fn is_prefix(self) -> bool {
        matches!(self, Self::Prefix | Self::PrefixCustom)
    }
    /// Whether the primary interface serves no pods.
    #[must_use]
    pub const fn is_custom(self) -> bool {
        matches!(self, Self::SecondaryCustom | Self::PrefixCustom)
    }
}

/// Interfaces that the CNI may use: `MAX_ENI` if it is at least 1, but no more than card 0 holds.
fn usable_enis(limits: &InterfaceLimits, max_eni: Option<u32>) -> u32 {
    let limit = limits.max_enis_default_card;
    max_eni.filter(|n| *n >= 1).map_or(limit, |n| n.min(limit))
}

fn addresses(limits: &InterfaceLimits, enis: u32, mode: PodNetwork, per_slot: u32) -> u32 {
    let serving = if mode.is_custom() { enis.saturating_sub(1) } else { enis };
    let slots = limits.ipv4_per_eni.saturating_sub(1);
    serving.saturating_mul(slots).saturating_mul(per_slot)
}

impl InstanceType {
    /// Whether the CNI can use prefixes: Nitro and bare metal.
    #[must_use]
    pub fn supports_prefixes(&self) -> bool {
        self.hypervisor == Hypervisor::Nitro || self.bare_metal == Some(true)
    }
    /// Pod addresses that the CNI can hold, without host-network pods and without a ceiling. Where
    /// prefixes are not supported, prefix modes give what secondary ones do.
    #[must_use]
    pub fn pod_addresses(&self, mode: PodNetwork, max_eni: Option<u32>) -> Option<u32> {
        let limits = self.interfaces.as_ref()?;
        let prefixes = mode.is_prefix() && self.supports_prefixes();
        let per_slot = if prefixes { PREFIX_ADDRESSES } else { 1 };
        Some(addresses(limits, usable_enis(limits, max_eni), mode, per_slot))
    }
    /// The published formula: interfaces × (addresses − 1) + 2, no ceiling. `reserved_enis` is
    /// Karpenter's flag; with no interface left no pod fits.
    #[must_use]
    pub fn eni_max_pods(&self, reserved_enis: u32) -> Option<u32> {
        let limits = self.interfaces.as_ref()?;
        let enis = limits.max_enis_default_card.saturating_sub(reserved_enis);
        if enis == 0 {
            return Some(0);
        }
        Some(addresses(limits, enis, PodNetwork::Secondary, 1) + HOST_NETWORK_PODS)
    }
    /// The max-pods calculator before its ceiling (`--show-max-allowed`). It takes bare metal for
    /// a type without prefixes.
    #[must_use]
    pub fn calculated_max_pods_uncapped(
        &self,
        mode: PodNetwork,
        max_eni: Option<u32>,
    ) -> Option<u32> {
        let limits = self.interfaces.as_ref()?;
        let prefixes = mode.is_prefix() && self.hypervisor == Hypervisor::Nitro;
        let per_slot = if prefixes { PREFIX_ADDRESSES } else { 1 };
        let pods = addresses(limits, usable_enis(limits, max_eni), mode, per_slot);
        Some(pods.saturating_add(HOST_NETWORK_PODS))
    }
    /// The max-pods calculator: at most 110 up to 30 vCPU, else 250, in every mode.
    #[must_use]
    pub fn calculated_max_pods(&self, mode: PodNetwork, max_eni: Option<u32>) -> Option<u32> {
        let ceiling = if self.vcpu? <= 30 { CEILING_SMALL } else { CEILING_LARGE };
        Some(self.calculated_max_pods_uncapped(mode, max_eni)?.min(ceiling))
    }
    /// The ceiling that managed node groups enforce: 110 below 30 vCPU, else 250.
    #[must_use]
    pub fn managed_node_group_cap(&self) -> Option<u32> {
        Some(if self.vcpu? < 30 { CEILING_SMALL } else { CEILING_LARGE })
    }
    /// EKS Auto Mode: the lower of 110 and the published formula.
    #[must_use]
    pub fn auto_mode_max_pods(&self) -> Option<u32> {
        self.eni_max_pods(0).map(|n| n.min(CEILING_SMALL))
    }
}

/// Who sets kubelet's `maxPods` when the user does not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaxPodsRule {
    /// The published value, whatever the CNI mode: self-managed nodes and Karpenter.
    #[default]
    Published,
    /// The calculator with its ceiling, for the CNI mode.
    Calculator,
    /// A managed node group: the value for the CNI mode under the group's ceiling.
    ManagedNodeGroup,
    /// EKS Auto Mode.
    AutoMode,
}

/// kubelet's `maxPods` by rule; 110 where the interface limits are unknown.
#[must_use]
pub fn max_pods(instance: &InstanceType, rule: MaxPodsRule, mode: PodNetwork) -> u32 {
    let value = match rule {
        MaxPodsRule::Published => instance.eni_max_pods(0),
        MaxPodsRule::Calculator => instance.calculated_max_pods(mode, None),
        MaxPodsRule::ManagedNodeGroup => {
            let cap = instance.managed_node_group_cap();
            instance
                .calculated_max_pods_uncapped(mode, None)
                .map(|n| cap.map_or(n, |cap| n.min(cap)))
        }
        MaxPodsRule::AutoMode => instance.auto_mode_max_pods(),
    };
    value.unwrap_or(CEILING_SMALL)
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use super::*;
    use serde_json::Value;

    /// Compares one value with the vector; returns whether they agree.
    fn agrees(expect: &Value, got: Option<u32>) -> bool {
        match expect {
            Value::Null => true,
            wanted => wanted.as_u64() == got.map(u64::from),
        }
    }

    #[test]
    fn conformance_vectors_by_type() {
        use PodNetwork::{Prefix, PrefixCustom, Secondary, SecondaryCustom};
        let text = include_str!("../../tests/data/conformance/vpc-cni/max_pods_by_type.json");
        let file: Value = serde_json::from_str(text).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 877);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let t = Catalog::embedded().get(name).unwrap_or_else(|| panic!("{name} is missing"));
            let e = &case["expect"];
            let numbers = [
                ("published_eni_max_pods", t.published_max_pods),
                ("secondary_uncapped", t.eni_max_pods(0)),
                ("cni_pod_ips_secondary", t.pod_addresses(Secondary, None)),
                ("cni_pod_ips_custom_networking", t.pod_addresses(SecondaryCustom, None)),
                ("cni_pod_ips_prefix", t.pod_addresses(Prefix, None)),
                ("calc_default", t.calculated_max_pods(Secondary, None)),
                ("calc_custom_networking", t.calculated_max_pods(SecondaryCustom, None)),
                ("calc_prefix", t.calculated_max_pods(Prefix, None)),
                ("calc_prefix_custom", t.calculated_max_pods(PrefixCustom, None)),
                ("calc_prefix_show_max", t.calculated_max_pods_uncapped(Prefix, None)),
                ("managed_node_group_cap", t.managed_node_group_cap()),
                ("calc_cni_max_eni_1", t.calculated_max_pods(Secondary, Some(1))),
                ("calc_cni_max_eni_2_custom", t.calculated_max_pods(SecondaryCustom, Some(2))),
                ("auto_mode_max_pods", t.auto_mode_max_pods()),
            ];
            for (key, got) in numbers {
                assert!(agrees(&e[key], got), "{name} {key}: {} is not {got:?}", e[key]);
            }
            assert_eq!(e["prefix_supported_by_cni"], t.supports_prefixes(), "{name}");
            let trunk = t.interfaces.and_then(|i| i.trunking);
            let want = e["security_groups_for_pods_supported"].as_bool();
            assert_eq!(want, trunk, "{name}");
        }
    }

    #[test]
    fn published_values_follow_the_formula() {
        // validation E1 and every entry of eni-max-pods.txt.
        let published = |t: &&InstanceType| t.published_max_pods.is_some();
        let all: Vec<_> = Catalog::embedded().iter().filter(published).collect();
        assert_eq!(all.len(), 1391);
        for t in all {
            assert_eq!(t.eni_max_pods(0), t.published_max_pods, "{}", t.name);
        }
        let get = |name| Catalog::embedded().get(name).unwrap();
        for (name, pods) in
            [("c5.large", 29), ("m5.large", 29), ("m5.xlarge", 58), ("t3.medium", 17)]
        {
            assert_eq!(get(name).eni_max_pods(0), Some(pods), "{name}");
        }
        assert_eq!(get("m5.large").eni_max_pods(3), Some(0));
    }

    #[test]
    fn rules_choose_the_ceiling() {
        let get = |name| Catalog::embedded().get(name).unwrap();
        let (large, huge) = (get("m5.large"), get("m5.24xlarge"));
        assert_eq!(max_pods(large, MaxPodsRule::Published, PodNetwork::Prefix), 29);
        assert_eq!(max_pods(large, MaxPodsRule::ManagedNodeGroup, PodNetwork::Prefix), 110);
        assert_eq!(max_pods(huge, MaxPodsRule::Published, PodNetwork::Secondary), 737);
        assert_eq!(max_pods(huge, MaxPodsRule::ManagedNodeGroup, PodNetwork::Secondary), 250);
        assert_eq!(max_pods(huge, MaxPodsRule::AutoMode, PodNetwork::Prefix), 110);
        let unknown = Catalog::embedded().iter().find(|t| t.interfaces.is_none()).unwrap();
        assert_eq!(max_pods(unknown, MaxPodsRule::Published, PodNetwork::Secondary), 110);
    }
}
