//! What Karpenter can say about its decisions.

use super::Karpenter;
use super::state::ClaimId;
use crate::k8s::StringMap;
use crate::policy::karpenter::disruption::offering_filter;
use crate::policy::karpenter::offerings::{CapacityType, cheapest_price};
use crate::units::{Id, SimTime};
use crate::world::cloud::Instance;
use crate::world::{Model, Node, PodId};

/// Why an instance was bought.
#[derive(Clone, Debug, PartialEq)]
pub struct Purchase {
    /// NodePool.
    pub pool: String,
    /// When the NodeClaim was made.
    pub at: SimTime,
    /// Pods it was made for.
    pub pods: usize,
    /// Instance types left after each step, in order.
    pub narrowed: Vec<(&'static str, usize)>,
    /// Requirements of the NodeClaim that settle a label.
    pub settled: StringMap,
    /// The cheapest candidates: type and dollars an hour of the cheapest offering allowed.
    pub cheapest: Vec<(String, f64)>,
    /// What was launched: type, how, zone, dollars an hour.
    pub bought: Option<(String, CapacityType, String, f64)>,
    /// Launches that EC2 refused for it: type, zone, error code.
    pub refused: Vec<(String, String, &'static str)>,
}

/// Candidates that an explanation lists.
const SHOWN: usize = 5;

impl Karpenter {
    /// NodeClaims, in order of their creation; those that are gone stay.
    pub fn claims(&self) -> impl Iterator<Item = (ClaimId, &super::Claim)> {
        self.claims.iter()
    }

    /// Why the pod found no place in the last round.
    #[must_use]
    pub fn why_unplaced(&self, pod: PodId) -> Option<&str> {
        self.unplaced.get(&pod).map(String::as_str)
    }

    /// Why the node was not disrupted at the last look, if it is Karpenter's.
    #[must_use]
    pub fn why_kept(&self, node: Id<Node>) -> Option<&str> {
        self.claims[*self.by_node.get(&node)?].kept.as_deref()
    }

    /// Why an instance was bought.
    #[must_use]
    pub fn why_bought(
        &self,
        instance: Id<Instance>,
        model: &Model,
        world: &crate::world::World,
    ) -> Option<Purchase> {
        let (_, claim) = self.claims.iter().find(|(_, c)| c.instance == Some(instance))?;
        let rules = model.karpenter.as_ref()?;
        let pool = &rules.pools[claim.pool];
        let catalog = &rules.catalog;
        let mut matching = pool.types.clone();
        matching.and(&catalog.offered(&claim.requirements));
        let keys: Vec<&str> = claim.requirements.iter().map(|(k, _)| k.as_str()).collect();
        catalog.retain_compatible(&claim.requirements, &keys, &mut matching);
        let filter = offering_filter(&claim.requirements, catalog.zones());
        let cheapest = claim.types.iter().take(SHOWN).map(|&row| {
            let price = cheapest_price(catalog.priced(row), &filter);
            (catalog.types()[row].name.clone(), price.unwrap_or(f64::INFINITY))
        });
        let settled = claim.requirements.iter().filter_map(|(key, r)| {
            let values = r.listed().filter(|v| v.len() == 1)?;
            Some((key.clone(), values.first()?.clone()))
        });
        let zone = model.zones[world.cloud.instances[instance].zone].clone();
        Some(Purchase {
            pool: pool.name.clone(),
            at: claim.created,
            pods: claim.pods,
            narrowed: vec![
                ("types of the NodePool", pool.types.len()),
                ("with the labels, zones and capacity types that the pods allow", matching.len()),
                ("large enough for the pods and the DaemonSets", claim.types.len()),
            ],
            settled: settled.collect(),
            cheapest: cheapest.collect(),
            bought: claim
                .launched
                .map(|(row, kind, price)| (catalog.types()[row].name.clone(), kind, zone, price)),
            refused: self.refusals(claim, model, world),
        })
    }

    fn refusals(
        &self,
        claim: &super::Claim,
        model: &Model,
        world: &crate::world::World,
    ) -> Vec<(String, String, &'static str)> {
        let Some(fleet) = claim.fleet.map(|f| &world.cloud.fleets[f]) else { return Vec::new() };
        let refused = fleet.answer.iter().flat_map(|a| &a.refused);
        refused
            .map(|&(position, why)| {
                let (type_index, subnet) = fleet.overrides[position as usize];
                let t = &model.groups[fleet.group].types[type_index as usize];
                let zone = model.zones[model.subnets[subnet].zone].clone();
                (t.instance_type.name.to_owned(), zone, why.code())
            })
            .collect()
    }
}
