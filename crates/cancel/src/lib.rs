//! Cancellation with a cause: tokens, deadlines, claims and scopes.
