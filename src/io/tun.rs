//! The TUN device: super-packets in, merged neighbours out.
//!
//! Not for: addresses, MTU and routes of the device (`netlink`), what is in a packet (`offload`, `merge`).
//!
//! Way of a packet out: 1. read (one system call for up to 64 KB of one flow), 2. split into segments,
//! 3. hand over. Way in: 1. gather neighbours of one flow, 2. one writev of vnet header, packet header
//! and payloads where they lie.

use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use log::{debug, info};
use tun_tap::{Iface, Mode};

use crate::io::checksum::Layout;
use crate::io::merge::{Train, UdpMerge, MAX_COUNT};
use crate::io::offload::{split, VnetHeader};
use crate::io::{sys, IoFailure};
use crate::units::{Checksum, Packet};

/// A TUN device of this process; shared in an `Arc` by a reader and a writer thread.
///
/// The device disappears when the `Tun` is dropped.
#[derive(Debug)]
pub struct Tun {
    iface: Iface,
    offloads: Offloads,
}

/// Whether the device may hand over and take packets larger than its MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Segmentation offload where the kernel has it, else plain.
    Probe,
    /// One packet of at most MTU bytes per system call, checksums complete.
    Off,
}

/// What the device ended up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// A vnet header precedes every packet: TCP super-packets and partial checksums pass.
    pub tcp: bool,
    /// UDP super-packets pass as well (Linux 6.2).
    pub udp: bool,
}

/// Memory for one read; belongs to the reader thread and is reused.
#[derive(Debug)]
pub struct ReadBuffer {
    bytes: Box<[u8]>,
}

impl Default for ReadBuffer {
    fn default() -> ReadBuffer {
        ReadBuffer::new()
    }
}

impl ReadBuffer {
    /// Memory for the largest super-packet (64 KB).
    pub fn new() -> ReadBuffer {
        ReadBuffer { bytes: vec![0; READ_BYTES].into_boxed_slice() }
    }
}

/// What became of the packets of one `write_batch`.
#[derive(Debug, Default)]
pub struct WriteReport {
    /// Packets the kernel took, alone or merged.
    pub written: usize,
    /// Of these, packets that travelled inside a merged write.
    pub merged: usize,
    /// Packets the kernel refused or that are no IP packets.
    pub dropped: usize,
    /// Merged writes that the kernel refused and that went out again one by one.
    pub unmerged: usize,
    /// The last refusal; `errno()` is EIO when the device is down, EBADFD when it is gone.
    pub failure: Option<IoFailure>,
}

impl Tun {
    /// Creates the device `name` (`%d` in it is replaced by a free number).
    ///
    /// It has no address, is down, and does not block. Fails without /dev/net/tun, without
    /// CAP_NET_ADMIN and when the name is taken or longer than 15 bytes.
    pub fn open(name: &str, offload: Offload) -> Result<Tun, IoFailure> {
        let fail = |e: io::Error| open_failure(name, e);
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(fail(io::Error::from_raw_os_error(libc::ENAMETOOLONG)));
        }
        let iface = Iface::without_packet_info(name, Mode::Tun).map_err(fail)?;
        let offloads = match offload {
            Offload::Probe => attach_with_offloads(&iface).map_err(fail)?,
            Offload::Off => NO_OFFLOADS,
        };
        sys::set_nonblocking(sys::borrow(&iface)).map_err(fail)?;
        debug!("{}: {offloads:?}", iface.name());
        Ok(Tun { iface, offloads })
    }

    /// Reads packets and appends them to `out` until the device has no more or `max_packets` are there.
    ///
    /// Returns how many were appended; 0 means the device is empty (poll it). A super-packet is never
    /// torn: up to 64 KB of segments may come on top of `max_packets`. Malformed packets are skipped.
    /// After a failure `out` keeps what was read before it.
    pub fn read_batch(
        &self,
        buf: &mut ReadBuffer,
        out: &mut Vec<Packet>,
        max_packets: usize,
    ) -> Result<usize, IoFailure> {
        let mut count = 0;
        while count < max_packets {
            let len = match self.iface.recv(&mut buf.bytes) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failure("cannot read from", error)),
            };
            count += self.unpack(&mut buf.bytes[..len], out);
        }
        Ok(count)
    }

    /// Writes packets in order, neighbours of one flow merged into one system call.
    ///
    /// Partial checksums are completed by the kernel, or here when the device is plain. When the device
    /// is down or gone the rest of the packets counts as dropped.
    pub fn write_batch(&self, packets: &[Packet]) -> WriteReport {
        let mut report = WriteReport::default();
        let udp = if self.offloads.udp { UdpMerge::Taken } else { UdpMerge::Refused };
        let mut rest = packets;
        while !rest.is_empty() {
            let train = if self.offloads.tcp { Train::at_head_of(rest, udp) } else { None };
            let (now, later) = rest.split_at(train.as_ref().map_or(1, |train| train.count));
            rest = later;
            if let Some(train) = train {
                if self.write_train(&train, now).is_ok() {
                    report.written += now.len();
                    report.merged += now.len();
                    continue;
                }
                report.unmerged += 1;
            }
            for packet in now {
                match self.write_single(packet) {
                    Ok(()) => report.written += 1,
                    Err(error) => {
                        report.dropped += 1;
                        report.failure = Some(self.failure("cannot write to", error));
                    }
                }
            }
            if report.failure.as_ref().is_some_and(|f| [libc::EIO, libc::EBADFD].contains(&f.errno())) {
                report.dropped += rest.len();
                break;
            }
        }
        report
    }

    /// The device's real name.
    pub fn name(&self) -> &str {
        self.iface.name()
    }

    /// What was negotiated with the kernel.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn unpack(&self, frame: &mut [u8], out: &mut Vec<Packet>) -> usize {
        if !self.offloads.tcp {
            out.push(Packet::complete(frame));
            return 1;
        }
        let Some(header) = VnetHeader::decode(frame) else { return 0 };
        split(header, &mut frame[VnetHeader::LEN..], out).unwrap_or_else(|fault| {
            debug!("{}: skipped a packet of the kernel: {fault:?}, {header:?}", self.name());
            0
        })
    }

    fn write_train(&self, train: &Train, packets: &[Packet]) -> io::Result<()> {
        let vnet = train.vnet.encode();
        let mut parts = [IoSlice::new(&[]); MAX_COUNT + 2];
        parts[0] = IoSlice::new(&vnet);
        parts[1] = IoSlice::new(train.head());
        for (part, packet) in parts[2..].iter_mut().zip(packets) {
            *part = IoSlice::new(&packet.bytes[train.payload..]);
        }
        self.write_parts(&parts[..packets.len() + 2])
    }

    fn write_single(&self, packet: &Packet) -> io::Result<()> {
        let layout = match packet.checksum {
            Checksum::Complete => None,
            // A partial checksum that cannot be found cannot be completed by anybody.
            Checksum::Partial => {
                Some(Layout::of(&packet.bytes).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?)
            }
        };
        if self.offloads.tcp {
            let vnet = layout.map_or(VnetHeader::default(), VnetHeader::partial).encode();
            return self.write_parts(&[IoSlice::new(&vnet), IoSlice::new(&packet.bytes)]);
        }
        let Some(layout) = layout else { return self.write_parts(&[IoSlice::new(&packet.bytes)]) };
        let mut bytes = packet.bytes.to_vec();
        layout.complete(&mut bytes);
        self.write_parts(&[IoSlice::new(&bytes)])
    }

    fn write_parts(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        loop {
            match sys::write_vectored(self.as_fd(), parts) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }

    fn failure(&self, verb: &str, error: io::Error) -> IoFailure {
        let remedy = match error.raw_os_error() {
            Some(libc::EIO) => "the device is down; something else has set it down",
            Some(libc::EBADFD) | Some(libc::EFAULT) => "the device was deleted; start again",
            _ => "",
        };
        IoFailure::new(format!("{verb} {}", self.name()), error).with_remedy(remedy)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(&self.iface)
    }
}

impl AsRawFd for Tun {
    fn as_raw_fd(&self) -> RawFd {
        self.iface.as_raw_fd()
    }
}

/// Gives the crate's object a second file of the same device, opened with a vnet header.
///
/// The header can only be asked for when a file is attached, and the crate does not ask. So: 1. let the
/// device outlive its file, 2. put a new file behind the crate's descriptor, 3. attach it with the flag,
/// 4. tell which super-packets are understood, 5. let the device end with its file again. Whatever
/// fails before the end leaves the device plain; an error means it is lost.
fn attach_with_offloads(iface: &Iface) -> io::Result<Offloads> {
    let fd = iface.as_raw_fd();
    if let Err(error) = sys::tun_set_persist(fd, 1) {
        info!("{}: no segmentation offload: {error}", iface.name());
        return Ok(NO_OFFLOADS);
    }
    let offloads = match reattach(iface, PLAIN | libc::IFF_VNET_HDR) {
        Ok(()) => negotiate(fd),
        Err(error) => {
            info!("{}: no segmentation offload: {error}", iface.name());
            reattach(iface, PLAIN)?;
            NO_OFFLOADS
        }
    };
    sys::tun_set_persist(fd, 0)?;
    Ok(offloads)
}

fn reattach(iface: &Iface, flags: i32) -> io::Result<()> {
    let file: OwnedFd = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?.into();
    sys::replace_file(sys::borrow(iface), file)?;
    sys::tun_attach(iface.as_raw_fd(), iface.name(), flags as i16)
}

fn negotiate(fd: RawFd) -> Offloads {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp = TUN_F_USO4 | TUN_F_USO6;
    if sys::tun_set_offload(fd, tcp | udp).is_ok() {
        return Offloads { tcp: true, udp: true };
    }
    // Should this fail as well, the kernel sends no super-packets but takes ours all the same.
    let refused = sys::tun_set_offload(fd, tcp).err();
    debug!("TUNSETOFFLOAD without UDP: {refused:?}");
    Offloads { tcp: true, udp: false }
}

fn open_failure(name: &str, error: io::Error) -> IoFailure {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOENT) | Some(libc::ENODEV) | Some(libc::ENXIO) => {
            "/dev/net/tun is missing; `modprobe tun`, or give the container the device"
        }
        Some(libc::EACCES) => {
            "needs CAP_NET_ADMIN and access to /dev/net/tun; run as root or as the systemd unit does"
        }
        Some(libc::EBUSY) => "another program has that device; choose another name or end that program",
        Some(libc::EINVAL) => "not a name for a device, or a device of another kind has it",
        Some(libc::ENAMETOOLONG) => "the name must have 1 to 15 characters",
        _ => "",
    };
    IoFailure::new(format!("cannot open the TUN device {name}"), error).with_remedy(remedy)
}

const NO_OFFLOADS: Offloads = Offloads { tcp: false, udp: false };
const PLAIN: i32 = libc::IFF_TUN | libc::IFF_NO_PI;
/// Linux `if_tun.h`, since 6.2.
const TUN_F_USO4: u32 = 0x20;
const TUN_F_USO6: u32 = 0x40;
/// IFNAMSIZ without the end mark.
const MAX_NAME: usize = 15;
/// A vnet header and 64 KB; a shorter buffer would cut a packet without a word.
const READ_BYTES: usize = VnetHeader::LEN + 65_536 + 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_fit_is_refused_with_the_remedy() {
        let failure = Tun::open("a-name-that-is-too-long", Offload::Off).expect_err("16 characters");
        assert!(failure.to_string().contains("1 to 15 characters"), "{failure}");
    }

    #[test]
    fn a_tun_can_be_shared_by_two_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Tun>();
    }
}
