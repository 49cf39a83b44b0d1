//! The link itself: takes what comes from peers, the log and the shell, and keeps feeds, followers and
//! wants going. The chapter of the module above tells the whole.
//!
//! Here: what it holds, its inputs, its figures. `frames.rs`: what peers say. `plan.rs`: what is done
//! after each input. `wants.rs`: sound that is not here.

mod frames;
mod plan;
mod wants;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::copies::Copies;
use super::feed::{Feed, LocalLog};
use super::follow::{Follower, StoredFor, Stores};
use super::frame::{self, Frame, Hello, LogCursor, Message, RecordClass};
use super::kept::{FollowState, Places};
use super::pack::{Packer, VERSION_PACKED};
use super::peers::{Peer, Verdict};
use super::seam::{
    CloseReason, ConnId, LinkConfig, LinkEvent, LinkInput, LinkOutput, LinkStatus, LogPiece,
    PEERS_MAX, PeerConfig, PeerStatus, Position, READ_BYTES_MAX,
};
use super::want::{Served, Wants};
use crate::batch::Wrote;
use crate::block::{BLOCK_BYTES, ChunkBlock};
use crate::name::NodeName;
use crate::record::SEQ_MAX;
use crate::seam::Token;
use crate::time::{Time, WallTime};

/// What the log here did not take is followed again after so long.
const FOLLOW_AGAIN: Duration = Duration::from_secs(10);

/// A connection on which the two talked for so long was a good one.
const LASTS_MIN: Duration = Duration::from_secs(2);

/// Spare chunks kept: the sound of one piece of a log.
const SPARE_MAX: usize = READ_BYTES_MAX / BLOCK_BYTES;

/// One node's end of all its links.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    own: LocalLog,
    copies: Copies,
    /// Where to go on in the logs of peers that are not known yet.
    places: Places,
    /// The own log has damages that were not seen to.
    mending: Option<Mending>,
    peers: BTreeMap<NodeName, Peer>,
    conns: BTreeMap<ConnId, Conn>,
    /// Followers whose connection is gone, until what came is durable.
    leaving: Vec<Follower>,
    stores: Stores,
    wants: Wants,
    /// What is being read of the own log, and asked of the view.
    reads: BTreeMap<Token, Reading>,
    read_last: u64,
    budget: Budget,
    packer: Packer,
    /// When what changed is written down and told.
    keep_at: Option<Time>,
    chance: u64,
    /// When something came of which the consequences (whom to follow, what to acknowledge) were not drawn
    /// yet.
    unseen: Option<Time>,
    outputs: VecDeque<LinkOutput>,
    /// Memory for sound that comes.
    spare: Vec<ChunkBlock>,
    status: LinkStatus,
    /// What this machine's clock showed at a time.
    clock: Option<(Time, WallTime)>,
}

/// A connection.
#[derive(Debug)]
struct Conn {
    peer: NodeName,
    /// This side dialled.
    dialled: bool,
    hello: Option<Hello>,
    /// The version both speak.
    version: u16,
    opened_at: Time,
    heard_at: Time,
    sent_at: Time,
    feeds: BTreeMap<u32, Feed>,
    followers: BTreeMap<u32, Follower>,
    follower_last: u32,
    served: VecDeque<Served>,
    /// The first of these is being read or looked for.
    serving: bool,
    /// Frames of served sounds that the network has not taken.
    unsent: usize,
    /// Since when the peer has been behind, and how far it was then.
    behind_since: Option<(Time, u64)>,
}

impl Conn {
    /// All that the peer held when it was asked is here; it was asked.
    fn is_whole(&self) -> bool {
        let mut direct = self.followers.values().filter(|f| f.author == self.peer);
        direct.any(|f| f.lane == RecordClass::Metadata)
            && self.followers.values().all(|f| f.is_whole)
    }
}

/// What damaged records said is asked of the peers again.
#[derive(Debug)]
struct Mending {
    /// So many damages there are.
    damages: u64,
    /// What is kept of authors and peers and tells too much, until it has been emptied.
    emptied: Option<(Vec<NodeName>, Vec<NodeName>)>,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Feed(ConnId, u32, RecordClass, usize),
    Served(ConnId),
}

impl Link {
    /// Without peers.
    pub fn new(config: LinkConfig, now: Time) -> Link {
        let mut kept = FollowState::read(&config.kept);
        let damages = config.found.damages;
        let is_damaged = damages > 0 && kept.mended != damages;
        let goes_on = is_damaged && kept.mending.0 == damages;
        let mut mending = None;
        if is_damaged {
            mending = Some(Mending {
                damages,
                emptied: None,
            });
        }
        if is_damaged && !goes_on {
            // What is missing is not known: all is asked for again, and what is here comes twice.
            let authors = kept.copies.iter().map(|(author, _)| author).collect();
            let peers = kept.places.keys().copied().collect();
            mending = Some(Mending {
                damages,
                emptied: Some((authors, peers)),
            });
            kept.copies = Copies::default();
            kept.places = Places::default();
        }
        // Of the own epochs before the damage was found only what came again is known to be here.
        let since = if goes_on {
            kept.mending.1
        } else {
            config.epoch
        };
        let is_known = |epoch: u32| !is_damaged || epoch >= since;
        let epochs = config.found.epochs.iter();
        let epochs = epochs.filter(|(epoch, _)| is_known(**epoch));
        let epochs = epochs.map(|(epoch, seq)| (*epoch, *seq)).collect();
        let own = LocalLog {
            node: config.node,
            epoch: config.epoch,
            found: config.found.clone(),
            tip: LogCursor::default(),
            is_behind: false,
        };
        for lane in RecordClass::ALL {
            for author in &own.found.authors {
                kept.copies.note(*author, lane);
            }
            kept.copies.raise(own.node, lane, &epochs);
            // Nobody can know more of the epoch that is written.
            let written = [(own.epoch, SEQ_MAX)].into();
            kept.copies.raise(own.node, lane, &written);
        }
        // What the log shows of its epochs is kept, for their segments may be retired. That of the
        // node's own there is something from an epoch tells nothing: it may have been had back in part.
        let _ = kept.copies.take_unsaid();
        Link {
            own,
            copies: kept.copies,
            places: kept.places,
            mending,
            peers: BTreeMap::new(),
            conns: BTreeMap::new(),
            leaving: Vec::new(),
            stores: Stores::default(),
            wants: Wants::new(),
            reads: BTreeMap::new(),
            read_last: 0,
            budget: Budget::new(config.send_bytes_per_s, now),
            packer: Packer::default(),
            keep_at: None,
            chance: config.seed,
            unseen: Some(now),
            outputs: VecDeque::new(),
            spare: Vec::new(),
            status: LinkStatus::default(),
            clock: None,
            config,
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: LinkInput) {
        let is_seen = matches!(input, LinkInput::Heard { .. } | LinkInput::Clock(_));
        match input {
            LinkInput::Peers(peers) => self.on_peers(now, &peers),
            LinkInput::Connected {
                conn,
                peer,
                dialled,
            } => self.on_connected(now, conn, peer, dialled),
            LinkInput::NotConnected { peer, why } => {
                let chance = self.chance();
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.on_not_connected(now, chance, why);
                }
            }
            LinkInput::Disconnected { conn } => self.drop_conn(now, conn, CloseReason::Ended),
            LinkInput::Frame { conn, bytes } => self.on_frame(now, conn, &bytes),
            LinkInput::Heard { conn } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.heard_at = now;
                }
            }
            LinkInput::Sent { conn } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.unsent = conn.unsent.saturating_sub(1);
                }
            }
            LinkInput::Wrote(wrote) => self.on_wrote(now, &wrote),
            LinkInput::Missed => self.own.is_behind = true,
            LinkInput::Stored { token } => drop(self.stores.done(token)),
            LinkInput::NotStored { token, .. } => self.on_not_stored(now, token),
            LinkInput::Read { token, piece } => self.on_read(now, token, piece),
            LinkInput::Places { token, places } => self.on_places(now, token, places),
            LinkInput::Want {
                sound,
                sealed,
                chunks,
            } => self.on_want(now, sound, sealed, chunks),
            LinkInput::Ending => self.keep_at = Some(now),
            LinkInput::Clock(wall) => self.clock = Some((now, wall)),
            LinkInput::Tick => {}
        }
        // From that nothing follows.
        if !is_seen {
            self.unseen = Some(now);
        }
    }

    /// Takes a chunk that nobody needs, for sound in frames to come. Nothing depends on it but where
    /// that sound is put: without one, memory is asked for.
    pub fn give_spare(&mut self, chunk: ChunkBlock) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(chunk);
        }
    }

    /// So many more spare chunks a frame of this length may take than there are.
    pub fn spare_wanted(&self, frame_bytes: usize) -> usize {
        let chunks = (frame_bytes / BLOCK_BYTES).min(SPARE_MAX);
        chunks.saturating_sub(self.spare.len())
    }

    /// The next thing asked for. What follows from all that came is seen to once: whoever hands in
    /// everything there is before polling saves work, and frames.
    pub fn poll(&mut self) -> Option<LinkOutput> {
        if self.outputs.is_empty()
            && let Some(now) = self.unseen.take()
        {
            self.go_on(now);
        }
        self.outputs.pop_front()
    }

    /// When to hand in [`LinkInput::Tick`], once nothing more is asked for.
    pub fn deadline(&self) -> Option<Time> {
        let peers = self.peers.values();
        let peers = peers.flat_map(|peer| peer.refused.values().copied().chain(peer.dial_at()));
        let conns = self.conns.values();
        let conns = conns.flat_map(|conn| [self.silent_at(conn), self.beat_at(conn)]);
        let wants = self.wants.values().filter(|want| want.after.is_none());
        let wants = wants.map(|want| want.patience_until);
        let rest = [self.keep_at, self.budget.deadline()];
        let rest = rest.into_iter().flatten();
        peers.chain(conns).chain(wants).chain(rest).min()
    }

    /// What the clock on the wall shows, as far as was told.
    fn wall_at(&self, now: Time) -> Option<WallTime> {
        let (at, wall) = self.clock?;
        Some(WallTime(
            wall.0.saturating_add(now.since(at).as_millis() as u64),
        ))
    }

    /// How it stands.
    pub fn status(&self, now: Time) -> LinkStatus {
        let peers = self.peers.values();
        LinkStatus {
            tip: self.own.tip.position,
            is_mending: self.mending.is_some(),
            peers: peers.map(|peer| self.peer_status(now, peer)).collect(),
            ..self.status.clone()
        }
    }

    fn peer_status(&self, now: Time, peer: &Peer) -> PeerStatus {
        let conn = peer.conn.and_then(|conn| self.conns.get(&conn));
        let behind = self.behind_bytes(peer, conn);
        let since = conn.and_then(|conn| conn.behind_since);
        let to_send_time = match (since, behind) {
            _ if !peer.is_up => None,
            (_, None) => None,
            (None, Some(_)) => Some(Duration::ZERO),
            (Some((at, first)), Some(behind)) => {
                let (done, took) = (first.saturating_sub(behind), now.since(at));
                (done > 0).then(|| took.mul_f64(behind as f64 / done as f64))
            }
        };
        let direct =
            |f: &&Follower| f.author == peer.config.name && f.lane == RecordClass::Metadata;
        let followed = conn.and_then(|conn| conn.followers.values().find(direct));
        PeerStatus {
            name: peer.config.name,
            is_up: peer.is_up,
            away_why: peer.away_why,
            is_backup: peer.is_backup,
            acked: peer.acked,
            to_send_bytes: behind,
            to_send_time,
            followed: followed.map_or(Position::default(), |f| f.place.position),
            is_whole: conn.is_some_and(Conn::is_whole),
            theirs: peer.tip,
            clock_off_ms: peer.clock_off_ms,
        }
    }

    /// How much of the own log the peer has still to be sent; of one that asks for nothing, what has come
    /// since it did.
    fn behind_bytes(&self, peer: &Peer, conn: Option<&Conn>) -> Option<u64> {
        let segment_bytes = self.config.segment_bytes;
        let feeds = conn.into_iter().flat_map(|conn| conn.feeds.values());
        let behind = feeds.map(|feed| feed.behind_bytes(&self.own, segment_bytes));
        let left_at = peer.left_at.as_ref();
        let left = || left_at.map(|place| self.own.behind_bytes(place, segment_bytes));
        behind.max().or_else(left)
    }

    fn on_peers(&mut self, now: Time, configs: &[PeerConfig]) {
        let configs = &configs[..configs.len().min(PEERS_MAX)];
        let is_there = |name: &NodeName| configs.iter().any(|config| config.name == *name);
        let gone: Vec<NodeName> = self
            .peers
            .keys()
            .filter(|n| !is_there(n))
            .copied()
            .collect();
        for name in gone {
            if let Some(conn) = self.peers.get(&name).and_then(|peer| peer.conn) {
                self.drop_conn(now, conn, CloseReason::Stranger);
            }
            self.peers.remove(&name);
        }
        for config in configs.iter().filter(|config| config.name != self.own.node) {
            let places = &mut self.places;
            let peer = self.peers.entry(config.name).or_insert_with(|| {
                let mut peer = Peer::new(*config, now);
                peer.places = places.remove(&config.name).unwrap_or_default();
                peer
            });
            peer.config = *config;
        }
    }

    fn on_connected(&mut self, now: Time, conn: ConnId, name: NodeName, dialled: bool) {
        let ours_first = self.own.node < name;
        let current = self.peers.get(&name).and_then(|peer| peer.conn);
        let current = current.and_then(|conn| self.conns.get(&conn));
        let current_is = current.is_some_and(|conn| conn.dialled == ours_first);
        let Some(peer) = self.peers.get_mut(&name) else {
            return self.close(conn, CloseReason::Stranger);
        };
        match peer.on_connected(conn, dialled, dialled == ours_first, current_is) {
            Verdict::Refuse => return self.close(conn, CloseReason::Replaced),
            Verdict::Use(None) => {}
            Verdict::Use(Some(old)) => {
                self.drop_conn(now, old, CloseReason::Replaced);
                if let Some(peer) = self.peers.get_mut(&name) {
                    peer.conn = Some(conn);
                }
            }
        }
        self.conns.insert(conn, Conn::new(now, name, dialled));
        let hello = Hello {
            versions: self.config.versions,
            node: self.own.node,
            epoch: self.own.epoch,
            known: self.copies.highest(name),
        };
        self.send(now, conn, frame::encode(&Message::Hello(hello)));
    }

    /// Forgets a connection; it is closed unless that is why.
    fn drop_conn(&mut self, now: Time, id: ConnId, why: CloseReason) {
        let Some(conn) = self.conns.remove(&id) else {
            return;
        };
        if why != CloseReason::Ended {
            self.close(id, why);
        }
        self.leaving.extend(conn.followers.into_values());
        for want in self.wants.values_mut().filter(|want| want.conn == Some(id)) {
            want.conn = None;
            want.patience_until = now;
        }
        let chance = self.chance();
        let Some(peer) = self.peers.get_mut(&conn.peer) else {
            return;
        };
        if peer.conn != Some(id) {
            return;
        }
        let lasted = conn.hello.is_some() && conn.opened_at + LASTS_MIN <= now;
        peer.on_gone(now, chance, lasted);
        let in_log = |place: &LogCursor| (place.segment, place.offset);
        let cursors = conn.feeds.values().map(Feed::cursor);
        peer.left_at = cursors.min_by_key(in_log).or(peer.left_at);
        if std::mem::take(&mut peer.is_backup) {
            let (peer, is_up) = (conn.peer, false);
            self.event(LinkEvent::Backup { peer, is_up });
        }
        let Some(peer) = self.peers.get_mut(&conn.peer) else {
            return;
        };
        peer.away_why = Some(why);
        if std::mem::take(&mut peer.is_up) {
            let peer = conn.peer;
            self.event(LinkEvent::Away { peer, why });
        }
    }

    fn on_wrote(&mut self, now: Time, wrote: &Arc<Wrote>) {
        let before = self.own.tip;
        let first = wrote.records.first().map_or(0, |record| record.seq);
        let follows = !self.own.is_behind && first == before.position.seq + 1;
        self.own.tip = LogCursor {
            position: Position {
                epoch: wrote.epoch,
                seq: wrote.seq_last(),
            },
            segment: wrote.batch.segment,
            offset: wrote.end_offset(),
        };
        self.own.is_behind = false;
        for lane in RecordClass::ALL {
            let conns: Vec<ConnId> = self.conns.keys().copied().collect();
            for id in conns {
                self.hand_on(now, id, lane, &before, wrote, follows);
            }
        }
    }

    fn hand_on(
        &mut self,
        now: Time,
        id: ConnId,
        lane: RecordClass,
        before: &LogCursor,
        wrote: &Arc<Wrote>,
        follows: bool,
    ) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let mut frames = Vec::new();
        for feed in conn.feeds.values_mut().filter(|feed| feed.lane == lane) {
            let goes = follows && self.budget.is_open(now);
            let frame = feed.on_wrote(&self.own, before, wrote, goes);
            frames.extend(frame);
        }
        for frame in frames {
            self.send_records(now, id, lane, frame);
        }
    }

    fn on_not_stored(&mut self, now: Time, token: Token) {
        match self.stores.done(token) {
            Some(StoredFor::Feed(author, lane)) => self.refused(now, author, lane),
            // What comes of it is not whole; another attempt may be.
            Some(StoredFor::Want(sound)) => self.end_want(sound, false),
            Some(StoredFor::Kept) | None => {}
        }
    }

    /// The log did not take a record. Another feeder may have sent the same and been told that it had
    /// come: of every feed that has something under way nothing more is taken for held because of
    /// what it sent, and each is asked for again later.
    fn refused(&mut self, now: Time, author: NodeName, lane: RecordClass) {
        self.copies.forget_taken();
        let is_hit = |f: &Follower| (f.author, f.lane) == (author, lane) && !f.is_settled();
        self.leaving.retain(|follower| !is_hit(follower));
        let mut unfollow = Vec::new();
        for (id, conn) in &mut self.conns {
            let before = unfollow.len();
            conn.followers.retain(|number, follower| {
                let hit = is_hit(follower);
                unfollow.extend(hit.then_some((*id, *number)));
                !hit
            });
            if let Some(peer) = self.peers.get_mut(&conn.peer)
                && before < unfollow.len()
            {
                peer.refused.insert((author, lane), now + FOLLOW_AGAIN);
            }
        }
        for (id, feed) in unfollow {
            self.send(now, id, frame::encode(&Message::Unfollow { feed }));
        }
    }

    fn on_read(&mut self, now: Time, token: Token, piece: LogPiece) {
        match self.reads.remove(&token) {
            Some(Reading::Feed(id, number, lane, asked)) => {
                let conn = self.conns.get_mut(&id);
                let feed = conn.and_then(|conn| conn.feeds.get_mut(&number));
                if let Some(frame) = feed.and_then(|f| f.on_piece(&self.own, asked, piece)) {
                    self.send_records(now, id, lane, frame);
                }
            }
            Some(Reading::Served(id)) => self.on_read_served(now, id, piece),
            None => {}
        }
    }

    /// Records of a feed: under the ceiling, and packed where that pays.
    fn send_records(&mut self, now: Time, id: ConnId, lane: RecordClass, mut frame: Frame) {
        let version = self.conns.get(&id).map_or(0, |conn| conn.version);
        if lane == RecordClass::Metadata && version >= VERSION_PACKED {
            frame = self.packer.pack(frame);
        }
        self.budget.spend(frame.len());
        self.send_as(now, id, frame, false, lane == RecordClass::Sound);
    }

    fn send(&mut self, now: Time, id: ConnId, frame: Frame) {
        self.send_told(now, id, frame, false);
    }

    fn send_told(&mut self, now: Time, id: ConnId, frame: Frame, is_told: bool) {
        self.send_as(now, id, frame, is_told, false);
    }

    /// `is_bulk`: sound of a feed, and what must stay behind it. On a slow line all else goes first.
    fn send_as(&mut self, now: Time, id: ConnId, frame: Frame, is_told: bool, is_bulk: bool) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.sent_at = now;
            conn.unsent += usize::from(is_told);
            self.status.sent_bytes += frame.len() as u64;
            self.outputs.push_back(LinkOutput::Send {
                conn: id,
                frame,
                is_told,
                is_bulk,
            });
        }
    }

    fn close(&mut self, conn: ConnId, why: CloseReason) {
        self.outputs.push_back(LinkOutput::Close { conn, why });
    }

    fn event(&mut self, event: LinkEvent) {
        self.outputs.push_back(LinkOutput::Event(event));
    }

    fn silent_at(&self, conn: &Conn) -> Time {
        conn.heard_at + self.config.away_after
    }

    /// Three to a silence: one that is late does no harm.
    fn beat_at(&self, conn: &Conn) -> Time {
        conn.sent_at + self.config.away_after / 3
    }

    /// From 0 to below 1 (splitmix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
    /// Generators", 2014).
    fn chance(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Conn {
    fn new(now: Time, peer: NodeName, dialled: bool) -> Conn {
        Conn {
            peer,
            dialled,
            hello: None,
            version: 0,
            opened_at: now,
            heard_at: now,
            sent_at: now,
            feeds: BTreeMap::new(),
            followers: BTreeMap::new(),
            follower_last: 0,
            served: VecDeque::new(),
            serving: false,
            unsent: 0,
            behind_since: None,
        }
    }
}

#[cfg(test)]
mod tests;
