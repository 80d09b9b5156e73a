//! Random scenarios, each from one seed, under the eyes of the invariant watcher.
//!
//! `EKS_SIM_SWARM=500 cargo test -p eks-sim --test it swarm` runs more of them;
//! `EKS_SIM_SWARM_SEED=17` replays one and prints its text.

use crate::invariants::watched;
use crate::rig::Text;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A small generator of its own, so that the scenarios do not depend on what is tested.
struct Gen(u64);

impl Gen {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
    fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// The scenario of a seed.
fn scenario(seed: u64) -> Text {
    let mut g = Gen(seed.wrapping_mul(0x1000_0001));
    let mut text = Text::default();
    let minutes = g.of(&[10, 30, 60, 120, 240]);
    let _ = write!(text.spec, "  duration: {minutes}m\n  seed: {}\n", g.below(1000));
    if g.percent(30) {
        let _ = writeln!(text.spec, "  warmup: {}m", g.range(1, 9));
    }
    cluster(&mut g, &mut text);
    let names = workloads(&mut g, &mut text);
    traffic(&mut g, &mut text, &names);
    faults(&mut g, &mut text, minutes);
    text
}

fn cluster(g: &mut Gen, text: &mut Text) {
    let out = &mut text.spec;
    out.push_str("  cluster:\n");
    let _ = writeln!(out, "    version: \"{}\"", g.of(&["1.31", "1.33", "1.34"]));
    if g.percent(30) {
        let _ = writeln!(
            out,
            "    controlPlane: {{apiServers: {}, etcdMembers: {}, replaceMembers: {}}}",
            g.range(2, 4),
            g.of(&[3, 5]),
            g.percent(70)
        );
    }
    let subnets = g.range(1, 4);
    out.push_str("    network:\n");
    let custom = g.percent(15);
    if custom || g.percent(20) {
        let _ = writeln!(
            out,
            "      secondaryCidrs: [100.64.0.0/16]\n      addressPlacement: {}\n      \
             ipFamily: {}",
            g.of(&["random", "sequential"]),
            if custom { "ipv4" } else { g.of(&["ipv4", "ipv6"]) }
        );
    }
    out.push_str("      subnets:\n");
    if custom {
        for (i, zone) in ["a", "b", "c"].into_iter().enumerate() {
            let prefix = g.of(&[22, 24, 26]);
            let _ = writeln!(
                out,
                "      - {{name: pods-{zone}, zone: us-east-1{zone}, role: pods, \
                 cidr: 100.64.{}.0/{prefix}}}",
                i * 4
            );
        }
    }
    for s in 0..subnets {
        let zone = g.of(&["a", "b", "c"]);
        let prefix = g.of(&[20, 22, 24, 24, 26, 27, 28]);
        let used = if g.percent(20) { g.below(6) } else { 0 };
        let _ = writeln!(
            out,
            "      - {{name: s{s}, zone: us-east-1{zone}, prefix: {prefix}, usedAddresses: {used}}}"
        );
    }
    if custom || g.percent(60) {
        let _ = writeln!(
            out,
            "      cni: {{AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: {custom}, ENI_CONFIG_LABEL_DEF: \
             topology.kubernetes.io/zone, ENABLE_POD_ENI: {}, WARM_ENI_TARGET: {}, \
             WARM_IP_TARGET: {}, MINIMUM_IP_TARGET: {}, ENABLE_PREFIX_DELEGATION: {}, \
             MAX_ENI: {}, IP_COOLDOWN_PERIOD: {}}}",
            g.percent(25),
            g.below(3),
            g.of(&[0, 0, 1, 2, 5]),
            g.of(&[0, 0, 3, 10]),
            g.percent(30),
            if custom { g.of(&[0, 2]) } else { g.of(&[0, 0, 1, 2]) },
            g.of(&[0, 30, 30, 60])
        );
    }
    out.push_str("    nodeGroups:\n");
    for n in 0..g.range(1, 3) {
        let kind =
            g.of(&["m5.large", "c5.large", "t3.small", "m6i.xlarge", "t3.medium", "m6g.large"]);
        let max = g.range(1, 8);
        let desired = g.below(max + 1);
        let _ = write!(
            out,
            "    - {{name: g{n}, instanceTypes: [{kind}], minSize: {}, maxSize: {max}, \
             desiredSize: {desired}, capacityType: {}",
            g.below(desired + 1),
            g.of(&["ON_DEMAND", "ON_DEMAND", "SPOT"])
        );
        if g.percent(15) {
            out.push_str(", taints: [{key: team, value: x, effect: NoSchedule}]");
        }
        if g.percent(10) {
            let _ = write!(out, ", maxPods: {}", g.range(3, 20));
        }
        if g.percent(20) {
            let _ = write!(out, ", subnets: [s{}]", g.below(subnets));
        }
        out.push_str("}\n");
    }
    if g.percent(60) {
        let _ = writeln!(
            out,
            "    autoscaler: {{clusterAutoscaler: {{expander: {}, scaleDownUnneededTime: {}m, \
             balanceSimilarNodeGroups: {}}}}}",
            g.of(&["random", "least-waste", "most-pods"]),
            g.range(1, 10),
            g.percent(50)
        );
    }
}

/// Requests, now and then none, now and then more than any node has.
fn requests(g: &mut Gen) -> String {
    let cpu = g.of(&["0", "10m", "100m", "250m", "500m", "900m", "1500m", "3", "20"]);
    let memory = g.of(&["0", "32Mi", "128Mi", "512Mi", "1Gi", "3Gi", "6Gi"]);
    match g.below(10) {
        0 => "{}".to_owned(),
        1 => format!("{{requests: {{cpu: {cpu}}}, limits: {{cpu: \"20\"}}}}"),
        2 => format!("{{limits: {{cpu: {cpu}, memory: {memory}}}}}"),
        _ => format!("{{requests: {{cpu: {cpu}, memory: {memory}}}}}"),
    }
}

fn pod_spec(g: &mut Gen, name: &str, indent: &str, restart: &str) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        let _ = writeln!(out, "{indent}{text}");
    };
    if g.percent(20) {
        line(format!("terminationGracePeriodSeconds: {}", g.of(&[0, 1, 30, 300])));
    }
    if g.percent(10) {
        line(format!("priorityClassName: {}", g.of(&["high", "low"])));
    }
    if g.percent(20) {
        line("tolerations: [{key: team, operator: Exists}]".to_owned());
    }
    if g.percent(8) {
        line(
            "tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 30}]"
                .to_owned(),
        );
        // The key must not come twice.
        if out.matches("tolerations").count() > 1 {
            let at = out.rfind(indent).unwrap_or(0);
            out.truncate(at);
        }
    }
    let mut line = |text: String| {
        let _ = writeln!(out, "{indent}{text}");
    };
    let key = g.of(&["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    if g.percent(25) {
        line(format!(
            "topologySpreadConstraints: [{{maxSkew: {}, topologyKey: {key}, whenUnsatisfiable: {}, \
             labelSelector: {{matchLabels: {{app: {name}}}}}}}]",
            g.range(1, 2),
            g.of(&["DoNotSchedule", "ScheduleAnyway"])
        ));
    }
    if g.percent(20) {
        let (kind, other) = (g.of(&["podAffinity", "podAntiAffinity"]), g.below(4));
        let term = format!(
            "topologyKey: {key}, labelSelector: {{matchLabels: {{app: {}}}}}",
            if g.percent(60) { name.to_owned() } else { format!("w{other}") }
        );
        if g.percent(50) {
            line(format!(
                "affinity: {{{kind}: {{requiredDuringSchedulingIgnoredDuringExecution: [{{{term}}}]}}}}"
            ));
        } else {
            line(format!(
                "affinity: {{{kind}: {{preferredDuringSchedulingIgnoredDuringExecution: \
                 [{{weight: {}, podAffinityTerm: {{{term}}}}}]}}}}",
                g.range(1, 100)
            ));
        }
    }
    if g.percent(8) {
        line(format!(
            "nodeSelector: {{topology.kubernetes.io/zone: us-east-1{}}}",
            g.of(&["a", "b", "d"])
        ));
    }
    if g.percent(5) {
        line("hostNetwork: true".to_owned());
    }
    if !restart.is_empty() {
        line(format!("restartPolicy: {restart}"));
    }
    if g.percent(10) {
        line("initContainers:".to_owned());
        line(format!("- {{name: init, image: init{}, resources: {}}}", g.below(3), requests(g)));
    }
    line("containers:".to_owned());
    for c in 0..g.of(&[1, 1, 1, 2]) {
        let probe = match g.below(3) {
            0 => format!(
                ", readinessProbe: {{httpGet: {{port: 80}}, initialDelaySeconds: {}, periodSeconds: {}, \
                 successThreshold: {}}}",
                g.below(20),
                g.range(1, 15),
                g.range(1, 3)
            ),
            _ => String::new(),
        };
        let pull = if g.percent(20) { ", imagePullPolicy: Always" } else { "" };
        line(format!(
            "- {{name: c{c}, image: \"img{}:1\", resources: {}{probe}{pull}}}",
            g.below(6),
            requests(g)
        ));
    }
    out
}

fn template(g: &mut Gen, name: &str, indent: &str, restart: &str) -> String {
    let inner = format!("{indent}    ");
    format!(
        "{indent}template:\n{indent}  metadata: {{labels: {{app: {name}}}}}\n{indent}  spec:\n{}",
        pod_spec(g, name, &inner, restart)
    )
}

fn workloads(g: &mut Gen, text: &mut Text) -> Vec<String> {
    let mut services = Vec::new();
    let out = &mut text.manifests;
    for (name, value) in [("high", 1000), ("low", -10)] {
        let _ = writeln!(
            out,
            "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\n\
             metadata: {{name: {name}}}\nvalue: {value}"
        );
    }
    for zone in ["a", "b", "c"] {
        let _ = writeln!(
            out,
            "---\napiVersion: crd.k8s.amazonaws.com/v1alpha1\nkind: ENIConfig\n\
             metadata: {{name: us-east-1{zone}}}\nspec: {{subnet: pods-{zone}}}"
        );
    }
    out.push_str(
        "---\napiVersion: vpcresources.k8s.aws/v1beta1\nkind: SecurityGroupPolicy\n\
         metadata: {name: w1}\nspec:\n  podSelector: {matchLabels: {app: w1}}\n  \
         securityGroups: {groupIds: [sg-1]}\n",
    );
    for w in 0..g.range(1, 8) {
        let name = format!("w{w}");
        let kind = g.of(&[
            "Deployment",
            "Deployment",
            "Deployment",
            "StatefulSet",
            "DaemonSet",
            "Job",
            "CronJob",
            "Pod",
        ]);
        workload(g, out, &name, kind);
        if matches!(kind, "Deployment" | "StatefulSet") {
            companions(g, out, &name, kind, &mut services);
        }
    }
    services
}

fn workload(g: &mut Gen, out: &mut String, name: &str, kind: &str) {
    let version = match kind {
        "Pod" => "v1",
        "Job" | "CronJob" => "batch/v1",
        _ => "apps/v1",
    };
    let labels = if kind == "Pod" { format!(", labels: {{app: {name}}}") } else { String::new() };
    let _ = writeln!(
        out,
        "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}{labels}}}\nspec:"
    );
    let selector = format!("  selector: {{matchLabels: {{app: {name}}}}}\n");
    let replicas = g.of(&[0, 1, 2, 3, 5, 10, 25]);
    match kind {
        "Deployment" => {
            let _ = write!(out, "  replicas: {replicas}\n{selector}");
            if g.percent(30) {
                let _ = writeln!(
                    out,
                    "  strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: {}, \
                     maxUnavailable: {}}}}}",
                    g.of(&["1", "50%", "100%"]),
                    g.of(&["0", "1", "25%"])
                );
            }
            if g.percent(20) {
                let _ = writeln!(out, "  minReadySeconds: {}", g.range(1, 30));
            }
            out.push_str(&template(g, name, "  ", ""));
        }
        "StatefulSet" => {
            let _ =
                write!(out, "  replicas: {}\n  serviceName: {name}\n{selector}", replicas.min(5));
            if g.percent(40) {
                out.push_str("  podManagementPolicy: Parallel\n");
            }
            if g.percent(40) {
                out.push_str(
                    "  volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {accessModes: \
                     [ReadWriteOnce], resources: {requests: {storage: 10Gi}}}\n",
                );
            }
            out.push_str(&template(g, name, "  ", ""));
        }
        "DaemonSet" => {
            out.push_str(&selector);
            out.push_str(&template(g, name, "  ", ""));
        }
        "Pod" => out.push_str(&pod_spec(g, name, "  ", "")),
        _ => job(g, out, name, kind == "CronJob"),
    }
}

fn job(g: &mut Gen, out: &mut String, name: &str, cron: bool) {
    let mut indent = "  ";
    if cron {
        let _ = writeln!(
            out,
            "  schedule: \"*/{} * * * *\"\n  concurrencyPolicy: {}\n  jobTemplate:\n    spec:",
            g.range(1, 20),
            g.of(&["Allow", "Forbid", "Replace"])
        );
        indent = "      ";
    }
    let (parallel, all) = (g.range(1, 6), g.range(1, 10));
    let _ = writeln!(out, "{indent}parallelism: {parallel}\n{indent}completions: {all}");
    if g.percent(30) {
        let _ = writeln!(out, "{indent}completionMode: Indexed");
    }
    if g.percent(50) {
        let _ = writeln!(out, "{indent}backoffLimit: {}", g.below(5));
    }
    if g.percent(20) {
        let _ = writeln!(out, "{indent}activeDeadlineSeconds: {}", g.range(30, 600));
    }
    if g.percent(30) {
        let _ = writeln!(out, "{indent}ttlSecondsAfterFinished: {}", g.below(300));
    }
    let restart = g.of(&["Never", "OnFailure"]);
    out.push_str(&template(g, name, indent, restart));
}

fn companions(g: &mut Gen, out: &mut String, name: &str, kind: &str, services: &mut Vec<String>) {
    if g.percent(60) {
        let lb = if g.percent(20) { ", type: LoadBalancer" } else { "" };
        let _ = writeln!(
            out,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]{lb}}}"
        );
        services.push(name.to_owned());
    }
    if g.percent(35) {
        let rule = g.of(&[
            "minAvailable: 1",
            "minAvailable: 50%",
            "maxUnavailable: 1",
            "maxUnavailable: 0",
            "maxUnavailable: 100%",
        ]);
        let _ = writeln!(
            out,
            "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: {name}}}\n\
             spec: {{{rule}, selector: {{matchLabels: {{app: {name}}}}}}}"
        );
    }
    if g.percent(30) {
        let min = g.range(1, 4);
        let _ = writeln!(
            out,
            "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n\
             metadata: {{name: {name}}}\nspec:\n  \
             scaleTargetRef: {{apiVersion: apps/v1, kind: {kind}, name: {name}}}\n  \
             minReplicas: {min}\n  maxReplicas: {}\n  metrics: [{{type: Resource, resource: \
             {{name: cpu, target: {{type: Utilization, averageUtilization: {}}}}}}}]",
            min + g.below(15),
            g.of(&[20, 50, 80])
        );
    }
}

fn traffic(g: &mut Gen, text: &mut Text, services: &[String]) {
    if services.is_empty() {
        return;
    }
    text.spec.push_str("  traffic:\n");
    for (i, name) in services.iter().enumerate() {
        let rate = g.of(&[0, 1, 20, 300, 5000]);
        let shape = match g.below(4) {
            0 => format!("{{constant: {rate}/s}}"),
            1 => format!(
                "{{steps: [{{at: 0s, rate: {rate}/s}}, {{at: {}m, rate: {}/s}}]}}",
                g.range(1, 9),
                g.below(1000)
            ),
            2 => format!("{{diurnal: {{low: {}/s, high: {rate}/s, peak: \"01:00\"}}}}", rate / 4),
            _ => format!("{{constant: {rate}/s, burst: {{cv: 0.5, every: 30s}}}}"),
        };
        let _ = write!(
            text.spec,
            "  - to: Service/{name}\n    rate: {shape}\n    perRequest: {{cpu: {}ms, latencyFloor: {}ms}}\n",
            g.of(&[1, 5, 50, 500]),
            g.of(&[0, 10, 200])
        );
        if g.percent(20) {
            let _ = writeln!(text.spec, "    concurrency: {}", g.range(1, 10));
        }
        if let Some(next) = services.get(i + 1).filter(|_| g.percent(40)) {
            let _ = writeln!(
                text.spec,
                "    calls: [{{to: Service/{next}, perRequest: {}}}]",
                g.of(&["0.5", "1", "2"])
            );
        }
    }
}

fn faults(g: &mut Gen, text: &mut Text, minutes: u64) {
    if g.percent(35) {
        return;
    }
    text.spec.push_str("  faults:\n");
    for _ in 0..g.range(1, 4) {
        let at = g.below(minutes * 60);
        let span = g.range(1, 40);
        let zone = g.of(&["a", "b", "c"]);
        let fault = match g.below(9) {
            0 | 1 => format!("at: {at}s, nodeCrash: {{count: {}}}", g.range(1, 4)),
            // A zone without a subnet is refused.
            2 | 3 if text.spec.contains(&format!("zone: us-east-1{zone}")) => {
                format!("at: {at}s, zoneOutage: {{zone: us-east-1{zone}, duration: {span}m}}")
            }
            4 => format!(
                "at: {at}s, etcdMemberLoss: {{count: {}, duration: {span}m}}",
                g.range(1, 3)
            ),
            5 => format!("at: {at}s, apiServerLoss: {{count: {}}}", g.range(1, 2)),
            6 => format!("random: nodeFailure, meanTimeBetween: {}m", g.range(5, 300)),
            7 => format!("random: etcdMemberLoss, meanTimeBetween: {}m", g.range(5, 100)),
            8 => "random: spotInterruption".to_owned(),
            _ => format!("random: zoneOutage, meanTimeBetween: {}m, duration: {span}m", 60 * span),
        };
        let _ = writeln!(text.spec, "  - {{{fault}}}");
    }
}

/// What is wrong with the scenario of a seed.
fn trial(seed: u64) -> Result<u64, String> {
    let text = scenario(seed);
    let run = || {
        let model = Arc::new(text.try_model().map_err(|e| format!("refused:\n{e}"))?);
        let (outcome, wrong) = watched(&model, 0, 30);
        if wrong.is_empty() { Ok(outcome.events) } else { Err(wrong.join("\n")) }
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(format!("panic: {}", said.unwrap_or_default()))
    })
}

#[test]
fn random_scenarios_keep_the_invariants() {
    if let Ok(seed) = std::env::var("EKS_SIM_SWARM_SEED") {
        let seed = seed.parse().expect("EKS_SIM_SWARM_SEED is a number");
        let text = scenario(seed);
        println!("{}\n=== manifests.yaml\n{}", text.scenario(), text.manifests);
        let started = trial(seed);
        assert!(started.is_ok(), "seed {seed}:\n{}", started.unwrap_err());
        return;
    }
    let read = |name: &str, or: u64| {
        std::env::var(name).ok().map_or(or, |n| n.parse().expect("a number of seeds"))
    };
    let (from, count) = (read("EKS_SIM_SWARM_FROM", 0), read("EKS_SIM_SWARM", 40));
    let mut failed = Vec::new();
    for seed in from..from + count {
        if let Err(why) = trial(seed) {
            failed.push(format!(
                "seed {seed} (replay: EKS_SIM_SWARM_SEED={seed} cargo test -p eks-sim --test it \
                 swarm -- --nocapture):\n{why}"
            ));
        }
    }
    assert!(failed.is_empty(), "{} of {count} fail\n{}", failed.len(), failed.join("\n\n"));
}
