//! NodePools in the model, and the types of their groups.

use super::super::Errors;
use super::super::cluster::{monthly_rate, pod_eni, resource_lists};
use super::class::Class;
use super::{Draft, types};
use crate::catalog::{
    CapacityType as Bought, InstanceType, Region, node_resources, spot_hazard_per_hour,
};
use crate::k8s::{self, NodePool};
use crate::policy::karpenter::budgets;
use crate::policy::karpenter::disruption::ConsolidationPolicy;
use crate::policy::karpenter::offerings::CapacityType;
use crate::policy::karpenter::requirements::{
    CAPACITY_TYPE, NODE_POOL, Requirements, ZONE, is_well_known,
};
use crate::policy::karpenter::solve::{Catalog, TypeSet};
use crate::units::{Id, MoneyRate, Span, key};
use crate::world::karpenter::{Image, NodePoolModel};
use crate::world::model::{GroupKind, GroupModel, GroupType, Model, ScalingModel};

/// A NodePool of the start, with the group of its instances.
pub(super) fn first(
    draft: &Draft,
    rows: &[usize],
    catalog: &Catalog,
    region: Region,
    model: &mut Model,
    errors: &mut Errors,
) -> NodePoolModel {
    let mut name = draft.object.metadata.name.clone();
    if model.groups.iter().any(|(_, g)| g.name == name) {
        // Results and draws are told apart by the name.
        let other = format!("nodepool-{name}");
        errors.place(draft.place.span).warning(
            &draft.place.path,
            format!(
                "`{name}` is the name of a node group too: results call the NodePool `{other}`"
            ),
            "rename the node group in cluster.nodeGroups",
        );
        name = other;
    }
    let class = &draft.class;
    let gib_month = model.defaults.money("price.ebs_gp3_gb");
    let group = model.groups.push(GroupModel {
        name,
        kind: GroupKind::NodePool,
        types: Vec::new(),
        min: 0,
        max: 0,
        desired: 0,
        subnets: class.subnets.clone(),
        boot: class.boot.clone(),
        disk_rate: monthly_rate(gib_month, f64::from(class.disk_gib)),
        disk_gib: class.disk_gib,
        scaling: ScalingModel::default(),
    });
    build(draft, rows, catalog, region, group, model)
}

/// A NodePool whose types join those that its group has already.
pub(super) fn build(
    draft: &Draft,
    rows: &[usize],
    catalog: &Catalog,
    region: Region,
    group: Id<GroupModel>,
    model: &mut Model,
) -> NodePoolModel {
    let first = model.groups[group].types.len();
    let (group_types, types, bought) = purchases(draft, rows, catalog, region, first, model);
    model.groups[group].types.extend(group_types);
    let Draft { object, class, requirements, .. } = draft;
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
        name: object.metadata.name.clone(),
        group,
        weight: spec.weight.unwrap_or(0),
        requirements: requirements.clone(),
        taints: template.spec.taints.clone(),
        limits,
        node_limit,
        expire_after: draft.life(),
        termination_grace_period: grace.and_then(span_or_never),
        consolidate_after: span_or_never(after.unwrap_or("0s")),
        policy: ConsolidationPolicy::new(policy).unwrap_or_default(),
        budgets: budgets::of_pool(disruption),
        do_not_disrupt: mark.is_some_and(|v| v == "true"),
        types,
        bought,
        subnets: class.subnets.clone(),
        replicas: spec.replicas.map(|n| u32::try_from(n).unwrap_or(0)),
        template_hash: template_hash(object),
        class_hash: class.hash,
        image: Image { selector: class.image.clone(), latest_of: class.latest_of.clone() },
        narrowing: draft.narrowing.clone(),
    }
}

/// All of the template except the requirements, which drift by what they mean.
fn template_hash(object: &NodePool) -> u64 {
    let mut template = object.spec.template.clone();
    template.spec.requirements.clear();
    key::key_str(&serde_json::to_string(&template).unwrap_or_default())
}

/// By catalogue row and capacity type: the type of the group.
type BoughtAs = Vec<[Option<u32>; 3]>;

/// Types of the pool's group, and how catalogue rows lead to them.
fn purchases(
    draft: &Draft,
    rows: &[usize],
    catalog: &Catalog,
    region: Region,
    first: usize,
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
                bought[row][kind as usize] = u32::try_from(first + group_types.len()).ok();
                group_types.push(built);
            }
        }
    }
    (group_types, set, bought)
}

/// A duration, or `Never`.
pub(super) fn span_or_never(text: &str) -> Option<Span> {
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
    let resources = node_resources(t, &class.settings_for(t))?;
    let (capacity, allocatable) = resource_lists(&resources, t, pod_eni(t, model));
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
        weight: 1,
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
    let mut labels = types::labels(&types::requirements(t, region, class.auto_mode));
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
