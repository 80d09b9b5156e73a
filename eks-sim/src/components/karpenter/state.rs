//! Karpenter's picture of the cluster: NodeClaims, and the input of a scheduling round.

use super::Karpenter;
use super::kept::Kept;
use crate::engine::Cx;
use crate::k8s::{PodTemplateSpec, StringMap};
use crate::policy::karpenter::offerings::CapacityType;
use crate::policy::karpenter::options::PreferencePolicy;
use crate::policy::karpenter::requirements::{
    HOSTNAME, Requirement, Requirements, ZONE, is_well_known,
};
use crate::policy::karpenter::solve::constraints::tolerates_all;
use crate::policy::karpenter::solve::{ExistingNode, PodClass, Pool, Resources};
use crate::units::{Id, SimTime, Span};
use crate::world::cloud::{Fleet, Instance};
use crate::world::karpenter::{KarpenterModel, NodePoolModel};
use crate::world::model::{GroupType, WorkloadKind, Zone};
use crate::world::nodes::SystemTaint;
use crate::world::{Model, Node, NodeCondition, Phase, Pod, PodId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reference to a NodeClaim.
pub type ClaimId = Id<Claim>;

/// Why a NodeClaim goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// No pod was left on it.
    Empty,
    /// Its pods go elsewhere for less.
    Underutilized,
    /// Its life is over.
    Expired,
    /// EC2 reclaims the instance.
    Interrupted,
    /// No instance could be had.
    InsufficientCapacity,
    /// The node never registered.
    NotRegistered,
    /// The instance ended by itself.
    Vanished,
    /// It is no longer what its NodePool or node class asks for.
    Drifted,
    /// It stayed unhealthy.
    Unhealthy,
    /// Its NodePool keeps fewer nodes.
    ScaledDown,
}

impl Ending {
    /// Phrase for the instance's record.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Empty => "consolidated: empty",
            Self::Underutilized => "consolidated: underutilized",
            Self::Expired => "expired",
            Self::Interrupted => "spot capacity was reclaimed",
            Self::InsufficientCapacity => "no capacity",
            Self::NotRegistered => "did not register in time",
            Self::Vanished => "instance is gone",
            Self::Drifted => "drifted",
            Self::Unhealthy => "unhealthy",
            Self::ScaledDown => "scaled down: static capacity",
        }
    }
}

/// A NodeClaim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its NodePool.
    pub pool: Id<NodePoolModel>,
    /// The NodePool as it was when the NodeClaim was made.
    pub template: Arc<NodePoolModel>,
    /// Images of its family that had been published when it was launched.
    pub image_release: u32,
    /// Name.
    pub name: String,
    /// Created.
    pub created: SimTime,
    /// Its requirements.
    pub requirements: Requirements,
    /// Instance types that could be launched, cheapest first.
    pub types: Vec<usize>,
    /// Pods it was made for.
    pub pods: usize,
    /// Requests of these.
    pub requests: Resources,
    /// The CreateFleet call.
    pub fleet: Option<Id<Fleet>>,
    /// Its instance.
    pub instance: Option<Id<Instance>>,
    /// What was launched: row of the catalogue, how, dollars an hour.
    pub launched: Option<(usize, CapacityType, f64)>,
    /// Its node.
    pub node: Option<Id<Node>>,
    /// Initialised.
    pub initialized: SimTime,
    /// Last time a pod came or went.
    pub last_pod_event: Option<SimTime>,
    /// Pending pods were placed on it until then.
    pub nominated_until: SimTime,
    /// Part of a running command.
    pub marked: bool,
    /// Being deleted: since when, and why.
    pub deleting: Option<(SimTime, Ending)>,
    /// When the drain may wait no longer.
    pub deadline: SimTime,
    /// Nothing of it is left.
    pub gone: bool,
    /// By pod: next try of its eviction, and the wait after that.
    pub evictions: BTreeMap<PodId, (SimTime, Span)>,
    /// Why it was not disrupted at the last look.
    pub kept: Option<Kept>,
    /// Differs from its NodePool or node class since then.
    pub drifted: Option<SimTime>,
    /// Unhealthy since then.
    pub unhealthy: Option<SimTime>,
    /// What happened to it: reason and message.
    pub notes: Vec<(&'static str, String)>,
    /// Offerings that were avoided when it was made.
    pub avoided: Vec<super::Pool>,
    /// What the disruption loop knows of its pods.
    pub(super) facts: super::facts::PodFacts,
}

impl Claim {
    /// Whether its node is ready for pods.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.initialized != SimTime::NEVER
    }
    /// Whether it goes or is about to go.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.marked || self.deleting.is_some() || self.gone
    }
}

/// DaemonSets' pods, which every new node gets.
pub(super) fn daemon_classes(model: &Model, policy: PreferencePolicy) -> Vec<PodClass> {
    model
        .workloads
        .iter()
        .filter(|(_, w)| matches!(w.kind, WorkloadKind::DaemonSet(_)))
        .filter_map(|(_, w)| {
            let t = &model.templates[w.template];
            class(&t.namespace, &t.object, &Requirements::new(), policy)
        })
        .collect()
}

fn class(
    namespace: &str,
    object: &PodTemplateSpec,
    volumes: &Requirements,
    policy: PreferencePolicy,
) -> Option<PodClass> {
    let (labels, spec) = (&object.metadata.labels, &object.spec);
    PodClass::new(namespace, labels, spec, volumes, policy).ok()
}

/// Whether a pod would need a place if its node went.
pub(super) fn is_reschedulable(pod: &Pod, model: &Model) -> bool {
    pod.is_active() && !model.templates[pod.template].daemon
}

/// Whether a pod takes room on its node.
pub(super) fn takes_room(pod: &Pod) -> bool {
    matches!(pod.phase, Phase::Pending | Phase::Running)
}

impl Karpenter {
    /// The rules and NodePools; events reach this component only where they exist.
    pub(super) fn rules<'m>(cx: &Cx<'m>) -> &'m KarpenterModel {
        cx.model().karpenter.as_ref().expect("events reach Karpenter only where it runs")
    }

    /// Class of a pod; volumes that exist already tie it to their zone.
    pub(super) fn class_of(&mut self, pod: PodId, cx: &Cx<'_>) -> Option<usize> {
        let model = cx.model();
        let p = cx.api().pods.get(pod)?;
        let (template, shape) = (p.template, p.shape);
        let row = &model.templates[template];
        let zone = if row.claims.iter().any(|c| c.zonal) {
            let volumes = cx.api().volumes_of(pod, model);
            let zonal = volumes.iter().filter(|(i, _)| row.claims[*i].zonal);
            zonal.filter_map(|(_, key)| cx.cloud().volumes.get(key)).map(|v| v.zone).next()
        } else {
            None
        };
        if let Some(&known) = self.class_of.get(&(template, shape, zone)) {
            return known;
        }
        let mut volumes = Requirements::new();
        if let Some(zone) = zone {
            volumes.add(ZONE, Requirement::of([model.zones[zone].clone()]));
        }
        let policy = Self::rules(cx).options.preference_policy;
        let object = cx.api().object_of(p, model);
        let made = class(&row.namespace, object, &volumes, policy).map(|class| {
            self.requests.push(self.catalog.resources(&class.requests));
            self.classes.push(class);
            self.classes.len() - 1
        });
        self.class_of.insert((template, shape, zone), made);
        made
    }

    /// DaemonSets' requests on a node of this type, and how many of them come.
    fn overhead(&mut self, group: u32, index: u32, t: &GroupType) -> (Resources, usize) {
        if let Some(known) = self.overheads.get(&(group, index)) {
            return known.clone();
        }
        let labels = Requirements::from_labels(&t.node.metadata.labels);
        let mut sum: Resources = core::iter::repeat_n(0, self.catalog.width()).collect();
        let mut count = 0;
        for daemon in &self.daemons {
            let Some(level) = daemon.levels.last() else { continue };
            let runs = tolerates_all(&level.tolerations, &t.node.spec.taints)
                && labels.compatible(&level.requirements, |key| key == ZONE || key == HOSTNAME);
            if runs {
                count += usize::from(tolerates_all(&level.tolerations, &t.startup_taints));
                let requests = self.catalog.resources(&daemon.requests).unwrap_or_default();
                sum.iter_mut().zip(&requests).for_each(|(a, b)| *a = a.saturating_add(*b));
            }
        }
        self.overheads.insert((group, index), (sum.clone(), count));
        (sum, count)
    }

    /// DaemonSet pods that a node gets before its startup taints go.
    pub(super) fn daemons_expected(&mut self, instance: Id<Instance>, cx: &Cx<'_>) -> usize {
        let row = &cx.cloud().instances[instance];
        self.overhead(row.group.raw(), row.type_index, row.group_type(cx.model())).1
    }

    /// A node that registered, as a round sees it.
    pub(super) fn registered(
        &mut self,
        node: Id<Node>,
        claim: Option<ClaimId>,
        cx: &Cx<'_>,
    ) -> ExistingNode {
        let model = cx.model();
        let row = &cx.api().nodes[node];
        let instance = &cx.cloud().instances[row.instance];
        let t = instance.group_type(model);
        let (overhead, _) = self.overhead(instance.group.raw(), instance.type_index, t);
        let mut available = self
            .catalog
            .resources(&row.object.status.allocatable)
            .unwrap_or_else(|| core::iter::repeat_n(0, self.catalog.width()).collect());
        let mut daemons: Resources = core::iter::repeat_n(0, available.len()).collect();
        let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
        let mut ports = Vec::new();
        for &pod in &row.pods {
            let Some(p) = cx.api().pods.get(pod).filter(|p| takes_room(p)) else { continue };
            let daemon = model.templates[p.template].daemon;
            let Some(class) = self.class_of(pod, cx) else { continue };
            let Some(requests) = &self.requests[class] else { continue };
            available.iter_mut().zip(requests).for_each(|(a, b)| *a -= b);
            ports.extend(self.classes[class].host_ports.iter().cloned());
            if daemon {
                daemons.iter_mut().zip(requests).for_each(|(a, b)| *a += b);
            } else {
                *counts.entry(class).or_insert(0) += 1;
            }
        }
        for ((free, all), there) in available.iter_mut().zip(&overhead).zip(&daemons) {
            *free -= (all - there).max(0);
        }
        let initialized = claim.is_none_or(|c| self.claims[c].is_initialized());
        let mut taints = row.object.spec.taints.clone();
        // Until a node is initialised, taints that go away by themselves are looked through.
        if initialized {
            taints.extend(row.component_taints());
        }
        ExistingNode {
            name: row.name().to_owned(),
            labels: row.object.metadata.labels.clone(),
            taints,
            available,
            ports,
            initialized,
            pods: counts.into_iter().collect(),
            pool: claim.map(|c| self.charge(c)),
        }
    }

    /// NodePool and capacity that a NodeClaim counts with.
    fn charge(&self, claim: ClaimId) -> (usize, Resources) {
        let claim = &self.claims[claim];
        let capacity = claim.launched.map(|(row, _, _)| self.catalog.capacity(row).clone());
        (claim.pool.index(), capacity.unwrap_or_default())
    }

    /// A launched NodeClaim counts with its expected size.
    pub(super) fn on_its_way(
        &mut self,
        id: ClaimId,
        row: usize,
        instance: Id<Instance>,
        cx: &Cx<'_>,
    ) -> ExistingNode {
        let model = cx.model();
        let name = self.claims[id].name.clone();
        let instance = &cx.cloud().instances[instance];
        let t = instance.group_type(model);
        let (overhead, _) = self.overhead(instance.group.raw(), instance.type_index, t);
        let mut available = self.catalog.allocatable(row).clone();
        available.iter_mut().zip(&overhead).for_each(|(a, b)| *a -= b);
        let mut labels = t.node.metadata.labels.clone();
        labels.extend(instance.labels.iter().flat_map(|l| (**l).clone()));
        labels.insert(ZONE.to_owned(), model.zones[instance.zone].clone());
        let taints = t.node.spec.taints.clone();
        labels.insert(HOSTNAME.to_owned(), name.clone());
        ExistingNode {
            name,
            labels,
            taints,
            available,
            ports: Vec::new(),
            initialized: false,
            pods: Vec::new(),
            pool: Some(self.charge(id)),
        }
    }

    /// NodePools with what their limits leave.
    pub(super) fn pools(&self) -> Vec<Pool> {
        self.pools
            .iter()
            .map(|(id, pool)| {
                let mut limits: Vec<Option<i64>> = vec![None; self.catalog.width()];
                for (name, amount) in &pool.limits {
                    if let Some(column) = self.catalog.column(name) {
                        let value =
                            if name == "cpu" { amount.milli_value() } else { amount.value() };
                        limits[column] = Some(value);
                    }
                }
                let limited = pool.node_limit.is_some() || limits.iter().any(Option::is_some);
                let mine = self.live.iter().map(|&c| (c, &self.claims[c]));
                let mine = mine.filter(|(_, c)| limited && c.pool == id);
                let mut nodes = 0;
                for (claim, _) in mine {
                    nodes += 1;
                    let (_, capacity) = self.charge(claim);
                    for (left, used) in limits.iter_mut().zip(&capacity) {
                        if let Some(left) = left {
                            *left -= used;
                        }
                    }
                }
                // Pods never make a NodePool with static capacity grow.
                let left = pool.node_limit.map(|limit| limit - nodes);
                Pool {
                    name: pool.name.clone(),
                    weight: pool.weight,
                    requirements: pool.requirements.clone(),
                    taints: pool.taints.clone(),
                    limits,
                    nodes_left: if pool.replicas.is_some() { Some(0) } else { left },
                    types: pool.types.clone(),
                }
            })
            .collect()
    }

    /// Whether the picture is complete: every NodeClaim knows its instance.
    pub(super) fn is_synced(&self) -> bool {
        self.by_fleet.is_empty()
    }

    /// Whether a node is Ready and rid of the taints it starts with.
    pub(super) fn is_up(node: Id<Node>, cx: &Cx<'_>) -> bool {
        let row = &cx.api().nodes[node];
        row.exists()
            && row.condition == NodeCondition::Ready
            && !row.has_taint(SystemTaint::Startup)
            && !row.has_taint(SystemTaint::KarpenterUnregistered)
    }
}

/// Labels of a NodeClaim's own: custom keys that its requirements settle or narrow.
pub(super) fn own_labels(requirements: &Requirements) -> Option<Arc<StringMap>> {
    let labels: StringMap = requirements
        .iter()
        .filter(|(key, _)| !is_well_known(key))
        .filter_map(|(key, r)| Some((key.clone(), r.listed()?.first()?.clone())))
        .collect();
    (!labels.is_empty()).then(|| Arc::new(labels))
}

/// Zones, by name.
pub(super) fn zone_of(name: &str, model: &Model) -> Option<Id<Zone>> {
    model.zones.iter().find(|(_, n)| n.as_str() == name).map(|(id, _)| id)
}
