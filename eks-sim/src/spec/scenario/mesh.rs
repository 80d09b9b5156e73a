//! A service mesh.

use crate::units::{Quantity, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service mesh that injects a proxy as a sidecar into the pods of Deployments, StatefulSets and
/// ReplicaSets that do not use the node's network. `mesh: {}` takes the defaults; the label or
/// annotation `sidecar.istio.io/inject: "false"` of a template keeps its pods out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MeshSpec {
    /// Namespaces whose pods get a sidecar (default: all but `kube-system`).
    pub namespaces: Option<Vec<String>>,
    /// Image of the sidecar (default `docker.io/istio/proxyv2:1.28.0`).
    pub image: Option<String>,
    /// Its CPU request (default: the constant `mesh.sidecar_cpu`).
    pub cpu: Option<Quantity>,
    /// Its memory request (default: the constant `mesh.sidecar_memory`).
    pub memory: Option<Quantity>,
    /// Its CPU limit (default: the constant `mesh.sidecar_cpu_limit`).
    pub cpu_limit: Option<Quantity>,
    /// Its memory limit (default: the constant `mesh.sidecar_memory_limit`).
    pub memory_limit: Option<Quantity>,
    /// `before` (default): an init container that goes on running, so that the application starts
    /// when the proxy is up (Kubernetes 1.29 or later); `together`: one more container.
    pub start: Option<String>,
    /// Time that a proxy adds to a request; a call between two pods of the mesh passes two of them
    /// (default: the constant `mesh.latency_per_hop`).
    pub latency_per_hop: Option<Span>,
    /// CPU that a proxy spends on a request (default: the constant `mesh.cpu_per_request`).
    pub cpu_per_request: Option<Span>,
}
