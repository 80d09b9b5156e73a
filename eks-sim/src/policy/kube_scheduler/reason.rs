//! Why a node or a pod was refused, in kube-scheduler's words.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/types.go` (FitError) and each plugin's
//! reason constants. Differences: none in the texts.

use super::Cache;
use super::profile::Plugin;
use super::resources::ResourceId;
use crate::units::Symbol;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Preemption may help.
    Unschedulable,
    /// Preemption may not help.
    UnschedulableAndUnresolvable,
}

impl Code {
    /// Upstream's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::UnschedulableAndUnresolvable => "UnschedulableAndUnresolvable",
        }
    }
}

/// One reason; [`Reason::text`] gives upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A fixed text.
    Fixed(&'static str),
    /// A taint that is not tolerated.
    UntoleratedTaint(Symbol, Symbol),
    /// Not enough of a resource.
    Insufficient(ResourceId),
    /// Outside the node set that a PreFilter named.
    NotInNodeSet(Plugin),
    /// A text with names in it.
    Text(Arc<str>),
}

impl Reason {
    /// The reason in upstream's words.
    #[must_use]
    pub fn text(&self, cache: &Cache) -> String {
        match self {
            Self::Fixed(text) => (*text).to_owned(),
            Self::UntoleratedTaint(key, value) => {
                let symbols = cache.symbols();
                let (key, value) = (symbols.text(*key), symbols.text(*value));
                format!("node(s) had untolerated taint {{{key}: {value}}}")
            }
            Self::Insufficient(id) => format!("Insufficient {}", cache.resource_name(*id)),
            Self::NotInNodeSet(p) => format!("node(s) didn't satisfy plugin(s) [{}]", p.name()),
            Self::Text(text) => text.to_string(),
        }
    }
}

/// A plugin's refusal of a node (or of all nodes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Kind.
    pub code: Code,
    /// Who refused.
    pub plugin: Plugin,
    /// Why.
    pub reasons: SmallVec<[Reason; 1]>,
}

impl Rejection {
    /// A refusal for one fixed reason.
    #[must_use]
    pub fn fixed(plugin: Plugin, code: Code, text: &'static str) -> Self {
        Self::new(plugin, code, Reason::Fixed(text))
    }
    /// A refusal for one reason.
    #[must_use]
    pub fn new(plugin: Plugin, code: Code, reason: Reason) -> Self {
        Self { code, plugin, reasons: SmallVec::from_iter([reason]) }
    }
    /// The reasons joined as a status message.
    #[must_use]
    pub fn message(&self, cache: &Cache) -> String {
        let texts: Vec<_> = self.reasons.iter().map(|r| r.text(cache)).collect();
        texts.join(", ")
    }
}

/// Counts of reasons as upstream prints them: `3 Insufficient cpu, 9 Too many pods`, sorted as
/// text.
#[must_use]
pub fn count_text(counts: &BTreeMap<Reason, u32>, cache: &Cache) -> String {
    let mut merged: BTreeMap<String, u32> = BTreeMap::new();
    for (reason, n) in counts {
        *merged.entry(reason.text(cache)).or_default() += n;
    }
    let mut parts: Vec<_> = merged.iter().map(|(text, n)| format!("{n} {text}")).collect();
    parts.sort_unstable();
    parts.join(", ")
}
