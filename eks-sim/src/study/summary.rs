//! What a study says: objectives, cost, what limited the cluster, every column with its interval.

use super::objectives::{ObjectiveResult, Verdict, judge};
use super::replicate::{Ended, Row, Study, column_estimate};
use super::samples::estimate as sample;
use super::stats::Estimate;
use super::{StudyInfo, objectives};
use crate::observe::metrics::columns;
use serde::Serialize;
use std::collections::BTreeMap;

/// Replications below which an interval is called thin.
const FEW_REPLICATIONS: usize = 10;

/// The summary of a study; `summary.json` is this.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Summary {
    /// Version of this format.
    pub format: &'static str,
    /// Name of the scenario.
    pub name: String,
    /// What it asks.
    pub description: String,
    /// Root seed.
    pub seed: u64,
    /// Virtual time of a replication.
    pub duration_seconds: f64,
    /// Warm-up that no metric counts.
    pub warmup_seconds: f64,
    /// Replications.
    pub replications: usize,
    /// Why the study ended.
    pub ended: Ended,
    /// Events of all replications.
    pub events: u64,
    /// Digest over the digests of all replications.
    pub digest: String,
    /// Process exit code that goes with the result.
    pub exit_code: u8,
    /// The objectives.
    pub objectives: Vec<ObjectiveResult>,
    /// Cost of 730 hours by component, the dearest first.
    pub cost_per_month: Vec<CostSummary>,
    /// What held pods up, the most frequent first.
    pub limits: Vec<LimitSummary>,
    /// All columns.
    pub metrics: Vec<MetricSummary>,
    /// The subnets.
    pub subnets: Vec<SubnetEstimate>,
    /// Replications that a bound ended early.
    pub ended_early: Vec<EarlyEnd>,
    /// What to keep in mind when reading the numbers.
    pub warnings: Vec<String>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricSummary {
    /// Column name.
    pub name: String,
    /// Unit.
    pub unit: &'static str,
    /// Estimate; none when it was never observed.
    pub estimate: Option<Estimate>,
}

/// Cost of one component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostSummary {
    /// Component.
    pub component: String,
    /// USD in 730 hours.
    pub usd: Estimate,
    /// Share of the total.
    pub share: f64,
}

/// One thing that held pods up.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitSummary {
    /// Who said so.
    pub component: String,
    /// Upstream's words.
    pub reason: String,
    /// Pods a replication.
    pub count: Estimate,
    /// Seconds that pods waited, a replication.
    pub wait_seconds: Estimate,
}

/// One subnet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubnetEstimate {
    /// Name.
    pub name: String,
    /// Zone.
    pub zone: String,
    /// Address block.
    pub cidr: String,
    /// Usable addresses.
    pub usable: u32,
    /// Smallest number of free addresses.
    pub free_min: Estimate,
    /// Refused requests.
    pub refusals: Estimate,
    /// Seconds without a free address.
    pub exhausted_seconds: Estimate,
}

/// A replication that a bound ended early.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EarlyEnd {
    /// Which.
    pub replication: u32,
    /// Virtual time in seconds.
    pub at_seconds: f64,
    /// The bound.
    pub bound: String,
    /// Component of the last event.
    pub component: String,
    /// Object of the last event.
    pub object: String,
    /// The last events, oldest first.
    pub last_events: Vec<String>,
}

impl Summary {
    /// Summarises a study.
    #[must_use]
    pub fn new(info: &StudyInfo, study: &Study) -> Self {
        let rows = &study.rows;
        let objectives = judge(&info.objectives, rows);
        let metrics = columns().into_iter().enumerate().map(|(i, c)| MetricSummary {
            name: c.name(),
            unit: c.metric.unit,
            estimate: column_estimate(rows, i),
        });
        let mut summary = Self {
            format: "eks-sim-summary/v1",
            name: info.name.clone(),
            description: info.description.clone(),
            seed: info.seed,
            duration_seconds: info.duration.secs_f64(),
            warmup_seconds: info.warmup.secs_f64(),
            replications: rows.len(),
            ended: study.ended,
            events: study.events(),
            digest: format!("{:016x}", digest(rows)),
            exit_code: 0,
            cost_per_month: cost(rows, info.monthly_factor()),
            limits: limits(rows),
            metrics: metrics.collect(),
            subnets: subnets(rows),
            ended_early: rows.iter().filter_map(early_end).collect(),
            warnings: Vec::new(),
            objectives,
        };
        summary.exit_code = exit_code(&summary.objectives, rows);
        summary.warnings = warnings(&summary, study, info);
        summary
    }

    /// The estimate of a column by its name.
    #[must_use]
    pub fn estimate(&self, column: &str) -> Option<Estimate> {
        self.metrics.iter().find(|m| m.name == column).and_then(|m| m.estimate)
    }
}

/// 5 nothing was ever bound, 3 a bound ended a replication, 1 an objective is missed, 4 one is
/// undecided, 0 otherwise.
fn exit_code(objectives: &[ObjectiveResult], rows: &[Row]) -> u8 {
    if rows.iter().all(|r| r.pods_bound == 0) {
        return 5;
    }
    if rows.iter().any(|r| r.diagnosis.is_some()) {
        return 3;
    }
    match objectives.iter().map(|o| o.verdict).max() {
        Some(Verdict::Missed) => 1,
        Some(Verdict::Undecided) => 4,
        Some(Verdict::Met) | None => 0,
    }
}

/// FNV-1a over the digests in order.
#[must_use]
pub fn digest(rows: &[Row]) -> u64 {
    let bytes = rows.iter().flat_map(|r| r.digest.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn early_end(row: &Row) -> Option<EarlyEnd> {
    let diagnosis = row.diagnosis.as_ref()?;
    Some(EarlyEnd {
        replication: row.replication,
        at_seconds: diagnosis.at.secs_f64(),
        bound: diagnosis.bound.clone(),
        component: diagnosis.component.clone(),
        object: diagnosis.object.clone(),
        last_events: diagnosis.last_events.clone(),
    })
}

/// Sums by key in each replication; a replication without the key counts as zero.
fn by_key<'a, K: Ord>(
    rows: &'a [Row],
    entries: impl Fn(&'a Row) -> Vec<(K, f64)>,
) -> BTreeMap<K, Vec<f64>> {
    let mut sums: BTreeMap<K, Vec<f64>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        for (key, value) in entries(row) {
            let values = sums.entry(key).or_insert_with(|| vec![0.0; rows.len()]);
            if let Some(sum) = values.get_mut(i) {
                *sum += value;
            }
        }
    }
    sums
}

fn cost(rows: &[Row], monthly: f64) -> Vec<CostSummary> {
    let sums = by_key(rows, |row| {
        row.cost.iter().map(|l| (l.component.as_str(), l.amount.usd() * monthly)).collect()
    });
    let estimates =
        sums.into_iter().filter_map(|(name, values)| Some((name, sample(values.into_iter())?)));
    let mut list: Vec<_> = estimates
        .map(|(name, usd)| CostSummary { component: name.to_owned(), usd, share: 0.0 })
        .collect();
    let total: f64 = list.iter().map(|c| c.usd.mean).sum();
    if total > 0.0 {
        list.iter_mut().for_each(|c| c.share = c.usd.mean / total);
    }
    list.sort_by(|a, b| b.usd.mean.total_cmp(&a.usd.mean).then(a.component.cmp(&b.component)));
    list
}

fn limits(rows: &[Row]) -> Vec<LimitSummary> {
    let counts = by_key(rows, |row| {
        row.reasons.iter().map(|r| ((r.component, r.reason.as_str()), r.count as f64)).collect()
    });
    let mut waits = by_key(rows, |row| {
        row.reasons.iter().map(|r| ((r.component, r.reason.as_str()), r.wait_seconds)).collect()
    });
    let mut list: Vec<LimitSummary> = Vec::new();
    for (key, values) in counts {
        let wait = waits.remove(&key).unwrap_or_default();
        let (Some(count), Some(wait_seconds)) =
            (sample(values.into_iter()), sample(wait.into_iter()))
        else {
            continue;
        };
        let (component, reason) = (key.0.to_owned(), key.1.to_owned());
        list.push(LimitSummary { component, reason, count, wait_seconds });
    }
    // The sort is stable: equal ones stay in the order of component and reason.
    list.sort_by(|a, b| {
        let wait = b.wait_seconds.mean.total_cmp(&a.wait_seconds.mean);
        wait.then(b.count.mean.total_cmp(&a.count.mean))
    });
    list
}

fn subnets(rows: &[Row]) -> Vec<SubnetEstimate> {
    let Some(first) = rows.first() else { return Vec::new() };
    let estimate = |i: usize, value: fn(&crate::observe::outcome::SubnetSummary) -> f64| {
        sample(rows.iter().filter_map(move |r| r.subnets.get(i)).map(value))
    };
    let one = |(i, subnet): (usize, &crate::observe::outcome::SubnetSummary)| {
        Some(SubnetEstimate {
            name: subnet.name.clone(),
            zone: subnet.zone.clone(),
            cidr: subnet.cidr.clone(),
            usable: subnet.usable,
            free_min: estimate(i, |s| f64::from(s.free_min))?,
            refusals: estimate(i, |s| s.refusals as f64)?,
            exhausted_seconds: estimate(i, |s| s.exhausted.secs_f64())?,
        })
    };
    first.subnets.iter().enumerate().filter_map(one).collect()
}

fn warnings(summary: &Summary, study: &Study, info: &StudyInfo) -> Vec<String> {
    let n = summary.replications;
    let mut out = Vec::new();
    if study.rows.iter().all(|r| r.pods_bound == 0) {
        out.push("no pod was ever scheduled: nothing was simulated".to_owned());
    }
    match study.ended {
        Ended::Interrupted => out.push(format!("interrupted: only the first {n} replications")),
        Ended::NotPrecise => out
            .push(format!("not as precise as asked after {n} replications; raise --replications")),
        Ended::Complete | Ended::Precise => {}
    }
    if n == 1 {
        out.push("one replication: there are no intervals; use --replications 30".to_owned());
    } else if n < FEW_REPLICATIONS {
        out.push(format!(
            "only {n} replications: intervals rest on few observations; use 30 or more"
        ));
    }
    if let Some(early) = summary.ended_early.first() {
        out.push(format!(
            "{} of {n} replications ended early, the first (replication {}) at {:.3} s: bound `{}` reached in {} at {}",
            summary.ended_early.len(), early.replication, early.at_seconds, early.bound,
            early.component, early.object
        ));
    }
    for objective in &info.objectives {
        out.extend(thin_tail(summary, &objective.metric, objective.stat.as_deref()));
    }
    if study.band_replications < n && !study.bands.is_empty() {
        out.push(format!(
            "quantile bands are over the first {} replications, means over all",
            study.band_replications
        ));
    }
    out
}

/// A quantile of fewer values than its tail needs is about their maximum.
fn thin_tail(summary: &Summary, metric: &str, stat: Option<&str>) -> Option<String> {
    let (_, column) = objectives::column_of(metric, stat).ok()?;
    let stat = column.stat?;
    use crate::observe::metrics::Stat;
    let needed = match stat {
        Stat::P90 => 10.0,
        Stat::P95 => 20.0,
        Stat::P99 => 100.0,
        Stat::Mean | Stat::P50 | Stat::Max => return None,
    };
    let population = match column.metric.name {
        "pod_startup_seconds" | "pod_pending_seconds" => "pods_created",
        "job_seconds" => "jobs_succeeded",
        _ => return None,
    };
    let values = summary.estimate(population)?.mean;
    (values < needed).then(|| {
        format!(
            "{}: a replication has only {:.0} values; with fewer than {needed} the {} is about the largest of them",
            column.name(), values, stat.name()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::fake::{self, Fake};
    use crate::study::replicate::{StudyOptions, run};
    use core::sync::atomic::AtomicBool;

    fn summary(model: &Fake, replications: u32, objectives: serde_json::Value) -> Summary {
        let stop = AtomicBool::new(false);
        let options = StudyOptions {
            replications,
            precision: None,
            threads: Some(1),
            detail: None,
            stop: &stop,
        };
        Summary::new(&fake::info(objectives), &run(model, &options, &|_| {}))
    }

    #[test]
    fn exit_codes() {
        let max = |v: f64| serde_json::json!([{"metric": "cost_usd_per_month", "max": v}]);
        let model = Fake::default();
        assert_eq!(summary(&model, 30, max(5000.0)).exit_code, 0);
        assert_eq!(summary(&model, 30, max(100.0)).exit_code, 1);
        assert_eq!(summary(&model, 1, max(5000.0)).exit_code, 4);
        assert_eq!(summary(&Fake { bound: 0, ..model }, 30, max(5000.0)).exit_code, 5);
    }

    #[test]
    fn cost_is_sorted_and_shares_sum_to_one() {
        let s = summary(&Fake::default(), 30, serde_json::json!([]));
        assert_eq!(s.cost_per_month[0].component, "EC2 on-demand");
        assert!((s.cost_per_month.iter().map(|c| c.share).sum::<f64>() - 1.0).abs() < 1e-12);
        let plane = &s.cost_per_month[1];
        assert!((plane.usd.mean - 73.0).abs() < 1e-9);
        assert_eq!(plane.usd.half_width, 0.0);
    }

    #[test]
    fn few_replications_are_warned_about() {
        let s = summary(&Fake::default(), 3, serde_json::json!([]));
        assert!(s.warnings.iter().any(|w| w.contains("only 3 replications")));
        let s = summary(&Fake::default(), 30, serde_json::json!([]));
        assert!(s.warnings.is_empty(), "{:?}", s.warnings);
    }

    #[test]
    fn json_has_no_infinities() {
        let s = summary(&Fake::default(), 1, serde_json::json!([]));
        let text = serde_json::to_string(&s).unwrap();
        assert!(text.contains("\"half_width\":null"));
    }
}
