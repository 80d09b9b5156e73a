//! The user: steps of the scenario at their times. A change is applied to its workload; a drain
//! cordons nodes and evicts their pods as `kubectl drain` does, asking again every five seconds
//! while a budget refuses.

use crate::engine::{self, Cx};
use crate::units::{Id, SimTime};
use crate::world::model::ServiceModel;
use crate::world::nodes::SystemTaint;
use crate::world::steps::{Guard, StepKind};
use crate::world::{Change, Client, Node, PodId, Reason, Request};

/// What can happen to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A step of the scenario is due, or was refused.
    Step(u32),
    /// Ask again for an eviction.
    Evict(PodId),
}

/// The user.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// Nodes being drained.
    draining: Vec<Id<Node>>,
    /// Shifts of traffic that ended early, by the step that takes them back.
    aborted: Vec<u32>,
}

impl User {
    /// Puts the steps on the agenda.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        for (number, step) in cx.model().steps.iter().enumerate() {
            if step.at == SimTime::NEVER {
                continue; // Taken only when a shift of traffic goes wrong.
            }
            cx.at(step.at, engine::Event::User(Event::Step(number as u32)));
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Step(step) => self.step(step, cx),
            Event::Evict(pod) => {
                let node = cx.api().pods.get(pod).filter(|p| !p.is_terminating());
                if node.and_then(|p| p.node).is_some_and(|n| self.draining.contains(&n)) {
                    evict(pod, cx);
                }
            }
        }
    }

    fn step(&mut self, number: u32, cx: &mut Cx<'_>) {
        let Some(step) = cx.model().steps.get(number as usize) else { return };
        match &step.kind {
            StepKind::Change { .. }
            | StepKind::Delete { .. }
            | StepKind::Ungate { .. }
            | StepKind::NodePools { .. } => {
                cx.submit(Client::User, Request::Step { step: number });
            }
            StepKind::Weights { service, guard, .. } => {
                let Some(step) = self.look(number, *service, *guard, cx) else { return };
                cx.submit(Client::User, Request::Step { step });
            }
            // AWS publishes images whether or not the cluster's API works.
            StepKind::ImageRelease { .. } => cx.emit(Change::NodePoolsChanged(number)),
            StepKind::NodeGroupUpdate { .. } => cx.emit(Change::NodeGroupUpdateWanted(number)),
            StepKind::Drain { group, count } => {
                let nodes: Vec<Id<Node>> = cx
                    .api()
                    .live_nodes
                    .iter()
                    .copied()
                    .filter(|&n| {
                        let row = &cx.api().nodes[n];
                        let of = cx.cloud().instances[row.instance].group;
                        !row.has_taint(SystemTaint::Unschedulable) && group.is_none_or(|g| g == of)
                    })
                    .take(*count as usize)
                    .collect();
                for node in nodes {
                    self.drain(node, cx);
                }
            }
        }
    }

    /// The step to take: the next one, the way back, or none after that.
    fn look(
        &mut self,
        number: u32,
        service: Id<ServiceModel>,
        guard: Option<Guard>,
        cx: &Cx<'_>,
    ) -> Option<u32> {
        let Some(guard) = guard else { return Some(number) };
        if self.aborted.contains(&guard.abort) {
            return None;
        }
        let seen = cx.machines().load[service].backends.get(guard.backend)?;
        if seen.failing <= guard.limit {
            return Some(number);
        }
        self.aborted.push(guard.abort);
        Some(guard.abort)
    }

    fn drain(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        self.draining.push(node);
        let taint = SystemTaint::Unschedulable;
        cx.submit(Client::User, Request::TaintNode { node, taint, on: true });
        for at in 0..cx.api().nodes[node].pods.len() {
            let pod = cx.api().nodes[node].pods[at];
            let Some(p) = cx.api().pods.get(pod) else { continue };
            if !cx.model().templates[p.template].daemon {
                evict(pod, cx);
            }
        }
    }
}

fn evict(pod: PodId, cx: &mut Cx<'_>) {
    cx.submit(Client::User, Request::EvictPod { pod, reason: Reason::Drained });
}
