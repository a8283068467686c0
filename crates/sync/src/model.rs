use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `f` under every interleaving that loom distinguishes, up to `bound` preemptions (`None`: all of them), and
/// prints how many there were.
///
/// Two threads are modelled without a bound, three at 3, four at 2.
///
/// # Panics
///
/// If an execution panics, deadlocks, leaks or races; and if there was only one execution, since such a model proves
/// nothing. It refuses to run when `LOOM_MAX_DURATION` or `LOOM_MAX_PERMUTATIONS` is set: loom would stop early and
/// call that success.
pub fn model(name: &str, bound: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
    for cut in ["LOOM_MAX_DURATION", "LOOM_MAX_PERMUTATIONS"] {
        assert!(
            std::env::var_os(cut).is_none(),
            "{cut} is set: loom would stop early and pass"
        );
    }
    let executions = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    builder.max_branches = 10_000;
    let counted = Arc::clone(&executions);
    builder.check(move || {
        // ORDERING: Relaxed: a count that is read after the last execution has ended.
        counted.fetch_add(1, Ordering::Relaxed);
        f();
    });
    // ORDERING: Relaxed: loom runs one execution after the other, all of them on this thread.
    let executions = executions.load(Ordering::Relaxed);
    match bound {
        Some(bound) => {
            println!("model {name}: {executions} executions (at most {bound} preemptions)")
        }
        None => println!("model {name}: {executions} executions (all)"),
    }
    assert!(
        executions > 1,
        "model {name} ran one execution: it proves nothing"
    );
}
