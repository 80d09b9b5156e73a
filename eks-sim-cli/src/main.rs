//! The `eks-sim` command line.

mod cmd;

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "eks-sim", version, about)]
enum Cli {
    Catalog(cmd::catalog::CatalogArgs),
}

fn main() -> ExitCode {
    match Cli::parse() {
        Cli::Catalog(args) => cmd::catalog::run(&args),
    }
}
