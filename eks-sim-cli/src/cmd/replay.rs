//! `eks-sim replay`: a recorded run again, byte for byte.

use super::run::{simulate, timing};
use crate::args::{ModelArgs, ReplayArgs, StudyArgs};
use crate::output::{self, INTERRUPTED, IO_FAILED, MISSED, WRONG_INPUT};
use crate::settings;
use eks_sim::report::files::{RunRecord, TIMING, study_files};
use eks_sim::report::folder;
use eks_sim::study::replicate::{Ended, Precision};
use eks_sim::study::summary::Summary;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &ReplayArgs) -> ExitCode {
    execute(args).unwrap_or_else(|code| code)
}

fn execute(args: &ReplayArgs) -> Result<ExitCode, ExitCode> {
    let record = read(&args.record)?;
    if let Some(target) = &args.out {
        folder::check(target, args.force)
            .map_err(|error| output::fail(IO_FAILED, &error.to_string()))?;
    }
    let model = ModelArgs { set: record.set.clone(), seed: Some(record.seed) };
    let loaded = settings::load(&PathBuf::from(&record.scenario), &model, true)?;
    let prepared = settings::prepare(&loaded, record.variant.as_deref(), Some(record.seed), true)?;
    let hash = format!("{:016x}", prepared.info.scenario_hash);
    if hash != record.scenario_hash {
        let message = format!(
            "`{}` or its manifests are not what was run: their hash is {hash}, recorded is {}",
            record.scenario, record.scenario_hash
        );
        return Err(output::fail(WRONG_INPUT, &message));
    }
    settings::catch_interrupts();
    let study_args = StudyArgs { threads: args.threads, quiet: args.quiet, ..StudyArgs::default() };
    let (replications, rule) = extent(&record, &prepared);
    let (study, wall) = simulate(&prepared, replications, rule, record.detail, &study_args);
    if study.ended == Ended::Interrupted {
        return Err(output::fail(INTERRUPTED, "interrupted; nothing was compared"));
    }
    let mut study = study;
    if record.ended == "interrupted" {
        // The record is of a prefix, which the replay made whole.
        study.ended = Ended::Interrupted;
    }
    let summary = Summary::new(&prepared.info, &study);
    let again = record.clone().completed(&prepared.info, &study, &summary);
    let files = study_files(&again, &study, &summary, &timing(&study, wall, &study_args));
    if let Some(target) = &args.out {
        folder::write(target, &files, args.force)
            .map_err(|error| output::fail(IO_FAILED, &error.to_string()))?;
    }
    verdict(&args.record, &record, &files)
}

fn read(path: &Path) -> Result<RunRecord, ExitCode> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        output::fail(IO_FAILED, &format!("cannot read `{}`: {error}", path.display()))
    })?;
    let record: RunRecord = serde_json::from_str(&text).unwrap_or_default();
    if record.format != folder::MARKER || record.scenario.is_empty() {
        let mend = "give the `run.json` of a folder that `eks-sim run` wrote";
        let message = format!("`{}` records no run; {mend}", path.display());
        return Err(output::fail(WRONG_INPUT, &message));
    }
    if record.scenario == "-" {
        let message = "the scenario came from standard input and is not recorded";
        return Err(output::fail(WRONG_INPUT, message));
    }
    let version = env!("CARGO_PKG_VERSION");
    if record.version != version {
        output::note(&format!(
            "warning: recorded by version {}, this is {version}; bytes may differ\n",
            record.version
        ));
    }
    Ok(record)
}

/// An interrupted run is replayed as far as it got.
fn extent(record: &RunRecord, prepared: &settings::Prepared) -> (u32, Option<Precision>) {
    if record.ended == "interrupted" {
        return (u32::try_from(record.finished).unwrap_or(u32::MAX), None);
    }
    let columns = settings::watched(&prepared.info);
    let rule = record.precision.map(|relative| Precision { relative, columns });
    (record.replications, rule)
}

/// Compares with the files beside the record.
fn verdict(
    path: &Path,
    record: &RunRecord,
    files: &[(String, Vec<u8>)],
) -> Result<ExitCode, ExitCode> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = |name: &str| std::fs::read(folder.join(name)).ok();
    let compared: Vec<_> = files.iter().filter(|f| f.0 != TIMING).collect();
    let differing: Vec<_> = compared
        .iter()
        .filter(|(name, bytes)| beside(name).is_some_and(|old| old != *bytes))
        .map(|f| f.0.as_str())
        .collect();
    let missing = compared.iter().filter(|f| beside(&f.0).is_none()).count();
    if !differing.is_empty() {
        output::print(&format!("replay: differs in {}\n", differing.join(", ")))?;
        return Ok(ExitCode::from(MISSED));
    }
    let same = compared.len() - missing;
    let note = if missing > 0 { format!(", {missing} not there") } else { String::new() };
    output::print(&format!("replay: {same} files the same{note}; digest {}\n", record.digest))?;
    Ok(ExitCode::SUCCESS)
}
