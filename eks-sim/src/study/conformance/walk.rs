//! Finding vector files.

use std::fs;
use std::path::{Path, PathBuf};

use super::ConformanceError;

/// Folders may nest this deep; a link that leads back up ends here.
const DEEPEST: usize = 32;

/// The `*.json` files under `paths`: files as given, folders walked whole, names in order.
pub(super) fn vectors(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ConformanceError> {
    let mut found = Vec::new();
    for path in paths {
        if is_folder(path)? {
            let before = found.len();
            folder(path, 0, &mut found)?;
            if found.len() == before {
                return Err(ConformanceError::NoVector(path.clone()));
            }
        } else {
            found.push(path.clone());
        }
    }
    if found.is_empty() {
        return Err(ConformanceError::NoPath);
    }
    Ok(found)
}

fn folder(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), ConformanceError> {
    if depth > DEEPEST {
        return Err(ConformanceError::TooDeep(path.to_owned()));
    }
    let unreadable = |source| ConformanceError::Unreadable { path: path.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for entry in entries {
        if is_folder(&entry)? {
            folder(&entry, depth + 1, found)?;
        } else if entry.extension().is_some_and(|extension| extension == "json") {
            found.push(entry);
        }
    }
    Ok(())
}

fn is_folder(path: &Path) -> Result<bool, ConformanceError> {
    fs::metadata(path)
        .map(|metadata| metadata.is_dir())
        .map_err(|source| ConformanceError::Unreadable { path: path.to_owned(), source })
}
