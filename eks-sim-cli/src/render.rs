//! Diagnostics and progress on standard error.

use crate::args::{ProgressMode, StudyArgs};
use crate::output::{colors, error_colors, note};
use eks_sim::report::render::Color;
use eks_sim::spec::Diagnostics;
use eks_sim::study::replicate::Progress;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Colours for standard output.
pub fn color() -> Color {
    if colors() { Color::Always } else { Color::Never }
}

/// The word before a failure.
pub fn error_word() -> String {
    let color = if error_colors() { Color::Always } else { Color::Never };
    color.paint("1;31", "error:")
}

/// Diagnostics as text, with the severities in colour where that is wanted.
pub fn diagnostics(found: &Diagnostics, color: Color) -> String {
    let mut text = found.render();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if color == Color::Never {
        return text;
    }
    for (word, code) in [("error[", "1;31"), ("warning[", "1;33"), ("note[", "1;36")] {
        let plain = format!(": {word}");
        let painted = format!(": {}[", color.paint(code, word.trim_end_matches('[')));
        text = text.replace(&plain, &painted);
    }
    text
}

/// Prints warnings to standard error.
pub fn warnings(found: &Diagnostics) {
    if !found.is_empty() {
        let color = if error_colors() { Color::Always } else { Color::Never };
        note(&diagnostics(found, color));
    }
}

/// Wall time, which no result depends on.
#[expect(clippy::disallowed_methods, reason = "progress and timing.json tell wall time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Shows how far a study is.
pub struct Meter {
    label: String,
    start: Instant,
    mode: Mode,
    last: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Line,
    Json,
    Silent,
}

impl Meter {
    /// For one study.
    pub fn new(label: &str, args: &StudyArgs) -> Self {
        let mode = match args.progress {
            ProgressMode::Json => Mode::Json,
            ProgressMode::Auto if !args.quiet && !args.no_progress => {
                if std::io::stderr().is_terminal() { Mode::Line } else { Mode::Silent }
            }
            ProgressMode::Auto | ProgressMode::None => Mode::Silent,
        };
        Self { label: label.to_owned(), start: now(), mode, last: Mutex::new(None) }
    }

    /// Called after every replication, from any thread.
    pub fn show(&self, progress: Progress) {
        const PAUSE: Duration = Duration::from_millis(200);
        if self.mode == Mode::Silent {
            return;
        }
        let Ok(mut last) = self.last.lock() else { return };
        let at = now();
        let done = progress.done == progress.total;
        if !done && last.is_some_and(|last| at.duration_since(last) < PAUSE) {
            return;
        }
        *last = Some(at);
        note(&self.text(progress, at.duration_since(self.start).as_secs_f64()));
    }

    fn text(&self, p: Progress, seconds: f64) -> String {
        let rate = p.events as f64 / seconds.max(1e-9);
        let left = seconds / f64::from(p.done.max(1)) * f64::from(p.total.saturating_sub(p.done));
        match self.mode {
            Mode::Json => format!(
                "{}\n",
                serde_json::json!({
                    "type": "progress", "version": 1, "study": self.label, "done": p.done,
                    "total": p.total, "events": p.events, "eventsPerSecond": rate.round(),
                    "etaSeconds": (left * 10.0).round() / 10.0,
                })
            ),
            Mode::Line => format!(
                "\r\u{1b}[K{}: {} of {} replications, {} events/s, {} left",
                self.label,
                p.done,
                p.total,
                short(rate),
                clock(left)
            ),
            Mode::Silent => String::new(),
        }
    }

    /// Clears the line; answers the wall time.
    pub fn finish(&self) -> Duration {
        if self.mode == Mode::Line {
            note("\r\u{1b}[K");
        }
        now().duration_since(self.start)
    }
}

/// `950`, `12.3k`, `4.56M`.
pub fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

fn clock(seconds: f64) -> String {
    let whole = seconds.clamp(0.0, 1e9).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02} h", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_well() {
        let meter =
            |mode| Meter { label: "shop".into(), start: now(), mode, last: Mutex::new(None) };
        let progress = Progress { done: 50, total: 200, events: 40_000_000 };
        let line = meter(Mode::Line).text(progress, 10.0);
        assert!(
            line.ends_with("shop: 50 of 200 replications, 4.00M events/s, 30 s left"),
            "{line}"
        );
        let json: serde_json::Value =
            serde_json::from_str(&meter(Mode::Json).text(progress, 10.0)).unwrap();
        assert_eq!((json["done"].as_u64(), json["etaSeconds"].as_f64()), (Some(50), Some(30.0)));
        assert_eq!((clock(75.0), clock(7260.0)), ("1:15 min".into(), "2:01 h".into()));
    }
}
