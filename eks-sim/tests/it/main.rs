//! Integration tests of the library, in one binary.
#![allow(clippy::unwrap_used)] // A test may stop where it fails.
mod addresses;
mod admission;
mod analytic;
mod autoscaling;
mod controllers;
mod determinism;
mod exercises;
mod golden;
mod invariants;
mod karpenter;
mod load;
mod network;
mod plugins;
mod rates;
mod requests;
mod rig;
mod rollout;
mod spec_broken;
mod spec_real;
mod subnets;
mod swarm;
mod tidy;
mod trace;
mod vpa;
