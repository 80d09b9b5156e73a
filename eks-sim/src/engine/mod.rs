//! The discrete-event core: future event list, keyed random draws, the one loop.

pub mod agenda;
pub mod cx;
pub mod digest;
pub mod draws;
pub mod event;
pub mod run;
mod watch;

pub use cx::{ApiWriter, Cx};
pub use draws::Stream;
pub use event::Event;
pub use run::{Observer, Sim, View};
