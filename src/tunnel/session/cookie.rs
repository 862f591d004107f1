//! Cookies: proof, without keeping anything, that a stranger receives what is sent to its address.

use crate::wire::auth::Cookie;
use rand::rngs::StdRng;
use rand::Rng;
use ring::hmac;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Time after which the secret changes; a cookie holds for one to two of it.
///
/// Source: a guess; far above a handshake, short against a search for addresses.
const ROTATION: Duration = Duration::from_secs(60);

/// Makes and checks cookies.
pub struct Cookies {
    secret: hmac::Key,
    before: hmac::Key,
    rotate_at: Instant,
}

impl Cookies {
    pub fn new(now: Instant, rng: &mut StdRng) -> Cookies {
        Cookies { secret: fresh(rng), before: fresh(rng), rotate_at: now + ROTATION }
    }

    /// The cookie for `address`.
    pub fn issue(&mut self, now: Instant, address: SocketAddr, rng: &mut StdRng) -> Cookie {
        self.rotate(now, rng);
        cut(hmac::sign(&self.secret, &bytes_of(address)))
    }

    /// Whether this cookie was given to `address` within the last minute or two.
    pub fn check(&mut self, now: Instant, address: SocketAddr, cookie: &Cookie, rng: &mut StdRng) -> bool {
        self.rotate(now, rng);
        let bytes = bytes_of(address);
        let same = |key| subtle::ConstantTimeEq::ct_eq(&cut(hmac::sign(key, &bytes))[..], &cookie[..]);
        bool::from(same(&self.secret) | same(&self.before))
    }

    fn rotate(&mut self, now: Instant, rng: &mut StdRng) {
        if now < self.rotate_at {
            return;
        }
        let older = now.saturating_duration_since(self.rotate_at) >= ROTATION;
        self.before = if older { fresh(rng) } else { self.secret.clone() };
        self.secret = fresh(rng);
        self.rotate_at = now + ROTATION;
    }
}

fn fresh(rng: &mut StdRng) -> hmac::Key {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    hmac::Key::new(hmac::HMAC_SHA256, &*bytes)
}

fn bytes_of(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut out = [0; 18];
    out[..16].copy_from_slice(&ip.octets());
    out[16..].copy_from_slice(&address.port().to_be_bytes());
    out
}

fn cut(tag: hmac::Tag) -> Cookie {
    let mut cookie = Cookie::default();
    cookie.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_cookie_holds_for_its_address_and_a_minute() {
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut cookies = Cookies::new(now, &mut rng);
        let (home, other) = ("192.0.2.1:5".parse().unwrap(), "192.0.2.1:6".parse().unwrap());
        let cookie = cookies.issue(now, home, &mut rng);
        assert!(cookies.check(now + ROTATION, home, &cookie, &mut rng));
        assert!(!cookies.check(now + ROTATION, other, &cookie, &mut rng));
        assert!(!cookies.check(now + ROTATION * 2, home, &cookie, &mut rng));
        assert!(!cookies.check(now + ROTATION * 2, home, &[0; 16], &mut rng));
    }
}
