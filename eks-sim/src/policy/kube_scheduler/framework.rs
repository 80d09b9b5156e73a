//! The cycle of one pod: PreFilter once, Filter per node, PreScore, Score and NormalizeScore.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/runtime/framework.go`.
//! Differences: plugins are called by an exhaustive match in upstream's default order instead of
//! through registered interfaces; a library user's own plugins come last.

use super::class::Class;
use super::node_info::{NodeInfo, NodeStatic};
use super::plugins::{
    image_locality, inter_pod_affinity, inter_pod_affinity_score, node_affinity, node_name,
    node_ports, node_resources_balanced_allocation, node_resources_fit, node_unschedulable,
    node_volume_limits, pod_topology_spread, pod_topology_spread_score, taint_toleration,
    volume_binding, volume_restrictions, volume_zone,
};
use super::profile::{Plugin, PluginSet};
use super::profile_args::ProfileArgs;
use super::reason::{Code, Reason, Rejection};
use super::{Cache, ClassId, NodeKey, PodKey};

/// What a plugin sees: the cluster and the class of the pod being scheduled.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'a> {
    /// The cluster.
    pub cache: &'a Cache,
    /// The pod's class.
    pub id: ClassId,
    /// What the class holds.
    pub class: &'a Class,
    pub(super) args: &'a ProfileArgs,
}

/// What PreFilter computed; preemption changes a copy of it pod by pod.
#[derive(Clone, Debug, Default)]
pub struct PreState {
    /// Plugins whose Filter is not run.
    pub skipped: PluginSet,
    /// Candidate nodes, if PreFilter named some, and who named them.
    pub node_set: Option<(Vec<NodeKey>, Plugin)>,
    pub(super) spread: pod_topology_spread::State,
    pub(super) affinity: inter_pod_affinity::State,
    pub(super) restrictions: volume_restrictions::State,
    pub(super) binding: volume_binding::State,
    pub(super) zones: volume_zone::State,
}

/// One pod's scheduling cycle over the present state of a cache.
#[derive(Clone, Debug)]
pub struct Cycle<'a> {
    pub(super) cx: Cx<'a>,
    /// State after PreFilter.
    pub pre: PreState,
}

impl<'a> Cycle<'a> {
    /// Runs PreFilter.
    ///
    /// # Errors
    /// The refusal that holds for every node.
    pub fn new(cache: &'a Cache, id: ClassId) -> Result<Self, Rejection> {
        let class = cache.class_info(id);
        let cx = Cx { cache, id, class, args: cache.profile_of(class) };
        let mut pre = PreState::default();
        for plugin in cx.args.enabled().iter() {
            pre_filter(&cx, plugin, &mut pre)?;
        }
        Ok(Self { cx, pre })
    }
    /// A cycle whose filters have been run already: only scores may be asked for.
    #[must_use]
    pub fn for_scores(cache: &'a Cache, id: ClassId) -> Self {
        let class = cache.class_info(id);
        let cx = Cx { cache, id, class, args: cache.profile_of(class) };
        Self { cx, pre: PreState::default() }
    }
    /// Whether the pod can run on `node` (filters only; nominations are not looked at).
    ///
    /// # Errors
    /// The first plugin's refusal.
    pub fn fits(&self, node: NodeKey) -> Result<(), Rejection> {
        let (info, fixed) = self.candidate(node)?;
        filter_node(&self.cx, &self.pre, info, fixed).map_or(Ok(()), Err)
    }
    /// Filters a node, twice if pods of the same or higher priority are nominated to it.
    ///
    /// # Errors
    /// The first plugin's refusal.
    pub fn fits_with_nominated(&self, node: NodeKey, pod: Option<PodKey>) -> Result<(), Rejection> {
        let (info, fixed) = self.candidate(node)?;
        self.filter_with_nominated(&self.pre, node, info, fixed, pod)
    }
    /// The node, if PreFilter left it as a candidate.
    fn candidate(&self, node: NodeKey) -> Result<(&'a NodeInfo, &'a NodeStatic), Rejection> {
        if let Some((set, plugin)) = &self.pre.node_set
            && !set.contains(&node)
        {
            let code = Code::UnschedulableAndUnresolvable;
            return Err(Rejection::new(*plugin, code, Reason::NotInNodeSet(*plugin)));
        }
        node_parts(self.cx.cache, node).ok_or_else(no_node)
    }
    pub(super) fn filter_with_nominated(
        &self,
        pre: &PreState,
        key: NodeKey,
        info: &NodeInfo,
        fixed: &NodeStatic,
        pod: Option<PodKey>,
    ) -> Result<(), Rejection> {
        let cache = self.cx.cache;
        if !cache.has_no_nominations() {
            let others: Vec<_> = cache
                .nominated_to(key)
                .filter(|(p, c)| {
                    Some(*p) != pod && cache.class_info(*c).priority >= self.cx.class.priority
                })
                .collect();
            if !others.is_empty() {
                let (mut pre, mut info) = (pre.clone(), info.clone());
                for (other, class) in others {
                    info.count_in(class, cache.class_info(class), false);
                    info.pods.push(other);
                    update_pre_state(&self.cx, &mut pre, fixed, class, 1);
                }
                if let Some(r) = filter_node(&self.cx, &pre, &info, fixed) {
                    return Err(r);
                }
            }
        }
        filter_node(&self.cx, pre, info, fixed).map_or(Ok(()), Err)
    }
}

fn no_node() -> Rejection {
    let code = Code::UnschedulableAndUnresolvable;
    Rejection::fixed(Plugin::NodeName, code, "node not found")
}

pub(super) fn node_parts(cache: &Cache, node: NodeKey) -> Option<(&NodeInfo, &NodeStatic)> {
    let info = cache.node_info(node)?;
    Some((info, info.node.as_deref()?))
}

fn pre_filter(cx: &Cx<'_>, plugin: Plugin, pre: &mut PreState) -> Result<(), Rejection> {
    let run = match plugin {
        Plugin::NodeAffinity => node_affinity::pre_filter(cx, &mut pre.node_set)?,
        Plugin::NodePorts => !cx.class.ports.is_empty(),
        Plugin::VolumeRestrictions => volume_restrictions::pre_filter(cx, &mut pre.restrictions)?,
        Plugin::NodeVolumeLimits => !cx.class.claims.is_empty(),
        Plugin::VolumeBinding => volume_binding::pre_filter(cx, &mut pre.binding)?,
        Plugin::VolumeZone => volume_zone::pre_filter(cx, &mut pre.zones)?,
        Plugin::PodTopologySpread => pod_topology_spread::pre_filter(cx, &mut pre.spread)?,
        Plugin::InterPodAffinity => inter_pod_affinity::pre_filter(cx, &mut pre.affinity)?,
        _ => true,
    };
    if !run {
        pre.skipped.insert(plugin);
    }
    Ok(())
}

/// Runs the filters on one node until the first refusal.
pub(super) fn filter_node(
    cx: &Cx<'_>,
    pre: &PreState,
    info: &NodeInfo,
    node: &NodeStatic,
) -> Option<Rejection> {
    let run = PluginSet(cx.args.enabled().0 & !pre.skipped.0);
    run.iter().find_map(|plugin| match plugin {
        Plugin::NodeUnschedulable => node_unschedulable::filter(cx, node),
        Plugin::NodeName => node_name::filter(cx, node),
        Plugin::TaintToleration => taint_toleration::filter(cx, node),
        Plugin::NodeAffinity => node_affinity::filter(cx, node),
        Plugin::NodePorts => node_ports::filter(cx, info),
        Plugin::NodeResourcesFit => node_resources_fit::filter(cx, info, node),
        Plugin::VolumeRestrictions => volume_restrictions::filter(cx, &pre.restrictions, info),
        Plugin::NodeVolumeLimits => node_volume_limits::filter(cx, info, node),
        Plugin::VolumeBinding => volume_binding::filter(cx, &pre.binding, node),
        Plugin::VolumeZone => volume_zone::filter(cx, &pre.zones, node),
        Plugin::PodTopologySpread => pod_topology_spread::filter(&pre.spread, node),
        Plugin::InterPodAffinity => inter_pod_affinity::filter(cx, &pre.affinity, node),
        Plugin::Custom => custom_filter(cx, info, node),
        _ => None,
    })
}

fn custom_filter(cx: &Cx<'_>, info: &NodeInfo, node: &NodeStatic) -> Option<Rejection> {
    let (text, resolvable) = cx.args.custom.refusal(cx, info, node)?;
    let code = if resolvable { Code::Unschedulable } else { Code::UnschedulableAndUnresolvable };
    Some(Rejection::new(Plugin::Custom, code, Reason::Text(text.into())))
}

/// AddPod (`sign` 1) or RemovePod (-1) of every plugin: a pod of class `other` on `node`.
pub(super) fn update_pre_state(
    cx: &Cx<'_>,
    pre: &mut PreState,
    node: &NodeStatic,
    other: ClassId,
    sign: i64,
) {
    let other = cx.cache.class_info(other);
    let runs = |p: Plugin| cx.args.has(p) && !pre.skipped.contains(p);
    let (spread, affinity, restrictions) = (
        runs(Plugin::PodTopologySpread),
        runs(Plugin::InterPodAffinity),
        runs(Plugin::VolumeRestrictions),
    );
    if spread {
        pod_topology_spread::update(cx, &mut pre.spread, node, other, sign);
    }
    if affinity {
        inter_pod_affinity::update(cx, &mut pre.affinity, node, other, sign);
    }
    if restrictions {
        volume_restrictions::update(cx, &mut pre.restrictions, other, sign);
    }
}

/// Normalised scores (weight 1) of `plugin` for the feasible `nodes`; `None` if it skips.
pub(super) fn score(cx: &Cx<'_>, plugin: Plugin, nodes: &[NodeKey]) -> Option<Vec<i64>> {
    match plugin {
        Plugin::TaintToleration => Some(taint_toleration::score(cx, nodes)),
        Plugin::NodeAffinity => node_affinity::score(cx, nodes),
        Plugin::NodeResourcesFit => Some(node_resources_fit::score(cx, nodes)),
        Plugin::NodeResourcesBalancedAllocation => {
            node_resources_balanced_allocation::score(cx, nodes)
        }
        Plugin::ImageLocality => image_locality::score(cx, nodes),
        Plugin::PodTopologySpread => pod_topology_spread_score::score(cx, nodes),
        Plugin::InterPodAffinity => inter_pod_affinity_score::score(cx, nodes),
        _ => None,
    }
}

/// Applies `score` to each node, which all have Node objects.
pub(super) fn each(
    cx: &Cx<'_>,
    nodes: &[NodeKey],
    mut score: impl FnMut(&NodeInfo, &NodeStatic) -> i64,
) -> Vec<i64> {
    let one = |key: &NodeKey| node_parts(cx.cache, *key).map_or(0, |(info, n)| score(info, n));
    nodes.iter().map(one).collect()
}

/// Upstream's `DefaultNormalizeScore` to 0..100.
pub(super) fn normalize(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or(0).max(0);
    if max == 0 {
        if reverse {
            scores.fill(100);
        }
        return;
    }
    for s in scores {
        let part = s.saturating_mul(100) / max;
        *s = if reverse { 100 - part } else { part };
    }
}
