//! The follower's side: records of an author come from a feeder and go into the own log.
//!
//! A record is *held* once it is durable here. How far, is known when the feeder says that it has sent
//! all it holds ([`Follower::on_caught_up`]); from then on each frame of a feeder's own records says so by
//! its place, for it sends them in their order.
//!
//! Bounds: a feeder sends no more than its window before records are done with here.

use std::collections::{BTreeMap, VecDeque};

use super::copies::Copies;
use super::frame::{Epochs, LogCursor, Nonsense, RecordClass};
use super::seam::Position;
use crate::block::{CHUNK_HEADER_BYTES, ChunkBlock};
use crate::name::{Id, NodeName};
use crate::record::{self, Body};
use crate::seam::{Append, LOCAL_REGISTERS, Owner, Payload, Token};

/// One feed that was asked for.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) number: u32,
    pub(super) feeder: NodeName,
    pub(super) author: NodeName,
    pub(super) lane: RecordClass,
    /// Behind what is durable here.
    pub(super) place: LogCursor,
    /// Everything that the feeder holds is held here, as far as it came.
    pub(super) is_whole: bool,
    pending: VecDeque<Pending>,
    done_bytes: u64,
}

/// A frame whose records are on their way to the disk.
#[derive(Debug)]
struct Pending {
    /// The last append that must be durable.
    after: Token,
    place: LogCursor,
    bytes: u64,
    holds: Option<Epochs>,
}

/// The appends of a link that are under way, in the order they were handed to the log.
#[derive(Debug)]
pub(super) struct Stores {
    last: Token,
    under_way: BTreeMap<Token, StoredFor>,
}

/// Whose append it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredFor {
    /// Of a feed of this author and kind.
    Feed(NodeName, RecordClass),
    /// Of a sound that was wanted.
    Want(Id),
    /// What the link keeps in mind.
    Kept,
}

/// What was done with the records of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IngestCounts {
    pub(super) stored: u64,
    pub(super) known: u64,
}

impl Default for Stores {
    fn default() -> Stores {
        Stores {
            last: Token::new(Owner::Link, 0),
            under_way: BTreeMap::new(),
        }
    }
}

impl Stores {
    /// A token for the next append.
    pub(super) fn next(&mut self, owner: StoredFor) -> Token {
        self.last.number += 1;
        self.under_way.insert(self.last, owner);
        self.last
    }

    /// The last one that was handed out.
    pub(super) fn last(&self) -> Token {
        self.last
    }

    /// It is durable, or was refused; whose it was.
    pub(super) fn done(&mut self, token: Token) -> Option<StoredFor> {
        self.under_way.remove(&token)
    }

    /// All up to this one are done.
    pub(super) fn are_done(&self, last: Token) -> bool {
        self.under_way
            .first_key_value()
            .is_none_or(|(first, _)| last < *first)
    }
}

impl Follower {
    /// From `place` on.
    pub(super) fn new(
        number: u32,
        feeder: NodeName,
        (author, lane): (NodeName, RecordClass),
        place: LogCursor,
    ) -> Follower {
        Follower {
            number,
            feeder,
            author,
            lane,
            place,
            is_whole: false,
            pending: VecDeque::new(),
            done_bytes: 0,
        }
    }

    /// Records have come.
    pub(super) fn on_records(
        &mut self,
        copies: &mut Copies,
        stores: &mut Stores,
        spare: &mut Vec<ChunkBlock>,
        (place, records): (LogCursor, &[u8]),
        mut store: impl FnMut(Token, Append),
    ) -> Result<IngestCounts, Nonsense> {
        let mut taken = IngestCounts::default();
        for said in Records(records, self.feeder, spare) {
            let (position, append) = said?;
            let (node, is_chunk) = author_of(&append);
            if node != Some(self.author) || RecordClass::of(is_chunk) != self.lane {
                return Err(Nonsense("a record that was not asked for"));
            }
            if is_local(&append) {
                continue;
            }
            if !copies.take(self.author, self.lane, position) {
                taken.known += 1;
                continue;
            }
            taken.stored += 1;
            store(stores.next(StoredFor::Feed(self.author, self.lane)), append);
        }
        self.pending.push_back(Pending {
            after: stores.last(),
            place,
            bytes: records.len() as u64,
            holds: None,
        });
        Ok(taken)
    }

    /// All has come that the feeder holds.
    pub(super) fn on_caught_up(&mut self, stores: &Stores, place: LogCursor, holds: Epochs) {
        self.pending.push_back(Pending {
            after: stores.last(),
            place,
            bytes: 0,
            holds: Some(holds),
        });
    }

    /// Takes note of what has become durable; what to acknowledge, if anything.
    pub(super) fn settle(
        &mut self,
        copies: &mut Copies,
        stores: &Stores,
    ) -> Option<(Position, u64)> {
        let mut changed = false;
        while let Some(first) = self.pending.front()
            && stores.are_done(first.after)
        {
            let Some(Pending {
                place,
                bytes,
                holds,
                ..
            }) = self.pending.pop_front()
            else {
                break;
            };
            changed = true;
            self.place = place;
            self.done_bytes += bytes;
            if let Some(holds) = &holds {
                self.is_whole = true;
                copies.raise(self.author, self.lane, holds);
            } else if self.is_whole && self.author == self.feeder {
                let position = place.position;
                let held = Epochs::from([(position.epoch, position.seq)]);
                copies.raise(self.author, self.lane, &held);
            }
        }
        changed.then_some((self.place.position, self.done_bytes))
    }
}

impl Follower {
    /// All that came is durable.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }
}

/// Records one after the other, as this feeder's log says them. Sound goes into spare chunks, while
/// there are some.
pub(super) struct Records<'a>(
    pub(super) &'a [u8],
    pub(super) NodeName,
    pub(super) &'a mut Vec<ChunkBlock>,
);

impl Iterator for Records<'_> {
    type Item = Result<(Position, Append), Nonsense>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.0 = &[];
        }
        Some(read)
    }
}

impl Records<'_> {
    fn read(&mut self) -> Result<(Position, Append), Nonsense> {
        let record = record::decode(self.0, 0).map_err(|_| Nonsense("a damaged record"))?;
        let (raw, rest) = self.0.split_at(record.bytes);
        self.0 = rest;
        if !matches!(record.body, Body::Said(_) | Body::Replica(..)) {
            return Err(Nonsense("a record that says nothing to others"));
        }
        let said = record
            .said(self.1)
            .ok_or(Nonsense("a record that says nothing to others"))?;
        let block = match said.what {
            Payload::Chunk { id, .. } => {
                if (id.node, id.epoch) != (said.stamp.node, said.stamp.epoch) {
                    return Err(Nonsense("sound that its node cannot have made"));
                }
                let samples = raw.get(CHUNK_HEADER_BYTES..);
                let samples = samples.ok_or(Nonsense("a chunk without samples"))?;
                let spare = self.2.pop().unwrap_or_default();
                Some(spare.of_record_instead(samples))
            }
            _ => None,
        };
        let stamp = said.stamp;
        let position = Position {
            epoch: stamp.epoch,
            seq: stamp.seq,
        };
        let what = said.what;
        Ok((position, Append::Replica { stamp, what, block }))
    }
}

fn author_of(append: &Append) -> (Option<NodeName>, bool) {
    match append {
        Append::Replica { stamp, block, .. } => (Some(stamp.node), block.is_some()),
        _ => (None, false),
    }
}

fn is_local(append: &Append) -> bool {
    let Append::Replica { what, .. } = append else {
        return false;
    };
    matches!(what, Payload::Register { key, .. } if key.starts_with(LOCAL_REGISTERS))
}
