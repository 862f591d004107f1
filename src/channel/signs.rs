//! Does an acknowledgement without news show that a silent link delivers?
//!
//! After some seconds of silence what was in flight is given up. Where the link had only stood still, that arrives after all,
//! and is acknowledged.
//!
//! Not for: acknowledgements of what is in flight (`sending.rs`), which always do.

use crate::units::PacketNumber;
use std::time::Instant;

/// What the acknowledgements of one channel have told so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    largest: Option<PacketNumber>,
    /// When the last one came that told of a higher number, and the receiver's clock when that had arrived, microseconds.
    last: Option<(Instant, i64)>,
}

impl Signs {
    /// One came; true if it tells of an arrival since the last one. One that was made before the silence, and waited on its
    /// way back, does not.
    pub(super) fn on_ack(&mut self, now: Instant, largest: PacketNumber, arrived_us: i64) -> bool {
        if self.largest.is_some_and(|before| largest <= before) {
            return false;
        }
        self.largest = Some(largest);
        let Some((at, before_us)) = self.last.replace((now, arrived_us)) else { return true };
        let between = u128::try_from(arrived_us - before_us).unwrap_or(0);
        between * 2 >= now.saturating_duration_since(at).as_micros()
    }

    /// The link is gone: whatever arrived before says nothing of it. `next` is the number of the next datagram.
    pub(super) fn on_gone(&mut self, next: PacketNumber) {
        self.largest = next.0.checked_sub(1).map(PacketNumber).max(self.largest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_arrived_during_the_silence_is_a_sign_and_what_only_waited_to_be_told_is_none() {
        let t = Instant::now();
        let after = |ms: u64| t + Duration::from_millis(ms);
        let mut s = Signs::default();
        assert!(s.on_ack(t, PacketNumber(5), 1_000));
        assert!(!s.on_ack(after(10), PacketNumber(5), 11_000), "nothing new");
        // Made before the link fell silent; came when the way back was there again.
        assert!(!s.on_ack(after(5_000), PacketNumber(6), 21_000));
        assert!(s.on_ack(after(5_020), PacketNumber(7), 5_001_000));
        assert!(s.on_ack(after(5_030), PacketNumber(9), 5_011_000));
        s.on_gone(PacketNumber(40));
        assert!(!s.on_ack(after(5_040), PacketNumber(39), 5_021_000));
        assert!(s.on_ack(after(5_050), PacketNumber(40), 5_031_000));
    }
}
