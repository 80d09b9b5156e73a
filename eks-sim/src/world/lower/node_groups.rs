//! What a node group's fields mean: kind, purchase options, image, rules of its Auto Scaling group.

use super::Errors;
use crate::catalog::{AmiFamily, CapacityType, InstanceType, NodeSettings, Region};
use crate::k8s;
use crate::spec::scenario::{MixedInstancesSpec, NodeGroupSpec, TaintSpec};
use crate::units::MoneyRate;
use crate::world::model::{
    Allocation, GroupKind, MaxUnavailable, Model, ScalingModel, UpdateModel,
};

pub(super) fn kind(g: &NodeGroupSpec, path: &str, errors: &mut Errors) -> Option<GroupKind> {
    match g.kind.as_str() {
        "managed" => Some(GroupKind::Managed),
        "self-managed" => Some(GroupKind::SelfManaged),
        other => {
            errors.error(
                format!("{path}.kind"),
                format!("`{other}` is no kind of node group"),
                "use managed or self-managed; machines outside AWS are `cluster.hybridNodes`",
            );
            None
        }
    }
}

/// How the group buys: one way, or both with a mixed instances policy.
pub(super) fn capacities(
    g: &NodeGroupSpec,
    path: &str,
    errors: &mut Errors,
) -> Option<Vec<CapacityType>> {
    if g.mixed_instances.is_none() && !["ON_DEMAND", "SPOT"].contains(&g.capacity_type.as_str()) {
        errors.error(
            format!("{path}.capacityType"),
            format!("`{}` is not a capacity type", g.capacity_type),
            "use ON_DEMAND or SPOT",
        );
        return None;
    }
    Some(crate::spec::selection::capacities(g))
}

/// The image and the constant of its boot time.
pub(super) fn image(
    g: &NodeGroupSpec,
    path: &str,
    errors: &mut Errors,
) -> Option<(AmiFamily, &'static str)> {
    match g.ami_family.as_str() {
        "AL2023" => Some((AmiFamily::AL2023, "boot.al2023")),
        "AL2" => Some((AmiFamily::AL2, "boot.al2")),
        "BOTTLEROCKET" | "Bottlerocket" => Some((AmiFamily::Bottlerocket, "boot.bottlerocket")),
        "WINDOWS" => Some((AmiFamily::Windows, "boot.windows")),
        "WINDOWS_TUNED" => Some((AmiFamily::Windows, "boot.windows_tuned")),
        other => {
            errors.error(
                format!("{path}.amiFamily"),
                format!("`{other}` is not an AMI family that is simulated"),
                "use AL2023, BOTTLEROCKET, AL2, WINDOWS or WINDOWS_TUNED",
            );
            None
        }
    }
}

pub(super) fn taints(list: &[TaintSpec]) -> Vec<k8s::Taint> {
    let taint = |t: &TaintSpec| k8s::Taint {
        key: t.key.clone(),
        value: t.value.clone(),
        effect: t.effect.clone(),
        time_added: None,
    };
    list.iter().map(taint).collect()
}

/// A Windows node has one interface for pods, and its licence is paid by vCPU.
pub(super) fn windows(
    g: &NodeGroupSpec,
    instance: &InstanceType,
    settings: &mut NodeSettings,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<MoneyRate> {
    if instance.architecture != crate::catalog::Architecture::Amd64 {
        errors.error(
            path,
            format!("`{}` has an Arm processor: Windows does not run on it", instance.name),
            "choose a type with an x86 processor",
        );
        return None;
    }
    let addresses = instance.interfaces.map(|i| i.ipv4_per_eni.saturating_sub(1));
    settings.max_pods = g.max_pods.or(addresses);
    let vcpu = f64::from(instance.vcpu.unwrap_or(0));
    let each = model.defaults.f64("price.windows_licence_vcpu");
    Some(MoneyRate::from_usd_per_hour(each * vcpu))
}

/// Labels that the kubelet and EKS put on a node.
pub(super) fn labels(
    g: &NodeGroupSpec,
    instance: &InstanceType,
    capacity: CapacityType,
    ami: AmiFamily,
    region: Region,
) -> k8s::StringMap {
    let arch = instance.architecture.as_str();
    let os = if ami == AmiFamily::Windows { "windows" } else { "linux" };
    let mut labels: k8s::StringMap = [
        ("kubernetes.io/os", os),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", os),
        ("beta.kubernetes.io/arch", arch),
        ("node.kubernetes.io/instance-type", instance.name),
        ("beta.kubernetes.io/instance-type", instance.name),
        ("topology.kubernetes.io/region", region.name()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect();
    if g.kind == "managed" {
        let way = if capacity == CapacityType::Spot { "SPOT" } else { "ON_DEMAND" };
        labels.insert("eks.amazonaws.com/nodegroup".to_owned(), g.name.clone());
        labels.insert("eks.amazonaws.com/capacityType".to_owned(), way.to_owned());
    }
    if ami == AmiFamily::Windows {
        let build = "10.0.20348".to_owned();
        labels.insert("node.kubernetes.io/windows-build".to_owned(), build);
    }
    labels.extend(g.labels.clone());
    labels
}

/// The rules of the group's Auto Scaling group.
pub(super) fn scaling(
    g: &NodeGroupSpec,
    kind: GroupKind,
    path: &str,
    errors: &mut Errors,
) -> Option<ScalingModel> {
    let managed = kind == GroupKind::Managed;
    if managed && g.mixed_instances.is_some() {
        errors.error(
            format!("{path}.mixedInstances"),
            "a managed node group has no mixed instances policy of its own",
            "use `kind: self-managed`, or one group for each `capacityType`",
        );
        return None;
    }
    if managed && (g.capacity_rebalance.is_some() || g.node_termination_handler) {
        errors.warning(
            path,
            "EKS drains and replaces the spot nodes of a managed group by itself",
            "remove `capacityRebalance` and `nodeTerminationHandler`; they are ignored",
        );
    }
    if !managed && g.update_config != Default::default() {
        errors.warning(
            format!("{path}.updateConfig"),
            "EKS does not update self-managed groups",
            "remove it, or use `kind: managed`; it is ignored",
        );
    }
    let mixed = g.mixed_instances.clone().unwrap_or_default();
    let by_attributes = mixed.overrides.iter().any(|o| o.instance_requirements.is_some());
    let prioritized = |strategy: &str| strategy.ends_with("prioritized");
    if by_attributes
        && (prioritized(&mixed.on_demand_allocation_strategy)
            || prioritized(&mixed.spot_allocation_strategy))
    {
        errors.error(
            format!("{path}.mixedInstances"),
            "types that are chosen by their attributes have no order of priority",
            "use lowest-price, capacity-optimized or price-capacity-optimized",
        );
        return None;
    }
    let (on_demand, spot) = match &g.mixed_instances {
        None if managed => (Allocation::Prioritized, Allocation::PriceCapacityOptimized),
        None => (Allocation::Prioritized, Allocation::LowestPrice),
        Some(m) => (on_demand_strategy(m, path, errors)?, spot_strategy(m, path, errors)?),
    };
    if mixed.on_demand_percentage_above_base_capacity > 100 {
        errors.error(
            format!("{path}.mixedInstances.onDemandPercentageAboveBaseCapacity"),
            format!("{} percent", mixed.on_demand_percentage_above_base_capacity),
            "write a number from 0 to 100",
        );
        return None;
    }
    Some(ScalingModel {
        on_demand,
        spot,
        spot_pools: mixed.spot_instance_pools.max(1),
        on_demand_share: (
            mixed.on_demand_base_capacity,
            mixed.on_demand_percentage_above_base_capacity,
        ),
        rebalance: managed || g.capacity_rebalance.unwrap_or(false),
        drains: managed || g.node_termination_handler,
        update: update(g, path, errors)?,
        warm: warm_pool(g, path, errors)?,
        least: mixed.overrides.iter().find_map(|o| {
            let wanted = o.instance_requirements.as_ref()?;
            let mib = i64::from(wanted.memory_mib.min.unwrap_or(0));
            Some((wanted.v_cpu_count.min.unwrap_or(0), mib << 20))
        }),
        tags: (!managed).then(|| g.tags.clone().into_iter().collect()),
    })
}

fn on_demand_strategy(
    m: &MixedInstancesSpec,
    path: &str,
    errors: &mut Errors,
) -> Option<Allocation> {
    match m.on_demand_allocation_strategy.as_str() {
        "lowest-price" => Some(Allocation::LowestPrice),
        "prioritized" => Some(Allocation::Prioritized),
        other => {
            errors.error(
                format!("{path}.mixedInstances.onDemandAllocationStrategy"),
                format!("`{other}` is no strategy for on-demand instances"),
                "use lowest-price or prioritized",
            );
            None
        }
    }
}

fn spot_strategy(m: &MixedInstancesSpec, path: &str, errors: &mut Errors) -> Option<Allocation> {
    match m.spot_allocation_strategy.as_str() {
        "lowest-price" => Some(Allocation::LowestPrice),
        "capacity-optimized" => Some(Allocation::CapacityOptimized),
        "capacity-optimized-prioritized" => Some(Allocation::CapacityOptimizedPrioritized),
        "price-capacity-optimized" => Some(Allocation::PriceCapacityOptimized),
        other => {
            errors.error(
                format!("{path}.mixedInstances.spotAllocationStrategy"),
                format!("`{other}` is no strategy for spot instances"),
                "use price-capacity-optimized, capacity-optimized, \
                 capacity-optimized-prioritized or lowest-price",
            );
            None
        }
    }
}

fn update(g: &NodeGroupSpec, path: &str, errors: &mut Errors) -> Option<UpdateModel> {
    let u = &g.update_config;
    let max_unavailable = match (u.max_unavailable, u.max_unavailable_percentage) {
        (None, None) => MaxUnavailable::Nodes(1),
        (Some(n), None) if (1..=100).contains(&n) => MaxUnavailable::Nodes(n),
        (None, Some(p)) if (1..=100).contains(&p) => MaxUnavailable::Percent(p),
        (Some(_), Some(_)) => {
            errors.error(
                format!("{path}.updateConfig"),
                "`maxUnavailable` and `maxUnavailablePercentage` exclude each other",
                "keep one of them",
            );
            return None;
        }
        _ => {
            errors.error(
                format!("{path}.updateConfig"),
                "the number of nodes replaced at a time is out of range",
                "write a number from 1 to 100",
            );
            return None;
        }
    };
    let minimal = match u.update_strategy.as_deref() {
        None | Some("DEFAULT") => false,
        Some("MINIMAL") => true,
        Some(other) => {
            errors.error(
                format!("{path}.updateConfig.updateStrategy"),
                format!("`{other}` is no strategy of an update"),
                "use DEFAULT or MINIMAL",
            );
            return None;
        }
    };
    Some(UpdateModel { max_unavailable, minimal })
}

fn warm_pool(g: &NodeGroupSpec, path: &str, errors: &mut Errors) -> Option<Option<(u32, bool)>> {
    let Some(pool) = &g.warm_pool else { return Some(None) };
    if g.capacity_type == "SPOT" || g.mixed_instances.is_some() {
        errors.error(
            format!("{path}.warmPool"),
            "a group with spot instances or a mixed instances policy has no warm pool",
            "use `capacityType: ON_DEMAND`, or remove the warm pool",
        );
        return None;
    }
    match pool.pool_state.as_str() {
        "Stopped" => Some(Some((pool.min_size, false))),
        "Running" => Some(Some((pool.min_size, true))),
        other => {
            errors.error(
                format!("{path}.warmPool.poolState"),
                format!("`{other}` is no state of a warm pool that is simulated"),
                "use Stopped or Running",
            );
            None
        }
    }
}
