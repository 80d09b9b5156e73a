//! `--set path=value`, the `set` of variants, and the paths of plans and sweeps.
//!
//! Paths are relative to `spec`: `a.b.c`; `[name]` selects a list entry by its name, `[3]` by its
//! index, `[*]` all; `["a.b"]` is a key with dots. Below `constants` the rest is one key.

use super::codes;
use super::diagnostic::Reporter;
use super::json;
use super::node::{Entry, Node, Value};
use super::scenario::ScenarioSpec;
use super::source::{SourceId, SourceSpan};
use super::suggest;
use std::borrow::Cow;
use std::sync::OnceLock;

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    steps: Vec<(Step, core::ops::Range<usize>)>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Name(String),
    Index(usize),
    All,
}

/// Why a path is malformed, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Byte in the path.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

const GRAMMAR: &str = "write for example `cluster.nodeGroups[base].maxSize`, with `[name]`, `[*]` or `[0]` for list entries";

impl FieldPath {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let fail = |at: usize, message: &str| Err(PathError { at, message: message.to_owned() });
        let mut steps = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or("");
            if let Some(inner) = rest.strip_prefix('[') {
                let Some(close) = closing(inner) else { return fail(at, "`[` has no `]`") };
                let inside = inner.get(..close).unwrap_or("");
                let end = at + close + 2;
                steps.push((selector(inside), at..end));
                if inside.is_empty() {
                    return fail(at, "`[]` selects nothing");
                }
                at = end;
                match text.as_bytes().get(at) {
                    None | Some(b'[') => {}
                    Some(b'.') => at += 1,
                    Some(_) => return fail(at, "`.` or the end must follow `]`"),
                }
                continue;
            }
            let whole = matches!(steps.as_slice(), [(Step::Key(k), _)] if k == "constants");
            let end = if whole { rest.len() } else { rest.find(['.', '[']).unwrap_or(rest.len()) };
            let key = rest.get(..end).unwrap_or("");
            if key.is_empty() || key.trim() != key {
                return fail(at, "a part of the path is empty or has blanks");
            }
            steps.push((Step::Key(key.to_owned()), at..at + end));
            at += end;
            if text.as_bytes().get(at) == Some(&b'.') {
                at += 1;
                if at == text.len() {
                    return fail(at - 1, "the path ends with `.`");
                }
            }
        }
        if steps.is_empty() { fail(0, "the path is empty") } else { Ok(Self { steps }) }
    }
}

fn closing(inner: &str) -> Option<usize> {
    match inner.strip_prefix('"') {
        Some(quoted) => quoted.find("\"]").map(|i| i + 2),
        None => inner.find(']'),
    }
}

fn selector(inside: &str) -> Step {
    if let Some(key) = inside.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return Step::Key(key.to_owned());
    }
    match inside.parse() {
        _ if inside == "*" => Step::All,
        Ok(index) if inside.bytes().all(|b| b.is_ascii_digit()) => Step::Index(index),
        _ => Step::Name(inside.to_owned()),
    }
}

/// Where a path was written: its span, and whether the span covers exactly its text.
#[derive(Clone, Copy, Debug)]
pub struct PathPlace {
    /// The place.
    pub span: SourceSpan,
    /// Whether offsets in the path are offsets in the span.
    pub exact: bool,
}

impl PathPlace {
    fn part(self, range: &core::ops::Range<usize>) -> SourceSpan {
        if !self.exact {
            return self.span;
        }
        let start = self.span.start as usize;
        SourceSpan::new(self.span.source, start + range.start, start + range.end)
    }
}

/// Sets `path` in the tree of a scenario's `spec` to `value`; a mistake is reported.
pub fn set(
    spec: &mut Node<'_>,
    path: &str,
    place: PathPlace,
    value: &Node<'_>,
    reporter: &mut Reporter<'_>,
) {
    match FieldPath::parse(path) {
        Ok(parsed) => walk(spec, &parsed.steps, &mut Vec::new(), place, value, reporter),
        Err(e) => {
            let at = place.part(&(e.at..e.at + 1));
            let message = format!("`{path}` is not a path: {}", e.message);
            reporter.error(codes::PATH_SYNTAX, at, message, GRAMMAR);
        }
    }
}

type Steps<'a> = &'a [(Step, core::ops::Range<usize>)];

fn walk(
    node: &mut Node<'_>,
    steps: Steps<'_>,
    way: &mut Vec<String>,
    place: PathPlace,
    value: &Node<'_>,
    reporter: &mut Reporter<'_>,
) {
    let Some(((step, range), rest)) = steps.split_first() else {
        *node = value.clone().into_owned();
        return;
    };
    let at = place.part(range);
    let shown = || if way.is_empty() { "spec".to_owned() } else { way.join(".") };
    if matches!(node.value, Value::Null) {
        // `cluster:` without a value is written out by the path.
        node.value = Value::Map(Vec::new());
    }
    match step {
        Step::Key(key) => {
            let Value::Map(entries) = &mut node.value else {
                let help = if matches!(node.value, Value::Seq(_)) {
                    format!("select an entry first: `[name].{key}`, `[*].{key}` or `[0].{key}`")
                } else {
                    "shorten the path".to_owned()
                };
                let message = format!("`{}` has no fields", shown());
                return reporter.error(codes::BAD_PATH, at, message, help);
            };
            let index = match entries.iter().position(|e| e.key == *key) {
                Some(index) => index,
                None => {
                    let mut fresh = default_at(way, key);
                    fresh.relocate(at);
                    let key = Cow::Owned(key.clone());
                    entries.push(Entry { key, key_span: at, value: fresh });
                    entries.len() - 1
                }
            };
            way.push(key.clone());
            if let Some(entry) = entries.get_mut(index) {
                walk(&mut entry.value, rest, way, place, value, reporter);
            }
            way.pop();
        }
        Step::Name(_) | Step::Index(_) | Step::All => {
            let list = shown();
            let Value::Seq(items) = &mut node.value else {
                let message = format!("`{list}` is not a list");
                let help = "remove the brackets, or write `[\"key\"]` for a key with dots";
                return reporter.error(codes::BAD_PATH, at, message, help);
            };
            let chosen = choose(items, step);
            if chosen.is_empty() {
                return missing(items, step, &list, at, reporter);
            }
            for index in chosen {
                if let Some(item) = items.get_mut(index) {
                    way.push(index.to_string());
                    walk(item, rest, way, place, value, reporter);
                    way.pop();
                }
            }
        }
    }
}

fn choose(items: &[Node<'_>], step: &Step) -> Vec<usize> {
    match step {
        Step::All => (0..items.len()).collect(),
        Step::Index(i) => (*i..items.len()).take(1).collect(),
        Step::Name(name) => {
            let named = items.iter().enumerate().filter(|(_, n)| label(n) == Some(name));
            named.map(|(i, _)| i).collect()
        }
        Step::Key(_) => Vec::new(),
    }
}

/// What `[…]` calls an entry: its `name`, or what it is for.
fn label<'a>(node: &'a Node<'_>) -> Option<&'a str> {
    ["name", "metric", "to", "for", "template"].iter().find_map(|k| node.text_at_key(k))
}

impl Node<'_> {
    fn text_at_key(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }
}

fn missing(
    items: &[Node<'_>],
    step: &Step,
    list: &str,
    at: SourceSpan,
    reporter: &mut Reporter<'_>,
) {
    let names = || items.iter().filter_map(label);
    let (message, help) = match step {
        Step::Name(name) => {
            let help = match suggest::nearest(name, names()) {
                Some(near) => format!("did you mean `[{near}]`?"),
                None => format!("its entries are {}", suggest::list(names())),
            };
            (format!("`{list}` has no entry `{name}`"), help)
        }
        Step::Index(i) => {
            let help = match items.len() {
                0 => "add an entry to the scenario first".to_owned(),
                n => format!("write an index from 0 to {}", n - 1),
            };
            (format!("`{list}` has no entry number {i}"), help)
        }
        _ => (format!("`{list}` has no entry"), "add an entry to the scenario first".to_owned()),
    };
    reporter.error(codes::BAD_PATH, at, message, help);
}

/// The documented default below `way`.`key`, an empty mapping if there is none.
fn default_at<'s>(way: &[String], key: &str) -> Node<'s> {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text =
        TEXT.get_or_init(|| serde_json::to_string(&ScenarioSpec::default()).unwrap_or_default());
    let tree = json::parse(SourceId::default(), text).unwrap_or_default();
    let found = tree.first().and_then(|root| {
        let parent = way.iter().try_fold(root, |node, part| node.at(part))?;
        parent.get(key).filter(|n| !matches!(n.value, Value::Null)).cloned()
    });
    found
        .unwrap_or(Node { span: SourceSpan::default(), value: Value::Map(Vec::new()) })
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let steps = |t: &str| {
            FieldPath::parse(t).map(|p| p.steps.into_iter().map(|s| s.0).collect::<Vec<_>>())
        };
        let key = |k: &str| Step::Key(k.to_owned());
        assert_eq!(
            steps("cluster.nodeGroups[base].maxSize"),
            Ok(vec![key("cluster"), key("nodeGroups"), Step::Name("base".into()), key("maxSize")])
        );
        assert_eq!(steps("a[*][3]"), Ok(vec![key("a"), Step::All, Step::Index(3)]));
        assert_eq!(steps("a[\"x.y]\"].b"), Ok(vec![key("a"), key("x.y]"), key("b")]));
        assert_eq!(
            steps("constants.kubelet.lease"),
            Ok(vec![key("constants"), key("kubelet.lease")])
        );
        for (bad, at) in
            [("", 0), ("a..b", 2), ("a.", 1), ("a[", 1), ("a[]", 1), ("a[b]c", 4), (".a", 0)]
        {
            assert_eq!(steps(bad).unwrap_err().at, at, "{bad}");
        }
    }
}
