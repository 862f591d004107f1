//! Handshakes that the proxy has answered with a challenge and that wait for the response.
//!
//! Not for: strangers; who comes here has shown a cookie and the fingerprint of a known router. Still
//! everything is bounded: [`HALF_OPEN_MAX`] at once, each for [`HALF_OPEN_TIME`].

use super::control::Keys;
use super::handshake::{bit, choose, statement, transcript_of};
use super::{ProxySettings, Refusal};
use crate::crypto::aead::{nonce, AeadKey, Suite};
use crate::crypto::generation::End;
use crate::crypto::schedule::{Chain, Label, Share};
use crate::units::PacketNumber;
use crate::wire::auth::{
    accept_header, response_header, Challenge, Message, Open, Token, Verdict, DATAGRAM_MAX, OPEN_LEN,
};
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Handshakes under way at once: more than the proxy signs within [`HALF_OPEN_TIME`], for strangers and
/// familiar addresses together 2 x (16 + 6 x 10), so that the table is never full.
pub const HALF_OPEN_MAX: usize = 160;
/// Time for the response: longer than a router goes on asking for one (3.75 s).
pub const HALF_OPEN_TIME: Duration = Duration::from_secs(6);

/// The table.
#[derive(Default)]
pub struct HalfOpens {
    list: Vec<HalfOpen>,
}

struct HalfOpen {
    token: Token,
    from: SocketAddr,
    router: usize,
    session: u32,
    suite: Suite,
    transcript: [u8; 32],
    chain: Chain,
    /// The challenge, for an open that comes again.
    datagram: Vec<u8>,
    expires: Instant,
}

/// An open with a right cookie, and what its session will be.
pub struct Asked<'a> {
    pub from: SocketAddr,
    pub open: &'a Open,
    /// Bytes of the datagram that carried it.
    pub open_len: usize,
    /// Index of the router that it names.
    pub router: usize,
    pub session: u32,
}

/// A response that was opened, and so comes from whoever sent the open.
pub enum Response {
    /// The router of this index, proven. The datagram is the answer.
    Proven { router: usize, keys: Box<Keys>, accept: Vec<u8> },
    /// Somebody who only claims to be that router. The datagram is the answer.
    NotProven { router: usize, refusal: Vec<u8> },
}

impl HalfOpens {
    /// The challenge that an open with this token from this address got before.
    pub fn again(&self, token: &Token, from: SocketAddr) -> Option<Vec<u8>> {
        self.list.iter().find(|half| half.token == *token && half.from == from).map(|h| h.datagram.clone())
    }

    /// Answers an open: one RSA signature. `None` when the open is too
    /// short for its answer, offers nothing we have, or the table is full.
    pub fn challenge(
        &mut self,
        now: Instant,
        asked: Asked<'_>,
        settings: &ProxySettings,
        rng: &mut StdRng,
    ) -> Option<Vec<u8>> {
        self.expire(now);
        let Asked { from, open, open_len, router, session } = asked;
        let wants_key = open.proxy == [0; 32];
        let fits = open_len >= if wants_key { DATAGRAM_MAX } else { OPEN_LEN };
        if !fits || self.list.len() >= HALF_OPEN_MAX {
            return None;
        }
        let suite = choose(open.suites, settings.aes_in_hardware)?;
        let share = Share::generate(rng);
        let shared = share.agree(&open.share)?;
        let key = if wants_key { settings.identity.public().to_der() } else { Vec::new() };
        let mut challenge = Challenge {
            token: open.token,
            session,
            suite: bit(suite),
            share: share.public(),
            key: &key,
            signature: &[],
        };
        let transcript = transcript_of(open, &challenge);
        let signature = settings.identity.sign(rng, &statement(End::Proxy, &transcript))?;
        challenge.signature = &signature;
        let datagram = Message::Challenge(challenge).encode();
        self.list.push(HalfOpen {
            token: open.token,
            from,
            router,
            session,
            suite,
            transcript,
            chain: Chain::start(&transcript, &shared),
            datagram: datagram.clone(),
            expires: now + HALF_OPEN_TIME,
        });
        Some(datagram)
    }

    /// Judges a response; a handshake ends with its first response that opens.
    pub fn respond(
        &mut self,
        now: Instant,
        from: SocketAddr,
        session: u32,
        sealed: &[u8],
        settings: &ProxySettings,
    ) -> Option<Response> {
        self.expire(now);
        let at = self.list.iter().position(|half| half.session == session && half.from == from)?;
        let half = self.list.get(at)?;
        let mut bytes = sealed.to_vec();
        let signature = AeadKey::new(half.suite, &half.chain.key(Label::HandshakeFromRouter)).open(
            nonce(0, PacketNumber(0)),
            &response_header(session),
            &mut bytes,
        )?;
        let entry = settings.routers.get(half.router)?;
        let proven = entry.public_key.verify(&statement(End::Router, &half.transcript), signature);
        let verdict = if proven {
            Verdict::Accepted(entry.params.into())
        } else {
            Verdict::Refused(Refusal::RouterNotProven { router: entry.public_key.fingerprint() }.code())
        };
        let half = self.list.swap_remove(at);
        let answer = half.verdict(&verdict);
        let router = half.router;
        Some(if proven {
            let keys = Box::new(Keys::new(session, End::Proxy, half.suite, half.chain));
            Response::Proven { router, keys, accept: answer }
        } else {
            Response::NotProven { router, refusal: answer }
        })
    }

    /// Forgets what nobody answered.
    pub fn expire(&mut self, now: Instant) {
        self.list.retain(|half| now < half.expires);
    }

    pub fn has_session(&self, session: u32) -> bool {
        self.list.iter().any(|half| half.session == session)
    }

    /// When `expire` has something to do.
    pub fn next(&self) -> Option<Instant> {
        self.list.iter().map(|half| half.expires).min()
    }
}

impl HalfOpen {
    /// Seals the verdict: called once, so the nonce does not come twice.
    fn verdict(&self, verdict: &Verdict<'_>) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(96);
        verdict.encode(&mut sealed);
        let tag = AeadKey::new(self.suite, &self.chain.key(Label::HandshakeFromProxy)).seal(
            nonce(0, PacketNumber(0)),
            &accept_header(self.session),
            &mut sealed,
        );
        sealed.extend_from_slice(&tag);
        Message::Accept { session: self.session, sealed: &sealed }.encode()
    }
}
