//! The TUN device: super-packets in, merged neighbours out.
//!
//! Way of a packet out: 1. read (one system call for up to 64 KB of one flow), 2. split into segments,
//! 3. hand over. Way in: 1. gather neighbours of one flow, 2. one writev with a vnet header.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::io::IoFailure;
use crate::units::Packet;

/// A TUN device of this process; shared in an `Arc` by a reader and a writer thread.
///
/// The device disappears when the `Tun` is dropped.
#[derive(Debug)]
pub struct Tun {}

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
pub struct ReadBuffer {}

impl Default for ReadBuffer {
    fn default() -> ReadBuffer {
        ReadBuffer::new()
    }
}

impl ReadBuffer {
    /// Memory for the largest super-packet (64 KB).
    pub fn new() -> ReadBuffer {
        ReadBuffer {}
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
    pub fn open(name: &str, offload: Offload) -> Result<Tun, IoFailure> {
        let _ = (name, offload);
        todo!()
    }

    /// Reads packets and appends them to `out` until the device has no more or `max_packets` are there.
    ///
    /// Returns how many were appended; 0 means the device is empty (poll it). A super-packet is never
    /// torn: up to 64 KB of segments may come on top of `max_packets`.
    pub fn read_batch(
        &self,
        buf: &mut ReadBuffer,
        out: &mut Vec<Packet>,
        max_packets: usize,
    ) -> Result<usize, IoFailure> {
        let _ = (buf, out, max_packets);
        todo!()
    }

    /// Writes packets in order, neighbours of one TCP flow merged into one system call.
    pub fn write_batch(&self, packets: &[Packet]) -> WriteReport {
        let _ = packets;
        todo!()
    }

    /// The device's real name.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// What was negotiated with the kernel.
    pub fn offloads(&self) -> Offloads {
        todo!()
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}

impl AsRawFd for Tun {
    fn as_raw_fd(&self) -> RawFd {
        todo!()
    }
}
