//! Calls are recorded: each party a track, proven whole; and what a pulled plug leaves of one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::calls::{assert_idle, connected, pair};
use crate::kit::node::Node;
use crate::kit::rtp::hear;
use crate::kit::sound::{RATE, counted_frames, is_tone, tone_db};
use crate::kit::ua::Call;
use crate::kit::{SOON, until};

/// The pitch by which recording is known.
const BEEP_HZ: f64 = 1400.0;

fn recordings(node: &Node) -> Vec<Value> {
    node.json(&["recording", "list"])
        .as_array()
        .unwrap()
        .clone()
}

/// The one recording there is, once it is in this state.
fn wait_recording(node: &Node, state: &str) -> Value {
    until(&format!("a recording is {state}"), SOON, || {
        let there = recordings(node);
        assert!(there.len() < 2, "{there:?}");
        there.into_iter().find(|one| one["state"] == state)
    })
}

fn id_of(recording: &Value) -> &str {
    recording["id"].as_str().unwrap()
}

/// The channels of a WAV file.
fn channels(file: &Path) -> Vec<Vec<i16>> {
    let mut wav = hound::WavReader::open(file).unwrap();
    assert_eq!(wav.spec().sample_rate as usize, RATE);
    let count = usize::from(wav.spec().channels);
    let all: Vec<i16> = wav.samples::<i16>().map(Result::unwrap).collect();
    let one = |n| all.iter().skip(n).step_by(count).copied().collect();
    (0..count).map(one).collect()
}

fn export(node: &Node, id: &str, more: &[&str]) -> PathBuf {
    let file = node.data().with_extension("recording.wav");
    let name = file.to_str().unwrap();
    let said = node.cli(&[&["recording", "export", id, name, "--overwrite"], more].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    file
}

/// Waits until a phone has heard the tone, which is short.
fn wait_beep(call: &Call, from: usize) {
    until("the tone is heard", SOON, || {
        let samples = hear(&call.media.heard(from)).samples;
        let mut pieces = samples.windows(480).step_by(80);
        pieces.any(|piece| is_tone(piece, BEEP_HZ)).then_some(())
    });
}

/// Waits until this many milliseconds have been written of it.
fn wait_length(node: &Node, ms: u64) {
    until("it is long enough", SOON, || {
        let there = recordings(node);
        let length = there.first()?["length_ms"].as_u64()?;
        (length >= ms).then_some(())
    });
}

#[test]
fn a_call_is_recorded_with_keys_paused_proven_whole_exported_and_deleted() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    ours.media.hum(1000.0, -20.0);
    theirs.media.hum(440.0, -20.0);
    theirs.media.wait_tone(0, 1000.0);
    let marks = [ours.media.mark(), theirs.media.mark()];
    ours.media.press("*3");
    wait_beep(&ours, marks[0]);
    wait_beep(&theirs, marks[1]);
    let begun = wait_recording(&node, "recording");
    assert_eq!(
        (&begun["why"], &begun["by"]),
        (&"asked".into(), &"101".into())
    );
    wait_length(&node, 3000);
    // It is paused, which both hear, and goes on.
    let mark = theirs.media.mark();
    ours.media.press("*3");
    wait_beep(&theirs, mark);
    std::thread::sleep(Duration::from_millis(2500));
    let mark = theirs.media.mark();
    ours.media.press("*3");
    wait_beep(&theirs, mark);
    wait_length(&node, 8500);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    let ended = wait_recording(&node, "ended");
    let id = id_of(&ended);

    let said = node.cli(&["recording", "verify", id]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.starts_with("whole\n"), "{}", said.out);
    assert!(said.out.contains(": paused"), "{}", said.out);
    let verified = node.json(&["recording", "verify", id]);
    assert_eq!(verified["sha256"], ended["sha256"]);
    for track in ended["tracks"].as_array().unwrap() {
        let packets = &track["packets"];
        assert_eq!(packets["concealed"], 0, "{ended}");
        assert_eq!(packets["come"], packets["expected"], "{ended}");
    }

    let both = channels(&export(&node, id, &[]));
    let [left, right] = &both[..] else {
        panic!("{} channels", both.len());
    };
    let second = RATE..2 * RATE;
    for (side, own, other) in [(left, 1000.0, 440.0), (right, 440.0, 1000.0)] {
        let heard = &side[second.clone()];
        let (own, other) = (tone_db(heard, own), tone_db(heard, other));
        assert!((own + 20.0).abs() < 0.5, "{own}");
        assert!(other < -60.0, "{other}");
        // The tone that both heard is in neither.
        assert!(tone_db(&side[..RATE / 2], BEEP_HZ) < -50.0);
    }
    // While it was paused there is silence on both.
    let quiet = (0..left.len() / 800).filter(|n| {
        let piece = |side: &[i16]| side[n * 800..(n + 1) * 800].iter().all(|s| s.abs() < 16);
        piece(left) && piece(right)
    });
    assert!(quiet.count() >= 20, "two seconds of silence at least");

    let file = export(&node, id, &["--tracks"]);
    let stem = file.file_stem().unwrap().to_str().unwrap();
    for (number, hz) in [(1, 1000.0), (2, 440.0)] {
        let track = channels(&file.with_file_name(format!("{stem}-{number}.wav")));
        assert_eq!(track.len(), 1);
        assert!((tone_db(&track[0][second.clone()], hz) + 20.0).abs() < 0.5);
    }
    assert!((node.metric("tandem_pbx_recordings_wanted_total") - 1.0).abs() < 0.1);
    assert!((node.metric("tandem_pbx_recordings_begun_total") - 1.0).abs() < 0.1);

    let said = node.cli(&["recording", "delete", id]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(recordings(&node), Vec::<Value>::new());
    let said = node.cli(&["recording", "show", id]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.err.contains("there is no recording"), "{}", said.err);
    assert_idle(&node);
}

#[test]
fn who_is_always_recorded_is_and_who_is_never_recorded_is_not() {
    let node = Node::demo();
    let set = |user: &str, wish: &str| {
        let said = node.cli(&["user", "set", user, &format!("record={wish}")]);
        assert_eq!(said.code, 0, "{}", said.err);
    };
    set("102", "always");
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    let begun = wait_recording(&node, "recording");
    assert_eq!(begun["why"], "policy");
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    wait_recording(&node, "ended");
    set("101", "never");
    let users = node.json(&["user", "list"]);
    assert_eq!(users[0]["record"], "never", "{users}");
    let (mut ours, theirs) = connected(&mut a, &mut b);
    let from = ours.media.mark();
    ours.media.press("*3");
    ours.media.wait_phrase(from, "codes/could-not", SOON);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    assert_eq!(recordings(&node).len(), 1);
    let said = node.cli(&["user", "set", "101", "record=sometimes"]);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("never, on-demand or always"),
        "{}",
        said.err
    );
}

#[test]
fn the_plug_is_pulled_while_a_call_is_recorded_and_what_was_said_is_there() {
    let mut node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (ours, theirs) = connected(&mut a, &mut b);
    theirs.media.hum(440.0, -20.0);
    ours.media.hum(1000.0, -20.0);
    theirs.media.wait_tone(0, 1000.0);
    let from = ours.media.mark();
    ours.media.press("*3");
    wait_beep(&ours, from);
    ours.media.count_up();
    wait_length(&node, 4000);
    let pulled = Instant::now();
    node.kill();
    node.start();

    let cut = wait_recording(&node, "cut short");
    let id = id_of(&cut);
    let said = node.cli(&["recording", "verify", id]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(
        said.out.contains("cut short: the node stopped"),
        "{}",
        said.out
    );
    let both = channels(&export(&node, id, &[]));
    let frames = counted_frames(&both[0]);
    let there = frames.last().map_or(0, |last| usize::from(*last) + 1);
    // A second, and the time that two commits may take.
    let due = ours.media.counted_by(pulled - Duration::from_millis(1500));
    assert!(there >= due && due > 50, "{there} of {due}");
    assert!(frames.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert!((tone_db(&both[1][RATE..2 * RATE], 440.0) + 20.0).abs() < 0.5);
    assert_idle(&node);
}
