//! Node repair (feature gate NodeRepair): nodes that stay unhealthy are replaced.

use super::state::{ClaimId, Ending};
use super::{Event, Karpenter, wake};
use crate::engine::Cx;
use crate::policy::karpenter::lifecycle::repair_allowed;
use crate::units::Span;
use crate::world::NodeCondition;

/// A repair that the NodePool's other unhealthy nodes forbid is tried again after this time.
const AGAIN: Span = Span::from_secs(300);

impl Karpenter {
    /// Notes since when a registered node is unhealthy.
    pub(super) fn watch_health(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        let Some(node) = self.claims[id].node else { return };
        let ready = cx.api().nodes[node].condition == NodeCondition::Ready;
        let claim = &mut self.claims[id];
        if ready {
            claim.unhealthy = None;
        } else if claim.unhealthy.is_none() && claim.is_initialized() {
            claim.unhealthy = Some(cx.now());
            if Self::rules(cx).options.feature_gates.node_repair {
                let wait = cx.model().settings.karpenter.repair_toleration;
                cx.after(wait, wake(Event::Repair(id)));
            }
        }
    }

    /// The toleration may be over: the node goes by force, unless too many are ill.
    pub(super) fn repair(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        let claim = &self.claims[id];
        let wait = cx.model().settings.karpenter.repair_toleration;
        let due = claim.unhealthy.is_some_and(|since| since + wait <= cx.now());
        if !due || claim.gone || claim.deleting.is_some() {
            return;
        }
        let of_pool = || {
            let mine = self.live.iter().map(|&c| &self.claims[c]);
            mine.filter(|c| c.pool == claim.pool && c.node.is_some())
        };
        let ill = of_pool().filter(|c| c.unhealthy.is_some()).count() as u64;
        if !repair_allowed(ill, of_pool().count() as u64) {
            cx.after(AGAIN, wake(Event::Repair(id)));
            return;
        }
        self.end(id, Ending::Unhealthy, cx);
        // Repair does not wait for pods that cannot be moved.
        self.claims[id].deadline = cx.now();
    }
}
