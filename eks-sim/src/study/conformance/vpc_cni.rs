//! Conformance cases of the VPC CNI: pool decisions, steady states, subnets, limits on pods.

use core::net::Ipv4Addr;

use serde_json::{Value, json};

use super::Refusal;
use super::keys::Keys;
use crate::catalog::Catalog;
use crate::policy::vpc_cni::address_space::{
    AddressSpace, Holding, LARGEST_SUBNET, PREFIX_SIZE, SMALLEST_SUBNET,
};
use crate::policy::vpc_cni::config::{self, CniConfig, EniLimits};
use crate::policy::vpc_cni::decide::{self, EniView, Stats};
use crate::policy::vpc_cni::pool::{EniId, NewEni, Pool, Range};
use crate::policy::vpc_cni::{Cidr, Node, calculate, max_pods, max_pods_expression, subnet_choice};
use crate::units::SimTime;

type Computed = Result<Value, Refusal>;

pub(super) fn evaluate(topic: &str, file: &Value, case: &Value) -> Computed {
    let keys = Keys::new("", case)?;
    let kind = match file["case_kind"].as_str() {
        Some(path) => keys.text(path)?,
        None => "",
    };
    let computed = match (topic, kind) {
        ("vpc-cni/pool_decisions", _) => pool_decision(kind, &keys)?,
        ("vpc-cni/subnets", _) => subnet(kind, &keys)?,
        ("vpc-cni/nodeadm_max_pods_expression", _) => expression(kind, &keys),
        ("vpc-cni/steady_state", "") => Ok(steady_state(&keys)?),
        ("vpc-cni/subnet_fill", "") => Ok(subnet_fill(&keys)?),
        ("vpc-cni/max_pods_by_type", "") => Ok(max_pods_by_type(&keys)?),
        _ => Err(Refusal::Unsupported(format!("topic `{topic}`, kind `{kind}`"))),
    };
    // An unread key outranks whatever was computed without it.
    match computed {
        Err(Refusal::Unsupported(why)) => Err(Refusal::Unsupported(why)),
        other => keys.finish().and(other),
    }
}

fn error(text: impl ToString) -> Refusal {
    Refusal::Error(text.to_string())
}

/// Settings under their vector names; those that are absent are off.
fn settings(keys: &Keys<'_>) -> Result<CniConfig, Refusal> {
    let count = |key| match keys.optional(key) {
        None => Ok(0),
        Some(_) => keys.count(key),
    };
    Ok(CniConfig {
        prefix_delegation: keys.flag_or_false("prefix_delegation")?,
        warm_eni_target: count("warm_eni_target")?,
        warm_ip_target: count("warm_ip_target")?,
        minimum_ip_target: count("minimum_ip_target")?,
        warm_prefix_target: count("warm_prefix_target")?,
        custom_networking: keys.flag_or_false("custom_networking")?,
        max_eni: count("max_eni")?,
        ..CniConfig::default()
    })
}

fn pool_decision(kind: &str, keys: &Keys<'_>) -> Result<Computed, Refusal> {
    Ok(Ok(match kind {
        "too_low" => {
            let stats = stats(keys)?;
            let addresses = keys.int("max_ips_per_eni")?;
            let low = decide::too_low(&settings(keys)?, &stats, addresses, keys.int("max_pods")?);
            json!({ "is_low": low })
        }
        "target_state" => {
            let stats = Stats {
                prefixes: keys.int("total_prefixes")?,
                free_prefixes: keys.int("free_prefixes")?,
                ..stats(keys)?
            };
            let state = decide::target_state(&settings(keys)?, &stats);
            let distance = state.unwrap_or_default();
            json!({"defined": state.is_some(), "short": distance.short, "over": distance.over})
        }
        "removable_eni" => removable(keys)?,
        "should_remove_extra_enis" => {
            let mut config = settings(keys)?;
            config.minimum_ip_target = u32::from(keys.flag("warm_ip_targets_defined")?);
            let addresses = keys.int("max_ips_per_eni")?;
            let unused = keys.flag_or_false("freeable_eni_exists")?;
            let available = keys.int("available_ips")?;
            let remove = decide::should_remove_extra_enis(&config, available, addresses, unused);
            json!({ "remove": remove })
        }
        "ip_stats" => return ip_stats(keys),
        "env_value" => {
            let value = keys.get("value")?;
            let variable = keys.text("variable")?;
            let effective = config::effective_value(variable, value.as_str());
            let unknown = || Refusal::Unsupported(format!("variable `{variable}`"));
            json!({ "effective": effective.ok_or_else(unknown)? })
        }
        "warm_ip_targets_defined" => json!({ "defined": settings(keys)?.targets_defined() }),
        "div_ceil" => json!({ "value": decide::div_ceil(keys.int("x")?, keys.int("y")?) }),
        "config_valid" => {
            let prefix = config::check(
                keys.flag("ipv4")?,
                keys.flag("ipv6")?,
                keys.flag("prefix_delegation")?,
                keys.flag("custom_networking")?,
                keys.flag("nitro")?,
            );
            json!({ "valid": prefix.is_ok(), "effective_prefix_delegation": prefix.ok() })
        }
        _ => return Err(Refusal::Unsupported(format!("kind `{kind}`"))),
    }))
}

fn stats(keys: &Keys<'_>) -> Result<Stats, Refusal> {
    let (total, assigned) = (keys.int("total_ips")?, keys.int("assigned_ips")?);
    Ok(Stats { total, assigned, ..Stats::default() })
}

fn removable(keys: &Keys<'_>) -> Result<Value, Refusal> {
    let config = settings(keys)?;
    let aged = keys.flag("older_than_one_minute")?;
    let cooling = keys.flag("any_ip_cooling")?;
    let enis = keys.get("enis")?.as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut names, mut views) = (Vec::new(), Vec::new());
    for eni in enis {
        let eni = Keys::new("enis.", eni)?;
        let (addresses, assigned) = (eni.int("ips")?, eni.int("assigned")?);
        let size = i64::from(PREFIX_SIZE);
        // Pods fill one prefix after another, so the rest of the prefixes is free.
        let packed = addresses / size - decide::div_ceil(assigned, size);
        let free_prefixes = match eni.optional("free_prefixes") {
            Some(_) => eni.int("free_prefixes")?,
            None => packed.max(0) * i64::from(config.prefix_delegation),
        };
        views.push(EniView {
            primary: eni.flag_or_false("primary")?,
            trunk: eni.flag_or_false("trunk")?,
            efa: eni.flag_or_false("efa")?,
            aged,
            cooling,
            addresses,
            assigned,
            free_prefixes,
        });
        names.push(eni.text("id")?);
        eni.finish()?;
    }
    let removable = decide::removable(&config, &views);
    Ok(json!({ "removable": removable.iter().map(|index| names[*index]).collect::<Vec<_>>() }))
}

/// More than any instance type or node has; larger inputs are mistakes.
const PLAUSIBLE: u32 = 65_536;

/// A pool that is filled, used and partly given back, through the same code as a node's.
fn ip_stats(keys: &Keys<'_>) -> Result<Computed, Refusal> {
    let config = settings(keys)?;
    let pool_ips = keys.count("pool_ips")?;
    let assigned = keys.count("assigned_before")?;
    let released = keys.count("released")?;
    let cooling = keys.count("released_still_cooling")?;
    let size = config.range_size();
    let whole = pool_ips % size == 0 && pool_ips <= PLAUSIBLE;
    if !whole || assigned > pool_ips || released > assigned || cooling > released {
        return Ok(Err(error("counts do not fit each other")));
    }
    let base = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let range = |index: u32| Range {
        first: Ipv4Addr::from(base + index * size),
        prefix: config.prefix_delegation,
    };
    let ranges = (0..pool_ips / size).map(range).collect::<Vec<_>>();
    let mut pool = Pool::new(&config, NewEni::default(), SimTime::ZERO);
    pool.filled(EniId(0), &ranges);
    let later = SimTime::ZERO + config.ip_cooldown + crate::units::Span::from_nanos(1);
    for pod in 0..u64::from(assigned) {
        pool.assign(config.prefix_delegation, pod, SimTime::ZERO).map_err(error)?;
    }
    for pod in 0..released {
        let rested = pod < released - cooling;
        pool.release(u64::from(pod), if rested { SimTime::ZERO } else { later });
    }
    pool.rest(later);
    let stats = pool.stats(config.prefix_delegation);
    Ok(Ok(json!({
        "total_ips": stats.total,
        "total_prefixes": stats.prefixes,
        "assigned_ips": stats.assigned,
        "cooldown_ips": stats.cooling,
        "available_addresses": stats.available(),
    })))
}

/// Runs `calculate` with the node that a case describes.
fn on_node<T>(
    keys: &Keys<'_>,
    calculate: impl FnOnce(&Node<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    keys.text("instance_type")?; // names the type; its limits are given
    let limits = EniLimits { enis: keys.count("enis")?, ipv4_per_eni: keys.count("ipv4_per_eni")? };
    if limits.enis > 1_000 || limits.ipv4_per_eni > 1_000 {
        return Err(error("no instance type has so many interfaces or addresses"));
    }
    let settings_keys = Keys::new("config.", keys.get("config")?)?;
    let config = settings(&settings_keys)?;
    let node = Node::new(&config, limits, settings_keys.int("max_pods")?);
    settings_keys.finish()?;
    calculate(&node)
}

fn steady_state(keys: &Keys<'_>) -> Result<Value, Refusal> {
    let pods = u64::from(keys.count("pods")?);
    on_node(keys, |node| {
        let rest = calculate::steady_state(node, pods);
        Ok(json!({
            "enis": rest.enis,
            "cidrs": rest.cidrs,
            "cidrs_per_eni": rest.cidrs_per_eni,
            "total_pod_ips": rest.total_pod_ips,
            "assigned": rest.assigned,
            "pods_with_ip": rest.assigned,
            "free_pod_ips": rest.free_pod_ips,
            "subnet_ips": rest.subnet_ips,
        }))
    })
}

fn subnet_fill(keys: &Keys<'_>) -> Result<Value, Refusal> {
    let length = prefix_length(keys)?;
    let pods = u64::from(keys.count("pods_per_node")?);
    let other = u64::from(keys.count("other_addresses")?);
    on_node(keys, |node| {
        let fill = calculate::subnet_fill(node, length, pods, other)
            .ok_or_else(|| error("no subnet has this size"))?;
        Ok(json!({
            "ips_per_node": fill.ips_per_node,
            "full_nodes": fill.full_nodes,
            "pods_on_full_nodes": fill.pods_on_full_nodes,
            "addresses_left": fill.addresses_left,
        }))
    })
}

fn prefix_length(keys: &Keys<'_>) -> Result<u8, Refusal> {
    let length = u8::try_from(keys.count("prefix_length")?).ok();
    length
        .filter(|length| (LARGEST_SUBNET..=SMALLEST_SUBNET).contains(length))
        .ok_or_else(|| error("no subnet has this size"))
}

fn space(cidr: Cidr) -> Result<AddressSpace, Refusal> {
    AddressSpace::new(cidr).map_err(error)
}

fn subnet(kind: &str, keys: &Keys<'_>) -> Result<Computed, Refusal> {
    let of_length =
        |keys: &Keys<'_>| space(Cidr::containing(Ipv4Addr::new(10, 0, 0, 0), prefix_length(keys)?));
    let of_range = |keys: &Keys<'_>| space(keys.text("cidr")?.parse().map_err(error)?);
    Ok(match kind {
        "usable" => of_length(keys)
            .map(|space| json!({ "usable": space.usable(), "total": space.cidr().size() })),
        "free_28_blocks_empty" => {
            of_length(keys).map(|space| json!({ "blocks": space.free_blocks() }))
        }
        "reserved_addresses" => of_range(keys).map(|space| {
            let mut free = space.addresses(Holding::Free);
            let first = free.next();
            json!({
                "reserved": space.addresses(Holding::Reserved).collect::<Vec<_>>(),
                "first_usable": first,
                "last_usable": free.last().or(first),
                "usable": space.usable(),
            })
        }),
        "fragmentation" => {
            let used = keys.get("used")?.as_array().map(Vec::as_slice).unwrap_or_default();
            of_range(keys).and_then(|space| fragmentation(space, used))
        }
        "subnet_eligible" => with_tags(keys, |tags| {
            let own = keys.flag("is_primary_subnet")?;
            let eligible = subnet_choice::is_eligible(tags, own, keys.text("cluster_name")?);
            Ok(json!({ "eligible": eligible }))
        }),
        "cluster_tag_match" => with_tags(keys, |tags| {
            let matches = subnet_choice::cluster_tags_match(tags, keys.text("cluster_name")?);
            Ok(json!({ "match": matches }))
        }),
        _ => return Err(Refusal::Unsupported(format!("kind `{kind}`"))),
    })
}

fn fragmentation(mut space: AddressSpace, used: &[Value]) -> Computed {
    for address in used {
        let address = address.as_str().and_then(|text| text.parse::<Ipv4Addr>().ok());
        let address = address.ok_or_else(|| error("`used` holds what is no address"))?;
        match space.holding(address) {
            None => return Err(error("a used address is not in the subnet")),
            Some(_) => drop(space.take_at(address, Holding::Other)),
        }
    }
    Ok(json!({
        "free_addresses": space.free(),
        "free_28_blocks": space.free_blocks(),
        "first_free_block": space.first_free_block(),
    }))
}

fn with_tags(keys: &Keys<'_>, use_tags: impl FnOnce(&[(&str, &str)]) -> Computed) -> Computed {
    let tags = keys.get("tags")?.as_object();
    let tags = tags.ok_or_else(|| Refusal::Unsupported("`tags` is not an object".to_owned()))?;
    let pairs = tags.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
    use_tags(&pairs.collect::<Vec<_>>())
}

fn expression(kind: &str, keys: &Keys<'_>) -> Computed {
    let default_enis = keys.int("default_enis")?;
    let ips_per_eni = keys.int("ips_per_eni")?;
    match kind {
        "evaluate" => {
            let max_pods = keys.int("max_pods")?;
            let variables = max_pods_expression::Variables { default_enis, ips_per_eni, max_pods };
            let value = max_pods_expression::evaluate(keys.text("expression")?, variables);
            Ok(json!({ "value": value.map_err(error)?, "error": null }))
        }
        "calc_with_fallback" => {
            let expression = keys.get("expression")?.as_str();
            let value = max_pods_expression::with_fallback(expression, default_enis, ips_per_eni);
            Ok(json!({ "value": value }))
        }
        _ => Err(Refusal::Unsupported(format!("kind `{kind}`"))),
    }
}

fn max_pods_by_type(keys: &Keys<'_>) -> Result<Value, Refusal> {
    use max_pods::{Mode, auto_mode, calculator, managed_node_group_cap, pod_addresses, uncapped};
    let limits = EniLimits {
        enis: keys.count("enis_default_card")?,
        ipv4_per_eni: keys.count("ipv4_per_eni")?,
    };
    keys.count("enis_all_cards")?; // only the default card feeds pods
    let hypervisor = keys.text("hypervisor")?;
    let prefixes = max_pods::supports_prefixes(hypervisor, keys.flag("bare_metal")?);
    let name = keys.text("name")?;
    let secondary = Mode::default();
    let custom = Mode { custom_networking: true, ..secondary };
    let of = |prefix_delegation, mode| Mode { prefix_delegation, ..mode };
    let nitro = hypervisor == "nitro";
    let mut out = json!({
        "published_eni_max_pods": published(name),
        "secondary_uncapped": uncapped(limits, secondary),
        "cni_pod_ips_secondary": pod_addresses(limits, secondary),
        "cni_pod_ips_custom_networking": pod_addresses(limits, custom),
        "cni_pod_ips_prefix": pod_addresses(limits, of(prefixes, secondary)),
        "prefix_supported_by_cni": prefixes,
        "ipv6_supported": prefixes,
    });
    if let Some(vcpu) = keys.get("vcpu")?.as_u64() {
        let calc = |mode| json!(calculator(limits, mode, vcpu));
        out["calc_default"] = calc(secondary);
        out["calc_custom_networking"] = calc(custom);
        out["calc_prefix"] = calc(of(nitro, secondary));
        out["calc_prefix_custom"] = calc(of(nitro, custom));
        out["calc_prefix_show_max"] = json!(uncapped(limits, of(nitro, secondary)));
        out["calc_cni_max_eni_1"] = calc(Mode { max_eni: 1, ..secondary });
        out["calc_cni_max_eni_2_custom"] = calc(Mode { max_eni: 2, ..custom });
        out["managed_node_group_cap"] = json!(managed_node_group_cap(vcpu));
        out["auto_mode_max_pods"] = json!(auto_mode(limits));
    }
    if let Some(branches) = keys.optional("branch_enis").and_then(Value::as_u64) {
        out["security_groups_for_pods_supported"] = json!(branches > 0);
    }
    Ok(out)
}

/// The value in the CNI's own list, as the catalogue has it.
fn published(name: &str) -> Option<u32> {
    Catalog::embedded().get(name).and_then(|instance_type| instance_type.published_max_pods)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn every_vector_passes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/conformance/vpc-cni");
        let report = super::super::run(&[PathBuf::from(folder)]).unwrap();
        assert!(report.conforms(), "{}", report.text(20));
        assert_eq!(report.counts().passed, 1677);
    }

    #[test]
    fn unknown_keys_and_kinds_are_unsupported() {
        let file = |kind: Value| json!({"topic": "vpc-cni/pool_decisions", "case_kind": kind});
        let ask = |case: Value| evaluate("vpc-cni/pool_decisions", &file(json!("kind")), &case);
        let known =
            json!({"name": "n", "source": "s", "kind": "div_ceil", "x": 5, "y": 2, "expect": {}});
        assert_eq!(ask(known.clone()), Ok(json!({"value": 3})));
        let mut extra = known.clone();
        extra["z"] = json!(1);
        assert!(matches!(ask(extra), Err(Refusal::Unsupported(why)) if why.contains("`z`")));
        let mut other = known;
        other["kind"] = json!("div_floor");
        assert!(matches!(ask(other), Err(Refusal::Unsupported(_))));
    }
}
