//! The answer for small plans, by hand; `tests/it/subnets.rs` holds it against the simulation.

use super::*;
use crate::study::run::ModelStudy;

fn answer_of(spec: &str) -> Answer {
    let folder = std::env::temp_dir().join(format!("eks-sim-subnets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let name = crate::units::key::key(&spec.bytes().map(u64::from).collect::<Vec<_>>());
    let path = folder.join(format!("{name:x}.yaml"));
    let text = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: plan}}\nspec:\n  duration: 1h\n{spec}"
    );
    std::fs::write(&path, text).unwrap();
    let loaded = crate::spec::load(&path, &[]).unwrap();
    let built = ModelStudy::build(&loaded, &loaded.scenario, &loaded.manifests);
    std::fs::remove_file(&path).unwrap();
    answer(built.unwrap().0.model())
}

fn cluster(cni: &str, subnets: &str, group: &str) -> String {
    format!(
        "  cluster:\n    addons: [vpc-cni, kube-proxy]\n    network:\n      \
         addressPlacement: sequential\n      controlPlaneSubnets: [plane]\n      cni: {{{cni}}}\n      \
         subnets:\n        - {{name: plane, zone: us-east-1f, prefix: 28, role: public}}\n{subnets}\
         \n    nodeGroups:\n      - {{name: base, instanceTypes: [m5.large], {group}}}\n"
    )
}

const ONE: &str = "        - {name: a, zone: us-east-1a, cidr: 10.0.0.0/24}";
const THREE: &str = "        - {name: a, zone: us-east-1a, cidr: 10.0.0.0/24}\n        \
                     - {name: b, zone: us-east-1b, cidr: 10.0.1.0/24}\n        \
                     - {name: c, zone: us-east-1c, cidr: 10.0.2.0/26}";

fn full(answer: &Answer) -> &Rest {
    answer.nodes[0].rest.last().unwrap()
}

#[test]
fn a_slash_24_of_m5_large() {
    // The worked example of the specification: 25 idle nodes; 8 full ones, 225 pods on ten nodes.
    let a = answer_of(&cluster("", ONE, "minSize: 0, desiredSize: 0, maxSize: 100"));
    let idle = &a.nodes[0].rest[0];
    assert_eq!((idle.nodes, idle.addresses_per_node, idle.pods), (25, 10, 0));
    let full = full(&a);
    assert_eq!((full.nodes, full.addresses_per_node, full.pods_per_node), (8, 30, 27));
    assert_eq!((full.pods, full.launches), (225, 10));
    assert_eq!(a.nodes[0].node_bound, Bound::Interfaces);
    assert_eq!(
        (a.nodes[0].first, a.nodes[0].first_subnet.as_deref()),
        (Bound::Addresses, Some("a"))
    );
    assert_eq!(full.zone_lost, None, "there is one zone");
}

#[test]
fn the_smallest_limit_is_named() {
    let a = answer_of(&cluster("", ONE, "desiredSize: 1, maxSize: 4"));
    assert_eq!(a.nodes[0].first, Bound::MaxSize);
    let prefix = cluster("ENABLE_PREFIX_DELEGATION: true", ONE, "desiredSize: 1, maxSize: 50");
    let a = answer_of(&prefix);
    assert_eq!((a.nodes[0].first, a.nodes[0].node_bound), (Bound::Blocks, Bound::MaxPods));
    let small = cluster("", ONE, "desiredSize: 1, maxSize: 50, maxPods: 12");
    assert_eq!(answer_of(&small).nodes[0].node_bound, Bound::MaxPods);
}

#[test]
fn a_lost_zone_takes_its_subnet_with_it() {
    let a = answer_of(&cluster("", THREE, "desiredSize: 1, maxSize: 50"));
    let idle = &a.nodes[0].rest[0];
    // 25, 25 and 5; the worst is to lose a large one.
    assert_eq!(idle.nodes, 25 + 25 + 5);
    assert_eq!(idle.zone_lost, Some(("us-east-1a".to_owned(), 30, 0)));
    let lost = a.situations.iter().filter(|s| s.name.contains("lost")).collect::<Vec<_>>();
    assert_eq!(lost.len(), 3);
    assert_eq!(lost[0].free[1], None, "a lost zone's subnet has nothing");
    assert!(lost.iter().all(|s| s.fits));
}

#[test]
fn remedies_are_quantified() {
    let a = answer_of(&cluster("", ONE, "minSize: 0, desiredSize: 0, maxSize: 100"));
    let effects = &a.suggestions[0].effects;
    let by = |part: &str| effects.iter().find(|e| e.remedy.contains(part)).unwrap();
    assert_eq!((by("as it is").nodes, by("as it is").pods), (8, 225));
    // 27 pods and the interfaces' own addresses whatever the targets: a full node takes 30.
    assert_eq!(by("WARM_IP_TARGET").nodes, 8);
    assert_eq!(by("custom networking").addresses_per_node, 1);
    assert_eq!((by("custom networking").nodes, by("custom networking").pods_per_node), (251, 18));
    assert_eq!((by("IPv6").nodes, by("IPv6").pods_per_node), (251, 108));
    assert_eq!(by("twice").nodes, 507 / 30);
    assert!(by("further subnets").pods > 10_000);
    assert!(effects.iter().skip(1).all(|e| !e.cost.is_empty() && e.factor.is_some()));
}

#[test]
fn what_is_in_use_already_is_no_remedy() {
    let prefix = cluster("ENABLE_PREFIX_DELEGATION: true", ONE, "desiredSize: 1, maxSize: 50");
    let a = answer_of(&prefix);
    let on = |e: &&Effect| e.remedy.contains("PREFIX_DELEGATION=true");
    assert!(!a.suggestions[0].effects.iter().any(|e| on(&e)));
    let off = |e: &&Effect| e.remedy.contains("PREFIX_DELEGATION=false");
    let single = a.suggestions[0].effects.iter().find(off).unwrap();
    assert_eq!((single.nodes, single.pods_per_node), (8, 27));
    let off = answer_of(&cluster("enabled: false", ONE, "desiredSize: 1, maxSize: 50"));
    assert!(off.suggestions.is_empty());
    assert_eq!(off.nodes[0].pod_addresses, None);
}
