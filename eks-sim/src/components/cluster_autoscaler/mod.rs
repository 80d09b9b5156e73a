//! Cluster Autoscaler: the actor that drives `policy::cluster_autoscaler`.
//!
//! A timer (and, with frequent loops, a pod that has just become unschedulable, or a productive
//! loop) starts a loop: registry → simulated cluster → scale-up, else scale-down. Size changes are
//! wishes to EC2; a node that goes is tainted, drained and terminated step by step.
//!
//! A loop whose inputs did not change since the last one, and for which no deadline has passed,
//! would decide the same again and is skipped.

mod deletion;
mod groups;
mod mirror;
mod scale_down;
mod scale_up;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;

use self::deletion::Deletion;
use self::groups::NodeTemplate;
use self::mirror::Mirror;
use self::settings::{Constants, TemplateFacts};
use crate::engine::{self, Cx, Stream};
use crate::policy::cluster_autoscaler::cluster::Cursor;
use crate::policy::cluster_autoscaler::eligibility::UnremovableReason;
use crate::policy::cluster_autoscaler::expander::Priorities;
use crate::policy::cluster_autoscaler::registry::Registry;
use crate::policy::cluster_autoscaler::scale_down::{Cooldown, Planner};
use crate::policy::cluster_autoscaler::scale_up::GroupResult;
use crate::policy::cluster_autoscaler::{Flags, SimCluster};
use crate::units::{Id, SimTime, Span};
use crate::world::model::GroupModel;
use crate::world::{Change, Model, Node, PodId};
use std::sync::Arc;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A loop is due, if it is the one of this number.
    Loop(u32),
    /// The scheduler found no node for a pod.
    PodUnschedulable(PodId),
    /// A pod was bound.
    PodBound(PodId),
    /// A pod has new requests.
    PodResized(PodId),
    /// A pod is being deleted.
    PodTerminating(PodId),
    /// A pod ended or is gone.
    PodGone(PodId),
    /// A node came, changed or went.
    NodeChanged(Id<Node>),
    /// A group's size or instances changed.
    GroupChanged(Id<GroupModel>),
    /// A launch was refused.
    LaunchRefused(Id<GroupModel>),
    /// The next step of a node's removal.
    Removal(Id<Node>),
    /// A taint could not be written.
    TaintRefused(Id<Node>),
}

/// Cluster Autoscaler; idle if the model has none.
#[derive(Clone, Debug)]
pub struct ClusterAutoscaler {
    active: Option<Box<Active>>,
}

/// The state of a running autoscaler.
#[derive(Clone, Debug)]
struct Active {
    flags: Flags,
    constants: Constants,
    priorities: Option<Priorities>,
    facts: Vec<TemplateFacts>,
    /// Smallest and largest size by group.
    limits: Vec<(u32, u32)>,
    mirror: Mirror,
    registry: Registry,
    planner: Planner<u32>,
    cooldown: Cooldown,
    cursor: Cursor,
    templates: Vec<NodeTemplate>,
    deletions: Vec<Deletion>,
    /// Number of the timer that counts.
    timer: u32,
    /// Start of the last loop.
    last_tick: SimTime,
    /// Something changed since the last loop.
    dirty: bool,
    /// Earliest deadline at which a loop may decide otherwise without a change.
    wake_at: SimTime,
    /// Last refresh of the provider's cache.
    refreshed: SimTime,
    /// Launches are being refused; seen at the next refresh.
    failing: bool,
    /// Why pods did not trigger a scale-up, by slot.
    pod_reasons: Vec<Option<(PodId, Arc<str>)>>,
    group_results: Vec<GroupResult>,
    /// The last scale-up: group, size before, size after.
    last_increases: Vec<(usize, i64, i64)>,
    decisions: u64,
    loops: u64,
    full_loops: u64,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::ClusterAutoscaler(event)
}

impl ClusterAutoscaler {
    /// An autoscaler that has seen nothing yet.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let active = model.cluster_autoscaler.as_ref().map(|spec| {
            let flags = settings::flags(spec, model);
            Box::new(Active {
                constants: Constants::new(model),
                priorities: settings::priorities(spec),
                facts: settings::facts(model),
                limits: settings::limits(spec, model),
                mirror: Mirror::new(model, flags.expendable_pods_priority_cutoff),
                registry: Registry::new(&flags),
                planner: Planner::default(),
                cooldown: Cooldown::default(),
                cursor: Cursor::default(),
                templates: Vec::new(),
                deletions: Vec::new(),
                timer: 0,
                last_tick: SimTime::ZERO,
                dirty: true,
                wake_at: SimTime::NEVER,
                refreshed: SimTime::ZERO,
                failing: false,
                pod_reasons: Vec::new(),
                group_results: Vec::new(),
                last_increases: Vec::new(),
                decisions: 0,
                loops: 0,
                full_loops: 0,
                flags,
            })
        });
        Self { active }
    }

    /// The first loop comes at a random phase of the interval.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let Some(active) = &mut self.active else { return };
        active.templates =
            groups::provider_templates(&mut active.mirror, &active.facts, &active.constants, cx);
        let key = engine::draws::key_str("cluster-autoscaler");
        let phase = cx.draw(Stream::ControllerPhase, key);
        let interval = active.flags.scan_interval.secs_f64();
        cx.after(Span::from_secs_f64(interval * phase), wake(Event::Loop(0)));
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        if let Some(active) = &mut self.active {
            active.handle(event, cx);
        }
    }

    /// Why a pending pod did not trigger a scale-up, in upstream's words.
    #[must_use]
    pub fn pod_reason(&self, pod: PodId) -> Option<&str> {
        let entry = self.active.as_ref()?.pod_reasons.get(pod.slot() as usize)?.as_ref()?;
        (entry.0 == pod).then_some(&*entry.1)
    }

    /// Sizes that the last scale-up changed, as the event on a pod words it.
    #[must_use]
    pub fn pod_trigger(&self, _: PodId, model: &Model, _: &crate::world::World) -> String {
        let Some(active) = &self.active else { return String::new() };
        let parts: Vec<String> = active
            .last_increases
            .iter()
            .map(|&(group, from, to)| {
                let g = &model.groups[Id::new(group as u32)];
                format!("{{{} {from}->{to} (max: {})}}", g.name, active.limits[group].1)
            })
            .collect();
        format!("pod triggered scale-up: [{}]", parts.join(" "))
    }

    /// Why a node was kept at the last look.
    #[must_use]
    pub fn node_reason(&self, node: Id<Node>) -> Option<UnremovableReason> {
        self.active.as_ref()?.planner.reason(node.raw())
    }

    /// Since when a node is unneeded.
    #[must_use]
    pub fn unneeded_since(&self, node: Id<Node>) -> Option<SimTime> {
        self.active.as_ref()?.planner.unneeded().since(&node.raw())
    }

    /// By node group: what it offered or why it was no option in the last attempt to scale up.
    #[must_use]
    pub fn group_results(&self) -> &[GroupResult] {
        self.active.as_ref().map_or(&[], |a| &a.group_results)
    }

    /// Loops so far, and those that had to look at the cluster.
    #[must_use]
    pub fn loops(&self) -> (u64, u64) {
        self.active.as_ref().map_or((0, 0), |a| (a.loops, a.full_loops))
    }
}

impl Active {
    fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Loop(number) => {
                if number == self.timer {
                    self.tick(cx);
                }
            }
            Event::PodUnschedulable(p) => {
                if self.mirror.pod_unschedulable(p, cx) {
                    self.dirty = true;
                    if self.flags.frequent_loops_enabled {
                        let earliest = self.last_tick + self.constants.loop_time;
                        self.next_loop(earliest.since(cx.now()), cx);
                    }
                }
            }
            Event::PodBound(p) => self.dirty |= self.mirror.pod_bound(p, cx),
            Event::PodResized(p) => self.dirty |= self.mirror.pod_resized(p, cx),
            Event::PodTerminating(p) => self.dirty |= self.mirror.pod_terminating(p),
            Event::PodGone(p) => self.dirty |= self.mirror.pod_gone(p),
            Event::NodeChanged(n) => {
                self.mirror.node_changed(n, cx);
                self.dirty = true;
            }
            Event::GroupChanged(_) => self.dirty = true,
            Event::LaunchRefused(_) => self.failing = true,
            Event::Removal(n) => self.removal_step(n, cx),
            Event::TaintRefused(n) => self.taint_refused(n, cx),
        }
    }

    /// Sets the timer anew; an older one no longer counts.
    fn next_loop(&mut self, wait: Span, cx: &mut Cx<'_>) {
        self.timer = self.timer.wrapping_add(1);
        cx.after(wait, wake(Event::Loop(self.timer)));
    }

    fn wake_by(&mut self, at: SimTime) {
        self.wake_at = self.wake_at.min(at);
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        self.loops += 1;
        self.last_tick = now;
        let mut wait = self.flags.scan_interval.max(self.constants.loop_time);
        if cx.cloud().api_available() {
            let refresh = now.since(self.refreshed) >= self.constants.refresh;
            if refresh {
                self.refreshed = now;
            }
            let failed = refresh && self.failing;
            if self.dirty || failed || self.mirror.has_terminating() || now >= self.wake_at {
                self.full_loops += 1;
                let productive = self.run(failed, cx);
                if productive && self.flags.frequent_loops_enabled {
                    wait = self.constants.loop_time;
                }
            }
        }
        self.next_loop(wait, cx);
    }

    /// One loop; whether it scaled.
    fn run(&mut self, failed: bool, cx: &mut Cx<'_>) -> bool {
        let now = cx.now();
        self.dirty = false;
        self.wake_at = SimTime::NEVER;
        self.forget_removed(cx);
        let counts = self.counts(failed, cx);
        if self.clean_up(&counts, cx) {
            self.dirty = true;
            return false;
        }
        if !self.registry.cluster_healthy() {
            self.planner.clear();
            return false;
        }
        let upcoming: Vec<i64> =
            (0..counts.len()).map(|g| self.registry.upcoming(g, now)).collect();
        if !self.mirror.pending.is_empty() || upcoming.iter().any(|&n| n > 0) {
            self.refresh_templates(cx);
        }
        let nodes = self.mirror.positions(cx);
        let mut cluster = snapshot::Snapshot::new(
            &mut self.mirror.cache,
            &self.templates,
            nodes,
            (cx.api().nodes.len() as u32, cx.api().pods.slots() as u32),
        );
        let outer = cluster.checkpoint();
        let real = cluster.len();
        for (group, &count) in upcoming.iter().enumerate() {
            for _ in 0..count {
                cluster.add_template_node(group);
            }
        }
        let view = scale_up::Attempt {
            flags: &self.flags,
            priorities: self.priorities.as_ref(),
            facts: &self.facts,
            registry: &self.registry,
            templates: &self.templates,
            known: &self.mirror.known,
            counts: &counts,
            upcoming: upcoming.iter().sum(),
            limits: &self.limits,
            prices: self.constants.prices,
            turn: self.decisions,
        };
        let pods = scale_up::pending(&view, &self.mirror.pending, cx);
        let mut verdict = scale_up::attempt(&view, &pods, &mut cluster, &mut self.cursor, cx);
        let mut productive = !verdict.increases.is_empty();
        let raised = if productive { Vec::new() } else { scale_up::to_min_size(&view, cx) };
        let mut chosen = Vec::new();
        if !productive && !verdict.wait && self.flags.scale_down_enabled {
            cluster.keep(real);
            let view = scale_down::View {
                flags: &self.flags,
                facts: &self.facts,
                known: &self.mirror.known,
                counts: &counts,
                limits: &self.limits,
                deletions: &self.deletions,
                idle: !self.cooldown.active(&self.flags, now),
            };
            let before: Vec<u32> = self.planner.unneeded().iter().map(|(&n, _)| n).collect();
            chosen = scale_down::plan(&view, &mut self.planner, &mut cluster, cx);
            // The search stops at a limit that grows with what was found.
            self.dirty |= !self.planner.unneeded().iter().map(|(&n, _)| n).eq(before);
        }
        cluster.rollback(outer);
        self.remember(&mut verdict, cx);
        self.apply_increases(&verdict.increases, cx);
        if !productive && !verdict.wait && self.flags.scale_down_enabled {
            productive = self.start_removals(&chosen, cx);
        }
        self.apply_increases(&raised, cx);
        productive |= !raised.is_empty();
        self.deadlines(verdict.wake_at, cx);
        productive
    }

    /// Keeps what was decided, and tells of pods that were helped or have another reason than
    /// before why not. (Upstream repeats its events in each loop; their counts grow.)
    fn remember(&mut self, verdict: &mut scale_up::Verdict, cx: &mut Cx<'_>) {
        if verdict.attempted {
            self.decisions += 1;
            self.group_results = core::mem::take(&mut verdict.groups);
        }
        if !verdict.increases.is_empty() {
            let size = |group: usize| i64::from(cx.cloud().groups[Id::new(group as u32)].desired);
            let steps = verdict.increases.iter();
            self.last_increases =
                steps.map(|&(group, delta)| (group, size(group), size(group) + delta)).collect();
        }
        for (pod, reason) in verdict.reasons.drain(..) {
            let slot = pod.slot() as usize;
            if self.pod_reasons.len() <= slot {
                self.pod_reasons.resize(slot + 1, None);
            }
            let before = &self.pod_reasons[slot];
            let change = match &reason {
                None => Some(Change::PodTriggeredScaleUp(pod)),
                Some(new) => {
                    let known = before.as_ref().is_some_and(|(p, old)| *p == pod && old == new);
                    (!known).then_some(Change::PodTriggeredNothing(pod))
                }
            };
            self.pod_reasons[slot] = reason.map(|r| (pod, r));
            if let Some(change) = change {
                cx.emit(change);
            }
        }
    }

    /// The times from which on a loop may decide otherwise although nothing changed.
    fn deadlines(&mut self, pods: SimTime, cx: &Cx<'_>) {
        let now = cx.now();
        self.wake_by(pods);
        if let Some(at) = self.registry.next_deadline(now) {
            self.wake_by(at);
        }
        if let Some(at) = self.planner.next_recheck() {
            self.wake_by(at);
        }
        if let Some(at) = self.cooldown.next_end(&self.flags, now) {
            self.wake_by(at);
        }
        let tick = Span::from_nanos(1);
        let due: Vec<SimTime> = self
            .planner
            .unneeded()
            .iter()
            .flat_map(|(_, since)| {
                [self.flags.scale_down_unneeded_time, self.flags.scale_down_unready_time]
                    .map(|t| since + t + tick)
            })
            .filter(|&at| at > now)
            .collect();
        for at in due {
            self.wake_by(at);
        }
        let startup = self.flags.max_node_startup_time;
        for &n in &cx.api().live_nodes {
            let row = &cx.api().nodes[n];
            if row.first_ready == SimTime::NEVER && row.registered + startup > now {
                self.wake_by(row.registered + startup);
            }
        }
    }
}
