//! `kill -9` at any moment: what was confirmed is there.
//!
//! The test starts itself once more as the victim, which speaks, seals and sets registers as fast
//! as the disk lets it and says on its standard output what was confirmed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, LogEvent, Payload, SealKind, SoundCodec, Token};
use tandem_storage::time::WallTime;
use tandem_storage::{LogConfig, open, verify};

const VICTIM_DIR: &str = "TANDEM_KILL_VICTIM_DIR";

fn config(dir: &Path) -> LogConfig {
    LogConfig {
        segment_bytes: 512 << 10,
        snapshot_every_bytes: 1 << 20,
        ..LogConfig::new(dir, "office".parse().unwrap())
    }
}

#[test]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM_DIR) else {
        return;
    };
    let (sender, events) = channel();
    let mut opened = open(config(Path::new(&dir)), move |e| drop(sender.send(e))).unwrap();
    let log = opened.log.clone();
    println!("\nfrom {}", opened.report.read_from);
    // Bounded, should nobody kill it.
    for round in 0..10_000u64 {
        let id = opened.ids.next_id();
        let (codec, at) = (SoundCodec::Pcmu, WallTime(round));
        let mut appends = vec![Append::Begin {
            id,
            codec,
            at,
            about: "".into(),
        }];
        for index in 0..4 {
            let mut block = log.chunk();
            block.push(&[index as u8; 3900]);
            appends.push(Append::Chunk { id, index, block });
        }
        appends.push(Append::Seal {
            id,
            kind: SealKind::Whole,
            about: "".into(),
        });
        appends.push(Append::Register {
            key: "round".into(),
            value: Some(id.to_string().into()),
        });
        let count = appends.len();
        appends
            .into_iter()
            .for_each(|append| log.submit(Token::call_control(round), append).unwrap());
        for _ in 0..count {
            let Ok(LogEvent::Committed { record, .. }) = events.recv() else {
                panic!()
            };
            opened.view.apply(&record);
            opened.snapshots.turn(&opened.view);
            match record.what {
                Payload::Begin { id, .. } => println!("\nbegun {id}"),
                Payload::Chunk { id, index, .. } => println!("\nchunk {id} {index}"),
                Payload::Seal { id, .. } => println!("\nsealed {id}"),
                Payload::Register { value, .. } => println!("\nround {}", value.unwrap()),
                Payload::Entry { .. } => {}
            }
        }
    }
}

/// Runs the victim until it has said so much, kills it, and returns all it managed to say.
fn kill_after(dir: &Path, lines_max: usize) -> Vec<String> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
        .env(VICTIM_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = vec![];
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let is_confirmation = |line: &String| {
        ["begun ", "chunk ", "sealed ", "round ", "from "]
            .iter()
            .any(|start| line.starts_with(start))
    };
    while said.len() < lines_max {
        said.extend(lines.next().unwrap().ok().filter(is_confirmation));
    }
    victim.kill().unwrap();
    // Said, though not read yet when it died. The last line may be half of one.
    let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
    rest.pop();
    said.extend(rest.into_iter().filter(is_confirmation));
    victim.wait().unwrap();
    said
}

#[test]
fn killed_at_any_moment_nothing_confirmed_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut said = vec![];
    for life in 1..=25 {
        said.extend(kill_after(dir.path(), rng.random_range(1..120)));
        let report = verify(dir.path()).unwrap();
        assert!(
            report.is_clean() && !report.is_running,
            "life {life}: {report:?}"
        );
    }
    let restored = said.iter().filter_map(|line| line.strip_prefix("from "));
    let restored = restored.filter(|from| *from != "0").count();
    println!("{restored} of 25 lives began with a snapshot");
    assert!(restored > 0);
    let from = check(dir.path(), &said, 26);
    std::fs::remove_file(dir.path().join("snapshot")).unwrap();
    assert!(from > 0 && check(dir.path(), &said, 27) == 0);
}

/// All that was said is there; returns from where the log was read.
fn check(dir: &Path, said: &[String], epoch: u32) -> u32 {
    let opened = open(config(dir), |_| {}).unwrap();
    assert_eq!(opened.report.epoch, epoch);
    let reader = opened.log.reader();
    let mut round = None;
    for line in said.iter().filter(|line| !line.starts_with("from ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let id: Id = words[1].parse().unwrap();
        let sound = opened.view.sound(id).unwrap_or_else(|| panic!("{line}"));
        match words[0] {
            "chunk" => {
                let index: usize = words[2].parse().unwrap();
                let mut samples = vec![];
                reader.read(&sound.chunks[index], &mut samples).unwrap();
                assert_eq!(samples, [index as u8; 3900], "{line}");
            }
            "sealed" => assert_eq!(sound.seal, Some((SealKind::Whole, "".into())), "{line}"),
            "round" => round = Some(id),
            _ => {}
        }
        assert!(sound.seal.is_some(), "{line}");
    }
    // Set again after what was heard of, perhaps; never an older one.
    let last: Id = opened.view.register("round").unwrap().parse().unwrap();
    assert!(Some(last) >= round, "{last} {round:?}");
    opened.log.close();
    opened.report.read_from
}
