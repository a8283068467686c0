#![doc = include_str!("../README.md")]

mod all;
mod bucket;
mod counter;
#[cfg(all(test, loom))]
mod counter_models;
mod denied;
#[cfg(feature = "errors")]
mod known;
mod limiter;
mod line;
#[cfg(all(test, loom))]
mod line_models;
mod rate;
mod scale;
mod set;
mod several;
mod telemetry;
mod time;
mod waiter;

pub use all::{All, Member};
pub use bucket::{Bucket, Level};
pub use denied::{Denied, Grant, Refusal};
pub use limiter::{AnyLimiter, Limiter};
pub use rate::Rate;
