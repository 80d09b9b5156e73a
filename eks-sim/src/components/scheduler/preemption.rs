//! What follows a failed attempt: preemption, nominations, the wait for victims.

use super::{Failure, Scheduler};
use crate::engine::{self, Cx, Stream};
use crate::policy::kube_scheduler::{
    ClassId, Plugin, PodToSchedule, Statuses, Unschedulable, preempt,
};
use crate::units::Id;
use crate::world::{Change, Client, PodId, Reason, Request};

/// What PostFilter adds to the message of a failed attempt.
#[derive(Clone, Debug)]
pub(super) enum After {
    /// Victims were found, or the profile does not preempt.
    Nothing,
    /// No pod of a lower priority exists; the words are worked out when somebody asks.
    NobodyLower {
        /// Nodes whose refusal preemption could have changed.
        tried: u32,
    },
    /// Why preemption does not help.
    Refused(String),
}

impl Scheduler {
    pub(super) fn unschedulable(
        &mut self,
        pod: PodId,
        asked: &PodToSchedule,
        mut failed: Box<Unschedulable>,
        id: u64,
        cx: &mut Cx<'_>,
    ) {
        let now = cx.now();
        let slot = asked.key as usize;
        let preempts = self.cache.class_has(asked.class, Plugin::DefaultPreemption);
        let (victims, after) = if failed.nodes == 0 || !preempts {
            (Vec::new(), After::Nothing)
        } else if self.may_preempt(asked.class) {
            match self.preempt(pod, asked, &failed, id, cx) {
                Ok(victims) => (victims, After::Nothing),
                Err(why) => (Vec::new(), After::Refused(why)),
            }
        } else {
            (Vec::new(), After::NobodyLower { tried: failed.statuses.resolvable() })
        };
        self.queue.park(asked.key, failed.rejectors, now, &self.cache);
        if !victims.is_empty() {
            // The pod is held back until the deletions of its victims are under way.
            self.queue.set_preempting(asked.key, true);
            self.preempting.push((pod, victims));
        }
        if self.failures.len() <= slot {
            self.failures.resize(slot + 1, None);
        }
        // Only the counts are told later.
        failed.statuses = Statuses::default();
        self.failures[slot] = Some(Failure { pod, asked: *asked, failed, after });
        cx.emit(Change::PodUnschedulable(pod));
    }

    /// Nothing of a lower priority exists: preemption cannot help, as upstream finds by looking.
    fn may_preempt(&self, class: ClassId) -> bool {
        self.lowest_priority < self.cache.class_info(class).priority
    }

    /// Nominates a node and asks for the deletion of its victims; returns those that are not yet
    /// being deleted, or upstream's words when nobody is preempted.
    fn preempt(
        &mut self,
        pod: PodId,
        asked: &PodToSchedule,
        failed: &Unschedulable,
        id: u64,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<PodId>, String> {
        let now = cx.now();
        for (row, (number, _)) in self.budgets.iter_mut().zip(cx.model().budgets.iter()) {
            let status = cx.api().budget_status(number, cx.model(), now);
            row.set_allowed(status.allowed.into());
        }
        let key = engine::draws::key(&[id, now.nanos()]);
        let mut draw = |n: u32| cx.pick(Stream::PreemptionOffset, key, n);
        let plan = match preempt(&self.cache, asked, failed, &self.budgets, &mut draw) {
            Ok(plan) => plan,
            Err(no) => {
                if no.clears_nomination && self.cache.nomination(asked.key).is_some() {
                    self.cache.clear_nomination(asked.key);
                    cx.submit(Client::Scheduler, Request::Nominate { pod, node: None });
                }
                return Err(no.message);
            }
        };
        self.cache.nominate(asked.key, asked.class, plan.node);
        cx.submit(Client::Scheduler, Request::Nominate { pod, node: Some(Id::new(plan.node)) });
        for lower in plan.denominated {
            self.cache.clear_nomination(lower);
            if let Some(Some(k)) = self.known.get(lower as usize) {
                cx.submit(Client::Scheduler, Request::Nominate { pod: k.pod, node: None });
            }
        }
        let mut victims = Vec::with_capacity(plan.victims.len());
        for victim in plan.victims {
            let Some(Some(k)) = self.known.get(victim as usize) else { continue };
            let going = cx.api().pods.get(k.pod).is_none_or(|p| p.is_terminating());
            self.cache.mark_terminating(victim, true);
            if !going {
                let request = Request::DeletePod { pod: k.pod, reason: Reason::Preempted };
                cx.submit(Client::Scheduler, request);
                victims.push(k.pod);
            }
        }
        Ok(victims)
    }

    /// A pod is being deleted or gone: preemptors that waited for it alone are let go.
    pub(super) fn victim_goes(&mut self, victim: PodId) {
        if self.preempting.is_empty() {
            return;
        }
        for (_, victims) in &mut self.preempting {
            victims.retain(|&v| v != victim);
        }
        let queue = &mut self.queue;
        self.preempting.retain(|(pod, victims)| {
            if victims.is_empty() {
                queue.set_preempting(pod.slot(), false);
            }
            !victims.is_empty()
        });
    }
}
