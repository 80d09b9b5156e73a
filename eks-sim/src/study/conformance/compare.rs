//! Equality of an expected and a computed value, with the departures that a file declares.
//!
//! The plain rule: every key of `expect` equals the computed value; below that level objects have
//! no extra keys; lists are in order; numbers written with a fraction agree within 1e-9 of their
//! size (1e-12 near zero); `null` means none, and so does a key that is not there.

use serde_json::{Map, Value};

/// Relative tolerance of numbers that are written with a fraction.
const RELATIVE: f64 = 1e-9;
/// Absolute tolerance of such numbers near zero.
const NEAR_ZERO: f64 = 1e-12;

/// Where and how two values differ.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// Path of the value, for example `expect.scores.node1`.
    pub path: String,
    /// What the vector says.
    pub expected: Value,
    /// What the code computed; `null` when it has no such value.
    pub actual: Value,
}

/// How one value departs from plain equality.
#[derive(Clone, Debug, PartialEq)]
enum Departure {
    /// The order of a list has no meaning, and nor does an element that occurs twice.
    Set,
    /// The order of a list has no meaning.
    AnyOrder,
    /// Only a text's first words count when it begins with them.
    Prefix(String),
    /// A key that one side lacks counts as zero.
    AbsentIsZero,
    /// Where the file names no value, any member of the list under this key passes.
    OneOf(String),
    /// Numbers agree within this part of their size.
    Relative(f64),
    /// Numbers agree within this distance.
    Within(f64),
    /// Plain equality, numbers included.
    Exact,
}

/// One path pattern and what holds there.
#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    departure: Departure,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// Every path.
    Everywhere,
    /// Exactly these steps from the root; the last may be any of several.
    Steps { lead: Vec<String>, last: Vec<String> },
}

/// The departures that a file declares under `compare`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// Reads a file's `compare` object (or its absence).
    ///
    /// # Errors
    /// Names the entry that has no known meaning.
    pub(crate) fn read(compare: Option<&Value>) -> Result<Self, String> {
        let mut rules = Vec::new();
        match compare {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                for (path, meaning) in entries {
                    let unknown = || format!("unknown comparison for `{path}`: {meaning}");
                    let text = meaning.as_str().ok_or_else(unknown)?;
                    let pattern = Pattern::read(path);
                    for departure in departures(text).ok_or_else(unknown)? {
                        rules.push(Rule { pattern: pattern.clone(), departure });
                    }
                }
            }
            Some(other) => return Err(format!("`compare` is not an object: {other}")),
        }
        Ok(Self(rules))
    }

    /// Every difference between `expect` and what was computed.
    pub(crate) fn differences(
        &self,
        expect: &Map<String, Value>,
        actual: &Value,
    ) -> Vec<Difference> {
        let mut walk = Walk { rules: self, path: vec!["expect".to_owned()], found: Vec::new() };
        for (key, expected) in expect {
            walk.at(key, expected, actual.get(key).unwrap_or(&Value::Null), Number::Plain);
        }
        walk.one_of(expect, actual);
        walk.found
    }

    fn on<'a>(&'a self, path: &'a [String]) -> impl Iterator<Item = &'a Departure> {
        self.0.iter().filter(|rule| rule.pattern.matches(path)).map(|rule| &rule.departure)
    }
}

/// What a declared comparison means; `None` when its wording is not known.
fn departures(text: &str) -> Option<Vec<Departure>> {
    let words = text.split_whitespace().collect::<Vec<_>>();
    let number = |word: Option<&&str>| word.and_then(|w| w.parse::<f64>().ok());
    let mut found = Vec::new();
    if let Some((_, rest)) = text.split_once("begins with '") {
        found.push(Departure::Prefix(rest.split_once('\'')?.0.to_owned()));
    }
    if let Some((_, rest)) = text.split_once("any member of ") {
        found.push(Departure::OneOf(rest.split_whitespace().next()?.to_owned()));
        return Some(found);
    }
    if text.contains("absent") && text.contains("counts 0") {
        found.push(Departure::AbsentIsZero);
        return Some(found);
    }
    match *words.first()? {
        "relative" => found.push(Departure::Relative(number(words.get(1))?)),
        "within" => found.push(Departure::Within(number(words.get(1))?)),
        "exact" | "exactly" => found.push(Departure::Exact),
        "set" | "set;" => found.push(Departure::Set),
        _ if text.starts_with("the set of ") => found.push(Departure::Set),
        _ if text.contains("any order") => found.push(Departure::AnyOrder),
        _ if text.starts_with("equal") || text.starts_with("list in") => {}
        _ if text.contains("text is not compared") => {}
        _ => return None,
    }
    Some(found)
}

impl Pattern {
    fn read(path: &str) -> Self {
        if path == "numbers" {
            return Self::Everywhere;
        }
        let path = path.replace("[]", ".[]");
        let mut lead = path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let last = lead.pop().unwrap_or_default();
        Self::Steps { lead, last: last.split('|').map(str::to_owned).collect() }
    }

    /// Alternatives after the first may also stand anywhere below the root: `expect.*.a|b` means
    /// `b` wherever it occurs.
    fn matches(&self, path: &[String]) -> bool {
        let Self::Steps { lead, last } = self else { return true };
        let Some((key, above)) = path.split_last() else { return false };
        let same_lead = above.len() == lead.len()
            && above.iter().zip(lead).all(|(step, pattern)| glob(pattern, step));
        (same_lead && last.iter().any(|pattern| glob(pattern, key)))
            || last.iter().skip(1).any(|pattern| glob(pattern, key))
    }
}

/// Whether `step` fits a pattern in which one `*` stands for any text.
fn glob(pattern: &str, step: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == step,
        Some((before, after)) => {
            step.len() >= before.len() + after.len()
                && step.starts_with(before)
                && step.ends_with(after)
        }
    }
}

/// How numbers compare in the part of the tree that is being walked.
#[derive(Clone, Copy)]
enum Number {
    Plain,
    Relative(f64),
    Within(f64),
}

struct Walk<'a> {
    rules: &'a Rules,
    path: Vec<String>,
    found: Vec<Difference>,
}

impl Walk<'_> {
    fn at(&mut self, step: &str, expected: &Value, actual: &Value, number: Number) {
        self.path.push(step.to_owned());
        self.value(expected, actual, number);
        self.path.pop();
    }

    fn value(&mut self, expected: &Value, actual: &Value, inherited: Number) {
        let rules = self.rules;
        let mut number = inherited;
        let (mut order_free, mut as_set, mut absent_is_zero) = (false, false, false);
        let mut prefix = None;
        for departure in rules.on(&self.path) {
            match departure {
                Departure::Set => (order_free, as_set) = (true, true),
                Departure::AnyOrder => order_free = true,
                Departure::Prefix(words) => prefix = Some(words.as_str()),
                Departure::AbsentIsZero => absent_is_zero = true,
                Departure::OneOf(_) => {}
                Departure::Relative(part) => number = Number::Relative(*part),
                Departure::Within(distance) => number = Number::Within(*distance),
                Departure::Exact => number = Number::Plain,
            }
        }
        match (expected, actual) {
            (Value::Array(e), Value::Array(a)) if order_free => {
                let cut = |list: &[Value]| normal(list, prefix, as_set);
                self.unordered(&cut(e), &cut(a), number);
            }
            (Value::Array(e), Value::Array(a)) => {
                for (index, expected) in e.iter().enumerate() {
                    self.at("[]", expected, a.get(index).unwrap_or(&Value::Null), number);
                }
                if a.len() > e.len() {
                    self.differ(expected, actual);
                }
            }
            (Value::Object(e), Value::Object(a)) => self.object(e, a, number, absent_is_zero),
            _ if self.scalar(expected, actual, number) => {}
            _ => self.differ(expected, actual),
        }
    }

    fn object(
        &mut self,
        expected: &Map<String, Value>,
        actual: &Map<String, Value>,
        number: Number,
        absent_is_zero: bool,
    ) {
        let absent = if absent_is_zero { Value::from(0) } else { Value::Null };
        for (key, value) in expected {
            self.at(key, value, actual.get(key).unwrap_or(&absent), number);
        }
        for (key, value) in actual.iter().filter(|(key, _)| !expected.contains_key(*key)) {
            self.at(key, &absent, value, number);
        }
    }

    /// Pairs each expected element with the first computed one that equals it.
    fn unordered(&mut self, expected: &[Value], actual: &[Value], number: Number) {
        let mut left = actual.iter().collect::<Vec<_>>();
        for value in expected {
            let matches = |candidate: &&Value| {
                let mut trial =
                    Walk { rules: self.rules, path: self.path.clone(), found: Vec::new() };
                trial.at("[]", value, candidate, number);
                trial.found.is_empty()
            };
            match left.iter().position(matches) {
                Some(index) => drop(left.remove(index)),
                None => self.differ(value, &Value::Null),
            }
        }
        for value in left {
            self.differ(&Value::Null, value);
        }
    }

    fn scalar(&self, expected: &Value, actual: &Value, number: Number) -> bool {
        let (Value::Number(e), Value::Number(a)) = (expected, actual) else {
            return expected == actual;
        };
        if let (Some(e), Some(a)) = (e.as_i128(), a.as_i128())
            && matches!(number, Number::Plain)
        {
            return e == a;
        }
        let whole = e.as_i128().is_some();
        let (Some(e), Some(a)) = (e.as_f64(), a.as_f64()) else { return false };
        let distance = (e - a).abs();
        match number {
            Number::Plain if whole => e == a,
            Number::Plain => distance <= NEAR_ZERO || distance <= RELATIVE * e.abs(),
            Number::Relative(part) => distance <= NEAR_ZERO || distance <= part * e.abs(),
            Number::Within(limit) => distance <= limit,
        }
    }

    /// Values that the vector leaves open: the computed one has to be among those that tie.
    fn one_of(&mut self, expect: &Map<String, Value>, actual: &Value) {
        for rule in &self.rules.0 {
            let (Departure::OneOf(set), Pattern::Steps { last, .. }) =
                (&rule.departure, &rule.pattern)
            else {
                continue;
            };
            let Some(members) = expect.get(set).and_then(Value::as_array) else { continue };
            for key in last.iter().filter(|key| !expect.contains_key(*key)) {
                if let Some(chosen) = actual.get(key)
                    && !members.contains(chosen)
                {
                    self.path.push(key.clone());
                    self.differ(&Value::Array(members.clone()), chosen);
                    self.path.pop();
                }
            }
        }
    }

    fn differ(&mut self, expected: &Value, actual: &Value) {
        let path = self.path.join(".").replace(".[]", "[]");
        self.found.push(Difference { path, expected: expected.clone(), actual: actual.clone() });
    }
}

/// A list without meaning in its order, ready to compare.
fn normal(list: &[Value], prefix: Option<&str>, as_set: bool) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::with_capacity(list.len());
    for value in list {
        let value = match (value.as_str(), prefix) {
            (Some(text), Some(words)) if text.starts_with(words) => Value::from(words),
            _ => value.clone(),
        };
        if !as_set || !out.contains(&value) {
            out.push(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(compare: Value, expect: Value, actual: Value) -> Vec<String> {
        let rules = Rules::read(Some(&compare)).unwrap();
        let differences = rules.differences(expect.as_object().unwrap(), &actual);
        differences.into_iter().map(|d| d.path).collect()
    }

    #[test]
    fn plain_equality() {
        let none: [&str; 0] = [];
        assert_eq!(paths(json!({}), json!({"a": 1}), json!({"a": 1, "b": 2})), none);
        assert_eq!(paths(json!({}), json!({"a": 1}), json!({"a": 1.5})), ["expect.a"]);
        assert_eq!(paths(json!({}), json!({"a": 1}), json!({"a": 1.000_000_000_1})), ["expect.a"]);
        assert_eq!(paths(json!({}), json!({"a": 1.5}), json!({"a": 1.500_000_000_1})), none);
        assert_eq!(paths(json!({}), json!({"a": 1.5}), json!({"a": 1.500_01})), ["expect.a"]);
        assert_eq!(paths(json!({}), json!({"a": null}), json!({})), none);
        assert_eq!(paths(json!({}), json!({"a": null}), json!({"a": 0})), ["expect.a"]);
        assert_eq!(
            paths(json!({}), json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 1}})),
            ["expect.a.c"]
        );
        assert_eq!(paths(json!({}), json!({"a": [1, 2]}), json!({"a": [2, 1]})).len(), 2);
        assert_eq!(paths(json!({}), json!({"a": [1]}), json!({"a": [1, 2]})), ["expect.a"]);
        assert_eq!(paths(json!({}), json!({"a": []}), json!({})), ["expect.a"]);
    }

    #[test]
    fn declared_departures() {
        let none: [&str; 0] = [];
        let reasons = json!({"expect.reasons.*":
            "set; a reason that begins with 'parsing pod:' is compared by these two words only"});
        assert_eq!(
            paths(
                reasons.clone(),
                json!({"reasons": {"n": ["parsing pod: x", "b"]}}),
                json!({"reasons": {"n": ["b", "parsing pod: y"]}})
            ),
            none
        );
        assert_eq!(
            paths(reasons, json!({"reasons": {"n": ["b"]}}), json!({"reasons": {"n": ["c"]}}))
                .len(),
            2
        );
        let near = json!({"expect.windows[].*Seconds": "within 1e-9 s"});
        assert_eq!(
            paths(
                near,
                json!({"windows": [{"openSeconds": 1, "pods": 1}]}),
                json!({"windows": [{"openSeconds": 1.000_000_000_5, "pods": 2}]})
            ),
            ["expect.windows[].pods"]
        );
        let within = json!({"expect.*.memoryBytes|ephemeralStorageBytes": "within 10 bytes"});
        assert_eq!(
            paths(
                within,
                json!({"a": {"memoryBytes": 100, "ephemeralStorageBytes": 5, "cpu": 1}}),
                json!({"a": {"memoryBytes": 110, "ephemeralStorageBytes": 16, "cpu": 1}})
            ),
            ["expect.a.ephemeralStorageBytes"]
        );
        let zero = json!({"expect.w.*": "a plugin that is absent was skipped and counts 0"});
        assert_eq!(
            paths(
                zero,
                json!({"w": {"n": {"A": 0, "B": 1}}}),
                json!({"w": {"n": {"B": 1, "C": 0}}})
            ),
            none
        );
        assert!(Rules::read(Some(&json!({"expect.a": "roughly"}))).is_err());
    }

    #[test]
    fn any_member_of_a_tie_passes() {
        let rules = json!({
            "expect.node": "equal when present; null = no node is chosen; absent = any member of node_any_of",
            "expect.node_any_of": "the set of nodes that tie under the deterministic criteria",
            "expect.candidates": "by node name, any order",
            "expect.candidates[].victims": "set",
        });
        let expect = json!({"node_any_of": ["a", "b"], "candidates": [
            {"node": "a", "victims": ["x", "y"]}, {"node": "b", "victims": []}]});
        let got = |node: &str| {
            json!({"node": node, "node_any_of": ["b", "a"], "candidates": [
                {"node": "b", "victims": []}, {"node": "a", "victims": ["y", "x"]}]})
        };
        assert_eq!(paths(rules.clone(), expect.clone(), got("b")).len(), 0);
        assert_eq!(paths(rules, expect, got("c")), ["expect.node"]);
    }
}
