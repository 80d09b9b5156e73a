//! The catalogue of time series: names, units, which objects they have.
//!
//! Every replication of a study yields the same lines in the same order; a line is the state at
//! each point of the grid ([`super::outcome::Series`]). Reports recognise lines by these names.

/// What the object of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The whole cluster; the object is empty.
    Cluster,
    /// A node group or NodePool by its name.
    NodeGroup,
    /// A scaled workload, `Deployment/shop/cart`.
    Workload,
    /// A subnet by its name.
    Subnet,
    /// A cost component by its name.
    CostComponent,
    /// An entry Service, `Service/shop/frontend`.
    Service,
}

/// One family of time series.
#[derive(Clone, Copy, Debug)]
pub struct SeriesDef {
    /// Name in `timeseries.csv`.
    pub name: &'static str,
    /// Unit of the values.
    pub unit: &'static str,
    /// What there is a line for.
    pub object: Object,
    /// Exact definition.
    pub definition: &'static str,
}

macro_rules! series {
    ($($constant:ident = $name:literal, $unit:literal, $object:ident, $definition:literal;)*) => {
        $(#[doc = $definition] pub const $constant: &str = $name;)*
        /// All families of time series.
        pub const SERIES: &[SeriesDef] = &[$(SeriesDef {
            name: $name,
            unit: $unit,
            object: Object::$object,
            definition: $definition,
        }),*];
    };
}

series! {
    PODS_PENDING = "pods_pending", "pods", Cluster, "pods not bound to a node";
    PODS_STARTING = "pods_starting", "pods", Cluster, "bound pods that are not Ready and not ending";
    PODS_READY = "pods_ready", "pods", Cluster, "Ready pods";
    PODS_TERMINATING = "pods_terminating", "pods", Cluster, "pods that are being deleted";
    NODES_READY = "nodes_ready", "nodes", NodeGroup, "Ready nodes of a node group";
    NODES_STARTING = "nodes_starting", "nodes", Cluster, "instances that are not a Ready node yet";
    CPU_ALLOCATABLE = "cpu_allocatable", "cores", Cluster, "allocatable CPU of Ready nodes";
    CPU_REQUESTED = "cpu_requested", "cores", Cluster, "CPU requests of bound pods";
    CPU_USED = "cpu_used", "cores", Cluster, "CPU that pods use";
    MEMORY_ALLOCATABLE = "memory_allocatable", "GiB", Cluster, "allocatable memory of Ready nodes";
    MEMORY_REQUESTED = "memory_requested", "GiB", Cluster, "memory requests of bound pods";
    REPLICAS_READY = "replicas_ready", "pods", Workload, "Ready pods of a scaled workload";
    REPLICAS_DESIRED = "replicas_desired", "pods", Workload, "replicas that a scaled workload asks for";
    LOAD = "load", "requests/s", Workload, "requests a second that arrive at the pods of a workload";
    REQUESTS_OFFERED = "requests_offered", "requests/s", Service, "requests a second from outside";
    REQUESTS_SERVED = "requests_served", "requests/s", Service, "of these, served in time";
    ADDRESSES_FREE = "addresses_free", "addresses", Subnet, "free addresses of a subnet";
    ADDRESSES_FRAGMENTED = "addresses_fragmented", "addresses", Subnet, "of these, in no wholly free /28 block";
    ADDRESSES_ASSIGNED = "addresses_assigned", "addresses", Subnet, "addresses of a subnet that pods have";
    ADDRESSES_WARM = "addresses_warm", "addresses", Subnet, "addresses that nodes hold for pods to come";
    ADDRESSES_COOLING = "addresses_cooling", "addresses", Subnet, "addresses that pods gave back and that cannot be given out yet";
    ADDRESSES_NODES = "addresses_nodes", "addresses", Subnet, "own addresses of nodes and of their further interfaces";
    ADDRESSES_OTHER = "addresses_other", "addresses", Subnet, "addresses held by anything else";
    COST_RATE = "cost_rate", "USD/h", CostComponent, "cost of an hour at the present state, by component";
}

/// The uses of a subnet's addresses that add up to its usable ones, and then all that are free
/// (which the last two make up).
pub const SUBNET_USES: [&str; 7] = [
    ADDRESSES_ASSIGNED,
    ADDRESSES_WARM,
    ADDRESSES_COOLING,
    ADDRESSES_NODES,
    ADDRESSES_OTHER,
    ADDRESSES_FRAGMENTED,
    ADDRESSES_FREE,
];
