//! What both ends of a handshake compute alike: suite, transcript, what is signed, how long to wait.

use super::{Ends, Refusal, TunnelParams};
use crate::crypto::aead::Suite;
use crate::crypto::generation::End;
use crate::crypto::identity::Fingerprint;
use crate::crypto::schedule::transcript;
use crate::wire::auth::{Challenge, Open, Params, SUITE_AES_128_GCM, SUITE_CHACHA20_POLY1305, VERSION};
use std::time::Duration;

/// The suites that an end can use, as bits.
pub fn suites(aes_in_hardware: bool) -> u8 {
    SUITE_CHACHA20_POLY1305 | if aes_in_hardware { SUITE_AES_128_GCM } else { 0 }
}

/// The suite of a session: AES where both ends have instructions for it, else the one that is fast without.
pub fn choose(offered: u8, aes_in_hardware: bool) -> Option<Suite> {
    [Suite::Aes128Gcm, Suite::ChaCha20Poly1305]
        .into_iter()
        .find(|suite| offered & suites(aes_in_hardware) & bit(*suite) != 0)
}

/// The suite's bit on the wire.
pub fn bit(suite: Suite) -> u8 {
    match suite {
        Suite::Aes128Gcm => SUITE_AES_128_GCM,
        Suite::ChaCha20Poly1305 => SUITE_CHACHA20_POLY1305,
    }
}

/// Hash of everything both ends said before the first signature: shares, identities, suites.
pub fn transcript_of(open: &Open, challenge: &Challenge<'_>) -> [u8; 32] {
    transcript(&[b"gobonding handshake", &open.signed_part(), &challenge.signed_part()])
}

/// What `end` signs: the transcript, and which end it is, so that no signature fits the other role.
pub fn statement(end: End, transcript: &[u8; 32]) -> Vec<u8> {
    let role: &[u8] = match end {
        End::Router => b"gobonding handshake 1, the router says: ",
        End::Proxy => b"gobonding handshake 1, the proxy says: ",
    };
    [role, transcript].concat()
}

/// Time to wait for an answer after `tries` sends: 250 ms, doubling to 5 s.
///
/// Source: a guess; the first is above the round trip of most links, the last keeps a router that waits
/// for its proxy at a few bytes a second.
pub fn patience(tries: u32) -> Duration {
    (PATIENCE_MIN * (1 << tries.saturating_sub(1).min(8))).min(PATIENCE_MAX)
}

/// See [`patience`].
pub const PATIENCE_MIN: Duration = Duration::from_millis(250);
/// See [`patience`].
pub const PATIENCE_MAX: Duration = Duration::from_secs(5);

impl Refusal {
    /// The refusal as the wire carries it.
    pub(super) fn code(self) -> u8 {
        match self {
            Refusal::Version { .. } => 1,
            Refusal::UnknownRouterKey { .. } => 2,
            Refusal::WrongProxyKey { .. } => 3,
            Refusal::RouterNotProven { .. } => 4,
            Refusal::ProxyNotProven => 5,
        }
    }

    /// What a proxy's refusal means to the router with the key `router`; `None` for codes of newer proxies.
    pub(super) fn told(code: u8, version: u8, proxy: Fingerprint, router: Fingerprint) -> Option<Refusal> {
        Some(match code {
            1 => Refusal::Version { ours: VERSION, theirs: version },
            2 => Refusal::UnknownRouterKey { router },
            3 => Refusal::WrongProxyKey { proxy },
            4 => Refusal::RouterNotProven { router },
            _ => return None,
        })
    }
}

impl std::convert::From<TunnelParams> for Params {
    fn from(params: TunnelParams) -> Params {
        Params {
            mtu: params.mtu,
            v4: params.v4.map(|e| (e.router.octets(), e.proxy.octets(), e.prefix)),
            v6: params.v6.map(|e| (e.router.octets(), e.proxy.octets(), e.prefix)),
        }
    }
}

impl std::convert::From<Params> for TunnelParams {
    fn from(params: Params) -> TunnelParams {
        TunnelParams {
            mtu: params.mtu,
            v4: params.v4.map(|(router, proxy, prefix)| Ends {
                router: router.into(),
                proxy: proxy.into(),
                prefix,
            }),
            v6: params.v6.map(|(router, proxy, prefix)| Ends {
                router: router.into(),
                proxy: proxy.into(),
                prefix,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_is_taken_only_if_both_ends_have_it() {
        assert_eq!(choose(suites(true), true), Some(Suite::Aes128Gcm));
        assert_eq!(choose(suites(false), true), Some(Suite::ChaCha20Poly1305));
        assert_eq!(choose(suites(true), false), Some(Suite::ChaCha20Poly1305));
        assert_eq!(choose(0, true), None);
    }

    #[test]
    fn the_wait_grows_from_a_quarter_second_to_five() {
        let waits: Vec<u128> = (1..8).map(|tries| patience(tries).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(patience(u32::MAX), PATIENCE_MAX);
    }
}
