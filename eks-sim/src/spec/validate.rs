//! What a scenario must be beyond its types: sizes in order, names known, references that lead
//! somewhere.

mod mixed;
mod network;
mod nodes;

use super::codes;
use super::diagnostic::Reporter;
use super::manifest::{self, Manifests};
use super::node::Node;
use super::scenario::{NodeGroupSpec, Scenario, SubnetSpec};
use super::source::SourceSpan;
use super::suggest;
use crate::catalog::Catalog;
use std::collections::BTreeSet;

struct Checker<'a, 'r> {
    tree: &'a Node<'a>,
    reporter: &'a mut Reporter<'r>,
}

impl Checker<'_, '_> {
    fn error(&mut self, code: &'static str, path: &str, message: String, help: impl Into<String>) {
        let span = span_of(self.tree, path);
        self.reporter.error(code, span, message, help);
    }
    fn warning(
        &mut self,
        code: &'static str,
        path: &str,
        message: String,
        help: impl Into<String>,
    ) {
        let span = span_of(self.tree, path);
        self.reporter.warning(code, span, message, help);
    }
    fn one_of(&mut self, path: &str, value: &str, allowed: &[&str]) {
        if allowed.contains(&value) {
            return;
        }
        let help = match suggest::nearest(value, allowed.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {}", suggest::list(allowed.iter().copied())),
        };
        self.error(codes::UNKNOWN_VALUE, path, format!("`{path}` cannot be `{value}`"), help);
    }
}

/// Where a path stands; a field that is not written is shown by the deepest part that is.
pub(super) fn span_of(tree: &Node<'_>, path: &str) -> SourceSpan {
    let mut node = tree;
    let mut span = tree.entries().first().map_or(tree.span, |e| e.key_span);
    for part in path.split('.') {
        let entry = node.entry(part);
        let Some(next) = entry.map(|e| &e.value).or_else(|| node.at(part)) else { break };
        let collection = !next.entries().is_empty() || !next.items().is_empty();
        span = match entry {
            Some(e) if collection => e.key_span,
            _ if collection => next.entries().first().map_or(next.span, |e| e.key_span),
            _ => next.span,
        };
        node = next;
    }
    span
}

/// Checks a decoded scenario against its manifests and the catalogue.
pub fn check(
    scenario: &Scenario,
    manifests: &Manifests,
    tree: &Node<'_>,
    reporter: &mut Reporter<'_>,
) {
    let mut c = Checker { tree, reporter };
    let spec = &scenario.spec;
    if let Some(mend) = manifest::name_problem(&scenario.metadata.name) {
        let message = format!("`{}` is no name for a scenario", scenario.metadata.name);
        c.error(codes::BAD_NAME, "metadata.name", message, mend);
    }
    if spec.duration.is_zero() {
        c.error(
            codes::OUT_OF_RANGE,
            "spec.duration",
            "`duration` cannot be 0".to_owned(),
            "write for example `8h`",
        );
    }
    if spec.replications == 0 {
        c.error(
            codes::OUT_OF_RANGE,
            "spec.replications",
            "`replications` cannot be 0".to_owned(),
            "write 1 or more",
        );
    }
    if spec.warmup >= spec.duration && !spec.duration.is_zero() {
        let message = "`warmup` is not shorter than `duration`, so nothing would be measured";
        c.error(
            codes::CONTRADICTION,
            "spec.warmup",
            message.to_owned(),
            "shorten `warmup` or lengthen `duration`",
        );
    }
    cluster(scenario, &mut c);
    unique(&mut c, "spec.variants", spec.variants.iter().map(|v| v.name.as_str()));
    for (i, variant) in spec.variants.iter().enumerate() {
        if let Some(mend) = manifest::name_problem(&variant.name) {
            let message = format!("`{}` is no name for a variant", variant.name);
            c.error(codes::BAD_NAME, &format!("spec.variants.{i}.name"), message, mend);
        }
    }
    for (i, objective) in spec.objectives.iter().enumerate() {
        if objective.max.is_none() && objective.min.is_none() {
            let message = "an objective needs `max` or `min`".to_owned();
            c.error(
                codes::MISSING_FIELD,
                &format!("spec.objectives.{i}.metric"),
                message,
                "add for example `max: 60s`",
            );
        }
    }
    load(scenario, &mut c);
    traffic(scenario, manifests, &mut c);
    plan(scenario, &mut c);
}

fn unique<'a>(c: &mut Checker<'_, '_>, list: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeSet::new();
    for (i, name) in names.enumerate() {
        if !seen.insert(name) {
            let message = format!("two entries of `{list}` are called `{name}`");
            c.error(
                codes::NOT_UNIQUE,
                &format!("{list}.{i}.name"),
                message,
                "give each its own name",
            );
        }
    }
}

fn cluster(scenario: &Scenario, c: &mut Checker<'_, '_>) {
    let cluster = &scenario.spec.cluster;
    let at = "spec.cluster";
    let regions = ["us-east-1", "us-west-2", "eu-west-1"];
    c.one_of("spec.cluster.region", &cluster.region, &regions);
    let tiers = ["standard", "xl", "2xl", "4xl", "8xl"];
    c.one_of("spec.cluster.controlPlane.tier", &cluster.control_plane.tier, &tiers);
    let addons = [
        "vpc-cni",
        "coredns",
        "kube-proxy",
        "metrics-server",
        "aws-ebs-csi-driver",
        "eks-pod-identity-agent",
        "karpenter",
    ];
    for (i, addon) in cluster.addons.iter().enumerate() {
        c.one_of(&format!("{at}.addons.{i}"), addon, &addons);
    }
    let scaler = &cluster.autoscaler;
    let chosen = [
        scaler.cluster_autoscaler.is_some(),
        scaler.karpenter.is_some(),
        scaler.auto_mode.is_some(),
    ];
    if chosen.iter().filter(|c| **c).count() > 1 {
        let message = "more than one autoscaler of nodes".to_owned();
        c.error(
            codes::CONTRADICTION,
            "spec.cluster.autoscaler",
            message,
            "keep one of `clusterAutoscaler`, `karpenter` and `autoMode`",
        );
    }
    unique(c, "spec.cluster.nodeGroups", cluster.node_groups.iter().map(|g| g.name.as_str()));
    unique(
        c,
        "spec.cluster.network.subnets",
        cluster.network.subnets.iter().map(|s| s.name.as_str()),
    );
    for (i, group) in cluster.node_groups.iter().enumerate() {
        let at = format!("{at}.nodeGroups.{i}");
        node_group(group, &cluster.network.subnets, &at, c);
        if let Some(mixed) = &group.mixed_instances {
            let autoscaled = cluster.autoscaler.cluster_autoscaler.is_some();
            mixed::check(group, mixed, autoscaled, &at, c);
        }
    }
    nodes::outside(scenario, c);
    if let Some(spec) = &cluster.autoscaler.cluster_autoscaler {
        let at = "spec.cluster.autoscaler.clusterAutoscaler";
        nodes::cluster_autoscaler(spec, cluster, at, c);
    }
    network::check(scenario, c);
}

fn node_group(group: &NodeGroupSpec, subnets: &[SubnetSpec], at: &str, c: &mut Checker<'_, '_>) {
    if let Some(mend) = manifest::name_problem(&group.name) {
        let message = format!("`{}` is no name for a node group", group.name);
        c.error(codes::BAD_NAME, &format!("{at}.name"), message, mend);
    }
    let (min, desired, max) = (group.min_size, group.desired_size, group.max_size);
    if min > max {
        let message = format!("`minSize` ({min}) is above `maxSize` ({max})");
        c.error(
            codes::CONTRADICTION,
            &format!("{at}.minSize"),
            message,
            "swap the two, or raise `maxSize`",
        );
    } else if desired < min || desired > max {
        let message = format!(
            "`desiredSize` ({desired}) is not between `minSize` ({min}) and `maxSize` ({max})"
        );
        c.error(
            codes::CONTRADICTION,
            &format!("{at}.desiredSize"),
            message,
            format!("write a number from {min} to {max}"),
        );
    }
    c.one_of(&format!("{at}.capacityType"), &group.capacity_type, &["ON_DEMAND", "SPOT"]);
    let images = ["AL2023", "BOTTLEROCKET", "AL2", "WINDOWS", "WINDOWS_TUNED"];
    c.one_of(&format!("{at}.amiFamily"), &group.ami_family, &images);
    c.one_of(&format!("{at}.kind"), &group.kind, &["managed", "self-managed"]);
    if group.instance_types.is_empty() {
        let message = "the node group has no instance type".to_owned();
        c.error(
            codes::MISSING_FIELD,
            &format!("{at}.instanceTypes"),
            message,
            "add for example `instanceTypes: [m6i.large]`",
        );
    }
    for (i, name) in group.instance_types.iter().enumerate() {
        if Catalog::embedded().get(name).is_none() {
            let near = Catalog::embedded().nearest_names(name, 3);
            let help = if near.is_empty() {
                "`eks-sim catalog` lists the types".to_owned()
            } else {
                format!("did you mean {}? `eks-sim catalog` lists the types", suggest::list(near))
            };
            let message = format!("unknown instance type `{name}`");
            c.error(codes::UNKNOWN_VALUE, &format!("{at}.instanceTypes.{i}"), message, help);
        }
    }
    for (i, name) in group.subnets.iter().enumerate() {
        if !subnets.iter().any(|s| s.name == *name) {
            let names = || subnets.iter().map(|s| s.name.as_str());
            let help = match suggest::nearest(name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write {}", suggest::list(names())),
            };
            let message = format!("no subnet `{name}`");
            c.error(codes::NO_SUCH_OBJECT, &format!("{at}.subnets.{i}"), message, help);
        }
    }
    nodes::taints(&group.taints, &format!("{at}.taints"), c);
    nodes::taints(&group.startup_taints, &format!("{at}.startupTaints"), c);
}

/// `Service/NAME` or `Service/NAMESPACE/NAME`.
pub(super) fn service_of(text: &str) -> Option<(Option<&str>, &str)> {
    let rest = text.strip_prefix("Service/")?;
    match rest.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Some((Some(namespace), name))
        }
        None if !rest.is_empty() => Some((None, rest)),
        _ => None,
    }
}

/// How requests are simulated, and what a mesh adds to them.
fn load(scenario: &Scenario, c: &mut Checker<'_, '_>) {
    if let Some(mode) = &scenario.spec.load.mode {
        c.one_of("spec.load.mode", mode, &["fluid", "exact"]);
    }
    if let Some(start) = scenario.spec.mesh.as_ref().and_then(|m| m.start.as_ref()) {
        c.one_of("spec.mesh.start", start, &["before", "together"]);
    }
}

fn traffic(scenario: &Scenario, manifests: &Manifests, c: &mut Checker<'_, '_>) {
    for (i, traffic) in scenario.spec.traffic.iter().enumerate() {
        let at = format!("spec.traffic.{i}");
        target(&traffic.to, &format!("{at}.to"), manifests, c);
        for (j, call) in traffic.calls.iter().enumerate() {
            target(&call.to, &format!("{at}.calls.{j}.to"), manifests, c);
            if !(call.per_request.is_finite() && call.per_request >= 0.0) {
                let message = format!("`perRequest` cannot be {}", call.per_request);
                c.error(
                    codes::OUT_OF_RANGE,
                    &format!("{at}.calls.{j}.perRequest"),
                    message,
                    "write 0 or more",
                );
            }
        }
        if let Some(discipline) = &traffic.discipline {
            c.one_of(&format!("{at}.discipline"), discipline, &["processorSharing", "fifo"]);
        }
        if let Some(balancing) = &traffic.balancing {
            c.one_of(&format!("{at}.balancing"), balancing, &["shared", "random"]);
        }
        let Some(rate) = &traffic.rate else { continue };
        let shapes = [
            rate.constant.is_some(),
            rate.steps.is_some(),
            rate.ramp.is_some(),
            rate.diurnal.is_some(),
            rate.csv.is_some(),
            rate.prometheus.is_some(),
            rate.counts.is_some(),
        ];
        if shapes.iter().filter(|s| **s).count() != 1 {
            let message = "a rate has exactly one shape".to_owned();
            c.error(
                codes::ONE_OF,
                &format!("{at}.rate"),
                message,
                "keep one of `constant`, `steps`, `ramp`, `diurnal`, `csv`, `prometheus` or `counts`",
            );
        }
    }
}

fn target(text: &str, path: &str, manifests: &Manifests, c: &mut Checker<'_, '_>) {
    let Some((namespace, name)) = service_of(text) else {
        let message = format!("`{text}` names no Service");
        return c.error(
            codes::BAD_VALUE,
            path,
            message,
            format!("write `Service/{text}` or `Service/NAMESPACE/NAME`"),
        );
    };
    let here = |s: &&manifest::Sourced<crate::k8s::Service>| {
        namespace.is_none_or(|n| s.object.metadata.namespace_or_default() == n)
    };
    let found = manifests.services.iter().filter(here).filter(|s| s.object.metadata.name == name);
    match found.count() {
        1 => {}
        0 => {
            let names = || manifests.services.iter().map(|s| s.object.metadata.name.as_str());
            let help = match suggest::nearest(name, names()) {
                Some(near) => format!("did you mean `Service/{near}`?"),
                None if manifests.services.is_empty() => {
                    "add the Service to the manifests; they hold none".to_owned()
                }
                None => format!("the manifests have {}", suggest::list(names())),
            };
            c.error(
                codes::NO_SUCH_SERVICE,
                path,
                format!("no Service `{name}` among the manifests"),
                help,
            );
        }
        n => {
            let message = format!("{n} Services are called `{name}`");
            c.error(
                codes::NO_SUCH_SERVICE,
                path,
                message,
                format!("write `Service/NAMESPACE/{name}`"),
            );
        }
    }
}

fn plan(scenario: &Scenario, c: &mut Checker<'_, '_>) {
    let Some(plan) = &scenario.spec.plan else { return };
    for (i, variable) in plan.variables.iter().enumerate() {
        let at = format!("spec.plan.variables.{i}");
        if let Err(e) = super::set::FieldPath::parse(&variable.path) {
            let message = format!("`{}` is not a path: {}", variable.path, e.message);
            c.error(
                codes::PATH_SYNTAX,
                &format!("{at}.path"),
                message,
                "write for example `cluster.nodeGroups[base].maxSize`",
            );
        }
        if variable.one_of.is_empty() == variable.range.is_none() {
            let message = "a variable needs `oneOf` or `range`, not both".to_owned();
            c.error(codes::ONE_OF, &at, message, "write `oneOf: […]` or `range: [FIRST, LAST]`");
        }
        if let Some([low, high]) = variable.range
            && low > high
        {
            let message = format!("the range from {low} to {high} is empty");
            c.error(
                codes::CONTRADICTION,
                &format!("{at}.range"),
                message,
                "write the smaller number first",
            );
        }
    }
}
