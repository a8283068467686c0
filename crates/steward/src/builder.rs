//! The rules of a steward, before it runs.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_cancel::Token;
use tokio::runtime::Handle as Runtime;

use crate::ctx::Ctx;
use crate::drive::drive;
use crate::error::StartError;
use crate::inner::Inner;
use crate::roster::{Roster, Rules};
use crate::rules::{Backoff, Intensity, Strategy};
use crate::sentinel;
use crate::steward::{Defaults, Steward};
use crate::ward::{BoxError, Ward};

type Setup = Arc<dyn Fn(&Steward) -> Result<(), StartError> + Send + Sync>;

/// The rules of a steward, and the wards it begins with. Starts it, here or, since it is a [`Ward`], under another steward.
///
/// As a ward it is started anew by each restart, with the wards of its [`setup`](Self::setup); it beats as long as its loop
/// turns, is ready when they are, and fails when it gives up.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    name: Arc<str>,
    rules: Rules,
    defaults: Defaults,
    parent: Token,
    setup: Vec<Setup>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            name: "steward".into(),
            rules: Rules {
                strategy: Strategy::OneForOne,
                intensity: Intensity::default(),
                max_wards: usize::MAX,
                max_zombies: 16,
                deadline: Duration::from_secs(10),
            },
            defaults: Defaults {
                timeout: Duration::from_secs(10),
                grace: Duration::from_secs(5),
                abort_grace: Duration::from_secs(1),
                backoff: Backoff::default(),
            },
            parent: Token::never(),
            setup: Vec::new(),
        }
    }

    /// What it is called in status and events: `steward`, unless said otherwise. As a ward it has its id there.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Whom to restart when a ward fails: [`Strategy::OneForOne`], unless said otherwise.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.rules.strategy = strategy;
        self
    }

    /// How many restarts to take.
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.rules.intensity = intensity;
        self
    }

    /// How long wards wait to be restarted, unless they say otherwise.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.defaults.backoff = backoff;
        self
    }

    /// How long a ward may be silent, unless it says otherwise: 10 seconds here.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.defaults.timeout = timeout;
        self
    }

    /// From a ward's cancellation to its abort, unless it says otherwise: 5 seconds here.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.defaults.grace = grace;
        self
    }

    /// From a ward's abort to its fence, unless it says otherwise: 1 second here.
    pub fn abort_grace(mut self, grace: Duration) -> Self {
        self.defaults.abort_grace = grace;
        self
    }

    /// How many wards it has at most; more are refused. No limit here.
    pub fn max_wards(mut self, wards: usize) -> Self {
        self.rules.max_wards = wards;
        self
    }

    /// How many fenced incarnations that do not go it leaves behind; with one more it gives up. 16 here.
    pub fn max_zombies(mut self, zombies: usize) -> Self {
        self.rules.max_zombies = zombies;
        self
    }

    /// How long it takes to stop its wards when nobody says: when it gives up, is dropped, or is told by its token. 10 seconds
    /// here. A parent that leaves it less shortens it.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.rules.deadline = deadline;
        self
    }

    /// Shuts down when this token is cancelled.
    pub fn token(mut self, token: Token) -> Self {
        self.parent = token;
        self
    }

    /// Starts wards each time the steward starts. They are started in this order, each when the one before it is ready; if one
    /// fails before that, those already started are stopped, and the steward fails.
    pub fn setup<F>(mut self, setup: F) -> Self
    where
        F: Fn(&Steward) -> Result<(), StartError> + Send + Sync + 'static,
    {
        self.setup.push(Arc::new(setup));
        self
    }

    /// Starts the steward on the current runtime, and the wards of its [`setup`](Self::setup).
    ///
    /// # Errors
    ///
    /// [`StartError::NoRuntime`] outside a tokio runtime, [`StartError::Timeout`] if that is below 40 milliseconds, and what the setup
    /// was refused.
    ///
    /// # Panics
    ///
    /// If the runtime has no clock (`enable_time`).
    pub fn start(&self) -> Result<Steward, StartError> {
        self.launch(Arc::clone(&self.name), self.parent.clone(), None)
    }

    fn launch(
        &self,
        name: Arc<str>,
        token: Token,
        parent: Option<Ctx>,
    ) -> Result<Steward, StartError> {
        let runtime = Runtime::try_current().map_err(|_| StartError::NoRuntime)?;
        let seed = RandomState::new().hash_one(&name);
        let mut roster = Roster::new(self.rules, seed);
        if !self.setup.is_empty() {
            roster.hold();
        }
        // Not a child of the parent's: wards go in order, and not all at once, when the parent's is cancelled.
        let inner = Inner::new(name, roster, token.detach(), runtime.clone());
        // Panics here, and not in a task.
        drop(tokio::time::sleep(Duration::ZERO));
        // Refused here, and not for the first ward.
        inner.class(self.defaults.timeout, self.defaults.timeout)?;
        if let Some(ctx) = &parent {
            ctx.adopt(&inner);
        }
        sentinel::watch(&inner, self.defaults.timeout);
        let changes = inner.monitor.changes();
        runtime.spawn(drive(Arc::clone(&inner), changes, parent, token));
        let steward = Steward {
            inner,
            defaults: self.defaults,
        };
        for setup in &self.setup {
            setup(&steward)?;
        }
        steward.inner.call(Roster::open);
        Ok(steward)
    }
}

impl Ward for Builder {
    type Error = BoxError;

    fn start(&self, ctx: Ctx) -> impl Future<Output = Result<(), BoxError>> + Send + 'static {
        let plan = self.clone();
        async move {
            let name = ctx.id().into();
            let token = Token::any([ctx.token(), &plan.parent]);
            // The loop has the context, and beats as long as it turns.
            // Dropped by an abort, it takes its wards with it at once.
            let abandon = Abandon(plan.launch(name, token, Some(ctx.clone()))?);
            if abandon.0.ready().await.is_ok() {
                ctx.ready();
            }
            abandon.0.ended().await?;
            Ok(())
        }
    }
}

/// A steward whose time to stop its wards is over.
struct Abandon(Steward);

impl Drop for Abandon {
    fn drop(&mut self) {
        if !self.0.inner.is_closed() {
            self.0.inner.abandon();
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}
