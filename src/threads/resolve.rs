//! Thread `resolve`: looks one name up, tells `control`, ends. A slow name server holds up nobody else.

use super::queues::{ControlQueue, ToControl};
use super::spawn;
use super::stats::Stats;
use crate::units::ChannelId;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// Which addresses are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    /// Whether the address is of this family.
    pub fn has(self, address: &SocketAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

/// Starts the look-up of `host` for a channel; the answer is a `ToControl::Resolved`.
pub fn start(
    id: ChannelId,
    host: String,
    port: u16,
    family: Family,
    control: ControlQueue,
    stats: Arc<Stats>,
) -> io::Result<()> {
    spawn("resolve", move || {
        let found = (host.as_str(), port).to_socket_addrs().and_then(|mut all| {
            all.find(|a| family.has(a))
                .ok_or_else(|| io::Error::other("it has no address of the link's kind"))
        });
        control.send(&stats, ToControl::Resolved(id, found));
    })?;
    Ok(())
}
