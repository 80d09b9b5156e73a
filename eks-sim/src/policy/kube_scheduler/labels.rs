//! Interned label sets and compiled label selectors.
//!
//! Upstream: kubernetes v1.34.1, `apimachinery/pkg/labels/selector.go`.
//! Differences: none in what matches; an invalid selector is an error at compile time, as there.

use crate::k8s::{LabelSelector, StringMap};
use crate::units::{Symbol, Symbols};
use smallvec::SmallVec;

/// Labels as symbols, ordered by key symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(Box<[(Symbol, Symbol)]>);

impl Labels {
    /// Interns a map.
    pub fn new(map: &StringMap, symbols: &mut Symbols) -> Self {
        let mut pairs: Vec<_> =
            map.iter().map(|(k, v)| (symbols.intern(k), symbols.intern(v))).collect();
        pairs.sort_unstable();
        Self(pairs.into())
    }
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: Symbol) -> Option<Symbol> {
        self.0.iter().find(|p| p.0 == key).map(|p| p.1)
    }
    /// The pairs, in no meaningful order.
    #[must_use]
    pub fn pairs(&self) -> &[(Symbol, Symbol)] {
        &self.0
    }
}

/// A compiled label selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Matches nothing (an absent selector).
    Nothing,
    /// All requirements must hold; none matches everything.
    All(Vec<Requirement>),
}

/// One requirement of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// The value is one of these.
    In(Symbol, SmallVec<[Symbol; 2]>),
    /// The key is absent or its value none of these.
    NotIn(Symbol, SmallVec<[Symbol; 2]>),
    /// The key is present.
    Exists(Symbol),
    /// The key is absent.
    DoesNotExist(Symbol),
}

impl Requirement {
    /// Whether `labels` satisfy it.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::In(k, values) => labels.get(*k).is_some_and(|v| values.contains(&v)),
            Self::NotIn(k, values) => labels.get(*k).is_none_or(|v| !values.contains(&v)),
            Self::Exists(k) => labels.get(*k).is_some(),
            Self::DoesNotExist(k) => labels.get(*k).is_none(),
        }
    }
}

impl Selector {
    /// Compiles a selector; an absent one matches nothing.
    ///
    /// # Errors
    /// A text in upstream's words for an invalid requirement.
    pub fn new(selector: Option<&LabelSelector>, symbols: &mut Symbols) -> Result<Self, String> {
        let Some(selector) = selector else { return Ok(Self::Nothing) };
        let mut all = Vec::new();
        for (key, value) in &selector.match_labels {
            check_value(key, 0, value)?;
            all.push(equal(symbols.intern(key), symbols.intern(value)));
        }
        for e in &selector.match_expressions {
            let key = symbols.intern(&e.key);
            if matches!(e.operator.as_str(), "In" | "NotIn") {
                if e.values.is_empty() {
                    return Err(empty_values(&e.key));
                }
                for (i, v) in e.values.iter().enumerate() {
                    check_value(&e.key, i, v)?;
                }
            }
            all.push(match e.operator.as_str() {
                "In" => Requirement::In(key, intern_all(&e.values, symbols)),
                "NotIn" => Requirement::NotIn(key, intern_all(&e.values, symbols)),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::DoesNotExist(key),
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            });
        }
        Ok(Self::All(all))
    }
    /// A selector of pairs that must all be equal.
    #[must_use]
    pub fn from_pairs(pairs: &[(Symbol, Symbol)]) -> Self {
        Self::All(pairs.iter().map(|&(k, v)| equal(k, v)).collect())
    }
    /// Whether `labels` are selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::Nothing => false,
            Self::All(all) => all.iter().all(|r| r.matches(labels)),
        }
    }
    /// Whether it has no requirement (and so matches everything).
    #[must_use]
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::All(all) if all.is_empty())
    }
    /// Adds that `key` must equal `value` (a selector of nothing stays one).
    pub fn require(&mut self, key: Symbol, value: Symbol) {
        if let Self::All(all) = self {
            all.push(equal(key, value));
        }
    }
    /// A pair that every selected label set has, if the selector names one.
    #[must_use]
    pub fn a_required_pair(&self) -> Option<(Symbol, Symbol)> {
        let Self::All(all) = self else { return None };
        all.iter().find_map(|r| match r {
            Requirement::In(k, values) if values.len() == 1 => Some((*k, values[0])),
            _ => None,
        })
    }
}

fn intern_all(values: &[String], symbols: &mut Symbols) -> SmallVec<[Symbol; 2]> {
    values.iter().map(|v| symbols.intern(v)).collect()
}

fn equal(key: Symbol, value: Symbol) -> Requirement {
    Requirement::In(key, SmallVec::from_slice(&[value]))
}

fn empty_values(key: &str) -> String {
    format!(
        "values[{key}]: Invalid value: null: for 'in', 'notin' operators, values set can't be empty"
    )
}

fn check_value(key: &str, index: usize, value: &str) -> Result<(), String> {
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    let bytes = value.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if value.len() > 63 {
        return Err(format!(
            "values[{index}][{key}]: Invalid value: {value:?}: must be no more than 63 bytes"
        ));
    }
    if edge(bytes.first().copied()) && edge(bytes.last().copied()) && bytes.iter().all(inner) {
        return Ok(());
    }
    Err(format!(
        "values[{index}][{key}]: Invalid value: {value:?}: a valid label must be an empty string \
         or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
         alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
         validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    ))
}
