//! Which flows are young, and the channel that each of them has used so far.
//!
//! A flow that begins is judged by its sender round trip by round trip (HyStart), and a web object is
//! over before it fills a link: both do best on one channel, without the jitter of the others. In the
//! simulator 100 KB objects in city3 came at 0.85 of their rate before this rule.
//!
//! Not for: urgency (`flow_rate.rs` knows sparse flows).

use crate::units::{ChannelId, FlowTag};
use std::time::{Duration, Instant};

/// A row for each flow tag: 512 KiB, so that nothing grows and nothing is forgotten.
pub(super) struct Youth {
    began: Instant,
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    /// Milliseconds since `began` when the flow was last seen, plus one; zero means never.
    seen_ms: u32,
    packets: u16,
    channel: ChannelId,
}

impl Youth {
    pub fn new(now: Instant) -> Youth {
        let row = Row { seen_ms: 0, packets: 0, channel: ChannelId(0) };
        Youth { began: now, rows: vec![row; 1 << 16] }
    }

    /// A packet of the flow was bound to `channel`.
    pub fn on_bound(&mut self, now: Instant, flow: FlowTag, channel: ChannelId) {
        let now_ms = self.ms(now);
        let row = &mut self.rows[usize::from(flow.0)];
        let packets = if row.is_over(now_ms) { 0 } else { row.packets };
        *row = Row { seen_ms: now_ms, packets: packets.saturating_add(1), channel };
    }

    /// The channel to stay on, while the flow is young.
    pub fn stays(&self, now: Instant, flow: FlowTag) -> Option<ChannelId> {
        let row = &self.rows[usize::from(flow.0)];
        (row.packets < PACKETS && !row.is_over(self.ms(now))).then_some(row.channel)
    }

    /// Whether the flow has sent so much that its slow start is over.
    pub fn is_settled(&self, now: Instant, flow: FlowTag) -> bool {
        let row = &self.rows[usize::from(flow.0)];
        row.packets >= SETTLED_PACKETS && !row.is_over(self.ms(now))
    }

    fn ms(&self, now: Instant) -> u32 {
        // Wraps after 49 days: a flow that paused for just so long counts as not paused.
        (now.saturating_duration_since(self.began).as_millis() as u32).wrapping_add(1)
    }
}

impl Row {
    fn is_over(&self, now_ms: u32) -> bool {
        self.seen_ms == 0 || u128::from(now_ms.wrapping_sub(self.seen_ms)) > PAUSE.as_millis()
    }
}

/// Packets for which a flow counts as young: a web object of 100 KB is 72.
const PACKETS: u16 = 80;
/// Packets after which a flow has found its rate: slow starts end before. Source: random sets of links, where a download
/// that filled empty channels rather than queued from the 80th packet on got 0.93 instead of 0.96 (`balancer.rs`).
const SETTLED_PACKETS: u16 = 4_000;
/// After such a pause a flow is young again.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_stays_while_it_is_young_and_again_after_a_pause() {
        let t = Instant::now();
        let mut youth = Youth::new(t);
        let (flow, one, two) = (FlowTag(7), ChannelId(1), ChannelId(2));
        assert_eq!(youth.stays(t, flow), None);
        youth.on_bound(t, flow, one);
        assert_eq!(youth.stays(t, flow), Some(one));
        (0..PACKETS).for_each(|_| youth.on_bound(t, flow, two));
        assert_eq!(youth.stays(t, flow), None);
        let later = t + PAUSE * 2;
        (0..SETTLED_PACKETS).for_each(|_| youth.on_bound(t, flow, two));
        assert!(youth.is_settled(t, flow) && !youth.is_settled(later, flow));
        youth.on_bound(later, flow, two);
        assert_eq!(youth.stays(later, flow), Some(two));
    }
}
