//! What the scenario asks of its nodes: pods with addresses, DaemonSets, surges, and which kinds
//! of nodes there are.

use crate::catalog::CapacityType;
use crate::policy::fit::{matches_node, tolerates};
use crate::policy::workloads::RolloutRules;
use crate::units::Id;
use crate::world::Model;
use crate::world::model::{
    GroupKind, GroupModel, GroupType, Template, WorkloadKind, WorkloadModel,
};

/// Kinds of nodes of one NodePool that are shown at most.
const POOL_TYPES: usize = 3;

pub(super) struct Demand {
    pub(super) kinds: Vec<Kind>,
    /// For each group, the pods it is to run and the kind that stands for it.
    pub(super) groups: Vec<GroupDemand>,
    /// Pods that no group takes.
    pub(super) homeless: u64,
}

/// Nodes of one group and type, and the pods they would run.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) group: Id<GroupModel>,
    /// Position among the group's types.
    pub(super) type_index: usize,
    /// DaemonSet pods on the host network, and with addresses.
    pub(super) daemons: (u64, u64),
    /// CPU and memory left for other pods.
    pub(super) room: (i64, i64),
    /// Mean request of the scenario's pods; 0 without any.
    pub(super) mean: (i64, i64),
    /// The scenario's pods on a node when they are spread over the group's first nodes.
    pub(super) spread: u64,
}

/// Pods with addresses that a group is to run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupDemand {
    /// Position of the kind that stands for the group.
    pub(super) kind: usize,
    pub(super) start: u64,
    pub(super) most: u64,
    pub(super) surge: u64,
}

/// Pods of one workload.
struct Pods<'m> {
    template: &'m Template,
    start: u64,
    most: u64,
    surge: u64,
}

impl Demand {
    pub(super) fn of(model: &Model) -> Self {
        let pods = workloads(model);
        let mut kinds = Vec::new();
        let mut groups = Vec::new();
        for (id, group) in model.groups.iter().filter(|(_, g)| g.kind != GroupKind::Trace) {
            let types: Vec<usize> = match group.kind {
                GroupKind::NodePool => representative(id, group, &pods, model),
                _ => vec![0],
            };
            if types.is_empty() {
                continue;
            }
            groups.push(GroupDemand { kind: kinds.len(), ..GroupDemand::default() });
            kinds.extend(types.into_iter().map(|t| kind(id, t, &pods, model)));
        }
        let mut demand = Self { kinds, groups, homeless: 0 };
        demand.share_out(&pods, model);
        demand
    }

    /// Pods go to the groups that admit them by the number of their nodes at the start, as far as
    /// these take them; the rest goes to the first group that can grow.
    fn share_out(&mut self, pods: &[Pods<'_>], model: &Model) {
        for p in pods {
            let kinds = &self.kinds;
            let of = |g: &GroupDemand| &kinds[g.kind];
            let willing: Vec<usize> = (0..self.groups.len())
                .filter(|&g| admits(group_type(of(&self.groups[g]), model), p.template))
                .collect();
            let size = |g: usize| u64::from(model.groups[of(&self.groups[g]).group].desired);
            let grows = |g: usize| {
                let group = &model.groups[of(&self.groups[g]).group];
                group.kind == GroupKind::NodePool || model.cluster_autoscaler.is_some()
            };
            let all: u64 = willing.iter().map(|&g| size(g)).sum();
            let Some(&first) = willing.iter().find(|&&g| grows(g)).or(willing.first()) else {
                self.homeless += p.most;
                continue;
            };
            let mut left = [p.start, p.most, p.surge];
            let shares: Vec<(usize, [u64; 3])> = willing
                .iter()
                .filter(|_| all > 0)
                .map(|&g| (g, left.map(|n| n * size(g) / all)))
                .collect();
            for (g, share) in shares.into_iter().chain([(first, [u64::MAX; 3])]) {
                let group = &mut self.groups[g];
                let sums = [&mut group.start, &mut group.most, &mut group.surge];
                for ((sum, left), share) in sums.into_iter().zip(&mut left).zip(share) {
                    let taken = share.min(*left);
                    *sum += taken;
                    *left -= taken;
                }
            }
        }
        for group in &self.groups {
            let (head, tail) = (group.kind, self.kinds[group.kind].group);
            let nodes = u64::from(model.groups[tail].desired).max(1);
            let spread = group.most.div_ceil(nodes);
            for kind in self.kinds.iter_mut().skip(head).take_while(|k| k.group == tail) {
                kind.spread = spread;
            }
        }
    }

    pub(super) fn assumptions(&self, model: &Model) -> Vec<String> {
        let mut words = vec![
            "a node is filled with pods of the scenario's mean request; how many fit is counted \
             with nodes that come one after another, situations with nodes that grow side by side"
                .to_owned(),
            "at the peak every HPA is at its maxReplicas, every Job at its parallelism; managed \
             groups start at desiredSize"
                .to_owned(),
            "a lost zone's nodes and pods come back in the other zones".to_owned(),
        ];
        if model.groups.iter().any(|(_, g)| g.kind == GroupKind::NodePool) {
            words.push(
                "a NodePool is shown with the types that carry the scenario's mean pod at the \
                 lowest price, by size (up to 4, 16 and more vCPUs); the cheapest of all stands \
                 for the pool"
                    .to_owned(),
            );
        }
        if model.network.random_placement && model.network.cni.prefix_delegation {
            let fixed = "EC2 picks free addresses at random; this answer is one draw of fixed luck";
            words.push(fixed.to_owned());
        }
        if model.network.cni.pod_eni {
            let trunk = "pods with security groups of their own count like others; the trunk \
                         interface of each node is left out";
            words.push(trunk.to_owned());
        }
        if self.homeless > 0 {
            words.push(format!("{} pods suit no group and are left out", self.homeless));
        }
        words.push("the account's vCPU quota is not known and not checked".to_owned());
        words
    }
}

pub(super) fn group_type<'m>(kind: &Kind, model: &'m Model) -> &'m GroupType {
    &model.groups[kind.group].types[kind.type_index]
}

/// Pods that take addresses, DaemonSets aside.
fn workloads(model: &Model) -> Vec<Pods<'_>> {
    let mut pods = Vec::new();
    for (id, w) in model.workloads.iter() {
        let template = &model.templates[w.template];
        if template.host_network || template.daemon || template.trace {
            continue;
        }
        let hpa = model.hpas.iter().find(|(_, h)| h.target == id);
        let replicas = u64::from(w.replicas);
        let bounds = hpa.map(|(_, h)| {
            let least = h.object.spec.min_replicas.unwrap_or(1).max(0).unsigned_abs();
            (u64::from(least), u64::from(h.object.spec.max_replicas.max(0).unsigned_abs()))
        });
        let (start, most) = match bounds {
            Some((least, most)) => (replicas.clamp(least.min(most), most), most),
            None => size(w, replicas),
        };
        pods.push(Pods { template, start, most, surge: surge(w, most) });
    }
    pods
}

/// Pods at the start and at most of a workload that nothing scales.
fn size(w: &WorkloadModel, replicas: u64) -> (u64, u64) {
    match &w.kind {
        WorkloadKind::Job(job) => {
            let parallel = job.spec.parallelism.unwrap_or(1).max(0).unsigned_abs();
            let parallel = u64::from(parallel);
            let most = job
                .spec
                .completions
                .map_or(parallel, |c| parallel.min(u64::from(c.max(0).unsigned_abs())));
            (0, most)
        }
        WorkloadKind::Pod => (1, 1),
        _ => (replicas, replicas),
    }
}

/// Pods that a rollout adds.
fn surge(w: &WorkloadModel, replicas: u64) -> u64 {
    let WorkloadKind::Deployment(spec) = &w.kind else { return 0 };
    let mut rules = RolloutRules::lower(spec);
    rules.replicas = i32::try_from(replicas).unwrap_or(i32::MAX);
    u64::from(rules.surge().max(0).unsigned_abs())
}

fn admits(node: &GroupType, template: &Template) -> bool {
    let spec = &template.object.spec;
    let hard = node.node.spec.taints.iter().filter(|t| t.effect != "PreferNoSchedule");
    matches_node(spec, &node.node) && hard.clone().all(|taint| tolerates(spec, taint))
}

fn kind(group: Id<GroupModel>, type_index: usize, pods: &[Pods<'_>], model: &Model) -> Kind {
    let node = &model.groups[group].types[type_index];
    let mut daemons = (0, 0);
    let mut room = (node.allocatable_cpu.raw(), node.allocatable_memory.raw());
    for (_, w) in model.workloads.iter() {
        let template = &model.templates[w.template];
        if template.daemon && admits(node, template) {
            let count = if template.host_network { &mut daemons.0 } else { &mut daemons.1 };
            *count += 1;
            room.0 -= template.request_cpu.raw();
            room.1 -= template.request_memory.raw();
        }
    }
    let mut sum = (0_i128, 0_i128, 0_i128);
    for p in pods.iter().filter(|p| admits(node, p.template)) {
        let most = i128::from(p.most);
        sum.0 += i128::from(p.template.request_cpu.raw()) * most;
        sum.1 += i128::from(p.template.request_memory.raw()) * most;
        sum.2 += most;
    }
    let mean = |total: i128| i64::try_from(total / sum.2.max(1)).unwrap_or(i64::MAX);
    Kind { group, type_index, daemons, room, mean: (mean(sum.0), mean(sum.1)), spread: 0 }
}

/// The types of a NodePool that carry the scenario's pods at the lowest price: the cheapest of all
/// first, then those of the other sizes.
fn representative(
    id: Id<GroupModel>,
    group: &GroupModel,
    pods: &[Pods<'_>],
    model: &Model,
) -> Vec<usize> {
    let mut best: [Option<(f64, usize)>; POOL_TYPES] = [None; POOL_TYPES];
    let on_demand = group.types.iter().any(|t| t.capacity == CapacityType::OnDemand);
    for (index, t) in group.types.iter().enumerate() {
        let spot = t.capacity == CapacityType::Spot;
        if spot == on_demand || t.instance_type.interfaces.is_none() {
            continue;
        }
        let kind = kind(id, index, pods, model);
        let pods = super::kinds::per_node(&kind, None, model);
        let Some(most) = pods.iter().map(|(_, n)| *n).min().filter(|n| *n > 0) else { continue };
        let price = (t.rate.usd_per_hour() + t.fee.usd_per_hour()) / most as f64;
        let size = match t.instance_type.vcpu.unwrap_or(0) {
            0..=4 => 0,
            5..=16 => 1,
            _ => 2,
        };
        let slot: &mut Option<(f64, usize)> = &mut best[size];
        if slot.is_none_or(|(least, _)| price < least) {
            *slot = Some((price, index));
        }
    }
    let mut found: Vec<(f64, usize)> = best.into_iter().flatten().collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    found.into_iter().map(|(_, index)| index).collect()
}
