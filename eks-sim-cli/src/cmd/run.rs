//! `eks-sim run`: a study, its summary, its output folder.

use crate::args::{Format, RunArgs, StudyArgs};
use crate::output::{self, INTERRUPTED, IO_FAILED, WRONG_INPUT};
use crate::render::{self, Meter};
use crate::settings::{self, Prepared, STOP};
use eks_sim::report::files::{RunRecord, Timing, study_files};
use eks_sim::report::{folder, render as text};
use eks_sim::study::replicate::{self, Ended, Precision, Study, StudyOptions};
use eks_sim::study::summary::Summary;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Runs the command.
pub fn run(args: &RunArgs) -> ExitCode {
    execute(args).unwrap_or_else(|code| code)
}

fn execute(args: &RunArgs) -> Result<ExitCode, ExitCode> {
    let precision = args.precision.as_deref().map(settings::share).transpose()?;
    let loaded = settings::load(&args.scenario, &args.model, args.study.quiet)?;
    let prepared =
        settings::prepare(&loaded, args.variant.as_deref(), args.model.seed, args.study.quiet)?;
    let (replications, rule) = settings::extent(&prepared, &args.study, precision);
    check_detail(args.detail.0, replications)?;
    let target = target(args, &prepared);
    if let Some(target) = &target {
        folder::check(target, args.out.force)
            .map_err(|error| output::fail(IO_FAILED, &error.to_string()))?;
    }
    settings::catch_interrupts();
    let (study, wall) = simulate(&prepared, replications, rule, args.detail.0, &args.study);
    if study.rows.is_empty() {
        return Err(output::fail(INTERRUPTED, "interrupted before a replication was finished"));
    }
    let summary = Summary::new(&prepared.info, &study);
    if let Some(target) = &target {
        let record = RunRecord {
            scenario: args.scenario.to_string_lossy().into_owned(),
            variant: args.variant.clone(),
            set: args.model.set.clone(),
            replications,
            precision,
            detail: args.detail.0,
            ..RunRecord::default()
        };
        let record = record.completed(&prepared.info, &study, &summary);
        let files = study_files(&record, &study, &summary, &timing(&study, wall, &args.study));
        folder::write(target, &files, args.out.force)
            .map_err(|error| output::fail(IO_FAILED, &error.to_string()))?;
    }
    output::print(&match args.format {
        Format::Text => text::text(&summary, render::color()),
        Format::Json => text::json(&summary),
        Format::Markdown => text::markdown(&summary),
    })?;
    if !args.study.quiet {
        closing(&study, wall, target.as_deref());
    }
    Ok(ExitCode::from(match study.ended {
        Ended::Interrupted => INTERRUPTED,
        _ => summary.exit_code,
    }))
}

fn check_detail(detail: Option<u32>, replications: u32) -> Result<(), ExitCode> {
    let Some(detail) = detail.filter(|d| *d >= replications) else { return Ok(()) };
    let last = replications.saturating_sub(1);
    let message =
        format!("`--detail {detail}` is past the last replication; use 0 to {last}, or `none`");
    Err(output::fail(WRONG_INPUT, &message))
}

/// Runs the replications with progress; answers the wall time too.
pub fn simulate(
    prepared: &Prepared,
    replications: u32,
    precision: Option<Precision>,
    detail: Option<u32>,
    args: &StudyArgs,
) -> (Study, Duration) {
    let threads = args.threads.map(usize::from);
    let options = StudyOptions { replications, precision, threads, detail, stop: &STOP };
    let meter = Meter::new(&prepared.info.name, args);
    let study = replicate::run(prepared.model.as_ref(), &options, &|p| meter.show(p));
    (study, meter.finish())
}

/// Where the folder goes, if anywhere.
fn target(args: &RunArgs, prepared: &Prepared) -> Option<PathBuf> {
    if args.no_out {
        return None;
    }
    let name = prepared.info.name.replace(['+', '/', '\\'], "-");
    Some(args.out.out.clone().unwrap_or_else(|| PathBuf::from("eks-sim-out").join(name)))
}

/// What `timing.json` says.
pub fn timing(study: &Study, wall: Duration, args: &StudyArgs) -> Timing {
    let (wall_seconds, events) = (wall.as_secs_f64(), study.events());
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Timing {
        wall_seconds,
        events,
        events_per_second: events as f64 / wall_seconds.max(1e-9),
        threads: args.threads.map_or_else(cores, usize::from),
    }
}

fn closing(study: &Study, wall: Duration, target: Option<&std::path::Path>) {
    let seconds = wall.as_secs_f64();
    let rate = render::short(study.events() as f64 / seconds.max(1e-9));
    let events = render::short(study.events() as f64);
    output::note(&format!("{events} events in {seconds:.1} s, {rate} events/s\n"));
    if let Some(target) = target {
        output::note(&format!("written to {}\n", target.display()));
    }
}
