//! `eks-sim explain`: what happened to one object in one replication, and why.

mod purchase;

use crate::args::{ExplainArgs, Format};
use crate::output::{self, WRONG_INPUT};
use crate::settings;
use eks_sim::observe::metrics::METRICS;
use eks_sim::observe::outcome::{Detail, EventRow, NodeRow, PodRow};
use eks_sim::report::render::pad;
use eks_sim::units::SimTime;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &ExplainArgs) -> ExitCode {
    execute(args).unwrap_or_else(|code| code)
}

fn execute(args: &ExplainArgs) -> Result<ExitCode, ExitCode> {
    let Some(object) = &args.object else {
        if args.scenario == Path::new("metrics") {
            output::print(&metrics())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mend = "name one, for example `pod/shop/cart-0`, or ask `eks-sim explain metrics`";
        return Err(output::fail(WRONG_INPUT, &format!("no object to explain; {mend}")));
    };
    let (kind, name) = parse(object)?;
    let loaded = settings::load(&args.scenario, &args.model, false)?;
    let prepared = settings::prepare(&loaded, args.variant.as_deref(), args.model.seed, true)?;
    let outcome = prepared.model.run(args.detail, true);
    let detail = outcome.detail.unwrap_or_default();
    let story = Story::of(&detail, kind, name);
    if story.is_empty() {
        return Err(output::fail(WRONG_INPUT, &nothing(&detail, kind, name, args.detail)));
    }
    output::print(&match args.format {
        Format::Json => story.json(args.detail),
        Format::Text | Format::Markdown => story.text(args.detail),
    })?;
    Ok(ExitCode::SUCCESS)
}

const KINDS: [&str; 7] = ["pod", "node", "hpa", "vpa", "scaledobject", "workload", "subnet"];

fn parse(object: &str) -> Result<(&str, &str), ExitCode> {
    let parsed = object.split_once('/').filter(|(_, name)| !name.is_empty());
    let parsed = parsed.filter(|(kind, _)| KINDS.contains(kind) || !kind.is_empty());
    parsed.ok_or_else(|| {
        let mend = "write KIND/NAME, for example `pod/shop/cart-0`";
        output::fail(WRONG_INPUT, &format!("`{object}` is no object; {mend}"))
    })
}

/// Whether `object` (with its namespace) is what `wanted` names; the start of the name is enough.
fn is_meant(object: &str, wanted: &str) -> bool {
    let bare = object.rsplit('/').next().unwrap_or(object);
    object.starts_with(wanted) || (!wanted.contains('/') && bare.starts_with(wanted))
}

/// Everything about one object.
struct Story<'a> {
    kind: String,
    name: String,
    pods: Vec<&'a PodRow>,
    nodes: Vec<&'a NodeRow>,
    /// Nodes that pods of the story ran on.
    hosts: Vec<&'a NodeRow>,
    events: Vec<&'a EventRow>,
}

impl<'a> Story<'a> {
    fn of(detail: &'a Detail, kind: &str, wanted: &str) -> Self {
        let events: Vec<_> = detail.events.iter().filter(|e| e.kind == kind).collect();
        let pod_name = |p: &PodRow| format!("{}/{}", p.namespace, p.name);
        let pods = detail.pods.iter().filter(|_| kind == "pod");
        let nodes = detail.nodes.iter().filter(|_| kind == "node");
        let names = events.iter().map(|e| e.object.clone());
        let names =
            names.chain(pods.clone().map(pod_name)).chain(nodes.clone().map(|n| n.name.clone()));
        let meant: Vec<String> = names.filter(|n| is_meant(n, wanted)).collect();
        // An exact name beats longer ones that start the same; else the first one is told.
        let exact = |n: &&String| n.as_str() == wanted || n.rsplit('/').next() == Some(wanted);
        let name = meant.iter().find(exact).or(meant.first()).cloned().unwrap_or_default();
        let pods: Vec<&PodRow> = pods.filter(|p| pod_name(p) == name).collect();
        let nodes: Vec<&NodeRow> = nodes.filter(|n| n.name == name).collect();
        // Names of nodes are used again: the host is the one that was there when the pod came.
        let was_there = |n: &NodeRow, at: SimTime| {
            n.requested <= at && n.terminated.is_none_or(|end| at <= end)
        };
        let is_host = |n: &&NodeRow| {
            let ran = |p: &&PodRow| p.node == n.name && p.bound.is_some_and(|at| was_there(n, at));
            pods.iter().any(ran)
        };
        let hosts = detail.nodes.iter().filter(|n| n.purchase.is_some()).filter(is_host).collect();
        // What happened to a node's NodeClaim before it registered belongs to its story.
        let claims: Vec<&str> =
            nodes.iter().filter_map(|n| Some(n.purchase.as_ref()?.claim.as_str())).collect();
        let is_told = |e: &&EventRow| {
            (e.kind == kind && e.object == name)
                || (e.kind == "nodeclaim" && claims.contains(&e.object.as_str()))
        };
        let events = detail.events.iter().filter(is_told).collect();
        Self { kind: kind.to_owned(), pods, nodes, hosts, events, name }
    }

    fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.nodes.is_empty() && self.events.is_empty()
    }

    fn text(&self, replication: u32) -> String {
        let mut out = format!("{}/{} in replication {replication}\n", self.kind, self.name);
        for pod in &self.pods {
            let _ = writeln!(out, "{}", pod_line(pod));
        }
        for node in &self.nodes {
            let _ = writeln!(out, "{}", node_line(node));
        }
        for node in self.nodes.iter().chain(&self.hosts) {
            if let Some(why) = &node.purchase {
                let _ = write!(out, "\n{}", purchase::text(&node.name, why));
            }
        }
        out.push('\n');
        let widest = |f: fn(&EventRow) -> &str| {
            self.events.iter().map(|e| f(e).chars().count()).max().unwrap_or(0)
        };
        let (component, reason) = (widest(|e| e.component), widest(|e| &e.reason));
        for event in &self.events {
            let (who, why) = (pad(event.component, component), pad(&event.reason, reason));
            let line = format!("{}  {who}  {why}  {}", event.at, event.message);
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out
    }

    fn json(&self, replication: u32) -> String {
        let seconds = |at: Option<SimTime>| at.map(SimTime::secs_f64);
        let events = self.events.iter().map(|e| {
            serde_json::json!({
                "timeSeconds": e.at.secs_f64(), "component": e.component, "reason": e.reason,
                "message": e.message,
            })
        });
        let pods = self.pods.iter().map(|p| {
            serde_json::json!({
                "owner": p.owner, "node": p.node, "state": p.state, "reason": p.reason,
                "attempts": p.attempts, "restarts": p.restarts,
                "createdSeconds": p.created.secs_f64(), "boundSeconds": seconds(p.bound),
                "addressedSeconds": seconds(p.addressed), "startedSeconds": seconds(p.started),
                "readySeconds": seconds(p.ready), "deletedSeconds": seconds(p.deleted),
            })
        });
        let nodes = self.nodes.iter().map(|n| {
            serde_json::json!({
                "group": n.group, "instanceType": n.instance_type, "zone": n.zone,
                "subnet": n.subnet, "capacityType": n.capacity_type, "reason": n.reason,
                "requestedSeconds": n.requested.secs_f64(), "readySeconds": seconds(n.ready),
                "terminatedSeconds": seconds(n.terminated), "costUsd": n.cost.usd(),
                "purchase": n.purchase.as_ref().map(purchase::json),
            })
        });
        let hosts = self.hosts.iter().map(|n| {
            serde_json::json!({"name": n.name, "purchase": n.purchase.as_ref().map(purchase::json)})
        });
        let document = serde_json::json!({
            "format": "eks-sim-explain/v1", "kind": self.kind, "name": self.name,
            "replication": replication, "pods": pods.collect::<Vec<_>>(),
            "nodes": nodes.collect::<Vec<_>>(), "hosts": hosts.collect::<Vec<_>>(),
            "events": events.collect::<Vec<_>>(),
        });
        format!("{document:#}\n")
    }
}

/// `+2.5s` after the start of a story.
fn after(from: SimTime, to: Option<SimTime>, what: &str) -> Option<String> {
    Some(format!("{what} +{:.1} s", to?.since(from).secs_f64()))
}

fn pod_line(pod: &PodRow) -> String {
    let mut parts = vec![format!("{}, owned by {}", pod.state, pod.owner)];
    if !pod.node.is_empty() {
        parts.push(format!("on {}", pod.node));
    }
    parts.push(format!("created {}", pod.created));
    let steps = [
        (pod.bound, "bound"),
        (pod.addressed, "address"),
        (pod.started, "started"),
        (pod.ready, "Ready"),
        (pod.deleted, "gone"),
    ];
    parts.extend(steps.into_iter().filter_map(|(at, what)| after(pod.created, at, what)));
    if pod.attempts > 0 {
        parts.push(format!("{} failed attempts to schedule", pod.attempts));
    }
    if !pod.reason.is_empty() {
        parts.push(pod.reason.clone());
    }
    parts.join("; ")
}

fn node_line(node: &NodeRow) -> String {
    let mut parts = vec![format!(
        "{} {} in {} ({}), group {}",
        node.capacity_type, node.instance_type, node.zone, node.subnet, node.group
    )];
    parts.push(format!("launched {}", node.requested));
    let steps =
        [(node.registered, "registered"), (node.ready, "Ready"), (node.terminated, "ended")];
    parts.extend(steps.into_iter().filter_map(|(at, what)| after(node.requested, at, what)));
    parts.push(format!("at most {} of {} pods", node.pods_max, node.max_pods));
    if !node.reason.is_empty() {
        parts.push(node.reason.clone());
    }
    parts.join("; ")
}

/// Says which objects there are.
fn nothing(detail: &Detail, kind: &str, wanted: &str, replication: u32) -> String {
    let mut names: Vec<String> = match kind {
        "pod" => detail.pods.iter().map(|p| format!("{}/{}", p.namespace, p.name)).collect(),
        "node" => detail.nodes.iter().map(|n| n.name.clone()).collect(),
        _ => detail.events.iter().filter(|e| e.kind == kind).map(|e| e.object.clone()).collect(),
    };
    names.sort();
    names.dedup();
    // Names that share a part with what was asked come first.
    let part = wanted.rsplit('/').next().unwrap_or(wanted);
    let stem = part.split('-').next().unwrap_or(part);
    names.sort_by_key(|name| !name.contains(stem));
    let shown: Vec<_> = names.iter().take(8).map(|n| format!("{kind}/{n}")).collect();
    let known = if shown.is_empty() {
        let mut kinds: Vec<_> = detail.events.iter().map(|e| e.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        format!("there are no objects of kind `{kind}`; kinds with events: {}", kinds.join(", "))
    } else {
        format!("there are {} of them, for example {}", names.len(), shown.join(", "))
    };
    format!("no {kind} `{wanted}` in replication {replication}; {known}")
}

/// The definitions of all metrics.
fn metrics() -> String {
    let mut out = String::new();
    for metric in METRICS {
        let stats: Vec<_> = metric.stats.iter().map(|s| s.name()).collect();
        let stats =
            if stats.is_empty() { String::new() } else { format!(", stat: {}", stats.join(" ")) };
        let _ =
            writeln!(out, "{} ({}{stats})\n    {}", metric.name, metric.unit, metric.definition);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail() -> Detail {
        let event = |secs, object: &str, reason: &str| EventRow {
            at: SimTime::from_secs(secs),
            component: "scheduler",
            kind: "pod",
            object: object.into(),
            reason: reason.into(),
            message: "0/3 nodes are available".into(),
        };
        let pod = |name: &str| PodRow {
            namespace: "shop".into(),
            name: name.into(),
            owner: "ReplicaSet/cart".into(),
            created: SimTime::from_secs(10),
            bound: Some(SimTime::from_secs(12)),
            state: "Running".into(),
            ..PodRow::default()
        };
        Detail {
            events: vec![
                event(10, "shop/cart-10", "FailedScheduling"),
                event(11, "shop/cart-1", "Scheduled"),
            ],
            pods: vec![pod("cart-10"), pod("cart-1")],
            ..Detail::default()
        }
    }

    #[test]
    fn an_exact_name_beats_a_prefix() {
        let detail = detail();
        let story = Story::of(&detail, "pod", "cart-1");
        assert_eq!((story.name.as_str(), story.events.len()), ("shop/cart-1", 1));
        assert_eq!(Story::of(&detail, "pod", "shop/ca").name, "shop/cart-10");
        assert!(Story::of(&detail, "pod", "nothing").is_empty());
        assert!(Story::of(&detail, "node", "cart").is_empty());
    }

    #[test]
    fn the_story_is_told() {
        let detail = detail();
        let story = Story::of(&detail, "pod", "cart-1");
        let text = story.text(3);
        assert!(text.starts_with("pod/shop/cart-1 in replication 3\nRunning"), "{text}");
        assert!(text.contains("bound +2.0 s"), "{text}");
        assert!(text.contains("00:00:11.000  scheduler  Scheduled"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&story.json(3)).unwrap();
        assert_eq!(json["events"][0]["reason"], "Scheduled");
        assert!(nothing(&detail, "pod", "cart-7", 0).contains("pod/shop/cart-1"));
    }

    #[test]
    fn metrics_are_defined() {
        assert!(metrics().contains("served_ratio (share)"));
    }
}
