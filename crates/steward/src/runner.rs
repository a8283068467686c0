//! The task of a ward: runs one incarnation after the other, and lets no panic out.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project::pin_project;

use crate::cell::{Cell, Life};
use crate::ctx::Ctx;
use crate::event::Reason;
use crate::inner::Inner;
use crate::ward::{BoxError, Ward};

/// Tells the roster that an incarnation has ended, however its task ends: by return, by abort, or with its runtime. It is
/// declared before the incarnation's future and so dropped after it.
pub(crate) struct Exit<T: Send + 'static, W: Ward<T>> {
    pub(crate) cell: Arc<Cell<T, W>>,
    /// The incarnation that runs, if any.
    pub(crate) life: Option<Arc<Life>>,
}

impl<T: Send + 'static, W: Ward<T>> Drop for Exit<T, W> {
    fn drop(&mut self) {
        if let Some(life) = self.life.take() {
            self.cell.shut_out(&life);
            self.cell.desk.inner.exited(&life, Reason::Runtime);
        }
    }
}

/// Runs an incarnation and those that follow it at once.
///
/// Every ward has one of these, so what is alive at its awaits is no more than it must be.
pub(crate) async fn run<T: Send + 'static, W: Ward<T>>(mut exit: Exit<T, W>) {
    while let Some(life) = &exit.life {
        let live = Live {
            inner: &exit.cell.desk.inner,
            life,
            // Whole: of a result that is matched here, the rest would be kept as long as what it has.
            work: exit.cell.begin(life),
            told_closed: life.watched.is_none(),
        };
        let reason = live.await;
        let Some(life) = exit.life.take() else { return };
        exit.cell.shut_out(&life);
        exit.life = exit.cell.desk.inner.exited_in_place(life, reason);
        // A ward that fails at once and is started again at once must not keep its siblings from running.
        tokio::task::consume_budget().await;
    }
}

impl<T: Send + 'static, W: Ward<T>> Cell<T, W> {
    /// What still has the context of an incarnation that has ended speaks for it no more.
    fn shut_out(&self, life: &Arc<Life>) {
        // The roster has it, and the runner.
        if Arc::strong_count(life) > 2 {
            self.desk.outlet.fence(life.generation);
        }
    }

    fn begin(
        self: &Arc<Self>,
        life: &Arc<Life>,
    ) -> Work<impl Future<Output = Result<(), W::Error>> + Send + 'static> {
        if !self.desk.outlet.open(life.generation) {
            return Work::Over(Reason::Stopped);
        }
        let ctx = Ctx::new(Arc::clone(self) as _, Arc::clone(life));
        shielded(life, || self.ward.start(ctx)).map_or_else(Work::Over, Work::Runs)
    }
}

#[pin_project(project = WorkPin)]
enum Work<F> {
    Runs(#[pin] F),
    Over(Reason),
}

/// One incarnation that runs; its output is how it ended.
#[pin_project]
struct Live<'a, F> {
    inner: &'a Arc<Inner>,
    life: &'a Arc<Life>,
    #[pin]
    work: Work<F>,
    told_closed: bool,
}

impl<F, E> Future for Live<'_, F>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    type Output = Reason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let mut this = self.project();
        let life = *this.life;
        let future = match this.work.as_mut().project() {
            WorkPin::Runs(future) => future,
            WorkPin::Over(reason) => return Poll::Ready(reason.clone()),
        };
        let polled = shielded(life, || match future.poll(cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) => Some(Reason::Finished),
            Poll::Ready(Err(error)) => Some(Reason::Failed(Arc::from(error.into()))),
        });
        let (Ok(Some(reason)) | Err(reason)) = polled else {
            // Held by the roster and by us: the ward let go of its context, and can never beat again.
            if !*this.told_closed && Arc::strong_count(life) <= 2 {
                *this.told_closed = true;
                this.inner.unwell(life, Reason::Closed);
            }
            return Poll::Pending;
        };
        let dropped = shielded(life, || this.work.set(Work::Over(Reason::Finished)));
        Poll::Ready(dropped.err().unwrap_or(reason))
    }
}

/// Runs code of the ward; what it panicked with is the error.
fn shielded<R>(life: &Life, f: impl FnOnce() -> R) -> Result<R, Reason> {
    life.enter();
    let done = contained(f);
    life.leave();
    done
}

/// Runs code of others; what it panicked with is the error.
pub(crate) fn contained<R>(f: impl FnOnce() -> R) -> Result<R, Reason> {
    catch_unwind(AssertUnwindSafe(f)).map_err(panicked)
}

/// What a panic said. The payload's own drop may panic too; that ends here.
fn panicked(payload: Box<dyn Any + Send>) -> Reason {
    let message: Arc<str> = match (
        payload.downcast_ref::<&'static str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => (*text).into(),
        (None, Some(text)) => text.as_str().into(),
        (None, None) => "no message".into(),
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Whoever does that may do it again.
        std::mem::forget(second);
    }
    Reason::Panicked(message)
}
