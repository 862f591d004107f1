//! (skeleton: signatures are settled, bodies are being written)
use super::row::SendRow;
use crate::units::*;
use crate::wire::frame::{Ack, Frame};
use crate::wire::header::DataHeader;
use std::time::Instant;

#[derive(Clone, Debug)]
pub struct SendingSettings {
    pub id: ChannelId,
    /// Where this host's ticks begin; the same for all channels of the process.
    pub epoch: Instant,
    /// Wire bytes beside the inner packet: 60 over IPv4, 80 over IPv6.
    pub overhead: u32,
    /// The owner's cap, if any.
    pub rate_max: Option<Rate>,
}

/// A datagram to seal and send.
#[derive(Debug)]
pub enum Transmit {
    Data { number: PacketNumber, header: DataHeader, packet: Packet },
    Control { number: PacketNumber, frames: Vec<Frame> },
}

pub struct Sending {}

impl Sending {
    pub fn new(_now: Instant, _settings: SendingSettings) -> Sending {
        todo!()
    }
    /// Packets that the balancer bound to this channel.
    pub fn handle_run(&mut self, _now: Instant, _run: Run) {
        todo!()
    }
    /// An acknowledgement that speaks of this channel, whichever channel carried it.
    pub fn handle_ack(&mut self, _now: Instant, _ack: &Ack) {
        todo!()
    }
    /// Frames to send soon on this channel (acks of the other direction, abandons, close). Bounded; oldest ack is replaced.
    pub fn handle_frame(&mut self, _now: Instant, _frame: Frame) {
        todo!()
    }
    /// The link is gone or back (netlink, send error): down at once / probe at once.
    pub fn handle_link(&mut self, _now: Instant, _usable: bool) {
        todo!()
    }
    /// The next datagram that may leave now.
    pub fn poll_transmit(&mut self, _now: Instant) -> Option<Transmit> {
        todo!()
    }
    /// A packet that was lost or stranded here and should be bound again elsewhere.
    pub fn poll_lost(&mut self) -> Option<Bound> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        todo!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }
    pub fn row(&self, _now: Instant) -> SendRow {
        todo!()
    }
}
