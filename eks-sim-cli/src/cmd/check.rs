//! `eks-sim check`: scenarios and manifests, without running them.

use crate::adapter;
use crate::args::{CheckArgs, Format};
use crate::output::{self, IO_FAILED, WRONG_INPUT};
use crate::render;
use crate::settings;
use eks_sim::spec::{self, Diagnostics, Loaded};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &CheckArgs) -> ExitCode {
    execute(args).unwrap_or_else(|code| code)
}

#[derive(Default)]
struct Findings {
    /// Errors and warnings of the loader.
    found: Vec<Diagnostics>,
    /// What became of each input, in words.
    read: Vec<String>,
}

fn execute(args: &CheckArgs) -> Result<ExitCode, ExitCode> {
    let sets = settings::split_sets(&args.set)?;
    let absent = |path: &&PathBuf| path.as_path() != Path::new("-") && !path.exists();
    if let Some(path) = args.paths.iter().find(absent) {
        let message = format!("no such file or folder: `{}`", path.display());
        return Err(output::fail(IO_FAILED, &message));
    }
    let (scenarios, manifests): (Vec<_>, Vec<_>) =
        args.paths.iter().partition(|path| is_scenario(path));
    let mut findings = Findings::default();
    for path in scenarios {
        findings.add(&path.display().to_string(), spec::load(path, &sets));
    }
    if !manifests.is_empty() {
        let patterns: Vec<_> = manifests.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        let name = patterns.join(", ");
        findings.add(&name, spec::load_manifests_only(&PathBuf::new(), &patterns, &sets));
    }
    let bad = findings.is_bad(args.strict);
    if !args.quiet {
        output::print(&findings.text(args.format))?;
    }
    Ok(if bad { ExitCode::from(WRONG_INPUT) } else { ExitCode::SUCCESS })
}

impl Findings {
    fn add(&mut self, name: &str, result: Result<Loaded, Diagnostics>) {
        let before = self.found.len();
        let mut contents = None;
        match result {
            Ok(loaded) => {
                self.models(&loaded);
                let (objects, variants) = (loaded.manifests.len(), loaded.variants.len());
                let of = |n: usize, what: &str| counted(n, what);
                contents = Some(format!("{}, {}", of(objects, "object"), of(variants, "variant")));
                self.found.push(loaded.warnings);
            }
            Err(found) => self.found.push(found),
        }
        let found = &self.found[before..];
        let errors: usize = found.iter().map(Diagnostics::error_count).sum();
        let warnings: usize = found.iter().map(Diagnostics::warning_count).sum();
        let result = format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"));
        self.read.push(match contents.filter(|_| errors == 0) {
            Some(contents) => format!("checked {name}: {contents}; {result}"),
            None => format!("refused {name}: {result}"),
        });
    }

    /// Builds the models of a scenario and of its variants.
    fn models(&mut self, loaded: &Loaded) {
        let mut models = vec![adapter::model(&loaded.scenario, &loaded.manifests, loaded)];
        for variant in &loaded.variants {
            let manifests = variant.manifests.as_ref().unwrap_or(&loaded.manifests);
            let found = adapter::model(&variant.scenario, manifests, loaded);
            // What the base says too is said once.
            models.push(found.map(|(model, _)| (model, Diagnostics::new())));
        }
        for model in models {
            match model {
                Ok((_, ignored)) => self.found.push(ignored),
                Err(found) => self.found.push(found),
            }
        }
    }

    fn is_bad(&self, strict: bool) -> bool {
        let warned = strict && self.found.iter().any(|d| d.warning_count() > 0);
        warned || self.found.iter().any(Diagnostics::has_errors)
    }

    fn text(&self, format: Format) -> String {
        if format == Format::Json {
            let lists = self.found.iter().map(Diagnostics::to_json);
            let lists =
                lists.filter_map(|l| serde_json::from_str::<Vec<serde_json::Value>>(&l).ok());
            let all: Vec<_> = lists.flatten().collect();
            return format!("{:#}\n", serde_json::Value::Array(all));
        }
        let color = render::color();
        let mut text: String =
            self.found.iter().map(|found| render::diagnostics(found, color)).collect();
        for read in &self.read {
            text.push_str(&format!("{read}\n"));
        }
        text
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Whether a path is a scenario: standard input is, folders are not, files say so themselves.
fn is_scenario(path: &Path) -> bool {
    const LOOKED_AT: u64 = 64 << 10;
    if path == Path::new("-") {
        return true;
    }
    let Ok(file) = std::fs::File::open(path) else { return false };
    let mut start = Vec::new();
    if file.take(LOOKED_AT).read_to_end(&mut start).is_err() {
        return false;
    }
    let text = String::from_utf8_lossy(&start);
    let says = |key: &str, value: &str| {
        text.lines().any(|line| {
            let line = line.trim_start_matches('\u{feff}');
            let rest = line.strip_prefix(key).and_then(|rest| rest.trim_start().strip_prefix(':'));
            rest.is_some_and(|rest| rest.trim().trim_matches(['"', '\'']).starts_with(value))
        })
    };
    says("apiVersion", "eks-sim/") || says("kind", "Scenario")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_told_from_manifests() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        assert!(is_scenario(&write("a.yaml", "# hi\napiVersion: eks-sim/v1\nkind: Scenario\n")));
        assert!(is_scenario(&write("b.yaml", "kind: \"Scenario\"\r\n")));
        assert!(!is_scenario(&write("c.yaml", "apiVersion: v1\nkind: Pod\n")));
        assert!(!is_scenario(folder.path()));
        assert!(is_scenario(Path::new("-")));
    }

    #[test]
    fn a_manifest_is_checked_with_the_default_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod.yaml");
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: c, image: x}]\n";
        std::fs::write(&path, text).unwrap();
        let args = CheckArgs { paths: vec![path.clone()], quiet: true, ..CheckArgs::default() };
        assert_eq!(run(&args), ExitCode::SUCCESS);
        std::fs::write(&path, text.replace("x}]", "x")).unwrap();
        assert_eq!(run(&args), ExitCode::from(WRONG_INPUT));
    }

    #[test]
    fn the_closing_line_tells_checked_from_refused() {
        let folder = tempfile::tempdir().unwrap();
        let closing = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let mut findings = Findings::default();
            findings.add(name, spec::load(&path, &[]));
            findings.text(Format::Text).lines().last().unwrap_or_default().to_owned()
        };
        let head = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: a}\nspec:\n";
        let good = closing("good.yaml", &format!("{head}  duration: 1h\n"));
        assert_eq!(good, "checked good.yaml: 0 objects, 0 variants; 0 errors, 0 warnings");
        let bad = closing("bad.yaml", &format!("{head}  durations: 1h\n"));
        assert_eq!(bad, "refused bad.yaml: 1 error, 0 warnings");
    }
}
