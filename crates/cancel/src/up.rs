//! The way from a node to its parents, in one pointer.

use std::cell::Cell;
use std::ptr::NonNull;

use crate::counted::NodeRef;
use crate::list::Link;
use crate::node::Node;
use crate::queue::Timed;

/// Nothing, a parent, or (low bit) a box with more. Set at birth, never changed.
pub(crate) struct Up(*mut ());

/// What few nodes need, so that the others need not pay for it.
pub(crate) enum Ext {
    /// Several parents.
    Any(Vec<Input>),
    /// A parent and a deadline of its own.
    Timed(Timed),
}

/// By this a node is in the list of one of several parents.
#[repr(C)]
pub(crate) struct Input {
    link: Link,
    /// Written once, before the input is in a list.
    owner: Cell<Option<NonNull<Node>>>,
    pub(crate) parent: NodeRef,
}

impl Input {
    pub(crate) fn new(parent: NodeRef) -> Self {
        Self {
            link: Link::new(),
            owner: Cell::new(None),
            parent,
        }
    }

    pub(crate) fn adopt(&self, owner: NonNull<Node>) {
        self.owner.set(Some(owner));
    }

    pub(crate) fn owner(&self) -> Option<NonNull<Node>> {
        self.owner.get()
    }
}

const EXT: usize = 1;

impl Up {
    pub(crate) fn root() -> Self {
        Self(std::ptr::null_mut())
    }

    pub(crate) fn parent_of(parent: NodeRef) -> Self {
        Self(parent.into_raw().as_ptr().cast())
    }

    pub(crate) fn ext(ext: Ext) -> Self {
        let raw = Box::into_raw(Box::new(ext)).cast::<()>();
        Self(raw.map_addr(|addr| addr | EXT))
    }

    pub(crate) fn is_ext(&self) -> bool {
        self.0.addr() & EXT != 0
    }

    fn as_ext(&self) -> Option<&Ext> {
        if !self.is_ext() {
            return None;
        }
        let ext = self.0.map_addr(|addr| addr & !EXT).cast::<Ext>();
        // SAFETY: `ext` made it from a box that is ours until `take_parents`.
        Some(unsafe { &*ext })
    }

    /// The one parent, if there is exactly one.
    #[inline]
    pub(crate) fn parent(&self) -> Option<&Node> {
        // SAFETY: a count of it is ours until `take_parents`.
        self.parent_raw().map(|parent| unsafe { parent.as_ref() })
    }

    /// [`Up::parent`] as the pointer it was born with, which may free it: one made from a reference may not.
    #[inline]
    pub(crate) fn parent_raw(&self) -> Option<NonNull<Node>> {
        match self.as_ext() {
            Some(Ext::Any(_)) => None,
            Some(Ext::Timed(timed)) => Some(timed.parent.as_raw()),
            None => NonNull::new(self.0.cast()),
        }
    }

    /// The several parents of an `any`.
    pub(crate) fn inputs(&self) -> &[Input] {
        match self.as_ext() {
            Some(Ext::Any(inputs)) => inputs,
            _ => &[],
        }
    }

    pub(crate) fn timed(&self) -> Option<&Timed> {
        match self.as_ext() {
            Some(Ext::Timed(timed)) => Some(timed),
            _ => None,
        }
    }

    /// Hands the counts of the parents over.
    pub(crate) fn take_parents(&mut self, mut each: impl FnMut(NodeRef)) {
        let raw = std::mem::replace(&mut self.0, std::ptr::null_mut());
        if raw.addr() & EXT != 0 {
            let ext = raw.map_addr(|addr| addr & !EXT).cast::<Ext>();
            // SAFETY: `ext` made it from a box, and it is forgotten above.
            match *unsafe { Box::from_raw(ext) } {
                Ext::Any(inputs) => inputs.into_iter().for_each(|input| each(input.parent)),
                Ext::Timed(timed) => each(timed.parent),
            }
        } else if let Some(parent) = NonNull::new(raw.cast::<Node>()) {
            // SAFETY: `parent_of` took this count over, and it is forgotten above.
            each(unsafe { NodeRef::from_raw(parent) });
        }
    }
}
