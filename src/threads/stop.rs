//! The stop signal: one flag that every thread looks at, at least five times a second.

use crate::io::IoFailure;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Longest time a thread may wait without looking at the stop signal.
pub const PATIENCE: Duration = Duration::from_millis(150);

/// A stop signal; clones are the same signal.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    set: AtomicBool,
    failure: OnceLock<IoFailure>,
}

impl Stop {
    /// Asks all who look to end.
    pub fn set(&self) {
        self.0.set.store(true, Ordering::Release);
    }

    /// Asks all to end because the process cannot go on; the first failure is the one that is told.
    pub fn fail(&self, failure: IoFailure) {
        if let Err(later) = self.0.failure.set(failure) {
            log::error!("{later}");
        }
        self.set();
    }

    /// Whether to end.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Why the process cannot go on, if that is so.
    pub fn failure(&self) -> Option<IoFailure> {
        let failure = self.0.failure.get()?;
        let source = std::io::Error::from(failure.source.kind());
        let source = failure.source.raw_os_error().map_or(source, std::io::Error::from_raw_os_error);
        Some(IoFailure { what: failure.what.clone(), source, remedy: failure.remedy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stops_all_and_is_told_once() {
        let stop = Stop::default();
        let other = stop.clone();
        assert!(!other.is_set() && other.failure().is_none());
        stop.fail(IoFailure::new("cannot read from gb0", std::io::Error::from_raw_os_error(77)));
        assert!(other.is_set());
        assert_eq!(other.failure().map(|f| f.errno()), Some(77));
    }
}
