//! To and from tokio-util's token.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{Cancel, Cause, Registration, Source, Token};

/// It has no cause of its own: once cancelled, its cause is [`Cause::User`].
impl Cancel for CancellationToken {
    fn cause(&self) -> Option<Cause> {
        self.is_cancelled().then_some(Cause::User)
    }

    async fn cancelled(&self) -> Cause {
        self.cancelled().await;
        Cause::User
    }
}

/// A [`Token`] that is cancelled with [`Cause::User`] when a `CancellationToken` of tokio-util is.
///
/// For a program that is moved part by part: the parts that have moved hang their tokens under this one. It needs no task and no
/// runtime. Dropped, it follows no longer, and its token is never cancelled any more, unless it was: so keep it for as long as any
/// token under it is used. `Following::new(&theirs).child()` is dropped at once, and that child follows nothing.
///
/// ```
/// use evenkeel_cancel::{Cause, Following};
/// use tokio_util::sync::CancellationToken;
///
/// let theirs = CancellationToken::new();
/// let server = Following::new(&theirs);
/// let request = server.child();
/// theirs.cancel();
/// assert_eq!(request.cause(), Some(Cause::User));
/// ```
#[must_use = "dropped, it follows no longer"]
pub struct Following {
    source: Source,
    /// Its waker cancels the source.
    _waiting: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Following {
    /// Follows `theirs` from now on; cancelled at once if that is.
    pub fn new(theirs: &CancellationToken) -> Self {
        let source = Source::new();
        let mut waiting = Box::pin(theirs.clone().cancelled_owned());
        let waker = Waker::from(Arc::new(Canceller(source.clone())));
        if waiting
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            source.cancel(Cause::User);
        }
        Self {
            source,
            _waiting: waiting,
        }
    }
}

/// The future that it waits with is woken by a cancellation and nothing else.
struct Canceller(Source);

impl Wake for Canceller {
    fn wake(self: Arc<Self>) {
        self.0.cancel(Cause::User);
    }
}

impl Deref for Following {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.source
    }
}

impl Cancel for Following {
    fn cause(&self) -> Option<Cause> {
        Cancel::cause(&self.source)
    }

    fn cancelled(&self) -> impl Future<Output = Cause> + Send {
        Token::cancelled(self)
    }
}

impl AsRef<Token> for Following {
    fn as_ref(&self) -> &Token {
        &self.source
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Following").field(&self.source).finish()
    }
}

/// A `CancellationToken` of tokio-util that is cancelled when a [`Token`] is.
///
/// For a part that has not been moved yet. Dropped, it leads no longer: what it led is cancelled only by others. So keep it for as long
/// as that part runs.
///
/// ```
/// use evenkeel_cancel::{Cause, Leading, Source};
///
/// let source = Source::new();
/// let leading = Leading::new(&source);
/// let theirs = leading.child_token();
/// source.cancel(Cause::Shutdown);
/// assert!(theirs.is_cancelled());
/// ```
#[derive(Debug)]
#[must_use = "dropped, it leads no longer"]
pub struct Leading {
    theirs: CancellationToken,
    _registration: Registration,
}

impl Leading {
    /// Leads from now on; cancelled at once if `token` is.
    pub fn new(token: &Token) -> Self {
        let theirs = CancellationToken::new();
        let led = theirs.clone();
        Self {
            theirs,
            _registration: token.on_cancel(move |_| led.cancel()),
        }
    }
}

impl Deref for Leading {
    type Target = CancellationToken;

    fn deref(&self) -> &CancellationToken {
        &self.theirs
    }
}
