//! Bytes of a file into a text: size, encoding, byte-order marks.

use super::codes;
use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::source::{SourceId, SourceSpan, Sources};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Largest file read.
pub const MAX_FILE: u64 = 256 << 20;

/// Reads a file, `-` meaning standard input, into `sources`; a mistake is reported.
pub fn read_file(path: &Path, sources: &mut Sources, out: &mut Diagnostics) -> Option<SourceId> {
    let name = path.to_string_lossy().into_owned();
    let bytes = match bytes_of(path) {
        Ok(bytes) => bytes,
        Err((code, message, help)) => {
            let id = sources.add(name, "");
            let span = SourceSpan::new(id, 0, 0);
            out.push(Diagnostic::new(sources, Severity::Error, code, span, message, help));
            return None;
        }
    };
    add_bytes(&name, bytes, sources, out)
}

type Refusal = (&'static str, String, &'static str);

fn bytes_of(path: &Path) -> Result<Vec<u8>, Refusal> {
    let io = |e: std::io::Error| {
        let help = match e.kind() {
            std::io::ErrorKind::NotFound => {
                "check the path; paths in a scenario are relative to its file"
            }
            std::io::ErrorKind::PermissionDenied => "give yourself the right to read it",
            _ => "check that it is a readable file",
        };
        (codes::UNREADABLE, format!("cannot read it: {}", plain_io(&e)), help)
    };
    let too_large = |size: String| {
        let message = format!("the file has {size}; at most {} MiB are read", MAX_FILE >> 20);
        (
            codes::TOO_LARGE,
            message,
            "split it, or dump only the kinds that matter: `kubectl get deploy,sts,ds,cronjob,hpa,pdb,svc -A -o json`",
        )
    };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    } else {
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if meta.is_dir() {
            let help = "give a file, or a pattern such as `dir/**/*.yaml`";
            return Err((codes::UNREADABLE, "this is a folder, not a file".to_owned(), help));
        }
        if meta.len() > MAX_FILE {
            return Err(too_large(format!("{} MiB", meta.len() >> 20)));
        }
        // A pipe or device has no length; the bound holds all the same.
        bytes.reserve(usize::try_from(meta.len()).unwrap_or(0));
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(too_large(format!("more than {} MiB", MAX_FILE >> 20)));
    }
    Ok(bytes)
}

fn plain_io(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => e.to_string(),
    }
}

/// Adds bytes as a source; texts that are not UTF-8 or hold NUL bytes are reported.
pub fn add_bytes(
    name: &str,
    mut bytes: Vec<u8>,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Option<SourceId> {
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        bytes.drain(..3);
    }
    let problem = |at: usize, code, message: String, help| Some((at, code, message, help));
    let found = match utf16(&bytes) {
        Some(which) => problem(
            0,
            codes::NOT_UTF8,
            format!("the file is {which}, not UTF-8"),
            "save it as UTF-8; in PowerShell: `kubectl get … -o yaml | Out-File -Encoding utf8 dump.yaml`",
        ),
        None => match core::str::from_utf8(&bytes) {
            Err(e) => problem(
                e.valid_up_to(),
                codes::NOT_UTF8,
                format!("byte 0x{:02x} is not UTF-8", bytes.get(e.valid_up_to()).unwrap_or(&0)),
                "save the file as UTF-8, for example `iconv -f latin1 -t utf-8`",
            ),
            Ok(text) => text.find('\0').and_then(|at| {
                let help = "remove it; a text file has no NUL bytes";
                problem(at, codes::NUL_BYTE, "a NUL byte".to_owned(), help)
            }),
        },
    };
    let Some((at, code, message, help)) = found else {
        let text = String::from_utf8(bytes).unwrap_or_default();
        return Some(sources.add(name, Arc::<str>::from(text)));
    };
    // The text up to the mistake gives it its line and column; the rest is not worth keeping.
    let end = (at + 80).min(bytes.len());
    let readable = String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[])).replace('\0', "␀");
    let id = sources.add(name, if at == 0 { String::new() } else { readable });
    let span = SourceSpan::new(id, at, at + 1);
    out.push(Diagnostic::new(sources, Severity::Error, code, span, message, help));
    None
}

fn utf16(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] => Some("UTF-16 (little endian)"),
        [0xfe, 0xff, ..] => Some("UTF-16 (big endian)"),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some("UTF-16 (little endian)"),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some("UTF-16 (big endian)"),
        _ => None,
    }
}
