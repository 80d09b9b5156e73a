//! What pods ask of a node, level by level as preferences are relaxed.
//!
//! Upstream: karpenter pkg/controllers/provisioning/scheduling/preferences.go and
//! pkg/scheduling/requirements.go (NewPodRequirements). Differences: each relaxation is
//! prepared once per class instead of editing a copy of each pod.

use super::super::options::PreferencePolicy;
use super::super::requirements::{Requirement, RequirementError, Requirements};
use crate::k8s::{
    LabelSelector, LabelSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec,
    ResourceList, StringMap, Taint, Toleration, TopologySpreadConstraint,
};
use crate::policy::cluster_autoscaler::requests::pod_requests;
use crate::units::Quantity;

/// A port of the node: number, protocol and address.
pub type HostPort = (i32, String, String);

/// A rule over topology domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyTerm {
    /// Label that makes a domain.
    pub key: String,
    /// Namespaces whose pods count; empty is all.
    pub namespaces: Vec<String>,
    /// Pods that count.
    pub selector: LabelSelector,
    /// The rule.
    pub kind: TopologyKind,
}

/// Kinds of topology rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyKind {
    /// Even spread.
    Spread {
        /// Largest difference.
        max_skew: i32,
        /// Domains below which the minimum counts as zero.
        min_domains: Option<i32>,
    },
    /// Where a matching pod is.
    Affinity,
    /// Where none is.
    AntiAffinity,
}

impl TopologyTerm {
    /// Whether a pod with these labels counts.
    #[must_use]
    pub fn selects(&self, namespace: &str, labels: &StringMap) -> bool {
        (self.namespaces.is_empty() || self.namespaces.iter().any(|n| n == namespace))
            && self.selector.matches(labels)
    }
}

/// What a pod asks for at one level of relaxation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// On node labels.
    pub requirements: Requirements,
    /// On other pods.
    pub topology: Vec<TopologyTerm>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
}

/// Pods with the same specification, labels and namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodClass {
    /// Namespace.
    pub namespace: String,
    /// Labels.
    pub labels: StringMap,
    /// Requests, with `pods: 1`.
    pub requests: ResourceList,
    /// Ports on the node.
    pub host_ports: Vec<HostPort>,
    /// From all preferences to none; never empty.
    pub levels: Vec<Constraints>,
}

impl PodClass {
    /// Lowers a pod's specification; `volumes` are requirements of its bound volumes.
    ///
    /// # Errors
    /// When a node affinity expression is malformed.
    pub fn new(
        namespace: &str,
        labels: &StringMap,
        spec: &PodSpec,
        volumes: &Requirements,
        policy: PreferencePolicy,
    ) -> Result<Self, RequirementError> {
        let mut requests = pod_requests(spec);
        requests.insert("pods".to_owned(), Quantity::from_units(1));
        let containers = spec.containers.iter().chain(&spec.init_containers);
        let host_ports = containers
            .flat_map(|c| &c.ports)
            .filter(|port| port.host_port > 0)
            .map(|port| {
                let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
                (port.host_port, protocol, port.host_ip.clone().unwrap_or_default())
            })
            .collect();
        let mut draft = Draft::new(namespace, labels, spec, policy);
        let mut levels = vec![draft.constraints(volumes)?];
        while draft.relax() {
            levels.push(draft.constraints(volumes)?);
        }
        levels.dedup();
        let (namespace, labels) = (namespace.to_owned(), labels.clone());
        Ok(Self { namespace, labels, requests, host_ports, levels })
    }

    /// Whether some level has a topology rule.
    #[must_use]
    pub fn has_topology(&self) -> bool {
        self.levels.iter().any(|level| !level.topology.is_empty())
    }
}

/// A specification while its preferences are relaxed one by one.
struct Draft<'a> {
    namespace: &'a str,
    labels: &'a StringMap,
    spec: &'a PodSpec,
    required_terms: Vec<&'a NodeSelectorTerm>,
    preferred_terms: Vec<(i32, &'a NodeSelectorTerm)>,
    preferred_affinity: Vec<(i32, &'a PodAffinityTerm)>,
    preferred_anti_affinity: Vec<(i32, &'a PodAffinityTerm)>,
    spread_anyway: Vec<&'a TopologySpreadConstraint>,
    tolerate_preferred: bool,
}

impl<'a> Draft<'a> {
    fn new(
        namespace: &'a str,
        labels: &'a StringMap,
        spec: &'a PodSpec,
        policy: PreferencePolicy,
    ) -> Self {
        let affinity = spec.affinity.as_ref();
        let node = affinity.and_then(|a| a.node_affinity.as_ref());
        let required =
            node.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
        let mut draft = Self {
            namespace,
            labels,
            spec,
            required_terms: required.into_iter().flat_map(|r| &r.node_selector_terms).collect(),
            preferred_terms: Vec::new(),
            preferred_affinity: Vec::new(),
            preferred_anti_affinity: Vec::new(),
            spread_anyway: Vec::new(),
            tolerate_preferred: policy == PreferencePolicy::Ignore,
        };
        if policy == PreferencePolicy::Ignore {
            return draft;
        }
        if let Some(node) = node {
            let list = &node.preferred_during_scheduling_ignored_during_execution;
            draft.preferred_terms = list.iter().map(|p| (p.weight, &p.preference)).collect();
        }
        let weighted = |list: &'a [crate::k8s::WeightedPodAffinityTerm]| {
            list.iter().map(|w| (w.weight, &w.pod_affinity_term)).collect::<Vec<_>>()
        };
        if let Some(pod) = affinity.and_then(|a| a.pod_affinity.as_ref()) {
            draft.preferred_affinity =
                weighted(&pod.preferred_during_scheduling_ignored_during_execution);
        }
        if let Some(pod) = affinity.and_then(|a| a.pod_anti_affinity.as_ref()) {
            draft.preferred_anti_affinity =
                weighted(&pod.preferred_during_scheduling_ignored_during_execution);
        }
        draft.preferred_terms.sort_by_key(|(weight, _)| core::cmp::Reverse(*weight));
        draft.preferred_affinity.sort_by_key(|(weight, _)| core::cmp::Reverse(*weight));
        draft.preferred_anti_affinity.sort_by_key(|(weight, _)| core::cmp::Reverse(*weight));
        let anyway = |c: &&TopologySpreadConstraint| c.when_unsatisfiable == "ScheduleAnyway";
        draft.spread_anyway = spec.topology_spread_constraints.iter().filter(anyway).collect();
        draft
    }

    /// Drops one preference; whether there was one.
    fn relax(&mut self) -> bool {
        if self.required_terms.len() > 1 {
            self.required_terms.remove(0);
        } else if !self.preferred_affinity.is_empty() {
            self.preferred_affinity.remove(0);
        } else if !self.preferred_anti_affinity.is_empty() {
            self.preferred_anti_affinity.remove(0);
        } else if !self.preferred_terms.is_empty() {
            self.preferred_terms.remove(0);
        } else if !self.spread_anyway.is_empty() {
            self.spread_anyway.remove(0);
        } else if !self.tolerate_preferred {
            self.tolerate_preferred = true;
        } else {
            return false;
        }
        true
    }

    fn constraints(&self, volumes: &Requirements) -> Result<Constraints, RequirementError> {
        let mut requirements = Requirements::from_labels(&self.spec.node_selector);
        let terms = self.required_terms.first().copied();
        for term in terms.into_iter().chain(self.preferred_terms.first().map(|&(_, term)| term)) {
            requirements.add_all(&Requirements::from_expressions(&term.match_expressions)?);
            for field in term.match_fields.iter().filter(|f| f.key == "metadata.name") {
                let name = Requirement::new(&field.operator, &field.values)?;
                requirements.add(super::super::requirements::HOSTNAME, name);
            }
        }
        requirements.add_all(volumes);
        let mut tolerations = self.spec.tolerations.clone();
        if self.tolerate_preferred {
            tolerations.push(Toleration {
                operator: "Exists".to_owned(),
                effect: "PreferNoSchedule".to_owned(),
                ..Toleration::default()
            });
        }
        Ok(Constraints { requirements, topology: self.topology(), tolerations })
    }

    fn topology(&self) -> Vec<TopologyTerm> {
        let hard = self
            .spec
            .topology_spread_constraints
            .iter()
            .filter(|c| c.when_unsatisfiable != "ScheduleAnyway");
        let mut out: Vec<TopologyTerm> = hard
            .chain(self.spread_anyway.iter().copied())
            .map(|constraint| self.spread(constraint))
            .collect();
        let affinity = self.spec.affinity.as_ref();
        let near = affinity.and_then(|a| a.pod_affinity.as_ref());
        let far = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
        let required = |p: &'a crate::k8s::PodAffinity| {
            p.required_during_scheduling_ignored_during_execution.iter()
        };
        let near = near.into_iter().flat_map(required);
        for term in near.chain(self.preferred_affinity.iter().map(|&(_, term)| term)) {
            out.push(self.term(term, TopologyKind::Affinity));
        }
        let far = far.into_iter().flat_map(required);
        for term in far.chain(self.preferred_anti_affinity.iter().map(|&(_, term)| term)) {
            out.push(self.term(term, TopologyKind::AntiAffinity));
        }
        out
    }

    fn spread(&self, constraint: &TopologySpreadConstraint) -> TopologyTerm {
        let mut selector = selector_or_nothing(constraint.label_selector.as_ref());
        self.merge_keys(&mut selector, &constraint.match_label_keys, "In");
        TopologyTerm {
            key: constraint.topology_key.clone(),
            namespaces: vec![self.namespace.to_owned()],
            selector,
            kind: TopologyKind::Spread {
                max_skew: constraint.max_skew,
                min_domains: constraint.min_domains,
            },
        }
    }

    fn term(&self, term: &PodAffinityTerm, kind: TopologyKind) -> TopologyTerm {
        let mut selector = selector_or_nothing(term.label_selector.as_ref());
        self.merge_keys(&mut selector, &term.match_label_keys, "In");
        self.merge_keys(&mut selector, &term.mismatch_label_keys, "NotIn");
        let everywhere = term.namespace_selector.as_ref().is_some_and(LabelSelector::is_empty);
        let namespaces = if everywhere {
            Vec::new()
        } else if term.namespaces.is_empty() {
            vec![self.namespace.to_owned()]
        } else {
            term.namespaces.clone()
        };
        TopologyTerm { key: term.topology_key.clone(), namespaces, selector, kind }
    }

    fn merge_keys(&self, selector: &mut LabelSelector, keys: &[String], operator: &str) {
        for key in keys {
            if let Some(value) = self.labels.get(key) {
                selector.match_expressions.push(LabelSelectorRequirement {
                    key: key.clone(),
                    operator: operator.to_owned(),
                    values: vec![value.clone()],
                });
            }
        }
    }
}

/// An absent selector selects nothing, an empty one everything.
fn selector_or_nothing(selector: Option<&LabelSelector>) -> LabelSelector {
    selector.cloned().unwrap_or_else(|| LabelSelector {
        match_expressions: vec![LabelSelectorRequirement {
            operator: "Never".to_owned(),
            ..LabelSelectorRequirement::default()
        }],
        ..LabelSelector::default()
    })
}

/// Whether a toleration matches a taint.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let key = toleration.key.is_empty() || toleration.key == taint.key;
    let value = match toleration.operator.as_str() {
        "Exists" => true,
        _ => !toleration.key.is_empty() && toleration.value == taint.value,
    };
    effect && key && value
}

/// Whether every taint is tolerated. `PreferNoSchedule` counts too, until it is relaxed.
#[must_use]
pub fn tolerates_all(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    taints.iter().all(|taint| tolerations.iter().any(|t| tolerates(t, taint)))
}

/// Whether two host ports cannot share a node.
#[must_use]
pub fn ports_conflict(a: &HostPort, b: &HostPort) -> bool {
    let any = |address: &str| address.is_empty() || address == "0.0.0.0" || address == "::";
    a.0 == b.0 && a.1 == b.1 && (a.2 == b.2 || any(&a.2) || any(&b.2))
}
