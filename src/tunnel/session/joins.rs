//! The router's channels within a session, and its rekeys.
//!
//! ```text
//! Out --usable--> Joining --joined--> In
//!  ^                 ^                 |  link back, address changed, proxy lost it
//!  +--- not usable   +-----------------+
//! ```

use super::control::{Keys, JOINS_MAX};
use super::handshake::{patience, PATIENCE_MIN};
use super::{Joined, SessionId};
use crate::crypto::generation::PeerHas;
use crate::crypto::schedule::Share;
use crate::units::ChannelId;
use crate::wire::auth::Control;
use rand::rngs::StdRng;
use rand::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time from one rekey to the next.
///
/// Source: WireGuard's. 2^30 packets, AES-GCM's limit with room to spare, would take 9 million a second.
pub const REKEY_AFTER: Duration = Duration::from_secs(120);

type Transmits = VecDeque<(ChannelId, Vec<u8>)>;

/// A session that stands.
pub struct Live {
    pub keys: Keys,
    /// The proxy may not know the session any more.
    pub suspect: bool,
    /// When the channels were last asked whether the proxy knows the session.
    probed_at: Option<Instant>,
    /// Join number of the latest join.
    joins: u32,
    rekey: Rekey,
}

enum Rekey {
    Due { at: Instant },
    Asked { share: Share, generation: u32, tries: u32, next: Instant },
}

impl Live {
    pub fn new(now: Instant, keys: Keys) -> Live {
        Live { keys, suspect: false, probed_at: None, joins: 0, rekey: Rekey::Due { at: now + REKEY_AFTER } }
    }

    /// Asks for a rekey, or again.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        paths: &Paths,
        rng: &mut StdRng,
        transmits: &mut Transmits,
    ) {
        if now < self.next_rekey() {
            return;
        }
        if let Rekey::Due { .. } = self.rekey {
            let Some(generation) = self.keys.generation().checked_add(1) else { return };
            self.rekey = Rekey::Asked { share: Share::generate(rng), generation, tries: 0, next: now };
        }
        let Rekey::Asked { share, generation, tries, next } = &mut self.rekey else { return };
        *tries += 1;
        *next = now + patience(*tries);
        let request = Control::Rekey { generation: *generation, share: share.public() };
        // Each try takes another channel: the first may be down without anybody knowing yet.
        let count = paths.usable().count();
        let nth = (*tries as usize - 1).checked_rem(count).unwrap_or(0);
        let channel = paths.joined().nth(nth).or_else(|| paths.usable().nth(nth));
        if let Some(channel) = channel {
            transmits.push_back((channel, self.keys.seal(&request)));
        }
    }

    /// The proxy's half came: gives the number of the generation that is in use from here on.
    pub fn on_rekeyed(&mut self, now: Instant, answered: u32, theirs: &[u8; 32]) -> Option<u32> {
        let Rekey::Asked { share, generation, .. } = &self.rekey else { return None };
        if *generation != answered {
            return None;
        }
        let shared = share.agree(theirs)?;
        self.rekey = Rekey::Due { at: now + REKEY_AFTER };
        self.keys.rekey(&shared, PeerHas::Keys)
    }

    pub fn next_rekey(&self) -> Instant {
        match &self.rekey {
            Rekey::Due { at } => *at,
            Rekey::Asked { next, .. } => *next,
        }
    }

    /// Whether rekeys go unanswered: half a minute.
    pub fn is_unanswered(&self) -> bool {
        matches!(&self.rekey, Rekey::Asked { tries, .. } if *tries > 9)
    }

    /// Whether all join numbers are taken.
    pub fn is_used_up(&self) -> bool {
        self.joins >= JOINS_MAX
    }

    /// A join number that this session never had: it goes into the nonces.
    fn next_join_number(&mut self) -> Option<u32> {
        let next = self.joins.checked_add(1).filter(|next| *next <= JOINS_MAX)?;
        self.joins = next;
        Some(next)
    }
}

/// The channels by index.
#[derive(Default)]
pub struct Paths {
    paths: BTreeMap<ChannelId, Path>,
}

struct Path {
    usable: bool,
    /// Bytes of an inner packet in a datagram.
    room: u16,
    join: Join,
    /// When a join was last sent.
    asked_at: Option<Instant>,
    /// Somebody said here that the proxy does not know the session.
    doubted: bool,
}

#[derive(Clone, Copy)]
enum Join {
    Out,
    /// `join` is 0 before the first send.
    Joining {
        join: u32,
        local: u32,
        tries: u32,
        next: Instant,
    },
    In {
        local: u32,
        remote: u32,
    },
}

impl Paths {
    /// The proxy hears of it with the next join.
    pub fn set_room(&mut self, channel: ChannelId, room: u16) {
        self.path(channel).room = room;
    }

    fn path(&mut self, channel: ChannelId) -> &mut Path {
        let new = || Path { usable: false, room: ROOM_MAX, join: Join::Out, asked_at: None, doubted: false };
        self.paths.entry(channel).or_insert_with(new)
    }

    /// Whether the channel was not usable before and is so now.
    pub fn set_usable(&mut self, now: Instant, channel: ChannelId, usable: bool) -> bool {
        let path = self.path(channel);
        let is_new = usable && !path.usable;
        path.usable = usable;
        if usable {
            path.start(now);
        } else {
            path.join = Join::Out;
        }
        is_new
    }

    /// All usable channels join, in a new session.
    pub fn join_all(&mut self, now: Instant) {
        self.leave_all();
        for path in self.paths.values_mut().filter(|path| path.usable) {
            path.asked_at = None;
            path.start(now);
        }
    }

    /// Somebody says on this channel that the proxy does not know the session. Anybody on the way can
    /// say so, so the other channels are asked, too; the session is suspect when all say it.
    pub fn on_doubt(&mut self, now: Instant, channel: ChannelId, live: &mut Live, transmits: &mut Transmits) {
        let Some(path) = self.paths.get_mut(&channel).filter(|path| path.usable) else { return };
        path.doubted = true;
        if live.probed_at.is_some_and(|at| now < at + PATIENCE_MIN) {
            return;
        }
        live.probed_at = Some(now);
        for (channel, path) in &self.paths {
            if path.usable && !path.doubted {
                transmits.push_back((*channel, live.keys.seal(&Control::Probe)));
            }
        }
    }

    /// The proxy has proved that it knows the session.
    pub fn trust_all(&mut self) {
        self.paths.values_mut().for_each(|path| path.doubted = false);
    }

    /// No channel is joined any more.
    pub fn leave_all(&mut self) {
        for path in self.paths.values_mut() {
            (path.join, path.doubted) = (Join::Out, false);
        }
    }

    /// The proxy does not know `remote` at the address this channel has: it joins again.
    pub fn on_unknown(&mut self, now: Instant, channel: ChannelId, remote: u32) {
        if let Some(path) = self.paths.get_mut(&channel).filter(|path| path.usable) {
            if matches!(path.join, Join::In { remote: known, .. } if known == remote) {
                path.start(now);
            }
        }
    }

    /// The proxy has taken the channel in.
    pub fn on_joined(
        &mut self,
        channel: ChannelId,
        answered: u32,
        remote_number: u32,
        remote: SocketAddr,
        keys: &Keys,
    ) -> Option<Joined> {
        let path = self.paths.get_mut(&channel)?;
        let Join::Joining { join, local, .. } = path.join else { return None };
        if join == 0 || join != answered {
            return None;
        }
        path.join = Join::In { local, remote: remote_number };
        let (sealer, opener) = keys.channel(channel, join, local, remote_number);
        Some(Joined {
            session: SessionId(keys.session()),
            router: 0,
            channel,
            local_number: local,
            remote_number,
            remote,
            room: path.room,
            sealer,
            opener,
        })
    }

    /// Sends the joins that are due. A join that stays unanswered gets a new number after a while: the
    /// address that the proxy saw first may not be ours any more.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        live: &mut Live,
        rng: &mut StdRng,
        transmits: &mut Transmits,
    ) {
        let due: Vec<ChannelId> = self
            .paths
            .iter()
            .filter(|(_, path)| path.next_join().is_some_and(|next| next <= now))
            .map(|(channel, _)| *channel)
            .collect();
        for channel in due {
            let fresh = self.free_number(rng);
            let Some(path) = self.paths.get_mut(&channel) else { continue };
            let Join::Joining { join, local, tries, next } = &mut path.join else { continue };
            path.asked_at = Some(now);
            let again = *tries % SENDS_PER_JOIN == 0;
            *tries = tries.saturating_add(1);
            *next = now + patience(*tries);
            if again {
                let Some(number) = live.next_join_number() else { continue };
                (*join, *local) = (number, fresh);
            }
            let request = Control::Join { channel: channel.0, join: *join, number: *local, room: path.room };
            transmits.push_back((channel, live.keys.seal(&request)));
        }
    }

    /// Whether every usable channel asks to join, in vain for more than a second, or hears that the
    /// proxy does not know the session.
    pub fn all_unanswered(&self) -> bool {
        self.has_usable()
            && self
                .paths
                .values()
                .filter(|path| path.usable)
                .all(|path| path.doubted || matches!(path.join, Join::Joining { tries, .. } if tries > 3))
    }

    pub fn usable(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.paths.iter().filter(|(_, path)| path.usable).map(|(channel, _)| *channel)
    }

    pub fn has_usable(&self) -> bool {
        self.usable().next().is_some()
    }

    /// Channels that have joined.
    pub fn joined(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.paths
            .iter()
            .filter(|(_, path)| matches!(path.join, Join::In { .. }))
            .map(|(channel, _)| *channel)
    }

    /// When the next join is due.
    pub fn next_join(&self) -> Option<Instant> {
        self.paths.values().filter_map(Path::next_join).min()
    }

    /// A number that no channel of ours has.
    fn free_number(&self, rng: &mut StdRng) -> u32 {
        loop {
            let number = rng.next_u32() & NUMBER_MASK;
            let taken = |path: &Path| matches!(path.join, Join::Joining { local, .. } | Join::In { local, .. } if local == number);
            if number != 0 && !self.paths.values().any(taken) {
                return number;
            }
        }
    }
}

impl Path {
    /// Joins, once more if need be, but not within a quarter second of the last time.
    fn start(&mut self, now: Instant) {
        if matches!(self.join, Join::Joining { .. }) {
            return;
        }
        let next = self.asked_at.map_or(now, |at| (at + PATIENCE_MIN).max(now));
        self.join = Join::Joining { join: 0, local: 0, tries: 0, next };
    }

    fn next_join(&self) -> Option<Instant> {
        match self.join {
            Join::Joining { next, .. } if self.usable => Some(next),
            _ => None,
        }
    }
}

/// Of a path of which nothing is known: the proxy goes by what it knows itself.
const ROOM_MAX: u16 = u16::MAX;
/// Sends of one join before it gets a new number.
const SENDS_PER_JOIN: u32 = 3;
/// A channel number has 24 bits.
pub const NUMBER_MASK: u32 = (1 << 24) - 1;
