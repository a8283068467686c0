//! What the tests and benchmarks of the whole house share.

/// The front page of the repository: its example is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct FrontPage;
