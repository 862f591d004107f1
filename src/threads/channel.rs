//! The two threads of one channel, as `control` holds them.
//!
//! A channel has a socket and a receiver from the start (handshakes come over it) and a sender from the
//! time it has joined. When it joins again the receiver gets new keys and the sender is replaced.

use super::clock;
use super::queues::{ToSend, Wiring};
use super::recv::{Incoming, Recv, ToRecv};
use super::send::Send;
use super::stop::Stop;
use super::{spawn, Hub};
use crate::channel::receiving::Receiving;
use crate::channel::sending::{Sending, SendingSettings};
use crate::crypto::aead::{Opener, Sealer};
use crate::io::tun::Offload;
use crate::io::udp::{UdpOffload, UdpPort};
use crate::tunnel::session::Peer;
use crate::units::{ChannelId, Rate};
use crossbeam_channel::{bounded, Sender};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// One channel's socket and threads; dropping it ends them.
#[derive(Debug)]
pub struct Channel {
    pub id: ChannelId,
    pub port: Arc<UdpPort>,
    name: String,
    stop: Stop,
    to_recv: Sender<ToRecv>,
    sender: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: Stop,
    wiring: Wiring,
    thread: JoinHandle<()>,
}

/// What the session machine gave a channel.
#[derive(Debug)]
pub struct Keys {
    pub sealer: Sealer,
    pub opener: Opener,
}

impl Channel {
    /// Starts the receiver on `port`; `name` ends the threads' names.
    pub fn open(hub: &Hub, id: ChannelId, name: &str, peer: Peer, port: Arc<UdpPort>) -> io::Result<Channel> {
        let (to_recv, inbox) = bounded(TO_RECV_MAX);
        let stop = Stop::default();
        let recv = Recv {
            peer,
            port: port.clone(),
            inbox,
            control: hub.control.clone(),
            stats: hub.stats.clone(),
            stop: stop.clone(),
        };
        spawn(&format!("recv-{name}"), move || recv.run())?;
        Ok(Channel { id, port, name: name.to_owned(), stop, to_recv, sender: None })
    }

    /// Gives the receiver new keys and starts a sender in place of the old one.
    pub fn join(&mut self, hub: &Hub, wiring: &Wiring, keys: Keys, rate_max: Option<Rate>) -> io::Result<()> {
        self.end_sender();
        let now = clock::now();
        let overhead = if self.port.peer().is_some_and(|p| p.is_ipv6()) { OVERHEAD_V6 } else { OVERHEAD_V4 };
        let receiving = Receiving::new(now, self.id, hub.epoch);
        let incoming = Incoming { id: self.id, opener: keys.opener, receiving, wiring: wiring.clone() };
        if self.to_recv.try_send(ToRecv::Joined(Box::new(incoming))).is_err() {
            return Err(io::Error::other("the receiver has not taken earlier messages"));
        }
        let Some(link) = wiring.links.get(usize::from(self.id.0)) else {
            return Err(io::Error::other("the channel's number is above the limit"));
        };
        let stop = Stop::default();
        let send = Send {
            id: self.id,
            desk: link.desk(),
            sealer: keys.sealer,
            port: self.port.clone(),
            wiring: wiring.clone(),
            stop: stop.clone(),
        };
        let settings = SendingSettings { rate_max, ..SendingSettings::new(self.id, hub.epoch, overhead) };
        let sending = Sending::new(now, settings);
        let thread = spawn(&format!("send-{}", self.name), move || send.run(sending))?;
        self.sender = Some(Running { stop, wiring: wiring.clone(), thread });
        Ok(())
    }

    /// The session is over; the socket stays for the next one.
    pub fn leave(&mut self) {
        self.end_sender();
        // Full means that it has not read its keys either and has nothing to leave.
        let _ = self.to_recv.try_send(ToRecv::Left);
    }

    /// Whether the channel has joined.
    pub fn has_joined(&self) -> bool {
        self.sender.is_some()
    }

    /// How the threads are named, without their first part.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wiring of the session that the channel has joined.
    pub fn wiring(&self) -> Option<&Wiring> {
        self.sender.as_ref().map(|s| &s.wiring)
    }

    /// Ends the sender and waits for it, some milliseconds at most as neither it nor who sends in its place blocks: its number spaces and
    /// its queue are then free for the next one.
    fn end_sender(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.stop.set();
            sender.wiring.send_link(self.id, ToSend::Stop);
            if sender.thread.join().is_err() {
                log::error!("the sender of {} has panicked", self.name);
                sender.wiring.forget_sender(self.id);
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.stop.set();
        self.end_sender();
    }
}

/// The config has one switch for both kinds of segmentation offload.
pub fn udp_offload(offload: Offload) -> UdpOffload {
    match offload {
        Offload::Probe => UdpOffload::Probe,
        Offload::Off => UdpOffload::Off,
    }
}

/// Messages that may wait for a receiver: it reads them at each datagram and each 150 ms.
const TO_RECV_MAX: usize = 16;
/// Bytes on the wire beside an inner packet: IP 20 or 40, UDP 8, ours 32.
pub const OVERHEAD_V4: u32 = 60;
/// See [`OVERHEAD_V4`].
pub const OVERHEAD_V6: u32 = 80;
