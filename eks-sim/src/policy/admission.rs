//! ValidatingAdmissionPolicy: rules in the Common Expression Language about objects that are
//! created.
//!
//! Upstream: kubernetes v1.34 `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/
//! {matching/matching.go,validating/validator.go,validating/dispatcher.go}`.
//! Differences: expressions are the language's standard part with `has` and the list macros, and
//! the extension of strings; Kubernetes' own libraries (`quantity`, `url`, `ip`, `authorizer`, …)
//! and parameters are not there: a policy that uses them is reported and not applied. Only
//! creation is looked at. Costs are not bounded, and types are not checked before.

use crate::k8s::{MatchResources, NamedRule, StringMap};
use crate::k8s::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use cel::{Context, Env, ExecutionError, Program, Value as Cel};
use serde_json::Value;
use std::sync::Arc;

/// An object that somebody wants to create.
#[derive(Clone, Copy, Debug)]
pub struct Creation<'a> {
    /// API group, empty for core.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Resource: `pods`, `deployments`, …
    pub resource: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Labels of the namespace.
    pub namespace_labels: &'a StringMap,
    /// Name; empty for pods, whose names the API server makes.
    pub name: &'a str,
    /// Labels of the object.
    pub labels: &'a StringMap,
    /// The object.
    pub object: &'a Value,
}

/// What a policy says of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why the object is refused: the text after `is forbidden: `.
    pub denied: Option<String>,
    /// What the client is warned of.
    pub warnings: Vec<String>,
}

/// A policy with its expressions read, and one of its bindings.
pub struct BoundPolicy {
    policy: ValidatingAdmissionPolicy,
    binding: ValidatingAdmissionPolicyBinding,
    env: Arc<Env>,
    conditions: Vec<Program>,
    variables: Vec<(String, Program)>,
    validations: Vec<(Program, Option<Program>)>,
}

/// What an expression came to.
enum Answer {
    True,
    False,
    Error(String),
}

impl BoundPolicy {
    /// Reads the expressions.
    ///
    /// # Errors
    /// What of the policy is not simulated.
    pub fn new(
        policy: &ValidatingAdmissionPolicy,
        binding: &ValidatingAdmissionPolicyBinding,
    ) -> Result<Self, String> {
        if policy.spec.param_kind.is_some() || binding.spec.param_ref.is_some() {
            return Err("it takes parameters".to_owned());
        }
        let mut env = Env::stdlib();
        env.add_extension(cel::extensions::strings).map_err(|e| e.to_string())?;
        let env = Arc::new(env);
        let read = |text: &str| {
            let program = env
                .compile(text)
                .map_err(|e| format!("the expression `{}` cannot be read: {e}", text.trim()))?;
            known_functions(&program, text)?;
            Ok::<Program, String>(program)
        };
        let spec = &policy.spec;
        let conditions = spec.match_conditions.iter().map(|c| read(&c.expression));
        let variables = spec.variables.iter().map(|v| Ok((v.name.clone(), read(&v.expression)?)));
        let validations = spec.validations.iter().map(|v| {
            let message = v.message_expression.as_deref().map(read).transpose()?;
            Ok((read(&v.expression)?, message))
        });
        Ok(Self {
            conditions: conditions.collect::<Result<_, String>>()?,
            variables: variables.collect::<Result<_, String>>()?,
            validations: validations.collect::<Result<_, String>>()?,
            env: Arc::clone(&env),
            policy: policy.clone(),
            binding: binding.clone(),
        })
    }

    /// What the policy says of an object.
    #[must_use]
    pub fn review(&self, new: &Creation<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        let of_binding = self.binding.spec.match_resources.as_ref();
        if !self.policy.spec.match_constraints.as_ref().is_some_and(|m| matches(m, new, true))
            || !of_binding.is_none_or(|m| matches(m, new, false))
        {
            return verdict;
        }
        for message in self.failures(new) {
            let action =
                |name: &str| self.binding.spec.validation_actions.iter().any(|a| a == name);
            let (policy, binding) = (&self.policy.metadata.name, &self.binding.metadata.name);
            if action("Deny") && verdict.denied.is_none() {
                verdict.denied = Some(format!(
                    "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: \
                     {message}"
                ));
            }
            if action("Warn") {
                verdict.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding \
                     '{binding}': {message}"
                ));
            }
        }
        verdict
    }

    /// Messages of the rules that do not hold.
    fn failures(&self, new: &Creation<'_>) -> Vec<String> {
        let ignores = self.policy.spec.failure_policy.as_deref() == Some("Ignore");
        let mut context = self.context(new);
        for (program, given) in self.conditions.iter().zip(&self.policy.spec.match_conditions) {
            match ask(program, &given.expression, &context) {
                Answer::True => {}
                Answer::False => return Vec::new(),
                Answer::Error(_) if ignores => return Vec::new(),
                Answer::Error(why) => return vec![why],
            }
        }
        // A variable whose expression fails is missing, and so fails those that use it.
        let mut variables = Vec::new();
        for (name, program) in &self.variables {
            if let Ok(value) = program.execute(&context) {
                variables.push((name.clone(), value));
            }
            let all: std::collections::BTreeMap<String, Cel> = variables.iter().cloned().collect();
            context.add_variable_from_value("variables", Cel::Map(map(all)));
        }
        let rules = self.validations.iter().zip(&self.policy.spec.validations);
        rules
            .filter_map(|((program, message), given)| {
                match ask(program, &given.expression, &context) {
                    Answer::True => None,
                    Answer::Error(_) if ignores => None,
                    Answer::Error(why) => Some(why),
                    Answer::False => {
                        let said = message.as_ref().and_then(|m| text(m, &context));
                        let given_text = given.message.as_deref().map(str::trim);
                        let fixed = given_text.filter(|m| !m.is_empty()).map(str::to_owned);
                        let expression = given.expression.trim();
                        Some(
                            said.or(fixed)
                                .unwrap_or_else(|| format!("failed expression: {expression}")),
                        )
                    }
                }
            })
            .collect()
    }

    fn context(&self, new: &Creation<'_>) -> Context<'static, 'static> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        let request = serde_json::json!({
            "operation": "CREATE", "name": new.name, "namespace": new.namespace, "dryRun": false,
            "kind": {"group": new.group, "version": new.version, "kind": new.kind},
            "resource": {"group": new.group, "version": new.version, "resource": new.resource},
        });
        let namespace = serde_json::json!({
            "metadata": {"name": new.namespace, "labels": new.namespace_labels},
        });
        let none = Value::Null;
        for (name, value) in [
            ("object", new.object),
            ("oldObject", &none),
            ("params", &none),
            ("request", &request),
            ("namespaceObject", &namespace),
        ] {
            context.add_variable_from_value(name, convert(value));
        }
        context.add_variable_from_value("variables", Cel::Map(map(Default::default())));
        context
    }
}

/// Functions of the language's standard and of the extension of strings; operators are `_+_` or
/// `@in`.
const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "type",
    "dyn",
    "duration",
    "timestamp",
    "has",
    "all",
    "exists",
    "exists_one",
    "filter",
    "map",
    "max",
    "min",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "join",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "substring",
    "trim",
    "reverse",
    "format",
];

fn known_functions(program: &Program, source: &str) -> Result<(), String> {
    let references = program.references();
    let mut unknown: Vec<&str> = references
        .functions()
        .into_iter()
        .filter(|f| !FUNCTIONS.contains(f) && f.chars().all(|c| c.is_ascii_alphanumeric()))
        .collect();
    unknown.sort_unstable();
    match unknown.first() {
        None => Ok(()),
        Some(name) => {
            Err(format!("the expression `{}` uses `{name}`, which is not known", source.trim()))
        }
    }
}

fn map(entries: std::collections::BTreeMap<String, Cel>) -> cel::objects::Map {
    cel::objects::Map { map: Arc::new(entries.into_iter().map(|(k, v)| (k.into(), v)).collect()) }
}

fn convert(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => match n.as_i64() {
            Some(i) => Cel::Int(i),
            None => Cel::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(s) => Cel::String(Arc::new(s.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(convert).collect())),
        Value::Object(fields) => {
            Cel::Map(map(fields.iter().map(|(k, v)| (k.clone(), convert(v))).collect()))
        }
    }
}

fn ask(program: &Program, source: &str, context: &Context<'_, '_>) -> Answer {
    let error = |why: String| {
        Answer::Error(format!("expression '{}' resulted in error: {why}", source.trim()))
    };
    match program.execute(context) {
        Ok(Cel::Bool(true)) => Answer::True,
        Ok(Cel::Bool(false)) => Answer::False,
        Ok(_) => error("the result is no boolean".to_owned()),
        Err(ExecutionError::NoSuchKey(key)) => error(format!("no such key: {key}")),
        Err(why) => error(why.to_string()),
    }
}

fn text(program: &Program, context: &Context<'_, '_>) -> Option<String> {
    match program.execute(context) {
        Ok(Cel::String(s)) if !s.trim().is_empty() && !s.contains('\n') => {
            Some(s.trim().to_owned())
        }
        _ => None,
    }
}

/// Whether the constraints cover the creation. A policy must name resources; a binding without
/// rules covers what its policy covers.
fn matches(m: &MatchResources, new: &Creation<'_>, must_name: bool) -> bool {
    m.namespace_selector.as_ref().is_none_or(|s| s.matches(new.namespace_labels))
        && m.object_selector.as_ref().is_none_or(|s| s.matches(new.labels))
        && !m.exclude_resource_rules.iter().any(|r| covers(r, new))
        && (m.resource_rules.iter().any(|r| covers(r, new))
            || (m.resource_rules.is_empty() && !must_name))
}

fn covers(rule: &NamedRule, new: &Creation<'_>) -> bool {
    let has = |list: &[String], value: &str| list.iter().any(|x| x == "*" || x == value);
    has(&rule.api_groups, new.group)
        && has(&rule.api_versions, new.version)
        && has(&rule.operations, "CREATE")
        && (has(&rule.resources, new.resource) || rule.resources.iter().any(|r| r == "*/*"))
        && (rule.resource_names.is_empty() || rule.resource_names.iter().any(|n| n == new.name))
        && rule.scope.as_deref() != Some("Cluster")
}
