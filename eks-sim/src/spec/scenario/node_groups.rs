//! Node groups, Fargate profiles, hybrid nodes and the account's quotas.

use super::OverrideSpec;
use crate::units::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A node group: managed by EKS, or an Auto Scaling group of one's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeGroupSpec {
    /// Name.
    pub name: String,
    /// `managed` (default: EKS drains nodes before they go and updates them) or `self-managed`.
    pub kind: String,
    /// Instance types, preferred first (default `[m6i.large]`).
    pub instance_types: Vec<String>,
    /// Nodes at least (default 1); with weights, units of capacity, as the other two sizes.
    pub min_size: u32,
    /// Nodes at most (default 20).
    pub max_size: u32,
    /// Nodes at the start (default 3).
    pub desired_size: u32,
    /// `ON_DEMAND` (default) or `SPOT`.
    pub capacity_type: String,
    /// On-demand and spot together, and how types are chosen (self-managed groups only; managed
    /// ones take on-demand types in their order and spot by price and capacity).
    pub mixed_instances: Option<MixedInstancesSpec>,
    /// Names of subnets (default: all).
    pub subnets: Vec<String>,
    /// Node labels.
    pub labels: BTreeMap<String, String>,
    /// Node taints.
    pub taints: Vec<TaintSpec>,
    /// Taints that a node registers with and that go once its DaemonSet pods are Ready.
    pub startup_taints: Vec<TaintSpec>,
    /// `AL2023` (default), `BOTTLEROCKET`, `AL2`, `WINDOWS` or `WINDOWS_TUNED` (an image with
    /// containers and fast launch prepared).
    pub ami_family: String,
    /// Pods per node instead of the formula's.
    pub max_pods: Option<u32>,
    /// Root volume in GiB (default 20).
    pub disk_size: u32,
    /// How many nodes an update replaces at a time.
    pub update_config: UpdateConfigSpec,
    /// Whether a replacement is launched when EC2 expects to reclaim a spot instance (managed
    /// groups: always; self-managed default false).
    pub capacity_rebalance: Option<bool>,
    /// Whether aws-node-termination-handler drains nodes that get a spot notice (self-managed
    /// groups, default false; managed groups drain by themselves).
    pub node_termination_handler: bool,
    /// Instances kept ready to join.
    pub warm_pool: Option<WarmPoolSpec>,
    /// Tags of the Auto Scaling group. Cluster Autoscaler reads
    /// `k8s.io/cluster-autoscaler/node-template/{label,taint,resources}/…` of self-managed groups
    /// that have no node.
    pub tags: BTreeMap<String, String>,
}

impl Default for NodeGroupSpec {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            kind: "managed".to_owned(),
            instance_types: vec!["m6i.large".to_owned()],
            min_size: 1,
            max_size: 20,
            desired_size: 3,
            capacity_type: "ON_DEMAND".to_owned(),
            mixed_instances: None,
            subnets: Vec::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            startup_taints: Vec::new(),
            ami_family: "AL2023".to_owned(),
            max_pods: None,
            disk_size: 20,
            update_config: UpdateConfigSpec::default(),
            capacity_rebalance: None,
            node_termination_handler: false,
            warm_pool: None,
            tags: BTreeMap::new(),
        }
    }
}

/// A mixed instances policy of an Auto Scaling group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MixedInstancesSpec {
    /// Types with weights, or requirements that types must meet, instead of `instanceTypes`.
    pub overrides: Vec<OverrideSpec>,
    /// On-demand instances before anything else (default 0).
    pub on_demand_base_capacity: u32,
    /// Share of on-demand instances above the base in percent (default 100).
    pub on_demand_percentage_above_base_capacity: u32,
    /// `lowest-price` (default) or `prioritized`.
    pub on_demand_allocation_strategy: String,
    /// `lowest-price` (default), `capacity-optimized`, `capacity-optimized-prioritized` or
    /// `price-capacity-optimized`.
    pub spot_allocation_strategy: String,
    /// Pools that `lowest-price` spreads spot instances over (default 2).
    pub spot_instance_pools: u32,
}

impl Default for MixedInstancesSpec {
    fn default() -> Self {
        Self {
            overrides: Vec::new(),
            on_demand_base_capacity: 0,
            on_demand_percentage_above_base_capacity: 100,
            on_demand_allocation_strategy: "lowest-price".to_owned(),
            spot_allocation_strategy: "lowest-price".to_owned(),
            spot_instance_pools: 2,
        }
    }
}

/// How a managed node group is updated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UpdateConfigSpec {
    /// Nodes replaced at a time, 1 to 100 (default 1).
    pub max_unavailable: Option<u32>,
    /// The same in percent of the group, 1 to 100.
    pub max_unavailable_percentage: Option<u32>,
    /// `DEFAULT` (new nodes first) or `MINIMAL` (old ones go first).
    pub update_strategy: Option<String>,
}

/// A warm pool of an Auto Scaling group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WarmPoolSpec {
    /// Instances kept in the pool.
    pub min_size: u32,
    /// `Stopped` (default; only the disk is paid) or `Running`.
    pub pool_state: String,
}

impl Default for WarmPoolSpec {
    fn default() -> Self {
        Self { min_size: 0, pool_state: "Stopped".to_owned() }
    }
}

/// A taint of a node group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaintSpec {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// A Fargate profile: pods that a selector matches run on Fargate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FargateProfileSpec {
    /// Name.
    pub name: String,
    /// Which pods: one to five selectors.
    pub selectors: Vec<FargateSelectorSpec>,
    /// Names of (private) subnets (default: all).
    #[serde(default)]
    pub subnets: Vec<String>,
}

/// Pods of a namespace, with these labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FargateSelectorSpec {
    /// Namespace; `*` and `?` are wildcards.
    pub namespace: String,
    /// Labels that the pod must have, with the same wildcards in values.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl FargateSelectorSpec {
    /// Whether it takes a pod.
    #[must_use]
    pub fn takes(&self, namespace: &str, labels: &crate::k8s::StringMap) -> bool {
        wildcard(&self.namespace, namespace)
            && self
                .labels
                .iter()
                .all(|(key, value)| labels.get(key).is_some_and(|v| wildcard(value, v)))
    }
}

/// `*` stands for any text, `?` for one character.
fn wildcard(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                p = at + 1;
                t = from + 1;
                star = Some((at, from + 1));
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Machines outside AWS that join the cluster as hybrid nodes: they are there from the start, and
/// AWS takes a fee for their vCPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HybridNodesSpec {
    /// Name of the set of machines.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Processors of each.
    pub vcpu: u32,
    /// Memory of each.
    pub memory: Quantity,
    /// `amd64` (default) or `arm64`.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Pods per machine (default 110).
    #[serde(default)]
    pub max_pods: Option<u32>,
    /// Node labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Node taints.
    #[serde(default)]
    pub taints: Vec<TaintSpec>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::StringMap;

    #[test]
    fn selectors_take_wildcards() {
        for (pattern, text, expected) in [
            ("*", "shop", true),
            ("prod*", "prod-eu", true),
            ("prod*", "preprod", false),
            ("team-?", "team-a", true),
            ("team-?", "team-", false),
            ("*-a*b", "x-aab", true),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
        let selector = FargateSelectorSpec {
            namespace: "shop".to_owned(),
            labels: [("tier".to_owned(), "web*".to_owned())].into_iter().collect(),
        };
        let labels =
            |v: &str| -> StringMap { [("tier".to_owned(), v.to_owned())].into_iter().collect() };
        assert!(selector.takes("shop", &labels("web-1")));
        assert!(!selector.takes("shop", &labels("db")) && !selector.takes("other", &labels("web")));
        assert!(!selector.takes("shop", &StringMap::new()));
    }
}
