//! Integration tests of the library, in one binary.
mod analytic;
mod determinism;
mod invariants;
mod rig;
mod spec_broken;
mod spec_real;
mod swarm;
mod tidy;
mod exercises;
mod golden;
mod load;
mod spec_broken;
mod spec_real;
mod vpa;
