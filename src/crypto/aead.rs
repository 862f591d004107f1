//! Seals and opens the datagrams of one channel in place.
//!
//! Not for: handshake messages (`tunnel/session`) and the derivation of keys (`schedule`).
//! Both ends follow a rekey by themselves: they look for the next key generation at each datagram.
use crate::units::PacketNumber;
use crate::wire::header::Kind;

/// The AEAD of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Aes128Gcm,
    ChaCha20Poly1305,
}

impl Suite {
    /// Whether this CPU has instructions for AES: what `aes_in_hardware` in the settings should say.
    pub fn aes_in_hardware() -> bool {
        todo!()
    }
}

/// Seals one channel's outgoing datagrams. Owned by the channel's sending thread.
#[derive(Debug)]
pub struct Sealer {}

impl Sealer {
    /// Appends the eight clear bytes of a datagram and returns where it starts in `buf`.
    /// The caller appends the plaintext and calls [`Sealer::finish`] before the next `begin`.
    /// `number` must never come twice for one `Sealer`.
    pub fn begin(&mut self, _kind: Kind, _number: PacketNumber, _buf: &mut Vec<u8>) -> usize {
        todo!()
    }
    /// Seals the datagram that starts at `at` and ends with `buf`, in place, and appends the tag.
    pub fn finish(&self, _number: PacketNumber, _at: usize, _buf: &mut Vec<u8>) {
        todo!()
    }
    /// The receiver's number for the channel.
    pub fn remote_number(&self) -> u32 {
        todo!()
    }
}

/// Opens one channel's incoming datagrams and keeps their replay window. Owned by the channel's
/// receiving thread.
#[derive(Debug)]
pub struct Opener {}

/// A datagram that proved itself.
#[derive(Debug)]
pub struct Opened<'a> {
    pub kind: Kind,
    pub number: PacketNumber,
    /// The plaintext: data header and packet, or frames.
    pub plain: &'a mut [u8],
}

/// Why a datagram was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Too short, or not a sealed datagram at all.
    Malformed,
    /// It names another channel, by this number.
    UnknownChannel(u32),
    /// Forged, damaged, or sealed with keys of another session.
    BadTag,
    /// Seen before, or older than the replay window.
    Replayed(PacketNumber),
}

impl Opener {
    /// Opens a whole datagram in place. The number is marked as seen only if the tag is right.
    pub fn open<'a>(&mut self, _datagram: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        todo!()
    }
    /// This end's number for the channel.
    pub fn local_number(&self) -> u32 {
        todo!()
    }
}
