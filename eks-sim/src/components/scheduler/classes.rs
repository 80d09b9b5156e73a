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
        let spec = &cx.api().object_of(p, cx.model()).spec;
        let class = if own_claims {
            let mut spec = with_claims(spec, pod, cx);
            for (i, claim) in template.claims.iter().enumerate().filter(|(_, c)| c.per_pod) {
                let name = claim_name(pod, i, cx);
                self.new_claim(&template.namespace, &name, claim);
            }
            if template.daemon {
                spec = pinned(&spec, cx.api().nodes.get(Id::new(p.ordinal))?.name());
            }
            self.cache.class(&template.namespace, labels, owner, &spec)
        } else {
            let node = cx.api().nodes.get(Id::new(p.ordinal))?;
            // All pods of the template are equal but for the node.
            let cache = &mut self.cache;
            let key = (p.template, p.shape.map_or(u32::MAX, Id::raw));
            let lowered = self.daemon_classes.entry(key).or_insert_with(|| {
                Box::new(cache.lowered(&template.namespace, labels, owner, spec))
            });
            cache.pinned_class(lowered, node.name())
        };
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

#[cfg(test)]
mod tests {
    use super::pinned;
    use crate::k8s::PodSpec;
    use crate::policy::kube_scheduler::{Cache, Profile};
    use serde_json::{Value, json};

    /// The short way gives the class of the specification that the DaemonSet controller writes.
    #[test]
    fn a_pinned_class_is_that_of_the_pinned_specification() {
        let required = |terms: Value| {
            json!({"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}
            }})
        };
        let linux = json!({"key": "os", "operator": "In", "values": ["linux"]});
        let unreadable = json!({"key": "os", "operator": "Near", "values": ["linux"]});
        let field = json!({"key": "metadata.name", "operator": "In", "values": ["other"]});
        let bad_field = json!({"key": "metadata.uid", "operator": "In", "values": ["x"]});
        for affinity in [
            Value::Null,
            required(json!([])),
            required(json!([{}])),
            required(json!([{"matchExpressions": [linux]}, {"matchFields": [field]}])),
            required(json!([{"matchFields": [bad_field]}])),
            required(json!([{"matchExpressions": [unreadable]}])),
        ] {
            let spec = json!({"containers": [{"name": "c"}], "affinity": affinity});
            let spec: PodSpec = serde_json::from_value(spec).expect("a specification");
            let mut cache = Cache::new(Profile::default());
            let labels = Default::default();
            let template = cache.lowered("kube-system", &labels, None, &spec);
            let short = cache.pinned_class(&template, "n1");
            let written = pinned(&spec, "n1");
            assert_eq!(short, cache.class("kube-system", &labels, None, &written), "{spec:?}");
        }
    }
}
