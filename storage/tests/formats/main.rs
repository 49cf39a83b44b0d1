//! Logs that earlier programs wrote, kept as they were, opened by this one.
//!
//! ```text
//! logs/NAME/*.zst ──► copy ──► show, verify, open ──► text ──► the same as logs/NAME.txt?
//! ```
//!
//! Whatever changes in the log's bytes, these have to say what they said when they were written. A
//! new format gets a folder of its own here before it is released; none is ever written anew. How
//! each was made stands in `README.md` beside this file.
#![allow(clippy::unwrap_used)]

#[path = "../node/mod.rs"]
mod node;

mod listing;
mod make;

use std::fs;
use std::path::{Path, PathBuf};

use tandem_storage::cipher::{KEY_BYTES, Keyring, MasterKey, SALT_BYTES};
use tandem_storage::{LogConfig, log_owner, open, verify};

/// Set to anything, it makes the test write the listings anew; the logs stay as they are.
const REWRITE: &str = "TANDEM_REWRITE_GOLDEN";

/// The longest file in a fixture, unpacked.
const FILE_BYTES_MAX: usize = 2 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/logs")
}

/// The key that encrypted sound in the fixtures was encrypted with.
fn key() -> MasterKey {
    MasterKey::new([7; KEY_BYTES])
}

fn unpack(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let packed = fs::read(&path).unwrap();
        let bytes = zstd::bulk::decompress(&packed, FILE_BYTES_MAX).unwrap();
        fs::write(to.join(path.file_stem().unwrap()), bytes).unwrap();
    }
}

/// All that a log says: its records as they lie, and what they come to.
fn read(dir: &Path) -> String {
    let mut text = listing::records(dir);
    let report = verify(dir).unwrap();
    assert!(report.is_clean(), "{}: {report:?}", dir.display());
    text += &format!(
        "\n{} segments, {} sounds, {} of them open, no damage\n\n",
        report.segments, report.sounds, report.sounds_open
    );
    let config = LogConfig {
        segment_bytes: 1 << 18,
        keyring: Keyring::new(None, vec![key()], [9; SALT_BYTES]),
        ..LogConfig::new(dir, log_owner(dir).unwrap())
    };
    let opened = open(config, |_| {}).unwrap();
    assert_eq!(opened.report.ending.damages, 0);
    let from = opened.report.read_from;
    text += &format!("read from segment {from} on, 0: from the first\n");
    text += &listing::view(&opened.view, &opened.log.reader());
    opened.log.close();
    text
}

#[test]
fn a_log_of_any_format_says_what_it_said() {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        unpack(&path, dir.path());
        let text = read(dir.path());
        let listed = path.with_extension("txt");
        if std::env::var_os(REWRITE).is_some() {
            fs::write(&listed, &text).unwrap();
        }
        let golden = fs::read_to_string(&listed).unwrap_or_default();
        for (number, (was, is)) in (1..).zip(golden.lines().zip(text.lines())) {
            let name = listed.display();
            assert_eq!(was, is, "{name}:{number}; {REWRITE}=1 writes it anew");
        }
        assert_eq!(golden.lines().count(), text.lines().count());
        names.push(path.file_name().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["v1", "v2"], "a format has no log here");
}

#[test]
fn the_present_log_has_records_of_every_kind() {
    let text = fs::read_to_string(folder().join("v2.txt")).unwrap();
    let kinds = [
        "epoch",
        "mark",
        "retired",
        "begin",
        "chunk",
        "encrypted",
        "seal",
        "register",
        "removed",
        "entry",
        "restated",
        "CutShort",
        "Discarded",
        "Whole",
    ];
    for kind in kinds {
        assert!(text.contains(kind), "no {kind}");
    }
}
