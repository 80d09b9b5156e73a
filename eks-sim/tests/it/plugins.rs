//! The example of own plugins does what it says.

use crate::rig::{deployment, text};
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::policy::kube_scheduler::{Plugins, PodView, QueueSort};
use eks_sim::units::SimTime;
use eks_sim::world::Change;

#[path = "../../examples/scheduler_plugin.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod example;

struct SmallFirst;

impl QueueSort for SmallFirst {
    fn name(&self) -> &str {
        "SmallFirst"
    }
    fn rank(&self, pod: &PodView<'_>) -> i32 {
        -i32::try_from(pod.request("cpu").milli_value()).unwrap()
    }
}

#[derive(Default)]
struct Bound(Vec<(bool, f64)>);

impl Observer for Bound {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        if let Change::PodBound(p) = change {
            let pod = view.world.api.pods.get(*p).unwrap();
            let small = view.model.templates[pod.template].request_cpu.raw() == 50;
            self.0.push((small, now.secs_f64()));
        }
    }
}

/// When the last small pod was bound, and the last big one.
fn last_bound(plugins: Plugins) -> (f64, f64) {
    let spec = "  constants: {scheduler.cycle_time: 1s}\n".to_owned();
    let pods = |name: &str, cpu: &str| deployment(name, 20, &format!("{{cpu: {cpu}}}"), "");
    let manifests = format!("{}{}", pods("a-big", "60m"), pods("b-small", "50m"));
    let model = text(&format!("{}{spec}", NODES), &manifests).model();
    let (mut bound, mut sim) = (Bound::default(), Sim::with_plugins(model, 0, plugins));
    assert!(sim.run(&mut bound).is_none());
    let last =
        |small: bool| bound.0.iter().filter(|b| b.0 == small).map(|b| b.1).fold(0.0, f64::max);
    (last(true), last(false))
}

const NODES: &str = "  duration: 10m\n  cluster:\n    addons: []\n    nodeGroups:\n    \
    - {name: base, instanceTypes: [m5.4xlarge], minSize: 2, maxSize: 2, desiredSize: 2}\n";

#[test]
fn a_queue_order_of_ones_own_is_kept() {
    let (small, big) = last_bound(Plugins::new());
    assert!((small - big).abs() < 8.0, "in order of arrival: {small} {big}");
    let (small, big) = last_bound(Plugins::new().queue_sort(SmallFirst));
    assert!(small + 12.0 < big, "{small} {big}");
}

#[test]
fn plugins_filter_score_and_order_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let first = example::simulate(folder.path()).unwrap();
    let pods = &first.detail.as_ref().unwrap().pods;
    let nodes = &first.detail.as_ref().unwrap().nodes;
    let red: Vec<&str> =
        pods.iter().filter(|p| p.name.starts_with("red")).map(|p| p.node.as_str()).collect();
    assert_eq!(red.len(), 4);
    let group = |name: &str| nodes.iter().find(|n| n.name == name).map(|n| n.group.as_str());
    assert!(red.iter().all(|n| group(n) == Some("red") && *n == red[0]), "{red:?}");
    let green = pods.iter().find(|p| p.name.starts_with("green")).unwrap();
    let words = "0/4 nodes are available: 4 node(s) belonged to another team. preemption: 0/4 nodes \
                 are available: 4 Preemption is not helpful for scheduling.";
    assert_eq!((green.state.as_str(), green.reason.as_str()), ("Pending", words));
    let again = example::simulate(folder.path()).unwrap();
    assert_eq!(first.digest, again.digest);
}
