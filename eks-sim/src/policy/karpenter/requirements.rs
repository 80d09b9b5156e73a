//! Requirements: sets of label values, intersection and compatibility.
//!
//! Upstream: karpenter pkg/scheduling/requirement.go and requirements.go.

use crate::k8s::{NodeRequirement, NodeSelectorRequirement, StringMap};
use std::collections::{BTreeMap, BTreeSet};

/// Label of the capacity type.
pub const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
/// Label of the NodePool.
pub const NODE_POOL: &str = "karpenter.sh/nodepool";
/// Label of the zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Label of the host.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Label of the instance type.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// Label of the architecture.
pub const ARCH: &str = "kubernetes.io/arch";
/// Label of the operating system.
pub const OS: &str = "kubernetes.io/os";

/// A set of values of one label: those listed, or all but those listed within bounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    complement: bool,
    values: BTreeSet<String>,
    greater_than: Option<i64>,
    less_than: Option<i64>,
    /// Distinct values that must stay possible.
    pub min_values: Option<i32>,
}

impl core::fmt::Display for Requirement {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        let values = values.join(", ");
        match (self.complement, values.is_empty()) {
            (false, true) => write!(f, "DoesNotExist")?,
            (false, false) => write!(f, "In [{values}]")?,
            (true, false) => write!(f, "NotIn [{values}]")?,
            (true, true) if self.greater_than.is_none() && self.less_than.is_none() => {
                write!(f, "Exists")?;
            }
            (true, true) => {}
        }
        if let Some(least) = self.greater_than {
            write!(f, " Gt {least}")?;
        }
        if let Some(most) = self.less_than {
            write!(f, " Lt {most}")?;
        }
        Ok(())
    }
}

/// An operator and its values do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operator `{operator}` with {count} values; {help}")]
pub struct RequirementError {
    operator: String,
    count: usize,
    help: &'static str,
}

impl Requirement {
    /// One of `values`.
    #[must_use]
    pub fn of<S: Into<String>>(values: impl IntoIterator<Item = S>) -> Self {
        Self {
            complement: false,
            values: values.into_iter().map(Into::into).collect(),
            greater_than: None,
            less_than: None,
            min_values: None,
        }
    }
    /// Any value.
    #[must_use]
    pub fn exists() -> Self {
        Self { complement: true, ..Self::of::<String>([]) }
    }
    /// The label must be absent.
    #[must_use]
    pub fn does_not_exist() -> Self {
        Self::of::<String>([])
    }

    /// From an operator and values.
    ///
    /// # Errors
    /// When the operator is unknown or a bound is no integer.
    pub fn new(operator: &str, values: &[String]) -> Result<Self, RequirementError> {
        let error =
            |help| RequirementError { operator: operator.to_owned(), count: values.len(), help };
        let bound = || match values {
            [value] => value.parse::<i64>().map_err(|_| error("give one integer")),
            _ => Err(error("give one integer")),
        };
        let listed = Self::of(values.iter().cloned());
        Ok(match operator {
            "In" => listed,
            "NotIn" => Self { complement: true, ..listed },
            "Exists" => Self::exists(),
            "DoesNotExist" => Self::does_not_exist(),
            "Gt" => Self { greater_than: Some(bound()?), ..Self::exists() },
            "Lt" => Self { less_than: Some(bound()?), ..Self::exists() },
            "Gte" => Self { greater_than: Some(bound()?.saturating_sub(1)), ..Self::exists() },
            "Lte" => Self { less_than: Some(bound()?.saturating_add(1)), ..Self::exists() },
            _ => {
                return Err(error("use In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte or Lte"));
            }
        })
    }

    /// Values that both allow.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let greater_than = self.greater_than.max(other.greater_than);
        let less_than = match (self.less_than, other.less_than) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let min_values = self.min_values.max(other.min_values);
        let empty_range =
            greater_than.zip(less_than).is_some_and(|(low, high)| low.saturating_add(1) >= high);
        if empty_range && self.complement && other.complement {
            return Self { min_values, ..Self::does_not_exist() };
        }
        let values: BTreeSet<String> = match (self.complement, other.complement) {
            (true, true) => self.values.union(&other.values).cloned().collect(),
            (false, true) => self.values.difference(&other.values).cloned().collect(),
            (true, false) => other.values.difference(&self.values).cloned().collect(),
            (false, false) => self.values.intersection(&other.values).cloned().collect(),
        };
        let complement = self.complement && other.complement;
        let inside = |value: &String| within(value, greater_than, less_than);
        let values = values.into_iter().filter(inside).collect();
        // A list carries the bounds no longer: they are applied.
        let (greater_than, less_than) =
            if complement { (greater_than, less_than) } else { (None, None) };
        Self { complement, values, greater_than, less_than, min_values }
    }

    /// Whether any value is allowed by both.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        let both = self.intersection(other);
        both.complement || !both.values.is_empty()
    }

    /// Whether `value` is allowed.
    #[must_use]
    pub fn has(&self, value: &str) -> bool {
        let listed = self.values.contains(value);
        listed != self.complement && within(value, self.greater_than, self.less_than)
    }

    /// The listed values, if it is a list.
    #[must_use]
    pub fn listed(&self) -> Option<&BTreeSet<String>> {
        (!self.complement).then_some(&self.values)
    }

    /// Whether the label may (or must) be absent: `NotIn` or `DoesNotExist`.
    #[must_use]
    pub fn admits_absence(&self) -> bool {
        if self.complement {
            !self.values.is_empty() && self.greater_than.is_none() && self.less_than.is_none()
        } else {
            self.values.is_empty()
        }
    }
}

fn within(value: &str, greater_than: Option<i64>, less_than: Option<i64>) -> bool {
    if greater_than.is_none() && less_than.is_none() {
        return true;
    }
    let Ok(value) = value.parse::<i64>() else { return false };
    greater_than.is_none_or(|low| value > low) && less_than.is_none_or(|high| value < high)
}

/// Requirements by label key; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirements(BTreeMap<String, Requirement>);

impl Requirements {
    /// No requirement.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Labels as requirements for their one value.
    #[must_use]
    pub fn from_labels(labels: &StringMap) -> Self {
        let mut out = Self::new();
        for (key, value) in labels {
            out.add(key, Requirement::of([value.clone()]));
        }
        out
    }
    /// Requirements of a NodePool.
    ///
    /// # Errors
    /// See [`Requirement::new`].
    pub fn from_node_pool(list: &[NodeRequirement]) -> Result<Self, RequirementError> {
        let mut out = Self::new();
        for entry in list {
            let mut requirement = Requirement::new(&entry.operator, &entry.values)?;
            requirement.min_values = entry.min_values;
            out.add(&entry.key, requirement);
        }
        Ok(out)
    }
    /// Expressions of a node selector term.
    ///
    /// # Errors
    /// See [`Requirement::new`].
    pub fn from_expressions(list: &[NodeSelectorRequirement]) -> Result<Self, RequirementError> {
        let mut out = Self::new();
        for entry in list {
            out.add(&entry.key, Requirement::new(&entry.operator, &entry.values)?);
        }
        Ok(out)
    }

    /// Adds a requirement; one on the same key is intersected. Well-known old keys are renamed.
    pub fn add(&mut self, key: &str, requirement: Requirement) {
        let key = normalized(key);
        let merged = match self.0.get(key) {
            Some(known) => known.intersection(&requirement),
            None => requirement,
        };
        self.0.insert(key.to_owned(), merged);
    }
    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for (key, requirement) in &other.0 {
            self.add(key, requirement.clone());
        }
    }
    /// The requirement on `key`; any value if there is none.
    #[must_use]
    pub fn get(&self, key: &str) -> Requirement {
        self.0.get(normalized(key)).cloned().unwrap_or_else(Requirement::exists)
    }
    /// The requirement on `key`, if there is one.
    #[must_use]
    pub fn stated(&self, key: &str) -> Option<&Requirement> {
        self.0.get(normalized(key))
    }
    /// All, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Requirement)> {
        self.0.iter()
    }
    /// Whether any requirement counts distinct values.
    #[must_use]
    pub fn has_min_values(&self) -> bool {
        self.0.values().any(|r| r.min_values.is_some())
    }

    /// Whether for every key stated on both sides some value is left; `NotIn` and
    /// `DoesNotExist` also go together with each other when no value is left.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.conflict(other).is_none()
    }

    /// First key on which the two contradict.
    #[must_use]
    pub fn conflict(&self, other: &Self) -> Option<&str> {
        self.0.iter().find_map(|(key, requirement)| {
            let theirs = other.0.get(key)?;
            let fine = requirement.intersects(theirs)
                || (requirement.admits_absence() && theirs.admits_absence());
            (!fine).then_some(key.as_str())
        })
    }

    /// Whether `incoming` (a pod's) can be met by these (a node's): custom labels must be
    /// stated here unless `incoming` admits their absence; keys in `undefined_allowed` need not.
    #[must_use]
    pub fn compatible(&self, incoming: &Self, undefined_allowed: impl Fn(&str) -> bool) -> bool {
        let defined = incoming.0.iter().all(|(key, requirement)| {
            self.0.contains_key(key) || undefined_allowed(key) || requirement.admits_absence()
        });
        defined && self.intersects(incoming)
    }
}

/// Labels that every instance type or Karpenter itself defines.
#[must_use]
pub fn is_well_known(key: &str) -> bool {
    const KEYS: [&str; 10] = [
        NODE_POOL,
        CAPACITY_TYPE,
        ZONE,
        HOSTNAME,
        INSTANCE_TYPE,
        ARCH,
        OS,
        "topology.kubernetes.io/region",
        "node.kubernetes.io/windows-build",
        "topology.k8s.aws/zone-id",
    ];
    // EKS Auto Mode has the provider's labels under its own domain.
    let auto_mode = ["instance-", "compute-type", "nodeclass"];
    KEYS.contains(&key)
        || key.starts_with("karpenter.k8s.aws/")
        || key
            .strip_prefix("eks.amazonaws.com/")
            .is_some_and(|name| auto_mode.iter().any(|known| name.starts_with(known)))
}

fn normalized(key: &str) -> &str {
    match key {
        "failure-domain.beta.kubernetes.io/zone" | "topology.ebs.csi.aws.com/zone" => ZONE,
        "failure-domain.beta.kubernetes.io/region" => "topology.kubernetes.io/region",
        "beta.kubernetes.io/arch" => ARCH,
        "beta.kubernetes.io/os" => OS,
        "beta.kubernetes.io/instance-type" => INSTANCE_TYPE,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(operator: &str, values: &[&str]) -> Requirement {
        let values: Vec<String> = values.iter().map(|&v| v.to_owned()).collect();
        Requirement::new(operator, &values).unwrap()
    }

    proptest::proptest! {
        #[test]
        fn intersection_holds_what_both_hold(
            a in 0usize..6, b in 0usize..6, x in 0i64..8, y in 0i64..8, v in 0i64..8
        ) {
            const OPERATORS: [&str; 6] = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
            let left = requirement(OPERATORS[a], &[&x.to_string()]);
            let right = requirement(OPERATORS[b], &[&y.to_string()]);
            let v = v.to_string();
            let both = left.intersection(&right);
            proptest::prop_assert_eq!(both.has(&v), left.has(&v) && right.has(&v));
            proptest::prop_assert_eq!(&both, &right.intersection(&left));
        }
    }

    #[test]
    fn custom_labels_must_be_defined() {
        let mut node = Requirements::new();
        node.add(ZONE, requirement("In", &["a", "b"]));
        let mut pod = Requirements::new();
        pod.add("team", requirement("In", &["x"]));
        assert!(!node.compatible(&pod, is_well_known));
        node.add("team", requirement("In", &["x", "y"]));
        assert!(node.compatible(&pod, is_well_known));
        let mut absent = Requirements::new();
        absent.add("gpu", requirement("DoesNotExist", &[]));
        assert!(node.compatible(&absent, is_well_known));
        pod.add("failure-domain.beta.kubernetes.io/zone", requirement("NotIn", &["a", "b"]));
        assert_eq!(node.conflict(&pod), Some(ZONE));
        assert!(requirement("Gt", &["3"]).intersects(&requirement("Lt", &["5"])));
        assert!(!requirement("Gt", &["3"]).intersects(&requirement("Lt", &["4"])));
    }
}
