//! The catalogue of summary metrics: names, units, exact definitions.
//!
//! A metric has one value in each replication. Names with a statistic (`pod_startup_seconds`)
//! stand for several columns (`pod_startup_seconds_p99`, …).

/// Which way is better, for comparisons and objectives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Smaller values are better.
    Lower,
    /// Larger values are better.
    Higher,
    /// Neither.
    Neither,
}

/// A family of summary metrics.
#[derive(Clone, Copy, Debug)]
pub struct MetricDef {
    /// Name in objectives and, with the statistic appended, in CSV columns.
    pub name: &'static str,
    /// Unit of the values.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Statistics over the values of one replication; empty for a single value.
    pub stats: &'static [Stat],
    /// Exact definition.
    pub definition: &'static str,
}

/// A statistic over the values of one replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// Arithmetic mean.
    Mean,
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// Largest.
    Max,
}

impl Stat {
    /// All statistics in column order.
    pub const ALL: [Self; 6] = [Self::Mean, Self::P50, Self::P90, Self::P95, Self::P99, Self::Max];

    /// Name in files and scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }
}

const DISTRIBUTION: &[Stat] = &Stat::ALL;

macro_rules! metric {
    ($name:literal, $unit:literal, $better:ident, $stats:expr, $definition:literal) => {
        MetricDef {
            name: $name,
            unit: $unit,
            better: Better::$better,
            stats: $stats,
            definition: $definition,
        }
    };
}

/// All summary metrics, in the order of the columns.
pub const METRICS: &[MetricDef] = &[
    metric!(
        "pods_created",
        "pods",
        Neither,
        &[],
        "pods that were created after the warm-up, add-ons and DaemonSet pods included"
    ),
    metric!("pods_scheduled", "pods", Neither, &[], "of these, pods that were bound to a node"),
    metric!("pods_ready", "pods", Neither, &[], "of these, pods that became Ready at least once"),
    metric!(
        "pods_unscheduled",
        "pods",
        Lower,
        &[],
        "pods that exist at the end, are not bound, and were found unschedulable"
    ),
    metric!(
        "pod_pending_seconds",
        "s",
        Lower,
        DISTRIBUTION,
        "created to bound, over pods that were bound; a pod still unbound at the end counts with its age; pods of negative priority (which hold room for others) are left out"
    ),
    metric!(
        "pod_startup_seconds",
        "s",
        Lower,
        DISTRIBUTION,
        "created to first Ready, over pods that became Ready; a pod that waits at the end counts with its age; pods of negative priority are left out"
    ),
    metric!("pod_restarts", "restarts", Lower, &[], "container restarts"),
    metric!("oom_kills", "kills", Lower, &[], "containers killed at their memory limit"),
    metric!(
        "pod_evictions",
        "pods",
        Lower,
        &[],
        "pods evicted by drains, taints, autoscalers and VPA"
    ),
    metric!(
        "pod_preemptions",
        "pods",
        Lower,
        &[],
        "pods deleted to make room for a higher priority"
    ),
    metric!("requests_offered", "requests", Neither, &[], "requests that entered from outside"),
    metric!(
        "served_ratio",
        "share",
        Higher,
        &[],
        "requests that were served in time, of all offered at entry Services; 1 without traffic"
    ),
    metric!(
        "requests_lost",
        "requests",
        Lower,
        &[],
        "requests from outside that were not served in time"
    ),
    metric!(
        "latency_seconds",
        "s",
        Lower,
        DISTRIBUTION,
        "mean time in the system of a request at entry Services, calls included, over time weighted by requests"
    ),
    metric!("nodes", "nodes", Lower, &[Stat::Mean, Stat::Max], "Ready nodes, over time"),
    metric!("node_hours", "h", Lower, &[], "sum over instances of billed time"),
    metric!("instances_launched", "instances", Neither, &[], "instances launched after the start"),
    metric!("instances_terminated", "instances", Neither, &[], "instances that ended"),
    metric!("launch_failures", "launches", Lower, &[], "instance launches that EC2 refused"),
    metric!(
        "spot_interruptions",
        "instances",
        Lower,
        &[],
        "spot instances that got the two-minute notice"
    ),
    metric!(
        "node_group_update_seconds",
        "s",
        Lower,
        &[Stat::Max],
        "start to end of updates of managed node groups; one still under way at the end counts with its age"
    ),
    metric!(
        "node_group_update_failures",
        "updates",
        Lower,
        &[],
        "updates of managed node groups that gave up"
    ),
    metric!(
        "cpu_requested_ratio",
        "share",
        Higher,
        &[],
        "CPU requested by bound pods over allocatable of Ready nodes, both integrated over time"
    ),
    metric!("memory_requested_ratio", "share", Higher, &[], "the same for memory"),
    metric!(
        "cpu_used_ratio",
        "share",
        Higher,
        &[],
        "CPU used by pods over allocatable of Ready nodes, both integrated over time"
    ),
    metric!(
        "replicas",
        "pods",
        Neither,
        &[Stat::Mean, Stat::Max],
        "Ready pods of scaled workloads, over time"
    ),
    metric!("hpa_scalings", "changes", Neither, &[], "replica counts changed by autoscalers"),
    metric!("cost_usd", "USD", Lower, &[], "cost of the simulated time after the warm-up"),
    metric!("cost_usd_per_month", "USD", Lower, &[], "cost scaled to 730 hours"),
    metric!(
        "waste_usd_per_month",
        "USD",
        Lower,
        &[],
        "node cost times the share of CPU or memory (the larger one requested) that no pod requests, scaled to 730 hours"
    ),
    metric!(
        "ip_exhaustion_seconds",
        "s",
        Lower,
        &[],
        "time in which at least one subnet refused an address for lack of free ones: from a refusal to the next success there"
    ),
    metric!(
        "ip_first_exhaustion_seconds",
        "s",
        Higher,
        &[],
        "time of the first refusal of any subnet; empty in replications without one"
    ),
    metric!(
        "ip_free_min",
        "addresses",
        Higher,
        &[],
        "smallest number of free addresses of any subnet"
    ),
    metric!(
        "ip_unused",
        "addresses",
        Lower,
        &[Stat::Mean, Stat::Max],
        "addresses of all subnets that nodes hold for pods and no pod has (warm or in cooldown), over time"
    ),
    metric!(
        "pods_address_refused",
        "pods",
        Lower,
        &[],
        "pods that were refused an address at least once"
    ),
    metric!(
        "pod_address_wait_seconds",
        "s",
        Lower,
        DISTRIBUTION,
        "over these pods, from the first refusal to the address or to their end; a pod that waits at the end counts with its wait"
    ),
    metric!(
        "launches_without_address",
        "launches",
        Lower,
        &[],
        "instance launches refused because no subnet had a free address"
    ),
    metric!(
        "load_balancers_refused",
        "refusals",
        Lower,
        &[],
        "times a load balancer was not made or could not grow for lack of free addresses"
    ),
    metric!(
        "ec2_calls_throttled",
        "calls",
        Lower,
        &[],
        "EC2 API calls for interfaces and addresses that were refused with RequestLimitExceeded"
    ),
    metric!("api_availability", "share", Higher, &[], "time in which the API accepted writes"),
    metric!("node_failures", "nodes", Lower, &[], "nodes that crashed or lost their zone"),
    metric!(
        "recovery_seconds",
        "s",
        Lower,
        &[Stat::Mean, Stat::Max],
        "after each fault: until the served share of all entry Services is back above 99.9 % and stays there for five minutes, dips shorter than five seconds aside; the rest of the run (or until the next fault) if it never does; 0 if it never fell"
    ),
    metric!("jobs_succeeded", "jobs", Higher, &[], "Jobs that completed"),
    metric!("jobs_failed", "jobs", Lower, &[], "Jobs that failed"),
    metric!(
        "job_seconds",
        "s",
        Lower,
        &[Stat::Mean, Stat::P95, Stat::Max],
        "start to completion of Jobs"
    ),
];

/// One column: a metric and, where it has several, a statistic.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The metric.
    pub metric: &'static MetricDef,
    /// The statistic.
    pub stat: Option<Stat>,
}

impl Column {
    /// Name in CSV and JSON.
    #[must_use]
    pub fn name(&self) -> String {
        match self.stat {
            Some(stat) => format!("{}_{}", self.metric.name, stat.name()),
            None => self.metric.name.to_owned(),
        }
    }
}

/// All columns in order; a replication's [`super::outcome::Outcome::values`] has one value each.
#[must_use]
pub fn columns() -> Vec<Column> {
    let mut all = Vec::new();
    for metric in METRICS {
        if metric.stats.is_empty() {
            all.push(Column { metric, stat: None });
        }
        all.extend(metric.stats.iter().map(|&s| Column { metric, stat: Some(s) }));
    }
    all
}
