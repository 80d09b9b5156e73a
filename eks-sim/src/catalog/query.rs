//! Questions to the catalogue: which types satisfy these bounds, in which order.

use super::instance_types::{Architecture, Catalog, Hypervisor, InstanceType};
use super::max_pods::PodNetwork;
use super::prices::CapacityType;
use super::regions::Region;
use crate::units::{Bytes, MoneyRate};
use core::cmp::Ordering;
use core::str::FromStr;

/// What to sort by. Types without the figure come last; ties go by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum SortKey {
    /// Price of the asked region and purchase option.
    #[default]
    Price,
    /// Price of one virtual processor.
    PricePerVcpu,
    /// Price of one GiB of memory.
    PricePerGib,
    /// Virtual processors.
    Vcpu,
    /// Memory.
    Memory,
    /// Pods with secondary addresses.
    MaxPods,
    /// Name.
    Name,
}

const SORT_KEYS: [(&str, SortKey); 7] = [
    ("price", SortKey::Price),
    ("price-per-vcpu", SortKey::PricePerVcpu),
    ("price-per-gib", SortKey::PricePerGib),
    ("vcpu", SortKey::Vcpu),
    ("memory", SortKey::Memory),
    ("max-pods", SortKey::MaxPods),
    ("name", SortKey::Name),
];

/// Why a question cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// An unknown sort key.
    #[error(
        "unknown sort key `{0}`; write price, price-per-vcpu, price-per-gib, vcpu, memory, \
         max-pods or name"
    )]
    SortKey(String),
    /// A name pattern that is not a glob.
    #[error("`{pattern}` is not a name pattern: {problem}; write for example `m*.large`")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        problem: String,
    },
    /// A family that no type has.
    #[error("unknown family `{name}`{hint}")]
    Family {
        /// The family.
        name: String,
        /// Families that look alike, as the end of the message.
        hint: String,
    },
}

impl FromStr for SortKey {
    type Err = QueryError;
    fn from_str(text: &str) -> Result<Self, QueryError> {
        let found = SORT_KEYS.iter().find(|(name, _)| *name == text);
        found.map(|(_, key)| *key).ok_or_else(|| QueryError::SortKey(text.to_owned()))
    }
}

/// Bounds that a type must satisfy. A type without the figure that a bound looks at is left out.
///
/// ```
/// use eks_sim::catalog::{Architecture, Catalog, Query, SortKey};
///
/// let query = Query {
///     min_vcpu: Some(4),
///     architecture: Some(Architecture::Arm64),
///     names: vec!["m*".to_owned()],
///     sort: SortKey::PricePerVcpu,
///     ..Query::default()
/// };
/// let found = query.run(Catalog::embedded())?;
/// assert!(found.iter().all(|t| t.vcpu >= Some(4) && t.name.starts_with('m')));
/// # Ok::<(), eks_sim::catalog::QueryError>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Query {
    /// At least this many virtual processors.
    pub min_vcpu: Option<u32>,
    /// At most this many virtual processors.
    pub max_vcpu: Option<u32>,
    /// At least this much nominal memory.
    pub min_memory: Option<Bytes>,
    /// At most this much nominal memory.
    pub max_memory: Option<Bytes>,
    /// Architecture.
    pub architecture: Option<Architecture>,
    /// Families such as `m5`; any of them.
    pub families: Vec<String>,
    /// Name patterns with `*`, `?`, `[ab]` and `{a,b}`; any of them.
    pub names: Vec<String>,
    /// With GPUs (true) or without (false).
    pub gpu: Option<bool>,
    /// With NVMe instance store (true) or without (false).
    pub nvme: Option<bool>,
    /// Burstable (true) or not (false).
    pub burstable: Option<bool>,
    /// Hypervisor.
    pub hypervisor: Option<Hypervisor>,
    /// At least this many pods in the CNI mode.
    pub min_pods: Option<u32>,
    /// CNI mode for `min_pods` and the order by pods.
    pub pod_network: PodNetwork,
    /// At most this price.
    pub max_price: Option<MoneyRate>,
    /// Region of prices and offers.
    pub region: Region,
    /// Leave out types that the region does not offer.
    pub only_offered: bool,
    /// Purchase option of prices; with spot, types that are not sold as spot are left out.
    pub capacity: CapacityType,
    /// Order.
    pub sort: SortKey,
    /// Largest first.
    pub descending: bool,
    /// Keep so many.
    pub limit: Option<usize>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            min_vcpu: None,
            max_vcpu: None,
            min_memory: None,
            max_memory: None,
            architecture: None,
            families: Vec::new(),
            names: Vec::new(),
            gpu: None,
            nvme: None,
            burstable: None,
            hypervisor: None,
            min_pods: None,
            pod_network: PodNetwork::default(),
            max_price: None,
            region: Region::US_EAST_1,
            only_offered: false,
            capacity: CapacityType::OnDemand,
            sort: SortKey::Price,
            descending: false,
            limit: None,
        }
    }
}

impl Query {
    /// The types that satisfy all bounds, in order.
    ///
    /// # Errors
    /// For a pattern that is no glob or a family that does not exist.
    pub fn run<'a>(&self, catalog: &'a Catalog) -> Result<Vec<&'a InstanceType>, QueryError> {
        let names = self.patterns()?;
        self.check_families(catalog)?;
        let mut found: Vec<&InstanceType> = catalog
            .iter()
            .filter(|t| self.holds(t) && (self.names.is_empty() || names.is_match(t.name)))
            .collect();
        found.sort_by(|a, b| self.order(a, b));
        found.truncate(self.limit.unwrap_or(usize::MAX));
        Ok(found)
    }

    fn patterns(&self) -> Result<globset::GlobSet, QueryError> {
        let mut set = globset::GlobSetBuilder::new();
        let wrong = |pattern: &str, e: &globset::Error| QueryError::Pattern {
            pattern: pattern.to_owned(),
            problem: e.kind().to_string(),
        };
        for pattern in &self.names {
            set.add(globset::Glob::new(pattern).map_err(|e| wrong(pattern, &e))?);
        }
        set.build().map_err(|e| wrong(&self.names.join(","), &e))
    }

    fn check_families(&self, catalog: &Catalog) -> Result<(), QueryError> {
        for name in &self.families {
            if catalog.iter().any(|t| t.family() == name) {
                continue;
            }
            let near = super::nearest::nearest(name, catalog.iter().map(|t| t.family()), 3);
            let hint = match near.is_empty() {
                true => "; write the part before the dot, such as `m5`".to_owned(),
                false => format!("; did you mean `{}`?", near.join("`, `")),
            };
            return Err(QueryError::Family { name: name.clone(), hint });
        }
        Ok(())
    }

    fn holds(&self, t: &InstanceType) -> bool {
        let pods = t.calculated_max_pods_uncapped(self.pod_network, None);
        at_least(t.vcpu, self.min_vcpu)
            && at_most(t.vcpu, self.max_vcpu)
            && at_least(t.memory, self.min_memory)
            && at_most(t.memory, self.max_memory)
            && equal(Some(t.architecture), self.architecture)
            && equal(Some(t.hypervisor), self.hypervisor)
            && equal(t.burstable, self.burstable)
            && equal(t.gpu.map(|g| g.count > 0), self.gpu)
            && equal(t.local_disks.map(|d| d.nvme_gb > 0), self.nvme)
            && at_least(pods, self.min_pods)
            && at_most(t.price(self.region, self.capacity), self.max_price)
            && (self.families.is_empty() || self.families.iter().any(|f| f == t.family()))
            && (!self.only_offered || t.is_offered(self.region))
            && (self.capacity == CapacityType::OnDemand || t.spot_supported == Some(true))
    }

    fn order(&self, a: &InstanceType, b: &InstanceType) -> Ordering {
        let by_name = a.name.cmp(b.name);
        let by_key = match (self.key(a), self.key(b)) {
            (Some(a), Some(b)) if self.descending => b.total_cmp(&a),
            (Some(a), Some(b)) => a.total_cmp(&b),
            // Unknown figures come last in either direction.
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let names_only = self.sort == SortKey::Name;
        if names_only && self.descending { by_name.reverse() } else { by_key.then(by_name) }
    }

    /// The sort key as a number; all of them are exactly representable or ratios of such.
    fn key(&self, t: &InstanceType) -> Option<f64> {
        let price = || t.price(self.region, self.capacity).map(MoneyRate::usd_per_hour);
        match self.sort {
            SortKey::Price => price(),
            SortKey::PricePerVcpu => Some(price()? / f64::from(t.vcpu.filter(|n| *n > 0)?)),
            SortKey::PricePerGib => Some(price()? / gib(t.memory?)),
            SortKey::Vcpu => t.vcpu.map(f64::from),
            SortKey::Memory => t.memory.map(gib),
            SortKey::MaxPods => {
                t.calculated_max_pods_uncapped(self.pod_network, None).map(f64::from)
            }
            SortKey::Name => None,
        }
    }
}

/// GiB as a float.
fn gib(bytes: Bytes) -> f64 {
    bytes.raw() as f64 / 1_073_741_824.0
}
fn at_least<T: PartialOrd>(value: Option<T>, bound: Option<T>) -> bool {
    bound.is_none_or(|bound| value.is_some_and(|v| v >= bound))
}
fn at_most<T: PartialOrd>(value: Option<T>, bound: Option<T>) -> bool {
    bound.is_none_or(|bound| value.is_some_and(|v| v <= bound))
}
fn equal<T: PartialEq>(value: Option<T>, wanted: Option<T>) -> bool {
    wanted.is_none_or(|wanted| value == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(query: &Query) -> Vec<&'static str> {
        let found = query.run(Catalog::embedded()).unwrap();
        found.iter().map(|t| t.name).collect()
    }

    #[test]
    fn bounds_and_orders() {
        let m5 = Query { names: vec!["m5.*large".into()], ..Query::default() };
        let by_price = names(&m5);
        assert_eq!(by_price.first(), Some(&"m5.large"));
        let most = Query { descending: true, limit: Some(1), ..m5.clone() };
        assert_eq!(names(&most), ["m5.24xlarge"]);
        let small = Query { max_vcpu: Some(4), min_vcpu: Some(4), ..m5.clone() };
        assert_eq!(names(&small), ["m5.xlarge"]);
        let cheap = Query { max_price: Some(MoneyRate::from_usd_per_hour(0.1)), ..m5.clone() };
        assert_eq!(names(&cheap), ["m5.large"]);
        let dense = Query { min_pods: Some(400), pod_network: PodNetwork::Prefix, ..m5 };
        assert_eq!(names(&dense).len(), 8);
    }

    #[test]
    fn unknown_figures_come_last() {
        for descending in [false, true] {
            let query = Query { sort: SortKey::Vcpu, descending, ..Query::default() };
            let found = query.run(Catalog::embedded()).unwrap();
            let known = found.iter().take_while(|t| t.vcpu.is_some()).count();
            assert_eq!(known, 1422);
            assert!(found[known..].iter().all(|t| t.vcpu.is_none()));
        }
        let query = Query { sort: SortKey::Name, descending: true, ..Query::default() };
        assert!(names(&query).is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn wrong_questions_are_refused() {
        let bad = Query { names: vec!["m[".into()], ..Query::default() };
        assert!(bad.run(Catalog::embedded()).unwrap_err().to_string().contains("`m[`"));
        let bad = Query { families: vec!["m55".into()], ..Query::default() };
        assert!(bad.run(Catalog::embedded()).unwrap_err().to_string().contains("did you mean"));
        assert!("cost".parse::<SortKey>().is_err());
    }
}
