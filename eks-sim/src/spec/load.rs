//! A scenario file with its overrides, variants and manifests, loaded and checked as one.

use super::codes;
use super::decode::{self, Style};
use super::diagnostic::{Diagnostic, Diagnostics, Reporter, Severity};
use super::manifest::{self, Manifests};
use super::node::{Entry, Flavour, Node, Value};
use super::scenario::Scenario;
use super::set::{self, PathPlace};
use super::source::{SourceId, SourceSpan, Sources};
use super::{lint, read, validate, yaml};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A loaded scenario.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The scenario with all overrides.
    pub scenario: Scenario,
    /// Its manifests.
    pub manifests: Manifests,
    /// Its variants, in their order.
    pub variants: Vec<LoadedVariant>,
    /// All texts that were read.
    pub sources: Sources,
    /// Warnings and notes.
    pub warnings: Diagnostics,
    /// Hash of the effective scenario and the contents of its manifests.
    pub hash: u64,
    /// The folder to which paths in the scenario are relative.
    pub base: PathBuf,
    /// The scenario's tree with all overrides, for the places of later findings.
    tree: Node<'static>,
}

impl Loaded {
    /// A finding about the field at `path` (relative to `spec`, for example
    /// `cluster.nodeGroups[0].instanceTypes`), at the place of its deepest part that was written.
    #[must_use]
    pub fn finding(
        &self,
        severity: Severity,
        code: &'static str,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        let dotted = path.replace('[', ".").replace(']', "");
        let span = self.tree.span_at(&format!("spec.{dotted}"));
        Diagnostic::new(&self.sources, severity, code, span, message, help)
    }
}

/// A variant of a scenario.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadedVariant {
    /// Its name.
    pub name: String,
    /// The scenario with the variant's changes.
    pub scenario: Scenario,
    /// Its manifests, where it has its own.
    pub manifests: Option<Manifests>,
    /// Hash as of [`Loaded::hash`].
    pub hash: u64,
}

/// Loads the scenario at `path` (`-` for standard input) with `--set` overrides applied.
///
/// # Errors
/// All mistakes with their places, if there is one.
pub fn load(path: &Path, sets: &[(String, String)]) -> Result<Loaded, Diagnostics> {
    let (mut sources, mut out) = (Sources::new(), Diagnostics::new());
    let base = match path.parent() {
        Some(parent) if path != Path::new("-") => parent.to_path_buf(),
        _ => PathBuf::new(),
    };
    let Some(id) = read::read_file(path, &mut sources, &mut out) else { return Err(out) };
    load_source(id, &base, None, sets, sources, out)
}

/// Loads a scenario whose manifests are a text too: nothing is read from the disk, and what the
/// scenario says under `manifests` does not count.
///
/// # Errors
/// All mistakes with their places, if there is one.
pub fn load_embedded(
    scenario: (&str, &str),
    manifests: (&str, &str),
    sets: &[(String, String)],
) -> Result<Loaded, Diagnostics> {
    let (mut sources, mut out) = (Sources::new(), Diagnostics::new());
    let bytes = scenario.1.as_bytes().to_vec();
    let Some(id) = read::add_bytes(scenario.0, bytes, &mut sources, &mut out) else {
        return Err(out);
    };
    load_source(id, Path::new(""), Some(manifests), sets, sources, out)
}

/// Loads a scenario from a text; its paths are relative to `base`.
///
/// # Errors
/// All mistakes with their places, if there is one.
pub fn load_scenario_text(
    name: &str,
    text: &str,
    base: &Path,
    sets: &[(String, String)],
) -> Result<Loaded, Diagnostics> {
    let (mut sources, mut out) = (Sources::new(), Diagnostics::new());
    let bytes = text.as_bytes().to_vec();
    let Some(id) = read::add_bytes(name, bytes, &mut sources, &mut out) else { return Err(out) };
    load_source(id, base, None, sets, sources, out)
}

/// Loads manifests without a scenario: the scenario is the documented default.
///
/// # Errors
/// All mistakes with their places, if there is one.
pub fn load_manifests_only(
    base: &Path,
    patterns: &[String],
    sets: &[(String, String)],
) -> Result<Loaded, Diagnostics> {
    let list: Vec<_> = patterns.iter().map(|p| serde_json::Value::from(p.as_str())).collect();
    let text = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: default}}\nspec:\n  manifests: {}\n",
        serde_json::Value::Array(list)
    );
    load_scenario_text("(default scenario)", &text, base, sets)
}

fn load_source(
    id: SourceId,
    base: &Path,
    embedded: Option<(&str, &str)>,
    sets: &[(String, String)],
    mut sources: Sources,
    mut out: Diagnostics,
) -> Result<Loaded, Diagnostics> {
    let sets: Vec<_> = sets
        .iter()
        .map(|(path, value)| (path, value, sources.add("--set", format!("{path}={value}"))))
        .collect();
    let text = sources.text(id);
    let mut reporter = Reporter { sources: &sources, out: &mut out };
    let Some(mut tree) = tree_of(id, &text, &mut reporter) else { return finish_error(out) };
    let override_texts: Vec<String> = sets
        .iter()
        .map(|(path, value, _)| format!("{}{value}", " ".repeat(path.len() + 1)))
        .collect();
    for ((path, _, set_id), padded) in sets.iter().zip(&override_texts) {
        let span = SourceSpan::new(*set_id, 0, path.len());
        let mut values = yaml::parse(*set_id, padded, Flavour::Scenario, &mut reporter);
        let value = match values.len() {
            0 => Node { span, value: Value::Null },
            _ => values.swap_remove(0),
        };
        let place = PathPlace { span, exact: true };
        set::set(spec_of(&mut tree), path, place, &value.into_owned(), &mut reporter);
    }
    let pristine = tree.clone();
    let scenario = decode_scenario(&mut tree, &mut reporter);
    let patterns = patterns_of(pristine.at("spec.manifests"));
    let manifests = match embedded {
        Some((name, text)) => manifest::load_text(name, text, &mut sources, &mut out),
        None => manifest::load_manifests(base, &patterns, &mut sources, &mut out),
    };
    let Some(scenario) = scenario else { return finish_error(out) };
    let mut reporter = Reporter { sources: &sources, out: &mut out };
    validate::check(&scenario, &manifests, &pristine, &mut reporter);
    lint::check(&scenario, &manifests, &pristine, &mut reporter);
    let own_texts = 0..sources.iter().count();
    let hash = hash_of(&scenario, id, &sources, own_texts);
    let variants = variants(&scenario, &pristine, base, id, &manifests, &mut sources, &mut out);
    if out.has_errors() {
        return finish_error(out);
    }
    out.sort();
    let base = base.to_path_buf();
    let tree = pristine.into_owned();
    Ok(Loaded { scenario, manifests, variants, sources, warnings: out, hash, base, tree })
}

fn finish_error<T>(mut out: Diagnostics) -> Result<T, Diagnostics> {
    out.sort();
    Err(out)
}

/// The scenario's tree; its header is checked before its fields, since a wrong kind of file would
/// give a flood of unknown fields.
fn tree_of<'s>(id: SourceId, text: &'s str, reporter: &mut Reporter<'_>) -> Option<Node<'s>> {
    let errors = reporter.out.error_count();
    let mut documents = yaml::parse(id, text, Flavour::Scenario, reporter);
    documents.retain(|d| !matches!(d.value, Value::Null));
    let help = "start it with `apiVersion: eks-sim/v1`, `kind: Scenario` and `metadata: {name: …}`; `eks-sim init DIR` writes one";
    let start = SourceSpan::new(id, 0, 0);
    if documents.is_empty() {
        if reporter.out.error_count() == errors {
            reporter.error(codes::EMPTY_INPUT, start, "the scenario is empty", help);
        }
        return None;
    }
    if let Some(second) = documents.get(1) {
        let message = "a scenario is one document, and this is a second one";
        reporter.error(
            codes::NOT_A_SCENARIO,
            second.span,
            message,
            "move manifests into their own file and name it under `spec.manifests`",
        );
        return None;
    }
    let tree = documents.swap_remove(0);
    for (key, wanted) in [("apiVersion", "eks-sim/v1"), ("kind", "Scenario")] {
        let found = tree.get(key);
        if found.and_then(Node::text) != Some(wanted) {
            let span = found.map(|n| n.span).or(tree.entries().first().map(|e| e.key_span));
            let message = match found.and_then(Node::text) {
                Some(text) => format!("not a scenario: `{key}` is `{text}`"),
                None => format!("not a scenario: it lacks `{key}: {wanted}`"),
            };
            let help = match found.and_then(Node::text) {
                Some(_) => format!(
                    "write `{key}: {wanted}`; Kubernetes objects belong under `spec.manifests` of a scenario"
                ),
                None => help.to_owned(),
            };
            reporter.error(codes::NOT_A_SCENARIO, span.unwrap_or(start), message, help);
            return None;
        }
    }
    Some(tree)
}

fn spec_of<'a, 's>(tree: &'a mut Node<'s>) -> &'a mut Node<'s> {
    let span = tree.span;
    if !matches!(tree.value, Value::Map(_)) {
        return tree;
    }
    if tree.get("spec").is_none()
        && let Value::Map(entries) = &mut tree.value
    {
        let value = Node { span, value: Value::Map(Vec::new()) };
        entries.push(Entry { key: Cow::Borrowed("spec"), key_span: span, value });
    }
    match &mut tree.value {
        Value::Map(entries) => entries
            .iter_mut()
            .find(|e| e.key == "spec")
            .map(|e| &mut e.value)
            .expect("`spec` was added above"),
        _ => unreachable!("checked above"),
    }
}

fn decode_scenario(tree: &mut Node<'_>, reporter: &mut Reporter<'_>) -> Option<Scenario> {
    decode::decode::<Scenario>(tree, Style::Scenario, reporter).map(|d| d.object)
}

fn patterns_of(node: Option<&Node<'_>>) -> Vec<(String, SourceSpan)> {
    let items = node.map_or(&[][..], Node::items);
    items.iter().filter_map(|n| Some((n.text()?.to_owned(), n.span))).collect()
}

/// Loads every variant: the scenario's tree with the variant's changes.
fn variants(
    scenario: &Scenario,
    tree: &Node<'_>,
    base: &Path,
    id: SourceId,
    own: &Manifests,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Vec<LoadedVariant> {
    let mut loaded = Vec::new();
    let own_texts = sources.iter().count();
    for (index, variant) in scenario.spec.variants.iter().enumerate() {
        let Some(node) = tree.at(&format!("spec.variants.{index}")) else { continue };
        let mut changed = tree.clone();
        let mut found = Diagnostics::new();
        let first_source = sources.iter().count();
        let mut reporter = Reporter { sources, out: &mut found };
        for entry in node.get("set").map_or(&[][..], Node::entries) {
            let exact = reporter.sources.slice(entry.key_span) == entry.key;
            let place = PathPlace { span: entry.key_span, exact };
            if entry.key.split(['.', '[']).next() == Some("manifests") {
                let message = "a variant's `set` cannot choose other manifests".to_owned();
                let help = "write `manifests: […]` beside `set`".to_owned();
                reporter.error(codes::CONTRADICTION, entry.key_span, message, help);
            }
            set::set(spec_of(&mut changed), &entry.key, place, &entry.value, &mut reporter);
        }
        let pristine = changed.clone();
        let decoded = decode_scenario(&mut changed, &mut reporter);
        let manifests = node.get("manifests").map(|list| {
            manifest::load_manifests(base, &patterns_of(Some(list)), sources, &mut found)
        });
        let mut reporter = Reporter { sources, out: &mut found };
        if let Some(decoded) = &decoded {
            let manifests = manifests.as_ref().unwrap_or(own);
            validate::check(decoded, manifests, &pristine, &mut reporter);
        }
        // What the scenario itself has was said before; a variant adds only its own mistakes.
        keep_new(found, out);
        if let Some(decoded) = decoded {
            let texts = match manifests {
                Some(_) => first_source..sources.iter().count(),
                None => 0..own_texts,
            };
            let hash = hash_of(&decoded, id, sources, texts);
            let name = variant.name.clone();
            loaded.push(LoadedVariant { name, scenario: decoded, manifests, hash });
        }
    }
    loaded
}

fn keep_new(found: Diagnostics, out: &mut Diagnostics) {
    let fresh: Vec<Diagnostic> = found
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .filter(|d| !out.iter().any(|o| o.code == d.code && o.location == d.location))
        .cloned()
        .collect();
    for diagnostic in fresh {
        out.push(diagnostic);
    }
}

/// FNV-1a, 64 bit.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
    fn add(mut self, bytes: &[u8]) -> Self {
        for &b in bytes {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
        // The length keeps `ab`,`c` apart from `a`,`bc`.
        self.0 = (self.0 ^ bytes.len() as u64).wrapping_mul(0x0100_0000_01b3);
        self
    }
}

/// Hash of the effective scenario and of the manifests' texts, which are the sources of `range`
/// except the scenario's own file and the overrides.
fn hash_of(
    scenario: &Scenario,
    id: SourceId,
    sources: &Sources,
    range: core::ops::Range<usize>,
) -> u64 {
    let effective = serde_json::to_string(scenario).unwrap_or_default();
    let own = sources.name(id);
    let mut hash = Fnv::new().add(effective.as_bytes());
    for (name, text) in sources.iter().skip(range.start).take(range.len()) {
        if name != own && name != "--set" {
            hash = hash.add(text.as_bytes());
        }
    }
    hash.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: t}\n";

    fn run(body: &str, sets: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
        let sets: Vec<_> = sets.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let text = format!("{HEAD}{body}");
        load_scenario_text("s.yaml", &text, Path::new("/nonexistent"), &sets).map_err(|out| {
            out.iter()
                .filter(|d| d.severity == Severity::Error)
                .map(|d| {
                    let l = &d.location;
                    format!(
                        "{}:{}:{} {} {} | {}",
                        l.file, l.line, l.column, d.code, d.message, d.help
                    )
                })
                .collect()
        })
    }

    #[test]
    fn overrides_reach_defaults_lists_and_constants() {
        let sets = [
            ("cluster.nodeGroups[default].maxSize", "7"),
            ("cluster.network.cni.ENABLE_PREFIX_DELEGATION", "true"),
            ("seed", "9"),
        ];
        let loaded = run("", &sets).unwrap();
        assert_eq!(loaded.scenario.spec.cluster.node_groups[0].max_size, 7);
        assert_eq!(loaded.scenario.spec.cluster.node_groups[0].min_size, 1);
        assert!(loaded.scenario.spec.cluster.network.cni.enable_prefix_delegation);
        assert_eq!(loaded.scenario.spec.seed, 9);
        assert_ne!(loaded.hash, run("", &[]).unwrap().hash);
        assert_eq!(run("spec: {seed: 1}\n", &[]).unwrap().hash, run("", &[]).unwrap().hash);
    }

    #[test]
    fn wrong_overrides_point_at_the_argument() {
        let said = run("", &[("cluster.nodeGroup[a].maxSize", "7")]).unwrap_err();
        assert!(
            said[0].starts_with("--set:1:9 E0302") && said[0].contains("`nodeGroups`?"),
            "{said:?}"
        );
        let said = run("", &[("cluster.nodeGroups[defalt].maxSize", "7")]).unwrap_err();
        assert!(said[0].contains("did you mean `[default]`?"), "{said:?}");
        let said = run("", &[("cluster.regoin", "x")]).unwrap_err();
        assert!(said[0].contains("--set:1:9 E0302") && said[0].contains("`region`"), "{said:?}");
        let said = run("", &[("duration", "90")]).unwrap_err();
        assert!(said[0].starts_with("--set:1:10 E0305"), "{said:?}");
        let said = run("", &[("a..b", "1")]).unwrap_err();
        assert!(said[0].starts_with("--set:1:3 E0503"), "{said:?}");
    }

    #[test]
    fn variants_are_loaded() {
        let body = "spec:\n  variants:\n  - {name: big, set: {\"cluster.nodeGroups[*].maxSize\": 50, duration: 2h}}\n";
        let loaded = run(body, &[]).unwrap();
        assert_eq!(loaded.variants[0].scenario.spec.cluster.node_groups[0].max_size, 50);
        assert_ne!(loaded.variants[0].hash, loaded.hash);
        let said = run(&body.replace("duration: 2h", "duraton: 2h"), &[]).unwrap_err();
        assert!(said[0].starts_with("s.yaml:6:"), "{said:?}");
        assert!(said[0].contains("`duration`"), "{said:?}");
        let said = run(&body.replace("duration: 2h", "manifests: []"), &[]).unwrap_err();
        assert!(said[0].contains("cannot choose other manifests"), "{said:?}");
        assert!(said[0].contains("beside `set`"), "{said:?}");
    }
}
