//! What the flags mean: scenario, variant, seed, replications, stop rule.

use crate::adapter;
use crate::args::{ModelArgs, StudyArgs};
use crate::output::{self, IO_FAILED, WRONG_INPUT};
use crate::render;
use eks_sim::report::render::Color;
use eks_sim::spec::scenario::Scenario;
use eks_sim::spec::{Diagnostics, Loaded, Manifests, codes};
use eks_sim::study::objectives::column_of;
use eks_sim::study::replicate::Precision;
use eks_sim::study::{Replicate, StudyInfo};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// A scenario that is ready to run.
pub struct Prepared {
    /// What reports say about it.
    pub info: StudyInfo,
    /// Replications, where no flag says otherwise.
    pub replications: u32,
    /// The model.
    pub model: Box<dyn Replicate>,
}

/// `PATH=VALUE`.
pub fn split_sets(sets: &[String]) -> Result<Vec<(String, String)>, ExitCode> {
    let split = |set: &String| {
        let (path, value) = set.split_once('=')?;
        (!path.trim().is_empty()).then(|| (path.trim().to_owned(), value.to_owned()))
    };
    let one = |set: &String| {
        split(set).ok_or_else(|| {
            let mend = "write PATH=VALUE, for example `--set cluster.version=\"1.34\"`";
            output::fail(WRONG_INPUT, &format!("`--set {set}` has no path and value; {mend}"))
        })
    };
    sets.iter().map(one).collect()
}

/// A share such as `2%` or `0.02`.
pub fn share(text: &str) -> Result<f64, ExitCode> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok().map(|p| p / 100.0),
        None => text.trim().parse().ok(),
    };
    value.filter(|v| *v > 0.0 && *v < 1.0).ok_or_else(|| {
        let mend = "write for example `2%` or `0.02`";
        output::fail(WRONG_INPUT, &format!("`--precision {text}` is no share; {mend}"))
    })
}

/// Loads a scenario; mistakes and warnings go to standard error.
pub fn load(path: &Path, model: &ModelArgs, quiet: bool) -> Result<Loaded, ExitCode> {
    let sets = split_sets(&model.set)?;
    match eks_sim::spec::load(path, &sets) {
        Ok(loaded) => {
            if !quiet {
                render::warnings(&loaded.warnings);
            }
            Ok(loaded)
        }
        Err(found) => Err(refused(&found)),
    }
}

/// Shows why an input is refused.
pub fn refused(found: &Diagnostics) -> ExitCode {
    let color = if output::error_colors() { Color::Always } else { Color::Never };
    output::note(&render::diagnostics(found, color));
    ExitCode::from(refusal_code(found))
}

/// 3 if the scenario itself cannot be read, else 2.
fn refusal_code(found: &Diagnostics) -> u8 {
    let unreadable = found.error_count() == 1 && found.iter().any(|d| d.code == codes::UNREADABLE);
    if unreadable && found.iter().all(|d| d.location.line <= 1 && d.location.excerpt.is_empty()) {
        IO_FAILED
    } else {
        WRONG_INPUT
    }
}

/// The scenario or one of its variants.
pub fn chosen<'a>(
    loaded: &'a Loaded,
    variant: Option<&str>,
) -> Result<(&'a Scenario, &'a Manifests), ExitCode> {
    let Some(wanted) = variant else { return Ok((&loaded.scenario, &loaded.manifests)) };
    let found = loaded.variants.iter().find(|v| v.name == wanted);
    let found = found.ok_or_else(|| unknown_variant(loaded, wanted))?;
    Ok((&found.scenario, found.manifests.as_ref().unwrap_or(&loaded.manifests)))
}

/// Chooses the scenario or one of its variants, applies the seed, builds the model.
pub fn prepare(
    loaded: &Loaded,
    variant: Option<&str>,
    seed: Option<u64>,
    quiet: bool,
) -> Result<Prepared, ExitCode> {
    let mut scenario = loaded.scenario.clone();
    let (mut manifests, mut hash) = (&loaded.manifests, loaded.hash);
    let mut name = scenario.metadata.name.clone();
    if let Some(wanted) = variant {
        let Some(found) = loaded.variants.iter().find(|v| v.name == wanted) else {
            return Err(unknown_variant(loaded, wanted));
        };
        scenario = found.scenario.clone();
        manifests = found.manifests.as_ref().unwrap_or(manifests);
        hash = found.hash;
        name = format!("{name}+{wanted}");
    }
    if let Some(seed) = seed {
        scenario.spec.seed = seed;
    }
    let spec = &scenario.spec;
    let info = StudyInfo {
        name,
        description: scenario.metadata.description.clone(),
        seed: spec.seed,
        scenario_hash: hash,
        duration: spec.duration,
        warmup: spec.warmup,
        objectives: spec.objectives.clone(),
    };
    let (model, ignored) =
        adapter::model(&scenario, manifests, loaded).map_err(|found| refused(&found))?;
    if !quiet {
        render::warnings(&ignored);
    }
    let replications = spec.replications.max(1);
    Ok(Prepared { info, replications, model })
}

fn unknown_variant(loaded: &Loaded, wanted: &str) -> ExitCode {
    let names: Vec<_> = loaded.variants.iter().map(|v| v.name.as_str()).collect();
    let known = if names.is_empty() {
        "the scenario has none".to_owned()
    } else {
        format!("it has {}", names.join(", "))
    };
    output::fail(WRONG_INPUT, &format!("no variant `{wanted}`; {known}"))
}

/// Columns that `--precision` watches: cost and what the objectives ask.
pub fn watched(info: &StudyInfo) -> Vec<usize> {
    let cost = column_of("cost_usd_per_month", None).ok();
    let objectives = info.objectives.iter();
    let objectives = objectives.filter_map(|o| column_of(&o.metric, o.stat.as_deref()).ok());
    let mut columns: Vec<usize> = cost.into_iter().chain(objectives).map(|c| c.0).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Replications that `--precision` takes at most when nothing else is said.
pub const MOST_REPLICATIONS: u32 = 10_000;

/// Replications and stop rule.
pub fn extent(
    prepared: &Prepared,
    study: &StudyArgs,
    precision: Option<f64>,
) -> (u32, Option<Precision>) {
    let default = if precision.is_some() { MOST_REPLICATIONS } else { prepared.replications };
    let rule = precision.map(|relative| Precision { relative, columns: watched(&prepared.info) });
    (study.replications.unwrap_or(default), rule)
}

/// From the first Ctrl-C on nothing new is started; a second one ends the program.
pub fn catch_interrupts() {
    let handler = || {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(output::INTERRUPTED));
        }
        output::note("\ninterrupted: finishing the running replications (again to give up)\n");
    };
    // Without a handler Ctrl-C still ends the program, only less politely.
    let _ = ctrlc::set_handler(handler);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_sets_read() {
        assert_eq!(share("2%").ok(), Some(0.02));
        assert_eq!(share("0.05").ok(), Some(0.05));
        for bad in ["", "0", "-1%", "100%", "x", "NaN"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        let sets = split_sets(&["a.b = 3=4".to_owned()]).unwrap();
        assert_eq!(sets, [("a.b".to_owned(), " 3=4".to_owned())]);
        assert!(split_sets(&["nothing".to_owned()]).is_err());
    }

    #[test]
    fn precision_watches_cost_and_objectives() {
        let objectives = serde_json::json!([
            {"metric": "pod_startup_seconds", "stat": "p99", "max": "60s"},
            {"metric": "cost_usd_per_month", "max": 1}
        ]);
        let objectives = serde_json::from_value(objectives).unwrap();
        let info = StudyInfo { objectives, ..StudyInfo::default() };
        assert_eq!(watched(&info).len(), 2);
    }
}
