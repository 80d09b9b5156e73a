//! Studies of several scenarios with the same random numbers: paired differences.
//!
//! Replication `r` of every study sees the same arrivals, boot times and failures, so the
//! difference is taken within each replication and its interval is that of the differences; it
//! is narrower than what two independent studies would give.

use super::replicate::Row;
use super::samples::{estimate as sample, scaled};
use super::stats::Estimate;
use crate::observe::metrics::{Better, columns};
use serde::Serialize;

/// A study with its name.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Name of the scenario or variant.
    pub name: &'a str,
    /// Its replications in order.
    pub rows: &'a [Row],
}

/// One scenario against the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The first scenario.
    pub base: String,
    /// The other.
    pub other: String,
    /// Replications that both have.
    pub pairs: usize,
    /// Whether every replication did exactly the same.
    pub identical: bool,
    /// Every column that was observed.
    pub differences: Vec<Difference>,
}

/// One column of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Column.
    pub column: String,
    /// Unit.
    pub unit: &'static str,
    /// Estimate of the first.
    pub base: Estimate,
    /// Estimate of the other.
    pub other: Estimate,
    /// Other less first, within replications.
    pub difference: Estimate,
    /// The same relative to the mean of the first; none where that is zero.
    pub relative: Option<Estimate>,
    /// What the interval says.
    pub verdict: Change,
}

/// What the interval of a difference says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Exactly the same in every replication.
    Same,
    /// The interval holds zero, or there is no interval.
    Unclear,
    /// Surely better.
    Better,
    /// Surely worse.
    Worse,
    /// Surely different where neither way is better.
    Different,
}

/// Compares every other study with the first.
#[must_use]
pub fn compare(studies: &[Named<'_>]) -> Vec<Comparison> {
    let Some((base, others)) = studies.split_first() else { return Vec::new() };
    others.iter().map(|other| pair(base, other)).collect()
}

fn pair(base: &Named<'_>, other: &Named<'_>) -> Comparison {
    let pairs: Vec<(&Row, &Row)> = base.rows.iter().zip(other.rows).collect();
    let identical = base.rows.len() == other.rows.len()
        && pairs.iter().all(|(a, b)| a.digest == b.digest && same(&a.values, &b.values));
    let difference = |(i, column): (usize, crate::observe::metrics::Column)| {
        let values = |row: &Row| row.values.get(i).copied().unwrap_or(f64::NAN);
        let both = pairs.iter().map(|(a, b)| (values(a), values(b)));
        let both = both.filter(|(a, b)| a.is_finite() && b.is_finite());
        let base = sample(both.clone().map(|(a, _)| a))?;
        let difference = sample(both.clone().map(|(a, b)| b - a))?;
        Some(Difference {
            column: column.name(),
            unit: column.metric.unit,
            base,
            other: sample(both.map(|(_, b)| b))?,
            difference,
            relative: (base.mean != 0.0).then(|| scaled(&difference, 1.0 / base.mean.abs())),
            verdict: change(&difference, column.metric.better),
        })
    };
    Comparison {
        base: base.name.to_owned(),
        other: other.name.to_owned(),
        pairs: pairs.len(),
        identical,
        differences: columns().into_iter().enumerate().filter_map(difference).collect(),
    }
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

fn change(difference: &Estimate, better: Better) -> Change {
    if difference.mean == 0.0 && difference.half_width == 0.0 {
        return Change::Same;
    }
    if difference.n < 2 || (difference.lo <= 0.0 && difference.hi >= 0.0) {
        return Change::Unclear;
    }
    match (better, difference.mean < 0.0) {
        (Better::Neither, _) => Change::Different,
        (Better::Lower, true) | (Better::Higher, false) => Change::Better,
        (Better::Lower, false) | (Better::Higher, true) => Change::Worse,
    }
}

impl Comparison {
    /// A column by its name.
    #[must_use]
    pub fn difference(&self, column: &str) -> Option<&Difference> {
        self.differences.iter().find(|d| d.column == column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::fake::Fake;
    use crate::study::replicate::{Study, StudyOptions, run};

    fn study(nodes: f64, replications: u32) -> Study {
        let stop = core::sync::atomic::AtomicBool::new(false);
        let options = StudyOptions {
            replications,
            precision: None,
            threads: Some(1),
            detail: None,
            stop: &stop,
        };
        run(&Fake { nodes, ..Fake::default() }, &options, &|_| {})
    }

    #[test]
    fn a_scenario_against_itself_differs_by_exactly_zero() {
        let study = study(6.0, 40);
        let named = |name| Named { name, rows: &study.rows };
        let comparison = &compare(&[named("a"), named("b")])[0];
        assert!(comparison.identical);
        assert!(!comparison.differences.is_empty());
        for d in &comparison.differences {
            assert_eq!((d.difference.mean, d.difference.half_width), (0.0, 0.0), "{}", d.column);
            assert_eq!(d.verdict, Change::Same);
        }
    }

    #[test]
    fn common_noise_cancels() {
        let (a, b) = (study(6.0, 40), study(7.0, 40));
        let comparison =
            &compare(&[Named { name: "a", rows: &a.rows }, Named { name: "b", rows: &b.rows }])[0];
        let cost = comparison.difference("cost_usd_per_month").unwrap();
        assert!((cost.difference.mean - 3.0 * 1.2 * 730.0 / 24.0).abs() < 1e-9);
        assert!(cost.difference.half_width < 1e-9 && cost.base.half_width > 1.0);
        assert_eq!(cost.verdict, Change::Worse);
        assert!(!comparison.identical);
    }

    #[test]
    fn one_pair_decides_nothing() {
        let (a, b) = (study(6.0, 1), study(7.0, 1));
        let named = [Named { name: "a", rows: &a.rows }, Named { name: "b", rows: &b.rows }];
        let comparison = &compare(&named)[0];
        let cost = comparison.difference("cost_usd_per_month").unwrap();
        assert_eq!(cost.verdict, Change::Unclear);
        assert!(compare(&[]).is_empty());
    }
}
