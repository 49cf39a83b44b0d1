//! A record's bytes.
//!
//! All numbers are little-endian. A record starts with 48 bytes:
//!
//! ```text
//!  0  u32  CRC-32C (Castagnoli, RFC 3720 §B.4) of bytes 4 .. length
//!  4  u32  length of the whole record, without the zeros after it
//!  8  u32  number of the segment it was written to
//! 12  u32  epoch
//! 16  u64  sequence number, from 1 in each epoch without a gap
//! 24  u64  hybrid clock: 48 bits of milliseconds since 1970, 16 bits of counter
//! 32  u64  highest sequence number of this epoch that was durable when this was written
//! 40  u8   kind
//! 41  u8   1: restated, 0: not
//! 42  6×0
//! 48  payload
//! ```
//!
//! | kind | payload |
//! |---|---|
//! | 1 epoch | u32 the epoch before (0: none), u32 0, u64 its last sequence number that counts |
//! | 2 begin | id, u8 codec (RTP payload type), u64 begin in ms since 1970, text about |
//! | 3 chunk | id, u32 index, 16×0, then the samples, so that they start at byte 96; if the index's highest bit is set they are encrypted, see `cipher.rs` |
//! | 4 seal | id, u8 how, text about |
//! | 5 register | text key, u8 1 and text value, or u8 0: removed |
//! | 6 entry | text topic, text body |
//! | 7 mark | nothing: its header says how far the log is durable |
//! | 8 retired | u32 how many gaps, then for each: u32 first and u32 last segment, u32 epoch, u32 0, u64 sequence number of the last record that counts before it |
//!
//! An id is 16 bytes of node name, u32 epoch, u64 number; a text u32 length and UTF-8.
//!
//! A log also holds what its writer did not say, or not just then: copies of what other nodes said,
//! and its own records moved forward out of old segments. Such a *restated* record has a place and a
//! number of its own like any other, so that recovery need not tell them apart; what it says counts
//! under the stamp it was said with. That is in front of the payload: 16 bytes of node name, u32
//! epoch, u64 sequence number, u64 hybrid clock. A chunk has it in the 16 bytes before its samples:
//! u64 sequence number, u64 hybrid clock; its node and epoch are those of its sound's id.
//!
//! Records start at multiples of 8, and do not cross a 4 KiB block unless they are longer than
//! one; then they start at one and nothing follows in their last. What is not a record is zero.
//! So every block can be read without the one before it, except inside a long record.
//!
//! A record names its segment, so that bytes which an earlier use of a recycled file left behind are not
//! taken for records. The durable mark says how far commits were confirmed: what cannot be read before it
//! is damage, what cannot be read behind it is a torn tail that nobody was promised.

use std::sync::Arc;

use crate::block::{BLOCK_BYTES, CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES};
use crate::cipher;
use crate::name::{Id, NodeName};
use crate::retired::{GAPS_MAX, Gap, Retired};
use crate::seam::{
    ChunkPlace, Committed, Hlc, Payload, REGISTER_KEY_LEN_MAX, SealKind, SoundCodec, Stamp,
    TEXT_LEN_MAX,
};
use crate::time::WallTime;

/// The bytes in front of every payload.
pub const HEADER_BYTES: usize = 48;
/// The longest record.
pub const RECORD_BYTES_MAX: usize = 17 * BLOCK_BYTES;
/// The highest epoch and sequence number, so that counting on from any that was read is safe.
pub const EPOCH_MAX: u32 = u32::MAX / 2;
/// See [`EPOCH_MAX`].
pub const SEQ_MAX: u64 = u64::MAX / 2;
/// Records begin at multiples of this.
pub const ALIGN_BYTES: usize = 8;

const ID_BYTES: usize = 28;
const STAMP_BYTES: usize = 36;
const GAP_BYTES: usize = 24;
/// In front of a chunk's samples: room for the stamp of a restated one.
const CHUNK_STAMP_BYTES: usize = 16;
const RESTATED: u8 = 1;
/// The kind of a chunk.
const CHUNK: u8 = 3;
// The longest is a restated register: header, stamp, key, flag, value.
const _: () = assert!(
    HEADER_BYTES + STAMP_BYTES + 4 + REGISTER_KEY_LEN_MAX + 1 + 4 + TEXT_LEN_MAX
        <= RECORD_BYTES_MAX
);
const _: () = assert!(HEADER_BYTES + 4 + GAP_BYTES * GAPS_MAX <= RECORD_BYTES_MAX);
const _: () = assert!(HEADER_BYTES + ID_BYTES + 4 + CHUNK_STAMP_BYTES == CHUNK_HEADER_BYTES);

/// What every record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment it was written to.
    pub segment: u32,
    /// The epoch it belongs to.
    pub epoch: u32,
    /// Its place in the epoch, from 1.
    pub seq: u64,
    /// When.
    pub hlc: Hlc,
    /// What was durable of this epoch when it was written.
    pub durable: u64,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A node started. Everything of the epoch before up to `last` counts, nothing after it.
    Epoch {
        /// The epoch before; 0: this is the first.
        before: u32,
        /// Its last sequence number that counts.
        last: u64,
    },
    /// Only its header matters.
    Mark,
    /// These segments were retired, after what was live in them had been moved on. The newest
    /// such record names them all.
    Retired(Retired),
    /// For the views.
    Said(Payload),
    /// For the views, under the stamp it was said with.
    Replica(Stamp, Payload),
}

/// A record read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Of itself.
    pub header: Header,
    /// What it says.
    pub body: Body,
    /// Its length in bytes.
    pub bytes: usize,
}

impl Record {
    /// What it says and under which stamp, read from the log of `writer`; `None`: it says nothing.
    pub fn said(self, writer: NodeName) -> Option<Committed> {
        let Header {
            segment,
            epoch,
            seq,
            hlc,
            ..
        } = self.header;
        match self.body {
            Body::Epoch { .. } | Body::Mark | Body::Retired(_) => None,
            Body::Replica(stamp, what) => Some(Committed {
                stamp,
                segment,
                what,
            }),
            Body::Said(what) => {
                let node = writer;
                let stamp = Stamp {
                    hlc,
                    node,
                    epoch,
                    seq,
                };
                Some(Committed {
                    stamp,
                    segment,
                    what,
                })
            }
        }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The length is impossible.
    #[error("impossible length")]
    Length,
    /// The checksum is another.
    #[error("wrong checksum")]
    Checksum,
    /// The checksum is right but what it protects makes no sense to this version.
    #[error("unknown content")]
    Content,
    /// Bytes that should be zero are not.
    #[error("bytes after the last record")]
    Slack,
}

/// The length of the record that `body` becomes, less the samples of a chunk.
pub fn front_bytes(body: &Body) -> usize {
    let payload = match body {
        Body::Epoch { .. } => 16,
        Body::Mark => 0,
        Body::Retired(retired) => 4 + GAP_BYTES * retired.gaps().len(),
        Body::Said(what) => what_bytes(what),
        Body::Replica(_, what @ Payload::Chunk { .. }) => what_bytes(what),
        Body::Replica(_, what) => STAMP_BYTES + what_bytes(what),
    };
    HEADER_BYTES + payload
}

/// How much of the log it takes to keep saying this: the length of the restated record, with the
/// blocks it has for itself.
pub fn kept_bytes(what: &Payload) -> u64 {
    let bytes = match what {
        Payload::Chunk { .. } => BLOCK_BYTES,
        what => HEADER_BYTES + STAMP_BYTES + what_bytes(what),
    };
    whole_bytes(bytes)
}

/// The same of a register, from the lengths of its key and its value.
pub fn kept_register_bytes(key: usize, value: Option<usize>) -> u64 {
    let value = value.map_or(0, |value| 4 + value);
    whole_bytes(HEADER_BYTES + STAMP_BYTES + 4 + key + 1 + value)
}

/// The same of a beginning, from the length of its text; and of a seal.
pub fn kept_begin_bytes(about: usize) -> u64 {
    whole_bytes(HEADER_BYTES + STAMP_BYTES + ID_BYTES + 1 + 8 + 4 + about)
}

/// See [`kept_begin_bytes`].
pub fn kept_seal_bytes(about: usize) -> u64 {
    whole_bytes(HEADER_BYTES + STAMP_BYTES + ID_BYTES + 1 + 4 + about)
}

fn whole_bytes(bytes: usize) -> u64 {
    let unit = if bytes > BLOCK_BYTES {
        BLOCK_BYTES
    } else {
        ALIGN_BYTES
    };
    bytes.next_multiple_of(unit) as u64
}

fn what_bytes(what: &Payload) -> usize {
    match what {
        Payload::Begin { about, .. } => ID_BYTES + 1 + 8 + 4 + about.len(),
        Payload::Chunk { .. } => CHUNK_HEADER_BYTES - HEADER_BYTES,
        Payload::Seal { about, .. } => ID_BYTES + 1 + 4 + about.len(),
        Payload::Register { key, value } => {
            4 + key.len() + 1 + value.as_ref().map_or(0, |v| 4 + v.len())
        }
        Payload::Entry { topic, body } => 4 + topic.len() + 4 + body.len(),
    }
}

/// Appends the record to `out`, all but the samples of a chunk, without length and checksum:
/// [`seal`] puts those in once all of it is in place.
pub fn encode_front(header: &Header, body: &Body, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&header.segment.to_le_bytes());
    out.extend_from_slice(&header.epoch.to_le_bytes());
    out.extend_from_slice(&header.seq.to_le_bytes());
    out.extend_from_slice(&header.hlc.0.to_le_bytes());
    out.extend_from_slice(&header.durable.to_le_bytes());
    let restated = u8::from(matches!(body, Body::Replica(..)));
    out.extend_from_slice(&[kind(body), restated, 0, 0, 0, 0, 0, 0]);
    match body {
        Body::Epoch { before, last } => {
            out.extend_from_slice(&before.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&last.to_le_bytes());
        }
        Body::Mark => {}
        Body::Retired(retired) => encode_retired(retired, out),
        Body::Said(what) => {
            encode_what(what, out);
            if matches!(what, Payload::Chunk { .. }) {
                out.extend_from_slice(&[0; CHUNK_STAMP_BYTES]);
            }
        }
        Body::Replica(stamp, what @ Payload::Chunk { .. }) => {
            encode_what(what, out);
            out.extend_from_slice(&stamp.seq.to_le_bytes());
            out.extend_from_slice(&stamp.hlc.0.to_le_bytes());
        }
        Body::Replica(stamp, what) => {
            out.extend_from_slice(&stamp.node.to_bytes());
            out.extend_from_slice(&stamp.epoch.to_le_bytes());
            out.extend_from_slice(&stamp.seq.to_le_bytes());
            out.extend_from_slice(&stamp.hlc.0.to_le_bytes());
            encode_what(what, out);
        }
    }
}

/// Puts length and checksum into a record that is otherwise whole.
pub fn seal(record: &mut [u8]) {
    assert!(record.len() >= HEADER_BYTES && record.len() <= RECORD_BYTES_MAX);
    let bytes = record.len() as u32;
    record[4..8].copy_from_slice(&bytes.to_le_bytes());
    let crc = crc_fast::crc32_iscsi(&record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the record that `bytes` begins with. `offset` is where that is in its segment, so that
/// a chunk can say where it lies.
pub fn decode(bytes: &[u8], offset: u64) -> Result<Record, Fault> {
    let record = whole(bytes)?;
    let mut rest = Reader(&record[8..]);
    let header = Header {
        segment: rest.u32()?,
        epoch: rest.u32()?,
        seq: rest.u64()?,
        hlc: Hlc(rest.u64()?),
        durable: rest.u64()?,
    };
    let [kind, restated, 0, 0, 0, 0, 0, 0] = rest.array()? else {
        return Err(Fault::Content);
    };
    let body = match (kind, restated) {
        (1, 0) => decode_epoch(&mut rest)?,
        (7, 0) => Body::Mark,
        (8, 0) => decode_retired(&mut rest)?,
        (_, 0) => {
            let (what, said) = decode_what(kind, &mut rest, header.segment, offset)?;
            if said != (0, Hlc(0)) {
                return Err(Fault::Content);
            }
            Body::Said(what)
        }
        (_, RESTATED) => decode_restated(kind, &mut rest, header.segment, offset)?,
        _ => return Err(Fault::Content),
    };
    let in_range = (1..=EPOCH_MAX).contains(&header.epoch) && (1..=SEQ_MAX).contains(&header.seq);
    if !rest.0.is_empty() || !in_range || header.durable >= header.seq {
        return Err(Fault::Content);
    }
    Ok(Record {
        header,
        body,
        bytes: record.len(),
    })
}

/// What lies behind the header of the chunk that `bytes` begins with, encrypted or not, and whose it is.
pub fn decode_samples(bytes: &[u8]) -> Result<(Id, &[u8]), Fault> {
    decode_chunk(bytes).map(|(id, _, samples)| (id, samples))
}

/// The same, and its index.
pub fn decode_chunk(bytes: &[u8]) -> Result<(Id, u32, &[u8]), Fault> {
    match decode(bytes, 0)?.body {
        Body::Said(Payload::Chunk { id, index, .. })
        | Body::Replica(_, Payload::Chunk { id, index, .. }) => {
            Ok((id, index, &whole(bytes)?[CHUNK_HEADER_BYTES..]))
        }
        _ => Err(Fault::Content),
    }
}

fn whole(bytes: &[u8]) -> Result<&[u8], Fault> {
    let mut front = Reader(bytes);
    let crc = front.u32().map_err(|_| Fault::Length)?;
    let len = front.u32().map_err(|_| Fault::Length)? as usize;
    if !(HEADER_BYTES..=RECORD_BYTES_MAX.min(bytes.len())).contains(&len) {
        return Err(Fault::Length);
    }
    if crc_fast::crc32_iscsi(&bytes[4..len]) != crc {
        return Err(Fault::Checksum);
    }
    Ok(&bytes[..len])
}

fn kind(body: &Body) -> u8 {
    match body {
        Body::Epoch { .. } => 1,
        Body::Said(what) | Body::Replica(_, what) => match what {
            Payload::Begin { .. } => 2,
            Payload::Chunk { .. } => CHUNK,
            Payload::Seal { .. } => 4,
            Payload::Register { .. } => 5,
            Payload::Entry { .. } => 6,
        },
        Body::Mark => 7,
        Body::Retired(_) => 8,
    }
}

fn encode_what(what: &Payload, out: &mut Vec<u8>) {
    match what {
        Payload::Begin {
            id,
            codec,
            at,
            about,
        } => {
            encode_id(id, out);
            out.push(*codec as u8);
            out.extend_from_slice(&at.0.to_le_bytes());
            encode_text(about, out);
        }
        Payload::Chunk { id, index, .. } => {
            encode_id(id, out);
            out.extend_from_slice(&index.to_le_bytes());
        }
        Payload::Seal { id, kind, about } => {
            encode_id(id, out);
            out.push(*kind as u8);
            encode_text(about, out);
        }
        Payload::Register { key, value } => {
            encode_text(key, out);
            out.push(u8::from(value.is_some()));
            if let Some(value) = value {
                encode_text(value, out);
            }
        }
        Payload::Entry { topic, body } => {
            encode_text(topic, out);
            encode_text(body, out);
        }
    }
}

fn encode_id(id: &Id, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.node.to_bytes());
    out.extend_from_slice(&id.epoch.to_le_bytes());
    out.extend_from_slice(&id.number.to_le_bytes());
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    // The writer refuses what is longer than `TEXT_LEN_MAX`.
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn decode_epoch(rest: &mut Reader<'_>) -> Result<Body, Fault> {
    let (before, _, last) = (rest.u32()?, rest.u32()?, rest.u64()?);
    if last > SEQ_MAX {
        return Err(Fault::Content);
    }
    Ok(Body::Epoch { before, last })
}

fn encode_retired(retired: &Retired, out: &mut Vec<u8>) {
    let gaps = retired.gaps();
    // `GAPS_MAX` keeps it small.
    out.extend_from_slice(&(gaps.len() as u32).to_le_bytes());
    for gap in gaps {
        out.extend_from_slice(&gap.first.to_le_bytes());
        out.extend_from_slice(&gap.last.to_le_bytes());
        out.extend_from_slice(&gap.before.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&gap.before.1.to_le_bytes());
    }
}

fn decode_retired(rest: &mut Reader<'_>) -> Result<Body, Fault> {
    let count = rest.u32()? as usize;
    if count > GAPS_MAX {
        return Err(Fault::Content);
    }
    let mut gaps = Vec::with_capacity(count);
    for _ in 0..count {
        let (first, last, epoch, _) = (rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?);
        let before = (epoch, rest.u64()?);
        gaps.push(Gap {
            first,
            last,
            before,
        });
    }
    let retired = Retired::from_gaps(gaps).ok_or(Fault::Content)?;
    Ok(Body::Retired(retired))
}

fn decode_restated(kind: u8, rest: &mut Reader<'_>, segment: u32, at: u64) -> Result<Body, Fault> {
    let stamp = (kind != CHUNK).then(|| rest.stamp()).transpose()?;
    let (what, said) = decode_what(kind, rest, segment, at)?;
    let stamp = match (&what, stamp) {
        (Payload::Chunk { id, .. }, _) => Stamp {
            hlc: said.1,
            node: id.node,
            epoch: id.epoch,
            seq: said.0,
        },
        (_, Some(stamp)) => stamp,
        (_, None) => return Err(Fault::Content),
    };
    let in_range = (1..=EPOCH_MAX).contains(&stamp.epoch) && (1..=SEQ_MAX).contains(&stamp.seq);
    if !in_range {
        return Err(Fault::Content);
    }
    Ok(Body::Replica(stamp, what))
}

/// What it says, and, for a chunk, the sequence number and clock it was restated with.
fn decode_what(
    kind: u8,
    rest: &mut Reader<'_>,
    segment: u32,
    at: u64,
) -> Result<(Payload, (u64, Hlc)), Fault> {
    let mut said = (0, Hlc(0));
    let what = match kind {
        2 => Payload::Begin {
            id: rest.id()?,
            codec: codec(rest.u8()?)?,
            at: WallTime(rest.u64()?),
            about: rest.text(TEXT_LEN_MAX)?,
        },
        CHUNK => {
            let (id, index) = (rest.id()?, rest.u32()?);
            said = (rest.u64()?, Hlc(rest.u64()?));
            let bytes = rest.take(rest.0.len())?.len();
            let samples = cipher::samples_in(index, bytes).ok_or(Fault::Content)?;
            if bytes > CHUNK_BYTES_MAX {
                return Err(Fault::Content);
            }
            let place = ChunkPlace {
                segment,
                offset: at,
                samples: samples as u32,
            };
            Payload::Chunk { id, index, place }
        }
        4 => Payload::Seal {
            id: rest.id()?,
            kind: seal_kind(rest.u8()?)?,
            about: rest.text(TEXT_LEN_MAX)?,
        },
        5 => {
            let key = rest.text(REGISTER_KEY_LEN_MAX)?;
            let value = match rest.u8()? {
                0 => None,
                1 => Some(rest.text(TEXT_LEN_MAX)?),
                _ => return Err(Fault::Content),
            };
            Payload::Register { key, value }
        }
        6 => Payload::Entry {
            topic: rest.text(REGISTER_KEY_LEN_MAX)?,
            body: rest.text(TEXT_LEN_MAX)?,
        },
        _ => return Err(Fault::Content),
    };
    Ok((what, said))
}

fn codec(byte: u8) -> Result<SoundCodec, Fault> {
    match byte {
        0 => Ok(SoundCodec::Pcmu),
        8 => Ok(SoundCodec::Pcma),
        _ => Err(Fault::Content),
    }
}

fn seal_kind(byte: u8) -> Result<SealKind, Fault> {
    match byte {
        1 => Ok(SealKind::Whole),
        2 => Ok(SealKind::CutShort),
        3 => Ok(SealKind::Discarded),
        _ => Err(Fault::Content),
    }
}

/// What is left to read. Running short is a [`Fault::Content`]: the checksum was right.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Fault::Content)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::Content)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    fn id(&mut self) -> Result<Id, Fault> {
        let node = NodeName::from_bytes(self.array()?).map_err(|_| Fault::Content)?;
        Ok(Id {
            node,
            epoch: self.u32()?,
            number: self.u64()?,
        })
    }

    fn stamp(&mut self) -> Result<Stamp, Fault> {
        Ok(Stamp {
            node: NodeName::from_bytes(self.array()?).map_err(|_| Fault::Content)?,
            epoch: self.u32()?,
            seq: self.u64()?,
            hlc: Hlc(self.u64()?),
        })
    }

    fn text(&mut self, len_max: usize) -> Result<Arc<str>, Fault> {
        let len = self.u32()? as usize;
        if len > len_max {
            return Err(Fault::Content);
        }
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| Fault::Content)?;
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests;
