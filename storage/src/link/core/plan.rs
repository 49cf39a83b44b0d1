//! What is done after each input: who is dialled, what is followed, read, told and written down.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::follow::{Follower, StoredFor};
use super::super::frame::{self, Follow, Message, RecordClass};
use super::super::kept;
use super::super::peers::Peer;
use super::super::seam::{CloseReason, ConnId, LinkEvent, LinkOutput, Position};
use super::{Conn, Link, Reading};
use crate::name::NodeName;
use crate::seam::{Append, Owner, Token};
use crate::time::Time;

/// What changed of what is held is written down, and told to the peers, this long after.
const KEEP_AFTER: Duration = Duration::from_secs(1);

impl Link {
    pub(super) fn go_on(&mut self, now: Time) {
        self.drop_silent(now);
        self.dial(now);
        self.settle(now);
        self.go_on_with_wants(now);
        self.follow(now);
        self.keep(now);
        for lane in RecordClass::ALL {
            self.feed(now, lane);
        }
        self.see_backups(now);
        self.beat(now);
    }

    fn drop_silent(&mut self, now: Time) {
        let silent = self
            .conns
            .iter()
            .filter(|(_, conn)| self.silent_at(conn) <= now);
        let silent: Vec<ConnId> = silent.map(|(id, _)| *id).collect();
        for id in silent {
            self.drop_conn(now, id, CloseReason::Silent);
        }
    }

    fn dial(&mut self, now: Time) {
        for (name, peer) in &mut self.peers {
            if peer.dials(now) {
                self.outputs.push_back(LinkOutput::Dial { peer: *name });
            }
            peer.refused.retain(|_, at| *at > now);
        }
    }

    fn beat(&mut self, now: Time) {
        let due = self
            .conns
            .iter()
            .filter(|(_, conn)| self.beat_at(conn) <= now);
        let due: Vec<ConnId> = due.map(|(id, _)| *id).collect();
        let tip = self.own.tip.position;
        for id in due {
            self.send(now, id, frame::encode(&Message::Heartbeat { tip }));
            if let Some(at) = self.wall_at(now) {
                self.send(now, id, frame::encode(&Message::Clock { at }));
            }
        }
    }

    /// Acknowledges what has become durable.
    fn settle(&mut self, now: Time) {
        let mut acks = Vec::new();
        for (id, conn) in &mut self.conns {
            for (number, follower) in &mut conn.followers {
                let Some((position, bytes)) = follower.settle(&mut self.copies, &self.stores)
                else {
                    continue;
                };
                if let Some(peer) = self.peers.get_mut(&conn.peer) {
                    peer.at(follower);
                }
                let ack = Message::Ack {
                    feed: *number,
                    position,
                    bytes,
                };
                acks.push((*id, frame::encode(&ack)));
            }
        }
        for (id, ack) in acks {
            self.send(now, id, ack);
        }
        let (copies, stores, peers) = (&mut self.copies, &self.stores, &mut self.peers);
        self.leaving.retain_mut(|follower| {
            if follower.settle(copies, stores).is_some()
                && let Some(peer) = peers.get_mut(&follower.feeder)
            {
                peer.at(follower);
            }
            !follower.is_settled()
        });
    }

    fn follow(&mut self, now: Time) {
        let conns = self.conns.iter().filter(|(_, conn)| conn.hello.is_some());
        let conns: Vec<(ConnId, NodeName)> = conns.map(|(id, conn)| (*id, conn.peer)).collect();
        for (id, feeder) in conns {
            self.unfollow(now, id, feeder);
            for (author, lane) in self.worth_following(feeder) {
                self.start_following(now, id, feeder, (author, lane));
            }
        }
    }

    /// What this peer should be asked for and is not.
    fn worth_following(&self, feeder: NodeName) -> Vec<(NodeName, RecordClass)> {
        let Some(peer) = self.peers.get(&feeder) else {
            return Vec::new();
        };
        let of_itself = RecordClass::ALL.map(|lane| (feeder, lane)).into_iter();
        // Who is away may never come back with what it said. And what this node said itself it may
        // have lost.
        let of_others = peer.has.iter().copied().filter(|(author, lane)| {
            *author != feeder && !self.is_up(*author) && !self.catches_up_with(*author, *lane)
        });
        of_itself
            .chain(of_others)
            .filter(|(author, lane)| self.keeps(*author, *lane))
            .filter(|(author, lane)| !self.follows(feeder, *author, *lane))
            .filter(|what| !peer.refused.contains_key(what))
            .collect()
    }

    fn start_following(
        &mut self,
        now: Time,
        id: ConnId,
        feeder: NodeName,
        (author, lane): (NodeName, RecordClass),
    ) {
        let (Some(conn), Some(peer)) = (self.conns.get_mut(&id), self.peers.get(&feeder)) else {
            return;
        };
        let place = peer
            .places
            .get(&(author, lane))
            .copied()
            .unwrap_or_default();
        conn.follower_last += 1;
        let feed = conn.follower_last;
        let follower = Follower::new(feed, feeder, (author, lane), place);
        conn.followers.insert(feed, follower);
        let holds = self.copies.of(author, lane).clone();
        let follow = Follow {
            feed,
            author,
            lane,
            place,
            holds,
        };
        self.send(now, id, frame::encode(&Message::Follow(follow)));
        if author != feeder {
            let peer = feeder;
            self.event(LinkEvent::Relaying { peer, author });
        }
    }

    /// Ends what is better had from the author, and what is no longer kept.
    fn unfollow(&mut self, now: Time, id: ConnId, feeder: NodeName) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let ends = |f: &&Follower| {
            !self.keeps(f.author, f.lane) || f.author != feeder && self.is_up(f.author)
        };
        let ending = conn.followers.values().filter(ends);
        let ending: Vec<u32> = ending.map(|follower| follower.number).collect();
        for feed in ending {
            let conn = self.conns.get_mut(&id);
            let follower = conn.and_then(|conn| conn.followers.remove(&feed));
            self.leaving.extend(follower);
            self.send(now, id, frame::encode(&Message::Unfollow { feed }));
        }
    }

    fn is_up(&self, node: NodeName) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.is_up)
    }

    /// Is this kept here? The sound of a node that is no longer one of the cluster is.
    fn keeps(&self, author: NodeName, lane: RecordClass) -> bool {
        let peer = self.peers.get(&author);
        lane == RecordClass::Metadata || peer.is_none_or(|peer| peer.config.keep_sound)
    }

    /// From this peer it comes, or what came is still on its way to the disk.
    fn follows(&self, feeder: NodeName, author: NodeName, lane: RecordClass) -> bool {
        self.followers()
            .any(|f| (f.feeder, f.author, f.lane) == (feeder, author, lane))
    }

    /// Somebody is about to send all of it.
    fn catches_up_with(&self, author: NodeName, lane: RecordClass) -> bool {
        self.followers()
            .any(|f| (f.author, f.lane) == (author, lane) && !f.is_whole)
    }

    fn followers(&self) -> impl Iterator<Item = &Follower> {
        let conns = self.conns.values();
        conns
            .flat_map(|conn| conn.followers.values())
            .chain(&self.leaving)
    }

    /// Writes down and tells what changed, not too often.
    fn keep(&mut self, now: Time) {
        self.see_mended();
        let places = self.peers.values().any(|peer| peer.places_changed);
        if !(places || self.copies.has_unkept() || self.copies.has_unsaid()) {
            return;
        }
        if *self.keep_at.get_or_insert(now + KEEP_AFTER) > now {
            return;
        }
        self.keep_at = None;
        for author in self.copies.take_unkept() {
            self.store_kept(kept::keep_held(&self.copies, author, &self.own));
        }
        let changed = self.peers.values_mut().filter(|peer| peer.places_changed);
        let appends: Vec<Append> = changed
            .map(|peer| {
                peer.places_changed = false;
                kept::keep_places(peer.config.name, &peer.places)
            })
            .collect();
        appends
            .into_iter()
            .for_each(|append| self.store_kept(append));
        let unsaid = self.copies.take_unsaid();
        let conns = self.conns.iter().filter(|(_, conn)| conn.hello.is_some());
        let conns: Vec<ConnId> = conns.map(|(id, _)| *id).collect();
        for id in conns {
            for (author, lane) in &unsaid {
                self.tell(now, id, *author, *lane);
            }
        }
    }

    fn store_kept(&mut self, append: Append) {
        let token = self.stores.next(StoredFor::Kept);
        self.outputs.push_back(LinkOutput::Store { token, append });
    }

    /// Everything was asked of the peers again, and has come.
    fn see_mended(&mut self) {
        let Some(mending) = &mut self.mending else {
            return;
        };
        let damages = mending.damages;
        if let Some((authors, peers)) = mending.emptied.take() {
            // In this order: a crash between them leaves what is empty, or asks for it once more.
            for author in authors {
                self.store_kept(kept::keep_held(&self.copies, author, &self.own));
            }
            for peer in peers {
                self.store_kept(kept::keep_places(peer, &BTreeMap::new()));
            }
            self.store_kept(kept::keep_mending(damages, self.own.epoch));
        }
        let conn_of = |peer: &Peer| self.conns.get(&peer.conn?);
        let is_whole = |peer| conn_of(peer).is_some_and(Conn::is_whole);
        let all_whole = !self.peers.is_empty() && self.peers.values().all(is_whole);
        if all_whole && self.leaving.is_empty() {
            self.mending = None;
            self.store_kept(kept::keep_mended(damages));
        }
    }

    /// Tells a peer of whom something is held.
    pub(super) fn tell_all(&mut self, now: Time, id: ConnId) {
        let all: Vec<(NodeName, RecordClass)> = self.copies.iter().collect();
        for (author, lane) in all {
            self.tell(now, id, author, lane);
        }
    }

    /// Tells a peer that something is held. What this node itself said its feeds tell.
    fn tell(&mut self, now: Time, id: ConnId, author: NodeName, lane: RecordClass) {
        if author != self.own.node {
            self.send(now, id, frame::encode(&Message::Has { author, lane }));
        }
    }

    /// Has read what feeds lack, and tells those at the tip what is held.
    fn feed(&mut self, now: Time, lane: RecordClass) {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in conns {
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            let mut told = Vec::new();
            for feed in conn.feeds.values_mut().filter(|feed| feed.lane == lane) {
                told.extend(feed.whole(&self.own, &self.copies));
                let waits = self.budget.has_ceiling() && !self.reads.is_empty();
                let Some((segment, offset, bytes)) = feed.wants(&self.own) else {
                    continue;
                };
                if waits || !self.budget.is_open(now) {
                    continue;
                }
                feed.is_reading = true;
                self.read_last += 1;
                let token = Token::new(Owner::Link, self.read_last);
                let reading = Reading::Feed(id, feed.number, lane, bytes);
                self.reads.insert(token, reading);
                self.outputs.push_back(LinkOutput::ReadLog {
                    token,
                    segment,
                    offset,
                    bytes,
                });
            }
            for frame in told {
                self.send_as(now, id, frame, false, lane == RecordClass::Sound);
            }
        }
    }

    /// Who keeps a copy of the own log, and how far it is.
    fn see_backups(&mut self, now: Time) {
        let (node, epoch) = (self.own.node, self.own.epoch);
        let segment_bytes = self.config.segment_bytes;
        let mut events = Vec::new();
        for conn in self.conns.values_mut() {
            let behind = |feed: &super::Feed| feed.behind_bytes(&self.own, segment_bytes);
            match conn.feeds.values().map(behind).max().unwrap_or(0) {
                0 => conn.behind_since = None,
                bytes => drop(conn.behind_since.get_or_insert((now, bytes))),
            }
            let Some(peer) = self.peers.get_mut(&conn.peer) else {
                continue;
            };
            let of = |lane| {
                let mut feeds = conn.feeds.values();
                feeds.find(|feed| feed.author == node && feed.lane == lane)
            };
            let feeds = of(RecordClass::Metadata).zip(of(RecordClass::Sound));
            let is_up = feeds.is_some();
            let name = conn.peer;
            if peer.is_backup != is_up {
                peer.is_backup = is_up;
                events.push(LinkEvent::Backup { peer: name, is_up });
            }
            let Some((metadata, sound)) = feeds else {
                continue;
            };
            let position: Position = metadata.acked().min(sound.acked());
            if position.epoch == epoch && position > peer.acked {
                peer.acked = position;
                events.push(LinkEvent::Acked {
                    peer: name,
                    position,
                });
            }
        }
        events.into_iter().for_each(|event| self.event(event));
    }
}
