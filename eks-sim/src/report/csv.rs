//! Results as CSV.
//!
//! Numbers are printed by one rule, so that the same values give the same bytes everywhere: times
//! and money exactly from their integers; other numbers as the shortest decimal that reads back
//! to the same double (time series are rounded to six significant digits first). What was not
//! observed is an empty field.

use crate::observe::metrics::columns;
use crate::observe::outcome::{CostLine, Detail};
use crate::study::replicate::{Row, Study};
use crate::study::round_significant;
use crate::units::{Money, SimTime, Span};

/// Builds one table in memory.
struct Table(csv::Writer<Vec<u8>>);

impl Table {
    fn new<S: AsRef<[u8]>>(header: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self(csv::Writer::from_writer(Vec::new()));
        table.row(header);
        table
    }
    fn row<S: AsRef<[u8]>>(&mut self, fields: impl IntoIterator<Item = S>) {
        self.0.write_record(fields).expect("writing to memory with equal lengths cannot fail");
    }
    fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("writing to memory cannot fail")
    }
}

pub(super) fn number(value: f64) -> String {
    match value {
        v if !v.is_finite() => String::new(),
        0.0 => "0".to_owned(),
        v => v.to_string(),
    }
}

/// Billionths as a decimal without trailing zeros.
fn nanos(value: i128) -> String {
    let (sign, digits) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    let (whole, part) = (digits / 1_000_000_000, digits % 1_000_000_000);
    if part == 0 {
        return format!("{sign}{whole}");
    }
    let text = format!("{sign}{whole}.{part:09}");
    text.trim_end_matches('0').to_owned()
}

fn seconds(at: SimTime) -> String {
    nanos(i128::from(at.nanos()))
}
fn maybe(at: Option<SimTime>) -> String {
    at.map(seconds).unwrap_or_default()
}
fn span(length: Span) -> String {
    nanos(i128::from(length.nanos()))
}
fn between(from: SimTime, to: Option<SimTime>) -> String {
    to.map(|to| span(to.since(from))).unwrap_or_default()
}
fn usd(amount: Money) -> String {
    nanos(i128::from(amount.nanos()))
}

/// `replications.csv`: a row a replication with all columns.
#[must_use]
pub fn replications(rows: &[Row]) -> Vec<u8> {
    let columns = columns();
    let first = ["replication", "digest", "events", "ended_early"].map(str::to_owned);
    let mut table = Table::new(first.into_iter().chain(columns.iter().map(|c| c.name())));
    for row in rows {
        let early = row.diagnosis.as_ref().map(|d| d.bound.clone()).unwrap_or_default();
        let first = [
            row.replication.to_string(),
            format!("{:016x}", row.digest),
            row.events.to_string(),
            early,
        ];
        let value = |i: usize| number(row.values.get(i).copied().unwrap_or(f64::NAN));
        table.row(first.into_iter().chain((0..columns.len()).map(value)));
    }
    table.finish()
}

/// `timeseries.csv`: mean and quantiles over replications at each point of the grid.
#[must_use]
pub fn time_series(study: &Study) -> Vec<u8> {
    let mut table = Table::new([
        "time_s", "series", "object", "unit", "mean", "p5", "p25", "p50", "p75", "p95",
    ]);
    let short = |value: f64| number(round_significant(value, 6));
    for band in &study.bands {
        for (i, &mean) in band.mean.iter().enumerate() {
            let time = span(study.step * i as u64);
            let first = [time, band.name.clone(), band.object.clone(), band.unit.to_owned()];
            let quantile = |q: &Vec<f64>| short(q.get(i).copied().unwrap_or(f64::NAN));
            let quantiles = band.quantiles.iter().map(quantile);
            table.row(first.into_iter().chain([short(mean)]).chain(quantiles));
        }
    }
    table.finish()
}

/// `events.csv`: what happened in one replication.
#[must_use]
pub fn events(replication: u32, detail: &Detail) -> Vec<u8> {
    let mut table =
        Table::new(["replication", "time_s", "component", "kind", "object", "reason", "message"]);
    let index = replication.to_string();
    for e in &detail.events {
        let at = seconds(e.at);
        table.row([&index, &at, e.component, e.kind, &e.object, &e.reason, &e.message]);
    }
    table.finish()
}

/// `pods.csv`: the pods of one replication.
#[must_use]
pub fn pods(replication: u32, detail: &Detail) -> Vec<u8> {
    let mut table = Table::new([
        "replication",
        "namespace",
        "name",
        "owner",
        "node",
        "created_s",
        "bound_s",
        "addressed_s",
        "started_s",
        "ready_s",
        "deleted_s",
        "pending_s",
        "startup_s",
        "state",
        "attempts",
        "restarts",
        "reason",
    ]);
    for p in &detail.pods {
        table.row([
            replication.to_string(),
            p.namespace.clone(),
            p.name.clone(),
            p.owner.clone(),
            p.node.clone(),
            seconds(p.created),
            maybe(p.bound),
            maybe(p.addressed),
            maybe(p.started),
            maybe(p.ready),
            maybe(p.deleted),
            between(p.created, p.bound),
            between(p.created, p.ready),
            p.state.clone(),
            p.attempts.to_string(),
            p.restarts.to_string(),
            p.reason.clone(),
        ]);
    }
    table.finish()
}

/// `nodes.csv`: the nodes of one replication.
#[must_use]
pub fn nodes(replication: u32, detail: &Detail) -> Vec<u8> {
    let mut table = Table::new([
        "replication",
        "name",
        "group",
        "instance_type",
        "zone",
        "subnet",
        "capacity_type",
        "requested_s",
        "registered_s",
        "ready_s",
        "terminated_s",
        "reason",
        "allocatable_cpu_m",
        "allocatable_memory_bytes",
        "max_pods",
        "pods_max",
        "enis_max",
        "prefixes_max",
        "addresses_max",
        "cost_usd",
    ]);
    for n in &detail.nodes {
        table.row([
            replication.to_string(),
            n.name.clone(),
            n.group.clone(),
            n.instance_type.clone(),
            n.zone.clone(),
            n.subnet.clone(),
            n.capacity_type.clone(),
            seconds(n.requested),
            maybe(n.registered),
            maybe(n.ready),
            maybe(n.terminated),
            n.reason.clone(),
            n.allocatable_cpu_m.to_string(),
            n.allocatable_memory.to_string(),
            n.max_pods.to_string(),
            n.pods_max.to_string(),
            n.enis_max.to_string(),
            n.prefixes_max.to_string(),
            n.addresses_max.to_string(),
            usd(n.cost),
        ]);
    }
    table.finish()
}

/// `subnets.csv`: what the addresses of each subnet were used for over time, in one replication.
///
/// `assigned` to `free_in_blocks` add up to `usable`.
#[must_use]
pub fn subnets(replication: u32, detail: &Detail) -> Vec<u8> {
    let mut table = Table::new([
        "replication",
        "time_s",
        "name",
        "zone",
        "cidr",
        "usable",
        "assigned",
        "warm",
        "cooling",
        "nodes",
        "other",
        "free_fragmented",
        "free_in_blocks",
        "free",
    ]);
    for s in &detail.subnets {
        let [.., fragmented, free] = &s.uses;
        for (i, (free, fragmented)) in free.iter().zip(fragmented).enumerate() {
            let first = [
                replication.to_string(),
                span(s.step * i as u64),
                s.name.clone(),
                s.zone.clone(),
                s.cidr.clone(),
                s.usable.to_string(),
            ];
            let uses = s.uses.iter().take(6).map(|u| number(u.get(i).copied().unwrap_or(f64::NAN)));
            table.row(
                first.into_iter().chain(uses).chain([number(free - fragmented), number(*free)]),
            );
        }
    }
    table.finish()
}

/// `subnet_totals.csv`: the subnets of all replications.
#[must_use]
pub fn subnet_totals(rows: &[Row]) -> Vec<u8> {
    let mut table = Table::new([
        "replication",
        "name",
        "zone",
        "cidr",
        "usable",
        "free_end",
        "free_min",
        "assigned_end",
        "warm_end",
        "refusals",
        "first_exhausted_s",
        "exhausted_s",
    ]);
    for row in rows {
        for s in &row.subnets {
            table.row([
                row.replication.to_string(),
                s.name.clone(),
                s.zone.clone(),
                s.cidr.clone(),
                s.usable.to_string(),
                s.free_end.to_string(),
                s.free_min.to_string(),
                s.assigned_end.to_string(),
                s.warm_end.to_string(),
                s.refusals.to_string(),
                maybe(s.first_exhausted),
                span(s.exhausted),
            ]);
        }
    }
    table.finish()
}

/// `cost.csv`: the cost of all replications, with columns of FOCUS 1.0 (FinOps Open Cost and Usage
/// Specification) beside ours.
#[must_use]
pub fn cost(rows: &[Row]) -> Vec<u8> {
    let mut table = Table::new([
        "replication",
        "component",
        "item",
        "quantity",
        "unit",
        "cost_usd",
        "ServiceName",
        "ServiceCategory",
        "ChargeCategory",
        "ChargeDescription",
        "ConsumedQuantity",
        "ConsumedUnit",
        "BilledCost",
        "EffectiveCost",
        "BillingCurrency",
    ]);
    for row in rows {
        for line in &row.cost {
            let quantity = number(line.quantity);
            let amount = usd(line.amount);
            let (service, category) = service(line);
            table.row([
                row.replication.to_string(),
                line.component.clone(),
                line.item.clone(),
                quantity.clone(),
                line.unit.to_owned(),
                amount.clone(),
                service.to_owned(),
                category.to_owned(),
                "Usage".to_owned(),
                format!("{} {}", line.component, line.item).trim_end().to_owned(),
                quantity,
                focus_unit(line.unit).to_owned(),
                amount.clone(),
                amount,
                "USD".to_owned(),
            ]);
        }
    }
    table.finish()
}

/// FOCUS service and category of a cost component, by the first words of its name.
fn service(line: &CostLine) -> (&'static str, &'static str) {
    const SERVICES: &[(&str, (&str, &str))] = &[
        ("control plane", ("Amazon Elastic Kubernetes Service", "Compute")),
        ("extended support", ("Amazon Elastic Kubernetes Service", "Compute")),
        ("Auto Mode", ("Amazon Elastic Kubernetes Service", "Compute")),
        ("EC2", ("Amazon Elastic Compute Cloud", "Compute")),
        ("Fargate", ("AWS Fargate", "Compute")),
        ("EBS", ("Amazon Elastic Block Store", "Storage")),
        ("load balancer", ("Elastic Load Balancing", "Networking")),
        ("NAT", ("Amazon Virtual Private Cloud", "Networking")),
        ("public", ("Amazon Virtual Private Cloud", "Networking")),
        ("cross-zone", ("AWS Data Transfer", "Networking")),
    ];
    let name = line.component.as_str();
    SERVICES
        .iter()
        .find(|s| name.starts_with(s.0))
        .map_or(("Amazon Web Services", "Other"), |s| s.1)
}

fn focus_unit(unit: &str) -> &str {
    match unit {
        "h" => "Hours",
        "GB" => "GB",
        "GiB h" => "GiB-Hours",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::fake::Fake;
    use crate::study::replicate::{StudyOptions, run};

    fn study() -> Study {
        let stop = core::sync::atomic::AtomicBool::new(false);
        let options = StudyOptions {
            replications: 3,
            precision: None,
            threads: Some(1),
            detail: Some(1),
            stop: &stop,
        };
        run(&Fake::default(), &options, &|_| {})
    }

    fn records(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
        reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn a_row_a_replication_with_every_column() {
        let rows = records(&replications(&study().rows));
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0].len(), 4 + columns().len());
        assert_eq!(&rows[2][..3], ["1", "00000000feed0001", "1001"]);
        let jobs = rows[0].iter().position(|c| c == "job_seconds_mean").unwrap();
        assert_eq!(rows[1][jobs], "", "what was not observed is empty");
    }

    #[test]
    fn time_series_have_a_row_a_point() {
        let study = study();
        let rows = records(&time_series(&study));
        assert_eq!(rows.len(), 1 + study.bands.len() * 289);
        assert_eq!(rows[0][0], "time_s");
        assert_eq!(rows[2][0], "300");
    }

    #[test]
    fn details_name_their_replication() {
        let study = study();
        let (index, detail) = study.detail.as_ref().unwrap();
        let rows = records(&events(*index, detail));
        assert_eq!(rows[1][..3], ["1", "1.5", "scheduler"]);
        assert!(rows[1][6].contains("\"quoted\""));
        assert_eq!(records(&pods(*index, detail))[1][11], "2");
        assert_eq!(records(&nodes(*index, detail))[1][19], "1.5");
        let uses = records(&subnets(*index, detail));
        assert_eq!(uses.len(), 3);
        let parts: f64 = uses[2][6..13].iter().map(|part| part.parse::<f64>().unwrap()).sum();
        assert_eq!((uses[2][1].as_str(), parts, uses[2][13].as_str()), ("300", 251.0, "150"));
    }

    #[test]
    fn costs_have_focus_columns() {
        let rows = records(&cost(&study().rows));
        let at = |name: &str| rows[0].iter().position(|c| c == name).unwrap();
        assert_eq!(rows[1][at("ServiceName")], "Amazon Elastic Kubernetes Service");
        assert_eq!(rows[1][at("BilledCost")], "2.4");
        assert_eq!(rows[1][at("ConsumedUnit")], "Hours");
        assert_eq!(rows.len(), 1 + 3 * 2);
        assert_eq!(records(&subnet_totals(&study().rows)).len(), 1 + 3 * 2);
    }

    #[test]
    fn numbers_are_exact() {
        assert_eq!(nanos(1_500_000_000), "1.5");
        assert_eq!(nanos(-20), "-0.00000002");
        assert_eq!(nanos(7_000_000_000), "7");
        assert_eq!(number(-0.0), "0");
        assert_eq!(number(0.1), "0.1");
    }
}
