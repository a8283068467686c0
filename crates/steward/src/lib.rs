#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod builder;
mod cell;
mod child;
mod ctx;
mod drive;
mod error;
mod event;
mod events;
mod handle;
mod inner;
mod outlet;
mod roster;
mod rules;
mod runner;
mod sentinel;
mod status;
mod steward;
mod ward;

#[cfg(all(test, loom))]
mod outlet_models;
#[cfg(all(test, loom))]
mod roster_models;

pub use builder::Builder;
pub use child::Child;
pub use ctx::{Ctx, Working};
pub use error::{Escalated, Gone, StartError, Unpublished};
pub use event::{Event, Reason, What};
pub use events::Events;
pub use handle::WardHandle;
pub use rules::{Backoff, Intensity, Restart, Strategy};
pub use status::{State, StatusTree, WardStatus};
pub use steward::Steward;
pub use ward::{BoxError, Ward};
