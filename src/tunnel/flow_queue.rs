//! (skeleton: signatures are settled, bodies are being written)
use super::classify::Flow;
use crate::units::*;
use std::time::{Duration, Instant};

/// Target and interval of RFC 8289.
#[derive(Clone, Copy, Debug)]
pub struct CodelSettings {
    pub target: Duration,
    pub interval: Duration,
}

/// Everything that the simulator may sweep. `Default` is what won.
#[derive(Clone, Debug)]
pub struct FlowQueueSettings {
    /// Memory for all queues, bytes.
    pub bytes_max: usize,
    /// Queues at a time; flows beyond share one.
    pub flows_max: usize,
    /// Bytes a flow may send in its turn.
    pub quantum: u32,
    /// Rule for flows that keep no queue.
    pub sparse: CodelSettings,
    /// Rule for flows that do, once they have more than their share of `bulk_bdp_percent`.
    pub bulk: CodelSettings,
    /// What bulk flows may keep together: this share of peak rate x round trip.
    pub bulk_bdp_percent: u32,
    /// Shortest round trip counted in that.
    pub bulk_rtt_min: Duration,
    /// What each bulk flow may keep at least, bytes.
    pub bulk_bytes_min: u64,
    /// All queues together hold at most what the peak rate carries in this time.
    pub sojourn_max: Duration,
    /// A TCP acknowledgement that waited this long may be replaced by newer ones; `None`: never.
    pub thin_acks_after: Option<Duration>,
}

/// The packet that `pop` would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the inner packet.
    pub len: usize,
    pub class: Class,
    pub flow: FlowTag,
    pub is_tcp: bool,
}

/// A packet that leaves the queue; nothing throws it away after this.
#[derive(Clone, Debug)]
pub struct Queued {
    pub packet: Packet,
    pub flow: FlowTag,
    pub class: Class,
    pub is_tcp: bool,
    pub queued_at: Instant,
}

/// Counters since the start; the first two are of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowQueueStats {
    pub queue_packets: u64,
    pub queue_bytes: u64,
    pub dropped: u64,
    pub marked: u64,
    pub thinned: u64,
    pub overflowed: u64,
}

pub struct FlowQueues {}

impl Default for FlowQueueSettings {
    fn default() -> Self {
        todo!()
    }
}

impl FlowQueues {
    pub fn new(_now: Instant, _settings: FlowQueueSettings) -> FlowQueues {
        todo!()
    }
    /// A packet comes in; the memory bounds may push others out.
    pub fn push(&mut self, _now: Instant, _packet: Packet, _flow: &Flow) {
        todo!()
    }
    /// The packet that goes next, after queue management.
    pub fn peek(&mut self, _now: Instant) -> Option<Head> {
        todo!()
    }
    /// Takes it. The same packet as `peek` showed, if nothing was pushed meanwhile.
    pub fn pop(&mut self, _now: Instant) -> Option<Queued> {
        todo!()
    }
    /// How fast the queues are emptied (now, and highest lately) and the tunnel's round trip without queue.
    pub fn set_drain(&mut self, _now: Instant, _rate_now: Rate, _rate_peak: Rate, _base_rtt: Duration) {
        todo!()
    }
    /// No channel takes anything: waiting does not count until `thaw`. Both may be repeated.
    pub fn freeze(&mut self, _now: Instant) {
        todo!()
    }
    pub fn thaw(&mut self, _now: Instant) {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    pub fn queue_bytes(&self) -> u64 {
        todo!()
    }
    /// Bytes that may still come before the memory bound pushes packets out.
    pub fn room_bytes(&self) -> u64 {
        todo!()
    }
    pub fn stats(&self) -> FlowQueueStats {
        todo!()
    }
}
