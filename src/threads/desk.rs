//! Where what the channels received becomes ordered packets on TUN.
//!
//! 1. A receiver puts its run into the queue.
//! 2. Whoever gets the lock works the queue off, oldest message first: a receiver that brought few packets does
//!    so itself, as waking `reorder` costs more than a packet; after a long run it wakes `reorder`.
//! 3. Who does not get the lock leaves its run to the holder, who looks at the queue once more after unlocking.
//! 4. `reorder` sees to deadlines, and to what `control` sends.
//!
//! The queue alone decides about the order, so it does not matter who takes from it.

use super::bell::{BellInbox, BellQueue, FEW};
use super::clock;
use super::queues::{count_full, ToReorder};
use super::reorder::Session;
use super::stats::Stats;
use super::stop::PATIENCE;
use crate::io::tun::{Tun, WriteReport};
use crate::tunnel::mss;
use crate::units::Packet;
use crossbeam_channel::SendTimeoutError;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where ordered packets go.
pub trait Exit: Send + Sync + fmt::Debug {
    /// Writes packets in order.
    fn write_batch(&self, packets: &[Packet]) -> WriteReport;
}

impl Exit for Tun {
    fn write_batch(&self, packets: &[Packet]) -> WriteReport {
        Tun::write_batch(self, packets)
    }
}

/// The way into the reorderer; cheap to clone.
#[derive(Clone, Debug)]
pub struct ReorderQueue {
    queue: BellQueue<ToReorder>,
    desk: Arc<Desk>,
}

/// The sessions' `Inbound` behind the lock, and the queue before it.
pub struct Desk {
    inbox: BellInbox<ToReorder>,
    exit: Arc<dyn Exit>,
    stats: Arc<Stats>,
    work: Mutex<Work>,
}

struct Work {
    sessions: Vec<Session>,
    out: Vec<Packet>,
    /// When `reorder` looks by itself.
    watched: Instant,
}

impl ReorderQueue {
    /// Both ends of a queue that ends at `exit`.
    pub fn new(
        (queue, inbox): (BellQueue<ToReorder>, BellInbox<ToReorder>),
        exit: Arc<dyn Exit>,
        stats: Arc<Stats>,
    ) -> ReorderQueue {
        let work = Work { sessions: Vec::new(), out: Vec::new(), watched: clock::now() };
        let desk = Desk { inbox, exit, stats, work: Mutex::new(work) };
        ReorderQueue { queue, desk: Arc::new(desk) }
    }

    /// What `reorder` works at.
    pub fn desk(&self) -> Arc<Desk> {
        self.desk.clone()
    }

    /// Hands over a run of `packets` packets. Full: waits a little, then drops and counts.
    pub fn hand_over(&self, run: ToReorder, packets: usize) {
        if packets > FEW {
            return self.wait_for_room(run);
        }
        match self.queue.put(run) {
            Ok(()) => self.desk.work_off(),
            Err(full) => self.wait_for_room(full.into_inner()),
        }
    }

    /// Hands over a short message. Full: drops and counts.
    pub fn try_send(&self, message: ToReorder) {
        count_full(&self.desk.stats, self.queue.try_send(message));
    }

    /// Hands over a message and waits for room as long as `time`; false when there was none.
    pub fn send_patiently(&self, message: ToReorder, time: Duration) -> bool {
        self.queue.send_timeout(message, time).is_ok()
    }

    fn wait_for_room(&self, run: ToReorder) {
        if let Err(SendTimeoutError::Timeout(_)) = self.queue.send_timeout(run, PATIENCE) {
            self.desk.stats.count(|c| c.queue_full += 1);
        }
    }
}

impl Desk {
    /// Works off what is queued, if nobody else is at it.
    fn work_off(&self) {
        self.inbox.work_off(|| {
            let mut work = self.work.try_lock()?;
            let due = self.advance(&mut work, clock::now());
            Some(due.is_some_and(|due| due < work.watched))
        });
    }

    /// Works off what is queued and due, then sleeps until there is more: one turn of `reorder`.
    pub fn turn(&self) {
        let mut work = self.work.lock();
        let now = clock::now();
        let due = self.advance(&mut work, now);
        let patience = now + PATIENCE;
        let watched = due.map_or(patience, |due| due.min(patience));
        work.watched = watched;
        drop(work);
        self.inbox.rest_until(watched);
    }

    /// Takes messages, delivers what may leave; the next deadline.
    fn advance(&self, work: &mut Work, now: Instant) -> Option<Instant> {
        for message in self.inbox.try_iter().take(DRAIN_MAX) {
            Session::take(now, &mut work.sessions, message);
        }
        let Work { sessions, out, .. } = work;
        for session in &mut *sessions {
            self.deliver(now, session, out);
            session.report(now);
        }
        sessions.iter().filter_map(Session::poll_timeout).min()
    }

    fn deliver(&self, now: Instant, session: &mut Session, out: &mut Vec<Packet>) {
        session.refresh_live(now);
        session.take_entries();
        if session.inbound.poll_timeout().is_some_and(|(at, _)| at <= now) {
            session.inbound.handle_timeout(now);
        }
        while let Some(flow) = session.inbound.poll_forgotten() {
            session.forgot(&self.stats, flow);
        }
        // Those that were held go before newer ones of their connections.
        while let Some(packet) = session.ack_floor.poll_due(now) {
            out.push(packet);
        }
        let mut foreign = 0;
        while let Some(mut packet) = session.inbound.poll_deliver() {
            if !session.allows(&packet) {
                foreign += 1;
                continue;
            }
            mss::clamp(&mut packet, self.stats.mtu(), session.room());
            session.steer(now, &mut packet);
            out.extend(session.hold(now, packet));
        }
        if foreign > 0 {
            self.stats.count(|c| c.foreign_source += foreign);
        }
        if out.is_empty() {
            return;
        }
        let report = self.exit.write_batch(out);
        out.clear();
        if report.dropped > 0 {
            self.stats.count(|c| c.tun_dropped += report.dropped as u64);
            if let Some(failure) = report.failure {
                log::debug!("{failure}");
            }
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("exit", &self.exit).finish_non_exhaustive()
    }
}

/// Messages taken before anything is delivered: bounds the wait of the first.
const DRAIN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::super::bell::bell_queue;
    use super::super::reorder::NewInbound;
    use super::super::stats::SessionStats;
    use super::*;
    use crate::tunnel::inbound::{Arrival, InboundSettings};
    use crate::tunnel::session::SessionId;
    use crate::units::{ChannelId, FlowSeq, FlowTag, Form, Piece, Ticks};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_receiver_writes_a_short_run_itself() {
        let (queue, exit) = queue();
        queue.hand_over(run(0..3), 3);
        assert_eq!(exit.sequences(), [0, 1, 2]);
    }

    #[test]
    fn a_long_run_waits_for_the_reorderer() {
        let (queue, exit) = queue();
        queue.hand_over(run(0..40), 40);
        assert!(exit.sequences().is_empty());
        queue.desk.turn();
        assert_eq!(exit.sequences(), (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_short_run_behind_a_long_one_does_not_pass_it() {
        let (queue, exit) = queue();
        queue.hand_over(run(0..40), 40);
        queue.hand_over(run(40..41), 1);
        assert_eq!(exit.sequences(), (0..41).collect::<Vec<_>>());
    }

    #[test]
    fn who_finds_it_locked_leaves_the_run_to_the_holder() {
        let (queue, exit) = queue();
        let held = queue.desk.work.lock();
        queue.hand_over(run(0..1), 1);
        assert!(exit.sequences().is_empty());
        drop(held);
        queue.hand_over(run(1..2), 1);
        assert_eq!(exit.sequences(), [0, 1]);
    }

    #[test]
    fn two_receivers_lose_nothing_and_keep_each_ones_order() {
        let (queue, exit) = queue();
        let receivers: Vec<_> = [0u32, 1]
            .into_iter()
            .map(|of| {
                let queue = queue.clone();
                std::thread::spawn(move || {
                    for n in 0..2_000 {
                        queue.hand_over(run_of(FlowTag(of as u16), of * 2_000 + n..of * 2_000 + n + 1), 1);
                    }
                })
            })
            .collect();
        // The reorderer, as it is for what is too much for a receiver's rounds.
        let (desk, done) = (queue.desk(), Arc::new(AtomicBool::new(false)));
        let reorderer = std::thread::spawn({
            let (desk, done) = (desk.clone(), done.clone());
            move || {
                while !done.load(Ordering::SeqCst) {
                    desk.turn();
                }
            }
        });
        receivers.into_iter().for_each(|r| r.join().expect("receiver"));
        done.store(true, Ordering::SeqCst);
        reorderer.join().expect("reorderer");
        desk.work_off();
        let mut seen = exit.sequences();
        let sorted = |of| seen.iter().filter(|&&s| s / 2_000 == of).is_sorted();
        assert!(sorted(0) && sorted(1));
        seen.sort_unstable();
        assert_eq!(seen, (0..4_000).collect::<Vec<_>>());
    }

    /// Notes what comes; the payload's end is the sequence.
    #[derive(Debug, Default)]
    struct Note(Mutex<Vec<u32>>);

    impl Exit for Note {
        fn write_batch(&self, packets: &[Packet]) -> WriteReport {
            let of = |p: &Packet| u32::from_be_bytes(p.bytes[28..32].try_into().expect("4 bytes"));
            self.0.lock().extend(packets.iter().map(of));
            WriteReport::default()
        }
    }

    impl Note {
        fn sequences(&self) -> Vec<u32> {
            self.0.lock().clone()
        }
    }

    fn queue() -> (ReorderQueue, Arc<Note>) {
        let (exit, stats) = (Arc::new(Note::default()), Arc::new(Stats::new(1440)));
        let queue = ReorderQueue::new(bell_queue(64), exit.clone(), stats);
        let new = NewInbound {
            id: SessionId(1),
            stats: Arc::new(SessionStats::new(2)),
            links: Arc::new([]),
            settings: InboundSettings::default(),
            hash_key: [1, 2],
            allowed: Vec::new(),
        };
        assert!(queue.send_patiently(ToReorder::Open(Box::new(new)), Duration::ZERO));
        queue.desk.work_off();
        (queue, exit)
    }

    /// Packets of a call: ICMP leaves as it comes.
    fn run(sequences: std::ops::Range<u32>) -> ToReorder {
        run_of(FlowTag(7), sequences)
    }

    fn run_of(flow: FlowTag, sequences: std::ops::Range<u32>) -> ToReorder {
        let arrival = |seq: u32| {
            let mut bytes = vec![0u8; 32];
            (bytes[0], bytes[9]) = (0x45, 1);
            bytes[28..].copy_from_slice(&seq.to_be_bytes());
            let packet = Packet::complete(&bytes);
            Arrival {
                channel: ChannelId(0),
                flow,
                seq: FlowSeq(seq),
                sent: Ticks(seq),
                form: Form::Whole,
                piece: Piece::All,
                packet,
            }
        };
        ToReorder::Run(SessionId(1), sequences.map(arrival).collect())
    }
}
