//! UDP sockets of the channels: trains of equal datagrams in one system call, both ways.
//!
//! Not for: what is in a datagram, pacing, retries.
//!
//! Way of a train out: 1. cut into pieces the kernel takes (64 segments, 65,000 bytes), 2. one sendmsg
//! each with UDP_SEGMENT, 3. where the device refuses, datagram by datagram from then on. Way in:
//! 1. recvmsg with room for the largest train, 2. UDP_GRO tells the size of its datagrams.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{debug, info};
use socket2::{Domain, Protocol, Socket, Type};

use crate::io::control::{self, Control};
use crate::io::{sys, IoFailure};

/// One UDP socket, shared in an `Arc` by a receiving thread and whoever sends.
#[derive(Debug)]
pub struct UdpPort {
    socket: Socket,
    is_v6: bool,
    peer: Option<SocketAddr>,
    sends_trains: AtomicBool,
}

/// How a socket is made; start from `UdpOptions::default()`.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Link the socket is bound to (SO_BINDTODEVICE).
    pub device: Option<String>,
    /// Local address the socket is bound to.
    pub local_ip: Option<IpAddr>,
    /// Local port; 0 lets the kernel choose. With a port other than 0 the port may be shared by
    /// sockets of the same user.
    pub port: u16,
    /// SO_MARK, for policy routing.
    pub mark: Option<u32>,
    /// Wanted size of the kernel's buffers in bytes, each way; less without CAP_NET_ADMIN.
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
    /// Who sent it; IPv4 as IPv4 on a dual-stack socket, too. A connected socket may have caught a
    /// datagram of somebody else between its binding and its connecting.
    pub from: SocketAddr,
    /// The own address it was sent to; known on a listening socket. The answer must come from there.
    pub to: Option<IpAddr>,
}

impl Received {
    /// The single datagrams of the train that `recv` put into `buf`.
    pub fn segments<'b>(&self, buf: &'b mut [u8]) -> impl Iterator<Item = &'b mut [u8]> + use<'b> {
        let len = self.len.min(buf.len());
        buf[..len].chunks_mut(self.segment_size.max(1))
    }
}

/// Why a socket did not send or receive. None of them ends a channel by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// EMSGSIZE: larger than the MTU of the link, or an ICMP answer to an earlier datagram said so.
    TooBig,
    /// ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL, EINVAL: no way there from here, or the
    /// socket's own address is not there any longer (make a new socket).
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
    /// Without `local_ip` it hears IPv4 and IPv6 (IPv4 alone where the kernel has no IPv6). Fails when
    /// another socket, even a sharing one, has the port.
    pub fn listen(options: &UdpOptions) -> Result<UdpPort, IoFailure> {
        let what = |e| listen_failure(options, e);
        if options.port != 0 {
            // A second proxy would share the port silently; a socket that does not share finds out.
            let alone = UdpOptions { device: None, mark: None, buffer_bytes: 0, ..options.clone() };
            open_any(&alone, Sharing::Alone).map_err(what)?;
        }
        let port = open_any(options, Sharing::Shared).map_err(what)?;
        let told = if port.is_v6 {
            sys::set_option(port.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
        } else {
            sys::set_option(port.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
        };
        told.map_err(what)?;
        Ok(port)
    }

    /// A channel's socket, connected to `peer`: hears that peer alone.
    ///
    /// With the port of a listening socket the kernel gives it the peer's datagrams instead of the
    /// listener. Fails when there is no route (yet) or no such link.
    pub fn connect(peer: SocketAddr, options: &UdpOptions) -> Result<UdpPort, IoFailure> {
        let what = |e| connect_failure(peer, options, e);
        let any =
            if peer.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let local = options.local_ip.unwrap_or(any);
        let mut port = open(local, options, Sharing::Shared).map_err(what)?;
        port.socket.connect(&peer.into()).map_err(what)?;
        port.peer = Some(peer);
        Ok(port)
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
        self.send_pieces(bytes, segment_size, to, None)
    }

    /// As `send_train` to `to`, from the own address `from` that a datagram had been sent to.
    pub fn send_answer(&self, bytes: &[u8], to: SocketAddr, from: IpAddr) -> Result<(), Trouble> {
        self.send_pieces(bytes, bytes.len(), Some(to), Some(from))
    }

    /// Receives one train into `buf` (`RECV_BUFFER_BYTES`); `None` when nothing came in time.
    pub fn recv(&self, buf: &mut [u8], wait: Wait) -> Result<Option<Received>, Trouble> {
        let first = self.recv_now(buf)?;
        match wait {
            Wait::AtMost(time) if first.is_none() => {
                sys::poll_readable(&[self.as_fd()], Some(time)).map_err(|e| Trouble::of(&e))?;
                self.recv_now(buf)
            }
            _ => Ok(first),
        }
    }

    /// Local address and port.
    pub fn local_addr(&self) -> Result<SocketAddr, IoFailure> {
        let address =
            self.socket.local_addr().map_err(|e| IoFailure::new("cannot read a socket's address", e))?;
        let none = || IoFailure::new("cannot read a socket's address", io::ErrorKind::Unsupported.into());
        address.as_socket().map(canonical).ok_or_else(none)
    }

    /// The connected peer.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Path MTU the kernel knows towards the connected peer (IP packet size); `None` when not connected.
    pub fn path_mtu(&self) -> Option<u32> {
        self.peer?;
        let (level, name) =
            if self.is_v6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
        sys::option(self.as_fd(), level, name).ok().and_then(|mtu| u32::try_from(mtu).ok())
    }

    /// Whether trains leave in one piece (false after a device refused).
    pub fn sends_trains(&self) -> bool {
        self.sends_trains.load(Ordering::Relaxed)
    }

    fn send_pieces(
        &self,
        bytes: &[u8],
        segment_size: usize,
        to: Option<SocketAddr>,
        from: Option<IpAddr>,
    ) -> Result<(), Trouble> {
        let size = segment_size.clamp(1, MAX_TRAIN_BYTES);
        let to = to.map(|to| if self.is_v6 { mapped(to) } else { to });
        let mut source = Control::new();
        if let Some(from) = from {
            source.push_source(from, self.is_v6);
        }
        for piece in bytes.chunks(size * (MAX_TRAIN_BYTES / size).clamp(1, MAX_SEGMENTS)) {
            if piece.len() > size && self.sends_trains() {
                let mut control = source;
                control.push_segment_size(size as u16);
                match self.send_one(piece, to.as_ref(), &control) {
                    Err(error) if is_refusal(&error) => {
                        self.send_singly(piece, size, to.as_ref(), &source)?;
                        // Single datagrams pass, so it was the train that the device did not like.
                        info!("UDP trains switched off towards {:?}: {error}", to.or(self.peer));
                        self.sends_trains.store(false, Ordering::Relaxed);
                    }
                    other => other.map_err(|e| Trouble::of(&e))?,
                }
            } else {
                self.send_singly(piece, size, to.as_ref(), &source)?;
            }
        }
        Ok(())
    }

    fn send_singly(
        &self,
        bytes: &[u8],
        size: usize,
        to: Option<&SocketAddr>,
        source: &Control,
    ) -> Result<(), Trouble> {
        for datagram in bytes.chunks(size) {
            self.send_one(datagram, to, source).map_err(|e| Trouble::of(&e))?;
        }
        Ok(())
    }

    fn send_one(&self, bytes: &[u8], to: Option<&SocketAddr>, control: &Control) -> io::Result<()> {
        let send = || sys::send_message(self.as_fd(), bytes, to, control.bytes()).map(drop);
        match send() {
            // The word of an earlier datagram; it was told instead of sending this one.
            Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => send(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => send(),
            other => other,
        }
    }

    fn recv_now(&self, buf: &mut [u8]) -> Result<Option<Received>, Trouble> {
        let mut control_bytes = [0u8; 128];
        let message = match sys::receive_message(self.as_fd(), buf, &mut control_bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            other => other.map_err(|e| Trouble::of(&e))?,
        };
        let Some(from) = message.from.or(self.peer) else { return Ok(None) };
        let told = control::read(&control_bytes[..message.control_len]);
        let segment_size = told.segment_size.unwrap_or(message.len).max(1);
        let to = told.to.map(|ip| ip.to_canonical());
        Ok(Some(Received { len: message.len, segment_size, from: canonical(from), to }))
    }
}

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Trouble {
    /// What an error of the socket means.
    pub fn of(error: &io::Error) -> Trouble {
        match error.raw_os_error().unwrap_or(0) {
            libc::EMSGSIZE => Trouble::TooBig,
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL | libc::EINVAL => {
                Trouble::NoRoute
            }
            libc::ENODEV | libc::ENXIO => Trouble::NoDevice,
            libc::EPERM | libc::EACCES => Trouble::Forbidden,
            libc::ECONNREFUSED => Trouble::Refused,
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Trouble::Full,
            other => Trouble::Other(other),
        }
    }
}

/// Whether other sockets of this process may have the same port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Shared,
}

fn open_any(options: &UdpOptions, sharing: Sharing) -> io::Result<UdpPort> {
    if let Some(ip) = options.local_ip {
        return open(ip, options, sharing);
    }
    open(Ipv6Addr::UNSPECIFIED.into(), options, sharing).or_else(|error| match error.raw_os_error() {
        // No IPv6 in this kernel, or switched off.
        Some(libc::EAFNOSUPPORT) | Some(libc::EADDRNOTAVAIL) => {
            open(Ipv4Addr::UNSPECIFIED.into(), options, sharing)
        }
        _ => Err(error),
    })
}

fn open(local: IpAddr, options: &UdpOptions, sharing: Sharing) -> io::Result<UdpPort> {
    let is_v6 = local.is_ipv6();
    let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if is_v6 {
        socket.set_only_v6(options.local_ip.is_some())?;
    }
    if let Some(device) = &options.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    if options.port != 0 && sharing == Sharing::Shared {
        socket.set_reuse_port(true)?;
    }
    set_buffers(&socket, options.buffer_bytes);
    forbid_fragments(&socket, is_v6)?;
    socket.bind(&SocketAddr::new(local, options.port).into())?;
    let offload = options.offload == UdpOffload::Probe;
    let sends_trains = offload && sys::set_option(socket.as_fd(), SOL_UDP, control::UDP_SEGMENT, 0).is_ok();
    if offload {
        let heard = sys::set_option(socket.as_fd(), SOL_UDP, control::UDP_GRO, 1);
        debug!("UDP offloads: sends trains {sends_trains}, receives trains {heard:?}");
    }
    Ok(UdpPort { socket, is_v6, peer: None, sends_trains: AtomicBool::new(sends_trains) })
}

/// As large as asked for where the process may, else as large as the system's limit.
fn set_buffers(socket: &Socket, bytes: usize) {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX);
    for (forced, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        let set = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, forced, value)
            .or_else(|_| sys::set_option(socket.as_fd(), libc::SOL_SOCKET, plain, value));
        if let Err(error) = set {
            debug!("a socket keeps its standard buffer: {error}");
        }
    }
}

/// Sets the don't-fragment bit and leaves the finding of the path MTU to us (RFC 8899).
fn forbid_fragments(socket: &Socket, is_v6: bool) -> io::Result<()> {
    let fd = socket.as_fd();
    let v4 = sys::set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE);
    if !is_v6 {
        return v4;
    }
    // Without IPv4 in the kernel the first fails, and nothing is lost.
    debug!("IP_MTU_DISCOVER on IPv6: {v4:?}");
    sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
    sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)
}

/// Errors that a device or kernel without segmentation gives to a train.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [libc::EIO, libc::EINVAL, libc::ENOPROTOOPT, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|errno| refusals.contains(&errno))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

fn listen_failure(options: &UdpOptions, error: io::Error) -> IoFailure {
    let remedy = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "another program (a second gobonding?) has that port",
        Some(libc::EADDRNOTAVAIL) => "no link of this host has that address",
        Some(libc::EACCES) => "ports below 1024 need CAP_NET_BIND_SERVICE",
        Some(libc::ENODEV) => "there is no such link",
        _ => "",
    };
    let place = options.local_ip.map_or(String::from("*"), |ip| ip.to_string());
    IoFailure::new(format!("cannot listen on UDP {place} port {}", options.port), error).with_remedy(remedy)
}

fn connect_failure(peer: SocketAddr, options: &UdpOptions, error: io::Error) -> IoFailure {
    let remedy = match error.raw_os_error() {
        Some(libc::ENODEV) => "there is no such link",
        Some(libc::ENETUNREACH) | Some(libc::EHOSTUNREACH) => "no route there over this link",
        Some(libc::EADDRNOTAVAIL) => "no link of this host has the local address",
        Some(libc::EADDRINUSE) => "another program has the local port",
        _ => "",
    };
    let mut what = format!("cannot make a UDP socket to {peer}");
    if let Some(device) = &options.device {
        what += &format!(" over {device}");
    }
    if let Some(ip) = options.local_ip {
        what += &format!(" from {ip}");
    }
    IoFailure::new(what, error).with_remedy(remedy)
}

const SOL_UDP: i32 = libc::IPPROTO_UDP;
/// Most segments of a train (`UDP_MAX_SEGMENTS` before Linux 6.9).
const MAX_SEGMENTS: usize = 64;
/// Below the largest UDP payload over IPv4 (65,507) and IPv6.
const MAX_TRAIN_BYTES: usize = 65_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_arrives_as_its_datagrams() {
        for offload in [UdpOffload::Probe, UdpOffload::Off] {
            let (a, b) = pair(offload);
            let bytes: Vec<u8> = (0..150_001u32).map(|n| (n % 251) as u8).collect();
            a.send_train(&bytes, 1_200, None).expect("sent");
            assert_eq!(a.sends_trains(), offload == UdpOffload::Probe);
            let mut buf = vec![0; RECV_BUFFER_BYTES];
            let mut got = Vec::new();
            while got.len() < bytes.len() {
                let received = b.recv(&mut buf, LONG).expect("no trouble").expect("in time");
                assert_eq!(Some(received.from), a.local_addr().ok());
                for datagram in received.segments(&mut buf) {
                    assert!(datagram.len() == 1_200 || got.len() + datagram.len() == bytes.len());
                    got.extend_from_slice(datagram);
                }
            }
            assert!(got == bytes);
            assert_eq!(b.recv(&mut buf, Wait::No), Ok(None));
            assert_eq!(b.recv(&mut buf, Wait::AtMost(Duration::from_millis(1))), Ok(None));
        }
    }

    #[test]
    fn a_connected_socket_takes_its_peer_from_the_listener() {
        let listener =
            UdpPort::listen(&UdpOptions { port: free_port(), ..UdpOptions::default() }).expect("listen");
        let port = listener.local_addr().expect("address").port();
        let here = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let options = UdpOptions::default();
        let (known, other) =
            (UdpPort::connect(here, &options).expect("one"), UdpPort::connect(here, &options).expect("two"));
        let mut buf = vec![0; RECV_BUFFER_BYTES];
        known.send_train(b"hello", 5, None).expect("sent");
        let first = listener.recv(&mut buf, LONG).expect("no trouble").expect("in time");
        assert_eq!((first.len, first.to), (5, Some(Ipv4Addr::LOCALHOST.into())));

        let options = UdpOptions { port, local_ip: first.to, ..options };
        let channel = UdpPort::connect(first.from, &options).expect("shares the port");
        for socket in [&known, &other] {
            socket.send_train(b"again", 5, None).expect("sent");
        }
        let own = channel.recv(&mut buf, LONG).expect("no trouble").expect("in time");
        assert_eq!(Some(own.from), known.local_addr().ok());
        let stranger = listener.recv(&mut buf, LONG).expect("no trouble").expect("in time");
        assert_eq!(Some(stranger.from), other.local_addr().ok());

        listener.send_answer(b"yes", stranger.from, stranger.to.expect("told")).expect("sent");
        let answer = other.recv(&mut buf, LONG).expect("no trouble").expect("in time");
        assert_eq!((answer.len, answer.from), (3, here));
        channel.send_train(b"you", 3, None).expect("sent");
        assert_eq!(known.recv(&mut buf, LONG).expect("no trouble").expect("in time").from, here);
    }

    #[test]
    fn a_second_listener_is_told_that_the_port_is_taken() {
        let first =
            UdpPort::listen(&UdpOptions { port: free_port(), ..UdpOptions::default() }).expect("listen");
        let port = first.local_addr().expect("address").port();
        let second = UdpPort::listen(&UdpOptions { port, ..UdpOptions::default() }).expect_err("taken");
        assert!(second.to_string().contains("has that port"), "{second}");
    }

    #[test]
    fn a_closed_far_end_is_no_failure() {
        let (a, b) = pair(UdpOffload::Probe);
        drop(b);
        let mut buf = vec![0; RECV_BUFFER_BYTES];
        a.send_train(b"one", 3, None).expect("sent");
        assert_eq!(a.recv(&mut buf, LONG), Err(Trouble::Refused));
        assert_eq!(a.recv(&mut buf, Wait::No), Ok(None));
        assert_eq!(a.send_train(b"two", 3, None), Ok(()));
    }

    #[test]
    fn a_link_that_is_not_there_is_named() {
        let options = UdpOptions { device: Some(String::from("nolink7")), ..UdpOptions::default() };
        let peer = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9);
        let failure = UdpPort::connect(peer, &options).expect_err("no such link");
        assert!(failure.to_string().contains("nolink7"), "{failure}");
    }

    #[test]
    fn a_datagram_above_the_mtu_is_too_big_and_trains_stay_on() {
        let (a, _b) = pair(UdpOffload::Probe);
        let mtu = a.path_mtu().expect("connected");
        if mtu <= 60_000 {
            assert_eq!(a.send_train(&vec![0; 65_000], 65_000, None), Err(Trouble::TooBig));
        }
        assert!(a.sends_trains());
    }

    const LONG: Wait = Wait::AtMost(Duration::from_secs(10));

    fn pair(offload: UdpOffload) -> (UdpPort, UdpPort) {
        let local =
            UdpOptions { local_ip: Some(Ipv4Addr::LOCALHOST.into()), offload, ..UdpOptions::default() };
        let far = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let far_address = far.local_addr().expect("address");
        let a = UdpPort::connect(far_address, &local).expect("a");
        drop(far);
        let b = UdpOptions { port: far_address.port(), ..local };
        (UdpPort::connect(a.local_addr().expect("address"), &b).map(|b| (a, b))).expect("b")
    }

    fn free_port() -> u16 {
        let socket = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
        socket.and_then(|s| s.local_addr()).expect("a port").port()
    }
}
