//! How many pods a node may run.
//!
//! Upstream: amazon-vpc-cni-k8s misc/eni-max-pods.txt (formula), awslabs/amazon-eks-ami
//! templates/al2/runtime/max-pods-calculator.sh, EKS user guide (managed node group caps, Auto
//! Mode). Differences: none known.

use super::address_space::PREFIX_SIZE;
use super::config::EniLimits;

/// aws-node and kube-proxy, both on the host network, in every published value.
const HOST_NETWORK_PODS: u64 = 2;
/// Pods per node that small instance types are held to.
pub const SMALL_CEILING: u64 = 110;
/// Pods per node that large instance types are held to.
pub const LARGE_CEILING: u64 = 250;
/// vCPUs from which (managed groups) or above which (calculator) a type counts as large.
const LARGE_VCPU: u64 = 30;

/// Switches of the max-pods calculator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Prefix delegation, on a type that supports it.
    pub prefix_delegation: bool,
    /// Custom networking: the primary interface serves no pods.
    pub custom_networking: bool,
    /// `MAX_ENI`, 0 = unset.
    pub max_eni: u32,
}

/// Addresses the CNI can give to pods.
#[must_use]
pub fn pod_addresses(limits: EniLimits, mode: Mode) -> u64 {
    let enis = if mode.max_eni >= 1 { mode.max_eni.min(limits.enis) } else { limits.enis };
    let enis = u64::from(enis).saturating_sub(u64::from(mode.custom_networking));
    let size = if mode.prefix_delegation { PREFIX_SIZE } else { 1 };
    enis.saturating_mul(u64::from(limits.slots())).saturating_mul(u64::from(size))
}

/// The published formula, without a ceiling.
#[must_use]
pub fn uncapped(limits: EniLimits, mode: Mode) -> u64 {
    pod_addresses(limits, mode).saturating_add(HOST_NETWORK_PODS)
}

/// What the max-pods calculator recommends.
#[must_use]
pub fn calculator(limits: EniLimits, mode: Mode, vcpu: u64) -> u64 {
    let ceiling = if vcpu > LARGE_VCPU { LARGE_CEILING } else { SMALL_CEILING };
    uncapped(limits, mode).min(ceiling)
}

/// The most that a managed node group sets.
#[must_use]
pub const fn managed_node_group_cap(vcpu: u64) -> u64 {
    if vcpu < LARGE_VCPU { SMALL_CEILING } else { LARGE_CEILING }
}

/// Pods per node in EKS Auto Mode.
#[must_use]
pub fn auto_mode(limits: EniLimits) -> u64 {
    uncapped(limits, Mode::default()).min(SMALL_CEILING)
}

/// Whether the CNI can use prefixes (and IPv6) on this type.
#[must_use]
pub fn supports_prefixes(hypervisor: &str, bare_metal: bool) -> bool {
    bare_metal || hypervisor == "nitro"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values() {
        let of = |enis, ipv4_per_eni| uncapped(EniLimits { enis, ipv4_per_eni }, Mode::default());
        // E1 of the validation plan: m5.large and c5.large, m5.xlarge, t3.medium.
        assert_eq!([of(3, 10), of(4, 15), of(3, 6)], [29, 58, 17]);
        assert_eq!([of(8, 30), of(15, 50), of(2, 4)], [234, 737, 8]);
    }

    #[test]
    fn modes_and_ceilings() {
        let m5_large = EniLimits { enis: 3, ipv4_per_eni: 10 };
        let custom = Mode { custom_networking: true, ..Mode::default() };
        let prefix = Mode { prefix_delegation: true, ..Mode::default() };
        let both = Mode { prefix_delegation: true, ..custom };
        assert_eq!(uncapped(m5_large, custom), 20);
        assert_eq!((uncapped(m5_large, prefix), uncapped(m5_large, both)), (434, 290));
        assert_eq!((calculator(m5_large, prefix, 2), calculator(m5_large, both, 2)), (110, 110));
        assert_eq!(calculator(EniLimits { enis: 15, ipv4_per_eni: 50 }, Mode::default(), 96), 250);
        assert_eq!((managed_node_group_cap(29), managed_node_group_cap(30)), (110, 250));
        assert_eq!(auto_mode(EniLimits { enis: 8, ipv4_per_eni: 30 }), 110);
        let nothing = EniLimits { enis: 0, ipv4_per_eni: 0 };
        assert_eq!(uncapped(nothing, both), 2);
        let huge = EniLimits { enis: u32::MAX, ipv4_per_eni: u32::MAX };
        assert_eq!(calculator(huge, Mode::default(), 2), 110);
    }
    /// The catalogue answers by type with the same rules; the two may never drift apart.
    #[test]
    fn the_catalogue_agrees() {
        use crate::catalog::{Catalog, PodNetwork};
        for instance_type in Catalog::embedded().iter() {
            let Some(interfaces) = instance_type.interfaces else { continue };
            let limits = EniLimits {
                enis: interfaces.max_enis_default_card,
                ipv4_per_eni: interfaces.ipv4_per_eni,
            };
            for network in PodNetwork::ALL {
                for max_eni in [0, 1, 2] {
                    let prefix_delegation =
                        network.is_prefix() && instance_type.supports_prefixes();
                    let custom_networking = network.is_custom();
                    let mode = Mode { prefix_delegation, custom_networking, max_eni };
                    let theirs = instance_type.pod_addresses(network, Some(max_eni));
                    let ours = pod_addresses(limits, mode);
                    assert_eq!(theirs.map(u64::from), Some(ours), "{}", instance_type.name);
                }
            }
            let capped = instance_type.managed_node_group_cap().map(u64::from);
            let vcpu = instance_type.vcpu.map(u64::from);
            assert_eq!(capped, vcpu.map(managed_node_group_cap), "{}", instance_type.name);
            let auto = instance_type.auto_mode_max_pods().map(u64::from);
            assert_eq!(auto, Some(auto_mode(limits)), "{}", instance_type.name);
        }
    }
}
