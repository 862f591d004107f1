//! Seals and opens the datagrams of one channel in place.
//!
//! Not for: the derivation of keys (`schedule`) and rekeys (`generation`). On the packet's way:
//!
//! 1. `Sealer::begin` takes the newest key generation that the peer has and writes the clear header.
//! 2. `Sealer::finish` seals what the caller appended and appends the tag.
//! 3. `Opener::open` reads the header, refuses a number seen before, opens with the generation that the
//!    key phase bit names, and only then marks the number as seen.
//!
//! The nonce is the channel's *join number* (4 bytes) and the packet number (8 bytes). The session gives each
//! join of a channel a join number of its own, so packet numbers may start again when a channel joins again.

use super::generation::Generation;
use super::replay::ReplayWindow;
use super::schedule::Secret;
use crate::units::PacketNumber;
use crate::wire::header::{expand, Header, Kind, HEADER_LEN, TAG_LEN};
use crate::wire::reader::Reader;
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, CHACHA20_POLY1305};
use std::sync::Arc;

/// The AEAD of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Aes128Gcm,
    ChaCha20Poly1305,
}

impl Suite {
    /// Whether this CPU has instructions for AES and for GCM's multiplication. Without them ChaCha20
    /// is the faster and does not leak through the cache.
    pub fn aes_in_hardware() -> bool {
        #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
        let there = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let there = std::arch::is_aarch64_feature_detected!("aes")
            && std::arch::is_aarch64_feature_detected!("pmull");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
        let there = false;
        there
    }
}

/// Seals one channel's outgoing datagrams. Owned by the channel's sending thread.
#[derive(Debug)]
pub struct Sealer {
    generation: Arc<Generation>,
    join_number: u32,
    remote_number: u32,
}

impl Sealer {
    /// `generation` is one that the peer has; `join_number` was never used with it before.
    pub fn new(generation: Arc<Generation>, join_number: u32, remote_number: u32) -> Sealer {
        Sealer { generation, join_number, remote_number }
    }

    /// Appends the eight clear bytes of a datagram and returns where it starts in `buf`.
    /// The caller appends the plaintext and calls [`Sealer::finish`] before the next `begin`.
    /// `number` must never come twice for one `Sealer`.
    pub fn begin(&mut self, kind: Kind, number: PacketNumber, buf: &mut Vec<u8>) -> usize {
        while let Some(next) = self.generation.next().filter(|next| next.is_confirmed()).cloned() {
            self.generation = next;
        }
        let at = buf.len();
        let header = Header {
            kind,
            key_phase: self.generation.phase(),
            channel: self.remote_number,
            number_low: number.0 as u32,
        };
        buf.extend_from_slice(&header.encode());
        at
    }

    /// Seals the datagram that starts at `at` and ends with `buf`, in place, and appends the tag.
    pub fn finish(&self, number: PacketNumber, at: usize, buf: &mut Vec<u8>) {
        let Some((header, plain)) = buf.get_mut(at..).and_then(|d| d.split_first_chunk_mut::<HEADER_LEN>())
        else {
            return;
        };
        let tag = self.generation.send.seal(nonce(self.join_number, number), header, plain);
        buf.extend_from_slice(&tag);
    }

    /// The receiver's number for the channel.
    pub fn remote_number(&self) -> u32 {
        self.remote_number
    }
}

/// Opens one channel's incoming datagrams and keeps their replay window. Owned by the channel's
/// receiving thread.
#[derive(Debug)]
pub struct Opener {
    /// The newest generation that this end has; the peer may not use it yet.
    newest: Arc<Generation>,
    /// The one before it: of the other key phase.
    before: Option<Arc<Generation>>,
    join_number: u32,
    local_number: u32,
    seen: ReplayWindow,
}

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
    /// `generation` is the oldest one that the peer may still seal with.
    pub fn new(generation: Arc<Generation>, join_number: u32, local_number: u32) -> Opener {
        Opener { newest: generation, before: None, join_number, local_number, seen: ReplayWindow::default() }
    }

    /// Opens a whole datagram in place. The number is marked as seen only if the tag is right.
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let (clear, sealed) = datagram.split_first_chunk_mut::<HEADER_LEN>().ok_or(OpenError::Malformed)?;
        let header = Header::decode(&mut Reader::new(clear)).ok_or(OpenError::Malformed)?;
        if sealed.len() < TAG_LEN {
            return Err(OpenError::Malformed);
        }
        if header.channel != self.local_number {
            return Err(OpenError::UnknownChannel(header.channel));
        }
        let number = expand(header.number_low, self.seen.largest());
        if !self.seen.is_fresh(number) {
            return Err(OpenError::Replayed(number));
        }
        while let Some(next) = self.newest.next().cloned() {
            self.before = Some(std::mem::replace(&mut self.newest, next));
        }
        let generation =
            if header.key_phase == self.newest.phase() { Some(&self.newest) } else { self.before.as_ref() };
        let generation = generation.ok_or(OpenError::BadTag)?;
        let plain = generation
            .receive
            .open(nonce(self.join_number, number), clear, sealed)
            .ok_or(OpenError::BadTag)?;
        if !generation.is_confirmed() {
            generation.confirm();
        }
        self.seen.mark(number);
        Ok(Opened { kind: header.kind, number, plain })
    }

    /// This end's number for the channel.
    pub fn local_number(&self) -> u32 {
        self.local_number
    }
}

/// One key of one AEAD.
pub struct AeadKey {
    suite: Suite,
    key: LessSafeKey,
}

impl AeadKey {
    /// The first bytes of `secret`, as many as the suite wants.
    pub fn new(suite: Suite, secret: &Secret) -> AeadKey {
        let (algorithm, len) = match suite {
            Suite::Aes128Gcm => (&AES_128_GCM, 16),
            Suite::ChaCha20Poly1305 => (&CHACHA20_POLY1305, 32),
        };
        let key = UnboundKey::new(algorithm, &secret[..len]).expect("the length is the algorithm's own");
        AeadKey { suite, key: LessSafeKey::new(key) }
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Seals in place; `nonce` must never come twice for one key.
    pub fn seal(&self, nonce: [u8; 12], clear: &[u8], plain: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(clear), plain)
            .expect("a datagram is far below the 64 GiB that an AEAD can seal");
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Opens in place; `sealed` ends with the tag. `None` when the tag is wrong.
    pub fn open<'a>(&self, nonce: [u8; 12], clear: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(clear), sealed).ok()
    }
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AeadKey({:?})", self.suite)
    }
}

/// Nonce of a packet: join number, packet number.
pub fn nonce(join_number: u32, number: PacketNumber) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&join_number.to_be_bytes());
    nonce[4..].copy_from_slice(&number.0.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::super::generation::{End, PeerHas};
    use super::super::schedule::Chain;
    use super::*;
    use crate::units::{Checksum, Form, Piece};
    use proptest::prelude::*;

    const DATA: Kind = Kind::Data(Checksum::Complete, Form::Whole, Piece::All);

    #[test]
    fn what_is_sealed_opens_once() {
        let (mut sealer, mut opener, ..) = ends(Suite::ChaCha20Poly1305);
        let datagram = seal(&mut sealer, 7, b"hello");
        let mut copy = datagram.clone();
        let opened = opener.open(&mut copy).unwrap();
        assert_eq!((opened.number, opened.kind, &*opened.plain), (PacketNumber(7), DATA, &b"hello"[..]));
        assert_eq!(opener.open(&mut datagram.clone()).unwrap_err(), OpenError::Replayed(PacketNumber(7)));
    }

    #[test]
    fn a_forged_datagram_marks_no_number() {
        let (mut sealer, mut opener, ..) = ends(Suite::Aes128Gcm);
        let datagram = seal(&mut sealer, 7, b"hello");
        for at in [0, 4, 7, 8, 20] {
            let mut forged = datagram.clone();
            forged[at] ^= 0x80;
            assert!(opener.open(&mut forged).is_err(), "byte {at}");
        }
        assert!(opener.open(&mut datagram.clone()).is_ok());
    }

    #[test]
    fn datagrams_of_both_generations_open_around_a_rekey() {
        let (mut sealer, mut opener, ours, theirs) = ends(Suite::ChaCha20Poly1305);
        let (mut back, mut back_opener) =
            (Sealer::new(theirs.clone(), 2, 9), Opener::new(ours.clone(), 2, 9));
        let late = seal(&mut sealer, 0, b"late");
        let chain = chain(2);
        let theirs = theirs.append(&chain, End::Proxy, PeerHas::Perhaps).unwrap();
        assert!(back_opener.open(&mut seal(&mut back, 0, b"old keys")).is_ok());
        ours.append(&chain, End::Router, PeerHas::Keys).unwrap();
        let new = seal(&mut sealer, 1, b"new");
        assert_ne!(new[0] & 0x80, late[0] & 0x80);
        assert!(!theirs.is_confirmed());
        assert!(opener.open(&mut new.clone()).is_ok());
        assert!(theirs.is_confirmed());
        assert!(opener.open(&mut late.clone()).is_ok());
        let answer = seal(&mut back, 1, b"new keys");
        assert_eq!(answer[0] & 0x80, new[0] & 0x80);
        assert!(back_opener.open(&mut answer.clone()).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (_, mut opener, ..) = ends(Suite::ChaCha20Poly1305);
            prop_assert!(opener.open(&mut bytes).is_err());
        }
    }

    fn seal(sealer: &mut Sealer, number: u64, plain: &[u8]) -> Vec<u8> {
        let mut buf = vec![0xee; 3];
        let at = sealer.begin(DATA, PacketNumber(number), &mut buf);
        buf.extend_from_slice(plain);
        sealer.finish(PacketNumber(number), at, &mut buf);
        buf.split_off(at)
    }

    fn chain(seed: u8) -> Chain {
        Chain::start(&[seed; 32], &Secret::new([7; 32]))
    }

    fn ends(suite: Suite) -> (Sealer, Opener, Arc<Generation>, Arc<Generation>) {
        let router = Generation::first(&chain(1), suite, End::Router);
        let proxy = Generation::first(&chain(1), suite, End::Proxy);
        (Sealer::new(router.clone(), 1, 5), Opener::new(proxy.clone(), 1, 5), router, proxy)
    }
}
