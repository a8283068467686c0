//! Token buckets: exact, fair, several acquired as one.
