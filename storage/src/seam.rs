//! What goes into the log and what comes back: the types on both sides of its queue.
//!
//! Others hand [`Append`]s to a `Log` handle and get [`LogEvent`]s back once the disk has them.
//! Nothing here says *mailbox* or *user*: the log knows sounds, registers and entries. What a
//! sound is about, what a register means, is text (JSON) that only the caller reads.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::block::ChunkBlock;
use crate::cipher;
use crate::name::{Id, NodeName};
use crate::time::WallTime;

/// What a sound is kept as. Chosen when its recording starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum SoundCodec {
    /// G.711 mu-law, 8 kHz, one byte a sample.
    Pcmu = 0,
    /// G.711 A-law, 8 kHz, one byte a sample.
    Pcma = 8,
}

/// How a sound ended. Written once, in its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum SealKind {
    /// It is whole: everything that was said is in it.
    Whole = 1,
    /// The writer died while it was being spoken; what had reached the disk is in it.
    CutShort = 2,
    /// The speaker took it back, or it was shorter than the minimum: it is nobody's.
    Discarded = 3,
}

/// One thing to be written. The order in which one thread submits is the order in the log.
#[derive(Debug)]
pub enum Append {
    /// A sound begins: from here on it survives a power cut, as far as it has been spoken.
    Begin {
        /// Its name, from [`crate::name::Ids`].
        id: Id,
        /// How its samples are kept.
        codec: SoundCodec,
        /// Civil time at which it begins.
        at: WallTime,
        /// What it is and whose, for the caller to read back. At most [`TEXT_LEN_MAX`] bytes.
        about: Arc<str>,
    },
    /// At most half a second of a sound that has begun. The block is written as it is, uncopied.
    Chunk {
        /// The sound.
        id: Id,
        /// 0, 1, 2 … without a gap.
        index: u32,
        /// The samples; the log encrypts them if it has a key.
        block: ChunkBlock,
    },
    /// A sound ends.
    Seal {
        /// The sound.
        id: Id,
        /// How.
        kind: SealKind,
        /// What is known only now (urgent, say). At most [`TEXT_LEN_MAX`] bytes.
        about: Arc<str>,
    },
    /// A register takes a value; last writer wins.
    Register {
        /// For instance `user/office.1.7/dnd`. At most [`REGISTER_KEY_LEN_MAX`] bytes.
        key: Arc<str>,
        /// `None` removes it. At most [`TEXT_LEN_MAX`] bytes.
        value: Option<Arc<str>>,
    },
    /// A fact: call log, audit, alarm.
    Entry {
        /// For instance `call`. At most [`REGISTER_KEY_LEN_MAX`] bytes.
        topic: Arc<str>,
        /// What happened. At most [`TEXT_LEN_MAX`] bytes.
        body: Arc<str>,
    },
    /// A record as it was said before: by another node, of which this log keeps a copy, or by this
    /// one, and moved forward out of an old segment. It keeps its stamp.
    Replica {
        /// Who said it, and when.
        stamp: Stamp,
        /// What; where a chunk lay there does not matter.
        what: Payload,
        /// The samples, if it is a chunk.
        block: Option<ChunkBlock>,
    },
}

impl Append {
    /// What the log says once this is in it, and a chunk's samples. `place` tells where a chunk
    /// of so many samples lies.
    pub fn into_what(self, place: impl FnOnce(u32) -> ChunkPlace) -> (Payload, Option<ChunkBlock>) {
        let what = match self {
            Append::Begin {
                id,
                codec,
                at,
                about,
            } => Payload::Begin {
                id,
                codec,
                at,
                about,
            },
            Append::Chunk { id, index, block } => {
                let place = place(samples_in(index, &block));
                return (Payload::Chunk { id, index, place }, Some(block));
            }
            Append::Seal { id, kind, about } => Payload::Seal { id, kind, about },
            Append::Register { key, value } => Payload::Register { key, value },
            Append::Entry { topic, body } => Payload::Entry { topic, body },
            Append::Replica { what, block, .. } => {
                let what = match (what, &block) {
                    (Payload::Chunk { id, index, .. }, Some(block)) => Payload::Chunk {
                        id,
                        index,
                        place: place(samples_in(index, block)),
                    },
                    (what, _) => what,
                };
                return (what, block);
            }
        };
        (what, None)
    }
}

fn samples_in(index: u32, block: &ChunkBlock) -> u32 {
    // CHUNK_BYTES_MAX keeps it small.
    cipher::samples_in(index, block.samples().len()).unwrap_or(0) as u32
}

/// The longest `about`, register value or entry body, in bytes.
pub const TEXT_LEN_MAX: usize = 64 * 1024;
/// The longest register key or entry topic, in bytes.
pub const REGISTER_KEY_LEN_MAX: usize = 256;
/// Registers whose keys begin with this, a sound's name and `/` go with the sound: once it is
/// taken back they say nothing any more.
pub const SOUND_REGISTERS: &str = "message/";

/// Registers whose keys begin so are of this node alone: what it keeps in mind of its peers' logs.
/// They are not handed on to others.
pub const LOCAL_REGISTERS: &str = "link/";

/// Hybrid logical clock: milliseconds since the Unix epoch in the upper 48 bits, a counter in the
/// lower 16. Orders registers between nodes; survives a wall clock that is set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

/// A record's place in the order of all things: its clock, then its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// When, by the writer's hybrid clock.
    pub hlc: Hlc,
    /// Who wrote it.
    pub node: NodeName,
    /// The epoch of the writer's log.
    pub epoch: u32,
    /// Its position within the epoch.
    pub seq: u64,
}

/// Where the samples of one chunk lie: enough to read them without any index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlace {
    /// The segment file's number.
    pub segment: u32,
    /// Offset of the record in that file, in bytes.
    pub offset: u64,
    /// Samples in it (bytes, for G.711).
    pub samples: u32,
}

/// A record that is durable here, in the form views are built from.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Its place in the order.
    pub stamp: Stamp,
    /// The segment of this node's log that it lies in.
    pub segment: u32,
    /// What it says.
    pub what: Payload,
}

/// What a durable record says. The same as [`Append`], less the samples.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// A sound began.
    Begin {
        /// Its name.
        id: Id,
        /// How its samples are kept.
        codec: SoundCodec,
        /// When.
        at: WallTime,
        /// What it is and whose.
        about: Arc<str>,
    },
    /// A piece of it is on disk.
    Chunk {
        /// The sound.
        id: Id,
        /// Which piece; its highest bit: it is encrypted ([`crate::cipher::ENCRYPTED`]).
        index: u32,
        /// Where.
        place: ChunkPlace,
    },
    /// It ended.
    Seal {
        /// The sound.
        id: Id,
        /// How.
        kind: SealKind,
        /// What was known only then.
        about: Arc<str>,
    },
    /// A register took a value.
    Register {
        /// Which.
        key: Arc<str>,
        /// `None`: it was removed.
        value: Option<Arc<str>>,
    },
    /// A fact.
    Entry {
        /// What kind.
        topic: Arc<str>,
        /// What happened.
        body: Arc<str>,
    },
}

/// The mark of whoever appends on an [`Append`], given back in the event that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    /// Who appends.
    pub owner: Owner,
    /// Its own number for it.
    pub number: u64,
}

/// Who appends to a log; each numbers its own appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// Calls and mailboxes.
    CallControl,
    /// The node, for an administrator or for itself.
    Node,
    /// The media engine: chunks of sound.
    Media,
    /// The link: records of other nodes.
    Link,
    /// Compaction: records that are moved.
    Compaction,
}

impl Token {
    /// `number` of `owner`.
    pub const fn new(owner: Owner, number: u64) -> Token {
        Token { owner, number }
    }

    /// `number` of call control.
    pub const fn call_control(number: u64) -> Token {
        Token::new(Owner::CallControl, number)
    }
}

/// What the log tells.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// It is durable. Come in log order.
    Committed {
        /// The caller's mark.
        token: Token,
        /// What was written, where it now stands.
        record: Committed,
    },
    /// It was not written and will not be.
    Refused {
        /// The caller's mark.
        token: Token,
        /// Why.
        why: Refusal,
    },
    /// Whether new sounds can be taken has changed (the disk is full, or no longer).
    Room {
        /// True: sounds can begin.
        can_record: bool,
    },
}

/// Why the log did not take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No room for new sounds; settings and seals still have a reserve.
    #[error("the disk is full")]
    DiskFull,
    /// A write failed; the log takes nothing more until the node is restarted.
    #[error("the disk failed; the log is closed until restart")]
    Poisoned,
    /// Too many writes wait already.
    #[error("too much waits to be written")]
    Overloaded,
    /// Longer than a record may be.
    #[error("the record is too long")]
    TooLong,
    /// A restated record that cannot have been said: a chunk without samples, or of a sound that
    /// another node or epoch made than the one that is said to have said it.
    #[error("the record cannot have been said by this node")]
    Impossible,
}
