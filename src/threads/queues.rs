//! The queues between the threads: who tells whom what, how much may wait, and what happens when it is full.
//!
//! Every queue is bounded. Packets wait in the flow queues, before they are bound to a channel; the queues
//! here hold what is on its way from one thread to the next within a millisecond.

use super::bell::{bell_queue, BellQueue};
use super::desk::ReorderQueue;
use super::reorder::NewInbound;
use super::send::SendDesk;
use super::stats::{SessionStats, Stats};
use super::tun_read::NewOutbound;
use super::Hub;
use crate::io::poll::Waker;
use crate::tunnel::inbound::Arrival;
use crate::tunnel::session::{Peer, SessionId};
use crate::units::{ChannelId, FlowSeq, FlowTag, Returned, Run};
use crate::wire::frame::{Ack, Frame};
use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// To `send-<link>`.
#[derive(Debug)]
pub enum ToSend {
    /// Bound by the balancer, within the channel's credit. Full: counts as lost here, is bound again.
    Run(Run),
    /// Speaks of this channel. Full: dropped, the next one says the same and more.
    Ack(Ack),
    /// To be sent. Full: dropped; acks and detours are repeated, a lost `Abandon` ends at the hold, `Forgotten` comes again
    /// with the flow's next packet.
    Frame(Frame),
    /// The link is usable, or is not.
    Link(LinkState),
    /// Look at the stop signal. Full: the thread is called all the same.
    Stop,
}

/// Whether a link can carry anything, as far as this host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Usable,
    Gone,
}

/// To `tun-read`.
#[derive(Debug)]
pub enum ToTunRead {
    Open(Box<NewOutbound>),
    Close(SessionId),
    /// Lost or stranded, to be bound again; and what became of contexts. Full: a context is taken for lost.
    Lost(SessionId, Vec<Returned>),
}

/// To `reorder`.
#[derive(Debug)]
pub enum ToReorder {
    Open(Box<NewInbound>),
    Close(SessionId),
    /// What one receive brought. Full: the receiver waits (its socket buffers), then drops and counts.
    Run(SessionId, Vec<Arrival>),
    /// Full: dropped; the hole ends at the hold.
    Abandon(SessionId, FlowTag, FlowSeq),
}

/// To `control`.
#[derive(Debug)]
pub enum ToControl {
    /// A handshake datagram, or a sealed one that reached the listening socket.
    Datagram(Heard),
    /// What a name of the config stands for.
    Resolved(ChannelId, std::io::Result<SocketAddr>),
}

/// A datagram for the session machine.
#[derive(Debug)]
pub struct Heard {
    pub from: Peer,
    /// Own address it was sent to, where the socket hears several.
    pub to: Option<IpAddr>,
    pub bytes: Vec<u8>,
}

/// The way to a thread that waits for descriptors: a bounded queue and a waker.
#[derive(Debug)]
pub struct WokenQueue<T> {
    queue: Sender<T>,
    waker: Arc<Waker>,
}

/// The way into `tun-read`. Full: dropped; lost packets are then lost for good, the inner TCP repeats them.
pub type TunReadQueue = WokenQueue<ToTunRead>;
/// The way into `control`. Full: dropped, handshakes are repeated.
pub type ControlQueue = WokenQueue<ToControl>;

impl<T> WokenQueue<T> {
    /// A queue for `size` messages; `waker` is what the thread at its end waits for.
    pub fn new(waker: Arc<Waker>, size: usize) -> (WokenQueue<T>, Receiver<T>) {
        let (queue, inbox) = bounded(size);
        (WokenQueue { queue, waker }, inbox)
    }

    /// Hands a message over without waiting; when the queue is full it is dropped and counted: false.
    pub fn send(&self, stats: &Stats, message: T) -> bool {
        let sent = self.queue.try_send(message);
        let taken = sent.is_ok();
        count_full(stats, sent);
        self.waker.wake();
        taken
    }

    /// Hands over what must not be lost; waits for room up to a second (only `control` may).
    pub fn send_patiently(&self, stats: &Stats, message: T) {
        self.waker.wake();
        if self.queue.send_timeout(message, PATIENCE_MAX).is_err() {
            stats.count(|c| c.queue_full += 1);
        }
        self.waker.wake();
    }

    /// There is something to look at.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

impl<T> Clone for WokenQueue<T> {
    fn clone(&self) -> WokenQueue<T> {
        WokenQueue { queue: self.queue.clone(), waker: self.waker.clone() }
    }
}

/// Everything that a thread of one session needs to reach the others; cheap to clone.
#[derive(Clone, Debug)]
pub struct Wiring {
    pub id: SessionId,
    pub session: Arc<SessionStats>,
    pub stats: Arc<Stats>,
    pub tun_read: TunReadQueue,
    pub reorder: ReorderQueue,
    /// By channel index. They exist as long as the session, whether the channel has a sender or not.
    pub links: Arc<[LinkQueue]>,
}

/// Who sends what is queued for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentBy {
    /// Who asks for it: for a few packets.
    Caller,
    Thread,
}

/// One channel's way to its sender.
#[derive(Clone, Debug)]
pub struct LinkQueue {
    queue: BellQueue<ToSend>,
    desk: Arc<SendDesk>,
}

impl LinkQueue {
    fn new() -> LinkQueue {
        let (queue, inbox) = bell_queue(LINK_MAX);
        LinkQueue { queue, desk: Arc::new(SendDesk::new(inbox)) }
    }

    /// Hands a message over without waiting; when the queue is full it is dropped and counted.
    pub fn send(&self, stats: &Stats, message: ToSend) {
        count_full(stats, self.queue.try_send(message));
    }

    /// Where the sender works; a new thread goes on where the last one stopped.
    pub fn desk(&self) -> Arc<SendDesk> {
        self.desk.clone()
    }
}

impl Wiring {
    /// The queues of `channels` channels.
    pub fn new(hub: &Hub, id: SessionId, channels: usize) -> Wiring {
        Wiring {
            id,
            session: Arc::new(SessionStats::new(channels)),
            stats: hub.stats.clone(),
            tun_read: hub.tun_read.clone(),
            reorder: hub.reorder.clone(),
            links: (0..channels).map(|_| LinkQueue::new()).collect(),
        }
    }

    /// Hands a message to a channel's sender, without waiting; when the queue is full or the channel
    /// unknown it is dropped and counted.
    pub fn send_link(&self, id: ChannelId, message: ToSend) {
        match self.links.get(usize::from(id.0)) {
            Some(link) => link.send(&self.stats, message),
            None => self.stats.count(|c| c.queue_full += 1),
        }
    }

    /// As `send_link`, but the sender hears of it by `see_to`.
    pub fn put_link(&self, id: ChannelId, message: ToSend) {
        match self.links.get(usize::from(id.0)) {
            Some(link) => count_full(&self.stats, link.queue.put(message)),
            None => self.stats.count(|c| c.queue_full += 1),
        }
    }

    /// Sends what is queued for a channel: here and now, or by its thread.
    pub fn see_to(&self, id: ChannelId, by: SentBy) {
        if let Some(link) = self.links.get(usize::from(id.0)) {
            match by {
                SentBy::Caller => link.desk.work_off(),
                SentBy::Thread => link.queue.ring(),
            }
        }
    }

    /// Drops a channel's sender, whose thread is gone.
    pub fn forget_sender(&self, id: ChannelId) {
        if let Some(link) = self.links.get(usize::from(id.0)) {
            link.desk.forget();
        }
    }

    /// Hands a run to a channel's sender, who hears of it by `see_to`; gives it back when there is no room.
    pub fn put_run(&self, id: ChannelId, run: Run) -> Result<(), Run> {
        let Some(link) = self.links.get(usize::from(id.0)) else { return Err(run) };
        match link.queue.put(ToSend::Run(run)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(ToSend::Run(run)) | TrySendError::Disconnected(ToSend::Run(run))) => {
                Err(run)
            }
            Err(_) => Ok(()),
        }
    }

    /// Hands `reorder` what must not be lost; waits for room up to a second (only `control` may).
    pub fn send_reorder(&self, message: ToReorder) {
        if !self.reorder.send_patiently(message, PATIENCE_MAX) {
            self.stats.count(|c| c.queue_full += 1);
        }
    }

    /// Gives packets back to be bound again.
    pub fn send_lost(&self, lost: Vec<Returned>) {
        self.tun_read.send(&self.stats, ToTunRead::Lost(self.id, lost));
    }
}

/// Counts a message that found its queue full.
pub fn count_full<T>(stats: &Stats, sent: Result<(), TrySendError<T>>) {
    if let Err(TrySendError::Full(_)) = sent {
        stats.count(|c| c.queue_full += 1);
    }
}

/// Messages that may wait for one sender: acknowledgements come every 5 ms or 2 full packets.
const LINK_MAX: usize = 256;
/// Messages that may wait for `tun-read`.
pub const TUN_READ_MAX: usize = 512;
/// Messages that may wait for `control`.
pub const CONTROL_MAX: usize = 128;
/// Runs that may wait for `reorder`.
pub const REORDER_MAX: usize = 128;
/// Longest wait of `control` for room in a queue.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let stats = Stats::new(1440);
        let (queue, inbox) = WokenQueue::new(Arc::new(Waker::new().unwrap()), 2);
        assert!(queue.send(&stats, 1) && queue.send(&stats, 2));
        assert!(!queue.send(&stats, 3));
        assert_eq!(stats.process().queue_full, 1);
        assert_eq!(inbox.try_iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_run_that_finds_no_room_comes_back() {
        let wiring = wiring(1);
        for _ in 0..LINK_MAX {
            assert!(wiring.put_run(ChannelId(0), Vec::new()).is_ok());
        }
        assert!(wiring.put_run(ChannelId(0), Vec::new()).is_err());
        assert!(wiring.put_run(ChannelId(1), Vec::new()).is_err(), "there is no second channel");
        wiring.send_link(ChannelId(9), ToSend::Stop);
        assert_eq!(wiring.stats.process().queue_full, 1);
    }

    fn wiring(channels: usize) -> Wiring {
        let waker = Arc::new(Waker::new().unwrap());
        let (tun_read, _) = WokenQueue::new(waker.clone(), 1);
        let (control, _) = WokenQueue::new(waker, 1);
        let stats = Arc::new(Stats::new(1440));
        let reorder = ReorderQueue::new(bell_queue(1), Arc::new(Nowhere), stats.clone());
        let hub = Hub {
            stats,
            stop: super::super::stop::Stop::default(),
            tun_read,
            reorder,
            control,
            epoch: super::super::clock::now(),
            hash_key: [1, 2],
        };
        Wiring::new(&hub, SessionId(7), channels)
    }

    #[derive(Debug)]
    struct Nowhere;

    impl super::super::desk::Exit for Nowhere {
        fn write_batch(&self, _: &[crate::units::Packet]) -> crate::io::tun::WriteReport {
            Default::default()
        }
    }
}
