//! The receiving half: what arrived, and which acknowledgement to send when.
//!
//! As Linux: every second segment or 40 ms, each of the first 16 at once, everything at once while a hole
//! is open or a duplicate came (with a duplicate's block first), three blocks at most.

use super::super::link::MS;
use super::super::packet::{Segment, ACK, WINDOW_UNIT};
use super::autotune::Autotune;
use super::ranges::Ranges;
use super::{expand, wire, NEVER};

const DELAYED_ACK: u64 = 40 * MS;
const QUICK: u32 = 16;

#[derive(Debug)]
pub struct Receiver {
    pub flow: u16,
    mss: u32,
    /// The next segment in order.
    pub next: u64,
    above: Ranges,
    /// Starts of ranges that changed, newest first.
    recent: Vec<u64>,
    duplicate: Option<(u64, u64)>,
    ts_recent: u32,
    unacked: u32,
    quick: u32,
    ack_at: u64,
    autotune: Autotune,
    /// Segments that had come before.
    pub duplicates: u64,
}

impl Receiver {
    pub fn new(flow: u16, mss: u32) -> Receiver {
        Receiver {
            flow,
            mss,
            next: 0,
            above: Ranges::default(),
            recent: Vec::new(),
            duplicate: None,
            ts_recent: 0,
            unacked: 0,
            quick: QUICK,
            ack_at: NEVER,
            autotune: Autotune::new(mss),
            duplicates: 0,
        }
    }

    /// A data segment arrived. Returns the segments that became readable.
    pub fn on_segment(&mut self, now: u64, s: &Segment) -> u64 {
        let n = expand(s.seq, self.next, self.mss);
        let before = self.next;
        self.autotune.on_echo(now, s.ts_ecr);
        if n < self.next || self.above.contains(n) {
            self.duplicates += 1;
            self.duplicate = Some((n, n + 1));
            self.ack_at = now;
            return 0;
        }
        if n > self.next {
            self.above.insert(n, n + 1, &mut Vec::new());
            let start = self.above.range_of(n).map_or(n, |r| r.0);
            let above = &self.above;
            self.recent.retain(|&r| above.range_of(r).is_some_and(|x| x.0 != start));
            self.recent.insert(0, n);
            self.recent.truncate(4);
            self.ack_at = now;
            return 0;
        }
        self.ts_recent = s.ts_val;
        let filled = !self.above.is_empty();
        self.next = self.above.range_of(n + 1).map_or(n + 1, |r| r.1);
        self.above.remove_below(self.next);
        let next = self.next;
        self.recent.retain(|&r| r >= next);
        self.unacked += 1;
        if filled || self.unacked >= 2 || self.quick > 0 {
            self.quick = self.quick.saturating_sub(1);
            self.ack_at = now;
        } else {
            self.ack_at = self.ack_at.min(now + DELAYED_ACK);
        }
        let bytes = |segments: u64| segments * u64::from(self.mss);
        self.autotune.on_read(now, bytes(self.next), bytes(self.above.last().map_or(0, |r| r.1 - self.next)));
        self.next - before
    }

    /// When `poll_ack` will have something; `NEVER` when nothing is owed.
    pub fn deadline(&self) -> u64 {
        self.ack_at
    }

    /// The acknowledgement that is due.
    pub fn poll_ack(&mut self, now: u64) -> Option<Segment> {
        if self.ack_at > now {
            return None;
        }
        self.ack_at = NEVER;
        self.unacked = 0;
        let mut s = Segment {
            flow: self.flow,
            flags: ACK,
            seq: 1,
            ack: wire(self.next, self.mss),
            ts_val: (now / MS) as u32,
            ts_ecr: self.ts_recent,
            window: (self.autotune.window / WINDOW_UNIT) as u16,
            ..Segment::default()
        };
        let duplicate = self.duplicate.take();
        let ranges = self.recent.iter().filter_map(|&r| self.above.range_of(r));
        for (from, to) in duplicate.into_iter().chain(ranges).take(3) {
            s.sacks[usize::from(s.sack_count)] = (wire(from, self.mss), wire(to, self.mss));
            s.sack_count += 1;
        }
        Some(s)
    }
}
