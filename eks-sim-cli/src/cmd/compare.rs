//! `eks-sim compare`: paired differences of scenarios and variants.

use super::run::simulate;
use crate::args::{CompareArgs, Format};
use crate::output::{self, INTERRUPTED, IO_FAILED, WRONG_INPUT};
use crate::render;
use crate::settings;
use eks_sim::report::{comparison, folder};
use eks_sim::spec::Loaded;
use eks_sim::study::compare::{Named, compare};
use eks_sim::study::replicate::{Ended, Row};
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &CompareArgs) -> ExitCode {
    execute(args).unwrap_or_else(|code| code)
}

/// One thing to run: which scenario, which variant of it.
type Choice<'a> = (&'a Loaded, Option<&'a str>);

fn execute(args: &CompareArgs) -> Result<ExitCode, ExitCode> {
    if let Some(target) = &args.out {
        folder::check(target, args.force)
            .map_err(|error| output::fail(IO_FAILED, &error.to_string()))?;
    }
    let scenarios = args.scenarios.iter();
    let loaded = scenarios
        .map(|path| settings::load(path, &args.model, args.study.quiet))
        .collect::<Result<Vec<_>, _>>()?;
    let choices = choices(args, &loaded)?;
    let first = &choices.first().ok_or(ExitCode::from(WRONG_INPUT))?.0.scenario.spec;
    let seed = args.model.seed.unwrap_or(first.seed);
    let replications = args.study.replications.unwrap_or(first.replications).max(1);
    settings::catch_interrupts();
    let mut studies: Vec<(String, Vec<Row>)> = Vec::new();
    let mut interrupted = false;
    for (loaded, variant) in &choices {
        let prepared = settings::prepare(loaded, *variant, Some(seed), args.study.quiet)?;
        let (study, _) = simulate(&prepared, replications, None, None, &args.study);
        interrupted |= study.ended == Ended::Interrupted;
        studies.push((unique(&studies, &prepared.info.name), study.rows));
    }
    if studies.iter().any(|s| s.1.is_empty()) {
        return Err(output::fail(
            INTERRUPTED,
            "interrupted before every scenario had a replication",
        ));
    }
    report(args, &studies)?;
    if interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let idle = studies.iter().find(|s| s.1.iter().all(|row| row.pods_bound == 0));
    if let Some((name, _)) = idle {
        return Ok(output::fail(5, &format!("no pod was ever scheduled in `{name}`")));
    }
    let early = studies.iter().any(|s| s.1.iter().any(|row| row.diagnosis.is_some()));
    if early {
        return Ok(output::fail(IO_FAILED, "a bound ended replications early; `run` says where"));
    }
    Ok(ExitCode::SUCCESS)
}

fn report(args: &CompareArgs, studies: &[(String, Vec<Row>)]) -> Result<(), ExitCode> {
    let named: Vec<_> = studies.iter().map(|(name, rows)| Named { name, rows }).collect();
    let comparisons = compare(&named);
    if let Some(target) = &args.out {
        let record = serde_json::json!({
            "format": folder::MARKER, "version": env!("CARGO_PKG_VERSION"), "kind": "comparison",
            "scenarios": args.scenarios, "variants": args.variants, "set": args.model.set,
        });
        let files = [
            ("run.json".to_owned(), format!("{record:#}\n").into_bytes()),
            ("comparison.json".to_owned(), comparison::json(&comparisons).into_bytes()),
            ("comparison.md".to_owned(), comparison::markdown(&comparisons).into_bytes()),
            ("comparison.csv".to_owned(), comparison::csv(&comparisons)),
        ];
        folder::write(target, &files, args.force)
            .map_err(|error| output::fail(IO_FAILED, &error.to_string()))?;
    }
    output::print(&match args.format {
        Format::Text => comparison::text(&comparisons, render::color()),
        Format::Json => comparison::json(&comparisons),
        Format::Markdown => comparison::markdown(&comparisons),
    })
}

/// The scenarios, each followed by those of its variants that are asked for. One scenario alone
/// is compared with all its variants.
fn choices<'a>(args: &'a CompareArgs, loaded: &'a [Loaded]) -> Result<Vec<Choice<'a>>, ExitCode> {
    let alone = loaded.len() == 1 && args.variants.is_empty();
    let all = alone || args.variants.iter().any(|v| v == "all");
    let mut choices: Vec<Choice<'a>> = Vec::new();
    for one in loaded {
        choices.push((one, None));
        let names = one.variants.iter().map(|v| v.name.as_str());
        choices.extend(
            names.filter(|n| all || args.variants.iter().any(|v| v == n)).map(|n| (one, Some(n))),
        );
    }
    let known = |name: &String| loaded.iter().any(|l| l.variants.iter().any(|v| v.name == *name));
    if let Some(unknown) = args.variants.iter().find(|v| *v != "all" && !known(v)) {
        let names = loaded.iter().flat_map(|l| &l.variants).map(|v| v.name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let message = format!("no variant `{unknown}`; the scenarios have: {names}");
        return Err(output::fail(WRONG_INPUT, &message));
    }
    if choices.len() < 2 {
        let mend = "name a second scenario, or give the scenario `variants`";
        return Err(output::fail(
            WRONG_INPUT,
            &format!("there is nothing to compare with; {mend}"),
        ));
    }
    Ok(choices)
}

/// Two scenarios may have one name.
fn unique(studies: &[(String, Vec<Row>)], name: &str) -> String {
    let taken = |name: &str| studies.iter().any(|s| s.0 == name);
    let numbered = (2..).map(|i| format!("{name} ({i})"));
    core::iter::once(name.to_owned()).chain(numbered).find(|n| !taken(n)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let studies = vec![("a".to_owned(), Vec::new()), ("a (2)".to_owned(), Vec::new())];
        assert_eq!(unique(&studies, "a"), "a (3)");
        assert_eq!(unique(&studies, "b"), "b");
    }
}
