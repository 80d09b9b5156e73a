//! Observers read the change log and never write: measures, time series, cost, explanations.

pub mod metrics;
pub mod outcome;
pub mod series;
