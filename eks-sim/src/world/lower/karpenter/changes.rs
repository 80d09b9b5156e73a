//! Changes of NodePools and node classes during a run.

use super::super::Errors;
use super::class::Source;
use super::{Draft, Given, draft};
use crate::k8s::{Ec2NodeClass, NodePool};
use crate::spec::Manifests;
use crate::spec::scenario::{ChangeSpec, Scenario};
use crate::spec::set::FieldPath;
use crate::units::SimTime;
use crate::world::model::Model;
use crate::world::steps::{StepKind, StepModel};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A NodePool after a change.
pub(super) struct Later {
    pub(super) step: u32,
    /// Position of the NodePool.
    pub(super) pool: usize,
    pub(super) draft: Draft,
}

/// Families whose images Karpenter can be told to follow.
const FAMILIES: [&str; 4] = ["al2", "al2023", "bottlerocket", "auto-mode"];

/// Whether a change is about NodePools, node classes or images.
pub(in crate::world::lower) fn is_about_nodes(change: &ChangeSpec) -> bool {
    let target = change.target.as_deref().unwrap_or_default();
    change.image_release.is_some()
        || target.starts_with("NodePool/")
        || target.starts_with("EC2NodeClass/")
}

/// Nothing in the cluster reads NodePools: changes of them are mistakes.
pub(super) fn refuse(scenario: &Scenario, errors: &mut Errors) {
    for (i, _) in scenario.spec.changes.iter().enumerate().filter(|(_, c)| is_about_nodes(c)) {
        errors.error(
            format!("changes[{i}]"),
            "nothing in the cluster acts on NodePools",
            "set cluster.autoscaler.karpenter or autoMode",
        );
    }
}

/// The node classes as the run starts with them.
pub(super) fn classes(manifests: &Manifests) -> Vec<Source> {
    let all = manifests.ec2_node_classes.iter();
    all.map(|c| Source { object: c.object.clone(), version: 0 }).collect()
}

/// What the changes make of the NodePools, in the order of their times.
pub(super) fn lower(
    scenario: &Scenario,
    drafts: &[Draft],
    given: &Given<'_>,
    model: &mut Model,
    errors: &mut Errors,
) -> Vec<Later> {
    let changes = &scenario.spec.changes;
    let mut order: Vec<usize> =
        (0..changes.len()).filter(|&i| is_about_nodes(&changes[i])).collect();
    order.sort_by_key(|&i| changes[i].at);
    let mut course = Course {
        pools: drafts.iter().map(|d| d.object.clone()).collect(),
        classes: classes(given.manifests),
    };
    let mut later = Vec::new();
    for i in order {
        let (change, path) = (&changes[i], format!("changes[{i}]"));
        let at = SimTime::ZERO + change.at;
        if change.at > scenario.spec.duration {
            let message = "the change never happens: the run ends before it";
            errors.warning(format!("{path}.at"), message, "set `at` within `duration`");
        }
        if let Some(family) = &change.image_release {
            let kind = image_release(change, family, &path, drafts, errors);
            model.steps.extend(kind.map(|kind| StepModel { at, kind }));
            continue;
        }
        let Some(changed) = course.apply(change, &path, drafts, errors) else { continue };
        let step = model.steps.len() as u32;
        let text: Vec<String> = change.set.iter().map(|(k, v)| format!("{k}={v}")).collect();
        model.steps.push(StepModel { at, kind: StepKind::NodePools { text: text.join(" ") } });
        for pool in changed {
            let (object, place) = (course.pools[pool].clone(), drafts[pool].place.clone());
            let draft = draft(object, place, &course.classes, given, model, errors);
            later.extend(draft.map(|draft| Later { step, pool, draft }));
        }
    }
    later
}

fn image_release(
    change: &ChangeSpec,
    family: &str,
    path: &str,
    drafts: &[Draft],
    errors: &mut Errors,
) -> Option<StepKind> {
    if change.target.is_some() || change.drain.is_some() {
        errors.error(path, "a change does one thing", "make two changes of the same time");
        return None;
    }
    let family = family.to_lowercase();
    if !FAMILIES.contains(&family.as_str()) {
        errors.error(
            format!("{path}.imageRelease"),
            format!("`{family}` is no image family"),
            format!("use one of {}", FAMILIES.join(", ")),
        );
        return None;
    }
    if !drafts.iter().any(|d| d.class.latest_of.as_ref() == Some(&family)) {
        errors.warning(
            format!("{path}.imageRelease"),
            format!("no node class takes `{family}@latest`: nothing drifts"),
            format!("write `amiSelectorTerms: [{{alias: {family}@latest}}]` in the node class"),
        );
    }
    Some(StepKind::ImageRelease { family })
}

/// NodePools and node classes in the course of the changes.
struct Course {
    pools: Vec<NodePool>,
    classes: Vec<Source>,
}

impl Course {
    /// Positions of the NodePools that the change concerns.
    fn apply(
        &mut self,
        change: &ChangeSpec,
        path: &str,
        drafts: &[Draft],
        errors: &mut Errors,
    ) -> Option<Vec<usize>> {
        let target = change.target.as_deref().unwrap_or_default();
        if change.undo || change.set.is_empty() || change.drain.is_some() {
            errors.error(path, "a NodePool or node class is changed by `set`", "give `set` alone");
            return None;
        }
        if let Some(name) = target.strip_prefix("NodePool/") {
            let Some(at) = self.pools.iter().position(|p| p.metadata.name == name) else {
                let names = self.pools.iter().map(|p| p.metadata.name.as_str());
                unknown(target, path, names.collect(), errors);
                return None;
            };
            self.pools[at] = set_all(&self.pools[at], change, path, errors)?;
            return Some(vec![at]);
        }
        let name = target.strip_prefix("EC2NodeClass/").unwrap_or_default();
        let Some(at) = self.classes.iter().position(|c| c.object.metadata.name == name) else {
            let names = self.classes.iter().map(|c| c.object.metadata.name.as_str());
            unknown(target, path, names.collect(), errors);
            return None;
        };
        self.classes[at].object =
            set_all::<Ec2NodeClass>(&self.classes[at].object, change, path, errors)?;
        self.classes[at].version += 1;
        let uses = |d: &Draft| d.class.name == name && !d.class.auto_mode;
        Some((0..drafts.len()).filter(|&i| uses(&drafts[i])).collect())
    }
}

fn unknown(target: &str, path: &str, names: Vec<&str>, errors: &mut Errors) {
    let help = match crate::spec::suggest::nearest(target, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "there is none among the manifests".to_owned(),
        None => format!("there are {}", names.join(", ")),
    };
    errors.error(format!("{path}.target"), format!("there is no `{target}`"), help);
}

/// The object with the fields of a change; short paths start below `spec`.
fn set_all<T: Serialize + DeserializeOwned>(
    object: &T,
    change: &ChangeSpec,
    path: &str,
    errors: &mut Errors,
) -> Option<T> {
    let mut json = serde_json::to_value(object).ok()?;
    for (field, value) in &change.set {
        let at = format!("{path}.set[\"{field}\"]");
        let rooted = field.starts_with("spec.") || field.starts_with("metadata.");
        let full = if rooted { field.clone() } else { format!("spec.{field}") };
        let done = FieldPath::parse(&full)
            .map_err(|e| (e.message, "write for example `disruption.consolidateAfter`".to_owned()))
            .and_then(|p| p.set_json(&mut json, value).map_err(|e| (e.message, e.help)));
        if let Err((message, help)) = done {
            errors.error(at, message, help);
            return None;
        }
    }
    let read: T = match serde_json::from_value(json) {
        Ok(read) => read,
        Err(e) => {
            let message = format!("the changed object cannot be read: {e}");
            errors.error(format!("{path}.set"), message, "correct the values");
            return None;
        }
    };
    let back = serde_json::to_value(&read).ok()?;
    for (field, value) in change.set.iter().filter(|(_, v)| !v.is_null()) {
        let rooted = field.starts_with("spec.") || field.starts_with("metadata.");
        let full = if rooted { field.clone() } else { format!("spec.{field}") };
        if FieldPath::parse(&full).is_ok_and(|p| !p.is_in(&back)) {
            let message = format!("the object has no field `{field}`, or it cannot be {value}");
            let help = "check the spelling against Karpenter's API";
            errors.error(format!("{path}.set[\"{field}\"]"), message, help);
            return None;
        }
    }
    Some(read)
}
