//! Round-trip time of one channel, as RFC 9002 section 5 keeps it.
//!
//! Not for: queue measurement. The return path's queue is in every sample; `delay.rs` has one-way delay.

use std::time::Duration;

/// Smoothed round-trip time and its variation.
#[derive(Clone, Debug)]
pub struct Rtt {
    latest: Duration,
    smoothed: Duration,
    var: Duration,
    min: Duration,
    sampled: bool,
}

impl Default for Rtt {
    fn default() -> Rtt {
        Rtt { latest: INITIAL, smoothed: INITIAL, var: INITIAL / 2, min: INITIAL, sampled: false }
    }
}

impl Rtt {
    /// A sample: time from sending to the arrival of the acknowledgement, less `ack_delay`.
    pub fn on_sample(&mut self, rtt: Duration, ack_delay: Duration) {
        let rtt = if self.sampled && rtt >= self.min + ack_delay { rtt - ack_delay } else { rtt };
        let rtt = rtt.max(Duration::from_micros(50));
        self.latest = rtt;
        if !self.sampled {
            (self.smoothed, self.var, self.min, self.sampled) = (rtt, rtt / 2, rtt, true);
            return;
        }
        self.min = self.min.min(rtt);
        self.var = (self.var * 3 + self.smoothed.abs_diff(rtt)) / 4;
        self.smoothed = (self.smoothed * 7 + rtt) / 8;
    }

    pub fn latest(&self) -> Duration {
        self.latest
    }

    pub fn smoothed(&self) -> Duration {
        self.smoothed
    }

    pub fn var(&self) -> Duration {
        self.var
    }
}

/// Round-trip time before the first sample. Source: RFC 9002 section 6.2.2 says 333 ms; links with
/// a first sample above that are rare and lose nothing but one early probe.
const INITIAL: Duration = Duration::from_millis(333);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acknowledgement_delay_is_not_part_of_the_path() {
        let mut r = Rtt::default();
        r.on_sample(Duration::from_millis(40), Duration::ZERO);
        r.on_sample(Duration::from_millis(45), Duration::from_millis(5));
        assert_eq!(r.latest(), Duration::from_millis(40));
    }
}
