//! StatefulSets: ordered pods with stable names.

use super::{Workloads, available, wake};
use crate::engine::Cx;
use crate::k8s::StatefulSetSpec;
use crate::policy::workloads::{
    PodPhase, StatefulAction, StatefulPod, StatefulRules, stateful_sync,
};
use crate::units::{Id, SimTime};
use crate::world::{Client, Phase, Reason, Set};

impl Workloads {
    pub(super) fn sync_stateful_set(
        &mut self,
        set: Id<Set>,
        spec: &StatefulSetSpec,
        cx: &mut Cx<'_>,
    ) {
        let workload = cx.api().sets[set].workload;
        let mut rules = StatefulRules::lower(spec);
        rules.replicas = cx.api().workloads[workload].replicas as i32;
        let min_ready = cx.model().workloads[cx.api().workloads[workload].model].min_ready;
        let e = self.expectations_of(set);
        if e.creates > 0 || !e.deletes.is_empty() {
            // As upstream's "monotonic" loop: one step at a time, seen before the next.
            return;
        }
        let now = cx.now();
        let mut again: Option<SimTime> = None;
        let mut pods: Vec<(StatefulPod, crate::world::PodId)> = cx.api().sets[set]
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
                    available: available(p, min_ready, now, &mut again),
                    terminating: p.is_terminating(),
                    updated: true,
                };
                (view, id)
            })
            .collect();
        pods.sort_by_key(|(p, _)| p.ordinal);
        let views: Vec<StatefulPod> = pods.iter().map(|(p, _)| *p).collect();
        for action in stateful_sync(&rules, &views) {
            match action {
                StatefulAction::Create { ordinal, .. } => {
                    self.create(set, Some(ordinal.max(0) as u32), Client::StatefulSet, cx);
                }
                StatefulAction::Delete { ordinal } => {
                    if let Some(&(_, id)) = pods.iter().find(|(p, _)| p.ordinal == ordinal) {
                        self.delete(id, Reason::ScaledDown, Client::StatefulSet, cx);
                    }
                }
            }
        }
        if let Some(at) = again {
            cx.at(at, wake(super::Event::SyncSet(set)));
        }
    }
}
