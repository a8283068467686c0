//! Replicated and hedged requests with a bound on the extra load.
