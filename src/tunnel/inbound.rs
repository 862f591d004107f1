//! (skeleton: signatures are settled, bodies are being written)
use crate::units::*;
use std::time::{Duration, Instant};

/// An inner packet that a channel received.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub channel: ChannelId,
    pub flow: FlowTag,
    pub seq: FlowSeq,
    /// The sender's clock when it was sent.
    pub sent: Ticks,
    pub packet: Packet,
}

#[derive(Clone, Debug)]
pub struct InboundSettings {
    /// Longest that a missing packet may hold back later ones.
    pub hold_max: Duration,
    /// Bytes that may wait for missing packets, all flows together.
    pub buffer_bytes_max: usize,
}

#[derive(Clone, Debug, Default)]
pub struct InboundStats {
    pub packets: u64,
    pub bytes: u64,
    /// Delivered after later ones of their flow, because the hold had ended.
    pub late: u64,
    pub duplicates: u64,
    /// Holes given up.
    pub gaps: u64,
    pub waiting_packets: u64,
    pub waiting_bytes: u64,
    /// Longest wait of a delivered packet over the last second, and the mean, microseconds.
    pub wait_max_us: u64,
    pub wait_mean_us: u64,
}

pub struct Inbound {}

impl Inbound {
    pub fn new(_now: Instant, _settings: InboundSettings) -> Inbound {
        todo!()
    }
    pub fn handle_arrival(&mut self, _now: Instant, _arrival: Arrival) {
        todo!()
    }
    /// The sender gave this packet up.
    pub fn handle_abandon(&mut self, _now: Instant, _flow: FlowTag, _seq: FlowSeq) {
        todo!()
    }
    /// Channels that can deliver at the moment (for proof of loss).
    pub fn set_live(&mut self, _now: Instant, _live: &[ChannelId]) {
        todo!()
    }
    /// The next packet for TUN, in order.
    pub fn poll_deliver(&mut self) -> Option<Packet> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        todo!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }
    pub fn stats(&self) -> InboundStats {
        todo!()
    }
}
