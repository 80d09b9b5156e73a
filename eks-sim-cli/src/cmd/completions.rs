//! `eks-sim completions`: completion scripts of shells.

use crate::args::{Cli, CompletionsArgs};
use crate::output;
use clap::CommandFactory;
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "eks-sim", &mut script);
    let script = String::from_utf8_lossy(&script);
    output::print(&script).map_or_else(|code| code, |()| ExitCode::SUCCESS)
}
