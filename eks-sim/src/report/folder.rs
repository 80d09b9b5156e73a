//! The output folder: written whole beside its place, then renamed; never half overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// First key of `run.json`; a folder with such a file is ours to replace.
pub const MARKER: &str = "eks-sim-run/v1";

/// Why a folder is not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Something is there that this program did not write.
    #[error(
        "`{}` is not empty and was not written by eks-sim; choose another --out, or use --force to replace the whole folder",
        .0.display()
    )]
    Foreign(PathBuf),
    /// The path cannot be an output folder.
    #[error("`{}` {why}; choose another --out", path.display())]
    Unsuitable {
        /// The path.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// Reading or writing failed.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { action, path, source }
}

/// Says before any work is done whether a folder could be written.
pub fn check(target: &Path, force: bool) -> Result<(), FolderError> {
    let unsuitable = |why| Err(FolderError::Unsuitable { path: target.to_owned(), why });
    let meta = match fs::metadata(target) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", target)(error)),
    };
    if !meta.is_dir() {
        return unsuitable("is not a folder");
    }
    let real = target.canonicalize().map_err(failed("look at", target))?;
    let here = std::env::current_dir().unwrap_or_default();
    if real.parent().is_none() || here.canonicalize().unwrap_or(here).starts_with(&real) {
        return unsuitable("holds the current folder, which cannot be replaced");
    }
    let mut entries = fs::read_dir(target).map_err(failed("read", target))?;
    if entries.next().is_none() || force || is_ours(target) {
        return Ok(());
    }
    Err(FolderError::Foreign(target.to_owned()))
}

/// Whether this program wrote the folder.
#[must_use]
pub fn is_ours(folder: &Path) -> bool {
    let Ok(text) = fs::read_to_string(folder.join("run.json")) else { return false };
    serde_json::from_str::<serde_json::Value>(&text)
        .is_ok_and(|run| run.get("format").and_then(|f| f.as_str()) == Some(MARKER))
}

/// Writes a folder whole: all files into a new folder beside it, which then takes its place.
/// Names may contain `/`.
pub fn write(target: &Path, files: &[(String, Vec<u8>)], force: bool) -> Result<(), FolderError> {
    check(target, force)?;
    // A link keeps pointing where it points: what it names is replaced.
    let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned());
    let Some(name) = name else {
        return Err(FolderError::Unsuitable { path: target, why: "has no name" });
    };
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(failed("create", &parent))?;
    let id = std::process::id();
    let fresh = Temporary(parent.join(format!(".{name}.eks-sim-{id}.new")));
    let old = parent.join(format!(".{name}.eks-sim-{id}.old"));
    fill(&fresh.0, files)?;
    let replaces = target.exists();
    if replaces {
        fs::rename(&target, &old).map_err(failed("replace", &target))?;
    }
    if let Err(error) = fs::rename(&fresh.0, &target) {
        if replaces {
            // Put back what was there; if even that fails, the message names the place.
            fs::rename(&old, &target).map_err(failed("put back", &old))?;
        }
        return Err(failed("write", &target)(error));
    }
    if replaces {
        fs::remove_dir_all(&old).map_err(failed("remove the replaced folder", &old))?;
    }
    Ok(())
}

/// A folder that disappears unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a successful rename there is nothing left to remove.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fill(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), FolderError> {
    fs::create_dir(folder).map_err(failed("create", folder))?;
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed("create", parent))?;
        }
        fs::write(&path, bytes).map_err(failed("write", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Vec<(String, Vec<u8>)> {
        let run = format!("{{\"format\": \"{MARKER}\"}}").into_bytes();
        vec![("run.json".into(), run), ("plots/a.svg".into(), text.as_bytes().to_vec())]
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_of_ours_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("deep/out");
        write(&out, &files("one"), false).unwrap();
        fs::write(out.join("stray"), "x").unwrap();
        write(&out, &files("two"), false).unwrap();
        assert_eq!(names(&out), ["plots", "run.json"]);
        assert_eq!(fs::read_to_string(out.join("plots/a.svg")).unwrap(), "two");
        assert_eq!(names(&root.path().join("deep")), ["out"], "nothing temporary is left");
    }

    #[test]
    fn a_foreign_folder_is_refused_unless_forced() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        fs::create_dir(&out).unwrap();
        write(&out, &files("into an empty folder"), false).unwrap();
        fs::remove_file(out.join("run.json")).unwrap();
        let error = write(&out, &files("two"), false).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");
        fs::write(out.join("run.json"), "{\"format\": \"other\"}").unwrap();
        assert!(matches!(check(&out, false), Err(FolderError::Foreign(_))));
        write(&out, &files("two"), true).unwrap();
        assert_eq!(fs::read_to_string(out.join("plots/a.svg")).unwrap(), "two");
    }

    #[test]
    fn files_and_the_current_folder_are_unsuitable() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(write(&file, &files("x"), true), Err(FolderError::Unsuitable { .. })));
        assert!(matches!(check(Path::new("."), true), Err(FolderError::Unsuitable { .. })));
        assert!(matches!(check(Path::new("/"), true), Err(FolderError::Unsuitable { .. })));
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        write(&out, &files("one"), false).unwrap();
        let mut bad = files("two");
        bad.push(("run.json/below-a-file".into(), Vec::new()));
        assert!(matches!(write(&out, &bad, false), Err(FolderError::Io { .. })));
        assert_eq!(fs::read_to_string(out.join("plots/a.svg")).unwrap(), "one");
        assert_eq!(names(root.path()), ["out"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, &files("one"), false).unwrap();
        assert!(real.join("run.json").exists());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
