//! What an API server would refuse, object by object.
//!
//! Upstream: kubernetes v1.34 `pkg/apis/*/validation`, the rules that matter to a simulation.

mod autoscaling;
mod names;
mod network;
mod pod;
mod workload;

pub(super) use autoscaling::{hpa, node_pool, pdb, scaled_object, vpa};
pub(super) use names::{dns_label, dns_subdomain};
pub(super) use network::{eni_config, security_group_policy};
pub(super) use pod::{limit_range, pod, pvc, quota};
pub(super) use workload::{
    cron_job, daemon_set, deployment, job, replica_set, service, stateful_set,
};

use crate::k8s::{self, ObjectMeta, ResourceList};
use crate::spec::codes;
use crate::spec::diagnostic::Reporter;
use crate::spec::node::Node;
use crate::spec::source::SourceSpan;
use crate::spec::suggest;
use core::fmt::Display;

/// One object under examination.
pub(super) struct Checker<'a, 'r, 's> {
    /// Its tree.
    pub node: &'a Node<'s>,
    /// Where mistakes go.
    pub reporter: &'a mut Reporter<'r>,
    /// Its kind.
    pub kind: &'a str,
    /// Whether its API version is an old one, with looser rules.
    pub old: bool,
}

impl Checker<'_, '_, '_> {
    fn error(
        &mut self,
        code: &'static str,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let span = self.span(path);
        self.reporter.error(code, span, message, help);
    }
    /// Where a path stands; a mapping or list is shown by its key, which is shorter.
    fn span(&self, path: &str) -> SourceSpan {
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        let entry = self.node.at(parent).and_then(|n| n.entry(key));
        match entry {
            Some(e) if e.value.entries().is_empty() && e.value.items().is_empty() => e.value.span,
            Some(e) => e.key_span,
            None => self.existing(path),
        }
    }
    /// The key of the deepest part of a path that exists.
    fn existing(&self, path: &str) -> SourceSpan {
        match path.rsplit_once('.') {
            Some((parent, _)) if self.node.at(parent).is_some() => {
                let first = self.node.at(parent).and_then(|n| n.entries().first());
                let (above, key) = parent.rsplit_once('.').unwrap_or(("", parent));
                let entry = self.node.at(above).and_then(|n| n.entry(key));
                entry.map(|e| e.key_span).or(first.map(|e| e.key_span)).unwrap_or(self.node.span)
            }
            Some((parent, _)) => self.existing(parent),
            None => self.node.entry("kind").map_or(self.node.span, |e| e.value.span),
        }
    }
    fn meta(&mut self, meta: &ObjectMeta) {
        if meta.name.is_empty() {
            if meta.generate_name.is_none() {
                self.error(
                    codes::MISSING_FIELD,
                    "metadata.name",
                    "the object has no name",
                    "add `metadata: {name: …}`",
                );
            }
            return;
        }
        if let Some(mend) = dns_subdomain(&meta.name) {
            let message = format!("`{}` is no name for an object", meta.name);
            self.error(codes::BAD_NAME, "metadata.name", message, mend);
        }
        if let Some(namespace) = meta.namespace.as_deref().filter(|n| !n.is_empty())
            && let Some(mend) = dns_label(namespace)
        {
            let message = format!("`{namespace}` is no name for a namespace");
            self.error(codes::BAD_NAME, "metadata.namespace", message, mend);
        }
    }
    // Paths are put together only when there is something to say about them: most of a large
    // dump is right.
    fn not_negative(&mut self, path: impl Display, value: Option<i64>) {
        if let Some(n) = value.filter(|n| *n < 0) {
            self.error(
                codes::OUT_OF_RANGE,
                &path.to_string(),
                format!("`{path}` cannot be {n}"),
                "write 0 or more",
            );
        }
    }
    fn between(&mut self, path: impl Display, value: i64, low: i64, high: i64) {
        if value < low || value > high {
            let message = format!("`{path}` cannot be {value}");
            self.error(
                codes::OUT_OF_RANGE,
                &path.to_string(),
                message,
                format!("write a number from {low} to {high}"),
            );
        }
    }
    fn one_of(&mut self, path: impl Display, value: Option<&str>, allowed: &[&str]) {
        let Some(value) = value.filter(|v| !allowed.contains(v) && !v.is_empty()) else { return };
        let help = match suggest::nearest(value, allowed.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {}", suggest::list(allowed.iter().copied())),
        };
        let message = format!("`{path}` cannot be `{value}`");
        self.error(codes::UNKNOWN_VALUE, &path.to_string(), message, help);
    }
    fn amounts(&mut self, path: impl Display, list: &ResourceList) {
        for (name, amount) in list {
            if amount.is_negative() {
                let path = &path.to_string();
                let message = format!("`{name}` cannot be {amount}");
                let at = self.node.at(path).and_then(|n| n.get(name)).map(|n| n.span);
                let span = at.unwrap_or_else(|| self.span(path));
                self.reporter.error(codes::NEGATIVE_QUANTITY, span, message, "write 0 or more");
            }
        }
    }
}

/// Only the name.
pub(super) fn any<T: HasMeta>(object: &T, c: &mut Checker<'_, '_, '_>) {
    c.meta(object.meta());
}

/// Objects with metadata.
pub(super) trait HasMeta {
    fn meta(&self) -> &ObjectMeta;
}
macro_rules! has_meta {
    ($($kind:ident)*) => {$(
        impl HasMeta for k8s::$kind {
            fn meta(&self) -> &ObjectMeta { &self.metadata }
        }
    )*};
}
has_meta!(PersistentVolume Node Ec2NodeClass NodeClass Ingress);

pub(super) fn namespace(object: &k8s::Namespace, c: &mut Checker<'_, '_, '_>) {
    c.meta(&object.metadata);
}

pub(super) fn priority_class(object: &k8s::PriorityClass, c: &mut Checker<'_, '_, '_>) {
    c.meta(&object.metadata);
    if object.value > 1_000_000_000 && !object.metadata.name.starts_with("system-") {
        let message = format!("`value` cannot be {}", object.value);
        c.error(
            codes::OUT_OF_RANGE,
            "value",
            message,
            "write at most 1000000000; more is kept for system classes",
        );
    }
    c.one_of(
        "preemptionPolicy",
        object.preemption_policy.as_deref(),
        &["PreemptLowerPriority", "Never"],
    );
}

pub(super) fn admission_policy(
    object: &k8s::ValidatingAdmissionPolicy,
    c: &mut Checker<'_, '_, '_>,
) {
    c.meta(&object.metadata);
    let spec = &object.spec;
    c.one_of("spec.failurePolicy", spec.failure_policy.as_deref(), &["Fail", "Ignore"]);
    if spec.match_constraints.as_ref().is_none_or(|m| m.resource_rules.is_empty()) {
        c.error(
            codes::MISSING_FIELD,
            "spec.matchConstraints",
            "the policy names no resources",
            "add `matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], \
             operations: [CREATE], resources: [deployments]}]}`",
        );
    }
    for (i, validation) in spec.validations.iter().enumerate() {
        if validation.expression.trim().is_empty() {
            let path = format!("spec.validations.{i}.expression");
            let help = "write for example `has(object.metadata.labels)`";
            c.error(codes::MISSING_FIELD, &path, "the rule has no expression", help);
        }
    }
}

pub(super) fn admission_binding(
    object: &k8s::ValidatingAdmissionPolicyBinding,
    c: &mut Checker<'_, '_, '_>,
) {
    c.meta(&object.metadata);
    let spec = &object.spec;
    if spec.policy_name.is_empty() {
        let help = "add `policyName:` with the name of a ValidatingAdmissionPolicy";
        c.error(codes::MISSING_FIELD, "spec.policyName", "the binding names no policy", help);
    }
    if spec.validation_actions.is_empty() {
        let help = "add `validationActions: [Deny]`";
        let message = "the binding says not what follows from a failed rule";
        c.error(codes::MISSING_FIELD, "spec.validationActions", message, help);
    }
    for (i, action) in spec.validation_actions.iter().enumerate() {
        let path = format!("spec.validationActions.{i}");
        c.one_of(path, Some(action), &["Deny", "Warn", "Audit"]);
    }
}

pub(super) fn storage_class(object: &k8s::StorageClass, c: &mut Checker<'_, '_, '_>) {
    c.meta(&object.metadata);
    if object.provisioner.is_empty() {
        c.error(
            codes::MISSING_FIELD,
            "provisioner",
            "the class has no `provisioner`",
            "add for example `provisioner: ebs.csi.aws.com`",
        );
    }
    c.one_of(
        "volumeBindingMode",
        object.volume_binding_mode.as_deref(),
        &["Immediate", "WaitForFirstConsumer"],
    );
    c.one_of("reclaimPolicy", object.reclaim_policy.as_deref(), &["Delete", "Retain"]);
}
