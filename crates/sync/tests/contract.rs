//! What the crates above rely on: loom's interface, over the standard library.
#![cfg(not(loom))]

use evenkeel_sync::atomic::{AtomicU32, Ordering};
use evenkeel_sync::{Arc, Mutex, UnsafeCell, thread};

#[test]
fn a_panic_under_the_lock_poisons_nothing() {
    let mutex = Arc::new(Mutex::new(1));
    let held = Arc::clone(&mutex);
    let panicked = thread::spawn(move || {
        let _guard = held.lock();
        panic!("under the lock");
    });
    assert!(panicked.join().is_err());
    assert_eq!(*mutex.lock(), 1);
    *mutex.try_lock().expect("nobody holds it") += 1;
    let mut mutex = Arc::into_inner(mutex).expect("the thread is gone");
    assert_eq!(*mutex.get_mut(), 2);
}

#[test]
fn a_lock_that_is_held_is_not_taken() {
    let mutex = Mutex::new(());
    let guard = mutex.lock();
    assert!(mutex.try_lock().is_none());
    drop(guard);
    assert!(mutex.try_lock().is_some());
}

#[test]
fn a_cell_gives_its_value_by_pointer_and_back() {
    let cell = UnsafeCell::new(7_u32);
    // SAFETY: no other access to the cell is under way.
    cell.with_mut(|value| unsafe { *value += 1 });
    // SAFETY: as above.
    assert_eq!(cell.with(|value| unsafe { *value }), 8);
    assert_eq!(cell.into_inner(), 8);
}

#[test]
fn in_production_the_types_cost_what_std_costs() {
    assert_eq!(size_of::<AtomicU32>(), 4);
    assert_eq!(size_of::<UnsafeCell<u64>>(), 8);
    assert_eq!(size_of::<Mutex<u64>>(), size_of::<std::sync::Mutex<u64>>());
    static COUNT: AtomicU32 = AtomicU32::new(0);
    assert_eq!(COUNT.fetch_add(1, Ordering::Relaxed), 0);
}
