//! Trees into typed objects, with every mistake at its place.
//!
//! serde stops at the first mistake. To collect all of them, the failing part is cut out of the
//! tree and decoding starts again, until it succeeds or too many mistakes are found.

mod de;
mod error;

use super::codes;
use super::diagnostic::Reporter;
use super::node::{Node, Value};
use super::source::SourceSpan;
use super::suggest;
use de::{Context, NodeDeserializer};
use error::{DecodeError, Problem};
use serde::de::DeserializeOwned;
use std::cell::RefCell;

/// How strictly a tree is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Style {
    /// Kubernetes objects: an empty value is an absent one.
    Manifest,
    /// Scenarios: an empty value is a mistake.
    Scenario,
}

/// A field of the tree that the type does not have.
#[derive(Clone, Debug)]
pub struct IgnoredField {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: SourceSpan,
    /// Fields of the type at that place.
    pub known: &'static [&'static str],
}

/// A decoded object.
#[derive(Clone, Debug)]
pub struct Decoded<T> {
    /// The object.
    pub object: T,
    /// Fields that the type does not have (none where unknown fields are mistakes).
    pub ignored: Vec<IgnoredField>,
}

/// Mistakes looked for in one tree.
const MOST: usize = 40;

/// Decodes a tree. On mistakes all of them are reported and the result is `None`; the tree loses
/// the parts that could not be decoded.
pub fn decode<T: DeserializeOwned>(
    tree: &mut Node<'_>,
    style: Style,
    reporter: &mut Reporter<'_>,
) -> Option<Decoded<T>> {
    for attempt in 0..MOST {
        let context = Context { style, ignored: RefCell::new(Vec::new()) };
        let error = match T::deserialize(NodeDeserializer { node: tree, cx: &context }) {
            Ok(object) if attempt == 0 => {
                return Some(Decoded { object, ignored: context.ignored.into_inner() });
            }
            Ok(_) => return None,
            Err(error) => error,
        };
        let place = Place::of(tree, &error);
        // A field that was cut out is not missing as well.
        let echo = match &*error.problem {
            Problem::MissingField(name) => place.cut.iter().any(|key| key == name),
            Problem::OneOf { count: 0, .. } => !place.cut.is_empty(),
            _ => false,
        };
        if !echo {
            report(&error, &place, reporter);
        }
        if !prune(tree, &error) {
            return None;
        }
    }
    None
}

/// Where a mistake is.
struct Place {
    span: SourceSpan,
    path: String,
    key: Option<(String, SourceSpan)>,
    /// Keys of the mapping there that were cut out before.
    cut: Vec<String>,
}

impl Place {
    fn of(tree: &Node<'_>, error: &DecodeError) -> Self {
        let mut node = tree;
        let (mut path, mut key) = (String::new(), None);
        for &index in error.path.iter().rev() {
            match &node.value {
                Value::Seq(items) => {
                    let Some(item) = items.get(index) else { break };
                    path.push_str(&format!("[{index}]"));
                    node = item;
                }
                Value::Map(entries) => {
                    let Some(entry) = entries.get(index) else { break };
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&entry.key);
                    key = Some((entry.key.to_string(), entry.key_span));
                    node = &entry.value;
                }
                _ => break,
            }
        }
        let span = match (&key, error.at_key) {
            (Some((_, key_span)), true) => *key_span,
            (Some((_, key_span)), false) if matches!(node.value, Value::Null) => *key_span,
            _ => node.span,
        };
        let cut = node.entries().iter().filter(|e| matches!(e.value.value, Value::Cut));
        let cut = cut.map(|e| e.key.to_string()).collect();
        Self { span, path, key, cut }
    }
    fn name(&self) -> String {
        if self.path.is_empty() { "the document".to_owned() } else { format!("`{}`", self.path) }
    }
}

/// Cuts the failing part out; `false` if that is the whole tree.
fn prune(tree: &mut Node<'_>, error: &DecodeError) -> bool {
    let mut node = tree;
    for &index in error.path.iter().rev() {
        node = match &mut node.value {
            Value::Seq(items) if index < items.len() => &mut items[index],
            Value::Map(entries) if index < entries.len() => &mut entries[index].value,
            _ => return false,
        };
    }
    node.value = Value::Cut;
    !error.path.is_empty()
}

/// Splits `wrong; mend` texts of our own types.
fn split(message: &str) -> (String, Option<String>) {
    match message.split_once("; ") {
        Some((wrong, mend)) => (wrong.to_owned(), Some(mend.to_owned())),
        None => (message.to_owned(), None),
    }
}

fn report(error: &DecodeError, place: &Place, reporter: &mut Reporter<'_>) {
    let raw = reporter.sources.offending(place.span);
    let (code, message, help) = match &*error.problem {
        Problem::UnknownField { name, known } => {
            let known = || known.iter().copied();
            let parent = place.path.rsplit_once('.').map_or("", |p| p.0);
            let within = if parent.is_empty() { String::new() } else { format!(" in `{parent}`") };
            let help = match suggest::nearest(name, known()) {
                Some(near) => {
                    format!("did you mean `{near}`? Allowed here: {}", suggest::list(known()))
                }
                None => format!("remove it; allowed here: {}", suggest::list(known())),
            };
            (codes::UNKNOWN_FIELD, format!("unknown field `{name}`{within}"), help)
        }
        Problem::UnknownVariant { name, known } => {
            let known = || known.iter().copied();
            let help = match suggest::nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`? Allowed: {}", suggest::list(known())),
                None => format!("write {}", suggest::list(known())),
            };
            (codes::UNKNOWN_VALUE, format!("{} cannot be `{name}`", place.name()), help)
        }
        Problem::MissingField(name) => {
            let message = format!("{} lacks the field `{name}`", place.name());
            (codes::MISSING_FIELD, message, format!("add `{name}: …`"))
        }
        Problem::Null => {
            let key = place.key.as_ref().map_or("…", |k| k.0.as_str());
            let help =
                format!("write `{key}: {{}}` for the defaults, give a value, or remove the line");
            (codes::NULL_VALUE, format!("{} has no value", place.name()), help)
        }
        Problem::OneOf { count, known } => {
            let message = format!("{} needs exactly one key, it has {count}", place.name());
            (
                codes::ONE_OF,
                message,
                format!("keep one of {}", suggest::list(known.iter().copied())),
            )
        }
        Problem::Type { found, wanted } => {
            let message = format!("{} must be {wanted}, not {found}", place.name());
            (codes::WRONG_TYPE, message, type_mend(place, &raw, wanted, found))
        }
        Problem::Value { found, wanted } => {
            let message = format!("{} cannot be {found}", place.name());
            let too_large = wanted.contains("whole number") && !found.contains('-');
            let help = if too_large {
                "write a smaller number; at most 2147483647 is sure to fit".to_owned()
            } else {
                format!("write {wanted}")
            };
            (codes::BAD_VALUE, message, help)
        }
        Problem::Custom(text) => {
            let (wrong, mend) = split(text);
            let mend = mend.unwrap_or_else(|| "write a value that the field allows".to_owned());
            (codes::BAD_VALUE, format!("{}: {wrong}", place.name()), mend)
        }
    };
    reporter.error(code, place.span, message, help);
}

/// A mend for a value of the wrong type.
fn type_mend(place: &Place, raw: &str, wanted: &str, found: &str) -> String {
    let key = place.key.as_ref().map_or("", |k| k.0.as_str());
    let scalar = !found.starts_with("a list") && !found.starts_with("a mapping");
    let bare = raw.trim_matches(['"', '\'']);
    if wanted == TEXT && scalar {
        return format!("put it in quotes: `{key}: \"{bare}\"`");
    }
    if wanted.starts_with("a list") {
        return if scalar {
            format!("write a list: `{key}: [{raw}]`")
        } else {
            "start each item with `- `".to_owned()
        };
    }
    if wanted.contains("number") && scalar && bare.parse::<f64>().is_ok() && bare != raw {
        return format!("remove the quotes: `{key}: {bare}`");
    }
    if wanted.contains("whole number") && scalar && bare.parse::<f64>().is_ok() {
        return format!("write a whole number instead of `{bare}`");
    }
    format!("write {wanted}")
}

/// How "text" is called in messages.
pub(crate) const TEXT: &str = "text";

#[cfg(test)]
mod tests;
