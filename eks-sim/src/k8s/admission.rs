//! ValidatingAdmissionPolicy and its binding (`admissionregistration.k8s.io/v1`).

use super::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};

/// A ValidatingAdmissionPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidatingAdmissionPolicy {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: ValidatingAdmissionPolicySpec,
}

/// `spec` of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidatingAdmissionPolicySpec {
    /// Kind of parameter objects, if it takes any.
    pub param_kind: Option<serde_json::Value>,
    /// Objects it is about.
    pub match_constraints: Option<MatchResources>,
    /// Rules.
    pub validations: Vec<Validation>,
    /// `Fail` (default) or `Ignore`: what an error of an expression means.
    pub failure_policy: Option<String>,
    /// Conditions under which it applies.
    pub match_conditions: Vec<NamedExpression>,
    /// Values that rules may use.
    pub variables: Vec<NamedExpression>,
    /// Annotations for the audit log.
    pub audit_annotations: Vec<serde_json::Value>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Validation {
    /// Must be true.
    pub expression: String,
    /// What is said when it is not.
    pub message: Option<String>,
    /// The same, as an expression.
    pub message_expression: Option<String>,
    /// Reason code of the refusal.
    pub reason: Option<String>,
}

/// An expression with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamedExpression {
    /// Name.
    pub name: String,
    /// Expression.
    pub expression: String,
}

/// Objects that a policy or a binding is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchResources {
    /// Labels of the namespace.
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the object.
    pub object_selector: Option<LabelSelector>,
    /// Requests it is about.
    pub resource_rules: Vec<NamedRule>,
    /// Requests it is not about.
    pub exclude_resource_rules: Vec<NamedRule>,
    /// `Equivalent` (default) or `Exact`.
    pub match_policy: Option<String>,
}

/// Operations on resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamedRule {
    /// Groups, or `*`.
    pub api_groups: Vec<String>,
    /// Versions, or `*`.
    pub api_versions: Vec<String>,
    /// `CREATE`, …, or `*`.
    pub operations: Vec<String>,
    /// Resources, or `*`.
    pub resources: Vec<String>,
    /// Names; none is all.
    pub resource_names: Vec<String>,
    /// `Namespaced`, `Cluster` or `*`.
    pub scope: Option<String>,
}

/// A ValidatingAdmissionPolicyBinding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidatingAdmissionPolicyBinding {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: ValidatingAdmissionPolicyBindingSpec,
}

/// `spec` of a binding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidatingAdmissionPolicyBindingSpec {
    /// Name of the policy.
    pub policy_name: String,
    /// Parameter object.
    pub param_ref: Option<serde_json::Value>,
    /// Narrows the policy's own match.
    pub match_resources: Option<MatchResources>,
    /// `Deny`, `Warn`, `Audit`.
    pub validation_actions: Vec<String>,
}
