//! What controllers have asked for and not yet seen, and slow-start batches.
//!
//! Upstream: kubernetes v1.34 `pkg/controller/controller_utils.go` (ControllerExpectations,
//! SlowStartInitialBatchSize), `pkg/controller/replicaset/replica_set.go` (slowStartBatch),
//! `client-go/util/workqueue/default_rate_limiters.go`. Differences: expectations do not expire
//! after five minutes, since no notice is lost; the work queue's bucket of 10 syncs a second is
//! not modelled.

use super::{Event, Workloads, wake};
use crate::engine::Cx;
use crate::units::{Id, Span};
use crate::world::{Client, PodId, Reason, Request, Set};

/// First wait of the work queue after an error.
const RETRY_FIRST: Span = Span::from_millis(5);
/// Longest wait of the work queue.
const RETRY_MOST: Span = Span::from_secs(1000);

/// What a controller knows of a set beside what the API server shows.
#[derive(Clone, Debug, Default)]
pub(super) struct SetState {
    /// Pods asked for (or about to be, in a later batch) and not yet seen.
    pub(super) creates: u32,
    /// Deletions asked for.
    pub(super) deletes: Vec<PodId>,
    /// Next serial number.
    serial: u32,
    /// Pods that were there when it was looked at last.
    seen: u32,
    /// Who asks.
    client: Option<Client>,
    /// Ordinals of later batches, last first.
    left: Vec<u32>,
    /// Size of the next batch.
    batch: u32,
    /// Requests of the batch without answer.
    unanswered: u32,
    /// Whether one of them was refused.
    refused: bool,
    /// Syncs in a row that ended with an error.
    errors: u32,
}

impl SetState {
    /// Whether everything asked for has been seen.
    pub(super) fn is_met(&self) -> bool {
        self.creates == 0 && self.deletes.is_empty()
    }
}

impl Workloads {
    pub(super) fn state_of(&mut self, set: Id<Set>) -> &mut SetState {
        while self.sets.len() <= set.index() {
            self.sets.push(SetState::default());
        }
        &mut self.sets[set]
    }

    /// Crosses off what has been seen.
    pub(super) fn meet_expectations(&mut self, set: Id<Set>, cx: &Cx<'_>) {
        let created = cx.api().sets[set].created;
        let s = self.state_of(set);
        let new = created.saturating_sub(s.seen);
        s.seen = created;
        s.creates = s.creates.saturating_sub(new);
        if !s.deletes.is_empty() {
            s.deletes.retain(|&p| cx.api().pods.get(p).is_some_and(|pod| !pod.is_terminating()));
        }
    }

    /// Asks for `count` pods with the next serial numbers.
    pub(super) fn create_next(
        &mut self,
        set: Id<Set>,
        count: u32,
        client: Client,
        cx: &mut Cx<'_>,
    ) {
        let s = self.state_of(set);
        let from = s.serial;
        s.serial += count;
        self.create(set, (from..from + count).collect(), client, cx);
    }

    /// Asks for pods with these ordinals, in batches.
    pub(super) fn create(
        &mut self,
        set: Id<Set>,
        mut ordinals: Vec<u32>,
        client: Client,
        cx: &mut Cx<'_>,
    ) {
        let s = self.state_of(set);
        s.creates += ordinals.len() as u32;
        ordinals.reverse();
        s.left = ordinals;
        s.batch = 1;
        s.client = Some(client);
        self.next_batch(set, cx);
    }

    /// Asks for one pod from the template before the update.
    pub(super) fn create_previous(
        &mut self,
        set: Id<Set>,
        ordinal: u32,
        client: Client,
        cx: &mut Cx<'_>,
    ) {
        let s = self.state_of(set);
        s.creates += 1;
        s.client = Some(client);
        s.unanswered += 1;
        cx.submit(client, Request::CreatePod { set, ordinal, previous: true });
    }

    fn next_batch(&mut self, set: Id<Set>, cx: &mut Cx<'_>) {
        let s = self.state_of(set);
        let Some(client) = s.client else { return };
        let size = s.batch.min(s.left.len() as u32);
        s.batch = s.batch.saturating_mul(2);
        s.unanswered += size;
        for _ in 0..size {
            let Some(ordinal) = self.state_of(set).left.pop() else { return };
            cx.submit(client, Request::CreatePod { set, ordinal, previous: false });
        }
    }

    /// The answer to a creation arrived.
    pub(super) fn answered(&mut self, set: Id<Set>, created: bool, cx: &mut Cx<'_>) {
        let s = self.state_of(set);
        s.unanswered = s.unanswered.saturating_sub(1);
        if !created {
            s.refused = true;
            s.creates = s.creates.saturating_sub(1);
        }
        if s.unanswered > 0 {
            return;
        }
        if !s.refused {
            s.errors = 0;
            if !s.left.is_empty() {
                self.next_batch(set, cx);
            }
            return;
        }
        // The batches that are left out are not waited for.
        s.creates = s.creates.saturating_sub(s.left.len() as u32);
        s.left.clear();
        s.refused = false;
        let doubled = RETRY_FIRST * (1_u64 << s.errors.min(30));
        s.errors += 1;
        cx.after(doubled.min(RETRY_MOST), wake(Event::SyncSet(set)));
    }

    /// Asks for the deletion of a pod, once.
    pub(super) fn delete(&mut self, pod: PodId, reason: Reason, client: Client, cx: &mut Cx<'_>) {
        let Some(set) = cx.api().pods.get(pod).map(|p| p.set) else { return };
        let s = self.state_of(set);
        if !s.deletes.contains(&pod) {
            s.deletes.push(pod);
            cx.submit(client, Request::DeletePod { pod, reason });
        }
    }
}
