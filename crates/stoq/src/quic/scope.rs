//! A thread that polls futures: what they write on is flushed once, when the polling is done, by
//! this thread or by one that drives the shard meanwhile.
//!
//! Outside of a scope each operation flushes by itself, at the cost of a packet for each.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use super::shard::Shard;

#[derive(Default)]
struct Scope {
    /// Shards that the futures have written on.
    touched: Vec<Arc<Shard>>,
    /// Where timeouts of the futures are kept, and tasks are spawned.
    home: Option<Arc<Shard>>,
    /// The shard that a future waits for.
    awaited: Option<Arc<Shard>>,
    /// The shard that this thread goes on to flush.
    served: Option<Arc<Shard>>,
    /// This thread drives it.
    drives: bool,
}

thread_local! {
    static SCOPE: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// Ends the scope also where a future panics.
struct Entered(Option<Scope>);

impl Entered {
    fn new(home: &Arc<Shard>, served: Option<&Arc<Shard>>, drives: bool) -> Entered {
        let scope = Scope {
            home: Some(home.clone()),
            served: served.cloned(),
            drives,
            ..Scope::default()
        };
        Entered(SCOPE.with(|current| current.borrow_mut().replace(scope)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let outer = self.0.take();
        let scope = SCOPE.with(|current| std::mem::replace(&mut *current.borrow_mut(), outer));
        let Some(scope) = scope else { return };
        if !scope.touched.is_empty() {
            let now = Instant::now();
            for shard in scope.touched {
                let serves = scope.served.as_ref();
                let serves = serves.is_some_and(|served| Arc::ptr_eq(served, &shard));
                // Two that send at once only hinder each other where the cores are busy.
                let left = !(serves && scope.drives) && shard.is_served();
                if !left && shard.flush(now) && !serves {
                    shard.rouse();
                }
            }
        }
    }
}

/// Runs `polling`, then flushes. `home` keeps the timeouts. What one flush leaves, the I/O thread
/// takes up.
pub fn enter<T>(home: &Arc<Shard>, polling: impl FnOnce() -> T) -> T {
    let _entered = Entered::new(home, None, false);
    polling()
}

/// The same on the I/O thread of `home`, which takes up what is left by itself.
pub fn enter_at_home<T>(home: &Arc<Shard>, polling: impl FnOnce() -> T) -> T {
    let _entered = Entered::new(home, Some(home), false);
    polling()
}

/// The same on a thread that drives `served`. Also the shard that the futures last began to wait
/// for.
pub fn enter_and_await<T>(
    home: &Arc<Shard>,
    served: Option<&Arc<Shard>>,
    polling: impl FnOnce() -> T,
) -> (T, Option<Arc<Shard>>) {
    let _entered = Entered::new(home, served, true);
    let result = polling();
    let awaited = SCOPE.with(|scope| scope.borrow_mut().as_mut()?.awaited.take());
    (result, awaited)
}

/// `shard` has something to send. True where a scope will flush it.
pub fn touch(shard: &Arc<Shard>) -> bool {
    SCOPE.with(|scope| match scope.borrow_mut().as_mut() {
        Some(scope) => {
            if !scope.touched.iter().any(|known| Arc::ptr_eq(known, shard)) {
                scope.touched.push(shard.clone());
            }
            true
        }
        None => false,
    })
}

/// A future begins to wait for something on `shard`.
pub fn await_on(shard: &Arc<Shard>) {
    SCOPE.with(|scope| {
        if let Some(scope) = scope.borrow_mut().as_mut() {
            let known = scope.awaited.as_ref();
            if !known.is_some_and(|known| Arc::ptr_eq(known, shard)) {
                scope.awaited = Some(shard.clone());
            }
        }
    });
}

/// The shard whose I/O thread this is, or for which this thread polls.
pub fn home() -> Option<Arc<Shard>> {
    SCOPE.with(|scope| scope.borrow().as_ref()?.home.clone())
}
