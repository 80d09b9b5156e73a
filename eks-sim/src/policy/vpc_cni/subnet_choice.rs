//! Which subnets may get a node's next interface, and in which order they are tried.
//!
//! Upstream: pkg/awsutils/awsutils.go (`createENI`, `validTag`, cluster tags). Differences:
//! subnets with equally many free addresses are tried in input order (upstream: as EC2 lists them).

use super::config::CniConfig;

/// Whether a subnet serves pods: "0" never, other values yes.
pub const ROLE_TAG: &str = "kubernetes.io/role/cni";
/// Start of the tags that name the clusters a subnet is for.
pub const CLUSTER_TAG_PREFIX: &str = "cni.networking.k8s.aws/cluster/";

/// One subnet of the VPC.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a, T> {
    /// The caller's name of it.
    pub subnet: T,
    /// Key and value of its tags.
    pub tags: &'a [(&'a str, &'a str)],
    /// Its free addresses.
    pub free: u32,
    /// The node's own subnet.
    pub is_node_subnet: bool,
}

/// Subnets for the next interface in the order in which they are tried. `candidates` are those of
/// the node's zone; `eni_config` is the subnet of the ENIConfig under custom networking.
#[must_use]
pub fn subnets_to_try<T: Copy>(
    config: &CniConfig,
    candidates: &[Candidate<'_, T>],
    eni_config: Option<T>,
) -> Vec<T> {
    if config.custom_networking {
        return eni_config.into_iter().collect();
    }
    let mut eligible = candidates
        .iter()
        .filter(|c| match config.subnet_discovery {
            true => is_eligible(c.tags, c.is_node_subnet, &config.cluster_name),
            false => c.is_node_subnet && !is_excluded(c.tags),
        })
        .collect::<Vec<_>>();
    eligible.sort_by_key(|candidate| core::cmp::Reverse(candidate.free));
    eligible.into_iter().map(|candidate| candidate.subnet).collect()
}

/// Whether interfaces in a subnet with these tags are kept from pods.
#[must_use]
pub fn is_excluded(tags: &[(&str, &str)]) -> bool {
    role(tags) == Some("0")
}

/// Whether discovery may use a subnet.
#[must_use]
pub fn is_eligible(tags: &[(&str, &str)], is_node_subnet: bool, cluster: &str) -> bool {
    match role(tags) {
        Some("0") => false,
        None | Some("") => is_node_subnet,
        Some(_) => cluster_tags_match(tags, cluster),
    }
}

/// Whether a subnet's cluster tags allow `cluster`: none at all, or its own among them.
#[must_use]
pub fn cluster_tags_match(tags: &[(&str, &str)], cluster: &str) -> bool {
    let mut named = tags.iter().filter_map(|(key, _)| key.strip_prefix(CLUSTER_TAG_PREFIX));
    let Some(first) = named.next() else { return true };
    cluster.is_empty() || first == cluster || named.any(|name| name == cluster)
}

fn role<'a>(tags: &[(&str, &'a str)]) -> Option<&'a str> {
    tags.iter().find(|(key, _)| *key == ROLE_TAG).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_tries_the_emptiest_first() {
        let yes: &[(&str, &str)] = &[(ROLE_TAG, "1")];
        let no: &[(&str, &str)] = &[(ROLE_TAG, "0")];
        let of =
            |subnet, tags, free, is_node_subnet| Candidate { subnet, tags, free, is_node_subnet };
        let all = [
            of('a', &[], 5, true),
            of('b', yes, 90, false),
            of('c', no, 99, false),
            of('d', yes, 90, false),
        ];
        let config = CniConfig::default();
        assert_eq!(subnets_to_try(&config, &all, None), ['b', 'd', 'a']);
        let off = CniConfig { subnet_discovery: false, ..config.clone() };
        assert_eq!(subnets_to_try(&off, &all, None), ['a']);
        let custom = CniConfig { custom_networking: true, ..config };
        assert_eq!(subnets_to_try(&custom, &all, Some('z')), ['z']);
        assert_eq!(subnets_to_try(&custom, &all, None), Vec::<char>::new());
    }
}
