//! Handshake messages: the datagrams that make a session, join channels to it and end it.
//!
//! Not for: what may be believed (`tunnel/session`), and packets (`wire/header.rs`). The first byte
//! tells all kinds of datagrams apart: 0x10 to 0x1f are these.
//!
//! ```text
//! router                                                            proxy
//!   Hello      token                                        ->
//!                                            Cookie  token, cookie  <-   keeps nothing
//!   Open       token, cookie, X25519, fingerprints          ->
//!                              Challenge  session, X25519, signature  <- keeps it for seconds
//!   Response   session, sealed: signature                   ->
//!                           Accept  session, sealed: tunnel addresses  <-
//!   Sealed     session, counter, sealed: Join | Rekey | Probe | Close  ->
//!                                 Sealed  ...: Joined | Rekeyed | Here | Close  <-
//! ```
//! Every answer is at most as long as its question, so that nobody can use the proxy to multiply
//! traffic; questions are padded where they must be. No datagram is above 1,200 bytes.

use super::header::TAG_LEN;
use super::reader::{put_u24, Reader, Short};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Version of the handshake.
pub const VERSION: u8 = 3;
/// Bytes of the largest handshake datagram: passes every IPv6 link (1,280) with its headers.
pub const DATAGRAM_MAX: usize = 1200;
/// Bytes of an `Open` that names the proxy's key: room for a signature of 4096 bits in the answer.
pub const OPEN_LEN: usize = 640;
/// Bytes of a `Hello`.
pub const HELLO_LEN: usize = 64;

/// A random number that an attempt's answers repeat: whoever cannot read our datagrams cannot answer.
pub type Token = [u8; 8];
/// Proof that a sender receives what is sent to its address.
pub type Cookie = [u8; 16];

/// Bit in [`Open::suites`]: the end has AES instructions.
pub const SUITE_AES_128_GCM: u8 = 1;
/// Bit in [`Open::suites`]: every end has this one.
pub const SUITE_CHACHA20_POLY1305: u8 = 2;

/// A handshake datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Hello {
        version: u8,
        token: Token,
    },
    Cookie {
        token: Token,
        cookie: Cookie,
    },
    Open(Open),
    Challenge(Challenge<'a>),
    /// `sealed`: the router's signature.
    Response {
        session: u32,
        sealed: &'a [u8],
    },
    /// `sealed`: [`Verdict`].
    Accept {
        session: u32,
        sealed: &'a [u8],
    },
    /// Not authenticated, and so only good for the log and a pause.
    Refuse {
        version: u8,
        token: Token,
        code: u8,
        proxy: [u8; 32],
    },
    /// `sealed`: [`Control`]. `from` is part of the type byte.
    Sealed {
        from: From,
        session: u32,
        counter: u64,
        sealed: &'a [u8],
    },
    /// "I know no session with this number." Not authenticated: a reason to try, not to believe.
    UnknownSession {
        session: u32,
    },
    /// "No channel with this number comes from your address." Not authenticated either.
    UnknownChannel {
        channel: u32,
    },
}

/// Who sent a sealed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Router,
    Proxy,
}

/// The router's half of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub version: u8,
    pub suites: u8,
    pub token: Token,
    pub share: [u8; 32],
    /// Fingerprint of the router's key, so that the proxy finds it among its routers.
    pub router: [u8; 32],
    /// Fingerprint of the key that the router expects; zeros: "send me yours".
    pub proxy: [u8; 32],
    pub cookie: Cookie,
}

/// The proxy's half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    pub token: Token,
    pub session: u32,
    /// One of the `SUITE_` bits.
    pub suite: u8,
    pub share: [u8; 32],
    /// The proxy's public key (SPKI, DER) when the router asked for it, else empty.
    pub key: &'a [u8],
    pub signature: &'a [u8],
}

/// What the proxy answers to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Tunnel parameters, see [`Params`].
    Accepted(Params),
    /// The code of a refusal.
    Refused(u8),
    /// A newer proxy's answer.
    Unknown(&'a [u8]),
}

/// Tunnel parameters: MTU, and for each address family router's address, proxy's address and prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    pub mtu: u16,
    pub v4: Option<([u8; 4], [u8; 4], u8)>,
    pub v6: Option<([u8; 16], [u8; 16], u8)>,
}

/// What the ends of a session tell each other under its control keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The router wants this channel (again). `join` grows with every new join of the channel. `room`: bytes of an
    /// inner packet that fit into one datagram on its path, as far as the router knows.
    Join { channel: u8, join: u32, number: u32, room: u16 },
    /// The proxy has it; `address` is where the join came from.
    Joined { channel: u8, join: u32, number: u32, address: SocketAddr },
    /// The router's half for key generation `generation`.
    Rekey { generation: u32, share: [u8; 32] },
    /// The proxy's half.
    Rekeyed { generation: u32, share: [u8; 32] },
    /// The router asks whether the proxy still knows the session.
    Probe,
    /// It does.
    Here,
    /// The sender leaves.
    Close,
}

const HELLO: u8 = 0x10;
const COOKIE: u8 = 0x11;
const OPEN: u8 = 0x12;
const CHALLENGE: u8 = 0x13;
const RESPONSE: u8 = 0x14;
const ACCEPT: u8 = 0x15;
const REFUSE: u8 = 0x16;
const FROM_ROUTER: u8 = 0x17;
const FROM_PROXY: u8 = 0x18;
const UNKNOWN_SESSION: u8 = 0x19;
const UNKNOWN_CHANNEL: u8 = 0x1a;

/// Whether a datagram is a handshake message, to judge by its first byte.
pub fn is_handshake(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (0x10..=0x1f).contains(first))
}

impl<'a> Message<'a> {
    /// The datagram, padded where its answer needs room.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HELLO_LEN);
        match self {
            Message::Hello { version, token } => {
                out.extend_from_slice(&[HELLO, *version]);
                out.extend_from_slice(token);
                out.resize(HELLO_LEN, 0);
            }
            Message::Cookie { token, cookie } => {
                out.push(COOKIE);
                out.extend_from_slice(token);
                out.extend_from_slice(cookie);
            }
            Message::Open(open) => {
                out = open.signed_part();
                out.extend_from_slice(&open.cookie);
                out.resize(if open.proxy == [0; 32] { DATAGRAM_MAX } else { OPEN_LEN }, 0);
            }
            Message::Challenge(challenge) => {
                out = challenge.signed_part();
                put_long(&mut out, challenge.signature);
            }
            Message::Response { session, sealed } => put_session(&mut out, RESPONSE, *session, sealed),
            Message::Accept { session, sealed } => put_session(&mut out, ACCEPT, *session, sealed),
            Message::Refuse { version, token, code, proxy } => {
                out.extend_from_slice(&[REFUSE, *version]);
                out.extend_from_slice(token);
                out.push(*code);
                out.extend_from_slice(proxy);
            }
            Message::Sealed { from, session, counter, sealed } => {
                out.extend_from_slice(&sealed_header(*from, *session, *counter));
                out.extend_from_slice(sealed);
            }
            Message::UnknownSession { session } => put_session(&mut out, UNKNOWN_SESSION, *session, &[]),
            Message::UnknownChannel { channel } => {
                out.push(UNKNOWN_CHANNEL);
                put_u24(&mut out, *channel);
            }
        }
        out
    }

    /// Reads a datagram; what follows the message is padding or a newer peer's and is left alone.
    pub fn decode(datagram: &'a [u8]) -> Result<Message<'a>, Short> {
        let mut r = Reader::new(datagram);
        let kind = r.u8()?;
        Ok(match kind {
            HELLO => Message::Hello { version: r.u8()?, token: r.array()? },
            COOKIE => Message::Cookie { token: r.array()?, cookie: r.array()? },
            OPEN => Message::Open(Open {
                version: r.u8()?,
                suites: r.u8()?,
                token: r.array()?,
                share: r.array()?,
                router: r.array()?,
                proxy: r.array()?,
                cookie: r.array()?,
            }),
            CHALLENGE => Message::Challenge(Challenge {
                token: r.array()?,
                session: r.u32()?,
                suite: r.u8()?,
                share: r.array()?,
                key: long(&mut r)?,
                signature: long(&mut r)?,
            }),
            RESPONSE => Message::Response { session: r.u32()?, sealed: r.rest() },
            ACCEPT => Message::Accept { session: r.u32()?, sealed: r.rest() },
            REFUSE => {
                Message::Refuse { version: r.u8()?, token: r.array()?, code: r.u8()?, proxy: r.array()? }
            }
            FROM_ROUTER | FROM_PROXY => Message::Sealed {
                from: if kind == FROM_ROUTER { From::Router } else { From::Proxy },
                session: r.u32()?,
                counter: r.u64()?,
                sealed: r.rest(),
            },
            UNKNOWN_SESSION => Message::UnknownSession { session: r.u32()? },
            UNKNOWN_CHANNEL => Message::UnknownChannel { channel: r.u24()? },
            _ => return Err(Short),
        })
    }
}

impl Open {
    /// What both signatures cover of it: all but the cookie and the padding.
    pub fn signed_part(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(DATAGRAM_MAX);
        out.extend_from_slice(&[OPEN, self.version, self.suites]);
        out.extend_from_slice(&self.token);
        out.extend_from_slice(&self.share);
        out.extend_from_slice(&self.router);
        out.extend_from_slice(&self.proxy);
        out
    }
}

impl Challenge<'_> {
    /// What both signatures cover of it: all but the signature.
    pub fn signed_part(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(DATAGRAM_MAX);
        out.push(CHALLENGE);
        out.extend_from_slice(&self.token);
        out.extend_from_slice(&self.session.to_be_bytes());
        out.push(self.suite);
        out.extend_from_slice(&self.share);
        put_long(&mut out, self.key);
        out
    }
}

impl Verdict<'_> {
    /// Appends the verdict.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Verdict::Accepted(params) => {
                out.push(ACCEPTED);
                out.extend_from_slice(&params.mtu.to_be_bytes());
                put_ends(out, params.v4.as_ref().map(|(a, b, p)| (&a[..], &b[..], *p)));
                put_ends(out, params.v6.as_ref().map(|(a, b, p)| (&a[..], &b[..], *p)));
            }
            Verdict::Refused(code) => out.extend_from_slice(&[REFUSED, *code]),
            Verdict::Unknown(bytes) => out.extend_from_slice(bytes),
        }
    }

    pub fn decode(plain: &[u8]) -> Result<Verdict<'_>, Short> {
        let mut r = Reader::new(plain);
        Ok(match r.u8()? {
            ACCEPTED => {
                Verdict::Accepted(Params { mtu: r.u16()?, v4: ends(&mut r, 32)?, v6: ends(&mut r, 128)? })
            }
            REFUSED => Verdict::Refused(r.u8()?),
            _ => Verdict::Unknown(plain),
        })
    }
}

impl Control {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Control::Join { channel, join, number, room } => {
                out.extend_from_slice(&[JOIN, *channel]);
                put_u24(out, *join);
                put_u24(out, *number);
                out.extend_from_slice(&room.to_be_bytes());
                out.resize(out.len() + ADDRESS_LEN, 0);
            }
            Control::Joined { channel, join, number, address } => {
                out.extend_from_slice(&[JOINED, *channel]);
                put_u24(out, *join);
                put_u24(out, *number);
                put_address(out, *address);
            }
            Control::Rekey { generation, share } => put_share(out, REKEY, *generation, share),
            Control::Rekeyed { generation, share } => put_share(out, REKEYED, *generation, share),
            Control::Probe => out.push(PROBE),
            Control::Here => out.push(HERE),
            Control::Close => out.push(CLOSE),
        }
    }

    /// Reads a message; an unknown one is refused like a short one.
    pub fn decode(plain: &[u8]) -> Result<Control, Short> {
        let mut r = Reader::new(plain);
        Ok(match r.u8()? {
            JOIN => Control::Join { channel: r.u8()?, join: r.u24()?, number: r.u24()?, room: r.u16()? },
            JOINED => Control::Joined {
                channel: r.u8()?,
                join: r.u24()?,
                number: r.u24()?,
                address: address(&mut r)?,
            },
            REKEY => Control::Rekey { generation: r.u32()?, share: r.array()? },
            REKEYED => Control::Rekeyed { generation: r.u32()?, share: r.array()? },
            PROBE => Control::Probe,
            HERE => Control::Here,
            CLOSE => Control::Close,
            _ => return Err(Short),
        })
    }
}

/// The clear bytes before a sealed control message; they are authenticated with it.
pub fn sealed_header(from: From, session: u32, counter: u64) -> [u8; 13] {
    let kind = if from == From::Router { FROM_ROUTER } else { FROM_PROXY };
    let mut out = [kind; 13];
    out[1..5].copy_from_slice(&session.to_be_bytes());
    out[5..].copy_from_slice(&counter.to_be_bytes());
    out
}

/// The clear bytes before a sealed response; they are authenticated with it.
pub fn response_header(session: u32) -> [u8; 5] {
    let [a, b, c, d] = session.to_be_bytes();
    [RESPONSE, a, b, c, d]
}

/// The clear bytes before a sealed verdict; they are authenticated with it.
pub fn accept_header(session: u32) -> [u8; 5] {
    let [a, b, c, d] = session.to_be_bytes();
    [ACCEPT, a, b, c, d]
}

fn put_session(out: &mut Vec<u8>, kind: u8, session: u32, rest: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&session.to_be_bytes());
    out.extend_from_slice(rest);
}

/// Bytes with their length before them, at most 65,535.
fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(0);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}

fn long<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Short> {
    let len = r.u16()?;
    r.bytes(usize::from(len))
}

/// A prefix length (255: no addresses), then router's and proxy's address.
fn put_ends(out: &mut Vec<u8>, ends: Option<(&[u8], &[u8], u8)>) {
    match ends {
        Some((router, proxy, prefix)) => {
            out.push(prefix);
            out.extend_from_slice(router);
            out.extend_from_slice(proxy);
        }
        None => out.push(NO_ADDRESSES),
    }
}

type EndBytes<const N: usize> = ([u8; N], [u8; N], u8);

fn ends<const N: usize>(r: &mut Reader<'_>, prefix_max: u8) -> Result<Option<EndBytes<N>>, Short> {
    match r.u8()? {
        NO_ADDRESSES => Ok(None),
        prefix if prefix <= prefix_max => Ok(Some((r.array()?, r.array()?, prefix))),
        _ => Err(Short),
    }
}

/// An address in the form of IPv6 (an IPv4 address mapped), and a port.
fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    out.extend_from_slice(&ip.octets());
    out.extend_from_slice(&address.port().to_be_bytes());
}

fn address(r: &mut Reader<'_>) -> Result<SocketAddr, Short> {
    let ip = IpAddr::V6(Ipv6Addr::from(r.array::<16>()?)).to_canonical();
    Ok(SocketAddr::new(ip, r.u16()?))
}

fn put_share(out: &mut Vec<u8>, kind: u8, generation: u32, share: &[u8; 32]) {
    out.push(kind);
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(share);
}

const ACCEPTED: u8 = 0;
const REFUSED: u8 = 1;
const JOIN: u8 = 1;
const JOINED: u8 = 2;
const REKEY: u8 = 3;
const REKEYED: u8 = 4;
const CLOSE: u8 = 5;
const PROBE: u8 = 6;
const HERE: u8 = 7;
const NO_ADDRESSES: u8 = 255;
const ADDRESS_LEN: usize = 18;
const _: () = assert!(1 + 8 + 4 + 1 + 32 + 2 + 2 + 4096 / 8 <= OPEN_LEN);
const _: () = assert!(1 + 8 + 4 + 1 + 32 + 2 + 550 + 2 + 4096 / 8 <= DATAGRAM_MAX);
const _: () = assert!(5 + 2 + 4096 / 8 + TAG_LEN <= DATAGRAM_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_message_comes_back() {
        let open = Open {
            version: 1,
            suites: 3,
            token: [1; 8],
            share: [2; 32],
            router: [3; 32],
            proxy: [4; 32],
            cookie: [5; 16],
        };
        let challenge = Challenge {
            token: [1; 8],
            session: 7,
            suite: 2,
            share: [6; 32],
            key: b"key",
            signature: &[9; 512],
        };
        for message in [
            Message::Hello { version: 1, token: [1; 8] },
            Message::Cookie { token: [1; 8], cookie: [2; 16] },
            Message::Open(open),
            Message::Challenge(challenge),
            Message::Response { session: 7, sealed: b"sealed" },
            Message::Accept { session: 7, sealed: b"sealed" },
            Message::Refuse { version: 2, token: [1; 8], code: 3, proxy: [4; 32] },
            Message::Sealed { from: From::Proxy, session: 7, counter: 1 << 40, sealed: b"sealed" },
            Message::UnknownSession { session: 7 },
            Message::UnknownChannel { channel: 0x0a0b0c },
        ] {
            let datagram = message.encode();
            assert!(is_handshake(&datagram) && datagram.len() <= DATAGRAM_MAX, "{message:?}");
            assert_eq!(Message::decode(&datagram), Ok(message));
        }
    }

    #[test]
    fn every_sealed_part_comes_back() {
        for control in [
            Control::Join { channel: 3, join: 0x0a0b0c, number: 1, room: 1_432 },
            Control::Joined { channel: 3, join: 9, number: 1, address: "192.0.2.1:70".parse().unwrap() },
            Control::Joined { channel: 3, join: 9, number: 1, address: "[2001:db8::1]:7".parse().unwrap() },
            Control::Rekey { generation: 1, share: [1; 32] },
            Control::Rekeyed { generation: 1, share: [1; 32] },
            Control::Probe,
            Control::Here,
            Control::Close,
        ] {
            let mut out = Vec::new();
            control.encode(&mut out);
            assert_eq!(Control::decode(&out), Ok(control));
        }
        let params = Params { mtu: 1420, v4: Some(([10, 0, 0, 2], [10, 0, 0, 1], 24)), v6: None };
        for verdict in [Verdict::Accepted(params), Verdict::Refused(2)] {
            let mut out = Vec::new();
            verdict.encode(&mut out);
            assert_eq!(Verdict::decode(&out), Ok(verdict));
        }
    }

    #[test]
    fn an_answer_is_never_longer_than_its_question() {
        let (mut join, mut joined) = (Vec::new(), Vec::new());
        Control::Join { channel: 3, join: 1, number: 1, room: 1_440 }.encode(&mut join);
        let address = "[2001:db8::1]:7".parse().unwrap();
        Control::Joined { channel: 3, join: 1, number: 1, address }.encode(&mut joined);
        assert!(joined.len() <= join.len());
        let refuse = Message::Refuse { version: 1, token: [0; 8], code: 0, proxy: [0; 32] };
        assert!(refuse.encode().len() <= HELLO_LEN);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            kind in 0x10u8..0x20,
            rest in proptest::collection::vec(any::<u8>(), 0..700),
        ) {
            let mut bytes = vec![kind];
            bytes.extend(&rest);
            if let Ok(message) = Message::decode(&bytes) {
                let again = message.encode();
                prop_assert_eq!(Message::decode(&again), Ok(message));
            }
            // Whatever they say, they must say it without a panic.
            let _ = (Control::decode(&rest), Verdict::decode(&rest));
        }
    }
}
