//! The instance catalogue: one typed row per EC2 instance type.
//!
//! The table is `data/ec2_instance_types.csv`; source and date of each column are in
//! `data/ec2_instance_types.provenance.toml` (see [`super::column_provenance`]).

use super::instance_table::read_row;
use super::nearest::nearest;
use super::prices::{CapacityType, InterruptionBand, PriceBasis, PriceQuote, RegionOffer};
use super::regions::{REGION_COUNT, Region};
use crate::units::{Bytes, MilliCpu, MoneyRate};
use core::fmt;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

const TABLE: &str = include_str!("../../data/ec2_instance_types.csv");

/// Processor architecture, spelled as in `kubernetes.io/arch`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86, 64 bit.
    Amd64,
    /// Arm, 64 bit.
    Arm64,
}

impl Architecture {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What runs between the hardware and the guest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hypervisor {
    /// AWS Nitro.
    Nitro,
    /// Xen, older generations.
    Xen,
    /// None: bare metal.
    None,
    /// The sources do not say.
    Unknown,
}

impl Hypervisor {
    /// The name in the sources.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nitro => "nitro",
            Self::Xen => "xen",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}
impl fmt::Display for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// GPUs or other accelerators of one instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Accelerators {
    /// Number of devices.
    pub count: u32,
    /// Product name, empty if no source has it.
    pub name: &'static str,
    /// Memory of one device, if known.
    pub memory_each: Option<Bytes>,
    /// Memory of all devices, if known.
    pub memory_total: Option<Bytes>,
}

/// Network interface and address limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct InterfaceLimits {
    /// Interfaces of all network cards.
    pub max_enis: u32,
    /// Interfaces of network card 0, the only ones that serve pods.
    pub max_enis_default_card: u32,
    /// Number of network cards.
    pub network_cards: u32,
    /// IPv4 addresses an interface holds, its own primary address included.
    pub ipv4_per_eni: u32,
    /// IPv6 addresses an interface holds, if known.
    pub ipv6_per_eni: Option<u32>,
    /// Whether the type can carry a trunk interface (security groups for pods).
    pub trunking: Option<bool>,
    /// Branch interfaces of the trunk.
    pub branch_enis: Option<u32>,
}

/// Whether EBS volumes share their attachment limit with interfaces and local disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EbsLimitType {
    /// One limit for volumes, interfaces and local NVMe disks.
    Shared,
    /// A limit for volumes alone.
    Dedicated,
}

/// EBS limits and performance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct EbsLimits {
    /// Attachments EC2 allows.
    pub max_attachments: Option<u32>,
    /// What the limit is shared with.
    pub limit_type: Option<EbsLimitType>,
    /// Sustained throughput, Mbit/s.
    pub baseline_mbps: Option<u32>,
    /// Burst throughput, Mbit/s.
    pub max_mbps: Option<u32>,
    /// Sustained operations a second.
    pub baseline_iops: Option<u32>,
    /// Burst operations a second.
    pub max_iops: Option<u32>,
}

/// Disks inside the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct LocalDisks {
    /// Number of disks.
    pub count: u32,
    /// Size of all NVMe disks in decimal gigabytes; 0 when the disks are not NVMe.
    pub nvme_gb: u64,
    /// `nvme-ssd`, `nvme-hdd`, `ssd` or `hdd`.
    pub kind: &'static str,
}

/// Allocatable figures printed in Karpenter's reference documentation (AL2023).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct KarpenterReference {
    /// Allocatable processor time.
    pub cpu: MilliCpu,
    /// Allocatable memory in whole MiB.
    pub memory_mib: i64,
    /// Allocatable ephemeral storage in whole GiB.
    pub ephemeral_gib: i64,
    /// Allocatable pods.
    pub pods: u32,
}

/// One EC2 instance type. `None` means that no source has the figure.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct InstanceType {
    /// Name, for example `m5.large`.
    pub name: &'static str,
    /// Generation number.
    pub generation: Option<u32>,
    /// Processor architecture.
    pub architecture: Architecture,
    /// `Intel`, `AMD`, `AWS` or `Apple`.
    pub cpu_manufacturer: Option<&'static str>,
    /// Whether the processor is paid for in credits.
    pub burstable: Option<bool>,
    /// Virtual processors.
    pub vcpu: Option<u32>,
    /// Nominal memory.
    pub memory: Option<Bytes>,
    /// Memory that the operating system saw on a running instance.
    pub os_visible_memory: Option<Bytes>,
    /// Graphics processors; count 0 when there are none.
    pub gpu: Option<Accelerators>,
    /// Other accelerators; count 0 when there are none.
    pub accelerator: Option<Accelerators>,
    /// Interface and address limits.
    pub interfaces: Option<InterfaceLimits>,
    /// Hypervisor.
    pub hypervisor: Hypervisor,
    /// Whether the guest owns the whole host.
    pub bare_metal: Option<bool>,
    /// EC2's wording of the network performance.
    pub network_performance: Option<&'static str>,
    /// Sustained network throughput over all cards, Gbit/s.
    pub network_gbps: Option<f64>,
    /// Burst network throughput over all cards, Gbit/s.
    pub network_peak_gbps: Option<f64>,
    /// Whether an Elastic Fabric Adapter can be used.
    pub efa_supported: Option<bool>,
    /// Instance store.
    pub local_disks: Option<LocalDisks>,
    /// EBS limits.
    pub ebs: EbsLimits,
    /// Value of `eni-max-pods.txt`.
    pub published_max_pods: Option<u32>,
    /// Whether EC2 sells it as spot.
    pub spot_supported: Option<bool>,
    /// Standard reserved price without upfront payment, one year, us-east-1.
    pub reserved_1y: Option<MoneyRate>,
    /// Standard reserved price without upfront payment, three years, us-east-1.
    pub reserved_3y: Option<MoneyRate>,
    /// Karpenter's published allocatable figures.
    pub karpenter: Option<KarpenterReference>,
    /// Letters of the sources that know the type (see the provenance file).
    pub source_flags: &'static str,
    pub(super) offers: [RegionOffer; REGION_COUNT],
}

/// A machine that EC2 does not know: a node of a trace. It has no interfaces and no price.
pub static FOREIGN_MACHINE: InstanceType = InstanceType {
    name: "node",
    generation: None,
    architecture: Architecture::Amd64,
    cpu_manufacturer: None,
    burstable: None,
    vcpu: None,
    memory: None,
    os_visible_memory: None,
    gpu: None,
    accelerator: None,
    interfaces: None,
    hypervisor: Hypervisor::Unknown,
    bare_metal: None,
    network_performance: None,
    network_gbps: None,
    network_peak_gbps: None,
    efa_supported: None,
    local_disks: None,
    ebs: EbsLimits {
        max_attachments: None,
        limit_type: None,
        baseline_mbps: None,
        max_mbps: None,
        baseline_iops: None,
        max_iops: None,
    },
    published_max_pods: None,
    spot_supported: None,
    reserved_1y: None,
    reserved_3y: None,
    karpenter: None,
    source_flags: "",
    offers: [RegionOffer {
        zone_count: 0,
        on_demand: None,
        basis: super::prices::PriceBasis::List,
        list_2025_04: None,
        spot_savings_percent: None,
        interruption_band: None,
    }; REGION_COUNT],
};

impl InstanceType {
    /// The part before the dot, for example `m5`.
    #[must_use]
    pub fn family(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(family, _)| family)
    }
    /// The part after the dot, for example `large`.
    #[must_use]
    pub fn size(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, size)| size)
    }
    /// The letters before the generation, for example `m` or `im`
    /// (`karpenter.k8s.aws/instance-category`).
    #[must_use]
    pub fn category(&self) -> &'static str {
        let family = self.family();
        let end = family.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(family.len());
        family.get(..end).unwrap_or(family)
    }
    /// Processor capacity, if known.
    #[must_use]
    pub fn cpu(&self) -> Option<MilliCpu> {
        self.vcpu.map(|n| MilliCpu::new(i64::from(n) * 1000))
    }
    /// Number of GPUs; 0 when unknown.
    #[must_use]
    pub fn gpu_count(&self) -> u32 {
        self.gpu.map_or(0, |g| g.count)
    }
    /// What one region offers of this type.
    #[must_use]
    pub fn offer(&self, region: Region) -> &RegionOffer {
        &self.offers[region.index()]
    }
    /// Whether at least one zone of the region has the type.
    #[must_use]
    pub fn is_offered(&self, region: Region) -> bool {
        self.offer(region).zone_count > 0
    }
    /// Zones that have the type. EC2's list says how many; that they are the first ones by letter
    /// is an assumption (letters differ between accounts anyway).
    #[must_use]
    pub fn zones(&self, region: Region) -> &'static [&'static str] {
        let zones = region.zones();
        let count = usize::from(self.offer(region).zone_count).min(zones.len());
        zones.get(..count).unwrap_or(zones)
    }
    /// Price an hour with its basis. Spot is an estimate: on-demand price less the saving
    /// that the Spot Advisor reports, or less the region's median where it has no entry.
    #[must_use]
    pub fn quote(&self, region: Region, capacity: CapacityType) -> Option<PriceQuote> {
        let offer = self.offer(region);
        let (on_demand, basis) = (offer.on_demand?, offer.basis);
        match capacity {
            CapacityType::OnDemand => Some(PriceQuote { rate: on_demand, basis }),
            CapacityType::Spot if self.spot_supported == Some(false) => None,
            CapacityType::Spot => {
                let (percent, basis) = match offer.spot_savings_percent {
                    Some(percent) => (i64::from(percent), PriceBasis::SpotAdvisor),
                    None => (region.median_spot_savings_percent(), PriceBasis::SpotMedian),
                };
                let nanos = i128::from(on_demand.nanos_per_hour()) * i128::from(100 - percent);
                let rate = MoneyRate::from_nanos_per_hour(((nanos + 50) / 100) as i64);
                Some(PriceQuote { rate, basis })
            }
        }
    }
    /// Price an hour, if known. See [`InstanceType::quote`] for what it rests on.
    #[must_use]
    pub fn price(&self, region: Region, capacity: CapacityType) -> Option<MoneyRate> {
        self.quote(region, capacity).map(|q| q.rate)
    }
    /// Share of spot instances reclaimed in a month, as a band, if the Spot Advisor has the type.
    #[must_use]
    pub fn interruption_band(&self, region: Region) -> Option<InterruptionBand> {
        self.offer(region).interruption_band
    }
    /// Volumes that the EBS CSI driver offers: the limit less the root volume, and for shared
    /// limits less the other interfaces (driver: `getVolumesLimit`).
    #[must_use]
    pub fn csi_volume_limit(&self, attached_enis: u32, extra_mappings: u32) -> Option<u32> {
        let limit = self.ebs.max_attachments?.saturating_sub(1).saturating_sub(extra_mappings);
        let shared = self.ebs.limit_type == Some(EbsLimitType::Shared);
        let taken = if shared { attached_enis.saturating_sub(1) } else { 0 };
        Some(limit.saturating_sub(taken).max(1))
    }
}

/// Why a table is not a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A cell that cannot be read.
    #[error("instance table line {line}: column {column} holds `{text}`, not {expected}")]
    Cell {
        /// Line of the file, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The cell.
        text: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// Names out of order, which breaks look-ups.
    #[error("instance table line {line}: `{name}` is not after its predecessor; sort by name")]
    Order {
        /// Line of the file, from 1.
        line: usize,
        /// The name.
        name: String,
    },
}

/// All instance types, sorted by name.
///
/// ```
/// use eks_sim::catalog::{CapacityType, Catalog, Region};
///
/// let catalog = Catalog::embedded();
/// let m5 = catalog.get("m5.large").expect("m5.large is in the catalogue");
/// assert_eq!((m5.vcpu, m5.published_max_pods), (Some(2), Some(29)));
///
/// let virginia: Region = "us-east-1".parse()?;
/// let price = m5.price(virginia, CapacityType::OnDemand).expect("m5.large has a price");
/// assert_eq!(price.to_string(), "$0.0960/h");
///
/// assert_eq!(catalog.get("m5.lrge"), None);
/// assert_eq!(catalog.nearest_names("m5.lrge", 1), ["m5.large"]);
/// # Ok::<(), eks_sim::catalog::UnknownRegion>(())
/// ```
#[derive(Clone, Debug)]
pub struct Catalog {
    types: Vec<InstanceType>,
}

impl Catalog {
    /// The catalogue that ships with the crate, read on first use.
    #[must_use]
    pub fn embedded() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG
            .get_or_init(|| Self::parse(TABLE).expect("the embedded table is read by a unit test"))
    }
    /// Reads a table with the columns of the embedded one.
    ///
    /// # Errors
    /// The first cell that cannot be read, or names out of order.
    pub fn parse(table: &'static str) -> Result<Self, CatalogError> {
        let mut types: Vec<InstanceType> = Vec::with_capacity(table.len() / 256);
        for (index, line) in table.lines().enumerate().skip(1) {
            let row = read_row(line, index + 1)?;
            if types.last().is_some_and(|last| last.name >= row.name) {
                return Err(CatalogError::Order { line: index + 1, name: row.name.to_owned() });
            }
            types.push(row);
        }
        Ok(Self { types })
    }
    /// The type with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&InstanceType> {
        let at = self.types.binary_search_by(|t| t.name.cmp(name)).ok()?;
        self.types.get(at)
    }
    /// Up to `limit` names that look like `name`, most alike first.
    #[must_use]
    pub fn nearest_names(&self, name: &str, limit: usize) -> Vec<&'static str> {
        nearest(name, self.types.iter().map(|t| t.name), limit)
    }
    /// All types, by name.
    pub fn iter(&self) -> core::slice::Iter<'_, InstanceType> {
        self.types.iter()
    }
    /// Number of types.
    #[must_use]
    pub fn len(&self) -> usize {
        self.types.len()
    }
    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }
    /// Column names of the table, in order.
    pub fn column_names() -> impl Iterator<Item = &'static str> {
        TABLE.lines().next().unwrap_or_default().split(',')
    }
}

impl<'a> IntoIterator for &'a Catalog {
    type Item = &'a InstanceType;
    type IntoIter = core::slice::Iter<'a, InstanceType>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
