//! A log written by the writer itself, backed up, and what comes out of the packs again.

use std::collections::BTreeMap;

use super::*;
use crate::block::BLOCK_BYTES;
use crate::name::{Id, NodeName};
use crate::record::{Body, Header, encode_front, seal};
use crate::seam::{Append, ChunkPlace, Hlc, Payload, SealKind, SoundCodec};
use crate::time::WallTime;

/// A segment that is written record by record, each in a block of its own.
struct Tape {
    bytes: Vec<u8>,
    epoch: u32,
    seq: u64,
    durable: u64,
}

impl Tape {
    fn new() -> Tape {
        let mut tape = Tape {
            bytes: vec![0; BLOCK_BYTES],
            epoch: 0,
            seq: 0,
            durable: 0,
        };
        tape.epoch(1);
        tape
    }

    fn epoch(&mut self, epoch: u32) {
        let body = Body::Epoch {
            before: self.epoch,
            last: self.seq,
        };
        (self.epoch, self.seq, self.durable) = (epoch, 0, 0);
        self.put(&body, &[]);
    }

    /// All so far was durable before what comes next was written.
    fn durable(&mut self) {
        self.durable = self.seq;
        self.put(&Body::Mark, &[]);
    }

    fn say(&mut self, what: Payload) {
        self.put(&Body::Said(what), &[]);
    }

    fn put(&mut self, body: &Body, samples: &[u8]) {
        self.seq += 1;
        let header = Header {
            segment: 1,
            epoch: self.epoch,
            seq: self.seq,
            hlc: Hlc(u64::from(self.epoch) << 32 | self.seq),
            durable: self.durable,
        };
        let mut record = Vec::new();
        encode_front(&header, body, &mut record);
        record.extend_from_slice(samples);
        seal(&mut record);
        record.resize(record.len().next_multiple_of(BLOCK_BYTES), 0);
        self.bytes.extend_from_slice(&record);
    }

    fn begin(&mut self, number: u64) {
        let about = format!("message {number}").into();
        self.say(Payload::Begin {
            id: id(number),
            codec: SoundCodec::Pcma,
            at: WallTime(number),
            about,
        });
    }

    fn chunk(&mut self, number: u64, index: u32) {
        let place = ChunkPlace {
            segment: 1,
            offset: 0,
            samples: 3000,
        };
        let what = Payload::Chunk {
            id: id(number),
            index,
            place,
        };
        self.put(&Body::Said(what), &samples(number, index));
    }

    fn seal(&mut self, number: u64, kind: SealKind) {
        self.say(Payload::Seal {
            id: id(number),
            kind,
            about: "".into(),
        });
    }

    fn message(&mut self, number: u64) {
        self.begin(number);
        self.chunk(number, 0);
        self.chunk(number, 1);
        self.seal(number, SealKind::Whole);
    }
}

fn node() -> NodeName {
    "office".parse().unwrap()
}

fn id(number: u64) -> Id {
    Id {
        node: node(),
        epoch: 1,
        number,
    }
}

fn samples(number: u64, index: u32) -> Vec<u8> {
    let mut noise = number << 32 | u64::from(index) << 1 | 1;
    let next = |_| {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (noise >> 56) as u8
    };
    (0..3000).map(next).collect()
}

/// Backups of one log, one upon the other.
#[derive(Default)]
struct Backups {
    packs: BTreeMap<Hash, Vec<u8>>,
    named: Vec<PackInfo>,
    catalog: Catalog,
    position: Option<Position>,
}

impl Backups {
    fn make(&mut self, tape: &Tape, is_running: bool) -> Result<Gathered, NotTheSame> {
        let mut survey = Survey::new(node(), self.position);
        survey.look(1, &tape.bytes);
        let extent = survey.finish(is_running)?;
        let mut gather = Gather::new(node(), self.catalog.clone(), self.position);
        gather.destroy(&extent.discarded);
        gather.take(&extent, 1, &tape.bytes)?;
        let (stale, kept) = gather.stale(&self.named);
        let mut named: Vec<PackInfo> = kept.into_iter().cloned().collect();
        for info in stale {
            if !gather.rewrite(info, &self.packs[&info.hash]).unwrap() {
                named.push(info.clone());
            }
        }
        let (packs, catalog, gathered) = gather.finish();
        for pack in packs {
            assert_eq!(Hash::of(&pack.bytes), pack.info.hash);
            named.push(pack.info.clone());
            self.packs.insert(pack.info.hash, pack.bytes);
        }
        (self.named, self.position) = (named, gathered.position);
        self.catalog = Catalog::parse(&catalog.to_bytes()).unwrap();
        Ok(gathered)
    }

    /// What the newest backup says, in words, sorted.
    fn says(&self) -> Vec<String> {
        let mut words = Vec::new();
        for info in &self.named {
            for record in records(info, &self.packs[&info.hash]).unwrap() {
                words.push(in_words(&record.unwrap()));
            }
        }
        words.sort();
        words
    }
}

fn in_words(record: &PackRecord<'_>) -> String {
    let stamp = record.said.stamp;
    let Append::Replica {
        stamp: kept, block, ..
    } = restated(record)
    else {
        panic!("not restated");
    };
    assert_eq!(kept, stamp);
    match &record.said.what {
        Payload::Begin { id, .. } => format!("{} begin", id.number),
        Payload::Chunk { id, index, .. } => {
            let block = block.expect("a chunk has samples");
            assert_eq!(block.samples(), samples(id.number, *index));
            format!("{} chunk {index}", id.number)
        }
        Payload::Seal { id, kind, .. } => format!("{} {kind:?}", id.number),
        Payload::Register { key, .. } => format!("register {key} of {}.{}", stamp.epoch, stamp.seq),
        Payload::Entry { topic, .. } => format!("entry {topic}"),
    }
}

const ONE: [&str; 4] = ["1 Whole", "1 begin", "1 chunk 0", "1 chunk 1"];

#[test]
fn an_increment_holds_what_is_new_and_nothing_twice() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    tape.message(1);
    tape.durable();
    assert_eq!(backups.make(&tape, true).unwrap().records_new, 4);
    assert_eq!(backups.says(), ONE);
    assert_eq!(backups.make(&tape, true).unwrap().records_new, 0);
    tape.epoch(2);
    tape.message(2);
    tape.durable();
    assert_eq!(backups.make(&tape, true).unwrap().records_new, 4);
    assert_eq!(backups.says().len(), 8);
}

#[test]
fn what_may_not_be_durable_yet_waits_for_the_next_backup() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    tape.begin(1);
    tape.chunk(1, 0);
    tape.durable();
    tape.chunk(1, 1);
    tape.seal(1, SealKind::Whole);
    backups.make(&tape, true).unwrap();
    assert_eq!(backups.says(), ["1 begin", "1 chunk 0"]);
    let mut survey = Survey::new(node(), None);
    survey.look(1, &tape.bytes);
    assert!(survey.is_unsettled());
    // With no node running, what is whole counts: so will the next start have it.
    backups.make(&tape, false).unwrap();
    assert_eq!(backups.says(), ONE);
}

#[test]
fn the_end_of_an_epoch_is_where_the_next_one_says() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    tape.begin(1);
    let counted = tape.seq;
    // Whole on the disk, but behind a hole when the node started again.
    tape.chunk(1, 0);
    tape.seq = counted;
    tape.epoch(2);
    tape.durable();
    backups.make(&tape, true).unwrap();
    assert_eq!(backups.says(), ["1 begin"]);
}

#[test]
fn a_destroyed_sound_is_in_no_later_backup() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    tape.message(1);
    tape.message(2);
    tape.durable();
    backups.make(&tape, true).unwrap();
    tape.seal(2, SealKind::Discarded);
    tape.message(3);
    tape.seal(3, SealKind::Discarded);
    tape.durable();
    assert_eq!(backups.make(&tape, true).unwrap().destroyed, 2);
    let mut left: Vec<&str> = ONE.to_vec();
    left.extend(["2 Discarded", "3 Discarded"]);
    assert_eq!(backups.says(), left);
    for info in &backups.named {
        let bytes = &backups.packs[&info.hash];
        for gone in [samples(2, 0), samples(2, 1), samples(3, 0)] {
            assert!(!bytes.windows(64).any(|w| w == &gone[..64]));
        }
        assert!(!bytes.windows(9).any(|w| w == b"message 2"));
    }
    // Compaction that comes late does not bring it back.
    let stamp = crate::seam::Stamp {
        hlc: Hlc(99),
        node: node(),
        epoch: 1,
        seq: 4000,
    };
    let begin = Payload::Begin {
        id: id(3),
        codec: SoundCodec::Pcma,
        at: WallTime(3),
        about: "".into(),
    };
    tape.put(&Body::Replica(stamp, begin), &[]);
    tape.durable();
    backups.make(&tape, true).unwrap();
    assert_eq!(backups.says(), left);
}

#[test]
fn what_was_moved_forward_is_not_backed_up_again() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    let register = Payload::Register {
        key: "user/1".into(),
        value: None,
    };
    tape.say(register.clone());
    let hlc = Hlc(1 << 32 | tape.seq);
    let stamp = crate::seam::Stamp {
        hlc,
        node: node(),
        epoch: 1,
        seq: tape.seq,
    };
    tape.durable();
    backups.make(&tape, true).unwrap();
    tape.put(&Body::Replica(stamp, register.clone()), &[]);
    let node = "depot".parse().unwrap();
    let theirs = crate::seam::Stamp {
        node,
        epoch: 9,
        ..stamp
    };
    tape.put(&Body::Replica(theirs, register), &[]);
    tape.durable();
    assert_eq!(backups.make(&tape, true).unwrap().records_new, 1);
    let says = backups.says();
    assert_eq!(says, ["register user/1 of 1.2", "register user/1 of 9.2"]);
}

#[test]
fn another_log_of_the_same_name_is_refused() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    tape.message(1);
    tape.durable();
    backups.make(&tape, true).unwrap();
    assert_eq!(backups.make(&Tape::new(), false), Err(NotTheSame::Older));
    let mut other = Tape::new();
    (1..5).for_each(|n| other.message(n));
    other.durable();
    // Its clock was another.
    let mut shifted = Tape::new();
    shifted.bytes.truncate(BLOCK_BYTES);
    (shifted.epoch, shifted.seq) = (1, 0);
    for _ in 0..40 {
        shifted.seq += 1;
        let header = Header {
            segment: 1,
            epoch: 1,
            seq: shifted.seq,
            hlc: Hlc(7 << 40 | shifted.seq),
            durable: shifted.seq - 1,
        };
        let mut record = Vec::new();
        encode_front(&header, &Body::Mark, &mut record);
        seal(&mut record);
        record.resize(BLOCK_BYTES, 0);
        shifted.bytes.extend_from_slice(&record);
    }
    assert_eq!(backups.make(&shifted, true), Err(NotTheSame::Other));
}

#[test]
fn many_small_packs_become_one() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    for number in 1..=20 {
        tape.message(number);
        tape.durable();
        backups.make(&tape, true).unwrap();
        assert!(backups.named.len() <= 2 * 17, "{}", backups.named.len());
    }
    assert_eq!(backups.says().len(), 80);
}

#[test]
fn an_open_sound_is_sealed_by_whoever_restores() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    tape.message(1);
    tape.begin(2);
    tape.chunk(2, 0);
    tape.durable();
    backups.make(&tape, true).unwrap();
    let mut unpacking = Unpacking::new(node());
    for info in backups.named.iter().rev() {
        for record in records(info, &backups.packs[&info.hash]).unwrap() {
            unpacking.append(&record.unwrap());
        }
    }
    let seals: Vec<_> = unpacking.finish(WallTime(10)).collect();
    let [
        Append::Seal {
            id: sealed, kind, ..
        },
    ] = &seals[..]
    else {
        panic!("{seals:?}");
    };
    assert_eq!((*sealed, *kind), (id(2), SealKind::CutShort));
    assert_eq!(unpacking.sounds(), 2);
}

#[test]
fn a_changed_pack_and_a_changed_manifest_are_refused() {
    let (mut tape, mut backups) = (Tape::new(), Backups::default());
    tape.message(1);
    tape.durable();
    backups.make(&tape, true).unwrap();
    let info = backups.named[0].clone();
    let mut bytes = backups.packs[&info.hash].clone();
    bytes[40] ^= 1;
    assert_eq!(records(&info, &bytes).err(), Some(PackFault::Hash));
    bytes.pop();
    assert!(matches!(
        records(&info, &bytes).err(),
        Some(PackFault::Length { .. })
    ));
    let manifest = Manifest {
        format: FORMAT,
        tandem: "1".into(),
        node: node(),
        number: 3,
        made: WallTime(5),
        position: backups.position,
        packs: backups.named.clone(),
        catalog: Hash::of(b""),
    };
    let (name, bytes) = manifest.to_file();
    assert_eq!(name.to_string().parse(), Ok(name));
    assert_eq!(Manifest::parse(&name, &bytes), Ok(manifest.clone()));
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(Manifest::parse(&name, cut), Err(ManifestFault::Hash));
    let newer = Manifest {
        format: FORMAT + 1,
        ..manifest
    };
    let (name, bytes) = newer.to_file();
    assert_eq!(
        Manifest::parse(&name, &bytes),
        Err(ManifestFault::Newer(FORMAT + 1))
    );
}
