//! The router's way to a session, one attempt at a time.
//!
//! Not for: when to try (`router.rs`).
//!
//! ```text
//!            cookie             challenge, proxy proven           accept
//! Seeking ----------> Opening ------------------------> Proving --------> Keys
//! hello on all         open on the channel               response on it
//! channels             that answered first
//!                         \_______ no answer to TRIES_MAX sends _______/--> failed
//! ```

use super::control::Keys;
use super::handshake::{bit, patience, statement, suites, transcript_of};
use super::{ProxyTrust, Refusal, RouterSettings, TunnelParams};
use crate::crypto::aead::{nonce, AeadKey, Suite};
use crate::crypto::generation::End;
use crate::crypto::identity::{Fingerprint, PublicIdentity};
use crate::crypto::schedule::{Chain, Label, Share};
use crate::units::{ChannelId, PacketNumber};
use crate::wire::auth::{
    accept_header, response_header, Challenge, Cookie, Message, Open, Token, Verdict, VERSION,
};
use rand::rngs::StdRng;
use rand::RngExt;
use std::time::Instant;

/// Sends of one message without an answer before the attempt starts again from `Seeking`: 3.75 s.
const TRIES_MAX: u32 = 4;

/// Challenges with a wrong signature that one attempt looks at: on a small CPU each costs milliseconds.
const UNPROVEN_MAX: u32 = 8;

/// One attempt.
pub struct Attempt {
    token: Token,
    share: Share,
    step: Step,
    tries: u32,
    next: Instant,
    /// Challenges whose signature did not hold.
    unproven: u32,
    /// A refusal of this attempt was reported: one is enough for the log.
    pub refused: bool,
}

enum Step {
    Seeking,
    Opening { channel: ChannelId, open: Box<Open>, datagram: Vec<u8> },
    Proving { channel: ChannelId, proof: Box<Proof>, datagram: Vec<u8> },
}

/// What the router has computed when it waits for the verdict.
struct Proof {
    session: u32,
    suite: Suite,
    chain: Chain,
}

/// What to do when an attempt's time has come.
pub enum Due {
    /// Send this on one channel, or on all.
    Send(Option<ChannelId>, Vec<u8>),
    /// Nobody answered; the channel that had been chosen may be the reason.
    Failed(ChannelId),
}

/// What a good challenge leads to.
pub struct Answer {
    pub response: Vec<u8>,
    /// The proxy's key, if nobody had told it before.
    pub unpinned: Option<Fingerprint>,
}

/// The proxy's verdict.
pub enum Outcome {
    Accepted(Box<Keys>, TunnelParams),
    Refused(Refusal),
}

impl Attempt {
    /// Due at once.
    pub fn new(now: Instant, rng: &mut StdRng) -> Attempt {
        let share = Share::generate(rng);
        Attempt {
            token: rng.random(),
            share,
            step: Step::Seeking,
            tries: 0,
            next: now,
            unproven: 0,
            refused: false,
        }
    }

    /// The proxy wants a cookie back. Gives the open to send on this channel.
    pub fn on_cookie(
        &mut self,
        now: Instant,
        channel: ChannelId,
        token: &Token,
        cookie: &Cookie,
        settings: &RouterSettings,
    ) -> Option<Vec<u8>> {
        if !matches!(self.step, Step::Seeking) || *token != self.token {
            return None;
        }
        let open = Open {
            version: VERSION,
            suites: suites(settings.aes_in_hardware),
            token: self.token,
            share: self.share.public(),
            router: settings.identity.public().fingerprint().0,
            proxy: match &settings.proxy {
                ProxyTrust::Pinned(key) => key.fingerprint().0,
                ProxyTrust::Unpinned => [0; 32],
            },
            cookie: *cookie,
        };
        let datagram = Message::Open(open.clone()).encode();
        self.step = Step::Opening { channel, open: Box::new(open), datagram: datagram.clone() };
        self.restart(now);
        Some(datagram)
    }

    /// The proxy's half. Gives the response to send on this channel. A signature that does not hold leaves the attempt as it was: the true proxy's
    /// answer may still come.
    pub fn on_challenge(
        &mut self,
        now: Instant,
        from: ChannelId,
        challenge: &Challenge<'_>,
        settings: &RouterSettings,
        rng: &mut StdRng,
    ) -> Result<Option<Answer>, Refusal> {
        let Step::Opening { channel, open, .. } = &self.step else { return Ok(None) };
        let channel = *channel;
        if challenge.token != self.token || channel != from || self.unproven >= UNPROVEN_MAX {
            return Ok(None);
        }
        let offered = suites(settings.aes_in_hardware);
        let suite = [Suite::Aes128Gcm, Suite::ChaCha20Poly1305]
            .into_iter()
            .find(|suite| bit(*suite) == challenge.suite && offered & bit(*suite) != 0);
        let sent;
        let (key, unpinned) = match &settings.proxy {
            ProxyTrust::Pinned(key) => (key, None),
            ProxyTrust::Unpinned => {
                sent = PublicIdentity::from_der(challenge.key).map_err(|_| Refusal::ProxyNotProven)?;
                (&sent, Some(sent.fingerprint()))
            }
        };
        let hash = transcript_of(open, challenge);
        if !key.verify(&statement(End::Proxy, &hash), challenge.signature) {
            self.unproven += 1;
            return Err(Refusal::ProxyNotProven);
        }
        let (Some(suite), Some(shared)) = (suite, self.share.agree(&challenge.share)) else {
            return Err(Refusal::ProxyNotProven);
        };
        let chain = Chain::start(&hash, &shared);
        let Some(mut sealed) = settings.identity.sign(rng, &statement(End::Router, &hash)) else {
            return Ok(None);
        };
        let session = challenge.session;
        let tag = AeadKey::new(suite, &chain.key(Label::HandshakeFromRouter)).seal(
            nonce(0, PacketNumber(0)),
            &response_header(session),
            &mut sealed,
        );
        sealed.extend_from_slice(&tag);
        let datagram = Message::Response { session, sealed: &sealed }.encode();
        let proof = Box::new(Proof { session, suite, chain });
        self.step = Step::Proving { channel, proof, datagram: datagram.clone() };
        self.restart(now);
        Ok(Some(Answer { response: datagram, unpinned }))
    }

    /// The proxy's verdict, if it is authentic; the attempt is over then.
    pub fn on_accept(&mut self, session: u32, sealed: &[u8], settings: &RouterSettings) -> Option<Outcome> {
        let Step::Proving { proof, .. } = &self.step else { return None };
        if proof.session != session {
            return None;
        }
        let mut bytes = sealed.to_vec();
        let plain = AeadKey::new(proof.suite, &proof.chain.key(Label::HandshakeFromProxy)).open(
            nonce(0, PacketNumber(0)),
            &accept_header(session),
            &mut bytes,
        )?;
        match Verdict::decode(plain).ok()? {
            Verdict::Accepted(params) => {
                let Step::Proving { proof, .. } = std::mem::replace(&mut self.step, Step::Seeking) else {
                    return None;
                };
                let keys = Keys::new(session, End::Router, proof.suite, proof.chain);
                Some(Outcome::Accepted(Box::new(keys), params.into()))
            }
            Verdict::Refused(code) => {
                let router = settings.identity.public().fingerprint();
                Refusal::told(code, VERSION, Fingerprint([0; 32]), router).map(Outcome::Refused)
            }
            Verdict::Unknown(_) => None,
        }
    }

    /// What is due at `now`, if anything.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if now < self.next {
            return None;
        }
        let send = match &self.step {
            Step::Seeking => Due::Send(None, self.hello()),
            Step::Opening { channel, .. } | Step::Proving { channel, .. } if self.tries >= TRIES_MAX => {
                return Some(Due::Failed(*channel));
            }
            Step::Opening { channel, datagram, .. } | Step::Proving { channel, datagram, .. } => {
                Due::Send(Some(*channel), datagram.clone())
            }
        };
        self.tries += 1;
        self.next = now + patience(self.tries);
        Some(send)
    }

    /// The first message, for a channel that became usable meanwhile.
    pub fn hello(&self) -> Vec<u8> {
        Message::Hello { version: VERSION, token: self.token }.encode()
    }

    /// Whether `token` is this attempt's.
    pub fn has_token(&self, token: &Token) -> bool {
        self.token == *token
    }

    /// The channel that was chosen, if one was.
    pub fn channel(&self) -> Option<ChannelId> {
        match &self.step {
            Step::Seeking => None,
            Step::Opening { channel, .. } | Step::Proving { channel, .. } => Some(*channel),
        }
    }

    /// Whether the proxy may already have made the session.
    pub fn is_proving(&self) -> bool {
        matches!(self.step, Step::Proving { .. })
    }

    /// Hellos sent so far, while nothing was answered.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// When `handle_timeout` has something to do.
    pub fn next(&self) -> Instant {
        self.next
    }

    fn restart(&mut self, now: Instant) {
        self.tries = 1;
        self.next = now + patience(1);
    }
}
