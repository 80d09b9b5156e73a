//! Which instance types a node group may have: by name, or by their attributes.
//!
//! Upstream: Amazon EC2 Auto Scaling user guide, "create a mixed instances group using
//! attribute-based instance type selection" (defaults, price protection); EC2 API reference,
//! InstanceRequirements. Differences: the processor's architecture stands for the image's;
//! accelerators by name, network and EBS bandwidth are left out; price protection compares the
//! catalogue's prices.

use super::scenario::{InstanceRequirementsSpec, NodeGroupSpec};
use crate::catalog::{Architecture, CapacityType, Catalog, Defaults, InstanceType, Region};
use crate::units::MoneyRate;

/// A type of a group, and the units of the group's size that an instance of it counts for.
pub type Weighted = (&'static InstanceType, u32);

/// The types of a group, preferred first. Names that no type has are left out.
#[must_use]
pub fn types_of(group: &NodeGroupSpec, region: Region, d: &Defaults) -> Vec<Weighted> {
    let overrides = group.mixed_instances.as_ref().map_or(&[][..], |m| &m.overrides);
    let named = |name: &String| Catalog::embedded().get(name);
    if overrides.is_empty() {
        return group.instance_types.iter().filter_map(named).map(|t| (t, 1)).collect();
    }
    let mut found: Vec<Weighted> = Vec::new();
    for entry in overrides {
        let weight = entry.weighted_capacity.unwrap_or(1);
        if let Some(wanted) = &entry.instance_requirements {
            let types = matching(wanted, &capacities(group), region, d);
            found.extend(types.into_iter().map(|t| (t, weight)));
        }
        found.extend(entry.instance_type.iter().filter_map(named).map(|t| (t, weight)));
    }
    found
}

/// How a group buys: one way, or both with a mixed instances policy.
#[must_use]
pub fn capacities(group: &NodeGroupSpec) -> Vec<CapacityType> {
    if let Some(mixed) = &group.mixed_instances {
        let only_on_demand = mixed.on_demand_percentage_above_base_capacity >= 100;
        let only_spot = mixed.on_demand_percentage_above_base_capacity == 0
            && mixed.on_demand_base_capacity == 0;
        return match (only_on_demand, only_spot) {
            (true, _) => vec![CapacityType::OnDemand],
            (_, true) => vec![CapacityType::Spot],
            _ => vec![CapacityType::OnDemand, CapacityType::Spot],
        };
    }
    match group.capacity_type.as_str() {
        "SPOT" => vec![CapacityType::Spot],
        _ => vec![CapacityType::OnDemand],
    }
}

/// Types that meet the requirements and are not too dear, by name.
#[must_use]
pub fn matching(
    wanted: &InstanceRequirementsSpec,
    capacities: &[CapacityType],
    region: Region,
    d: &Defaults,
) -> Vec<&'static InstanceType> {
    let old: Vec<&str> = d.text("asg.previous_generations").split(',').map(str::trim).collect();
    let mut found: Vec<&'static InstanceType> = Catalog::embedded()
        .iter()
        .filter(|t| t.is_offered(region) && has_attributes(wanted, t, &old))
        .collect();
    for &capacity in capacities {
        let percent = match capacity {
            CapacityType::OnDemand => {
                wanted.on_demand_max_price_percentage_over_lowest_price.unwrap_or(20)
            }
            CapacityType::Spot => wanted.spot_max_price_percentage_over_lowest_price.unwrap_or(100),
        };
        protect(&mut found, capacity, percent, region, &old);
    }
    found
}

fn has_attributes(wanted: &InstanceRequirementsSpec, t: &InstanceType, old: &[&str]) -> bool {
    let (Some(vcpu), Some(memory)) = (t.vcpu, t.memory) else { return false };
    let mib = u32::try_from(memory.raw() >> 20).unwrap_or(u32::MAX);
    let each = f64::from(mib) / 1024.0 / f64::from(vcpu.max(1));
    let accelerators = t.gpu_count() + t.accelerator.map_or(0, |a| a.count);
    let maker = match t.cpu_manufacturer {
        Some("Intel") => "intel",
        Some("AMD") => "amd",
        Some("AWS") => "amazon-web-services",
        _ => "",
    };
    let makers = &wanted.cpu_manufacturers;
    let arm = makers.len() == 1 && makers[0] == "amazon-web-services";
    let architecture = if arm { Architecture::Arm64 } else { Architecture::Amd64 };
    let generation = if old.contains(&t.family()) { "previous" } else { "current" };
    let generations = &wanted.instance_generations;
    let disks = t.local_disks.is_some_and(|d| d.count > 0);
    let (only, not) = (&wanted.allowed_instance_types, &wanted.excluded_instance_types);
    let named = |list: &[String]| list.iter().any(|p| matches(p, t.name));
    wanted.v_cpu_count.has(vcpu)
        && wanted.memory_mib.has(mib)
        && wanted.memory_gib_per_v_cpu.has(each)
        && wanted.accelerator_count.has(accelerators)
        && (makers.is_empty() || makers.iter().any(|m| m == maker))
        && t.architecture == architecture
        && (generations.is_empty() || generations.iter().any(|g| g == generation))
        && admits(wanted.burstable_performance.as_deref(), "excluded", t.burstable == Some(true))
        && admits(wanted.bare_metal.as_deref(), "excluded", t.bare_metal == Some(true))
        && admits(wanted.local_storage.as_deref(), "included", disks)
        && (only.is_empty() || named(only))
        && !named(not)
}

/// `included`, `excluded`, `required`.
fn admits(rule: Option<&str>, usual: &str, has: bool) -> bool {
    match rule.unwrap_or(usual) {
        "excluded" => !has,
        "required" => has,
        _ => true,
    }
}

/// Takes out types that cost more than so many percent above the cheapest C, M or R type of the
/// current generation; without one, above the cheapest of the current generation, or of all.
fn protect(
    found: &mut Vec<&'static InstanceType>,
    capacity: CapacityType,
    percent: u32,
    region: Region,
    old: &[&str],
) {
    let price = |t: &InstanceType| t.price(region, capacity);
    let current = |t: &InstanceType| !old.contains(&t.family());
    let usual = |t: &InstanceType| matches!(t.category(), "c" | "m" | "r");
    let cheapest = |keep: &dyn Fn(&InstanceType) -> bool| {
        found.iter().filter(|t| keep(t)).filter_map(|t| price(t)).min()
    };
    let base = cheapest(&|t| current(t) && usual(t))
        .or_else(|| cheapest(&current))
        .or_else(|| cheapest(&|_| true));
    let Some(base) = base else { return found.clear() };
    let most = i128::from(base.nanos_per_hour()) * i128::from(100 + u64::from(percent)) / 100;
    let most = MoneyRate::from_nanos_per_hour(i64::try_from(most).unwrap_or(i64::MAX));
    found.retain(|t| price(t).is_some_and(|p| p <= most));
}

/// Whether a name is meant by a pattern in which `*` stands for any letters.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::scenario::BoundsSpec;

    #[test]
    fn stars_stand_for_any_letters() {
        assert!(matches("m6i.large", "m6i.large") && !matches("m6i.large", "m6i.xlarge"));
        assert!(matches("m6i.*", "m6i.2xlarge") && !matches("m6i.*", "m6id.large"));
        assert!(matches("*.large", "c5.large") && !matches("*.large", "c5.xlarge"));
        assert!(matches("*", "c5.large") && matches("c*.x*e", "c7g.xlarge"));
        assert!(!matches("a*aa", "aa"));
    }

    fn names(wanted: &InstanceRequirementsSpec, capacity: CapacityType) -> Vec<&'static str> {
        let d = Defaults::standard();
        let found = matching(wanted, &[capacity], Region::US_EAST_1, &d);
        found.iter().map(|t| t.name).collect()
    }

    fn requirements() -> InstanceRequirementsSpec {
        let exactly = |n| BoundsSpec { min: Some(n), max: Some(n) };
        InstanceRequirementsSpec {
            v_cpu_count: exactly(2),
            memory_mib: exactly(8192),
            ..InstanceRequirementsSpec::default()
        }
    }

    #[test]
    fn defaults_leave_burstable_metal_and_dear_types_out() {
        let wanted = requirements();
        let found = names(&wanted, CapacityType::OnDemand);
        assert!(found.contains(&"m5.large") && found.contains(&"m6i.large"), "{found:?}");
        for name in &found {
            let t = Catalog::embedded().get(name).unwrap();
            assert_eq!((t.vcpu, t.burstable, t.bare_metal), (Some(2), Some(false), Some(false)));
            assert_eq!(t.architecture, Architecture::Amd64);
        }
        // Within a fifth of the cheapest C, M or R type; without protection there are dearer ones.
        let price = |n: &str| {
            let t = Catalog::embedded().get(n).unwrap();
            t.price(Region::US_EAST_1, CapacityType::OnDemand).unwrap().usd_per_hour()
        };
        let cheapest = found.iter().map(|n| price(n)).fold(f64::INFINITY, f64::min);
        assert!(found.iter().all(|n| price(n) <= cheapest * 1.2 + 1e-9), "{found:?}");
        let free = InstanceRequirementsSpec {
            on_demand_max_price_percentage_over_lowest_price: Some(999_999),
            ..wanted
        };
        assert!(names(&free, CapacityType::OnDemand).len() > found.len());
    }

    #[test]
    fn attributes_choose() {
        let bursts = |rule: &str| InstanceRequirementsSpec {
            burstable_performance: Some(rule.to_owned()),
            ..requirements()
        };
        let required = names(&bursts("required"), CapacityType::OnDemand);
        // t2.large costs more than a fifth above t3a.large.
        assert_eq!(required, ["t3.large", "t3a.large"]);
        let both = names(&bursts("included"), CapacityType::OnDemand);
        assert!(both.len() > required.len() && both.contains(&"t3.large"), "{both:?}");
        let arm = InstanceRequirementsSpec {
            cpu_manufacturers: vec!["amazon-web-services".to_owned()],
            ..requirements()
        };
        let arm = names(&arm, CapacityType::Spot);
        assert!(arm.contains(&"m6g.large") && !arm.contains(&"m6i.large"), "{arm:?}");
        let only = InstanceRequirementsSpec {
            allowed_instance_types: vec!["m5.*".to_owned(), "m5a*".to_owned()],
            local_storage: Some("excluded".to_owned()),
            ..requirements()
        };
        assert_eq!(names(&only, CapacityType::OnDemand), ["m5.large", "m5a.large"]);
        let not = InstanceRequirementsSpec {
            excluded_instance_types: vec!["m*".to_owned()],
            ..requirements()
        };
        let not = names(&not, CapacityType::OnDemand);
        assert!(!not.is_empty() && not.iter().all(|n| !n.starts_with('m')), "{not:?}");
        let old = InstanceRequirementsSpec {
            instance_generations: vec!["previous".to_owned()],
            ..requirements()
        };
        assert_eq!(names(&old, CapacityType::OnDemand), ["m4.large"]);
    }
}
