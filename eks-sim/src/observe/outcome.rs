//! What one replication leaves behind.

use crate::components::karpenter::explain::Purchase;
use crate::units::{Money, SimTime, Span};

/// The result of one replication.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Index of the replication.
    pub replication: u32,
    /// Digest over all changes.
    pub digest: u64,
    /// Events handled.
    pub events: u64,
    /// Set when a bound ended the replication early.
    pub diagnosis: Option<Diagnosis>,
    /// One value for each of [`super::metrics::columns`]; not-a-number where nothing was observed.
    pub values: Vec<f64>,
    /// Time series on the study's grid.
    pub series: Series,
    /// Pods bound to a node at any time, the warm-up included, add-ons not counted. A study in
    /// which this is zero everywhere simulated nothing.
    pub pods_bound: u64,
    /// What held pods up.
    pub reasons: Vec<ReasonCount>,
    /// Cost by component.
    pub cost: Vec<CostLine>,
    /// A row per subnet.
    pub subnets: Vec<SubnetSummary>,
    /// Full record, for the replication chosen by `--detail`.
    pub detail: Option<Detail>,
}

/// How often one thing held pods up in a replication.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReasonCount {
    /// Who said so, for example `kube-scheduler`, `vpc-cni`, `ec2`.
    pub component: &'static str,
    /// Upstream's words without counts and names, for example `Insufficient cpu`.
    pub reason: String,
    /// Pods (or launches) that met it at least once.
    pub count: u64,
    /// Time these pods waited while it held, summed over pods; 0 where that is not known.
    pub wait_seconds: f64,
}

/// Why a replication ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Virtual time.
    pub at: SimTime,
    /// Bound that was reached, for example `events per instant`.
    pub bound: String,
    /// Component that handled the last event.
    pub component: String,
    /// Object of the last event.
    pub object: String,
    /// The last events, oldest first.
    pub last_events: Vec<String>,
}

/// Time series on a common grid: point `i` is the state at `i × step`.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Distance of the points.
    pub step: Span,
    /// The lines, the same in every replication of a study.
    pub lines: Vec<SeriesLine>,
}

/// One line of a [`Series`].
#[derive(Clone, Debug, Default)]
pub struct SeriesLine {
    /// What it is, for example `pods_ready` or `replicas`.
    pub name: String,
    /// Which object, for example `Deployment/shop/cart`, `subnet a` or empty.
    pub object: String,
    /// Unit of the values.
    pub unit: &'static str,
    /// Values.
    pub values: Vec<f64>,
}

/// Cost of one component.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostLine {
    /// `control plane`, `EC2 on-demand`, `EC2 spot`, `EBS`, `load balancers`, `NAT`, …
    pub component: String,
    /// What of it: node group, instance type, volume class.
    pub item: String,
    /// Quantity used, in `unit`.
    pub quantity: f64,
    /// Unit of the quantity, for example `h`.
    pub unit: &'static str,
    /// Cost of the simulated time.
    pub amount: Money,
}

/// Addresses of one subnet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubnetSummary {
    /// Name.
    pub name: String,
    /// Zone.
    pub zone: String,
    /// Address block.
    pub cidr: String,
    /// Usable addresses.
    pub usable: u32,
    /// Free at the end.
    pub free_end: u32,
    /// Smallest number of free addresses.
    pub free_min: u32,
    /// Addresses bound to pods at the end.
    pub assigned_end: u32,
    /// Held by nodes but not bound to a pod at the end.
    pub warm_end: u32,
    /// Requests refused for lack of free addresses.
    pub refusals: u64,
    /// First refusal.
    pub first_exhausted: Option<SimTime>,
    /// Time from refusals to the next success.
    pub exhausted: Span,
}

/// Full record of one replication.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// What happened, in order.
    pub events: Vec<EventRow>,
    /// A row per pod, in order of creation.
    pub pods: Vec<PodRow>,
    /// A row per node, in order of registration.
    pub nodes: Vec<NodeRow>,
    /// A record per subnet.
    pub subnets: Vec<SubnetTrack>,
}

/// What the addresses of a subnet were used for over time, on the grid of the time series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubnetTrack {
    /// Name.
    pub name: String,
    /// Zone.
    pub zone: String,
    /// Address block.
    pub cidr: String,
    /// Usable addresses.
    pub usable: u32,
    /// Distance of the points.
    pub step: Span,
    /// Addresses by use, in the order of [`super::series::SUBNET_USES`].
    pub uses: [Vec<f64>; 7],
}

/// One line of `events.csv`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventRow {
    /// When.
    pub at: SimTime,
    /// Component that acted.
    pub component: &'static str,
    /// `pod`, `node`, `hpa`, …
    pub kind: &'static str,
    /// Name of the object, with its namespace where it has one.
    pub object: String,
    /// Upstream's reason, for example `FailedScheduling`.
    pub reason: String,
    /// Upstream's message, as far as it has one.
    pub message: String,
}

/// One line of `pods.csv`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodRow {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Owner, `Kind/name`.
    pub owner: String,
    /// Node.
    pub node: String,
    /// Created.
    pub created: SimTime,
    /// Bound to a node.
    pub bound: Option<SimTime>,
    /// Has an address.
    pub addressed: Option<SimTime>,
    /// Containers started.
    pub started: Option<SimTime>,
    /// First Ready.
    pub ready: Option<SimTime>,
    /// Gone.
    pub deleted: Option<SimTime>,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Terminating`, `Deleted`.
    pub state: String,
    /// Failed scheduling attempts.
    pub attempts: u32,
    /// Restarts.
    pub restarts: u32,
    /// Last reason for waiting or ending.
    pub reason: String,
}

/// One line of `nodes.csv`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeRow {
    /// Name.
    pub name: String,
    /// Node group or NodePool.
    pub group: String,
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Subnet.
    pub subnet: String,
    /// `ON_DEMAND` or `SPOT`.
    pub capacity_type: String,
    /// Launch asked for.
    pub requested: SimTime,
    /// Registered.
    pub registered: Option<SimTime>,
    /// First Ready.
    pub ready: Option<SimTime>,
    /// Ended.
    pub terminated: Option<SimTime>,
    /// Why it ended.
    pub reason: String,
    /// Allocatable CPU in thousandths of a core.
    pub allocatable_cpu_m: i64,
    /// Allocatable memory in bytes.
    pub allocatable_memory: i64,
    /// Pods it may hold.
    pub max_pods: u32,
    /// Most pods at once.
    pub pods_max: u32,
    /// Most network interfaces at once.
    pub enis_max: u32,
    /// Most /28 prefixes at once.
    pub prefixes_max: u32,
    /// Most addresses of subnets held at once: interfaces' own and those for pods.
    pub addresses_max: u32,
    /// Cost.
    pub cost: Money,
    /// Why Karpenter bought it.
    pub purchase: Option<Purchase>,
}
