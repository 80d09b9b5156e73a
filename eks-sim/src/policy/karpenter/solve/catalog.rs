//! Instance types prepared for fast filtering: bitsets by resource amount and by offering.

use super::super::offerings::{CapacityType, Offering, PricedType};
use super::super::requirements::{CAPACITY_TYPE, Requirements, ZONE};
use crate::k8s::ResourceList;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// Amounts by column of a [`Catalog`].
pub type Resources = SmallVec<[i64; 6]>;

/// A set of instance types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeSet(SmallVec<[u64; 12]>);

impl TypeSet {
    /// No type of `count`.
    #[must_use]
    pub fn none(count: usize) -> Self {
        Self(SmallVec::from_elem(0, count.div_ceil(64)))
    }
    /// All types of `count`.
    #[must_use]
    pub fn all(count: usize) -> Self {
        let mut set = Self::none(count);
        (0..count).for_each(|i| set.insert(i));
        set
    }
    /// Adds a type.
    pub fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }
    /// Whether a type is in the set.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }
    /// Keeps what is in both.
    pub fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }
    /// Keeps what is in either.
    pub fn or(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }
    /// Whether no type is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }
    /// Number of types.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
    /// The types, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(i * 64 + bit)
            })
        })
    }
}

/// An instance type.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceType {
    /// Name.
    pub name: String,
    /// Labels it gives a node, as requirements; zone and capacity type come from offerings.
    pub requirements: Requirements,
    /// Whole node.
    pub capacity: ResourceList,
    /// What pods may ask for.
    pub allocatable: ResourceList,
    /// Offerings.
    pub offerings: Vec<Offering>,
}

/// Types with tables for filtering. Offerings may be renewed without a rebuild of the rest.
#[derive(Clone, Debug)]
pub struct Catalog {
    types: Vec<InstanceType>,
    priced: Vec<PricedType>,
    columns: BTreeMap<String, usize>,
    capacity: Vec<Resources>,
    allocatable: Vec<Resources>,
    /// By column: amounts ascending, and the types that have at least that much.
    fit: Vec<Vec<(i64, TypeSet)>>,
    zones: Vec<String>,
    /// By zone, then capacity type: types with an available offering.
    offered: Vec<[TypeSet; 3]>,
}

/// Column of CPU, in millicores.
pub const CPU: usize = 0;
/// Column of memory, in bytes.
pub const MEMORY: usize = 1;
/// Column of pods.
pub const PODS: usize = 2;

impl Catalog {
    /// Prepares `types`; `more_resources` are names that occur on existing nodes alone.
    #[must_use]
    pub fn new(types: Vec<InstanceType>, more_resources: &[&str]) -> Self {
        let mut columns = BTreeMap::new();
        let fixed = ["cpu", "memory", "pods", "ephemeral-storage"];
        for (i, name) in fixed.into_iter().enumerate() {
            columns.insert(name.to_owned(), i);
        }
        let names = types.iter().flat_map(|t| t.allocatable.keys().map(String::as_str));
        let others: BTreeSet<&str> = names.chain(more_resources.iter().copied()).collect();
        for name in others {
            let next = columns.len();
            columns.entry(name.to_owned()).or_insert(next);
        }
        let mut catalog = Self {
            priced: Vec::new(),
            capacity: Vec::new(),
            allocatable: Vec::new(),
            fit: Vec::new(),
            zones: Vec::new(),
            offered: Vec::new(),
            columns,
            types,
        };
        let lower = |list: &ResourceList| catalog.resources(list).unwrap_or_default();
        let allocatable: Vec<Resources> =
            catalog.types.iter().map(|t| lower(&t.allocatable)).collect();
        catalog.capacity = catalog.types.iter().map(|t| lower(&t.capacity)).collect();
        catalog.fit = (0..catalog.columns.len()).map(|c| fit_table(&allocatable, c)).collect();
        catalog.allocatable = allocatable;
        catalog.index_offerings();
        catalog
    }

    /// The types.
    #[must_use]
    pub fn types(&self) -> &[InstanceType] {
        &self.types
    }
    /// A type as the price rules see it.
    #[must_use]
    pub fn priced(&self, index: usize) -> &PricedType {
        &self.priced[index]
    }
    /// Number of columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }
    /// Zones with an offering.
    #[must_use]
    pub fn zones(&self) -> &[String] {
        &self.zones
    }
    /// Capacity of a type.
    #[must_use]
    pub fn capacity(&self, index: usize) -> &Resources {
        &self.capacity[index]
    }
    /// Allocatable of a type.
    #[must_use]
    pub fn allocatable(&self, index: usize) -> &Resources {
        &self.allocatable[index]
    }
    /// Names of the resources and their columns.
    pub fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), *column))
    }
    /// Column of a resource.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.get(name).copied()
    }

    /// Amounts by column; none if a resource that is asked for is unknown.
    #[must_use]
    pub fn resources(&self, list: &ResourceList) -> Option<Resources> {
        let mut out: Resources = SmallVec::from_elem(0, self.columns.len());
        for (name, amount) in list {
            let value = if name == "cpu" { amount.milli_value() } else { amount.value() };
            match self.columns.get(name) {
                Some(&column) => out[column] = value,
                None if value > 0 => return None,
                None => {}
            }
        }
        Some(out)
    }

    /// Replaces the offerings of all types, for example when prices or capacity change.
    pub fn set_offerings(&mut self, mut offerings: impl FnMut(&str) -> Vec<Offering>) {
        for kind in &mut self.types {
            kind.offerings = offerings(&kind.name);
        }
        self.index_offerings();
    }

    /// Says of every offering (type, capacity type, zone) whether it can be had.
    pub fn set_available(&mut self, available: impl Fn(&str, CapacityType, &str) -> bool) {
        for kind in &mut self.types {
            for offering in &mut kind.offerings {
                offering.available = available(&kind.name, offering.capacity_type, &offering.zone);
            }
        }
        self.index_offerings();
    }

    fn index_offerings(&mut self) {
        let priced =
            |t: &InstanceType| PricedType { name: t.name.clone(), offerings: t.offerings.clone() };
        self.priced = self.types.iter().map(priced).collect();
        let zones: BTreeSet<&String> =
            self.types.iter().flat_map(|t| t.offerings.iter().map(|o| &o.zone)).collect();
        let zones: Vec<String> = zones.into_iter().cloned().collect();
        let none = || TypeSet::none(self.types.len());
        let mut offered: Vec<[TypeSet; 3]> =
            zones.iter().map(|_| [none(), none(), none()]).collect();
        for (i, kind) in self.types.iter().enumerate() {
            for offering in kind.offerings.iter().filter(|o| o.available) {
                if let Ok(zone) = zones.binary_search(&offering.zone) {
                    offered[zone][offering.capacity_type as usize].insert(i);
                }
            }
        }
        self.zones = zones;
        self.offered = offered;
    }

    /// Types whose allocatable holds `requests`.
    pub fn retain_fitting(&self, requests: &[i64], set: &mut TypeSet) {
        for (column, &amount) in requests.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            let table = &self.fit[column];
            match table.get(table.partition_point(|(least, _)| *least < amount)) {
                Some((_, fitting)) => set.and(fitting),
                None => {
                    *set = TypeSet::none(self.types.len());
                    return;
                }
            }
        }
    }

    /// Types with an available offering that `requirements` allow.
    #[must_use]
    pub fn offered(&self, requirements: &Requirements) -> TypeSet {
        let zone = requirements.get(ZONE);
        let capacity = requirements.get(CAPACITY_TYPE);
        let mut out = TypeSet::none(self.types.len());
        for (name, by_type) in self.zones.iter().zip(&self.offered) {
            if !zone.has(name) {
                continue;
            }
            for kind in CapacityType::ALL {
                if capacity.has(kind.name()) {
                    out.or(&by_type[kind as usize]);
                }
            }
        }
        out
    }

    /// Types of `among` whose labels go with `requirements`, looking at `keys` only.
    pub fn retain_compatible(
        &self,
        requirements: &Requirements,
        keys: &[&str],
        among: &mut TypeSet,
    ) {
        let mut out = TypeSet::none(self.types.len());
        for index in among.iter() {
            let own = &self.types[index].requirements;
            let fits = keys.iter().all(|key| match (own.stated(key), requirements.stated(key)) {
                (Some(a), Some(b)) => a.intersects(b) || (a.admits_absence() && b.admits_absence()),
                _ => true,
            });
            if fits {
                out.insert(index);
            }
        }
        *among = out;
    }
}

fn fit_table(rows: &[Resources], column: usize) -> Vec<(i64, TypeSet)> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&i| core::cmp::Reverse(rows[i][column]));
    let mut table: Vec<(i64, TypeSet)> = Vec::new();
    let mut set = TypeSet::none(rows.len());
    for i in order {
        let amount = rows[i][column];
        set.insert(i);
        match table.last_mut() {
            Some((last, known)) if *last == amount => known.insert(i),
            _ => table.push((amount, set.clone())),
        }
    }
    table.reverse();
    table
}
