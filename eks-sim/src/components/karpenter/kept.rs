//! Why nodes are left alone, remembered from the last look of the disruption loop.

use super::state::ClaimId;
use super::{Event, Karpenter};
use crate::engine::Cx;
use crate::policy::karpenter::budgets::Reason;
use crate::policy::karpenter::consolidation::NothingReason;
use crate::policy::karpenter::disruption::NotACandidate;
use crate::policy::karpenter::pass::Refusal;
use crate::units::{Id, SimTime};
use crate::world::model::BudgetModel;
use crate::world::{Change, Model, PodId};
use core::mem::discriminant;

/// Why a node was not disrupted.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kept {
    /// Its state forbids it.
    State(NotACandidate),
    /// A pod is annotated.
    ProtectedPod(PodId),
    /// A budget lets no pod go.
    Pdb(PodId, Id<BudgetModel>),
    /// A pod is covered by several budgets, which the eviction API refuses.
    SeveralPdbs(PodId),
    /// `consolidateAfter` is not over; never if there is no time.
    NotQuiet(Option<SimTime>),
    /// The NodePool's budgets allow no further node.
    Budget(Reason),
    /// A pod would have no place.
    NoPlace(PodId),
    /// The rules of consolidation: what the node costs, and the cheapest replacement.
    Rule(NothingReason, f64, Option<(usize, f64)>),
    /// What had been decided did not hold 15 s later.
    NotValid,
    /// Drifted, but its pods cannot be moved.
    DriftBlocked(PodId),
}

impl Kept {
    /// Whether both would be told in the same words, numbers aside.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::State(a), Self::State(b)) => a == b,
            (Self::Rule(a, ..), Self::Rule(b, ..)) => a == b,
            (Self::Budget(a), Self::Budget(b)) => a == b,
            (Self::Pdb(_, a), Self::Pdb(_, b)) => a == b,
            _ => discriminant(self) == discriminant(other),
        }
    }

    /// Reason of the event, as upstream has it.
    const fn event(&self) -> &'static str {
        match self {
            Self::State(_)
            | Self::ProtectedPod(_)
            | Self::Pdb(..)
            | Self::SeveralPdbs(_)
            | Self::Budget(_)
            | Self::DriftBlocked(_) => "DisruptionBlocked",
            Self::NotQuiet(_) | Self::NoPlace(_) | Self::Rule(..) | Self::NotValid => {
                "Unconsolidatable"
            }
        }
    }

    /// In Karpenter's words as far as it has some; `pod` names pods.
    fn text(&self, model: &Model, karpenter: &Karpenter, pod: &dyn Fn(PodId) -> String) -> String {
        match *self {
            Self::State(why) => why.text().to_owned(),
            Self::ProtectedPod(p) => {
                format!("pod {} has the do-not-disrupt annotation", pod(p))
            }
            Self::Pdb(p, b) => {
                let (budget, p) = (&model.budgets[b].object.metadata, pod(p));
                let namespace = budget.namespace.as_deref().unwrap_or("default");
                format!("pdb {namespace}/{} prevents pod evictions: of pod {p}", budget.name)
            }
            Self::SeveralPdbs(p) => {
                format!("pod {} is covered by more than one pdb: it cannot be evicted", pod(p))
            }
            Self::NotQuiet(None) => "consolidateAfter is Never".to_owned(),
            Self::NotQuiet(Some(at)) => {
                format!("node is not consolidatable yet: consolidateAfter is over at {at}")
            }
            Self::Budget(reason) => {
                format!("disruption budget of the nodepool is used up ({})", reason.name())
            }
            Self::NoPlace(p) => format!("not all pods would schedule: {} has no place", pod(p)),
            Self::DriftBlocked(p) => {
                format!("drifted, but not all pods would schedule: {} has no place", pod(p))
            }
            Self::NotValid => "the decision did not hold when it was validated".to_owned(),
            Self::Rule(why, price, cheapest) => {
                let mut text = why.text().to_owned();
                let shown = matches!(
                    why,
                    NothingReason::NotCheaper
                        | NothingReason::SpotToSpotDisabled
                        | NothingReason::TooFewSpotTypes
                        | NothingReason::NotBalanced
                );
                if let Some((row, new)) = cheapest.filter(|_| shown) {
                    let name = &karpenter.catalog.types()[row].name;
                    text.push_str(&format!(
                        ": it costs ${price:.4} an hour, the cheapest that would do is {name} at \
                         ${new:.4}"
                    ));
                }
                text
            }
        }
    }
}

impl Karpenter {
    /// Notes why a node stays; the first time in these words it is told.
    pub(super) fn keep(&mut self, id: ClaimId, why: Kept, cx: &mut Cx<'_>) {
        // Of a node that goes there is nothing to explain.
        if self.claims[id].is_leaving() {
            return;
        }
        let claim = &mut self.claims[id];
        let news = claim.kept.is_none_or(|known| !known.is_like(&why));
        claim.kept = Some(why);
        if let Some(node) = claim.node.filter(|_| news) {
            cx.emit(Change::NodeKept(node));
        }
    }

    /// Notes why the search refused a node.
    pub(super) fn keep_refused(&mut self, id: ClaimId, refusal: Refusal, cx: &mut Cx<'_>) {
        let pods = &self.claims[id].facts.pods;
        let why = match refusal.pod.and_then(|at| pods.get(at)) {
            Some(&pod) if refusal.why == NothingReason::PodsUnschedulable => Kept::NoPlace(pod),
            _ => Kept::Rule(refusal.why, refusal.price, refusal.cheapest),
        };
        self.keep(id, why, cx);
    }

    /// Why the node was not disrupted at the last look, if it is Karpenter's. `pod` names pods.
    #[must_use]
    pub fn why_kept(
        &self,
        node: Id<crate::world::Node>,
        model: &Model,
        pod: &dyn Fn(PodId) -> String,
    ) -> Option<(&'static str, String)> {
        let claim = &self.claims[*self.by_node.get(&node)?];
        claim.kept.map(|kept| (kept.event(), kept.text(model, self, pod)))
    }
}

/// Wakes Karpenter.
pub(super) fn wake(event: Event) -> crate::engine::Event {
    crate::engine::Event::Karpenter(event)
}
