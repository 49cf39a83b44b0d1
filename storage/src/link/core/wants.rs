//! Sound that is not here: asked of the peers, and served to them.

use super::super::follow::{Records, StoredFor};
use super::super::frame::{self, Message, More, Nonsense, RecordClass};
use super::super::seam::{ConnId, LinkEvent, LinkOutput, LogPiece, Position};
use super::super::want::{
    AHEAD_FRAMES, SERVED_MAX, Served, VERSION_WANT_REST, WANTED_MAX, Wanted, not_here,
};
use super::{Link, Reading};
use crate::cipher::ENCRYPTED;
use crate::name::Id;
use crate::seam::{Append, ChunkPlace, Owner, Payload, Token};
use crate::time::Time;

impl Link {
    pub(super) fn on_want(&mut self, now: Time, sound: Id, sealed: Position, chunks: u32) {
        if self.wants.contains_key(&sound) {
            return;
        }
        let is_here = self.copies.has(sound.node, RecordClass::Sound, sealed);
        if is_here || self.wants.len() >= WANTED_MAX {
            let (found, after) = (is_here, Token::new(Owner::Link, 0));
            return self.event(LinkEvent::Fetched {
                sound,
                found,
                after,
            });
        }
        self.wants.insert(sound, Wanted::new(now, chunks));
    }

    /// `found`: all that a peer has is durable here.
    pub(super) fn end_want(&mut self, sound: Id, found: bool) {
        if let Some(want) = self.wants.remove(&sound) {
            // Of what was refused nothing more is told.
            let after = if found {
                want.last
            } else {
                Token::new(Owner::Link, 0)
            };
            self.event(LinkEvent::Fetched {
                sound,
                found,
                after,
            });
        }
    }

    pub(super) fn go_on_with_wants(&mut self, now: Time) {
        let is_here = |want: &Wanted| want.after.is_some_and(|last| self.stores.are_done(last));
        let here = self.wants.iter().filter(|(_, want)| is_here(want));
        let here: Vec<Id> = here.map(|(sound, _)| *sound).collect();
        for sound in here {
            self.end_want(sound, true);
        }
        let late = |want: &Wanted| want.after.is_none() && want.patience_until <= now;
        let late = self.wants.iter().filter(|(_, want)| late(want));
        let late: Vec<Id> = late.map(|(sound, _)| *sound).collect();
        for sound in late {
            self.ask_next(now, sound);
        }
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in conns {
            self.serve(id);
        }
    }

    /// Asks the next peer that may have it, or gives up.
    fn ask_next(&mut self, now: Time, sound: Id) {
        let Some(want) = self.wants.get(&sound) else {
            return;
        };
        let up = self
            .peers
            .iter()
            .filter(|(name, peer)| peer.is_up && !want.asked.contains(name));
        let next = up.min_by_key(|(name, peer)| {
            let has_some = peer.has.contains(&(sound.node, RecordClass::Sound));
            (**name != sound.node, !has_some, **name)
        });
        let next = next.and_then(|(name, peer)| Some((*name, peer.conn?)));
        let Some((name, conn)) = next else {
            return self.end_want(sound, false);
        };
        let version = self.conns.get(&conn).map_or(0, |conn| conn.version);
        let mut chunks = 0;
        if let Some(want) = self.wants.get_mut(&sound) {
            want.ask(now, name, conn);
            if version >= VERSION_WANT_REST {
                chunks = want.chunks;
            }
        }
        self.send(now, conn, frame::encode(&Message::Want { sound, chunks }));
    }

    pub(super) fn on_wanted(
        &mut self,
        now: Time,
        id: ConnId,
        sound: Id,
        more: More,
        records: &[u8],
    ) -> Result<(), Nonsense> {
        let feeder = self.conns.get(&id).map(|conn| conn.peer);
        let want = self.wants.get_mut(&sound);
        let (Some(feeder), Some(want)) = (feeder, want) else {
            return Ok(());
        };
        if want.conn != Some(id) {
            return Ok(());
        }
        want.heard(now);
        for said in Records(records, feeder, &mut self.spare) {
            let (_, append) = said?;
            let Some((_, index)) = chunk_of(&append).filter(|(id, _)| *id == sound) else {
                return Err(Nonsense("a record that was not wanted"));
            };
            let index = index & !ENCRYPTED;
            if index < want.chunks {
                continue;
            }
            want.chunks = index + 1;
            // Others may look for it: its own node, should it lose its disk.
            self.copies.note(sound.node, RecordClass::Sound);
            let token = self.stores.next(StoredFor::Want(sound));
            want.last = token;
            self.outputs.push_back(LinkOutput::Store { token, append });
        }
        match more {
            More::Yes => {}
            More::No if want.chunks > 0 => want.after = Some(self.stores.last()),
            More::No | More::NotHere => want.patience_until = now,
        }
        Ok(())
    }

    pub(super) fn on_peer_wants(&mut self, now: Time, id: ConnId, sound: Id, chunks: u32) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if conn.served.len() >= SERVED_MAX {
            return self.send(now, id, not_here(sound));
        }
        conn.served.push_back(Served::new(sound, chunks));
    }

    /// Goes on with the sound that a peer wants and whose turn it is.
    fn serve(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if conn.serving || conn.unsent > AHEAD_FRAMES {
            return;
        }
        let Some(first) = conn.served.front() else {
            return;
        };
        conn.serving = true;
        self.read_last += 1;
        let token = Token::new(Owner::Link, self.read_last);
        self.reads.insert(token, Reading::Served(id));
        self.outputs.push_back(match first.next() {
            None => LinkOutput::FindSound {
                token,
                sound: first.sound,
            },
            Some((segment, offset, bytes)) => LinkOutput::ReadLog {
                token,
                segment,
                offset,
                bytes,
            },
        });
    }

    pub(super) fn on_places(&mut self, now: Time, token: Token, places: Vec<ChunkPlace>) {
        let Some(Reading::Served(id)) = self.reads.remove(&token) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.serving = false;
        let frame = conn
            .served
            .front_mut()
            .and_then(|first| first.on_places(places));
        if let Some(frame) = frame {
            conn.served.pop_front();
            self.send(now, id, frame);
        }
    }

    pub(super) fn on_read_served(&mut self, now: Time, id: ConnId, piece: LogPiece) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.serving = false;
        let bytes = match piece {
            LogPiece::Bytes(bytes) => bytes,
            LogPiece::Gone { .. } | LogPiece::Failed => Vec::new(),
        };
        let frame = conn
            .served
            .front_mut()
            .and_then(|first| first.on_read(&bytes));
        if let Some((frame, is_last)) = frame {
            let served = conn.served.pop_front();
            conn.served.extend(served.filter(|_| !is_last));
            self.send_told(now, id, frame, true);
        }
    }
}

/// The sound that an append is a chunk of, and which.
fn chunk_of(append: &Append) -> Option<(Id, u32)> {
    match append {
        Append::Replica {
            what: Payload::Chunk { id, index, .. },
            block: Some(_),
            ..
        } => Some((*id, *index)),
        _ => None,
    }
}
