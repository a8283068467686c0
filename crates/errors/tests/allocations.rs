//! How often a report allocates.
#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use evenkeel_errors::{Code, Known, Report, ResultExt, Status};

/// The system's allocator, which counts for each thread by itself, since tests run side by side.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Bytes in use; what comes from another thread and is freed here takes it below zero.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came. Counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        BYTES.set(BYTES.get() + layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = COUNT.get();
    let value = f();
    (COUNT.get() - before, value)
}

#[derive(Debug, thiserror::Error)]
#[error("code {0}")]
struct Sized(u64);

#[derive(Debug, thiserror::Error)]
#[error("nothing more to say")]
struct ZeroSized;

impl Known for Sized {
    fn code(&self) -> Code {
        Code::new("test", "sized", Status::Unknown)
    }
}

impl Known for ZeroSized {
    fn code(&self) -> Code {
        Code::new("test", "zero-sized", Status::Unknown)
    }
}

/// The first report of a process draws the seed of its ids.
fn warmed_up() {
    drop(Report::new(ZeroSized));
}

#[test]
fn a_report_is_one_allocation_and_its_error_another_unless_it_is_zero_sized() {
    warmed_up();
    assert_eq!(allocations(|| Report::new(ZeroSized)).0, 1);
    assert_eq!(allocations(|| Report::new(Sized(7))).0, 2);
}

#[test]
fn hops_and_the_first_three_layers_allocate_nothing() {
    warmed_up();
    let mut report = Report::new(Sized(7));
    for _ in 0..100 {
        let (count, hopped) = allocations(|| report.trail());
        assert_eq!(count, 0);
        report = hopped;
    }
    let (count, report) = allocations(|| report.raise(ZeroSized).note("literal").raise(ZeroSized));
    assert_eq!(count, 0);
    assert_eq!(
        allocations(|| report.raise(ZeroSized)).0,
        1,
        "four move to the heap together"
    );
}

/// Pitfall: a report that goes round a loop grows without anybody knowing how fast.
#[test]
fn a_report_keeps_all_it_is_told_at_56_bytes_a_piece() {
    const NOTES: u16 = 30_000;
    let mut report = Report::new(ZeroSized);
    let before = BYTES.get();
    for _ in 0..NOTES {
        report = report.note("once more");
    }
    let each = (BYTES.get() - before) as f64 / f64::from(NOTES);
    assert!(each <= 56.0, "{each} bytes");
    let before = BYTES.get();
    for _ in 0..NOTES {
        report = report.trail();
    }
    assert_eq!(BYTES.get(), before);
}

#[test]
fn a_report_that_comes_by_again_is_not_boxed() {
    warmed_up();
    let result: Result<(), Report> = Err(Report::new(Sized(7)));
    let (count, _result) = allocations(|| result.trail().bug().raise(ZeroSized));
    assert_eq!(count, 0);
}

#[test]
fn a_value_costs_nothing() {
    let (count, _) = allocations(|| {
        Ok::<_, Report>(1)
            .trail()
            .note_with(|| format!("{}", 1))
            .bug()
    });
    assert_eq!(count, 0);
}
