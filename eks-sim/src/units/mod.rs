//! Integer units, typed ids, interned symbols and platform-independent mathematics.

pub mod dist;
pub mod histogram;
mod id;
pub mod key;
pub mod math;
mod money;
mod quantity;
pub mod special;
mod symbol;
mod time;

pub use dist::{Dist, DistF64};
pub use id::{Id, IdVec};
pub use money::{Money, MoneyRate, UsageCost};
pub use quantity::{Bytes, MilliCpu, Quantity, QuantityError};
pub use symbol::{Symbol, Symbols};
pub use time::{SimTime, Span, SpanError};
