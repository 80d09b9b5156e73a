//! **eks-sim** simulates an Amazon EKS cluster with a deterministic discrete-event core and
//! plans its capacity.
//!
//! Modules import downwards only:
//! `units → catalog → k8s → spec → world → policy → engine → components → observe → study → report`.
//! See `ARCHITECTURE.md` in the repository for the design.

pub mod catalog;
pub mod components;
pub mod engine;
pub mod k8s;
pub mod observe;
pub mod policy;
pub mod report;
pub mod spec;
pub mod study;
pub mod units;
pub mod world;
