//! Nodes that are no instances of the account: hybrid nodes and Fargate profiles.

use super::Errors;
use crate::catalog::{Architecture, CapacityType, Region, foreign_machine, kube_reserved_cpu};
use crate::catalog::{Defaults, kube_reserved_memory};
use crate::k8s::{self, ResourceList};
use crate::policy::fargate::{self, COMPUTE_TYPE, PROFILE_LABEL};
use crate::spec::scenario::{
    ClusterSpec, FargateProfileSpec, FargateSelectorSpec, HybridNodesSpec,
};
use crate::units::{Bytes, Dist, Id, MilliCpu, MoneyRate, Quantity, Span};
use crate::world::model::{
    FargateModel, GroupKind, GroupModel, GroupType, Model, ScalingModel, SubnetModel, Template,
};

/// Hours of a month that fees are tiered by.
const MONTH_HOURS: f64 = 730.0;
/// Pods a hybrid node may hold when nothing is said: kubelet's own default.
const HYBRID_PODS: u32 = 110;

/// Machines outside AWS.
pub(super) fn hybrid_nodes(cluster: &ClusterSpec, model: &mut Model, errors: &mut Errors) {
    let vcpus: u64 =
        cluster.hybrid_nodes.iter().map(|h| u64::from(h.vcpu) * u64::from(h.count)).sum();
    let each = hybrid_fee(vcpus as f64, &model.defaults);
    for (i, h) in cluster.hybrid_nodes.iter().enumerate() {
        let path = format!("cluster.hybridNodes[{i}]");
        if let Some(group) = hybrid(h, each, &path, model, errors) {
            add(group, &path, model, errors);
        }
    }
}

fn add(group: GroupModel, path: &str, model: &mut Model, errors: &mut Errors) -> Id<GroupModel> {
    if model.groups.iter().any(|(_, g)| g.name == group.name) {
        errors.error(
            format!("{path}.name"),
            format!("`{}` is the name of another group of nodes", group.name),
            "give each its own name",
        );
    }
    model.groups.push(group)
}

/// The fee of a vCPU an hour when so many run all month: it falls with volume.
fn hybrid_fee(vcpus: f64, d: &Defaults) -> f64 {
    let month = vcpus * MONTH_HOURS;
    if month <= 0.0 {
        return 0.0;
    }
    let tiers = [576_000.0, 576_000.0, 4_608_000.0, 5_760_000.0, f64::INFINITY];
    let (mut left, mut sum) = (month, 0.0);
    for (tier, hours) in tiers.into_iter().enumerate() {
        let part = left.min(hours);
        sum += part * d.f64(&format!("price.hybrid_vcpu_tier{}", tier + 1));
        left -= part;
    }
    sum / month
}

fn hybrid(
    h: &HybridNodesSpec,
    fee: f64,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<GroupModel> {
    let architecture = match h.architecture.as_deref() {
        None | Some("amd64") => Architecture::Amd64,
        Some("arm64") => Architecture::Arm64,
        Some(other) => {
            errors.error(
                format!("{path}.architecture"),
                format!("`{other}` is no architecture of a node"),
                "use amd64 or arm64",
            );
            return None;
        }
    };
    let d = &model.defaults;
    let pods = h.max_pods.unwrap_or(HYBRID_PODS);
    let cpu = MilliCpu::new(i64::from(h.vcpu) * 1000);
    let memory = h.memory.bytes();
    let usable_cpu = cpu - kube_reserved_cpu(cpu, d);
    let usable_memory =
        memory - kube_reserved_memory(pods, d) - d.bytes("kubelet.eviction_hard_memory_available");
    if h.vcpu == 0 || h.vcpu > 1024 || usable_memory <= Bytes::ZERO || h.count > 100_000 {
        errors.error(
            path,
            format!(
                "{} machines of {} vCPU and {} leave nothing for pods",
                h.count, h.vcpu, h.memory
            ),
            "write for example `{name: rack, count: 3, vcpu: 16, memory: 64Gi}`",
        );
        return None;
    }
    let mut labels = base_labels(architecture, &model.region);
    labels.insert(COMPUTE_TYPE.to_owned(), "hybrid".to_owned());
    labels.extend(h.labels.clone());
    let t = GroupType {
        instance_type: foreign_machine(&h.name, h.vcpu, memory, architecture),
        capacity: CapacityType::OnDemand,
        weight: 1,
        rate: MoneyRate::from_usd_per_hour(fee * f64::from(h.vcpu)),
        fee: MoneyRate::ZERO,
        interruption_per_hour: 0.0,
        node: node(
            labels,
            super::node_groups::taints(&h.taints),
            [cpu, usable_cpu],
            [memory, usable_memory],
            pods,
        ),
        startup_taints: Vec::new(),
        allocatable_cpu: usable_cpu,
        allocatable_memory: usable_memory,
        max_pods: pods,
    };
    let subnets: Vec<Id<SubnetModel>> = model.subnets.ids().take(1).collect();
    Some(group(h.name.clone(), GroupKind::Hybrid, vec![t], h.count, subnets))
}

fn group(
    name: String,
    kind: GroupKind,
    types: Vec<GroupType>,
    count: u32,
    subnets: Vec<Id<SubnetModel>>,
) -> GroupModel {
    GroupModel {
        name,
        kind,
        types,
        min: count,
        max: count,
        desired: count,
        subnets,
        boot: Dist::constant(Span::ZERO),
        disk_rate: MoneyRate::ZERO,
        disk_gib: 0,
        scaling: ScalingModel::default(),
    }
}

fn base_labels(architecture: Architecture, region: &str) -> k8s::StringMap {
    [
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture.as_str()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture.as_str()),
        ("topology.kubernetes.io/region", region),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect()
}

fn node(
    labels: k8s::StringMap,
    taints: Vec<k8s::Taint>,
    cpu: [MilliCpu; 2],
    memory: [Bytes; 2],
    pods: u32,
) -> k8s::Node {
    let list = |i: usize| -> ResourceList {
        [
            ("cpu".to_owned(), Quantity::from_milli(cpu[i].raw())),
            ("memory".to_owned(), Quantity::from_bytes(memory[i].raw())),
            ("pods".to_owned(), Quantity::from_units(pods.into())),
            ("ephemeral-storage".to_owned(), Quantity::from_bytes(20 << 30)),
        ]
        .into_iter()
        .collect()
    };
    k8s::Node {
        metadata: k8s::ObjectMeta { labels, ..k8s::ObjectMeta::default() },
        spec: k8s::NodeSpec { taints, ..k8s::NodeSpec::default() },
        status: k8s::NodeStatus {
            capacity: list(0),
            allocatable: list(1),
            ..k8s::NodeStatus::default()
        },
    }
}

/// Fargate profiles, once all pod templates are known.
pub(super) fn fargate_profiles(
    cluster: &ClusterSpec,
    region: Region,
    model: &mut Model,
    errors: &mut Errors,
) {
    let mut profiles: Vec<(usize, &FargateProfileSpec)> =
        cluster.fargate_profiles.iter().enumerate().collect();
    profiles.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    if profiles.is_empty() {
        return;
    }
    let most = model.defaults.i64("quota.fargate_selectors_per_profile");
    let mut ready = Vec::new();
    for (i, profile) in profiles {
        let path = format!("cluster.fargateProfiles[{i}]");
        let count = profile.selectors.len();
        if count == 0 || i64::try_from(count).is_ok_and(|n| n > most) {
            errors.error(
                format!("{path}.selectors"),
                format!("the profile `{}` has {count} selectors", profile.name),
                format!("write one to {most}"),
            );
            continue;
        }
        let Some(subnets) = subnets_of(profile, &path, model, errors) else { continue };
        let name = format!("fargate-{}", profile.name);
        let group = group(name, GroupKind::Fargate, Vec::new(), 0, subnets);
        let id = add(group, &path, model, errors);
        ready.push((profile.name.as_str(), id, profile.selectors.as_slice()));
    }
    let templates: Vec<Id<Template>> = model.templates.ids().collect();
    for id in templates {
        place(id, &ready, region, model, errors);
    }
}

fn subnets_of(
    profile: &FargateProfileSpec,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<Vec<Id<SubnetModel>>> {
    if profile.subnets.is_empty() {
        return Some(model.subnets.ids().collect());
    }
    let mut found = Vec::new();
    for (k, name) in profile.subnets.iter().enumerate() {
        let subnet = model.subnets.iter().find(|(_, s)| s.name == *name).map(|(id, _)| id);
        if subnet.is_none() {
            let names: Vec<&str> = model.subnets.iter().map(|(_, s)| s.name.as_str()).collect();
            errors.error(
                format!("{path}.subnets[{k}]"),
                format!("there is no subnet `{name}`"),
                format!("use one of {}", names.join(", ")),
            );
        }
        found.push(subnet?);
    }
    Some(found)
}

/// Name, micro-VMs and selectors of a profile.
type Profile<'a> = (&'a str, Id<GroupModel>, &'a [FargateSelectorSpec]);

/// Gives a template to the profile that takes its pods.
fn place(
    id: Id<Template>,
    profiles: &[Profile<'_>],
    region: Region,
    model: &mut Model,
    errors: &mut Errors,
) {
    let t = &model.templates[id];
    if t.trace {
        return;
    }
    let labels = &t.object.metadata.labels;
    let named = labels.get(PROFILE_LABEL);
    let takes = |(name, _, selectors): &&Profile<'_>| {
        named.is_none_or(|n| n == name) && selectors.iter().any(|s| s.takes(&t.namespace, labels))
    };
    let Some((_, group, _)) = profiles.iter().find(takes) else { return };
    let group = *group;
    let owner = t.owner.as_ref().map_or_else(String::new, |o| format!("`{}`", o.name));
    if t.daemon {
        errors.warning(
            "cluster.fargateProfiles",
            format!("Fargate runs no pods of DaemonSets: {owner} has none there"),
            "run it as a sidecar, or leave it to the cluster's other nodes",
        );
        return;
    }
    let claims: Vec<&str> = t.claims.iter().filter(|c| c.zonal).map(|c| c.name.as_str()).collect();
    let overhead = model.defaults.bytes("fargate.memory_overhead");
    let size = fargate::size(t.request_cpu, t.request_memory, overhead);
    let refusal = fargate::refusal(&t.object.spec, &claims).or_else(|| {
        size.is_none().then(|| {
            format!(
                "Pod not supported on Fargate: no size holds {}m CPU and {} MiB of memory",
                t.request_cpu.raw(),
                t.request_memory.raw() >> 20
            )
        })
    });
    if let Some(why) = &refusal {
        errors.warning(
            "cluster.fargateProfiles",
            format!("the pods of {owner} stay Pending: {why}"),
            "change the pods, or the selectors of the profile",
        );
    }
    let (cpu, memory) = size.unwrap_or((MilliCpu::new(250), Bytes::from_mib(512)));
    let new = micro_vm(cpu, memory, overhead, region, model);
    let types = &mut model.groups[group].types;
    let known = types.iter().position(|k| k.instance_type.name == new.instance_type.name);
    let type_index = known.unwrap_or_else(|| {
        types.push(new);
        types.len() - 1
    }) as u32;
    model.templates[id].fargate = Some(FargateModel { group, type_index, refusal });
}

fn micro_vm(
    cpu: MilliCpu,
    memory: Bytes,
    overhead: Bytes,
    region: Region,
    model: &Model,
) -> GroupType {
    let d = &model.defaults;
    let (vcpu, gib) = (cpu.raw() as f64 / 1000.0, memory.raw() as f64 / f64::from(1 << 30));
    let ratio = match region.name() {
        "us-east-1" => 1.0,
        other => d.f64(&format!("price_ratio.{}", other.replace('-', "_"))),
    };
    let usd = vcpu * d.f64("price.fargate_vcpu_x86") + gib * d.f64("price.fargate_gb_x86");
    let mut labels = base_labels(Architecture::Amd64, &model.region);
    labels.insert(COMPUTE_TYPE.to_owned(), "fargate".to_owned());
    let taint = k8s::Taint {
        key: COMPUTE_TYPE.to_owned(),
        value: "fargate".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..k8s::Taint::default()
    };
    let name = format!("Fargate {vcpu} vCPU {gib} GB");
    let usable = memory - overhead;
    GroupType {
        instance_type: foreign_machine(&name, 0, memory, Architecture::Amd64),
        capacity: CapacityType::OnDemand,
        weight: 1,
        rate: MoneyRate::from_usd_per_hour(usd * ratio),
        fee: MoneyRate::ZERO,
        interruption_per_hour: 0.0,
        node: node(labels, vec![taint], [cpu, cpu], [memory, usable], 1),
        startup_taints: Vec::new(),
        allocatable_cpu: cpu,
        allocatable_memory: usable,
        max_pods: 1,
    }
}
