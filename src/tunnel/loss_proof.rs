//! Proof that a packet is lost: every live channel has delivered something that was sent after it.
//!
//! Not for: packets that are sent again, which is why the receiver waits a while beyond the proof. Only the
//! sender's own time stamps are compared with one another, and a channel is taken to keep its order. A channel
//! that brings nothing new (idle, held back and on trial, a slower second copy) is not asked for proof.

use super::seen::Gap;
use crate::units::{ChannelId, Ticks};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct LossProof {
    /// By channel id: what it delivered last.
    newest: Vec<Option<Newest>>,
    last_sent: Ticks,
    live: Vec<ChannelId>,
}

#[derive(Clone, Copy)]
struct Newest {
    sent: Ticks,
    came: Instant,
    /// When it last brought a packet that had not come before.
    brought_new: Option<Instant>,
}

impl LossProof {
    /// A channel delivered a packet.
    pub(super) fn on_arrival(&mut self, now: Instant, channel: ChannelId, sent: Ticks) {
        self.last_sent = sent;
        let index = usize::from(channel.0);
        if self.newest.len() <= index {
            self.newest.resize(index + 1, None);
        }
        let brought_new = self.newest[index].and_then(|n| n.brought_new);
        match &mut self.newest[index] {
            // Ticks wrap; what is half of that away says nothing.
            Some(n) if n.sent.us_since(sent) > 0 && now.saturating_duration_since(n.came) < STAMPS_AGREE => {
                n.came = now;
            }
            newest => *newest = Some(Newest { sent, came: now, brought_new }),
        }
    }

    /// What the channel just delivered was no duplicate.
    pub(super) fn on_new(&mut self, now: Instant, channel: ChannelId) {
        if let Some(Some(newest)) = self.newest.get_mut(usize::from(channel.0)) {
            newest.brought_new = Some(now);
        }
    }

    /// The sender's clock about now, as the last arrival showed it.
    pub(super) fn newest(&self) -> Ticks {
        self.last_sent
    }

    pub(super) fn set_live(&mut self, live: &[ChannelId]) {
        self.live.clear();
        self.live.extend_from_slice(live);
    }

    /// Whether no live channel can still deliver what is missing, unless it is sent again.
    ///
    /// A channel that brought nothing new since well before the gap opened is not asked.
    pub(super) fn is_lost(&self, gap: &Gap) -> bool {
        let mut heard = self.live.iter().filter_map(|c| self.newest.get(usize::from(c.0)).copied().flatten());
        let mut proofs = 0;
        let all_later = heard.all(|n| {
            let is_silent = n.brought_new.is_none_or(|at| gap.since.saturating_duration_since(at) > SILENT);
            proofs += u32::from(!is_silent);
            is_silent || n.sent.us_since(gap.sent) > SLACK_US
        });
        all_later && proofs > 0
    }
}

/// A packet is sent at most this long after one of its flow that was bound later, microseconds.
/// Source: channel queues hold about 2 ms and pacing holds back as much; the rest is a guess.
const SLACK_US: i64 = 10_000;
/// Silence after which a channel does not take part. Source: a guess; longer than any hold.
const SILENT: Duration = Duration::from_millis(500);
/// Two stamps of one sender can be compared for a quarter of the time in which they wrap.
const STAMPS_AGREE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_every_live_channel() {
        let (mut proof, now) = (LossProof::default(), Instant::now());
        proof.set_live(&[ChannelId(0), ChannelId(3)]);
        let gap = gap(now, 1_000);
        bring(&mut proof, now, 0, ticks(2_000));
        bring(&mut proof, now, 3, ticks(900));
        assert!(!proof.is_lost(&gap));
        bring(&mut proof, now, 3, ticks(1_005));
        assert!(!proof.is_lost(&gap), "within the slack");
        bring(&mut proof, now, 3, ticks(1_011));
        assert!(proof.is_lost(&gap));
        bring(&mut proof, now, 3, ticks(500));
        assert!(proof.is_lost(&gap), "an older one proves nothing new");
    }

    #[test]
    fn a_channel_that_is_not_live_or_carries_nothing_is_not_asked() {
        let (mut proof, start) = (LossProof::default(), Instant::now());
        bring(&mut proof, start, 1, ticks(0));
        let now = start + Duration::from_secs(2);
        bring(&mut proof, now, 0, ticks(2_100));
        proof.set_live(&[ChannelId(0), ChannelId(1), ChannelId(2)]);
        assert!(proof.is_lost(&gap(now, 2_000)));
        bring(&mut proof, now, 1, ticks(1_000));
        assert!(!proof.is_lost(&gap(now, 2_000)));
        proof.set_live(&[ChannelId(0)]);
        assert!(proof.is_lost(&gap(now, 2_000)));
        proof.set_live(&[ChannelId(0), ChannelId(4)]);
        proof.on_arrival(now, ChannelId(4), ticks(900));
        assert!(proof.is_lost(&gap(now, 2_000)), "channel 4 brought duplicates alone");
        proof.set_live(&[]);
        assert!(!proof.is_lost(&gap(now, 2_000)), "nobody to prove it");
    }

    fn bring(proof: &mut LossProof, now: Instant, channel: u8, sent: Ticks) {
        proof.on_arrival(now, ChannelId(channel), sent);
        proof.on_new(now, ChannelId(channel));
    }

    fn gap(since: Instant, sent_ms: u32) -> Gap {
        Gap { first: 1, last: 1, since, sent: ticks(sent_ms), is_abandoned: false }
    }

    fn ticks(ms: u32) -> Ticks {
        Ticks(ms * 1000 / Ticks::US)
    }
}
