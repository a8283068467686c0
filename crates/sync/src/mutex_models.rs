//! The mutex and the helper, before any kernel relies on them.

use crate::{Arc, Mutex, model, thread};

#[test]
fn exclusive() {
    model("mutex exclusive", None, || {
        let count = Arc::new(Mutex::new(0));
        let other = Arc::clone(&count);
        let other = thread::spawn(move || *other.lock() += 1);
        *count.lock() += 1;
        other.join().expect("the other thread does not panic");
        assert_eq!(*count.lock(), 2);
    });
}

#[test]
fn a_try_sees_the_lock_held_or_free() {
    model("mutex try_lock", None, || {
        let count = Arc::new(Mutex::new(0));
        let other = Arc::clone(&count);
        let other = thread::spawn(move || *other.lock() += 1);
        let took = count.try_lock().map(|mut guard| *guard += 1).is_some();
        other.join().expect("the other thread does not panic");
        assert_eq!(*count.lock(), 1 + i32::from(took));
    });
}

#[test]
#[should_panic(expected = "it proves nothing")]
fn one_execution_is_no_model() {
    model("one execution", None, || {});
}
