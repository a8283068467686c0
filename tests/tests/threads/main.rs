//! The shells under real threads. `cargo test` runs these as stress tests; `cargo xtask tsan` runs them under
//! ThreadSanitizer, where any two accesses that nothing orders are reported.

mod bucket;
#[cfg(feature = "tsan")]
mod canary;
mod cancel;
mod heartbeat;
mod hedge;
