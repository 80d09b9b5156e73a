//! Capacity and allocatable of a node before it exists.
//!
//! Upstream: karpenter-provider-aws pkg/providers/instancetype/types.go. Differences: hugepages
//! and instance-store policies are the caller's, who passes the storage size.

use crate::k8s::{KubeletConfiguration, ResourceList};
use crate::units::Quantity;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;
/// Memory that ARM instances lose before the kernel counts.
const ARM_LOSS_MIB: i64 = 64;
/// Root volume when the NodeClass names none.
pub const DEFAULT_STORAGE: i64 = 20 * GIB;

/// How the kube-reserved memory is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmiFamily {
    /// AL2, AL2023, Custom.
    Amazon,
    /// Bottlerocket.
    Bottlerocket,
    /// Windows.
    Windows,
}

impl AmiFamily {
    /// From `spec.amiFamily`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        match name {
            "Bottlerocket" => Self::Bottlerocket,
            _ if name.starts_with("Windows") => Self::Windows,
            _ => Self::Amazon,
        }
    }
}

/// What EC2 says of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// ARM rather than x86.
    pub arm64: bool,
    /// vCPUs.
    pub vcpus: i64,
    /// Memory in MiB.
    pub memory_mib: i64,
    /// Interfaces of the default network card.
    pub enis: i64,
    /// IPv4 addresses of an interface.
    pub ipv4_per_eni: i64,
    /// Root volume or instance store, in bytes.
    pub storage: i64,
}

/// Amounts of the four resources every node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Millicores.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub storage: i64,
    /// Pods.
    pub pods: i64,
}

/// Capacity and what is taken off it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSize {
    /// Whole node.
    pub capacity: Amounts,
    /// Kept for Kubernetes.
    pub kube_reserved: Amounts,
    /// Kept for the system.
    pub system_reserved: Amounts,
    /// Eviction thresholds.
    pub eviction: Amounts,
}

impl NodeSize {
    /// What pods may ask for.
    #[must_use]
    pub const fn allocatable(&self) -> Amounts {
        let (c, k, s, e) =
            (&self.capacity, &self.kube_reserved, &self.system_reserved, &self.eviction);
        Amounts {
            cpu: c.cpu - k.cpu - s.cpu - e.cpu,
            memory: c.memory - k.memory - s.memory - e.memory,
            storage: c.storage - k.storage - s.storage - e.storage,
            pods: c.pods,
        }
    }
}

/// Cluster-wide settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeOptions {
    /// `--vm-memory-overhead-percent` as a fraction.
    pub vm_memory_overhead: f64,
    /// `--reserved-enis`.
    pub reserved_enis: i64,
}

/// Size of a node of type `machine` under the NodeClass's kubelet settings.
#[must_use]
pub fn node_size(
    machine: &Machine,
    family: AmiFamily,
    kubelet: &KubeletConfiguration,
    options: &SizeOptions,
) -> NodeSize {
    let capacity = Amounts {
        cpu: machine.vcpus.saturating_mul(1000),
        memory: memory(machine, options.vm_memory_overhead),
        storage: machine.storage,
        pods: max_pods(machine, family, kubelet, options.reserved_enis),
    };
    let pods_for_memory = match family {
        AmiFamily::Amazon => eni_pods(machine, 0),
        AmiFamily::Bottlerocket | AmiFamily::Windows => capacity.pods,
    };
    let kube_reserved = Amounts {
        cpu: given(&kubelet.kube_reserved, "cpu", reserved_cpu(capacity.cpu)),
        memory: given(&kubelet.kube_reserved, "memory", (255 + 11 * pods_for_memory) * MIB),
        storage: given(&kubelet.kube_reserved, "ephemeral-storage", GIB),
        pods: 0,
    };
    let system_reserved = Amounts {
        cpu: given(&kubelet.system_reserved, "cpu", 0),
        memory: given(&kubelet.system_reserved, "memory", 0),
        storage: given(&kubelet.system_reserved, "ephemeral-storage", 0),
        pods: 0,
    };
    let signal = |name: &str| kubelet.eviction_hard.get(name).map(String::as_str);
    let eviction = Amounts {
        cpu: 0,
        memory: threshold(signal("memory.available"), capacity.memory, 100 * MIB),
        storage: threshold(
            signal("nodefs.available"),
            capacity.storage,
            percent_of(capacity.storage, 10.0),
        ),
        pods: 0,
    };
    NodeSize { capacity, kube_reserved, system_reserved, eviction }
}

fn memory(machine: &Machine, overhead: f64) -> i64 {
    let mib = machine.memory_mib - if machine.arm64 { ARM_LOSS_MIB } else { 0 };
    let bytes = mib.saturating_mul(MIB);
    let lost = (bytes as f64 * overhead / 1024.0 / 1024.0).ceil() as i64;
    bytes.saturating_sub(lost.saturating_mul(MIB))
}

/// Pods that the addresses of the default card allow.
#[must_use]
pub const fn eni_pods(machine: &Machine, reserved_enis: i64) -> i64 {
    let usable = machine.enis - reserved_enis;
    if usable <= 0 { 0 } else { usable * (machine.ipv4_per_eni - 1) + 2 }
}

fn max_pods(
    machine: &Machine,
    family: AmiFamily,
    kubelet: &KubeletConfiguration,
    reserved_enis: i64,
) -> i64 {
    let pods = match (kubelet.max_pods, family) {
        (Some(pods), _) => i64::from(pods),
        (None, AmiFamily::Windows) => 110,
        (None, _) => eni_pods(machine, reserved_enis),
    };
    match kubelet.pods_per_core {
        Some(per_core) if per_core > 0 && family != AmiFamily::Bottlerocket => {
            pods.min(i64::from(per_core).saturating_mul(machine.vcpus))
        }
        _ => pods,
    }
}

/// 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest.
fn reserved_cpu(millicores: i64) -> i64 {
    const RANGES: [(i64, i64, i64); 4] =
        [(0, 1000, 600), (1000, 2000, 100), (2000, 4000, 50), (4000, i64::MAX, 25)];
    let part = |&(start, end, share): &(i64, i64, i64)| {
        (millicores.min(end) - start).max(0).saturating_mul(share) / 10_000
    };
    RANGES.iter().map(part).sum()
}

fn given(list: &ResourceList, name: &str, default: i64) -> i64 {
    let read = |q: &Quantity| if name == "cpu" { q.milli_value() } else { q.value() };
    list.get(name).map_or(default, read)
}

fn percent_of(capacity: i64, percent: f64) -> i64 {
    (capacity as f64 / 100.0 * percent).ceil() as i64
}

fn threshold(text: Option<&str>, capacity: i64, default: i64) -> i64 {
    let Some(text) = text else { return default };
    match text.strip_suffix('%') {
        None => text.parse::<Quantity>().map_or(default, Quantity::value),
        Some(percent) => match percent.parse::<f64>() {
            // A threshold of everything switches the signal off.
            Ok(100.0) => 0,
            Ok(percent) => percent_of(capacity, percent),
            Err(_) => default,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m5_large_on_an_eks_image() {
        let machine = Machine {
            arm64: false,
            vcpus: 2,
            memory_mib: 8192,
            enis: 3,
            ipv4_per_eni: 10,
            storage: DEFAULT_STORAGE,
        };
        let options = SizeOptions { vm_memory_overhead: 0.075, reserved_enis: 0 };
        let kubelet = KubeletConfiguration::default();
        let size = node_size(&machine, AmiFamily::Amazon, &kubelet, &options).allocatable();
        assert_eq!((size.cpu, size.memory / MIB, size.pods), (1930, 6903, 29));
    }
}
