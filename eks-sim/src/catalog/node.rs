//! Capacity and allocatable of a node: of the real machine, and Karpenter's guess before it exists.
//!
//! Upstream: awslabs/amazon-eks-ami 81fec2e8 nodeadm `internal/kubelet` (reserved resources);
//! aws/karpenter-provider-aws 1d927085 `pkg/providers/instancetype/types.go` (estimate).
//! Differences: the file system of the root volume counts as large as the volume; percentages in
//! settings are held in millionths.

use super::defaults::Defaults;
use super::instance_types::{Architecture, InstanceType};
use super::max_pods::{MaxPodsRule, PodNetwork, max_pods};
use crate::units::{Bytes, MilliCpu, Quantity};
use serde::{Deserialize, Serialize};

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// Operating system image of a node.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[non_exhaustive]
pub enum AmiFamily {
    /// Amazon Linux 2.
    AL2,
    /// Amazon Linux 2023.
    #[default]
    AL2023,
    /// Bottlerocket.
    Bottlerocket,
    /// Windows Server.
    Windows,
    /// The user's own image.
    Custom,
}

/// Part of a resource: an amount, or a share in millionths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threshold {
    /// An amount.
    Amount(Bytes),
    /// Millionths of the capacity; a whole (100 %) switches the signal off.
    Millionths(u32),
}

impl Threshold {
    /// Reads kubelet's notation, `100Mi` or `10%`. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Some(percent) = text.strip_suffix('%') else {
            let quantity: Quantity = text.parse().ok()?;
            return (!quantity.is_negative()).then(|| Self::Amount(quantity.bytes()));
        };
        // A percentage is a decimal number; as a quantity its thousandths are exact.
        let thousandths = percent.parse::<Quantity>().ok()?.milli_value();
        let millionths = u32::try_from(thousandths.checked_mul(10)?).ok()?;
        (millionths <= 1_000_000).then_some(Self::Millionths(millionths))
    }
    /// The amount held back of `capacity`, rounded up.
    #[must_use]
    pub fn of(self, capacity: Bytes) -> Bytes {
        match self {
            Self::Amount(bytes) => bytes,
            Self::Millionths(1_000_000) => Bytes::ZERO,
            Self::Millionths(part) => Bytes::new(ceil_share(capacity.raw(), part)),
        }
    }
}

/// `amount × millionths / 10⁶`, rounded up, for amounts of at least 0.
fn ceil_share(amount: i64, millionths: u32) -> i64 {
    let product = i128::from(amount.max(0)) * i128::from(millionths);
    ((product + 999_999) / 1_000_000) as i64
}

/// Amounts that replace computed ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Reserved {
    /// Processor time.
    pub cpu: Option<MilliCpu>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Ephemeral storage.
    pub ephemeral_storage: Option<Bytes>,
}

/// What decides a node's size besides its type. The default is an AL2023 node with a 20 GiB root
/// volume and no kubelet settings of its own.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct NodeSettings {
    /// The constants of the formulas, with a scenario's overrides.
    pub defaults: Defaults,
    /// Operating system image.
    pub ami_family: AmiFamily,
    /// kubelet `maxPods`.
    pub max_pods: Option<u32>,
    /// kubelet `podsPerCore`; 0 is off, Bottlerocket ignores it.
    pub pods_per_core: Option<u32>,
    /// Who chooses `maxPods` when it is not set.
    pub max_pods_rule: MaxPodsRule,
    /// Address mode, for rules that look at it.
    pub pod_network: PodNetwork,
    /// kubelet `kubeReserved`.
    pub kube_reserved: Reserved,
    /// kubelet `systemReserved`; nothing by default.
    pub system_reserved: Reserved,
    /// kubelet `evictionHard` `memory.available`.
    pub eviction_memory: Option<Threshold>,
    /// kubelet `evictionHard` `nodefs.available`.
    pub eviction_nodefs: Option<Threshold>,
    /// Root (or Bottlerocket data) volume.
    pub root_volume: Bytes,
    /// Whether pods use the instance store (`instanceStorePolicy: RAID0`).
    pub instance_store_raid0: bool,
    /// Karpenter's `--reserved-enis`.
    pub reserved_enis: u32,
    /// Karpenter's `--vm-memory-overhead-percent` in millionths.
    pub vm_memory_overhead: u32,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self::new(&Defaults::standard())
    }
}

impl NodeSettings {
    /// An AL2023 node under these constants.
    #[must_use]
    pub fn new(defaults: &Defaults) -> Self {
        Self {
            defaults: defaults.clone(),
            ami_family: AmiFamily::default(),
            max_pods: None,
            pods_per_core: None,
            max_pods_rule: MaxPodsRule::default(),
            pod_network: PodNetwork::default(),
            kube_reserved: Reserved::default(),
            system_reserved: Reserved::default(),
            eviction_memory: None,
            eviction_nodefs: None,
            root_volume: defaults.bytes("karpenter.default_root_volume"),
            instance_store_raid0: false,
            reserved_enis: 0,
            vm_memory_overhead: millionths(defaults, "karpenter.vm_memory_overhead_percent"),
        }
    }
}

/// Amounts of the resources that every node has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct NodeAmounts {
    /// Processor time.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// Ephemeral storage.
    pub ephemeral_storage: Bytes,
}

/// What a node has and what of it pods may use: allocatable = capacity − reserved − eviction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NodeResources {
    /// All there is.
    pub capacity: NodeAmounts,
    /// kubelet's own share.
    pub kube_reserved: NodeAmounts,
    /// The system's share.
    pub system_reserved: NodeAmounts,
    /// Held free by eviction (no processor time).
    pub eviction_threshold: NodeAmounts,
    /// What pods may request, at least 0.
    pub allocatable: NodeAmounts,
    /// Pods, the same in capacity and allocatable.
    pub pods: u32,
}

/// The node as kubelet will report it: memory is what the operating system was seen to have, or
/// Karpenter's guess where no running instance was looked at. `None` when the type's processors or
/// memory are unknown.
#[must_use]
pub fn node_resources(instance: &InstanceType, settings: &NodeSettings) -> Option<NodeResources> {
    let memory = match instance.os_visible_memory {
        Some(memory) => memory,
        None => estimated_memory(instance, settings)?,
    };
    let rule = max_pods(instance, settings.max_pods_rule, settings.pod_network);
    let pods = density(instance, settings, settings.max_pods.unwrap_or(rule));
    // AL2 and custom images take the published density for the reservation, whatever maxPods says.
    let reserving_pods = match settings.ami_family {
        AmiFamily::AL2 | AmiFamily::Custom => instance.eni_max_pods(0).unwrap_or(pods),
        AmiFamily::AL2023 | AmiFamily::Bottlerocket | AmiFamily::Windows => pods,
    };
    resources(instance, settings, memory, pods, reserving_pods)
}

/// What Karpenter assumes before it has seen a node of the type. `None` when the type's
/// processors or memory are unknown.
#[must_use]
pub fn karpenter_estimate(
    instance: &InstanceType,
    settings: &NodeSettings,
) -> Option<NodeResources> {
    let windows = settings.ami_family == AmiFamily::Windows;
    let formula = if windows { None } else { instance.eni_max_pods(settings.reserved_enis) };
    let limit = settings.max_pods.or(formula).unwrap_or_else(|| {
        u32::try_from(settings.defaults.u64("karpenter.windows_max_pods")).unwrap_or(u32::MAX)
    });
    let pods = density(instance, settings, limit);
    let reserving_pods = match settings.ami_family {
        AmiFamily::Bottlerocket | AmiFamily::Windows => pods,
        _ => instance.eni_max_pods(0).unwrap_or(pods),
    };
    let memory = estimated_memory(instance, settings)?;
    resources(instance, settings, memory, pods, reserving_pods)
}

/// Nominal memory less 64 MiB on Arm, less the overhead rounded up to a MiB.
fn estimated_memory(instance: &InstanceType, settings: &NodeSettings) -> Option<Bytes> {
    let arm = instance.architecture == Architecture::Arm64;
    let overhead =
        if arm { settings.defaults.bytes("karpenter.arm_memory_overhead").raw() / MIB } else { 0 };
    let mib = (instance.memory?.raw() / MIB - overhead).max(0);
    Some(Bytes::new((mib - ceil_share(mib, settings.vm_memory_overhead)).max(0) * MIB))
}

fn density(instance: &InstanceType, settings: &NodeSettings, limit: u32) -> u32 {
    let per_core = settings.pods_per_core.filter(|n| *n > 0);
    match (per_core, instance.vcpu) {
        (Some(n), Some(vcpu)) if settings.ami_family != AmiFamily::Bottlerocket => {
            limit.min(n.saturating_mul(vcpu))
        }
        _ => limit,
    }
}

fn resources(
    instance: &InstanceType,
    settings: &NodeSettings,
    memory: Bytes,
    pods: u32,
    reserving_pods: u32,
) -> Option<NodeResources> {
    let defaults = &settings.defaults;
    let cpu = instance.cpu()?;
    let capacity = NodeAmounts { cpu, memory, ephemeral_storage: storage(instance, settings) };
    let kube_reserved = NodeAmounts {
        cpu: settings.kube_reserved.cpu.unwrap_or(kube_reserved_cpu(cpu, defaults)),
        memory: settings
            .kube_reserved
            .memory
            .unwrap_or(kube_reserved_memory(reserving_pods, defaults)),
        ephemeral_storage: (settings.kube_reserved.ephemeral_storage)
            .unwrap_or(defaults.bytes("kubelet.kube_reserved_ephemeral_storage")),
    };
    let system_reserved = NodeAmounts {
        cpu: settings.system_reserved.cpu.unwrap_or_default(),
        memory: settings.system_reserved.memory.unwrap_or_default(),
        ephemeral_storage: settings.system_reserved.ephemeral_storage.unwrap_or_default(),
    };
    let memory_default =
        Threshold::Amount(defaults.bytes("kubelet.eviction_hard_memory_available"));
    let nodefs_default =
        Threshold::Millionths(millionths(defaults, "kubelet.eviction_hard_nodefs_available"));
    let eviction_threshold = NodeAmounts {
        cpu: MilliCpu::ZERO,
        memory: settings.eviction_memory.unwrap_or(memory_default).of(memory),
        ephemeral_storage: (settings.eviction_nodefs.unwrap_or(nodefs_default))
            .of(capacity.ephemeral_storage),
    };
    let allocatable = less(capacity, [kube_reserved, system_reserved, eviction_threshold]);
    Some(NodeResources {
        capacity,
        kube_reserved,
        system_reserved,
        eviction_threshold,
        allocatable,
        pods,
    })
}

fn less(capacity: NodeAmounts, parts: [NodeAmounts; 3]) -> NodeAmounts {
    let mut left = capacity;
    for part in parts {
        left.cpu = (left.cpu - part.cpu).max(MilliCpu::ZERO);
        left.memory = (left.memory - part.memory).max(Bytes::ZERO);
        left.ephemeral_storage = (left.ephemeral_storage - part.ephemeral_storage).max(Bytes::ZERO);
    }
    left
}

fn storage(instance: &InstanceType, settings: &NodeSettings) -> Bytes {
    let local = instance.local_disks.map_or(0, |d| d.nvme_gb);
    if settings.instance_store_raid0 && local > 0 {
        let bytes = local.saturating_mul(1_000_000_000);
        return Bytes::new(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    settings.root_volume
}

/// 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest; each part
/// cut to whole millicores.
#[must_use]
pub fn kube_reserved_cpu(capacity: MilliCpu, defaults: &Defaults) -> MilliCpu {
    let shares = [
        (1000, millionths(defaults, "kubelet.kube_reserved_cpu_first_core")),
        (1000, millionths(defaults, "kubelet.kube_reserved_cpu_second_core")),
        (2000, millionths(defaults, "kubelet.kube_reserved_cpu_next_two_cores")),
        (i64::MAX, millionths(defaults, "kubelet.kube_reserved_cpu_other_cores")),
    ];
    let (mut left, mut sum) = (capacity.raw().max(0), 0);
    for (width, share) in shares {
        let part = left.min(width);
        sum += (i128::from(part) * i128::from(share) / 1_000_000) as i64;
        left -= part;
    }
    MilliCpu::new(sum)
}

/// 255 MiB and 11 MiB a pod.
#[must_use]
pub fn kube_reserved_memory(pods: u32, defaults: &Defaults) -> Bytes {
    let base = defaults.bytes("kubelet.kube_reserved_memory_base").raw();
    let each = defaults.bytes("kubelet.kube_reserved_memory_per_pod").raw();
    Bytes::new(base.saturating_add(each.saturating_mul(i64::from(pods))))
}

/// Resources that device plugins and the VPC resource controller advertise on the node.
#[must_use]
pub fn extended_resources(instance: &InstanceType, pod_eni: bool) -> Vec<(&'static str, u32)> {
    let mut found = Vec::new();
    for device in [instance.gpu, instance.accelerator].into_iter().flatten() {
        let resource = match device.name {
            name if name.starts_with("radeon") => "amd.com/gpu",
            name if name.starts_with("HL-") => "habana.ai/gaudi",
            name if name.starts_with("Inferentia") || name.starts_with("Trainium") => {
                "aws.amazon.com/neuron"
            }
            name if name.starts_with("Virtex") => "xilinx.com/fpga",
            "Qualcomm AI100" | "" => continue,
            _ => "nvidia.com/gpu",
        };
        if device.count > 0 {
            found.push((resource, device.count));
        }
    }
    let trunk = instance.interfaces.filter(|i| i.trunking == Some(true));
    if let (true, Some(branches)) = (pod_eni, trunk.and_then(|i| i.branch_enis)) {
        found.push(("vpc.amazonaws.com/pod-eni", branches));
    }
    found
}

/// A fraction in millionths.
fn millionths(defaults: &Defaults, name: &str) -> u32 {
    (defaults.f64(name) * 1e6).round() as u32
}

/// Whole GiB of an amount, cut.
#[must_use]
pub fn whole_gib(bytes: Bytes) -> i64 {
    bytes.raw() / GIB
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
