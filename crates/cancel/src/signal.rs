//! Ctrl-C and SIGTERM as a cancellation.

use std::io;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::{Cause, NoRuntime, Source, Token};

/// Cancels a source when the process is told to end: by Ctrl-C everywhere, on Unix by SIGTERM as well.
///
/// The first signal cancels the source with [`Cause::Shutdown`]; the second says that whoever sent it does not want to wait, and
/// cancels [`hurry`](Self::hurry), which can cut a grace short. So does the first, if the source was cancelled before; and a Ctrl-C
/// and a SIGTERM at once are two.
///
/// ```no_run
/// use std::time::Duration;
/// use evenkeel_cancel::{Scope, Signals, Source};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = Source::new();
/// let signals = Signals::cancel(&source)?;
/// let scope = Scope::new(&source)?;
/// // ... spawn into the scope ...
/// source.cancelled().await;
/// let shutdown = match signals.hurry().run(scope.shutdown(Duration::from_secs(30))).await {
///     Ok(shutdown) => shutdown,
///     Err(_) => scope.shutdown(Duration::ZERO).await,
/// };
/// println!("{shutdown}");
/// # Ok(())
/// # }
/// ```
///
/// From the first call on the process no longer ends by these signals themselves, not even after this is dropped: whoever asks for
/// them has to end it. A signal that comes after the drop, and a third one, do nothing.
#[derive(Debug)]
#[must_use = "dropped, it no longer listens"]
pub struct Signals {
    hurry: Source,
    listening: JoinHandle<()>,
}

impl Signals {
    /// Begins to listen, on the current runtime. A signal that comes after this returns is not missed.
    ///
    /// # Errors
    ///
    /// What the operating system says if it does not allow it, and [`NoRuntime`] in an [`io::Error`] outside a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no I/O enabled.
    pub fn cancel(source: &Source) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(|_| io::Error::other(NoRuntime::here()))?;
        let mut told = Told::new()?;
        let (source, hurry) = (source.clone(), Source::new());
        let second = hurry.clone();
        let listening = runtime.spawn(async move {
            loop {
                told.next().await;
                // Not the first, or the source was cancelled before there was one.
                if !source.cancel(Cause::Shutdown) {
                    second.cancel(Cause::Shutdown);
                    return;
                }
            }
        });
        Ok(Self { hurry, listening })
    }

    /// Cancelled by the second signal, or by the first that finds the source cancelled.
    #[must_use]
    pub fn hurry(&self) -> &Token {
        &self.hurry
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[cfg(unix)]
struct Told([tokio::signal::unix::Signal; 2]);

#[cfg(unix)]
impl Told {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self([interrupt, signal(SignalKind::terminate())?]))
    }

    async fn next(&mut self) {
        std::future::poll_fn(|cx| {
            let [interrupt, terminate] = &mut self.0;
            if interrupt.poll_recv(cx).is_ready() {
                return std::task::Poll::Ready(());
            }
            terminate.poll_recv(cx).map(drop)
        })
        .await;
    }
}

#[cfg(windows)]
struct Told(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Told {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        let _ = self.0.recv().await;
    }
}
