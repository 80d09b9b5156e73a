//! `eks-sim conformance`: recorded decisions of the real components against the simulator's.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use eks_sim::study::conformance;

/// Runs JSON vectors of real decisions through the policy code of the simulator.
#[derive(Debug, clap::Args)]
pub struct ConformanceArgs {
    /// Vector files, or folders that are searched for `*.json`
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// How many cases that did not pass are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub failures: usize,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line a file, the first failures, the totals.
    Text,
    /// Every case with its outcome.
    Json,
}

/// Runs the command: 0 when every case passes, 1 when some do not, 2 when a path is unreadable.
pub fn run(args: &ConformanceArgs) -> ExitCode {
    let report = match conformance::run(&args.paths) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let text = match args.format {
        Format::Text => report.text(args.failures),
        Format::Json => {
            let document = serde_json::json!({ "counts": report.counts(), "files": report.files });
            format!("{document:#}\n")
        }
    };
    // A reader that closes the pipe early does not change the verdict.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    if report.conforms() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
