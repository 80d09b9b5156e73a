//! ValidatingAdmissionPolicies of the manifests: which workloads and which pods they refuse.
//! Policies and objects are all there from the start, so each object is looked at once.

use super::Errors;
use crate::k8s::{ObjectMeta, PodTemplateSpec};
use crate::spec::Manifests;
use serde_json::{Map, Value, json};

#[cfg(feature = "admission")]
mod bound {
    use super::Errors;
    use crate::k8s::StringMap;
    use crate::policy::admission::{BoundPolicy, Creation, Verdict};
    use crate::spec::Manifests;

    /// All policies that are bound and can be simulated.
    pub(in crate::world::lower) struct Policies(Vec<BoundPolicy>);

    impl Policies {
        pub(in crate::world::lower) fn read(manifests: &Manifests, errors: &mut Errors) -> Self {
            let mut all = Vec::new();
            for binding in &manifests.admission_bindings {
                let name = &binding.object.spec.policy_name;
                let found =
                    manifests.admission_policies.iter().find(|p| p.object.metadata.name == *name);
                let Some(policy) = found else {
                    let own = &binding.object.metadata.name;
                    errors.warning(
                        "manifests",
                        format!("ValidatingAdmissionPolicyBinding/{own} binds no policy: `{name}`"),
                        "add the policy, or correct policyName; the binding has no effect",
                    );
                    continue;
                };
                match BoundPolicy::new(&policy.object, &binding.object) {
                    Ok(bound) => all.push(bound),
                    Err(why) => errors.warning(
                        "manifests",
                        format!("ValidatingAdmissionPolicy/{name} is not applied: {why}"),
                        "the simulated cluster admits what the real one may refuse",
                    ),
                }
            }
            Self(all)
        }

        /// What they say together: the first refusal, all warnings.
        pub(super) fn review(&self, new: &Creation<'_>) -> Verdict {
            let mut all = Verdict::default();
            for policy in &self.0 {
                let mut one = policy.review(new);
                all.denied = all.denied.or(one.denied);
                all.warnings.append(&mut one.warnings);
            }
            all
        }

        pub(super) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }
    }

    /// Labels of a namespace, with the one that every namespace has.
    pub(super) fn namespace_labels(namespace: &str, manifests: &Manifests) -> StringMap {
        let found = manifests.namespaces.iter().find(|n| n.object.metadata.name == namespace);
        let mut labels = found.map(|n| n.object.metadata.labels.clone()).unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        labels
    }
}

#[cfg(feature = "admission")]
pub(super) use bound::Policies;

/// Without the feature no policy is applied, and each is reported.
#[cfg(not(feature = "admission"))]
pub(super) struct Policies;

#[cfg(not(feature = "admission"))]
impl Policies {
    pub(super) fn read(manifests: &Manifests, errors: &mut Errors) -> Self {
        for policy in &manifests.admission_policies {
            let name = &policy.object.metadata.name;
            errors.warning(
                "manifests",
                format!("ValidatingAdmissionPolicy/{name} is not applied in this build"),
                "build with the feature `admission`",
            );
        }
        Self
    }
    fn is_empty(&self) -> bool {
        true
    }
}

/// Resource, kind and group of an object.
type Sort = (&'static str, &'static str, &'static str);

impl Policies {
    /// Takes the workloads that are refused out of the manifests, with the API server's words.
    pub(super) fn keep_admitted(&self, manifests: &mut Manifests, errors: &mut Errors) {
        if self.is_empty() {
            return;
        }
        let all = manifests.clone();
        macro_rules! keep {
            ($list:ident, $sort:expr) => {
                manifests.$list.retain(|o| {
                    let spec = serde_json::to_value(&o.object.spec).unwrap_or_default();
                    self.admits($sort, &o.object.metadata, spec, &all, errors)
                });
            };
        }
        keep!(deployments, ("deployments", "Deployment", "apps"));
        keep!(replica_sets, ("replicasets", "ReplicaSet", "apps"));
        keep!(stateful_sets, ("statefulsets", "StatefulSet", "apps"));
        keep!(daemon_sets, ("daemonsets", "DaemonSet", "apps"));
        keep!(jobs, ("jobs", "Job", "batch"));
        keep!(cron_jobs, ("cronjobs", "CronJob", "batch"));
        keep!(services, ("services", "Service", ""));
        keep!(pvcs, ("persistentvolumeclaims", "PersistentVolumeClaim", ""));
    }

    fn admits(
        &self,
        sort: Sort,
        meta: &ObjectMeta,
        spec: Value,
        manifests: &Manifests,
        errors: &mut Errors,
    ) -> bool {
        let (resource, kind, group) = sort;
        let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        let object = json!({
            "apiVersion": version, "kind": kind, "metadata": metadata(meta), "spec": pruned(spec),
        });
        let (denied, warnings) = self.say(sort, meta, &object, manifests);
        let qualified =
            if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        for warning in warnings {
            let help = "nothing to do if it is meant so; the object is created";
            errors.warning("manifests", format!("{kind}/{}: {warning}", meta.name), help);
        }
        if let Some(why) = &denied {
            errors.warning(
                "manifests",
                format!("{qualified} \"{}\" is forbidden: {why}", meta.name),
                "mend the object or the policy; it is left out, as the API server refuses it",
            );
        }
        denied.is_none()
    }

    /// Why pods of a template are refused.
    pub(super) fn pod_refusal(
        &self,
        template: &PodTemplateSpec,
        namespace: &str,
        manifests: &Manifests,
    ) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut meta = template.metadata.clone();
        meta.name.clear();
        meta.namespace = Some(namespace.to_owned());
        let spec = serde_json::to_value(&template.spec).unwrap_or_default();
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata(&meta),
            "spec": pruned(spec),
        });
        self.say(("pods", "Pod", ""), &meta, &object, manifests).0
    }

    #[cfg(feature = "admission")]
    fn say(
        &self,
        (resource, kind, group): Sort,
        meta: &ObjectMeta,
        object: &Value,
        manifests: &Manifests,
    ) -> (Option<String>, Vec<String>) {
        let namespace = meta.namespace_or_default();
        let verdict = self.review(&crate::policy::admission::Creation {
            group,
            version: "v1",
            resource,
            kind,
            namespace,
            namespace_labels: &bound::namespace_labels(namespace, manifests),
            name: &meta.name,
            labels: &meta.labels,
            object,
        });
        (verdict.denied, verdict.warnings)
    }

    #[cfg(not(feature = "admission"))]
    fn say(
        &self,
        _: Sort,
        _: &ObjectMeta,
        _: &Value,
        _: &Manifests,
    ) -> (Option<String>, Vec<String>) {
        (None, Vec::new())
    }
}

fn metadata(meta: &ObjectMeta) -> Value {
    let mut out = Map::new();
    out.insert("namespace".to_owned(), json!(meta.namespace_or_default()));
    for (key, value) in [
        ("name", json!(meta.name)),
        ("labels", json!(meta.labels)),
        ("annotations", json!(meta.annotations)),
    ] {
        if !is_nothing(&value) {
            out.insert(key.to_owned(), value);
        }
    }
    Value::Object(out)
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

/// Fields that are written even when they hold nothing.
const KEPT: [&str; 3] = ["emptyDir", "resources", "podSelector"];
/// Flags that Kubernetes does not write when they are false.
const FLAGS: [&str; 5] = ["hostNetwork", "hostPID", "hostIPC", "paused", "readOnly"];

/// The object without the fields that Kubernetes leaves out when they are not set, so that `has`
/// answers as there.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(k, v)| {
                let v = pruned(v);
                (k, v)
            });
            let written = |(k, v): &(String, Value)| {
                let flag = *v == Value::Bool(false) && FLAGS.contains(&k.as_str());
                !flag && (KEPT.contains(&k.as_str()) || !is_nothing(v))
            };
            let fields: Map<String, Value> =
                kept.filter(written).filter(|(_, v)| !v.is_null()).collect();
            Value::Object(fields)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        other => other,
    }
}
