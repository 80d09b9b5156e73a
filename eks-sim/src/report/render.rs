//! The summary as text for a terminal, as Markdown for a review comment, and as JSON.

use super::outline::{self, Line, Section, sign};
use crate::study::objectives::Verdict;
use crate::study::summary::Summary;
use core::fmt::Write as _;

/// Whether to use the terminal's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Never,
    /// ANSI sequences.
    Always,
}

impl Color {
    /// The text in bold.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
    /// The text with an ANSI code around it.
    #[must_use]
    pub fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Never => text.to_owned(),
            Self::Always => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
    fn verdict(self, verdict: Verdict) -> String {
        let code = match verdict {
            Verdict::Met => "32",
            Verdict::Missed => "31",
            Verdict::Undecided => "33",
        };
        self.paint(code, sign(verdict))
    }
}

/// Characters that a text takes on a terminal (all our signs are one wide).
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text filled up with spaces.
#[must_use]
pub fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// The summary for a terminal.
#[must_use]
pub fn text(summary: &Summary, color: Color) -> String {
    let mut out = String::new();
    let about = if summary.description.is_empty() { "" } else { ": " };
    let question = summary.description.lines().next().unwrap_or("");
    let _ = writeln!(out, "{}{about}{question}", color.bold(&summary.name));
    let _ = writeln!(out, "{}", outline::headline(summary));
    let sections: Vec<Section> =
        outline::head(summary).into_iter().chain(outline::body(summary)).collect();
    let lines = || sections.iter().flat_map(|s| &s.rows);
    let labels = lines().map(|l| width(&l.label)).max().unwrap_or(0).min(48);
    let values = lines().map(|l| width(&l.value)).max().unwrap_or(0);
    for section in &sections {
        let _ = writeln!(out, "\n{}", color.bold(section.title));
        for line in &section.rows {
            let mark = line.verdict.map_or_else(|| " ".to_owned(), |v| color.verdict(v));
            let row = format!(
                "{}  {}  {}",
                pad(&line.label, labels),
                pad(&line.value, values),
                line.note
            );
            let _ = writeln!(out, "{mark} {}", row.trim_end());
        }
        if let Some(remark) = &section.remark {
            let _ = writeln!(out, "  {remark}");
        }
    }
    if !summary.warnings.is_empty() {
        out.push('\n');
    }
    for warning in &summary.warnings {
        let _ = writeln!(out, "{} {warning}", color.paint("33", "warning:"));
    }
    let _ = writeln!(out, "\n{}", closing(summary));
    out
}

/// The verdict in one sentence.
#[must_use]
pub fn closing(summary: &Summary) -> String {
    let count = |v: Verdict| summary.objectives.iter().filter(|o| o.verdict == v).count();
    let (met, all) = (count(Verdict::Met), summary.objectives.len());
    match summary.exit_code {
        5 => "No pod was ever scheduled: nothing was simulated.".to_owned(),
        3 => "Not every replication reached its end: see the warning.".to_owned(),
        1 => format!("{} of {all} objectives missed.", count(Verdict::Missed)),
        4 => format!("{} of {all} objectives undecided.", count(Verdict::Undecided)),
        _ if all == 0 => "No objectives are set.".to_owned(),
        _ if all == 1 => "The objective is met.".to_owned(),
        _ => format!("All {met} objectives are met."),
    }
}

/// The summary as a review comment: at most 60 lines, the rest folded.
#[must_use]
pub fn markdown(summary: &Summary) -> String {
    const SHOWN: usize = 12;
    let mut out = format!("## eks-sim: {}\n\n", escape(&summary.name));
    let _ = writeln!(out, "**{}** {}.\n", closing(summary), outline::headline(summary));
    let mut folded = Vec::new();
    for mut section in outline::head(summary) {
        if section.rows.len() > SHOWN {
            let rest = section.rows.split_off(SHOWN);
            section.remark = Some(format!("{} more below", rest.len()));
            folded.push(Section { rows: rest, title: section.title, remark: None });
        }
        markdown_section(&mut out, &section);
    }
    for warning in summary.warnings.iter().take(5) {
        let _ = writeln!(out, "> ⚠ {}\n", escape(warning));
    }
    out.push_str("<details><summary>All numbers</summary>\n\n");
    for section in folded.iter().chain(&outline::body(summary)) {
        markdown_section(&mut out, section);
    }
    out.push_str("</details>\n");
    out
}

fn markdown_section(out: &mut String, section: &Section) {
    let _ = writeln!(out, "### {}\n", section.title);
    if !section.rows.is_empty() {
        let marked = section.rows.iter().any(|l| l.verdict.is_some());
        let first = if marked { "| | " } else { "| " };
        let _ = writeln!(out, "{first}| mean ± 95 % | |");
        let _ = writeln!(out, "{}---|---:|---|", if marked { "|---|" } else { "|" });
        for line in &section.rows {
            markdown_row(out, line, marked);
        }
        out.push('\n');
    }
    if let Some(remark) = &section.remark {
        let _ = writeln!(out, "{}\n", escape(remark));
    }
}

fn markdown_row(out: &mut String, line: &Line, marked: bool) {
    if marked {
        let _ = write!(out, "| {} ", line.verdict.map_or(" ", sign));
    }
    let cells = [&line.label, &line.value, &line.note].map(|cell| escape(cell));
    let _ = writeln!(out, "| {} | {} | {} |", cells[0], cells[1], cells[2]);
}

/// Text that Markdown shows as it is.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '<' | '*' | '_' | '`' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

/// The summary as JSON.
#[must_use]
pub fn json(summary: &Summary) -> String {
    let mut text = serde_json::to_string_pretty(summary).expect("a summary has only text keys");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::fake::{self, Fake};
    use crate::study::replicate::{StudyOptions, run};

    fn summary(objectives: serde_json::Value) -> Summary {
        let stop = core::sync::atomic::AtomicBool::new(false);
        let options = StudyOptions {
            replications: 40,
            precision: None,
            threads: Some(1),
            detail: None,
            stop: &stop,
        };
        Summary::new(&fake::info(objectives), &run(&Fake::default(), &options, &|_| {}))
    }

    fn objectives() -> serde_json::Value {
        serde_json::json!([
            {"metric": "pod_startup_seconds", "stat": "p99", "max": "60s"},
            {"metric": "served_ratio", "min": "99.99%"},
            {"metric": "cost_usd_per_month", "max": 4000},
            {"metric": "ip_exhaustion_seconds", "max": "0s"}
        ])
    }

    #[test]
    fn objectives_come_first_then_cost_then_limits() {
        let text = text(&summary(objectives()), Color::Never);
        if std::env::var_os("EKS_SIM_SHOW").is_some() {
            println!("{text}\n{}", markdown(&summary(objectives())));
        }
        let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle}\n{text}"));
        assert!(at("Objectives") < at("Cost per month"));
        assert!(at("Cost per month") < at("What limited"));
        assert!(text.contains("✓ pod startup p99"), "{text}");
        assert!(text.contains("✗ served ratio"), "{text}");
        assert!(text.contains("(≤ 60s)"));
        assert!(text.contains("1 of 4 objectives missed."));
        assert!(!text.contains('\u{1b}'));
        assert!(!text.lines().any(|l| l.ends_with(' ')));
    }

    #[test]
    fn markdown_is_short_above_the_fold() {
        let text = markdown(&summary(objectives()));
        let (shown, folded) = text.split_once("<details>").unwrap();
        assert!(shown.lines().count() <= 60);
        assert!(folded.contains("### Pods"));
    }

    #[test]
    fn colour_only_when_asked() {
        assert!(text(&summary(objectives()), Color::Always).contains("\u{1b}[32m✓\u{1b}[0m"));
    }
}
