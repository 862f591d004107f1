//! The stop signal: one flag that every thread looks at, at least five times a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Longest time a thread may wait without looking at the stop signal.
pub const PATIENCE: Duration = Duration::from_millis(150);

/// A stop signal; clones are the same signal.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks all who look to end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
