//! The cases of kube-scheduler's own performance tests at 5,000 nodes, rebuilt from their
//! parameters.
//!
//! Upstream: kubernetes v1.34 `test/integration/scheduler_perf`: `misc`, `affinity` and
//! `topology_spreading` `/performance-config.yaml`, and `templates/*.yaml`. Nodes have 4 CPUs, 32 GiB
//! and room for 110 pods; pods ask for 100m and 500Mi unless said otherwise. Nodes of the cases
//! with zones carry `topology.kubernetes.io/zone`, one zone (`zone1`) or three by turns.
//!
//! Measured is what upstream measures: the pods of the last `createPods`, with queue, decision and
//! cache; pods that were there before count as preparation. The clock of the case runs at the
//! threshold's rate, so that pods that are injected five times a second, and backoffs, come as
//! often among the measured pods as they would upstream at its threshold. Victims of preemption
//! have no grace period and are gone at once.

use crate::core::{Tally, node};
use eks_sim::engine::draws::{Draws, Stream, key};
use eks_sim::k8s;
use eks_sim::policy::kube_scheduler::{
    Cache, ClassId, ClusterEvent, NodeKey, PodKey, PodToSchedule, Profile, QueueConfig,
    SchedulingQueue, Unschedulable, preempt, schedule,
};
use eks_sim::units::{Quantity, SimTime, Span};

const NODES: usize = 5_000;
const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Pod templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pod {
    /// 100m, 500Mi.
    Default,
    /// Label `color: blue`; spread over zones with maxSkew 5, DoNotSchedule.
    Spread,
    /// The same with ScheduleAnyway.
    PreferredSpread,
    /// Label `color: blue`; required affinity to `color: blue` in the zone.
    Affinity,
    /// Label `color: green`; required anti-affinity to `color: green` on the node.
    AntiAffinity,
    /// Label `color: red`; preferred affinity (weight 1) to `color: red` on the node.
    PreferredAffinity,
    /// Label `color: yellow`; preferred anti-affinity (weight 1) on the node.
    PreferredAntiAffinity,
    /// Required node affinity to `zone1` or `zone2`.
    NodeAffinity,
    /// Label `app: scheduler-perf`, no requests; a Service selects it.
    Labelled,
    /// 900m.
    LowPriority,
    /// 3 CPUs, priority 10.
    HighPriority,
    /// 9 CPUs, priority 10: fits no node.
    TooLarge,
}

/// A case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Zones.
    pub zones: &'static [&'static str],
    /// Pods that are there before: template, number, namespace.
    pub before: &'static [(Pod, usize, &'static str)],
    /// Measured pods.
    pub measured: (Pod, usize, &'static str),
    /// Injected five times a second.
    pub churn: Option<Pod>,
    /// Upstream's threshold in pods per second.
    pub threshold: f64,
}

const ONE_ZONE: &[&str] = &["zone1"];
const THREE_ZONES: &[&str] = &["moon-1", "moon-2", "moon-3"];
const PLAIN: Case =
    Case { zones: &[], before: &[], measured: (Pod::Default, 0, ""), churn: None, threshold: 1.0 };

/// SchedulingBasic/5000Nodes_50000Pods.
pub const BASIC: Case = Case {
    before: &[(Pod::Default, 5_000, "default")],
    measured: (Pod::Default, 50_000, "default"),
    threshold: 810.0,
    ..PLAIN
};
/// TopologySpreading/5000Nodes_5000Pods.
pub const SPREAD: Case = Case {
    zones: THREE_ZONES,
    before: &[(Pod::Default, 5_000, "default")],
    measured: (Pod::Spread, 5_000, "default"),
    threshold: 460.0,
    ..PLAIN
};
/// PreferredTopologySpreading/5000Nodes_5000Pods.
pub const PREFERRED_SPREAD: Case =
    Case { measured: (Pod::PreferredSpread, 5_000, "default"), threshold: 340.0, ..SPREAD };
/// DefaultTopologySpreading/5000Nodes_50000Pods.
pub const DEFAULT_SPREAD: Case =
    Case { measured: (Pod::Labelled, 50_000, "service-ns"), threshold: 160.0, ..SPREAD };
/// SchedulingPodAffinity/5000Nodes_5000Pods.
pub const AFFINITY: Case = Case {
    zones: ONE_ZONE,
    before: &[(Pod::Affinity, 5_000, "sched-0")],
    measured: (Pod::Affinity, 5_000, "sched-1"),
    threshold: 35.0,
    ..PLAIN
};
/// SchedulingPodAntiAffinity/5000Nodes_2000Pods.
pub const ANTI_AFFINITY: Case = Case {
    before: &[(Pod::AntiAffinity, 1_000, "sched-0")],
    measured: (Pod::AntiAffinity, 2_000, "sched-1"),
    threshold: 60.0,
    ..PLAIN
};
/// SchedulingPreferredPodAffinity/5000Nodes_5000Pods.
pub const PREFERRED_AFFINITY: Case = Case {
    before: &[(Pod::PreferredAffinity, 5_000, "sched-0")],
    measured: (Pod::PreferredAffinity, 5_000, "sched-1"),
    threshold: 90.0,
    ..PLAIN
};
/// SchedulingPreferredPodAntiAffinity/5000Nodes_5000Pods.
pub const PREFERRED_ANTI_AFFINITY: Case = Case {
    before: &[(Pod::PreferredAntiAffinity, 5_000, "sched-0")],
    measured: (Pod::PreferredAntiAffinity, 5_000, "sched-1"),
    ..PREFERRED_AFFINITY
};
/// SchedulingNodeAffinity/5000Nodes_10000Pods.
pub const NODE_AFFINITY: Case = Case {
    zones: ONE_ZONE,
    before: &[(Pod::NodeAffinity, 5_000, "default")],
    measured: (Pod::NodeAffinity, 10_000, "default"),
    threshold: 220.0,
    ..PLAIN
};
/// PreemptionAsync/5000Nodes: four pods of 900m fill each node, pods of 3 CPUs push three out.
pub const PREEMPTION: Case = Case {
    before: &[(Pod::LowPriority, 20_000, "default")],
    measured: (Pod::Default, 5_000, "default"),
    churn: Some(Pod::HighPriority),
    threshold: 570.0,
    ..PLAIN
};
/// Unschedulable/5kNodes/20kInit/10kPods.
pub const UNSCHEDULABLE: Case = Case {
    before: &[(Pod::Default, 20_000, "default")],
    measured: (Pod::Default, 10_000, "default"),
    churn: Some(Pod::TooLarge),
    threshold: 600.0,
    ..PLAIN
};
/// MixedSchedulingBasePod/5000Nodes_5000Pods.
pub const MIXED: Case = Case {
    zones: ONE_ZONE,
    before: &[
        (Pod::Default, 2_000, "sched-0"),
        (Pod::Affinity, 2_000, "sched-0"),
        (Pod::AntiAffinity, 2_000, "sched-0"),
        (Pod::PreferredAffinity, 2_000, "sched-0"),
        (Pod::PreferredAntiAffinity, 2_000, "sched-0"),
    ],
    measured: (Pod::Default, 5_000, "default"),
    threshold: 140.0,
    ..PLAIN
};

/// A cluster with a queue and a clock.
pub struct Bed {
    cache: Cache,
    queue: SchedulingQueue,
    draws: Draws,
    now: SimTime,
    classes: Vec<ClassId>,
    tally: Tally,
    waiting: usize,
}

impl Bed {
    /// The case's nodes with the pods that are there before.
    #[must_use]
    pub fn new(case: &Case, nodes: usize) -> Self {
        let mut cache = Cache::new(Profile::default());
        for i in 0..nodes {
            let zone = case.zones.get(i % case.zones.len().max(1)).copied();
            let object = node(&format!("scheduler-perf-{i}"), 4_000, 32 << 30, 110, zone);
            cache.add_node(i as NodeKey, &object);
        }
        let mut service = k8s::Service::default();
        service.metadata.name = "service".to_owned();
        service.metadata.namespace = Some("service-ns".to_owned());
        service.spec.selector.insert("app".to_owned(), "scheduler-perf".to_owned());
        cache.set_service(&service);
        let mut bed = Self {
            cache,
            queue: SchedulingQueue::new(QueueConfig::default()),
            draws: Draws::new(1, 0),
            now: SimTime::ZERO,
            classes: Vec::new(),
            tally: Tally::default(),
            waiting: 0,
        };
        for &(pod, count, namespace) in case.before {
            bed.create(pod, count, namespace);
            bed.place(None, Span::ZERO);
        }
        bed.tally = Tally::default();
        bed
    }
    /// Puts pods into the queue.
    fn create(&mut self, pod: Pod, count: usize, namespace: &str) {
        let object = object(pod, namespace);
        let class = self.cache.class_of_pod(&object);
        for _ in 0..count {
            let number = self.classes.len() as PodKey;
            self.classes.push(class);
            let priority = object.spec.priority.unwrap_or(0);
            self.queue.push(number, class, priority, false, self.now);
        }
        self.waiting += count;
    }
    /// Schedules until the pods created last are placed, a cycle every `step`; `churn` comes five
    /// times a second.
    fn place(&mut self, churn: Option<Pod>, step: Span) {
        let first = self.classes.len() - self.waiting;
        let measured = first..self.classes.len();
        let mut next_churn = self.now + Span::from_millis(200);
        while self.waiting > 0 {
            if let Some(pod) = churn.filter(|_| self.now >= next_churn) {
                next_churn += Span::from_millis(200);
                let waiting = self.waiting;
                self.create(pod, 1, "default");
                self.waiting = waiting;
            }
            self.now += step;
            let Some(next) = self.queue.pop(self.now) else { break };
            let asked = PodToSchedule {
                key: next.pod,
                class: next.class,
                nominated: self.cache.nomination(next.pod),
            };
            self.tally.attempts += 1;
            let turn = key(&[next.pod.into(), next.attempts.into()]);
            let draws = &self.draws;
            let mut tie = |n: u32| draws.index(Stream::SchedulerTie, turn, n.into()) as u32;
            match schedule(&mut self.cache, &asked, &mut tie) {
                Ok(placed) => {
                    self.cache.clear_nomination(next.pod);
                    self.cache.add_pod(next.pod, next.class, placed.node, Some(self.now));
                    self.queue.remove(next.pod);
                    self.tally.digest =
                        key(&[self.tally.digest, next.pod.into(), placed.node.into()]);
                    self.tally.placed += 1;
                    self.waiting -= usize::from(measured.contains(&(next.pod as usize)));
                    let event = ClusterEvent::PodAdded { class: next.class };
                    self.queue.on_event(&event, self.now, &self.cache);
                }
                Err(failed) => self.failed(&asked, &failed, turn),
            }
        }
    }
    fn failed(&mut self, asked: &PodToSchedule, failed: &Unschedulable, turn: u64) {
        let draws = &self.draws;
        let mut draw = |n: u32| draws.index(Stream::PreemptionOffset, turn, n.into()) as u32;
        let plan = preempt(&self.cache, asked, failed, &[], &mut draw);
        self.queue.park(asked.key, failed.rejectors, self.now, &self.cache);
        let Ok(plan) = plan else { return };
        self.cache.nominate(asked.key, asked.class, plan.node);
        for victim in plan.victims {
            let Some(info) = self.cache.pod(victim).copied() else { continue };
            self.cache.remove_pod(victim);
            self.tally.digest = key(&[self.tally.digest, victim.into()]);
            let (class, node) = (info.class, Some(info.node));
            let event = ClusterEvent::PodDeleted { class, node, nominated: false };
            self.queue.on_event(&event, self.now, &self.cache);
        }
    }
    /// Places the measured pods.
    pub fn measure(&mut self, case: &Case, count: usize) -> Tally {
        let (pod, _, namespace) = case.measured;
        self.create(pod, count, namespace);
        self.place(case.churn, Span::from_secs_f64(1.0 / case.threshold));
        self.tally
    }
}

/// The case at its full size: a bed, ready to be measured.
#[must_use]
pub fn prepare(case: &Case) -> Bed {
    Bed::new(case, NODES)
}

fn object(pod: Pod, namespace: &str) -> k8s::Pod {
    let mut out = k8s::Pod::default();
    out.metadata.namespace = Some(namespace.to_owned());
    let mut container = k8s::Container {
        name: "pause".to_owned(),
        image: Some("registry.k8s.io/pause:3.10.1".to_owned()),
        ..Default::default()
    };
    let millicores = match pod {
        Pod::LowPriority => 900,
        Pod::HighPriority => 3_000,
        Pod::TooLarge => 9_000,
        _ => 100,
    };
    if pod != Pod::Labelled {
        let requests = &mut container.resources.requests;
        requests.insert("cpu".to_owned(), Quantity::from_milli(millicores));
        requests.insert("memory".to_owned(), Quantity::from_bytes(500 << 20));
    }
    out.spec.containers = vec![container];
    if matches!(pod, Pod::HighPriority | Pod::TooLarge) {
        out.spec.priority = Some(10);
    }
    let label = match pod {
        Pod::Spread | Pod::PreferredSpread | Pod::Affinity => Some(("color", "blue")),
        Pod::AntiAffinity => Some(("color", "green")),
        Pod::PreferredAffinity => Some(("color", "red")),
        Pod::PreferredAntiAffinity => Some(("color", "yellow")),
        Pod::Labelled => Some(("app", "scheduler-perf")),
        _ => None,
    };
    if let Some((name, value)) = label {
        out.metadata.labels.insert(name.to_owned(), value.to_owned());
        wishes(pod, selector(name, value), &mut out.spec);
    }
    if pod == Pod::NodeAffinity {
        let zone = k8s::NodeSelectorRequirement {
            key: ZONE.to_owned(),
            operator: "In".to_owned(),
            values: ["zone1", "zone2"].map(str::to_owned).to_vec(),
        };
        let term = k8s::NodeSelectorTerm { match_expressions: vec![zone], ..Default::default() };
        let required = k8s::NodeSelector { node_selector_terms: vec![term] };
        let node_affinity = k8s::NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(required),
            ..Default::default()
        };
        let affinity = k8s::Affinity { node_affinity: Some(node_affinity), ..Default::default() };
        out.spec.affinity = Some(affinity);
    }
    out
}

fn selector(name: &str, value: &str) -> Option<k8s::LabelSelector> {
    let mut selector = k8s::LabelSelector::default();
    selector.match_labels.insert(name.to_owned(), value.to_owned());
    Some(selector)
}

/// Spread constraints and affinity of a template.
fn wishes(pod: Pod, label_selector: Option<k8s::LabelSelector>, spec: &mut k8s::PodSpec) {
    let term = |topology_key: &str| k8s::PodAffinityTerm {
        label_selector: label_selector.clone(),
        topology_key: topology_key.to_owned(),
        namespaces: ["sched-1", "sched-0"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let weighted =
        || vec![k8s::WeightedPodAffinityTerm { weight: 1, pod_affinity_term: term(HOSTNAME) }];
    let mut affinity = k8s::Affinity::default();
    match pod {
        Pod::Spread | Pod::PreferredSpread => {
            let when = if pod == Pod::Spread { "DoNotSchedule" } else { "ScheduleAnyway" };
            spec.topology_spread_constraints = vec![k8s::TopologySpreadConstraint {
                max_skew: 5,
                topology_key: ZONE.to_owned(),
                when_unsatisfiable: when.to_owned(),
                label_selector: label_selector.clone(),
                ..Default::default()
            }];
            return;
        }
        Pod::Affinity => {
            affinity.pod_affinity = Some(k8s::PodAffinity {
                required_during_scheduling_ignored_during_execution: vec![term(ZONE)],
                ..Default::default()
            });
        }
        Pod::AntiAffinity => {
            affinity.pod_anti_affinity = Some(k8s::PodAffinity {
                required_during_scheduling_ignored_during_execution: vec![term(HOSTNAME)],
                ..Default::default()
            });
        }
        Pod::PreferredAffinity => {
            affinity.pod_affinity = Some(k8s::PodAffinity {
                preferred_during_scheduling_ignored_during_execution: weighted(),
                ..Default::default()
            });
        }
        Pod::PreferredAntiAffinity => {
            affinity.pod_anti_affinity = Some(k8s::PodAffinity {
                preferred_during_scheduling_ignored_during_execution: weighted(),
                ..Default::default()
            });
        }
        _ => return,
    }
    spec.affinity = Some(affinity);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preemption_pushes_pods_out() {
        let mut bed =
            Bed::new(&Case { before: &[(Pod::LowPriority, 400, "default")], ..PREEMPTION }, 100);
        let tally = bed.measure(&PREEMPTION, 300);
        assert!(tally.placed >= 300, "{tally:?}");
        assert!(tally.attempts > tally.placed, "some had to wait for victims: {tally:?}");
    }
}
