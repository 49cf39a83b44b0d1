//! Years of writing and deleting on a small disk, with compaction at work and power failures.
//!
//! The model keeps what must be there: messages with their samples, registers with their values.
//! After every start the log is compared with the model. At every step its size is checked.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::block::ChunkBlock;
use crate::compaction::ask::{Ask, Question};
use crate::compaction::{
    CompactionConfig, Compactor, Input as CompactionInput, NEXT_BYTES, Output as CompactionOutput,
    PIECE_BYTES, SegmentStanding, Standing,
};
use crate::name::Id;
use crate::seam::{Owner, Payload, SealKind, SoundCodec};
use crate::time::WallTime;

const SEGMENT_BYTES: u64 = 128 * BLOCK_BYTES as u64;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn node() -> NodeName {
    "office".parse().unwrap()
}

/// What must be there.
#[derive(Clone, Default)]
struct Model {
    /// By name: the byte all samples have, and how many chunks.
    messages: BTreeMap<Id, (u8, u32)>,
    registers: BTreeMap<String, String>,
    destroyed: Vec<(Id, u8)>,
}

struct House {
    log: SimLog,
    ids: Ids,
    view: View,
    compactor: Compactor,
    config: CompactionConfig,
    snapshots: SimSnapshots,
    /// It was read with a snapshot.
    was_restored: bool,
    model: Model,
    now: Now,
    waiting: usize,
    /// The most the log was larger than its bound, in bytes; below zero: never.
    over_bound: i64,
    rng: ChaCha8Rng,
}

fn config() -> CompactionConfig {
    CompactionConfig {
        bytes_per_second: 1 << 40,
        entries_for: 90 * DAY,
        look_every: Duration::from_millis(5),
        ..CompactionConfig::new(node())
    }
}

impl House {
    fn open(disk: SimDisk, model: Model, now: Now, rng: ChaCha8Rng) -> House {
        let opened = SimLog::open(disk, node(), now).unwrap();
        let ending = opened.loaded.ending;
        assert_eq!((ending.damages, ending.records_lost), (0, 0), "{ending:?}");
        let mut log = opened.log;
        let snapshots = SimSnapshots::new(node(), &opened.loaded, opened.read_from, 4);
        for segment in &opened.loaded.left_over {
            log.disk_mut().segments.remove(segment);
        }
        House {
            log,
            ids: opened.ids,
            view: opened.view,
            compactor: Compactor::new(config(), opened.loaded.retired, now),
            config: config(),
            snapshots,
            was_restored: opened.read_from > 0,
            model,
            now,
            waiting: 0,
            over_bound: i64::MIN,
            rng,
        }
    }

    fn submit(&mut self, append: Append) {
        self.waiting += 1;
        self.log.submit(self.now, Token::call_control(1), append);
    }

    fn take_events(&mut self) {
        while let Some(event) = self.log.poll(self.now) {
            match event {
                LogEvent::Committed { token, record } => {
                    self.view.apply(&record);
                    let place = match &record.what {
                        Payload::Chunk { place, .. } => Some(*place),
                        _ => None,
                    };
                    if token.owner == Owner::Compaction {
                        let answer = CompactionInput::Answered(token, Ok(place));
                        self.compactor.handle(self.now, answer);
                    } else {
                        self.waiting -= 1;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        for token in self.log.retired() {
            let answer = CompactionInput::Answered(token, Ok(None));
            self.compactor.handle(self.now, answer);
        }
    }

    /// One thing of what there is to do; `false`: nothing.
    fn step(&mut self) -> bool {
        self.later(Duration::from_millis(1));
        self.take_events();
        if self.rng.random_range(0..3) == 0 {
            self.snapshots.turn(&self.view, self.log.disk_mut());
        }
        self.compactor.handle(self.now, CompactionInput::Tick);
        if let Some(output) = self.compactor.poll() {
            let is_work = !matches!(output, CompactionOutput::LookAround);
            if let Some(input) = self.carry(output) {
                self.compactor.handle(self.now, input);
            }
            self.measure();
            return is_work;
        }
        self.take_events();
        let was_writing = self.log.is_writing();
        self.log.complete_write(self.now);
        self.take_events();
        self.measure();
        was_writing
    }

    fn carry(&mut self, output: CompactionOutput) -> Option<CompactionInput> {
        let ask = match output {
            CompactionOutput::LookAround => Ask::Standing(self.standing()),
            CompactionOutput::AskLive(records) => Ask::Live(records),
            CompactionOutput::AskLying(segment) => Ask::Lying(segment),
            CompactionOutput::Read { segment, offset } => {
                let bytes = &self.log.disk.segments[&segment];
                let from = bytes.len().min(offset as usize);
                let to = bytes.len().min(from + PIECE_BYTES as usize);
                return Some(CompactionInput::Piece(bytes[from..to].to_vec()));
            }
            CompactionOutput::ReadNext(segment) => {
                let (_, bytes) = self.log.disk.segments.range(segment + 1..).next().unwrap();
                let to = bytes.len().min(NEXT_BYTES as usize);
                return Some(CompactionInput::Next(bytes[..to].to_vec()));
            }
            CompactionOutput::Append(token, append) => {
                self.log.submit(self.now, token, append);
                return None;
            }
            CompactionOutput::Retire(token, retired) => {
                self.log.retire(self.now, token, retired);
                return None;
            }
            CompactionOutput::Leave(segment) => {
                self.log.leave(self.now, segment);
                return None;
            }
            CompactionOutput::Moved { .. } => return None,
            CompactionOutput::Remove(segment) => {
                self.log.disk_mut().segments.remove(&segment).unwrap();
                return Some(CompactionInput::Removed);
            }
            other => panic!("{other:?}"),
        };
        let entries_for = self.config.entries_for;
        let question = Question { ask, entries_for };
        Some(question.answer(&mut self.view, self.now.wall))
    }

    fn standing(&self) -> Standing {
        let (writing, writing_used) = self.log.position();
        let closed = self.log.disk.segments.range(..writing);
        let segment = |(number, bytes): (&u32, &Vec<u8>)| SegmentStanding {
            number: *number,
            bytes: bytes.len() as u64,
            live: 0,
            hides_since: None,
        };
        Standing {
            segments: closed.map(segment).collect(),
            writing,
            writing_used,
            writing_live: 0,
            writing_hides_since: None,
            segment_bytes: SEGMENT_BYTES,
        }
    }

    /// The log, with all of the segment that is prepared, against 1.3 times what is live and two
    /// segments.
    fn measure(&mut self) {
        if self.log.is_writing() {
            // Its place is taken, but what it says is not known to the view yet.
            return;
        }
        let (writing, used) = self.log.position();
        let segments = &self.log.disk.segments;
        let others = segments.keys().filter(|n| **n != writing).count() as u64;
        let log_bytes = others * SEGMENT_BYTES + used;
        let bound = self.live_bytes() * 13 / 10 + 2 * SEGMENT_BYTES;
        self.over_bound = self.over_bound.max(log_bytes as i64 - bound as i64);
    }

    fn live_bytes(&self) -> u64 {
        let from = WallTime(
            self.now
                .wall
                .0
                .saturating_sub(self.config.entries_for.as_millis() as u64),
        );
        let segments = self.log.disk.segments.keys();
        segments
            .map(|n| self.view.live_bytes().bytes(*n, from))
            .sum()
    }

    /// Everything there is to do is done.
    fn settle(&mut self) {
        let (mut idle, mut steps) = (0, 0);
        while idle < 12 || self.waiting > 0 {
            idle = if self.step() { 0 } else { idle + 1 };
            steps += 1;
            assert!(
                steps < 50_000,
                "compaction does not come to rest: {:?}, {:?}",
                self.compactor.stats(),
                Question {
                    ask: Ask::Standing(self.standing()),
                    entries_for: DAY * 90
                }
                .answer(&mut self.view, self.now.wall)
            );
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        self.model
            .registers
            .insert(key.to_owned(), value.to_owned());
        let (key, value) = (key.into(), Some(value.into()));
        self.submit(Append::Register { key, value });
    }

    fn message(&mut self) -> Id {
        let id = self.ids.next_id();
        // Each its own, so that it can be searched for.
        let (byte, chunks) = (self.rng.random_range(1..=255), self.rng.random_range(1..12));
        let (codec, at) = (SoundCodec::Pcmu, self.now.wall);
        let about = r#"{"kind":"message","mailbox":"office.1.1","from":"0791234567"}"#.into();
        self.submit(Append::Begin {
            id,
            codec,
            at,
            about,
        });
        for index in 0..chunks {
            let mut block = ChunkBlock::new();
            block.push(&[byte; 4000]);
            self.submit(Append::Chunk { id, index, block });
        }
        self.seal(id, SealKind::Whole);
        self.model.messages.insert(id, (byte, chunks));
        id
    }

    fn seal(&mut self, id: Id, kind: SealKind) {
        let about = "{}".into();
        self.submit(Append::Seal { id, kind, about });
    }

    fn destroy(&mut self, id: Id) {
        let (byte, _) = self.model.messages.remove(&id).unwrap();
        self.model.destroyed.push((id, byte));
        let prefix = format!("message/{id}/");
        self.model
            .registers
            .retain(|key, _| !key.starts_with(&prefix));
        self.seal(id, SealKind::Discarded);
    }

    /// Some hours of an office.
    fn live(&mut self, day: u64) {
        for _ in 0..self.rng.random_range(0..4) {
            self.message();
        }
        let any = |house: &mut House| {
            let at = house.rng.random_range(0..house.model.messages.len().max(1));
            house.model.messages.keys().nth(at).copied()
        };
        for _ in 0..3 {
            if let Some(id) = any(self) {
                self.set(&format!("message/{id}/heard"), "true");
            }
        }
        self.set("user/1/dnd", &format!("{day}"));
        self.submit(Append::Entry {
            topic: "call".into(),
            body: format!("call of day {day}, from here to there").into(),
        });
        while self.model.messages.len() > 80 {
            let id = any(self).unwrap();
            self.destroy(id);
        }
    }

    fn later(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
        self.now.wall = self.now.wall + time;
    }

    /// What the view says is what must be there.
    fn check(&self, what: &str) {
        for (id, (byte, chunks)) in &self.model.messages {
            let sound = self
                .view
                .sound(*id)
                .unwrap_or_else(|| panic!("{what}: {id} is lost"));
            assert_eq!(sound.chunks.len(), *chunks as usize, "{what}: {id}");
            for place in &sound.chunks {
                let samples = self.log.disk.samples(place).unwrap();
                assert!(samples.iter().all(|b| b == byte), "{what}: {id}");
            }
        }
        for (key, value) in &self.model.registers {
            assert_eq!(self.view.register(key), Some(&**value), "{what}: {key}");
        }
        for (id, _) in &self.model.destroyed {
            let there = self.view.sound(*id).is_some_and(|s| !s.chunks.is_empty());
            assert!(!there, "{what}: {id} came back");
        }
        let heard = self.view.registers("message/").count();
        let wanted = self
            .model
            .registers
            .keys()
            .filter(|k| k.starts_with("message/"));
        assert_eq!(heard, wanted.count(), "{what}");
    }
}

fn start() -> Now {
    Now {
        mono: Time(0),
        wall: WallTime(1_700_000_000_000),
    }
}

#[test]
fn ten_years_stay_within_their_bound_and_are_all_read_back() {
    (7..10).for_each(ten_years);
}

fn ten_years(seed: u64) {
    let disk = SimDisk::new(SEGMENT_BYTES, u64::MAX);
    let rng = ChaCha8Rng::seed_from_u64(seed);
    let mut house = House::open(disk, Model::default(), start(), rng);
    let mut segments_max = 0;
    for day in 0..3653 {
        house.live(day);
        house.settle();
        house.later(DAY);
        segments_max = segments_max.max(house.log.disk.segments.len());
        if day % 500 == 499 {
            house.check("running");
            let House {
                log,
                model,
                now,
                rng,
                over_bound,
                ..
            } = house;
            assert!(
                over_bound <= 0,
                "seed {seed}: {over_bound} bytes too large before day {day}"
            );
            house = House::open(log.disk, model, now, rng);
            house.check("opened again");
        }
    }
    assert!(
        house.over_bound <= 0,
        "seed {seed}: {} bytes too large",
        house.over_bound
    );
    let written = house.log.position().0;
    let stats = house.compactor.stats();
    println!("{written} segments were written, {segments_max} there at most; {stats:?}");
    assert!(
        written > 100 && segments_max < 12,
        "{written}, {segments_max}"
    );
}

#[test]
fn destroyed_sound_is_gone_within_a_day_though_all_else_is_alive() {
    let disk = SimDisk::new(SEGMENT_BYTES, u64::MAX);
    let rng = ChaCha8Rng::seed_from_u64(8);
    let mut house = House::open(disk, Model::default(), start(), rng);
    // One message among many that stay, in a log that is otherwise quiet.
    let ids: Vec<Id> = (0..60).map(|_| house.message()).collect();
    house.settle();
    let (gone, secret) = (ids[5], house.model.messages[&ids[5]].0);
    let is_there = |house: &House| {
        let others = house.model.messages.values();
        let is_other = others.into_iter().any(|(byte, _)| *byte == secret);
        let mut blocks = house
            .log
            .disk
            .segments
            .values()
            .flat_map(|s| s.chunks(BLOCK_BYTES));
        assert!(!is_other, "another message has the same samples");
        blocks.any(|block| block[2000..].iter().take(1000).all(|b| *b == secret))
    };
    let same: Vec<Id> = ids
        .iter()
        .copied()
        .filter(|id| house.model.messages[id].0 == secret)
        .collect();
    same.into_iter().for_each(|id| house.destroy(id));
    house.settle();
    assert!(is_there(&house), "{gone} is still on the disk");
    for _ in 0..24 {
        house.later(Duration::from_secs(3600));
        house.settle();
    }
    assert!(!is_there(&house), "{gone} is on the disk after a day");
    house.check("after the day");
}

/// The power goes at the `at`-th step.
fn crash(seed: u64, lives: usize) -> usize {
    let mut restored = 0;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut disk = SimDisk::new(SEGMENT_BYTES, u64::MAX);
    let (mut model, mut now) = (Model::default(), start());
    for life in 0..lives {
        let what = format!("seed {seed}, life {life}");
        let mut house = House::open(disk, model, now, rng.clone());
        restored += usize::from(house.was_restored);
        house.check(&what);
        for day in 0..house.rng.random_range(5..60) {
            house.live(day);
            house.settle();
            house.later(DAY / 4);
        }
        house.check(&what);
        // Nothing new is said any more; compaction goes on, until somewhere.
        house.later(DAY * 100);
        let steps = house.rng.random_range(0..400);
        for _ in 0..steps {
            house.step();
        }
        let House {
            log,
            model: kept,
            now: then,
            rng: mut after,
            ..
        } = house;
        disk = log.crash(&mut after);
        (model, now, rng) = (kept, then, after);
    }
    let mut house = House::open(disk, model, now, rng);
    house.later(DAY * 2);
    for _ in 0..20 {
        house.settle();
        house.later(DAY);
    }
    house.check(&format!("seed {seed}, in the end"));
    assert!(house.compactor.stats().damages == 0);
    restored
}

#[test]
fn a_crash_at_any_step_of_compaction_loses_nothing_and_brings_nothing_back() {
    let restored: usize = (0..20).map(|seed| crash(seed, 6)).sum();
    println!("{restored} of 120 lives began with a snapshot");
    assert!(restored > 40, "{restored}");
}
