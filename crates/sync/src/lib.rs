#![doc = include_str!("../README.md")]

#[cfg(not(loom))]
#[path = "production.rs"]
mod imp;

#[cfg(loom)]
#[path = "modelled.rs"]
mod imp;

mod mutex;

#[cfg(loom)]
mod model;
#[cfg(all(test, loom))]
mod mutex_models;

pub use imp::{Arc, Tracked, UnsafeCell, atomic, hint, thread};
/// Whether this build is for the models.
pub const MODELLED: bool = cfg!(loom);
pub use mutex::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub use std::thread_local;

#[cfg(loom)]
pub use loom::{future::block_on, thread_local};
#[cfg(loom)]
pub use model::model;
