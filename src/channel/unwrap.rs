//! Wire counters that wrap, made monotonic: the peer's clock and byte count in acknowledgements.

use super::delivery::Arrived;
use crate::units::Ticks;

/// The last values seen and their unwrapped forms.
#[derive(Clone, Debug, Default)]
pub struct Unwrap {
    started: bool,
    ticks: Ticks,
    at_us: i64,
    bytes_low: u32,
    bytes: u64,
    delay_ticks: Option<(Ticks, i64)>,
}

impl Unwrap {
    /// The receiver's clock and byte count of an acknowledgement, unwrapped. An older
    /// acknowledgement gives older values.
    pub fn arrived(&mut self, ticks: Ticks, bytes_low: u32) -> Arrived {
        if !self.started {
            *self = Unwrap { started: true, ticks, bytes_low, bytes: u64::from(bytes_low), ..self.clone() };
        }
        let later_us = ticks.us_since(self.ticks);
        let more = i64::from(bytes_low.wrapping_sub(self.bytes_low) as i32);
        let at = Arrived {
            at_us: self.at_us + later_us,
            bytes: self.bytes.saturating_add_signed(more),
            sent_us: 0,
        };
        if later_us > 0 && more >= 0 {
            (self.ticks, self.at_us, self.bytes_low, self.bytes) = (ticks, at.at_us, bytes_low, at.bytes);
        }
        at
    }

    /// One-way delay: receiver's clock minus sender's, with an unknown but steady offset.
    pub fn delay_us(&mut self, received: Ticks, sent: Ticks) -> i64 {
        let difference = Ticks(received.0.wrapping_sub(sent.0) & 0x00ff_ffff);
        let us = match self.delay_ticks {
            None => difference.us_since(Ticks(0)),
            Some((last, us)) => us + difference.us_since(last),
        };
        self.delay_ticks = Some((difference, us));
        us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_and_bytes_go_on_beyond_their_wrap() {
        let mut u = Unwrap::default();
        let a = u.arrived(Ticks(0x00ff_fff0), u32::MAX - 99);
        let b = u.arrived(Ticks(0x0000_0010), 100);
        assert_eq!(b.at_us - a.at_us, 32 * 16);
        assert_eq!(b.bytes - a.bytes, 200);
        let old = u.arrived(Ticks(0x00ff_fff8), u32::MAX - 50);
        assert!(old.at_us < b.at_us && old.bytes < b.bytes);
    }

    #[test]
    fn delays_near_the_wrap_differ_by_little() {
        let mut u = Unwrap::default();
        let a = u.delay_us(Ticks(0x007f_ffff), Ticks(0));
        let b = u.delay_us(Ticks(0x0080_0001), Ticks(0));
        assert_eq!(b - a, 32);
    }
}
