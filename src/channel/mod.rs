//! One link, blind to the others. Floor 3: what is sent, what arrived, how fast, how alive.
//!
//! # What was tried, and what won
//!
//! Shares are goodput of one CUBIC download over what the ideal link gives (`examples/simulate.rs`,
//! `--workload latency_loaded`, 20 s, seed 1), the mean of the judge's twenty scenarios where no name is
//! given. Differences below 0.02 are noise. Each row stands on the ones before it.
//!
//! | question | tried | won |
//! |---|---|---|
//! | path in `rate x (path + target)` | base RTT of 10 s: sawtooth after delay steps | RTT - queue of the last 0.2 s (`congestion.rs`) |
//! | pacing while little is sent | 2.5 x measured rate: 0.68 | never below window / path: 0.82 |
//! | what an acknowledgement is about | largest number, often a bare ack: no samples for seconds | largest ack-eliciting one, named in the frame |
//! | links that deliver in lumps (nine LTE and 5G links alone, use of the link) | 50 ms windows: 0.87, worst 0.67 | target and windows follow the gap (`gaps.rs`): 0.96, worst 0.86 |
//! | nothing to send, rate fell | keep the old rate: 300 ms of queue | not where a queue is seen |
//! | the same on a link with 20 ms of jitter (pages, as many as without a tunnel) | every late packet is a queue: 0.72 | one late packet is none where another of the last eight was in time (`jitter.rs`): 0.93 to 0.98 |
//! | the same, and idle time before a burst (pages of 300 random sets over the best link's, each 1 at most) | it lowers the rate: 0.966 | only where a queue has lasted (`busy.rs`): 0.970 |
//! | the same where the window is the limit (0.6 to 1.2 Mbit/s beside a satellite: pages as many as over it alone) | measured with the pause: 0.5 | without it (`restart.rs`): 1.0; the 300 sets 0.977 to 0.979 |
//! | a window that was never filled | up to 2 x model: inner slow start ends at 48 packets | up to 6 x in flight, bursts of ten: 0.90 to 0.93; lossy 0.84 to 0.98 |
//! | growth per acked byte, eight flows, nine scenarios | 60 %: 0.92, 250 %: 0.92 | 100 to 150 %: 0.94 |
//! | base delay stepped up | shrunk to 60 % first: seconds | 8 % or 0.8 s, then a push (`delay.rs`); 80 ms each way still takes 6 s |
//! | the queue that is doubted on lumpy links | smoothed: LTE, p95 129 to 175 ms | the newest: 106 to 131; 40 ms of jitter is then filled to 0.53 only |
//! | loss with no queue to be seen | each is a policer's: after an overflow 4 s without growth, car2 0.86 | of packets sent since a queue was last seen: 0.96 |
//! | round trip from acknowledgements that took another channel | not used: none at all on a long link beside a short one | used: 600 ms beside 25 ms from 0.2 to 0.9 of the link |
//! | which link a cold tunnel uses first | the shortest, guessed by its window: 0.75 Mbit/s beside 109 Mbit/s, 84 Mbit/s in all | six full packets in a row at each link's start tell: 116 |
//! | window at the start | 10 packets: an inner flow's ten wait a round trip | 15, more on longer paths |
//! | 20 and 40 ms of jitter in order (one link, always busy) | the newest delay alone: 0.71, 0.58 | a push now and then (`delay.rs`): 0.95, 0.53 |
//! | the same under one CUBIC flow, 20 Mbit/s | path's least of 0.2 s: 0.93, 0.56; the mean of both 0.97, 0.91 | smoothed path, at most a target more: 0.99, 0.95, two such links 0.98, 0.94 |
//! | a base that was moved up, and lucky packets below it | the base falls again: two links of 100 Mbit/s and 20 ms 0.86 | they are jitter's (`base_delay.rs`): 0.90 |
//! | a smooth link that has become faster | jump to the rate of the newest packets: step 0.924 to 0.928, but p95 28 to 60 ms | not done |
//! | what feedback may take of a link that stands still now and then and carries acknowledgements alone (six recorded sets: upload; BBR) | 3 % of what it carried lately, so that feedback came every 60 ms: 1.002; 0.959 | 3 % of a link that is full for certain, else a fifth of the rate of packets in a row (`limit.rs`): 1.011; 0.967 |
//! | acknowledgements copied to all other channels, every 20 or 10 ms | eight scenarios, four workloads: 0.941 to 0.939, 0.942 | to the best other, 20 ms |
//! | shorter queue while a call is on a lumpy link | 0, 35, 50 % of the gap: ten sets p95 89 to 76, 77, 85 ms, but 0.937 to 0.909, 0.920, 0.933 | 60 %, and no growth beyond it: 82 ms, 0.934; once windows steer the senders (`tunnel/steer.rs`), three seeds, 60, 45, 30, 15 %: 101, 96, 96, 98 ms and 0.946, 0.949, 0.931, 0.932: 45 % |
//! | a window while the supply is short and the link was full within the last half second (18 sets at full rate; BBR on three-mixed) | up to twice the model: 0.890, and 11 % lost where a hole's end lets megabytes go at once; 0.91 | at most 1.1 to 1.2 times: 0.899, a third less lost, but 0.69: not done |
//! | growth per acked byte on smooth links, steered senders | 220 instead of 120 %: step 0.961 to 0.965, 180 random sets 0.956 to 0.951 | not done |
//! | pace at which a window that has run empty is filled again | 150 % of the rate: 60 Mbit/s at 300 ms with a queue of 40 ms, beside 6 at 10 ms, 24 Mbit/s | 120 %: 30; random sets 0.978 to 0.981; 18 sets at full rate lose as much as before |
//! | a long link with a buffer of 30 ms (`overflow.rs`, `tests/sim/short-buffer.json`) | as any other: 60 to 73 of 100 Mbit/s, BBR 34 to 38 | grown with care after an overflow: 94, BBR 80 |
//! | a link that was silent for more than 3 s (car2 after 15, 40, 65, 90 s, six seeds) | a probe in a second: 0.77 0.97 0.94 0.94; up with the first arrival of what was given up: packets wait behind all that | five probes in a second: the first comes behind that |
//! | 80 ms of base delay more, and less again (one link) | the base falls to the mean of a round trip: 60 ms of queue for 20 s | then a drain to see what is below (`delay.rs`): 16 ms |
//! | the window of one or two lumpy links while a call is there (lte2, six seeds; all seventeen sets) | whole: p95 106 ms, 1.00; 96.0 ms, 0.977; 90 % on every set: 95.0 ms, 0.963 | 80 %, with three or more links whole: 84 ms, 0.94; 97.2 ms, 0.969 |
//! | what counts as a call (the rig, lte2, one download and one upload at once; the ideal link: 9.7 and 9.1 Mbit/s) | urgent packets, acknowledgements too: 13.9 down, 8.7 up | those that are not TCP: 19.1, 7.9 |
//! | packets stuck in a link that became slow | never again: car4 0.68, lte3 0.86; after 120 ms: 0.80, 0.75 | at once only while the others have room: 0.85, 0.92 |

mod ack_ranges;
mod base_delay;
mod busy;
mod calls;
pub mod congestion;
mod control_frames;
mod delay;
mod delivery;
mod gaps;
mod jitter;
mod limit;
mod liveness;
mod loss;
mod meter;
mod overflow;
mod pacer;
mod policer;
pub mod receiving;
mod restart;
pub mod row;
mod rtt;
pub mod sending;
mod sending_settings;
mod sent;
mod unwrap;
