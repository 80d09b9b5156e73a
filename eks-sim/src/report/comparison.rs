//! A comparison as text, Markdown, CSV and JSON, closing with one sentence.

use super::render::{Color, escape, pad, width};
use super::{number, outline};
use crate::study::compare::{Change, Comparison, Difference};
use core::fmt::Write as _;

const fn sign(change: Change) -> &'static str {
    match change {
        Change::Same => "=",
        Change::Unclear => "~",
        Change::Better => "✓",
        Change::Worse => "✗",
        Change::Different => "≠",
    }
}

/// The difference with its sign; of shares in percentage points.
fn difference(d: &Difference) -> String {
    let text = number::difference(d.unit, &d.difference);
    if d.unit == "share" { text.replace(" %", " pp") } else { text }
}

/// Sign, label, first, other, difference, relative difference.
fn cells(d: &Difference) -> [String; 6] {
    let value = |e| number::estimate(d.unit, e);
    let relative = d.relative.as_ref().filter(|_| d.unit != "share");
    let relative = relative.filter(|_| d.verdict != Change::Same);
    [
        sign(d.verdict).to_owned(),
        outline::label(&d.column),
        value(&d.base),
        value(&d.other),
        difference(d),
        relative.map(|r| number::difference("share", r)).unwrap_or_default(),
    ]
}

/// All comparisons for a terminal.
#[must_use]
pub fn text(comparisons: &[Comparison], color: Color) -> String {
    let mut out = String::new();
    for comparison in comparisons {
        let title = format!("{} against {}", comparison.other, comparison.base);
        let _ = writeln!(out, "{}", color.bold(&title));
        let _ = writeln!(
            out,
            "{} pairs of replications; mean ± 95 %; ✓ better, ✗ worse, ≠ different, ~ unclear, = the same\n",
            comparison.pairs
        );
        let head = ["", "", &comparison.base, &comparison.other, "difference", ""];
        let mut rows: Vec<[String; 6]> = vec![head.map(str::to_owned)];
        rows.extend(comparison.differences.iter().map(cells));
        let widths: [usize; 6] =
            core::array::from_fn(|i| rows.iter().map(|r| width(&r[i])).max().unwrap_or(0));
        for (i, row) in rows.iter().enumerate() {
            let line: Vec<_> = row.iter().zip(widths).map(|(c, w)| pad(c, w)).collect();
            let line = line.join("  ").trim_end().to_owned();
            let verdict = i.checked_sub(1).and_then(|i| comparison.differences.get(i));
            let code = match verdict.map(|d| d.verdict) {
                Some(Change::Better) => "32",
                Some(Change::Worse) => "31",
                Some(Change::Same) => "2",
                Some(Change::Unclear | Change::Different) => "0",
                None => "1",
            };
            let _ = writeln!(out, "{}", color.paint(code, &line));
        }
        out.push('\n');
    }
    for comparison in comparisons {
        let _ = writeln!(out, "{}", sentence(comparison));
    }
    out
}

/// All comparisons as a review comment; what is the same is folded.
#[must_use]
pub fn markdown(comparisons: &[Comparison]) -> String {
    let mut out = String::from("## eks-sim: comparison\n\n");
    for comparison in comparisons {
        let _ = writeln!(out, "**{}**\n", escape(&sentence(comparison)));
        let (same, changed): (Vec<_>, Vec<_>) =
            comparison.differences.iter().partition(|d| d.verdict == Change::Same);
        if !changed.is_empty() {
            table(&mut out, comparison, &changed);
        }
        if !same.is_empty() {
            let _ = writeln!(out, "<details><summary>{} the same</summary>\n", same.len());
            table(&mut out, comparison, &same);
            out.push_str("</details>\n\n");
        }
    }
    out
}

fn table(out: &mut String, comparison: &Comparison, rows: &[&Difference]) {
    let (base, other) = (escape(&comparison.base), escape(&comparison.other));
    let _ = writeln!(out, "| | | {base} | {other} | difference | |");
    out.push_str("|---|---|---:|---:|---:|---:|\n");
    for difference in rows {
        let cells = cells(difference).map(|c| escape(&c));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

/// `B is 12 % ± 3 % cheaper than A; pod startup p99 +4 s ± 2 s.`
#[must_use]
pub fn sentence(comparison: &Comparison) -> String {
    let (base, other) = (&comparison.base, &comparison.other);
    if comparison.identical {
        return format!(
            "{other} does exactly the same as {base} in all {} replications.",
            comparison.pairs
        );
    }
    let mut parts = vec![cost(comparison)];
    const NAMED: [&str; 5] = [
        "pod_startup_seconds_p99",
        "served_ratio",
        "latency_seconds_p99",
        "ip_exhaustion_seconds",
        "recovery_seconds_max",
    ];
    for d in NAMED.iter().filter_map(|name| comparison.difference(name)) {
        if matches!(d.verdict, Change::Better | Change::Worse) {
            parts.push(format!("{} {}", outline::label(&d.column), difference(d)));
        }
    }
    format!("{}.", parts.join("; "))
}

fn cost(comparison: &Comparison) -> String {
    let (base, other) = (&comparison.base, &comparison.other);
    let cost = comparison.difference("cost_usd_per_month");
    let Some((d, relative)) = cost.and_then(|d| Some((d, d.relative?))) else {
        return format!("{other} against {base}: the cost was not observed");
    };
    let word = match d.verdict {
        Change::Same => return format!("{other} costs exactly as much as {base}"),
        Change::Better => "cheaper",
        Change::Worse => "dearer",
        Change::Unclear | Change::Different => {
            let share = number::difference("share", &relative);
            return format!("{other} costs about as much as {base} ({share})");
        }
    };
    let magnitude = crate::study::Estimate { mean: relative.mean.abs(), ..relative };
    format!("{other} is {} {word} than {base}", number::estimate("share", &magnitude))
}

/// All comparisons as CSV.
#[must_use]
pub fn csv(comparisons: &[Comparison]) -> Vec<u8> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let head = [
        "base",
        "other",
        "metric",
        "unit",
        "pairs",
        "base_mean",
        "base_half_width",
        "other_mean",
        "other_half_width",
        "difference",
        "difference_half_width",
        "verdict",
    ];
    let mut write = |row: &[String]| {
        writer.write_record(row).expect("writing to memory with equal lengths cannot fail");
    };
    write(&head.map(str::to_owned));
    for comparison in comparisons {
        for d in &comparison.differences {
            let numbers = [d.base, d.other, d.difference]
                .map(|e| [e.mean, e.half_width].map(super::csv::number));
            let verdict = format!("{:?}", d.verdict).to_lowercase();
            let first = [
                comparison.base.clone(),
                comparison.other.clone(),
                d.column.clone(),
                d.unit.to_owned(),
                comparison.pairs.to_string(),
            ];
            let row: Vec<String> =
                first.into_iter().chain(numbers.into_iter().flatten()).chain([verdict]).collect();
            write(&row);
        }
    }
    writer.into_inner().expect("writing to memory cannot fail")
}

/// All comparisons as JSON.
#[must_use]
pub fn json(comparisons: &[Comparison]) -> String {
    let list: Vec<_> = comparisons
        .iter()
        .map(|c| serde_json::json!({"comparison": c, "sentence": sentence(c)}))
        .collect();
    let document = serde_json::json!({"format": "eks-sim-comparison/v1", "comparisons": list});
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::compare::{Named, compare};
    use crate::study::fake::Fake;
    use crate::study::replicate::{StudyOptions, run};

    fn comparisons(nodes: [f64; 2]) -> Vec<Comparison> {
        let stop = core::sync::atomic::AtomicBool::new(false);
        let options = StudyOptions {
            replications: 30,
            precision: None,
            threads: Some(1),
            detail: None,
            stop: &stop,
        };
        let studies = nodes.map(|nodes| run(&Fake { nodes, ..Fake::default() }, &options, &|_| {}));
        let named = ["A", "B"].into_iter().zip(&studies);
        let named: Vec<_> = named.map(|(name, s)| Named { name, rows: &s.rows }).collect();
        compare(&named)
    }

    #[test]
    fn the_sentence_says_it() {
        let text = sentence(&comparisons([6.0, 5.0])[0]);
        assert!(text.starts_with("B is 16.") && text.contains("cheaper than A"), "{text}");
        let text = sentence(&comparisons([6.0, 6.0])[0]);
        assert_eq!(text, "B does exactly the same as A in all 30 replications.");
    }

    #[test]
    fn every_form_has_every_metric() {
        let list = comparisons([6.0, 5.0]);
        let n = list[0].differences.len();
        if std::env::var_os("EKS_SIM_SHOW").is_some() {
            println!("{}\n{}", super::text(&list, Color::Never), markdown(&list));
        }
        assert_eq!(String::from_utf8(csv(&list)).unwrap().lines().count(), n + 1);
        assert!(super::text(&list, Color::Never).contains("cost per month"));
        assert!(markdown(&list).contains("<details>"));
        let value: serde_json::Value = serde_json::from_str(&json(&list)).unwrap();
        assert_eq!(
            value["comparisons"][0]["comparison"]["differences"].as_array().unwrap().len(),
            n
        );
    }
}
