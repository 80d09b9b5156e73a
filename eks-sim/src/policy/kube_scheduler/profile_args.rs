//! A profile with its names interned for one cache.

use super::class::{SpreadConstraint, WhenUnsatisfiable, lower_node_affinity};
use super::labels::Selector;
use super::node_selector::NodeTerm;
use super::profile::{Plugin, PluginSet, Profile, SpreadDefaults};
use super::resources::{ResourceId, ResourceNames};
use crate::k8s::StringMap;
use crate::units::Symbols;
use std::fmt;

/// A lowered [`Profile`].
#[derive(Clone)]
pub struct ProfileArgs {
    /// As given.
    pub profile: Profile,
    /// Resources and weights that NodeResourcesFit scores.
    pub fit_resources: Vec<(ResourceId, i64)>,
    /// Resources that NodeResourcesBalancedAllocation scores.
    pub balanced_resources: Vec<ResourceId>,
    /// Required terms of `addedAffinity`.
    pub added_required: Option<Vec<NodeTerm>>,
    /// Preferred terms of `addedAffinity`.
    pub added_preferred: Vec<(i64, NodeTerm)>,
    /// Default spread constraints (selectors to be filled in).
    pub default_constraints: Vec<SpreadConstraint>,
    /// Whether these are the System defaults.
    pub system_defaults: bool,
    /// Plugins that a user of the library added.
    pub custom: super::Plugins,
}

impl fmt::Debug for ProfileArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileArgs").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl ProfileArgs {
    /// Lowers a profile.
    pub fn new(profile: Profile, symbols: &mut Symbols, names: &mut ResourceNames) -> Self {
        let fit = profile.fit_resources.iter();
        let fit_resources = fit.map(|r| (names.intern(&r.name), r.weight)).collect();
        let balanced = profile.balanced_resources.iter();
        let balanced_resources = balanced.map(|r| names.intern(&r.name)).collect();
        let (added_required, added_preferred) = profile
            .added_affinity
            .as_ref()
            .map_or((None, Vec::new()), |a| lower_node_affinity(a, symbols));
        let (default_constraints, system_defaults) = defaults(&profile.spread_defaults, symbols);
        Self {
            profile,
            fit_resources,
            balanced_resources,
            added_required,
            added_preferred,
            default_constraints,
            system_defaults,
            custom: super::Plugins::default(),
        }
    }
    /// Whether a plugin is on.
    #[must_use]
    pub fn has(&self, plugin: Plugin) -> bool {
        self.enabled().contains(plugin)
    }
    /// Plugins that are on.
    #[must_use]
    pub fn enabled(&self) -> PluginSet {
        self.profile.enabled
    }
    /// Whether NodeResourcesFit leaves a resource out.
    #[must_use]
    pub fn ignores(&self, name: &str) -> bool {
        // Only domain-qualified names outside kubernetes.io are extended resources.
        let Some((domain, _)) = name.split_once('/') else { return false };
        if name.contains("kubernetes.io/") {
            return false;
        }
        self.profile.ignored_resources.iter().any(|r| r == name)
            || self.profile.ignored_resource_groups.iter().any(|g| g == domain)
    }
}

fn defaults(defaults: &SpreadDefaults, symbols: &mut Symbols) -> (Vec<SpreadConstraint>, bool) {
    let soft = |key: &str, max_skew: i32, symbols: &mut Symbols| SpreadConstraint {
        max_skew,
        key: symbols.intern(key),
        when: WhenUnsatisfiable::ScheduleAnyway,
        selector: Selector::Nothing,
        min_domains: 1,
        honor_affinity: true,
        honor_taints: false,
    };
    match defaults {
        SpreadDefaults::System => (
            vec![
                soft("kubernetes.io/hostname", 3, symbols),
                soft("topology.kubernetes.io/zone", 5, symbols),
            ],
            true,
        ),
        SpreadDefaults::List(list) => {
            let none = StringMap::new();
            let lowered = list.iter().filter_map(|c| SpreadConstraint::new(c, &none, symbols).ok());
            (lowered.collect(), false)
        }
    }
}
