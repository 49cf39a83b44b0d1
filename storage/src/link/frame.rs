//! The bytes that go over a link.
//!
//! The shell puts a u32 with the length in front of each frame (at most [`FRAME_BYTES_MAX`]). All
//! numbers are little-endian. A frame begins with its kind; both sides send a hello first.
//!
//! | kind | from | fields |
//! |---|---|---|
//! | 1 hello | both | u16 lowest and u16 highest version spoken, name, u32 own epoch, position: how far I know your log |
//! | 2 heartbeat | both | position of the own log's tip |
//! | 3 has | both | name of an author, lane: some of that is held here |
//! | 4 follow | follower | u32 feed, name of an author, lane, place: where to begin, holds |
//! | 5 unfollow | follower | u32 feed |
//! | 6 records | feeder | u32 feed, place, records to the end |
//! | 7 whole | feeder | u32 feed, place, holds |
//! | 8 ack | follower | u32 feed, position, u64 bytes of this feed's records that are done with |
//! | 9 want | follower | id of a sound |
//! | 10 wanted | feeder | id of a sound, u8 0: more follow, 1: that was all, 2: is not here; records to the end |
//! | 64 sorry | door | u8 why the other one is not let in; instead of a hello, and the last frame |
//! | 65 clock | both | u64 milliseconds since 1970 on the sender's clock |
//! | 11 packed | both | u32 length of another frame, and that as zstd makes it shorter; from version 2 on, see `pack.rs` |
//!
//! A name is 16 bytes, an id 28 as in a record; a position u32 epoch, u64 sequence number; a place a
//! position, u32 segment, u64 offset: where in the feeder's log the record after it begins, or the
//! block that has it; holds u16 count and so many times u32 epoch, u64 sequence number, rising; a lane
//! u8 1: metadata, 2: sound. Records are as they lie on the disk, header, checksum and all, one after
//! the other without padding.
//!
//! The versions in a hello say which of these both know. Within a version a kind that is not known
//! is skipped and counted: what may be lost without harm (who is ringing, talking) goes there, from
//! kind 64 on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::{Wrote, WroteRecord};
use crate::link::seam::Position;
use crate::name::{Id, NodeName};
use crate::record::{EPOCH_MAX, SEQ_MAX};
use crate::time::WallTime;

/// The longest frame.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
const SORRY: u8 = 64;
const CLOCK: u8 = 65;
/// The versions this program speaks.
pub const VERSIONS: (u16, u16) = (1, 2);
/// The most epochs of one author that are told or remembered: one for each start of a node. The
/// oldest are forgotten, which only makes their records come again.
pub const EPOCHS_MAX: usize = 1000;

/// Per epoch of an author the number through which all is held.
pub type Epochs = BTreeMap<u32, u64>;

/// A frame to be sent: its own bytes, and those of records in shared memory.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    parts: Vec<Part>,
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Part {
    LocalLog(Vec<u8>),
    Record(Arc<Wrote>, WroteRecord),
}

/// Which of a log's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordClass {
    /// What is said: beginnings and ends of sounds, registers, entries.
    Metadata = 1,
    /// The sound itself.
    Sound = 2,
}

/// Where somebody is in a feeder's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCursor {
    /// The last record before it.
    pub position: Position,
    /// The segment.
    pub segment: u32,
    /// Where in its file the next record begins.
    pub offset: u64,
}

/// A frame that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// The first one.
    Hello(Hello),
    /// Still there.
    Heartbeat {
        /// How far the sender's log is.
        tip: Position,
    },
    /// The sender holds some of this, and hands it on while the author is away.
    Has {
        /// Of whom.
        author: NodeName,
        /// Of which kind.
        lane: RecordClass,
    },
    /// Records are wanted.
    Follow(Follow),
    /// No more of this feed.
    Unfollow {
        /// Which.
        feed: u32,
    },
    /// Here they are.
    Records {
        /// As wanted by which follow.
        feed: u32,
        /// Where the next begin.
        place: LogCursor,
        /// One after the other.
        records: &'a [u8],
    },
    /// With what was sent so far, so much is held of the author as the feeder holds. Epochs that are
    /// not named are as they were told before.
    CaughtUp {
        /// As wanted by which follow.
        feed: u32,
        /// Where the next records begin.
        place: LogCursor,
        /// What the feeder holds.
        holds: Epochs,
    },
    /// What is durable at the follower.
    Ack {
        /// Of which follow.
        feed: u32,
        /// Up to here in the feeder's log.
        position: Position,
        /// Bytes of records frames of this feed that are done with, from the first on.
        bytes: u64,
    },
    /// A sound is wanted, now.
    Want {
        /// Which.
        sound: Id,
        /// Chunks of it, from the first on, that the one who wants it has: from version 2 on.
        chunks: u32,
    },
    /// Records of a sound that was wanted.
    Wanted {
        /// Which.
        sound: Id,
        /// How it goes on.
        more: More,
        /// One after the other.
        records: &'a [u8],
    },
    /// The other one is not let in. Comes instead of a hello, and last.
    Sorry {
        /// Why.
        why: Sorry,
    },
    /// What the sender's clock shows.
    Clock {
        /// It.
        at: WallTime,
    },
    /// Of a kind this version does not know.
    Unknown(u8),
}

/// Why somebody with a certificate of the cluster is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Sorry {
    /// Nothing is known of it: it joined at a node that has not been heard of since.
    #[error("this node is not known there; join the cluster again with a new token")]
    Unknown = 1,
    /// It was taken out of the cluster.
    #[error("this node was removed from the cluster; to come back, join again with a new token")]
    Removed = 2,
    /// Another machine has joined in its name.
    #[error("another machine has taken this node's place")]
    Replaced = 3,
    /// The sender's log is an old copy, or two machines run in its name.
    #[error(
        "its log goes on where another life of it was: an old copy of its disk, or a second machine in its name"
    )]
    OldCopy = 4,
}

/// Who speaks, and what contradicts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The lowest and the highest version spoken.
    pub versions: (u16, u16),
    /// Who speaks.
    pub node: NodeName,
    /// The epoch of its log.
    pub epoch: u32,
    /// How far it knows the log of the one it speaks to.
    pub known: Position,
}

/// What is wanted of an author's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// A number for it, that the follower has not used on this connection.
    pub feed: u32,
    /// Whose records.
    pub author: NodeName,
    /// Of which kind.
    pub lane: RecordClass,
    /// Where to begin; nowhere: at the first there is.
    pub place: LogCursor,
    /// What the follower holds of them already.
    pub holds: Epochs,
}

/// How the answer to a want goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum More {
    /// More follow.
    Yes = 0,
    /// That was all.
    No = 1,
    /// The sound is not here.
    NotHere = 2,
}

/// The frame makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Nonsense(pub &'static str);

impl RecordClass {
    /// Both.
    pub const ALL: [RecordClass; 2] = [RecordClass::Metadata, RecordClass::Sound];

    /// That of a record.
    pub fn of(is_chunk: bool) -> RecordClass {
        if is_chunk {
            RecordClass::Sound
        } else {
            RecordClass::Metadata
        }
    }
}

impl Frame {
    /// A frame with these bytes.
    pub fn new(bytes: Vec<u8>) -> Frame {
        Frame {
            bytes: bytes.len(),
            parts: vec![Part::LocalLog(bytes)],
        }
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// It has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Its bytes, piece by piece.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().flat_map(|part| {
            let (own, shared) = match part {
                Part::LocalLog(bytes) => (Some(&bytes[..]), None),
                Part::Record(wrote, record) => (None, Some(wrote.bytes_of(record))),
            };
            own.into_iter().chain(shared.into_iter().flatten())
        })
    }

    /// Its bytes in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes);
        self.parts().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// Appends a record that is in shared memory.
    pub fn push_record(&mut self, wrote: &Arc<Wrote>, record: WroteRecord) {
        self.bytes += record.bytes as usize;
        self.parts.push(Part::Record(wrote.clone(), record));
    }

    /// Appends bytes.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        match self.parts.last_mut() {
            Some(Part::LocalLog(own)) => own.extend_from_slice(bytes),
            _ => self.parts.push(Part::LocalLog(bytes.to_vec())),
        }
    }
}

/// The frame of a message. Records in a message that is encoded here are copied; feeds append
/// theirs to the frame instead.
pub fn encode(message: &Message<'_>) -> Frame {
    let mut out = Vec::with_capacity(64);
    match message {
        Message::Hello(hello) => {
            out.push(1);
            out.extend_from_slice(&hello.versions.0.to_le_bytes());
            out.extend_from_slice(&hello.versions.1.to_le_bytes());
            out.extend_from_slice(&hello.node.to_bytes());
            out.extend_from_slice(&hello.epoch.to_le_bytes());
            put_position(hello.known, &mut out);
        }
        Message::Heartbeat { tip } => {
            out.push(2);
            put_position(*tip, &mut out);
        }
        Message::Has { author, lane } => {
            out.push(3);
            out.extend_from_slice(&author.to_bytes());
            out.push(*lane as u8);
        }
        Message::Follow(follow) => {
            out.push(4);
            out.extend_from_slice(&follow.feed.to_le_bytes());
            out.extend_from_slice(&follow.author.to_bytes());
            out.push(follow.lane as u8);
            put_place(follow.place, &mut out);
            put_epochs(&follow.holds, &mut out);
        }
        Message::Unfollow { feed } => {
            out.push(5);
            out.extend_from_slice(&feed.to_le_bytes());
        }
        Message::Records {
            feed,
            place,
            records,
        } => {
            out.push(6);
            out.extend_from_slice(&feed.to_le_bytes());
            put_place(*place, &mut out);
            out.extend_from_slice(records);
        }
        Message::CaughtUp { feed, place, holds } => {
            out.push(7);
            out.extend_from_slice(&feed.to_le_bytes());
            put_place(*place, &mut out);
            put_epochs(holds, &mut out);
        }
        Message::Ack {
            feed,
            position,
            bytes,
        } => {
            out.push(8);
            out.extend_from_slice(&feed.to_le_bytes());
            put_position(*position, &mut out);
            out.extend_from_slice(&bytes.to_le_bytes());
        }
        Message::Want { sound, chunks } => {
            out.push(9);
            put_id(*sound, &mut out);
            if *chunks > 0 {
                out.extend_from_slice(&chunks.to_le_bytes());
            }
        }
        Message::Wanted {
            sound,
            more,
            records,
        } => {
            out.push(10);
            put_id(*sound, &mut out);
            out.push(*more as u8);
            out.extend_from_slice(records);
        }
        Message::Sorry { why } => out.extend([SORRY, *why as u8]),
        Message::Clock { at } => {
            out.push(CLOCK);
            out.extend_from_slice(&at.0.to_le_bytes());
        }
        Message::Unknown(kind) => out.push(*kind),
    }
    Frame::new(out)
}

/// Reads a frame.
pub fn decode(frame: &[u8]) -> Result<Message<'_>, Nonsense> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(Nonsense("a frame is too long"));
    }
    let mut rest = Fields(frame);
    let message = match rest.u8()? {
        1 => Message::Hello(Hello {
            versions: (rest.u16()?, rest.u16()?),
            node: rest.name()?,
            epoch: rest.epoch()?,
            known: rest.position()?,
        }),
        2 => Message::Heartbeat {
            tip: rest.position()?,
        },
        3 => Message::Has {
            author: rest.name()?,
            lane: rest.lane()?,
        },
        4 => Message::Follow(Follow {
            feed: rest.u32()?,
            author: rest.name()?,
            lane: rest.lane()?,
            place: rest.place()?,
            holds: rest.epochs()?,
        }),
        5 => Message::Unfollow { feed: rest.u32()? },
        6 => Message::Records {
            feed: rest.u32()?,
            place: rest.place()?,
            records: rest.all(),
        },
        7 => Message::CaughtUp {
            feed: rest.u32()?,
            place: rest.place()?,
            holds: rest.epochs()?,
        },
        8 => Message::Ack {
            feed: rest.u32()?,
            position: rest.position()?,
            bytes: rest.u64()?,
        },
        9 => Message::Want {
            sound: rest.id()?,
            chunks: if rest.0.is_empty() { 0 } else { rest.u32()? },
        },
        10 => Message::Wanted {
            sound: rest.id()?,
            more: rest.more()?,
            records: rest.all(),
        },
        SORRY => match rest.all() {
            [1] => Message::Sorry {
                why: Sorry::Unknown,
            },
            [2] => Message::Sorry {
                why: Sorry::Removed,
            },
            [3] => Message::Sorry {
                why: Sorry::Replaced,
            },
            [4] => Message::Sorry {
                why: Sorry::OldCopy,
            },
            _ => Message::Unknown(SORRY),
        },
        CLOCK => Message::Clock {
            at: WallTime(rest.u64()?),
        },
        kind => {
            rest.all();
            Message::Unknown(kind)
        }
    };
    if rest.0.is_empty() {
        Ok(message)
    } else {
        Err(Nonsense("bytes after the end of a frame"))
    }
}

fn put_position(position: Position, out: &mut Vec<u8>) {
    out.extend_from_slice(&position.epoch.to_le_bytes());
    out.extend_from_slice(&position.seq.to_le_bytes());
}

fn put_place(place: LogCursor, out: &mut Vec<u8>) {
    put_position(place.position, out);
    out.extend_from_slice(&place.segment.to_le_bytes());
    out.extend_from_slice(&place.offset.to_le_bytes());
}

/// The newest, if there are more than one may tell.
fn put_epochs(epochs: &Epochs, out: &mut Vec<u8>) {
    let count = epochs.len().min(EPOCHS_MAX);
    out.extend_from_slice(&(count as u16).to_le_bytes());
    for (epoch, seq) in epochs.iter().skip(epochs.len() - count) {
        out.extend_from_slice(&epoch.to_le_bytes());
        out.extend_from_slice(&seq.to_le_bytes());
    }
}

fn put_id(id: Id, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.node.to_bytes());
    out.extend_from_slice(&id.epoch.to_le_bytes());
    out.extend_from_slice(&id.number.to_le_bytes());
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

const SHORT: Nonsense = Nonsense("a frame is too short");

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Nonsense> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn u8(&mut self) -> Result<u8, Nonsense> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Nonsense> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Nonsense> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Nonsense> {
        self.array().map(u64::from_le_bytes)
    }

    fn name(&mut self) -> Result<NodeName, Nonsense> {
        NodeName::from_bytes(self.array()?).map_err(|_| Nonsense("not a node's name"))
    }

    fn epoch(&mut self) -> Result<u32, Nonsense> {
        let epoch = self.u32()?;
        (epoch <= EPOCH_MAX)
            .then_some(epoch)
            .ok_or(Nonsense("an impossible epoch"))
    }

    fn seq(&mut self) -> Result<u64, Nonsense> {
        let seq = self.u64()?;
        (seq <= SEQ_MAX)
            .then_some(seq)
            .ok_or(Nonsense("an impossible sequence number"))
    }

    fn position(&mut self) -> Result<Position, Nonsense> {
        Ok(Position {
            epoch: self.epoch()?,
            seq: self.seq()?,
        })
    }

    fn place(&mut self) -> Result<LogCursor, Nonsense> {
        Ok(LogCursor {
            position: self.position()?,
            segment: self.u32()?,
            offset: self.u64()?,
        })
    }

    fn epochs(&mut self) -> Result<Epochs, Nonsense> {
        let count = usize::from(self.u16()?);
        if count > EPOCHS_MAX {
            return Err(Nonsense("too many epochs"));
        }
        (0..count)
            .map(|_| Ok((self.epoch()?, self.seq()?)))
            .collect()
    }

    fn lane(&mut self) -> Result<RecordClass, Nonsense> {
        match self.u8()? {
            1 => Ok(RecordClass::Metadata),
            2 => Ok(RecordClass::Sound),
            _ => Err(Nonsense("an unknown lane")),
        }
    }

    fn id(&mut self) -> Result<Id, Nonsense> {
        Ok(Id {
            node: self.name()?,
            epoch: self.epoch()?,
            number: self.u64()?,
        })
    }

    fn more(&mut self) -> Result<More, Nonsense> {
        match self.u8()? {
            0 => Ok(More::Yes),
            1 => Ok(More::No),
            2 => Ok(More::NotHere),
            _ => Err(Nonsense("unknown answer")),
        }
    }
}
