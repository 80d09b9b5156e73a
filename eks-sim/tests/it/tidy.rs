//! The shape of the sources: layers, sizes, forbidden words.

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from bottom to top; a module imports only from its own and lower layers.
const LAYERS: [&str; 11] = [
    "units",
    "catalog",
    "k8s",
    "spec",
    "policy",
    "world",
    "engine",
    "components",
    "observe",
    "study",
    "report",
];

/// Imports upwards that are meant: (file starts with, imported module, why).
const UPWARDS: &[(&str, &str, &str)] = &[
    ("engine/", "components", "the one loop names every component it wakes"),
    ("engine/", "observe", "a run that ends early hands over its diagnosis"),
    ("observe/", "study", "observers and studies share one definition of a quantile"),
];

/// Files longer than the limit, with the reason.
const LONG: &[(&str, &str)] = &[];

const MAX_LINES: usize = 600;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Path below `src` and text of each file of the library.
fn library() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    assert!(paths.len() > 100, "only {} files", paths.len());
    paths
        .into_iter()
        .map(|p| {
            let name = p.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
            (name, fs::read_to_string(&p).expect("a text"))
        })
        .collect()
}

/// The text before the tests of the file; files of tests alone have none.
fn product<'t>(name: &str, text: &'t str) -> &'t str {
    let tests = name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("fake.rs");
    if tests {
        return "";
    }
    let starts = text.match_indices("#[cfg(test)]\n").map(|(i, _)| i);
    let mut modules = starts.filter(|&i| {
        let line = text[i..].lines().nth(1).unwrap_or("");
        line.contains("mod ") && line.ends_with('{')
    });
    let inline = modules.next();
    &text[..inline.unwrap_or(text.len())]
}

/// Modules that a line imports or names by `crate::`.
fn imports(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or(line);
    let word = |at: &str| at.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(at.len());
    code.match_indices("crate::")
        .map(|(i, m)| &code[i + m.len()..])
        .map(|rest| &rest[..word(rest)])
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|l| *l == module)
}

#[test]
fn imports_point_downwards() {
    let mut wrong = Vec::new();
    for (name, text) in library() {
        let own = name.split('/').next().unwrap_or("").trim_end_matches(".rs").to_owned();
        let Some(height) = layer(&own) else { continue };
        for (number, line) in product(&name, &text).lines().enumerate() {
            for module in imports(line) {
                let meant = UPWARDS.iter().any(|(f, m, _)| name.starts_with(f) && *m == module);
                if layer(module).is_some_and(|l| l > height) && !meant {
                    wrong.push(format!("src/{name}:{}: {own} imports {module}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn components_do_not_name_each_other() {
    let mut wrong = Vec::new();
    for (name, text) in library() {
        let Some(rest) = name.strip_prefix("components/") else { continue };
        let own = rest.split('/').next().unwrap_or("").trim_end_matches(".rs");
        if own == "mod" {
            continue;
        }
        for (number, line) in product(&name, &text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            let Some(at) = code.find("crate::components::") else { continue };
            if !code[at + "crate::components::".len()..].starts_with(own) {
                wrong.push(format!("src/{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    for (name, text) in library() {
        let lines = text.lines().count();
        let meant = LONG.iter().any(|(n, _)| *n == name);
        assert!(meant || lines <= MAX_LINES, "src/{name} has {lines} lines");
        assert!(!meant || lines > MAX_LINES, "src/{name} no longer needs its exception");
    }
}

#[test]
fn what_is_forbidden_is_not_there() {
    let mut wrong = Vec::new();
    for (name, text) in library() {
        let product = product(&name, &text);
        for (number, line) in product.lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            let std_map = code.contains("std::collections")
                && (code.contains("HashMap") || code.contains("HashSet"));
            let float = [".ln()", ".exp()", ".powf(", ".powi(", ".sin()", ".cos()", ".log10()"];
            let math = !name.starts_with("units/") && float.iter().any(|f| code.contains(f));
            let clock = code.contains("Instant::now") || code.contains("SystemTime::now");
            if std_map || math || clock || code.contains(".unwrap()") {
                wrong.push(format!("src/{name}:{}: {}", number + 1, line.trim()));
            }
        }
        for (number, line) in text.lines().enumerate() {
            // Written in pieces, so that this file does not hold the words itself.
            let words = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()];
            if words.iter().any(|w| line.contains(w.as_str())) {
                wrong.push(format!("src/{name}:{}: a path of a machine", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
