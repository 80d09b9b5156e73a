//! `eks-sim init`: a commented scenario for people's manifests.

mod scenario;
mod sizing;

use crate::args::InitArgs;
use crate::output::{self, IO_FAILED, WRONG_INPUT};
use crate::settings;
use eks_sim::catalog::Region;
use eks_sim::spec;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Name of the file that is written beside manifests.
const FILE: &str = "eks-sim.yaml";

/// Runs the command.
pub fn run(args: &InitArgs) -> ExitCode {
    execute(args).unwrap_or_else(|code| code)
}

fn execute(args: &InitArgs) -> Result<ExitCode, ExitCode> {
    let Some(region) = Region::all().find(|r| r.name() == args.region) else {
        let names: Vec<_> = Region::all().map(Region::name).collect();
        let message = format!("unknown region `{}`; use {}", args.region, names.join(", "));
        return Err(output::fail(WRONG_INPUT, &message));
    };
    let place = Place::of(args)?;
    if let Some(target) = place.target.as_ref().filter(|t| t.exists() && !args.force) {
        let message = format!("`{}` exists; use --force to replace it", target.display());
        return Err(output::fail(IO_FAILED, &message));
    }
    let loaded = spec::load_manifests_only(&place.base, &place.patterns, &[])
        .map_err(|found| settings::refused(&found))?;
    crate::render::warnings(&loaded.warnings);
    let text = scenario::write(&scenario::Input {
        name: &place.name,
        patterns: &place.patterns,
        manifests: &loaded.manifests,
        region,
    });
    match &place.target {
        None => output::print(&text)?,
        Some(target) => {
            std::fs::write(target, &text).map_err(|error| {
                output::fail(IO_FAILED, &format!("cannot write `{}`: {error}", target.display()))
            })?;
            let path = target.display();
            output::print(&format!(
                "wrote {path}: look at the lines marked GUESS, then\n  eks-sim run {path}\n"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where manifests are and the scenario goes.
struct Place {
    name: String,
    base: PathBuf,
    patterns: Vec<String>,
    /// None for standard output.
    target: Option<PathBuf>,
}

impl Place {
    fn of(args: &InitArgs) -> Result<Self, ExitCode> {
        let unreadable = |error: std::io::Error| {
            output::fail(IO_FAILED, &format!("cannot read `{}`: {error}", args.path.display()))
        };
        let stdin = args.path == Path::new("-");
        let chosen = args.out.as_ref().map(|out| (out != Path::new("-")).then(|| out.clone()));
        if stdin {
            let patterns = vec!["-".to_owned()];
            let (name, base) = ("cluster".to_owned(), PathBuf::new());
            return Ok(Self { name, base, patterns, target: chosen.unwrap_or(None) });
        }
        let meta = std::fs::metadata(&args.path).map_err(unreadable)?;
        let (folder, patterns) = if meta.is_dir() {
            (args.path.clone(), entries(&args.path).map_err(unreadable)?)
        } else {
            let name = args.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (args.path.parent().unwrap_or(Path::new("")).to_owned(), vec![name])
        };
        if patterns.is_empty() {
            let message = format!("`{}` has no .yaml, .yml or .json file", args.path.display());
            return Err(output::fail(WRONG_INPUT, &message));
        }
        let target = chosen.unwrap_or_else(|| Some(folder.join(FILE)));
        let real = args.path.canonicalize().unwrap_or_else(|_| args.path.clone());
        let stem = real.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let place = Self { name: dns_name(&stem), base: folder, patterns, target };
        Ok(place.relative_to_target())
    }

    /// A scenario elsewhere names its manifests by their whole paths.
    fn relative_to_target(mut self) -> Self {
        let parent = self.target.as_ref().and_then(|t| t.parent());
        let whole = |path: &Path| path.canonicalize().ok();
        let here = |path: &Path| {
            if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
        };
        let same = parent.is_some_and(|p| whole(&here(p)) == whole(&here(&self.base)));
        if !same && let Some(base) = whole(&here(&self.base)) {
            let full = |p: &String| base.join(p).to_string_lossy().into_owned();
            self.patterns = self.patterns.iter().map(full).collect();
        }
        self
    }
}

/// The files and folders with manifests directly in a folder, sorted; hidden ones and the
/// scenario itself are left out.
fn entries(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = if path.is_dir() {
            has_manifest(&path, 8)
        } else {
            spec::manifest::files::is_manifest_name(&path)
        };
        if wanted && name != FILE && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn has_manifest(folder: &Path, depth: usize) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        let below = depth > 0 && path.is_dir() && has_manifest(&path, depth - 1);
        below || (path.is_file() && spec::manifest::files::is_manifest_name(&path))
    })
}

/// Lower-case letters, digits and `-`.
fn dns_name(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "cluster".to_owned() } else { plain.chars().take(50).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFESTS: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: web, resources: {requests: {cpu: 500m, memory: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 4
  maxReplicas: 40
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}
";

    fn init(folder: &Path) -> ExitCode {
        let region = "us-east-1".to_owned();
        run(&InitArgs { path: folder.to_owned(), region, ..InitArgs::default() })
    }

    #[test]
    fn the_scenario_loads_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop.yaml"), MANIFESTS).unwrap();
        assert_eq!(init(folder.path()), ExitCode::SUCCESS);
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema="), "{text}");
        assert!(text.contains("GUESS"), "{text}");
        let loaded = spec::load(&path, &[]).map_err(|d| d.render()).unwrap();
        let model = crate::adapter::model(&loaded.scenario, &loaded.manifests, &loaded);
        assert!(model.is_ok());
        let spec = &loaded.scenario.spec;
        assert_eq!(spec.traffic[0].to, "Service/shop/web");
        assert_eq!(loaded.manifests.deployments.len(), 1);
        let group = &spec.cluster.node_groups[0];
        assert!(group.max_size > group.desired_size, "room for 40 replicas");
        assert!(spec.cluster.autoscaler.cluster_autoscaler.is_some());
        // Again: refused, because the file is there.
        assert_eq!(init(folder.path()), ExitCode::from(IO_FAILED));
    }

    #[test]
    fn folders_without_manifests_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(init(folder.path()), ExitCode::from(WRONG_INPUT));
        assert_eq!(init(&folder.path().join("none")), ExitCode::from(IO_FAILED));
    }

    #[test]
    fn names_are_made_fit() {
        assert_eq!(dns_name("My Shop_2"), "my-shop-2");
        assert_eq!(dns_name("…"), "cluster");
    }
}
