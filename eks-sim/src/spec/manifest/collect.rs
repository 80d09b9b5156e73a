//! Files into [`Manifests`]: documents unpacked, recognised, decoded, replaced by later ones.

use super::kinds::{self, Fate, Kind};
use super::misspelled::Misspellings;
use super::{
    MARKED, Manifests, Sourced, Unmodelled, check, cross, defaults, files, modern, template,
};
use crate::k8s;
use crate::spec::decode::{self, Style};
use crate::spec::diagnostic::{Diagnostics, Reporter};
use crate::spec::node::{Flavour, Node, Value};
use crate::spec::source::{SourceId, SourceSpan, Sources};
use crate::spec::{codes, read, suggest, yaml};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Loads all manifests that `patterns` name (relative to `base`): files, folders, patterns, `-`.
/// Each pattern comes with the place where it was written. Mistakes and remarks go to `out`.
pub fn load_manifests(
    base: &Path,
    patterns: &[(String, SourceSpan)],
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Manifests {
    let mut paths: BTreeMap<PathBuf, bool> = BTreeMap::new();
    for (pattern, at) in patterns {
        let mut reporter = Reporter { sources, out };
        let found = files::expand(base, pattern, *at, &mut reporter);
        // A file that was asked for by name must hold an object; others may be anything.
        let named = pattern == "-" || base.join(pattern).is_file();
        for path in found {
            *paths.entry(path).or_insert(false) |= named;
        }
    }
    let mut collector = Collector::default();
    for (path, named) in paths {
        let Some(id) = read::read_file(&path, sources, out) else { continue };
        let text = sources.text(id);
        let mut reporter = Reporter { sources, out };
        collector.file(id, &text, named, &mut reporter);
    }
    collector.finish(&mut Reporter { sources, out })
}

/// Loads manifests from a text.
pub fn load_text(
    name: &str,
    text: &str,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Manifests {
    let id = sources.add(name, text);
    let mut collector = Collector::default();
    collector.file(id, text, true, &mut Reporter { sources, out });
    collector.finish(&mut Reporter { sources, out })
}

/// Group, kind, namespace, name.
type Key = (String, String, String, String);

/// A count and the first place.
type Tally = BTreeMap<String, (usize, SourceSpan)>;

#[derive(Default)]
struct Collector {
    manifests: Manifests,
    seen: BTreeMap<Key, (SourceSpan, usize)>,
    not_modelled: Tally,
    no_effect: Tally,
    unknown: Tally,
    controlled: Tally,
    finished: Tally,
    old_api: BTreeSet<String>,
    misspellings: Misspellings,
}

fn tally(map: &mut Tally, kind: &str, span: SourceSpan) {
    map.entry(kind.to_owned()).or_insert((0, span)).0 += 1;
}

impl Collector {
    fn file(&mut self, id: SourceId, text: &str, named: bool, reporter: &mut Reporter<'_>) {
        let errors = reporter.out.error_count();
        let documents = yaml::parse(id, text, Flavour::Manifest, reporter);
        let mut filled = 0;
        for document in documents {
            if !matches!(document.value, Value::Null) {
                filled += 1;
                self.document(document, named, None, 0, reporter);
            }
        }
        if filled == 0 && named && reporter.out.error_count() == errors {
            let span = SourceSpan::new(id, 0, 0);
            let help = "put a Kubernetes object into it, or leave the file out";
            reporter.error(codes::EMPTY_INPUT, span, "the file has no object", help);
        }
    }

    fn document(
        &mut self,
        mut node: Node<'_>,
        named: bool,
        list: Option<(&str, &str)>,
        depth: usize,
        reporter: &mut Reporter<'_>,
    ) {
        let api_version = node.text_at("apiVersion").or(list.map(|l| l.0)).map(str::to_owned);
        let kind = node.text_at("kind").or(list.map(|l| l.1)).map(str::to_owned);
        let (api_version, kind) = match (api_version, kind) {
            (Some(a), Some(k)) => (a, k),
            (a, k) => return foreign(&node, a, k, named, reporter),
        };
        let is_list = kind.ends_with("List") && matches!(node.get("items"), Some(n) if is_items(n));
        if is_list && depth < 4 {
            let item_kind = kind.strip_suffix("List").unwrap_or("").to_owned();
            let inherited = (!item_kind.is_empty()).then_some((&*api_version, &*item_kind));
            for item in take_items(&mut node) {
                self.document(item, named, inherited, depth + 1, reporter);
            }
            return;
        }
        self.object(node, &api_version, &kind, reporter);
    }

    fn object(
        &mut self,
        node: Node<'_>,
        api_version: &str,
        kind: &str,
        reporter: &mut Reporter<'_>,
    ) {
        let (group, version) = kinds::split_api_version(api_version);
        if group.starts_with("kustomize.config.k8s.io") {
            let help = "render it: `kubectl kustomize DIR > rendered.yaml`, and give that file";
            let message = format!("a {kind} of kustomize is not applied");
            return reporter.warning(codes::KUSTOMIZE, head(&node), message, help);
        }
        if group == "eks-sim" && kind == "Scenario" {
            return; // `init` writes the scenario beside the manifests: it is no object of the cluster.
        }
        let Some(known) = kinds::find(group, kind) else {
            return self.unknown_kind(&node, api_version, kind, reporter);
        };
        if template::is_helm_test(&node) {
            let message = format!("the Helm test {kind}/{} is left out", name_of(&node));
            let help = "nothing to do; tests run only on `helm test`";
            return reporter.note(codes::HELM_HOOK, head(&node), message, help);
        }
        let key: Key = (
            known.group.to_owned(),
            kind.to_owned(),
            if known.namespaced {
                node.text_at("metadata.namespace").unwrap_or("default").to_owned()
            } else {
                String::new()
            },
            name_of(&node),
        );
        match known.fate {
            Fate::Typed => self.typed(node, known, version, key, api_version, reporter),
            fate => {
                let map = if fate == Fate::NoEffect {
                    &mut self.no_effect
                } else {
                    &mut self.not_modelled
                };
                tally(map, kind, head(&node));
                self.keep_unmodelled(&node, api_version, key, reporter);
            }
        }
    }

    fn unknown_kind(
        &mut self,
        node: &Node<'_>,
        api_version: &str,
        kind: &str,
        reporter: &mut Reporter<'_>,
    ) {
        let (group, _) = kinds::split_api_version(api_version);
        let same_kind = kinds::KINDS.iter().find(|k| k.kind == kind && k.fate == Fate::Typed);
        let near = kinds::KINDS.iter().filter(|k| k.group == group).map(|k| k.kind);
        let span = node.entry("kind").map_or(head(node), |e| e.value.span);
        if let Some(near) = suggest::nearest(kind, near) {
            let message = format!("unknown kind `{kind}` of `{api_version}`");
            let help = format!("did you mean `{near}`?");
            return reporter.error(codes::UNKNOWN_VALUE, span, message, help);
        }
        if let Some(k) = same_kind
            && (group.is_empty() || !group.contains('.'))
        {
            let full = if k.group.is_empty() {
                k.version.to_owned()
            } else {
                format!("{}/{}", k.group, k.version)
            };
            let message = format!("no kind `{kind}` in `{api_version}`");
            let help = format!("write `apiVersion: {full}`");
            return reporter.error(codes::UNKNOWN_VALUE, node.span_at("apiVersion"), message, help);
        }
        tally(&mut self.unknown, &format!("{kind} ({api_version})"), span);
        let namespace = node.text_at("metadata.namespace").unwrap_or("default").to_owned();
        let key = (group.to_owned(), kind.to_owned(), namespace, name_of(node));
        self.keep_unmodelled(node, api_version, key, reporter);
    }

    fn keep_unmodelled(
        &mut self,
        node: &Node<'_>,
        api_version: &str,
        key: Key,
        reporter: &mut Reporter<'_>,
    ) {
        let object = Unmodelled {
            api_version: api_version.to_owned(),
            kind: key.1.clone(),
            name: format!("{}/{}", key.2, key.3),
            span: head(node),
        };
        let slot = self.slot(&key, head(node), self.manifests.unmodelled.len(), reporter);
        match self.manifests.unmodelled.get_mut(slot) {
            Some(old) => *old = object,
            None => self.manifests.unmodelled.push(object),
        }
    }

    /// Where an object goes: the place of an earlier one with the same key, or the end.
    fn slot(
        &mut self,
        key: &Key,
        span: SourceSpan,
        end: usize,
        reporter: &mut Reporter<'_>,
    ) -> usize {
        if key.3.is_empty() {
            return end;
        }
        let Some((first, slot)) = self.seen.insert(key.clone(), (span, end)) else { return end };
        let message =
            format!("{}/{} in namespace `{}` is there twice; this one counts", key.1, key.3, key.2);
        let texts = (message, "remove one of the two, or give them different names");
        reporter.warning_with(codes::DUPLICATE_OBJECT, span, texts, ("replaces the one at", first));
        self.seen.insert(key.clone(), (span, slot));
        slot
    }

    /// Pods, ReplicaSets and Jobs that something else makes, and pods that are over.
    fn derived(&mut self, node: &Node<'_>, kind: &str) -> bool {
        if !matches!(kind, "Pod" | "ReplicaSet" | "Job" | "ReplicationController") {
            return false;
        }
        let owners = node.at("metadata.ownerReferences").map_or(&[][..], Node::items);
        let controlled = owners
            .iter()
            .any(|o| matches!(o.get("controller").map(|c| &c.value), Some(Value::Bool(true))));
        if controlled {
            tally(&mut self.controlled, kind, head(node));
            return true;
        }
        if kind == "Pod" && matches!(node.text_at("status.phase"), Some("Succeeded" | "Failed")) {
            tally(&mut self.finished, kind, head(node));
            return true;
        }
        false
    }

    fn typed(
        &mut self,
        mut node: Node<'_>,
        known: &Kind,
        version: &str,
        key: Key,
        api_version: &str,
        reporter: &mut Reporter<'_>,
    ) {
        if self.derived(&node, known.kind) {
            return;
        }
        let old = !kinds::same_shape(known, version);
        let (group, _) = kinds::split_api_version(api_version);
        if (old || group != known.group)
            && self.old_api.insert(format!("{api_version} {}", known.kind))
        {
            let slash = if known.group.is_empty() { "" } else { "/" };
            let now = format!("{}{slash}{}", known.group, known.version);
            let message = format!(
                "`{api_version}` of {} is an old version; it is read as `{now}`",
                known.kind
            );
            let help = format!("write `apiVersion: {now}`; clusters of today refuse the old one");
            reporter.warning(codes::OLD_API, node.span_at("apiVersion"), message, help);
        }
        if template::is_patch(&node, known.kind, old) {
            let message = format!(
                "{}/{} is part of an object (a kustomize patch?) and is left out",
                known.kind, key.3
            );
            let help = "render it: `kubectl kustomize DIR > rendered.yaml`, and give that file";
            return reporter.warning(codes::KUSTOMIZE, head(&node), message, help);
        }
        modern::modernise(&mut node, known.kind, version);
        let holes = template::placeholders(&node);
        let span = head(&node);
        let mut found = Diagnostics::new();
        let job = Job { span, key, old };
        self.dispatch(
            &mut node,
            known.kind,
            job,
            &mut Reporter { sources: reporter.sources, out: &mut found },
        );
        if let Some((at, name, count)) = holes {
            let left_out = found.has_errors();
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            let fate = if left_out { "; the object is left out" } else { "" };
            let message = format!("`{name}`{more} is not filled in{fate}");
            let help =
                "render it first, for example `envsubst < FILE > rendered.yaml` or `helm template`";
            reporter.warning(codes::PLACEHOLDER, at, message, help);
            if left_out {
                return;
            }
        }
        reporter.out.append(found);
    }

    fn dispatch(&mut self, node: &mut Node<'_>, kind: &str, job: Job, r: &mut Reporter<'_>) {
        use check as c;
        use defaults as d;
        type M = Manifests;
        match kind {
            "Deployment" => {
                self.add(node, job, r, c::deployment, d::default_deployment, |m: &mut M| {
                    &mut m.deployments
                })
            }
            "ReplicaSet" | "ReplicationController" => {
                self.add(node, job, r, c::replica_set, d::default_replica_set, |m: &mut M| {
                    &mut m.replica_sets
                })
            }
            "StatefulSet" => {
                self.add(node, job, r, c::stateful_set, d::default_stateful_set, |m: &mut M| {
                    &mut m.stateful_sets
                })
            }
            "DaemonSet" => {
                self.add(node, job, r, c::daemon_set, d::default_daemon_set, |m: &mut M| {
                    &mut m.daemon_sets
                })
            }
            "Job" => self.add(node, job, r, c::job, d::default_job, |m: &mut M| &mut m.jobs),
            "CronJob" => self
                .add(node, job, r, c::cron_job, d::default_cron_job, |m: &mut M| &mut m.cron_jobs),
            "Pod" => self.add(
                node,
                job,
                r,
                c::pod,
                |p: &mut k8s::Pod| d::default_pod_spec(&mut p.spec, Some("Always")),
                |m: &mut M| &mut m.pods,
            ),
            "Service" => {
                self.add(node, job, r, c::service, d::default_service, |m: &mut M| &mut m.services)
            }
            "HorizontalPodAutoscaler" => {
                self.add(node, job, r, c::hpa, d::default_hpa, |m: &mut M| &mut m.hpas)
            }
            _ => self.dispatch_policy(node, kind, job, r),
        }
    }

    /// Kinds that have no pods.
    fn dispatch_policy(&mut self, node: &mut Node<'_>, kind: &str, job: Job, r: &mut Reporter<'_>) {
        use check as c;
        use defaults as d;
        type M = Manifests;
        match kind {
            "VerticalPodAutoscaler" => {
                self.add(node, job, r, c::vpa, |_| {}, |m: &mut M| &mut m.vpas)
            }
            "ScaledObject" => {
                self.add(node, job, r, c::scaled_object, d::default_scaled_object, |m: &mut M| {
                    &mut m.scaled_objects
                })
            }
            "PodDisruptionBudget" => {
                self.add(node, job, r, c::pdb, |_| {}, |m: &mut M| &mut m.pdbs)
            }
            "PriorityClass" => self.add(
                node,
                job,
                r,
                c::priority_class,
                |_| {},
                |m: &mut M| &mut m.priority_classes,
            ),
            "Namespace" => {
                self.add(node, job, r, c::namespace, |_| {}, |m: &mut M| &mut m.namespaces)
            }
            "ResourceQuota" => {
                self.add(node, job, r, c::quota, |_| {}, |m: &mut M| &mut m.resource_quotas)
            }
            "LimitRange" => {
                self.add(node, job, r, c::limit_range, |_| {}, |m: &mut M| &mut m.limit_ranges)
            }
            "PersistentVolumeClaim" => {
                self.add(node, job, r, c::pvc, |_| {}, |m: &mut M| &mut m.pvcs)
            }
            "PersistentVolume" => self.add(node, job, r, c::any, |_| {}, |m: &mut M| &mut m.pvs),
            "StorageClass" => {
                self.add(node, job, r, c::storage_class, |_| {}, |m: &mut M| &mut m.storage_classes)
            }
            "ValidatingAdmissionPolicy" => self.add(
                node,
                job,
                r,
                c::admission_policy,
                |_| {},
                |m: &mut M| &mut m.admission_policies,
            ),
            "ValidatingAdmissionPolicyBinding" => self.add(
                node,
                job,
                r,
                c::admission_binding,
                |_| {},
                |m: &mut M| &mut m.admission_bindings,
            ),
            "Node" => self.add(node, job, r, c::any, |_| {}, |m: &mut M| &mut m.nodes),
            "NodePool" => {
                self.add(node, job, r, c::node_pool, d::default_node_pool, |m: &mut M| {
                    &mut m.node_pools
                })
            }
            "EC2NodeClass" => {
                self.add(node, job, r, c::any, |_| {}, |m: &mut M| &mut m.ec2_node_classes)
            }
            "ENIConfig" => {
                self.add(node, job, r, c::eni_config, |_| {}, |m: &mut M| &mut m.eni_configs)
            }
            "SecurityGroupPolicy" => self.add(
                node,
                job,
                r,
                c::security_group_policy,
                |_| {},
                |m: &mut M| &mut m.security_group_policies,
            ),
            "Ingress" => self.add(node, job, r, c::any, |_| {}, |m: &mut M| &mut m.ingresses),
            "NodeClass" => {
                self.add(node, job, r, c::any, |_| {}, |m: &mut M| &mut m.auto_node_classes)
            }
            "KubeSchedulerConfiguration" => {
                self.add(
                    node,
                    job,
                    r,
                    |_, _| {},
                    |_| {},
                    |m: &mut M| &mut m.scheduler_configurations,
                );
            }
            _ => {}
        }
    }

    fn add<T: DeserializeOwned>(
        &mut self,
        node: &mut Node<'_>,
        job: Job,
        reporter: &mut Reporter<'_>,
        check: fn(&T, &mut check::Checker<'_, '_, '_>),
        complete: fn(&mut T),
        list: fn(&mut Manifests) -> &mut Vec<Sourced<T>>,
    ) {
        let marks: Vec<_> =
            MARKED.iter().filter_map(|&path| node.at(path).map(|n| (path, n.span))).collect();
        let Some(decoded) = decode::decode::<T>(node, Style::Manifest, reporter) else { return };
        self.misspellings.warn(&decoded.ignored, reporter);
        let mut object = decoded.object;
        complete(&mut object);
        let before = reporter.out.error_count();
        check(&object, &mut check::Checker { node, reporter, kind: &job.key.1, old: job.old });
        if reporter.out.error_count() > before {
            return;
        }
        let end = list(&mut self.manifests).len();
        let slot = self.slot(&job.key, job.span, end, reporter);
        let sourced = Sourced { object, span: job.span, marks };
        let list = list(&mut self.manifests);
        match list.get_mut(slot) {
            Some(old) => *old = sourced,
            None => list.push(sourced),
        }
    }

    fn finish(mut self, reporter: &mut Reporter<'_>) -> Manifests {
        let say = |n: usize, kind: &str| format!("{n} {kind}{}", if n == 1 { "" } else { "s" });
        for (kind, (n, at)) in &self.not_modelled {
            let message = format!("{} read but not simulated", say(*n, kind));
            let help = "nothing to do; results do not show its influence";
            reporter.warning(codes::NOT_MODELLED, *at, message, help);
        }
        for (kind, (n, at)) in &self.no_effect {
            let message = format!("{}: no effect on the simulation", say(*n, kind));
            let help = "nothing to do; the kind has no influence on capacity, time or cost";
            reporter.warning(codes::NO_EFFECT, *at, message, help);
        }
        for (kind, (n, at)) in &self.unknown {
            let message = format!("{n} of the unknown kind {kind} left out");
            let help =
                "nothing to do if its controller creates no pods; else add the pods it creates";
            reporter.warning(codes::UNKNOWN_KIND, *at, message, help);
        }
        for (kind, (n, at)) in &self.controlled {
            let message =
                format!("{} with a controller left out; the controller makes them", say(*n, kind));
            let help = "nothing to do; dump the owners too (deploy, sts, ds, job, cronjob)";
            reporter.note(codes::CONTROLLED, *at, message, help);
        }
        for (kind, (n, at)) in &self.finished {
            let message = format!("{} that ended left out", say(*n, kind));
            reporter.note(codes::CONTROLLED, *at, message, "nothing to do");
        }
        cross::check(&self.manifests, reporter);
        core::mem::take(&mut self.manifests)
    }
}

/// What is known of an object before it is decoded.
struct Job {
    span: SourceSpan,
    key: Key,
    old: bool,
}

/// Where an object starts, as a short span.
fn head(node: &Node<'_>) -> SourceSpan {
    let first = node.entry("kind").or_else(|| node.entries().first());
    first.map_or(node.span, |e| SourceSpan { end: e.value.span.end, ..e.key_span })
}

fn name_of(node: &Node<'_>) -> String {
    match node.at("metadata.name").map(|n| &n.value) {
        Some(Value::Str(name)) => name.to_string(),
        Some(Value::Int(n)) => n.to_string(),
        _ => String::new(),
    }
}

fn is_items(node: &Node<'_>) -> bool {
    matches!(node.value, Value::Seq(_) | Value::Null)
}

fn take_items<'s>(node: &mut Node<'s>) -> Vec<Node<'s>> {
    let Value::Map(entries) = &mut node.value else { return Vec::new() };
    let items = entries.iter_mut().find(|e| e.key == "items").map(|e| &mut e.value.value);
    match items {
        Some(Value::Seq(items)) => core::mem::take(items),
        _ => Vec::new(),
    }
}

/// A document without `apiVersion` or `kind`.
fn foreign(
    node: &Node<'_>,
    api_version: Option<String>,
    kind: Option<String>,
    named: bool,
    reporter: &mut Reporter<'_>,
) {
    let span = node.entries().first().map_or(node.span, |e| e.key_span);
    if template::is_json_patch(node) {
        let help = "render it: `kubectl kustomize DIR > rendered.yaml`, and give that file";
        return reporter.warning(codes::KUSTOMIZE, span, "a kustomize patch is left out", help);
    }
    let missing = match (&api_version, &kind) {
        (None, None) => "neither `apiVersion` nor `kind`",
        (None, _) => "no `apiVersion`",
        (_, None) => "no `kind`",
        _ => return,
    };
    let help =
        "add for example `apiVersion: apps/v1` and `kind: Deployment`, or leave the file out";
    if named || api_version.is_some() || kind.is_some() {
        let message = format!("not a Kubernetes object: it has {missing}");
        reporter.error(codes::NOT_AN_OBJECT, span, message, help);
    } else {
        let message =
            format!("a document that is no Kubernetes object (it has {missing}) is left out");
        reporter.warning(codes::FOREIGN_DOCUMENT, span, message, help);
    }
}
