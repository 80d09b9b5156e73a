//! Disruption commands: taint the nodes, start the replacements, wait, then let the nodes go.

use super::state::{ClaimId, Ending};
use super::{Event, Karpenter, wake};
use crate::engine::Cx;
use crate::policy::karpenter::lifecycle::command_timeout;
use crate::policy::karpenter::requirements::Requirements;
use crate::policy::karpenter::solve::Resources;
use crate::units::Id;
use crate::world::karpenter::NodePoolModel;
use crate::world::nodes::SystemTaint;

/// A command that waits for its replacements.
#[derive(Clone, Debug)]
pub(super) struct Command {
    number: u32,
    claims: Vec<ClaimId>,
    replacements: Vec<ClaimId>,
    why: Ending,
}

/// A NodeClaim to be made.
pub(super) struct Plan {
    pub(super) pool: Id<NodePoolModel>,
    pub(super) requirements: Requirements,
    pub(super) types: Vec<usize>,
    pub(super) pods: usize,
    pub(super) requests: Resources,
}

impl Karpenter {
    /// Taints the nodes and starts the replacements; without any they go at once.
    pub(super) fn start_command(
        &mut self,
        claims: Vec<ClaimId>,
        why: Ending,
        plans: Vec<Plan>,
        cx: &mut Cx<'_>,
    ) {
        let text = self.command_text(&claims, why, &plans);
        for &id in &claims {
            self.claims[id].marked = true;
            self.claims[id].kept = None;
            self.note(id, "DisruptionLaunching", text.clone(), cx);
            if let Some(node) = self.claims[id].node {
                super::lifecycle::taint(node, SystemTaint::KarpenterDisrupted, true, cx);
            }
        }
        if plans.is_empty() {
            for id in claims {
                self.end(id, why, cx);
            }
            return;
        }
        let mut replacements = Vec::with_capacity(plans.len());
        for plan in plans {
            let size = (plan.pods, plan.requests);
            replacements.push(self.create(plan.pool, plan.requirements, plan.types, size, cx));
        }
        self.disruption.started += 1;
        let number = self.disruption.started;
        let started = replacements.clone();
        self.disruption.commands.push(Command { number, claims, replacements, why });
        cx.after(command_timeout(self.live.len() as u64), wake(Event::CommandDue(number)));
        for made in started {
            self.launch(made, cx);
        }
    }

    fn command_text(&self, claims: &[ClaimId], why: Ending, plans: &[Plan]) -> String {
        let prices = claims.iter().filter_map(|&c| self.claims[c].launched).map(|(_, _, p)| p);
        let now: f64 = prices.sum();
        let count = if claims.len() == 1 {
            "this node".to_owned()
        } else {
            format!("{} nodes, this one among them,", claims.len())
        };
        let does = match plans {
            [] => format!("delete {count} and save ${now:.4} an hour"),
            [one] => {
                let names = one.types.iter().take(3).map(|&row| &*self.catalog.types()[row].name);
                let more = if one.types.len() > 3 { ", …" } else { "" };
                format!(
                    "replace {count} (${now:.4} an hour) by the cheapest of {} types: {}{more}",
                    one.types.len(),
                    names.collect::<Vec<_>>().join(", ")
                )
            }
            several => format!("replace {count} by {} nodes", several.len()),
        };
        format!("{}: {does}", why.text())
    }

    /// Commands whose replacements are all initialised go on.
    pub(super) fn replacement_ready(&mut self, cx: &mut Cx<'_>) {
        let claims = &self.claims;
        let done = |c: &Command| c.replacements.iter().all(|&r| claims[r].is_initialized());
        if !self.disruption.commands.iter().any(done) {
            return;
        }
        let (ready, waiting) =
            core::mem::take(&mut self.disruption.commands).into_iter().partition(done);
        self.disruption.commands = waiting;
        let ready: Vec<Command> = ready;
        for command in ready {
            // The pods that come are expected: the new nodes are left alone meanwhile.
            let until = cx.now() + Self::rules(cx).options.nomination_window();
            for made in command.replacements {
                self.claims[made].nominated_until = until;
            }
            for id in command.claims {
                self.end(id, command.why, cx);
            }
        }
    }

    /// A NodeClaim is gone: a command that waits for it is undone.
    pub(super) fn claim_lost(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        let lost = self.disruption.commands.iter().position(|c| c.replacements.contains(&id));
        if let Some(at) = lost {
            let command = self.disruption.commands.remove(at);
            self.undo(&command, cx);
        }
    }

    pub(super) fn command_due(&mut self, number: u32, cx: &mut Cx<'_>) {
        let late = self.disruption.commands.iter().position(|c| c.number == number);
        if let Some(at) = late {
            let command = self.disruption.commands.remove(at);
            self.undo(&command, cx);
        }
    }

    fn undo(&mut self, command: &Command, cx: &mut Cx<'_>) {
        for &id in &command.claims {
            self.claims[id].marked = false;
            let text = "a replacement could not be had in time: the nodes stay".to_owned();
            self.note(id, "DisruptionTerminated", text, cx);
            if let Some(node) = self.claims[id].node.filter(|_| self.claims[id].deleting.is_none())
            {
                super::lifecycle::taint(node, SystemTaint::KarpenterDisrupted, false, cx);
            }
        }
        self.disruption.touch();
    }
}
