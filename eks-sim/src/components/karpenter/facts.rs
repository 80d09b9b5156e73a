//! What the disruption loop knows of a node's pods, kept until something about them changes.

use super::Karpenter;
use super::kept::Kept;
use super::lifecycle::DO_NOT_DISRUPT;
use super::state::{ClaimId, is_reschedulable};
use crate::engine::Cx;
use crate::policy::karpenter::consolidation::{eviction_cost, reschedule_cost};
use crate::policy::karpenter::lifecycle::do_not_disrupt;
use crate::policy::karpenter::solve::Pending;
use crate::units::Id;
use crate::world::model::BudgetModel;
use crate::world::{Model, PodId};

/// What disruption reads of a pod's template.
#[derive(Clone, Debug)]
pub(super) struct TemplateFacts {
    eviction_cost: f64,
    /// The annotation that protects its pods.
    mark: Option<String>,
    /// A budget that covers its pods, and whether there are more.
    covered: Option<(Id<BudgetModel>, bool)>,
}

/// By template.
pub(super) fn template_facts(model: &Model) -> Vec<TemplateFacts> {
    let mut out: Vec<TemplateFacts> = model
        .templates
        .iter()
        .map(|(_, t)| {
            let annotations = &t.object.metadata.annotations;
            let deletion = annotations.get("controller.kubernetes.io/pod-deletion-cost");
            TemplateFacts {
                eviction_cost: eviction_cost(deletion.map(String::as_str), Some(t.priority)),
                mark: annotations.get(DO_NOT_DISRUPT).cloned(),
                covered: None,
            }
        })
        .collect();
    for (budget, description) in model.budgets.iter() {
        for template in &description.templates {
            let facts = &mut out[template.index()].covered;
            *facts = match *facts {
                None => Some((budget, false)),
                Some((first, more)) => Some((first, more || first != budget)),
            };
        }
    }
    out
}

/// A node's pods.
#[derive(Clone, Debug, Default)]
pub(super) struct PodFacts {
    /// Version of the node when this was read; none if it must be read anew.
    read: Option<u32>,
    /// Pods that would need another place, those that no round understands too.
    all: Vec<PodId>,
    /// Pods that would need another place.
    pub(super) pods: Vec<PodId>,
    /// The same, as a round sees them.
    pub(super) pending: Vec<Pending<'static>>,
    /// Sum of the costs of evicting them.
    pub(super) eviction_costs: f64,
    /// Cost of moving them.
    pub(super) reschedule_cost: f64,
    /// Some are annotated.
    marked: bool,
    /// Some are covered by a budget.
    covered: bool,
}

impl Karpenter {
    /// Reads a node's pods anew if something about them changed.
    pub(super) fn renew_facts(&mut self, id: ClaimId, cx: &Cx<'_>) {
        let Some(node) = self.claims[id].node else { return };
        let row = &cx.api().nodes[node];
        if self.claims[id].facts.read == Some(row.version) {
            return;
        }
        let mut facts = core::mem::take(&mut self.claims[id].facts);
        facts.all.clear();
        facts.pods.clear();
        facts.pending.clear();
        (facts.marked, facts.covered, facts.eviction_costs) = (false, false, 0.0);
        let (mut costs, mut settled) = (Vec::with_capacity(row.pods.len()), true);
        for &pod in &row.pods {
            let Some(p) = cx.api().pods.get(pod).filter(|p| is_reschedulable(p, cx.model())) else {
                continue;
            };
            let known = &self.templates[p.template.index()];
            costs.push(known.eviction_cost);
            facts.marked |= known.mark.is_some();
            facts.covered |= known.covered.is_some();
            settled &= !cx.model().templates[p.template].claims.iter().any(|c| c.zonal);
            facts.all.push(pod);
            if let Some(pending) = self.pending_pod(pod, cx) {
                facts.pods.push(pod);
                facts.pending.push(pending);
            }
        }
        facts.eviction_costs = costs.iter().sum();
        facts.reschedule_cost = reschedule_cost(costs);
        // Where a volume is may show later.
        facts.read = settled.then_some(row.version);
        self.claims[id].facts = facts;
    }

    /// The pod that keeps a node from being disrupted: an annotated one, and one that budgets
    /// hold (`closed`: those that let no pod go).
    pub(super) fn holders(
        &self,
        id: ClaimId,
        closed: &[bool],
        cx: &Cx<'_>,
    ) -> (Option<Kept>, Option<Kept>) {
        let facts = &self.claims[id].facts;
        let live = || facts.all.iter().filter_map(|&p| Some((p, cx.api().pods.get(p)?)));
        let marked = if facts.marked {
            live().find(|(_, p)| {
                let mark = self.templates[p.template.index()].mark.as_deref();
                do_not_disrupt(mark, p.started, cx.now())
            })
        } else {
            None
        };
        let held = if facts.covered {
            live().find_map(|(pod, p)| {
                let (first, more) = self.templates[p.template.index()].covered?;
                // The eviction API refuses pods of more than one budget.
                if more {
                    return Some(Kept::SeveralPdbs(pod));
                }
                closed[first.index()].then_some(Kept::Pdb(pod, first))
            })
        } else {
            None
        };
        (marked.map(|(p, _)| Kept::ProtectedPod(p)), held)
    }
}
