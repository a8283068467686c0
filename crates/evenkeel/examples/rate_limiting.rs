//! Limits in tiers: a client may call an API twice a second and ten times a minute, and each call needs the disk or the
//! network besides. All limits of a call are acquired as one, so a call that waits for the disk holds no token of the API.
//!
//! Ten reads and ten look-ups are asked for at once. The first ten go as fast as the disk and the seconds let them; then
//! the minute's limit lets one go every six seconds, the last of them after a minute.
//!
//! `cargo run -p evenkeel --features full --example rate_limiting`

use std::time::Duration;

use evenkeel::bucket::{All, Bucket, Denied, Rate};
use tokio::task::JoinSet;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A connection to a service, and what limits its use.
pub(crate) struct Connection {
    pub(crate) api: [Bucket; 2],
    pub(crate) disk: Bucket,
    pub(crate) network: Bucket,
    read: All,
    resolve: All,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Resolve,
}

impl Connection {
    pub(crate) fn open() -> Self {
        let api = [
            Bucket::new(Rate::per(2, SECOND), 1).named("api per second"),
            // Ten at once, so that a user who just arrived is not slowed down.
            Bucket::new(Rate::per(10, MINUTE), 10).named("api per minute"),
        ];
        let disk = Bucket::new(Rate::per(1, SECOND), 1).named("disk");
        let network = Bucket::new(Rate::per(3, SECOND), 3).named("network");
        let every_call = All::new(&api);
        Self {
            read: every_call.and(&disk),
            resolve: every_call.and(&network),
            api,
            disk,
            network,
        }
    }

    /// Waits for its turn and then does its work, of which there is none here. Refused, it has done nothing.
    pub(crate) async fn call(&self, call: Call, by: Option<Instant>) -> Result<(), Denied> {
        let limit = match call {
            Call::Read => &self.read,
            Call::Resolve => &self.resolve,
        };
        limit.acquire(1, by).await?;
        Ok(())
    }
}

/// Asks for ten of each at once, and tells each when it is done.
pub(crate) async fn run(tell: impl Fn(Call, Result<(), Denied>) + Clone + Send + 'static) {
    let connection = std::sync::Arc::new(Connection::open());
    let mut calls = JoinSet::new();
    for call in [[Call::Read; 10], [Call::Resolve; 10]].concat() {
        let (connection, tell) = (connection.clone(), tell.clone());
        calls.spawn(async move {
            let done = connection.call(call, None).await;
            tell(call, done);
        });
    }
    calls.join_all().await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let start = Instant::now();
    run(move |call, done| {
        let at = start.elapsed().as_secs_f64();
        match (call, done) {
            (Call::Read, Ok(())) => println!("{at:5.1} s  file read"),
            (Call::Resolve, Ok(())) => println!("{at:5.1} s  address resolved"),
            (_, Err(denied)) => println!("{at:5.1} s  not done: {denied}"),
        }
    })
    .await;
    println!("{:5.1} s  done", start.elapsed().as_secs_f64());

    let connection = Connection::open();
    let soon = Some(Instant::now() + SECOND / 2);
    for _ in 0..2 {
        match connection.call(Call::Read, soon).await {
            Ok(()) => println!("a read in time"),
            // At once, and the API's tokens are still there for whoever needs no disk.
            Err(denied) => println!("a read that would be late: {denied}"),
        }
    }
    let Connection {
        api: [second, minute],
        disk,
        network,
        ..
    } = &connection;
    for bucket in [second, minute, disk, network] {
        println!("{} left: {}", bucket.name(), bucket.peek().tokens);
    }
}
