#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "accrual")]
mod accrual;
mod changes;
mod drive;
mod every;
mod expect;
mod health;
mod monitor;
mod names;
mod planes;
#[cfg(all(test, loom))]
mod planes_models;
#[cfg(feature = "health")]
mod probes;
mod pulse;
mod quality;
mod sentinel;
#[cfg(all(feature = "systemd", unix))]
mod systemd;
#[cfg(all(test, not(loom)))]
mod tests;
mod watched;
mod word;
#[cfg(all(test, loom))]
mod word_models;
mod wrap;

use std::sync::Arc;

#[cfg(feature = "accrual")]
pub use accrual::{Arrivals, phi};
pub use changes::{Change, Changes, PulseId};
pub use every::{During, Every};
pub use expect::{ClassError, Expect};
pub use health::Health;
pub use monitor::{Class, Monitor};
#[cfg(feature = "health")]
pub use probes::{Answer, Probes};
pub use pulse::{Beat, Beats, Pulse, pulse};
pub use quality::Quality;
pub use sentinel::Sentinel;
#[cfg(all(feature = "systemd", unix))]
pub use systemd::Systemd;
pub use watched::{Unit, Watched};
pub use wrap::{BeatFuture, BeatOnItem, BeatOnPoll, BeatStream};

/// Says that all is well.
///
/// The one thing that this crate asks of a type: a worker takes a `&impl Heartbeat`, or a `&dyn Heartbeat`, and does not
/// care who listens.
///
/// # Contract
///
/// `beat` never waits, never fails and never panics, whoever listens or does not, and is cheap enough for an inner loop.
/// It may be called from any thread that has the reference. Beats may coalesce; the last one is never lost.
pub trait Heartbeat {
    /// Says that the caller is alive, here and now.
    fn beat(&self);
}

impl<H: Heartbeat + ?Sized> Heartbeat for &H {
    #[inline]
    fn beat(&self) {
        (**self).beat();
    }
}

impl<H: Heartbeat + ?Sized> Heartbeat for Arc<H> {
    #[inline]
    fn beat(&self) {
        (**self).beat();
    }
}

impl<H: Heartbeat + ?Sized> Heartbeat for Box<H> {
    #[inline]
    fn beat(&self) {
        (**self).beat();
    }
}
