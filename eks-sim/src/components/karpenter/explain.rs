//! What Karpenter can say about its decisions.

use super::state::{ClaimId, Ending};
use super::{Claim, Karpenter, Promise};
use crate::policy::karpenter::disruption::offering_filter;
use crate::policy::karpenter::offerings::{CapacityType, cheapest_price};
use crate::policy::karpenter::requirements::{CAPACITY_TYPE, Requirements, ZONE};
use crate::policy::karpenter::solve::constraints::tolerates_all;
use crate::policy::karpenter::solve::{Resources, TypeSet};
use crate::units::{Id, SimTime};
use crate::world::cloud::Instance;
use crate::world::karpenter::NodePoolModel;
use crate::world::{Model, PodId, World};
use std::collections::BTreeSet;

/// Why an instance was bought.
#[derive(Clone, Debug, PartialEq)]
pub struct Purchase {
    /// NodeClaim.
    pub claim: String,
    /// NodePool.
    pub pool: String,
    /// When the NodeClaim was made.
    pub at: SimTime,
    /// Pods it was made for.
    pub pods: usize,
    /// Their requests, and those of the DaemonSets' pods on what was bought.
    pub requests: String,
    /// Instance types left after each step, in order.
    pub narrowed: Vec<(String, usize)>,
    /// The cheapest candidates: type and dollars an hour of the cheapest offering allowed.
    pub cheapest: Vec<(String, f64)>,
    /// Cheaper types of the NodePool that would not do: type, dollars an hour, why not.
    pub ruled_out: Vec<(String, f64, String)>,
    /// What was launched: type, how, zone, dollars an hour.
    pub bought: Option<(String, &'static str, String, f64)>,
    /// Launches that EC2 refused for it: type, zone, error code.
    pub refused: Vec<(String, String, &'static str)>,
}

/// Candidates that an explanation lists.
const SHOWN: usize = 5;

impl Karpenter {
    /// NodeClaims, in order of their creation; those that are gone stay.
    pub fn claims(&self) -> impl Iterator<Item = (ClaimId, &Claim)> {
        self.claims.iter()
    }

    /// What the last scheduling round says of a pod: reason and message of an event.
    #[must_use]
    pub fn promise_of(&self, pod: PodId) -> Option<(&'static str, String)> {
        Some(match self.promised.get(&pod)? {
            Promise::Claim(claim) => {
                let claim = &self.claims[*claim];
                ("Nominated", format!("Pod should schedule on: nodeclaim/{}", claim.name))
            }
            Promise::Node => {
                ("Nominated", "Pod should schedule on a node that is there".to_owned())
            }
            Promise::Nowhere(why) => ("FailedScheduling", format!("Failed to schedule pod, {why}")),
        })
    }

    /// One of the things that happened to a NodeClaim, by number: reason and message.
    #[must_use]
    pub fn news_of(&self, claim: u32, number: u32) -> Option<(&Claim, &'static str, &str)> {
        let claim = self.claims.get(Id::new(claim))?;
        let (reason, message) = claim.notes.get(number as usize)?;
        Some((claim, reason, message))
    }

    /// Whether the NodeClaim of an instance ends because of this.
    #[must_use]
    pub fn ending_of(&self, instance: Id<Instance>) -> Option<Ending> {
        let claim = self.by_instance.get(&instance)?;
        self.claims[*claim].deleting.map(|(_, why)| why)
    }

    /// Why an instance was bought.
    #[must_use]
    pub fn why_bought(
        &self,
        instance: Id<Instance>,
        model: &Model,
        world: &World,
    ) -> Option<Purchase> {
        let claim = &self.claims[*self.by_instance.get(&instance)?];
        let (row, kind, price) = claim.launched?;
        let catalog = &model.karpenter.as_ref()?.catalog;
        let zone = model.zones[world.cloud.instances[instance].zone].clone();
        let filter = offering_filter(&claim.requirements, catalog.zones());
        let cheapest = claim.types.iter().take(SHOWN).map(|&row| {
            let price = cheapest_price(catalog.priced(row), &filter);
            (catalog.types()[row].name.clone(), price.unwrap_or(f64::INFINITY))
        });
        Some(Purchase {
            claim: claim.name.clone(),
            pool: claim.template.name.clone(),
            at: claim.created,
            pods: claim.pods,
            requests: self.amounts(&self.total(claim, row, model)),
            narrowed: self.narrowing(claim, model, world),
            cheapest: cheapest.collect(),
            ruled_out: self.ruled_out(claim, price, kind, model),
            bought: Some((catalog.types()[row].name.clone(), kind.name(), zone, price)),
            refused: refusals(claim, model, world),
        })
    }

    /// Requests of the pods and the DaemonSets on a node of this type.
    fn total(&self, claim: &Claim, row: usize, model: &Model) -> Resources {
        let mut total = claim.requests.clone();
        total.resize(self.catalog.width(), 0);
        let pool: &NodePoolModel = &claim.template;
        let Some(index) = CapacityType::ALL.iter().find_map(|&k| pool.group_type(row, k)) else {
            return total;
        };
        let t = &model.groups[pool.group].types[index as usize];
        let labels = Requirements::from_labels(&t.node.metadata.labels);
        for daemon in &self.daemons {
            let Some(level) = daemon.levels.last() else { continue };
            let runs = tolerates_all(&level.tolerations, &t.node.spec.taints)
                && labels.compatible(&level.requirements, |key| key == ZONE);
            if runs {
                let requests = self.catalog.resources(&daemon.requests).unwrap_or_default();
                total.iter_mut().zip(&requests).for_each(|(a, b)| *a = a.saturating_add(*b));
            }
        }
        total
    }

    /// `cpu 1500m, memory 3.2Gi, pods 7`.
    fn amounts(&self, list: &Resources) -> String {
        let shown = self.columns().filter(|(_, column)| list[*column] > 0);
        let texts = shown.map(|(name, column)| format!("{name} {}", amount(name, list[column])));
        texts.collect::<Vec<_>>().join(", ")
    }

    fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        self.catalog.columns()
    }

    fn narrowing(&self, claim: &Claim, model: &Model, world: &World) -> Vec<(String, usize)> {
        let pool: &NodePoolModel = &claim.template;
        let mut steps = pool.narrowing.clone();
        let Some(rules) = model.karpenter.as_ref() else { return steps };
        let catalog = &rules.catalog;
        let mut left = pool.types.clone();
        for (key, requirement) in claim.requirements.iter() {
            if pool.requirements.stated(key) == Some(requirement) {
                continue;
            }
            let mut one = pool.requirements.clone();
            one.add(key, requirement.clone());
            if key == ZONE || key == CAPACITY_TYPE {
                left.and(&catalog.offered(&one));
            }
            catalog.retain_compatible(&one, &[key.as_str()], &mut left);
            steps.push((format!("asked for by the pods: {key} {requirement}"), left.len()));
        }
        if !claim.avoided.is_empty() {
            let mut offered = TypeSet::none(catalog.types().len());
            left.iter().filter(|&row| self.offered_to(claim, row, model)).for_each(|row| {
                offered.insert(row);
            });
            left = offered;
            let text = "with an offering that EC2 did not refuse in the last three minutes";
            steps.push((text.to_owned(), left.len()));
        }
        let text = "large enough for the pods and the DaemonSets, within the limits";
        steps.push((text.to_owned(), claim.types.len()));
        if let Some(fleet) = claim.fleet.map(|f| &world.cloud.fleets[f]) {
            let sent: BTreeSet<&str> = fleet
                .overrides
                .iter()
                .map(|(t, _)| model.groups[fleet.group].types[*t as usize].instance_type.name)
                .collect();
            let text = "sent to EC2: the cheapest 60, plain types before metal and accelerators";
            steps.push((text.to_owned(), sent.len()));
        }
        steps
    }

    /// Whether some offering of a type was allowed and not avoided when the NodeClaim was made.
    fn offered_to(&self, claim: &Claim, row: usize, model: &Model) -> bool {
        let kind = &self.catalog.types()[row];
        let filter = offering_filter(&claim.requirements, self.catalog.zones());
        kind.offerings.iter().filter(|o| filter.matches(o)).any(|o| {
            !claim.avoided.iter().any(|(name, how, zone)| {
                model.zones[*zone] == o.zone
                    && name.is_none_or(|n| n == kind.name && *how == o.capacity_type)
            })
        })
    }

    /// Cheaper types of the NodePool, and what each of them lacks.
    fn ruled_out(
        &self,
        claim: &Claim,
        price: f64,
        bought: CapacityType,
        model: &Model,
    ) -> Vec<(String, f64, String)> {
        let filter = offering_filter(&claim.template.requirements, self.catalog.zones());
        let filter = filter.pinned(bought);
        let possible: BTreeSet<usize> = claim.types.iter().copied().collect();
        let mut cheaper: Vec<(f64, usize)> = claim
            .template
            .types
            .iter()
            .filter(|row| !possible.contains(row))
            .filter_map(|row| Some((cheapest_price(self.catalog.priced(row), &filter)?, row)))
            .filter(|(p, _)| *p < price)
            .collect();
        // The nearest in price are those that people wonder about.
        cheaper.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let told = cheaper.into_iter().filter_map(|(price, row)| {
            let why = self.why_not(claim, row, model)?;
            Some((self.catalog.types()[row].name.clone(), price, why))
        });
        told.take(SHOWN).collect()
    }

    fn why_not(&self, claim: &Claim, row: usize, model: &Model) -> Option<String> {
        let own = &self.catalog.types()[row].requirements;
        if let Some(key) = own.conflict(&claim.requirements) {
            return Some(format!("{key} {}", claim.requirements.get(key)));
        }
        if !self.offered_to(claim, row, model) {
            return Some("no offering where the pods may run, or EC2 had none".to_owned());
        }
        let (needs, has) = (self.total(claim, row, model), self.catalog.allocatable(row));
        let short: Vec<String> = self
            .columns()
            .filter(|(_, c)| needs[*c] > has[*c])
            .map(|(name, c)| {
                format!("needs {name} {}, has {}", amount(name, needs[c]), amount(name, has[c]))
            })
            .collect();
        (!short.is_empty()).then(|| short.join("; "))
    }
}

fn refusals(claim: &Claim, model: &Model, world: &World) -> Vec<(String, String, &'static str)> {
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

/// An amount of a resource as people write it.
fn amount(name: &str, value: i64) -> String {
    match name {
        "cpu" => format!("{value}m"),
        "memory" | "ephemeral-storage" => format!("{}Mi", value >> 20),
        _ => value.to_string(),
    }
}
