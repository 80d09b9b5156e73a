//! NodePools and node classes of the manifests (or of EKS Auto Mode), with the instance types
//! that they allow.

mod auto_mode;
mod changes;
mod class;
mod options;
mod pool;
mod types;

use super::Errors;
use super::cluster::{pod_eni, resource_lists};
use crate::catalog::{
    CapacityType as Bought, Catalog as Types, InstanceType, NodeResources, Region,
    karpenter_estimate,
};
use crate::k8s::{self, NodePool};
use crate::policy::karpenter::offerings::{CapacityType, Offering};
use crate::policy::karpenter::requirements::{CAPACITY_TYPE, NODE_POOL, Requirement, Requirements};
use crate::policy::karpenter::solve::Catalog;
use crate::spec::Manifests;
use crate::spec::scenario::Scenario;
use crate::spec::source::SourceSpan;
use crate::units::{Id, IdVec, Span};
use crate::world::karpenter::{KarpenterModel, NodePoolModel, PoolUpdate};
use crate::world::model::Model;
pub(super) use changes::is_about_nodes;
use class::Class;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a NodePool was written.
#[derive(Clone, Debug, Default)]
struct Place {
    /// For people.
    path: String,
    span: Option<SourceSpan>,
    /// By requirement.
    requirements: Vec<SourceSpan>,
}

/// A NodePool on its way into the model.
struct Draft {
    object: NodePool,
    place: Place,
    class: Class,
    requirements: Requirements,
    /// Types that it can buy, with Karpenter's guess of the node.
    types: Vec<(&'static InstanceType, NodeResources)>,
    /// Types left after each requirement.
    narrowing: Vec<(String, usize)>,
    /// Auto Mode ends nodes after this time at the latest.
    longest_life: Option<Span>,
}

impl Draft {
    /// `expireAfter`, within what Auto Mode allows.
    fn life(&self) -> Option<Span> {
        let text = self.object.spec.template.spec.expire_after.as_deref();
        let own = pool::span_or_never(text.unwrap_or("720h"));
        match (own, self.longest_life) {
            (Some(own), Some(longest)) => Some(own.min(longest)),
            (own, longest) => own.or(longest),
        }
    }
}

/// What all drafts read.
struct Given<'a> {
    manifests: &'a Manifests,
    region: Region,
    /// Share of memory that the hypervisor keeps.
    overhead: f64,
    auto_mode: bool,
    static_capacity: bool,
}

/// Reads NodePools if something in the cluster acts on them.
pub(super) fn lower(
    scenario: &Scenario,
    region: Region,
    manifests: &Manifests,
    model: &mut Model,
    errors: &mut Errors,
) {
    let cluster = &scenario.spec.cluster;
    let auto = cluster.autoscaler.auto_mode.as_ref();
    let Some(options) = options::options(cluster, model, errors) else {
        changes::refuse(scenario, errors);
        return;
    };
    let mut objects: Vec<(NodePool, Place)> = manifests
        .node_pools
        .iter()
        .map(|p| {
            let path = format!("manifests: NodePool/{}", p.object.metadata.name);
            let mark = |i: usize| p.at(&format!("spec.template.spec.requirements.{i}"));
            let count = p.object.spec.template.spec.requirements.len();
            let requirements = (0..count).map(mark).collect();
            (p.object.clone(), Place { path, span: Some(p.span), requirements })
        })
        .collect();
    if let Some(auto) = auto {
        for name in &auto.node_pools {
            objects.extend(auto_mode::built_in(name, model, errors));
        }
    }
    if objects.is_empty() {
        errors.warning(
            "cluster.autoscaler.karpenter",
            "there is no NodePool among the manifests",
            "add one; without it Karpenter launches nothing",
        );
    }
    let given = Given {
        manifests,
        region,
        overhead: options.vm_memory_overhead_percent,
        auto_mode: auto.is_some(),
        static_capacity: options.feature_gates.static_capacity,
    };
    let mut drafts: Vec<Draft> = Vec::new();
    for (object, place) in objects {
        let classes = changes::classes(manifests);
        drafts.extend(draft(object, place, &classes, &given, model, errors));
    }
    let later = changes::lower(scenario, &drafts, &given, model, errors);
    let all: Vec<&Draft> = drafts.iter().chain(later.iter().map(|l| &l.draft)).collect();
    let (catalog, rows) = catalog(&all, region, model);
    let mut pools: IdVec<NodePoolModel, Arc<NodePoolModel>> = IdVec::new();
    for (draft, rows) in drafts.iter().zip(&rows) {
        pools.push(Arc::new(pool::first(draft, rows, &catalog, region, model, errors)));
    }
    let mut updates = Vec::with_capacity(later.len());
    for (update, rows) in later.iter().zip(&rows[drafts.len()..]) {
        let id = Id::new(update.pool as u32);
        let built = pool::build(&update.draft, rows, &catalog, region, pools[id].group, model);
        updates.push(PoolUpdate { step: update.step, pool: id, model: Arc::new(built) });
    }
    model.karpenter = Some(KarpenterModel {
        options,
        catalog: Arc::new(catalog),
        pools,
        updates,
        auto_mode: auto.is_some(),
    });
}

fn draft(
    object: NodePool,
    place: Place,
    classes: &[class::Source],
    given: &Given<'_>,
    model: &Model,
    errors: &mut Errors,
) -> Option<Draft> {
    let class = class::of_pool(&object, &place, classes, given, model, errors)?;
    let template = &object.spec.template;
    let mut requirements = Requirements::new();
    for (i, one) in template.spec.requirements.iter().enumerate() {
        match Requirements::from_node_pool(core::slice::from_ref(one)) {
            Ok(read) => requirements.add_all(&read),
            Err(e) => {
                let at = place.requirements.get(i).copied().or(place.span);
                errors.place(at).error(&place.path, e.to_string(), "mend the requirement");
                return None;
            }
        }
    }
    requirements.add_all(&Requirements::from_labels(&template.metadata.labels));
    requirements.add(NODE_POOL, Requirement::of([object.metadata.name.clone()]));
    if requirements.stated(CAPACITY_TYPE).is_none() {
        requirements.add(CAPACITY_TYPE, Requirement::of([CapacityType::OnDemand.name()]));
    }
    if object.spec.replicas.is_some() && !given.static_capacity {
        errors.place(place.span).warning(
            &place.path,
            "`replicas` needs the feature gate StaticCapacity; the NodePool is left out",
            "set cluster.autoscaler.karpenter.featureGates.StaticCapacity to true",
        );
        return None;
    }
    let list = &template.spec.requirements;
    let (types, narrowing) = usable_types(&class, list, &requirements, given.region);
    if types.is_empty() {
        nothing_left(&narrowing, &place, errors);
    }
    offered(&class, &requirements, &types, &place, given.region, model, errors);
    let longest_life = class.auto_mode.then(|| model.defaults.span("auto_mode.max_node_lifetime"));
    Some(Draft { object, place, class, requirements, types, narrowing, longest_life })
}

/// The requirement after which no instance type was left, at its place.
fn nothing_left(narrowing: &[(String, usize)], place: &Place, errors: &mut Errors) {
    let last = narrowing.iter().position(|(_, left)| *left == 0);
    let upto = last.map_or(narrowing.len(), |at| at + 1);
    let told: Vec<String> =
        narrowing[..upto].iter().map(|(text, left)| format!("{text} leaves {left}")).collect();
    // The first step is the catalogue itself.
    let at = last.and_then(|at| place.requirements.get(at.checked_sub(1)?)).copied();
    errors.place(at.or(place.span)).warning(
        &place.path,
        format!("no instance type is left: {}", told.join("; ")),
        "no instance type of the catalogue meets all requirements; loosen one of them",
    );
}

/// Whether the types that are left can be bought in the zones and ways that are asked for.
fn offered(
    class: &Class,
    requirements: &Requirements,
    types: &[(&'static InstanceType, NodeResources)],
    place: &Place,
    region: Region,
    model: &Model,
    errors: &mut Errors,
) {
    let zones = class.zones(model);
    let zone = requirements.get(crate::policy::karpenter::requirements::ZONE);
    let within: Vec<&str> = zones.iter().copied().filter(|z| zone.has(z)).collect();
    if within.is_empty() {
        errors.place(place.span).warning(
            &place.path,
            format!(
                "no subnet of the node class lies in a zone of the requirements ({zone}); it has {}",
                zones.join(", ")
            ),
            "allow one of these zones, or add a subnet",
        );
        return;
    }
    let capacity = requirements.get(CAPACITY_TYPE);
    let sold = |t: &InstanceType| {
        let kinds = [Bought::OnDemand, Bought::Spot];
        t.zones(region).iter().any(|z| within.contains(z))
            && kinds.iter().any(|&k| capacity.has(k.as_str()) && t.price(region, k).is_some())
    };
    if !types.is_empty() && !types.iter().any(|(t, _)| sold(t)) {
        errors.place(place.span).warning(
            &place.path,
            format!(
                "none of the {} instance types is sold as {capacity} in {}",
                types.len(),
                within.join(", ")
            ),
            "allow another capacity type or zone",
        );
    }
}

/// Types with a price and a size that meet the list and then all of the requirements, and how
/// many each step leaves.
fn usable_types(
    class: &Class,
    list: &[k8s::NodeRequirement],
    all: &Requirements,
    region: Region,
) -> (Vec<(&'static InstanceType, NodeResources)>, Vec<(String, usize)>) {
    let mut types: Vec<(&'static InstanceType, NodeResources, Requirements)> = Types::embedded()
        .iter()
        .filter(|t| t.price(region, Bought::OnDemand).is_some())
        .filter_map(|t| {
            let guess = karpenter_estimate(t, &class.settings_for(t))?;
            let fits = guess.allocatable.cpu.raw() > 0 && guess.pods > 0;
            fits.then(|| (t, guess, types::requirements(t, region, class.auto_mode)))
        })
        .collect();
    let mut narrowing = vec![(format!("instance types sold in {}", region.name()), types.len())];
    for one in list {
        if let Ok(requirement) = Requirements::from_node_pool(core::slice::from_ref(one)) {
            types.retain(|(_, _, own)| own.intersects(&requirement));
        }
        let values = one.values.join(",");
        let text = format!("{} {} {values}", one.key, one.operator);
        narrowing.push((text.trim_end().to_owned(), types.len()));
    }
    types.retain(|(_, _, own)| own.intersects(all));
    (types.into_iter().map(|(t, guess, _)| (t, guess)).collect(), narrowing)
}

/// All types of all classes as one catalogue, and each pool's rows of it.
fn catalog(drafts: &[&Draft], region: Region, model: &Model) -> (Catalog, Vec<Vec<usize>>) {
    // Pools of one class share rows; a class is told by its name, kind and version.
    let mut known: BTreeMap<(&str, bool, u32, &'static str), usize> = BTreeMap::new();
    let mut all = Vec::new();
    let mut rows = Vec::new();
    for draft in drafts {
        let class = &draft.class;
        let mut own = Vec::new();
        for &(t, guess) in &draft.types {
            let id = (class.name.as_str(), class.auto_mode, class.version, t.name);
            let row = *known.entry(id).or_insert_with(|| {
                all.push(priced(t, &guess, class, region, model));
                all.len() - 1
            });
            own.push(row);
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
    let (capacity, allocatable) = resource_lists(guess, t, pod_eni(t, model));
    let mut zones = class.zones(model);
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
        requirements: types::requirements(t, region, class.auto_mode),
        capacity,
        allocatable,
        offerings,
    }
}
