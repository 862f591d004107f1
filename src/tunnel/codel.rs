//! CoDel (RFC 8289): says which waiting packet should tell its sender to slow down.
//!
//! Not for: dropping or marking, nor the clock. Times are the owner's, since some start of its own.

use std::time::Duration;

/// Target and interval of RFC 8289.
#[derive(Clone, Copy, Debug)]
pub struct CodelSettings {
    /// Wait that is fine for as long as it likes.
    pub target: Duration,
    /// How long the wait must be above the target before the first signal.
    pub interval: Duration,
}

/// State of one queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Codel {
    /// When a wait above the target will have lasted an interval.
    due: Option<Duration>,
    /// Set while signals are being given: when the next one is due.
    next: Option<Duration>,
    /// Where the last series of signals stood.
    last_next: Duration,
    count: u32,
    last_count: u32,
}

impl Codel {
    /// Judges the packet at the head, which waited for `sojourn`: true when it should carry a signal.
    ///
    /// `is_long` says whether the queue is too long apart from the wait (RFC 8289: more than one MTU). The next
    /// signal comes no sooner than `answer`, when the flow can have answered this one.
    pub(super) fn on_head(
        &mut self,
        at: Duration,
        sojourn: Duration,
        is_long: bool,
        answer: Duration,
        s: CodelSettings,
    ) -> bool {
        if sojourn < s.target || !is_long {
            self.on_good_state();
            return false;
        }
        let due = *self.due.get_or_insert(at + s.interval);
        if at < due {
            return false;
        }
        match self.next {
            Some(next) if at < next => return false,
            Some(next) => {
                self.count += 1;
                self.next = Some((next + self.step(s)).max(at + answer));
            }
            None => {
                // A series soon after the last one goes on where that stood (RFC 8289 section 5.4).
                let is_soon = at.saturating_sub(self.last_next) < 16 * s.interval;
                let grown = self.count - self.last_count;
                self.count = if is_soon && grown > 1 { grown } else { 1 };
                self.last_count = self.count;
                self.next = Some(at + self.step(s).max(answer));
            }
        }
        true
    }

    /// The queue is empty or short: nothing is due.
    pub(super) fn on_good_state(&mut self) {
        self.due = None;
        if let Some(next) = self.next.take() {
            self.last_next = next;
        }
    }

    /// interval / sqrt(count)
    fn step(&self, s: CodelSettings) -> Duration {
        let root_1000 = (u64::from(self.count) * 1_000_000).isqrt().max(1);
        Duration::from_nanos((s.interval.as_nanos() as u64).saturating_mul(1000) / root_1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: CodelSettings =
        CodelSettings { target: Duration::from_millis(20), interval: Duration::from_millis(100) };

    #[test]
    fn a_burst_shorter_than_the_interval_is_left_alone() {
        let mut c = Codel::default();
        let signals = (0..99).filter(|&t| c.on_head(ms(t), ms(50), true, ms(0), S)).count();
        assert_eq!(signals, 0);
        assert!(!c.on_head(ms(99), ms(10), true, ms(0), S));
        assert!(!c.on_head(ms(120), ms(50), true, ms(0), S), "the interval begins anew");
    }

    #[test]
    fn signals_come_faster_while_the_queue_stands() {
        let mut c = Codel::default();
        let at: Vec<u64> = (0..1000).filter(|&t| c.on_head(ms(t), ms(50), true, ms(0), S)).collect();
        assert_eq!(&at[..4], &[100, 200, 271, 329]);
        let gaps: Vec<u64> = at.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(gaps.last().unwrap() < &45);
    }

    #[test]
    fn a_short_queue_is_never_signalled() {
        let mut c = Codel::default();
        assert!((0..1000).all(|t| !c.on_head(ms(t), ms(500), false, ms(0), S)));
    }

    fn ms(t: u64) -> Duration {
        Duration::from_millis(t)
    }
}
