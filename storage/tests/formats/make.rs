//! Makes a log of the present format that has records of every kind.
//!
//! Segments are as short as they can be, so that one sound fills some, which compaction retires
//! once it is destroyed. `FIXTURE_TO=DIR cargo test -p tandem-storage --test formats -- --ignored`
//! writes the packed files there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tandem_storage::CompactionHelp;
use tandem_storage::cipher::{Keyring, SALT_BYTES};
use tandem_storage::compaction::ask::Question;
use tandem_storage::compaction::{CompactionConfig, Input};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, Hlc, LogEvent, Payload, SealKind, Stamp};
use tandem_storage::segment::SEGMENT_BYTES_MIN;
use tandem_storage::time::WallTime;
use tandem_storage::{LogConfig, View};

use crate::node::{Node, PATIENCE, register, start_with};

/// Chunks of a sound that fills more than two segments.
const LONG_CHUNKS: u32 = 160;

fn config(dir: &Path, is_encrypted: bool) -> LogConfig {
    let keyring = Keyring::new(Some(crate::key()), Vec::new(), [8; SALT_BYTES]);
    LogConfig {
        segment_bytes: SEGMENT_BYTES_MIN,
        snapshot_every_bytes: SEGMENT_BYTES_MIN,
        keyring: if is_encrypted {
            keyring
        } else {
            Keyring::default()
        },
        ..crate::node::config(dir)
    }
}

struct Help(Arc<Mutex<View>>);

impl CompactionHelp for Help {
    fn ask(&mut self, question: Question) -> Option<Input> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = WallTime(now.as_millis() as u64);
        Some(question.answer(&mut self.0.lock().unwrap(), now))
    }

    fn has_mended(&mut self) -> bool {
        false
    }

    fn missing(&mut self, _: Id, _: u32) {}
}

fn discard(node: &mut Node, id: Id) {
    let (kind, about) = (SealKind::Discarded, "too short".into());
    node.write(Append::Seal { id, kind, about });
}

/// What a first start says: sound of all fates, registers, an entry, a branch's register.
fn say(node: &mut Node) {
    let kept = node.begin("for 101");
    node.speak(kept, 0, 4000);
    node.speak(kept, 1, 123);
    node.seal(kept);
    node.write(register("user/1/dnd", "on"));
    node.write(register("user/2/name", "Zoë"));
    let key = "user/2/name".into();
    node.write(Append::Register { key, value: None });
    let (topic, body) = ("call".into(), "101 called 102".into());
    node.write(Append::Entry { topic, body });
    let stamp = Stamp {
        hlc: Hlc(1 << 40),
        node: "branch".parse().unwrap(),
        epoch: 3,
        seq: 17,
    };
    let (key, value) = ("user/3/name".into(), Some("Ada".into()));
    let what = Payload::Register { key, value };
    let block = None;
    node.write(Append::Replica { stamp, what, block });
    let long = node.begin("for 102");
    (0..LONG_CHUNKS).for_each(|index| node.speak(long, index, 4000));
    discard(node, long);
}

/// Has compaction retire what only held the destroyed sound.
fn compact(mut node: Node) {
    let view = Arc::new(Mutex::new(node.opened.view.clone()));
    let config = CompactionConfig {
        bytes_per_second: 1 << 30,
        hidden_for: Duration::ZERO,
        look_every: Duration::from_millis(1),
        ..CompactionConfig::new("office".parse().unwrap())
    };
    let spare = tempfile::tempdir().unwrap();
    let empty = start_with(crate::node::config(spare.path()));
    let start = std::mem::replace(&mut node.opened.compaction, empty.opened.compaction);
    let compaction = node
        .log()
        .compact(config, start, Help(view.clone()))
        .unwrap();
    let began = Instant::now();
    while node.log().stats().compaction.segments_retired < 2 {
        while let Ok(event) = node.events.try_recv() {
            if let LogEvent::Committed { record, .. } = event {
                view.lock().unwrap().apply(&record);
            }
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{:?}",
            node.log().stats().compaction
        );
        std::thread::yield_now();
    }
    compaction.stop();
    node.log().close();
    empty.opened.log.close();
}

#[test]
#[ignore = "writes a fixture; see this file's beginning"]
fn make_a_log() {
    let to = PathBuf::from(std::env::var_os("FIXTURE_TO").expect("FIXTURE_TO is set"));
    let dir = tempfile::tempdir().unwrap();
    let mut node = start_with(config(dir.path(), false));
    say(&mut node);
    node.log().close();
    drop(node);
    compact(start_with(config(dir.path(), false)));
    let mut node = start_with(config(dir.path(), true));
    let secret = node.begin("for 103");
    node.speak(secret, 0, 400);
    node.seal(secret);
    node.snapshot();
    let cut = node.begin("for 104");
    node.speak(cut, 0, 200);
    node.log().close();
    drop(node);
    // The seal of what was cut short, and a sound that is still open.
    let mut node = start_with(config(dir.path(), false));
    let open = node.begin("for 105");
    node.speak(open, 0, 100);
    node.log().close();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".log") || name == "snapshot" {
            let packed = zstd::bulk::compress(&fs::read(&path).unwrap(), 19).unwrap();
            fs::write(to.join(name + ".zst"), packed).unwrap();
        }
    }
}
