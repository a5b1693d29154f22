//! As many threads as there are processors, each with the next piece of work.

use std::sync::Mutex;
use std::thread;

/// Does the work for every item, in no order.
pub(crate) fn for_each<Item: Send>(items: impl Iterator<Item = Item> + Send, work: impl Fn(Item) + Sync) {
    let waiting = Mutex::new(items);
    let count = thread::available_parallelism().map_or(2, Into::into);
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().next();
                    let Some(item) = next else { break };
                    work(item);
                }
            });
        }
    });
}
