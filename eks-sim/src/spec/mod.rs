//! What the user gives: scenario files and Kubernetes manifests, read, checked and explained.
//!
//! Texts become trees with places ([`node`]), trees become typed objects ([`decode`]), and every
//! mistake on the way is a [`Diagnostic`] with file, line, column and mend. All mistakes are
//! collected; nothing is printed here.

pub mod codes;
pub mod cron;
pub mod decode;
pub mod diagnostic;
pub mod json;
pub mod lint;
pub mod load;
pub mod manifest;
pub mod node;
pub mod read;
pub mod scalar;
pub mod scenario;
pub mod selection;
pub mod set;
pub mod source;
pub mod suggest;
pub mod validate;
pub mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Reporter, Severity};
pub use load::{
    Loaded, LoadedVariant, load, load_embedded, load_manifests_only, load_scenario_text,
};
pub use manifest::{Manifests, Sourced, load_manifests};
pub use node::{Flavour, Node, Value};
pub use source::{Location, SourceId, SourceSpan, Sources};
