//! Random trees and what is done to them, against a plain reference: a list of nodes, each with its parents and its cause.

#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use evenkeel_cancel::{Cause, Registration, Source, Token};
use proptest::prelude::*;

/// Who is meant is taken modulo the number of nodes.
#[derive(Clone, Copy, Debug)]
enum Do {
    Root,
    Child(usize),
    Any(usize, usize),
    Detach(usize),
    Cancel(usize, u8),
    /// Lets go of all handles: those below it are cancelled by those above it all the same.
    Forget(usize),
    StopCallback(usize),
}

fn script() -> impl Strategy<Value = Vec<Do>> {
    let who = 0..40_usize;
    let step = prop_oneof![
        1 => Just(Do::Root),
        6 => who.clone().prop_map(Do::Child),
        3 => (who.clone(), who.clone()).prop_map(|(a, b)| Do::Any(a, b)),
        1 => who.clone().prop_map(Do::Detach),
        4 => (who.clone(), 0..4_u8).prop_map(|(at, cause)| Do::Cancel(at, cause)),
        3 => who.clone().prop_map(Do::Forget),
        1 => who.prop_map(Do::StopCallback),
    ];
    prop::collection::vec(step, 1..80)
}

fn cause(kind: u8) -> Cause {
    match kind {
        0 => Cause::User,
        1 => Cause::Superseded,
        2 => Cause::Shutdown,
        _ => Cause::Failed,
    }
}

/// What there is of a node, and what is expected of it.
struct Node {
    handle: Option<Handle>,
    callback: Option<Registration>,
    calls: Arc<AtomicU32>,
    /// The callback was stopped before the cancellation.
    stopped: bool,
    parents: Vec<usize>,
    /// The cause, and whether it is inherited.
    cancelled: Option<(Cause, bool)>,
}

enum Handle {
    Source(Source),
    Token(Token),
}

impl Handle {
    fn token(&self) -> &Token {
        match self {
            Self::Source(source) => source,
            Self::Token(token) => token,
        }
    }
}

#[derive(Default)]
struct Tree(Vec<Node>);

impl Tree {
    fn add(&mut self, handle: Handle, parents: Vec<usize>) {
        let inherited = parents.iter().find_map(|&at| self.0[at].cancelled.clone());
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let callback = handle.token().on_cancel(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        self.0.push(Node {
            handle: Some(handle),
            callback: Some(callback),
            calls,
            stopped: false,
            parents,
            cancelled: inherited.map(|(cause, _)| (cause, true)),
        });
    }

    /// The node that is meant, if there is still a handle.
    fn held(&self, at: usize) -> Option<(usize, &Handle)> {
        let at = at % self.0.len().max(1);
        Some((at, self.0.get(at)?.handle.as_ref()?))
    }

    fn step(&mut self, step: Do) -> Result<(), TestCaseError> {
        match step {
            Do::Root => self.add(Handle::Source(Source::new()), Vec::new()),
            Do::Child(at) => {
                if let Some((at, parent)) = self.held(at) {
                    let child = parent.token().child();
                    self.add(Handle::Source(child), vec![at]);
                }
            }
            Do::Any(a, b) => {
                if let (Some((a, one)), Some((b, other))) = (self.held(a), self.held(b)) {
                    let any = Token::any([one.token(), other.token()]);
                    self.add(Handle::Token(any), vec![a, b]);
                }
            }
            Do::Detach(at) => {
                if let Some((_, from)) = self.held(at) {
                    let detached = from.token().detach();
                    self.add(Handle::Source(detached), Vec::new());
                }
            }
            Do::Cancel(at, kind) => {
                if let Some((at, Handle::Source(source))) = self.held(at) {
                    let first = source.cancel(cause(kind));
                    prop_assert_eq!(first, self.0[at].cancelled.is_none());
                    if first {
                        self.0[at].cancelled = Some((cause(kind), false));
                        self.spread(&cause(kind));
                    }
                }
            }
            Do::Forget(at) => {
                if let Some((at, _)) = self.held(at) {
                    self.0[at].handle = None;
                    if let Some(callback) = self.0[at].callback.take() {
                        callback.keep();
                        // Nobody promises that a node without handles still calls.
                        self.0[at].stopped = true;
                        self.0[at].calls = Arc::default();
                    }
                }
            }
            Do::StopCallback(at) => {
                if let Some((at, _)) = self.held(at)
                    && let Some(callback) = self.0[at].callback.take()
                {
                    let live = self.0[at].cancelled.is_none();
                    prop_assert_eq!(callback.stop(), live);
                    self.0[at].stopped = live;
                }
            }
        }
        self.compare()
    }

    /// From parents to children; a child always comes later.
    fn spread(&mut self, cause: &Cause) {
        for at in 0..self.0.len() {
            let below = |&parent: &usize| self.0[parent].cancelled.is_some();
            if self.0[at].cancelled.is_none() && self.0[at].parents.iter().any(below) {
                self.0[at].cancelled = Some((cause.clone(), true));
            }
        }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        for node in &self.0 {
            let Some(handle) = &node.handle else {
                continue;
            };
            let token = handle.token();
            let expected = node.cancelled.clone();
            prop_assert_eq!(token.is_cancelled(), expected.is_some());
            prop_assert_eq!(token.check().err(), token.cause());
            prop_assert_eq!(
                token.cause().map(|cause| (cause, token.is_inherited())),
                expected
            );
            let calls = u32::from(node.cancelled.is_some() && !node.stopped);
            prop_assert_eq!(node.calls.load(Ordering::Relaxed), calls);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_tree_is_a_list_of_booleans(script in script()) {
        let mut tree = Tree::default();
        for step in script {
            tree.step(step)?;
        }
    }
}
