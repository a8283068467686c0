//! Random trees of stewards and random faults, against OTP's rules written down as plainly as can be.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_steward::{
    Backoff, BoxError, Builder, Ctx, Intensity, Restart, StartError, Steward, Strategy,
};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

const WITHIN: Duration = Duration::from_secs(5);

/// A ward, or a steward with wards.
#[derive(Clone, Debug)]
struct Spec {
    id: String,
    restart: Restart,
    steward: Option<(Strategy, u32, Vec<Spec>)>,
}

/// What the leaves of the tree do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    Start(String),
    Stop(String),
}

/// OTP's rules: a supervisor and its children, as they are now.
struct Node {
    spec: Spec,
    alive: bool,
    kids: Vec<Node>,
    restarts: Vec<Duration>,
}

impl Node {
    fn new(spec: Spec) -> Self {
        Self {
            spec,
            alive: false,
            kids: Vec::new(),
            restarts: Vec::new(),
        }
    }

    fn start(&mut self, deeds: &mut Vec<Deed>) {
        self.alive = true;
        let Some((_, _, specs)) = &self.spec.steward else {
            deeds.push(Deed::Start(self.spec.id.clone()));
            return;
        };
        self.restarts.clear();
        self.kids = specs.iter().cloned().map(Node::new).collect();
        for kid in &mut self.kids {
            kid.start(deeds);
        }
    }

    fn stop(&mut self, deeds: &mut Vec<Deed>) {
        if !std::mem::take(&mut self.alive) {
            return;
        }
        if self.spec.steward.is_none() {
            deeds.push(Deed::Stop(self.spec.id.clone()));
        }
        for kid in self.kids.iter_mut().rev() {
            kid.stop(deeds);
        }
    }

    /// The leaf at the end of `path` exits; true if that fells the supervisor `self`.
    fn exit(&mut self, path: &[usize], fails: bool, now: Duration, deeds: &mut Vec<Deed>) -> bool {
        let at = path[0];
        let falls = path.len() == 1 || self.kids[at].exit(&path[1..], fails, now, deeds);
        if !falls {
            return false;
        }
        // A supervisor that falls has failed, whatever its leaf did.
        let fails = fails || path.len() > 1;
        let (strategy, most, _) = self.spec.steward.clone().unwrap();
        self.kids[at].alive = false;
        let restart = self.kids[at].spec.restart;
        let again = match restart {
            Restart::Permanent => true,
            Restart::Transient => fails,
            Restart::Temporary => false,
        };
        if !again {
            if restart == Restart::Temporary || strategy == Strategy::OneForOne {
                self.kids.remove(at);
            }
            return false;
        }
        self.restarts.retain(|&at| at + WITHIN >= now);
        self.restarts.push(now);
        if self.restarts.len() > most as usize {
            self.stop(deeds);
            return true;
        }
        let first = match strategy {
            Strategy::OneForOne => {
                self.kids[at].start(deeds);
                return false;
            }
            Strategy::OneForAll => 0,
            Strategy::RestForOne => at,
        };
        for kid in self.kids[first..].iter_mut().rev() {
            kid.stop(deeds);
        }
        let mut place = 0;
        self.kids.retain(|kid| {
            place += 1;
            place <= first || kid.spec.restart != Restart::Temporary
        });
        for kid in &mut self.kids[first..] {
            kid.start(deeds);
        }
        false
    }

    fn leaves(&self, path: &[usize], found: &mut Vec<(Vec<usize>, String)>) {
        for (at, kid) in self.kids.iter().enumerate().filter(|(_, kid)| kid.alive) {
            let path = [path, &[at]].concat();
            if kid.spec.steward.is_some() {
                kid.leaves(&path, found);
            } else {
                found.push((path, kid.spec.id.clone()));
            }
        }
    }
}

/// The real thing: the leaves wait for an order to exit, and note what they do.
#[derive(Clone, Default)]
struct World {
    deeds: Arc<Mutex<Vec<Deed>>>,
    orders: Arc<Mutex<HashMap<String, oneshot::Sender<bool>>>>,
}

impl World {
    async fn leaf(self, ctx: Ctx) -> Result<(), BoxError> {
        let (order, ordered) = oneshot::channel();
        let id = ctx.id().to_owned();
        self.orders.lock().unwrap().insert(id.clone(), order);
        self.deeds.lock().unwrap().push(Deed::Start(id.clone()));
        let _wait = ctx.parked();
        let ordered = async { ordered.await.unwrap_or(false) };
        match ctx.token().run(ordered).await {
            Ok(false) => Ok(()),
            Ok(true) if id.len() % 2 == 0 => panic!("as ordered"),
            Ok(true) => Err("as ordered".into()),
            Err(_) => {
                self.deeds.lock().unwrap().push(Deed::Stop(id));
                Ok(())
            }
        }
    }

    fn raise(&self, spec: &Spec) -> Builder {
        let (strategy, most, wards) = spec.steward.clone().unwrap();
        let world = self.clone();
        Steward::builder()
            .strategy(strategy)
            .intensity(Intensity::new(most, WITHIN))
            .backoff(Backoff::NONE)
            .setup(move |steward| world.fill(steward, &wards))
    }

    fn fill(&self, steward: &Steward, wards: &[Spec]) -> Result<(), StartError> {
        for spec in wards {
            let id = spec.id.as_str();
            if spec.steward.is_some() {
                let child = steward.child(id, self.raise(spec));
                child.restart(spec.restart).ready_within(WITHIN).start()?;
            } else {
                let world = self.clone();
                let child = steward.child(id, move |ctx: Ctx| world.clone().leaf(ctx));
                child.restart(spec.restart).start()?;
            }
        }
        Ok(())
    }
}

fn restart() -> impl Generator<Value = Restart> {
    prop_oneof![
        3 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ]
}

fn strategy() -> impl Generator<Value = Strategy> {
    prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne),
    ]
}

fn spec(depth: u32) -> BoxedStrategy<Spec> {
    let leaf = restart().prop_map(|restart| Spec {
        id: String::new(),
        restart,
        steward: None,
    });
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![3 => leaf, 2 => branch(depth - 1)].boxed()
}

fn branch(depth: u32) -> BoxedStrategy<Spec> {
    let wards = prop::collection::vec(spec(depth), 1..5);
    (restart(), strategy(), 0..4u32, wards)
        .prop_map(|(restart, strategy, most, wards)| Spec {
            id: String::new(),
            restart,
            steward: Some((strategy, most, wards)),
        })
        .boxed()
}

/// Gives each ward an id of its own.
fn name(spec: &mut Spec, id: String) {
    if let Some((_, _, wards)) = &mut spec.steward {
        for (at, ward) in wards.iter_mut().enumerate() {
            name(ward, format!("{id}.{at}"));
        }
    }
    spec.id = id;
}

async fn run(root: Spec, faults: Vec<(usize, bool, u64)>) -> Result<(), TestCaseError> {
    let began = Instant::now();
    let world = World::default();
    let mut model = Node::new(root.clone());
    let mut expected = Vec::new();
    model.start(&mut expected);
    let steward = world.raise(&root).start().unwrap();
    for (leaf, fails, pause) in faults {
        sleep(Duration::from_millis(1)).await;
        let deeds = std::mem::take(&mut *world.deeds.lock().unwrap());
        prop_assert_eq!(&deeds, &expected);
        expected.clear();
        let mut leaves = Vec::new();
        model.leaves(&[], &mut leaves);
        if leaves.is_empty() {
            break;
        }
        sleep(Duration::from_millis(pause)).await;
        let (path, id) = &leaves[leaf % leaves.len()];
        model.exit(path, fails, began.elapsed(), &mut expected);
        let order = world.orders.lock().unwrap().remove(id).unwrap();
        order.send(fails).unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    prop_assert_eq!(&*world.deeds.lock().unwrap(), &expected);
    world.deeds.lock().unwrap().clear();
    expected.clear();
    let gave_up = !model.alive;
    model.stop(&mut expected);
    let shutdown = steward.shutdown(WITHIN).await;
    prop_assert!(shutdown.is_clean(), "{}", shutdown);
    prop_assert_eq!(steward.ended().await.is_err(), gave_up);
    prop_assert_eq!(&*world.deeds.lock().unwrap(), &expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn wards_start_and_stop_as_in_otp(
        mut root in branch(2),
        faults in prop::collection::vec((any::<usize>(), prop::bool::weighted(0.7), 0..2000u64), 0..40),
    ) {
        name(&mut root, "0".into());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(root, faults))?;
    }
}
