//! (skeleton: signatures are settled, bodies are being written)
use crate::channel::row::{HeldBack, SendRow};
use crate::units::*;
use std::time::Instant;

/// How packets are spread over the channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balancer {
    #[default]
    Adaptive,
    Relative,
    Prio,
    Redundant,
}

#[derive(Clone, Debug)]
pub struct OutboundSettings {
    pub balancer: Balancer,
    /// Memory the flow queues may use, bytes (default 32 MiB).
    pub queue_bytes_max: usize,
}

/// Counters for the monitor.
#[derive(Clone, Debug, Default)]
pub struct OutboundStats {
    pub packets: u64,
    pub bytes: u64,
    pub queue_packets: u64,
    pub queue_bytes: u64,
    pub aqm_dropped: u64,
    pub aqm_marked: u64,
    pub overflow_dropped: u64,
    pub acks_thinned: u64,
    pub resent: u64,
    pub copies: u64,
    pub abandoned: u64,
    pub malformed: u64,
}

pub struct Outbound {}

impl Outbound {
    pub fn new(_now: Instant, _settings: OutboundSettings) -> Outbound {
        todo!()
    }
    /// An inner packet from TUN.
    pub fn handle_packet(&mut self, _now: Instant, _packet: Packet) {
        todo!()
    }
    /// A packet that a channel lost (`Sending::poll_lost`): it goes again before anything new.
    pub fn handle_lost(&mut self, _now: Instant, _lost: Bound) {
        todo!()
    }
    /// A fresh copy of the stats table's sending halves. Channels not in it are gone.
    pub fn set_rows(&mut self, _now: Instant, _rows: &[SendRow]) {
        todo!()
    }
    /// The next run whose channel has credit. Call until `None` after every handle_*, set_rows.
    pub fn poll_run(&mut self, _now: Instant) -> Option<(ChannelId, Run)> {
        todo!()
    }
    /// A packet given up after it had got its flow sequence: tell the peer (Frame::Abandon on any channel).
    pub fn poll_abandoned(&mut self) -> Option<(FlowTag, FlowSeq)> {
        todo!()
    }
    /// Whether TUN may be read: false is back-pressure.
    pub fn has_room(&self) -> bool {
        todo!()
    }
    /// True while packets wait for credit: then the caller wants to hear of each change of the rows.
    pub fn is_waiting(&self) -> bool {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        todo!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }
    pub fn stats(&self) -> OutboundStats {
        todo!()
    }
    /// Channels held back, with the reason, for the monitor.
    pub fn held_back(&self) -> Vec<(ChannelId, HeldBack)> {
        todo!()
    }
}
