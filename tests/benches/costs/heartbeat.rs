//! Pulses, beside tokio's `watch` and `Notify`.

use std::future::{Future, pending};
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use evenkeel::heartbeat::{BeatFuture, Expect, Heartbeat, Monitor, Watched, pulse};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};

use crate::allocations::counted;
use crate::harness::{Bench, Unit, nanoseconds};
use crate::threads::two;

const MILLION: usize = 1_000_000;

/// A timeout of which a period of scans is a second.
const WITHIN: Duration = Duration::from_millis(12_000);

pub(crate) fn run(bench: &mut Bench) {
    beat_scanned(bench);
    beat_awaited(bench);
    wake(bench);
    scan(bench);
    heap_pulse(bench);
    on_poll(bench);
}

fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

fn beat_scanned(bench: &Bench) {
    let runtime = paused();
    let _inside = runtime.enter();
    let class = Monitor::new()
        .class(Expect::within(WITHIN))
        .expect("it is long enough");
    let ours = class.register("worker");
    let (peer, _kept) = watch::channel(());
    let floor = AtomicBool::new(false);
    bench
        .case("beat_scanned")
        .op("evenkeel", || black_box(&ours).beat())
        .op("watch", || black_box(&peer).send_replace(()))
        .op("floor", || black_box(&floor).store(true, Ordering::Relaxed))
        .run();
    bench
        .case("beat_scanned_2t")
        .threads(2)
        .timed("evenkeel", |n| two(n, || || black_box(&ours).beat()))
        .timed("watch", |n| two(n, || || black_box(&peer).send_replace(())))
        .timed("floor", |n| {
            two(n, || || black_box(&floor).store(true, Ordering::Relaxed))
        })
        .run();
}

fn beat_awaited(bench: &Bench) {
    let (ours, _beats) = pulse();
    let peer = Notify::new();
    bench
        .case("beat_awaited")
        .op("evenkeel", || black_box(&ours).beat())
        .op("notify", || black_box(&peer).notify_one())
        .run();
}

/// A listener registers, the worker beats, the listener has it.
fn wake(bench: &Bench) {
    let (ours, mut beats) = pulse();
    let peer = Notify::new();
    bench
        .case("wake")
        .op("evenkeel", || {
            let mut context = Context::from_waker(Waker::noop());
            let mut next = pin!(beats.next());
            assert!(next.as_mut().poll(&mut context).is_pending());
            ours.beat();
            assert!(next.poll(&mut context).is_ready());
        })
        .op("notify", || {
            let mut context = Context::from_waker(Waker::noop());
            let mut notified = pin!(peer.notified());
            assert!(notified.as_mut().poll(&mut context).is_pending());
            peer.notify_one();
            assert!(notified.poll(&mut context).is_ready());
        })
        .run();
}

/// The worst of three: all, none, and a random half having beaten since the last scan.
fn scan(bench: &Bench) {
    let runtime = paused();
    let _inside = runtime.enter();
    let monitor = Monitor::new();
    let class = monitor
        .class(Expect::within(WITHIN))
        .expect("it is long enough");
    let pulses: Vec<Watched> = (0..MILLION).map(|_| class.register("worker")).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut half = || {
        // xorshift: any bit will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 63 == 0
    };
    bench
        .case("scan_1m")
        .measured("evenkeel", 1, |_| {
            let all = scanned(&runtime, &pulses, || true);
            let random = scanned(&runtime, &pulses, &mut half);
            let none = scanned(&runtime, &pulses, || false);
            nanoseconds(all.max(random).max(none))
        })
        .run();
}

/// What a scan takes when those pulses have beaten that are chosen, as the mean of some, too few for an alarm.
fn scanned(runtime: &Runtime, pulses: &[Watched], mut chosen: impl FnMut() -> bool) -> Duration {
    const SCANS: u32 = 5;
    let mut took = Duration::ZERO;
    pulses.iter().for_each(Heartbeat::beat);
    for _ in 0..SCANS {
        pulses.iter().filter(|_| chosen()).for_each(Heartbeat::beat);
        let begun = Instant::now();
        // The clock is paused: nothing but the scan takes time.
        runtime.block_on(tokio::time::sleep(Duration::from_secs(1)));
        took += begun.elapsed();
    }
    took / SCANS
}

/// What a pulse takes in the monitor, its handle apart.
fn heap_pulse(bench: &Bench) {
    let runtime = paused();
    let _inside = runtime.enter();
    bench
        .case("heap_pulse")
        .unit(Unit::Bytes)
        .rounds(1)
        .measured("evenkeel", MILLION as u64, |n| {
            let class = Monitor::new()
                .class(Expect::within(WITHIN))
                .expect("it is long enough");
            let mut handles = Vec::with_capacity(n as usize);
            let ((), _, bytes) =
                counted(|| handles.extend((0..n).map(|_| class.register("worker"))));
            bytes as f64
        })
        .run();
}

/// A poll of a future that beats when it is polled; the floor is the same future without.
fn on_poll(bench: &Bench) {
    let runtime = paused();
    let _inside = runtime.enter();
    let class = Monitor::new()
        .class(Expect::within(WITHIN))
        .expect("it is long enough");
    let pulse = class.register("worker");
    let mut context = Context::from_waker(Waker::noop());
    let mut again = Context::from_waker(Waker::noop());
    let mut ours = pin!(pending::<()>().beat_on_poll(&pulse));
    let mut bare = pin!(pending::<()>());
    bench
        .case("on_poll")
        .op("evenkeel", || {
            black_box(&mut ours).as_mut().poll(&mut context)
        })
        .op("floor", || black_box(&mut bare).as_mut().poll(&mut again))
        .run();
}
