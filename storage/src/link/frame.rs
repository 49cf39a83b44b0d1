//! The bytes that go over a link.
//!
//! The shell puts a u32 with the length in front of each frame (at most [`FRAME_BYTES_MAX`]). All
//! numbers are little-endian. A frame begins with its kind; both sides send a hello first.
//!
//! | kind | from | fields |
//! |---|---|---|
//! | 1 hello | both | u16 lowest and u16 highest version spoken, name, u32 own epoch, position: how far I know your log |
//! | 2 heartbeat | both | position of the own log's tip |
//! | 3 holds | both | name of an author, holds: metadata, holds: sound |
//! | 4 follow | follower | u32 feed, name of an author, start: metadata, start: sound, holds: metadata, holds: sound |
//! | 5 records | feeder | u32 feed, u8 lanes, u8 1: nothing alive was left out since the ones before, place, records to the end |
//! | 6 whole | feeder | u32 feed, u8 lanes, place, holds |
//! | 7 ack | follower | u32 feed, position: metadata, position: sound, u64 bytes of records frames that are done with |
//! | 8 want | follower | id of a sound |
//! | 9 wanted | feeder | id of a sound, u8 0: more follow, 1: that was all, 2: is not here; records to the end |
//!
//! A name is 16 bytes, an id 28 as in a record; a position u32 epoch, u64 sequence number; a place a
//! position, u32 segment, u64 offset: where in the feeder's log the record after it begins; a start
//! u8 1 and a place, or u8 0: not wanted; holds u16 count and so many times u32 epoch, u64 sequence
//! number, rising; lanes 1: metadata, 2: sound, 3: both. Records are as they lie on the disk, header,
//! checksum and all, one after the other without padding.
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

/// The longest frame.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// The versions this program speaks.
pub const VERSIONS: (u16, u16) = (1, 1);
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
    Own(Vec<u8>),
    Record(Arc<Wrote>, WroteRecord),
}

/// Which of a log's records: what is said, or the sound itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(u8);

/// Where somebody is in a feeder's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
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
    /// What the sender holds durably.
    Holds {
        /// Of whom.
        author: NodeName,
        /// What is said.
        metadata: Epochs,
        /// The sound.
        sound: Epochs,
    },
    /// Records are wanted. Replaces what was wanted of the same author.
    Follow(Follow),
    /// Here they are.
    Records {
        /// As wanted by which follow.
        feed: u32,
        /// Which kinds are in it.
        lanes: Lanes,
        /// Nothing alive was left out since the records before.
        is_gapless: bool,
        /// Where the next begin.
        place: Place,
        /// One after the other.
        records: &'a [u8],
    },
    /// With what was sent so far, all is held that the feeder holds of the author.
    Whole {
        /// As wanted by which follow.
        feed: u32,
        /// Of which kinds.
        lanes: Lanes,
        /// Where the next records begin.
        place: Place,
        /// What the feeder holds.
        holds: Epochs,
    },
    /// What is durable at the follower.
    Ack {
        /// Of which follow.
        feed: u32,
        /// So much of what is said.
        metadata: Position,
        /// So much of the sound.
        sound: Position,
        /// Bytes of records frames, of all feeds on this connection, that are done with.
        bytes: u64,
    },
    /// A sound is wanted, now.
    Want(Id),
    /// Records of a sound that was wanted.
    Wanted {
        /// Which.
        sound: Id,
        /// How it goes on.
        more: More,
        /// One after the other.
        records: &'a [u8],
    },
    /// Of a kind this version does not know.
    Unknown(u8),
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
    /// From where on what is said is wanted; `None`: it is not.
    pub metadata: Option<Place>,
    /// From where on the sound is wanted; `None`: it is not.
    pub sound: Option<Place>,
    /// What the follower holds of what the author said.
    pub holds_metadata: Epochs,
    /// What the follower holds of the author's sound.
    pub holds_sound: Epochs,
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

impl Lanes {
    /// What is said.
    pub const METADATA: Lanes = Lanes(1);
    /// The sound itself.
    pub const SOUND: Lanes = Lanes(2);
    /// Both.
    pub const BOTH: Lanes = Lanes(3);

    /// All of `other` are among these.
    pub fn has(self, other: Lanes) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Frame {
    /// A frame with these bytes.
    pub fn new(bytes: Vec<u8>) -> Frame {
        Frame {
            bytes: bytes.len(),
            parts: vec![Part::Own(bytes)],
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
                Part::Own(bytes) => (Some(&bytes[..]), None),
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
            Some(Part::Own(own)) => own.extend_from_slice(bytes),
            _ => self.parts.push(Part::Own(bytes.to_vec())),
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
        Message::Holds {
            author,
            metadata,
            sound,
        } => {
            out.push(3);
            out.extend_from_slice(&author.to_bytes());
            put_epochs(metadata, &mut out);
            put_epochs(sound, &mut out);
        }
        Message::Follow(follow) => {
            out.push(4);
            out.extend_from_slice(&follow.feed.to_le_bytes());
            out.extend_from_slice(&follow.author.to_bytes());
            put_start(follow.metadata, &mut out);
            put_start(follow.sound, &mut out);
            put_epochs(&follow.holds_metadata, &mut out);
            put_epochs(&follow.holds_sound, &mut out);
        }
        Message::Records {
            feed,
            lanes,
            is_gapless,
            place,
            records,
        } => {
            out.push(5);
            out.extend_from_slice(&feed.to_le_bytes());
            out.extend_from_slice(&[lanes.0, u8::from(*is_gapless)]);
            put_place(*place, &mut out);
            out.extend_from_slice(records);
        }
        Message::Whole {
            feed,
            lanes,
            place,
            holds,
        } => {
            out.push(6);
            out.extend_from_slice(&feed.to_le_bytes());
            out.push(lanes.0);
            put_place(*place, &mut out);
            put_epochs(holds, &mut out);
        }
        Message::Ack {
            feed,
            metadata,
            sound,
            bytes,
        } => {
            out.push(7);
            out.extend_from_slice(&feed.to_le_bytes());
            put_position(*metadata, &mut out);
            put_position(*sound, &mut out);
            out.extend_from_slice(&bytes.to_le_bytes());
        }
        Message::Want(sound) => {
            out.push(8);
            put_id(*sound, &mut out);
        }
        Message::Wanted {
            sound,
            more,
            records,
        } => {
            out.push(9);
            put_id(*sound, &mut out);
            out.push(*more as u8);
            out.extend_from_slice(records);
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
        3 => Message::Holds {
            author: rest.name()?,
            metadata: rest.epochs()?,
            sound: rest.epochs()?,
        },
        4 => Message::Follow(Follow {
            feed: rest.u32()?,
            author: rest.name()?,
            metadata: rest.start()?,
            sound: rest.start()?,
            holds_metadata: rest.epochs()?,
            holds_sound: rest.epochs()?,
        }),
        5 => Message::Records {
            feed: rest.u32()?,
            lanes: rest.lanes()?,
            is_gapless: rest.flag()?,
            place: rest.place()?,
            records: rest.all(),
        },
        6 => Message::Whole {
            feed: rest.u32()?,
            lanes: rest.lanes()?,
            place: rest.place()?,
            holds: rest.epochs()?,
        },
        7 => Message::Ack {
            feed: rest.u32()?,
            metadata: rest.position()?,
            sound: rest.position()?,
            bytes: rest.u64()?,
        },
        8 => Message::Want(rest.id()?),
        9 => Message::Wanted {
            sound: rest.id()?,
            more: rest.more()?,
            records: rest.all(),
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

fn put_place(place: Place, out: &mut Vec<u8>) {
    put_position(place.position, out);
    out.extend_from_slice(&place.segment.to_le_bytes());
    out.extend_from_slice(&place.offset.to_le_bytes());
}

fn put_start(start: Option<Place>, out: &mut Vec<u8>) {
    out.push(u8::from(start.is_some()));
    if let Some(place) = start {
        put_place(place, out);
    }
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

    fn flag(&mut self) -> Result<bool, Nonsense> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Nonsense("neither yes nor no")),
        }
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

    fn place(&mut self) -> Result<Place, Nonsense> {
        Ok(Place {
            position: self.position()?,
            segment: self.u32()?,
            offset: self.u64()?,
        })
    }

    fn start(&mut self) -> Result<Option<Place>, Nonsense> {
        self.flag()?.then(|| self.place()).transpose()
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

    fn lanes(&mut self) -> Result<Lanes, Nonsense> {
        match self.u8()? {
            lanes @ 1..=3 => Ok(Lanes(lanes)),
            _ => Err(Nonsense("unknown lanes")),
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
