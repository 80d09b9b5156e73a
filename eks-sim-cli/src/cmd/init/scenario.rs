//! The text of a new scenario.

use super::sizing::{self, Demand, Group};
use eks_sim::catalog::Region;
use eks_sim::k8s::Service;
use eks_sim::policy::cluster_autoscaler::requests::{milli, pod_requests};
use eks_sim::spec::Manifests;
use eks_sim::spec::manifest::TemplateRef;
use std::fmt::Write as _;

/// What a scenario is written for.
pub struct Input<'a> {
    /// Its name.
    pub name: &'a str,
    /// Manifests, as they will stand in it.
    pub patterns: &'a [String],
    /// The same, loaded.
    pub manifests: &'a Manifests,
    /// Region of the cluster.
    pub region: Region,
}

const SCHEMA: &str =
    "https://raw.githubusercontent.com/eks-sim/eks-sim/main/scenarios/scenario.schema.json";

/// CPU of a request in thousandths of a second, a guess.
const REQUEST_CPU_MS: f64 = 5.0;
/// Share of its CPU request that a pod is guessed to use, in percent.
const GUESSED_USE: f64 = 40.0;

/// Writes the scenario.
pub fn write(input: &Input<'_>) -> String {
    let demand = sizing::demand(input.manifests);
    let group = sizing::group(&demand, input.region);
    let karpenter = !input.manifests.node_pools.is_empty();
    let mut out = format!("# yaml-language-server: $schema={SCHEMA}\n");
    out.push_str("# Written by `eks-sim init`. Lines marked GUESS are where you know better.\n");
    out.push_str("# `eks-sim check` checks this file, `eks-sim run` simulates it.\n");
    out.push_str("apiVersion: eks-sim/v1\nkind: Scenario\n");
    let _ = writeln!(out, "metadata:\n  name: {}", quoted(input.name));
    out.push_str("spec:\n  duration: 2h               # virtual time of one replication\n");
    out.push_str("  seed: 1\n  replications: 20           # more of them narrow the intervals\n");
    cluster(&mut out, input, &demand, group.as_ref());
    out.push_str("    autoscaler:\n");
    out.push_str(if karpenter {
        "      karpenter: {}          # the manifests have NodePools\n"
    } else {
        "      clusterAutoscaler: {expander: least-waste, scaleDownUnneededTime: 10m}\n"
    });
    out.push_str("    addons: [vpc-cni, coredns, kube-proxy, metrics-server]\n");
    out.push_str("  # Files and folders beside this file; HPAs, PDBs and quotas in them count.\n");
    out.push_str("  manifests:\n");
    for pattern in input.patterns {
        let _ = writeln!(out, "    - {}", quoted(pattern));
    }
    traffic(&mut out, input.manifests);
    out.push_str(OBJECTIVES);
    out
}

const OBJECTIVES: &str =
    "  # What must hold; a miss makes the exit code 1. Remove the `#` to set one.
  objectives: []
  #  - {metric: pod_startup_seconds, stat: p99, max: 120s}
  #  - {metric: served_ratio, min: 99.9%}
  #  - {metric: cost_usd_per_month, max: 2000}
  #  - {metric: ip_exhaustion_seconds, max: 0s}
";

fn cluster(out: &mut String, input: &Input<'_>, demand: &Demand, group: Option<&Group>) {
    let _ = writeln!(out, "  cluster:\n    region: {}\n    version: \"1.34\"", input.region.name());
    out.push_str("    network:\n      vpcCidr: 10.0.0.0/16\n      subnets:                 # GUESS: /20 holds 4,091 addresses each\n");
    for (zone, letter) in input.region.zones().iter().take(3).zip(["a", "b", "c"]) {
        let _ = writeln!(out, "        - {{name: {letter}, zone: {zone}, prefix: 20}}");
    }
    let Some(group) = group else { return };
    let (cores, gib) = (demand.start.cpu as f64 / 1000.0, demand.start.memory as f64 / GIB);
    let _ = writeln!(
        out,
        "    # The pods at the start request {cores:.1} cores and {gib:.1} GiB in {} pods; the largest\n    # one {} m and {:.2} GiB. The type is the cheapest that fits it; a quarter is left free.",
        demand.start.pods,
        demand.largest.cpu,
        demand.largest.memory as f64 / GIB
    );
    if !group.fits {
        out.push_str("    # No type fits the largest pod: it will stay pending.\n");
    }
    let (name, desired, most) = (group.instance.name, group.desired, group.most);
    let _ = writeln!(
        out,
        "    nodeGroups:\n      - name: base\n        instanceTypes: [{name}]\n        minSize: 3\n        desiredSize: {desired}\n        maxSize: {most}          # room for every HPA at its maximum\n        capacityType: ON_DEMAND"
    );
}

const GIB: f64 = (1u64 << 30) as f64;

/// Traffic to each Service that has pods, at a rate that would use part of their CPU.
fn traffic(out: &mut String, manifests: &Manifests) {
    let templates = manifests.templates();
    let services: Vec<_> = manifests.services.iter().map(|s| &s.object).collect();
    let selects = |service: &Service, template: &TemplateRef<'_>| {
        let selector = &service.spec.selector;
        sizing::namespace(&service.metadata) == sizing::namespace(template.metadata)
            && !selector.is_empty()
            && !matches!(template.kind, "Job" | "CronJob" | "DaemonSet")
            && selector.iter().all(|(k, v)| template.labels.get(k) == Some(v))
    };
    let mut lines = String::new();
    for service in &services {
        let behind = templates.iter().filter(|t| selects(service, t));
        // Services before the same pods share them.
        let share = |t: &TemplateRef<'_>| {
            cores(t) / services.iter().filter(|s| selects(s, t)).count().max(1) as f64
        };
        let capacity: f64 = behind.map(share).sum();
        if capacity <= 0.0 {
            continue;
        }
        let rate = capacity * GUESSED_USE / 100.0 / (REQUEST_CPU_MS / 1000.0);
        let namespace = sizing::namespace(&service.metadata);
        let _ = writeln!(
            lines,
            "    - to: {}\n      rate: {{constant: {}/s}}        # GUESS\n      perRequest: {{cpu: {REQUEST_CPU_MS}ms, latencyFloor: 5ms}}   # GUESS",
            quoted(&format!("Service/{namespace}/{}", service.metadata.name)),
            rate.round().max(1.0)
        );
    }
    if lines.is_empty() {
        out.push_str("  traffic: []                # no Service has pods in these manifests\n");
        return;
    }
    out.push_str("  # Requests from outside; `calls` sends some of them on. The rates would use\n");
    let _ = writeln!(out, "  # {GUESSED_USE} % of the CPU that the pods request.");
    out.push_str("  traffic:\n");
    out.push_str(&lines);
}

/// Cores that the pods of a workload request; a pod that names none is guessed to be small.
fn cores(template: &TemplateRef<'_>) -> f64 {
    let request = milli(&pod_requests(template.spec), "cpu").max(50) as f64 / 1000.0;
    request * f64::from(template.replicas.unwrap_or(1).max(1))
}

/// A text as YAML reads it back, quoted where it must be.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let bare = text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if bare { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_needed() {
        assert_eq!(quoted("manifests/web.yaml"), "manifests/web.yaml");
        assert_eq!(quoted("1st \"x\""), "\"1st \\\"x\\\"\"");
        assert_eq!(quoted("no"), "\"no\"");
        assert_eq!(quoted("-"), "\"-\"");
    }
}
