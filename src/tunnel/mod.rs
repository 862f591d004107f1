//! What spans channels. Floor 4: flow queues and balancer outwards, reordering inwards, the session.
//!
//! # What was tried, and what won
//!
//! Read the figures as those in `channel/mod.rs`.
//!
//! | question | tried | won |
//! |---|---|---|
//! | end of a TCP flow's wait for a packet | proof of loss and p99 of fill times: 0.82 | filled, given up by the sender, or 600 ms: 0.90 |
//! | arrival at a channel without a measured rate | its measured rate: never chosen again | pace of a few packets in a row, or window / path |
//! | holding a link back | base delay and queue against the share, worth 2 s: car4, eight flows 0.86 | base delay alone, 5 s: 0.92; badlink held all the same |
//! | urgent packets twice | only while nothing waits: step, p95 185 ms | always, within 4 % of the rate: 19 ms |
//! | all packets of a young flow twice | no gain in any scenario | not done |
//! | young flows | spread at once: 100 KB objects in city3 at 2.1 Mbit/s | 80 packets on one channel: 2.3 |
//! | acknowledgements on a thin uplink | only needless ones thinned: asym 0.79 | at most a dozen of a connection wait: 0.94 |
//! | lost packets of bulk flows | sent again within 1 s of binding: car2 0.77 | 3 s: 0.87 |

mod ack_spacing;
pub mod address;
mod balancer;
pub mod classify;
mod codel;
mod fill_times;
pub mod flow_queue;
mod flow_rate;
mod flow_table;
mod hold_back;
pub mod inbound;
mod loss_proof;
pub mod mss;
pub mod outbound;
mod reorder;
mod seen;
pub mod session;
mod thin_acks;
mod youth;
