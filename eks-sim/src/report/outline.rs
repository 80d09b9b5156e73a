//! The summary as sections of rows: what text and Markdown both show.

use super::number;
use crate::observe::metrics::columns;
use crate::spec::scenario::BoundValue;
use crate::study::objectives::{ObjectiveResult, Verdict};
use crate::study::summary::Summary;

/// A part of the summary.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Heading.
    pub title: &'static str,
    /// Rows.
    pub rows: Vec<Line>,
    /// A remark below the rows.
    pub remark: Option<String>,
}

/// One row.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Verdict of an objective.
    pub verdict: Option<Verdict>,
    /// What it is.
    pub label: String,
    /// The value with its interval.
    pub value: String,
    /// Bound, share or explanation.
    pub note: String,
}

/// The sign of a verdict.
#[must_use]
pub const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "✓",
        Verdict::Missed => "✗",
        Verdict::Undecided => "?",
    }
}

/// A column for people: `pod startup p99`, `cost per month`.
#[must_use]
pub fn label(column: &str) -> String {
    let text = column.replace("_usd", "").replace("_per_month", "_per month");
    let text = text.replace("_seconds", "").replace('_', " ");
    match text.as_str() {
        "cost" => "cost of the run".to_owned(),
        "waste per month" => "unrequested capacity".to_owned(),
        "api availability" => "API availability".to_owned(),
        "hpa scalings" => "scalings by autoscalers".to_owned(),
        "ip exhaustion" => "address exhaustion".to_owned(),
        "ip free min" => "fewest free addresses".to_owned(),
        "ip first exhaustion" => "first address exhaustion at".to_owned(),
        "ip unused mean" => "unused addresses of nodes mean".to_owned(),
        "ip unused max" => "unused addresses of nodes max".to_owned(),
        "launches without address" => "launches refused an address".to_owned(),
        "pods address refused" => "pods refused an address".to_owned(),
        _ => text.replace("cpu", "CPU"),
    }
}

/// What the study is, in one line.
#[must_use]
pub fn headline(summary: &Summary) -> String {
    let duration = crate::units::Span::from_secs_f64(summary.duration_seconds);
    let plural = if summary.replications == 1 { "" } else { "s" };
    format!(
        "{} replication{plural} of {duration}, seed {}, digest {}",
        summary.replications, summary.seed, summary.digest
    )
}

/// The sections that always show: objectives, cost, limits.
#[must_use]
pub fn head(summary: &Summary) -> Vec<Section> {
    vec![objectives(summary), cost(summary), limits(summary)]
        .into_iter()
        .filter(|s| !s.rows.is_empty())
        .collect()
}

/// The sections with the numbers behind: pods, service, nodes, network and so on.
#[must_use]
pub fn body(summary: &Summary) -> Vec<Section> {
    let mut sections: Vec<Section> = GROUPS.iter().map(|group| metrics(summary, group)).collect();
    sections.push(subnets(summary));
    sections.retain(|s| !s.rows.is_empty() || s.remark.is_some());
    sections
}

fn objectives(summary: &Summary) -> Section {
    let row = |o: &ObjectiveResult| {
        let bound =
            |sign: &str, b: &Option<BoundValue>| b.as_ref().map(|b| format!("{sign} {}", b.text));
        let bounds: Vec<_> =
            [bound("≥", &o.min), bound("≤", &o.max)].into_iter().flatten().collect();
        let mut note = format!("({})", bounds.join(", "));
        if let Some(more) = &o.note {
            note.push_str(" – ");
            note.push_str(more);
        }
        let value =
            o.estimate.as_ref().map_or_else(|| "–".to_owned(), |e| number::estimate(o.unit, e));
        Line { verdict: Some(o.verdict), label: label(&o.column), value, note }
    };
    Section {
        title: "Objectives",
        rows: summary.objectives.iter().map(row).collect(),
        remark: None,
    }
}

fn cost(summary: &Summary) -> Section {
    let mut rows: Vec<Line> = Vec::new();
    let total = summary.estimate("cost_usd_per_month");
    if let Some(total) = total {
        let value = number::estimate("USD", &total);
        rows.push(Line { label: "total".to_owned(), value, ..Line::default() });
    }
    rows.extend(summary.cost_per_month.iter().map(|c| Line {
        label: c.component.clone(),
        value: number::estimate("USD", &c.usd),
        note: format!("{} %", number::grouped(c.share * 100.0, 0)),
        ..Line::default()
    }));
    if let Some(waste) = summary.estimate("waste_usd_per_month").filter(|w| w.mean > 0.0) {
        rows.push(Line {
            label: "unrequested capacity".to_owned(),
            value: number::estimate("USD", &waste),
            note: "part of the node cost that no pod requests".to_owned(),
            ..Line::default()
        });
    }
    Section { title: "Cost per month (730 h)", rows, remark: None }
}

fn limits(summary: &Summary) -> Section {
    const SHOWN: usize = 5;
    let row = |l: &crate::study::summary::LimitSummary| Line {
        label: format!("{}: {}", l.component, l.reason),
        value: format!("{} times", number::estimate("", &l.count)),
        note: if l.wait_seconds.mean > 0.0 {
            format!("waited {} in all", number::estimate("s", &l.wait_seconds))
        } else {
            String::new()
        },
        ..Line::default()
    };
    let rows: Vec<Line> = summary.limits.iter().take(SHOWN).map(row).collect();
    let hidden = summary.limits.len().saturating_sub(SHOWN);
    let remark = (hidden > 0).then(|| format!("{hidden} more in summary.json"));
    Section { title: "What limited the cluster (per replication)", rows, remark }
}

struct Group {
    title: &'static str,
    columns: &'static [&'static str],
    /// Left out and named in a remark while they are zero.
    rare: &'static [&'static str],
}

const GROUPS: &[Group] = &[
    Group {
        title: "Pods",
        columns: &[
            "pods_created",
            "pods_scheduled",
            "pods_ready",
            "pod_pending_seconds_p50",
            "pod_pending_seconds_p99",
            "pod_startup_seconds_p50",
            "pod_startup_seconds_p95",
            "pod_startup_seconds_p99",
            "replicas_mean",
            "replicas_max",
            "hpa_scalings",
        ],
        rare: &["pods_unscheduled", "pod_restarts", "pod_evictions", "pod_preemptions"],
    },
    Group {
        title: "Service",
        columns: &[
            "requests_offered",
            "served_ratio",
            "requests_lost",
            "latency_seconds_p50",
            "latency_seconds_p99",
        ],
        rare: &["recovery_seconds_mean", "recovery_seconds_max"],
    },
    Group {
        title: "Jobs",
        columns: &["jobs_succeeded", "job_seconds_mean", "job_seconds_p95", "job_seconds_max"],
        rare: &["jobs_failed"],
    },
    Group {
        title: "Nodes",
        columns: &[
            "nodes_mean",
            "nodes_max",
            "node_hours",
            "cpu_requested_ratio",
            "memory_requested_ratio",
            "cpu_used_ratio",
            "instances_launched",
            "instances_terminated",
        ],
        rare: &["launch_failures", "node_failures"],
    },
    Group {
        title: "Network and control plane",
        columns: &["api_availability", "ip_free_min", "ip_unused_mean", "ip_unused_max"],
        rare: &[
            "ip_first_exhaustion_seconds",
            "ip_exhaustion_seconds",
            "pods_address_refused",
            "pod_address_wait_seconds_mean",
            "pod_address_wait_seconds_max",
            "launches_without_address",
        ],
    },
];

fn metrics(summary: &Summary, group: &Group) -> Section {
    let all = columns();
    let mut section = Section { title: group.title, ..Section::default() };
    let absent = |name: &str| summary.estimate(name).is_none_or(|e| e.mean == 0.0);
    let idle = match group.title {
        "Service" => absent("requests_offered"),
        "Jobs" => absent("jobs_succeeded") && absent("jobs_failed"),
        _ => false,
    };
    if idle {
        return section;
    }
    let mut zeros = Vec::new();
    let rare = group.rare.iter().map(|name| (*name, true));
    for (name, rare) in group.columns.iter().map(|name| (*name, false)).chain(rare) {
        let Some(estimate) = summary.estimate(name) else { continue };
        if rare && estimate.mean == 0.0 && estimate.half_width == 0.0 {
            zeros.push(label(name));
            continue;
        }
        let unit = all.iter().find(|c| c.name() == name).map_or("", |c| c.metric.unit);
        // The label already names what is counted.
        let unit = if matches!(unit, "s" | "share" | "USD" | "h") { unit } else { "" };
        let value = number::estimate(unit, &estimate);
        section.rows.push(Line { label: label(name), value, ..Line::default() });
    }
    section.remark = (!zeros.is_empty()).then(|| format!("none: {}", zeros.join(", ")));
    section
}

fn subnets(summary: &Summary) -> Section {
    const SHOWN: usize = 12;
    let row = |s: &crate::study::summary::SubnetEstimate| {
        let mut note = format!("of {} usable, {}", number::grouped(f64::from(s.usable), 0), s.zone);
        if s.refusals.mean > 0.0 {
            note.push_str(&format!(
                "; {} requests refused, dry for {}",
                number::estimate("", &s.refusals),
                number::estimate("s", &s.exhausted_seconds)
            ));
        }
        Line {
            label: format!("{} ({})", s.name, s.cidr),
            value: number::estimate("", &s.free_min),
            note,
            ..Line::default()
        }
    };
    let rows: Vec<Line> = summary.subnets.iter().take(SHOWN).map(row).collect();
    let hidden = summary.subnets.len().saturating_sub(SHOWN);
    let remark = (hidden > 0).then(|| format!("{hidden} more in subnet_totals.csv"));
    Section { title: "Fewest free addresses by subnet", rows, remark }
}
