//! Mixed instances policies: types with weights, and requirements.

use super::Checker;
use crate::catalog::Catalog;
use crate::spec::codes;
use crate::spec::scenario::{
    InstanceRequirementsSpec, MixedInstancesSpec, NodeGroupSpec, OverrideSpec,
};
use crate::spec::suggest;

/// Makers of processors, as EC2's API calls them.
const MAKERS: [&str; 3] = ["intel", "amd", "amazon-web-services"];
/// The largest weight that EC2 Auto Scaling takes.
const MOST_WEIGHT: u32 = 999;

pub(super) fn check(
    group: &NodeGroupSpec,
    mixed: &MixedInstancesSpec,
    autoscaled: bool,
    at: &str,
    c: &mut Checker<'_, '_>,
) {
    let list = &mixed.overrides;
    let path = format!("{at}.mixedInstances.overrides");
    if !list.is_empty() && group.instance_types != NodeGroupSpec::default().instance_types {
        let message = "`instanceTypes` and `overrides` both list types".to_owned();
        let help = "keep one of them; only `overrides` has weights and requirements";
        c.error(codes::CONTRADICTION, &format!("{at}.instanceTypes"), message, help);
    }
    let weighted = list.iter().filter(|o| o.weighted_capacity.is_some()).count();
    if weighted != 0 && weighted != list.len() {
        let message = format!("{weighted} of {} types have a weight", list.len());
        let help = "give every entry a `weightedCapacity`, or none";
        c.error(codes::CONTRADICTION, &path, message, help);
    }
    let heavy = list.iter().any(|o| o.weighted_capacity.is_some_and(|w| w != 1));
    if heavy && autoscaled {
        let message =
            "Cluster Autoscaler counts instances, the group counts units of capacity: it \
                       waits for nodes that never come"
                .to_owned();
        let help = "use weights of 1 with Cluster Autoscaler";
        c.warning(codes::WEIGHTS_WITH_AUTOSCALER, &path, message, help);
    }
    for (i, entry) in list.iter().enumerate() {
        override_entry(entry, &format!("{path}.{i}"), c);
    }
}

fn override_entry(entry: &OverrideSpec, at: &str, c: &mut Checker<'_, '_>) {
    match (&entry.instance_type, &entry.instance_requirements) {
        (Some(name), None) => {
            if Catalog::embedded().get(name).is_none() {
                let near = Catalog::embedded().nearest_names(name, 3);
                let help = match near.is_empty() {
                    true => "`eks-sim catalog` lists the types".to_owned(),
                    false => format!("did you mean {}?", suggest::list(near)),
                };
                let message = format!("unknown instance type `{name}`");
                c.error(codes::UNKNOWN_VALUE, &format!("{at}.instanceType"), message, help);
            }
        }
        (None, Some(wanted)) => requirements(wanted, &format!("{at}.instanceRequirements"), c),
        (None, None) | (Some(_), Some(_)) => {
            let message = "an entry has either `instanceType` or `instanceRequirements`".to_owned();
            let help = "write for example `{instanceType: m6i.large, weightedCapacity: 2}`";
            c.error(codes::ONE_OF, at, message, help);
        }
    }
    if let Some(weight) = entry.weighted_capacity.filter(|w| !(1..=MOST_WEIGHT).contains(w)) {
        let message = format!("an instance cannot count for {weight} units");
        let help = format!("write a number from 1 to {MOST_WEIGHT}");
        c.error(codes::OUT_OF_RANGE, &format!("{at}.weightedCapacity"), message, help);
    }
}

fn requirements(wanted: &InstanceRequirementsSpec, at: &str, c: &mut Checker<'_, '_>) {
    for (field, bounds) in [("vCpuCount", wanted.v_cpu_count), ("memoryMiB", wanted.memory_mib)] {
        if bounds.min.is_none() {
            let message = format!("`{field}` needs a `min`");
            let help = format!("write for example `{field}: {{min: 2, max: 4}}`");
            c.error(codes::MISSING_FIELD, &format!("{at}.{field}"), message, help);
        }
    }
    let whole = [
        ("vCpuCount", wanted.v_cpu_count),
        ("memoryMiB", wanted.memory_mib),
        ("acceleratorCount", wanted.accelerator_count),
    ];
    let each = wanted.memory_gib_per_v_cpu;
    let order = whole
        .map(|(field, b)| (field, b.min.map(f64::from), b.max.map(f64::from)))
        .into_iter()
        .chain([("memoryGiBPerVCpu", each.min, each.max)]);
    for (field, min, max) in order {
        if let (Some(min), Some(max)) = (min, max)
            && !(0.0 <= min && min <= max)
        {
            let message = format!("`min` ({min}) is above `max` ({max})");
            c.error(codes::CONTRADICTION, &format!("{at}.{field}"), message, "swap the two");
        }
    }
    for (i, maker) in wanted.cpu_manufacturers.iter().enumerate() {
        c.one_of(&format!("{at}.cpuManufacturers.{i}"), maker, &MAKERS);
    }
    for (i, age) in wanted.instance_generations.iter().enumerate() {
        c.one_of(&format!("{at}.instanceGenerations.{i}"), age, &["current", "previous"]);
    }
    for (field, rule) in [
        ("burstablePerformance", &wanted.burstable_performance),
        ("bareMetal", &wanted.bare_metal),
        ("localStorage", &wanted.local_storage),
    ] {
        if let Some(rule) = rule {
            c.one_of(&format!("{at}.{field}"), rule, &["included", "excluded", "required"]);
        }
    }
    if !wanted.allowed_instance_types.is_empty() && !wanted.excluded_instance_types.is_empty() {
        let message = "`allowedInstanceTypes` and `excludedInstanceTypes` exclude each other";
        let path = format!("{at}.excludedInstanceTypes");
        c.error(codes::CONTRADICTION, &path, message.to_owned(), "keep one of them");
    }
}
