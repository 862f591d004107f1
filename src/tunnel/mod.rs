//! What spans channels. Floor 4: flow queues and balancer outwards, reordering inwards, the session.
//!
//! # What was tried, and what won
//!
//! Read the figures as those in `channel/mod.rs`.
//!
//! | question | tried | won |
//! |---|---|---|
//! | inner headers (seven and thirteen recorded sets; eight flows; BBR) | as they are: 0.982, 0.979; 0.985; 0.895, 0.908 | what the peer knows is left out (`header_compression.rs`): 1.010, 1.013; 1.016; 0.922, 0.934 |
//! | end of a TCP flow's wait for a packet | proof of loss and p99 of fill times: 0.82 | filled, given up by the sender, or 600 ms: 0.90 |
//! | when a hole's 600 ms begin | with the hole: car2 0.78, with BBR 0.44 | when the flow last got on: 0.84, 0.75 |
//! | packets of a stalled link sent again | all of them, never on that link: a slow one carried copies for 0.8 s while the fast one was back | not what arrives meanwhile; on its own link what that lost: BBR 0.95 |
//! | acknowledgements of a connection | all: HyStart took jitter for a full pipe, city3 0.84 | fewer than its eight samples a round (`ack_spacing.rs`): 0.93, CPU at 30 Mbit/s 64 to 52 s/GB |
//! | how a TCP flow hears that its queue is long enough (13 sets of recorded links, three seeds; eight flows) | a drop, then CUBIC sends less for seconds: 0.915; 0.936 | the window in its acknowledgements (`steer.rs`): 0.954; 0.962, in the namespaces car2 39 to 45 Mbit/s, step 29.7 to 31.0 |
//! | acknowledgements in a round trip, with that | 6: 0.954 | 3: 0.967, a slow start ends at thousands of packets and nothing is lost |
//! | the same once a slow start is over (BBR, 28 sets, five seeds) | 3: 0.892 | 6: 0.906; eight CUBIC flows lose 0.003 |
//! | the same after forty of the longest round trips (six recorded sets, four sections each: BBR; CUBIC) | 6: 0.901; 0.989 | 24: 0.918; 0.992. 48: 0.920; after forty of 180 ms at most, 120 random sets lose 0.006 instead of 0.002 |
//! | a BBR sender beside links that its least round trip does not fill (after another download) | as it comes: thin-short 0.50, three-mixed 0.85 to 0.99 | its probes are stretched (`probe_stretch.rs`): 0.85 to 0.9, 0.88 to 0.98 |
//! | the same, otherwise | all acknowledgements in lumps of 100 ms twice a second: 0.85, but car4 0.94 to 0.73; where the round trip is 1.5 least ones alone: three-mixed 0.85; as long as the window is thought to last: 0.60; home after 1,000 packets, or not on far links: as before or less | not done |
//! | a young connection's acknowledgements | every third of the shortest link's round trip: on a slower link that is each one, and HyStart ended slow starts at 24 packets; 180 random sets 0.956 | when their train is over, or one tells of a third of all: 0.960, of those sets 25 to 42, 75 to 121, 111 to 144 Mbit/s |
//! | the same where a thin link carries a part of a flight (480 random sets, CUBIC over the best link's, 1 at most; HyStart's rounds as since Linux 6.14) | by time: nine and more in a flight of a quarter of a second: 0.988, 21 below 0.95 | seven, then one for each seventh of the flight: 0.992, 16; eight links up in the namespaces 5 to 11, now 16 Mbit/s |
//! | the same where the receiver's window is small (15 Mbit/s at 10 ms beside 44 at 600, in the namespaces) | by time: 80 kB in 70 ms, 15 to 18 Mbit/s | when it tells of a quarter of the window: 42 to 47 |
//! | a bulk flow's packet while a channel has a queue and a later one none (BBR, 15 sets, five seeds) | earliest arrival: 0.896 | the empty one, up to 40 ms later, once the flow has sent 4,000 packets: 0.917 |
//! | a BBR flow's window (twice its rate x the least round trip) is too small for holds of 150 ms | packets let past a hole after 30 to 250 ms: 0.866 to 0.80, 0.83; a stalled link's delay added to its arrival: 0.855; fewer packets sent again at a time: 0.866 to 0.885 | not done; 100 ms more window would give 0.94 |
//! | what sparse packets take beyond a window | 12 kB each time: asym, eight flows 0.20 | counted against them: 0.96 |
//! | the second signal to a TCP flow | interval / sqrt(count): 0.947 | when its queue has passed: 0.951; a slow start's first after 100 ms: 0.957 |
//! | what an inner TCP repeats | before its queue: RACK takes all that it overtakes for lost, 0.95 to 0.91 | in its turn |
//! | patience for a slow link, seven scenarios, ten seeds | three backlogs: 0.950; one and at most 150, 80, 20 ms more: 0.951, 0.948, 0.956 | 40 ms more: 0.957 |
//! | arrival at a channel without a measured rate | its measured rate: never chosen again | pace of a few packets in a row, or window / path, whichever is less |
//! | holding a link back | base delay and queue against the share, worth 2 s: car4, eight flows 0.86 | base delay alone, 5 s: 0.92; badlink held all the same |
//! | a long link that loses 2 % (126 Mbit/s at 5 ms beside 11 at 300 ms) | used: 54 to 73 of 76 Mbit/s alone | the repair of losses counts as delay (`hold_back.rs`): 66 |
//! | a long link that nothing has filled yet, beside short ones that are full | held back for what a few packets showed, tried after 5 s for 0.8: 64 Mbit/s at 120 ms beside 98 at 400 gave 72 | tried at once, for eight round trips if need be (`trial.rs`): 118 to 130 |
//! | a link so long that the receiver's window carries less over all links than over the shorter ones (240 random sets) | used: 0.971 | held back (`hold_back.rs`): 0.975; where it happens 195 to 236, 184 to 280 Mbit/s |
//! | a BBR download where a thin link is the shortest (60 + 60 random sets, 15 s and 40 s; in the namespaces 10 Mbit/s at 10 ms beside 50 at 60 ms) | earliest arrival: its least round trip is the thin link's, 0.69, 0.72; 9 Mbit/s for ever | servers' data lives on the longer link where all of it is sooner there (`home.rs`): 0.74, 0.76; 40 Mbit/s over 30 s |
//! | which connections that is for (the same 15 s, and 100 KB objects over the best link's) | from 200 kB, 1 MB on: 0.76, 0.80, but objects 0.97, 0.91; both ends' data: objects 0.92 | from 100 kB on, and 3 MB once it has carried 4,000 packets; objects 1.02, were 1.06 |
//! | patience of a settled flow beyond its backlog (240 random sets) | 40 ms: 0.971; 100, 400: 0.973, 0.974 | 200 ms: 0.975 |
//! | a hole while a round trip takes longer than the hold of 600 ms | given up: 5.6 Mbit/s at 600 ms, lossy, 0.46 of it alone | waited for 1.25 round trips: 0.92 |
//! | a young flow's channel | with 15 or 30 kB to follow: lte3 0.94 to 0.82, 0.86 | by its next packet |
//! | urgent packets on three channels | always: 2 % of a thin set for each copy | where two have 20 ms of queue: city3, p95 138 to 112 ms |
//! | an urgent packet again after 40 to 80 ms without acknowledgement | p95 as before: then all links are slow | not done |
//! | one link kept short for calls, the fastest, slowest, or steadiest | lte3: p95 119 to 98, 119, 109 ms | all that a call uses (`channel/calls.rs`) |
//! | urgent packets twice | only while nothing waits: step, p95 185 ms | always, within 4 % of the rate: 19 ms |
//! | full packets of slow flows (eight downloads on one link of 0.6 to 0.9 Mbit/s) | urgent, 3 kB and more beyond the window: 0.43 to 0.87 | by as much as the link sends in 15 ms: 0.57 to 1.09 |
//! | a call's packet while bulk waits for credit | behind it in the old list: p95 183 ms where three links stand still together | ahead by four turns: 78 ms |
//! | all packets of a young flow twice | no gain in any scenario | not done |
//! | young flows | spread at once: 100 KB objects in city3 at 2.1 Mbit/s | 80 packets on one channel: 2.3 |
//! | acknowledgements on a thin uplink | only needless ones thinned: asym 0.79 | at most a dozen of a connection wait: 0.94 |
//! | a call when the fast link is cut and a thin one left (95 random sets, the fastest link cut for 10 s) | behind what was lost and bulk without room: up to 130 lost, in 14 sets, gaps up to 2.5 s | before both (`bring_sparse`, `again.rs`): in 6 sets, gaps up to 0.7 s where the path is that much longer |
//! | data that a TCP sender repeats | before what waits of it: RACK then takes all that waits for lost, 1,083 packets twice | in its turn |
//! | lost packets of bulk flows | sent again within 1 s of binding: car2 0.77 | 3 s: 0.87 |

pub mod ack_floor;
mod ack_spacing;
pub mod ack_windows;
pub mod address;
mod again;
mod balancer;
pub mod classify;
mod codel;
mod copy_budget;
mod fill_times;
pub mod flow_queue;
mod flow_queue_settings;
mod flow_rate;
mod flow_table;
mod header_compression;
mod hold_back;
mod home;
pub mod inbound;
mod loss_proof;
pub mod mss;
pub mod outbound;
mod peak;
mod probe_stretch;
mod reorder;
mod seen;
pub mod session;
mod split;
pub mod stage;
mod steer;
mod thin_acks;
mod trial;
mod youth;
