//! The VPC CNI's ENIConfig (crd.k8s.amazonaws.com/v1alpha1), the VPC resource controller's
//! SecurityGroupPolicy (vpcresources.k8s.aws/v1beta1), and Ingress.

use super::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};

/// An ENIConfig: where interfaces for pods go under custom networking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EniConfig {
    /// Metadata; the name is the zone's, or what the node's label says.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: EniConfigSpec,
}

/// `spec` of an ENIConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EniConfigSpec {
    /// Id of the subnet.
    pub subnet: String,
    /// Security groups.
    pub security_groups: Vec<String>,
}

/// A SecurityGroupPolicy: pods that get a branch interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityGroupPolicy {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: SecurityGroupPolicySpec,
}

/// `spec` of a SecurityGroupPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityGroupPolicySpec {
    /// Pods by their labels.
    pub pod_selector: Option<LabelSelector>,
    /// Pods by the labels of their service account.
    pub service_account_selector: Option<LabelSelector>,
    /// The groups.
    pub security_groups: SecurityGroups,
}

/// Security groups of a SecurityGroupPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityGroups {
    /// Ids, one to five.
    pub group_ids: Vec<String>,
}

/// An Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// Metadata; annotations choose scheme and group of the load balancer.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: IngressSpec,
}

/// `spec` of an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressSpec {
    /// Class, `alb` for the AWS Load Balancer Controller.
    pub ingress_class_name: Option<String>,
    /// Where requests go that no rule takes.
    pub default_backend: Option<IngressBackend>,
    /// Rules.
    pub rules: Vec<IngressRule>,
}

/// A rule of an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressRule {
    /// Host.
    pub host: Option<String>,
    /// Paths.
    pub http: Option<IngressHttp>,
}

/// Paths of an Ingress rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressHttp {
    /// Paths.
    pub paths: Vec<IngressPath>,
}

/// A path of an Ingress rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressPath {
    /// Path.
    pub path: Option<String>,
    /// How it matches.
    pub path_type: Option<String>,
    /// Where its requests go.
    pub backend: IngressBackend,
}

/// Where requests of an Ingress go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressBackend {
    /// A Service.
    pub service: Option<IngressService>,
    /// The same in `extensions/v1beta1`.
    pub service_name: Option<String>,
}

/// A Service behind an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressService {
    /// Its name.
    pub name: String,
}

impl Ingress {
    /// Services that it sends requests to, each once, in order.
    #[must_use]
    pub fn services(&self) -> Vec<&str> {
        let paths = self.spec.rules.iter().filter_map(|r| r.http.as_ref()).flat_map(|h| &h.paths);
        let backends = self.spec.default_backend.iter().chain(paths.map(|p| &p.backend));
        let mut names: Vec<&str> = Vec::new();
        for backend in backends {
            let today = backend.service.as_ref().map(|s| s.name.as_str());
            let Some(name) = today.or(backend.service_name.as_deref()) else { continue };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}
