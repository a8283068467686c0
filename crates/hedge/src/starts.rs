//! How attempts are made: all alike, or each against a target of its own.

use std::future::Future;

use crate::Attempt;

mod sealed {
    pub trait Sealed {}
    impl<F> Sealed for super::Alike<F> {}
    impl<R, I, F> Sealed for super::Across<R, I, F> {}
}

/// What starts the attempts of a [`Call`](crate::Call). Sealed: made by [`Hedge::run`](crate::Hedge::run),
/// [`Hedge::run_across`](crate::Hedge::run_across) and [`replicate`](crate::replicate).
pub trait Starts: sealed::Sealed {
    /// What an attempt answers.
    type Ok;
    /// What it fails with.
    type Error;
    /// An attempt.
    type Future: Future<Output = Result<Self::Ok, Self::Error>>;

    /// Whether another attempt can be started.
    #[doc(hidden)]
    fn any_left(&mut self) -> bool;

    /// Starts one; only after `any_left` said so.
    #[doc(hidden)]
    fn start(&mut self, attempt: Attempt) -> Self::Future;
}

/// Attempts that are all alike.
#[derive(Debug)]
pub struct Alike<F>(pub(crate) F);

impl<F, Fut, T, E> Starts for Alike<F>
where
    F: FnMut(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Ok = T;
    type Error = E;
    type Future = Fut;

    #[inline]
    fn any_left(&mut self) -> bool {
        true
    }

    #[inline]
    fn start(&mut self, attempt: Attempt) -> Fut {
        (self.0)(attempt)
    }
}

/// Attempts each against the next target.
#[derive(Debug)]
pub struct Across<R, I, F> {
    next: Option<R>,
    spares: I,
    start: F,
}

impl<R, I, F> Across<R, I, F> {
    pub(crate) fn new(first: R, spares: I, start: F) -> Self {
        Self {
            next: Some(first),
            spares,
            start,
        }
    }
}

impl<R, I, F, Fut, T, E> Starts for Across<R, I, F>
where
    I: Iterator<Item = R>,
    F: FnMut(R, Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Ok = T;
    type Error = E;
    type Future = Fut;

    /// Looks one target ahead, so that no budget is asked for an attempt that has no target.
    fn any_left(&mut self) -> bool {
        if self.next.is_none() {
            self.next = self.spares.next();
        }
        self.next.is_some()
    }

    fn start(&mut self, attempt: Attempt) -> Fut {
        let target = self.next.take().expect("a target was left");
        (self.start)(target, attempt)
    }
}
