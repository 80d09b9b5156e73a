//! Messages, nominations, preemption and user plugins through the public interface.

use super::*;
use crate::k8s;
use crate::units::SimTime;
use serde_json::{Value, json};

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn node(name: &str, cpu: &str, pods: &str) -> k8s::Node {
    read(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": pods}}}))
}

fn pod(cpu: &str, priority: i32) -> k8s::Pod {
    read(json!({"spec": {"priority": priority, "containers":
        [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
}

fn place(cache: &mut Cache, key: PodKey, class: ClassId) -> Result<Placement, Box<Unschedulable>> {
    let pod = PodToSchedule { key, class, nominated: cache.nomination(key) };
    schedule(cache, &pod, &mut |_| 0)
}

#[test]
fn the_message_is_upstreams() {
    let mut cache = Cache::new(Profile::default());
    let class = cache.class_of_pod(&pod("2", 0));
    let failed = place(&mut cache, 0, class).expect_err("no node");
    assert_eq!(failed.message(&cache, None), "no nodes available to schedule pods");
    for n in 0..9 {
        cache.add_node(n, &node(&format!("n{n}"), "1", "10"));
    }
    for n in 9..12 {
        cache.add_node(n, &node(&format!("n{n}"), "4", "0"));
    }
    let failed = place(&mut cache, 0, class).expect_err("no room");
    let pod = PodToSchedule { key: 0, class, nominated: None };
    let none = preempt(&cache, &pod, &failed, &[], &mut |_| 0).expect_err("nobody to preempt");
    assert_eq!(
        failed.message(&cache, Some(&none.message)),
        "0/12 nodes are available: 3 Too many pods, 9 Insufficient cpu. preemption: 0/12 nodes \
         are available: 3 No preemption victims found for incoming pod, 9 Preemption is not \
         helpful for scheduling."
    );
    // Asked again in the same state, the remembered answer is the same.
    let again = place(&mut cache, 0, class).expect_err("no room");
    assert_eq!(again, failed);
}

#[test]
fn preemption_nominates_and_the_nominated_node_comes_first() {
    let mut cache = Cache::new(Profile::default());
    for n in 0..3 {
        cache.add_node(n, &node(&format!("n{n}"), "2", "10"));
    }
    let (low, high) = (cache.class_of_pod(&pod("2", 0)), cache.class_of_pod(&pod("2", 100)));
    for key in 0..3 {
        let start = SimTime::from_secs(u64::from(key));
        cache.add_pod(key, low, key, Some(start));
    }
    let failed = place(&mut cache, 9, high).expect_err("full");
    let pod = PodToSchedule { key: 9, class: high, nominated: None };
    let done = preempt(&cache, &pod, &failed, &[], &mut |_| 0).expect("a victim");
    // The latest started victim goes.
    assert_eq!((done.node, done.victims.as_slice()), (2, &[2][..]));
    cache.mark_terminating(2, true);
    cache.nominate(9, high, done.node);
    let failed = place(&mut cache, 9, high).expect_err("still there");
    let pod = PodToSchedule { nominated: Some(2), ..pod };
    let waits = preempt(&cache, &pod, &failed, &[], &mut |_| 0).expect_err("waits");
    assert_eq!(
        waits.message,
        "preemption: not eligible due to a terminating pod on the nominated node."
    );
    cache.remove_pod(2);
    // Others of lower priority must leave the nominated node alone.
    assert!(place(&mut cache, 10, low).is_err());
    let placed = place(&mut cache, 9, high).expect("room");
    assert_eq!((placed.node, placed.examined), (2, 1));
}

struct OnlyEven;

impl Filter for OnlyEven {
    fn name(&self) -> &str {
        "OnlyEven"
    }
    fn filter(&self, _: &PodView<'_>, node: &NodeView<'_>) -> Result<(), String> {
        let odd = node.name().ends_with(['1', '3', '5', '7', '9']);
        if odd { Err("node(s) were odd".to_owned()) } else { Ok(()) }
    }
}

impl Score for OnlyEven {
    fn name(&self) -> &str {
        "OnlyEven"
    }
    fn score(&self, pod: &PodView<'_>, node: &NodeView<'_>) -> i64 {
        let free = node.allocatable("cpu").milli_value() - node.requested("cpu").milli_value();
        assert_eq!(pod.request("cpu").milli_value(), 500);
        if free < 4000 { 100 } else { node.pod_count() as i64 }
    }
    fn weight(&self) -> i64 {
        1000
    }
}

#[test]
fn a_users_plugin_filters_and_scores() {
    let mut cache = Cache::new(Profile::default());
    for n in 0..6 {
        cache.add_node(n, &node(&format!("n{n}"), "4", "10"));
    }
    cache.set_plugins(&Plugins::new().filter(OnlyEven).score(OnlyEven));
    let class = cache.class_of_pod(&pod("500m", 0));
    cache.add_pod(0, class, 4, None);
    assert_eq!(place(&mut cache, 1, class).expect("room").node, 4);
    for n in [0, 2, 4] {
        cache.remove_node(n);
    }
    let failed = place(&mut cache, 1, class).expect_err("only odd nodes");
    assert_eq!(failed.message(&cache, None), "0/3 nodes are available: 3 node(s) were odd.");
    assert!(failed.rejectors.contains(Plugin::Custom));
}
