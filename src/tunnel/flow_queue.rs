//! Where packets wait before they are bound to a channel: a queue for each flow (RFC 8290), managed by class.
//!
//! Not for: choosing channels. Whatever is thrown away is thrown away here, before it has a flow sequence,
//! so that it leaves no hole at the receiver.
//!
//! 1. `push` puts a packet into its flow's queue; a flow that had none goes to the *new* list, with one quantum.
//! 2. A waiting TCP acknowledgement that the packet makes needless goes (`thin_acks.rs`).
//! 3. Above the memory bounds, packets go from the head of the longest queue.
//! 4. `peek` takes the new list before the old one, in turns of a quantum (deficit round robin). Where there is no room for
//!    what it takes, an urgent packet behind it comes first (`bring_sparse`).
//! 5. CoDel judges the head: a sparse flow's by wait alone, a bulk flow's only while the flow also holds more
//!    bytes than it will need at the next peak. Those are what a CUBIC flow must have in the queue when
//!    the links' sum rises five-fold within a second. ECT packets are marked, others dropped.
//! 6. `pop` takes the packet. A queue found empty leaves, a new one by way of the old list.
//!
//! Waiting is counted on a clock that stands while nothing can leave (`freeze`): no flow is punished for that.

use super::balancer::SMALL_MAX;
use super::classify::{mark_ce, Ecn, Flow};
use super::codel::Codel;
use super::flow_rate::FlowRates;
use super::stage::Stage;
use super::steer::{Room, Steering};
use super::thin_acks::{needless, WaitingAck};
use crate::units::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::codel::CodelSettings;
pub use super::flow_queue_settings::FlowQueueSettings;

/// The packet that `pop` would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the inner packet.
    pub len: usize,
    pub class: Class,
    pub flow: FlowTag,
    pub stage: Stage,
}

/// A packet that leaves the queue; nothing throws it away after this.
#[derive(Clone, Debug)]
pub struct Queued {
    pub packet: Packet,
    pub flow: FlowTag,
    pub class: Class,
    pub queued_at: Instant,
}

/// What waits, and counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowQueueStats {
    pub queue_packets: u64,
    pub queue_bytes: u64,
    /// By CoDel.
    pub dropped: u64,
    /// By CoDel, with Congestion Experienced.
    pub marked: u64,
    /// Acknowledgements that gave way to newer ones.
    pub thinned: u64,
    /// For want of memory.
    pub overflowed: u64,
}

/// The queues of one direction.
pub struct FlowQueues {
    settings: FlowQueueSettings,
    epoch: Instant,
    /// How long the clock has stood, apart from `frozen_since`.
    frozen: Duration,
    frozen_since: Option<Instant>,
    queues: Vec<Queue>,
    /// Queues without packets or place in a list.
    free: Vec<u16>,
    /// Index of a tag's queue, or `NONE`.
    by_tag: Vec<u16>,
    new: VecDeque<u16>,
    old: VecDeque<u16>,
    rates: FlowRates,
    /// The rule for sparse flows at the rate of now.
    sparse: CodelSettings,
    peak: Rate,
    base_rtt: Duration,
    /// Where the last overflow was found, to be looked at first.
    longest: u16,
    stats: FlowQueueStats,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: u64,
    deficit: i64,
    codel: Codel,
    class: Option<Class>,
    steering: Steering,
    /// Tags that lead here; several only when there are more flows than queues.
    tags: Vec<FlowTag>,
    is_listed: bool,
    /// It left its place in the old list for one in the new.
    is_ahead: bool,
    /// CoDel has let the head pass.
    is_judged: bool,
    last_ack_out: Option<WaitingAck>,
}

struct Item {
    packet: Packet,
    flow: FlowTag,
    class: Class,
    stage: Stage,
    is_tcp: bool,
    is_ect: bool,
    ack: Option<WaitingAck>,
    queued_at: Instant,
    /// The same on the clock that can stand.
    queued: Duration,
}

impl FlowQueues {
    pub fn new(now: Instant, settings: FlowQueueSettings) -> FlowQueues {
        FlowQueues {
            rates: FlowRates::new(settings.sparse_rate),
            epoch: now,
            frozen: Duration::ZERO,
            frozen_since: None,
            queues: Vec::new(),
            free: Vec::new(),
            by_tag: vec![NONE; 1 << 16],
            new: VecDeque::new(),
            old: VecDeque::new(),
            sparse: settings.sparse,
            peak: Rate(0),
            base_rtt: Duration::ZERO,
            longest: 0,
            stats: FlowQueueStats::default(),
            settings,
        }
    }

    /// A packet comes in; the memory bounds may push others out.
    pub(super) fn push(&mut self, now: Instant, packet: Packet, flow: &Flow, steering: Steering) {
        let queued = self.clock(now);
        let bytes = packet.len();
        let class = self.rates.on_packet(queued, flow.tag, bytes);
        let index = self.queue_of(flow.tag);
        let queue = &mut self.queues[usize::from(index)];
        let ack = WaitingAck::of(flow);
        let was_empty = queue.items.is_empty();
        queue.class = Some(class);
        queue.steering = steering;
        queue.bytes += bytes as u64;
        queue.items.push_back(Item {
            packet,
            flow: flow.tag,
            class,
            is_tcp: flow.is_tcp(),
            stage: flow.stage,
            is_ect: flow.ecn != Ecn::NotEct,
            ack,
            queued_at: now,
            queued,
        });
        if !queue.is_listed {
            queue.is_listed = true;
            queue.deficit = i64::from(self.settings.quantum);
            self.new.push_back(index);
        } else if was_empty && class == Class::Sparse {
            self.get_ahead(index);
        }
        self.stats.queue_packets += 1;
        self.stats.queue_bytes += bytes as u64;
        if ack.is_some() {
            self.thin(index, queued);
        }
        while self.is_over() && self.overflow().is_some() {}
    }

    /// The packet that goes next, after queue management. Only a `push` can change it before `pop`.
    pub fn peek(&mut self, now: Instant) -> Option<Head> {
        let index = self.select(now)?;
        let item = self.queues[usize::from(index)].items.front()?;
        Some(Head { len: item.packet.len(), class: item.class, flow: item.flow, stage: item.stage })
    }

    /// Takes the packet that `peek` shows.
    pub fn pop(&mut self, now: Instant) -> Option<Queued> {
        let index = self.select(now)?;
        let item = self.take_head(index)?;
        let queue = &mut self.queues[usize::from(index)];
        queue.deficit -= item.packet.len() as i64;
        if item.ack.is_some() {
            queue.last_ack_out = item.ack;
        }
        let Item { packet, flow, class, queued_at, .. } = item;
        Some(Queued { packet, flow, class, queued_at })
    }

    /// How fast the queues are emptied: now, and the highest rate lately; and the tunnel's round trip without queue.
    pub fn set_drain(&mut self, rate_now: Rate, rate_peak: Rate, base_rtt: Duration) {
        // A wait of a few full packets is fine on a thin link, too (RFC 8290 allows for one).
        let few = match rate_now.0 {
            0 => Duration::ZERO,
            _ => rate_now.time_for(FEW * u64::from(self.settings.quantum)).min(FEW_MAX),
        };
        let CodelSettings { target, interval } = self.settings.sparse;
        self.sparse = CodelSettings { target: target.max(few), interval: interval.max(few * 2) };
        self.peak = rate_peak;
        self.base_rtt = base_rtt;
        self.rates.set_peak(rate_peak);
    }

    /// No channel takes anything: waiting does not count until `thaw`. May be repeated.
    pub fn freeze(&mut self, now: Instant) {
        self.frozen_since.get_or_insert(now);
    }

    /// Channels take packets again. May be repeated.
    pub fn thaw(&mut self, now: Instant) {
        if let Some(since) = self.frozen_since.take() {
            self.frozen += now.saturating_duration_since(since);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.stats.queue_packets == 0
    }

    /// What waits of a bulk flow, and what may.
    pub(super) fn room(&self, flow: FlowTag) -> Room {
        let queue = self.queues.get(usize::from(self.by_tag[usize::from(flow.0)]));
        let queued_bytes = queue.map_or(0, |queue| queue.bytes);
        let limit_bytes = self.bulk_bytes_max();
        Room { queued_bytes, limit_bytes, rate: Rate(self.peak.0 / self.flows()) }
    }

    /// Bytes of all packets that wait.
    pub fn queue_bytes(&self) -> u64 {
        self.stats.queue_bytes
    }

    /// Bytes of memory left. What the peak rate allows does not count here: beyond that the longest queue pays,
    /// and a sparse flow's packets must not stand behind it in the TUN device.
    pub fn room_bytes(&self) -> u64 {
        (self.settings.bytes_max as u64).saturating_sub(self.memory_bytes())
    }

    pub fn stats(&self) -> FlowQueueStats {
        self.stats
    }

    /// Time since the start without the times when it stood.
    fn clock(&self, now: Instant) -> Duration {
        let now = self.frozen_since.unwrap_or(now);
        now.saturating_duration_since(self.epoch).saturating_sub(self.frozen)
    }

    fn queue_of(&mut self, flow: FlowTag) -> u16 {
        let known = self.by_tag[usize::from(flow.0)];
        if known != NONE {
            return known;
        }
        let flows_max = self.settings.flows_max.clamp(1, usize::from(NONE));
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.queues.len() < flows_max => {
                self.queues.push(Queue::default());
                (self.queues.len() - 1) as u16
            }
            None => (usize::from(flow.0) % flows_max) as u16,
        };
        self.by_tag[usize::from(flow.0)] = index;
        self.queues[usize::from(index)].tags.push(flow);
        index
    }

    /// The queue whose head goes next; its head has passed queue management.
    fn select(&mut self, now: Instant) -> Option<u16> {
        let at = self.clock(now);
        loop {
            let is_new = !self.new.is_empty();
            let index = *self.new.front().or(self.old.front())?;
            let queue = &mut self.queues[usize::from(index)];
            if queue.deficit <= if queue.is_ahead { -AHEAD_MAX } else { 0 } {
                queue.deficit += i64::from(self.settings.quantum);
                queue.is_ahead = false;
                self.unlist_front();
                self.old.push_back(index);
                continue;
            }
            self.manage(index, at);
            if !self.queues[usize::from(index)].items.is_empty() {
                return Some(index);
            }
            self.unlist_front();
            // By way of the old list, or a flow could stay new for ever and starve that (RFC 8290 4.2).
            self.queues[usize::from(index)].is_ahead = false;
            match is_new && !self.old.is_empty() {
                true => self.old.push_back(index),
                false => self.remove(index),
            }
        }
    }

    /// A sparse flow with a packet and a place in the old list: it need not wait until the bulk flow before it
    /// finds room in a window, while it owes little.
    fn get_ahead(&mut self, index: u16) {
        let queue = &mut self.queues[usize::from(index)];
        if queue.deficit <= -AHEAD_MAX {
            return;
        }
        if let Some(at) = self.old.iter().position(|&i| i == index) {
            queue.is_ahead = true;
            self.old.remove(at);
            self.new.push_back(index);
        }
    }

    /// There is no room for the packet that goes next: an urgent one that waits for its turn goes before it, a small one if
    /// there is one, as that finds room at once. False if there is none.
    pub(super) fn bring_sparse(&mut self) -> bool {
        let urgent = |index: u16| {
            self.queues[usize::from(index)].items.front().filter(|item| item.class == Class::Sparse)
        };
        let is_small = |i: &u16| urgent(*i).is_some_and(|item| item.packet.len() as u64 <= SMALL_MAX);
        let is_any = |i: &u16| urgent(*i).is_some() && self.queues[usize::from(*i)].deficit > -AHEAD_MAX;
        let lists =
            || [&self.new, &self.old].into_iter().flat_map(|list| list.iter().take(BROUGHT_MAX).copied());
        let Some(index) = lists().find(is_small).or_else(|| lists().find(is_any)) else { return false };
        for list in [&mut self.new, &mut self.old] {
            list.iter().position(|&i| i == index).and_then(|at| list.remove(at));
        }
        let queue = &mut self.queues[usize::from(index)];
        // What a call owes is forgiven: those that it passes have no room for longer than its turn.
        queue.deficit = queue.deficit.max(1 - AHEAD_MAX);
        queue.is_ahead = true;
        self.new.push_front(index);
        true
    }

    fn unlist_front(&mut self) {
        if self.new.pop_front().is_none() {
            self.old.pop_front();
        }
    }

    fn remove(&mut self, index: u16) {
        let queue = &mut self.queues[usize::from(index)];
        for tag in queue.tags.drain(..) {
            self.by_tag[usize::from(tag.0)] = NONE;
        }
        queue.is_listed = false;
        queue.codel = Codel::default();
        queue.last_ack_out = None;
        if queue.items.capacity() > KEPT_ITEMS {
            queue.items = VecDeque::new();
        }
        self.free.push(index);
    }

    /// Drops or marks at the head until CoDel is content with it.
    fn manage(&mut self, index: u16, at: Duration) {
        let bulk_bytes_max = self.bulk_bytes_max();
        let steered = u64::from(self.settings.steered_bdp_percent);
        let steered_bytes_max = bulk_bytes_max * steered / u64::from(self.settings.bulk_bdp_percent.max(1));
        loop {
            let queue = &mut self.queues[usize::from(index)];
            let Some(head) = queue.items.front_mut() else {
                queue.codel.on_good_state();
                return;
            };
            if queue.is_judged {
                return;
            }
            let (rule, bytes_max) = match queue.class {
                Some(Class::Bulk) if queue.steering == Steering::ByWindow => {
                    (self.settings.bulk, steered_bytes_max)
                }
                // A slow start doubles its queue while CoDel makes up its mind.
                Some(Class::Bulk) if queue.bytes * 3 > self.rates.total(head.flow) => {
                    let interval = self.settings.bulk_slow_start_interval;
                    (CodelSettings { interval, ..self.settings.bulk }, bulk_bytes_max)
                }
                Some(Class::Bulk) => (self.settings.bulk, bulk_bytes_max),
                // The beginning of a connection: nobody is late, and a loss here costs a second.
                _ if head.is_tcp => (self.settings.bulk, bulk_bytes_max),
                _ => (self.sparse, u64::from(self.settings.quantum)),
            };
            let sojourn = at.saturating_sub(head.queued);
            queue.is_judged = true;
            // What a TCP flow repeats waits as long as this packet did, and until then more losses only add up.
            let answer = if head.is_tcp { sojourn } else { Duration::ZERO };
            if !queue.codel.on_head(at, sojourn, queue.bytes > bytes_max, answer, rule) {
                return;
            }
            if head.is_ect {
                mark(&mut head.packet);
                self.stats.marked += 1;
                return;
            }
            self.take_head(index);
            self.stats.dropped += 1;
        }
    }

    /// What one bulk flow may hold without being asked to slow down.
    fn bulk_bytes_max(&self) -> u64 {
        let bdp = self.peak.bytes_in(self.base_rtt.max(self.settings.bulk_rtt_min));
        (bdp * u64::from(self.settings.bulk_bdp_percent) / 100 / self.flows())
            .max(self.settings.bulk_bytes_min)
    }

    /// Flows that wait, at least one.
    pub(super) fn flows(&self) -> u64 {
        (self.old.len() + self.new.len()).max(1) as u64
    }

    fn take_head(&mut self, index: u16) -> Option<Item> {
        let queue = &mut self.queues[usize::from(index)];
        let item = queue.items.pop_front()?;
        queue.is_judged = false;
        self.account_gone(index, item.packet.len());
        Some(item)
    }

    fn account_gone(&mut self, index: u16, bytes: usize) {
        self.queues[usize::from(index)].bytes -= bytes as u64;
        self.stats.queue_packets -= 1;
        self.stats.queue_bytes -= bytes as u64;
    }

    fn thin(&mut self, index: u16, at: Duration) {
        let Some(after) = self.settings.thin_acks_after else { return };
        for _ in 0..THINNED_PER_PUSH {
            let queue = &mut self.queues[usize::from(index)];
            let look = |item: &Item| (item.ack, at.saturating_sub(item.queued));
            let found = needless(&queue.items, look, after, queue.last_ack_out);
            let Some(gone) = found.and_then(|i| queue.items.remove(i)) else { return };
            self.account_gone(index, gone.packet.len());
            self.stats.thinned += 1;
        }
    }

    fn memory_bytes(&self) -> u64 {
        self.stats.queue_bytes + self.stats.queue_packets * PACKET_COST
    }

    fn sojourn_bytes_max(&self) -> u64 {
        self.peak.bytes_in(self.settings.sojourn_max).max(self.settings.sojourn_bytes_min)
    }

    fn is_over(&self) -> bool {
        self.stats.queue_bytes > self.sojourn_bytes_max()
            || self.memory_bytes() > self.settings.bytes_max as u64
    }

    /// Drops the head of the longest queue.
    fn overflow(&mut self) -> Option<()> {
        let hint = self.queues.get(usize::from(self.longest)).map_or(0, |q| q.bytes);
        if hint * 2 <= self.stats.queue_bytes {
            let longest = self.queues.iter().enumerate().max_by_key(|(_, q)| q.bytes)?;
            self.longest = longest.0 as u16;
        }
        self.take_head(self.longest)?;
        self.stats.overflowed += 1;
        Some(())
    }
}

/// Sets CE; copies the packet first if somebody else holds it, too.
fn mark(packet: &mut Packet) {
    if let Some(bytes) = Arc::get_mut(&mut packet.bytes) {
        mark_ce(bytes);
        return;
    }
    let mut copy = packet.bytes.to_vec();
    mark_ce(&mut copy);
    packet.bytes = Arc::from(copy);
}

/// No queue.
const NONE: u16 = u16::MAX;
/// Bytes that a sparse flow may owe to those whose turn it takes: four turns, 100 ms of a call with video.
const AHEAD_MAX: i64 = 6_000;
/// Full packets that a sparse flow's may wait for on a thin link, and how long at most. Guesses: with 15 ms alone, calls beside a
/// download on what a cut link had left lost 32 packets in one of 95 random sets, 8 in others; 4 with this.
const FEW: u64 = 4;
const FEW_MAX: Duration = Duration::from_millis(200);
/// Queues of each list that are looked at for an urgent packet, each time there is no room for others. A guess.
const BROUGHT_MAX: usize = 64;
/// Bytes of memory a waiting packet takes beside its own (its `Item`, the `Arc`, the allocator).
const PACKET_COST: u64 = 160;
/// Room for packets that an unused queue keeps.
const KEPT_ITEMS: usize = 64;
/// More than one, so that acknowledgements become fewer while they come one by one.
const THINNED_PER_PUSH: usize = 2;

#[cfg(test)]
mod tests {
    use super::super::classify::{tests as make, Classifier};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sparse_packet_passes_a_bulk_queue_at_once() {
        let mut q = Bench::new(FlowQueueSettings::default());
        (0..200).for_each(|_| q.push(0, &make::tcp4(1, 2, 16, 0, &[], 1400)));
        (0..20).for_each(|_| _ = q.pop(1));
        q.push(1, &make::udp4(5, 53, 60));
        let head = q.queues.peek(q.at(1)).unwrap();
        assert_eq!((head.class, head.stage, head.len), (Class::Sparse, Stage::None, 88));
        assert_eq!(q.pop(1).unwrap().packet.len(), 88);
        assert_eq!(q.pop(1).unwrap().class, Class::Bulk);
    }

    #[test]
    fn two_bulk_flows_take_turns() {
        let mut q = Bench::new(FlowQueueSettings::default());
        for port in [1, 9] {
            (0..50).for_each(|_| q.push(0, &make::tcp4(port, 2, 16, 0, &[], 1400)));
        }
        let first: Vec<FlowTag> = (0..40).map(|_| q.pop(1).unwrap().flow).collect();
        let of_first = first.iter().filter(|&&t| t == first[0]).count();
        assert!((18..=22).contains(&of_first), "{of_first}");
    }

    #[test]
    fn a_bulk_flow_keeps_what_it_needs_at_the_next_peak() {
        let mut q = Bench::new(FlowQueueSettings::default());
        q.queues.set_drain(Rate(500_000), Rate(5_000_000), Duration::from_millis(60));
        // 5 MB/s x 100 ms = 500 kB; a tenth of the peak drains it: waits of 800 ms, but no drop.
        (0..280).for_each(|_| q.push(0, &make::tcp4(1, 2, 16, 0, &[], 1400)));
        (0..280).for_each(|i| _ = q.pop(i * 3));
        assert_eq!(q.queues.stats().dropped, 0);
    }

    #[test]
    fn a_bulk_flow_with_more_than_that_is_told_once_an_interval() {
        let mut q = Bench::new(FlowQueueSettings::default());
        q.queues.set_drain(Rate(1_440_000), Rate(1_440_000), Duration::from_millis(60));
        (0..250).for_each(|_| q.push(0, &make::tcp4(1, 2, 16, 0, &[], 1400)));
        for t in 0..800 {
            q.push(t, &make::tcp4(1, 2, 16, 0, &[], 1400));
            q.pop(t).unwrap();
        }
        let stats = q.queues.stats();
        assert!((1..=4).contains(&stats.dropped), "{stats:?}");
        assert_eq!(stats.overflowed, 0);
    }

    #[test]
    fn a_flow_that_is_told_otherwise_is_dropped_only_when_it_does_not_heed_it() {
        let rule = FlowQueueSettings::default();
        let share = |percent: u32| (144_000 * u64::from(percent) / 100 / 1_440) as usize;
        for (packets, is_dropped) in
            [(share(rule.bulk_bdp_percent) + 50, false), (share(rule.steered_bdp_percent) + 50, true)]
        {
            let mut q = Bench::new(rule.clone());
            q.steering = Steering::ByWindow;
            q.queues.set_drain(Rate(1_440_000), Rate(1_440_000), Duration::from_millis(60));
            (0..packets).for_each(|_| q.push(0, &make::tcp4(1, 2, 16, 0, &[], 1400)));
            for t in 0..800 {
                q.push(t, &make::tcp4(1, 2, 16, 0, &[], 1400));
                q.pop(t).unwrap();
            }
            assert_eq!(q.queues.stats().dropped > 0, is_dropped, "{packets}");
        }
    }

    #[test]
    fn a_flow_with_ecn_is_marked_and_not_dropped() {
        let mut q = Bench::new(FlowQueueSettings::default());
        let mut packet = make::tcp4(1, 2, 16, 0, &[], 1400);
        packet[1] = 2;
        (0..180).for_each(|_| q.push(0, &packet));
        let mut marked = 0;
        for t in 0..800 {
            q.push(t, &packet);
            marked += u64::from(q.pop(t).unwrap().packet.bytes[1] & 3 == 3);
        }
        let stats = q.queues.stats();
        assert!(stats.marked > 0 && stats.dropped == 0, "{stats:?}");
        assert_eq!(marked, stats.marked);
    }

    #[test]
    fn an_urgent_packet_is_brought_before_bulk_that_finds_no_room() {
        let mut q = Bench::new(FlowQueueSettings::default());
        assert!(!q.queues.bring_sparse());
        (0..50).for_each(|_| q.push(0, &make::tcp4(1, 2, 16, 0, &[], 1400)));
        (0..20).for_each(|_| _ = q.pop(1));
        (0..20).for_each(|_| q.push(1, &make::udp4(5, 53, 200)));
        // Its turn ends before it is empty, and the bulk flow's is next.
        while q.queues.peek(q.at(1)).unwrap().class == Class::Sparse {
            _ = q.pop(1);
        }
        for _ in 0..2 {
            assert!(q.queues.bring_sparse());
            assert_eq!(q.pop(1).unwrap().class, Class::Sparse);
        }
        // A page's full packet does not stand in a call's way.
        q.push(1, &make::tcp4(9, 2, 16, 0, &[], 1400));
        for len in [228, 228, 228] {
            assert!(q.queues.bring_sparse());
            assert_eq!(q.pop(1).unwrap().packet.len(), len);
        }
    }

    #[test]
    fn on_a_thin_link_a_call_may_wait_for_a_few_full_packets() {
        let dropped = |rate: u64| {
            let mut q = Bench::new(FlowQueueSettings::default());
            q.queues.set_drain(Rate(rate), Rate(rate), Duration::from_millis(60));
            // Each waits for 100 ms.
            (0..10).for_each(|i| q.push(i * 10, &make::udp4(5, 53, 200)));
            for i in 10..100 {
                q.push(i * 10, &make::udp4(5, 53, 200));
                _ = q.pop(i * 10);
            }
            q.queues.stats().dropped
        };
        assert!(dropped(1_000_000) > 0);
        assert_eq!(dropped(40_000), 0, "four full packets take 150 ms");
    }

    #[test]
    fn waiting_while_frozen_does_not_count() {
        let mut q = Bench::new(FlowQueueSettings::default());
        (0..100).for_each(|_| q.push(0, &make::tcp4(1, 2, 16, 0, &[], 1400)));
        q.queues.freeze(q.at(5));
        q.queues.freeze(q.at(500));
        q.queues.thaw(q.at(3000));
        (0..100).for_each(|i| assert!(q.pop(3000 + i).is_some()));
        assert_eq!(q.queues.stats().dropped, 0);
    }

    #[test]
    fn the_longest_queue_pays_for_want_of_memory() {
        let mut q = Bench::new(FlowQueueSettings { bytes_max: 100_000, ..FlowQueueSettings::default() });
        q.push(0, &make::udp4(5, 53, 60));
        (0..1000).for_each(|_| q.push(0, &make::tcp4(1, 2, 16, 0, &[], 1400)));
        assert!(q.queues.queue_bytes() <= 100_000);
        assert!(q.queues.stats().overflowed > 900);
        assert_eq!(q.pop(0).unwrap().packet.len(), 88);
    }

    #[test]
    fn waiting_acknowledgements_are_thinned() {
        let mut q = Bench::new(FlowQueueSettings::default());
        (0..200).for_each(|i| q.push(i, &make::tcp4(1, 2, 16, i as u32 * 2800, &[], 0)));
        assert!(q.queues.stats().queue_packets < 12);
        let mut last = 0;
        while let Some(out) = q.pop(200) {
            last = u32::from_be_bytes(out.packet.bytes[28..32].try_into().unwrap());
        }
        assert_eq!(last, 199 * 2800);
    }

    #[test]
    fn more_flows_than_queues_share_them_in_order() {
        let mut q = Bench::new(FlowQueueSettings { flows_max: 4, ..FlowQueueSettings::default() });
        for round in 0..3 {
            (0..500).for_each(|port| q.push(0, &make::udp4(port, 53, round)));
        }
        assert!(q.queues.queues.len() <= 4);
        let mut seen = vec![0; 1 << 16];
        for _ in 0..1500 {
            let out = q.pop(0).unwrap();
            let round = out.packet.len() - 28;
            assert!(seen[usize::from(out.flow.0)] <= round, "order within a flow");
            seen[usize::from(out.flow.0)] = round;
        }
        assert!(q.pop(0).is_none());
        assert!(q.queues.by_tag.iter().all(|&i| i == NONE));
    }

    proptest! {
        #[test]
        fn every_packet_is_popped_dropped_thinned_or_waits(
            steps in proptest::collection::vec((0u16..40, 0usize..1400, 0u64..20, 0u8..8), 1..600),
            flows_max in 1usize..50,
            bytes_max in 2_000usize..60_000,
        ) {
            let mut q = Bench::new(FlowQueueSettings { flows_max, bytes_max, ..FlowQueueSettings::default() });
            let (mut t, mut pushed, mut popped) = (0, 0u64, 0u64);
            for (port, size, wait, kind) in steps {
                t += wait;
                match kind {
                    0..=3 => q.push(t, &make::udp4(port, 2, size)),
                    4 => q.push(t, &make::tcp4(port, 2, 16, t as u32, &[], 0)),
                    _ => {
                        let head = q.queues.peek(q.at(t));
                        let out = q.pop(t);
                        prop_assert_eq!(head.map(|h| (h.flow, h.len)), out.as_ref().map(|o| (o.flow, o.packet.len())));
                        popped += u64::from(out.is_some());
                    }
                }
                pushed += u64::from(kind <= 4);
                let s = q.queues.stats();
                prop_assert_eq!(pushed, popped + s.dropped + s.thinned + s.overflowed + s.queue_packets);
                prop_assert!(q.queues.queue_bytes() <= bytes_max as u64);
                prop_assert_eq!(q.queues.queues.iter().map(|x| x.items.len() as u64).sum::<u64>(), s.queue_packets);
                prop_assert_eq!(q.queues.queues.iter().map(|x| x.bytes).sum::<u64>(), s.queue_bytes);
            }
        }
    }

    struct Bench {
        queues: FlowQueues,
        classifier: Classifier,
        steering: Steering,
        start: Instant,
    }

    impl Bench {
        fn new(settings: FlowQueueSettings) -> Bench {
            let start = Instant::now();
            let (queues, classifier) = (FlowQueues::new(start, settings), Classifier::new([1, 2]));
            Bench { queues, classifier, steering: Steering::ByLoss, start }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn push(&mut self, ms: u64, packet: &[u8]) {
            let flow = self.classifier.classify(packet).unwrap();
            self.queues.push(self.at(ms), Packet::complete(packet), &flow, self.steering);
        }

        fn pop(&mut self, ms: u64) -> Option<Queued> {
            self.queues.pop(self.at(ms))
        }
    }
}
