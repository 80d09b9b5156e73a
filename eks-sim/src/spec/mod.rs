//! What users write: the scenario file and Kubernetes manifests, parsed, checked and diagnosed.

pub mod scenario;
