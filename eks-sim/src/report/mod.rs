//! Results for people and programs: text, Markdown, JSON, CSV, plots, the output folder.

pub mod comparison;
pub mod csv;
pub mod files;
pub mod folder;
pub mod number;
pub mod outline;
#[cfg(feature = "report")]
pub mod plots;
pub mod render;
pub mod subnets;
