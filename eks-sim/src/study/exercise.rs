//! Exercises: a question, a prediction, a run, a grade and why.
//!
//! An exercise is data: three files in `scenarios/exercises/ID/`, embedded in the binary. Its key is
//! never written down. It is measured by running the exercise's scenario, so it changes with the
//! model, and the same run shows the learner what happened.

use super::objectives::column_of;
use super::{Replicate, run::ModelStudy};
use crate::observe::outcome::{Detail, EventRow, Outcome, PodRow};
use crate::spec::decode::{Style, decode};
use crate::spec::{Diagnostics, Flavour, Loaded, Reporter, Sources, load_embedded, yaml};
use crate::units::Span;
use crate::world::lower;
use core::fmt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The texts of one exercise: id, exercise, scenario, manifests.
type Texts = (&'static str, &'static str, &'static str, &'static str);

macro_rules! embedded {
    ($($id:literal),* $(,)?) => {
        &[$((
            $id,
            include_str!(concat!("../../../scenarios/exercises/", $id, "/exercise.yaml")),
            include_str!(concat!("../../../scenarios/exercises/", $id, "/scenario.yaml")),
            include_str!(concat!("../../../scenarios/exercises/", $id, "/manifests.yaml")),
        )),*]
    };
}

/// In the order in which they are listed: the later ones build on the earlier.
const EMBEDDED: &[Texts] =
    embedded!["max-pods", "hpa-arithmetic", "dry-subnet", "zone-loss", "etcd-quorum", "big-pod"];

/// An exercise with its scenario.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Exercise {
    /// Question, answers and explanation.
    pub spec: ExerciseSpec,
    /// Text of the scenario.
    pub scenario: &'static str,
    /// Text of its manifests.
    pub manifests: &'static str,
}

/// The file `exercise.yaml`: either `numeric` or `choices`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExerciseSpec {
    /// Name by which it is called.
    pub id: String,
    /// Title.
    pub title: String,
    /// What is asked.
    pub question: String,
    /// The answer is a number.
    #[serde(default)]
    pub numeric: Option<NumericSpec>,
    /// The answer is one of these.
    #[serde(default)]
    pub choices: Vec<ChoiceSpec>,
    /// A prediction as people often make it.
    pub example: String,
    /// Why it is so.
    pub explanation: String,
}

/// An answer that is a number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NumericSpec {
    /// Unit of the answer.
    pub unit: String,
    /// How far an answer may be off and still be right.
    pub tolerance: f64,
    /// How the key is measured.
    pub measure: Measure,
}

/// One of the answers to choose from. It is the key if all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChoiceSpec {
    /// Letter.
    pub id: String,
    /// What it says.
    pub text: String,
    /// What must be observed for it to be true.
    pub when: Vec<Condition>,
}

/// Bounds on something measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// What is measured.
    pub measure: Measure,
    /// Smallest value.
    #[serde(default)]
    pub min: Option<f64>,
    /// Largest value.
    #[serde(default)]
    pub max: Option<f64>,
}

/// Something measured in a run: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measure {
    /// A column of the summary.
    #[serde(default)]
    pub metric: Option<String>,
    /// Pods that exist at the end.
    #[serde(default)]
    pub pods: Option<PodFilter>,
    /// Nodes that were launched.
    #[serde(default)]
    pub nodes: Option<NodeFilter>,
    /// Number of events.
    #[serde(default)]
    pub events: Option<EventFilter>,
    /// Seconds from the filter's `from` to the first event.
    #[serde(default)]
    pub first_event: Option<EventFilter>,
    /// The first integer value of a field for which a metric is above a bound.
    #[serde(default)]
    pub first: Option<FirstSpec>,
}

/// Which pods count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodFilter {
    /// Their namespace.
    pub namespace: String,
    /// Only those that became Ready, or only those that did not.
    #[serde(default)]
    pub ready: Option<bool>,
}

/// Which nodes count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeFilter {
    /// Their node group or NodePool.
    pub group: String,
    /// Their instance type.
    #[serde(default)]
    pub instance_type: Option<String>,
}

/// Which events count; the names are those of `events.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventFilter {
    /// Kind of the object.
    pub kind: String,
    /// Reason.
    pub reason: String,
    /// Namespace of the object.
    #[serde(default)]
    pub namespace: Option<String>,
    /// From then on.
    pub from: Span,
    /// Until then.
    pub to: Span,
}

/// A field that is raised until a metric moves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FirstSpec {
    /// The field, with the grammar of `--set`.
    pub path: String,
    /// First value to try.
    pub from: u32,
    /// Last value to try.
    pub to: u32,
    /// A column of the summary.
    pub metric: String,
    /// The metric must be above this.
    pub above: f64,
}

/// What a run says is right.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Key {
    /// A number, with its unit and tolerance.
    Number {
        /// The measured value.
        value: f64,
        /// How far an answer may be off.
        tolerance: f64,
        /// Unit.
        unit: String,
    },
    /// The letter of a choice, with its text.
    Choice {
        /// Letter.
        id: String,
        /// What it says.
        text: String,
    },
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { value, tolerance, unit } => {
                // Two decimals are more than any tolerance asks for.
                let shown = (value * 100.0).round() / 100.0;
                write!(f, "{shown} {unit}")?;
                if *tolerance > 0.0 { write!(f, " (± {tolerance})") } else { Ok(()) }
            }
            Self::Choice { id, text } => write!(f, "{id}: {text}"),
        }
    }
}

/// A graded answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Grade {
    /// Whether the answer is right.
    pub correct: bool,
    /// What is right.
    pub key: Key,
    /// Why.
    pub explanation: String,
}

/// Why an exercise cannot be graded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExerciseError {
    /// The answer has the wrong form.
    #[error("`{answer}` is not an answer; give {wanted}")]
    Answer {
        /// The answer.
        answer: String,
        /// What would be one.
        wanted: String,
    },
    /// The exercise's files have mistakes.
    #[error("the exercise is broken: {0}")]
    Broken(String),
    /// The run gave no key.
    #[error("the run of `{id}` decides nothing: {why}")]
    NoKey {
        /// The exercise.
        id: String,
        /// What is missing.
        why: String,
    },
}

/// The shipped exercises in order.
///
/// # Errors
/// When an embedded file has mistakes, which a test rules out.
pub fn exercises() -> Result<Vec<Exercise>, ExerciseError> {
    EMBEDDED.iter().map(read).collect()
}

/// A shipped exercise by its id; the error names the nearest one.
///
/// # Errors
/// When there is none of that id.
pub fn find(id: &str) -> Result<Exercise, ExerciseError> {
    match EMBEDDED.iter().find(|texts| texts.0 == id) {
        Some(texts) => read(texts),
        None => {
            let ids = EMBEDDED.iter().map(|texts| texts.0);
            let wanted = match crate::spec::suggest::nearest(id, ids.clone()) {
                Some(near) => format!("the id of an exercise, perhaps `{near}`"),
                None => format!("one of {}", ids.collect::<Vec<_>>().join(", ")),
            };
            Err(ExerciseError::Answer { answer: id.to_owned(), wanted })
        }
    }
}

fn read(&(id, exercise, scenario, manifests): &Texts) -> Result<Exercise, ExerciseError> {
    let broken = |out: &Diagnostics| ExerciseError::Broken(out.render());
    let (mut sources, mut out) = (Sources::new(), Diagnostics::new());
    let source = sources.add(format!("{id}/exercise.yaml"), exercise);
    let mut reporter = Reporter { sources: &sources, out: &mut out };
    let mut trees = yaml::parse(source, exercise, Flavour::Scenario, &mut reporter);
    let decoded = match trees.first_mut() {
        Some(tree) => decode::<ExerciseSpec>(tree, Style::Scenario, &mut reporter),
        None => None,
    };
    match decoded {
        Some(decoded) if !out.has_errors() => {
            Ok(Exercise { spec: decoded.object, scenario, manifests })
        }
        _ => Err(broken(&out)),
    }
}

impl Exercise {
    /// What an answer looks like.
    #[must_use]
    pub fn wanted(&self) -> String {
        match &self.spec.numeric {
            Some(numeric) => format!("a number of {}", numeric.unit),
            None => {
                let ids: Vec<&str> = self.spec.choices.iter().map(|c| c.id.as_str()).collect();
                format!("one of {}", ids.join(", "))
            }
        }
    }

    /// The key, measured in replication 0 under `seed` (the scenario's own if none is given).
    ///
    /// # Errors
    /// When the scenario does not load or the run decides nothing.
    pub fn key(&self, seed: Option<u64>) -> Result<Key, ExerciseError> {
        let mut lab = Lab { exercise: self, seed, outcome: None };
        if let Some(numeric) = &self.spec.numeric {
            let value = lab.measure(&numeric.measure)?;
            let (tolerance, unit) = (numeric.tolerance, numeric.unit.clone());
            return Ok(Key::Number { value, tolerance, unit });
        }
        for choice in &self.spec.choices {
            if lab.all_hold(&choice.when)? {
                return Ok(Key::Choice { id: choice.id.clone(), text: choice.text.clone() });
            }
        }
        Err(self.no_key("no choice's conditions hold"))
    }

    /// Grades an answer against the key of the scenario's own seed.
    ///
    /// # Errors
    /// When the answer has the wrong form, or as [`Exercise::key`].
    pub fn grade(&self, answer: &str) -> Result<Grade, ExerciseError> {
        let answer = answer.trim();
        let refuse = || ExerciseError::Answer { answer: answer.to_owned(), wanted: self.wanted() };
        let known = |id: &str| self.spec.choices.iter().any(|c| c.id.eq_ignore_ascii_case(id));
        let number = match &self.spec.numeric {
            Some(numeric) => Some(number_of(answer, &numeric.unit).ok_or_else(refuse)?),
            None if known(answer) => None,
            None => return Err(refuse()),
        };
        let key = self.key(None)?;
        let correct = is_right(answer, number, &key);
        Ok(Grade { correct, key, explanation: self.spec.explanation.clone() })
    }

    fn no_key(&self, why: &str) -> ExerciseError {
        ExerciseError::NoKey { id: self.spec.id.clone(), why: why.to_owned() }
    }

    fn load(&self, sets: &[(String, String)]) -> Result<Loaded, ExerciseError> {
        let name = |file: &str| format!("{}/{file}", self.spec.id);
        let scenario = name("scenario.yaml");
        let manifests = name("manifests.yaml");
        load_embedded((&scenario, self.scenario), (&manifests, self.manifests), sets)
            .map_err(|out| ExerciseError::Broken(out.render()))
    }

    /// Runs replication 0 of the exercise's scenario with its full record.
    ///
    /// # Errors
    /// When the scenario does not load.
    pub fn run(&self, sets: &[(String, String)]) -> Result<Outcome, ExerciseError> {
        let loaded = self.load(sets)?;
        let (model, found) = lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
        let words = || found.iter().map(|e| format!("{}: {}", e.path, e.message));
        let model = model.ok_or_else(|| ExerciseError::Broken(words().collect()))?;
        Ok(ModelStudy::new(Arc::new(model)).run(0, true))
    }
}

/// `350`, `350 s` or `350s`.
fn number_of(answer: &str, unit: &str) -> Option<f64> {
    let bare = answer.strip_suffix(unit).unwrap_or(answer).trim();
    bare.parse::<f64>().ok().filter(|v| v.is_finite())
}

fn is_right(answer: &str, number: Option<f64>, key: &Key) -> bool {
    match key {
        Key::Number { value, tolerance, .. } => {
            number.is_some_and(|n| (n - value).abs() <= tolerance + 1e-9)
        }
        Key::Choice { id, .. } => id.eq_ignore_ascii_case(answer),
    }
}

/// Runs the scenario at most once and measures in it.
struct Lab<'a> {
    exercise: &'a Exercise,
    seed: Option<u64>,
    outcome: Option<Outcome>,
}

impl Lab<'_> {
    fn sets(&self) -> Vec<(String, String)> {
        self.seed.map(|s| ("seed".to_owned(), s.to_string())).into_iter().collect()
    }

    fn outcome(&mut self) -> Result<&Outcome, ExerciseError> {
        if self.outcome.is_none() {
            self.outcome = Some(self.exercise.run(&self.sets())?);
        }
        self.outcome.as_ref().ok_or_else(|| self.exercise.no_key("nothing ran"))
    }

    fn all_hold(&mut self, conditions: &[Condition]) -> Result<bool, ExerciseError> {
        for c in conditions {
            let value = self.measure(&c.measure)?;
            if c.min.is_some_and(|min| value < min) || c.max.is_some_and(|max| value > max) {
                return Ok(false);
            }
        }
        Ok(!conditions.is_empty())
    }

    fn measure(&mut self, measure: &Measure) -> Result<f64, ExerciseError> {
        let exercise = self.exercise;
        if let Some(first) = &measure.first {
            return self.first(first);
        }
        let outcome = self.outcome()?;
        if let Some(metric) = &measure.metric {
            return value_of(outcome, metric).map_err(|why| exercise.no_key(&why));
        }
        let Some(detail) = &outcome.detail else {
            return Err(exercise.no_key("the run has no record"));
        };
        if let Some(filter) = &measure.pods {
            return Ok(detail.pods.iter().filter(|p| pod_counts(p, filter)).count() as f64);
        }
        if let Some(filter) = &measure.nodes {
            let wanted = filter.instance_type.as_ref();
            let of = detail.nodes.iter().filter(|n| n.group == filter.group);
            let of_type = of.filter(|n| wanted.is_none_or(|t| n.instance_type == *t));
            return Ok(of_type.count() as f64);
        }
        if let Some(filter) = &measure.events {
            return Ok(events(detail, filter).count() as f64);
        }
        if let Some(filter) = &measure.first_event {
            let first = events(detail, filter).next();
            let first = first.ok_or_else(|| exercise.no_key("there is no such event"))?;
            return Ok(first.at.secs_f64() - filter.from.secs_f64());
        }
        Err(exercise
            .no_key("a measure needs one of metric, pods, nodes, events, firstEvent, first"))
    }

    fn first(&self, spec: &FirstSpec) -> Result<f64, ExerciseError> {
        for value in spec.from..=spec.to {
            let mut sets = self.sets();
            sets.push((spec.path.clone(), value.to_string()));
            let outcome = self.exercise.run(&sets)?;
            let found = value_of(&outcome, &spec.metric).map_err(|e| self.exercise.no_key(&e))?;
            if found > spec.above {
                return Ok(f64::from(value));
            }
        }
        Err(self.exercise.no_key("no value of the range does it"))
    }
}

fn value_of(outcome: &Outcome, metric: &str) -> Result<f64, String> {
    let (index, _) = column_of(metric, None)?;
    let value = outcome.values.get(index).copied().filter(|v| v.is_finite());
    value.ok_or_else(|| format!("`{metric}` was not observed"))
}

fn pod_counts(pod: &PodRow, filter: &PodFilter) -> bool {
    pod.namespace == filter.namespace
        && pod.deleted.is_none()
        && filter.ready.is_none_or(|wanted| pod.ready.is_some() == wanted)
}

fn events<'a>(
    detail: &'a Detail,
    filter: &'a EventFilter,
) -> impl Iterator<Item = &'a EventRow> + 'a {
    let (from, to) = (filter.from.secs_f64(), filter.to.secs_f64());
    let namespace = |e: &EventRow| {
        let own = e.object.split_once('/').map(|(namespace, _)| namespace);
        filter.namespace.as_deref().is_none_or(|wanted| own == Some(wanted))
    };
    detail.events.iter().filter(move |e| {
        e.kind == filter.kind
            && e.reason == filter.reason
            && namespace(e)
            && (from..=to).contains(&e.at.secs_f64())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exercises_read_and_have_one_kind_of_answer() {
        let all = exercises().unwrap();
        assert_eq!(all.len(), EMBEDDED.len());
        for (exercise, texts) in all.iter().zip(EMBEDDED) {
            assert_eq!(exercise.spec.id, texts.0);
            assert_ne!(exercise.spec.numeric.is_some(), !exercise.spec.choices.is_empty());
            assert!(!exercise.spec.explanation.trim().is_empty());
        }
    }

    #[test]
    fn answers_are_graded() {
        let exercise = find("max-pods").unwrap();
        for (answer, right) in [("27", true), ("27 pods", true), (" 27 ", true), ("29", false)] {
            assert_eq!(exercise.grade(answer).unwrap().correct, right, "{answer}");
        }
        let grade = exercise.grade(&exercise.spec.example).unwrap();
        assert!(!grade.correct && grade.explanation.contains("max-pods"));
        assert_eq!(grade.key.to_string(), "27 pods");
    }

    #[test]
    fn wrong_forms_say_what_is_wanted() {
        let number = find("max-pods").unwrap().grade("many").unwrap_err();
        assert!(number.to_string().contains("a number of pods"), "{number}");
        let choice = find("etcd-quorum").unwrap().grade("z").unwrap_err();
        assert!(choice.to_string().contains("one of a, b, c"), "{choice}");
        let id = find("max-pod").unwrap_err();
        assert!(id.to_string().contains("`max-pods`"), "{id}");
    }
}
