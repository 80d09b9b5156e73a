//! A model without a simulation, for tests of studies and reports.

use super::{Replicate, StudyInfo};
use crate::observe::metrics::columns;
use crate::observe::outcome::*;
use crate::units::{Money, SimTime, Span, math};

/// A day of a made-up shop.
pub(crate) struct Fake {
    pub nodes: f64,
    pub bound: u64,
    pub workloads: usize,
    pub hours: u64,
}

impl Default for Fake {
    fn default() -> Self {
        Self { nodes: 6.0, bound: 120, workloads: 9, hours: 24 }
    }
}

pub(crate) fn column(name: &str) -> usize {
    columns().iter().position(|c| c.name() == name).expect("a column")
}

pub(crate) fn info(objectives: serde_json::Value) -> StudyInfo {
    StudyInfo {
        name: "shop".into(),
        description: "Does the shop hold on Black Friday?".into(),
        seed: 42,
        scenario_hash: 0x0123_4567_89ab_cdef,
        duration: Span::from_secs(86_400),
        warmup: Span::ZERO,
        objectives: serde_json::from_value(objectives).unwrap(),
    }
}

/// A number between 0 and 1 that depends on all arguments.
fn noise(a: u32, b: u32) -> f64 {
    let mut x = (u64::from(a) << 32 | u64::from(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 32;
    (x >> 11) as f64 / (1u64 << 53) as f64
}

impl Fake {
    fn series(&self, r: u32) -> Series {
        let mut lines: Vec<SeriesLine> = Vec::new();
        let points = 289;
        let shape = |i: u32| {
            let phase = f64::from(i) / 288.0 * core::f64::consts::TAU;
            0.5 - 0.5 * math::cos(phase) + 0.15 * (noise(r, i / 6) - 0.5)
        };
        let mut add = |name: &str, object: &str, unit: &'static str, f: &dyn Fn(u32) -> f64| {
            let values = (0..points).map(|i| f(i).max(0.0)).collect();
            lines.push(SeriesLine { name: name.into(), object: object.into(), unit, values });
        };
        let ready = |i: u32| (60.0 + 110.0 * shape(i)).round();
        add("pods_pending", "", "pods", &|i| (14.0 * noise(r, i) * shape(i) - 5.0).round());
        add("pods_starting", "", "pods", &|i| (9.0 * noise(r + 7, i) * shape(i)).round());
        add("pods_ready", "", "pods", &ready);
        add("pods_terminating", "", "pods", &|i| (6.0 * noise(r + 9, i) - 3.0).round());
        let nodes = |i: u32| (self.nodes + 8.0 * shape(i)).round();
        add("nodes_ready", "base", "nodes", &nodes);
        add("nodes_ready", "spot", "nodes", &|i| (6.0 * shape(i)).round());
        add("nodes_starting", "", "nodes", &|i| (2.0 * noise(r, i) - 1.0).round());
        add("cpu_allocatable", "", "cores", &|i| nodes(i) * 1.93);
        add("cpu_requested", "", "cores", &|i| ready(i) * 0.1);
        add("cpu_used", "", "cores", &|i| ready(i) * 0.06);
        add("memory_allocatable", "", "GiB", &|i| nodes(i) * 7.1);
        add("memory_requested", "", "GiB", &|i| ready(i) * 0.25);
        for w in 0..self.workloads as u32 {
            let name = format!("Deployment/shop/service-{w}");
            let replicas = |i: u32| (2.0 + f64::from(w + 2) * shape(i)).round();
            add("replicas_ready", &name, "pods", &replicas);
            add("replicas_desired", &name, "pods", &|i| replicas(i + 2));
            add("load", &name, "requests/s", &|i| 300.0 * f64::from(w + 1) * shape(i));
        }
        for (k, name) in ["a", "b", "c"].iter().enumerate() {
            let free = |i: u32| (251.0 - 40.0 * k as f64 - 150.0 * shape(i)).round();
            add("addresses_free", name, "addresses", &free);
            add("addresses_fragmented", name, "addresses", &|i| (free(i) * 0.3).round());
            add("addresses_assigned", name, "addresses", &|i| 251.0 - free(i));
        }
        add("cost_rate", "control plane", "USD/h", &|_| 0.1);
        add("cost_rate", "EC2 on-demand", "USD/h", &|i| nodes(i) * 0.096);
        add("cost_rate", "EC2 spot", "USD/h", &|i| (6.0 * shape(i)).round() * 0.035);
        Series { step: Span::from_secs(self.hours * 3600 / 288), lines }
    }

    fn detail(&self) -> Detail {
        let pod = |i: u64| PodRow {
            namespace: "shop".into(),
            name: format!("cart-{i}"),
            owner: "ReplicaSet/cart".into(),
            created: SimTime::from_secs(i),
            bound: Some(SimTime::from_secs(i + 2)),
            state: "Running".into(),
            ..PodRow::default()
        };
        let event = EventRow {
            at: SimTime::from_nanos(1_500_000_000),
            component: "scheduler",
            kind: "pod",
            object: "shop/cart-0".into(),
            reason: "FailedScheduling".into(),
            message: "0/3 nodes are available: 3 Insufficient cpu, \"quoted\".".into(),
        };
        let node = NodeRow {
            name: "ip-10-0-0-1".into(),
            cost: Money::from_usd(1.5),
            ..NodeRow::default()
        };
        let track = SubnetTrack {
            name: "a".into(),
            usable: 251,
            step: Span::from_secs(300),
            uses: [60.0, 30.0, 0.0, 9.0, 2.0, 30.0, 150.0].map(|n| vec![n, n]),
            ..SubnetTrack::default()
        };
        Detail {
            events: vec![event],
            pods: (0..3).map(pod).collect(),
            nodes: vec![node],
            subnets: vec![track],
        }
    }
}

impl Replicate for Fake {
    fn run(&self, r: u32, detail: bool) -> Outcome {
        let wobble = noise(r, 1);
        let value = |name: &str| match name {
            "pods_created" | "pods_scheduled" | "pods_ready" => 180.0 + (20.0 * wobble).round(),
            "pod_startup_seconds_p99" => 41.0 + 6.0 * (wobble - 0.5),
            "pod_pending_seconds_p99" => 12.0 + 4.0 * wobble,
            "served_ratio" => 0.9995 - 0.0002 * wobble,
            "latency_seconds_p99" => 0.081 + 0.004 * wobble,
            "nodes_mean" => self.nodes + 4.0 + wobble,
            "nodes_max" => self.nodes + 8.0,
            "cost_usd" => (self.nodes * 3.0 + wobble) * 1.2,
            "cost_usd_per_month" => (self.nodes * 3.0 + wobble) * 1.2 * 730.0 / 24.0,
            "job_seconds_mean" | "job_seconds_p95" | "job_seconds_max" => f64::NAN,
            "cpu_requested_ratio" => 0.71 + 0.02 * wobble,
            "api_availability" => 1.0,
            _ => 0.0,
        };
        let subnet = |name: &str| SubnetSummary {
            name: name.into(),
            zone: format!("us-east-1{name}"),
            cidr: "10.0.0.0/24".into(),
            usable: 251,
            free_min: 30 + (9.0 * wobble) as u32,
            ..SubnetSummary::default()
        };
        let cost = |component: &str, usd: f64, hours: f64| CostLine {
            component: component.into(),
            item: "m6i.large".into(),
            quantity: hours,
            unit: "h",
            amount: Money::from_usd(usd),
        };
        Outcome {
            replication: r,
            digest: 0xfeed_0000 + u64::from(r),
            events: 1000 + u64::from(r),
            diagnosis: None,
            values: columns().iter().map(|c| value(&c.name())).collect(),
            series: self.series(r),
            pods_bound: self.bound,
            reasons: vec![ReasonCount {
                component: "kube-scheduler",
                reason: "Insufficient cpu".into(),
                count: 9 + u64::from(r % 3),
                wait_seconds: 700.0 * wobble,
            }],
            cost: vec![
                cost("control plane", 2.4, 24.0),
                cost("EC2 on-demand", (self.nodes * 3.0 + wobble) * 1.2 - 2.4, 240.0),
            ],
            subnets: vec![subnet("a"), subnet("b")],
            detail: detail.then(|| self.detail()),
        }
    }

    fn grid(&self) -> (Span, Span) {
        (Span::from_secs(self.hours * 3600 / 288), Span::from_secs(self.hours * 3600))
    }
}
