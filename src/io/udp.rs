//! UDP sockets of the channels: trains of equal datagrams in one system call, both ways.
//!
//! Not for: what is in a datagram, pacing, retries.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::io::IoFailure;

/// One UDP socket, shared in an `Arc` by a sending and a receiving thread.
#[derive(Debug)]
pub struct UdpPort {}

/// How a socket is made; start from `UdpOptions::default()`.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Link the socket is bound to (SO_BINDTODEVICE).
    pub device: Option<String>,
    /// Local address the socket is bound to.
    pub local_ip: Option<IpAddr>,
    /// Local port; 0 lets the kernel choose. With a port other than 0 the port may be shared.
    pub port: u16,
    /// SO_MARK, for policy routing.
    pub mark: Option<u32>,
    /// Wanted size of the kernel's buffers in bytes, each way.
    pub buffer_bytes: usize,
    /// UDP_SEGMENT and UDP_GRO.
    pub offload: UdpOffload,
}

/// Whether trains go through the kernel in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpOffload {
    /// Where the kernel has it and until a device refuses.
    Probe,
    /// One datagram per system call.
    Off,
}

/// Whether a receive may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Take what is there.
    No,
    /// Wait for a datagram at most this long.
    AtMost(Duration),
}

/// A train of datagrams that lies in the receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the whole train.
    pub len: usize,
    /// Bytes of each datagram; only the last may be shorter. At least 1.
    pub segment_size: usize,
    /// Who sent it; IPv4 as IPv4 on a dual-stack socket, too.
    pub from: SocketAddr,
}

impl Received {
    /// The single datagrams of the train that `recv` put into `buf`.
    pub fn segments<'b>(&self, buf: &'b mut [u8]) -> impl Iterator<Item = &'b mut [u8]> + use<'b> {
        buf[..self.len].chunks_mut(self.segment_size.max(1))
    }
}

/// Why a socket did not send or receive. None of them ends a channel by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// EMSGSIZE: larger than the path MTU the kernel knows.
    TooBig,
    /// ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL: no way there from here.
    NoRoute,
    /// ENODEV, ENXIO: the link is gone.
    NoDevice,
    /// EPERM, EACCES: a firewall or missing privilege.
    Forbidden,
    /// ECONNREFUSED: an ICMP answer to an earlier datagram; the next call works again.
    Refused,
    /// EAGAIN, ENOBUFS, ENOMEM: the link's queue is full.
    Full,
    /// Any other error number.
    Other(i32),
}

/// Room that `recv` needs: the largest train.
pub const RECV_BUFFER_BYTES: usize = 65_536;

impl Default for UdpOptions {
    fn default() -> UdpOptions {
        UdpOptions {
            device: None,
            local_ip: None,
            port: 0,
            mark: None,
            buffer_bytes: 4 << 20,
            offload: UdpOffload::Probe,
        }
    }
}

impl UdpPort {
    /// The proxy's socket: hears every datagram to `options.port` that no connected socket takes.
    ///
    /// Without `local_ip` it hears IPv4 and IPv6 (IPv4 alone where the kernel has no IPv6).
    pub fn listen(options: &UdpOptions) -> Result<UdpPort, IoFailure> {
        let _ = options;
        todo!()
    }

    /// A channel's socket, connected to `peer`: hears that peer alone.
    ///
    /// With the port of a listening socket the kernel gives it the peer's datagrams instead of the listener.
    pub fn connect(peer: SocketAddr, options: &UdpOptions) -> Result<UdpPort, IoFailure> {
        let _ = (peer, options);
        todo!()
    }

    /// Sends `bytes` as datagrams of `segment_size` (the last may be shorter), at once; never waits.
    ///
    /// `to` is the destination on a listening socket, `None` on a connected one. An error stops the
    /// train; how many datagrams left before it is not known.
    pub fn send_train(
        &self,
        bytes: &[u8],
        segment_size: usize,
        to: Option<SocketAddr>,
    ) -> Result<(), Trouble> {
        let _ = (bytes, segment_size, to);
        todo!()
    }

    /// Receives one train into `buf` (`RECV_BUFFER_BYTES`); `None` when nothing came in time.
    pub fn recv(&self, buf: &mut [u8], wait: Wait) -> Result<Option<Received>, Trouble> {
        let _ = (buf, wait);
        todo!()
    }

    /// Local address and port.
    pub fn local_addr(&self) -> Result<SocketAddr, IoFailure> {
        todo!()
    }

    /// The connected peer.
    pub fn peer(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// Path MTU the kernel knows towards the connected peer (IP packet size); `None` when not connected.
    pub fn path_mtu(&self) -> Option<u32> {
        todo!()
    }

    /// Whether trains leave in one piece (false after a device refused).
    pub fn sends_trains(&self) -> bool {
        todo!()
    }
}

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}
