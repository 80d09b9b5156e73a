//! Files, folders and patterns into a sorted list of manifest files.

use crate::spec::codes;
use crate::spec::diagnostic::Reporter;
use crate::spec::source::SourceSpan;
use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Files looked at below one pattern or folder.
const MOST_FILES: usize = 100_000;
/// Deepest folder below a pattern's fixed part.
const MOST_DEEP: usize = 64;

/// Whether the name is one of a manifest.
#[must_use]
pub fn is_manifest_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("yaml" | "yml" | "json"))
}

/// The files that `pattern` names, sorted. `at` is where the pattern stands, for messages.
pub fn expand(
    base: &Path,
    pattern: &str,
    at: SourceSpan,
    reporter: &mut Reporter<'_>,
) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    if pattern == "-" {
        found.insert(PathBuf::from("-"));
        return found;
    }
    let whole = tidy(&base.join(pattern));
    if whole.is_dir() {
        walk(&whole, 0, &mut |path| is_manifest_name(path), &mut found);
        if found.is_empty() {
            let message = format!("the folder `{pattern}` has no .yaml, .yml or .json file");
            reporter.error(codes::NO_MATCH, at, message, "give a folder that holds manifests");
        }
        return found;
    }
    if whole.exists() {
        found.insert(whole);
        return found;
    }
    if !pattern.contains(['*', '?', '[', '{']) {
        let message = format!("no such file or folder: `{}`", whole.display());
        let help = "check the path; paths in a scenario are relative to its file";
        reporter.error(codes::UNREADABLE, at, message, help);
        return found;
    }
    let Some((root, matcher)) = glob(&whole, pattern, at, reporter) else { return found };
    walk(&root, 0, &mut |path| matcher.is_match(path) && is_manifest_name(path), &mut found);
    if found.is_empty() {
        let message = format!("`{pattern}` matches no .yaml, .yml or .json file");
        let help = format!("correct the pattern; it is looked up in `{}`", root.display());
        reporter.error(codes::NO_MATCH, at, message, help);
    }
    found
}

/// The folder before the first special character, and the matcher.
fn glob(
    whole: &Path,
    pattern: &str,
    at: SourceSpan,
    reporter: &mut Reporter<'_>,
) -> Option<(PathBuf, GlobMatcher)> {
    let special =
        |c: &Component<'_>| c.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let root: PathBuf = whole.components().take_while(|c| !special(c)).collect();
    let root = if root.as_os_str().is_empty() { PathBuf::from(".") } else { root };
    match GlobBuilder::new(&whole.to_string_lossy()).literal_separator(true).build() {
        Ok(glob) => Some((root, glob.compile_matcher())),
        Err(e) => {
            let message = format!("`{pattern}` is not a pattern: {}", e.kind());
            let help = "use `*` within a folder, `**` across folders, `?` and `[abc]`";
            reporter.error(codes::BAD_PATTERN, at, message, help);
            None
        }
    }
}

/// Removes `.` and resolves `..` in the text of a path.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::Normal(_))) =>
            {
                out.pop();
            }
            _ => out.push(part),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

fn walk(
    folder: &Path,
    depth: usize,
    wanted: &mut impl FnMut(&Path) -> bool,
    found: &mut BTreeSet<PathBuf>,
) {
    if depth > MOST_DEEP || found.len() >= MOST_FILES {
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let path = if folder == Path::new(".") { entry.file_name().into() } else { entry.path() };
        // A link to a folder is not followed, so that a cycle of links ends.
        let folder_itself = entry.file_type().is_ok_and(|t| t.is_dir());
        if folder_itself && !hidden {
            walk(&path, depth + 1, wanted, found);
        } else if !hidden && wanted(&path) && path.is_file() {
            found.insert(path);
        }
    }
}
