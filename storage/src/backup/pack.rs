//! A pack: records, one after the other, as they lie in the log.
//!
//! ```text
//!  0  8 bytes   "TANDEMPK"
//!  8  u32       version: 1
//! 12  4×0
//! 16  16 bytes  name of the node whose log it was, zero-padded
//! 32  records, header, checksum and all, without anything between them
//! ```
//!
//! Sound is in packs of its own: whoever wants to know what there is, or one mailbox of it, reads the
//! rest first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hash::Hash;
use super::manifest::node_text;
use crate::block::CHUNK_HEADER_BYTES;
use crate::name::{Id, NodeName};
use crate::record::{self, Fault, RECORD_BYTES_MAX};
use crate::seam::{Committed, Payload, SOUND_REGISTERS};

/// The longest pack.
pub const PACK_BYTES_MAX: u64 = (FULL_BYTES + RECORD_BYTES_MAX) as u64;
/// A pack that has this much is full. Small enough that writing one anew for the sake of a few
/// seconds in it costs little, large enough that a store is not asked for each message.
pub(super) const FULL_BYTES: usize = 8 << 20;
/// Writers' epochs that a pack's entry in the manifest tells apart.
const RUNS_MAX: usize = 64;

const MAGIC: [u8; 8] = *b"TANDEMPK";
const VERSION: u32 = 1;
const FRONT_BYTES: usize = 32;

/// What a manifest says of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackInfo {
    /// Of its content; its name.
    pub hash: Hash,
    /// Its length.
    pub bytes: u64,
    /// How many are in it.
    pub records: u64,
    /// What is in it.
    pub kind: PackKind,
    /// The sounds of which something is in it; `None`: of any.
    pub sounds: Option<Vec<SoundRun>>,
}

/// What is in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackKind {
    /// All but chunks.
    Metadata,
    /// Chunks.
    Sound,
}

/// Sounds of one epoch of a node, from the first number to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoundRun {
    #[serde(with = "node_text")]
    node: NodeName,
    epoch: u32,
    first: u64,
    last: u64,
}

/// A pack that is to be stored.
#[derive(Clone, Debug)]
pub struct Pack {
    /// For the manifest.
    pub info: PackInfo,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A record of a pack.
#[derive(Clone, Debug)]
pub struct PackRecord<'a> {
    /// What it says. A chunk's place means nothing.
    pub said: Committed,
    /// As in the log.
    pub raw: &'a [u8],
}

/// Why bytes are not the pack they are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackFault {
    /// Shorter or longer than the manifest says.
    #[error("it has {there} bytes, not {wanted}: it was cut off or changed")]
    Length {
        /// What there is.
        there: u64,
        /// What there should be.
        wanted: u64,
    },
    /// Changed.
    #[error("its content does not have the hash it is named by: it was changed or is damaged")]
    Hash,
    /// It does not begin as packs do.
    #[error("it is not a pack")]
    Front,
    /// Of a newer version of the program.
    #[error("it was made by a newer tandem (pack format {0}); use that one")]
    Newer(u32),
    /// The hash is right, but there is no record in it where one should be.
    #[error("at {offset}: {fault}")]
    Record {
        /// Where in the pack.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
}

/// Collects records until a pack is full.
#[derive(Debug)]
pub(super) struct Builder {
    node: NodeName,
    kind: PackKind,
    bytes: Vec<u8>,
    records: u64,
    sounds: BTreeMap<(NodeName, u32), (u64, u64)>,
}

impl PackInfo {
    /// The name of its file in a node's folder.
    pub fn file_name(&self) -> String {
        format!("{}.pack", self.hash)
    }

    /// Can something of this sound be in it?
    pub fn may_have(&self, id: Id) -> bool {
        self.sounds.as_ref().is_none_or(|runs| {
            runs.iter().any(|run| {
                (run.node, run.epoch) == (id.node, id.epoch)
                    && (run.first..=run.last).contains(&id.number)
            })
        })
    }
}

impl PackRecord<'_> {
    /// The samples, if it is a piece of sound.
    pub fn samples(&self) -> Option<&[u8]> {
        let is_chunk = matches!(self.said.what, Payload::Chunk { .. });
        is_chunk.then(|| &self.raw[CHUNK_HEADER_BYTES..])
    }
}

impl Builder {
    pub(super) fn new(node: NodeName, kind: PackKind) -> Builder {
        Builder {
            node,
            kind,
            bytes: Vec::new(),
            records: 0,
            sounds: BTreeMap::new(),
        }
    }

    /// Takes a record in; gives a pack if that is full now.
    pub(super) fn push(&mut self, sound: Option<Id>, raw: &[u8]) -> Option<Pack> {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&MAGIC);
            self.bytes.extend_from_slice(&VERSION.to_le_bytes());
            self.bytes.extend_from_slice(&[0; 4]);
            self.bytes.extend_from_slice(&self.node.to_bytes());
        }
        self.bytes.extend_from_slice(raw);
        self.records += 1;
        if let Some(id) = sound {
            let run = self.sounds.entry((id.node, id.epoch));
            let (first, last) = run.or_insert((id.number, id.number));
            (*first, *last) = ((*first).min(id.number), (*last).max(id.number));
        }
        (self.bytes.len() >= FULL_BYTES)
            .then(|| self.take())
            .flatten()
    }

    /// What it has, as a pack; `None`: nothing.
    pub(super) fn take(&mut self) -> Option<Pack> {
        if self.records == 0 {
            return None;
        }
        let empty = Builder::new(self.node, self.kind);
        let full = std::mem::replace(self, empty);
        let run = |((node, epoch), (first, last))| SoundRun {
            node,
            epoch,
            first,
            last,
        };
        let sounds = (full.sounds.len() <= RUNS_MAX)
            .then(|| full.sounds.into_iter().map(run).collect::<Vec<_>>());
        let info = PackInfo {
            hash: Hash::of(&full.bytes),
            bytes: full.bytes.len() as u64,
            records: full.records,
            kind: full.kind,
            sounds,
        };
        let bytes = full.bytes;
        Some(Pack { info, bytes })
    }
}

/// The records in a pack, once its content is what the manifest says.
pub fn records<'a>(
    info: &PackInfo,
    bytes: &'a [u8],
) -> Result<impl Iterator<Item = Result<PackRecord<'a>, PackFault>> + use<'a>, PackFault> {
    if bytes.len() as u64 != info.bytes {
        return Err(PackFault::Length {
            there: bytes.len() as u64,
            wanted: info.bytes,
        });
    }
    if Hash::of(bytes) != info.hash {
        return Err(PackFault::Hash);
    }
    let node = front(bytes)?;
    let mut at = FRONT_BYTES;
    Ok(std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let offset = at;
        let read = read_record(node, &bytes[at..]).map_err(|fault| PackFault::Record {
            offset: offset as u64,
            fault,
        });
        // After a fault there is no telling where the next one begins.
        at = read.as_ref().map_or(bytes.len(), |r| at + r.raw.len());
        Some(read)
    }))
}

fn front(bytes: &[u8]) -> Result<NodeName, PackFault> {
    let front = bytes.first_chunk::<FRONT_BYTES>().ok_or(PackFault::Front)?;
    if front[..8] != MAGIC {
        return Err(PackFault::Front);
    }
    let version = u32::from_le_bytes([front[8], front[9], front[10], front[11]]);
    if version > VERSION {
        return Err(PackFault::Newer(version));
    }
    let mut name = [0; NodeName::LEN_MAX];
    name.copy_from_slice(&front[16..]);
    NodeName::from_bytes(name).map_err(|_| PackFault::Front)
}

fn read_record(node: NodeName, bytes: &[u8]) -> Result<PackRecord<'_>, Fault> {
    let record = record::decode(&bytes[..bytes.len().min(RECORD_BYTES_MAX)], 0)?;
    let raw = &bytes[..record.bytes];
    let said = record.said(node).ok_or(Fault::Content)?;
    Ok(PackRecord { said, raw })
}

/// The sound to which it belongs, if it does to one.
pub(super) fn sound_of(what: &Payload) -> Option<Id> {
    match what {
        Payload::Begin { id, .. } | Payload::Chunk { id, .. } | Payload::Seal { id, .. } => {
            Some(*id)
        }
        Payload::Register { key, .. } => {
            let (id, _) = key.strip_prefix(SOUND_REGISTERS)?.split_once('/')?;
            id.parse().ok()
        }
        Payload::Entry { .. } => None,
    }
}
