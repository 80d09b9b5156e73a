//! All files of a study's output folder.

use super::{csv, folder, render};
use crate::study::StudyInfo;
use crate::study::replicate::{Ended, Study};
use crate::study::summary::Summary;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What it takes to make the same bytes again: `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunRecord {
    /// [`folder::MARKER`].
    pub format: String,
    /// Version of the program.
    pub version: String,
    /// The scenario file as it was given.
    pub scenario: String,
    /// Variant of the scenario.
    pub variant: Option<String>,
    /// Fields that were overridden, in order.
    pub set: Vec<String>,
    /// Hash of the scenario with its manifests.
    pub scenario_hash: String,
    /// Root seed.
    pub seed: u64,
    /// Replications that were asked for, at most.
    pub replications: u32,
    /// Relative precision that was asked for.
    pub precision: Option<f64>,
    /// Replications that were finished.
    pub finished: usize,
    /// Why the study ended: `complete`, `precise`, `notPrecise`, `interrupted`.
    pub ended: String,
    /// Replication with full record.
    pub detail: Option<u32>,
    /// Digest over all replications.
    pub digest: String,
}

impl RunRecord {
    /// Fills in what the study knows itself.
    #[must_use]
    pub fn completed(mut self, info: &StudyInfo, study: &Study, summary: &Summary) -> Self {
        self.format = folder::MARKER.to_owned();
        self.version = env!("CARGO_PKG_VERSION").to_owned();
        self.scenario_hash = format!("{:016x}", info.scenario_hash);
        self.seed = info.seed;
        self.finished = study.rows.len();
        self.ended = match study.ended {
            Ended::Complete => "complete",
            Ended::Precise => "precise",
            Ended::NotPrecise => "notPrecise",
            Ended::Interrupted => "interrupted",
        }
        .to_owned();
        self.digest.clone_from(&summary.digest);
        self
    }
}

/// What differs from run to run: `timing.json`, the one file with wall time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// Wall time of the simulation.
    pub wall_seconds: f64,
    /// Events of all replications.
    pub events: u64,
    /// Events a second of wall time.
    pub events_per_second: f64,
    /// Threads.
    pub threads: usize,
}

/// The name of the one file that may differ between equal runs.
pub const TIMING: &str = "timing.json";

/// All files of the folder by name, `timing.json` included.
#[must_use]
pub fn study_files(
    record: &RunRecord,
    study: &Study,
    summary: &Summary,
    timing: &Timing,
) -> Vec<(String, Vec<u8>)> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut add = |name: &str, bytes: Vec<u8>| files.insert(name.to_owned(), bytes);
    add("summary.json", render::json(summary).into_bytes());
    add("summary.md", render::markdown(summary).into_bytes());
    add("run.json", pretty(record));
    add(TIMING, pretty(timing));
    add("replications.csv", csv::replications(&study.rows));
    add("timeseries.csv", csv::time_series(study));
    add("subnet_totals.csv", csv::subnet_totals(&study.rows));
    add("cost.csv", csv::cost(&study.rows));
    if let Some((index, detail)) = &study.detail {
        add("events.csv", csv::events(*index, detail));
        add("pods.csv", csv::pods(*index, detail));
        add("nodes.csv", csv::nodes(*index, detail));
        add("subnets.csv", csv::subnets(*index, detail));
    }
    #[cfg(feature = "report")]
    for (name, svg) in super::plots::all(study) {
        add(&format!("plots/{name}.svg"), svg.into_bytes());
    }
    files.into_iter().collect()
}

fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("the keys are texts");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::fake::{self, Fake};
    use crate::study::replicate::{StudyOptions, run};

    fn files(threads: usize) -> Vec<(String, Vec<u8>)> {
        let stop = core::sync::atomic::AtomicBool::new(false);
        let options = StudyOptions {
            replications: 70,
            precision: None,
            threads: Some(threads),
            detail: Some(0),
            stop: &stop,
        };
        let info = fake::info(serde_json::json!([]));
        let study = run(&Fake::default(), &options, &|_| {});
        let summary = Summary::new(&info, &study);
        let record = RunRecord::default().completed(&info, &study, &summary);
        study_files(&record, &study, &summary, &Timing::default())
    }

    #[test]
    fn threads_do_not_change_a_byte() {
        let (one, two) = (files(1), files(2));
        let names: Vec<_> = one.iter().map(|f| f.0.as_str()).collect();
        for name in ["run.json", "summary.md", "pods.csv", "cost.csv", "plots/nodes.svg"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for (a, b) in one.iter().zip(&two) {
            assert!(a == b, "{} differs", a.0);
        }
    }

    #[test]
    fn run_json_reads_back() {
        let files = files(1);
        let run = files.iter().find(|f| f.0 == "run.json").unwrap();
        let record: RunRecord = serde_json::from_slice(&run.1).unwrap();
        assert_eq!(
            (record.format.as_str(), record.seed, record.finished),
            (folder::MARKER, 42, 70)
        );
    }
}
