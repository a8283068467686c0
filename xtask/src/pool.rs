//! As many threads as cores, and a list of jobs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Runs `job` on every item, as many at once as there are cores. The results stand in the items' order.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], job: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism()
            .map_or(1, usize::from)
            .min(items.len())
        {
            scope.spawn(|| {
                loop {
                    // Relaxed: the number alone is handed out; the scope publishes the items and the results.
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = job(item);
                    results
                        .lock()
                        .expect("a job that panics ends the scope")
                        .push((at, result));
                }
            });
        }
    });
    let mut results = results
        .into_inner()
        .expect("a job that panics ends the scope");
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_stand_in_order() {
        let items: Vec<u32> = (0..100).collect();
        let doubled: Vec<u32> = items.iter().map(|item| item * 2).collect();
        assert_eq!(super::each(&items, |item| item * 2), doubled);
        assert!(super::each(&[], |(): &()| ()).is_empty());
    }
}
