//! The tree that YAML and JSON texts become: values with their places.

use super::source::SourceSpan;
use std::borrow::Cow;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'s> {
    /// Where it stands.
    pub span: SourceSpan,
    /// The value.
    pub value: Value<'s>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'s> {
    /// No value.
    Null,
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number beyond `i64`.
    Big(u64),
    /// Another number.
    Float(f64),
    /// Text.
    Str(Cow<'s, str>),
    /// A list.
    Seq(Vec<Node<'s>>),
    /// A mapping in the order of the text.
    Map(Vec<Entry<'s>>),
    /// A part that was cut out because of a mistake in it; decoding passes over it.
    Cut,
}

/// An entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'s> {
    /// Key.
    pub key: Cow<'s, str>,
    /// Where the key stands.
    pub key_span: SourceSpan,
    /// Value.
    pub value: Node<'s>,
}

impl<'s> Node<'s> {
    /// The value under `key`, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|e| &e.value)
    }
    /// The entry of `key`, if this is a mapping that has it.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry<'s>> {
        self.entries().iter().find(|e| e.key == key)
    }
    /// Entries, none if this is no mapping.
    #[must_use]
    pub fn entries(&self) -> &[Entry<'s>] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }
    /// Items, none if this is no list.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::Seq(items) => items,
            _ => &[],
        }
    }
    /// The text, if this is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }
    /// The value at a dotted path of keys and list indices, for example `spec.containers.0.image`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').filter(|p| !p.is_empty()).try_fold(self, |node, part| match &node.value {
            Value::Seq(items) => items.get(part.parse::<usize>().ok()?),
            _ => node.get(part),
        })
    }
    /// The text at a path.
    #[must_use]
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path)?.text()
    }
    /// Where the deepest existing part of a path stands.
    #[must_use]
    pub fn span_at(&self, path: &str) -> SourceSpan {
        let mut node = self;
        for part in path.split('.').filter(|p| !p.is_empty()) {
            match node.at(part) {
                Some(next) => node = next,
                None => break,
            }
        }
        node.span
    }
    /// What it is, with its article.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self.value {
            Value::Null | Value::Cut => "no value",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Big(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Str(_) => "text",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
    /// Every text and key below, with its place.
    pub fn for_each_text(&self, visit: &mut impl FnMut(&str, SourceSpan)) {
        match &self.value {
            Value::Str(text) => visit(text, self.span),
            Value::Seq(items) => items.iter().for_each(|i| i.for_each_text(visit)),
            Value::Map(entries) => {
                for entry in entries {
                    visit(&entry.key, entry.key_span);
                    entry.value.for_each_text(visit);
                }
            }
            _ => {}
        }
    }
}

/// How a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavour {
    /// As kubectl reads manifests: YAML 1.1 booleans and octal numbers, the last of equal keys wins.
    Manifest,
    /// As scenarios are read: only `true` and `false` are booleans, equal keys are mistakes.
    Scenario,
}

/// Deepest nesting.
pub const MAX_DEPTH: usize = 100;
/// Most values in one text, aliases expanded.
pub const MAX_NODES: usize = 16_000_000;
/// Most values made by expanding aliases.
pub const MAX_ALIAS_NODES: usize = 500_000;
/// Longest single value in bytes (an API server refuses objects above 1.5 MiB).
pub const MAX_SCALAR: usize = 4 << 20;

impl<'s> Node<'s> {
    /// The same tree, borrowing nothing.
    #[must_use]
    pub fn into_owned<'t>(self) -> Node<'t> {
        let own = |text: Cow<'s, str>| Cow::Owned(text.into_owned());
        let value = match self.value {
            Value::Null => Value::Null,
            Value::Bool(b) => Value::Bool(b),
            Value::Int(n) => Value::Int(n),
            Value::Big(n) => Value::Big(n),
            Value::Float(x) => Value::Float(x),
            Value::Str(text) => Value::Str(own(text)),
            Value::Seq(items) => Value::Seq(items.into_iter().map(Node::into_owned).collect()),
            Value::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|e| Entry {
                        key: own(e.key),
                        key_span: e.key_span,
                        value: e.value.into_owned(),
                    })
                    .collect(),
            ),
            Value::Cut => Value::Cut,
        };
        Node { span: self.span, value }
    }
    /// Gives every part the same place, and drops entries without a value.
    pub fn relocate(&mut self, span: SourceSpan) {
        self.span = span;
        match &mut self.value {
            Value::Seq(items) => items.iter_mut().for_each(|i| i.relocate(span)),
            Value::Map(entries) => {
                entries.retain(|e| !matches!(e.value.value, Value::Null));
                for entry in entries {
                    entry.key_span = span;
                    entry.value.relocate(span);
                }
            }
            _ => {}
        }
    }
}
