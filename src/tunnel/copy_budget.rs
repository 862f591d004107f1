//! Bytes that copies of urgent packets may take: a little always, and 4 % of the rate.

use crate::units::Rate;
use std::time::{Duration, Instant};

/// A token bucket.
#[derive(Debug)]
pub(super) struct CopyBudget {
    rate: u64,
    bytes: u64,
    at: Instant,
}

impl CopyBudget {
    pub(super) fn new(now: Instant) -> CopyBudget {
        CopyBudget { rate: COPY_RATE, bytes: COPY_RATE, at: now }
    }

    pub(super) fn set_rate(&mut self, peak: Rate, untried: bool) {
        self.rate = (COPY_RATE / 5 + peak.0 / 25).max(if untried { COPY_RATE } else { 0 });
    }

    pub(super) fn take(&mut self, now: Instant, bytes: u64) -> bool {
        let ms = now.saturating_duration_since(self.at).as_millis() as u64;
        self.at += Duration::from_millis(ms);
        self.bytes = (self.bytes + self.rate * ms.min(1_000) / 1_000).min(self.rate);
        let enough = self.bytes >= bytes;
        self.bytes -= if enough { bytes } else { 0 };
        enough
    }
}

/// Bytes per second of copies while a link was never at its limit, two calls; a fifth of it always.
const COPY_RATE: u64 = 40_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_take_their_share_of_a_second_and_no_more() {
        let t = Instant::now();
        let mut budget = CopyBudget::new(t);
        budget.set_rate(Rate(1_000_000), false);
        let taken = |from: u64, budget: &mut CopyBudget| {
            (from..from + 1_000).filter(|ms| budget.take(t + Duration::from_millis(*ms), 1_000)).count()
        };
        taken(0, &mut budget);
        assert!((46..=49).contains(&taken(1_000, &mut budget)), "8,000 bytes always and 4 % of a megabyte");
    }
}
