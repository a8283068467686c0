//! What the tests and benchmarks of the whole house share.
