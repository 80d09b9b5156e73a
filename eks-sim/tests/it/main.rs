//! Integration tests of the library, in one binary.
mod controllers;
mod exercises;
mod golden;
mod load;
mod spec_broken;
mod spec_real;
mod vpa;
