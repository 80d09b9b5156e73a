//! Prints the table of benchmarks: processor time, peak memory, targets, digests.
//!
//! `peers [FILTER] [--markdown]`; each bench runs in a process of its own.

use benches::rows::{self, Measured, Row};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let all = benches::peers::all();
    if let [flag, id] = args.as_slice()
        && flag == "--run-one"
    {
        return match all.iter().find(|r| r.id() == *id) {
            Some(row) => {
                println!("{}", row.run_here());
                ExitCode::SUCCESS
            }
            None => ExitCode::FAILURE,
        };
    }
    let markdown = args.iter().any(|a| a == "--markdown");
    if let Some(unknown) = args.iter().find(|a| a.starts_with('-') && *a != "--markdown") {
        eprintln!("unknown option `{unknown}`; usage: peers [FILTER] [--markdown]");
        return ExitCode::from(2);
    }
    let filter = args.iter().find(|a| !a.starts_with('-')).map_or("", String::as_str);
    let mut measured = Vec::new();
    for row in all.into_iter().filter(|r| r.id().contains(filter)) {
        eprintln!("{}: {}", row.id(), row.workload);
        measured.push((row, in_a_process(&row)));
    }
    if measured.is_empty() {
        eprintln!("no bench has `{filter}` in its name");
        return ExitCode::from(2);
    }
    let table = rows::cells(&measured);
    print!("{}", if markdown { rows::markdown(&table) } else { rows::plain(&table) });
    if measured.iter().all(|m| m.1.is_some()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a row in a process of its own, so that its memory is its own.
fn in_a_process(row: &Row) -> Option<Measured> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program).args(["--run-one", &row.id()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let measured = output.status.success().then(|| Measured::read(text.trim())).flatten();
    if measured.is_none() {
        eprintln!("{} failed: {}", row.id(), String::from_utf8_lossy(&output.stderr));
    }
    measured
}
