//! One module per verb.

pub mod catalog;
