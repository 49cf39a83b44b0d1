//! The power goes at every write of a story, and again in the next life, and again.
//!
//! The oracle is the list of what was submitted. After every crash the disk must read as a
//! beginning of that list that holds at least all that was confirmed, undamaged, with the very
//! samples; and opened again, every sound must have an end.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::block::{CHUNK_SAMPLES_MAX, ChunkBlock};
use crate::name::Id;
use crate::seam::{Payload, SealKind, SoundCodec};
use crate::time::WallTime;

/// A record as far as one can know it before it is written, and its samples.
type Told = (Payload, Vec<u8>);

struct Life {
    log: SimLog,
    ids: Ids,
    sounds: Vec<(Id, u32)>,
    submitted: Vec<Told>,
    confirmed: usize,
    writes: usize,
    now: Now,
}

fn node() -> NodeName {
    "office".parse().unwrap()
}

fn without_place(what: &Payload) -> Payload {
    match what.clone() {
        Payload::Chunk { id, index, place } => {
            let nowhere = ChunkPlace {
                segment: 0,
                offset: 0,
                ..place
            };
            Payload::Chunk {
                id,
                index,
                place: nowhere,
            }
        }
        other => other,
    }
}

fn told(append: &Append) -> Told {
    match append {
        Append::Replica { what, block, .. } => {
            let samples = block.as_ref().map_or(vec![], |b| b.samples().to_vec());
            (without_place(what), samples)
        }
        Append::Begin {
            id,
            codec,
            at,
            about,
        } => {
            let about = about.clone();
            (
                Payload::Begin {
                    id: *id,
                    codec: *codec,
                    at: *at,
                    about,
                },
                vec![],
            )
        }
        Append::Chunk { id, index, block } => {
            let samples = block.samples().to_vec();
            let place = ChunkPlace {
                segment: 0,
                offset: 0,
                samples: samples.len() as u32,
            };
            (
                Payload::Chunk {
                    id: *id,
                    index: *index,
                    place,
                },
                samples,
            )
        }
        Append::Seal { id, kind, about } => (
            Payload::Seal {
                id: *id,
                kind: *kind,
                about: about.clone(),
            },
            vec![],
        ),
        Append::Register { key, value } => (
            Payload::Register {
                key: key.clone(),
                value: value.clone(),
            },
            vec![],
        ),
        Append::Entry { topic, body } => (
            Payload::Entry {
                topic: topic.clone(),
                body: body.clone(),
            },
            vec![],
        ),
    }
}

/// All that counts on the disk; nothing of it may be damaged.
fn read(disk: &SimDisk) -> Vec<Told> {
    let mut list = Vec::new();
    let loaded = disk
        .read(node(), |record| {
            let samples = match &record.what {
                Payload::Chunk { place, .. } => disk.samples(place).unwrap().to_vec(),
                _ => vec![],
            };
            list.push((without_place(&record.what), samples));
        })
        .unwrap();
    assert_eq!(
        (loaded.ending.damages, loaded.ending.records_lost),
        (0, 0),
        "{loaded:?}"
    );
    list
}

impl Life {
    fn begin(disk: SimDisk, wall: u64) -> (Life, View) {
        let now = Now {
            mono: Time(0),
            wall: WallTime(wall),
        };
        let opened = SimLog::open(disk, node(), now).unwrap();
        let life = Life {
            log: opened.log,
            ids: opened.ids,
            sounds: vec![],
            submitted: vec![],
            confirmed: 0,
            writes: 0,
            now,
        };
        (life, opened.view)
    }

    fn any_append(&mut self, rng: &mut ChaCha8Rng) -> Append {
        let text = |rng: &mut ChaCha8Rng| {
            let len = if rng.random_range(0..8) == 0 {
                20_000
            } else {
                60
            };
            "x".repeat(rng.random_range(0..len)).into()
        };
        let sound = (!self.sounds.is_empty()).then(|| rng.random_range(0..self.sounds.len()));
        match (rng.random_range(0..10), sound) {
            (0..6, Some(sound)) => {
                let (id, index) = self.sounds[sound];
                self.sounds[sound].1 += 1;
                let mut block = ChunkBlock::new();
                let full = vec![rng.random(); CHUNK_SAMPLES_MAX];
                block.push(&full[..rng.random_range(1..=CHUNK_SAMPLES_MAX)]);
                Append::Chunk { id, index, block }
            }
            (6, Some(sound)) => {
                let (id, _) = self.sounds.swap_remove(sound);
                Append::Seal {
                    id,
                    kind: SealKind::Whole,
                    about: text(rng),
                }
            }
            (7, _) => Append::Entry {
                topic: "call".into(),
                body: text(rng),
            },
            (8, _) => {
                let value = rng.random::<bool>().then(|| text(rng));
                Append::Register {
                    key: format!("r/{}", rng.random_range(0..9)).into(),
                    value,
                }
            }
            _ => {
                let id = self.ids.next_id();
                self.sounds.push((id, 0));
                Append::Begin {
                    id,
                    codec: SoundCodec::Pcma,
                    at: WallTime(9),
                    about: text(rng),
                }
            }
        }
    }

    fn submit(&mut self, append: Append) {
        self.submitted.push(told(&append));
        let token = Token::call_control(self.submitted.len() as u64 - 1);
        self.log.submit(self.now, token, append);
    }

    fn settle(&mut self) {
        while let Some(event) = self.log.poll(self.now) {
            if let LogEvent::Committed { token, record } = event {
                assert_eq!(
                    token,
                    Token::call_control(self.confirmed as u64),
                    "in order, each once"
                );
                assert_eq!(
                    without_place(&record.what),
                    self.submitted[self.confirmed].0
                );
                self.confirmed += 1;
            }
        }
    }

    /// Lives until so many writes were begun; the last one is in flight then.
    fn live(&mut self, rng: &mut ChaCha8Rng, writes: usize) {
        while self.writes < writes {
            for _ in 0..rng.random_range(0..12) {
                let append = self.any_append(rng);
                self.submit(append);
            }
            // Now and then it is quiet long enough for a mark.
            let quiet_ns = if rng.random_range(0..6) == 0 {
                2_000_000_000
            } else {
                200_000
            };
            self.now.mono = Time(self.now.mono.0 + quiet_ns);
            self.settle();
            if self.log.is_writing() {
                self.writes += 1;
                if self.writes < writes {
                    self.log.complete_write(self.now);
                    self.settle();
                }
            }
        }
    }
}

/// Some lives on one disk, each ended by a crash at its `writes`-th write.
fn lives(seed: u64, lengths: &[usize]) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut disk = SimDisk::new(64 * BLOCK_BYTES as u64, u64::MAX);
    let mut truth: Vec<Told> = vec![];
    for (n, writes) in lengths.iter().enumerate() {
        // The wall clock is set back each time; names and stamps must not mind.
        let (mut life, view) = Life::begin(disk, 1000 - n as u64);
        assert!(
            view.sounds().all(|sound| sound.seal.is_some()),
            "seed {seed}, life {n}"
        );
        truth = after_opening(truth, read(&life.log.disk));
        life.live(&mut rng, *writes);
        disk = life.log.crash(&mut rng);
        let found = read(&disk);
        let kept = found.len() - truth.len();
        assert!(
            kept >= life.confirmed,
            "seed {seed}, life {n}: {kept} of {}",
            life.confirmed
        );
        assert!(
            found[..truth.len()] == truth,
            "seed {seed}, life {n}: the past has changed"
        );
        assert!(
            found[truth.len()..] == life.submitted[..kept],
            "seed {seed}, life {n}"
        );
        truth = found;
    }
}

/// Opening adds the seals of what was cut short and nothing else.
fn after_opening(before: Vec<Told>, after: Vec<Told>) -> Vec<Told> {
    assert!(after[..before.len()] == before);
    let is_cut_short = |(what, _): &Told| {
        matches!(
            what,
            Payload::Seal {
                kind: SealKind::CutShort,
                ..
            }
        )
    };
    assert!(after[before.len()..].iter().all(is_cut_short));
    after
}

#[test]
fn a_crash_at_every_write_of_a_story_loses_nothing_that_was_confirmed() {
    for writes in 1..60 {
        for seed in 0..4 {
            lives(seed, &[writes]);
        }
    }
}

#[test]
fn crash_after_crash_loses_nothing_that_was_confirmed() {
    for seed in 100..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lengths: Vec<usize> = (0..8).map(|_| rng.random_range(1..20)).collect();
        lives(seed, &lengths);
    }
}

#[test]
fn a_full_disk_refuses_sound_keeps_a_reserve_and_recovers() {
    let segment_bytes = 64 * BLOCK_BYTES as u64;
    let (mut life, _) = Life::begin(SimDisk::new(segment_bytes, 3 * segment_bytes), 1);
    let mut rooms = vec![];
    let id = life.ids.next_id();
    let begin = |id| Append::Begin {
        id,
        codec: SoundCodec::Pcmu,
        at: WallTime(1),
        about: "".into(),
    };
    let mut run = |life: &mut Life, append: Append| {
        life.log.submit(life.now, Token::call_control(7), append);
        loop {
            while let Some(event) = life.log.poll(life.now) {
                match event {
                    LogEvent::Room { can_record } => rooms.push(can_record),
                    LogEvent::Committed { .. } => return true,
                    LogEvent::Refused { .. } => return false,
                }
            }
            life.log.complete_write(life.now);
        }
    };
    assert!(run(&mut life, begin(id)));
    let mut chunks = 0;
    let chunk = |index| {
        let mut block = ChunkBlock::new();
        block.push(&[1; 4000]);
        Append::Chunk { id, index, block }
    };
    while run(&mut life, chunk(chunks)) {
        chunks += 1;
    }
    // Three segments of 63 blocks, of which the last one is the reserve; the first block of the
    // third and what was on its way when it was entered is gone.
    assert!((120..=127).contains(&chunks), "{chunks}");
    assert!(!life.log.can_record());
    assert!(run(
        &mut life,
        Append::Seal {
            id,
            kind: SealKind::Whole,
            about: "".into()
        }
    ));
    let register = Append::Register {
        key: "k".into(),
        value: Some("v".into()),
    };
    assert!(run(&mut life, register));
    let other = life.ids.next_id();
    assert!(!run(&mut life, begin(other)));

    life.log.disk_mut().capacity_bytes = u64::MAX;
    life.now.mono = Time(life.now.mono.0 + 2_000_000_000);
    while life.log.poll(life.now).is_some() {}
    assert!(life.log.can_record());
    assert!(run(&mut life, begin(other)));
    assert_eq!(rooms, [false]);
    assert_eq!(read(&life.log.disk).len(), 1 + chunks as usize + 3);
}

#[test]
fn a_segment_is_left_by_a_log_at_rest_once() {
    let (mut life, _) = Life::begin(SimDisk::new(1 << 20, u64::MAX), 1);
    let (segment, _) = life.log.position();
    for _ in 0..3 {
        life.log.leave(life.now, segment);
        life.settle();
        life.log.complete_write(life.now);
        life.settle();
    }
    assert_eq!(life.log.position().0, segment + 1);
    assert!(!life.log.is_writing());
}

#[test]
fn a_write_that_finds_the_disk_full_is_tried_again_and_one_that_fails_ends_the_log() {
    let (mut life, _) = Life::begin(SimDisk::new(1 << 20, u64::MAX), 1);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    life.log.disk_mut().fault = Some(WriteFault::Full);
    life.live(&mut rng, 1);
    life.log.complete_write(life.now);
    life.settle();
    assert!(!life.log.can_record() && !life.log.is_writing());
    life.log.disk_mut().fault = None;
    life.now.mono = Time(life.now.mono.0 + 2_000_000_000);
    life.settle();
    assert!(life.log.is_writing());
    life.log.complete_write(life.now);
    life.settle();
    assert!(life.confirmed > 0 && life.log.can_record());

    life.log.disk_mut().fault = Some(WriteFault::Failed);
    life.log.complete_write(life.now);
    let append = life.any_append(&mut rng);
    life.submit(append);
    life.log.poll(life.now);
    life.log.complete_write(life.now);
    let confirmed = life.confirmed;
    let mut refused = 0;
    while let Some(event) = life.log.poll(life.now) {
        refused += usize::from(matches!(event, LogEvent::Refused { .. }));
    }
    assert_eq!(refused, life.submitted.len() - confirmed);
    assert!(!life.log.can_record());
}
