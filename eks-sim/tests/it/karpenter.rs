//! Karpenter in whole clusters: drift, static capacity, repair, stock-outs, what protects nodes,
//! and what `check` says of NodePools that can buy nothing. The workshop's golden decisions (G1
//! to G4, G11) are beside the component.

use eks_sim::engine::Sim;
use eks_sim::observe::collector::Collector;
use eks_sim::observe::outcome::{Detail, NodeRow};
use eks_sim::spec::{Loaded, load_embedded};
use eks_sim::study::run::ModelStudy;
use eks_sim::world::lower;
use std::path::Path;
use std::sync::Arc;

/// NodePool `default` with `inflate` (1Gi a pod) on it.
const BASE: &str = "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: default}
spec:
  template:
    metadata: {labels: {type: karpenter}}
    spec:
      requirements:
        - {key: karpenter.sh/capacity-type, operator: In, values: [CAPACITY]}
        - {key: node.kubernetes.io/instance-type, operator: In, values: [TYPES]}
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      expireAfter: Never
  disruption: DISRUPTION
---
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec:
  amiSelectorTerms: [{alias: al2023@latest}]
  subnetSelectorTerms: [{tags: {karpenter.sh/discovery: c}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: inflate}
spec:
  replicas: 0
  selector: {matchLabels: {app: inflate}}
  template:
    metadata: {labels: {app: inflate}, annotations: {NOTES: \"true\"}}
    spec:
      nodeSelector: {type: karpenter}
      terminationGracePeriodSeconds: 0
      containers:
        - {name: inflate, image: pause:3, resources: {requests: {memory: 1Gi}}}
";

#[derive(Clone, Copy)]
struct Case {
    capacity: &'static str,
    types: &'static str,
    disruption: &'static str,
    note: &'static str,
    manifests: &'static str,
    karpenter: &'static str,
    duration: &'static str,
    more: &'static str,
}

const CASE: Case = Case {
    capacity: "on-demand",
    types: "m5.large, m5.xlarge",
    disruption: "{consolidationPolicy: WhenEmptyOrUnderutilized, consolidateAfter: 1m, \
                  budgets: [{nodes: \"100%\"}]}",
    note: "example/none",
    manifests: "",
    karpenter: "{}",
    duration: "2h",
    more: "",
};

fn load(case: &Case) -> Loaded {
    let manifests = BASE
        .replace("CAPACITY", case.capacity)
        .replace("TYPES", case.types)
        .replace("DISRUPTION", case.disruption)
        .replace("NOTES", case.note);
    let text = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: t}}\nspec:\n  duration: {}\n  \
         manifests: [all.yaml]\n  cluster:\n    \
         nodeGroups: [{{name: system, instanceTypes: [m5.large], minSize: 2, desiredSize: 2, \
         maxSize: 2}}]\n    autoscaler: {{karpenter: {}}}\n{}",
        case.duration, case.karpenter, case.more
    );
    let all = format!("{manifests}{}", case.manifests);
    load_embedded(("t.yaml", &text), ("all.yaml", &all), &[])
        .unwrap_or_else(|d| panic!("{}", d.render()))
}

fn run(case: &Case) -> Detail {
    let loaded = load(case);
    let (model, errors) = lower::build(&loaded.scenario, &loaded.manifests, Path::new(""));
    assert!(errors.iter().all(|e| e.warning), "{errors:?}");
    let model = Arc::new(model.unwrap());
    let mut sim = Sim::new(Arc::clone(&model), 0);
    let mut collector = Collector::new(&model, true);
    let diagnosis = sim.run(&mut collector);
    assert!(diagnosis.is_none(), "{diagnosis:?}");
    let totals = (sim.digest(), sim.events());
    collector.finish(0, sim.world(), &model, totals, diagnosis).detail.unwrap()
}

/// Nodes of a NodePool, in order of their launch.
fn of_pool<'d>(detail: &'d Detail, pool: &str) -> Vec<&'d NodeRow> {
    detail.nodes.iter().filter(|n| n.group == pool).collect()
}

fn minute(row: &NodeRow) -> u64 {
    row.requested.secs_f64() as u64 / 60
}

fn reasons(detail: &Detail, reason: &str) -> Vec<String> {
    let of = detail.events.iter().filter(|e| e.component == "karpenter" && e.reason == reason);
    of.map(|e| e.message.clone()).collect()
}

/// A label of the template, a kubelet setting and an image make nodes drift, each once; the
/// replacement is there before the node goes. Limits and disruption settings do not.
#[test]
fn changed_pools_and_images_make_nodes_drift() {
    let detail = run(&Case {
        duration: "5h",
        more: "  workloads: [{for: Deployment/inflate, scale: [{at: 5m, replicas: 5}]}]
  changes:
    - {at: 1h, target: NodePool/default, set: {limits: {cpu: 100}, disruption.consolidateAfter: 2m}}
    - {at: 2h, target: NodePool/default, set: {template.metadata.labels.team: a}}
    - {at: 3h, target: EC2NodeClass/default, set: {kubelet.maxPods: 20}}
    - {at: 4h, imageRelease: al2023}
",
        ..CASE
    });
    let nodes = of_pool(&detail, "default");
    let launched: Vec<u64> = nodes.iter().map(|n| minute(n)).collect();
    assert_eq!(nodes.len(), 4, "{launched:?}");
    assert_eq!(launched[1..3], [120, 180], "{launched:?}");
    // Images are compared every five minutes.
    assert!((240..=246).contains(&launched[3]), "{launched:?}");
    for pair in nodes.windows(2) {
        assert_eq!(pair[0].reason, "drifted");
        assert!(pair[0].terminated > pair[1].ready, "the replacement comes first");
    }
    assert_eq!(nodes[2].max_pods, 20);
    let why = reasons(&detail, "Drifted");
    assert_eq!(why, ["NodePoolDrifted", "NodeClassDrifted", "AMIDrift"]);
}

/// Requirements drift by what they mean: a wider list moves nothing, one without the node's type
/// does.
#[test]
fn requirements_drift_by_their_meaning() {
    let detail = run(&Case {
        duration: "3h",
        types: "m5.large",
        more: "  workloads: [{for: Deployment/inflate, scale: [{at: 5m, replicas: 5}]}]
  changes:
    - {at: 1h, target: NodePool/default, set: {'template.spec.requirements[1].values': \
           [m5.large, m6i.large]}}
    - {at: 2h, target: NodePool/default, set: {'template.spec.requirements[1].values': \
           [m6i.large]}}
",
        ..CASE
    });
    let types: Vec<&str> =
        of_pool(&detail, "default").iter().map(|n| n.instance_type.as_str()).collect();
    assert_eq!(types, ["m5.large", "m6i.large"]);
    assert_eq!(reasons(&detail, "Drifted"), ["RequirementsDrifted"]);
}

/// A drifted node whose pods may not be evicted stays.
#[test]
fn budgets_and_annotations_hold_drift_up() {
    for (note, manifests, why) in [
        ("karpenter.sh/do-not-disrupt", "", "has the do-not-disrupt annotation"),
        (
            "example/none",
            "---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: inflate}
spec: {maxUnavailable: 0, selector: {matchLabels: {app: inflate}}}
",
            "pdb default/inflate prevents pod evictions",
        ),
    ] {
        let detail = run(&Case {
            note,
            manifests,
            more: "  workloads: [{for: Deployment/inflate, scale: [{at: 5m, replicas: 5}]}]
  changes: [{at: 1h, target: NodePool/default, set: {template.metadata.labels.team: a}}]
",
            ..CASE
        });
        assert_eq!(of_pool(&detail, "default").len(), 1);
        let told = reasons(&detail, "DisruptionBlocked");
        assert!(told.iter().any(|t| t.contains(why)), "{why}: {told:?}");
    }
}

/// A budget that a cron schedule closes in the morning lets the node go afterwards.
#[test]
fn a_scheduled_budget_closes_for_its_time() {
    let detail = run(&Case {
        duration: "6h",
        disruption: "{consolidationPolicy: WhenEmptyOrUnderutilized, consolidateAfter: 1m, \
                      budgets: [{nodes: \"100%\"}, {nodes: \"0\", schedule: \"0 1 * * *\", \
                      duration: 3h}]}",
        more: "  startTime: \"2026-01-05T00:00:00Z\"
  workloads: [{for: Deployment/inflate, scale: [{at: 5m, replicas: 5}, {at: 1h30m, replicas: 0}]}]
",
        ..CASE
    });
    let ended: Vec<u64> = of_pool(&detail, "default")
        .iter()
        .map(|n| n.terminated.map_or(0, |t| t.secs_f64() as u64 / 60))
        .collect();
    assert!((240..=242).contains(&ended[0]), "{ended:?}");
}

/// Static capacity keeps its number of nodes, whatever pods do, follows changes of the number,
/// and is not consolidated. Without its gate the NodePool is left out.
#[test]
fn static_capacity_keeps_its_number() {
    const FIXED: &str = "---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: fixed}
spec:
  replicas: 3
  limits: {nodes: 4}
  template:
    spec:
      requirements: [{key: node.kubernetes.io/instance-type, operator: In, values: [c6i.large]}]
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
";
    let case = Case {
        manifests: FIXED,
        karpenter: "{featureGates: {StaticCapacity: true}}",
        more: "  changes:
    - {at: 30m, target: NodePool/fixed, set: {replicas: 9}}
    - {at: 1h, target: NodePool/fixed, set: {replicas: 1}}
",
        ..CASE
    };
    let detail = run(&case);
    let nodes = of_pool(&detail, "fixed");
    // Nine are more than the limit of nodes.
    assert_eq!(nodes.len(), 4);
    assert_eq!(nodes.iter().filter(|n| n.terminated.is_none()).count(), 1);
    assert!(nodes.iter().all(|n| n.terminated.is_none_or(|t| t.secs_f64() >= 3600.0)));
    let detail = run(&Case { karpenter: "{}", more: "", ..case });
    assert!(of_pool(&detail, "fixed").is_empty());
}

/// A crashed node is replaced by repair after its toleration, although its pod may never be
/// evicted; without the gate it stays.
#[test]
fn repair_replaces_a_dead_node() {
    let case = Case {
        note: "karpenter.sh/do-not-disrupt",
        types: "m5.large",
        karpenter: "{featureGates: {NodeRepair: true}}",
        manifests: "---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: inflate}
spec: {maxUnavailable: 0, selector: {matchLabels: {app: inflate}}}
",
        disruption: "{consolidateAfter: Never, budgets: [{nodes: \"0\"}]}",
        more: "  workloads: [{for: Deployment/inflate, scale: [{at: 5m, replicas: 30}]}]
  faults: [{at: 30m, nodeCrash: {nodeGroup: default}}]
",
        ..CASE
    };
    let unhealthy = |detail: &Detail| {
        let of = of_pool(detail, "default").into_iter().filter(|n| n.reason == "unhealthy");
        of.filter_map(|n| n.terminated).map(|t| t.secs_f64() as u64 / 60).collect::<Vec<_>>()
    };
    let ended = unhealthy(&run(&case));
    assert!(ended.len() == 1 && (60..=62).contains(&ended[0]), "{ended:?}");
    assert!(unhealthy(&run(&Case { karpenter: "{}", ..case })).is_empty());
}

/// More than a fifth of the NodePool unhealthy: repair leaves them alone.
#[test]
fn repair_stops_where_too_many_are_ill() {
    let detail = run(&Case {
        types: "m5.large",
        karpenter: "{featureGates: {NodeRepair: true}}",
        disruption: "{consolidateAfter: Never, budgets: [{nodes: \"0\"}]}",
        more: "  workloads: [{for: Deployment/inflate, scale: [{at: 5m, replicas: 15}]}]
  faults: [{at: 30m, nodeCrash: {nodeGroup: default, count: 2}}]
",
        ..CASE
    });
    let nodes = of_pool(&detail, "default");
    assert!(nodes.iter().all(|n| n.reason != "unhealthy"), "{nodes:?}");
}

/// Spot has run out: the launch is refused, the pool is avoided, pods come up on demand; once
/// spot is back, consolidation returns to it.
#[test]
fn a_spot_stockout_falls_back_to_on_demand() {
    let detail = run(&Case {
        capacity: "spot, on-demand",
        duration: "4h",
        more: "  workloads: [{for: Deployment/inflate, scale: [{at: 10m, replicas: 5}]}]
  faults: [{at: 5m, capacityStockout: {instanceTypes: ['m5.*'], capacityType: spot, duration: 2h}}]
",
        ..CASE
    });
    let nodes = of_pool(&detail, "default");
    assert_eq!(nodes[0].capacity_type, "ON_DEMAND");
    // One refusal, the requeue of ten seconds, and the launch.
    assert!((610.0..640.0).contains(&nodes[0].requested.secs_f64()));
    let last = nodes.last().unwrap();
    assert!(last.capacity_type == "SPOT" && minute(last) >= 125, "{nodes:?}");
    assert!(detail.events.iter().any(|e| e.message == "InsufficientInstanceCapacity"));
}

/// Random stock-outs are the same pools at the same times, whatever else is launched; with a
/// mean duration far above the time between them nearly every first choice is refused.
#[test]
fn random_stockouts_persist() {
    let case = Case {
        capacity: "spot",
        types: "m5.large, m5a.large, m6i.large, m6a.large, m7i.large",
        more: "  workloads: [{for: Deployment/inflate, scale: [{at: 10m, replicas: 60}]}]
  faults: [{random: capacityStockout, meanTimeBetween: 1h, duration: 9h}]
",
        ..CASE
    };
    let first = run(&case);
    let refused = first.events.iter().filter(|e| e.message == "InsufficientInstanceCapacity");
    assert!(refused.count() > 0);
    let bought = of_pool(&first, "default");
    assert!(!bought.is_empty(), "one in ten of fifteen pools has capacity");
    let again = run(&case);
    assert_eq!(bought.len(), of_pool(&again, "default").len());
}

/// A machine that dies before its kubelet registers is given up after fifteen minutes.
#[test]
fn a_node_that_never_registers_is_given_up() {
    let detail = run(&Case {
        types: "m5.large",
        more: "  workloads: [{for: Deployment/inflate, scale: [{at: 10m, replicas: 5}]}]
  faults:
    - {at: 610s, zoneOutage: {zone: us-east-1a, duration: 10m}}
    - {at: 610s, zoneOutage: {zone: us-east-1b, duration: 10m}}
    - {at: 610s, zoneOutage: {zone: us-east-1c, duration: 10m}}
",
        ..CASE
    });
    let nodes = of_pool(&detail, "default");
    assert_eq!(nodes[0].reason, "did not register in time");
    let life = nodes[0].terminated.unwrap().since(nodes[0].requested).secs_f64();
    assert!((895.0..=905.0).contains(&life), "{life}");
    let last = nodes.last().unwrap();
    assert!(last.ready.is_some() && last.pods_max >= 5);
}

/// Both orders of candidates: by savings per disruption the dear node with few pods goes first,
/// by disruption cost the node with fewer pods, whatever it costs.
#[test]
fn versions_sort_candidates_differently() {
    use eks_sim::policy::karpenter::consolidation::{candidate_order, disruption_cost};
    let (small, large) = ((0.10, 3.0), (0.80, 6.0));
    assert_eq!(candidate_order(&[small, large]), [1, 0]);
    assert!(disruption_cost(2.0, 1.0) < disruption_cost(5.0, 1.0));
    // The version of the scenario selects the order.
    for (version, refused) in [("1.14.1", false), ("1.13", false), ("0.37", true), ("x", true)] {
        let text = format!("{{version: \"{version}\"}}");
        let karpenter: &'static str = Box::leak(text.into_boxed_str());
        let loaded = load(&Case { karpenter, ..CASE });
        let (model, errors) = lower::build(&loaded.scenario, &loaded.manifests, Path::new(""));
        assert_eq!(errors.iter().any(|e| !e.warning), refused, "{version}: {errors:?}");
        let order = model.and_then(|m| m.karpenter).map(|k| k.options.candidate_order);
        use eks_sim::policy::karpenter::options::CandidateOrder::*;
        let expected = if version == "1.13" { DisruptionCost } else { SavingsPerDisruption };
        assert!(order.is_none_or(|o| o == expected));
    }
}

/// A requirement that leaves nothing is told at its line, with what each requirement leaves.
#[test]
fn check_names_the_requirement_that_leaves_nothing() {
    let loaded = load(&Case { types: "m5.large, m5.gigantic", ..CASE });
    let (_, quiet) = ModelStudy::build(&loaded, &loaded.scenario, &loaded.manifests).unwrap();
    assert!(quiet.is_empty(), "{}", quiet.render());
    let loaded = load(&Case { types: "m5.gigantic", ..CASE });
    let (_, found) = ModelStudy::build(&loaded, &loaded.scenario, &loaded.manifests).unwrap();
    let one = found.iter().next().unwrap();
    assert_eq!((&*one.location.file, one.location.line), ("all.yaml", 11), "{}", found.render());
    assert!(one.message.contains("instance-type In m5.gigantic leaves 0"), "{}", one.message);
    let loaded = load(&Case { capacity: "reserved", ..CASE });
    let (_, found) = ModelStudy::build(&loaded, &loaded.scenario, &loaded.manifests).unwrap();
    assert!(found.render().contains("is sold as In [reserved]"), "{}", found.render());
}

/// Mistakes in the new fields are refused at their place, with the mend.
#[test]
fn wrong_changes_and_stockouts_are_refused() {
    for (more, path, what) in [
        (
            "  changes: [{at: 1h, target: NodePool/defualt, set: {weight: 3}}]\n",
            "changes[0].target",
            "NodePool/defualt",
        ),
        (
            "  changes: [{at: 1h, target: NodePool/default, set: {wieght: 3}}]\n",
            "changes[0].set",
            "no field `wieght`",
        ),
        ("  changes: [{at: 1h, target: NodePool/default}]\n", "changes[0]", "changed by `set`"),
        (
            "  changes: [{at: 1h, target: EC2NodeClass/default, set: {kubelet: 3}}]\n",
            "changes[0].set",
            "cannot be read",
        ),
        (
            "  changes: [{at: 1h, imageRelease: windows}]\n",
            "changes[0].imageRelease",
            "no image family",
        ),
        (
            "  faults: [{at: 1h, capacityStockout: {instanceTypes: [m9.large]}}]\n",
            "faults[0].capacityStockout.instanceTypes[0]",
            "no instance type",
        ),
        (
            "  faults: [{at: 1h, capacityStockout: {zones: [eu-west-1a]}}]\n",
            "faults[0].capacityStockout.zones[0]",
            "no subnet",
        ),
        (
            "  faults: [{at: 1h, capacityStockout: {capacityType: cheap}}]\n",
            "faults[0].capacityStockout.capacityType",
            "no capacity type",
        ),
        (
            "  faults: [{at: 1h, capacityStockout: {duration: 0s}}]\n",
            "faults[0].capacityStockout.duration",
            "without any time",
        ),
    ] {
        let loaded = load(&Case { more, ..CASE });
        let (_, errors) = lower::build(&loaded.scenario, &loaded.manifests, Path::new(""));
        let error = errors.iter().find(|e| !e.warning).unwrap_or_else(|| panic!("{more}"));
        assert!(error.path.starts_with(path) && error.message.contains(what), "{error:?}");
        assert!(!error.help.is_empty());
    }
    let case = Case { more: "  changes: [{at: 1h, imageRelease: al2}]\n", ..CASE };
    let (_, found) = lower::build(&load(&case).scenario, &load(&case).manifests, Path::new(""));
    assert!(found.iter().any(|e| e.message.contains("nothing drifts")), "{found:?}");
}

/// What `explain` tells: candidates and prices of a purchase, cheaper types that would not do.
#[test]
fn purchases_are_explained() {
    let detail = run(&Case {
        types: "c5.large, m5.large, r5.large, m5.xlarge",
        more: "  workloads: [{for: Deployment/inflate, scale: [{at: 10m, replicas: 5}]}]\n",
        ..CASE
    });
    let nodes = of_pool(&detail, "default");
    let why = nodes[0].purchase.as_ref().unwrap();
    assert_eq!((why.pods, why.pool.as_str()), (5, "default"));
    assert_eq!(why.cheapest.first().map(|c| c.0.as_str()), Some("m5.large"));
    let (cheaper, _, reason) = &why.ruled_out[0];
    assert_eq!(cheaper, "c5.large");
    assert!(reason.starts_with("needs memory 5120Mi, has 3114Mi"), "{reason}");
    let counts: Vec<usize> = why.narrowed.iter().map(|(_, left)| *left).collect();
    assert!(counts.windows(2).all(|w| w[0] >= w[1]), "{:?}", why.narrowed);
    let nominated = reasons(&detail, "Nominated");
    assert!(nominated.iter().filter(|m| m.ends_with("default-00000")).count() >= 5);
}

/// E5: Karpenter's estimate for every type of the catalogue equals the published columns.
#[test]
fn estimates_equal_the_published_columns() {
    use eks_sim::catalog::{Catalog, Defaults, NodeSettings, karpenter_estimate};
    let settings = NodeSettings::new(&Defaults::standard());
    let (mut seen, mut wrong) = (0, Vec::new());
    for t in Catalog::embedded().iter() {
        let Some(published) = t.karpenter else { continue };
        let Some(own) = karpenter_estimate(t, &settings) else {
            wrong.push(t.name);
            continue;
        };
        seen += 1;
        let same = own.allocatable.cpu == published.cpu
            && own.allocatable.memory.raw() >> 20 == published.memory_mib
            && own.pods == published.pods;
        if !same {
            wrong.push(t.name);
        }
    }
    assert!(seen > 500, "{seen}");
    assert!(wrong.is_empty(), "{} of {seen}: {wrong:?}", wrong.len());
    for (name, mib) in
        [("m5.large", 6903), ("c5.large", 3114), ("m5.xlarge", 14162), ("r5.large", 14481)]
    {
        let own = karpenter_estimate(Catalog::embedded().get(name).unwrap(), &settings).unwrap();
        assert_eq!(own.allocatable.memory.raw() >> 20, mib, "{name}");
    }
}

/// Every NodePool of other projects builds a model: nothing is refused, and what buys nothing or
/// is left out says why.
#[test]
fn real_node_pools_build() {
    let Some(root) = crate::spec_real::folder() else { return };
    let mut files = Vec::new();
    let mut folders = vec![root.join("karpenter-examples"), root.join("eks-workshop-v2")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml")
                && std::fs::read_to_string(&path).is_ok_and(|t| t.contains("kind: NodePool"))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() >= 24, "{files:?}");
    let mut bought = 0;
    for file in &files {
        let text = format!(
            "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: t}}\nspec:\n  duration: 1h\n  \
             manifests: [{}]\n  cluster: {{autoscaler: {{karpenter: {{}}}}}}\n",
            serde_json::to_string(&file.to_string_lossy()).unwrap()
        );
        let loaded = eks_sim::spec::load_scenario_text("t.yaml", &text, Path::new(""), &[])
            .unwrap_or_else(|d| panic!("{}", d.render()));
        let pools = loaded.manifests.node_pools.len();
        let (model, found) = lower::build(&loaded.scenario, &loaded.manifests, Path::new(""));
        let karpenter = model.unwrap_or_else(|| panic!("{}: {found:?}", file.display()));
        let built = karpenter.karpenter.unwrap().pools;
        let empty = built.iter().filter(|(_, p)| p.types.is_empty()).count();
        bought += built.len() - empty;
        let told = found.iter().filter(|e| e.path.starts_with("manifests: NodePool")).count();
        let silent = pools - built.len() + empty;
        assert!(told >= silent, "{}: {found:?}", file.display());
    }
    assert!(bought >= 20, "{bought}");
}
