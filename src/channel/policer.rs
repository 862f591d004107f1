//! Is a policer, or a buffer of a few packets, in the way? Loss where no queue is, again and again.
//!
//! A policer drops whatever is above its rate, at once, so nothing but the losses tells of it; the same goes for a
//! buffer shorter than the queue that the window aims at. A single burst of losses is something else: a handover, an
//! outage, the first packets of a far end that had not joined yet. Hence the losses of several rounds in a row.
//!
//! ```text
//!   free --more than 10 % lost in each of three rounds--> policed --2 s--> free (and 1 s without judgement)
//! ```
//! Not for: loss by overflow of a queue that was seen, nor random loss: neither says what the link would carry.

use std::time::{Duration, Instant};

/// Judges the losses of one channel, round by round.
#[derive(Clone, Debug)]
pub(super) struct Policer {
    acked: u64,
    lost: u64,
    round_at: Instant,
    /// Rounds in a row with losses that no queue explains.
    rounds: u32,
    until: Option<Instant>,
    not_before: Instant,
}

impl Policer {
    pub(super) fn new(now: Instant) -> Policer {
        Policer { acked: 0, lost: 0, round_at: now, rounds: 0, until: None, not_before: now }
    }

    /// Bytes newly acknowledged, and newly lost without a queue to explain it; a round lasts for `rtt`.
    pub(super) fn on_ack(&mut self, now: Instant, acked: u64, unqueued_lost: u64, rtt: Duration) {
        self.acked += acked;
        self.lost += unqueued_lost;
        let all = self.acked + self.lost;
        if now.saturating_duration_since(self.round_at) < rtt.max(ROUND_MIN) || all < ROUND_BYTES {
            return;
        }
        let is_high = self.lost * 1_000_000 > all * LOSS_PPM;
        self.rounds = if is_high { self.rounds + 1 } else { 0 };
        (self.acked, self.lost, self.round_at) = (0, 0, now);
    }

    /// Whether the window should leave the queue out. `queue_is_low`: there is no queue now, either.
    pub(super) fn is_policed(&mut self, now: Instant, queue_is_low: bool) -> bool {
        if let Some(until) = self.until {
            if now < until {
                return true;
            }
            (self.until, self.rounds, self.not_before) = (None, 0, now + RETRY);
        }
        if self.rounds >= ROUNDS && queue_is_low && now >= self.not_before {
            self.until = Some(now + POLICED_TIME);
            return true;
        }
        false
    }
}

/// Loss in a round that random errors do not explain. Source: ALGORITHMS section 4.3, rule 4 says 20 %; a guess.
const LOSS_PPM: u64 = 100_000;
/// Rounds in a row. Source: a handover's burst of losses is told over two rounds at most.
const ROUNDS: u32 = 3;
const ROUND_MIN: Duration = Duration::from_millis(50);
/// A round has ten full packets at least, or one lost packet would be a tenth of it.
const ROUND_BYTES: u64 = 15_000;
/// How long a policer is believed in, and the time after that. Guesses.
const POLICED_TIME: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Feeds rounds of 60 ms, 30 kB each, of which so many per cent are lost.
    fn rounds(p: &mut Policer, t: Instant, lost_percent: &[u64]) -> bool {
        let mut was = false;
        for (i, percent) in lost_percent.iter().enumerate() {
            let now = t + MS * 60 * (i as u32 + 1);
            p.on_ack(now, 300 * (100 - percent), 300 * percent, MS * 40);
            was |= p.is_policed(now, true);
        }
        was
    }

    #[test]
    fn losses_in_each_round_are_a_policers_until_it_is_tried_again() {
        let t = Instant::now();
        let mut p = Policer::new(t);
        assert!(rounds(&mut p, t, &[30, 30, 30]));
        assert!(p.is_policed(t + Duration::from_secs(2), true));
        assert!(!p.is_policed(t + Duration::from_secs(3), true));
    }

    #[test]
    fn a_burst_of_losses_is_no_policer() {
        let t = Instant::now();
        assert!(!rounds(&mut Policer::new(t), t, &[0, 90, 60, 0, 0, 90, 90, 0]));
    }

    #[test]
    fn few_packets_say_nothing() {
        let t = Instant::now();
        let mut p = Policer::new(t);
        (1..5).for_each(|i| p.on_ack(t + MS * 100 * i, 1_500, 1_500, MS * 40));
        assert!(!p.is_policed(t + MS * 500, true));
    }
}
