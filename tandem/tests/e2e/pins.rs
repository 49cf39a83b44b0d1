//! Guessing PINs does not pay, whatever happens to the node meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::kit::node::Node;
use crate::kit::ua::{Call, Ua};
use crate::kit::{SOON, until};
use crate::mailbox::{logged_in, registered};

/// Types three wrong PINs; comes back when the third was said to be wrong, with the moment before it
/// was typed.
fn guess(phone: &mut Ua) -> (Call, u128) {
    let call = phone.call("*97");
    call.media.hush();
    let (mut from, mut typed_ms) = (0, 0);
    for _ in 0..3 {
        from = call.media.wait_phrase(from, "vm/enter-pin", SOON);
        typed_ms = now_ms();
        call.media.press("9999#");
        from = call.media.wait_phrase(from, "vm/pin-incorrect", SOON);
    }
    (call, typed_ms)
}

fn now_ms() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is later than 1970").as_millis()
}

fn assert_locked(phone: &mut Ua) {
    let call = phone.call("*97");
    call.media.hush();
    call.media.wait_phrase(0, "vm/pin-locked", SOON);
    phone.wait_hang_up(&call);
}

/// What the log says of 102's pauses: the length of each in seconds, and when the last one ends in
/// milliseconds since 1970; 0: the right PIN came after it.
fn pauses(node: &Node) -> (Vec<u64>, u128) {
    let said = node.cli(&["log", "show", "--json"]);
    let (mut lengths, mut end) = (Vec::new(), 0);
    for line in said.out.lines() {
        let shown: Value = serde_json::from_str(line).expect("a line of JSON");
        let says = shown["says"].as_str().unwrap_or_default();
        if let Some(audit) = says.strip_prefix("audit ") {
            let audit: Value = serde_json::from_str(audit).expect("an entry in JSON");
            assert_eq!(audit["what"], "pin paused");
            lengths.push(audit["pause_s"].as_u64().expect("a length"));
        } else if says.starts_with("pin-pause/") {
            let pause = says.split_once(" = ").map(|(_, pause)| pause);
            let pause: Value = pause.map_or(Value::Null, |p| serde_json::from_str(p).unwrap());
            end = u128::from(pause["until"].as_u64().unwrap_or(0));
        }
    }
    (lengths, end)
}

#[test]
fn three_wrong_pins_and_the_mailbox_pauses() {
    let node = Node::demo();
    let mut phone = registered(&node);
    let (call, _) = guess(&mut phone);
    phone.wait_hang_up(&call);
    assert_locked(&mut phone);
    assert_eq!(pauses(&node).0, [60]);
}

#[test]
fn a_pause_outlives_the_node_grows_and_ends_with_the_right_pin() {
    const PAUSE_S: u64 = 8;
    let mut node = Node::demo();
    node.configure(&format!("[voicemail]\npin_pause_s = {PAUSE_S}\n"));
    let mut lengths = Vec::new();
    for length in [PAUSE_S, 2 * PAUSE_S] {
        let (_call, typed_ms) = guess(&mut registered(&node));
        // What was said is durable: pull the plug at once.
        node.kill();
        lengths.push(length);
        let (told, end_ms) = pauses(&node);
        assert_eq!(told, lengths);
        assert!(end_ms >= typed_ms + u128::from(length) * 1000);

        node.start();
        assert_eq!(node.metric("tandem_mailboxes_paused"), 1.0);
        assert_locked(&mut registered(&node));
        until(
            "PINs are taken again",
            Duration::from_secs(length) + SOON,
            || (node.metric("tandem_mailboxes_paused") == 0.0).then_some(()),
        );
        assert!(now_ms() >= end_ms, "{} ms too early", end_ms - now_ms());
    }

    let mut phone = registered(&node);
    let mut call = logged_in(&mut phone);
    call.media.wait_phrase(0, "vm/no-messages", SOON);
    phone.hang_up(&mut call);
    until("the log has forgiven", SOON, || {
        (pauses(&node).1 == 0).then_some(())
    });
    node.kill();
    node.start();
    guess(&mut registered(&node));
    lengths.push(PAUSE_S);
    assert_eq!(pauses(&node).0, lengths);
}
