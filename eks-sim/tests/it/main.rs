//! Integration tests of the library, in one binary.
mod spec_broken;
mod spec_real;
