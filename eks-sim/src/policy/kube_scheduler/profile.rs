//! Plugins, weights and plugin arguments of a scheduler profile.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/apis/config/v1/{default_plugins,defaults}.go`.
//! Differences: extension points cannot be switched one by one, a plugin is on or off and has a
//! score weight; extenders are not modelled.

use crate::k8s::{NodeAffinity, TopologySpreadConstraint};
use serde::Deserialize;
use serde_json::Value;

macro_rules! plugins {
    ($($variant:ident $weight:literal),* $(,)?) => {
        /// A built-in plugin, in upstream's default order (which is also the filter order).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Plugin {
            $(#[doc = concat!("Upstream's `", stringify!($variant), "`.")] $variant,)*
        }
        impl Plugin {
            /// All plugins, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Upstream's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }
            /// Default score weight (0 for plugins that do not score).
            #[must_use]
            pub const fn default_weight(self) -> i64 {
                match self { $(Self::$variant => $weight),* }
            }
        }
    };
}

plugins! {
    SchedulingGates 0,
    NodeUnschedulable 0,
    NodeName 0,
    TaintToleration 3,
    NodeAffinity 2,
    NodePorts 0,
    NodeResourcesFit 1,
    VolumeRestrictions 0,
    NodeVolumeLimits 0,
    VolumeBinding 0,
    VolumeZone 0,
    PodTopologySpread 2,
    InterPodAffinity 2,
    DefaultPreemption 0,
    NodeResourcesBalancedAllocation 1,
    ImageLocality 1,
    Custom 0,
}

impl Plugin {
    /// The plugin of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.name() == name)
    }
    /// Its bit in a [`PluginSet`].
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of plugins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginSet(pub u32);

impl PluginSet {
    /// Whether it holds `plugin`.
    #[must_use]
    pub const fn contains(self, plugin: Plugin) -> bool {
        self.0 & plugin.bit() != 0
    }
    /// Adds `plugin`.
    pub const fn insert(&mut self, plugin: Plugin) {
        self.0 |= plugin.bit();
    }
    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The plugins, in order.
    pub fn iter(self) -> impl Iterator<Item = Plugin> {
        Plugin::ALL.iter().copied().filter(move |p| self.contains(*p))
    }
}

/// A resource and its weight in a score.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceSpec {
    /// Resource name.
    pub name: String,
    /// Weight; absent or 0 is 1.
    #[serde(default)]
    pub weight: i64,
}

/// A point of the RequestedToCapacityRatio shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct ShapePoint {
    /// Percent.
    pub utilization: i64,
    /// 0 to 10.
    pub score: i64,
}

/// How NodeResourcesFit scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Emptier is better.
    LeastAllocated,
    /// Fuller is better.
    MostAllocated,
    /// By a shape of points, scores already times ten.
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

/// Default constraints of PodTopologySpread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpreadDefaults {
    /// Hostname (skew 3) and zone (skew 5), soft.
    System,
    /// These.
    List(Vec<TopologySpreadConstraint>),
}

/// A scheduler profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Pods ask for it by this name.
    pub scheduler_name: String,
    /// Plugins that are on.
    pub enabled: PluginSet,
    /// Score weight by plugin.
    pub weights: Vec<(Plugin, i64)>,
    /// NodeResourcesFit: extended resources not looked at.
    pub ignored_resources: Vec<String>,
    /// NodeResourcesFit: domains of extended resources not looked at.
    pub ignored_resource_groups: Vec<String>,
    /// NodeResourcesFit: how it scores.
    pub strategy: Strategy,
    /// NodeResourcesFit: resources it scores.
    pub fit_resources: Vec<ResourceSpec>,
    /// NodeResourcesBalancedAllocation: resources it scores.
    pub balanced_resources: Vec<ResourceSpec>,
    /// InterPodAffinity: weight of existing pods' required affinity.
    pub hard_pod_affinity_weight: i64,
    /// InterPodAffinity: leave existing pods' preferred terms out for pods without their own.
    pub ignore_preferred_terms_of_existing_pods: bool,
    /// PodTopologySpread: constraints of pods that have none.
    pub spread_defaults: SpreadDefaults,
    /// NodeAffinity: affinity added to every pod.
    pub added_affinity: Option<NodeAffinity>,
    /// DefaultPreemption: percentage of candidates.
    pub min_candidate_nodes_percentage: i64,
    /// DefaultPreemption: least number of candidates.
    pub min_candidate_nodes_absolute: i64,
    /// Percentage of nodes to find feasible; 0 is adaptive.
    pub percentage_of_nodes_to_score: i64,
}

impl Default for Profile {
    fn default() -> Self {
        let cpu_and_memory = ["cpu", "memory"]
            .map(|name| ResourceSpec { name: name.to_owned(), weight: 1 })
            .to_vec();
        Self {
            scheduler_name: "default-scheduler".to_owned(),
            enabled: PluginSet((1 << Plugin::ALL.len()) - 1),
            weights: Plugin::ALL
                .iter()
                .map(|p| (*p, p.default_weight()))
                .filter(|w| w.1 > 0)
                .collect(),
            ignored_resources: Vec::new(),
            ignored_resource_groups: Vec::new(),
            strategy: Strategy::LeastAllocated,
            fit_resources: cpu_and_memory.clone(),
            balanced_resources: cpu_and_memory,
            hard_pod_affinity_weight: 1,
            ignore_preferred_terms_of_existing_pods: false,
            spread_defaults: SpreadDefaults::System,
            added_affinity: None,
            min_candidate_nodes_percentage: 10,
            min_candidate_nodes_absolute: 100,
            percentage_of_nodes_to_score: 0,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A part does not have the expected form.
    #[error("{at} cannot be read: {why}")]
    Form {
        /// Where.
        at: String,
        /// What the reader said.
        why: String,
    },
    /// A plugin that does not exist here.
    #[error("unknown plugin `{0}`; use the names of kube-scheduler v1.34's default plugins")]
    UnknownPlugin(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ScoringStrategyArgs {
    r#type: Option<String>,
    resources: Option<Vec<ResourceSpec>>,
    requested_to_capacity_ratio: Option<ShapeArgs>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ShapeArgs {
    shape: Vec<ShapePoint>,
}

fn read<T: serde::de::DeserializeOwned>(at: &str, value: &Value) -> Result<T, ConfigError> {
    serde_json::from_value(value.clone())
        .map_err(|e| ConfigError::Form { at: at.to_owned(), why: e.to_string() })
}

fn with_weights(mut resources: Vec<ResourceSpec>) -> Vec<ResourceSpec> {
    for r in &mut resources {
        r.weight = if r.weight == 0 { 1 } else { r.weight };
    }
    resources
}

impl Profile {
    /// A profile with one plugin only.
    #[must_use]
    pub fn only(plugin: Plugin) -> Self {
        let mut enabled = PluginSet::default();
        enabled.insert(plugin);
        Self { enabled, weights: vec![(plugin, 1)], ..Self::default() }
    }
    /// Reads the profiles of a `KubeSchedulerConfiguration` (v1); none gives the default one.
    ///
    /// # Errors
    /// A part with another form, or a plugin that is not known.
    pub fn from_configuration(config: &Value) -> Result<Vec<Self>, ConfigError> {
        let percentage = config["percentageOfNodesToScore"].as_i64().unwrap_or(0);
        let mut profiles = Vec::new();
        for p in config["profiles"].as_array().into_iter().flatten() {
            let mut profile = Self::from_profile(p)?;
            if p["percentageOfNodesToScore"].is_null() {
                profile.percentage_of_nodes_to_score = percentage;
            }
            profiles.push(profile);
        }
        if profiles.is_empty() {
            profiles.push(Self { percentage_of_nodes_to_score: percentage, ..Self::default() });
        }
        Ok(profiles)
    }
    fn from_profile(p: &Value) -> Result<Self, ConfigError> {
        let mut out = Self::default();
        if let Some(name) = p["schedulerName"].as_str() {
            name.clone_into(&mut out.scheduler_name);
        }
        out.percentage_of_nodes_to_score = p["percentageOfNodesToScore"].as_i64().unwrap_or(0);
        for set in p["plugins"].as_object().into_iter().flatten().map(|(_, set)| set) {
            out.switch(set)?;
        }
        for config in p["pluginConfig"].as_array().into_iter().flatten() {
            let name = config["name"].as_str().unwrap_or_default();
            out.set_args(name, &config["args"])?;
        }
        Ok(out)
    }
    /// Applies the `disabled` and `enabled` lists of one extension point.
    fn switch(&mut self, set: &Value) -> Result<(), ConfigError> {
        let ignored = ["PrioritySort", "DefaultBinder", "DynamicResources", "SchedulingGates"];
        for d in set["disabled"].as_array().into_iter().flatten() {
            let name = d["name"].as_str().unwrap_or_default();
            if name == "*" {
                self.enabled = PluginSet::default();
                self.weights.clear();
            } else if let Some(p) = Plugin::by_name(name) {
                self.enabled.0 &= !p.bit();
                self.weights.retain(|w| w.0 != p);
            } else if !ignored.contains(&name) {
                return Err(ConfigError::UnknownPlugin(name.to_owned()));
            }
        }
        for e in set["enabled"].as_array().into_iter().flatten() {
            let name = e["name"].as_str().unwrap_or_default();
            if let Some(p) = Plugin::by_name(name) {
                self.enabled.insert(p);
                self.weights.retain(|w| w.0 != p);
                let weight = e["weight"].as_i64().filter(|w| *w > 0);
                let scores = p.default_weight() > 0;
                self.weights.extend(scores.then(|| (p, weight.unwrap_or(1))));
                self.weights.sort_unstable();
            } else if !ignored.contains(&name) {
                return Err(ConfigError::UnknownPlugin(name.to_owned()));
            }
        }
        Ok(())
    }
    /// Sets the arguments of one plugin (the `args` of a v1 `pluginConfig` entry).
    ///
    /// # Errors
    /// Arguments of another form, or an unknown plugin.
    pub fn set_args(&mut self, plugin: &str, args: &Value) -> Result<(), ConfigError> {
        let present = |key: &str| Some(&args[key]).filter(|v| !v.is_null());
        match plugin {
            "NodeResourcesFit" => {
                if let Some(v) = present("ignoredResources") {
                    self.ignored_resources = read("ignoredResources", v)?;
                }
                if let Some(v) = present("ignoredResourceGroups") {
                    self.ignored_resource_groups = read("ignoredResourceGroups", v)?;
                }
                if let Some(v) = present("scoringStrategy") {
                    self.set_strategy(read("scoringStrategy", v)?)?;
                }
            }
            "NodeResourcesBalancedAllocation" => {
                if let Some(v) = present("resources") {
                    self.balanced_resources = with_weights(read("resources", v)?);
                }
            }
            "InterPodAffinity" => {
                if let Some(w) = args["hardPodAffinityWeight"].as_i64() {
                    self.hard_pod_affinity_weight = w;
                }
                self.ignore_preferred_terms_of_existing_pods =
                    args["ignorePreferredTermsOfExistingPods"].as_bool().unwrap_or(false);
            }
            "PodTopologySpread" => {
                if args["defaultingType"].as_str() == Some("List") {
                    let list = present("defaultConstraints");
                    let list = list.map(|v| read("defaultConstraints", v)).transpose()?;
                    self.spread_defaults = SpreadDefaults::List(list.unwrap_or_default());
                }
            }
            "NodeAffinity" => {
                let added = present("addedAffinity");
                self.added_affinity = added.map(|v| read("addedAffinity", v)).transpose()?;
            }
            "DefaultPreemption" => {
                if let Some(n) = args["minCandidateNodesPercentage"].as_i64() {
                    self.min_candidate_nodes_percentage = n;
                }
                if let Some(n) = args["minCandidateNodesAbsolute"].as_i64() {
                    self.min_candidate_nodes_absolute = n;
                }
            }
            // Waiting times of binding and accelerator claims have no decision to change.
            "VolumeBinding" | "DynamicResources" => {}
            other => return Err(ConfigError::UnknownPlugin(other.to_owned())),
        }
        Ok(())
    }
    fn set_strategy(&mut self, args: ScoringStrategyArgs) -> Result<(), ConfigError> {
        self.strategy = match args.r#type.as_deref().unwrap_or("LeastAllocated") {
            "LeastAllocated" => Strategy::LeastAllocated,
            "MostAllocated" => Strategy::MostAllocated,
            "RequestedToCapacityRatio" => {
                let shape = args.requested_to_capacity_ratio.unwrap_or_default().shape;
                let points = shape.iter().map(|p| (p.utilization, p.score.saturating_mul(10)));
                Strategy::RequestedToCapacityRatio(points.collect())
            }
            other => {
                return Err(ConfigError::Form {
                    at: "scoringStrategy.type".to_owned(),
                    why: format!(
                        "`{other}` is none of LeastAllocated, MostAllocated, \
                         RequestedToCapacityRatio"
                    ),
                });
            }
        };
        if let Some(resources) = args.resources.filter(|r| !r.is_empty()) {
            self.fit_resources = with_weights(resources);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_a_configuration() {
        let config = json!({"percentageOfNodesToScore": 30, "profiles": [
            {"schedulerName": "packer",
             "plugins": {"score": {"disabled": [{"name": "ImageLocality"}],
                                    "enabled": [{"name": "NodeResourcesFit", "weight": 5}]}},
             "pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy":
                {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 0}]}}}]},
            {"percentageOfNodesToScore": 7}]});
        let profiles = Profile::from_configuration(&config).expect("readable");
        assert_eq!(profiles.len(), 2);
        let packer = &profiles[0];
        assert_eq!(packer.strategy, Strategy::MostAllocated);
        assert_eq!(packer.fit_resources[0].weight, 1);
        assert!(packer.weights.contains(&(Plugin::NodeResourcesFit, 5)));
        assert!(!packer.enabled.contains(Plugin::ImageLocality));
        assert_eq!(packer.percentage_of_nodes_to_score, 30);
        assert_eq!(profiles[1].percentage_of_nodes_to_score, 7);
        let bad = json!({"profiles": [{"plugins": {"filter": {"enabled": [{"name": "Nope"}]}}}]});
        assert!(Profile::from_configuration(&bad).is_err());
    }
}
