//! From X25519 and a transcript to keys, by HKDF-SHA256 (RFC 5869).
//!
//! Not for: who may have the keys; `tunnel/session` checks the signatures.
//!
//! ```text
//! chain 0   = extract(salt: transcript,            X25519 of the handshake)
//! chain n+1 = extract(salt: expand(chain n, "next"), X25519 of the rekey)
//! keys n    = expand(chain n, label)
//! ```

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// 32 secret bytes that are wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// One end's half of a key exchange.
pub struct Share {
    secret: StaticSecret,
}

impl Share {
    pub fn generate<R: rand::CryptoRng>(rng: &mut R) -> Share {
        let mut bytes = Secret::default();
        rng.fill_bytes(bytes.as_mut());
        Share { secret: StaticSecret::from(*bytes) }
    }

    /// What the peer gets.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.secret).to_bytes()
    }

    /// The secret that both ends get. `None` when the peer's half is one of the few points that make
    /// the result known to everybody (RFC 7748 section 6.1).
    pub fn agree(&self, theirs: &[u8; 32]) -> Option<Secret> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*theirs));
        shared.was_contributory().then(|| Secret::new(shared.to_bytes()))
    }
}

/// The secret from which one generation's keys and the next chain come.
pub struct Chain {
    secret: Secret,
}

impl Chain {
    /// The first chain of a session.
    pub fn start(transcript: &[u8; 32], shared: &Secret) -> Chain {
        Chain::extract(transcript, shared)
    }

    /// The chain after a rekey: whoever lacks this chain or the exchange does not get it.
    pub fn next(&self, shared: &Secret) -> Chain {
        Chain::extract(&self.key(Label::Next), shared)
    }

    /// The key for one use.
    pub fn key(&self, label: Label) -> Secret {
        let mut out = Secret::default();
        // Neither call can fail: the secret is as long as the hash, and 32 bytes are within 255 blocks.
        let hkdf = Hkdf::<Sha256>::from_prk(&*self.secret).expect("32 bytes are a whole SHA-256 output");
        hkdf.expand(label.name(), out.as_mut()).expect("32 bytes are less than 255 blocks");
        out
    }

    fn extract(salt: &[u8; 32], input: &Secret) -> Chain {
        let (mut prk, _) = Hkdf::<Sha256>::extract(Some(salt), &**input);
        let mut secret = Secret::default();
        secret.copy_from_slice(&prk);
        zeroize::Zeroize::zeroize(prk.as_mut_slice());
        Chain { secret }
    }
}

/// What a key is for. "From" names who seals with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    HandshakeFromRouter,
    HandshakeFromProxy,
    ControlFromRouter,
    ControlFromProxy,
    DataFromRouter,
    DataFromProxy,
    Next,
}

impl Label {
    fn name(self) -> &'static [u8] {
        match self {
            Label::HandshakeFromRouter => b"gobonding 1 handshake router",
            Label::HandshakeFromProxy => b"gobonding 1 handshake proxy",
            Label::ControlFromRouter => b"gobonding 1 control router",
            Label::ControlFromProxy => b"gobonding 1 control proxy",
            Label::DataFromRouter => b"gobonding 1 data router",
            Label::DataFromProxy => b"gobonding 1 data proxy",
            Label::Next => b"gobonding 1 next",
        }
    }
}

/// Hash over parts, each with its length before it, so that no two lists of parts hash alike.
pub fn transcript(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{rngs::StdRng, SeedableRng};

    #[test]
    fn both_ends_get_the_same_keys_through_a_rekey() {
        let mut rng = StdRng::seed_from_u64(1);
        let hash = transcript(&[b"a", b"b"]);
        let (a, b) = (Share::generate(&mut rng), Share::generate(&mut rng));
        let left = Chain::start(&hash, &a.agree(&b.public()).unwrap());
        let right = Chain::start(&hash, &b.agree(&a.public()).unwrap());
        assert_eq!(*left.key(Label::DataFromRouter), *right.key(Label::DataFromRouter));
        assert_ne!(*left.key(Label::DataFromRouter), *left.key(Label::DataFromProxy));
        let (c, d) = (Share::generate(&mut rng), Share::generate(&mut rng));
        let left = left.next(&c.agree(&d.public()).unwrap());
        let right = right.next(&d.agree(&c.public()).unwrap());
        assert_eq!(*left.key(Label::DataFromRouter), *right.key(Label::DataFromRouter));
    }

    #[test]
    fn a_share_that_fixes_the_secret_is_refused() {
        let share = Share::generate(&mut StdRng::seed_from_u64(1));
        assert!(share.agree(&[0; 32]).is_none());
        assert!(share.agree(&[1; 32]).is_some());
    }

    #[test]
    fn the_parts_of_a_transcript_do_not_run_together() {
        assert_ne!(transcript(&[b"ab", b"c"]), transcript(&[b"a", b"bc"]));
    }
}
