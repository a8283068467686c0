//! The first part of a body, kept up to a bound.

use std::error::Error;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, SizeHint};

/// What has come of a body.
pub(crate) enum Kept {
    /// All of it.
    Whole(Bytes),
    /// More than is kept, or so the body says.
    Part(Bytes),
}

impl Kept {
    /// Reads up to `bound` bytes, and what comes with them. Trailers are left out.
    pub(crate) async fn read<B>(body: &mut B, bound: usize) -> Result<Self, B::Error>
    where
        B: Body<Data = Bytes, Error: Error> + Unpin,
    {
        let mut kept = Vec::new();
        loop {
            let room = bound.saturating_sub(kept.len());
            if kept.len() > bound || body.size_hint().lower() > room as u64 {
                return Ok(Self::Part(kept.into()));
            }
            match body.frame().await {
                None => return Ok(Self::Whole(kept.into())),
                Some(frame) => kept.extend(frame?.into_data().unwrap_or_default()),
            }
        }
    }
}

/// The size of so many bytes and a body after them.
pub(crate) fn after(kept: usize, rest: SizeHint) -> SizeHint {
    let kept = kept as u64;
    let mut hint = SizeHint::new();
    hint.set_lower(rest.lower().saturating_add(kept));
    if let Some(upper) = rest.upper() {
        hint.set_upper(upper.saturating_add(kept));
    }
    hint
}
