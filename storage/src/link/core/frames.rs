//! What peers say.

use super::super::feed::Feed;
use super::super::frame::{self, Epochs, Follow, Hello, Message, Nonsense, Sorry};
use super::super::pack::PACKED;
use super::super::seam::{CloseReason, ConnId, LinkEvent, LinkOutput, Position};
use super::super::{copies::AUTHORS_MAX, frame::LogCursor};
use super::Link;
use crate::time::Time;

/// Feeds a peer may ask for on one connection: each author and kind once, and some on their way out.
const FEEDS_MAX: usize = 4 * AUTHORS_MAX;

impl Link {
    pub(super) fn on_frame(&mut self, now: Time, id: ConnId, bytes: &[u8]) {
        if !self.conns.contains_key(&id) {
            return;
        }
        let unpacked = match bytes.first() {
            Some(&PACKED) => Some(self.packer.unpack(bytes)),
            _ => None,
        };
        let frame = match &unpacked {
            Some(Ok(frame)) => Ok(&frame[..]),
            Some(Err(nonsense)) => Err(*nonsense),
            None => Ok(bytes),
        };
        let message = frame.and_then(frame::decode);
        let done = message.and_then(|message| self.on_message(now, id, message));
        if let Err(Nonsense(what)) = done {
            self.drop_conn(now, id, CloseReason::Nonsense(what));
        }
    }

    fn on_message(&mut self, now: Time, id: ConnId, message: Message<'_>) -> Result<(), Nonsense> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Ok(());
        };
        conn.heard_at = now;
        if let Message::Sorry { why } = message {
            self.drop_conn(now, id, CloseReason::Refused(why));
            return Ok(());
        }
        if conn.hello.is_none() != matches!(message, Message::Hello(_)) {
            return Err(Nonsense("a hello is the first frame, and only that"));
        }
        let peer = self.peers.get_mut(&conn.peer);
        match message {
            Message::Hello(hello) => return self.on_hello(now, id, hello),
            Message::Heartbeat { tip } => peer.into_iter().for_each(|peer| peer.tip = tip),
            Message::Has { author, lane } => {
                if let Some(peer) = peer
                    && peer.has.len() < 2 * AUTHORS_MAX
                {
                    peer.has.insert((author, lane));
                }
            }
            Message::Follow(follow) => return self.on_follow(id, follow),
            Message::Unfollow { feed } => drop(conn.feeds.remove(&feed)),
            Message::Records {
                feed,
                place,
                records,
            } => return self.on_records(id, feed, place, records),
            Message::CaughtUp { feed, place, holds } => self.on_caught_up(id, feed, place, holds),
            Message::Ack {
                feed,
                position,
                bytes,
            } => {
                if let Some(feed) = conn.feeds.get_mut(&feed) {
                    feed.on_ack(position, bytes);
                }
            }
            Message::Want { sound, chunks } => self.on_peer_wants(now, id, sound, chunks),
            Message::Wanted {
                sound,
                more,
                records,
            } => return self.on_wanted(now, id, sound, more, records),
            Message::Clock { at } => {
                let peer = conn.peer;
                let off = self.wall_at(now).map(|own| at.0.wrapping_sub(own.0) as i64);
                let peer = self.peers.get_mut(&peer);
                peer.into_iter().for_each(|peer| peer.clock_off_ms = off);
            }
            Message::Sorry { .. } => {}
            Message::Unknown(_) => self.status.frames_unknown += 1,
        }
        Ok(())
    }

    fn on_hello(&mut self, now: Time, id: ConnId, hello: Hello) -> Result<(), Nonsense> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Ok(());
        };
        if hello.node != conn.peer {
            return Err(Nonsense("a hello in another node's name"));
        }
        let (lowest, highest) = self.config.versions;
        let spoken = highest.min(hello.versions.1);
        if spoken < lowest.max(hello.versions.0) {
            self.drop_conn(now, id, CloseReason::Version);
            return Ok(());
        }
        let tip = self.own.tip.position;
        // In an epoch that has begun there is more than was said in it, or there is a later one.
        let known = hello.known;
        let is_more = known.seq > tip.seq && !self.own.is_behind;
        if known.epoch > self.own.epoch || (known.epoch == self.own.epoch && is_more) {
            let (peer, epoch) = (hello.node, hello.known.epoch);
            self.event(LinkEvent::Contradiction { peer, epoch });
            let why = Sorry::OldCopy;
            self.send(now, id, frame::encode(&Message::Sorry { why }));
            self.drop_conn(now, id, CloseReason::Contradiction);
            return Ok(());
        }
        conn.version = spoken;
        conn.hello = Some(hello);
        if let Some(peer) = self.peers.get_mut(&hello.node) {
            peer.is_up = true;
            peer.has.clear();
            peer.acked = Position::default();
        }
        let peer = hello.node;
        self.event(LinkEvent::Up { peer });
        self.tell_all(now, id);
        Ok(())
    }

    fn on_follow(&mut self, id: ConnId, follow: Follow) -> Result<(), Nonsense> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Ok(());
        };
        let is_known = conn.feeds.contains_key(&follow.feed);
        if is_known || conn.feeds.len() >= FEEDS_MAX {
            return Err(Nonsense("too many feeds, or one twice"));
        }
        let feed = Feed::new(follow, &self.own);
        conn.feeds.insert(feed.number, feed);
        Ok(())
    }

    fn on_records(
        &mut self,
        id: ConnId,
        feed: u32,
        place: LogCursor,
        records: &[u8],
    ) -> Result<(), Nonsense> {
        // One that was unfollowed meanwhile is not looked at.
        let conn = self.conns.get_mut(&id);
        let Some(follower) = conn.and_then(|conn| conn.followers.get_mut(&feed)) else {
            return Ok(());
        };
        let outputs = &mut self.outputs;
        let taken = follower.on_records(
            &mut self.copies,
            &mut self.stores,
            &mut self.spare,
            (place, records),
            |token, append| outputs.push_back(LinkOutput::Store { token, append }),
        )?;
        if taken.stored > 0 {
            self.copies.note(follower.author, follower.lane);
        }
        self.status.records_known += taken.known;
        self.status.records_stored += taken.stored;
        Ok(())
    }

    fn on_caught_up(&mut self, id: ConnId, feed: u32, place: LogCursor, holds: Epochs) {
        let conn = self.conns.get_mut(&id);
        if let Some(follower) = conn.and_then(|conn| conn.followers.get_mut(&feed)) {
            follower.on_caught_up(&self.stores, place, holds);
        }
    }
}
