//! Integration tests of the library, in one binary.
#![allow(clippy::unwrap_used)] // A test may stop where it fails.
mod analytic;
mod controllers;
mod determinism;
mod exercises;
mod golden;
mod invariants;
mod latency;
mod load;
mod nodes;
mod rig;
mod spec_broken;
mod spec_real;
mod swarm;
mod tidy;
mod trace;
mod vpa;
