//! Resource vectors and the requests of a pod.
//!
//! Upstream: kubernetes v1.34.1, `component-helpers/resource/helpers.go`,
//! `pkg/scheduler/framework/types.go`, `pkg/scheduler/util/pod_resources.go`.
//! Differences: none known.

use crate::k8s::{Container, ContainerStatus, PodSpec, PodStatus, ResourceList};
use crate::units::Quantity;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Number of a resource name in a [`ResourceNames`] table.
pub type ResourceId = u16;
/// `cpu`, in thousandths.
pub const CPU: ResourceId = 0;
/// `memory`, in bytes.
pub const MEMORY: ResourceId = 1;
/// `ephemeral-storage`, in bytes.
pub const EPHEMERAL: ResourceId = 2;
/// Request assumed by scores for a container without one (`schedutil.DefaultMilliCPURequest`).
pub const DEFAULT_MILLI_CPU: i64 = 100;
/// The same for memory: 200 MiB (`schedutil.DefaultMemoryRequest`).
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Resource names by number.
#[derive(Clone, Debug)]
pub struct ResourceNames {
    names: Vec<String>,
    index: FxHashMap<String, ResourceId>,
}

impl Default for ResourceNames {
    fn default() -> Self {
        let mut all = Self { names: Vec::new(), index: FxHashMap::default() };
        for name in ["cpu", "memory", "ephemeral-storage"] {
            all.intern(name);
        }
        all
    }
}

impl ResourceNames {
    /// The number of `name`, new if unknown. Beyond 65,535 names all share the last number.
    pub fn intern(&mut self, name: &str) -> ResourceId {
        if let Some(&id) = self.index.get(name) {
            return id;
        }
        let id = ResourceId::try_from(self.names.len()).unwrap_or(ResourceId::MAX);
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), id);
        id
    }
    /// The number of `name`, if it is known.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<ResourceId> {
        self.index.get(name).copied()
    }
    /// The name of a number of this table.
    #[must_use]
    pub fn name(&self, id: ResourceId) -> &str {
        self.names.get(usize::from(id)).map_or("", String::as_str)
    }
    /// A list as a vector (`pods` left out).
    pub fn resources(&mut self, list: &ResourceList) -> Resources {
        let mut out = Resources::default();
        for (name, quantity) in list {
            if name != "pods" {
                let id = self.intern(name);
                out.set(id, amount(id, *quantity));
            }
        }
        out
    }
}

fn amount(id: ResourceId, quantity: Quantity) -> i64 {
    if id == CPU { quantity.milli_value() } else { quantity.value() }
}

/// An amount of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    basic: [i64; 3],
    /// Other resources, by number.
    scalars: SmallVec<[(ResourceId, i64); 1]>,
}

impl Resources {
    /// The amount of one resource.
    #[must_use]
    pub fn get(&self, id: ResourceId) -> i64 {
        match self.basic.get(usize::from(id)) {
            Some(v) => *v,
            None => self.scalars.iter().find(|s| s.0 == id).map_or(0, |s| s.1),
        }
    }
    /// Sets the amount of one resource.
    pub fn set(&mut self, id: ResourceId, value: i64) {
        if let Some(v) = self.basic.get_mut(usize::from(id)) {
            *v = value;
            return;
        }
        match self.scalars.binary_search_by_key(&id, |s| s.0) {
            Ok(i) => self.scalars[i].1 = value,
            Err(i) => self.scalars.insert(i, (id, value)),
        }
    }
    /// The resources besides cpu, memory and ephemeral storage.
    #[must_use]
    pub fn scalars(&self) -> &[(ResourceId, i64)] {
        &self.scalars
    }
    /// Adds `other` once (`sign` 1) or takes it away (`sign` -1).
    pub fn add(&mut self, other: &Self, sign: i64) {
        for (a, b) in self.basic.iter_mut().zip(other.basic) {
            *a = a.saturating_add(b.saturating_mul(sign));
        }
        for &(id, v) in &other.scalars {
            self.set(id, self.get(id).saturating_add(v.saturating_mul(sign)));
        }
    }
    /// Ids with an amount above zero.
    pub fn requested(&self) -> impl Iterator<Item = (ResourceId, i64)> + '_ {
        let basic = self.basic.iter().enumerate().map(|(i, v)| (i as ResourceId, *v));
        basic.chain(self.scalars.iter().copied()).filter(|r| r.1 > 0)
    }
}

/// How to sum a pod's requests.
#[derive(Clone, Copy, Default)]
pub struct RequestOptions<'a> {
    /// Count in-place resizes (pods on a node only).
    pub status: Option<&'a PodStatus>,
    /// Count this much processor time for containers that name none.
    pub default_cpu: Option<Quantity>,
    /// Count this much memory for containers that name none.
    pub default_memory: Option<Quantity>,
    /// Leave pod-level requests out.
    pub skip_pod_level: bool,
}

impl<'a> RequestOptions<'a> {
    /// With the defaults that the scores use.
    #[must_use]
    pub fn non_zero(self) -> Self {
        Self {
            default_cpu: Some(Quantity::from_milli(DEFAULT_MILLI_CPU)),
            default_memory: Some(Quantity::from_units(DEFAULT_MEMORY)),
            ..self
        }
    }
    fn of(&self, container: &Container, status: Option<&'a ContainerStatus>) -> ResourceList {
        let mut list = container.resources.requests.clone();
        let resized = status.filter(|s| s.resources.is_some());
        if let (Some(status), Some(pod)) = (resized, self.status) {
            if is_resize_infeasible(pod) {
                list.clear();
            }
            if let Some(actual) = &status.resources {
                max_into(&mut list, &actual.requests);
            }
            if let Some(allocated) = &status.allocated_resources {
                max_into(&mut list, allocated);
            }
        }
        for (name, default) in [("cpu", self.default_cpu), ("memory", self.default_memory)] {
            if let (Some(default), false) = (default, list.contains_key(name)) {
                list.insert(name.to_owned(), default);
            }
        }
        list
    }
}

fn is_resize_infeasible(status: &PodStatus) -> bool {
    let pending = status.conditions.iter().find(|c| c.kind == "PodResizePending");
    pending.is_some_and(|c| c.reason == "Infeasible")
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|s| s.name == name)
}

/// The requests of a pod, by exact quantities.
#[must_use]
pub fn pod_requests(spec: &PodSpec, options: RequestOptions<'_>) -> ResourceList {
    let mut sum = ResourceList::new();
    for c in &spec.containers {
        let status = options.status.and_then(|s| find(&s.container_statuses, &c.name));
        add_into(&mut sum, &options.of(c, status));
    }
    let (mut side, mut peak) = (ResourceList::new(), ResourceList::new());
    for c in &spec.init_containers {
        let sidecar = c.restart_policy.as_deref() == Some("Always");
        if sidecar {
            let status = options.status.and_then(|s| find(&s.init_container_statuses, &c.name));
            let request = options.of(c, status);
            add_into(&mut sum, &request);
            add_into(&mut side, &request);
            max_into(&mut peak, &side);
        } else {
            let mut request = options.of(c, None);
            add_into(&mut request, &side);
            max_into(&mut peak, &request);
        }
    }
    max_into(&mut sum, &peak);
    if !options.skip_pod_level {
        for (name, quantity) in pod_level(spec) {
            sum.insert(name.clone(), *quantity);
        }
    }
    add_into(&mut sum, &spec.overhead);
    sum
}

/// Requests set for the pod as a whole, of the resources that allow it.
pub fn pod_level(spec: &PodSpec) -> impl Iterator<Item = (&String, &Quantity)> {
    let supported = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    let requests = spec.resources.iter().flat_map(|r| r.requests.iter());
    requests.filter(move |(name, _)| supported(name))
}

fn add_into(to: &mut ResourceList, more: &ResourceList) {
    for (name, quantity) in more {
        *to.entry(name.clone()).or_default() += *quantity;
    }
}

fn max_into(to: &mut ResourceList, other: &ResourceList) {
    for (name, quantity) in other {
        let slot = to.entry(name.clone()).or_insert(*quantity);
        *slot = (*slot).max(*quantity);
    }
}
