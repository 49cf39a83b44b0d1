//! Destroyed sound is gone from the raw files of the log, from what they lay in on the disk, and from
//! the backups; what lay beside it is not touched.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::kit::node::{Node, tandem};
use crate::kit::sound::{from_alaw, from_ulaw, to_alaw, to_ulaw};
use crate::kit::ua::Ua;
use crate::kit::{SOON, sound, until};
use crate::mailbox::at_the_beep;
use crate::retention::{MOMENT_DAYS, delete_by_phone, done, exported, names, wait_gone};

/// The window, a sweep, and the time of compaction.
const GONE: Duration = Duration::from_secs(90);
const MIB: u64 = 1 << 20;
/// Samples of a message that spans segments.
const LONG: usize = 5 << 20;
/// So many bytes are known again, and are in nothing else.
const PIECE: usize = 16;

/// Noise that is the same for the same seed and in no other.
pub fn noise(seed: u32, samples: usize) -> Vec<i16> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 17) as i16 / 2
    });
    next.take(samples).collect()
}

/// Every form in which these samples may lie somewhere: both laws, one made from the other, and plain.
fn forms(samples: &[i16]) -> Vec<Vec<u8>> {
    let with = |encode: &dyn Fn(i16) -> u8| samples.iter().map(|s| encode(*s)).collect();
    let plain = |decode: &dyn Fn(i16) -> i16| {
        let decoded = samples.iter().map(|s| decode(*s));
        decoded.flat_map(i16::to_le_bytes).collect()
    };
    vec![
        with(&to_ulaw),
        with(&to_alaw),
        with(&|s| to_alaw(from_ulaw(to_ulaw(s)))),
        with(&|s| to_ulaw(from_alaw(to_alaw(s)))),
        plain(&|s| s),
        plain(&|s| from_ulaw(to_ulaw(s))),
        plain(&|s| from_alaw(to_alaw(s))),
    ]
}

/// Pieces of samples, in every form.
pub struct Pieces(HashSet<[u8; PIECE]>);

impl Pieces {
    /// All there are.
    pub fn of(samples: &[i16]) -> Pieces {
        let forms = forms(samples);
        let pieces = forms.iter().flat_map(|form| form.chunks_exact(PIECE));
        Pieces(pieces.map(|p| p.try_into().unwrap()).collect())
    }

    /// How many lie in these files, anywhere.
    pub fn in_files(&self, files: &[PathBuf]) -> usize {
        let found = files.iter().map(|file| {
            let bytes = fs::read(file).unwrap_or_default();
            let windows = bytes.windows(PIECE);
            let is_one = |w: &&[u8]| self.0.contains(*w);
            windows.filter(is_one).count()
        });
        found.sum()
    }
}

/// All files in a folder and below.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = entries.flat_map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    files.collect()
}

fn bytes(dir: &Path) -> u64 {
    let files = files(dir).into_iter();
    files
        .map(|file| fs::metadata(file).map_or(0, |m| m.len()))
        .sum()
}

/// Leaves a message for 102 in this codec; the node keeps it as it comes.
pub fn leave(node: &Node, payload_type: u8, samples: &[i16]) {
    let before = names(node, "list", "102").len();
    let mut caller = Ua::gateway(node, "0123456");
    caller.formats = vec![payload_type];
    let mut call = at_the_beep(&mut caller);
    call.media.say(samples.to_vec());
    call.media.speak_frames(samples.len() as u64 / 160);
    caller.hang_up(&mut call);
    until("the message is there", SOON, || {
        (names(node, "list", "102").len() == before + 1).then_some(())
    });
}

pub fn import(node: &Node, extension: &str, samples: &[i16]) -> String {
    let file = node.data().with_extension("import.wav");
    sound::write_wav(&file, samples);
    let said = node.cli(&["mailbox", "import", extension, file.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.err);
    said.out.trim().to_owned()
}

#[test]
fn after_its_window_a_sound_is_nowhere_on_the_disk_and_its_neighbour_is_whole() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let mut node = Node::demo();
    node.configure(&format!(
        "[storage]\nsegment_mib = 4\ndestroy_within_h = 0.002\n\
         [voicemail]\nundelete_days = {MOMENT_DAYS}\nmessage_max_s = 3600\n"
    ));
    let (spoken_u, spoken_a) = (noise(1, 24_000), noise(2, 24_000));
    let (long, kept) = (noise(3, LONG), noise(4, 24_000));
    leave(&node, 0, &spoken_u);
    leave(&node, 8, &spoken_a);
    let neighbour = import(&node, "102", &kept);
    import(&node, "103", &long);
    let neighbour_before = exported(&node, "102", &neighbour);
    let backup = |node: &Node| {
        done(
            node,
            &["backup", place.to_str().unwrap(), "--keep", "1", "--verify"],
        );
    };
    backup(&node);

    let log = node.data().join("log");
    let destroyed = [&spoken_u, &spoken_a, &long].map(|samples| Pieces::of(samples));
    let kept = Pieces::of(&kept);
    let found = |files: &[PathBuf]| {
        destroyed
            .iter()
            .map(|p| p.in_files(files))
            .collect::<Vec<_>>()
    };
    let before = found(&files(&log));
    println!(
        "pieces in the log before: {before:?}, {} bytes",
        bytes(&log)
    );
    assert!(before[..2].iter().all(|n| *n >= 1_400), "{before:?}");
    assert!(before[2] >= LONG / PIECE * 9 / 10, "{before:?}");
    assert_eq!(found(&files(&place)), before);
    let bytes_before = bytes(&log);
    // What the files of now lie in stays to be looked at, also once they are removed.
    let linked = dir.path().join("linked");
    fs::create_dir(&linked).unwrap();
    for file in files(&log) {
        fs::hard_link(&file, linked.join(file.file_name().unwrap())).unwrap();
    }

    delete_by_phone(&node, "102");
    delete_by_phone(&node, "102");
    delete_by_phone(&node, "103");
    wait_gone(&node, "deleted", "102");
    wait_gone(&node, "deleted", "103");
    until("nothing of it is left in the log", GONE, || {
        (found(&files(&log)) == [0, 0, 0]).then_some(())
    });
    until("nothing of it is left where it lay", GONE, || {
        (found(&files(&linked)) == [0, 0, 0]).then_some(())
    });
    until("its space is returned", GONE, || {
        (bytes(&log) <= bytes_before - 8 * MIB).then_some(())
    });
    println!("the log after: {} bytes", bytes(&log));
    assert_eq!(exported(&node, "102", &neighbour), neighbour_before);
    assert!(kept.in_files(&files(&log)) >= 1_400);

    // Nor is it in what is backed up from now on; and nothing of it comes back by a restart.
    backup(&node);
    assert_eq!(found(&files(&place)), [0, 0, 0]);
    node.kill();
    node.start();
    assert_eq!(found(&files(node.data())), [0, 0, 0]);
    assert_eq!(names(&node, "list", "102"), [neighbour.as_str()]);
    assert!(names(&node, "deleted", "102").is_empty());
    assert_eq!(exported(&node, "102", &neighbour), neighbour_before);
    let said = node.cli(&["log", "verify"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let bare = dir.path().join("bare");
    let said = tandem(&[
        "restore",
        place.to_str().unwrap(),
        "--data",
        bare.to_str().unwrap(),
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(kept.in_files(&files(&bare)) >= 1_400);
}
