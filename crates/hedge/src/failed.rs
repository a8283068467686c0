use std::fmt;
use std::iter;

/// No attempt succeeded: the error that decided it, and those of all other attempts.
///
/// Its [`source`](std::error::Error::source) is the error that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed<E> {
    error: E,
    others: Vec<E>,
}

impl<E> Failed<E> {
    /// The fatal error if there was one (see [`Call::fatal`](crate::Call::fatal)), else that of the first attempt.
    #[inline]
    pub fn error(&self) -> &E {
        &self.error
    }

    /// The same by value, for callers who treat a hedged call like a plain one.
    #[inline]
    pub fn into_error(self) -> E {
        self.error
    }

    /// The errors of the other attempts that failed, in the order in which the attempts were started.
    #[inline]
    pub fn others(&self) -> &[E] {
        &self.others
    }

    /// All of them, the one that decided first.
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        iter::once(&self.error).chain(&self.others)
    }

    /// All of them by value, the one that decided first.
    pub fn into_errors(self) -> impl Iterator<Item = E> {
        iter::once(self.error).chain(self.others)
    }
}

impl<E> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.others.len() {
            0 => f.write_str("the attempt failed"),
            others => write!(f, "{} attempts failed", others + 1),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Failed<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The errors of a call that may still succeed, each with the index of its attempt. The first lies in place, so that a call
/// of one attempt fails without allocating.
#[derive(Debug)]
pub(crate) struct Errors<E> {
    first: Option<(u32, E)>,
    more: Vec<(u32, E)>,
}

impl<E> Errors<E> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            more: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, index: u32, error: E) {
        if self.first.is_none() {
            self.first = Some((index, error));
        } else {
            self.more.push((index, error));
        }
    }

    /// No attempt is left; `None` if none has failed.
    pub(crate) fn take(&mut self) -> Option<Failed<E>> {
        let (index, error) = self.first.take()?;
        if self.more.is_empty() {
            let others = Vec::new();
            return Some(Failed { error, others });
        }
        self.more.push((index, error));
        let mut others = self.take_more();
        let error = others.remove(0);
        Some(Failed { error, others })
    }

    /// `error` ends the call whatever the others would have said.
    pub(crate) fn take_fatal(&mut self, error: E) -> Failed<E> {
        self.more.extend(self.first.take());
        let others = self.take_more();
        Failed { error, others }
    }

    fn take_more(&mut self) -> Vec<E> {
        let mut errors = std::mem::take(&mut self.more);
        errors.sort_by_key(|&(index, _)| index);
        errors.into_iter().map(|(_, error)| error).collect()
    }
}
