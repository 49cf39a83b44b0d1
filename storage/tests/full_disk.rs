//! A disk that is really full: a small tmpfs, for those who may mount one.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tandem_storage::name::Id;
use tandem_storage::seam::{Append, LogEvent, Refusal, SealKind, SoundCodec, Token};
use tandem_storage::time::WallTime;
use tandem_storage::{Log, LogConfig, OpenError, open, verify};

const PATIENCE: Duration = Duration::from_secs(20);

struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: &Path, bytes: u64) -> Option<SmallDisk> {
        let size = format!("size={bytes}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(dir)
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(dir.to_owned()));
        }
        eprintln!("skipped: this user may not mount a tmpfs");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The answer to one append, and whether room was told to have changed on the way.
fn write(
    log: &Log,
    events: &Receiver<LogEvent>,
    append: Append,
) -> (Result<(), Refusal>, Vec<bool>) {
    let mut room = vec![];
    log.submit(Token::call_control(1), append).unwrap();
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            LogEvent::Committed { .. } => return (Ok(()), room),
            LogEvent::Refused { why, .. } => return (Err(why), room),
            LogEvent::Room { can_record } => room.push(can_record),
        }
    }
}

fn chunk(log: &Log, id: Id, index: u32) -> Append {
    let mut block = log.chunk();
    block.push(&[9; 4000]);
    Append::Chunk { id, index, block }
}

#[test]
fn a_full_disk_refuses_new_sound_keeps_the_rest_going_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), 4 << 20) else {
        return;
    };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    let config = LogConfig {
        segment_bytes: 512 << 10,
        reserve_bytes: 64 << 10,
        ..LogConfig::new(disk.0.join("log"), "office".parse().unwrap())
    };
    let (sender, events) = channel();
    let mut opened = open(config.clone(), move |event| drop(sender.send(event))).unwrap();
    let log = opened.log.clone();
    let id = opened.ids.next_id();
    let begin = |id| Append::Begin {
        id,
        codec: SoundCodec::Pcmu,
        at: WallTime(0),
        about: "".into(),
    };
    assert_eq!(write(&log, &events, begin(id)).0, Ok(()));
    let (mut index, mut rooms) = (0, vec![]);
    let why = loop {
        let (answer, mut room) = write(&log, &events, chunk(&log, id, index));
        rooms.append(&mut room);
        match answer {
            Ok(()) => index += 1,
            Err(why) => break why,
        }
    };
    // Fewer than four segments fit beside the ballast; the last one is kept.
    assert!(
        why == Refusal::DiskFull && (127..508).contains(&index),
        "{why} after {index}"
    );
    assert!(!log.can_record() && !rooms.last().unwrap());
    let seal = Append::Seal {
        id,
        kind: SealKind::Whole,
        about: "".into(),
    };
    assert_eq!(write(&log, &events, seal).0, Ok(()));
    let register = Append::Register {
        key: "heard".into(),
        value: Some("yes".into()),
    };
    assert_eq!(write(&log, &events, register).0, Ok(()));
    let other = opened.ids.next_id();
    assert_eq!(write(&log, &events, begin(other)).0, Err(Refusal::DiskFull));

    std::fs::remove_file(&ballast).unwrap();
    while !matches!(
        events.recv_timeout(PATIENCE).unwrap(),
        LogEvent::Room { can_record: true }
    ) {}
    assert_eq!(write(&log, &events, begin(other)).0, Ok(()));
    log.close();
    assert!(verify(&config.dir).unwrap().is_clean());
    let opened = open(config, |_| {}).unwrap();
    assert_eq!(opened.view.sound(id).unwrap().chunks.len(), index as usize);
    assert_eq!(opened.view.register("heard"), Some("yes"));
    opened.log.close();
}

#[test]
fn a_disk_without_even_the_reserve_is_an_error_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), 1 << 20) else {
        return;
    };
    let config = LogConfig {
        segment_bytes: 256 << 10,
        reserve_bytes: 0,
        ..LogConfig::new(disk.0.join("log"), "office".parse().unwrap())
    };
    let (sender, events) = channel();
    let opened = open(config.clone(), move |event| drop(sender.send(event))).unwrap();
    let mut count = 0;
    let value = Some("x".repeat(5000).into());
    let register = || Append::Register {
        key: "k".into(),
        value: value.clone(),
    };
    while write(&opened.log, &events, register()).0.is_ok() {
        count += 1;
    }
    // What is shorter still fits.
    let short = || Append::Entry {
        topic: "t".into(),
        body: "x".into(),
    };
    while write(&opened.log, &events, short()).0.is_ok() {
        count += 1;
    }
    opened.log.close();
    let report = verify(&config.dir).unwrap();
    assert!(
        report.is_clean() && report.ending.records > count,
        "{report:?} {count}"
    );
    let error = open(config, |_| {}).unwrap_err();
    assert!(matches!(error, OpenError::Full { .. }), "{error}");
}

#[test]
fn a_disk_that_is_full_from_the_start_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), 1 << 20) else {
        return;
    };
    let config = LogConfig::new(disk.0.join("log"), "office".parse().unwrap());
    let error = open(config, |_| {}).unwrap_err();
    assert!(matches!(error, OpenError::Full { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("is full; free at least 33554432 bytes"),
        "{error}"
    );
}
