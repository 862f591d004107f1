//! The only unsafe code: thin safe wrappers over single system calls.
//!
//! Not for: meaning. Each function is one call with checked lengths; retries and fallbacks are elsewhere.
#![allow(unsafe_code, reason = "system calls that neither std nor socket2 offers; each block has its proof")]

use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Control data of one received message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// Bytes of payload.
    pub len: usize,
    /// Sender; `None` when the kernel named none.
    pub from: Option<SocketAddr>,
    /// Bytes of control data that were filled in.
    pub control_len: usize,
}

/// TUNSETIFF: attaches the open TUN file to the device `name`, which it makes when it is missing.
pub(crate) fn tun_attach(tun: RawFd, name: &str, flags: i16) -> io::Result<()> {
    // SAFETY: an `ifreq` is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays zero, so that the name ends.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = from as _;
    }
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which outlives the call.
    check(unsafe { libc::ioctl(tun, libc::TUNSETIFF as _, &mut request) }).map(drop)
}

/// TUNSETPERSIST: whether the device outlives its file.
pub(crate) fn tun_set_persist(tun: RawFd, on: i32) -> io::Result<()> {
    // SAFETY: TUNSETPERSIST takes a number, no pointer.
    check(unsafe { libc::ioctl(tun, libc::TUNSETPERSIST as _, on as libc::c_ulong) }).map(drop)
}

/// TUNSETOFFLOAD: which super-packets the reader understands.
pub(crate) fn tun_set_offload(tun: RawFd, features: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a number, no pointer.
    check(unsafe { libc::ioctl(tun, libc::TUNSETOFFLOAD as _, libc::c_ulong::from(features)) }).map(drop)
}

/// Puts `new` behind the number of `old`; the file behind `old` is closed.
pub(crate) fn replace_file(old: BorrowedFd<'_>, new: OwnedFd) -> io::Result<()> {
    // SAFETY: both numbers are open; the owner of `old` goes on owning that number.
    check(unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) }).map(drop)
}

/// A number of another crate's object as a borrowed descriptor, valid while `owner` lives.
pub(crate) fn borrow<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: `owner` keeps the descriptor open for as long as the result borrows it.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// Makes a descriptor non-blocking and closed on exec.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    // SAFETY: fcntl with these commands reads and sets flags, no pointers are passed.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }).map(drop)
}

/// Writes all slices as one packet.
pub(crate) fn write_vectored(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: `IoSlice` has the layout of `iovec` on Unix; all slices outlive the call.
    count(unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr().cast(), parts.len() as _) })
}

/// Sets an integer socket option.
pub(crate) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value pointer and its size describe one live `i32`.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) }).map(drop)
}

/// Reads an integer socket option.
pub(crate) fn option(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value pointer and its size describe one live `i32`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &mut size) })?;
    Ok(value)
}

/// sendmsg: `bytes` to `to` (or the connected peer) with ready-made control data; never waits.
pub(crate) fn send_message(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    to: Option<&SocketAddr>,
    control: &[u8],
) -> io::Result<usize> {
    let name = to.map(|to| socket2::SockAddr::from(*to));
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: a `msghdr` is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    if let Some(name) = &name {
        message.msg_name = name.as_ptr().cast_mut().cast();
        message.msg_namelen = name.len();
    }
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if !control.is_empty() {
        message.msg_control = control.as_ptr().cast_mut().cast();
        message.msg_controllen = control.len() as _;
    }
    // SAFETY: every pointer in `message` is to memory of the stated length that outlives the call, and
    // sendmsg only reads through them.
    count(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })
}

/// recvmsg into `buf` and `control`; never waits.
pub(crate) fn receive_message(fd: BorrowedFd<'_>, buf: &mut [u8], control: &mut [u8]) -> io::Result<Message> {
    // SAFETY: `sockaddr_storage` and `msghdr` are plain data for which all zeroes is a valid value.
    let (mut name, mut message): (libc::sockaddr_storage, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: every pointer in `message` is to writable memory of the stated length that outlives the call.
    let len = count(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) })?;
    // The member has another width in every C library.
    let filled: u64 = message.msg_controllen as _;
    let control_len = control.len().min(filled as usize);
    Ok(Message { len, from: socket_address(&name), control_len })
}

/// An event counter: a descriptor that is readable while the counter is not zero.
pub(crate) fn event_counter() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes no pointers.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the number was just returned by the kernel and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// ppoll for readability; bit `i` of the answer stands for `fds[i]`. A signal gives no bits.
pub(crate) fn poll_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<u64> {
    let mut list = [libc::pollfd { fd: -1, events: 0, revents: 0 }; 64];
    let entries = list.get_mut(..fds.len()).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    for (entry, fd) in entries.iter_mut().zip(fds) {
        entry.fd = fd.as_raw_fd();
        entry.events = libc::POLLIN;
    }
    // SAFETY: a `timespec` is plain data for which all zeroes is a valid value.
    let mut time: libc::timespec = unsafe { zeroed() };
    let mut limit = std::ptr::null();
    if let Some(timeout) = timeout {
        time.tv_sec = timeout.as_secs().min(i32::MAX as u64) as _;
        time.tv_nsec = timeout.subsec_nanos() as _;
        limit = &raw const time;
    }
    // SAFETY: `entries` and `time` outlive the call; a null signal mask leaves the mask as it is.
    let found = unsafe { libc::ppoll(entries.as_mut_ptr(), fds.len() as _, limit, std::ptr::null()) };
    match check(found) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
        other => other?,
    };
    let ready = entries.iter().enumerate().filter(|(_, entry)| entry.revents != 0);
    Ok(ready.fold(0, |bits, (place, _)| bits | 1 << place))
}

/// Binds a netlink socket to the multicast groups of the old bit mask.
pub(crate) fn bind_netlink(fd: BorrowedFd<'_>, groups: u32) -> io::Result<()> {
    // SAFETY: a `sockaddr_nl` is plain data for which all zeroes is a valid value.
    let mut address: libc::sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as _;
    address.nl_groups = groups;
    let size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the pointer and size describe one live `sockaddr_nl`.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) }).map(drop)
}

/// Moves the calling thread alone into a new, empty network; for tests. Needs CAP_SYS_ADMIN.
pub fn enter_new_network() -> io::Result<()> {
    // SAFETY: unshare takes no pointers and changes the calling thread alone.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// The address in `name`, when it is an internet address.
fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match name.ss_family as i32 {
        libc::AF_INET => {
            // SAFETY: the family says that the storage, which is larger, holds a `sockaddr_in`.
            let v4 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage, which is larger, holds a `sockaddr_in6`.
            let v6 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn count(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
