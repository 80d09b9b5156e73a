//! The discrete-event core: future event list, keyed random draws, distributions.

pub mod agenda;
pub mod dist;
pub mod draws;
