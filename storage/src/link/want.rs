//! Sound that is not held here, fetched from a peer that has it; and the same for peers.
//!
//! The node that recorded it is asked first, then those that say they hold it, then all others; who
//! does not answer for [`PATIENCE`] is passed over, and the next one asked for what has not come. What
//! comes is stored like any copy, and can be heard from its first chunk on: the first frames are short, and
//! several sounds for one peer take turns.
//!
//! Bounds: [`WANTED_MAX`] sounds wanted, [`SERVED_MAX`] served a connection, [`AHEAD_FRAMES`] frames of
//! them ahead of the network. Beyond that the answer is that it is not here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::frame::{self, Frame, Message, More};
use super::seam::ConnId;
use crate::block::BLOCK_BYTES;
use crate::name::{Id, NodeName};
use crate::record::{self, Body, Record};
use crate::seam::{ChunkPlace, Owner, Payload, Token};
use crate::time::Time;

/// Sounds wanted at once.
pub(super) const WANTED_MAX: usize = 256;
/// Sounds served at once on one connection.
pub(super) const SERVED_MAX: usize = 32;
/// From this version on what is here already need not be sent.
pub(super) const VERSION_WANT_REST: u16 = 2;
/// A peer that says nothing for so long is passed over.
const PATIENCE: Duration = Duration::from_secs(2);
/// Chunks in one frame; in the first only one, and in each twice as many as in that before.
const FRAME_CHUNKS: usize = 8;
/// Frames handed to the network ahead of what it has taken.
pub(super) const AHEAD_FRAMES: usize = 4;

/// A sound that is wanted here.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Whom it was asked of, the last one now.
    pub(super) asked: BTreeSet<NodeName>,
    pub(super) conn: Option<ConnId>,
    /// All has come; it is here once this is durable.
    pub(super) after: Option<Token>,
    /// Chunks, from the first on, that are here or on their way to the disk.
    pub(super) chunks: u32,
    /// The last append of it.
    pub(super) last: Token,
    pub(super) patience_until: Time,
}

/// A sound that is served to a peer.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) sound: Id,
    /// `None`: the view was asked where it lies.
    places: Option<VecDeque<ChunkPlace>>,
    /// Those before this one the peer has.
    from: u32,
    gathered: Vec<u8>,
    chunks: usize,
    /// In the next frame.
    chunks_max: usize,
}

/// All sounds wanted here.
pub(super) type Wants = BTreeMap<Id, Wanted>;

impl Wanted {
    /// Nobody was asked yet.
    pub(super) fn new(now: Time, chunks: u32) -> Wanted {
        Wanted {
            asked: BTreeSet::new(),
            conn: None,
            after: None,
            chunks,
            last: Token::new(Owner::Link, 0),
            patience_until: now,
        }
    }

    /// It was asked of this peer.
    pub(super) fn ask(&mut self, now: Time, peer: NodeName, conn: ConnId) {
        self.asked.insert(peer);
        self.conn = Some(conn);
        self.heard(now);
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Time) {
        self.patience_until = now + PATIENCE;
    }
}

impl Served {
    /// The view is being asked where it lies.
    pub(super) fn new(sound: Id, from: u32) -> Served {
        Served {
            sound,
            places: None,
            from,
            gathered: Vec::new(),
            chunks: 0,
            chunks_max: 1,
        }
    }

    /// It lies here. If that is nowhere, the frame that says so.
    pub(super) fn on_places(&mut self, places: Vec<ChunkPlace>) -> Option<Frame> {
        let is_here = !places.is_empty();
        self.places = Some(places.into());
        (!is_here).then(|| not_here(self.sound))
    }

    /// The next chunk to be read.
    pub(super) fn next(&self) -> Option<(u32, u64, usize)> {
        let place = self.places.as_ref()?.front()?;
        Some((place.segment, place.offset, BLOCK_BYTES))
    }

    /// What was read there; a frame, if one is full or the sound ends. What is not a chunk of it is
    /// left out: the peer sees what is missing.
    pub(super) fn on_read(&mut self, bytes: &[u8]) -> Option<(Frame, bool)> {
        let places = self.places.as_mut()?;
        places.pop_front();
        if let Ok(record) = record::decode(bytes, 0)
            && chunk_index(&record).is_some_and(|(id, at)| id == self.sound && at >= self.from)
        {
            self.gathered.extend_from_slice(&bytes[..record.bytes]);
            self.chunks += 1;
        }
        let is_last = places.is_empty();
        if !is_last && self.chunks < self.chunks_max {
            return None;
        }
        self.chunks = 0;
        self.chunks_max = (self.chunks_max * 2).min(FRAME_CHUNKS);
        let records = std::mem::take(&mut self.gathered);
        let more = if is_last { More::No } else { More::Yes };
        let message = Message::Wanted {
            sound: self.sound,
            more,
            records: &records,
        };
        Some((frame::encode(&message), is_last))
    }
}

/// Which chunk of which sound a record is.
fn chunk_index(record: &Record) -> Option<(Id, u32)> {
    match record.body {
        Body::Said(Payload::Chunk { id, index, .. })
        | Body::Replica(_, Payload::Chunk { id, index, .. }) => Some((id, index)),
        _ => None,
    }
}

/// The answer for a sound that cannot be served.
pub(super) fn not_here(sound: Id) -> Frame {
    frame::encode(&Message::Wanted {
        sound,
        more: More::NotHere,
        records: &[],
    })
}
