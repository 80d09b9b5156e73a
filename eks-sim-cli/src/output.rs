//! Standard output and exit codes.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// An objective is missed, or a replay differs.
pub const MISSED: u8 = 1;
/// The input is wrong.
pub const WRONG_INPUT: u8 = 2;
/// Reading or writing failed.
pub const IO_FAILED: u8 = 3;
/// Interrupted.
pub const INTERRUPTED: u8 = 130;

/// Writes a result to standard output. A reader that has seen enough is no failure.
pub fn print(text: &str) -> Result<(), ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(fail(IO_FAILED, &format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes to standard error, where nobody may be listening.
pub fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says what went wrong and gives the exit code.
pub fn fail(code: u8, message: &str) -> ExitCode {
    note(&format!("{} {message}\n", crate::render::error_word()));
    ExitCode::from(code)
}

/// Whether standard output is a terminal that wants colours.
pub fn colors() -> bool {
    wants_colors(io::stdout().is_terminal())
}

/// Whether standard error is a terminal that wants colours.
pub fn error_colors() -> bool {
    wants_colors(io::stderr().is_terminal())
}

fn wants_colors(terminal: bool) -> bool {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    terminal && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
