//! Integration tests of the library, in one binary.
mod load;
mod exercises;
mod golden;
mod spec_broken;
mod spec_real;
