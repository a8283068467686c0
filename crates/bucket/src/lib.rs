#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod all;
mod bucket;
#[cfg(feature = "clock")]
#[cfg_attr(docsrs, doc(cfg(feature = "clock")))]
pub mod clock;
mod counter;
#[cfg(all(test, loom))]
mod counter_models;
mod denied;
#[cfg(feature = "headers")]
#[cfg_attr(docsrs, doc(cfg(feature = "headers")))]
pub mod headers;
mod keyed;
#[cfg(feature = "errors")]
mod known;
mod limiter;
mod line;
#[cfg(all(test, loom))]
mod line_models;
mod plan;
mod rate;
mod rows;
mod scale;
mod set;
mod several;
mod table;
#[cfg(all(test, loom))]
mod table_models;
#[cfg(all(test, not(loom)))]
mod table_tests;
mod telemetry;
mod time;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub mod tower;
mod waiter;

pub use all::{All, Member};
pub use bucket::{Bucket, Level};
pub use denied::{Denied, Grant, Refusal};
pub use keyed::{Key, Keyed, Overflow};
pub use limiter::{AnyLimiter, Limiter};
pub use rate::Rate;
