//! What a ward is made of: the cell that lasts, and the life of one incarnation.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use evenkeel_cancel::{Cause, Source};
use evenkeel_heartbeat::{Class, Health, Watched};
use evenkeel_sync::atomic::{AtomicU32, Ordering};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::Reason;
use crate::inner::Inner;
use crate::outlet::Outlet;
use crate::roster::{Key, Port};
use crate::runner::{self, Exit};
use crate::ward::Ward;

/// A ward and what all its incarnations share.
pub(crate) struct Cell<T, W: ?Sized> {
    pub(crate) desk: Desk<T>,
    pub(crate) ward: W,
}

pub(crate) struct Desk<T> {
    pub(crate) inner: Arc<Inner>,
    pub(crate) name: Arc<str>,
    pub(crate) class: Option<Class>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) outlet: Outlet<T>,
    /// How it ended for good.
    pub(crate) end: OnceLock<Reason>,
}

/// A ward whose own type only its runner needs.
pub(crate) type AnyCell<T> = Cell<T, dyn Send + Sync>;

/// One incarnation, as its context, its runner and the roster hold it.
pub(crate) struct Life {
    pub(crate) key: Key,
    pub(crate) generation: u32,
    /// Made when it is first asked for.
    source: OnceLock<Source>,
    pub(crate) watched: Option<Watched>,
    /// By when it has to be gone, once it is told to go.
    pub(crate) stop_by: OnceLock<Instant>,
    /// The steward that this incarnation is, if it is one.
    pub(crate) nested: OnceLock<Weak<Inner>>,
    polls: AtomicU32,
}

impl Life {
    /// Nobody else holds it any more, so it may be that of the next incarnation. The pulse keeps its slot, and the monitor tells nobody.
    fn make_over(&mut self, generation: u32) {
        self.generation = generation;
        self.source = OnceLock::new();
        if let Some(watched) = &mut self.watched {
            watched.renew();
        }
        self.stop_by = OnceLock::new();
        self.nested = OnceLock::new();
    }

    /// Its own, below the steward's.
    pub(crate) fn source(&self, root: &Source) -> &Source {
        self.source.get_or_init(|| root.child())
    }

    /// What has the token of an incarnation that has ended goes with it, and so does what still has its context and may ask for the
    /// token. Also, no callback is left in it that would be dropped under a lock.
    pub(crate) fn over(self: &Arc<Self>, root: &Source, reason: &Reason) {
        // The roster has it, and the caller.
        if self.source.get().is_none() && Arc::strong_count(self) <= 2 {
            return;
        }
        self.source(root).cancel(if reason.is_failure() {
            Cause::Failed
        } else {
            Cause::Shutdown
        });
    }

    /// Says that the ward is being polled until the guard is dropped.
    ///
    /// # Protocol
    ///
    /// Odd while the ward is inside a poll, and another number at each. Only the runner writes it; the sentinel reads it to
    /// tell one long poll from many short ones.
    pub(crate) fn enter(&self) {
        // ORDERING: Relaxed, here and below: one writer, and nothing is published by it.
        let polls = self.polls.load(Ordering::Relaxed);
        self.polls.store(polls.wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.enter();
    }

    /// The poll it is inside of.
    pub(crate) fn poll(&self) -> Option<u32> {
        // ORDERING: Relaxed: nothing is published by it; a stale number is looked at again.
        let polls = self.polls.load(Ordering::Relaxed);
        (polls % 2 == 1).then_some(polls)
    }
}

/// What the roster knows of a cell.
pub(crate) trait Erased: Send + Sync {
    fn conceive(&self, key: Key, generation: u32, spent: &mut Option<Arc<Life>>) -> Arc<Life>;
    fn spawn(self: Arc<Self>, life: Arc<Life>) -> JoinHandle<()>;
    fn fence(&self, generation: u32);
    fn ended(&self, reason: &Reason);
    fn end(&self);
}

impl<T: Send + 'static, W: Ward<T>> Erased for Cell<T, W> {
    fn conceive(&self, key: Key, generation: u32, spent: &mut Option<Arc<Life>>) -> Arc<Life> {
        let made_over = spent.take_if(|life| {
            let life = Arc::get_mut(life);
            life.map(|life| life.make_over(generation)).is_some()
        });
        made_over.unwrap_or_else(|| {
            let class = self.desk.class.as_ref();
            Arc::new(Life {
                key,
                generation,
                source: OnceLock::new(),
                watched: class.map(|class| class.register(&self.desk.name)),
                stop_by: OnceLock::new(),
                nested: OnceLock::new(),
                polls: AtomicU32::new(0),
            })
        })
    }

    fn spawn(self: Arc<Self>, life: Arc<Life>) -> JoinHandle<()> {
        let runtime = self.desk.inner.runtime.clone();
        runtime.spawn(runner::run(Exit {
            cell: self,
            life: Some(life),
        }))
    }

    fn fence(&self, generation: u32) {
        self.desk.outlet.fence(generation);
    }

    fn ended(&self, reason: &Reason) {
        let _ = self.desk.end.set(reason.clone());
    }

    fn end(&self) {
        self.desk.outlet.end();
    }
}

/// How the roster holds a ward.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<dyn Erased>);

impl Port for Handle {
    type Life = Arc<Life>;
    type Task = JoinHandle<()>;

    fn conceive(&self, key: Key, generation: u32, spent: &mut Option<Arc<Life>>) -> Arc<Life> {
        self.0.conceive(key, generation, spent)
    }

    fn ended(&self, reason: &Reason) {
        self.0.ended(reason);
    }

    fn is_silent(life: &Arc<Life>) -> bool {
        life.watched
            .as_ref()
            .is_some_and(|watched| watched.health() == Health::Silent)
    }
}
