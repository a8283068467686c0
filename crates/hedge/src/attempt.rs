use evenkeel_cancel::{Cause, Source, Token};

/// What an attempt is told about itself.
#[derive(Clone, Debug)]
pub struct Attempt {
    index: u32,
    token: Option<Token>,
}

impl Attempt {
    /// Which attempt of its call this is: 0 for the first one.
    #[inline]
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether another attempt was started before this one.
    #[inline]
    #[must_use]
    pub fn is_extra(&self) -> bool {
        self.index > 0
    }

    /// Is cancelled when the attempt has lost ([`Cause::Superseded`]), has failed ([`Cause::Failed`]) or its caller gave up
    /// ([`Cause::User`]); never when it has won, so that whatever its answer still needs lives on.
    ///
    /// Under [`Losers::Drop`](crate::Losers::Drop) it is [`Token::never`]: such a loser learns of its loss by being dropped, and
    /// a call that needs no token pays for none. Attempts that leave work elsewhere, as in a spawned task, want
    /// [`Losers::Drain`](crate::Losers::Drain), if only with a grace of zero.
    #[inline]
    #[must_use]
    pub fn token(&self) -> Token {
        self.token.clone().unwrap_or_else(Token::never)
    }
}

/// The other end of an attempt's token. Dropped, it cancels: the caller gave up, or an attempt panicked.
#[derive(Debug)]
pub(crate) struct Ticket(Option<Source>);

impl Ticket {
    /// An attempt and its ticket, which is blank if nobody will cancel its token.
    #[inline]
    pub(crate) fn issue(index: u32, cancellable: bool) -> (Attempt, Self) {
        let source = cancellable.then(Source::new);
        let token = source.as_ref().map(Source::token);
        (Attempt { index, token }, Self(source))
    }

    /// No attempt.
    pub(crate) const fn blank() -> Self {
        Self(None)
    }

    /// Tells the attempt that it is over.
    #[inline]
    pub(crate) fn cancel(&mut self, cause: Cause) {
        if let Some(source) = self.0.take() {
            source.cancel(cause);
        }
    }

    /// The attempt has won: its token outlives the call.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for Ticket {
    #[inline]
    fn drop(&mut self) {
        self.cancel(Cause::User);
    }
}
