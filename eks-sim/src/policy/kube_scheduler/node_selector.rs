//! Node selectors: terms over labels and the node's name.
//!
//! Upstream: kubernetes v1.34.1,
//! `component-helpers/scheduling/corev1/nodeaffinity/nodeaffinity.go`.
//! Differences: a term that upstream cannot parse never matches (upstream logs the error and the
//! plugins treat it as no match).

use super::labels::Labels;
use crate::k8s::{self, NodeSelectorRequirement, NodeSelectorTerm};
use crate::units::{Symbol, Symbols};
use smallvec::SmallVec;

/// One compiled term; all parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeTerm {
    /// Some expression, or some field, cannot be parsed: matches nothing.
    bad_expression: bool,
    bad_field: bool,
    expressions: Vec<NodeExpression>,
    /// `metadata.name` In (true) or NotIn (false) one name.
    names: SmallVec<[(bool, Symbol); 1]>,
}

/// One compiled expression on a node's labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum NodeExpression {
    In(Symbol, SmallVec<[Symbol; 2]>),
    NotIn(Symbol, SmallVec<[Symbol; 2]>),
    Exists(Symbol),
    DoesNotExist(Symbol),
    Gt(Symbol, i64),
    Lt(Symbol, i64),
}

impl NodeExpression {
    fn new(e: &NodeSelectorRequirement, symbols: &mut Symbols) -> Option<Self> {
        let key = symbols.intern(&e.key);
        let values: SmallVec<[Symbol; 2]> = e.values.iter().map(|v| symbols.intern(v)).collect();
        let number = || match e.values.as_slice() {
            [one] => one.parse::<i64>().ok(),
            _ => None,
        };
        match e.operator.as_str() {
            "In" if !values.is_empty() => Some(Self::In(key, values)),
            "NotIn" if !values.is_empty() => Some(Self::NotIn(key, values)),
            "Exists" if values.is_empty() => Some(Self::Exists(key)),
            "DoesNotExist" if values.is_empty() => Some(Self::DoesNotExist(key)),
            "Gt" => number().map(|n| Self::Gt(key, n)),
            "Lt" => number().map(|n| Self::Lt(key, n)),
            _ => None,
        }
    }
    fn matches(&self, labels: &Labels, symbols: &Symbols) -> bool {
        let number = |k: Symbol| labels.get(k).and_then(|v| symbols.text(v).parse::<i64>().ok());
        match self {
            Self::In(k, values) => labels.get(*k).is_some_and(|v| values.contains(&v)),
            Self::NotIn(k, values) => labels.get(*k).is_none_or(|v| !values.contains(&v)),
            Self::Exists(k) => labels.get(*k).is_some(),
            Self::DoesNotExist(k) => labels.get(*k).is_none(),
            Self::Gt(k, n) => number(*k).is_some_and(|v| v > *n),
            Self::Lt(k, n) => number(*k).is_some_and(|v| v < *n),
        }
    }
}

impl NodeTerm {
    /// Compiles a term.
    pub fn new(term: &NodeSelectorTerm, symbols: &mut Symbols) -> Self {
        let mut out = Self::default();
        for e in &term.match_expressions {
            match NodeExpression::new(e, symbols) {
                Some(e) => out.expressions.push(e),
                None => out.bad_expression = true,
            }
        }
        for f in &term.match_fields {
            match (f.key.as_str(), f.operator.as_str(), f.values.as_slice()) {
                ("metadata.name", op @ ("In" | "NotIn"), [name]) => {
                    out.names.push((op == "In", symbols.intern(name)));
                }
                _ => out.bad_field = true,
            }
        }
        out
    }
    /// Compiles the terms of a selector.
    pub fn all(selector: &k8s::NodeSelector, symbols: &mut Symbols) -> Vec<Self> {
        selector.node_selector_terms.iter().map(|t| Self::new(t, symbols)).collect()
    }
    /// Empty or unparsable: matches nothing.
    fn never(&self) -> bool {
        let empty = self.expressions.is_empty() && self.names.is_empty();
        self.bad_expression || self.bad_field || empty
    }
    /// Puts the one name in the place of all fields.
    pub fn pin(&mut self, node: Symbol) {
        self.bad_field = false;
        self.names = SmallVec::from_slice(&[(true, node)]);
    }
    /// Whether a node of this name and these labels matches.
    #[must_use]
    pub fn matches(&self, name: Symbol, labels: &Labels, symbols: &Symbols) -> bool {
        !self.never()
            && self.names.iter().all(|&(is, n)| (n == name) == is)
            && self.expressions.iter().all(|e| e.matches(labels, symbols))
    }
    /// The names that `metadata.name In` leaves, if the term has such a field: upstream's
    /// PreFilter reads fields only and intersects them.
    #[must_use]
    pub fn named(&self) -> Option<SmallVec<[Symbol; 1]>> {
        let mut names = self.names.iter().filter(|n| n.0).map(|n| n.1);
        let first = names.next()?;
        Some(if names.all(|n| n == first) {
            SmallVec::from_slice(&[first])
        } else {
            SmallVec::new()
        })
    }
}
