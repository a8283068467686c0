//! Errors that say what, when, where, to whom and under which id.
