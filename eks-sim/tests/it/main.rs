//! Integration tests of the library, in one binary.
mod spec_real;
