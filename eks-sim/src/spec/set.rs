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

/// Why a value cannot be set, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetError {
    /// What is wrong.
    pub message: String,
    /// The mend.
    pub help: String,
}

impl FieldPath {
    /// Sets the field of a JSON object to `value`; `null` removes it. An entry of `env` that is
    /// not there is added.
    ///
    /// # Errors
    /// When the path leads nowhere.
    pub fn set_json(
        &self,
        object: &mut serde_json::Value,
        value: &serde_json::Value,
    ) -> Result<(), SetError> {
        set_json(object, &self.steps, "the object", value)
    }

    /// Whether the object has the field.
    #[must_use]
    pub fn is_in(&self, object: &serde_json::Value) -> bool {
        let mut nodes = vec![object];
        for (step, _) in &self.steps {
            nodes = nodes.iter().flat_map(|node| children(node, step)).collect();
        }
        !nodes.is_empty()
    }
}

fn children<'a>(node: &'a serde_json::Value, step: &Step) -> Vec<&'a serde_json::Value> {
    let list = || node.as_array().into_iter().flatten();
    match step {
        Step::Key(key) => node.get(key.as_str()).into_iter().collect(),
        Step::Index(i) => node.get(*i).into_iter().collect(),
        Step::All => list().collect(),
        Step::Name(name) => list().filter(|n| n["name"].as_str() == Some(name.as_str())).collect(),
    }
}

fn set_json(
    node: &mut serde_json::Value,
    steps: Steps<'_>,
    way: &str,
    value: &serde_json::Value,
) -> Result<(), SetError> {
    use serde_json::Value as Json;
    let Some(((step, _), rest)) = steps.split_first() else {
        *node = value.clone();
        return Ok(());
    };
    let fail = |message: String, help: String| Err(SetError { message, help });
    match step {
        Step::Key(key) => {
            if node.is_null() {
                *node = Json::Object(serde_json::Map::new());
            }
            let Some(map) = node.as_object_mut() else {
                return fail(format!("`{way}` has no fields"), "shorten the path".to_owned());
            };
            if rest.is_empty() && value.is_null() {
                map.remove(key);
                return Ok(());
            }
            let entry = map.entry(key.clone()).or_insert(Json::Null);
            set_json(entry, rest, key, value)
        }
        Step::Name(_) | Step::Index(_) | Step::All => {
            if node.is_null() && way == "env" {
                *node = Json::Array(Vec::new());
            }
            let Some(items) = node.as_array_mut() else {
                let help = "remove the brackets, or write `[\"key\"]` for a key with dots";
                return fail(format!("`{way}` is not a list"), help.to_owned());
            };
            let fits = |(i, item): (usize, &Json)| match step {
                Step::Name(name) => item["name"].as_str() == Some(name.as_str()),
                Step::Index(at) => i == *at,
                _ => true,
            };
            let mut chosen: Vec<usize> =
                items.iter().enumerate().filter(|&e| fits(e)).map(|(i, _)| i).collect();
            if let (Step::Name(name), "env", true) = (step, way, chosen.is_empty()) {
                items.push(serde_json::json!({ "name": name }));
                chosen.push(items.len() - 1);
            }
            if chosen.is_empty() {
                let names = items.iter().filter_map(|i| i["name"].as_str());
                let help = format!("its entries are {}", suggest::list(names));
                return fail(format!("`{way}` has no such entry"), help);
            }
            for i in chosen {
                if let Some(item) = items.get_mut(i) {
                    set_json(item, rest, way, value)?;
                }
            }
            Ok(())
        }
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
    use serde_json::json;

    #[test]
    fn json_objects_are_set_by_path() {
        let mut object = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let mut set = |path: &str, value| {
            FieldPath::parse(path).unwrap().set_json(&mut object, &value).map_err(|e| e.message)
        };
        assert_eq!(set("spec.containers[b].image", json!("x:2")), Ok(()));
        assert_eq!(set("spec.containers[*].env[LOG].value", json!("debug")), Ok(()));
        assert_eq!(set("spec.replicas", json!(3)), Ok(()));
        assert_eq!(set("spec.replicas", json!(null)), Ok(()));
        let missing = set("spec.containers[c].image", json!("x"));
        assert_eq!(missing, Err("`containers` has no such entry".to_owned()));
        assert_eq!(set("spec[0].a", json!(1)), Err("`spec` is not a list".to_owned()));
        let env = json!([{"name": "LOG", "value": "debug"}]);
        let b = json!({"name": "b", "image": "x:2", "env": env});
        let expected = json!({"spec": {"containers": [{"name": "a", "env": env}, b]}});
        assert_eq!(object, expected);
        assert!(FieldPath::parse("spec.containers[b].image").unwrap().is_in(&expected));
        assert!(!FieldPath::parse("spec.containers[a].image").unwrap().is_in(&expected));
    }

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
