//! Whether objectives hold: the mean over replications with its 95 % interval against a bound.

use super::replicate::{Row, column_estimate};
use super::stats::Estimate;
use crate::observe::metrics::{Column, METRICS, columns};
use crate::spec::scenario::{BoundValue, ObjectiveSpec};
use crate::units::math;
use serde::Serialize;

/// What an objective's interval says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The whole interval is within the bounds.
    Met,
    /// The interval straddles a bound, or there is no interval.
    Undecided,
    /// The whole interval is outside.
    Missed,
}

/// An objective with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveResult {
    /// Column of the metric and statistic.
    pub column: String,
    /// Unit of the values.
    pub unit: &'static str,
    /// Smallest value that is fine, as it was written.
    pub min: Option<BoundValue>,
    /// Largest value that is fine, as it was written.
    pub max: Option<BoundValue>,
    /// Estimate over replications; none when nothing was observed.
    pub estimate: Option<Estimate>,
    /// What the interval says.
    pub verdict: Verdict,
    /// What else there is to know, for example why it is undecided.
    pub note: Option<String>,
}

/// The column of a metric and statistic; an error says what would be right.
pub fn column_of(metric: &str, stat: Option<&str>) -> Result<(usize, Column), String> {
    let found = |wanted: &str| columns().into_iter().enumerate().find(|c| c.1.name() == wanted);
    let wanted = stat.map_or_else(|| metric.to_owned(), |stat| format!("{metric}_{stat}"));
    if let Some(found) = found(&wanted) {
        return Ok(found);
    }
    match METRICS.iter().find(|m| m.name == metric) {
        None => Err(format!("unknown metric `{metric}`; `eks-sim explain metrics` lists them")),
        Some(m) if m.stats.is_empty() => {
            Err(format!("`{metric}` has one value a replication; leave out `stat`"))
        }
        Some(m) => {
            let names: Vec<_> = m.stats.iter().map(|s| s.name()).collect();
            Err(format!("`{metric}` needs `stat`: one of {}", names.join(", ")))
        }
    }
}

/// Judges all objectives on some replications.
#[must_use]
pub fn judge(objectives: &[ObjectiveSpec], rows: &[Row]) -> Vec<ObjectiveResult> {
    objectives.iter().map(|objective| judge_one(objective, rows)).collect()
}

fn judge_one(objective: &ObjectiveSpec, rows: &[Row]) -> ObjectiveResult {
    let mut result = ObjectiveResult {
        column: objective.metric.clone(),
        unit: "",
        min: objective.min.clone(),
        max: objective.max.clone(),
        estimate: None,
        verdict: Verdict::Undecided,
        note: None,
    };
    let (index, column) = match column_of(&objective.metric, objective.stat.as_deref()) {
        Ok(found) => found,
        Err(why) => return ObjectiveResult { note: Some(why), ..result },
    };
    result.column = column.name();
    result.unit = column.metric.unit;
    result.estimate = column_estimate(rows, index);
    let Some(estimate) = result.estimate else {
        return ObjectiveResult { note: Some("nothing was observed".to_owned()), ..result };
    };
    if estimate.n < 2 {
        let note = "one replication has no interval; use --replications 2 or more";
        return ObjectiveResult { note: Some(note.to_owned()), ..result };
    }
    result.verdict = verdict(&estimate, objective);
    result.note = note(&estimate, rows.len(), result.verdict);
    result
}

fn verdict(estimate: &Estimate, objective: &ObjectiveSpec) -> Verdict {
    let min = objective.min.as_ref().map_or(f64::NEG_INFINITY, |b| b.value);
    let max = objective.max.as_ref().map_or(f64::INFINITY, |b| b.value);
    if estimate.lo >= min && estimate.hi <= max {
        Verdict::Met
    } else if estimate.hi < min || estimate.lo > max {
        Verdict::Missed
    } else {
        Verdict::Undecided
    }
}

fn note(estimate: &Estimate, rows: usize, verdict: Verdict) -> Option<String> {
    if estimate.n < rows {
        return Some(format!("observed in {} of {rows} replications", estimate.n));
    }
    if verdict == Verdict::Undecided {
        return Some("the interval straddles the bound; more replications narrow it".to_owned());
    }
    // A count of zero has no spread; what is left is how often it may happen unseen.
    if estimate.mean == 0.0 && estimate.half_width == 0.0 {
        let share = 1.0 - math::pow(0.05, 1.0 / estimate.n as f64);
        let percent = super::round_significant(share * 100.0, 2);
        return Some(format!(
            "in none of {} replications; 95 % sure it is in fewer than {percent} % of runs",
            estimate.n
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::fake;

    fn rows(column: &str, values: &[f64]) -> Vec<Row> {
        let index = fake::column(column);
        let row = |(i, v): (usize, &f64)| {
            let mut values = vec![0.0; columns().len()];
            values[index] = *v;
            Row { replication: i as u32, values, ..Row::default() }
        };
        values.iter().enumerate().map(row).collect()
    }

    fn one(objective: serde_json::Value, rows: &[Row]) -> ObjectiveResult {
        let specs: Vec<ObjectiveSpec> = serde_json::from_value(objective).unwrap();
        judge(&specs, rows).remove(0)
    }

    #[test]
    fn the_interval_decides() {
        let rows = rows("pod_startup_seconds_p99", &[40.0, 41.0, 42.0, 41.0]);
        for (bound, expected) in
            [("60s", Verdict::Met), ("41s", Verdict::Undecided), ("30s", Verdict::Missed)]
        {
            let objective =
                serde_json::json!([{"metric": "pod_startup_seconds", "stat": "p99", "max": bound}]);
            assert_eq!(one(objective, &rows).verdict, expected, "{bound}");
        }
        let min = serde_json::json!([{"metric": "pod_startup_seconds", "stat": "p99", "min": 50}]);
        assert_eq!(one(min, &rows).verdict, Verdict::Missed);
    }

    #[test]
    fn one_replication_decides_nothing() {
        let result = one(
            serde_json::json!([{"metric": "served_ratio", "min": "99%"}]),
            &rows("served_ratio", &[1.0]),
        );
        assert_eq!(result.verdict, Verdict::Undecided);
        assert!(result.note.unwrap().contains("--replications"));
    }

    #[test]
    fn zero_everywhere_says_how_rare_it_may_be() {
        let result = one(
            serde_json::json!([{"metric": "ip_exhaustion_seconds", "max": "0s"}]),
            &rows("ip_exhaustion_seconds", &[0.0; 100]),
        );
        assert_eq!(result.verdict, Verdict::Met);
        assert!(result.note.unwrap().contains("fewer than 3 %"));
    }

    #[test]
    fn unknown_columns_explain_themselves() {
        assert!(column_of("pod_startup_seconds", None).unwrap_err().contains("p99"));
        assert!(column_of("cost_usd", Some("p99")).unwrap_err().contains("leave out"));
        assert!(column_of("nonsense", None).unwrap_err().contains("unknown metric"));
        assert!(column_of("pod_startup_seconds_p99", None).is_ok());
    }
}
