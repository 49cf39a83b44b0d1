//! A log that was harmed, with the program around it: people leave messages, the plug is pulled, the
//! files are damaged, the program starts on what is left.
//!
//! What was hit is known from `log show` before the harm. From it follows, message by message and
//! sample by sample, what must still be there ([`expected`]): all that was not hit, and nothing else
//! is lost. The program says what is wrong to whoever asks (`log verify`, the metrics) and to whoever
//! does not (its log lines), and takes messages as before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bad_days::speaking;
use crate::kit::node::Node;
use crate::kit::sound::{self, RATE, counted_frames, from_ulaw};
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};
use crate::mailbox::{messages, sound_of, wait_messages};

/// The log is written in pages of this many bytes.
const PAGE_BYTES: u64 = 4096;
/// Where in a chunk's record the samples begin.
const SAMPLES_AT: u64 = 96;

/// A record, as `log show` tells it.
struct Piece {
    segment: u64,
    offset: u64,
    bytes: u64,
    kind: String,
    says: String,
}

/// A stretch of a segment that was harmed.
struct Hit {
    segment: u64,
    bytes: Range<u64>,
}

/// What the program should make of the harm.
#[derive(PartialEq)]
enum Means {
    /// What was hit had been confirmed: it is damage, and told as such.
    Damage,
    /// What was hit was being written when the plug was pulled: nobody was promised anything.
    Torn,
}

/// A message, as far as the log has it.
#[derive(Debug, PartialEq)]
struct Kept {
    cut_short: bool,
    /// A piece of what was sealed is not there.
    incomplete: bool,
    samples: Vec<i16>,
}

impl Piece {
    fn is_hit(&self, hits: &[Hit]) -> bool {
        let end = self.offset + self.bytes;
        hits.iter().any(|hit| {
            hit.segment == self.segment && self.offset < hit.bytes.end && hit.bytes.start < end
        })
    }

    /// The sound it belongs to.
    fn sound(&self) -> &str {
        self.says.split(' ').next().unwrap_or_default()
    }

    /// The page it begins in.
    fn page(&self) -> Hit {
        let start = self.offset / PAGE_BYTES * PAGE_BYTES;
        Hit {
            segment: self.segment,
            bytes: start..start + PAGE_BYTES,
        }
    }
}

fn file_name(segment: u64) -> String {
    format!("segment-{segment:08}.log")
}

fn file(node: &Node, segment: u64) -> PathBuf {
    node.data().join("log").join(file_name(segment))
}

/// All records of the log, in order.
fn pieces(node: &Node) -> Vec<Piece> {
    let said = node.cli(&["log", "show", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let piece = |line: &str| {
        let shown: Value = serde_json::from_str(line).expect("a line of JSON");
        let number = |key: &str| shown[key].as_u64().expect("a number");
        let text = |key: &str| shown[key].as_str().expect("a text").to_string();
        Piece {
            segment: number("segment"),
            offset: number("offset"),
            bytes: number("bytes"),
            kind: text("kind"),
            says: text("says"),
        }
    };
    said.out.lines().map(piece).collect()
}

/// The samples of a chunk, read past the program.
fn samples_of(node: &Node, chunk: &Piece) -> Vec<i16> {
    let mut bytes = vec![0; (chunk.bytes - SAMPLES_AT) as usize];
    let file = std::fs::File::open(file(node, chunk.segment)).unwrap();
    file.read_exact_at(&mut bytes, chunk.offset + SAMPLES_AT)
        .unwrap();
    bytes.into_iter().map(from_ulaw).collect()
}

/// The messages there must be with these stretches gone: one whose beginning was hit cannot be known
/// any more; of the others every chunk that was not hit; where the seal is not there, cut short; where it
/// is and a chunk is not, incomplete.
fn expected(node: &Node, pieces: &[Piece], hits: &[Hit]) -> BTreeMap<String, Kept> {
    let mut messages: BTreeMap<String, Kept> = BTreeMap::new();
    let lost_pieces = pieces
        .iter()
        .filter(|piece| piece.kind == "chunk" && piece.is_hit(hits));
    let lost: BTreeSet<&str> = lost_pieces.map(Piece::sound).collect();
    for piece in pieces.iter().filter(|piece| !piece.is_hit(hits)) {
        let id = piece.sound();
        match piece.kind.as_str() {
            "begin" => {
                assert!(piece.says.contains("Pcmu"), "{}", piece.says);
                let kept = Kept {
                    cut_short: true,
                    incomplete: false,
                    samples: Vec::new(),
                };
                messages.insert(id.to_string(), kept);
            }
            "chunk" => {
                if let Some(message) = messages.get_mut(id) {
                    message.samples.extend(samples_of(node, piece));
                }
            }
            "seal" => {
                if let Some(message) = messages.get_mut(id) {
                    message.cut_short = piece.says.split(' ').nth(1) != Some("Whole");
                    message.incomplete = lost.contains(id);
                }
            }
            _ => {}
        }
    }
    messages
}

/// The messages there are.
fn there(node: &Node) -> BTreeMap<String, Kept> {
    let kept = |message: &Value| Kept {
        cut_short: message["cut_short"] == true,
        incomplete: message["incomplete"] == true,
        samples: sound_of(node, message),
    };
    let id = |message: &Value| message["id"].as_str().expect("an id").to_string();
    let messages = messages(node);
    messages.iter().map(|m| (id(m), kept(m))).collect()
}

fn assert_same(there: &BTreeMap<String, Kept>, expected: &BTreeMap<String, Kept>) {
    let shape = |messages: &BTreeMap<String, Kept>| -> Vec<String> {
        let one = |(id, kept): (&String, &Kept)| {
            let (samples, cut_short) = (kept.samples.len(), kept.cut_short);
            format!("{id}: {samples} samples, {cut_short}, {}", kept.incomplete)
        };
        messages.iter().map(one).collect()
    };
    assert_eq!(shape(there), shape(expected));
    assert!(there == expected, "same lengths, other samples");
}

/// A caller leaves 102 a message of three seconds.
fn leave_message(node: &Node) {
    let count = messages(node).len();
    let mut caller = Ua::gateway(node, "0999");
    let mut call = speaking(&mut caller);
    call.media.speak_for(3);
    caller.hang_up(&mut call);
    wait_messages(node, count + 1);
}

/// Pulls the plug, harms the log where `aim` says, and holds the program to its promises: before it
/// is started, once it is, after a further message, and after a further start.
fn survives(
    node: &mut Node,
    means: &Means,
    aim: impl FnOnce(&[Piece]) -> Vec<Hit>,
    harm: impl Fn(&Path, &Hit),
) {
    assert_eq!(node.metric("tandem_log_damages"), 0.0);
    let before = there(node);
    node.kill();
    let pieces = pieces(node);
    let whole = expected(node, &pieces, &[]);
    for (id, kept) in &before {
        assert!(whole.get(id) == Some(kept), "{id} is not what the log has");
    }
    let hits = aim(&pieces);
    let mut left = expected(node, &pieces, &hits);
    assert!(!left.is_empty() && left != whole, "the harm hits something");
    for hit in &hits {
        harm(&file(node, hit.segment), hit);
    }
    let lost = match means {
        Means::Damage => pieces.iter().filter(|piece| piece.is_hit(&hits)).count(),
        Means::Torn => 0,
    };
    told_by_verify(node, means, &hits, lost);

    node.start();
    told_while_running(node, means, &hits, lost);
    assert_same(&there(node), &left);
    leave_message(node);
    let mut now = there(node);
    let new: Vec<String> = now
        .keys()
        .filter(|id| !left.contains_key(*id))
        .cloned()
        .collect();
    let [new] = &new[..] else {
        panic!("one new message, not {new:?}");
    };
    let frames = counted_frames(&now[new].samples);
    let gapless = frames.windows(2).all(|two| two[1] == two[0] + 1);
    assert!(gapless && frames.len() >= 145, "{frames:?}");
    left.insert(new.clone(), now.remove(new).expect("the new message"));

    node.kill();
    node.start();
    assert_same(&there(node), &left);
    told_by_verify(node, means, &hits, lost);
}

/// `log verify` names what was hit, and counts what was lost.
fn told_by_verify(node: &Node, means: &Means, hits: &[Hit], lost: usize) {
    let said = node.cli(&["log", "verify", "--json"]);
    let report: Value = serde_json::from_str(&said.out).expect("a report");
    assert_eq!(report["records_lost"], lost, "{report}");
    match means {
        Means::Damage => {
            assert_eq!(said.code, 1, "{report}");
            let damages = report["damages"].to_string();
            for hit in hits {
                assert!(damages.contains(&file_name(hit.segment)), "{report}");
            }
            let words = node.cli(&["log", "verify"]);
            assert!(words.out.contains("damaged: segment-"), "{words:?}");
            assert!(
                words.err.contains("everything else can be read"),
                "{words:?}"
            );
        }
        Means::Torn => {
            assert_eq!(
                (said.code, &report["clean"]),
                (0, &Value::Bool(true)),
                "{report}"
            );
            assert_eq!(report["torn"], 1, "{report}");
        }
    }
}

/// So do the metrics, and the log lines of the start.
fn told_while_running(node: &Node, means: &Means, hits: &[Hit], lost: usize) {
    assert_eq!(node.metric("tandem_log_records_lost"), lost as f64);
    let damages = node.metric("tandem_log_damages");
    let line = |words: &[&str]| {
        until(&format!("a line says {words:?}"), SOON, || {
            let text = node.log_text();
            let mut lines = text.lines();
            lines
                .any(|line| words.iter().all(|word| line.contains(word)))
                .then_some(())
        });
    };
    match means {
        Means::Damage => {
            assert!(damages >= 1.0);
            for hit in hits {
                line(&["ERROR", "the log is damaged here", &file_name(hit.segment)]);
            }
            line(&[
                "ERROR",
                "the log is damaged",
                &format!("records_lost={lost}"),
            ]);
        }
        Means::Torn => {
            assert_eq!((damages, node.metric("tandem_log_torn")), (0.0, 1.0));
            line(&["the log was read", "torn=1", "cut_short=1"]);
        }
    }
}

/// Overwrites a part of a file.
fn write(file: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn zero(file: &Path, hit: &Hit) {
    let bytes = hit.bytes.end - hit.bytes.start;
    write(file, hit.bytes.start, &vec![0; bytes as usize]);
}

/// The chunk in the middle of the `n`th sound.
fn middle_chunk(pieces: &[Piece], n: usize) -> &Piece {
    let sound = nth(pieces, "begin", n).sound();
    let chunks: Vec<&Piece> = pieces
        .iter()
        .filter(|piece| piece.kind == "chunk" && piece.sound() == sound)
        .collect();
    chunks[chunks.len() / 2]
}

fn nth<'a>(pieces: &'a [Piece], kind: &str, n: usize) -> &'a Piece {
    let mut those = pieces.iter().filter(|piece| piece.kind == kind);
    those.nth(n).expect("so many there are")
}

#[test]
fn a_flipped_bit_costs_half_a_second_of_one_message() {
    let mut node = Node::demo();
    (0..2).for_each(|_| leave_message(&node));
    let aim = |pieces: &[Piece]| {
        let chunk = middle_chunk(pieces, 0);
        let at = chunk.offset + chunk.bytes / 2;
        vec![Hit {
            segment: chunk.segment,
            bytes: at..at + 1,
        }]
    };
    survives(&mut node, &Means::Damage, aim, |file, hit| {
        let mut byte = [0];
        let at = hit.bytes.start;
        let segment = std::fs::File::open(file).unwrap();
        segment.read_exact_at(&mut byte, at).unwrap();
        write(file, at, &[byte[0] ^ 0x10]);
    });
}

/// One page held half a second of a message, another the end of a second message.
#[test]
fn pages_of_zeros_cost_what_was_in_them() {
    let mut node = Node::demo();
    (0..4).for_each(|_| leave_message(&node));
    let aim = |pieces: &[Piece]| {
        vec![
            middle_chunk(pieces, 1).page(),
            nth(pieces, "seal", 2).page(),
        ]
    };
    survives(&mut node, &Means::Damage, aim, zero);
}

#[test]
fn a_record_torn_at_the_end_costs_what_was_being_written() {
    let mut node = Node::demo();
    leave_message(&node);
    let mut caller = Ua::gateway(&node, "0998");
    let call = speaking(&mut caller);
    call.media.speak_for(4);
    // The disk had written the first half of the last record.
    let aim = |pieces: &[Piece]| {
        let last = pieces.last().expect("there are records");
        assert_eq!(last.kind, "chunk");
        let end = last.offset + last.bytes;
        vec![Hit {
            segment: last.segment,
            bytes: end - last.bytes / 2..end,
        }]
    };
    survives(&mut node, &Means::Torn, aim, zero);
}

#[test]
fn a_missing_segment_costs_what_was_in_it() {
    let mut node = Node::demo();
    node.configure("[storage]\nsegment_mib = 4\n");
    node.ask_to_end();
    assert!(node.ended(SOON).success());
    // Those there are were made by the demo; but for the first page or two they are free.
    for segment in [1, 2] {
        let file = OpenOptions::new().write(true).open(file(&node, segment));
        file.unwrap().set_len(4 << 20).unwrap();
    }
    node.start();
    leave_message(&node);
    fill_up_to(&node, 2);
    leave_message(&node);
    fill_up_to(&node, 3);
    leave_message(&node);
    let aim = |pieces: &[Piece]| {
        assert_eq!(pieces.last().map(|last| last.segment), Some(3));
        vec![Hit {
            segment: 2,
            bytes: 0..u64::MAX,
        }]
    };
    survives(&mut node, &Means::Damage, aim, |file, _| {
        std::fs::remove_file(file).unwrap();
    });
}

/// Brings in long messages until the log has come to this segment.
fn fill_up_to(node: &Node, segment: u64) {
    let file = node.data().with_extension("long.wav");
    sound::write_wav(&file, &sound::sine(620.0, -20.0, 170 * RATE));
    let file = file.display().to_string();
    for _ in 0..10 {
        if pieces(node)
            .last()
            .is_some_and(|last| last.segment >= segment)
        {
            return;
        }
        let said = node.cli(&["mailbox", "import", "102", &file]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    panic!("the log does not come to segment {segment}");
}
