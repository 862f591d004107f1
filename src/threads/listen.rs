//! Thread `listen`: the proxy's port as strangers see it.
//!
//! 1. wait for a datagram that no channel's socket takes,
//! 2. hand it to `control`: handshakes, and sealed datagrams from an address that no channel has (the
//!    router's NAT moved it).
//!
//! Nothing is answered here.

use super::queues::{ControlQueue, Heard, ToControl};
use super::stats::Stats;
use super::stop::{Stop, PATIENCE};
use crate::io::udp::{UdpPort, Wait, RECV_BUFFER_BYTES};
use crate::tunnel::session::Peer;
use std::sync::Arc;

/// What the thread owns.
#[derive(Debug)]
pub struct Listen {
    pub port: Arc<UdpPort>,
    pub control: ControlQueue,
    pub stats: Arc<Stats>,
    pub stop: Stop,
}

impl Listen {
    /// Runs until the stop signal.
    pub fn run(self) {
        let mut buffer = vec![0; RECV_BUFFER_BYTES];
        while !self.stop.is_set() {
            // An error tells of an answer sent earlier; there is nothing to do about it.
            let Ok(Some(train)) = self.port.recv(&mut buffer, Wait::AtMost(PATIENCE)) else { continue };
            for datagram in train.segments(&mut buffer) {
                let heard = Heard { from: Peer::Address(train.from), to: train.to, bytes: datagram.to_vec() };
                if !self.control.send(&self.stats, ToControl::Datagram(heard)) {
                    self.stats.count(|c| c.limited += 1);
                }
            }
        }
    }
}
