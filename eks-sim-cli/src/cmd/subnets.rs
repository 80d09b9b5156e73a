//! `eks-sim subnets`: how many nodes and pods a subnet plan holds, and what binds first.

use crate::args::{Format, SubnetsArgs};
use crate::output;
use crate::{adapter, render, settings};
use eks_sim::report::subnets;
use eks_sim::study::subnets::answer;
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &SubnetsArgs) -> ExitCode {
    execute(args).unwrap_or_else(|code| code)
}

fn execute(args: &SubnetsArgs) -> Result<ExitCode, ExitCode> {
    let loaded = settings::load(&args.scenario, &args.model, args.quiet)?;
    let (scenario, manifests) = settings::chosen(&loaded, args.variant.as_deref())?;
    let (study, ignored) =
        adapter::study(scenario, manifests, &loaded).map_err(|found| settings::refused(&found))?;
    if !args.quiet {
        render::warnings(&ignored);
    }
    let answer = answer(study.model());
    output::print(&match args.format {
        Format::Text => subnets::text(&answer, render::color()),
        Format::Markdown => subnets::markdown(&answer),
        Format::Json => subnets::json(&answer),
    })?;
    let fits = answer.situations.iter().all(|s| s.fits);
    let missed = args.strict && !fits;
    Ok(if missed { ExitCode::from(output::MISSED) } else { ExitCode::SUCCESS })
}
