//! The update of a managed node group to a new version of its launch template.
//!
//! New version → (strategy DEFAULT) desired and largest size grow, new nodes become Ready → old
//! nodes are tainted → old nodes are drained, cordoned and terminated, at most `maxUnavailable` at
//! a time → the sizes go back one by one. New nodes that do not join, or pods that do not leave
//! in time, end the update in failure; what has been replaced by then stays replaced.
//!
//! Upstream: EKS user guide, "managed node update behaviour". Differences: with the strategy MINIMAL
//! a terminated node counts as unavailable until its replacement is Ready; after a failure the
//! taints are taken off the old nodes and the additional nodes go.

use super::NodeGroups;
use super::drain::{Drain, State, Why, is_ready};
use crate::engine::{self, Cx, Stream};
use crate::units::{Id, SimTime};
use crate::world::Change;
use crate::world::cloud::{Instance, InstanceState};
use crate::world::model::GroupModel;
use crate::world::nodes::SystemTaint;
use crate::world::steps::StepKind;
use crate::world::{Client, Request};
use std::collections::BTreeSet;

/// An update under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    group: Id<GroupModel>,
    step: u32,
    force: bool,
    minimal: bool,
    /// Nodes at a time.
    parallel: u32,
    /// Version that the nodes shall have.
    version: u32,
    /// Nodes added for the time of the update.
    extra: u32,
    /// Desired size without them, as last seen.
    desired: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until the additional nodes are Ready; they must join by then.
    ScaleUp(SimTime),
    /// Old nodes are replaced.
    Upgrade,
    /// The additional nodes go.
    ScaleDown,
}

impl NodeGroups {
    /// Starts the update that a step asks for, unless one of the group is under way.
    pub(super) fn begin_update(&mut self, step: u32, cx: &mut Cx<'_>) {
        let Some(StepKind::NodeGroupUpdate { group, force }) =
            cx.model().steps.get(step as usize).map(|s| &s.kind)
        else {
            return;
        };
        let (group, force) = (*group, *force);
        if self.updates.iter().any(|u| u.group == group) {
            cx.emit(Change::NodeGroupUpdateEnded(group, false));
            return;
        }
        let model = &cx.model().groups[group];
        let rules = model.scaling.update;
        let desired = cx.cloud().groups[group].desired;
        let parallel = rules.max_unavailable.of(desired);
        let zones: BTreeSet<u32> =
            model.subnets.iter().map(|&s| cx.model().subnets[s].zone.raw()).collect();
        let settings = cx.model().settings.node_group;
        let surge = settings.surge_per_zone.saturating_mul(zones.len() as u32).max(parallel);
        let extra = if rules.minimal || desired == 0 { 0 } else { surge };
        cx.emit(Change::NodeGroupUpdateBegan(group));
        if extra > 0 {
            cx.emit(Change::NodeGroupSurgeWanted(group, extra));
        }
        self.updates.push(Update {
            group,
            step,
            force,
            minimal: rules.minimal,
            parallel,
            version: cx.cloud().groups[group].version + 1,
            extra,
            desired,
            phase: Phase::ScaleUp(cx.now() + settings.join_timeout),
        });
        self.look_later(cx);
    }
}

impl Update {
    /// One look; whether the update goes on.
    pub(super) fn step(&mut self, drains: &mut Vec<Drain>, cx: &mut Cx<'_>) -> bool {
        match self.phase {
            Phase::ScaleUp(until) => {
                if self.ready(true, cx) >= self.extra {
                    self.taint_old(true, cx);
                    self.phase = Phase::Upgrade;
                } else if cx.now() >= until {
                    return self.fail(drains, cx);
                }
                true
            }
            Phase::Upgrade => self.upgrade(drains, cx),
            Phase::ScaleDown => self.scale_down(cx),
        }
    }

    /// Instances of the group that still run the old version.
    fn old(&self, cx: &Cx<'_>) -> Vec<Id<Instance>> {
        let cloud = cx.cloud();
        let old = |&i: &Id<Instance>| {
            let row = &cloud.instances[i];
            row.version < self.version && row.state != InstanceState::Terminated && !row.outgoing
        };
        cloud.groups[self.group].instances.iter().copied().filter(old).collect()
    }

    /// Ready nodes of the group: those of the new version, or all.
    fn ready(&self, new_only: bool, cx: &Cx<'_>) -> u32 {
        let cloud = cx.cloud();
        let ready = cloud.groups[self.group].instances.iter().filter(|&&i| {
            let row = &cloud.instances[i];
            !row.outgoing && (!new_only || row.version >= self.version) && is_ready(row, cx)
        });
        ready.count() as u32
    }

    fn taint_old(&self, on: bool, cx: &mut Cx<'_>) {
        let taint = SystemTaint::NodeGroupUnschedulable;
        for i in self.old(cx) {
            if let Some(node) = cx.cloud().instances[i].node {
                cx.submit(Client::NodeGroup, Request::TaintNode { node, taint, on });
            }
        }
    }

    fn upgrade(&mut self, drains: &mut Vec<Drain>, cx: &mut Cx<'_>) -> bool {
        let old = self.old(cx);
        let of_this = |d: &&Drain| matches!(d.why, Why::Update { .. }) && old.contains(&d.instance);
        let mine: Vec<Drain> = drains.iter().filter(of_this).copied().collect();
        if mine.iter().any(|d| d.state == State::TimedOut) {
            return self.fail(drains, cx);
        }
        if old.is_empty() {
            self.phase = Phase::ScaleDown;
            return true;
        }
        let mut busy = mine.len() as u32;
        if self.minimal {
            // Nodes being drained are Ready as yet; what is missing has gone already.
            let missing =
                cx.cloud().groups[self.group].desired.saturating_sub(self.ready(false, cx));
            busy = busy.saturating_add(missing);
        }
        let mut waiting: Vec<(u64, Id<Instance>)> = old
            .iter()
            .copied()
            .filter(|i| !mine.iter().any(|d| d.instance == *i))
            .map(|i| {
                let key = [cx.cloud().instances[i].key, u64::from(self.step), 7];
                (cx.draw(Stream::ControllerPhase, engine::draws::key(&key)).to_bits(), i)
            })
            .collect();
        waiting.sort_unstable();
        for (_, instance) in waiting {
            if busy >= self.parallel {
                break;
            }
            busy += 1;
            drains.push(Drain::of_update(instance, self.force, cx));
        }
        true
    }

    /// One node at a time; if somebody else scales the group meanwhile, it stays as it is.
    fn scale_down(&mut self, cx: &mut Cx<'_>) -> bool {
        let cloud = cx.cloud();
        let state = &cloud.groups[self.group];
        let desired = state.desired.saturating_sub(state.surge);
        let grows = desired > self.desired;
        self.desired = desired;
        if self.extra == 0 || grows {
            cx.emit(Change::NodeGroupUpdateEnded(self.group, true));
            return false;
        }
        if state.instances.iter().any(|&i| cloud.instances[i].outgoing) {
            return true;
        }
        self.extra -= 1;
        cx.emit(Change::NodeGroupSurgeWanted(self.group, self.extra));
        true
    }

    fn fail(&mut self, drains: &mut Vec<Drain>, cx: &mut Cx<'_>) -> bool {
        let old = self.old(cx);
        drains.retain(|d| !matches!(d.why, Why::Update { .. }) || !old.contains(&d.instance));
        self.taint_old(false, cx);
        if self.extra > 0 {
            cx.emit(Change::NodeGroupSurgeWanted(self.group, 0));
        }
        cx.emit(Change::NodeGroupUpdateEnded(self.group, false));
        false
    }
}
