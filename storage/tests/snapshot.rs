//! Snapshots on real files: with one or without, a log says the same, and damage is told.
#![allow(clippy::unwrap_used)]

mod node;

use std::path::Path;
use std::time::Duration;

use tandem_storage::block::{BLOCK_BYTES, CHUNK_SAMPLES_MAX};
use tandem_storage::compaction::ask::Question;
use tandem_storage::compaction::{CompactionConfig, Input};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, SealKind};
use tandem_storage::time::WallTime;
use tandem_storage::{CompactionHelp, LogConfig, View, open, verify};

use node::{PATIENCE, config, register, start, start_with};

/// A log of some segments with a snapshot, closed; and what it says.
fn log_with_snapshot(dir: &Path) -> String {
    let mut node = start(dir);
    let ids: Vec<Id> = (0..4).map(|n| node.begin(&format!("sound {n}"))).collect();
    for index in 0..250 {
        ids.iter()
            .for_each(|id| node.speak(*id, index, CHUNK_SAMPLES_MAX));
        node.write(register(&format!("r/{}", index % 60), &index.to_string()));
        let (topic, body) = ("call".into(), index.to_string().into());
        node.write(Append::Entry { topic, body });
    }
    node.seal(ids[0]);
    node.snapshot();
    // After the snapshot was made: what it says must change.
    node.write(Append::Seal {
        id: ids[1],
        kind: SealKind::Discarded,
        about: "".into(),
    });
    node.seal(ids[2]);
    node.write(register("r/1", "changed"));
    node.write(Append::Register {
        key: "r/2".into(),
        value: None,
    });
    node.seal(ids[3]);
    let told = node.told();
    node.log().close();
    told
}

#[test]
fn a_snapshot_spares_reading_most_of_the_log_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let told = log_with_snapshot(dir.path());
    // What was begun when a node was killed goes.
    std::fs::write(dir.path().join("snapshot.new"), "half of one").unwrap();
    let node = start(dir.path());
    let report = &node.opened.report;
    assert!(report.segments >= 4 && report.read_from >= 4, "{report:?}");
    assert_eq!((report.ending.damages, report.ending.records_lost), (0, 0));
    assert!(node.told() == told, "it says something else");
    assert!(!dir.path().join("snapshot.new").exists());
    let id = node.opened.view.sounds().next().unwrap().id;
    assert_eq!(node.samples(id).len(), 250 * CHUNK_SAMPLES_MAX);
    node.log().close();
    assert!(verify(dir.path()).unwrap().is_clean());
}

#[test]
fn without_a_snapshot_that_fits_all_of_the_log_is_read_and_says_the_same() {
    let made = tempfile::tempdir().unwrap();
    let told = log_with_snapshot(made.path());
    let whole = std::fs::read(made.path().join("snapshot")).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 16;
    let other = tempfile::tempdir().unwrap();
    log_with_snapshot(other.path());
    let of_another_log = std::fs::read(other.path().join("snapshot")).unwrap();
    let cases: [(&str, Option<&[u8]>); 6] = [
        ("none", None),
        ("empty", Some(&[])),
        ("torn", Some(&whole[..whole.len() - 1])),
        ("flipped", Some(&flipped)),
        ("nonsense", Some(b"TANDEMSN and then something else")),
        ("another program's", Some(&[7; 100_000])),
    ];
    for (what, snapshot) in cases {
        let dir = tempfile::tempdir().unwrap();
        copy(made.path(), dir.path());
        std::fs::remove_file(dir.path().join("snapshot")).unwrap();
        if let Some(snapshot) = snapshot {
            std::fs::write(dir.path().join("snapshot"), snapshot).unwrap();
        }
        let node = start(dir.path());
        assert_eq!(node.opened.report.read_from, 0, "{what}");
        assert!(node.told() == told, "{what}");
        assert!(!dir.path().join("snapshot").exists(), "{what}");
        node.log().close();
    }
    // Of a log that went on otherwise from the same beginning, as on a disk put back.
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    let id = node.begin("other");
    (0..1300).for_each(|index| node.speak(id, index, CHUNK_SAMPLES_MAX));
    node.seal(id);
    let told = node.told();
    node.log().close();
    std::fs::write(dir.path().join("snapshot"), of_another_log).unwrap();
    let node = start(dir.path());
    assert_eq!(node.opened.report.read_from, 0);
    assert!(node.told() == told, "it says something else");
    node.log().close();
}

/// Flips a bit of the file of this segment.
fn flip(dir: &Path, segment: u32, offset: usize) {
    let path = dir.join(format!("segment-{segment:08}.log"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[offset] ^= 4;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn with_every_snapshot_deleted_the_log_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let told = log_with_snapshot(dir.path());
    for round in 0..3 {
        let node = start(dir.path());
        assert!(node.opened.report.read_from > 0, "round {round}");
        assert!(node.told() == told, "with it, round {round}");
        node.log().close();
        let file = dir.path().join("snapshot");
        let kept = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let node = start(dir.path());
        assert_eq!(node.opened.report.read_from, 0, "round {round}");
        assert!(node.told() == told, "without it, round {round}");
        node.log().close();
        std::fs::write(&file, kept).unwrap();
    }
}

#[test]
fn what_is_damaged_behind_a_snapshot_is_told_at_start_as_if_there_were_none() {
    let dir = tempfile::tempdir().unwrap();
    log_with_snapshot(dir.path());
    let node = start(dir.path());
    let from = node.opened.report.read_from;
    node.log().close();
    drop(node);
    flip(dir.path(), from, 100 * BLOCK_BYTES + 2000);
    let told = verify(dir.path()).unwrap().damages;
    assert_eq!(told.len(), 1);
    let node = start(dir.path());
    assert_eq!(node.opened.report.read_from, 0);
    assert_eq!(node.opened.report.damages, told);
    node.log().close();
}

/// Answers compaction from a view of its own.
struct Help(View);

impl CompactionHelp for Help {
    fn ask(&mut self, question: Question) -> Option<Input> {
        Some(question.answer(&mut self.0, WallTime(2000)))
    }

    fn has_mended(&mut self) -> bool {
        false
    }

    fn missing(&mut self, _: Id, _: u32) {}
}

#[test]
fn what_is_damaged_before_a_snapshot_is_found_by_the_scrub() {
    let dir = tempfile::tempdir().unwrap();
    let told = log_with_snapshot(dir.path());
    flip(dir.path(), 2, 100 * BLOCK_BYTES + 2000);
    let mut node = start(dir.path());
    assert!(node.opened.report.read_from > 2);
    assert!(node.told() == told);
    let config = CompactionConfig {
        bytes_per_second: 1 << 30,
        scrub_every: Duration::from_millis(200),
        look_every: Duration::from_millis(1),
        ..CompactionConfig::new("office".parse().unwrap())
    };
    let empty = open(
        LogConfig::new(dir.path().join("unused"), "office".parse().unwrap()),
        |_| {},
    )
    .unwrap();
    let start = std::mem::replace(&mut node.opened.compaction, empty.compaction);
    let help = Help(node.opened.view.clone());
    let compaction = node.log().compact(config, start, help).unwrap();
    let began = std::time::Instant::now();
    while node.log().stats().compaction.damages == 0 {
        std::thread::yield_now();
        assert!(began.elapsed() < PATIENCE, "the damage was not found");
    }
    compaction.stop();
    node.log().close();
    empty.log.close();
}

/// All that is packed in the snapshot, as text.
fn in_snapshot(dir: &Path) -> String {
    let file = std::fs::read(dir.join("snapshot")).unwrap();
    let mut rest = file.strip_prefix(b"TANDEMSN").unwrap();
    let mut text = String::new();
    while let Some((front, after)) = rest.split_first_chunk::<12>() {
        let [packed, _, unpacked] =
            [0, 4, 8].map(|at| u32::from_le_bytes(front[at..at + 4].try_into().unwrap()) as usize);
        let part = zstd::bulk::decompress(&after[..packed], unpacked).unwrap();
        text.push_str(&String::from_utf8_lossy(&part));
        rest = &after[packed..];
    }
    text
}

#[test]
fn a_snapshot_forgets_what_was_destroyed() {
    let dir = tempfile::tempdir().unwrap();
    log_with_snapshot(dir.path());
    assert!(in_snapshot(dir.path()).contains("sound 1"));
    let at_once = LogConfig {
        snapshot_forgets_after: Duration::ZERO,
        snapshot_every_bytes: u64::MAX,
        ..config(dir.path())
    };
    let mut node = start_with(at_once);
    assert!(node.opened.report.read_from > 0);
    let began = std::time::Instant::now();
    while in_snapshot(dir.path()).contains("sound 1") {
        node.opened.snapshots.turn(&node.opened.view);
        std::thread::yield_now();
        assert!(began.elapsed() < PATIENCE, "it is still named");
    }
    assert!(in_snapshot(dir.path()).contains("sound 2"));
    // Nothing was destroyed since: it stays as it is.
    while node.opened.snapshots.is_busy() {
        node.opened.snapshots.turn(&node.opened.view);
    }
    node.opened.snapshots.turn(&node.opened.view);
    assert!(!node.opened.snapshots.is_busy());
    let told = node.told();
    node.log().close();
    let node = start(dir.path());
    assert!(node.opened.report.read_from > 0 && node.told() == told);
    node.log().close();
}

#[test]
fn a_snapshot_leaves_the_log_its_reserve() {
    let dir = tempfile::tempdir().unwrap();
    log_with_snapshot(dir.path());
    std::fs::remove_file(dir.path().join("snapshot")).unwrap();
    let mut node = start_with(LogConfig {
        reserve_bytes: u64::MAX / 2,
        ..config(dir.path())
    });
    node.opened.snapshots.turn(&node.opened.view);
    assert!(node.opened.snapshots.is_busy(), "one was begun");
    while node.opened.snapshots.is_busy() {
        node.opened.snapshots.turn(&node.opened.view);
        std::thread::yield_now();
    }
    assert!(!dir.path().join("snapshot").exists());
    node.log().close();
}

#[test]
fn a_segment_that_shrank_behind_a_snapshot_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    log_with_snapshot(dir.path());
    let path = dir.path().join("segment-00000002.log");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(512 << 10).unwrap();
    let node = start(dir.path());
    let report = &node.opened.report;
    assert!(
        report.read_from == 0 && report.ending.records_lost > 0,
        "{report:?}"
    );
    node.log().close();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
