#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), forbid(unsafe_code))]

mod adaptive;
mod attempt;
#[cfg(feature = "bucket")]
mod budget;
mod call;
mod failed;
mod flight;
mod hedge;
#[cfg(feature = "errors")]
mod known;
mod policy;
mod starts;
mod steer;
mod telemetry;
mod tie;

#[cfg(all(test, loom))]
mod steer_models;
#[cfg(all(test, loom))]
mod tie_models;

pub use adaptive::{Adaptive, InvalidPolicy};
pub use attempt::Attempt;
pub use call::Call;
pub use failed::Failed;
pub use hedge::{Hedge, Losers, replicate};
pub use policy::{Policy, Signal};
pub use starts::{Across, Alike, Starts};
pub use tie::{Hold, Tie};
