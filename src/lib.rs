//! gobonding: bonds several poor internet links into one good one.
//!
//! This is the map of the house: its floors, its threads, the way of a packet, and where the code has left its
//! design. A `router` stands at home with several links, a `proxy` on a server; both are this program, and
//! everything below is the same in both unless it says otherwise.
//!
//! # Floors
//!
//! A file imports only what lies below it (`tests/layout.rs` holds that).
//!
//! | floor | folder | what it knows |
//! |---|---|---|
//! | 8 | `main`, `cli` | flags, exit codes |
//! | 7 | `role` | what a router and a proxy do differently |
//! | 6 | `threads` | clocks, queues, the stats table: waits, takes the time, calls one method, does what it returned |
//! | 5 | `monitor` | the rows as text, JSON, YAML, Prometheus |
//! | 4 | `tunnel` | what spans channels: flow queues, balancer, hold-back, reordering, session |
//! | 3 | `channel` | ONE link, blind to the others: numbers, acknowledgements, loss, window, pace, liveness |
//! | 2 | `crypto` | sealing in place, replay windows, RSA identities, key schedule |
//! | 1 | `wire` | what the bytes mean |
//! | 0 | `units` | numbers with a meaning, and the packet |
//!
//! Beside them: `io` (TUN, UDP, netlink; all `unsafe` is in `io/sys.rs`) stands on `units`, `config` on the core
//! and `io`. Floors 0 to 4 are the core: no clock, socket, file, thread or lock. Time is an argument, which is
//! why `tests/sim` can run the same core in virtual time.
//!
//! # Threads
//!
//! Each state machine has one owner; others send it messages over bounded queues (`threads/queues.rs`) and share
//! the stats table (`threads/stats.rs`). Two of them stand behind a lock, a channel's sender and the reorderer: who brings
//! little and finds it open does the work itself, what is more or finds it locked waits in the queue for the owner.
//!
//! | thread | owns | waits for |
//! |---|---|---|
//! | `tun-read` | each session's `Outbound` | TUN, a wake-up, the next deadline |
//! | `send-<link>` | `Sending`, `Sealer` | messages on a bell, the next deadline |
//! | `recv-<link>` | `Opener`, `Receiving` | its UDP socket |
//! | `reorder` | each session's `Inbound` | arrivals on a bell, the oldest hole's deadline |
//! | `control` | the session machine, the channels' threads, the link watch | datagrams, netlink, deadlines |
//! | `listen` (proxy) | the port that strangers reach | UDP |
//! | `resolve` (router) | one name, then it ends | the system's resolver |
//! | `monitor` | monitor file, status socket | its tick, who asks |
//!
//! # The way of a packet out
//!
//! 1. `tun-read` reads TUN until it is empty (`io/tun.rs`; with offloads one read is many segments, and
//!    `io/offload.rs` cuts them) and finds the session by the inner destination.
//! 2. The MSS of a SYN is clamped (`tunnel/mss.rs`), so that full segments fit; the packet is classified (`tunnel/classify.rs`) and waits in
//!    its flow's queue, before the split (`tunnel/flow_queue.rs`, with CoDel and the thinning of acknowledgements;
//!    an acknowledgement may have waited for the next one, `tunnel/ack_spacing.rs`).
//! 3. When a channel's row shows credit, the balancer names the channel (`tunnel/balancer.rs`, minus what
//!    `tunnel/hold_back.rs` holds back, and where `tunnel/home.rs` says that its connection should not live) and the
//!    packet gets its flow sequence (`tunnel/outbound.rs`): late binding. What the peer knows of its headers is left out
//!    (`tunnel/header_compression.rs`, `wire/compressed.rs`); what is still too long for a datagram goes in two halves
//!    (`tunnel/split.rs`).
//! 4. It goes with its run to the channel's sender (`threads/send.rs`), where the pacer lets it leave (`channel/sending.rs`,
//!    `channel/congestion.rs`) with a packet number.
//! 5. Header and packet are written behind one another into a train, sealed in place (`crypto/aead.rs`), and the
//!    train leaves in one system call (`io/udp.rs`, GSO). The packet stays in the in-flight ring.
//! 6. An acknowledgement empties the ring (`channel/sent.rs`) and moves the window. What was lost, or is stuck in a
//!    link that stalls, goes back to `tun-read` and again to another channel (`tunnel/again.rs`).
//!
//! # The way of a packet in
//!
//! 1. `recv-<link>` takes a train of datagrams (GRO). Handshakes go to `control`.
//! 2. Each datagram is opened in place; what does not prove itself is counted and forgotten.
//! 3. Its number is noted for acknowledgement (`channel/receiving.rs`); frames go to the senders they speak to.
//! 4. Packets go to `reorder` in one run. Halves are joined, headers that were left out come back; each flow is put in order by itself (`tunnel/inbound.rs`,
//!    `tunnel/reorder.rs`); a hole ends when it is filled, proved lost (`tunnel/loss_proof.rs`) or too old.
//! 5. A packet whose inner source is not the peer's is counted and dropped; the MSS of a SYN is clamped.
//! 6. While a TCP flow's queue in the other direction is long, its acknowledgements get a smaller window
//!    (`tunnel/ack_windows.rs`). Where the sender goes by its least round trip, they may wait (`tunnel/ack_floor.rs`,
//!    `tunnel/probe_stretch.rs`).
//! 7. Neighbours of one flow are merged (`io/merge.rs`) and written to TUN.
//!
//! # Where the code has left its design, and why
//!
//! The project's design plans it otherwise in these places.
//!
//! - *Packets are `Arc<[u8]>`, in runs, not slices of pooled 64 KB buffers.* One packet lies in the in-flight
//!   ring, in a re-send and in a duplicate at the same time, on different channels that finish with it at different
//!   times. A shared allocation says who holds it and frees itself; a pool would have to count the same, and one
//!   late packet would keep 64 KB alive. The price is an allocation and a copy a packet; batching is kept, because
//!   all interfaces hand over runs and each system call moves a train.
//! - *An acknowledgement has an `about` number* (`wire/frame.rs`): its time stamps and byte count speak of the newest
//!   datagram that asked for an acknowledgement, which is not always the largest number received. Taken as the
//!   largest one's, they made false samples of RTT and rate whenever acknowledgements alone had come last.
//! - *A packet that is merely late is handed to another channel soon only where the others have room to spare*
//!   (`late` and `late_busy` in `channel/sending.rs`). Handing it over at a fixed time sent a busy tunnel's packets
//!   twice, at the moments when all links were full.
//! - *Who brings a short run sends it, or orders and writes it* (`threads/send.rs`, `threads/desk.rs`), instead of waking
//!   the thread whose work that is: each wake-up costs 20 to 50 us of a packet's way and more CPU time than the packet. Under the
//!   sender's lock the stats table's may be taken, nothing else.
//! - *Feedback for small datagrams waits for 5 ms* (`channel/receiving.rs`), however many they are, up to a full packet's bytes.
//! - *The threads sleep on a bell* (`threads/bell.rs`), not in crossbeam's select, whose spinning cost a fifth of the
//!   CPU time.
//! - *TCP senders are told by the windows in their acknowledgements where to stop* (`tunnel/steer.rs`,
//!   `tunnel/ack_windows.rs`), not by drops: a flow that lost a packet in a trough is slow at the next peak. Drops and
//!   marks remain for whoever cannot be told so, or does not heed it.
//! - *The TUN device has an MTU of 1500* (`tunnel/split.rs`), not what the links leave of it: full TCP segments fit once they are
//!   compressed (`tunnel/mss.rs`), anything else goes in two. An object of 100 kB is 70 segments instead of 73, which a new
//!   connection sends in three round trips, and not in four: in the simulator 92 instead of 103 ms (two-unequal, best link alone 90).
//! - *The tunnel's 60 bytes are mostly paid by the inner headers* (`wire/compressed.rs`): 52 bytes of a TCP segment
//!   become six, so a download gets more than the 1388/1448 that those 60 bytes would leave of ideal links.
//! - *TCP acknowledgements that wait in a crowd are thinned* (`tunnel/thin_acks.rs`): on a thin uplink they, and not
//!   the downlink, would set the pace. *And each connection sends only a few in a round trip*
//!   (`tunnel/ack_spacing.rs`): HyStart ended slow starts at a tenth of the links' rate.
//! - *A BBR sender's least round trip is made longer than the path* (`tunnel/ack_floor.rs`): twice its product with the rate is all
//!   that such a sender keeps in flight, less than a radio link's standstill takes. Then it becomes slowly shorter, so that
//!   the sender does not stop every ten seconds to measure it. *And the times in which it probes for more are stretched* where
//!   a link has room (`tunnel/probe_stretch.rs`): beside a thin short link it did not find the long fast one.
//! - *What was lost goes before anything new but urgent packets* (`tunnel/again.rs`, `tunnel/flow_queue.rs`): where a fast link
//!   died beside a thin one, that was seconds of the thin one, and a call waited behind it.
//! - *Where a short buffer overflows, the window grows with care for a while* (`channel/overflow.rs`): on a long path everything that comes
//!   faster than the link carries must find room there.
//! - *A hole in a TCP flow is held for 600 ms of standstill, not of age, and longer where the links' round trip is*
//!   (`tunnel/inbound.rs`): while a slow link sends
//!   again what a dead one took with it, nothing is given up.
//! - *There is no criterion bench and no fuzz target.* `scripts/bench` measures CPU time for each GB with the built
//!   program; the decoders' promises for all inputs are properties beside their code.
#![deny(unsafe_code)]

pub mod channel;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod io;
pub mod monitor;
pub mod role;
pub mod threads;
pub mod tunnel;
pub mod units;
pub mod wire;
