//! Which flows keep below a small rate: a leaky bucket for each tag.
//!
//! Not for: fairness (the flow queue's turns see to that). Flows whose tags share a bucket share its verdict.

use crate::units::{Class, FlowTag, Rate};
use std::time::Duration;

/// What a sparse flow may send.
#[derive(Clone, Copy, Debug)]
pub struct SparseSettings {
    /// Bytes at once: handshakes and a few packets of voice or game.
    pub burst_bytes: u32,
    /// Sustained rate, lower bound.
    pub rate_min: Rate,
    /// Sustained rate, upper bound; between them it is a quarter of the peak drain rate.
    pub rate_max: Rate,
}

pub(super) struct FlowRates {
    settings: SparseSettings,
    leak: Rate,
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    level_bytes: u32,
    at_ms: u32,
    /// Bytes since the flow last paused.
    total: u32,
}

impl FlowRates {
    pub(super) fn new(settings: SparseSettings) -> FlowRates {
        FlowRates { settings, leak: settings.rate_max, buckets: vec![Bucket::default(); BUCKETS] }
    }

    pub(super) fn set_peak(&mut self, peak: Rate) {
        let quarter = Rate(peak.0 / 4);
        self.leak = quarter.min(self.settings.rate_max).max(self.settings.rate_min);
    }

    /// Bytes that the flow has sent since it last paused.
    pub(super) fn total(&self, flow: FlowTag) -> u64 {
        u64::from(self.buckets[usize::from(flow.0) % BUCKETS].total)
    }

    /// A packet of the flow came at `at`, since some start: what the flow is with it.
    pub(super) fn on_packet(&mut self, at: Duration, flow: FlowTag, bytes: usize) -> Class {
        let bucket = &mut self.buckets[usize::from(flow.0) % BUCKETS];
        // Wraps after 49 days; then one bucket leaks too much once.
        let at_ms = at.as_millis() as u32;
        let waited = Duration::from_millis(u64::from(at_ms.wrapping_sub(bucket.at_ms)));
        bucket.total = if waited > PAUSE { 0 } else { bucket.total }.saturating_add(bytes as u32);
        let leaked = u32::try_from(self.leak.bytes_in(waited)).unwrap_or(u32::MAX);
        if leaked > 0 {
            bucket.at_ms = at_ms;
        }
        let level = bucket.level_bytes.saturating_sub(leaked).saturating_add(bytes as u32);
        // A flow far above must fall silent for a moment, not for minutes.
        bucket.level_bytes = level.min(self.settings.burst_bytes.saturating_mul(4));
        match level <= self.settings.burst_bytes {
            true => Class::Sparse,
            false => Class::Bulk,
        }
    }
}

/// After such a pause a flow counts as new.
const PAUSE: Duration = Duration::from_secs(1);
/// Buckets, 12 bytes each.
const BUCKETS: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_stays_sparse_and_a_download_does_not() {
        let mut rates = rates();
        let call = (0..1000).all(|i| rates.on_packet(ms(i * 10), FlowTag(1), 200) == Class::Sparse);
        assert!(call);
        let bulk = (0..1000).filter(|i| rates.on_packet(ms(i / 2), FlowTag(2), 1400) == Class::Bulk).count();
        assert!(bulk > 980, "{bulk}");
    }

    #[test]
    fn a_flow_that_falls_silent_is_sparse_again_within_a_second() {
        let mut rates = rates();
        (0..100).for_each(|_| _ = rates.on_packet(ms(0), FlowTag(2), 1400));
        assert_eq!(rates.on_packet(ms(1), FlowTag(2), 100), Class::Bulk);
        assert_eq!(rates.on_packet(ms(1001), FlowTag(2), 100), Class::Sparse);
    }

    fn rates() -> FlowRates {
        FlowRates::new(SparseSettings { burst_bytes: 6000, rate_min: Rate(8_000), rate_max: Rate(64_000) })
    }

    fn ms(t: u64) -> Duration {
        Duration::from_millis(t)
    }
}
