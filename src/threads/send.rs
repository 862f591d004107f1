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

use super::bell::{BellInbox, FEW};
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
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a channel's sender works with.
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
        desk.open(self, sending);
        while !stop.is_set() {
            desk.turn();
        }
        if let Some(mut sender) = desk.close() {
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

    /// Puts a sender in.
    fn open(&self, own: Send, sending: Sending) {
        let train = Train::new(own.port.clone());
        let watched = clock::now();
        let (frames, usable_again, changed) = (Vec::new(), None, true);
        let sender = Sender { own, sending, train, frames, usable_again, changed, watched };
        *self.sender.lock() = Some(sender);
    }

    /// Works off what is queued, if nobody else is at it.
    pub fn work_off(&self) {
        self.inbox.work_off(|| {
            let mut sender = self.sender.try_lock()?;
            let own = sender.as_mut()?;
            Some(own.turn(TRANSMIT_FEW) < own.watched)
        });
    }

    /// Drops the sender: its thread ended without doing so.
    pub fn forget(&self) {
        self.close();
    }

    /// Takes the sender out; what comes from now on waits for the next one.
    fn close(&self) -> Option<Sender> {
        self.sender.lock().take()
    }

    /// Works off what is queued and due, then sleeps until there is more: one turn of the thread.
    fn turn(&self) {
        let mut sender = self.sender.lock();
        let Some(own) = sender.as_mut() else { return };
        let due = own.turn(TRANSMIT_MAX);
        own.watched = due;
        drop(sender);
        self.inbox.rest_until(due);
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
    /// Takes what is queued, does everything that is due, but for more than `most` datagrams; the next deadline.
    fn turn(&mut self, most: usize) -> Instant {
        let now = clock::now();
        for _ in 0..DRAIN_MAX {
            let Some(message) = self.own.desk.inbox.try_iter().next() else { break };
            self.take(now, message);
        }
        self.advance(now, most);
        let timeouts = self.sending.poll_timeout().map(|(at, _)| at).into_iter().chain(self.usable_again);
        timeouts.fold(now + PATIENCE, Instant::min)
    }

    /// Everything that is due now.
    fn advance(&mut self, now: Instant, most: usize) {
        if self.sending.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.sending.handle_timeout(now);
            self.changed = true;
        }
        if self.usable_again.is_some_and(|at| at <= now) {
            self.usable_again = None;
            self.sending.handle_link(now, true);
        }
        self.transmit(now, most);
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
            // Whoever takes it: it was rung for, and the thread looks at the stop signal then.
            ToSend::Stop => {}
        }
    }

    fn transmit(&mut self, now: Instant, most: usize) {
        let mut trouble = None;
        for _ in 0..most {
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
        self.own.wiring.session.clear_send(self.own.id);
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
/// Datagrams that one who is not the thread sends before it calls the thread: a short run, in halves.
const TRANSMIT_FEW: usize = 2 * FEW;
/// Datagrams sent before messages are taken again.
const TRANSMIT_MAX: usize = 256;
/// Datagrams of one train: the kernel's limit (UDP_MAX_SEGMENTS).
const TRAIN_MAX: usize = 64;
/// Bytes of one train, below the 65,507 of a UDP datagram.
const TRAIN_BYTES_MAX: usize = 65_000;
/// Time until a link that refused a datagram is tried again.
const RETRY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::super::bell::bell_queue;
    use super::super::desk::{Exit, ReorderQueue};
    use super::super::queues::{SentBy, WokenQueue};
    use super::super::Hub;
    use super::*;
    use crate::channel::sending::SendingSettings;
    use crate::crypto::aead::Suite;
    use crate::crypto::generation::{End, Generation};
    use crate::crypto::schedule::Chain;
    use crate::io::poll::Waker;
    use crate::io::tun::WriteReport;
    use crate::io::udp::{UdpOptions, Wait, RECV_BUFFER_BYTES};
    use crate::tunnel::session::SessionId;
    use crate::units::{Bound, Class, FlowSeq, FlowTag, Form, Packet, Piece, Reason};
    use std::net::{Ipv4Addr, SocketAddr};

    const ID: ChannelId = ChannelId(0);

    #[test]
    fn who_brings_a_short_run_sends_it() {
        let bench = Bench::new();
        bench.open();
        bench.bring(3, SentBy::Caller);
        assert_eq!(bench.heard(), 3);
    }

    #[test]
    fn who_finds_it_locked_leaves_the_run_to_the_holder() {
        let bench = Bench::new();
        bench.open();
        let desk = bench.desk();
        let held = desk.sender.lock();
        bench.bring(2, SentBy::Caller);
        assert_eq!(bench.heard(), 0);
        drop(held);
        bench.bring(1, SentBy::Caller);
        assert_eq!(bench.heard(), 3);
    }

    #[test]
    fn what_comes_while_there_is_no_sender_waits_for_the_next_one() {
        let bench = Bench::new();
        bench.bring(2, SentBy::Caller);
        bench.open();
        bench.desk().work_off();
        assert_eq!(bench.heard(), 2);
        assert!(bench.desk().close().is_some());
        bench.bring(2, SentBy::Caller);
        assert_eq!(bench.heard(), 0);
    }

    #[test]
    fn a_caller_that_leaves_something_to_do_calls_the_thread() {
        let bench = Bench::new();
        bench.open();
        if let Some(sender) = bench.desk().sender.lock().as_mut() {
            sender.watched = clock::now() + PATIENCE * 100;
        }
        bench.bring(1, SentBy::Caller);
        // What was sent has to be acknowledged some day, which is before the thread looks by itself.
        let began = clock::now();
        bench.desk().inbox.wait_until(began + PATIENCE * 100);
        assert!(clock::now() < began + PATIENCE * 50);
    }

    #[test]
    fn a_caller_does_not_send_a_long_run_of_somebody_else() {
        let bench = Bench::new();
        bench.open();
        if let Some(sender) = bench.desk().sender.lock().as_mut() {
            for n in 0..60 {
                sender.sending.handle_run(clock::now(), vec![bound(n)]);
            }
            let now = clock::now();
            sender.turn(TRANSMIT_FEW);
            assert!(sender.sending.poll_timeout().is_some_and(|(at, _)| at <= now + PATIENCE));
        }
        // And the question whether anybody is there.
        assert_eq!(bench.heard(), TRANSMIT_FEW - 1);
        bench.desk().turn();
        assert_eq!(bench.heard(), 60 - (TRANSMIT_FEW - 1));
    }

    #[test]
    fn callers_and_the_thread_send_each_packet_once() {
        let bench = Bench::new();
        let stop = Stop::default();
        let thread = std::thread::spawn({
            let (own, sending) = bench.sender(stop.clone());
            move || own.run(sending)
        });
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..60).for_each(|_| bench.bring(1, SentBy::Caller)));
            }
        });
        let mut heard = 0;
        while heard < 180 {
            let more = bench.heard();
            assert!(more > 0, "{heard} of 180");
            heard += more;
        }
        stop.set();
        bench.wiring.send_link(ID, ToSend::Stop);
        thread.join().expect("sender");
        assert_eq!((heard, bench.heard()), (180, 0));
        assert!(bench.desk().sender.lock().is_none(), "nothing keeps what it worked with");
    }

    /// One channel over loopback, whose datagrams are counted.
    struct Bench {
        wiring: Wiring,
        port: Arc<UdpPort>,
        peer: UdpPort,
    }

    impl Bench {
        fn new() -> Bench {
            let waker = Arc::new(Waker::new().expect("waker"));
            let stats = Arc::new(super::super::stats::Stats::new(1_500));
            let hub = Hub {
                stats: stats.clone(),
                stop: Stop::default(),
                tun_read: WokenQueue::new(waker.clone(), 1).0,
                reorder: ReorderQueue::new(bell_queue(1), Arc::new(Nowhere), stats),
                control: WokenQueue::new(waker, 1).0,
                epoch: clock::now(),
                hash_key: [1, 2],
            };
            let peer = UdpPort::listen(&UdpOptions::default()).expect("listen");
            let to = peer.local_addr().expect("address").port();
            let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), to);
            let port = Arc::new(UdpPort::connect(to, &UdpOptions::default()).expect("connect"));
            Bench { wiring: Wiring::new(&hub, SessionId(1), 1), port, peer }
        }

        fn desk(&self) -> Arc<SendDesk> {
            self.wiring.links[0].desk()
        }

        fn sender(&self, stop: Stop) -> (Send, Sending) {
            let chain = Chain::start(&[0; 32], &zeroize::Zeroizing::new([0; 32]));
            let keys = Generation::first(&chain, Suite::ChaCha20Poly1305, End::Router);
            let own = Send {
                id: ID,
                desk: self.desk(),
                sealer: Sealer::new(keys, 0, 0),
                port: self.port.clone(),
                wiring: self.wiring.clone(),
                stop,
            };
            let now = clock::now();
            (own, Sending::new(now, SendingSettings::new(ID, now, 60)))
        }

        /// A sender without its thread.
        fn open(&self) {
            let (own, sending) = self.sender(Stop::default());
            own.desk.clone().open(own, sending);
        }

        fn bring(&self, packets: u32, by: SentBy) {
            for n in 0..packets {
                self.wiring.put_run(ID, vec![bound(n)]).expect("room");
            }
            self.wiring.see_to(ID, by);
        }

        /// Datagrams that carry packets and came since the last call.
        fn heard(&self) -> usize {
            let mut buffer = vec![0; RECV_BUFFER_BYTES];
            let mut count = 0;
            while let Ok(Some(train)) = self.peer.recv(&mut buffer, Wait::AtMost(Duration::from_millis(50))) {
                count += train.segments(&mut buffer).filter(|d| d.len() > 400).count();
            }
            count
        }
    }

    fn bound(n: u32) -> Bound {
        Bound {
            packet: Packet::complete(&[0; 500]),
            form: Form::Whole,
            piece: Piece::All,
            flow: FlowTag(7),
            seq: FlowSeq(n),
            class: Class::Bulk,
            bound_at: clock::now(),
            reason: Reason::First,
            avoid: None,
        }
    }

    #[derive(Debug)]
    struct Nowhere;

    impl Exit for Nowhere {
        fn write_batch(&self, _: &[Packet]) -> WriteReport {
            WriteReport::default()
        }
    }
}
