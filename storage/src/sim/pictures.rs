//! The rows of the table in `recovery.rs`, each painted on a disk and read.
//!
//! The log they are painted on: epoch 1 with one register `r/N` a block, N = 1 … 9, confirmed one
//! after the other. Block 0 of the segment is its header, block 1 the epoch's record, block 1 + N
//! the register N. Epoch 2 only opens, in block 11.

use super::*;
use crate::record::{Body, Header};
use crate::seam::Hlc;
use crate::segment::{self, FirstBlock, SegmentHeader};
use crate::time::WallTime;

const SEGMENT_BYTES: u64 = 64 * BLOCK_BYTES as u64;
const REGISTERS: u64 = 9;

fn node() -> NodeName {
    "office".parse().unwrap()
}

fn now() -> Now {
    Now {
        mono: Time(0),
        wall: WallTime(1000),
    }
}

fn open(disk: SimDisk) -> SimOpened {
    SimLog::open(disk, node(), now()).unwrap()
}

fn write(log: &mut SimLog, key: &str, body_bytes: usize) {
    let value = Some("v".repeat(body_bytes).into());
    log.submit(
        now(),
        Token::call_control(1),
        Append::Register {
            key: key.into(),
            value,
        },
    );
    loop {
        while let Some(event) = log.poll(now()) {
            if matches!(event, LogEvent::Committed { .. }) {
                return;
            }
        }
        log.complete_write(now());
    }
}

/// Epoch 1 of the log of the chapter, of any length.
fn painted(registers: u64) -> SimDisk {
    let mut log = open(SimDisk::new(SEGMENT_BYTES, u64::MAX)).log;
    for n in 1..=registers {
        write(&mut log, &format!("r/{n}"), 10);
    }
    log.disk
}

fn reopened(registers: u64) -> SimDisk {
    open(painted(registers)).log.disk
}

fn block(disk: &mut SimDisk, segment: u32, block: usize) -> &mut [u8] {
    let bytes = disk.segments.get_mut(&segment).unwrap();
    &mut bytes[block * BLOCK_BYTES..][..BLOCK_BYTES]
}

/// What one sees: damages, records lost, torn, whole but unconfirmed, and the registers missing.
#[derive(Debug, PartialEq)]
struct Seen {
    damages: Vec<String>,
    lost: u64,
    torn: u64,
    unconfirmed: u64,
    missing: Vec<u64>,
}

fn seen(disk: &SimDisk) -> Seen {
    let mut view = View::new();
    let loaded = disk.read(node(), |record| view.apply(record)).unwrap();
    let is_missing = |n: &u64| view.register(&format!("r/{n}")).is_none();
    Seen {
        damages: loaded.damages.iter().map(|d| d.to_string()).collect(),
        lost: loaded.ending.records_lost,
        torn: loaded.ending.torn,
        unconfirmed: loaded.ending.records_unconfirmed,
        missing: (1..=REGISTERS).filter(is_missing).collect(),
    }
}

fn clean() -> Seen {
    Seen {
        damages: vec![],
        lost: 0,
        torn: 0,
        unconfirmed: 0,
        missing: vec![],
    }
}

/// Whatever the picture, the node starts, writes, and says the same of the past ever after.
#[track_caller]
fn check(mut disk: SimDisk, wanted: Seen) {
    assert_eq!(seen(&disk), wanted);
    for life in 0..3 {
        let mut opened = open(disk);
        write(&mut opened.log, &format!("after/{life}"), 10);
        disk = opened.log.disk;
        assert_eq!(seen(&disk), wanted, "in life {life}");
        let mut view = View::new();
        disk.read(node(), |record| view.apply(record)).unwrap();
        assert_eq!(view.registers("after/").count(), life + 1);
    }
}

fn damaged(what: &[&str], lost: u64, missing: &[u64]) -> Seen {
    let damages = what.iter().map(|what| (*what).to_owned()).collect();
    Seen {
        damages,
        lost,
        missing: missing.to_vec(),
        ..clean()
    }
}

/// A commit of the registers `r/8`, `r/9` and one that never was, each too long to share a block,
/// and which of its blocks reached the disk.
fn crashed_commit(reached: [bool; 3]) -> SimDisk {
    let mut disk = painted(7);
    let mut log = open(disk.clone()).log;
    for n in 8..=10 {
        let (key, value) = (format!("r/{n}").into(), Some("v".repeat(3000).into()));
        log.submit(
            now(),
            Token::call_control(1),
            Append::Register { key, value },
        );
    }
    while log.poll(now()).is_some() {}
    let mut sectors = reached
        .iter()
        .flat_map(|reached| [*reached; BLOCK_BYTES / SECTOR_BYTES]);
    let batch = log.in_flight.take().unwrap();
    assert_eq!(batch.blocks.len(), 3);
    disk = log.disk;
    disk.put(&batch, || sectors.next().unwrap());
    disk
}

#[test]
fn nothing_is_a_new_log() {
    let wanted = Seen {
        missing: (1..=REGISTERS).collect(),
        ..clean()
    };
    check(SimDisk::new(SEGMENT_BYTES, u64::MAX), wanted);
}

#[test]
fn zeros_after_the_last_record_are_free() {
    check(painted(REGISTERS), clean());
    check(reopened(REGISTERS), clean());
}

#[test]
fn a_prepared_segment_of_zeros_is_used_next() {
    let mut disk = painted(REGISTERS);
    assert_eq!(disk.segments.keys().copied().collect::<Vec<_>>(), [1, 2]);
    check(disk.clone(), clean());
    disk.segments.remove(&2);
    check(disk, clean());
}

#[test]
fn a_torn_last_record_ends_its_epoch() {
    let mut disk = painted(REGISTERS);
    block(&mut disk, 1, 10)[30..].fill(0);
    check(
        disk,
        Seen {
            torn: 1,
            missing: vec![9],
            ..clean()
        },
    );
}

#[test]
fn a_torn_commit_ends_its_epoch_at_the_first_hole() {
    let all = |missing: &[u64], unconfirmed| Seen {
        missing: missing.to_vec(),
        unconfirmed,
        ..clean()
    };
    check(crashed_commit([true, true, true]), all(&[], 0));
    check(crashed_commit([true, true, false]), all(&[], 0));
    check(crashed_commit([true, false, true]), all(&[9], 1));
    check(crashed_commit([false, true, true]), all(&[8, 9], 2));
    check(crashed_commit([false, false, false]), all(&[8, 9], 0));
}

#[test]
fn garbage_in_confirmed_records_is_damage() {
    let mut disk = reopened(REGISTERS);
    block(&mut disk, 1, 5)[60] ^= 1;
    check(
        disk,
        damaged(&["segment-00000001.log at 20480: wrong checksum"], 1, &[4]),
    );
    let mut disk = painted(REGISTERS);
    block(&mut disk, 1, 5).fill(0xaa);
    check(
        disk,
        damaged(
            &["segment-00000001.log at 20480: impossible length"],
            1,
            &[4],
        ),
    );
}

#[test]
fn the_last_record_counts_as_confirmed_once_another_epoch_says_so() {
    let mut disk = reopened(REGISTERS);
    block(&mut disk, 1, 10)[60] ^= 1;
    check(
        disk,
        damaged(&["segment-00000001.log at 40960: wrong checksum"], 1, &[9]),
    );
}

#[test]
fn zeros_in_the_place_of_confirmed_records_are_damage() {
    let mut disk = reopened(REGISTERS);
    block(&mut disk, 1, 5).fill(0);
    block(&mut disk, 1, 6).fill(0);
    let what = "segment-00000001.log at 20480: 8192 bytes of zeros in the place of records";
    check(disk, damaged(&[what], 2, &[4, 5]));
}

#[test]
fn garbage_where_zeros_should_be_is_damage_that_loses_nothing() {
    let mut disk = reopened(REGISTERS);
    block(&mut disk, 1, 5)[4000] = 1;
    let offset = 5 * 4096 + (48 + 4 + 3 + 1 + 4 + 10usize).next_multiple_of(8);
    let what = format!("segment-00000001.log at {offset}: bytes after the last record");
    check(disk, damaged(&[&what], 0, &[]));
}

#[test]
fn a_record_that_is_there_twice_counts_once() {
    let mut disk = reopened(REGISTERS);
    let copy = block(&mut disk, 1, 5).to_vec();
    block(&mut disk, 1, 8).copy_from_slice(&copy);
    let what = [
        "segment-00000001.log at 32768: a record that was there before",
        "segment-00000001.log: records are missing before 36864",
    ];
    check(disk, damaged(&what, 1, &[7]));
}

#[test]
fn what_an_earlier_life_of_the_file_left_is_free_space() {
    let mut disk = reopened(REGISTERS);
    let mut bytes = Vec::new();
    let header = Header {
        segment: 7,
        epoch: 1,
        seq: 99,
        hlc: Hlc(1),
        durable: 98,
    };
    record::encode_front(&header, &Body::Mark, &mut bytes);
    record::seal(&mut bytes);
    block(&mut disk, 1, 20)[..bytes.len()].copy_from_slice(&bytes);
    check(disk, clean());
}

#[test]
fn a_garbled_or_lost_first_block_is_damage_and_the_records_count() {
    for fill in [0, 0xaa] {
        let mut disk = reopened(REGISTERS);
        block(&mut disk, 1, 0).fill(fill);
        check(
            disk,
            damaged(
                &["segment-00000001.log: its first block is damaged"],
                0,
                &[],
            ),
        );
    }
}

#[test]
fn the_first_block_of_another_segment_is_damage() {
    let mut disk = reopened(REGISTERS);
    let header = SegmentHeader {
        node: node(),
        number: 5,
        epoch: 1,
        seq: 1,
    };
    let mut first = crate::block::Block::zeroed();
    segment::encode(&header, &mut first);
    block(&mut disk, 1, 0).copy_from_slice(&first.0);
    let what = "segment-00000001.log: it was segment 5 once; a copied or renamed file?";
    check(disk, damaged(&[what], 0, &[]));
}

#[test]
fn a_missing_segment_is_damage_with_the_number_of_records_lost() {
    // A segment has 63 blocks for records: 1 holds the epoch and 62, 2 and 3 hold 63 each.
    for (gone, lost) in [(1, 62 + 1), (2, 63), (3, 63)] {
        let mut disk = reopened(63 * 3 + 20);
        disk.segments.remove(&gone);
        let missing: Vec<u64> = if gone == 1 {
            (1..=REGISTERS).collect()
        } else {
            vec![]
        };
        let told = seen(&disk);
        assert_eq!(told.damages[0], format!("segment-{gone:08}.log is missing"));
        assert_eq!((told.lost, &told.missing), (lost, &missing), "{told:?}");
        check(disk, told);
    }
}

#[test]
fn a_missing_last_segment_shows_by_the_prepared_one_behind_it() {
    let mut disk = reopened(63 + 20);
    assert_eq!(disk.segments.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    disk.segments.remove(&2);
    let Seen { damages, .. } = seen(&disk);
    assert_eq!(damages, ["segment-00000002.log is missing"]);
    let log = open(disk).log;
    assert!(log.disk.segments.contains_key(&3) && !log.disk.segments.contains_key(&2));
}

#[test]
fn a_file_cut_short_loses_what_was_in_the_missing_part() {
    let mut disk = reopened(63 + 20);
    disk.segments
        .get_mut(&1)
        .unwrap()
        .truncate(60 * BLOCK_BYTES + 50);
    let told = seen(&disk);
    assert_eq!((told.lost, told.missing.len()), (4, 0), "{told:?}");
    check(disk, told);
}

#[test]
fn a_lost_opening_of_an_epoch_is_damage_and_both_epochs_count() {
    let mut disk = reopened(REGISTERS);
    let mut log = open(disk).log;
    write(&mut log, "r/1", 10);
    disk = log.disk;
    // Epoch 2 opens in block 11, epoch 3 in block 12, its register is in block 13.
    block(&mut disk, 1, 12).fill(0xaa);
    let told = seen(&disk);
    assert_eq!((told.lost, &told.missing[..]), (1, &[][..]), "{told:?}");
    assert_eq!(told.damages.len(), 1);
    check(disk, told);
}

#[test]
fn the_log_of_another_node_and_that_of_a_newer_version_are_refused() {
    let disk = painted(1);
    let other = "branch".parse().unwrap();
    let foreign = NotOurs::Foreign {
        segment: 1,
        node: node(),
    };
    assert_eq!(disk.read(other, |_| {}).unwrap_err(), foreign);

    let mut disk = painted(1);
    let first = block(&mut disk, 1, 0);
    let version = segment::VERSION + 1;
    first[12..16].copy_from_slice(&version.to_le_bytes());
    let crc = crc_fast::crc32_iscsi(&first[12..64]);
    first[8..12].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(segment::decode(first), FirstBlock::Newer(version));
    let newer = NotOurs::Newer {
        segment: 1,
        version,
    };
    assert_eq!(disk.read(node(), |_| {}).unwrap_err(), newer);
}

#[test]
fn a_flip_anywhere_hides_one_block_and_nothing_else() {
    let whole = reopened(REGISTERS);
    for at in (0..12 * BLOCK_BYTES).step_by(13) {
        let mut disk = whole.clone();
        disk.segments.get_mut(&1).unwrap()[at] ^= 0x10;
        let Seen {
            damages,
            lost,
            missing,
            ..
        } = seen(&disk);
        // Behind the last record of an epoch, what is torn and what is flipped look the same.
        let in_doubt = at > 10 * BLOCK_BYTES + 71;
        assert!(
            in_doubt || !damages.is_empty(),
            "a flip at {at} went unnoticed"
        );
        assert!(
            damages.len() <= 1 && lost <= 1 && missing.len() <= 1,
            "{at}: {damages:?}"
        );
    }
}
