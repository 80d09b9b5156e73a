//! Batches of pending pods, and the scheduling round at their end.

use super::state::{Claim, ClaimId, is_reschedulable};
use super::{Event, Karpenter, Promise, wake};
use crate::engine::Cx;
use crate::policy::karpenter::requirements::Requirements;
use crate::policy::karpenter::solve::Resources;
use crate::policy::karpenter::solve::{Misfit, Pending, Placement};
use crate::units::{Id, SimTime, Span};
use crate::world::karpenter::NodePoolModel;
use crate::world::{Change, PodId};
use std::sync::Arc;

impl Karpenter {
    pub(super) fn pod_pending(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some(p) = cx.api().pods.get(pod) else { return };
        // DaemonSet pods are counted as overhead; a preempting pod has its place.
        let template = &cx.model().templates[p.template];
        if template.daemon || p.node.is_some() || p.is_terminating() || p.nominated.is_some() {
            return;
        }
        self.pending.insert(pod);
        if self.in_window.insert(pod) {
            self.trigger(cx);
        }
    }

    /// Something new wants a place: the window opens or is prolonged.
    pub(super) fn trigger(&mut self, cx: &mut Cx<'_>) {
        let end = self.batcher.trigger(cx.now());
        cx.at(end, wake(Event::WindowEnds));
    }

    /// Pods that still wait ask again some time after a round.
    pub(super) fn requeue(&mut self, cx: &mut Cx<'_>) {
        if self.requeue_at > cx.now() {
            return;
        }
        self.requeue_at = SimTime::NEVER;
        self.forget_settled(cx);
        let waiting: Vec<PodId> = self.pending.iter().copied().collect();
        let mut fresh = !self.homeless_soon(cx).is_empty();
        for pod in waiting {
            fresh |= self.in_window.insert(pod);
        }
        if fresh {
            self.trigger(cx);
        }
    }

    fn forget_settled(&mut self, cx: &Cx<'_>) {
        let waits = |pod: &PodId| {
            cx.api().pods.get(*pod).is_some_and(|p| p.node.is_none() && !p.is_terminating())
        };
        self.pending.retain(waits);
    }

    pub(super) fn window_ends(&mut self, cx: &mut Cx<'_>) {
        if self.batcher.end().is_none_or(|end| end > cx.now()) {
            return;
        }
        // The round waits for the picture to be complete, and for the API.
        if !cx.cloud().api_available() || !self.is_synced() {
            cx.after(Span::from_secs(1), wake(Event::WindowEnds));
            return;
        }
        self.batcher.close(cx.now());
        self.in_window.clear();
        self.forget_settled(cx);
        self.provision(cx);
        if !self.pending.is_empty() || !self.homeless_soon(cx).is_empty() {
            self.requeue_at = cx.now() + cx.model().settings.karpenter.pod_requeue;
            cx.at(self.requeue_at, wake(Event::Requeue));
        }
    }

    /// Pods of nodes that go, which need a place elsewhere.
    pub(super) fn homeless_soon(&self, cx: &Cx<'_>) -> Vec<PodId> {
        let leaving = self.live.iter().filter(|&&c| self.claims[c].is_leaving());
        leaving
            .filter_map(|&c| self.claims[c].node)
            .flat_map(|n| cx.api().nodes[n].pods.iter().copied())
            .filter(|&p| cx.api().pods.get(p).is_some_and(|pod| is_reschedulable(pod, cx.model())))
            .collect()
    }

    /// Pending pods and those of leaving nodes, in a fixed order that means nothing.
    pub(super) fn waiting(&mut self, cx: &Cx<'_>) -> Vec<(PodId, Pending<'static>)> {
        let mut pods: Vec<PodId> = self.pending.iter().copied().collect();
        pods.extend(self.homeless_soon(cx));
        let mut keyed: Vec<(u64, PodId)> =
            pods.into_iter().filter_map(|p| Some((cx.api().pods.get(p)?.key, p))).collect();
        keyed.sort_unstable();
        keyed.into_iter().filter_map(|(_, pod)| Some((pod, self.pending_pod(pod, cx)?))).collect()
    }

    pub(super) fn pending_pod(&mut self, pod: PodId, cx: &Cx<'_>) -> Option<Pending<'static>> {
        let created = cx.api().pods.get(pod)?.created;
        let class = self.class_of(pod, cx)?;
        Some(Pending { class, created, uid: "" })
    }

    fn provision(&mut self, cx: &mut Cx<'_>) {
        self.renew_offerings(cx);
        let waiting = self.waiting(cx);
        if waiting.is_empty() {
            return;
        }
        self.update_picture(cx);
        let pods: Vec<Pending<'_>> = waiting.iter().map(|(_, p)| *p).collect();
        let solution = self.with_solver(cx, |_, solver| solver.solve(&pods, &[]));
        let until = cx.now() + Self::rules(cx).options.nomination_window();
        for placement in &solution.placements {
            if let Placement::Existing(node) = placement
                && let Some(claim) = self.picture.claim_at(*node)
            {
                self.claims[claim].nominated_until = until;
            }
        }
        let mut made = Vec::with_capacity(solution.claims.len());
        for claim in solution.claims {
            let pool = Id::new(claim.pool as u32);
            let size = (claim.pods, claim.requests);
            let id = self.create(pool, claim.requirements, claim.types, size, cx);
            self.claims[id].nominated_until = until;
            made.push(id);
        }
        for ((pod, _), placement) in waiting.iter().zip(&solution.placements) {
            let promise = match placement {
                Placement::Existing(node) => {
                    self.picture.claim_at(*node).map_or(Promise::Node, Promise::Claim)
                }
                Placement::New(claim) => Promise::Claim(made[*claim]),
                Placement::Unschedulable(reasons) => Promise::Nowhere(self.misfits(reasons)),
            };
            self.promise(*pod, promise, cx);
        }
        for id in made {
            self.launch(id, cx);
        }
    }

    /// Keeps where a pod is to go; news are told.
    fn promise(&mut self, pod: PodId, promise: Promise, cx: &mut Cx<'_>) {
        if self.promised.get(&pod) != Some(&promise) {
            self.promised.insert(pod, promise);
            cx.emit(Change::PodPromised(pod));
        }
    }

    /// Why no NodePool could hold a pod.
    fn misfits(&self, reasons: &[(usize, Misfit)]) -> String {
        let of_pods = |pool: &usize| self.pools[Id::new(*pool as u32)].replicas.is_none();
        let texts: Vec<String> = reasons
            .iter()
            .filter(|(pool, _)| of_pods(pool))
            .map(|(pool, why)| {
                let name = &self.pools[Id::new(*pool as u32)].name;
                format!("incompatible with nodepool \"{name}\", {}", why.text())
            })
            .collect();
        if texts.is_empty() { "there is no nodepool for pods".to_owned() } else { texts.join("; ") }
    }

    /// A new NodeClaim.
    pub(super) fn create(
        &mut self,
        pool: Id<NodePoolModel>,
        requirements: Requirements,
        types: Vec<usize>,
        (pods, requests): (usize, Resources),
        cx: &mut Cx<'_>,
    ) -> ClaimId {
        let serial = self.serials[pool];
        self.serials[pool] += 1;
        let model = Arc::clone(&self.pools[pool]);
        let life = model.expire_after;
        let whom = match pods {
            0 => "as static capacity".to_owned(),
            1 => "for 1 pod".to_owned(),
            n => format!("for {n} pods"),
        };
        let (name, count) = (&model.name, types.len());
        let text = format!("made {whom} in nodepool {name}, {count} instance types possible");
        let id = self.claims.push(Claim {
            pool,
            image_release: self.release_of(&model),
            name: format!("{}-{serial:05}", model.name),
            created: cx.now(),
            requirements,
            types,
            pods,
            requests,
            fleet: None,
            instance: None,
            launched: None,
            node: None,
            initialized: SimTime::NEVER,
            last_pod_event: None,
            nominated_until: SimTime::ZERO,
            marked: false,
            deleting: None,
            deadline: SimTime::NEVER,
            gone: false,
            evictions: std::collections::BTreeMap::new(),
            kept: None,
            drifted: None,
            unhealthy: None,
            notes: vec![("Created", text)],
            avoided: self.unavailable.keys().copied().collect(),
            facts: super::facts::PodFacts::default(),
            template: model,
        });
        self.live.push(id);
        cx.emit(Change::NodeClaimChanged(id.raw(), 0));
        if let Some(life) = life {
            cx.after(life, wake(Event::Expire(id)));
        }
        id
    }
}
