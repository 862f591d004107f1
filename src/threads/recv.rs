//! Thread `recv-<link>`: one channel's receiver.
//!
//! 1. wait for a train of datagrams, a little longer while many come one by one (`moderation.rs`),
//! 2. sort out handshakes (to `control`),
//! 3. open in place: what does not prove itself is counted and forgotten,
//! 4. note the number for acknowledgement,
//! 5. packets of all trains that are there go to the reorderer in one run, acknowledgements to the senders they
//!    speak to,
//! 6. give due acknowledgements of this channel to its sender, and a copy to the best other channel's; senders that are
//!    idle are served here (`send.rs`).

use super::bell::FEW;
use super::clock;
use super::moderation::Moderation;
use super::queues::{ControlQueue, Heard, SentBy, ToControl, ToReorder, ToSend, Wiring};
use super::stats::Stats;
use super::stop::{Stop, PATIENCE};
use crate::channel::receiving::Receiving;
use crate::channel::row::ReceiveRow;
use crate::crypto::aead::{OpenError, Opener};
use crate::io::poll;
use crate::io::udp::{Received, Trouble, UdpPort, Wait, RECV_BUFFER_BYTES};
use crate::tunnel::inbound::Arrival;
use crate::tunnel::session::{is_handshake, Peer};
use crate::units::{ChannelId, FlowTag, Packet, Rate, Returned};
use crate::wire::frame::Frame;
use crate::wire::header::{DataHeader, Kind};
use crate::wire::reader::Reader;
use crossbeam_channel::Receiver;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread owns.
#[derive(Debug)]
pub struct Recv {
    /// How the session machine calls who is at the other end of `port`.
    pub peer: Peer,
    pub port: Arc<UdpPort>,
    pub inbox: Receiver<ToRecv>,
    pub control: ControlQueue,
    pub stats: Arc<Stats>,
    pub stop: Stop,
}

/// To `recv-<link>`; read after each receive, so before anything that the message makes possible.
pub enum ToRecv {
    /// The channel has joined (again) with these keys.
    Joined(Box<Incoming>),
    /// The channel has left; handshakes go on.
    Left,
}

/// What a joined channel's receiver works with.
pub struct Incoming {
    pub id: ChannelId,
    pub opener: Opener,
    pub receiving: Receiving,
    pub wiring: Wiring,
}

impl Recv {
    /// Runs until the stop signal.
    pub fn run(self) {
        let mut buffer = vec![0; RECV_BUFFER_BYTES];
        let mut channel: Option<Channel> = None;
        let mut moderation = Moderation::new(clock::now());
        while !self.stop.is_set() {
            let due = channel.as_ref().and_then(|c| c.incoming.receiving.poll_timeout()).map(|(at, _)| at);
            let wait = due.map_or(PATIENCE, |at| at.saturating_duration_since(clock::now()).min(PATIENCE));
            if let Some(pause) = moderation.pause() {
                // Fails only if it was no wait at all.
                let _ = poll::wait(&[], Some(pause.min(wait)));
            }
            let received = self.port.recv(&mut buffer, Wait::AtMost(wait));
            let now = clock::now();
            for message in self.inbox.try_iter() {
                channel = match message {
                    ToRecv::Joined(incoming) => Some(Channel::new(now, *incoming, self.port.as_ref())),
                    ToRecv::Left => None,
                };
            }
            if self.stop.is_set() {
                return;
            }
            match received {
                Ok(Some(train)) => {
                    let datagrams = self.take_all(now, &mut channel, train, &mut buffer);
                    moderation.on_datagrams(now, datagrams);
                }
                Ok(None) => moderation.on_datagrams(now, 0),
                // Refused tells of one earlier datagram; anything else would be told again at once.
                Err(Trouble::Refused) => {}
                Err(_) => {
                    self.pause(&mut channel);
                    continue;
                }
            }
            if let Some(channel) = &mut channel {
                channel.flush();
            }
        }
    }

    /// Waits for a message instead of the broken socket.
    fn pause(&self, channel: &mut Option<Channel>) {
        if let Ok(message) = self.inbox.recv_timeout(PAUSE) {
            *channel = match message {
                ToRecv::Joined(incoming) => Some(Channel::new(clock::now(), *incoming, self.port.as_ref())),
                ToRecv::Left => None,
            };
        }
    }

    /// Takes this train and those that are behind it already, up to a run's length.
    fn take_all(
        &self,
        now: Instant,
        channel: &mut Option<Channel>,
        train: Received,
        buffer: &mut [u8],
    ) -> u32 {
        let mut next = Some(train);
        let mut datagrams = 0;
        while let Some(train) = next {
            for datagram in train.segments(buffer) {
                datagrams += 1;
                if is_handshake(datagram) {
                    let from = match self.peer {
                        // A socket may hear others between its binding and its connecting.
                        Peer::Address(_) => Peer::Address(train.from),
                        channel => channel,
                    };
                    let heard = Heard { from, to: train.to, bytes: datagram.to_vec() };
                    self.control.send(&self.stats, ToControl::Datagram(heard));
                } else if let Some(channel) = channel {
                    channel.take(now, datagram);
                }
            }
            next = match datagrams < RUN_MAX {
                true => self.port.recv(buffer, Wait::No).unwrap_or(None),
                false => None,
            };
        }
        datagrams
    }
}

/// A joined channel's receiving half.
struct Channel {
    incoming: Incoming,
    /// IP and UDP header of each datagram.
    outer: u32,
    run: Vec<Arrival>,
    /// Channels whose senders were told something that nobody has seen to yet.
    told: Vec<ChannelId>,
    /// Flows whose contexts the peer has lost.
    forgotten: Vec<FlowTag>,
    row: ReceiveRow,
    published: Instant,
    meter: Meter,
}

impl Channel {
    fn new(now: Instant, incoming: Incoming, port: &UdpPort) -> Channel {
        let outer = if port.peer().is_some_and(|p| p.is_ipv6()) { 48 } else { 28 };
        let meter = Meter { began: now, bytes: 0 };
        Channel {
            incoming,
            outer,
            run: Vec::new(),
            told: Vec::new(),
            forgotten: Vec::new(),
            row: ReceiveRow::default(),
            published: now,
            meter,
        }
    }

    fn take(&mut self, now: Instant, datagram: &mut [u8]) {
        let wire_bytes = datagram.len() as u32 + self.outer;
        let opened = match self.incoming.opener.open(datagram) {
            Ok(opened) => opened,
            Err(OpenError::Replayed(_)) => return self.row.replayed += 1,
            Err(OpenError::BadTag) => return self.row.forged += 1,
            Err(OpenError::Malformed | OpenError::UnknownChannel(_)) => return self.row.malformed += 1,
        };
        self.row.packets += 1;
        self.row.bytes += u64::from(wire_bytes);
        let (kind, number) = (opened.kind, opened.number);
        let mut reader = Reader::new(opened.plain);
        let eliciting = match kind {
            Kind::Data(checksum, form, piece) => {
                let Ok(header) = DataHeader::decode(&mut reader) else { return self.row.malformed += 1 };
                let packet = Packet { bytes: Arc::from(reader.rest()), checksum };
                let DataHeader { flow, seq, sent } = header;
                self.run.push(Arrival { channel: self.incoming.id, flow, seq, sent, form, piece, packet });
                true
            }
            Kind::Control => {
                let mut eliciting = false;
                loop {
                    match Frame::decode(&mut reader) {
                        Ok(Some(frame)) => {
                            eliciting |= frame.is_ack_eliciting();
                            self.on_frame(frame);
                        }
                        Ok(None) => break eliciting,
                        Err(_) => {
                            self.row.malformed += 1;
                            break eliciting;
                        }
                    }
                }
            }
        };
        self.incoming.receiving.handle_datagram(now, number, wire_bytes, eliciting);
    }

    fn on_frame(&mut self, frame: Frame) {
        match frame {
            // One message for all of them: the queue is every session's.
            Frame::Forgotten { flow } => {
                if self.forgotten.len() < FORGOTTEN_MAX && !self.forgotten.contains(&flow) {
                    self.forgotten.push(flow);
                }
            }
            Frame::Ack(ack) => {
                let id = ChannelId(ack.channel);
                self.incoming.wiring.put_link(id, ToSend::Ack(ack));
                note(&mut self.told, id);
            }
            Frame::Abandon { flow, seq } => {
                let wiring = &self.incoming.wiring;
                wiring.reorder.try_send(ToReorder::Abandon(wiring.id, flow, seq));
            }
            // Ping asks for nothing but the acknowledgement; the session machine hears of leaving by itself.
            Frame::Ping { .. } | Frame::Close => {}
        }
    }

    /// Hands over what was gathered, and what is due.
    fn flush(&mut self) {
        let Incoming { id, receiving, wiring, .. } = &mut self.incoming;
        if self.run.len() > FEW {
            // Writing them takes its time; the senders can go on meanwhile.
            self.told.drain(..).for_each(|id| wiring.see_to(id, SentBy::Thread));
        }
        // Before the acknowledgement leaves: what comes with a context that was acknowledged finds it, unless there was
        // no room for so long that the run was dropped.
        if !self.run.is_empty() {
            let packets = self.run.len();
            let run = ToReorder::Run(wiring.id, std::mem::take(&mut self.run));
            wiring.reorder.hand_over(run, packets);
        }
        if !self.forgotten.is_empty() {
            let forgotten = std::mem::take(&mut self.forgotten);
            wiring.send_lost(forgotten.into_iter().map(Returned::Forgotten).collect());
        }
        // The writing to TUN may have taken its time, and an acknowledgement says how long it waited.
        let now = clock::now();
        if let Some(ack) = receiving.poll_ack(now) {
            wiring.put_link(*id, ToSend::Frame(Frame::Ack(ack)));
            note(&mut self.told, *id);
        }
        if let Some(ack) = receiving.poll_detour(now) {
            if let Some(other) = wiring.session.best(Some(*id)) {
                wiring.put_link(other, ToSend::Frame(Frame::Ack(ack)));
                note(&mut self.told, other);
            }
        }
        self.told.drain(..).for_each(|id| wiring.see_to(id, SentBy::Caller));
        if now.saturating_duration_since(self.published) >= PUBLISH {
            self.published = now;
            self.meter.update(now, &mut self.row);
            if let Some((_, budget)) = wiring.session.sender(*id) {
                receiving.set_budget(budget);
            }
            wiring.session.set_receive(*id, self.row.clone());
        }
    }
}

fn note(told: &mut Vec<ChannelId>, id: ChannelId) {
    if !told.contains(&id) {
        told.push(id);
    }
}

/// Rate over the last whole second.
struct Meter {
    began: Instant,
    bytes: u64,
}

impl Meter {
    fn update(&mut self, now: Instant, row: &mut ReceiveRow) {
        let over = now.saturating_duration_since(self.began);
        if over >= Duration::from_secs(1) {
            row.rate = Rate::from_bytes(row.bytes.saturating_sub(self.bytes), over);
            *self = Meter { began: now, bytes: row.bytes };
        }
    }
}

/// Datagrams of one hand-over, about; more would only wait.
const RUN_MAX: u32 = 128;
/// Flows of one hand-over; what is beyond is told of again.
const FORGOTTEN_MAX: usize = 64;
/// How often the row is published.
const PUBLISH: Duration = Duration::from_millis(100);
/// Wait after an error of the socket that is not over with the next call.
const PAUSE: Duration = Duration::from_millis(50);
