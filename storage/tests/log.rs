//! The log on real files: what is confirmed is there after every stop.
#![allow(clippy::unwrap_used)]

mod node;

use std::sync::Arc;
use std::time::Duration;

use tandem_storage::block::{BLOCK_BYTES, CHUNK_SAMPLES_MAX};
use tandem_storage::cipher::{KEY_BYTES, Keyring, Locked, MasterKey, SALT_BYTES};
use tandem_storage::seam::{Append, LogEvent, Payload, SealKind, TEXT_LEN_MAX, Token};
use tandem_storage::{LogConfig, OpenError, ReadError, open, show, verify};

use node::{PATIENCE, config, register, start, start_with};

#[test]
fn encrypted_sound_is_read_with_the_key_alone_and_lies_nowhere_in_plain() {
    let dir = tempfile::tempdir().unwrap();
    let key = || MasterKey::new([7; KEY_BYTES]);
    let keyring = Keyring::new(Some(key()), Vec::new(), [201; SALT_BYTES]);
    let mut node = start_with(LogConfig {
        keyring,
        ..config(dir.path())
    });
    let id = node.begin("for 101");
    node.speak(id, 0, CHUNK_SAMPLES_MAX);
    node.speak(id, 1, 123);
    node.seal(id);
    let spoken = node.samples(id);
    assert_eq!(spoken.len(), CHUNK_SAMPLES_MAX + 123);
    assert_eq!(
        node.opened.view.sound(id).unwrap().samples(),
        spoken.len() as u64
    );
    node.log().close();

    let segment = std::fs::read(dir.path().join("segment-00000001.log")).unwrap();
    let shows = |piece: &[u8]| segment.windows(piece.len()).any(|there| there == piece);
    assert!(!shows(&[1; 16]) && !shows(&[2; 16]));
    let later = Keyring::new(None, vec![key()], [202; SALT_BYTES]);
    let node = start_with(LogConfig {
        keyring: later,
        ..config(dir.path())
    });
    assert_eq!(node.samples(id), spoken);
    node.log().close();
    let node = start(dir.path());
    let place = node.opened.view.sound(id).unwrap().chunks[0];
    let mut heard = Vec::new();
    let refused = node.log().reader().read(&place, &mut heard);
    let missing = key().name();
    assert!(
        matches!(refused, Err(ReadError::Locked(Locked::NoKey(name))) if name == missing),
        "{refused:?}"
    );
    assert!(heard.is_empty());
}

#[test]
fn what_was_confirmed_is_there_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    assert_eq!(
        (node.opened.report.epoch, node.opened.report.segments),
        (1, 0)
    );
    let id = node.begin("for 101");
    node.speak(id, 0, CHUNK_SAMPLES_MAX);
    node.speak(id, 1, 123);
    node.seal(id);
    node.write(register("user/1/dnd", "on"));
    let long: Arc<str> = "ä".repeat(TEXT_LEN_MAX / 2).into();
    node.write(Append::Entry {
        topic: "call".into(),
        body: long.clone(),
    });
    let samples = node.samples(id);
    assert_eq!(samples.len(), CHUNK_SAMPLES_MAX + 123);
    node.log().close();
    drop(node);

    let report = verify(dir.path()).unwrap();
    assert!(report.is_clean() && !report.is_running, "{report:?}");
    let node = start(dir.path());
    let sound = node.opened.view.sound(id).unwrap();
    assert_eq!(sound.about.as_ref(), "for 101");
    assert_eq!(sound.seal, Some((SealKind::Whole, "".into())));
    assert_eq!(node.samples(id), samples);
    assert_eq!(node.opened.view.register("user/1/dnd"), Some("on"));
    assert_eq!(
        node.opened.view.entries("call", 1).next().unwrap().1,
        &*long
    );
    assert_eq!(node.opened.report.epoch, 2);
    assert_eq!(node.opened.report.cut_short, 0);
}

#[test]
fn a_sound_that_was_being_spoken_is_sealed_as_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    let id = node.begin("for 102");
    node.speak(id, 0, CHUNK_SAMPLES_MAX);
    node.log().close();
    drop(node);
    for epoch in 2..4 {
        let node = start(dir.path());
        assert_eq!(node.opened.report.epoch, epoch);
        assert_eq!(node.opened.report.cut_short, usize::from(epoch == 2));
        let sound = node.opened.view.sound(id).unwrap();
        assert_eq!(sound.seal, Some((SealKind::CutShort, "".into())));
        assert_eq!(sound.samples(), CHUNK_SAMPLES_MAX as u64);
        node.log().close();
    }
}

#[test]
fn segments_follow_each_other_and_all_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    let id = node.begin("long");
    // 1 MiB segments hold fewer than 256 chunks each.
    for index in 0..600 {
        node.speak(id, index, CHUNK_SAMPLES_MAX);
    }
    node.seal(id);
    let report = verify(dir.path()).unwrap();
    assert!(
        report.is_clean() && report.is_running && report.segments >= 3,
        "{report:?}"
    );
    let samples = node.samples(id);
    node.log().close();
    drop(node);
    let node = start(dir.path());
    assert_eq!(node.samples(id), samples);
    assert_eq!(node.opened.report.ending.records, 1 + 600 + 2 + 1);
    let mut shown = 0;
    show(dir.path(), |record| {
        shown += usize::from(record.record.is_ok())
    })
    .unwrap();
    assert_eq!(shown, 1 + 600 + 2 + 1 + 1);
}

#[test]
fn verify_finds_nothing_wrong_with_a_log_that_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path());
    let log = node.log().clone();
    let writer = std::thread::spawn(move || {
        let mut count = 0;
        while log
            .submit(Token::call_control(count), register("k", &"x".repeat(700)))
            .is_ok()
        {
            count += 1;
            // The queue is bounded; stay below it.
            while log.stats().queue_len > 100 {
                std::thread::yield_now();
            }
        }
    });
    let mut segments = 0;
    while segments < 6 {
        let report = verify(dir.path()).unwrap();
        assert!(report.is_clean() && report.is_running, "{report:?}");
        segments = report.segments;
    }
    node.log().close();
    writer.join().unwrap();
    assert!(verify(dir.path()).unwrap().is_clean());
}

#[test]
fn a_folder_in_use_is_refused_with_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    let _node = start(dir.path());
    let error = open(config(dir.path()), |_| {}).unwrap_err();
    let pid = std::process::id();
    let wanted = format!("is in use by another tandem (pid {pid})");
    assert!(error.to_string().contains(&wanted), "{error}");
}

#[test]
fn the_log_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path()).log().close();
    let config = LogConfig {
        node: "branch".parse().unwrap(),
        ..config(dir.path())
    };
    let error = open(config, |_| {}).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert!(
        error.to_string().contains("node office, not of branch"),
        "{error}"
    );
}

#[test]
fn a_start_on_an_empty_folder_takes_well_under_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let began = std::time::Instant::now();
    let opened = open(
        LogConfig::new(dir.path(), "office".parse().unwrap()),
        |_| {},
    )
    .unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    opened.log.close();
    println!("first open took {:?}", began.elapsed());
}

#[test]
fn many_threads_share_commits_and_order_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    let (threads, each) = (8u64, 200u64);
    let workers: Vec<_> = (0..threads)
        .map(|thread| {
            let log = node.log().clone();
            std::thread::spawn(move || {
                for n in 0..each {
                    let append = register(&format!("thread/{thread}"), &n.to_string());
                    log.submit(Token::call_control(thread * each + n), append)
                        .unwrap();
                }
            })
        })
        .collect();
    let mut seq = None;
    for _ in 0..threads * each {
        let record = node.committed();
        assert!(seq < Some(record.stamp.seq));
        seq = Some(record.stamp.seq);
    }
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
    for thread in 0..threads {
        let last = (each - 1).to_string();
        assert_eq!(
            node.opened.view.register(&format!("thread/{thread}")),
            Some(&*last)
        );
    }
    let stats = node.log().stats();
    assert!(stats.commits < threads * each / 4, "{stats:?}");
    assert_eq!(stats.records, threads * each + 1);
}

#[test]
fn what_is_too_long_is_refused_and_a_closed_log_gives_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    node.submit(register("key", &"x".repeat(TEXT_LEN_MAX + 1)));
    let event = node.events.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(
            event,
            LogEvent::Refused {
                token: Token { number: 1, .. },
                ..
            }
        ),
        "{event:?}"
    );
    node.log().close();
    assert!(
        node.log()
            .submit(Token::call_control(2), register("key", "x"))
            .is_err()
    );
}

/// Whoever opens the folder next must not meet a segment that the one before is still preparing.
#[test]
fn once_a_log_is_closed_nothing_is_written_into_its_folder_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(LogConfig {
        segment_bytes: 64 << 20,
        ..config(dir.path())
    });
    node.log().close();
    let files = || {
        let all = std::fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let left = files();
    let is_half_made = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".new");
    assert!(!left.iter().any(is_half_made), "{left:?}");
    drop(node);
    assert_eq!(files(), left);
}

#[test]
fn a_segment_cut_short_keeps_what_is_left_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    (0..10).for_each(|n| drop(node.write(register(&n.to_string(), "x"))));
    node.log().close();
    drop(node);
    let path = dir.path().join("segment-00000001.log");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(8 * BLOCK_BYTES as u64 + 5).unwrap();
    for _ in 0..2 {
        let node = start(dir.path());
        assert_eq!(node.opened.view.registers("").count(), 6);
        node.log().close();
    }
}

#[test]
fn a_flipped_byte_in_the_middle_is_reported_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    let id = node.begin("for 101");
    let Payload::Chunk { place, .. } = ({
        let mut block = node.log().chunk();
        block.push(&[7; 4000]);
        node.write(Append::Chunk {
            id,
            index: 0,
            block,
        })
        .what
    }) else {
        panic!()
    };
    node.seal(id);
    node.log().close();
    drop(node);
    let path = dir.path().join("segment-00000001.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[place.offset as usize + BLOCK_BYTES / 2] ^= 4;
    std::fs::write(&path, bytes).unwrap();

    let report = verify(dir.path()).unwrap();
    assert_eq!((report.ending.records_lost, report.damages.len()), (1, 1));
    let told = report.damages[0].to_string();
    assert_eq!(
        told,
        format!("segment-00000001.log at {}: wrong checksum", place.offset)
    );
    let node = start(dir.path());
    let sound = node.opened.view.sound(id).unwrap();
    assert_eq!(
        (sound.samples(), &sound.seal),
        (0, &Some((SealKind::Whole, "".into())))
    );
    assert_eq!(node.opened.report.damages, report.damages);
}
