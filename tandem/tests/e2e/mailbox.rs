//! Leaving messages and hearing them, with telephones that the test works by hand.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::kit::node::Node;
use crate::kit::sound::{self, RATE, counted_frames, is_tone};
use crate::kit::ua::{Call, Ua};
use crate::kit::{SOON, until};

/// Long enough for a greeting.
const GREETING: Duration = Duration::from_secs(25);

/// The messages of 102.
pub fn messages(node: &Node) -> Vec<Value> {
    let list = node.json(&["mailbox", "list", "102"]);
    list.as_array().expect("a list").clone()
}

/// Waits until 102 has `count` messages.
pub fn wait_messages(node: &Node, count: usize) -> Vec<Value> {
    until(&format!("there are {count} messages"), SOON, || {
        let messages = messages(node);
        (messages.len() == count).then_some(messages)
    })
}

/// A message's sound.
pub fn sound_of(node: &Node, message: &Value) -> Vec<i16> {
    let file: PathBuf = node.data().with_extension("wav");
    let id = message["id"].as_str().expect("an id");
    let said = node.cli(&[
        "mailbox",
        "export",
        "102",
        id,
        &file.display().to_string(),
        "--overwrite",
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    sound::read_wav(&file)
}

/// Dials 102's mailbox without ringing and speaks after the beep: the call is being recorded.
pub fn at_the_beep(caller: &mut Ua) -> Call {
    let call = caller.call("*102");
    call.media.hush();
    let greeted = call.media.wait_phrase(0, "vm/intro", GREETING);
    call.media.wait_beep(greeted);
    call
}

/// Counts `seconds` onto the tape.
fn count_for(call: &Call, seconds: u64) {
    call.media.count_up();
    call.media.speak_for(seconds);
}

/// 102 with its lamp.
pub fn registered(node: &Node) -> Ua {
    let mut phone = Ua::of(node, "102");
    phone.register();
    phone
}

/// Dials *97 and shows the PIN; gives the call and a mark behind what was said so far.
pub fn logged_in(phone: &mut Ua) -> Call {
    let call = phone.call("*97");
    call.media.hush();
    call.media.wait_phrase(0, "vm/enter-pin", SOON);
    call.media.press("1102#");
    call
}

#[test]
fn no_answer_a_message_the_lamp_and_hearing_it() {
    let node = Node::demo();
    let mut phone = registered(&node);
    phone.wait_lamp("Messages-Waiting: no");
    let mut caller = Ua::of(&node, "101");
    caller.register();

    // It rings out: 20 seconds, then the mailbox answers.
    let mut call = caller.dial("102");
    caller.answer_challenge(&mut call);
    let ringing = phone.wait_call();
    phone.ring(&ringing);
    assert_eq!(caller.wait_final(&mut call), 200);
    phone.wait_cancel(&ringing);
    call.media.hush();
    call.media.wait_phrase(0, "vm/is-not-available", GREETING);
    let greeted = call.media.wait_phrase(0, "vm/intro", GREETING);
    call.media.wait_beep(greeted);
    count_for(&call, 4);
    caller.hang_up(&mut call);

    // It is there, whole, with who and how long.
    let message = wait_messages(&node, 1).remove(0);
    assert_eq!(message["from"]["number"], "101", "{message}");
    let frames = counted_frames(&sound_of(&node, &message));
    let gapless = frames.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert!(gapless && frames.len() >= 190, "{frames:?}");
    let milliseconds = message["length_ms"].as_u64().expect("a length");
    assert!((3_800..6_000).contains(&milliseconds), "{message}");

    // The lamp is lit; the message is heard, and only then the lamp goes out.
    phone.wait_lamp("Messages-Waiting: yes");
    phone.wait_lamp("Voice-Message: 1/0");
    let mut call = logged_in(&mut phone);
    call.media.wait_phrase(0, "vm/you-have", SOON);
    call.media.wait_phrase(0, "vm/new", SOON);
    let from = call.media.mark();
    call.media.press("1");
    call.media.wait_counted(from, 190);
    phone.wait_lamp("Voice-Message: 0/1");
    phone.wait_lamp("Messages-Waiting: no");

    // 7 deletes it, once that is durable.
    let from = call.media.mark();
    call.media.press("7");
    call.media.wait_phrase(from, "vm/deleted", SOON);
    phone.wait_lamp("Voice-Message: 0/0");
    let from = call.media.mark();
    call.media.press("7");
    call.media.wait_phrase(from, "vm/undeleted", SOON);
    phone.wait_lamp("Voice-Message: 0/1");
    phone.hang_up(&mut call);
}

#[test]
fn busy_declined_and_nobody_there_lead_to_the_mailbox() {
    let node = Node::demo();
    let mut caller = Ua::of(&node, "101");
    caller.register();
    for (status, phrase) in [
        (486, "vm/is-on-the-phone"),
        (603, "vm/is-not-available"),
        (480, "vm/is-not-available"),
    ] {
        let mut phone = registered(&node);
        let mut call = caller.dial("102");
        caller.answer_challenge(&mut call);
        let ringing = phone.wait_call();
        phone.refuse(&ringing, status);
        assert_eq!(caller.wait_final(&mut call), 200, "{status}");
        call.media.hush();
        call.media.wait_phrase(0, phrase, GREETING);
        caller.hang_up(&mut call);
        phone.register_for(0);
    }
    let mut call = caller.call("102");
    call.media.hush();
    call.media.wait_phrase(0, "vm/is-not-available", GREETING);
    caller.hang_up(&mut call);
    assert!(messages(&node).is_empty());
}

#[test]
fn after_pound_one_can_listen_speak_again_mark_urgent_and_keep() {
    let node = Node::demo();
    let mut phone = registered(&node);
    let mut caller = Ua::gateway(&node, "0123456");
    let mut call = at_the_beep(&mut caller);
    call.media.hum(500.0, -20.0);
    call.media.speak_for(3);
    call.media.hush();
    let from = call.media.mark();
    call.media.press("#");
    call.media.wait_phrase(from, "vm/review", SOON);

    let from = call.media.mark();
    call.media.press("2");
    call.media.wait_tone(from, 500.0);
    let from = call.media.mark();
    call.media.press("3");
    call.media.wait_beep(from);
    call.media.hum(800.0, -20.0);
    call.media.speak_for(3);
    call.media.hush();
    let from = call.media.mark();
    call.media.press("#");
    call.media.wait_phrase(from, "vm/review", SOON);
    let from = call.media.mark();
    call.media.press("4");
    call.media.wait_phrase(from, "vm/marked-urgent", SOON);
    let from = call.media.mark();
    call.media.press("1");
    call.media.wait_phrase(from, "vm/message-saved", SOON);
    // "Saved" was said, so it is: pull the plug at once.
    let messages = messages(&node);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0]["urgent"], true);
    let samples = sound_of(&node, &messages[0]);
    let middle = &samples[RATE..2 * RATE];
    assert!(is_tone(middle, 800.0), "the second take was kept");
    phone.wait_lamp("Voice-Message: 1/0 (1/0)");
    caller.hang_up_or_be_hung_up(&mut call);
}

#[test]
fn what_is_too_short_is_not_kept_and_counted() {
    let node = Node::demo();
    let mut caller = Ua::gateway(&node, "0123456");
    let mut call = at_the_beep(&mut caller);
    call.media.hum(500.0, -20.0);
    // A key pressed while the last of the beep is on its way would only beep again.
    call.media.speak_frames(15);
    let from = call.media.mark();
    call.media.press("#");
    call.media.wait_phrase(from, "vm/too-short", SOON);
    caller.hang_up_or_be_hung_up(&mut call);
    assert!(messages(&node).is_empty());
    assert_eq!(node.metric("tandem_pbx_deposits_too_short_total"), 1.0);
}

#[test]
fn five_seconds_of_silence_end_a_message() {
    let node = Node::demo();
    let mut caller = Ua::gateway(&node, "0123456");
    let mut call = at_the_beep(&mut caller);
    count_for(&call, 3);
    call.media.hush();
    let from = call.media.mark();
    call.media
        .wait_phrase(from, "vm/review", Duration::from_secs(20));
    caller.hang_up(&mut call);
    let message = wait_messages(&node, 1).remove(0);
    let frames = counted_frames(&sound_of(&node, &message));
    assert!(frames.len() >= 145, "{frames:?}: {message}");
}

#[test]
fn two_people_leave_messages_at_once() {
    let node = Node::demo();
    let mut callers = ["0111", "0222"].map(|number| Ua::gateway(&node, number));
    let mut calls: Vec<Call> = callers
        .iter_mut()
        .map(|caller| caller.call("*102"))
        .collect();
    for call in &calls {
        call.media.hush();
        call.media.wait_beep(0);
    }
    for (call, hz) in calls.iter().zip([500.0, 900.0]) {
        call.media.hum(hz, -20.0);
    }
    calls[1].media.speak_for(4);
    for (caller, call) in callers.iter_mut().zip(&mut calls) {
        caller.hang_up(call);
    }
    let messages = wait_messages(&node, 2);
    assert_ne!(messages[0]["id"], messages[1]["id"]);
    let sounds = messages.iter().map(|message| sound_of(&node, message));
    let tones: Vec<f64> = sounds
        .map(|s| {
            [500.0, 900.0]
                .into_iter()
                .find(|hz| is_tone(&s[RATE..2 * RATE], *hz))
        })
        .map(|hz| hz.expect("one of the two, unmixed"))
        .collect();
    assert_ne!(tones[0], tones[1]);
}

#[test]
fn the_lamp_is_right_after_a_restart_and_for_those_who_subscribe() {
    let mut node = Node::demo();
    let mut caller = Ua::gateway(&node, "0123456");
    let mut call = at_the_beep(&mut caller);
    count_for(&call, 3);
    caller.hang_up(&mut call);
    wait_messages(&node, 1);

    node.ask_to_end();
    assert!(node.ended(SOON).success());
    node.start();
    let mut phone = registered(&node);
    phone.wait_lamp("Voice-Message: 1/0");
    phone.notifies.clear();
    phone.register();
    let response = phone.subscribe_lamp("102", 600);
    assert!(matches!(response.status(), Some(200 | 202)), "{response:?}");
    phone.wait_lamp("Messages-Waiting: yes");
    let notify = phone.notifies.last().unwrap();
    assert_eq!(
        notify.header("Event").split(';').next(),
        Some("message-summary")
    );
    assert!(
        notify.body.contains("Message-Account: sip:102@"),
        "{}",
        notify.body
    );
    phone.wait_lamp("Voice-Message: 1/0");

    // Nobody else may watch.
    let mut other = Ua::of(&node, "103");
    other.register();
    let response = other.subscribe_lamp("102", 600);
    assert!(
        response.status() >= Some(400),
        "{response:?} {:?}",
        other.notifies
    );
}

#[test]
fn keys_in_signalling_work_as_well() {
    let node = Node::demo();
    let said = node.cli(&["mailbox", "import", "102", &test_message(&node)]);
    assert_eq!(said.code, 0, "{}", said.err);
    let mut phone = registered(&node);
    let mut call = phone.call("*98102");
    call.media.hush();
    call.media.wait_phrase(0, "vm/enter-pin", SOON);
    for key in "1102#".chars() {
        phone.press_info(&mut call, key);
    }
    call.media.wait_phrase(0, "vm/you-have", SOON);
    let from = call.media.mark();
    phone.press_info(&mut call, '1');
    call.media.wait_tone(from, 620.0);
    phone.hang_up(&mut call);
}

/// A WAV file with six seconds of 620 Hz.
fn test_message(node: &Node) -> String {
    let file = node.data().with_extension("test.wav");
    sound::write_wav(&file, &sound::sine(620.0, -20.0, 6 * RATE));
    file.display().to_string()
}

#[test]
fn a_sound_brought_in_and_out_stays_the_same() {
    let node = Node::demo();
    let mut phone = registered(&node);
    let said = node.cli(&["mailbox", "import", "102", &test_message(&node)]);
    assert_eq!(said.code, 0, "{}", said.err);
    let message = wait_messages(&node, 1).remove(0);
    phone.wait_lamp("Voice-Message: 1/0");
    let samples = sound_of(&node, &message);
    assert!(samples.len().abs_diff(6 * RATE) < 200, "{}", samples.len());
    assert!(is_tone(&samples[400..samples.len() - 400], 620.0));
    assert!((sound::tone_db(&samples, 620.0) + 20.0).abs() < 0.5);
}

#[test]
fn ones_own_greeting_is_heard_by_callers() {
    let node = Node::demo();
    let mut phone = registered(&node);
    let mut call = logged_in(&mut phone);
    call.media.wait_phrase(0, "vm/main-menu", GREETING);
    let from = call.media.mark();
    call.media.press("0");
    call.media.wait_phrase(from, "vm/options-menu", SOON);
    let from = call.media.mark();
    call.media.press("1");
    call.media.wait_beep(from);
    call.media.hum(720.0, -20.0);
    call.media.speak_for(4);
    call.media.hush();
    let from = call.media.mark();
    call.media.press("#");
    call.media.wait_phrase(from, "vm/greeting-review", SOON);
    let from = call.media.mark();
    call.media.press("1");
    call.media.wait_phrase(from, "vm/greeting-recorded", SOON);
    phone.hang_up(&mut call);

    let mut caller = Ua::gateway(&node, "0123456");
    let mut call = caller.call("*102");
    call.media.hush();
    call.media.wait_tone(0, 720.0);
    // Pound skips the rest.
    let from = call.media.mark();
    call.media.press("#");
    call.media.wait_beep(from);
    caller.hang_up(&mut call);
}
