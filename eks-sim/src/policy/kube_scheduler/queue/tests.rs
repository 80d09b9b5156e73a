//! The queue against the rules of upstream, event by event.

use super::*;
use crate::k8s;
use crate::policy::kube_scheduler::{Plugin, Profile};

fn set(plugins: &[Plugin]) -> PluginSet {
    let mut out = PluginSet::default();
    plugins.iter().for_each(|p| out.insert(*p));
    out
}

fn at(ms: u64) -> SimTime {
    SimTime::from_nanos(ms * 1_000_000)
}

fn cluster() -> (Cache, ClassId) {
    let mut cache = Cache::new(Profile::default());
    let node: k8s::Node = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "n0"}, "status": {"allocatable": {"cpu": "2", "pods": "10"}}}))
    .expect("node");
    cache.add_node(0, &node);
    let pod: k8s::Pod = serde_json::from_value(serde_json::json!({
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}))
    .expect("pod");
    let class = cache.class_of_pod(&pod);
    (cache, class)
}

#[test]
fn priority_then_time_then_arrival() {
    let (_, class) = cluster();
    let mut q = SchedulingQueue::default();
    for (pod, priority, ms) in [(0, 0, 5), (1, 10, 9), (2, 0, 5), (3, 0, 4)] {
        q.push(pod, class, priority, false, at(ms));
    }
    let order: Vec<_> = std::iter::from_fn(|| q.pop(at(10))).map(|p| p.pod).collect();
    assert_eq!(order, [1, 3, 0, 2]);
    assert!(q.is_empty());
}

#[test]
fn a_refused_pod_waits_for_a_helpful_event_and_backs_off() {
    let (cache, class) = cluster();
    let mut q = SchedulingQueue::default();
    q.push(7, class, 0, false, at(0));
    assert_eq!(q.pop(at(100)).map(|p| p.attempts), Some(1));
    q.park(7, set(&[Plugin::NodeResourcesFit]), at(200), &cache);
    assert_eq!(q.place(7), Some(Place::Unschedulable));
    let unhelpful = ClusterEvent::PodDeleted { class, node: None, nominated: false };
    q.on_event(&unhelpful, at(300), &cache);
    assert_eq!(q.place(7), Some(Place::Unschedulable));
    // Backoff ends at floor(0.2 s + 1 s) = 1 s and counts while 1 s >= floor(now).
    q.on_event(&ClusterEvent::NodeAdded(0), at(400), &cache);
    assert_eq!(q.place(7), Some(Place::Backoff));
    assert_eq!(q.next_wakeup(), Some(at(2000)));
    // An error keeps the scheduler from popping early; a refusal does not.
    assert_eq!(q.pop(at(500)).map(|p| p.pod), Some(7));
    q.park(7, PluginSet::default(), at(600), &cache);
    assert_eq!(q.place(7), Some(Place::ErrorBackoff));
    assert_eq!(q.pop(at(700)), None);
    assert_eq!(q.pop(at(1999)), None);
    assert_eq!(q.pop(at(2000)).map(|p| p.attempts), Some(3));
}

#[test]
fn events_during_the_attempt_are_replayed() {
    let (cache, class) = cluster();
    let mut q = SchedulingQueue::default();
    q.push(0, class, 0, false, at(0));
    q.pop(at(0));
    q.on_event(&ClusterEvent::NodeAdded(0), at(1), &cache);
    q.park(0, set(&[Plugin::NodeResourcesFit]), at(2), &cache);
    assert_eq!(q.place(0), Some(Place::Backoff));
    q.pop(at(3));
    q.park(0, set(&[Plugin::NodeResourcesFit]), at(4), &cache);
    assert_eq!(q.place(0), Some(Place::Unschedulable));
}

#[test]
fn the_flush_frees_pods_after_more_than_five_minutes() {
    let (cache, class) = cluster();
    let mut q = SchedulingQueue::default();
    q.push(0, class, 0, false, at(0));
    q.pop(at(0));
    q.park(0, set(&[Plugin::NodeAffinity]), at(1000), &cache);
    assert_eq!(q.next_wakeup(), Some(at(330_000)));
    q.advance(at(329_999));
    assert_eq!(q.place(0), Some(Place::Unschedulable));
    q.advance(at(330_000));
    assert_eq!(q.place(0), Some(Place::Active));
}

#[test]
fn gated_pods_cost_no_attempt() {
    let (cache, class) = cluster();
    let mut q = SchedulingQueue::default();
    q.push(0, class, 0, true, at(0));
    q.push(1, class, 0, false, at(5));
    assert_eq!(q.pop(at(10)).map(|p| p.pod), Some(1));
    q.on_event(&ClusterEvent::Wildcard, at(20), &cache);
    assert_eq!(q.pop(at(20)), None);
    q.ungate(0);
    assert_eq!(q.pop(at(30)).map(|p| (p.pod, p.attempts)), Some((0, 1)));
}

#[test]
fn older_versions_serve_the_backoff_and_move_by_kind_of_event() {
    let (mut cache, class) = cluster();
    let before = QueueConfig { pops_from_backoff: false, hints: false, ..QueueConfig::default() };
    let mut q = SchedulingQueue::new(before);
    q.push(7, class, 0, false, at(0));
    q.pop(at(100));
    q.park(7, set(&[Plugin::NodeResourcesFit]), at(200), &cache);
    // Any deletion moves a pod that lacked resources, even that of a pod without a node.
    let deleted = ClusterEvent::PodDeleted { class, node: None, nominated: false };
    q.on_event(&deleted, at(400), &cache);
    assert_eq!(q.place(7), Some(Place::Backoff));
    assert!(!q.has_next());
    assert_eq!(q.pop(at(500)), None);
    assert_eq!(q.pop(at(2000)).map(|p| p.pod), Some(7));
    // A new node helps only if the pod fits on it with what runs there.
    for pod in 0..2 {
        cache.add_pod(pod, class, 0, None);
    }
    q.park(7, set(&[Plugin::NodeResourcesFit]), at(2100), &cache);
    q.on_event(&ClusterEvent::NodeAdded(0), at(2200), &cache);
    assert_eq!(q.place(7), Some(Place::Unschedulable));
    cache.remove_pod(0);
    q.on_event(&ClusterEvent::NodeAdded(0), at(2300), &cache);
    assert_ne!(q.place(7), Some(Place::Unschedulable));
}
