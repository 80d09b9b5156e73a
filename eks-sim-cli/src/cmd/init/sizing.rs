//! How large a first node group should be: the smallest type that fits, with room to spare.

use eks_sim::catalog::{
    Architecture, CapacityType, Catalog, Hypervisor, InstanceType, NodeSettings, Region,
    node_resources,
};
use eks_sim::k8s::{ObjectMeta, PodSpec};
use eks_sim::policy::cluster_autoscaler::requests::{milli, pod_requests};
use eks_sim::spec::Manifests;

/// Share of nodes that is left free, in percent: rollouts, spread, add-ons.
const HEADROOM_PERCENT: i64 = 25;
/// Nodes above which a larger type is looked for.
const MANY_NODES: i64 = 30;
/// Zones, and so nodes at least.
const ZONES: i64 = 3;
/// Pods that add-ons run on every node: vpc-cni, kube-proxy.
const ADDON_PODS: i64 = 2;
/// Processors at least: a smaller node is half full with the add-ons alone.
const LEAST_VCPU: u32 = 2;
/// What these request, in thousandths: EKS add-ons ask for 50m and 100m of CPU.
const ADDON_CPU: i64 = 150;

/// Requests in thousandths of a core and bytes, and pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Thousandths of a core.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Pods.
    pub pods: i64,
}

impl Amount {
    fn of(spec: &PodSpec) -> Self {
        let list = pod_requests(spec);
        Self { cpu: milli(&list, "cpu"), memory: milli(&list, "memory") / 1000, pods: 1 }
    }
    fn times(self, n: i64) -> Self {
        let times = |value: i64| value.saturating_mul(n.max(0));
        Self { cpu: times(self.cpu), memory: times(self.memory), pods: times(self.pods) }
    }
    fn plus(self, o: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(o.cpu),
            memory: self.memory.saturating_add(o.memory),
            pods: self.pods.saturating_add(o.pods),
        }
    }
    fn largest(self, o: Self) -> Self {
        Self {
            cpu: self.cpu.max(o.cpu),
            memory: self.memory.max(o.memory),
            pods: self.pods.max(o.pods),
        }
    }
}

/// What the manifests ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    /// All pods at the start.
    pub start: Amount,
    /// All pods when every HPA is at its maximum.
    pub most: Amount,
    /// The largest pod in each resource.
    pub largest: Amount,
    /// The DaemonSets' pods, on every node.
    pub per_node: Amount,
    /// Whether every workload wants arm64.
    pub arm: bool,
}

/// Adds up the requests of all workloads; HPAs set replicas.
pub fn demand(manifests: &Manifests) -> Demand {
    let mut sum = Demand { arm: true, ..Demand::default() };
    let mut workloads = 0;
    for template in manifests.templates() {
        let pod = Amount::of(template.spec);
        if template.kind == "DaemonSet" {
            sum.per_node = sum.per_node.plus(pod);
            continue;
        }
        let name = &template.metadata.name;
        let hpa = manifests.hpas.iter().map(|h| &h.object).find(|h| {
            let target = &h.spec.scale_target_ref;
            namespace(&h.metadata) == namespace(template.metadata)
                && target.kind == template.kind
                && target.name == *name
        });
        let replicas = i64::from(template.replicas.unwrap_or(1));
        let least = hpa.map_or(0, |h| i64::from(h.spec.min_replicas.unwrap_or(1)));
        let most = hpa.map_or(replicas, |h| i64::from(h.spec.max_replicas));
        sum.start = sum.start.plus(pod.times(replicas.max(least)));
        sum.most = sum.most.plus(pod.times(replicas.max(most)));
        sum.largest = sum.largest.largest(pod);
        let architecture = template.spec.node_selector.get("kubernetes.io/arch");
        sum.arm &= architecture.is_some_and(|a| a == "arm64");
        workloads += 1;
    }
    sum.arm &= workloads > 0;
    sum
}

/// The namespace of an object that may not name it.
pub fn namespace(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or("default")
}

/// A node group.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The type.
    pub instance: &'static InstanceType,
    /// Nodes at the start.
    pub desired: i64,
    /// Nodes at most.
    pub most: i64,
    /// Whether the largest pod fits at all.
    pub fits: bool,
}

/// Chooses the cheapest general type that fits the largest pod without needing very many nodes.
pub fn group(demand: &Demand, region: Region) -> Option<Group> {
    let mut best: Option<Group> = None;
    for instance in candidates(demand.arm, region) {
        let Some(group) = sized(instance, demand) else { continue };
        if group.fits && group.desired <= MANY_NODES {
            return Some(group);
        }
        // The last one is the largest: what is taken when nothing fits.
        if best.is_none_or(|b| group.fits >= b.fits) {
            best = Some(group);
        }
    }
    best
}

/// Current x86 or arm64 types of the general families, by price and name.
fn candidates(arm: bool, region: Region) -> Vec<&'static InstanceType> {
    let architecture = if arm { Architecture::Arm64 } else { Architecture::Amd64 };
    let price = |t: &InstanceType| t.price(region, CapacityType::OnDemand);
    let mut list: Vec<_> = Catalog::embedded()
        .iter()
        .filter(|t| {
            matches!(t.category(), "m" | "c" | "r")
                && matches!(t.generation, Some(6 | 7))
                && t.architecture == architecture
                && t.hypervisor == Hypervisor::Nitro
                && t.bare_metal != Some(true)
                && t.burstable != Some(true)
                && t.vcpu >= Some(LEAST_VCPU)
                && t.interfaces.is_some()
                && t.is_offered(region)
                && price(t).is_some()
                // Plain families: no local disks, no network or frequency variants.
                && matches!(t.family().len(), 3)
        })
        .collect();
    list.sort_by(|a, b| price(a).cmp(&price(b)).then(a.name.cmp(b.name)));
    list
}

fn sized(instance: &'static InstanceType, demand: &Demand) -> Option<Group> {
    let node = node_resources(instance, &NodeSettings::default())?;
    let room = Amount {
        cpu: node.allocatable.cpu.raw() - demand.per_node.cpu - ADDON_CPU,
        memory: node.allocatable.memory.raw() - demand.per_node.memory,
        pods: i64::from(node.pods) - demand.per_node.pods - ADDON_PODS,
    };
    let large = demand.largest;
    let fits = large.cpu <= room.cpu && large.memory <= room.memory && room.pods > 0;
    let nodes = |total: Amount| {
        let share = |need: i64, room: i64| {
            let need = i128::from(need) * i128::from(100 + HEADROOM_PERCENT) / 100;
            let room = i128::from(room.max(1));
            i64::try_from((need + room - 1) / room).unwrap_or(i64::MAX)
        };
        share(total.cpu, room.cpu)
            .max(share(total.memory, room.memory))
            .max(share(total.pods, room.pods))
    };
    let desired = nodes(demand.start).clamp(ZONES, 5000);
    let most = nodes(demand.most).max(desired.saturating_mul(2)).clamp(desired, 10_000);
    Some(Group { instance, desired, most, fits })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    fn demand(cpu: i64, memory: i64, pods: i64) -> Demand {
        let start = Amount { cpu, memory, pods: 1 }.times(pods);
        Demand { start, most: start, largest: Amount { cpu, memory, pods: 1 }, ..Demand::default() }
    }

    fn choose(demand: &Demand) -> Group {
        group(demand, Region::all().next().unwrap()).unwrap()
    }

    #[test]
    fn the_largest_pod_fits() {
        let small = choose(&demand(100, GIB / 8, 10));
        assert_eq!((small.desired, small.fits), (ZONES, true));
        let large = choose(&demand(7000, 20 * GIB, 3));
        assert!(large.fits && large.instance.vcpu >= Some(8), "{}", large.instance.name);
        assert!(large.instance.name > "c" && large.desired >= 3);
    }

    #[test]
    fn many_pods_get_larger_nodes() {
        let many = choose(&demand(1000, 2 * GIB, 400));
        assert!(many.desired <= MANY_NODES, "{} × {}", many.desired, many.instance.name);
    }

    #[test]
    fn what_fits_nowhere_gets_the_largest() {
        assert!(!choose(&demand(10_000_000, GIB, 1)).fits);
    }
}
