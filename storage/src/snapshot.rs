//! What the log said up to a segment, written down so that a start need not read all of it.
//!
//! The file `snapshot` beside the segments only speeds things up: without it, or with one that is
//! torn, damaged, older than the format, another node's, or does not fit the segments that are there, the log is
//! read whole, with the same result (`sim/snapshots.rs` holds one against the other). What it spares
//! reading is not checked at start: that is compaction's part, as while a node runs.
//! `shell/snapshot.rs` writes and reads it; what it holds is `view/rows.rs`.
//!
//! It says which segment is the first that must still be read (what lies before was durable and in the view),
//! a checksum of its first two blocks, and which segments were there before it. At start it counts if
//! that segment begins the same and each of the others is there, as long as it was, or was
//! retired since: whatever was live in those is further on, and so is read. The second block holds
//! the segment's first record and with it a clock's time: a log that went on otherwise from the same
//! beginning, as on a disk that was put back, differs there.
//!
//! ```text
//!  8 bytes  "TANDEMSN"
//!  frames:  u32 bytes of what follows, u32 CRC-32C of it, u32 bytes unpacked, zstd (RFC 8878)
//!           of a postcard value: the title, then parts of the view
//! ```
//!
//! Bounds: a part is [`PART_BYTES_MAX`] unpacked, a file as [`Extent`] says; longer ones are not
//! written, nor read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::block::BLOCK_BYTES;
use crate::name::NodeName;
use crate::reading::Loaded;
use crate::retired::Retired;
use crate::segment::{self, FirstBlock};
use crate::view::View;
use crate::view::rows::{Part, Restoring};

/// Begins the file.
pub(crate) const MAGIC: &[u8; 8] = b"TANDEMSN";
/// Of the frames' contents; a file of another version is not looked at.
const VERSION: u32 = 1;
/// The most that one frame unpacks to.
const PART_BYTES_MAX: usize = 16 << 20;
const FRONT_BYTES: usize = 12;
/// The longest file.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;
/// The most that all frames of a file unpack to.
const UNPACKED_BYTES_MAX: u64 = 4 << 30;
const FRAMES_MAX: u64 = 1 << 20;
/// Of the first segment that must be read, so much must be as it was.
pub(crate) const START_BYTES: usize = 2 * BLOCK_BYTES;
/// The fastest: the levels above it gain little.
const LEVEL: i32 = 1;

/// Of what log and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Title {
    version: u32,
    node: String,
    /// The first segment that must be read, and the CRC-32C of its first two blocks.
    pub(crate) segment: u32,
    start_crc: u32,
    /// The segments before it, rising, and their lengths.
    before: Vec<(u32, u64)>,
    /// Of each epoch that had ended, the last number that counts.
    epochs: BTreeMap<u32, u64>,
}

/// A view as of some segment.
#[derive(Debug)]
pub struct Snapshot {
    /// What the segments before `segment` say, and perhaps some of what later ones do.
    pub view: View,
    /// The first segment that must be read.
    pub segment: u32,
    /// Of each epoch that had ended when it was made, the last number that counts.
    pub epochs: BTreeMap<u32, u64>,
    /// Topics of which as many entries were kept as a view keeps.
    pub full_topics: Vec<Arc<str>>,
}

impl Title {
    /// `start` is the beginning of the first segment that must be read, [`START_BYTES`] of it; `before`
    /// are those before it. `None`: that segment is not as it should be.
    pub(crate) fn new(
        node: NodeName,
        segment: u32,
        start: &[u8],
        before: Vec<(u32, u64)>,
        epochs: BTreeMap<u32, u64>,
    ) -> Option<Title> {
        Some(Title {
            version: VERSION,
            node: node.to_string(),
            segment,
            start_crc: start_crc(node, segment, start)?,
            before,
            epochs,
        })
    }

    /// A log of `node` whose segments are `there`, of which these were retired, is the one it was made
    /// of. `start` is the beginning of the first segment that must be read.
    pub(crate) fn fits(
        &self,
        node: NodeName,
        start: &[u8],
        there: &[(u32, u64)],
        retired: &Retired,
    ) -> bool {
        let is_kept = |(number, _): &&(u32, u64)| !retired.contains(*number);
        let before = there.iter().filter(|(number, _)| *number < self.segment);
        self.version == VERSION
            && self.node == node.as_str()
            && !retired.contains(self.segment)
            && start_crc(node, self.segment, start) == Some(self.start_crc)
            && self
                .before
                .iter()
                .filter(is_kept)
                .eq(before.filter(is_kept))
    }
}

/// `None`: this is not the beginning of that segment.
fn start_crc(node: NodeName, segment: u32, start: &[u8]) -> Option<u32> {
    let start = start.get(..START_BYTES)?;
    match segment::decode(start) {
        FirstBlock::Header(header) if header.node == node && header.number == segment => {
            Some(crc_fast::crc32_iscsi(start))
        }
        _ => None,
    }
}

/// A view that was read with a snapshot, and what was found behind it, are what all of the log would say.
///
/// Where something is damaged, the whole log is looked at: what lies before may say more about it.
/// And of entries that were too old to be kept the log may still hold some that the snapshot does not.
pub(crate) fn is_enough(full_topics: &[Arc<str>], view: &View, loaded: &Loaded) -> bool {
    let ending = &loaded.ending;
    ending.records > 0
        && ending.damages == 0
        && ending.records_lost == 0
        && !view.may_lack_entries(full_topics)
}

/// How long a file is so far.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    frames: u64,
    bytes: u64,
    bytes_unpacked: u64,
}

impl Extent {
    /// One frame more, of so many bytes packed and unpacked; `None`: the file is too long with it.
    pub(crate) fn add(&mut self, packed: usize, unpacked: usize) -> Option<()> {
        self.frames += 1;
        self.bytes += (FRONT_BYTES + packed) as u64;
        self.bytes_unpacked += unpacked as u64;
        let is_short = self.frames <= FRAMES_MAX
            && self.bytes <= FILE_BYTES_MAX - MAGIC.len() as u64
            && self.bytes_unpacked <= UNPACKED_BYTES_MAX;
        is_short.then_some(())
    }
}

/// The title as a frame.
pub(crate) fn encode_title(title: &Title) -> Option<Vec<u8>> {
    frame(&postcard::to_stdvec(title).ok()?)
}

/// A part as bytes; `None`: it is too long.
pub(crate) fn encode_part(part: &Part<'_>) -> Option<Vec<u8>> {
    let bytes = postcard::to_stdvec(part).ok()?;
    (bytes.len() <= PART_BYTES_MAX).then_some(bytes)
}

/// Bytes as a frame.
pub(crate) fn frame(bytes: &[u8]) -> Option<Vec<u8>> {
    let packed = zstd::bulk::compress(bytes, LEVEL).ok()?;
    let mut frame = Vec::with_capacity(FRONT_BYTES + packed.len());
    frame.extend_from_slice(&u32::try_from(packed.len()).ok()?.to_le_bytes());
    frame.extend_from_slice(&crc_fast::crc32_iscsi(&packed).to_le_bytes());
    frame.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
    frame.extend_from_slice(&packed);
    Some(frame)
}

/// The title, and the frames after it; `None`: not a snapshot that this program wrote.
pub(crate) fn open(file: &[u8]) -> Option<(Title, Vec<Frame<'_>>)> {
    let mut frames = cut(file)?;
    let title = frames.first()?.unpack()?;
    frames.remove(0);
    Some((postcard::from_bytes(&title).ok()?, frames))
}

fn cut(file: &[u8]) -> Option<Vec<Frame<'_>>> {
    let mut rest = file.strip_prefix(MAGIC)?;
    let (mut frames, mut extent) = (Vec::new(), Extent::default());
    while !rest.is_empty() {
        let (frame, after) = Frame::cut(rest)?;
        extent.add(frame.packed.len(), frame.bytes_unpacked)?;
        frames.push(frame);
        rest = after;
    }
    Some(frames)
}

/// What is in its frames.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn unpacked(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    cut(file)?.iter().map(Frame::unpack).collect()
}

impl Title {
    /// The snapshot of which these were the lots, in order, of a log with the segments for which
    /// `is_there`.
    pub(crate) fn finish(
        self,
        lots: impl IntoIterator<Item = Restoring>,
        is_there: impl Fn(u32) -> bool,
    ) -> Option<Snapshot> {
        let mut whole = Restoring::default();
        lots.into_iter().for_each(|next| whole.append(next));
        let restored = whole.finish(is_there)?;
        (restored.segment == self.segment).then_some(Snapshot {
            view: restored.view,
            segment: self.segment,
            epochs: self.epochs,
            full_topics: restored.full_topics,
        })
    }
}

/// Some of the frames after the title; lots can be read side by side.
pub(crate) fn read_lot(frames: &[Frame<'_>]) -> Option<Restoring> {
    let mut restoring = Restoring::default();
    for frame in frames {
        let bytes = frame.unpack()?;
        restoring.take(postcard::from_bytes(&bytes).ok()?)?;
    }
    Some(restoring)
}

/// A stretch of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    crc: u32,
    bytes_unpacked: usize,
    packed: &'a [u8],
}

impl<'a> Frame<'a> {
    fn cut(bytes: &'a [u8]) -> Option<(Frame<'a>, &'a [u8])> {
        let (front, rest) = bytes.split_first_chunk::<FRONT_BYTES>()?;
        let (numbers, _) = front.as_chunks::<4>();
        let [bytes, crc, bytes_unpacked] =
            <[_; 3]>::try_from(numbers).ok()?.map(u32::from_le_bytes);
        let (packed, rest) = rest.split_at_checked(bytes as usize)?;
        let bytes_unpacked = bytes_unpacked as usize;
        let frame = Frame {
            crc,
            bytes_unpacked,
            packed,
        };
        (bytes_unpacked <= PART_BYTES_MAX).then_some((frame, rest))
    }

    fn unpack(&self) -> Option<Vec<u8>> {
        if crc_fast::crc32_iscsi(self.packed) != self.crc {
            return None;
        }
        let bytes = zstd::bulk::decompress(self.packed, self.bytes_unpacked).ok()?;
        (bytes.len() == self.bytes_unpacked).then_some(bytes)
    }
}

#[cfg(test)]
mod tests;
