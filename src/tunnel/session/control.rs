//! Control messages under a session's control keys, and the session's data keys.
//!
//! Not for: deciding what a message causes (`joins.rs`, `proxy.rs`). Both ends use the same type.

use crate::crypto::aead::{nonce, AeadKey, Opener, Sealer, Suite};
use crate::crypto::generation::{End, Generation, PeerHas};
use crate::crypto::replay::ReplayWindow;
use crate::crypto::schedule::{Chain, Label, Secret};
use crate::units::{ChannelId, PacketNumber};
use crate::wire::auth::{sealed_header, Control, From, Message};
use std::sync::Arc;

/// Joins of one channel in one session, at most: the join number has 24 bits. A router that needs more
/// opens a new session.
pub const JOINS_MAX: u32 = (1 << 24) - 1;

/// One end's keys of a session.
pub struct Keys {
    session: u32,
    end: End,
    suite: Suite,
    chain: Chain,
    seal: AeadKey,
    open: AeadKey,
    /// Counter of the next control message: the nonce, so it never comes twice.
    counter: u64,
    seen: ReplayWindow,
    /// The newest generation, and the one before until the peer is known to have the newest.
    newest: Arc<Generation>,
    before: Option<Arc<Generation>>,
}

impl Keys {
    /// All keys that follow from the handshake's `chain`.
    pub fn new(session: u32, end: End, suite: Suite, chain: Chain) -> Keys {
        let (ours, theirs) = match end {
            End::Router => (Label::ControlFromRouter, Label::ControlFromProxy),
            End::Proxy => (Label::ControlFromProxy, Label::ControlFromRouter),
        };
        Keys {
            session,
            end,
            suite,
            seal: AeadKey::new(suite, &chain.key(ours)),
            open: AeadKey::new(suite, &chain.key(theirs)),
            counter: 0,
            seen: ReplayWindow::default(),
            newest: Generation::first(&chain, suite, end),
            before: None,
            chain,
        }
    }

    /// A datagram with `message`, sealed under a counter of its own.
    pub fn seal(&mut self, message: &Control) -> Vec<u8> {
        let from = if self.end == End::Router { From::Router } else { From::Proxy };
        let counter = self.counter;
        self.counter += 1;
        let mut sealed = Vec::with_capacity(64);
        message.encode(&mut sealed);
        let header = sealed_header(from, self.session, counter);
        let tag = self.seal.seal(nonce(0, PacketNumber(counter)), &header, &mut sealed);
        sealed.extend_from_slice(&tag);
        Message::Sealed { from, session: self.session, counter, sealed: &sealed }.encode()
    }

    /// The message in `sealed`, once: `None` when it is forged, from the wrong end, or was seen before.
    pub fn open(&mut self, from: From, counter: u64, sealed: &[u8]) -> Option<Control> {
        let number = PacketNumber(counter);
        let expected = if self.end == End::Router { From::Proxy } else { From::Router };
        if from != expected || !self.seen.is_fresh(number) {
            return None;
        }
        let mut bytes = sealed.to_vec();
        let plain =
            self.open.open(nonce(0, number), &sealed_header(from, self.session, counter), &mut bytes)?;
        self.seen.mark(number);
        Control::decode(plain).ok()
    }

    /// Makes the next generation of the data keys.
    pub fn rekey(&mut self, shared: &Secret, peer: PeerHas) -> Option<u32> {
        let chain = self.chain.next(shared);
        let next = self.newest.append(&chain, self.end, peer)?;
        self.chain = chain;
        self.before = Some(std::mem::replace(&mut self.newest, next));
        Some(self.newest.number())
    }

    /// The peer has the newest generation.
    pub fn confirm(&mut self) {
        self.newest.confirm();
    }

    /// Sealer and opener of a channel that joins with a join number that this session never had.
    pub fn channel(&self, channel: ChannelId, join: u32, local: u32, remote: u32) -> (Sealer, Opener) {
        // The chain is entered at the older generation that may still be in use; both walk on from there.
        let sending = match &self.before {
            Some(before) if !self.newest.is_confirmed() => before,
            _ => &self.newest,
        };
        let opening = self.before.as_ref().unwrap_or(&self.newest);
        let prefix = u32::from(channel.0) << 24 | join & JOINS_MAX;
        (Sealer::new(sending.clone(), prefix, remote), Opener::new(opening.clone(), prefix, local))
    }

    /// Number of the newest generation of the data keys.
    pub fn generation(&self) -> u32 {
        self.newest.number()
    }

    pub fn session(&self) -> u32 {
        self.session
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_message_opens_once_and_only_at_the_other_end() {
        let (mut router, mut proxy) = (keys(End::Router), keys(End::Proxy));
        let datagram = router.seal(&Control::Close);
        let Ok(Message::Sealed { from, counter, sealed, .. }) = Message::decode(&datagram) else { panic!() };
        assert_eq!(router.open(from, counter, sealed), None);
        assert_eq!(router.open(From::Proxy, counter, sealed), None);
        assert_eq!(proxy.open(from, counter + 1, sealed), None);
        assert_eq!(proxy.open(from, counter, sealed), Some(Control::Close));
        assert_eq!(proxy.open(from, counter, sealed), None);
    }

    fn keys(end: End) -> Keys {
        let chain = Chain::start(&[1; 32], &Secret::new([2; 32]));
        Keys::new(7, end, Suite::ChaCha20Poly1305, chain)
    }
}
