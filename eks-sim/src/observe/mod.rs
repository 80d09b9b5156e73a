//! Observers read the change log and never write: measures, time series, cost, explanations.

pub mod collector;
pub mod detail;
mod integral;
pub mod metrics;
mod network_events;
pub mod outcome;
mod scaling;
pub mod series;
