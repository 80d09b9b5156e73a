//! Settings of the CNI as its environment variables give them, and what an instance type allows.
//!
//! Upstream: config/master/aws-k8s-cni.yaml (defaults shipped), pkg/ipamd/ipamd.go (getters,
//! `isConfigValid`, clocks), pkg/ipamd/datastore/data_store.go (cooldown).

use serde::{Deserialize, Serialize};

use super::address_space::PREFIX_SIZE;
use crate::units::Span;

/// Clocks of ipamd. None can be set in the product except the cooldown; here all can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct CniClocks {
    /// Sleep before the pool check, and again before the reconcile check (2.5 s each).
    pub loop_sleep: Span,
    /// Shortest time between two scale-downs of addresses or prefixes (30 s).
    pub shrink_interval: Span,
    /// Interfaces younger than this are not removed (60 s).
    pub eni_minimum_age: Span,
    /// No growth after EC2 ran out of addresses or blocks (120 s).
    pub shortage_back_off: Span,
    /// Pause between detaching and deleting an interface (2 s).
    pub detach_pause: Span,
    /// Branch interfaces of deleted pods are kept this long (60 s).
    pub branch_cooldown: Span,
}

impl Default for CniClocks {
    fn default() -> Self {
        Self {
            loop_sleep: Span::from_millis(2_500),
            shrink_interval: Span::from_secs(30),
            eni_minimum_age: Span::from_secs(60),
            shortage_back_off: Span::from_secs(120),
            detach_pause: Span::from_secs(2),
            branch_cooldown: Span::from_secs(60),
        }
    }
}

/// Settings of the CNI. The defaults are those of the shipped manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct CniConfig {
    /// `WARM_ENI_TARGET` (1).
    pub warm_eni_target: u32,
    /// `WARM_IP_TARGET` (0, unset).
    pub warm_ip_target: u32,
    /// `MINIMUM_IP_TARGET` (0, unset).
    pub minimum_ip_target: u32,
    /// `WARM_PREFIX_TARGET` (1 in the manifest, 0 when unset).
    pub warm_prefix_target: u32,
    /// `MAX_ENI` (0, unset: the type's limit).
    pub max_eni: u32,
    /// `ENABLE_PREFIX_DELEGATION` (false).
    pub prefix_delegation: bool,
    /// `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG` (false).
    pub custom_networking: bool,
    /// `ENABLE_POD_ENI`: security groups for pods (false).
    pub pod_eni: bool,
    /// `ENABLE_SUBNET_DISCOVERY` (true).
    pub subnet_discovery: bool,
    /// `AWS_MANAGE_ENIS_NON_SCHEDULABLE`: grow on cordoned nodes too (false).
    pub manage_enis_non_schedulable: bool,
    /// `ENABLE_IPv6`: one /80 per node instead of an IPv4 pool (false).
    pub ipv6: bool,
    /// `IP_COOLDOWN_PERIOD` (30 s).
    pub ip_cooldown: Span,
    /// `CLUSTER_NAME`, for subnet tags (empty: not checked).
    pub cluster_name: String,
    /// Clocks that the product fixes.
    pub clocks: CniClocks,
}

impl Default for CniConfig {
    fn default() -> Self {
        Self {
            warm_eni_target: 1,
            warm_ip_target: 0,
            minimum_ip_target: 0,
            warm_prefix_target: 1,
            max_eni: 0,
            prefix_delegation: false,
            custom_networking: false,
            pod_eni: false,
            subnet_discovery: true,
            manage_enis_non_schedulable: false,
            ipv6: false,
            ip_cooldown: Span::from_secs(30),
            cluster_name: String::new(),
            clocks: CniClocks::default(),
        }
    }
}

/// Interfaces and addresses of an instance type's default network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EniLimits {
    /// Interfaces of network card 0.
    pub enis: u32,
    /// IPv4 addresses of an interface, its own included.
    pub ipv4_per_eni: u32,
}

impl EniLimits {
    /// Places of an interface for secondary addresses or prefixes.
    #[must_use]
    pub const fn slots(self) -> u32 {
        self.ipv4_per_eni.saturating_sub(1)
    }
}

/// Why ipamd refuses to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// Both families, or none.
    #[error("exactly one of IPv4 and IPv6 has to be enabled")]
    Family,
    /// IPv6 with plain addresses.
    #[error("IPv6 needs prefix delegation; set ENABLE_PREFIX_DELEGATION to true")]
    Ipv6WithoutPrefixes,
    /// IPv6 with ENIConfigs.
    #[error("IPv6 excludes custom networking; unset AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG")]
    Ipv6WithCustomNetworking,
    /// IPv6 on Xen.
    #[error("IPv6 needs a nitro or bare-metal instance type")]
    Ipv6WithoutNitro,
}

impl CniConfig {
    /// The start-up check; the answer is whether prefix delegation is in effect on this node.
    ///
    /// # Errors
    /// When ipamd would not start.
    pub fn effective_prefix_delegation(&self, nitro: bool) -> Result<bool, InvalidConfig> {
        check(!self.ipv6, self.ipv6, self.prefix_delegation, self.custom_networking, nitro)
    }

    /// The same settings as they act on an instance type without or with prefix support.
    ///
    /// # Errors
    /// When ipamd would not start.
    pub fn on(&self, nitro: bool) -> Result<Self, InvalidConfig> {
        let prefix_delegation = self.effective_prefix_delegation(nitro)?;
        Ok(Self { prefix_delegation, ..self.clone() })
    }

    /// Whether WARM_IP_TARGET or MINIMUM_IP_TARGET rule, and the warm ENI and prefix targets do not.
    #[must_use]
    pub const fn targets_defined(&self) -> bool {
        self.warm_ip_target > 0 || self.minimum_ip_target > 0
    }

    /// Interfaces that the CNI may use: E.
    #[must_use]
    pub fn eni_limit(&self, limits: EniLimits) -> u32 {
        if self.max_eni >= 1 { self.max_eni.min(limits.enis) } else { limits.enis }
    }

    /// Pod addresses of a full interface: P.
    #[must_use]
    pub const fn addresses_per_eni(&self, limits: EniLimits) -> u32 {
        limits.slots().saturating_mul(self.range_size())
    }

    /// Addresses that one slot holds.
    #[must_use]
    pub const fn range_size(&self) -> u32 {
        if self.prefix_delegation { PREFIX_SIZE } else { 1 }
    }
}

/// Start-up check of address families and prefix delegation.
///
/// # Errors
/// When ipamd would not start.
pub fn check(
    ipv4: bool,
    ipv6: bool,
    prefix_delegation: bool,
    custom_networking: bool,
    nitro: bool,
) -> Result<bool, InvalidConfig> {
    match (ipv4, ipv6) {
        (true, true) | (false, false) => Err(InvalidConfig::Family),
        (false, true) if !prefix_delegation => Err(InvalidConfig::Ipv6WithoutPrefixes),
        (false, true) if custom_networking => Err(InvalidConfig::Ipv6WithCustomNetworking),
        (false, true) if !nitro => Err(InvalidConfig::Ipv6WithoutNitro),
        _ => Ok(prefix_delegation && nitro),
    }
}

/// The effective value of a numeric variable; `None` when the variable is not one of these.
///
/// Unset, malformed and negative values fall back, as does a `MAX_ENI` below 1 (to 0, no limit).
#[must_use]
pub fn effective_value(variable: &str, value: Option<&str>) -> Option<i64> {
    let fallback = match variable {
        "WARM_ENI_TARGET" => 1,
        "WARM_IP_TARGET" | "MINIMUM_IP_TARGET" | "WARM_PREFIX_TARGET" | "MAX_ENI" => 0,
        "IP_COOLDOWN_PERIOD" => 30,
        _ => return None,
    };
    let parsed = value.and_then(|text| text.parse::<i64>().ok());
    Some(parsed.filter(|number| *number >= 0).unwrap_or(fallback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_back() {
        assert_eq!(effective_value("WARM_ENI_TARGET", Some("-1")), Some(1));
        assert_eq!(effective_value("WARM_ENI_TARGET", Some("0")), Some(0));
        assert_eq!(effective_value("MAX_ENI", Some("many")), Some(0));
        assert_eq!(effective_value("WARM_IP_TARGET", None), Some(0));
        assert_eq!(effective_value("IP_COOLDOWN_PERIOD", Some("")), Some(30));
        assert_eq!(effective_value("AWS_VPC_ENI_MTU", Some("1")), None);
    }

    #[test]
    fn start_up_check() {
        let ipv6 = CniConfig { ipv6: true, prefix_delegation: true, ..CniConfig::default() };
        assert_eq!(ipv6.effective_prefix_delegation(true), Ok(true));
        assert_eq!(ipv6.effective_prefix_delegation(false), Err(InvalidConfig::Ipv6WithoutNitro));
        let prefix = CniConfig { prefix_delegation: true, ..CniConfig::default() };
        assert_eq!(prefix.on(false).map(|c| c.prefix_delegation), Ok(false));
    }
}
