//! Load of a service: its request rate over time and its queue.
//!
//! Upstream: none; textbook queueing models, checked against their closed forms.
//! Differences: the fluid queue replaces single requests by rates between two changes;
//! [`request_queue`] simulates single requests and is what the fluid queue is tested against.

pub mod exact;
pub mod markov;
pub mod noise;
pub mod queueing;
pub mod rate;
pub mod request_queue;
#[cfg(test)]
mod request_queue_tests;
pub mod retry;
pub mod sharing_queue;
#[cfg(test)]
mod tests;

pub use markov::Markov;
pub use noise::Noise;
pub use queueing::{Discipline, SteadyState};
pub use rate::RateProfile;
pub use request_queue::RequestQueue;
pub use retry::{Attempts, RetryPolicy};
pub use sharing_queue::{Capacity, Flow, SharingQueue};
