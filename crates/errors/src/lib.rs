#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod chain;
mod ext;
mod id;
mod json;
mod known;
mod once;
#[cfg(all(test, loom))]
mod once_models;
mod origin;
mod problem;
mod record;
mod render;
mod report;
pub mod sink;
mod timestamp;
mod trail;

pub use ext::{Absent, ResultExt};
pub use id::Id;
pub use known::{Code, Known, Retry, Status};
pub use origin::{Origin, OriginSet};
pub use problem::Problem;
pub use record::{Record, Severity};
pub use report::{Kind, Report};
