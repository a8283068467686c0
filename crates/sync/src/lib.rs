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
pub use mutex::{Mutex, MutexGuard};

#[cfg(loom)]
pub use loom::future::block_on;
#[cfg(loom)]
pub use model::model;
