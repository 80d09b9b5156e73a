//! `eks-sim man`: manual pages.

use crate::args::{Cli, ManArgs};
use crate::output::{self, IO_FAILED};
use clap::CommandFactory;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &ManArgs) -> ExitCode {
    let result = match &args.out {
        Some(folder) => write(folder),
        None => page(Cli::command())
            .map_err(|error| output::fail(IO_FAILED, &error.to_string()))
            .and_then(|page| output::print(&page)),
    };
    result.map_or_else(|code| code, |()| ExitCode::SUCCESS)
}

fn page(command: clap::Command) -> std::io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write(folder: &Path) -> Result<(), ExitCode> {
    let failed = |path: &Path, error: std::io::Error| {
        output::fail(IO_FAILED, &format!("cannot write `{}`: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut top = Cli::command();
    top.build();
    let verbs = top.get_subcommands().filter(|verb| verb.get_name() != "help").cloned();
    let verbs = verbs.map(|verb| (format!("eks-sim-{}", verb.get_name()), verb));
    let pages: Vec<_> = verbs.collect();
    for (name, command) in [("eks-sim".to_owned(), top)].into_iter().chain(pages) {
        let path = folder.join(format!("{name}.1"));
        page(command)
            .and_then(|page| std::fs::write(&path, page))
            .map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let run = std::fs::read_to_string(folder.path().join("eks-sim-run.1")).unwrap();
        assert!(run.contains("precision"));
        assert!(folder.path().join("eks-sim.1").exists());
    }
}
