//! Both machines against each other, in memory and in virtual time, over channels that lose, copy,
//! delay and reorder.

use super::*;
use crate::crypto::aead::{AeadKey, OpenError};
use crate::crypto::generation::{self, Generation};
use crate::crypto::identity::Identity;
use crate::crypto::schedule::{Chain, Label, Share};
use crate::units::{Checksum, Form, PacketNumber, Piece};
use crate::wire::auth::{accept_header, response_header, Message, Open, Verdict, HELLO_LEN, VERSION};
use crate::wire::header::Kind;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const WAN0: ChannelId = ChannelId(0);
const WAN1: ChannelId = ChannelId(1);

#[test]
fn two_channels_join_and_carry_data_both_ways() {
    let mut w = World::new(1);
    w.connect();
    assert_eq!(w.router_ends.len(), 2);
    for channel in [WAN0, WAN1] {
        assert_eq!(w.exchange(channel), Ok(()));
    }
    let established = w.router_log.iter().find_map(|event| match event {
        Event::Established { params, suite, .. } => Some((*params, *suite)),
        _ => None,
    });
    assert_eq!(established, Some((params(), Suite::Aes128Gcm)));
    let Some(Event::Joined(joined)) = w.router_log.iter().find(|e| matches!(e, Event::Joined(_))) else {
        panic!("no channel joined");
    };
    assert_eq!(joined.remote, address(joined.channel));
}

#[test]
fn without_aes_on_one_side_chacha_is_taken() {
    let mut w = World::new(2);
    w.proxy = ProxySessions::new(
        w.now,
        ProxySettings { aes_in_hardware: false, ..proxy_settings(key(PROXY)) },
        rng(2),
    );
    w.connect();
    assert!(w
        .router_log
        .iter()
        .any(|e| matches!(e, Event::Established { suite: Suite::ChaCha20Poly1305, .. })));
}

#[test]
fn it_connects_through_loss_copies_and_reordering() {
    for seed in 0..20 {
        let mut w = World::new(seed);
        w.noise = Noise { lost: 30, copied: 20, delayed: 30 };
        w.run_until(Duration::from_secs(120), |w| w.router_ends.len() == 2 && w.proxy_ends.len() == 2);
        w.noise = Noise::default();
        w.run_for(Duration::from_secs(12));
        assert!([WAN0, WAN1].into_iter().all(|channel| w.exchange(channel).is_ok()), "seed {seed}");
    }
}

#[test]
fn a_router_that_the_proxy_does_not_know_is_told_so_on_both_sides() {
    let mut w = World::new(3);
    w.restart_router(router_settings(key(STRANGER), ProxyTrust::Pinned(public(PROXY))));
    w.run_for(Duration::from_secs(20));
    let router = public(STRANGER).fingerprint();
    assert_eq!(w.router_refusals().first(), Some(&Refusal::UnknownRouterKey { router }));
    assert_eq!(w.proxy_refusals().first(), Some(&Refusal::UnknownRouterKey { router }));
    assert!(w.router_ends.is_empty() && w.proxy_ends.is_empty());
    assert!((2..10).contains(&w.router_refusals().len()), "{:?}", w.router_refusals());
}

#[test]
fn a_proxy_with_another_key_is_named_and_gets_nothing() {
    let mut w = World::new(4);
    w.restart_router(router_settings(key(ROUTER), ProxyTrust::Pinned(public(STRANGER))));
    w.run_for(Duration::from_secs(10));
    let proxy = public(PROXY).fingerprint();
    assert_eq!(w.router_refusals().first(), Some(&Refusal::WrongProxyKey { proxy }));
    assert_eq!(w.proxy_refusals().first(), Some(&Refusal::WrongProxyKey { proxy }));
    assert!(w.router_ends.is_empty() && w.proxy_ends.is_empty());
}

#[test]
fn a_proxy_that_lies_about_its_key_is_found_out() {
    // It answers as if it had the key that the router pins, but cannot sign with it.
    let mut w = World::new(5);
    let mut settings = proxy_settings(key(PROXY));
    settings.identity = key(STRANGER);
    w.proxy = ProxySessions::new(w.now, settings, rng(5));
    w.swap_fingerprint = Some((public(PROXY).fingerprint(), public(STRANGER).fingerprint()));
    w.run_for(Duration::from_secs(10));
    assert_eq!(w.router_refusals().first(), Some(&Refusal::ProxyNotProven));
    assert!(w.router_ends.is_empty() && w.proxy_ends.is_empty());
}

#[test]
fn a_router_that_lies_about_its_key_is_found_out() {
    // It names the known router's fingerprint, but signs with its own key.
    let mut w = World::new(6);
    let from = address(WAN0);
    let ask = |w: &mut World, question: &[u8]| {
        w.proxy.handle_datagram(w.now, from, question);
        let (to, answer) = w.proxy.poll_transmit().unwrap();
        assert!(to == from && answer.len() <= question.len());
        answer
    };
    let token = [7; 8];
    let answer = ask(&mut w, &Message::Hello { version: VERSION, token }.encode());
    let Ok(Message::Cookie { cookie, .. }) = Message::decode(&answer) else { panic!() };
    let share = Share::generate(&mut rng(6));
    let (router, proxy) = (public(ROUTER).fingerprint().0, public(PROXY).fingerprint().0);
    let open = Open { version: VERSION, suites: 2, token, share: share.public(), router, proxy, cookie };
    let answer = ask(&mut w, &Message::Open(open.clone()).encode());
    let Ok(Message::Challenge(challenge)) = Message::decode(&answer) else { panic!() };
    let hash = handshake::transcript_of(&open, &challenge);
    let chain = Chain::start(&hash, &share.agree(&challenge.share).unwrap());
    let statement = handshake::statement(generation::End::Router, &hash);
    let mut sealed = key(STRANGER).sign(&mut rng(6), &statement).unwrap();
    let seal = AeadKey::new(Suite::ChaCha20Poly1305, &chain.key(Label::HandshakeFromRouter));
    let tag = seal.seal([0; 12], &response_header(challenge.session), &mut sealed);
    sealed.extend_from_slice(&tag);
    let answer = ask(&mut w, &Message::Response { session: challenge.session, sealed: &sealed }.encode());
    let Ok(Message::Accept { session, sealed }) = Message::decode(&answer) else { panic!() };
    let open = AeadKey::new(Suite::ChaCha20Poly1305, &chain.key(Label::HandshakeFromProxy));
    let mut sealed = sealed.to_vec();
    let verdict = open.open([0; 12], &accept_header(session), &mut sealed).unwrap();
    assert_eq!(Verdict::decode(verdict), Ok(Verdict::Refused(4)));
    w.collect();
    let router = public(ROUTER).fingerprint();
    assert_eq!(w.proxy_refusals(), [Refusal::RouterNotProven { router }]);
    assert!(w.proxy_ends.is_empty());
}

#[test]
fn what_is_changed_on_the_way_makes_no_session() {
    let mut w = World::new(28);
    w.restart_router(router_settings(key(STRANGER), ProxyTrust::Pinned(public(PROXY))));
    w.swap_fingerprint = Some((public(STRANGER).fingerprint(), public(ROUTER).fingerprint()));
    w.run_for(Duration::from_secs(10));
    assert_eq!(w.router_refusals().first(), Some(&Refusal::ProxyNotProven));
    assert!(w.router_ends.is_empty() && w.proxy_ends.is_empty());
}

#[test]
fn an_unpinned_proxy_is_accepted_with_a_warning() {
    let mut w = World::new(7);
    w.restart_router(router_settings(key(ROUTER), ProxyTrust::Unpinned));
    w.connect();
    let fingerprint = public(PROXY).fingerprint();
    let warned = |e: &Event| matches!(e, Event::ProxyNotPinned { fingerprint: f } if *f == fingerprint);
    assert!(w.router_log.iter().any(warned));
}

#[test]
fn a_restarted_proxy_is_found_again() {
    let mut w = World::new(8);
    w.connect();
    w.restart_proxy();
    assert!(w.exchange(WAN0).is_err());
    w.router_data_to_listener(WAN0);
    w.run_until(Duration::from_secs(5), |w| w.proxy_ends.len() == 2);
    w.run_for(Duration::from_secs(1));
    assert_eq!([w.exchange(WAN0), w.exchange(WAN1)], [Ok(()); 2]);
}

#[test]
fn a_restarted_proxy_is_found_again_when_a_link_is_reported_down_and_up() {
    let mut w = World::new(9);
    w.connect();
    w.restart_proxy();
    w.router.path_usable(w.now, WAN1, true);
    w.run_until(Duration::from_secs(5), |w| w.proxy_ends.len() == 2);
}

#[test]
fn a_restarted_router_replaces_its_session() {
    let mut w = World::new(10);
    w.connect();
    w.restart_router(router_settings(key(ROUTER), ProxyTrust::Pinned(public(PROXY))));
    w.run_until(Duration::from_secs(5), |w| w.router_ends.len() == 2);
    let replaced = |e: &Event| matches!(e, Event::Closed { reason: CloseReason::Replaced, .. });
    assert_eq!(w.proxy_log.iter().filter(|e| replaced(e)).count(), 1);
    assert_eq!([w.exchange(WAN0), w.exchange(WAN1)], [Ok(()); 2]);
}

#[test]
fn a_channel_whose_address_changed_joins_again_with_other_nonces() {
    let mut w = World::new(11);
    w.connect();
    let old = w.sealed_by_router(WAN0);
    w.nat = 1000;
    w.router_data_to_listener(WAN0);
    w.run_for(Duration::from_secs(1));
    let joins = |e: &&Event| matches!(e, Event::Joined(joined) if joined.channel == WAN0);
    assert_eq!(w.proxy_log.iter().filter(joins).count(), 2);
    assert_eq!(w.exchange(WAN0), Ok(()));
    let new = w.sealed_by_router(WAN0);
    assert_ne!(old[8..], new[8..]);
    assert!(w.proxy_ends.get_mut(&WAN0).unwrap().1.open(&mut old.clone()).is_err());
}

#[test]
fn a_link_that_comes_back_joins_again() {
    let mut w = World::new(12);
    w.connect();
    w.router.path_usable(w.now, WAN1, false);
    w.run_for(Duration::from_secs(30));
    w.router.path_usable(w.now, WAN1, true);
    w.run_for(Duration::from_secs(1));
    let joins = |e: &&Event| matches!(e, Event::Joined(joined) if joined.channel == WAN1);
    assert_eq!(w.router_log.iter().filter(joins).count(), 2);
    assert_eq!(w.exchange(WAN1), Ok(()));
}

#[test]
fn a_dead_channel_does_not_keep_the_other_from_the_session() {
    let mut w = World::new(13);
    w.dead = Some(WAN0);
    w.run_until(Duration::from_secs(3), |w| w.router_ends.contains_key(&WAN1));
    assert_eq!(w.exchange(WAN1), Ok(()));
    w.run_for(Duration::from_secs(200));
    w.dead = None;
    w.run_until(Duration::from_secs(6), |w| w.router_ends.contains_key(&WAN0));
    assert_eq!(w.router_log.iter().filter(|e| is_established(e)).count(), 1);
}

#[test]
fn a_channel_that_answers_first_but_swallows_the_rest_is_left_for_the_other() {
    let mut w = World::new(14);
    w.swallows_opens = Some(WAN0);
    w.run_until(Duration::from_secs(10), |w| w.router_ends.contains_key(&WAN1));
}

#[test]
fn one_channel_that_denies_the_session_does_not_end_it() {
    let mut w = World::new(24);
    w.connect();
    let Some(Event::Established { session, .. }) = w.router_log.iter().find(|e| is_established(e)) else {
        panic!("no session");
    };
    let lie = Message::UnknownSession { session: session.0 }.encode();
    for _ in 0..100 {
        w.router.handle_datagram(w.now, WAN0, &lie);
        w.run_for(Duration::from_millis(100));
    }
    assert_eq!(w.router_log.iter().filter(|e| is_established(e)).count(), 1);
    assert_eq!([w.exchange(WAN0), w.exchange(WAN1)], [Ok(()); 2]);
}

#[test]
fn a_channel_that_refuses_everything_is_left_for_the_other() {
    let mut w = World::new(25);
    w.refuses_opens = Some(WAN0);
    w.run_until(Duration::from_secs(10), |w| w.router_ends.contains_key(&WAN1));
}

#[test]
fn two_routers_have_a_session_each() {
    let mut w = World::new(26);
    w.connect();
    let mut other = RouterSession::new(
        w.now,
        router_settings(key(OTHER_ROUTER), ProxyTrust::Pinned(public(PROXY))),
        rng(26),
    );
    other.path_usable(w.now, WAN0, true);
    let from = "192.0.2.77:1".parse().unwrap();
    let mut joined = None;
    for _ in 0..10 {
        while let Some((_, datagram)) = other.poll_transmit() {
            w.proxy.handle_datagram(w.now, from, &datagram);
        }
        while let Some((to, datagram)) = w.proxy.poll_transmit() {
            assert_eq!(to, from);
            other.handle_datagram(w.now, WAN0, &datagram);
        }
        while let Some(event) = other.poll_event() {
            joined = if let Event::Joined(joined) = event { Some(joined) } else { joined };
        }
    }
    let mut indices = Vec::new();
    while let Some(event) = w.proxy.poll_event() {
        if let Event::Joined(there) = event {
            indices.push(there.router);
            let Joined { sealer, .. } = *joined.take().unwrap();
            let mut opener = there.opener;
            assert!(opener.open(&mut seal(&mut (sealer, opener_of_nobody(), 0))).is_ok());
        }
    }
    assert_eq!(indices, [0]);
    assert_eq!([w.exchange(WAN0), w.exchange(WAN1)], [Ok(()); 2]);
}

#[test]
fn recorded_datagrams_change_nothing_when_they_come_again() {
    let mut w = World::new(15);
    w.record = true;
    w.connect();
    w.router.path_usable(w.now, WAN0, true);
    w.run_for(Duration::from_secs(130));
    let (tape, events) = (std::mem::take(&mut w.tape), (w.router_log.len(), w.proxy_log.len()));
    w.record = false;
    assert!(tape.len() > 12);
    let thief = "203.0.113.9:666".parse().unwrap();
    for (to_proxy, channel, datagram) in &tape {
        if *to_proxy {
            w.proxy.handle_datagram(w.now, address(*channel), datagram);
            w.proxy.handle_datagram(w.now, thief, datagram);
        } else {
            w.router.handle_datagram(w.now, *channel, datagram);
        }
    }
    while let Some((to, datagram)) = w.proxy.poll_transmit() {
        assert!(to != thief || datagram.len() <= HELLO_LEN, "{:?}", Message::decode(&datagram));
    }
    w.run_for(Duration::from_secs(1));
    assert_eq!((w.router_log.len(), w.proxy_log.len()), events);
    assert_eq!([w.exchange(WAN0), w.exchange(WAN1)], [Ok(()); 2]);
}

#[test]
fn rekeys_go_by_without_an_undecryptable_packet() {
    let mut w = World::new(16);
    w.connect();
    w.noise = Noise { lost: 20, copied: 10, delayed: 20 };
    let mut late: Vec<(bool, ChannelId, Vec<u8>)> = Vec::new();
    let mut opened = 0;
    for step in 0..60_000u32 {
        w.run_for(Duration::from_millis(20));
        // Datagrams travel for up to two steps, so that both generations are on the way at once.
        let channel = ChannelId(u8::from(step % 3 == 0));
        late.push((true, channel, w.sealed_by_router(channel)));
        late.push((false, channel, w.sealed_by_proxy(channel)));
        if late.len() > 6 {
            let (to_proxy, channel, mut datagram) = late.remove(usize::from(step % 2 == 0));
            let ends = if to_proxy { &mut w.proxy_ends } else { &mut w.router_ends };
            let end = &mut ends.get_mut(&channel).unwrap().1;
            assert!(end.open(&mut datagram).is_ok(), "step {step}");
            opened += 1;
            late.truncate(8);
        }
    }
    let rekeyed = |e: &&Event| matches!(e, Event::Rekeyed { .. });
    assert!(w.router_log.iter().filter(rekeyed).count() >= 9);
    assert!(w.proxy_log.iter().filter(rekeyed).count() >= 9);
    assert!(opened > 50_000);
}

#[test]
fn a_channel_that_joins_in_the_middle_of_a_rekey_works_both_ways() {
    let mut w = World::new(27);
    w.connect();
    // No data flows, so the proxy cannot know that the router has the new keys.
    w.run_for(Duration::from_secs(250));
    assert!(w.proxy_log.iter().filter(|e| matches!(e, Event::Rekeyed { .. })).count() == 2);
    w.router.path_usable(w.now, WAN1, true);
    w.run_for(Duration::from_secs(1));
    let mut back = w.sealed_by_proxy(WAN1);
    assert!(w.router_ends.get_mut(&WAN1).unwrap().1.open(&mut back).is_ok());
    assert_eq!([w.exchange(WAN0), w.exchange(WAN1)], [Ok(()); 2]);
    let (there, back) = (w.sealed_by_router(WAN0), w.sealed_by_proxy(WAN1));
    assert_eq!(there[0], back[0], "both use the newest generation");
}

#[test]
fn both_sides_can_leave() {
    let mut w = World::new(17);
    w.connect();
    w.router.close(w.now);
    w.run_for(Duration::from_millis(100));
    let left = |e: &Event| matches!(e, Event::Closed { reason: CloseReason::PeerLeft, .. });
    assert!(w.proxy_log.iter().any(left));
    let mut w = World::new(18);
    w.connect();
    w.proxy.close_all(w.now);
    w.run_for(Duration::from_millis(100));
    assert!(w.router_log.iter().any(left));
    w.run_for(Duration::from_secs(5));
    assert_eq!([w.exchange(WAN0), w.exchange(WAN1)], [Ok(()); 2], "the router comes back by itself");
}

#[test]
fn a_silent_router_is_forgotten() {
    let mut w = World::new(19);
    w.connect();
    w.now += proxy::SILENCE_MAX * 2;
    w.proxy.handle_timeout(w.now);
    w.collect();
    assert!(w.proxy_log.iter().any(|e| matches!(e, Event::Closed { reason: CloseReason::Silent, .. })));
    assert_eq!(w.proxy.poll_timeout(), None);
}

#[test]
fn strangers_leave_no_state_and_get_no_more_than_they_send() {
    let mut w = World::new(20);
    w.record = true;
    w.connect();
    let (tape, events) = (std::mem::take(&mut w.tape), w.proxy_log.len());
    let timeout = w.proxy.poll_timeout();
    let mut random = rng(20);
    for n in 0..1000u32 {
        let from = SocketAddr::from((n.to_be_bytes(), 5000));
        let mut datagram = match n % 4 {
            0 => (0..random.random_range(0..1300)).map(|_| random.random()).collect(),
            1 => Message::Hello { version: VERSION, token: random.random() }.encode(),
            _ => tape[random.random_range(0..tape.len())].2.clone(),
        };
        if n % 2 == 1 {
            datagram.truncate(random.random_range(0..=datagram.len()));
        }
        if n % 4 == 3 && !datagram.is_empty() {
            let at = random.random_range(0..datagram.len());
            datagram[at] ^= 1 << random.random_range(0..8);
        }
        w.proxy.handle_datagram(w.now, from, &datagram);
        let mut sent = 0;
        while let Some((to, answer)) = w.proxy.poll_transmit() {
            assert_eq!(to, from);
            sent += answer.len();
        }
        assert!(sent <= datagram.len(), "{sent} bytes for {}", datagram.len());
    }
    w.collect();
    // A hello of another version is worth a line in the log, at a bounded rate, and nothing else is.
    let only_refusals = w.proxy_log[events..].iter().all(|e| matches!(e, Event::Refused { .. }));
    assert!(only_refusals && w.proxy_log.len() <= events + 16);
    assert_eq!(w.proxy.poll_timeout(), timeout);
    assert_eq!([w.exchange(WAN0), w.exchange(WAN1)], [Ok(()); 2]);
}

#[test]
fn a_stranger_with_a_known_fingerprint_gets_a_bounded_number_of_signatures() {
    let mut w = World::new(21);
    w.connect();
    let mut signatures = 0;
    for n in 0..2000u32 {
        w.now += Duration::from_millis(1);
        let from = SocketAddr::from(((n % 200).to_be_bytes(), 5000));
        let token = u64::from(n).to_be_bytes();
        let hello = Message::Hello { version: VERSION, token }.encode();
        w.proxy.handle_datagram(w.now, from, &hello);
        let Some((_, answer)) = w.proxy.poll_transmit() else { panic!() };
        let Ok(Message::Cookie { cookie, .. }) = Message::decode(&answer) else { panic!() };
        let open = Open {
            version: VERSION,
            suites: 3,
            token,
            share: [9; 32],
            router: public(ROUTER).fingerprint().0,
            proxy: public(PROXY).fingerprint().0,
            cookie,
        };
        let open = Message::Open(open).encode();
        w.proxy.handle_datagram(w.now, from, &open);
        while let Some((_, answer)) = w.proxy.poll_transmit() {
            assert!(answer.len() <= open.len());
            signatures += 1;
        }
    }
    assert!((16..=16 + 20).contains(&signatures), "{signatures}");
    // The crowd has taken all turns, but not those of an address that a router had before.
    w.restart_router(router_settings(key(ROUTER), ProxyTrust::Pinned(public(PROXY))));
    w.run_until(Duration::from_secs(1), |w| w.router_ends.len() == 2);
    w.now += half_open::HALF_OPEN_TIME;
    w.proxy.handle_timeout(w.now);
    assert_eq!(w.proxy.poll_timeout().map(|(_, why)| why), Some("silence"));
}

#[test]
fn a_router_without_a_proxy_keeps_asking_at_a_low_rate() {
    let mut w = World::new(22);
    w.noise = Noise { lost: 100, copied: 0, delayed: 0 };
    w.run_for(Duration::from_secs(600));
    let per_channel = w.sent / 2;
    assert!((110..150).contains(&per_channel), "{per_channel}");
    w.noise = Noise::default();
    w.run_until(Duration::from_secs(6), |w| w.router_ends.len() == 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_router_survives_any_bytes(datagrams in proptest::collection::vec(
        (0x10u8..0x1b, proptest::collection::vec(any::<u8>(), 0..300)), 1..20,
    )) {
        let mut w = World::new(23);
        w.connect();
        for (kind, rest) in datagrams {
            let mut datagram = vec![kind];
            datagram.extend(rest);
            w.router.handle_datagram(w.now, WAN0, &datagram);
        }
        prop_assert_eq!(w.exchange(WAN0), Ok(()));
    }
}

/// Percent of the datagrams that are lost, copied, delayed by up to a second.
#[derive(Clone, Copy, Default)]
struct Noise {
    lost: u32,
    copied: u32,
    delayed: u32,
}

type End = (Sealer, Opener, u64);

/// A router with two channels, a proxy, and what is between them.
struct World {
    now: Instant,
    rng: StdRng,
    router: RouterSession,
    proxy: ProxySessions,
    router_ends: BTreeMap<ChannelId, End>,
    proxy_ends: BTreeMap<ChannelId, End>,
    router_log: Vec<Event>,
    proxy_log: Vec<Event>,
    /// On the way: when it arrives, in which order it was sent, to the proxy or not, channel.
    way: BTreeMap<(Instant, u64), (bool, ChannelId, Vec<u8>)>,
    sent: u64,
    noise: Noise,
    dead: Option<ChannelId>,
    swallows_opens: Option<ChannelId>,
    refuses_opens: Option<ChannelId>,
    /// Added to the ports that the proxy sees.
    nat: u16,
    /// Bytes that somebody on the way replaces by others.
    swap_fingerprint: Option<(Fingerprint, Fingerprint)>,
    record: bool,
    tape: Vec<(bool, ChannelId, Vec<u8>)>,
}

impl World {
    fn new(seed: u64) -> World {
        let now = Instant::now();
        let mut world = World {
            now,
            rng: rng(seed),
            router: RouterSession::new(
                now,
                router_settings(key(ROUTER), ProxyTrust::Pinned(public(PROXY))),
                rng(seed + 1000),
            ),
            proxy: ProxySessions::new(now, proxy_settings(key(PROXY)), rng(seed + 2000)),
            router_ends: BTreeMap::new(),
            proxy_ends: BTreeMap::new(),
            router_log: Vec::new(),
            proxy_log: Vec::new(),
            way: BTreeMap::new(),
            sent: 0,
            noise: Noise::default(),
            dead: None,
            swallows_opens: None,
            refuses_opens: None,
            nat: 0,
            swap_fingerprint: None,
            record: false,
            tape: Vec::new(),
        };
        world.links_up();
        world
    }

    fn links_up(&mut self) {
        self.router.path_usable(self.now, WAN0, true);
        self.router.path_usable(self.now, WAN1, true);
    }

    fn restart_router(&mut self, settings: RouterSettings) {
        self.router = RouterSession::new(self.now, settings, rng(self.sent + 5000));
        self.router_ends.clear();
        self.links_up();
    }

    fn restart_proxy(&mut self) {
        self.proxy = ProxySessions::new(self.now, proxy_settings(key(PROXY)), rng(self.sent + 6000));
        self.proxy_ends.clear();
    }

    fn connect(&mut self) {
        self.run_until(Duration::from_secs(2), |w| w.router_ends.len() == 2 && w.proxy_ends.len() == 2);
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.step(end), "not done within {limit:?}; router: {:?}", self.router_log);
        }
    }

    /// Goes to the next thing that happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        self.collect();
        let arrival = self.way.first_key_value().map(|((at, _), _)| *at);
        let timers = [self.router.poll_timeout(), self.proxy.poll_timeout()];
        let timer = timers.into_iter().flatten().map(|(at, _)| at).min();
        let Some(at) = arrival.into_iter().chain(timer).min().filter(|at| *at <= end) else { return false };
        self.now = self.now.max(at);
        while let Some(entry) = self.way.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to_proxy, channel, datagram) = entry.remove();
            self.deliver(to_proxy, channel, &datagram);
            self.collect();
        }
        if self.router.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.router.handle_timeout(self.now);
        }
        if self.proxy.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.proxy.handle_timeout(self.now);
        }
        self.collect();
        let due = [self.router.poll_timeout(), self.proxy.poll_timeout()];
        let spins = due.into_iter().flatten().find(|(at, _)| *at <= self.now);
        assert_eq!(spins, None, "what is due was done");
        true
    }

    fn deliver(&mut self, to_proxy: bool, channel: ChannelId, datagram: &[u8]) {
        if to_proxy {
            let mut from = address(channel);
            from.set_port(from.port() + self.nat);
            self.proxy.handle_datagram(self.now, from, datagram);
        } else {
            self.router.handle_datagram(self.now, channel, datagram);
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.router.poll_event() {
            self.router_log.push(keep(event, &mut self.router_ends));
        }
        while let Some(event) = self.proxy.poll_event() {
            self.proxy_log.push(keep(event, &mut self.proxy_ends));
        }
        while let Some((channel, datagram)) = self.router.poll_transmit() {
            self.send(true, channel, datagram);
        }
        while let Some((to, datagram)) = self.proxy.poll_transmit() {
            let channel = ChannelId(u8::try_from((to.port() - 7000) % 1000).unwrap());
            self.send(false, channel, datagram);
        }
    }

    fn send(&mut self, to_proxy: bool, channel: ChannelId, mut datagram: Vec<u8>) {
        self.sent += 1;
        assert!(datagram.len() <= 1200);
        if self.record {
            self.tape.push((to_proxy, channel, datagram.clone()));
        }
        if let (Some((old, new)), true) = (self.swap_fingerprint, to_proxy) {
            if let Some(at) = datagram.windows(32).position(|w| w == old.0) {
                datagram[at..at + 32].copy_from_slice(&new.0);
            }
        }
        let is_open = matches!(Message::decode(&datagram), Ok(Message::Open(_)));
        if let (Ok(Message::Open(open)), true) =
            (Message::decode(&datagram), self.refuses_opens == Some(channel))
        {
            let refuse = Message::Refuse { version: VERSION, token: open.token, code: 2, proxy: [0; 32] };
            self.router.handle_datagram(self.now, channel, &refuse.encode());
            return;
        }
        let swallowed = is_open && self.swallows_opens == Some(channel);
        if self.dead == Some(channel) || swallowed || self.percent(self.noise.lost) {
            return;
        }
        let copies = if self.percent(self.noise.copied) { 2 } else { 1 };
        for _ in 0..copies {
            let slow = if self.percent(self.noise.delayed) { 1000 } else { 1 };
            let ms = 20 + 10 * u64::from(channel.0) + self.rng.random_range(0..slow);
            self.sent += 1;
            let key = (self.now + Duration::from_millis(ms), self.sent);
            self.way.insert(key, (to_proxy, channel, datagram.clone()));
        }
        self.sent -= copies;
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// One packet each way on a channel, at once.
    fn exchange(&mut self, channel: ChannelId) -> Result<(), OpenError> {
        if !self.router_ends.contains_key(&channel) || !self.proxy_ends.contains_key(&channel) {
            return Err(OpenError::Malformed);
        }
        let mut there = self.sealed_by_router(channel);
        self.proxy_ends.get_mut(&channel).unwrap().1.open(&mut there)?;
        let mut back = self.sealed_by_proxy(channel);
        self.router_ends.get_mut(&channel).unwrap().1.open(&mut back)?;
        Ok(())
    }

    fn sealed_by_router(&mut self, channel: ChannelId) -> Vec<u8> {
        seal(self.router_ends.get_mut(&channel).unwrap())
    }

    fn sealed_by_proxy(&mut self, channel: ChannelId) -> Vec<u8> {
        seal(self.proxy_ends.get_mut(&channel).unwrap())
    }

    /// The router's data reaches the proxy's listening socket: from an address that it does not know.
    fn router_data_to_listener(&mut self, channel: ChannelId) {
        let datagram = self.sealed_by_router(channel);
        self.deliver(true, channel, &datagram);
    }

    fn router_refusals(&self) -> Vec<Refusal> {
        refusals(&self.router_log)
    }

    fn proxy_refusals(&self) -> Vec<Refusal> {
        refusals(&self.proxy_log)
    }
}

fn refusals(log: &[Event]) -> Vec<Refusal> {
    let refused = |event: &Event| match event {
        Event::Refused { reason, .. } => Some(*reason),
        _ => None,
    };
    log.iter().filter_map(refused).collect()
}

/// Takes the keys out of an event, which stays for the log with others that nobody uses.
fn keep(event: Event, ends: &mut BTreeMap<ChannelId, End>) -> Event {
    match event {
        Event::Joined(mut joined) => {
            let sealer = std::mem::replace(&mut joined.sealer, Sealer::new(nobody(), 0, 0));
            let opener = std::mem::replace(&mut joined.opener, opener_of_nobody());
            ends.insert(joined.channel, (sealer, opener, 0));
            Event::Joined(joined)
        }
        Event::Closed { .. } => {
            ends.clear();
            event
        }
        _ => event,
    }
}

fn nobody() -> std::sync::Arc<Generation> {
    let chain = Chain::start(&[0; 32], &zeroize::Zeroizing::new([0; 32]));
    Generation::first(&chain, Suite::ChaCha20Poly1305, generation::End::Router)
}

fn opener_of_nobody() -> Opener {
    Opener::new(nobody(), 0, 0)
}

fn is_established(event: &Event) -> bool {
    matches!(event, Event::Established { .. })
}

fn seal((sealer, _, number): &mut End) -> Vec<u8> {
    let mut out = Vec::new();
    let at = sealer.begin(
        Kind::Data(Checksum::Complete, Form::Whole, Piece::All),
        PacketNumber(*number),
        &mut out,
    );
    out.extend_from_slice(b"a packet of the inside");
    sealer.finish(PacketNumber(*number), at, &mut out);
    *number += 1;
    out
}

fn address(channel: ChannelId) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, channel.0], 7000 + u16::from(channel.0)))
}

fn params() -> TunnelParams {
    TunnelParams {
        mtu: 1440,
        v4: Some(Ends { router: [10, 9, 0, 2].into(), proxy: [10, 9, 0, 1].into(), prefix: 24 }),
        v6: None,
    }
}

const ROUTER: usize = 0;
const PROXY: usize = 1;
const STRANGER: usize = 2;
const OTHER_ROUTER: usize = 3;

fn pem(which: usize) -> &'static str {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    let make = |seed| Identity::generate(&mut rng(seed), 2048).unwrap().to_pem().to_string();
    &KEYS.get_or_init(|| (0..4).map(make).collect())[which]
}

fn key(which: usize) -> Identity {
    Identity::from_pem(pem(which)).unwrap()
}

fn public(which: usize) -> crate::crypto::identity::PublicIdentity {
    key(which).public().clone()
}

fn router_settings(identity: Identity, proxy: ProxyTrust) -> RouterSettings {
    RouterSettings { identity, proxy, aes_in_hardware: true }
}

fn proxy_settings(identity: Identity) -> ProxySettings {
    let entry =
        |name: &str, which| RouterEntry { name: name.into(), public_key: public(which), params: params() };
    ProxySettings {
        identity,
        routers: vec![entry("other", OTHER_ROUTER), entry("home", ROUTER)],
        aes_in_hardware: true,
    }
}

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
