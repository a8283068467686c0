use std::fmt;

use evenkeel_sync::Arc;

use crate::Cause;
use crate::counted::NodeRef;
use crate::wait::Callback;

/// A function registered with [`Token::on_cancel`](crate::Token::on_cancel); dropping this stops it.
#[must_use = "dropping the registration stops it; `keep` leaves it"]
pub struct Registration {
    live: Option<(NodeRef, Arc<Callback>)>,
}

impl Registration {
    pub(crate) fn new(node: &NodeRef, call: Box<dyn FnOnce(Cause) + Send>) -> Self {
        let callback = Callback::new(call);
        let live = Callback::register(&callback, node).then(|| (node.clone(), callback));
        Self { live }
    }

    /// Takes the function out; true if it was not called and now never will be.
    ///
    /// False means that it was called, or is being called at this moment on the canceller's thread, for which this does not wait.
    #[allow(
        clippy::must_use_candidate,
        reason = "one may stop it and not ask whether it was in time"
    )]
    pub fn stop(mut self) -> bool {
        self.take_out()
    }

    /// Leaves the function registered for as long as the token lives.
    pub fn keep(mut self) {
        self.live = None;
    }

    fn take_out(&mut self) -> bool {
        let Some((node, callback)) = self.live.take() else {
            return false;
        };
        Callback::stop(callback, &node)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.take_out();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").finish_non_exhaustive()
    }
}
