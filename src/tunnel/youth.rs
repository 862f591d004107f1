//! What each flow has sent so far, and by which channel: which are young, which settled, and where they live.
//!
//! A flow that begins is judged by its sender round trip by round trip (HyStart), and a web object is
//! over before it fills a link: both do best on one channel, without the jitter of the others. In the
//! simulator 100 KB objects in city3 came at 0.85 of their rate before this rule.
//!
//! A flow that has sent much is *settled*, and a connection has a home (`home.rs`) by what it has carried: a page's, a download's,
//! or none where somebody types.
//!
//! Not for: urgency (`flow_rate.rs` knows sparse flows).

use super::home::{Fit, Home};
use super::stage::Stage;
use crate::units::{Bound, ChannelId, FlowTag};
use std::time::{Duration, Instant};

/// A row for each flow tag: 1 MiB, so that nothing grows and nothing is forgotten.
pub(super) struct Youth {
    began: Instant,
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    /// Milliseconds since `began` when the flow was last seen, plus one; zero means never.
    seen_ms: u32,
    /// Its lower half when the flow last used a channel to live on.
    home_ms: u16,
    packets: u16,
    /// Full and other packets with data since its connection began.
    full: u16,
    small: u16,
    /// Whether this is the end that answered.
    answers: bool,
    channel: ChannelId,
}

impl Youth {
    pub fn new(now: Instant) -> Youth {
        let row = Row {
            seen_ms: 0,
            home_ms: 0,
            packets: 0,
            full: 0,
            small: 0,
            answers: false,
            channel: ChannelId(0),
        };
        Youth { began: now, rows: vec![row; 1 << 16] }
    }

    /// A packet of the flow came from TUN.
    pub fn on_stage(&mut self, flow: FlowTag, stage: Stage) {
        let row = &mut self.rows[usize::from(flow.0)];
        if matches!(stage, Stage::Asks | Stage::Answers) {
            (row.answers, row.full, row.small, row.packets) = (stage == Stage::Answers, 0, 0, 0);
        }
    }

    /// A packet of the flow was bound to `channel`, which is so fit to live on; it carries data, or not.
    pub fn on_bound(&mut self, now: Instant, bound: &Bound, has_data: bool, channel: ChannelId, fit: Fit) {
        let lives_on = self.home(now, bound.flow).lives_on(fit);
        let now_ms = self.ms(now);
        let row = &mut self.rows[usize::from(bound.flow.0)];
        let is_over = row.is_over(now_ms);
        let before = if is_over { 0 } else { row.packets };
        if is_over && !row.answers {
            // An upload has ended, and requests follow perhaps.
            row.full = 0;
        }
        (row.packets, row.seen_ms, row.channel) = (before.saturating_add(1), now_ms, channel);
        if lives_on {
            row.home_ms = now_ms as u16;
        }
        if has_data {
            let count = if bound.packet.len() >= FULL { &mut row.full } else { &mut row.small };
            *count = count.saturating_add(1);
        }
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

    /// Where the flow's connection should live: one that has carried much will carry more.
    pub fn home(&self, now: Instant, flow: FlowTag) -> Home {
        let row = &self.rows[usize::from(flow.0)];
        let is_settled = row.full >= SETTLED_PACKETS;
        if !row.answers && !is_settled || row.talks() {
            return Home::default();
        }
        let now_ms = self.ms(now);
        let is_young = row.packets < PACKETS || row.is_over(now_ms);
        let away_ms = i64::from((now_ms as u16).wrapping_sub(row.home_ms));
        let away_us = if is_young { i64::MAX } else { away_ms * 1_000 };
        let to_come = if is_settled { Home::DOWNLOAD } else { Home::PAGE };
        Home { to_come, away_us }
    }

    fn ms(&self, now: Instant) -> u32 {
        // Wraps after 49 days: a flow that paused for just so long counts as not paused.
        (now.saturating_duration_since(self.began).as_millis() as u32).wrapping_add(1)
    }
}

impl Row {
    /// Whether somebody types, or the like: many small packets and few others.
    fn talks(&self) -> bool {
        self.small >= TALK_PACKETS && self.small / TALK_SHARE > self.full
    }

    fn is_over(&self, now_ms: u32) -> bool {
        self.seen_ms == 0 || u128::from(now_ms.wrapping_sub(self.seen_ms)) > PAUSE.as_millis()
    }
}

/// Packets for which a flow counts as young: a web object of 100 KB is 72.
const PACKETS: u16 = 80;
/// Packets after which a flow has found its rate: slow starts end before. Source: random sets of links, where a download
/// that filled empty channels rather than queued from the 80th packet on got 0.93 instead of 0.96 (`balancer.rs`).
const SETTLED_PACKETS: u16 = 4_000;
/// A packet so long is a full one, bytes: some paths take no more than 1,280 in all (RFC 8200).
const FULL: usize = 1_000;
/// Small packets that make a talk, and how many times as many as full ones they are. Guesses: more than a handshake has.
const TALK_PACKETS: u16 = 30;
const TALK_SHARE: u16 = 8;
/// After such a pause a flow is young again.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Class, FlowSeq, Form, Packet, Piece, Reason};

    const FLOW: FlowTag = FlowTag(7);
    const FIT: Fit = Fit::ANY;
    const MS: Duration = Duration::from_millis(1);

    fn packet(t: Instant, bytes: usize) -> Bound {
        Bound {
            packet: Packet::complete(&vec![0; bytes]),
            form: Form::Whole,
            piece: Piece::All,
            flow: FLOW,
            seq: FlowSeq(0),
            class: Class::Bulk,
            bound_at: t,
            reason: Reason::First,
            avoid: None,
        }
    }

    #[test]
    fn a_flow_stays_while_it_is_young_and_again_after_a_pause() {
        let t = Instant::now();
        let (mut youth, full) = (Youth::new(t), packet(t, 1_400));
        let (one, two) = (ChannelId(1), ChannelId(2));
        assert_eq!(youth.stays(t, FLOW), None);
        youth.on_bound(t, &full, true, one, FIT);
        assert_eq!(youth.stays(t, FLOW), Some(one));
        (0..PACKETS).for_each(|_| youth.on_bound(t, &full, true, two, FIT));
        assert_eq!(youth.stays(t, FLOW), None);
        let later = t + PAUSE * 2;
        (0..SETTLED_PACKETS).for_each(|_| youth.on_bound(t, &full, true, two, FIT));
        assert!(youth.is_settled(t, FLOW) && !youth.is_settled(later, FLOW));
        youth.on_bound(later, &full, true, two, FIT);
        assert_eq!(youth.stays(later, FLOW), Some(two));
    }

    #[test]
    fn who_answers_has_a_home_and_a_download_another_than_a_page() {
        let t = Instant::now();
        let (mut youth, full) = (Youth::new(t), packet(t, 1_400));
        youth.on_stage(FLOW, Stage::Asks);
        assert_eq!(youth.home(t, FLOW), Home::default());
        (0..SETTLED_PACKETS).for_each(|_| youth.on_bound(t, &full, true, ChannelId(1), FIT));
        assert_eq!(youth.home(t, FLOW).to_come, Home::DOWNLOAD, "an upload");
        let t = t + PAUSE * 2;
        youth.on_bound(t, &full, true, ChannelId(1), FIT);
        assert_eq!(youth.home(t, FLOW), Home::default(), "a request after it");
        youth.on_stage(FLOW, Stage::Answers);
        assert_eq!(youth.home(t, FLOW), Home { to_come: Home::PAGE, away_us: i64::MAX });
        (0..PACKETS).for_each(|_| youth.on_bound(t, &full, true, ChannelId(1), FIT));
        assert_eq!(youth.home(t + MS * 9, FLOW).away_us, 9_000);
        // Packets on a channel that is not fit bring it no nearer to its home.
        (0..SETTLED_PACKETS).for_each(|_| youth.on_bound(t + MS * 9, &full, true, ChannelId(2), Fit::NONE));
        assert_eq!(youth.home(t + MS * 9, FLOW), Home { to_come: Home::DOWNLOAD, away_us: 9_000 });
        youth.on_stage(FLOW, Stage::Answers);
        let anew = Home { to_come: Home::PAGE, away_us: i64::MAX };
        assert_eq!(youth.home(t + MS * 9, FLOW), anew, "a new connection with the old name");
    }

    #[test]
    fn who_types_takes_the_shortest_way() {
        let t = Instant::now();
        let mut youth = Youth::new(t);
        youth.on_stage(FLOW, Stage::Answers);
        youth.on_bound(t, &packet(t, 1_400), true, ChannelId(1), FIT);
        (0..60).for_each(|_| youth.on_bound(t, &packet(t, 40), false, ChannelId(1), FIT));
        (1..TALK_PACKETS).for_each(|_| youth.on_bound(t, &packet(t, 100), true, ChannelId(1), FIT));
        assert_ne!(youth.home(t, FLOW), Home::default());
        (0..1).for_each(|_| youth.on_bound(t, &packet(t, 100), true, ChannelId(1), FIT));
        assert_eq!(youth.home(t, FLOW), Home::default());
    }
}
