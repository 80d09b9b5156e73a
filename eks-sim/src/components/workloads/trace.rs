//! Pods of a trace: created at their arrival, each in the set of its shape.

use super::{Event, Workloads, wake};
use crate::engine::Cx;
use crate::units::Id;
use crate::world::model::WorkloadKind;
use crate::world::{Client, Request};

impl Workloads {
    /// Notes the sets of the shapes and puts the first arrival on the agenda.
    pub(super) fn start_trace(&mut self, cx: &mut Cx<'_>) {
        let Some(trace) = cx.model().trace.as_ref() else { return };
        self.trace_sets = vec![Id::new(0); cx.model().workloads.len()];
        for (_, row) in cx.api().workloads.iter() {
            if let (WorkloadKind::Trace, Some(&set)) = (row.kind(cx.model()), row.sets.first()) {
                self.trace_sets[row.model.index()] = set;
            }
        }
        if let Some(first) = trace.pods.first() {
            cx.at(first.at, wake(Event::Trace(0)));
        }
    }

    /// Pods of the trace that arrive now; the next arrival is put on the agenda.
    pub(super) fn trace(&mut self, from: u32, cx: &mut Cx<'_>) {
        let Some(trace) = cx.model().trace.as_ref() else { return };
        let mut at = from;
        while let Some(pod) = trace.pods.get(at as usize) {
            if pod.at > cx.now() {
                cx.at(pod.at, wake(Event::Trace(at)));
                return;
            }
            self.trace_pod(at, cx);
            at += 1;
        }
    }

    /// Asks for the pod with this number.
    pub(super) fn trace_pod(&mut self, at: u32, cx: &mut Cx<'_>) {
        let Some(pod) = cx.model().trace.as_ref().and_then(|t| t.pods.get(at as usize)) else {
            return;
        };
        let set = self.trace_sets[pod.workload.index()];
        cx.submit(Client::User, Request::CreatePod { set, ordinal: at, previous: false });
    }
}
