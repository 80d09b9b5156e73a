//! Instance types as Karpenter labels them.
//!
//! Upstream: karpenter-provider-aws 1d927085 pkg/providers/instancetype/types.go
//! (computeRequirements). Differences: labels that no source of the catalogue has (sustained
//! clock speed, tenancy beyond `default`) are left out.

use crate::catalog::{Accelerators, Hypervisor, InstanceType, Region};
use crate::k8s::StringMap;
use crate::policy::karpenter::requirements::{ARCH, INSTANCE_TYPE, OS, Requirement, Requirements};

/// Prefix of the provider's labels.
const AWS: &str = "karpenter.k8s.aws/instance-";
/// The same in EKS Auto Mode.
const AUTO_MODE: &str = "eks.amazonaws.com/instance-";

/// Labels that a node of the type carries, as requirements; absent ones must be absent.
pub(super) fn requirements(t: &InstanceType, region: Region, auto_mode: bool) -> Requirements {
    let (prefix, other_prefix) = if auto_mode { (AUTO_MODE, AWS) } else { (AWS, AUTO_MODE) };
    let mut out = Requirements::new();
    out.add(INSTANCE_TYPE, Requirement::of([t.name]));
    out.add(ARCH, Requirement::of([t.architecture.as_str()]));
    out.add(OS, Requirement::of(["linux"]));
    out.add("topology.kubernetes.io/region", Requirement::of([region.name()]));
    let compute = if auto_mode { Requirement::of(["auto"]) } else { Requirement::does_not_exist() };
    out.add("eks.amazonaws.com/compute-type", compute);
    let mut label = |key: &str, value: Option<String>| {
        let requirement = value.map_or_else(Requirement::does_not_exist, |v| Requirement::of([v]));
        out.add(&format!("{prefix}{key}"), requirement);
        // Labels of the other kind of Karpenter must be absent.
        out.add(&format!("{other_prefix}{key}"), Requirement::does_not_exist());
    };
    let number = |n: u32| n.to_string();
    label("category", Some(t.category().to_owned()));
    label("family", Some(t.family().to_owned()));
    label("size", Some(t.size().to_owned()));
    label("generation", t.generation.map(number));
    label("cpu", t.vcpu.map(number));
    label("cpu-manufacturer", t.cpu_manufacturer.map(str::to_lowercase));
    label("memory", t.memory.map(|m| (m.raw() >> 20).to_string()));
    let hypervisor = match t.hypervisor {
        Hypervisor::Nitro | Hypervisor::Xen => Some(t.hypervisor.as_str().to_owned()),
        Hypervisor::None | Hypervisor::Unknown => None,
    };
    label("hypervisor", hypervisor);
    label("tenancy", Some("default".to_owned()));
    label("network-bandwidth", t.network_gbps.map(|g| ((g * 1000.0).round() as i64).to_string()));
    label("ebs-bandwidth", t.ebs.max_mbps.map(number));
    label("local-nvme", t.local_disks.filter(|d| d.nvme_gb > 0).map(|d| d.nvme_gb.to_string()));
    label("capability-flex", Some(t.family().contains("-flex").to_string()));
    let gpu = t.gpu.filter(|g| g.count > 0);
    label("gpu-count", gpu.map(|g| number(g.count)));
    label("gpu-name", gpu.map(product));
    label("gpu-manufacturer", gpu.map(|g| maker(g).to_owned()));
    label("gpu-memory", gpu.and_then(|g| g.memory_each).map(|m| (m.raw() >> 20).to_string()));
    let other = t.accelerator.filter(|a| a.count > 0);
    label("accelerator-count", other.map(|a| number(a.count)));
    label("accelerator-name", other.map(product));
    label("accelerator-manufacturer", other.map(|a| maker(a).to_owned()));
    out
}

fn product(device: Accelerators) -> String {
    device.name.to_lowercase().replace(' ', "-")
}

fn maker(device: Accelerators) -> &'static str {
    match device.name {
        name if name.starts_with("radeon") || name.starts_with("Radeon") => "amd",
        name if name.starts_with("HL-") => "habana",
        name if name.starts_with("Inferentia") || name.starts_with("Trainium") => "aws",
        name if name.starts_with("Virtex") => "xilinx",
        name if name.starts_with("Qualcomm") => "qualcomm",
        _ => "nvidia",
    }
}

/// Values that requirements settle, as labels.
pub(super) fn labels(requirements: &Requirements) -> StringMap {
    requirements
        .iter()
        .filter_map(|(key, requirement)| {
            let values = requirement.listed()?;
            let value = values.first().filter(|_| values.len() == 1)?;
            Some((key.clone(), value.clone()))
        })
        .collect()
}
