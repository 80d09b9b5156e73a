//! Exercises: keys come from the simulation and do not depend on chance.

use eks_sim::study::exercise::{Exercise, Key, exercises};

const SEEDS: u64 = 20;

/// The key under each seed agrees with that of the scenario's own.
fn stable(exercise: &Exercise) {
    let own = exercise.key(None).unwrap();
    for seed in 1..=SEEDS {
        let key = exercise.key(Some(seed)).unwrap();
        let same = match (&own, &key) {
            (Key::Number { value: a, tolerance, .. }, Key::Number { value: b, .. }) => {
                // Whoever answers with one key must be right under every other.
                (a - b).abs() <= *tolerance
            }
            _ => own == key,
        };
        assert!(same, "{}: {own} but {key} under seed {seed}", exercise.spec.id);
    }
}

#[test]
fn keys_are_stable_over_seeds() {
    exercises().unwrap().iter().for_each(stable);
}

#[test]
fn keys_are_right_and_examples_are_wrong() {
    for exercise in exercises().unwrap() {
        let answer = match exercise.key(None).unwrap() {
            Key::Number { value, .. } => value.to_string(),
            Key::Choice { id, .. } => id,
            other => panic!("{other}"),
        };
        assert!(exercise.grade(&answer).unwrap().correct, "{}", exercise.spec.id);
        let example = exercise.grade(&exercise.spec.example).unwrap();
        assert!(!example.correct, "{}: the stored prediction is right", exercise.spec.id);
    }
}

#[test]
fn keys_are_what_the_explanations_say() {
    let expected = [
        ("max-pods", "27 pods"),
        ("hpa-arithmetic", "6 replicas"),
        ("dry-subnet", "13 nodes"),
        ("etcd-quorum", "b: "),
        ("big-pod", "b: "),
    ];
    for (id, text) in expected {
        let key = eks_sim::study::exercise::find(id).unwrap().key(None).unwrap().to_string();
        assert!(key.starts_with(text), "{id}: {key}");
    }
}
