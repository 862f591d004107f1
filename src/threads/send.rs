//! Thread `send-<link>`: one channel's sender.
//!
//! 1. wait for a message or the next deadline,
//! 2. take all messages that are there,
//! 3. let `Sending` choose what leaves now,
//! 4. assemble header and packet and seal in place,
//! 5. send equal datagrams as one train,
//! 6. give lost packets back to `tun-read` and publish the row.
//!
//! `Sending` decides all of it. Who brings little does 2 to 6 itself, as waking this thread takes longer than that; whoever
//! gets the lock works the queue off, and who does not leaves it to the holder, as at `desk.rs`.

use super::bell::BellInbox;
use super::clock;
use super::queues::{LinkState, ToSend, Wiring};
use super::stop::{Stop, PATIENCE};
use crate::channel::sending::{Sending, Transmit};
use crate::crypto::aead::Sealer;
use crate::io::udp::{Trouble, UdpPort};
use crate::units::{ChannelId, PacketNumber, Returned};
use crate::wire::header::{Kind, DATA_HEADER_LEN, OVERHEAD};
use parking_lot::Mutex;
use std::fmt;
use std::sync::atomic::{fence, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread owns.
#[derive(Debug)]
pub struct Send {
    pub id: ChannelId,
    pub desk: Arc<SendDesk>,
    pub sealer: Sealer,
    pub port: Arc<UdpPort>,
    pub wiring: Wiring,
    pub stop: Stop,
}

impl Send {
    /// Runs until the stop signal; then everything that is bound here goes back to be bound again.
    pub fn run(self, sending: Sending) {
        let (desk, stop) = (self.desk.clone(), self.stop.clone());
        let train = Train::new(self.port.clone());
        let watched = clock::now();
        let sender = Sender {
            own: self,
            sending,
            train,
            frames: Vec::new(),
            usable_again: None,
            changed: true,
            watched,
        };
        *desk.sender.lock() = Some(sender);
        while !stop.is_set() {
            desk.turn();
        }
        let sender = desk.sender.lock().take();
        if let Some(mut sender) = sender {
            sender.strand(clock::now());
        }
    }
}

/// One channel's sender behind a lock, and the queue before it.
pub struct SendDesk {
    inbox: BellInbox<ToSend>,
    /// None: the channel has no sender; what comes waits for the next one.
    sender: Mutex<Option<Sender>>,
}

impl SendDesk {
    /// Nobody sends yet.
    pub fn new(inbox: BellInbox<ToSend>) -> SendDesk {
        SendDesk { inbox, sender: Mutex::new(None) }
    }

    /// Works off what is queued, if nobody else is at it.
    pub fn work_off(&self) {
        for _ in 0..ROUNDS_MAX {
            // Together with the one below: of one who puts in and finds it locked and one who unlocks and finds
            // nothing, at least one sees what the other did.
            fence(Ordering::SeqCst);
            let Some(mut sender) = self.sender.try_lock() else { return };
            let Some(own) = sender.as_mut() else { return };
            let sooner = own.turn() < own.watched;
            drop(sender);
            if sooner {
                self.inbox.ring();
            }
            fence(Ordering::SeqCst);
            if self.inbox.is_empty() {
                return;
            }
        }
        self.inbox.ring();
    }

    /// Works off what is queued and due, then sleeps until there is more: one turn of the thread.
    fn turn(&self) {
        let mut sender = self.sender.lock();
        let Some(own) = sender.as_mut() else { return };
        let due = own.turn();
        own.watched = due;
        drop(sender);
        fence(Ordering::SeqCst);
        if self.inbox.is_empty() {
            self.inbox.wait_until(due);
        }
    }
}

impl fmt::Debug for SendDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendDesk").finish_non_exhaustive()
    }
}

struct Sender {
    own: Send,
    sending: Sending,
    train: Train,
    frames: Vec<u8>,
    /// When to try a link again that refused a datagram.
    usable_again: Option<Instant>,
    /// Whether the row has to be published.
    changed: bool,
    /// When the thread looks by itself.
    watched: Instant,
}

impl Sender {
    /// Takes what is queued, does everything that is due; the next deadline.
    fn turn(&mut self) -> Instant {
        let now = clock::now();
        for _ in 0..DRAIN_MAX {
            let Some(message) = self.own.desk.inbox.try_iter().next() else { break };
            self.take(now, message);
        }
        self.advance(now);
        let timeouts = self.sending.poll_timeout().map(|(at, _)| at).into_iter().chain(self.usable_again);
        timeouts.fold(now + PATIENCE, Instant::min)
    }

    /// Everything that is due now.
    fn advance(&mut self, now: Instant) {
        if self.sending.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.sending.handle_timeout(now);
            self.changed = true;
        }
        if self.usable_again.is_some_and(|at| at <= now) {
            self.usable_again = None;
            self.sending.handle_link(now, true);
        }
        self.transmit(now);
        self.give_back();
        if self.changed {
            self.changed = false;
            let told = self.own.wiring.session.set_send(self.sending.row(now));
            self.sending.set_others(told.others);
            if told.wake {
                self.own.wiring.tun_read.wake();
            }
        }
    }

    fn take(&mut self, now: Instant, message: ToSend) {
        self.changed = true;
        match message {
            ToSend::Run(run) => self.sending.handle_run(now, run),
            ToSend::Ack(ack) => self.sending.handle_ack(now, &ack),
            ToSend::Frame(frame) => self.sending.handle_frame(frame),
            ToSend::Link(state) => self.sending.handle_link(now, state == LinkState::Usable),
            // The thread looks at the stop signal as soon as it has taken what was queued.
            ToSend::Stop => {}
        }
    }

    fn transmit(&mut self, now: Instant) {
        let mut trouble = None;
        for _ in 0..TRANSMIT_MAX {
            let Some(transmit) = self.sending.poll_transmit(now) else { break };
            self.changed = true;
            let sent = match transmit {
                Transmit::Data { number, header, form, piece, packet } => {
                    let sealer = &mut self.own.sealer;
                    let kind = Kind::Data(packet.checksum, form, piece);
                    self.train.push(sealer, kind, number, packet.len() + OVERHEAD, |out| {
                        header.encode(out);
                        out.extend_from_slice(&packet.bytes);
                    })
                }
                Transmit::Control { number, frames } => {
                    self.frames.clear();
                    frames.iter().for_each(|frame| frame.encode(&mut self.frames));
                    let (sealer, frames) = (&mut self.own.sealer, &self.frames);
                    let len = frames.len() + OVERHEAD - DATA_HEADER_LEN;
                    self.train.push(sealer, Kind::Control, number, len, |out| out.extend_from_slice(frames))
                }
            };
            trouble = trouble.or(sent.err());
        }
        trouble = trouble.or(self.train.flush().err());
        if let Some(trouble) = trouble {
            self.own.wiring.stats.count(|c| c.unsent += 1);
            if matches!(trouble, Trouble::NoRoute | Trouble::NoDevice | Trouble::Forbidden) {
                self.sending.handle_link(now, false);
                self.usable_again = Some(now + RETRY);
            }
        }
    }

    fn give_back(&mut self) {
        let lost: Vec<Returned> = std::iter::from_fn(|| self.sending.poll_returned()).collect();
        if !lost.is_empty() {
            self.changed = true;
            self.own.wiring.send_lost(lost);
        }
    }

    /// Gives back what is bound to this channel: it will not leave here.
    fn strand(&mut self, now: Instant) {
        let queued = self.own.desk.inbox.try_iter().filter_map(|message| match message {
            ToSend::Run(run) => Some(run),
            _ => None,
        });
        let lost: Vec<Returned> = queued.flatten().map(Returned::Again).collect();
        if !lost.is_empty() {
            self.own.wiring.send_lost(lost);
        }
        self.sending.handle_link(now, false);
        self.give_back();
        self.own.wiring.session.clear_send(self.own.id);
        self.own.wiring.tun_read.wake();
    }
}

/// Datagrams of equal size that leave in one system call; only the last may be shorter.
struct Train {
    port: Arc<UdpPort>,
    bytes: Vec<u8>,
    segment: usize,
    count: usize,
    closed: bool,
}

impl Train {
    fn new(port: Arc<UdpPort>) -> Train {
        Train { port, bytes: Vec::with_capacity(TRAIN_BYTES_MAX), segment: 0, count: 0, closed: false }
    }

    /// Seals one datagram of `len` bytes behind the others; sends those first when it does not fit to them.
    fn push(
        &mut self,
        sealer: &mut Sealer,
        kind: Kind,
        number: PacketNumber,
        len: usize,
        plain: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Trouble> {
        let fits = !self.closed
            && len <= self.segment
            && self.count < TRAIN_MAX
            && self.bytes.len() + len <= TRAIN_BYTES_MAX;
        let sent = if self.count == 0 || fits { Ok(()) } else { self.flush() };
        let at = sealer.begin(kind, number, &mut self.bytes);
        plain(&mut self.bytes);
        sealer.finish(number, at, &mut self.bytes);
        let whole = self.bytes.len() - at;
        if self.count == 0 {
            self.segment = whole;
        }
        self.closed = whole < self.segment;
        self.count += 1;
        sent
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        if self.count == 0 {
            return Ok(());
        }
        let sent = match self.port.send_train(&self.bytes, self.segment, None) {
            // An answer to an earlier datagram: this train has not been tried.
            Err(Trouble::Refused) => self.port.send_train(&self.bytes, self.segment, None),
            other => other,
        };
        self.bytes.clear();
        self.count = 0;
        self.closed = false;
        sent
    }
}

/// Messages taken before anything is sent.
const DRAIN_MAX: usize = 64;
/// How often one who is not the thread goes on with what others brought before it calls the thread.
const ROUNDS_MAX: usize = 4;
/// Datagrams sent before messages are taken again.
const TRANSMIT_MAX: usize = 256;
/// Datagrams of one train: the kernel's limit (UDP_MAX_SEGMENTS).
const TRAIN_MAX: usize = 64;
/// Bytes of one train, below the 65,507 of a UDP datagram.
const TRAIN_BYTES_MAX: usize = 65_000;
/// Time until a link that refused a datagram is tried again.
const RETRY: Duration = Duration::from_millis(250);
