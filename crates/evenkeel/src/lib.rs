#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "bucket")]
#[doc(inline)]
pub use evenkeel_bucket as bucket;
#[cfg(feature = "cancel")]
#[doc(inline)]
pub use evenkeel_cancel as cancel;
#[cfg(feature = "errors")]
#[doc(inline)]
pub use evenkeel_errors as errors;
#[cfg(feature = "heartbeat")]
#[doc(inline)]
pub use evenkeel_heartbeat as heartbeat;
#[cfg(feature = "hedge")]
#[doc(inline)]
pub use evenkeel_hedge as hedge;
#[cfg(feature = "steward")]
#[doc(inline)]
pub use evenkeel_steward as steward;
