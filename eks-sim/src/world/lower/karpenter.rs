//! NodePools and node classes of the manifests (or of EKS Auto Mode), with the instance types
//! that they allow.

mod class;
mod types;

use super::Errors;
use super::cluster::{monthly_rate, resource_lists};
use crate::catalog::{
    CapacityType as Bought, Catalog as Types, InstanceType, NodeResources, Region,
    karpenter_estimate, node_resources, spot_hazard_per_hour,
};
use crate::k8s::{self, NodePool};
use crate::policy::karpenter::budgets;
use crate::policy::karpenter::disruption::ConsolidationPolicy;
use crate::policy::karpenter::offerings::{CapacityType, Offering};
use crate::policy::karpenter::options::{
    CandidateOrder, MinValuesPolicy, Options, PreferencePolicy,
};
use crate::policy::karpenter::requirements::{
    CAPACITY_TYPE, NODE_POOL, Requirement, Requirements, ZONE, is_well_known,
};
use crate::policy::karpenter::solve::{Catalog, TypeSet};
use crate::spec::Manifests;
use crate::spec::scenario::{ClusterSpec, KarpenterSpec};
use crate::units::{IdVec, MoneyRate, Span};
use crate::world::karpenter::{KarpenterModel, NodePoolModel};
use crate::world::model::{GroupKind, GroupModel, GroupType, Model, ScalingModel};
use class::Class;
use std::sync::Arc;

/// A NodePool on its way into the model.
struct Draft {
    object: NodePool,
    path: String,
    class: Class,
    requirements: Requirements,
    /// Types that it can buy, with Karpenter's guess of the node.
    types: Vec<(&'static InstanceType, NodeResources)>,
}

/// Reads NodePools if something in the cluster acts on them.
pub(super) fn lower(
    cluster: &ClusterSpec,
    region: Region,
    manifests: &Manifests,
    model: &mut Model,
    errors: &mut Errors,
) {
    let auto = cluster.autoscaler.auto_mode.as_ref();
    let Some(options) = options(cluster, model, errors) else { return };
    let mut objects: Vec<(NodePool, String)> = manifests
        .node_pools
        .iter()
        .map(|p| (p.object.clone(), format!("manifests: NodePool/{}", p.object.metadata.name)))
        .collect();
    if let Some(auto) = auto {
        for name in &auto.node_pools {
            objects.extend(built_in(name, model, errors));
        }
    }
    if objects.is_empty() {
        errors.warning(
            "cluster.autoscaler.karpenter",
            "there is no NodePool among the manifests",
            "add one; without it Karpenter launches nothing",
        );
    }
    let overhead = options.vm_memory_overhead_percent;
    let mut drafts: Vec<Draft> = Vec::new();
    for (object, path) in objects {
        let drafted = draft(object, path, region, manifests, overhead, model, errors);
        drafts.extend(drafted);
    }
    let (catalog, rows) = catalog(&drafts, region, model);
    let mut pools = IdVec::new();
    for (draft, rows) in drafts.into_iter().zip(rows) {
        pools.push(pool(draft, &rows, &catalog, region, model, errors));
    }
    model.karpenter = Some(KarpenterModel {
        options,
        catalog: Arc::new(catalog),
        pools,
        auto_mode: auto.is_some(),
    });
}

fn options(cluster: &ClusterSpec, model: &Model, errors: &mut Errors) -> Option<Options> {
    let d = &model.defaults;
    let given = match (&cluster.autoscaler.karpenter, &cluster.autoscaler.auto_mode) {
        (None, None) => return None,
        (Some(given), _) => given.clone(),
        (None, Some(_)) => KarpenterSpec::default(),
    };
    let mut options = Options {
        batch_idle_duration: given
            .batch_idle_duration
            .unwrap_or_else(|| d.span("karpenter.batch_idle_duration")),
        batch_max_duration: given
            .batch_max_duration
            .unwrap_or_else(|| d.span("karpenter.batch_max_duration")),
        vm_memory_overhead_percent: given
            .vm_memory_overhead_percent
            .unwrap_or_else(|| d.f64("karpenter.vm_memory_overhead_percent")),
        interruption_queue: given.interruption_queue || cluster.autoscaler.auto_mode.is_some(),
        candidate_order: order(given.version.as_deref(), errors),
        ..Options::default()
    };
    match given.preference_policy.as_deref() {
        None | Some("Respect") => {}
        Some("Ignore") => options.preference_policy = PreferencePolicy::Ignore,
        Some(other) => errors.error(
            "cluster.autoscaler.karpenter.preferencePolicy",
            format!("`{other}` is not a preference policy"),
            "use Respect or Ignore",
        ),
    }
    match given.min_values_policy.as_deref() {
        None | Some("Strict") => {}
        Some("BestEffort") => options.min_values_policy = MinValuesPolicy::BestEffort,
        Some(other) => errors.error(
            "cluster.autoscaler.karpenter.minValuesPolicy",
            format!("`{other}` is not a policy for minValues"),
            "use Strict or BestEffort",
        ),
    }
    for (name, &on) in &given.feature_gates {
        gate(name, on, &mut options, errors);
    }
    Some(options)
}

fn gate(name: &str, on: bool, options: &mut Options, errors: &mut Errors) {
    let path = format!("cluster.autoscaler.karpenter.featureGates.{name}");
    let gates = &mut options.feature_gates;
    let simulated = match name {
        "SpotToSpotConsolidation" => {
            gates.spot_to_spot_consolidation = on;
            true
        }
        "NodeRepair" => {
            gates.node_repair = on;
            false
        }
        "NodeOverlay" | "StaticCapacity" | "CapacityBuffer" | "ReservedCapacity" => false,
        "NodeClassCEL" => false,
        _ => {
            errors.error(
                path,
                format!("`{name}` is not a feature gate of Karpenter"),
                "use SpotToSpotConsolidation, NodeRepair, NodeOverlay, StaticCapacity, \
                 CapacityBuffer, ReservedCapacity or NodeClassCEL",
            );
            return;
        }
    };
    if !simulated && on && name != "ReservedCapacity" {
        let message = format!("the feature gate {name} has no effect in the simulation yet");
        errors.warning(path, message, "leave it out");
    }
}

/// v1.13 and older sort consolidation candidates by disruption cost.
fn order(version: Option<&str>, errors: &mut Errors) -> CandidateOrder {
    let Some(text) = version else { return CandidateOrder::default() };
    let mut parts = text.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor >= 14 => CandidateOrder::SavingsPerDisruption,
        (Some(Ok(1)), Some(Ok(_))) => CandidateOrder::DisruptionCost,
        _ => {
            errors.error(
                "cluster.autoscaler.karpenter.version",
                format!("`{text}` is not a version of Karpenter that is simulated"),
                "write for example `1.14.0`; 1.0 and later are understood",
            );
            CandidateOrder::default()
        }
    }
}

/// The two NodePools that Auto Mode comes with.
fn built_in(name: &str, model: &Model, errors: &mut Errors) -> Option<(NodePool, String)> {
    let (arch, taint) = match name {
        "general-purpose" => (vec!["amd64"], false),
        "system" => (vec!["amd64", "arm64"], true),
        _ => {
            errors.error(
                "cluster.autoscaler.autoMode.nodePools",
                format!("`{name}` is not a built-in NodePool"),
                "use general-purpose and system",
            );
            return None;
        }
    };
    let d = &model.defaults;
    let list = |key: &str, operator: &str, values: &[&str]| k8s::NodeRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: values.iter().map(|&v| v.to_owned()).collect(),
        min_values: None,
    };
    let least = (d.i64("auto_mode.min_generation") - 1).to_string();
    let mut pool = NodePool::default();
    pool.metadata.name = name.to_owned();
    let spec = &mut pool.spec.template.spec;
    spec.requirements = vec![
        list(CAPACITY_TYPE, "In", &["on-demand"]),
        list("karpenter.k8s.aws/instance-category", "In", &["c", "m", "r"]),
        list("karpenter.k8s.aws/instance-generation", "Gt", &[&least]),
        list("kubernetes.io/arch", "In", &arch),
    ];
    spec.node_class_ref.kind = "NodeClass".to_owned();
    spec.node_class_ref.name = "default".to_owned();
    spec.expire_after = Some(d.span("auto_mode.expire_after").to_string());
    let grace = d.span("auto_mode.termination_grace_period");
    spec.termination_grace_period = Some(grace.to_string());
    if taint {
        spec.taints.push(k8s::Taint {
            key: "CriticalAddonsOnly".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..k8s::Taint::default()
        });
    }
    pool.spec.disruption = Some(k8s::Disruption {
        consolidate_after: Some(d.span("auto_mode.consolidate_after").to_string()),
        budgets: vec![k8s::Budget { nodes: "10%".to_owned(), ..k8s::Budget::default() }],
        ..k8s::Disruption::default()
    });
    Some((pool, format!("EKS Auto Mode: NodePool/{name}")))
}

fn draft(
    object: NodePool,
    path: String,
    region: Region,
    manifests: &Manifests,
    overhead: f64,
    model: &Model,
    errors: &mut Errors,
) -> Option<Draft> {
    let class = class::of_pool(&object, &path, manifests, overhead, model, errors)?;
    let template = &object.spec.template;
    let mut requirements = match Requirements::from_node_pool(&template.spec.requirements) {
        Ok(requirements) => requirements,
        Err(e) => {
            errors.error(path, e.to_string(), "mend the requirement");
            return None;
        }
    };
    requirements.add_all(&Requirements::from_labels(&template.metadata.labels));
    requirements.add(NODE_POOL, Requirement::of([object.metadata.name.clone()]));
    if requirements.stated(CAPACITY_TYPE).is_none() {
        requirements.add(CAPACITY_TYPE, Requirement::of([CapacityType::OnDemand.name()]));
    }
    if object.spec.replicas.is_some() {
        errors.warning(&path, "static capacity (`replicas`) is not simulated", "leave it out");
    }
    let types = usable_types(&class, &requirements, region);
    if types.is_empty() {
        errors.warning(
            &path,
            narrowing(&class, &template.spec.requirements, region),
            "no instance type of the catalogue meets all requirements; loosen one of them",
        );
    }
    Some(Draft { object, path, class, requirements, types })
}

/// Types with a price, a size and labels that go with the requirements.
fn usable_types(
    class: &Class,
    requirements: &Requirements,
    region: Region,
) -> Vec<(&'static InstanceType, NodeResources)> {
    Types::embedded()
        .iter()
        .filter(|t| t.price(region, Bought::OnDemand).is_some())
        .filter(|t| types::requirements(t, region).intersects(requirements))
        .filter_map(|t| {
            let mut settings = class.settings.clone();
            if class.auto_mode {
                settings.max_pods = t.auto_mode_max_pods();
            }
            let guess = karpenter_estimate(t, &settings)?;
            (guess.allocatable.cpu.raw() > 0 && guess.pods > 0).then_some((t, guess))
        })
        .collect()
}

/// How many types each requirement leaves, one after the other.
fn narrowing(class: &Class, list: &[k8s::NodeRequirement], region: Region) -> String {
    let mut text = String::from("no instance type is left");
    for count in 1..=list.len() {
        let Ok(requirements) = Requirements::from_node_pool(&list[..count]) else { break };
        let left = usable_types(class, &requirements, region).len();
        let one = &list[count - 1];
        text.push_str(&format!(
            "; {} {} {} leaves {left}",
            one.key,
            one.operator,
            one.values.join(",")
        ));
        if left == 0 {
            break;
        }
    }
    text
}

/// All types of all classes as one catalogue, and each pool's rows of it.
fn catalog(drafts: &[Draft], region: Region, model: &Model) -> (Catalog, Vec<Vec<usize>>) {
    // Pools of one class share rows; a class is told by its name and kind.
    let mut known: Vec<(&str, bool, &'static str, usize)> = Vec::new();
    let mut all = Vec::new();
    let mut rows = Vec::new();
    for draft in drafts {
        let class = &draft.class;
        let mut own = Vec::new();
        for &(t, guess) in &draft.types {
            let same = |k: &&(&str, bool, &'static str, usize)| {
                k.2 == t.name && k.0 == class.name && k.1 == class.auto_mode
            };
            let row = known.iter().find(same).map(|k| k.3);
            own.push(row.unwrap_or_else(|| {
                known.push((&class.name, class.auto_mode, t.name, all.len()));
                all.push(priced(t, &guess, class, region, model));
                all.len() - 1
            }));
        }
        rows.push(own);
    }
    let mut names: Vec<String> =
        model.templates.iter().flat_map(|(_, t)| requested(&t.object.spec)).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    (Catalog::new(all, &names), rows)
}

/// Resources that exist on nodes of other origin alone must still be countable.
fn requested(spec: &k8s::PodSpec) -> Vec<String> {
    let of = |c: &k8s::Container| c.resources.requests.keys().cloned().collect::<Vec<_>>();
    spec.containers.iter().flat_map(of).collect()
}

fn priced(
    t: &'static InstanceType,
    guess: &NodeResources,
    class: &Class,
    region: Region,
    model: &Model,
) -> crate::policy::karpenter::solve::InstanceType {
    let (capacity, allocatable) = resource_lists(guess, t);
    let mut zones: Vec<&str> =
        class.subnets.iter().map(|&s| model.zones[model.subnets[s].zone].as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    zones.retain(|z| t.zones(region).contains(z));
    let mut offerings = Vec::new();
    for (kind, bought) in
        [(CapacityType::OnDemand, Bought::OnDemand), (CapacityType::Spot, Bought::Spot)]
    {
        let Some(rate) = t.price(region, bought) else { continue };
        offerings.extend(zones.iter().map(|zone| Offering {
            capacity_type: kind,
            zone: (*zone).to_owned(),
            price: rate.usd_per_hour(),
            available: true,
        }));
    }
    crate::policy::karpenter::solve::InstanceType {
        name: t.name.to_owned(),
        requirements: types::requirements(t, region),
        capacity,
        allocatable,
        offerings,
    }
}

fn pool(
    draft: Draft,
    rows: &[usize],
    catalog: &Catalog,
    region: Region,
    model: &mut Model,
    errors: &mut Errors,
) -> NodePoolModel {
    let name = draft.object.metadata.name.clone();
    if model.groups.iter().any(|(_, g)| g.name == name) {
        errors.error(
            &draft.path,
            format!("`{name}` is the name of a node group too"),
            "rename one: results are told apart by that name",
        );
    }
    let (group_types, types, bought) = purchases(&draft, rows, catalog, region, model);
    let Draft { object, class, requirements, .. } = draft;
    let gib_month = model.defaults.money("price.ebs_gp3_gb");
    let group = model.groups.push(GroupModel {
        name: name.clone(),
        kind: GroupKind::NodePool,
        types: group_types,
        min: 0,
        max: 0,
        desired: 0,
        subnets: class.subnets.clone(),
        boot: class.boot,
        disk_rate: monthly_rate(gib_month, f64::from(class.disk_gib)),
        disk_gib: class.disk_gib,
        scaling: ScalingModel::default(),
    });
    let spec = &object.spec;
    let template = &spec.template;
    let disruption = spec.disruption.as_ref();
    let policy = disruption.and_then(|d| d.consolidation_policy.as_deref());
    let after = disruption.and_then(|d| d.consolidate_after.as_deref());
    let grace = template.spec.termination_grace_period.as_deref();
    let mark = template.metadata.annotations.get("karpenter.sh/do-not-disrupt");
    let mut limits = spec.limits.clone();
    let node_limit = limits.remove("nodes").map(crate::units::Quantity::value);
    NodePoolModel {
        name,
        group,
        weight: spec.weight.unwrap_or(0),
        requirements,
        taints: template.spec.taints.clone(),
        limits,
        node_limit,
        expire_after: span_or_never(template.spec.expire_after.as_deref().unwrap_or("720h")),
        termination_grace_period: grace.and_then(span_or_never),
        consolidate_after: span_or_never(after.unwrap_or("0s")),
        policy: ConsolidationPolicy::new(policy).unwrap_or_default(),
        budgets: budgets::of_pool(disruption),
        do_not_disrupt: mark.is_some_and(|v| v == "true"),
        types,
        bought,
        subnets: class.subnets,
    }
}

/// By catalogue row and capacity type: the type of the group.
type BoughtAs = Vec<[Option<u32>; 3]>;

/// Types of the pool's group, and how catalogue rows lead to them.
fn purchases(
    draft: &Draft,
    rows: &[usize],
    catalog: &Catalog,
    region: Region,
    model: &Model,
) -> (Vec<GroupType>, TypeSet, BoughtAs) {
    let Draft { object, class, requirements, types, .. } = draft;
    let mut bought = vec![[None; 3]; catalog.types().len()];
    let mut set = TypeSet::none(catalog.types().len());
    let mut group_types = Vec::new();
    for (&row, (t, _)) in rows.iter().zip(types) {
        set.insert(row);
        for (kind, how) in
            [(CapacityType::OnDemand, Bought::OnDemand), (CapacityType::Spot, Bought::Spot)]
        {
            if !requirements.get(CAPACITY_TYPE).has(kind.name()) {
                continue;
            }
            let built = group_type(t, how, object, class, requirements, region, model);
            if let Some(built) = built {
                bought[row][kind as usize] = u32::try_from(group_types.len()).ok();
                group_types.push(built);
            }
        }
    }
    (group_types, set, bought)
}

fn span_or_never(text: &str) -> Option<Span> {
    if text == "Never" { None } else { text.parse().ok() }
}

fn group_type(
    t: &'static InstanceType,
    how: Bought,
    object: &NodePool,
    class: &Class,
    requirements: &Requirements,
    region: Region,
    model: &Model,
) -> Option<GroupType> {
    let rate = t.price(region, how)?;
    let mut settings = class.settings.clone();
    if class.auto_mode {
        settings.max_pods = t.auto_mode_max_pods();
    }
    let resources = node_resources(t, &settings)?;
    let (capacity, allocatable) = resource_lists(&resources, t);
    let template = &object.spec.template;
    let labels = node_labels(t, how, object, class, requirements, region);
    let hazard = match how {
        Bought::Spot => spot_hazard_per_hour(t.interruption_band(region), &model.defaults),
        Bought::OnDemand => 0.0,
    };
    let fee = if class.auto_mode {
        let share = model.defaults.f64("auto_mode.fee_share");
        let list = t.price(region, Bought::OnDemand).unwrap_or(rate);
        MoneyRate::from_usd_per_hour(list.usd_per_hour() * share)
    } else {
        MoneyRate::ZERO
    };
    Some(GroupType {
        instance_type: t,
        capacity: how,
        rate,
        fee,
        interruption_per_hour: hazard,
        node: k8s::Node {
            metadata: k8s::ObjectMeta {
                labels,
                annotations: template.metadata.annotations.clone(),
                ..k8s::ObjectMeta::default()
            },
            spec: k8s::NodeSpec {
                taints: template.spec.taints.clone(),
                ..k8s::NodeSpec::default()
            },
            status: k8s::NodeStatus { capacity, allocatable, ..k8s::NodeStatus::default() },
        },
        startup_taints: template.spec.startup_taints.clone(),
        allocatable_cpu: resources.allocatable.cpu,
        allocatable_memory: resources.allocatable.memory,
        max_pods: resources.pods,
    })
}

/// Labels of a node, without name and zone.
fn node_labels(
    t: &InstanceType,
    how: Bought,
    object: &NodePool,
    class: &Class,
    requirements: &Requirements,
    region: Region,
) -> k8s::StringMap {
    let template = &object.spec.template;
    let mut labels = types::labels(&types::requirements(t, region));
    labels.extend(
        types::labels(requirements)
            .into_iter()
            .filter(|(key, _)| !is_well_known(key) || key == NODE_POOL),
    );
    labels.extend(template.metadata.labels.clone());
    labels.insert(CAPACITY_TYPE.to_owned(), how.as_str().to_owned());
    labels.insert("karpenter.sh/registered".to_owned(), "true".to_owned());
    labels.remove(ZONE);
    if class.auto_mode {
        labels.insert("eks.amazonaws.com/compute-type".to_owned(), "auto".to_owned());
    } else {
        labels.insert("karpenter.k8s.aws/ec2nodeclass".to_owned(), class.name.clone());
    }
    for (new, old) in [
        ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
        ("kubernetes.io/os", "beta.kubernetes.io/os"),
    ] {
        if let Some(value) = labels.get(new).cloned() {
            labels.insert(old.to_owned(), value);
        }
    }
    labels
}
