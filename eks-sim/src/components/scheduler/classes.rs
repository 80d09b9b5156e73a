//! Classes of pods: one for each template, but for pods that differ from their siblings.

use super::Scheduler;
use super::volumes::{claim_name, with_claims};
use crate::engine::Cx;
use crate::k8s;
use crate::policy::kube_scheduler::ClassId;
use crate::units::Id;
use crate::world::PodId;

impl Scheduler {
    pub(super) fn class_of(&mut self, pod: PodId, cx: &Cx<'_>) -> Option<ClassId> {
        let p = cx.api().pods.get(pod)?;
        let template = &cx.model().templates[p.template];
        let (labels, owner) = (&template.object.metadata.labels, template.owner.as_ref());
        let own_claims = template.claims.iter().any(|c| c.per_pod);
        if !template.daemon && !own_claims {
            let slot = match p.shape {
                Some(shape) => {
                    let least = self.shape_classes.len().max(shape.index() + 1);
                    self.shape_classes.resize(least, None);
                    &mut self.shape_classes[shape.index()]
                }
                None => &mut self.classes[p.template.index()],
            };
            if slot.is_none() {
                let spec = &cx.api().object_of(p, cx.model()).spec;
                *slot = Some(self.cache.class(&template.namespace, labels, owner, spec));
            }
            return *slot;
        }
        let key = (p.template, p.ordinal, p.shape.map_or(u32::MAX, Id::raw));
        if let Some(&class) = self.own_classes.get(&key) {
            return Some(class);
        }
        let mut spec = cx.api().object_of(p, cx.model()).spec.clone();
        if template.daemon {
            let node = cx.api().nodes.get(Id::new(p.ordinal))?;
            spec = pinned(&spec, node.name());
        }
        if own_claims {
            spec = with_claims(&spec, pod, cx);
            for (i, claim) in template.claims.iter().enumerate().filter(|(_, c)| c.per_pod) {
                let name = claim_name(pod, i, cx);
                self.new_claim(&template.namespace, &name, claim);
            }
        }
        let class = self.cache.class(&template.namespace, labels, owner, &spec);
        self.own_classes.insert(key, class);
        Some(class)
    }
}

/// The pod's specification with required affinity to one node, as the DaemonSet controller writes
/// it, and the controller's automatic tolerations (already in the template).
fn pinned(spec: &k8s::PodSpec, node: &str) -> k8s::PodSpec {
    let mut spec = spec.clone();
    let field = k8s::NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: vec![node.to_owned()],
    };
    let affinity = spec.affinity.get_or_insert_with(Default::default);
    let node_affinity = affinity.node_affinity.get_or_insert_with(Default::default);
    let required = node_affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(Default::default);
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(k8s::NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = vec![field.clone()];
    }
    spec
}
