//! Bounds how often the proxy works for one source, and for all together, in constant memory.

use rand::rngs::StdRng;
use rand::Rng;
use ring::hmac;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Turns that refill with time, for each source and overall.
///
/// Sources (an IPv4 address, a /64 of IPv6) share [`SLOTS`] slots, placed by a secret hash: nobody can
/// choose whose slot to empty.
pub struct Limit {
    secret: hmac::Key,
    each: Bucket,
    slots: Vec<Bucket>,
    all: Bucket,
}

impl Limit {
    /// `each` and `all`: turns a second; four of a source's and sixteen overall may come at once.
    pub fn new(now: Instant, each: u32, all: u32, rng: &mut StdRng) -> Limit {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let each = Bucket::new(now, each, 4);
        Limit {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            each,
            slots: vec![each; SLOTS],
            all: Bucket::new(now, all, 16),
        }
    }

    /// Takes a turn for `source`; `false` when there is none left.
    pub fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        let prefix = match source.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits() >> 64 << 64,
        };
        let tag = hmac::sign(&self.secret, &prefix.to_be_bytes());
        let slot = tag.as_ref().iter().take(2).fold(0, |n, byte| n << 8 | usize::from(*byte)) % SLOTS;
        let slot = self.slots.get_mut(slot).unwrap_or(&mut self.each);
        slot.take(now) && self.all.take(now)
    }
}

/// Slots for sources.
const SLOTS: usize = 1024;

/// A token bucket in units of time: a turn costs `gap`.
#[derive(Clone, Copy)]
struct Bucket {
    gap: Duration,
    burst: u32,
    /// When the bucket will be full again.
    full_at: Instant,
}

impl Bucket {
    fn new(now: Instant, per_second: u32, burst: u32) -> Bucket {
        Bucket { gap: Duration::from_secs(1) / per_second.max(1), burst, full_at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.gap;
        let fits = full_at.saturating_duration_since(now) <= self.gap * self.burst;
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_source_gets_its_rate_and_no_more() {
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut limit = Limit::new(now, 2, 100, &mut rng);
        let source = "192.0.2.1".parse().unwrap();
        let turns = (0..1000).filter(|ms| limit.take(now + Duration::from_millis(*ms), source)).count();
        assert_eq!(turns, 4 + 1);
        assert!(limit.take(now + Duration::from_secs(1), "192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn all_sources_together_get_their_rate_and_no_more() {
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut limit = Limit::new(now, 2, 10, &mut rng);
        let turns = (0u32..500).filter(|n| limit.take(now, IpAddr::from(n.to_be_bytes()))).count();
        assert_eq!(turns, 16);
    }
}
