//! (skeleton: signatures are settled, bodies are being written)
use crate::units::*;
use crate::wire::frame::Ack;
use std::time::Instant;

pub struct Receiving {}

impl Receiving {
    /// `id` is the channel's index, the same at both ends; `epoch` as in `SendingSettings`.
    pub fn new(_now: Instant, _id: ChannelId, _epoch: Instant) -> Receiving {
        todo!()
    }
    /// An authenticated, not replayed datagram came. `wire_bytes` counts IP and UDP headers;
    /// `eliciting` is true for data and for control datagrams with an ack-eliciting frame.
    pub fn handle_datagram(
        &mut self,
        _now: Instant,
        _number: PacketNumber,
        _wire_bytes: u32,
        _eliciting: bool,
    ) {
        todo!()
    }
    /// What the return path carries, so that feedback stays below 3 % of it.
    pub fn set_return_rate(&mut self, _rate: Rate) {
        todo!()
    }
    /// The acknowledgement to send now on this channel, if one is due.
    pub fn poll_ack(&mut self, _now: Instant) -> Option<Ack> {
        todo!()
    }
    /// A copy of the newest acknowledgement for another channel to carry (`detour` is set), if
    /// anything arrived here since the last call. At most one each 20 ms.
    pub fn poll_detour(&mut self, _now: Instant) -> Option<Ack> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        todo!()
    }
}
