//! What one node is to one class: the verdict of its Node object, the score of its resources.

use super::super::framework::Cx;
use super::super::plugins::{
    node_affinity, node_name, node_resources_balanced_allocation, node_resources_fit,
    node_unschedulable, taint_toleration,
};
use super::super::profile::{Plugin, Strategy};
use super::super::resources::{CPU, MEMORY};
use super::super::{NodeInfo, NodeKey, NodeStatic};
use super::NO_FIT;

/// Amounts below this divide exactly as floating-point numbers.
const EXACT: i64 = 1 << 45;

/// Processor time or memory of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    allocatable: i64,
    requested: i64,
    non_zero: i64,
}

/// The part of a node that requests for processor time and memory look at, in one cache line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    cpu: Amount,
    memory: Amount,
    /// Pods that may still come.
    pods_left: i64,
    /// Whether all amounts are small enough for [`Quick`].
    exact: bool,
}

impl Load {
    /// Takes everything from the node.
    pub(super) fn set(&mut self, info: &NodeInfo) {
        if let Some(fixed) = info.node.as_deref() {
            self.cpu.allocatable = fixed.allocatable.get(CPU);
            self.memory.allocatable = fixed.allocatable.get(MEMORY);
            let both = [self.cpu.allocatable, self.memory.allocatable];
            self.exact = both.iter().all(|x| (0..EXACT).contains(x));
        }
        self.update(info);
    }
    /// Takes what pods change.
    pub(super) fn update(&mut self, info: &NodeInfo) {
        (self.cpu.requested, self.memory.requested) =
            (info.requested.get(CPU), info.requested.get(MEMORY));
        [self.cpu.non_zero, self.memory.non_zero] = info.non_zero;
        let allowed = info.node.as_deref().map_or(0, |n| n.allowed_pods);
        self.pods_left = allowed.saturating_sub(info.pod_count());
    }
}

/// NodeResourcesFit with LeastAllocated and NodeResourcesBalancedAllocation over processor time
/// and memory, for a class that requests nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quick {
    filters: bool,
    request: [i64; 2],
    score_request: [i64; 2],
    fit: i32,
    weights: [i32; 2],
    balanced: i32,
}

impl Quick {
    /// `None` if the class or its profile asks for more than that.
    pub(super) fn new(cx: &Cx<'_>) -> Option<Self> {
        let (class, args) = (cx.class, cx.args);
        let [(CPU, cpu), (MEMORY, memory)] = *args.fit_resources.as_slice() else { return None };
        let basic = class.request.requested().all(|(id, _)| id == CPU || id == MEMORY);
        let small = |x: i64| (0..EXACT).contains(&x);
        let both = |r: &super::Resources| [r.get(CPU), r.get(MEMORY)];
        let (request, score_request) = (both(&class.request), both(&class.score_request));
        let usual = args.profile.strategy == Strategy::LeastAllocated
            && args.balanced_resources == [CPU, MEMORY]
            && [cpu, memory].iter().all(|w| (1..=1_000_000).contains(w));
        let amounts = request.iter().chain(&score_request).all(|x| small(*x));
        if !basic || !usual || !amounts {
            return None;
        }
        let skips = node_resources_balanced_allocation::skips_score(cx);
        let narrow = |w: i64| i32::try_from(w).ok();
        Some(Self {
            filters: args.has(Plugin::NodeResourcesFit),
            request,
            score_request,
            fit: narrow(weight_of(cx, Plugin::NodeResourcesFit))?,
            weights: [narrow(cpu)?, narrow(memory)?],
            balanced: match skips {
                true => 0,
                false => narrow(weight_of(cx, Plugin::NodeResourcesBalancedAllocation))?,
            },
        })
    }
    /// The cell of a node; `None` if amounts are too large.
    #[inline]
    pub(super) fn cell(&self, load: &Load) -> Option<i16> {
        let both = [&load.cpu, &load.memory];
        let held = both.iter().all(|a| (a.requested | a.non_zero) >> 45 == 0);
        if !load.exact || !held {
            return None;
        }
        let fits = |a: &Amount, r: i64| r <= 0 || r <= a.allocatable - a.requested;
        let room = load.pods_left > 0
            && fits(&load.cpu, self.request[0])
            && fits(&load.memory, self.request[1]);
        if self.filters && !room {
            return Some(NO_FIT);
        }
        let (mut sum, mut weights) = (0, 0);
        for (i, a) in both.into_iter().enumerate().filter(|(_, a)| a.allocatable > 0) {
            let left = a.allocatable - a.non_zero - self.score_request[i];
            let score = (left.max(0) * 100) as f64 / a.allocatable as f64;
            sum += score as i32 * self.weights[i];
            weights += self.weights[i];
        }
        let score = match weights {
            0 => 0,
            2 => self.fit * (sum / 2),
            _ => self.fit * (sum / weights),
        };
        Some((score + self.balanced * self.balance(load)) as i16)
    }
    #[inline]
    fn balance(&self, load: &Load) -> i32 {
        if self.balanced == 0 {
            return 0;
        }
        let fraction =
            |a: &Amount, r: i64| ((a.requested + r) as f64 / a.allocatable as f64).min(1.0);
        let std = if load.cpu.allocatable > 0 && load.memory.allocatable > 0 {
            let (a, b) =
                (fraction(&load.cpu, self.request[0]), fraction(&load.memory, self.request[1]));
            ((a - b) / 2.0).abs()
        } else {
            0.0
        };
        ((1.0 - std) * 100.0) as i32
    }
}

/// What the Node object decides for a class.
pub(super) struct StaticCell {
    pub(super) passes: bool,
    pub(super) taint: u8,
    pub(super) affinity: i32,
}

pub(super) fn parts<'a>(cx: &Cx<'a>, node: NodeKey) -> Option<(&'a NodeInfo, &'a NodeStatic)> {
    super::super::framework::node_parts(cx.cache, node)
}

pub(super) fn static_cell(cx: &Cx<'_>, node: NodeKey) -> StaticCell {
    let Some((_, fixed)) = parts(cx, node) else {
        return StaticCell { passes: false, taint: 0, affinity: 0 };
    };
    let has = |p| cx.args.has(p);
    let refused = (has(Plugin::NodeUnschedulable)
        && node_unschedulable::filter(cx, fixed).is_some())
        || (has(Plugin::NodeName) && node_name::filter(cx, fixed).is_some())
        || (has(Plugin::TaintToleration)
            && taint_toleration::untolerated(cx.class, fixed).is_some())
        || (has(Plugin::NodeAffinity) && node_affinity::filter(cx, fixed).is_some());
    // Scores that do not count are not computed: `static_key` leaves out what they read.
    let scored = |p, raw: &dyn Fn() -> i64| if weight_of(cx, p) != 0 { raw() } else { 0 };
    let taint = scored(Plugin::TaintToleration, &|| taint_toleration::raw_score(cx.class, fixed));
    let affinity = scored(Plugin::NodeAffinity, &|| node_affinity::raw_score(cx, fixed));
    StaticCell {
        passes: !refused && taint <= i64::from(u8::MAX),
        taint: u8::try_from(taint).unwrap_or(u8::MAX),
        affinity: i32::try_from(affinity).unwrap_or(i32::MAX),
    }
}

/// The resource cell of a node, from the plugins themselves.
pub(super) fn shape_cell(cx: &Cx<'_>, node: NodeKey) -> i16 {
    let Some((info, fixed)) = parts(cx, node) else { return NO_FIT };
    if cx.args.has(Plugin::NodeResourcesFit) && !node_resources_fit::passes(cx, info, fixed) {
        return NO_FIT;
    }
    let mut score = 0;
    let fit = weight_of(cx, Plugin::NodeResourcesFit);
    if fit > 0 {
        score += fit * node_resources_fit::raw_score(cx, info, fixed);
    }
    let balanced = weight_of(cx, Plugin::NodeResourcesBalancedAllocation);
    if balanced > 0 && !node_resources_balanced_allocation::skips_score(cx) {
        score += balanced * node_resources_balanced_allocation::raw_score(cx, info, fixed);
    }
    i16::try_from(score).unwrap_or(0).max(0)
}

pub(super) fn weight_of(cx: &Cx<'_>, plugin: Plugin) -> i64 {
    let weights = &cx.args.profile.weights;
    weights.iter().find(|w| w.0 == plugin).map_or(0, |w| w.1)
}
