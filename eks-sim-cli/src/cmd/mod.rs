//! One module per verb.

pub mod catalog;
pub mod check;
pub mod compare;
pub mod completions;
pub mod conformance;
pub mod exercise;
pub mod explain;
pub mod init;
pub mod man;
pub mod replay;
pub mod run;
pub mod schema;
pub mod subnets;
