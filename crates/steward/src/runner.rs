//! The task of a ward: runs one incarnation after the other, and lets no panic out.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::cell::{Cell, Life};
use crate::ctx::Ctx;
use crate::event::Reason;
use crate::ward::Ward;

/// Tells the roster that an incarnation has ended, however its task ends: by return, by abort, or with its runtime. It is
/// declared before the incarnation's future and so dropped after it.
struct Exit<T: Send + 'static, W: Ward<T>> {
    cell: Arc<Cell<T, W>>,
    /// The incarnation that runs, if any.
    life: Option<Arc<Life>>,
}

impl<T: Send + 'static, W: Ward<T>> Drop for Exit<T, W> {
    fn drop(&mut self) {
        if let Some(life) = self.life.take() {
            self.cell.desk.inner.exited(&life, Reason::Runtime);
        }
    }
}

/// Runs an incarnation and those that follow it at once.
pub(crate) async fn run<T: Send + 'static, W: Ward<T>>(cell: Arc<Cell<T, W>>, life: Arc<Life>) {
    let mut exit = Exit {
        cell,
        life: Some(life),
    };
    while let Some(life) = &exit.life {
        let reason = live(&exit.cell, life).await;
        let Some(life) = exit.life.take() else { return };
        exit.life = exit.cell.desk.inner.exited_in_place(&life, reason);
        // A ward that fails at once and is started again at once must not keep its siblings from running.
        tokio::task::consume_budget().await;
    }
}

async fn live<T: Send + 'static, W: Ward<T>>(cell: &Arc<Cell<T, W>>, life: &Arc<Life>) -> Reason {
    let inner = &cell.desk.inner;
    if !cell.desk.outlet.open(life.generation) {
        return Reason::Stopped;
    }
    let ctx = Ctx::new(Arc::clone(cell) as _, Arc::clone(life));
    life.enter();
    let made = catch_unwind(AssertUnwindSafe(|| cell.ward.start(ctx)));
    life.leave();
    let future = match made {
        Ok(future) => future,
        Err(payload) => return panicked(payload),
    };
    let mut future = pin!(Some(future));
    let mut told_closed = life.watched.is_none();
    let reason = poll_fn(|cx| {
        let Some(polled) = future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        life.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            polled
                .poll(cx)
                .map(|result| result.map_err(|error| Arc::from(error.into())))
        }));
        life.leave();
        match polled {
            Ok(Poll::Pending) => {
                // Held by the roster and by us: the ward let go of its context, and can never beat again.
                if !told_closed && Arc::strong_count(life) <= 2 {
                    told_closed = true;
                    inner.unwell(life, Reason::Closed);
                }
                Poll::Pending
            }
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(Reason::Finished),
            Ok(Poll::Ready(Err(error))) => Poll::Ready(Reason::Failed(error)),
            Err(payload) => Poll::Ready(panicked(payload)),
        }
    })
    .await;
    match catch_unwind(AssertUnwindSafe(|| future.set(None))) {
        Ok(()) => reason,
        Err(payload) => panicked(payload),
    }
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
