//! The chain of key generations of a session.
//!
//! Not for: when to rekey (`tunnel/session`). The session hangs the next generation behind the current
//! one; every `Sealer` and `Opener` holds a link of the chain and finds the next one by itself, so that
//! a rekey needs no message to the threads and leaves no gap:
//!
//! 1. The proxy derives generation n+1, hangs it in and answers. Its openers know both from here on.
//! 2. The router gets the answer, derives n+1, hangs it in as confirmed: its sealers use it at once.
//! 3. The proxy's first opener that opens a datagram of n+1 confirms it: the proxy's sealers use it.
//!
//! The key phase bit in the header tells an even generation from an odd one.

use super::aead::{AeadKey, Suite};
use super::schedule::{Chain, Label};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The data keys between two rekeys: one per direction.
pub struct Generation {
    number: u32,
    pub(super) send: AeadKey,
    pub(super) receive: AeadKey,
    /// Whether the peer is known to have these keys.
    confirmed: AtomicBool,
    next: OnceLock<Arc<Generation>>,
}

/// Which end of the tunnel this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Router,
    Proxy,
}

/// Whether the peer is known to have the keys of a generation when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerHas {
    Keys,
    Perhaps,
}

impl Generation {
    /// The first generation; both ends have it.
    pub fn first(chain: &Chain, suite: Suite, end: End) -> Arc<Generation> {
        Generation::make(0, chain, suite, end, PeerHas::Keys)
    }

    /// Hangs the next generation behind this one, which must be the last; else it gives `None`.
    pub fn append(&self, chain: &Chain, end: End, peer: PeerHas) -> Option<Arc<Generation>> {
        let next = Generation::make(self.number.checked_add(1)?, chain, self.send.suite(), end, peer);
        self.next.set(next.clone()).ok()?;
        Some(next)
    }

    /// The peer has these keys.
    pub fn confirm(&self) {
        self.confirmed.store(true, Ordering::Release);
    }

    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Acquire)
    }

    /// 0 for the first, one more after each rekey.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn phase(&self) -> bool {
        self.number % 2 == 1
    }

    pub(super) fn next(&self) -> Option<&Arc<Generation>> {
        self.next.get()
    }

    fn make(number: u32, chain: &Chain, suite: Suite, end: End, peer: PeerHas) -> Arc<Generation> {
        let (ours, theirs) = match end {
            End::Router => (Label::DataFromRouter, Label::DataFromProxy),
            End::Proxy => (Label::DataFromProxy, Label::DataFromRouter),
        };
        Arc::new(Generation {
            number,
            send: AeadKey::new(suite, &chain.key(ours)),
            receive: AeadKey::new(suite, &chain.key(theirs)),
            confirmed: AtomicBool::new(peer == PeerHas::Keys),
            next: OnceLock::new(),
        })
    }
}

impl Drop for Generation {
    /// Takes a long chain apart link by link: an idle channel may hold one of thousands, and nested
    /// drops would exhaust the stack.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(link) = next {
            next = Arc::into_inner(link).and_then(|mut alone| alone.next.take());
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generation({})", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_chain_is_dropped_without_nesting() {
        let chain = Chain::start(&[1; 32], &zeroize::Zeroizing::new([2; 32]));
        let first = Generation::first(&chain, Suite::ChaCha20Poly1305, End::Router);
        let mut last = first.clone();
        for _ in 0..100_000 {
            last = last.append(&chain, End::Router, PeerHas::Keys).unwrap();
        }
        assert_eq!(last.number(), 100_000);
        drop(last);
        drop(first);
    }
}
