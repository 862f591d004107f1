//! Fast simulation tests: links, the inner TCP model, and the core over both. Same seed, same result.
//!
//! `SIM_SEED=7 cargo test --test sim` repeats them with other losses and jitter.

#[path = "sim/mod.rs"]
mod lab;

use gobonding::channel::congestion::ControlSettings;
use gobonding::tunnel::inbound::{Arrival, Inbound, InboundSettings};
use gobonding::tunnel::outbound::Balancer;
use gobonding::units::{ChannelId, FlowSeq, FlowTag, Form, Piece, Ticks};
use lab::knobs::Knobs;
use lab::link::{Dir, DirSpec, MS, SECOND};
use lab::measure::Outcome;
use lab::scenario::Scenario;
use lab::scenarios;
use lab::score::ATTAINABLE;
use lab::workload::workloads;
use lab::world::{Path, Run, World};
use std::time::{Duration, Instant};

const TUNNEL: Path = Path::Tunnel(Balancer::Adaptive);

fn run(scenario: Scenario, path: Path, workload: &str, seconds: f64) -> Outcome {
    let workload = workloads().into_iter().find(|w| w.name == workload).expect("a known workload");
    World::new(Run {
        scenario,
        path,
        workload,
        seconds,
        before: 0,
        seed: seed(),
        latency: 50_000,
        knobs: Knobs::default(),
    })
    .finish()
}

/// The same after a CUBIC transfer of so many seconds.
fn run_after(before: u64, scenario: Scenario, workload: &str, seconds: f64) -> Outcome {
    let workload = workloads().into_iter().find(|w| w.name == workload).expect("a known workload");
    let (knobs, before) = (Knobs::default(), before * SECOND);
    World::new(Run {
        scenario,
        path: TUNNEL,
        workload,
        seconds,
        before,
        seed: seed(),
        latency: 50_000,
        knobs,
    })
    .finish()
}

fn seed() -> u64 {
    std::env::var("SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

fn built_in(name: &str) -> Scenario {
    scenarios::generated(name).expect("a built-in scenario")
}

fn links(json: &str) -> Scenario {
    Scenario::parse("test", &format!(r#"{{"links":[{json}]}}"#), &[]).expect("a well-formed scenario")
}

/// Goodput of one flow through the tunnel over what the oracle makes attainable.
fn share(name: &str, workload: &str, seconds: f64) -> f64 {
    let s = built_in(name);
    let ideal = run(s.oracle(seconds as u64 + 5), Path::Direct, workload, seconds).goodput80_mbit;
    run(s, TUNNEL, workload, seconds).goodput80_mbit / ideal / ATTAINABLE
}

// ---- the laboratory itself ----

#[test]
fn a_link_delivers_what_it_offers() {
    for name in ["two-equal", "step", "sine", "lte2", "car4", "walk2"] {
        for link in built_in(name).links {
            let spec = DirSpec { queue_bytes: 100_000, ..link.dirs[1].clone() };
            let mut dir = Dir::new(spec, 1, 0);
            for t in 0..20_000 {
                // Always more than the link can carry.
                (0..80).for_each(|_| dir.push(t * MS, 1500, ()));
                while dir.poll(t * MS).is_some() {}
            }
            let (got, offered) = (dir.counters.delivered_bytes as f64, dir.spec.offered(0, 20 * SECOND));
            assert!((0.985..1.005).contains(&(got / offered)), "{name}: {got} of {offered} bytes");
        }
    }
}

#[test]
fn losses_come_at_the_rate_asked_for() {
    for (json, least, most) in [
        (r#"{"rate_mbit":50,"loss":0.02}"#, 0.015, 0.025),
        (r#"{"rate_mbit":50,"ge":{"p_gb":0.00202,"p_bg":0.2}}"#, 0.006, 0.014),
    ] {
        let mut dir = Dir::new(links(json).links[0].dirs[1].clone(), 1, 0);
        for t in 0..100_000 {
            dir.push(t * MS, 1500, ());
            while dir.poll(t * MS).is_some() {}
        }
        let lost = dir.counters.drop_loss as f64 / dir.counters.served as f64;
        assert!((least..most).contains(&lost), "{json}: {lost}");
    }
}

#[test]
fn one_cubic_flow_fills_a_constant_link() {
    let o = run(built_in("two-equal").only(&[0]), Path::Direct, "tcp_down", 20.0);
    // 1448 of 1500 bytes is all there is. The kernel of the namespaces has 0.963, the model 0.956: its slow start ends by a train at
    // 74 packets, and the rest comes slowly.
    assert!((0.95..0.97).contains(&(o.goodput80_mbit / 20.0)), "{} Mbit/s of 20", o.goodput80_mbit);
}

#[test]
fn one_percent_of_loss_breaks_a_cubic_flow() {
    let o = run(built_in("lossy"), Path::Direct, "tcp_down", 20.0);
    assert!((0.5..4.0).contains(&o.goodput80_mbit), "{} Mbit/s", o.goodput80_mbit);
}

#[test]
fn bbr_fills_a_link_and_shrugs_off_loss() {
    for (name, least) in [("two-equal", 0.93), ("lossy", 0.85)] {
        let o = run(built_in(name), Path::Direct, "tcp_down_bbr", 20.0);
        assert!(o.goodput80_mbit > least * 20.0, "{name}: {} Mbit/s of 20", o.goodput80_mbit);
    }
}

#[test]
fn the_oracle_carries_what_all_links_offer_together() {
    for name in ["two-unequal", "step", "city3"] {
        let o = run(built_in(name).oracle(25), Path::Direct, "tcp_down_8", 20.0);
        let part = o.goodput80_mbit / o.offered80_mbit;
        assert!((0.9..0.97).contains(&part), "{name}: {part}");
    }
}

#[test]
fn the_same_seed_gives_the_same_result() {
    let once = || run(built_in("city3"), TUNNEL, "latency_loaded", 5.0);
    let (a, b) = (once(), once());
    assert_eq!((a.events, a.bins, a.probe_delays), (b.events, b.bins, b.probe_delays));
}

// ---- the core: what it reaches ----

#[test]
fn one_flow_gets_most_of_the_sum_of_steady_links() {
    for (name, floor) in [("two-equal", 0.95), ("two-unequal", 0.95), ("shallow", 0.9)] {
        let s = share(name, "tcp_down", 12.0);
        assert!(s > floor, "{name}: {s}");
    }
}

#[test]
fn eight_flows_get_most_of_the_sum_of_changing_links() {
    for (name, floor) in [("step", 0.9), ("city3", 0.8)] {
        let s = share(name, "tcp_down_8", 12.0);
        assert!(s > floor, "{name}: {s}");
    }
}

#[test]
fn a_download_over_links_that_change_five_fold_loses_nothing_and_gets_their_sum() {
    for name in ["step", "sine"] {
        let s = built_in(name);
        let ideal = run(s.oracle(20), Path::Direct, "tcp_down", 12.0).goodput80_mbit;
        let o = run(s, TUNNEL, "tcp_down", 12.0);
        let share = o.goodput80_mbit / ideal / ATTAINABLE;
        assert!(share > 0.9, "{name}: {share}");
        assert_eq!(o.retransmits, 0, "{name}: its sender is told by its window");
    }
}

#[test]
fn inner_headers_travel_without_what_the_peer_knows() {
    for (workload, per_packet) in [("tcp_down", 42), ("tcp_down_8", 42), ("udp_down", 20)] {
        let out = run(built_in("two-unequal"), TUNNEL, workload, 6.0);
        let (saved, packets) = (out.header_bytes_saved, out.inner_packets);
        assert!(saved > packets * per_packet, "{workload}: {saved} bytes of {packets} packets");
        assert_eq!(out.unreadable, 0, "{workload}");
    }
}

#[test]
fn a_bbr_download_learns_of_a_longer_path_and_fills_it() {
    let s = built_in("two-unequal");
    let ideal = run(s.oracle(20), Path::Direct, "tcp_down_bbr", 30.0).goodput80_mbit;
    let share = run(s, TUNNEL, "tcp_down_bbr", 30.0).goodput80_mbit / ideal / ATTAINABLE;
    // Bound to the short link's round trip it got 0.86.
    assert!(share > 0.92, "{share}");
}

#[test]
fn a_thin_short_link_serves_pages_and_does_not_bind_a_bbr_download() {
    let (thin, fast) = (r#"{"rate_mbit":10,"delay_ms":10}"#, r#"{"rate_mbit":50,"delay_ms":60}"#);
    let both =
        || Scenario::parse("thin-short", include_str!("sim/thin-short.json"), &[]).expect("a scenario");
    let alone = run(links(fast), Path::Direct, "tcp_down_bbr", 40.0).goodput80_mbit;
    let share = run(both(), TUNNEL, "tcp_down_bbr", 40.0).goodput80_mbit / alone;
    assert!(share > 0.85, "of the fast link alone: {share}");
    let alone = run(links(thin), Path::Direct, "web", 10.0).objects.len();
    let pages = run(both(), TUNNEL, "web", 10.0).objects.len();
    assert!(pages * 10 > alone * 9, "{pages} pages, {alone} over the thin link alone");
    // Too thin for a page even.
    let thinner = links(&[r#"{"rate_mbit":0.5,"delay_ms":10}"#, fast].join(","));
    let alone = run(links(fast), Path::Direct, "tcp_down_bbr", 12.0).goodput80_mbit;
    let share = run(thinner, TUNNEL, "tcp_down_bbr", 12.0).goodput80_mbit / alone;
    assert!(share > 0.85, "of the fast link alone, from the beginning: {share}");
}

#[test]
fn in_a_tunnel_that_knows_its_links_a_bbr_download_finds_the_long_one_beside_a_thin_short_one() {
    let s = || links(r#"{"rate_mbit":3,"delay_ms":12},{"rate_mbit":40,"delay_ms":60}"#);
    let after = run_after(8, s(), "tcp_down_bbr", 12.0);
    assert_eq!(
        (after.series.len(), after.per_flow_mbit.len()),
        (120, 1),
        "the transfer before does not count"
    );
    // The long link alone gives 38, the short one 3. Six seeds: 26 to 37; 13 to 15 where probes are not stretched.
    assert!(after.goodput80_mbit > 20.0, "{:.1} Mbit/s", after.goodput80_mbit);
}

#[test]
fn a_long_link_with_a_short_buffer_is_filled_without_overflowing_it_again_and_again() {
    let s = || Scenario::parse("short", include_str!("sim/short-buffer.json"), &[]).expect("a scenario");
    for (workload, floor) in [("tcp_down", 85.0), ("tcp_down_bbr", 65.0)] {
        let goodput = run(s(), TUNNEL, workload, 20.0).goodput80_mbit;
        // 92 to 95, and 78 to 81 over six seeds; 63 and 35 where such a link is treated as any other.
        assert!(goodput > floor, "{workload}: {goodput:.1} Mbit/s");
    }
}

#[test]
fn the_fastest_link_is_used_from_the_beginning_though_it_is_far_away() {
    let s = Scenario::parse("far", include_str!("sim/far.json"), &[]).expect("a scenario");
    let goodput = run(s, TUNNEL, "tcp_down", 10.0).goodput80_mbit;
    // 87 to 115 over six seeds; 65 to 71 where it is held back for five seconds by what its first packets showed.
    assert!(goodput > 78.0, "{goodput:.1} Mbit/s");
}

#[test]
fn neither_a_handover_nor_random_loss_is_taken_for_a_short_buffer() {
    let handovers = r#"{"rate_mbit":60,"delay_ms":25,"queue_bytes":600000,"delay_steps":[[0,0],[5,15],[10,0]],
        "delay_steps_period_s":20,"outages":[[5,5.15,"drop"],[10,10.15,"drop"]]}"#;
    let lossy = r#"{"delay_ms":20,"loss":0.04,"jitter_ms":15,"down":{"steps":[[0,60],[3,12]],"steps_period_s":6},"up":{"rate_mbit":8}}"#;
    // 51, and 38 where an outage counts as an overflow; 27 to 30, and 19 to 22 where 5 % of 15 kB do.
    for (link, floor) in [(handovers, 45.0), (lossy, 24.0)] {
        let goodput = run(links(link), TUNNEL, "tcp_down", 15.0).goodput80_mbit;
        assert!(goodput > floor, "{goodput:.1} Mbit/s: {link}");
    }
}

#[test]
fn jitter_that_keeps_the_order_does_not_starve_a_download() {
    let link = r#"{"rate_mbit":20,"delay_ms":20,"jitter_ms":30}"#;
    for count in [1, 2] {
        let s = links(&vec![link; count].join(","));
        let ideal = run(s.oracle(20), Path::Direct, "tcp_down", 12.0).goodput80_mbit;
        let share = run(s, TUNNEL, "tcp_down", 12.0).goodput80_mbit / ideal / ATTAINABLE;
        assert!(share > 0.85, "{count} links: {share}");
    }
}

#[test]
fn a_page_over_a_link_with_jitter_does_not_wait_for_the_window() {
    let fast = || Scenario::parse("jitter", include_str!("sim/jitter.json"), &[]).expect("a scenario");
    let slower = || links(r#"{"rate_mbit":20,"delay_ms":40,"jitter_ms":20}"#);
    for s in [&fast as &dyn Fn() -> Scenario, &slower] {
        let alone = run(s(), Path::Direct, "web", 20.0).objects.len();
        let pages = run(s(), TUNNEL, "web", 20.0).objects.len();
        // 0.88 to 0.98 over six seeds; 0.72 to 0.74 where jitter is taken for a queue.
        assert!(pages * 100 > alone * 85, "{pages} pages, {alone} without a tunnel");
    }
}

#[test]
fn a_page_is_as_fast_as_on_the_best_link_alone() {
    // Beside a longer one that comes and goes; beside a slower one as short as itself; thin ones beside a satellite: the pause before
    // a page is no part of their rate (0.5 of the pages with it).
    let sets = [
        r#"{"rate_mbit":7.17,"delay_ms":30},{"delay_ms":120,"up":{"rate_mbit":5},"down":{"steps":[[0,5.16],[2,1.55]],"steps_period_s":4}}"#,
        r#"{"rate_mbit":86,"delay_ms":5},{"delay_ms":5,"up":{"rate_mbit":26},"down":{"steps":[[0,26.2],[2,7.9]],"steps_period_s":4}}"#,
        r#"{"delay_ms":25,"queue_ms":1000,"up":{"rate_mbit":0.3},"down":{"rate_mbit":1.15}},{"delay_ms":600,"queue_ms":1000,"up":{"rate_mbit":1.23},"down":{"rate_mbit":4.11}}"#,
        r#"{"delay_ms":20,"queue_ms":60,"up":{"rate_mbit":0.3},"down":{"rate_mbit":0.63}},{"delay_ms":600,"queue_ms":60,"up":{"rate_mbit":0.53},"down":{"rate_mbit":10.5}}"#,
        // What a short buffer loses is there sooner over its own link (0.4).
        r#"{"delay_ms":60,"queue_ms":60,"up":{"rate_mbit":0.64},"down":{"rate_mbit":2.12}},{"delay_ms":600,"up":{"rate_mbit":9.7},"down":{"rate_mbit":97}}"#,
    ];
    for set in sets {
        let alone = run(links(set).only(&[0]), Path::Direct, "web", 20.0).objects.len();
        let pages = run(links(set), TUNNEL, "web", 20.0).objects.len();
        assert!(pages * 100 > alone * 85, "{pages} pages, {alone} without a tunnel: {set}");
    }
}

#[test]
fn probes_beside_a_download_wait_less_than_on_one_link() {
    let o = run(built_in("two-equal"), TUNNEL, "latency_loaded", 10.0);
    let p95 = o.probe_delays[1][o.probe_delays[1].len() * 95 / 100];
    assert!(p95 < (20 + 40) * MS, "{} ms", p95 / MS);
}

#[test]
fn a_call_lives_on_over_the_thin_link_that_a_cut_leaves() {
    let fast = r#"{"delay_ms":40,"queue_ms":60,"down":{"rate_mbit":157},"up":{"rate_mbit":16},"outages":[[10,18,"drop"]]}"#;
    let thin = r#"{"delay_ms":50,"queue_ms":100,"down":{"steps":[[0,1.56],[2,0.47]],"steps_period_s":4},"up":{"rate_mbit":0.4}}"#;
    let o = run(links(&[fast, thin].join(",")), TUNNEL, "failover", 20.0);
    // 92 and 2.3 s when two megabytes that the fast link had taken went first.
    let (lost, gap) = (o.probes_lost[1], o.longest_gap[1]);
    assert!(lost <= 2 && gap < 300 * MS, "{lost} lost, {} ms", gap / MS);
}

// ---- the core: what always holds ----

#[test]
fn no_packet_is_delivered_twice() {
    let cut = r#"{"rate_mbit":10,"delay_ms":20,"loss":0.02,"outages":[[2,3,"drop"],[4,5,"stall"]]}"#;
    let s = links(&format!(r#"{cut},{{"rate_mbit":10,"delay_ms":50,"loss":0.02}}"#));
    for balancer in [Balancer::Adaptive, Balancer::Redundant] {
        let o = run(s.clone(), Path::Tunnel(balancer), "udp_down", 8.0);
        assert_eq!(o.doubles, 0, "{balancer:?}");
    }
}

#[test]
fn no_packet_is_held_past_its_bound() {
    let bound = InboundSettings::default().hold_max.as_millis() as f64;
    for name in ["lossy", "cut", "badlink"] {
        let o = run(built_in(name), TUNNEL, "tcp_down", 12.0);
        assert!(o.reorder_wait_max_ms <= bound + 5.0, "{name}: {} ms", o.reorder_wait_max_ms);
    }
}

#[test]
fn no_live_channel_starves_under_load() {
    let o = run(built_in("two-equal"), TUNNEL, "udp_flood_down", 8.0);
    for second in o.series[20..].chunks(10) {
        for i in 0..2 {
            let used: f64 = second.iter().map(|p| p.links[i].used_mbit).sum::<f64>() / second.len() as f64;
            assert!(used > 0.5 * 20.0, "link {i}: {used} Mbit/s of 20");
        }
    }
}

/// Part of 50 Mbit/s used in the last 3 s, when the base delay grew by `added` ms at second 4 of `seconds`.
fn used_after_a_step(added: u32, seconds: f64) -> f64 {
    let s = links(&format!(r#"{{"rate_mbit":50,"delay_ms":20,"delay_steps":[[0,0],[4,{added}]]}}"#));
    let o = run(s, TUNNEL, "udp_flood_down", seconds);
    let after = &o.series[o.series.len() - 30..];
    after.iter().map(|p| p.links[0].used_mbit).sum::<f64>() / after.len() as f64 / 50.0
}

#[test]
fn the_window_does_not_collapse_after_a_step_of_the_base_delay() {
    for added in [10, 20] {
        let part = used_after_a_step(added, 9.0);
        assert!(part > 0.9, "+{added} ms: {part} of the link 2 to 5 s later");
    }
}

#[test]
fn the_window_comes_back_after_a_large_step_of_the_base_delay() {
    for added in [40, 80, 160] {
        for seconds in [16.0, 25.0] {
            let part = used_after_a_step(added, seconds);
            assert!(part > 0.85, "+{added} ms: {part} of the link in the last 3 of {seconds} s");
        }
    }
}

#[test]
fn the_queue_is_short_again_two_seconds_after_a_rate_drop() {
    let target = ControlSettings::default().target.as_secs_f64() * 1e3;
    for to in [25, 10, 5] {
        let s = links(&format!(r#"{{"steps":[[0,50],[4,{to}]],"delay_ms":20,"queue_bytes":1000000}}"#));
        let o = run(s, TUNNEL, "udp_flood_down", 9.0);
        let after = &o.series[60..];
        let queue: f64 = after.iter().map(|p| p.links[0].queue_ms).sum::<f64>() / after.len() as f64;
        // A packet of 5 Mbit/s takes 2.4 ms by itself.
        assert!(queue < 2.0 * target + 5.0, "to {to} Mbit/s: {queue} ms");
    }
}

#[test]
#[ignore = "1.05 of 1.4 Mbit/s: a return path that feedback alone fills never counts as the limit"]
fn feedback_stays_within_its_budget_on_a_thin_return_path() {
    let o = run(built_in("asym"), TUNNEL, "udp_flood_down", 8.0);
    let sent_mbit =
        o.series.iter().flat_map(|p| &p.links).map(|l| l.used_mbit).sum::<f64>() / o.series.len() as f64;
    let feedback = o.feedback_share * sent_mbit;
    assert!(feedback < 0.06 * 1.4, "{feedback} Mbit/s of 1.4");
}

#[test]
fn ten_thousand_flows_with_holes_stay_within_their_memory() {
    let now = Instant::now();
    let settings = InboundSettings { buffer_bytes_max: 4 << 20, ..InboundSettings::default() };
    let mut inbound = Inbound::new(now, settings.clone());
    inbound.set_live(now, &[ChannelId(0), ChannelId(1)]);
    let segment = lab::packet::Segment { flags: lab::packet::ACK, payload: 1388, ..Default::default() };
    let mut given = 0;
    for n in 0..8u32 {
        for flow in 0..10_000u16 {
            // Every flow's second packet is missing.
            let t = now + Duration::from_micros(u64::from(n) * 10_000 + u64::from(flow));
            let packet = lab::packet::Segment { flow, ..segment }.packet(1);
            let seq = FlowSeq(if n == 0 { 0 } else { n + 1 });
            let sent = Ticks::at(t, now);
            inbound.handle_arrival(
                t,
                Arrival {
                    channel: ChannelId(0),
                    flow: FlowTag(flow),
                    seq,
                    sent,
                    form: Form::Whole,
                    piece: Piece::All,
                    packet,
                },
            );
            while inbound.poll_deliver().is_some() {
                given += 1;
            }
        }
        assert!(inbound.stats().waiting_bytes <= settings.buffer_bytes_max as u64 + 2000);
    }
    for ms in [500, 1000, 2000] {
        inbound.handle_timeout(now + Duration::from_millis(ms));
        while inbound.poll_deliver().is_some() {
            given += 1;
        }
    }
    assert_eq!(given, 80_000);
    assert_eq!(inbound.stats().waiting_packets, 0);
}
