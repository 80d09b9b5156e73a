//! The `eks-sim` command line: parse, call, exit code.

mod adapter;
mod args;
mod cmd;
mod output;
mod render;
mod settings;

use args::{Cli, Verb};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(args) => cmd::run::run(&args),
        Verb::Compare(args) => cmd::compare::run(&args),
        Verb::Check(args) => cmd::check::run(&args),
        Verb::Init(args) => cmd::init::run(&args),
        Verb::Explain(args) => cmd::explain::run(&args),
        Verb::Subnets(args) => cmd::subnets::run(&args),
        Verb::Catalog(args) => cmd::catalog::run(&args),
        Verb::Conformance(args) => cmd::conformance::run(&args),
        Verb::Exercise(args) => cmd::exercise::run(&args),
        Verb::Replay(args) => cmd::replay::run(&args),
        Verb::Schema(args) => cmd::schema::run(&args),
        Verb::Completions(args) => cmd::completions::run(&args),
        Verb::Man(args) => cmd::man::run(&args),
    }
}
