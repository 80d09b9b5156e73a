//! Interned requirement sets of NodeClaims with the instance types they leave.

use super::super::disruption::offering_filter;
use super::super::offerings::{OfferingFilter, cheapest_price, worst_launch_price};
use super::super::options::MinValuesPolicy;
use super::super::requirements::{CAPACITY_TYPE, Requirement, Requirements, ZONE, is_well_known};
use super::catalog::{Catalog, Resources, TypeSet};
use super::constraints::{Constraints, PodClass, tolerates_all};
use super::{Input, Misfit};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A requirement set of a NodePool's NodeClaims.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) pool: usize,
    pub(super) requirements: Requirements,
    /// Types that match and have an offering.
    pub(super) types: TypeSet,
    /// Its types by price, once somebody asked.
    pub(super) prices: Option<Arc<Prices>>,
}

/// Types of a shape by price, ties by name.
#[derive(Clone, Debug)]
pub(super) struct Prices {
    /// What offerings must be like.
    pub(super) filter: OfferingFilter,
    /// By the price of the cheapest offering.
    pub(super) order: Vec<usize>,
    /// By the price that consolidation assumes, with that price; types without one are left out.
    pub(super) launch: Vec<(f64, usize)>,
}

/// Overhead of DaemonSets on a group of a NodePool's types.
#[derive(Clone, Debug)]
pub(super) struct Overhead {
    types: TypeSet,
    requests: Resources,
}

/// Shapes by number, with memory of what combining them gives.
#[derive(Debug)]
pub(super) struct Fleet {
    shapes: Vec<Shape>,
    known: BTreeMap<(usize, Requirements), usize>,
    /// Never iterated: (shape, constraints) → shape.
    combined: FxHashMap<(usize, usize), Result<usize, Misfit>>,
    overheads: Vec<Vec<Overhead>>,
}

impl Fleet {
    pub(super) fn new(input: &Input<'_>) -> Self {
        let mut fleet = Self {
            shapes: Vec::new(),
            known: BTreeMap::new(),
            combined: FxHashMap::default(),
            overheads: Vec::new(),
        };
        for (index, pool) in input.pools.iter().enumerate() {
            let keys: Vec<&str> = pool.requirements.iter().map(|(k, _)| k.as_str()).collect();
            let mut types = pool.types.clone();
            types.and(&input.catalog.offered(&pool.requirements));
            input.catalog.retain_compatible(&pool.requirements, &keys, &mut types);
            fleet.overheads.push(overheads(input, index, &types));
            let requirements = pool.requirements.clone();
            // Pools come first, so that the number of a pool is the number of its shape.
            fleet.intern(Shape { pool: index, requirements, types, prices: None });
        }
        fleet
    }

    /// Number of shapes.
    pub(super) fn len(&self) -> usize {
        self.shapes.len()
    }

    pub(super) fn shape(&self, index: usize) -> &Shape {
        &self.shapes[index]
    }

    fn intern(&mut self, shape: Shape) -> usize {
        let key = (shape.pool, shape.requirements.clone());
        if let Some(&index) = self.known.get(&key) {
            return index;
        }
        self.shapes.push(shape);
        self.known.insert(key, self.shapes.len() - 1);
        self.shapes.len() - 1
    }

    /// `shape` with the constraints numbered `id` added.
    pub(super) fn combine(
        &mut self,
        input: &Input<'_>,
        shape: usize,
        id: usize,
        constraints: &Constraints,
    ) -> Result<usize, Misfit> {
        if let Some(known) = self.combined.get(&(shape, id)) {
            return *known;
        }
        let result = self.combine_new(input, shape, constraints);
        self.combined.insert((shape, id), result);
        result
    }

    fn combine_new(
        &mut self,
        input: &Input<'_>,
        shape: usize,
        constraints: &Constraints,
    ) -> Result<usize, Misfit> {
        let own = &self.shapes[shape];
        if !tolerates_all(&constraints.tolerations, &input.pools[own.pool].taints) {
            return Err(Misfit::Taints);
        }
        if !own.requirements.compatible(&constraints.requirements, is_well_known) {
            return Err(Misfit::Requirements);
        }
        let added: Vec<(String, Requirement)> =
            constraints.requirements.iter().map(|(k, r)| (k.clone(), r.clone())).collect();
        self.narrow(input.catalog, shape, &added).ok_or(Misfit::NoOffering)
    }

    /// `shape` with further requirements; none if no type is left.
    pub(super) fn narrow(
        &mut self,
        catalog: &Catalog,
        shape: usize,
        added: &[(String, Requirement)],
    ) -> Option<usize> {
        let own = &self.shapes[shape];
        let settled = |(key, requirement): &(String, Requirement)| {
            let here = own.requirements.stated(key).and_then(Requirement::listed);
            here.is_some_and(|values| values.iter().all(|value| requirement.has(value)))
        };
        if added.iter().all(settled) {
            return Some(shape).filter(|_| !own.types.is_empty());
        }
        let mut requirements = own.requirements.clone();
        for (key, requirement) in added {
            requirements.add(key, requirement.clone());
        }
        if requirements == own.requirements {
            return Some(shape).filter(|_| !own.types.is_empty());
        }
        let pool = own.pool;
        if let Some(&index) = self.known.get(&(pool, requirements.clone())) {
            return Some(index).filter(|&i| !self.shapes[i].types.is_empty());
        }
        let changed: Vec<&str> = requirements
            .iter()
            .filter(|(key, requirement)| own.requirements.stated(key) != Some(requirement))
            .map(|(key, _)| key.as_str())
            .collect();
        let mut types = own.types.clone();
        if changed.iter().any(|key| *key == ZONE || *key == CAPACITY_TYPE) {
            types.and(&catalog.offered(&requirements));
        }
        catalog.retain_compatible(&requirements, &changed, &mut types);
        let index = self.intern(Shape { pool, requirements, types, prices: None });
        Some(index).filter(|&i| !self.shapes[i].types.is_empty())
    }

    /// Types of `among` that hold `requests` beside the DaemonSets of the pool.
    pub(super) fn fitting(
        &self,
        catalog: &Catalog,
        pool: usize,
        requests: &Resources,
        among: &TypeSet,
    ) -> TypeSet {
        let mut out = TypeSet::none(catalog.types().len());
        for overhead in &self.overheads[pool] {
            let mut types = among.clone();
            types.and(&overhead.types);
            let total: Resources = requests
                .iter()
                .zip(&overhead.requests)
                .map(|(a, b)| a.saturating_add(*b))
                .collect();
            catalog.retain_fitting(&total, &mut types);
            out.or(&types);
        }
        out
    }

    /// Types of a shape by price.
    pub(super) fn prices(&mut self, catalog: &Catalog, shape: usize) -> Arc<Prices> {
        let own = &mut self.shapes[shape];
        let (requirements, types) = (&own.requirements, &own.types);
        let made = own.prices.get_or_insert_with(|| {
            let filter = offering_filter(requirements, catalog.zones());
            let mut order: Vec<(f64, usize)> = types
                .iter()
                .map(|row| {
                    let price = cheapest_price(catalog.priced(row), &filter);
                    (price.unwrap_or(f64::INFINITY), row)
                })
                .collect();
            let name = |row: usize| &catalog.types()[row].name;
            order.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| name(a.1).cmp(name(b.1))));
            let order: Vec<usize> = order.into_iter().map(|(_, row)| row).collect();
            let launched =
                |&row: &usize| Some((worst_launch_price(catalog.priced(row), &filter)?, row));
            let mut launch: Vec<(f64, usize)> = order.iter().filter_map(launched).collect();
            launch.sort_by(|a, b| a.0.total_cmp(&b.0));
            Arc::new(Prices { filter, order, launch })
        });
        Arc::clone(made)
    }

    /// Whether `types` keep the distinct values that `minValues` wants.
    pub(super) fn min_values_hold(&self, input: &Input<'_>, shape: usize, types: &TypeSet) -> bool {
        let requirements = &self.shapes[shape].requirements;
        if input.min_values == MinValuesPolicy::BestEffort || !requirements.has_min_values() {
            return true;
        }
        requirements.iter().all(|(key, requirement)| {
            let Some(needed) = requirement.min_values else { return true };
            let mut values: BTreeSet<&String> = BTreeSet::new();
            for index in types.iter() {
                let own = input.catalog.types()[index].requirements.stated(key);
                let listed = own.and_then(Requirement::listed).into_iter().flatten();
                values.extend(listed.filter(|value| requirement.has(value)));
            }
            values.len() >= usize::try_from(needed).unwrap_or(0)
        })
    }
}

/// Types grouped by the DaemonSets that would run on them.
fn overheads(input: &Input<'_>, pool: usize, types: &TypeSet) -> Vec<Overhead> {
    let template = &input.pools[pool];
    let none: Resources = core::iter::repeat_n(0, input.catalog.width()).collect();
    let runs = |daemon: &&PodClass| {
        let Some(level) = daemon.levels.last() else { return false };
        tolerates_all(&level.tolerations, &template.taints)
            && template.requirements.compatible(&level.requirements, is_well_known)
    };
    let daemons: Vec<&PodClass> = input.daemons.iter().filter(runs).collect();
    let mut groups: BTreeMap<Vec<bool>, TypeSet> = BTreeMap::new();
    for index in types.iter() {
        let own = &input.catalog.types()[index].requirements;
        let on = |d: &&PodClass| d.levels.last().is_some_and(|l| own.intersects(&l.requirements));
        groups
            .entry(daemons.iter().map(on).collect())
            .or_insert_with(|| TypeSet::none(input.catalog.types().len()))
            .insert(index);
    }
    let total = |on: &[bool]| {
        let mut sum = none.clone();
        for (daemon, _) in daemons.iter().zip(on).filter(|(_, on)| **on) {
            let requests = input.catalog.resources(&daemon.requests).unwrap_or_default();
            sum.iter_mut().zip(&requests).for_each(|(a, b)| *a = a.saturating_add(*b));
        }
        sum
    };
    groups.into_iter().map(|(on, types)| Overhead { requests: total(&on), types }).collect()
}
