//! The catalogue: EC2 instance types with limits and prices, constants of AWS and Kubernetes, the
//! simulator's own parameters, and the arithmetic from an instance type to a node.
//!
//! Everything is embedded in the binary, read on first use, and carries its source
//! ([`Constant::source`], [`column_provenance`]). Figures that no source has are `None`.

mod constants;
mod defaults;
mod eks;
mod foreign;
mod instance_table;
mod instance_types;
mod max_pods;
mod nearest;
mod node;
mod prices;
mod provenance;
mod query;
mod regions;

pub use constants::{Constant, ConstantError, ConstantValue, Constants, Status, constants};
pub use defaults::{Defaults, OverrideError, Overrides};
pub use eks::{EksVersion, FargateSize, eks_version, eks_versions, fargate_fit, fargate_sizes};
pub use foreign::foreign_machine;
pub use instance_types::{
    Accelerators, Architecture, Catalog, CatalogError, EbsLimitType, EbsLimits, FOREIGN_MACHINE,
    Hypervisor, InstanceType, InterfaceLimits, KarpenterReference, LocalDisks,
};
pub use max_pods::{MaxPodsRule, PodNetwork, max_pods};
pub use nearest::nearest;
pub use node::{
    AmiFamily, NodeAmounts, NodeResources, NodeSettings, Reserved, Threshold, extended_resources,
    karpenter_estimate, kube_reserved_cpu, kube_reserved_memory, node_resources, whole_gib,
};
pub use prices::{
    CapacityType, InterruptionBand, PriceBasis, PriceQuote, RegionOffer, UnknownCapacityType,
    hazard_from_monthly, spot_hazard_per_hour,
};
pub use provenance::{ColumnProvenance, column_provenance};
pub use query::{Query, QueryError, SortKey};
pub use regions::{Region, UnknownRegion};

#[cfg(test)]
mod tests;
