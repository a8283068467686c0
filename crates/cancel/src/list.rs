//! The intrusive list of what is registered with a node: nothing is allocated to be in it, and leaving takes O(1).

use evenkeel_sync::UnsafeCell;

/// What an entry is a part of; kept in the low bits of each pointer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The first field of a `Node`.
    Child,
    /// The first field of an `Input`, by which a node hangs on one of several parents.
    Input,
    /// The first field of a `Waiter`.
    Waiter,
    /// The first field of a `Callback`.
    Callback,
}

const KIND: usize = 0b11;

/// An entry, and what it is a part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(*mut Link);

impl Entry {
    const NONE: Self = Self(std::ptr::null_mut());

    /// `owner` begins with its `Link` (all of them are `repr(C)`).
    pub(crate) fn new<T>(owner: *const T, kind: Kind) -> Self {
        Self(
            owner
                .cast_mut()
                .cast::<Link>()
                .map_addr(|addr| addr | kind as usize),
        )
    }

    pub(crate) fn kind(self) -> Kind {
        match self.0.addr() & KIND {
            0 => Kind::Child,
            1 => Kind::Input,
            2 => Kind::Waiter,
            _ => Kind::Callback,
        }
    }

    /// What it is the first field of.
    pub(crate) fn owner<T>(self) -> *const T {
        self.link().cast()
    }

    fn link(self) -> *const Link {
        self.0.map_addr(|addr| addr & !KIND)
    }

    fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// # Safety
    ///
    /// The entry lives, and the lock of the list that it is in, or goes into, is held.
    unsafe fn neighbours<R>(self, f: impl FnOnce(&mut Neighbours) -> R) -> R {
        // SAFETY: the caller's promise: it lives, and the lock makes the access exclusive.
        unsafe { (*self.link()).0.with_mut(|cell| f(&mut *cell)) }
    }
}

/// The place of an entry in the list. Guarded by the lock of the list.
pub(crate) struct Link(UnsafeCell<Neighbours>);

struct Neighbours {
    previous: Entry,
    next: Entry,
}

// SAFETY: it is only touched by who holds the lock of the list.
unsafe impl Send for Link {}
// SAFETY: as above.
unsafe impl Sync for Link {}

impl Link {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(Neighbours {
            previous: Entry::NONE,
            next: Entry::NONE,
        }))
    }
}

/// The newest entry first.
pub(crate) struct List {
    head: Entry,
}

// SAFETY: what it points to is `Send`, and touched under its lock only.
unsafe impl Send for List {}

impl List {
    pub(crate) fn new() -> Self {
        Self { head: Entry::NONE }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    pub(crate) fn first(&self) -> Option<Entry> {
        (!self.head.is_none()).then_some(self.head)
    }

    /// # Safety
    ///
    /// `entry` lives and is in no list, and does not die before it is unlinked.
    pub(crate) unsafe fn push(&mut self, entry: Entry) {
        debug_assert!(self.head != entry, "it is in the list already");
        let next = std::mem::replace(&mut self.head, entry);
        // SAFETY: both live, and `&mut self` stands for the lock.
        unsafe {
            entry.neighbours(|own| {
                debug_assert!(own.previous.is_none() && own.next.is_none());
                own.next = next;
            });
            if !next.is_none() {
                next.neighbours(|other| other.previous = entry);
            }
        }
    }

    /// Takes `entry` out; false if it was not in.
    ///
    /// # Safety
    ///
    /// `entry` lives and is in this list or in none.
    pub(crate) unsafe fn unlink(&mut self, entry: Entry) -> bool {
        // SAFETY: it lives, so do its neighbours since they are in the list, and `&mut self` stands for the lock.
        unsafe {
            let (previous, next) = entry.neighbours(|own| {
                (
                    std::mem::replace(&mut own.previous, Entry::NONE),
                    std::mem::replace(&mut own.next, Entry::NONE),
                )
            });
            if !previous.is_none() {
                previous.neighbours(|other| other.next = next);
            } else if self.head == entry {
                self.head = next;
            } else {
                return false;
            }
            if !next.is_none() {
                next.neighbours(|other| other.previous = previous);
            }
            true
        }
    }
}
