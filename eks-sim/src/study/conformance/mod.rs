//! Runs decisions of the real components, recorded as JSON vectors, through the same policy code
//! that the simulation uses.
//!
//! A family module turns one case into the values that the code computes; this module walks
//! files, dispatches on `topic`, compares and counts.

mod cluster_autoscaler;
mod compare;
mod hpa;
mod karpenter;
mod keys;
mod scheduler;
mod vpa;
mod vpc_cni;
mod walk;
mod work;
mod workloads;

use core::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

pub use compare::Difference;

/// Why a case has no computed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Unknown topic or kind, or an input key that is not read.
    Unsupported(String),
    /// The policy refuses the input (passes when `expect` holds an `error`).
    Error(String),
}

/// Why a conformance run could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConformanceError {
    /// No path was given.
    #[error("no path given; name a vector file or a folder of vectors")]
    NoPath,
    /// A folder holds no `*.json`.
    #[error("{}: no vector (`*.json`) in this folder", .0.display())]
    NoVector(PathBuf),
    /// Folders nest too deep, or a link leads in a circle.
    #[error("{}: folders nest too deep; remove links that lead in a circle", .0.display())]
    TooDeep(PathBuf),
    /// A file or folder cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// Why it cannot be.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{}: not JSON: {source}", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file has no list of cases.
    #[error("{}: not a vector; it needs a `topic` and a list `cases` with a case in it", .0.display())]
    NotAVector(PathBuf),
}

/// The result of one conformance run.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// One entry per file, in the order in which they were read.
    pub files: Vec<FileResult>,
}

/// The results of one vector file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FileResult {
    /// Where it is.
    pub path: PathBuf,
    /// What it tests, `family/file`.
    pub topic: String,
    /// Its cases, in order.
    pub cases: Vec<CaseResult>,
}

/// The result of one case.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Every expected value was computed.
    Passed,
    /// Some value differs.
    Differs(Vec<Difference>),
    /// The code refused, panicked or took too long, or accepted what it should refuse.
    Wrong(String),
    /// The topic, the kind or a key of the input is not known.
    Unsupported(String),
}

/// Passed, failed and unsupported cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that are not supported.
    pub unsupported: usize,
}

impl Counts {
    fn of<'a>(cases: impl IntoIterator<Item = &'a CaseResult>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            match case.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Differs(_) | Outcome::Wrong(_) => counts.failed += 1,
                Outcome::Unsupported(_) => counts.unsupported += 1,
            }
        }
        counts
    }
}

impl FileResult {
    /// Its cases by result.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::of(&self.cases)
    }
}

impl Report {
    /// All cases by result.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::of(self.files.iter().flat_map(|file| &file.cases))
    }

    /// Whether every case passed.
    #[must_use]
    pub fn conforms(&self) -> bool {
        let counts = self.counts();
        counts.failed == 0 && counts.unsupported == 0
    }

    /// A line per file, the first `failures` cases that did not pass, and the totals.
    #[must_use]
    pub fn text(&self, failures: usize) -> String {
        let mut out = String::new();
        let width = self.files.iter().map(|file| file.topic.chars().count()).max().unwrap_or(0);
        for file in &self.files {
            let passed = file.counts().passed;
            let _ = writeln!(out, "{:width$}  {passed}/{}", file.topic, file.cases.len());
        }
        let bad =
            self.files.iter().flat_map(|file| file.cases.iter().map(move |case| (file, case)));
        let bad = bad.filter(|(_, case)| case.outcome != Outcome::Passed).collect::<Vec<_>>();
        for (file, case) in bad.iter().take(failures) {
            describe(&mut out, file, case);
        }
        if bad.len() > failures && failures > 0 {
            let _ = writeln!(out, "... and {} more", bad.len() - failures);
        }
        let Counts { passed, failed, unsupported } = self.counts();
        let _ = writeln!(
            out,
            "conformance: {passed} passed, {failed} failed, {unsupported} unsupported"
        );
        out
    }
}

/// Differences shown of one case.
const SHOWN: usize = 4;

fn describe(out: &mut String, file: &FileResult, case: &CaseResult) {
    let _ = write!(out, "{} `{}`: ", file.path.display(), case.name);
    match &case.outcome {
        Outcome::Passed => out.push_str("passed\n"),
        Outcome::Wrong(why) => {
            let _ = writeln!(out, "failed: {why}");
        }
        Outcome::Unsupported(why) => {
            let _ = writeln!(out, "unsupported: {why}");
        }
        Outcome::Differs(differences) => {
            out.push_str("failed\n");
            for d in differences.iter().take(SHOWN) {
                let _ = writeln!(out, "  {}: expected {}, actual {}", d.path, d.expected, d.actual);
            }
            if differences.len() > SHOWN {
                let _ = writeln!(out, "  ... and {} more values", differences.len() - SHOWN);
            }
        }
    }
}

/// Runs every vector under `paths` (files, or folders that are walked).
///
/// # Errors
/// When a path cannot be read, is not a vector, or a folder holds none.
pub fn run(paths: &[PathBuf]) -> Result<Report, ConformanceError> {
    let mut worker = work::Worker::new(evaluate);
    let mut files = Vec::new();
    for path in walk::vectors(paths)? {
        let vector = read(&path)?;
        files.push(run_file(path, vector, &mut worker));
    }
    Ok(Report { files })
}

fn read(path: &Path) -> Result<Value, ConformanceError> {
    let bytes = std::fs::read(path)
        .map_err(|source| ConformanceError::Unreadable { path: path.to_owned(), source })?;
    let vector: Value = serde_json::from_slice(&bytes)
        .map_err(|source| ConformanceError::NotJson { path: path.to_owned(), source })?;
    // A missing topic is an unknown one, and makes the cases unsupported.
    if vector.get("cases").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(ConformanceError::NotAVector(path.to_owned()));
    }
    Ok(vector)
}

fn run_file(path: PathBuf, vector: Value, worker: &mut work::Worker) -> FileResult {
    let vector = Arc::new(vector);
    let topic = vector["topic"].as_str().unwrap_or_default().to_owned();
    let rules = compare::Rules::read(vector.get("compare"));
    let cases = vector["cases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let results = cases.iter().enumerate().map(|(index, case)| CaseResult {
        name: case["name"].as_str().map_or_else(|| format!("case {index}"), str::to_owned),
        outcome: match (&rules, case["expect"].as_object()) {
            (Err(unknown), _) => Outcome::Unsupported(unknown.clone()),
            (_, None) => Outcome::Unsupported("the case has no object `expect`".to_owned()),
            (Ok(rules), Some(expect)) => judge(rules, expect, worker.ask(&vector, index)),
        },
    });
    FileResult { topic, cases: results.collect(), path }
}

fn judge(
    rules: &compare::Rules,
    expect: &serde_json::Map<String, Value>,
    answer: work::Answer,
) -> Outcome {
    let refused = !matches!(expect.get("error"), None | Some(Value::Null | Value::Bool(false)));
    match answer {
        work::Answer::Panicked(text) => Outcome::Wrong(format!("panicked: {text}")),
        work::Answer::TimedOut => Outcome::Wrong("timed out".to_owned()),
        work::Answer::Done(Err(Refusal::Unsupported(why))) => Outcome::Unsupported(why),
        work::Answer::Done(Err(Refusal::Error(_))) if refused => Outcome::Passed,
        work::Answer::Done(Err(Refusal::Error(why))) => Outcome::Wrong(format!("refused: {why}")),
        work::Answer::Done(Ok(value)) if refused => {
            Outcome::Wrong(format!("expected a refusal, computed {value}"))
        }
        work::Answer::Done(Ok(value)) => match rules.differences(expect, &value) {
            none if none.is_empty() => Outcome::Passed,
            differences => Outcome::Differs(differences),
        },
    }
}

/// Computes what `case` of `file` asks for: an object that holds every key `expect` may test.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn evaluate(file: &Value, case: &Value) -> Result<Value, Refusal> {
    let topic = file["topic"].as_str().unwrap_or_default();
    match topic {
        "scheduler/deployment"
        | "scheduler/pod_disruption_budget"
        | "scheduler/replicaset_scale_down" => workloads::evaluate(topic, file, case),
        _ if topic.starts_with("scheduler/") => scheduler::evaluate(topic, file, case),
        _ if topic.starts_with("vpc-cni/") => vpc_cni::evaluate(topic, file, case),
        _ if topic.starts_with("autoscaling/hpa-") => hpa::evaluate(topic, file, case),
        _ if topic.starts_with("autoscaling/vpa-") => vpa::evaluate(topic, file, case),
        _ if topic.starts_with("autoscaling/ca-") => {
            cluster_autoscaler::evaluate(topic, file, case)
        }
        _ if topic.starts_with("autoscaling/karpenter-") => karpenter::evaluate(topic, file, case),
        _ => Err(Refusal::Unsupported(format!("unknown topic `{topic}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcomes(
        vector: Value,
        evaluate: fn(&Value, &Value) -> Result<Value, Refusal>,
    ) -> Vec<Outcome> {
        let mut worker = work::Worker::new(evaluate);
        let file = run_file(PathBuf::new(), vector, &mut worker);
        file.cases.into_iter().map(|case| case.outcome).collect()
    }

    fn fake(_: &Value, case: &Value) -> Result<Value, Refusal> {
        match case["do"].as_str() {
            Some("panic") => panic!("as asked"),
            Some("refuse") => Err(Refusal::Error("no".to_owned())),
            Some("unsupported") => Err(Refusal::Unsupported("what".to_owned())),
            _ => Ok(json!({"value": 1})),
        }
    }

    #[test]
    fn outcomes_by_answer() {
        let vector = json!({"topic": "x/y", "cases": [
            {"name": "a", "expect": {"value": 1}},
            {"name": "b", "expect": {"value": 2}},
            {"name": "c", "do": "panic", "expect": {"value": 1}},
            {"name": "d", "do": "refuse", "expect": {"error": "text"}},
            {"name": "e", "do": "refuse", "expect": {"value": 1, "error": null}},
            {"name": "f", "do": "unsupported", "expect": {"error": "text"}},
            {"name": "g", "expect": {"error": true}},
            {"name": "h"},
            {"name": "i", "expect": {"value": 1, "error": null}},
        ]});
        let got = outcomes(vector.clone(), fake);
        assert!(matches!(got[1], Outcome::Differs(_)));
        for (index, passed) in
            [true, false, false, true, false, false, false, false, true].into_iter().enumerate()
        {
            assert_eq!(got[index] == Outcome::Passed, passed, "case {index}: {:?}", got[index]);
        }
        assert!(matches!(&got[2], Outcome::Wrong(text) if text.contains("as asked")));
        assert!(matches!(&got[5], Outcome::Unsupported(_)));
        assert!(matches!(&got[7], Outcome::Unsupported(_)));
        let mut odd = vector;
        odd["compare"] = json!({"expect.value": "more or less"});
        assert!(outcomes(odd, fake).iter().all(|o| matches!(o, Outcome::Unsupported(_))));
    }

    #[test]
    fn unreadable_paths_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(matches!(run(&[]), Err(ConformanceError::NoPath)));
        assert!(matches!(run(&[folder.path().into()]), Err(ConformanceError::NoVector(_))));
        assert!(matches!(run(&[at("absent.json")]), Err(ConformanceError::Unreadable { .. })));
        std::fs::write(at("a.json"), "{").unwrap();
        assert!(matches!(run(&[folder.path().into()]), Err(ConformanceError::NotJson { .. })));
        std::fs::write(at("a.json"), "{\"topic\": \"x/y\", \"cases\": []}").unwrap();
        assert!(matches!(run(&[at("a.json")]), Err(ConformanceError::NotAVector(_))));
        let one = "{\"topic\": \"x/y\", \"cases\": [{\"name\": \"n\", \"expect\": {}}]}";
        std::fs::write(at("a.json"), one).unwrap();
        let report = run(&[folder.path().into()]).unwrap();
        assert_eq!(report.counts(), Counts { passed: 0, failed: 0, unsupported: 1 });
        assert!(report.text(5).ends_with("conformance: 0 passed, 0 failed, 1 unsupported\n"));
        assert!(report.text(5).starts_with("x/y  0/1\n"));
        assert!(!report.conforms());
    }
}
