//! Recovery: any bytes are read without a panic and with bounded findings; and of a log that was
//! written properly and then damaged, every confirmed record outside the damage is found, in
//! order, as it was written, and nothing else is.

use std::collections::BTreeMap;

use tandem_storage::block::{BLOCK_BYTES, Block};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::record::{self, ALIGN_BYTES, Body, Header};
use tandem_storage::recovery::{Recovery, Verdict};
use tandem_storage::scan;
use tandem_storage::seam::{Committed, Hlc, Payload, SealKind, SoundCodec};
use tandem_storage::segment::{self, FirstBlock, SegmentHeader};
use tandem_storage::time::WallTime;

use crate::feed::Feed;

const SEGMENT_BLOCKS: usize = 8;

/// Segments, by number, and what is in them.
type Disk = BTreeMap<u32, Vec<u8>>;

pub(super) fn any_bytes(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let mut disk = Disk::new();
    let mut number = 0;
    while !feed.is_empty() {
        number += 1 + u32::from(feed.byte() & 1) * u32::from(feed.byte());
        let first = header(number, feed.u32(), u64::from(feed.u16()));
        let mut segment = if feed.one_in(4) {
            vec![0; BLOCK_BYTES]
        } else {
            first
        };
        let len = 1 + feed.below(4 * BLOCK_BYTES);
        segment.extend_from_slice(feed.take(len));
        segment.resize(segment.len() + feed.below(BLOCK_BYTES), 0);
        disk.insert(number, segment);
    }
    let found = read(&disk);
    // A record takes 48 bytes or more: what is found is bounded by what is there.
    let bytes: usize = disk.values().map(Vec::len).sum();
    assert!(found.len() <= bytes / record::HEADER_BYTES + 1);
}

pub(super) fn damaged(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let mut log = Written::new();
    for _ in 0..1 + feed.below(3) {
        log.epoch(&mut feed);
    }
    let mut disk = log.disk.clone();
    let touched = damage(&mut feed, &mut disk);
    let found = read(&disk);
    log.check(&found, &touched);
}

fn read(disk: &Disk) -> Vec<Committed> {
    let mut recovery = Recovery::new(node());
    let mut counted = Vec::new();
    for (number, segment) in disk {
        let first = segment::decode(segment);
        let used = scan::used_bytes(segment) > 0;
        if recovery.segment(*number, first, used).is_err() {
            assert!(!matches!(first, FirstBlock::Garbled | FirstBlock::Zero));
            return counted;
        }
        scan::scan(*number, segment, |offset, found| {
            recovery.found(offset, found)
        });
        counted.extend(records(&mut recovery));
    }
    recovery.finish();
    counted.extend(records(&mut recovery));
    let stamps: Vec<_> = counted
        .iter()
        .map(|c| (c.stamp.epoch, c.stamp.seq))
        .collect();
    assert!(
        stamps.is_sorted_by(|a, b| a < b),
        "records out of order or twice"
    );
    counted
}

fn records(recovery: &mut Recovery) -> Vec<Committed> {
    let verdicts = std::iter::from_fn(|| recovery.poll());
    verdicts
        .filter_map(|verdict| match verdict {
            Verdict::Record(committed) => Some(committed),
            Verdict::Damage(damage) => {
                assert!(!damage.to_string().is_empty());
                None
            }
        })
        .collect()
}

/// A log as a writer leaves it: commits of whole blocks, one in flight.
struct Written {
    disk: Disk,
    /// Where the next commit goes.
    segment: u32,
    block: usize,
    epoch: u32,
    seq: u64,
    durable: u64,
    records: Vec<Place>,
}

/// A record that was written, and the blocks it lies in.
struct Place {
    epoch: u32,
    seq: u64,
    said: Option<Payload>,
    segment: u32,
    blocks: std::ops::Range<usize>,
    /// The mark it carries: what was durable of its epoch when it was written.
    durable: u64,
}

impl Written {
    fn new() -> Written {
        let mut log = Written {
            disk: Disk::new(),
            segment: 0,
            block: SEGMENT_BLOCKS,
            epoch: 0,
            seq: 0,
            durable: 0,
            records: Vec::new(),
        };
        log.next_segment();
        log
    }

    fn next_segment(&mut self) {
        self.segment += 1;
        self.block = 1;
        let mut bytes = header(self.segment, self.epoch.max(1), self.seq + 1);
        bytes.resize(SEGMENT_BLOCKS * BLOCK_BYTES, 0);
        self.disk.insert(self.segment, bytes);
    }

    /// A start of the node, and what it writes until it stops.
    fn epoch(&mut self, feed: &mut Feed<'_>) {
        let opening = Body::Epoch {
            before: self.epoch,
            last: self.seq,
        };
        (self.epoch, self.seq, self.durable) = (self.epoch + 1, 0, 0);
        self.commit(vec![opening]);
        for _ in 0..feed.below(12) {
            let bodies = (0..1 + feed.below(5))
                .map(|n| body(feed, self.epoch, n))
                .collect();
            self.commit(bodies);
        }
        // A clean stop: a mark says that all before it is durable.
        self.commit(vec![Body::Mark]);
    }

    fn commit(&mut self, bodies: Vec<Body>) {
        let mut at = 0;
        let mut bytes: Vec<u8> = Vec::new();
        let mut places = Vec::new();
        let first_seq = self.seq + 1;
        let blocks_max = SEGMENT_BLOCKS - 1;
        if self.block + 5.min(blocks_max) > SEGMENT_BLOCKS {
            self.next_segment();
        }
        for (seq, body) in (first_seq..).zip(bodies) {
            let len = record::front_bytes(&body);
            if at % BLOCK_BYTES + len > BLOCK_BYTES {
                at = at.next_multiple_of(BLOCK_BYTES);
            }
            if (at + len).div_ceil(BLOCK_BYTES) > SEGMENT_BLOCKS - self.block {
                break;
            }
            bytes.resize(at, 0);
            let header = Header {
                segment: self.segment,
                epoch: self.epoch,
                seq,
                hlc: Hlc(u64::from(self.epoch) << 32 | seq),
                durable: self.durable,
            };
            record::encode_front(&header, &body, &mut bytes);
            record::seal(&mut bytes[at..]);
            let blocks = at / BLOCK_BYTES..(at + len).div_ceil(BLOCK_BYTES);
            places.push((seq, body, blocks));
            self.seq = seq;
            at = (at + len).next_multiple_of(ALIGN_BYTES);
            if len > BLOCK_BYTES {
                at = at.next_multiple_of(BLOCK_BYTES);
            }
        }
        self.put(&bytes, places);
        self.durable = self.seq;
    }

    fn put(&mut self, bytes: &[u8], places: Vec<(u64, Body, std::ops::Range<usize>)>) {
        let start = self.block * BLOCK_BYTES;
        let segment = self
            .disk
            .get_mut(&self.segment)
            .expect("the newest segment");
        segment[start..start + bytes.len()].copy_from_slice(bytes);
        for (seq, body, blocks) in places {
            let said = if let Body::Said(what) = body {
                Some(what)
            } else {
                None
            };
            self.records.push(Place {
                epoch: self.epoch,
                seq,
                said,
                segment: self.segment,
                blocks: blocks.start + self.block..blocks.end + self.block,
                durable: self.durable,
            });
        }
        self.block += bytes.len().div_ceil(BLOCK_BYTES);
    }

    fn check(&self, found: &[Committed], touched: &[(u32, usize)]) {
        let by_place: BTreeMap<_, _> = found
            .iter()
            .map(|c| ((c.stamp.epoch, c.stamp.seq), &c.what))
            .collect();
        let whole = |p: &Place| {
            !touched
                .iter()
                .any(|(segment, block)| *segment == p.segment && p.blocks.contains(block))
        };
        for place in &self.records {
            let Some(said) = &place.said else { continue };
            let read = by_place.get(&(place.epoch, place.seq));
            if let Some(read) = read {
                assert!(same(read, said), "{read:?} was written as {said:?}");
            }
            let confirmed = self.records.iter().any(|later| {
                later.epoch == place.epoch && later.durable >= place.seq && whole(later)
            });
            assert!(
                read.is_some() || !whole(place) || !confirmed,
                "{} is lost",
                place.seq
            );
        }
        let written = self.records.iter().filter(|p| p.said.is_some()).count();
        assert!(by_place.len() <= written, "more was found than was written");
    }
}

/// The same but for where a chunk lies, which the disk decides.
fn same(a: &Payload, b: &Payload) -> bool {
    match (a, b) {
        (
            Payload::Chunk { id, index, .. },
            Payload::Chunk {
                id: other,
                index: place,
                ..
            },
        ) => (id, index) == (other, place),
        _ => a == b,
    }
}

fn body(feed: &mut Feed<'_>, epoch: u32, n: usize) -> Body {
    let id = Id {
        node: node(),
        epoch,
        number: 1 + n as u64,
    };
    let text = |len: usize| -> std::sync::Arc<str> { "x".repeat(len).into() };
    Body::Said(match feed.below(4) {
        0 => Payload::Begin {
            id,
            codec: SoundCodec::Pcmu,
            at: WallTime(1),
            about: text(feed.below(300)),
        },
        1 => Payload::Seal {
            id,
            kind: SealKind::Whole,
            about: text(feed.below(20)),
        },
        2 => Payload::Register {
            key: text(1 + feed.below(9)),
            value: Some(text(feed.below(6000))),
        },
        _ => Payload::Entry {
            topic: text(1),
            body: text(feed.below(200)),
        },
    })
}

/// Breaks the disk in a few places; says which blocks are no longer as they were written.
fn damage(feed: &mut Feed<'_>, disk: &mut Disk) -> Vec<(u32, usize)> {
    let mut touched = Vec::new();
    for _ in 0..feed.below(5) {
        let numbers: Vec<u32> = disk.keys().copied().collect();
        let Some(number) = numbers.get(feed.below(numbers.len().max(1))) else {
            break;
        };
        let segment = disk.get_mut(number).expect("it is there");
        let block = feed.below(SEGMENT_BLOCKS);
        let bytes = block * BLOCK_BYTES..((block + 1) * BLOCK_BYTES).min(segment.len());
        if bytes.start >= bytes.end {
            continue;
        }
        match feed.below(5) {
            0 => segment[bytes.start + feed.below(bytes.len())] ^= 1 << feed.below(8),
            1 => segment[bytes].fill(0),
            2 => segment[bytes].fill(feed.byte()),
            3 => {
                touched.extend((block..SEGMENT_BLOCKS).map(|b| (*number, b)));
                segment.truncate(bytes.start);
            }
            _ => {
                touched.extend((0..SEGMENT_BLOCKS).map(|b| (*number, b)));
                disk.remove(&number.clone());
            }
        }
        touched.push((*number, block));
    }
    touched
}

fn header(number: u32, epoch: u32, seq: u64) -> Vec<u8> {
    let mut block = Block([0; BLOCK_BYTES]);
    segment::encode(
        &SegmentHeader {
            node: node(),
            number,
            epoch,
            seq,
        },
        &mut block,
    );
    block.0.to_vec()
}

fn node() -> NodeName {
    "office".parse().expect("a legal name")
}
