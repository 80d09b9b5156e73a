//! StatefulSets: ordered pods with stable names, rolling update from the highest ordinal down.

use super::{Workloads, available, wake};
use crate::engine::Cx;
use crate::k8s::StatefulSetSpec;
use crate::policy::workloads::{
    PodPhase, StatefulAction, StatefulPod, StatefulRules, stateful_sync,
};
use crate::units::{Id, SimTime};
use crate::world::{Client, Phase, PodId, Reason, Request, Set};

impl Workloads {
    pub(super) fn sync_stateful_set(
        &mut self,
        set: Id<Set>,
        spec: &StatefulSetSpec,
        cx: &mut Cx<'_>,
    ) {
        if !self.state_of(set).is_met() {
            // As upstream's "monotonic" loop: one step at a time, seen before the next.
            return;
        }
        let workload = cx.api().sets[set].workload;
        let mut rules = StatefulRules::lower(spec, cx.model().minor_version);
        rules.replicas = cx.api().workloads[workload].replicas as i32;
        let mut again: Option<SimTime> = None;
        let pods = look(set, &mut again, cx);
        let views: Vec<StatefulPod> = pods.iter().map(|(p, _)| *p).collect();
        let (mut fresh, mut old) = (Vec::new(), Vec::new());
        for action in stateful_sync(&rules, &views) {
            match action {
                StatefulAction::Create { ordinal, updated } => {
                    let list = if updated { &mut fresh } else { &mut old };
                    list.push(ordinal.max(0).unsigned_abs());
                }
                StatefulAction::Delete { ordinal } => {
                    if let Some(&(p, id)) = pods.iter().find(|(p, _)| p.ordinal == ordinal) {
                        let outdated = !p.updated && ordinal < rules.replicas;
                        let reason = if outdated { Reason::RolledOut } else { Reason::ScaledDown };
                        self.delete(id, reason, Client::StatefulSet, cx);
                    }
                }
            }
        }
        for ordinal in old {
            self.create_previous(set, ordinal, Client::StatefulSet, cx);
        }
        if !fresh.is_empty() {
            self.create(set, fresh, Client::StatefulSet, cx);
        }
        let done = views.len() as i32 == rules.replicas
            && views.iter().all(|p| p.updated && p.available && !p.terminating);
        if done && cx.api().sets[set].previous.is_some() {
            cx.submit(Client::StatefulSet, Request::CompleteUpdate { set });
        }
        if let Some(at) = again {
            cx.at(at, wake(super::Event::SyncSet(set)));
        }
    }
}

fn look(set: Id<Set>, again: &mut Option<SimTime>, cx: &Cx<'_>) -> Vec<(StatefulPod, PodId)> {
    let row = &cx.api().sets[set];
    let min_ready = cx.api().workloads[row.workload].min_ready(cx.model());
    let mut pods: Vec<(StatefulPod, PodId)> = row
        .pods
        .iter()
        .filter_map(|&id| cx.api().pods.get(id).map(|p| (id, p)))
        .map(|(id, p)| {
            let view = StatefulPod {
                ordinal: p.ordinal as i32,
                phase: match p.phase {
                    Phase::Pending => PodPhase::Pending,
                    Phase::Running => PodPhase::Running,
                    Phase::Succeeded => PodPhase::Succeeded,
                    Phase::Failed => PodPhase::Failed,
                },
                available: available(p, min_ready, cx.now(), again),
                terminating: p.is_terminating(),
                updated: p.template == row.template,
            };
            (view, id)
        })
        .collect();
    pods.sort_by_key(|(p, _)| p.ordinal);
    pods
}
