//! Bytes per second over the last second, in ten slices.

use crate::units::Rate;
use std::time::{Duration, Instant};

/// A rate for rows and screens; control uses `delivery.rs`.
#[derive(Clone, Debug)]
pub struct Meter {
    total: u64,
    slices: [u64; SLICES],
    slice: usize,
    slice_start: Instant,
}

impl Meter {
    pub fn new(now: Instant) -> Meter {
        Meter { total: 0, slices: [0; SLICES], slice: 0, slice_start: now }
    }

    pub fn add(&mut self, now: Instant, bytes: u64) {
        self.advance(now);
        self.slices[self.slice] += bytes;
        self.total += bytes;
    }

    /// Bytes since the start.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Mean of the last second.
    pub fn rate(&self, now: Instant) -> Rate {
        let mut copy = self.clone();
        copy.advance(now);
        Rate(copy.slices.iter().sum::<u64>())
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.slice_start).as_millis() / SLICE.as_millis();
        for _ in 0..passed.min(SLICES as u128) {
            self.slice = (self.slice + 1) % SLICES;
            self.slices[self.slice] = 0;
        }
        self.slice_start += SLICE * u32::try_from(passed).unwrap_or(u32::MAX);
    }
}

const SLICES: usize = 10;
const SLICE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_is_measured_and_silence_ends_in_zero() {
        let t = Instant::now();
        let mut m = Meter::new(t);
        for i in 0..2_000u64 {
            m.add(t + Duration::from_millis(i), 100);
        }
        let r = m.rate(t + Duration::from_millis(1_999)).0;
        assert!((95_000..=100_000).contains(&r), "{r}");
        assert_eq!(m.rate(t + Duration::from_secs(5)), Rate(0));
        assert_eq!(m.total(), 200_000);
    }
}
