//! The only place that reads a clock; everything else is handed the time.

use std::time::Instant;

/// The time, monotonic.
pub fn now() -> Instant {
    Instant::now()
}
