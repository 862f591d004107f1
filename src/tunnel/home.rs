//! Which channels a connection's data should not live on: short ones beside a much faster longer one.
//!
//! A sender of the BBR kind has in flight twice what it has seen delivered in its least round trip, which begins with the
//! handshake and counts for ten seconds. Where that was a thin short link's, the rest is out of its reach: 15 Mbit/s where
//! the best link alone gives 136 (10 Mbit/s at 10 ms beside 146 at 60 ms). A page of the web, though, is over before it
//! would gain by the longer link. So it depends on what a connection may still carry:
//!
//! ```text
//!   to come:  `PAGE` bytes; when it has carried 4,000 full packets, a download's
//!   sooner on the longer link  <=>  to come x (1 / rate - 1 / its rate)  >  ROUNDS x how much longer it is
//! ```
//! Such a connection uses the short link, too, while what it sent on a longer one is still far from there: in order, none
//! of it is there before that. What it sends has no copies on the short link, or its acknowledgement would come too soon.
//! Only what the answering end sends is meant, which is the server nearly always, and a client's upload that is well under
//! way: acknowledgements, requests and calls take the shortest.
//!
//! Not for: links that cost more than they bring (`hold_back.rs`).

use super::balancer::Lane;
use super::hold_back::Usual;

/// Up to where a channel is fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Bytes to come from which on a connection should live elsewhere.
    bytes: u64,
    /// How much longer that channel is, microseconds.
    lead_us: i64,
}

impl Fit {
    pub const ANY: Fit = Fit { bytes: u64::MAX, lead_us: 0 };
    #[cfg(test)]
    pub const NONE: Fit = Fit { bytes: 0, lead_us: 0 };
}

/// A packet's connection, for the choice of its channel; the default: none, any channel is fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Home {
    /// Bytes to come.
    pub to_come: u64,
    /// Time since it last used a channel to live on, microseconds.
    pub away_us: i64,
}

impl Home {
    /// What a connection counts as at its beginning, bytes; many pages are larger. Source: two times sixty random sets of links,
    /// 100 KB objects over the best link's, and one BBR download over the ideal's: without this rule 1.06, 0.69; with 100,000,
    /// 200,000, and 1,000,000: 1.01, 0.73 (later 1.02, 0.76); 0.97, 0.76; 0.91, 0.80. Since links are known better (`channel/restart.rs`),
    /// on two times 150 sets and 120, BBR on 60 each, over the best link's and counted as 1 at most: with 100,000 0.978, 0.979, 0.964 and
    /// 0.928, 0.896, 0.864; with 70,000 0.980, 0.980, 0.971 and 0.928, 0.895, 0.861; with 50,000 0.980, 0.980, 0.972 and 0.908, 0.865,
    /// 0.849.
    pub const PAGE: u64 = 70_000;
    /// The same of one that is well under way, bytes. Source: thirteen sets of recorded links, CUBIC, before `LEAD_MIN_US`
    /// and `LEAD_SHARE` were what they are: without limit, 3, 1 MB: 0.971, 0.972, 0.977; forty random sets, BBR for 40 s: 0.77,
    /// 0.77, 0.76.
    pub const DOWNLOAD: u64 = 3_000_000;

    pub fn lives_on(&self, fit: Fit) -> bool {
        self.to_come <= fit.bytes
    }

    pub fn may_use(&self, fit: Fit) -> bool {
        self.lives_on(fit) || self.away_us <= fit.lead_us / COMES_ALONG
    }
}

/// Judges the lanes by what each usually brings.
pub(super) fn judge(lanes: &mut [Lane], usual: impl Fn(&Lane) -> Option<Usual>) {
    let known: Vec<Usual> = lanes.iter().filter(|l| l.is_up() && !l.held).filter_map(&usual).collect();
    for lane in lanes {
        let rtt_us = lane.row.min_rtt.as_micros() as i64;
        let longer = |own: Usual| {
            let lead = move |other: &Usual| other.adds_us - own.adds_us;
            let counts = move |other: &&Usual| lead(other) > LEAD_MIN_US.max(rtt_us / LEAD_SHARE);
            let fit = move |other: &Usual| Fit { bytes: worth(own, *other), lead_us: lead(other) };
            known.iter().filter(counts).map(fit).min_by_key(|fit| fit.bytes)
        };
        lane.fit = usual(lane).and_then(longer).unwrap_or(Fit::ANY);
    }
}

/// Bytes from which on `longer` has them all sooner.
fn worth(own: Usual, longer: Usual) -> u64 {
    let (slow, fast) = (own.rate.0.max(1), longer.rate.0);
    if fast <= slow {
        return u64::MAX;
    }
    let later_us = (longer.adds_us - own.adds_us).max(0) as u128 * ROUNDS;
    let bytes = later_us * u128::from(slow) * u128::from(fast) / u128::from(fast - slow) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The part of the lead within which a connection's packets may follow what it sent on a longer channel. A half, an eighth, a
/// sixteenth are the same in the simulator.
const COMES_ALONG: i64 = 2;
/// Round trips that a page takes: handshake and request, four rounds of a slow start from ten packets (RFC 6928).
const ROUNDS: u128 = 6;
/// A channel that is ahead by less, or by less than this part of its round trip, spoils no least round trip.
/// Source: as `Home::DOWNLOAD`, 5 ms and a quarter 0.972, these 0.980, without the rule 0.982.
const LEAD_MIN_US: i64 = 10_000;
const LEAD_SHARE: i64 = 2;

#[cfg(test)]
mod tests {
    use super::super::outbound::tests::row;
    use super::*;
    use crate::units::Rate;
    use proptest::prelude::*;
    use std::time::Instant;

    fn usual(mbit: u64, adds_ms: i64) -> Usual {
        Usual { rate: Rate(mbit * 125_000), adds_us: adds_ms * 1_000 }
    }

    #[test]
    fn a_longer_link_is_worth_its_way_from_some_bytes_on() {
        // 6 x 50 ms are what 375 kB save at 10 instead of 1,000 Mbit/s, nearly.
        let bytes = worth(usual(10, 0), usual(1_000, 50));
        assert!((375_000..382_000).contains(&bytes), "{bytes}");
        assert_eq!(worth(usual(10, 0), usual(10, 50)), u64::MAX, "no faster");
        assert_eq!(worth(usual(0, 0), usual(10, 50)), 0);
    }

    /// Lanes of (Mbit/s, one-way delay in ms), judged by just that.
    fn judged(links: &[(u64, i64)], held: Option<usize>) -> Vec<Lane> {
        let rows = links
            .iter()
            .enumerate()
            .map(|(n, &(mbit, ms))| row(Instant::now(), n as u8, 0, mbit * 125_000, ms));
        let mut lanes: Vec<Lane> = rows.map(Lane::new).collect();
        held.into_iter().for_each(|at| lanes[at].held = true);
        judge(&mut lanes, |lane| {
            let (mbit, ms) = links[usize::from(lane.id().0)];
            Some(usual(mbit, ms))
        });
        lanes
    }

    #[test]
    fn a_download_lives_on_the_fast_link_and_a_page_on_the_short_one_unless_that_is_very_thin() {
        let page = Home { to_come: Home::PAGE, away_us: i64::MAX };
        let download = Home { to_come: Home::DOWNLOAD, ..page };
        let may = |links: &[(u64, i64)], held| {
            judged(links, held)
                .iter()
                .map(|l| (page.may_use(l.fit), download.may_use(l.fit)))
                .collect::<Vec<_>>()
        };
        assert_eq!(may(&[(10, 10), (50, 60)], None), [(true, false), (true, true)]);
        assert_eq!(may(&[(1, 10), (50, 60)], None), [(false, false), (true, true)]);
        assert_eq!(may(&[(1, 10), (50, 60)], Some(1))[0], (true, true), "the fast one is held back");
        assert_eq!(may(&[(1, 10), (50, 18)], None)[0], (true, true), "hardly longer");
        assert_eq!(may(&[(50, 10), (10, 60)], None), [(true, true); 2]);
    }

    proptest! {
        #[test]
        fn one_channel_is_always_fit(links in prop::collection::vec((1u64..500, 0i64..600), 1..9)) {
            prop_assert!(judged(&links, None).iter().any(|l| l.fit == Fit::ANY));
        }
    }

    #[test]
    fn a_connection_that_lives_elsewhere_comes_along_behind_what_it_sent_there() {
        let fit = Fit { bytes: 200_000, lead_us: 50_000 };
        let page = Home { to_come: Home::PAGE, away_us: i64::MAX };
        let download = Home { to_come: 300_000, away_us: i64::MAX };
        assert!(page.may_use(fit) && !download.may_use(fit) && download.may_use(Fit::ANY));
        assert!(Home { away_us: 25_000, ..download }.may_use(fit));
        assert!(!Home { away_us: 26_000, ..download }.may_use(fit));
    }
}
