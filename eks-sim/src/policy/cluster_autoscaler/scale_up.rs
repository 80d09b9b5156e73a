//! One scale-up decision.
//!
//! Upstream: core/scaleup/orchestrator/orchestrator.go and core/scaleup/resource/manager.go of
//! release 1.37. Differences: salvo scale-up, all-or-nothing and group creation are left out.

use super::balancing::{ComparedNode, GroupSize, Ratios, balance, similar};
use super::cluster::{Cursor, SimCluster};
use super::estimator::{Estimate, Estimation, PodGroup, TemplateSize, estimate};
use super::expander::{ExpanderContext, ExpansionOption, PodPrices, best_option};
use super::flags::Flags;
use super::limiter::{Limiter, Threshold, cluster_capacity, similar_group_capacity};
use crate::units::{SimTime, Span};

/// A node group as the orchestrator sees it.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Name.
    pub name: String,
    /// Target size.
    pub target: i64,
    /// Minimum.
    pub min: i64,
    /// Maximum.
    pub max: i64,
    /// Enough of its nodes are ready.
    pub healthy: bool,
    /// Backed off after a failure.
    pub backed_off: bool,
    /// Template node; none if it cannot be told.
    pub template: Option<Template>,
}

/// A template node.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Size.
    pub size: TemplateSize,
    /// GPUs of the node.
    pub gpus: i64,
    /// Price an hour (price expander).
    pub price: Option<f64>,
    /// For the comparison with other groups.
    pub compared: ComparedNode,
}

/// Why a group is no option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// At its maximum.
    MaxSizeReached,
    /// Too many unready nodes.
    Unhealthy,
    /// Backed off.
    BackedOff,
    /// No template.
    NoTemplate,
    /// One more node would exceed `--cores-total` or `--memory-total`.
    MaxResourceLimit,
    /// No pending pod fits its nodes.
    NoPodFits,
    /// The estimator placed nothing.
    NothingEstimated,
}

impl SkipReason {
    /// A name for explanations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxSizeReached => "max node group size reached",
            Self::Unhealthy => "unhealthy",
            Self::BackedOff => "in backoff after failed scale-up",
            Self::NoTemplate => "no template node",
            Self::MaxResourceLimit => "max cluster limit reached",
            Self::NoPodFits => "no pending pod fits the node template",
            Self::NothingEstimated => "no node estimated",
        }
    }
}

/// What became of one group in the decision.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupResult {
    /// An option.
    Option(ExpansionOption),
    /// None.
    Skipped(SkipReason),
}

/// A scale-up that was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleUp {
    /// Group of the option that won.
    pub group: usize,
    /// Increases by group; several with balancing.
    pub increases: Vec<(usize, i64)>,
    /// Pods it helps, per equivalence group.
    pub pods_per_group: Vec<usize>,
}

/// Result of a loop's attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScaleUpOutcome {
    /// The decision, if any option was left.
    pub decision: Option<ScaleUp>,
    /// By group: the option it offered or why none.
    pub groups: Vec<GroupResult>,
}

/// Inputs of a decision besides groups and pods.
#[derive(Clone, Copy, Debug)]
pub struct ScaleUpContext<'a> {
    /// Flags.
    pub flags: &'a Flags,
    /// Expanders.
    pub expander: ExpanderContext<'a>,
    /// Nodes of the cluster, upcoming ones included.
    pub current_nodes: i64,
    /// Cores of these nodes.
    pub current_cores: i64,
    /// Memory of these nodes, in bytes.
    pub current_memory: i64,
    /// Prices of requests (price expander).
    pub prices: PodPrices,
    /// Clock.
    pub now: SimTime,
}

const GIB: i64 = 1 << 30;

struct Work {
    /// Equivalence groups whose exemplar fits the template.
    schedulable: Vec<usize>,
    estimate: Estimate,
    similar: Vec<usize>,
}

/// Decides on a scale-up for `pods` and leaves `cluster` as it was.
pub fn scale_up<C: SimCluster>(
    cx: &ScaleUpContext<'_>,
    groups: &[GroupView],
    pods: &[PodGroup<C::Pod>],
    cluster: &mut C,
    cursor: &mut Cursor,
    pick: &mut dyn FnMut(usize) -> usize,
) -> ScaleUpOutcome {
    let mut results = Vec::with_capacity(groups.len());
    let mut work: Vec<Option<Work>> = Vec::with_capacity(groups.len());
    let fits: Vec<Option<Vec<usize>>> = groups
        .iter()
        .enumerate()
        .map(|(i, group)| usable(cx, group).is_ok().then(|| schedulable(i, pods, cluster)))
        .collect();
    for (index, group) in groups.iter().enumerate() {
        let (result, done) = match (usable(cx, group), &fits[index]) {
            (Err(reason), _) => (GroupResult::Skipped(reason), None),
            (Ok(_), Some(list)) if list.is_empty() => {
                (GroupResult::Skipped(SkipReason::NoPodFits), None)
            }
            (Ok(template), Some(list)) => {
                option(cx, (index, groups, template), list, &fits, pods, cluster, cursor)
            }
            (Ok(_), None) => (GroupResult::Skipped(SkipReason::NoPodFits), None),
        };
        results.push(result);
        work.push(done);
    }
    let options: Vec<ExpansionOption> = results
        .iter()
        .filter_map(|r| match r {
            GroupResult::Option(option) => Some(option.clone()),
            GroupResult::Skipped(_) => None,
        })
        .collect();
    let decision = best_option(&options, &cx.expander, pick)
        .and_then(|best| execute(cx, groups, &options[best], &work));
    ScaleUpOutcome { decision, groups: results }
}

/// Nodes to add to groups below their smallest size (`--enforce-node-group-min-size`), by group.
///
/// Groups that may not grow are left as they are. The limit on all nodes is held against the size
/// of the one group, as upstream does.
#[must_use]
pub fn to_min_size(cx: &ScaleUpContext<'_>, groups: &[GroupView]) -> Vec<(usize, i64)> {
    let mut increases = Vec::new();
    for (index, group) in groups.iter().enumerate().filter(|(_, g)| g.target < g.min) {
        let Ok(template) = usable(cx, group) else { continue };
        let mut nodes = (group.min - group.target).min(resource_room(cx, template));
        if cx.flags.max_nodes_total > 0 {
            nodes = nodes.min(cx.flags.max_nodes_total.saturating_sub(group.target));
        }
        if nodes > 0 {
            increases.push((index, nodes));
        }
    }
    increases
}

/// The template of a group that may grow.
fn usable<'a>(cx: &ScaleUpContext<'_>, group: &'a GroupView) -> Result<&'a Template, SkipReason> {
    if !group.healthy {
        return Err(SkipReason::Unhealthy);
    }
    if group.backed_off {
        return Err(SkipReason::BackedOff);
    }
    if group.target >= group.max {
        return Err(SkipReason::MaxSizeReached);
    }
    let template = group.template.as_ref().ok_or(SkipReason::NoTemplate)?;
    if resource_room(cx, template) < 1 {
        return Err(SkipReason::MaxResourceLimit);
    }
    Ok(template)
}

/// Nodes of this size that the cluster-wide limits of cores and memory still admit.
fn resource_room(cx: &ScaleUpContext<'_>, template: &Template) -> i64 {
    let cores = template.size.capacity_cpu / 1000;
    let memory = template.size.capacity_memory;
    let cores_left = cx.flags.cores_total.max.saturating_sub(cx.current_cores).max(0);
    let memory_max = cx.flags.memory_total.max.saturating_mul(GIB);
    let memory_left = memory_max.saturating_sub(cx.current_memory).max(0);
    let by = |left: i64, each: i64| if each > 0 { left / each } else { i64::MAX };
    by(cores_left, cores).min(by(memory_left, memory))
}

/// Equivalence groups whose exemplar fits an empty template node.
fn schedulable<C: SimCluster>(
    group: usize,
    pods: &[PodGroup<C::Pod>],
    cluster: &mut C,
) -> Vec<usize> {
    let outer = cluster.checkpoint();
    cluster.add_template_node(group);
    let node = cluster.len() - 1;
    let mut fitting = Vec::new();
    for (i, candidate) in pods.iter().enumerate() {
        let Some(&exemplar) = candidate.pods.first() else { continue };
        let mark = cluster.checkpoint();
        if cluster.try_place(exemplar, node).is_ok() {
            cluster.rollback(mark);
            fitting.push(i);
        }
    }
    cluster.rollback(outer);
    fitting
}

/// Groups that balancing would use beside `index`: similar, able to grow, for the same pods.
fn similar_groups(
    cx: &ScaleUpContext<'_>,
    (index, groups, template): (usize, &[GroupView], &Template),
    fits: &[Option<Vec<usize>>],
) -> Vec<usize> {
    if !cx.flags.balance_similar_node_groups {
        return Vec::new();
    }
    let ratios = Ratios {
        memory: cx.flags.memory_difference_ratio,
        free: cx.flags.max_free_difference_ratio,
        allocatable: cx.flags.max_allocatable_difference_ratio,
    };
    let alike = |other: &GroupView| {
        other.template.as_ref().is_some_and(|t| {
            similar(&template.compared, &t.compared, &cx.flags.balancing_ignore_label, &ratios)
        })
    };
    (0..groups.len())
        .filter(|&i| i != index && usable(cx, &groups[i]).is_ok())
        .filter(|&i| fits[i] == fits[index] && alike(&groups[i]))
        .collect()
}

fn option<C: SimCluster>(
    cx: &ScaleUpContext<'_>,
    (index, groups, template): (usize, &[GroupView], &Template),
    schedulable: &[usize],
    fits: &[Option<Vec<usize>>],
    pods: &[PodGroup<C::Pod>],
    cluster: &mut C,
    cursor: &mut Cursor,
) -> (GroupResult, Option<Work>) {
    let similar = similar_groups(cx, (index, groups, template), fits);
    let sizes = core::iter::once(index)
        .chain(similar.iter().copied())
        .map(|i| (groups[i].target, groups[i].max));
    let no_time = Span::ZERO;
    let thresholds = [
        Threshold {
            nodes: cx.flags.max_nodes_per_scaleup,
            duration: cx.flags.max_nodegroup_binpacking_duration,
        },
        Threshold { nodes: similar_group_capacity(sizes), duration: no_time },
        Threshold {
            nodes: cluster_capacity(cx.flags.max_nodes_total, cx.current_nodes),
            duration: no_time,
        },
    ];
    let mut limiter = Limiter::start(&thresholds, cx.now);
    let settings = Estimation {
        group: index,
        size: template.size,
        fast_path: cx.flags.fastpath_binpacking_enabled,
        now: cx.now,
    };
    let chosen: Vec<&PodGroup<C::Pod>> = schedulable.iter().map(|&i| &pods[i]).collect();
    let estimate = estimate(cluster, cursor, &mut limiter, &chosen, &settings);
    if estimate.nodes == 0 || estimate.pods() == 0 {
        return (GroupResult::Skipped(SkipReason::NothingEstimated), None);
    }
    let (mut cpu, mut memory, mut price) = (0i64, 0i64, 0.0);
    for (group, &count) in chosen.iter().zip(&estimate.pods_per_group) {
        let count = count as i64;
        cpu = cpu.saturating_add(group.shape.cpu.saturating_mul(count));
        memory = memory.saturating_add(group.shape.memory.saturating_mul(count));
        price += cx.prices.of(group.shape.cpu, group.shape.memory) * count as f64;
    }
    let option = ExpansionOption {
        group: index,
        name: groups[index].name.clone(),
        nodes: estimate.nodes,
        pods: estimate.pods(),
        pods_cpu: cpu,
        pods_memory: memory,
        node_cpu: template.size.capacity_cpu,
        node_memory: template.size.capacity_memory,
        node_gpu: template.gpus > 0,
        exists: true,
        node_price: template.price,
        pods_price: price,
    };
    let work = Work { schedulable: schedulable.to_vec(), estimate, similar };
    (GroupResult::Option(option), Some(work))
}

fn execute(
    cx: &ScaleUpContext<'_>,
    groups: &[GroupView],
    best: &ExpansionOption,
    work: &[Option<Work>],
) -> Option<ScaleUp> {
    let work = work.get(best.group)?.as_ref()?;
    let template = groups[best.group].template.as_ref()?;
    let mut nodes = best.nodes.min(resource_room(cx, template));
    if cx.flags.max_nodes_total > 0 {
        nodes = nodes.min(cx.flags.max_nodes_total.saturating_sub(cx.current_nodes));
    }
    if nodes < 1 {
        return None;
    }
    let targets: Vec<usize> =
        core::iter::once(best.group).chain(work.similar.iter().copied()).collect();
    let sizes: Vec<GroupSize> =
        targets.iter().map(|&i| GroupSize { size: groups[i].target, max: groups[i].max }).collect();
    let increases: Vec<(usize, i64)> = balance(&sizes, nodes)
        .into_iter()
        .map(|(i, new)| (targets[i], new - sizes[i].size))
        .collect();
    let count = work.schedulable.iter().max().map_or(0, |&i| i + 1);
    let mut pods_per_group = vec![0; count];
    for (&i, &pods) in work.schedulable.iter().zip(&work.estimate.pods_per_group) {
        pods_per_group[i] = pods;
    }
    (!increases.is_empty()).then_some(ScaleUp { group: best.group, increases, pods_per_group })
}
