//! Sequences with known answers, event texts and properties of the HPA policy.

use super::*;
use crate::k8s::HorizontalPodAutoscaler;
use crate::units::{SimTime, Span};
use proptest::prelude::*;
use serde_json::json;

fn spec(value: serde_json::Value) -> HpaSpec {
    let hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({"spec": value})).unwrap();
    HpaSpec::lower(&hpa).unwrap()
}

fn queue_spec(behavior: serde_json::Value) -> HpaSpec {
    spec(json!({"maxReplicas": 100, "behavior": behavior, "metrics": [{"type": "External",
        "external": {"metric": {"name": "depth"},
                     "target": {"type": "AverageValue", "averageValue": "1"}}}]}))
}

fn ready_pod() -> PodView {
    PodView {
        phase: PodPhase::Running,
        ready: Some(true),
        start_time: Some(SimTime::ZERO),
        ..PodView::default()
    }
}

/// Replica counts of successive syncs under a constant external load.
fn run(spec: &HpaSpec, start: i32, load: i64, syncs: usize) -> Vec<i32> {
    let config = Config::default();
    let mut history = History::default();
    let (mut now, mut replicas) = (SimTime::from_secs(1000), start);
    let mut counts = vec![start];
    for _ in 0..syncs {
        let view = View {
            now,
            spec_replicas: replicas,
            status_replicas: replicas,
            selector: SelectorState::Valid,
            scaled_to_zero: false,
            pods: &[],
            readings: &[Reading::Series(&[load])],
        };
        let decision = reconcile(spec, &config, &mut history, &view);
        if decision.rescale {
            let behavior = spec.behavior.as_ref();
            history.record_rescale(behavior, now, replicas, decision.desired);
        }
        replicas = decision.desired;
        counts.push(replicas);
        now += config.sync_period;
    }
    counts
}

#[test]
fn from_one_to_a_hundred() {
    let defaulted = queue_spec(json!({"scaleUp": {}}));
    assert_eq!(run(&defaulted, 1, 100_000, 6), [1, 5, 10, 20, 40, 80, 100]);
    let legacy = queue_spec(json!(null));
    assert_eq!(run(&legacy, 1, 100_000, 6), [1, 4, 8, 16, 32, 64, 100]);
}

#[test]
fn scale_down_waits_for_the_window() {
    for behavior in [json!(null), json!({"scaleUp": {}})] {
        let counts = run(&queue_spec(behavior.clone()), 10, 2_000, 24);
        // The count remembered at the first sync is 300 s old at the twenty-first.
        let first = counts.iter().position(|c| *c == 2);
        let expected = if behavior.is_null() { 22 } else { 21 };
        assert_eq!(first, Some(expected), "{counts:?}");
    }
}

#[test]
fn workshop_readings_scale_one_two_three_and_stay() {
    let spec = spec(json!({"maxReplicas": 4, "metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}));
    let config = Config::default();
    let mut history = History::default();
    let (mut now, mut replicas) = (SimTime::from_secs(10_000), 1_i32);
    for (percent, expected) in [(99, 2), (89, 3), (84, 3)] {
        let count = usize::try_from(replicas).unwrap();
        let pods = vec![ready_pod(); count];
        let metric = PodMetric { timestamp: now, window: Span::from_secs(15), value: percent * 10 };
        let metrics = vec![Some(metric); count];
        let requests = Requests::Same(Some(1000));
        let view = View {
            now,
            spec_replicas: replicas,
            status_replicas: replicas,
            selector: SelectorState::Valid,
            scaled_to_zero: false,
            pods: &pods,
            readings: &[Reading::Pods { metrics: &metrics, strays: &[], requests }],
        };
        replicas = reconcile(&spec, &config, &mut history, &view).desired;
        assert_eq!(replicas, expected, "{percent} %");
        now += Span::from_secs(60);
    }
}

#[test]
fn events_are_worded_as_upstream() {
    let spec = spec(json!({"maxReplicas": 5, "metrics": [
        {"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "External", "external": {
            "metric": {"name": "depth", "selector": {"matchLabels": {"queue": "a"}}},
            "target": {"type": "AverageValue", "averageValue": "1"}}}]}));
    let config = Config::default();
    let mut view = View {
        now: SimTime::from_secs(10),
        spec_replicas: 2,
        status_replicas: 2,
        selector: SelectorState::Valid,
        scaled_to_zero: false,
        pods: &[],
        readings: &[Reading::Unavailable, Reading::Series(&[4000])],
    };
    let texts = |d: &Decision| -> Vec<String> {
        d.events(&spec).map(|e| format!("{} {}: {e}", e.kind(), e.reason())).collect()
    };
    let up = reconcile(&spec, &config, &mut History::default(), &view);
    let cpu = "failed to get cpu utilization: unable to get metrics for resource cpu: \
               no metrics returned from resource metrics API";
    assert_eq!(
        texts(&up),
        [
            format!("Warning FailedGetResourceMetric: {cpu}"),
            "Normal SuccessfulRescale: New size: 4; reason: external metric \
             depth(&LabelSelector{MatchLabels:map[string]string{queue: a,},\
             MatchExpressions:[]LabelSelectorRequirement{},}) above target"
                .to_owned(),
        ]
    );
    view.readings = &[Reading::Unavailable, Reading::Series(&[1000])];
    let held = reconcile(&spec, &config, &mut History::default(), &view);
    assert_eq!(held.desired, 2);
    assert_eq!(held.scaling_active.map(|a| a.reason(&spec)), Some("FailedGetResourceMetric"));
    assert_eq!(
        texts(&held)[1],
        format!(
            "Warning FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 2), \
             first error is: failed to get cpu resource metric value: {cpu}"
        )
    );
    view.spec_replicas = 9;
    let above = reconcile(&spec, &config, &mut History::default(), &view);
    assert_eq!(
        texts(&above),
        ["Normal SuccessfulRescale: New size: 5; reason: \
          Current number of replicas above Spec.MaxReplicas"]
    );
    view.selector = SelectorState::Ambiguous;
    view.spec_replicas = 2;
    let ambiguous = reconcile(&spec, &config, &mut History::default(), &view);
    assert_eq!((ambiguous.rescale, ambiguous.events(&spec).count()), (false, 1));
}

#[test]
fn a_refused_write_is_no_rescale() {
    let mut decision = Decision::failed_get_scale(3);
    assert!(!decision.able_to_scale.status());
    decision.write_failed();
    assert_eq!((decision.desired, decision.rescale), (3, false));
}

fn any_behavior() -> impl Strategy<Value = Option<Behavior>> {
    let select =
        prop_oneof![Just(SelectPolicy::Max), Just(SelectPolicy::Min), Just(SelectPolicy::Disabled)];
    let policy = (any::<bool>(), 1..=i32::MAX, 1_u64..=1800).prop_map(|(pods, value, period)| {
        let kind = if pods { PolicyKind::Pods } else { PolicyKind::Percent };
        Policy { kind, value, period: Span::from_secs(period) }
    });
    let rules = (0_u64..=3600, select, prop::collection::vec(policy, 1..4)).prop_map(
        |(window, select_policy, policies)| Rules {
            stabilization_window: Some(Span::from_secs(window)),
            select_policy,
            policies,
            tolerance: None,
        },
    );
    let both =
        (rules.clone(), rules).prop_map(|(scale_up, scale_down)| Behavior { scale_up, scale_down });
    prop::option::of(both)
}

proptest! {
    /// The written count never leaves the bounds and the memory stays small.
    #[test]
    fn counts_stay_within_bounds(
        behavior in any_behavior(),
        min in 0..5_i32,
        extra in 0..=i32::MAX - 5,
        proposals in prop::collection::vec(any::<i32>(), 1..60),
    ) {
        let max = min.max(1) + extra;
        let config = Config::default();
        let mut history = History::default();
        let mut now = SimTime::ZERO;
        let mut current = min.max(1);
        for proposal in proposals {
            let bounds = (min, max);
            let step = normalize(
                behavior.as_ref(), bounds, &mut history, current, proposal.max(0), now, &config,
            );
            prop_assert!((min..=max).contains(&step.replicas), "{step:?}");
            if step.replicas != current {
                history.record_rescale(behavior.as_ref(), now, current, step.replicas);
            }
            current = step.replicas;
            now += Span::from_secs(300);
        }
        let records = history.recommendations.map_or(0, |r| r.len());
        prop_assert!(records <= 14, "an hour of syncs every 300 s, not {records}");
    }

    /// More usage never proposes fewer replicas when the pods are those of the spec.
    #[test]
    fn proposals_grow_with_usage(
        n in 1_usize..40,
        low in 0_i64..=i64::MAX,
        high in 0_i64..=i64::MAX,
        request in 1_i64..=i64::MAX,
        percent in 1..=i32::MAX,
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let target = Target::Utilization(percent);
        let mut metric = queue_spec(json!(null)).metrics.remove(0);
        metric.source = Source::Resource;
        metric.target = target;
        let pods = vec![ready_pod(); n];
        let tolerance = Tolerance { scale_down: 0.1, scale_up: 0.1 };
        let count = i32::try_from(n).unwrap();
        let replicas = |value| {
            let m = PodMetric { timestamp: SimTime::ZERO, window: Span::ZERO, value };
            let metrics = vec![Some(m); n];
            let requests = Requests::Same(Some(request));
            let reading = Reading::Pods { metrics: &metrics, strays: &[], requests };
            let now = SimTime::from_secs(9999);
            propose(&metric, &reading, &pods, count, count, tolerance, now, &Config::default())
                .unwrap()
                .replicas
        };
        prop_assert!(replicas(low) <= replicas(high));
    }

    /// No input makes the calculator overflow or ask for less than nothing.
    #[test]
    fn extreme_inputs_are_harmless(
        values in prop::collection::vec(prop::option::of(0..=i64::MAX), 0..6),
        strays in prop::collection::vec(0..=i64::MAX, 0..3),
        requests in prop::collection::vec(prop::option::of(0..=i64::MAX), 0..6),
        phases in prop::collection::vec((0..5_u8, any::<bool>(), any::<Option<bool>>()), 0..6),
        target in prop_oneof![
            (1..=i32::MAX).prop_map(Target::Utilization),
            (1..=i64::MAX).prop_map(Target::AverageValue),
        ],
        replicas in 0..=i32::MAX,
    ) {
        let mut metric = queue_spec(json!(null)).metrics.remove(0);
        metric.source = Source::Resource;
        metric.target = target;
        let pods: Vec<PodView> = phases
            .iter()
            .map(|(phase, deleted, ready)| PodView {
                phase: [
                    PodPhase::Pending,
                    PodPhase::Running,
                    PodPhase::Succeeded,
                    PodPhase::Failed,
                    PodPhase::Unknown,
                ][usize::from(*phase)],
                deleted: *deleted,
                ready: *ready,
                ready_transition: SimTime::NEVER,
                start_time: Some(SimTime::NEVER),
            })
            .collect();
        let sample = |v: &Option<i64>| {
            v.map(|value| PodMetric { timestamp: SimTime::NEVER, window: Span::MAX, value })
        };
        let metrics: Vec<_> = values.iter().map(sample).collect();
        let reading = Reading::Pods {
            metrics: &metrics, strays: &strays, requests: Requests::Each(&requests),
        };
        let tolerance = Tolerance { scale_down: 0.1, scale_up: 0.1 };
        let now = SimTime::NEVER;
        let config = Config::default();
        let result =
            propose(&metric, &reading, &pods, replicas, replicas, tolerance, now, &config);
        if let Ok(proposal) = result {
            prop_assert!(proposal.replicas >= 0);
        }
    }
}
