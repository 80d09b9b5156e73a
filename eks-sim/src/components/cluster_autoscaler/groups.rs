//! Node groups: template nodes, counts for the registry, launches that failed.

use super::mirror::Mirror;
use super::settings::{Constants, TemplateFacts};
use super::{Active, wake};
use crate::engine::Cx;
use crate::k8s::{self, ResourceList};
use crate::policy::cluster_autoscaler::balancing::ComparedNode;
use crate::policy::cluster_autoscaler::estimator::TemplateSize;
use crate::policy::cluster_autoscaler::registry::GroupCounts;
use crate::policy::cluster_autoscaler::scale_up::Template;
use crate::policy::cluster_autoscaler::utilization::GPU;
use crate::policy::fit;
use crate::policy::kube_scheduler::ClassId;
use crate::units::{Id, Quantity, SimTime, Span};
use crate::world::cloud::InstanceState;
use crate::world::model::{GroupModel, WorkloadKind};
use crate::world::nodes::SystemTaint;
use crate::world::{Change, Node, NodeCondition};

/// A group's template node.
#[derive(Clone, Debug)]
pub(super) struct NodeTemplate {
    /// The node; name and host name are set for each copy.
    pub node: k8s::Node,
    /// Classes of the DaemonSet pods it starts with.
    pub daemons: Vec<ClassId>,
    /// What the orchestrator reads of it.
    pub view: Template,
    /// The real node it was made from.
    source: Option<Id<Node>>,
}

/// Templates from what the provider knows of each group before it has a node.
pub(super) fn provider_templates(
    mirror: &mut Mirror,
    facts: &[TemplateFacts],
    constants: &Constants,
    cx: &Cx<'_>,
) -> Vec<NodeTemplate> {
    let groups = cx.model().groups.iter();
    groups
        .map(|(_, g)| {
            let price = g.types.first().map(|t| t.rate.usd_per_hour());
            template(provider_node(g, constants, cx), (None, price), mirror, facts, cx)
        })
        .collect()
}

/// Tags by which a group of one's own tells what its nodes will be like.
const LABEL_TAG: &str = "k8s.io/cluster-autoscaler/node-template/label/";
const TAINT_TAG: &str = "k8s.io/cluster-autoscaler/node-template/taint/";
const RESOURCE_TAG: &str = "k8s.io/cluster-autoscaler/node-template/resources/";

/// The provider cannot see what the user data of a self-managed group makes of its nodes: labels
/// and taints are those of the tags, beside the well-known labels.
fn only_tags(node: &mut k8s::Node, tags: &k8s::StringMap) {
    let known = |key: &str| key.contains("kubernetes.io/");
    node.metadata.labels.retain(|key, _| known(key));
    node.spec.taints.clear();
    for (key, value) in tags {
        if let Some(label) = key.strip_prefix(LABEL_TAG) {
            node.metadata.labels.insert(label.to_owned(), value.clone());
        } else if let Some(taint) = key.strip_prefix(TAINT_TAG)
            && let Some((value, effect)) = value.rsplit_once(':')
        {
            node.spec.taints.push(k8s::Taint {
                key: taint.to_owned(),
                value: value.to_owned(),
                effect: effect.to_owned(),
                ..k8s::Taint::default()
            });
        }
    }
}

/// The node that the AWS provider makes up: allocatable is the whole machine, the zone that of
/// the first subnet.
fn provider_node(group: &GroupModel, constants: &Constants, cx: &Cx<'_>) -> k8s::Node {
    let Some(first) = group.types.first() else { return k8s::Node::default() };
    let mut node = first.node.clone();
    if let Some(tags) = &group.scaling.tags {
        only_tags(&mut node, tags);
    }
    let capacity = &mut node.status.capacity;
    let (least, t) = (group.scaling.least, first.instance_type);
    if let Some(vcpu) = least.map(|(vcpu, _)| vcpu).or(t.vcpu) {
        capacity.insert("cpu".to_owned(), Quantity::from_units(i64::from(vcpu)));
    }
    if let Some(memory) = least.map(|(_, bytes)| bytes).or(t.memory.map(|m| m.raw())) {
        capacity.insert("memory".to_owned(), Quantity::from_bytes(memory));
    }
    capacity.insert("pods".to_owned(), Quantity::from_units(constants.template_pods));
    let disk = i64::from(group.disk_gib).saturating_mul(1 << 30);
    capacity.insert("ephemeral-storage".to_owned(), Quantity::from_bytes(disk));
    if let Some(tags) = &group.scaling.tags {
        let of = tags.iter().filter_map(|(k, v)| Some((k.strip_prefix(RESOURCE_TAG)?, v)));
        for (name, value) in of {
            if let Ok(amount) = value.parse::<Quantity>() {
                capacity.insert(name.to_owned(), amount);
            }
        }
    }
    node.status.allocatable = capacity.clone();
    if let Some(&subnet) = group.subnets.first() {
        let zone = &cx.model().zones[cx.model().subnets[subnet].zone];
        for label in ["topology.kubernetes.io/zone", "topology.ebs.csi.aws.com/zone"] {
            node.metadata.labels.insert(label.to_owned(), zone.clone());
        }
    }
    node
}

fn template(
    node: k8s::Node,
    (source, price): (Option<Id<Node>>, Option<f64>),
    mirror: &mut Mirror,
    facts: &[TemplateFacts],
    cx: &Cx<'_>,
) -> NodeTemplate {
    let model = cx.model();
    let mut daemons = Vec::new();
    let mut requested = ResourceList::new();
    for (_, workload) in model.workloads.iter() {
        if !matches!(workload.kind, WorkloadKind::DaemonSet(_)) {
            continue;
        }
        let spec = &model.templates[workload.template].object.spec;
        let repels = |t: &k8s::Taint| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute");
        let tolerated = node.spec.taints.iter().all(|t| !repels(t) || fit::tolerates(spec, t));
        if !tolerated || !fit::matches_node(spec, &node) {
            continue;
        }
        daemons.push(mirror.class(workload.template, model));
        for (name, &amount) in &facts[workload.template.index()].requests {
            *requested.entry(name.clone()).or_insert(Quantity::from_units(0)) += amount;
        }
    }
    let view = Template { price, ..view(&node, &requested) };
    NodeTemplate { node, daemons, view, source }
}

fn view(node: &k8s::Node, requested: &ResourceList) -> Template {
    let (capacity, allocatable) = (&node.status.capacity, &node.status.allocatable);
    let milli = |list: &ResourceList| list.get("cpu").map_or(0, |q| q.milli_value());
    let units = |list: &ResourceList, name: &str| list.get(name).map_or(0, |q| q.value());
    let amounts = |list: &ResourceList| {
        let amount = |name: &str, q: &Quantity| {
            if name == "cpu" { q.milli_value() } else { q.value() }
        };
        list.iter().map(|(name, q)| (name.clone(), amount(name, q))).collect()
    };
    Template {
        size: TemplateSize {
            allocatable_cpu: milli(allocatable),
            allocatable_memory: units(allocatable, "memory"),
            capacity_cpu: milli(capacity),
            capacity_memory: units(capacity, "memory"),
        },
        gpus: units(capacity, GPU),
        price: None,
        compared: ComparedNode {
            capacity: amounts(capacity),
            allocatable: amounts(allocatable),
            requested: amounts(requested),
            labels: node.metadata.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        },
    }
}

/// Whether a node may stand for its group: ready for a while, not cordoned, not going.
fn is_good(row: &Node, stabilization: Span, now: SimTime) -> bool {
    row.exists()
        && row.condition == NodeCondition::Ready
        && row.condition_changed + stabilization < now
        && !row.has_taint(SystemTaint::Unschedulable)
        && !row.has_taint(SystemTaint::ToBeDeletedByClusterAutoscaler)
}

impl Active {
    /// Prefers a real node of each group, then one that was there, then the provider's.
    pub(super) fn refresh_templates(&mut self, cx: &Cx<'_>) {
        let now = cx.now();
        let api = cx.api();
        let stabilization = self.constants.stabilization;
        for g in 0..self.templates.len() {
            let source = self.templates[g].source;
            if source.is_some_and(|n| is_good(&api.nodes[n], stabilization, now)) {
                continue;
            }
            let good = api.live_nodes.iter().copied().find(|&n| {
                let row = &api.nodes[n];
                cx.cloud().instances[row.instance].group.index() == g
                    && is_good(row, stabilization, now)
            });
            if let Some(n) = good {
                // Taints of components are not part of the object: they are left out.
                let node = (*api.nodes[n].object).clone();
                let instance = &cx.cloud().instances[api.nodes[n].instance];
                let price = instance.group_type(cx.model()).rate.usd_per_hour();
                let from = (Some(n), Some(price));
                self.templates[g] = template(node, from, &mut self.mirror, &self.facts, cx);
            }
        }
    }

    /// What the provider and the API server say of each group. Failed launches are only seen
    /// when the provider's cache is refreshed.
    pub(super) fn counts(&mut self, refreshed: bool, cx: &Cx<'_>) -> Vec<GroupCounts> {
        let (now, api, cloud) = (cx.now(), cx.api(), cx.cloud());
        let provision = self.flags.max_node_provision_time;
        let startup = self.flags.max_node_startup_time;
        let mut counts: Vec<GroupCounts> = Vec::with_capacity(cloud.groups.len());
        for (id, group) in cloud.groups.iter() {
            let mut count = GroupCounts { target: group.desired.into(), ..GroupCounts::default() };
            if !cx.model().groups[id].is_managed() {
                // Nodes without a group that scales: as many as there are.
                count.target = group.instances.len() as i64;
                counts.push(count);
                continue;
            }
            for &i in &group.instances {
                let instance = &cloud.instances[i];
                if instance.node.is_some() {
                    continue;
                }
                let limit = instance.requested + provision;
                if limit < now {
                    count.long_unregistered += 1;
                } else {
                    self.wake_by(limit + Span::from_nanos(1));
                }
            }
            if refreshed && group.failing_since.is_some() {
                count.failed = count.target - group.instances.len() as i64;
            }
            counts.push(count);
        }
        if refreshed {
            self.failing = cloud.groups.iter().any(|(_, g)| g.failing_since.is_some());
        }
        for &n in &api.live_nodes {
            let row = &api.nodes[n];
            let instance = &cloud.instances[row.instance];
            if instance.state == InstanceState::Terminated {
                continue;
            }
            let count = &mut counts[instance.group.index()];
            if row.condition == NodeCondition::Ready {
                count.ready += 1;
            } else if row.first_ready == SimTime::NEVER && row.registered + startup > now {
                count.starting += 1;
            } else {
                count.unready += 1;
            }
        }
        counts
    }

    /// Feeds the registry and takes what will not come off the groups; whether anything was taken
    /// off: then the loop ends, as upstream's does.
    pub(super) fn clean_up(&mut self, counts: &[GroupCounts], cx: &mut Cx<'_>) -> bool {
        let now = cx.now();
        let expired = self.registry.update(counts, now);
        let mut removed = false;
        for e in expired {
            let id: Id<GroupModel> = Id::new(e.group as u32);
            let group = &cx.cloud().groups[id];
            let there = group.instances.len() as u32;
            // Placeholders vanish with the target; real instances that never registered are
            // terminated below.
            if group.desired > there {
                cx.emit(Change::GroupSizeWanted(id, there));
                removed = true;
            }
        }
        let provision = self.flags.max_node_provision_time;
        for (g, count) in counts.iter().enumerate() {
            if count.long_unregistered == 0 {
                continue;
            }
            let id: Id<GroupModel> = Id::new(g as u32);
            let room = count.target - i64::from(self.limits[g].0);
            let cloud = cx.cloud();
            let old: Vec<_> = cloud.groups[id]
                .instances
                .iter()
                .copied()
                .filter(|&i| cloud.instances[i].node.is_none())
                .filter(|&i| cloud.instances[i].requested + provision < now)
                .take(usize::try_from(room).unwrap_or(0))
                .collect();
            removed |= !old.is_empty();
            for i in old {
                cx.emit(Change::TerminationWanted(i));
            }
        }
        removed
    }

    /// Asks EC2 for the sizes that were decided.
    pub(super) fn apply_increases(&mut self, increases: &[(usize, i64)], cx: &mut Cx<'_>) {
        let now = cx.now();
        for &(group, delta) in increases {
            let id: Id<GroupModel> = Id::new(group as u32);
            let size = i64::from(cx.cloud().groups[id].desired) + delta;
            self.registry.register_scale_up(group, delta, now);
            self.cooldown.last_scale_up = Some(now);
            self.dirty = true;
            cx.emit(Change::ScaleUpDecided(id, u32::try_from(delta).unwrap_or(0)));
            cx.emit(Change::GroupSizeWanted(id, u32::try_from(size).unwrap_or(u32::MAX)));
        }
    }

    /// Looks at a removal again later.
    pub(super) fn again(node: Id<Node>, wait: Span, cx: &mut Cx<'_>) {
        cx.after(wait, wake(super::Event::Removal(node)));
    }
}
