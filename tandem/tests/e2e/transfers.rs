//! Calls that move from phone to phone: transfer, taking over, parking, picking up.

use crate::calls::{assert_both_hear, assert_idle, connected, pair, ring_through};
use crate::kit::SOON;
use crate::kit::node::Node;
use crate::kit::rtp::hear;
use crate::kit::sound::level_db;
use crate::kit::ua::{Call, Ua};

/// The third phone.
fn third(node: &Node) -> Ua {
    let mut c = Ua::of(node, "103");
    c.register();
    c
}

fn address(node: &Node, extension: &str) -> String {
    format!("<sip:{extension}@{}>", node.setup.ip)
}

/// Percent-encoded, as it stands in a URI's header.
fn escaped(value: &str) -> String {
    value
        .replace('@', "%40")
        .replace(';', "%3B")
        .replace('=', "%3D")
}

/// Nothing but silence has come since then.
fn assert_silence(call: &Call, since: usize) {
    // The first were on their way already.
    let packets = call.media.heard(since).split_off(10);
    let level = level_db(&hear(&packets).samples);
    assert!(level < -60.0, "heard at {level} dB");
}

#[test]
fn a_blind_transfer_connects_the_caller_with_the_third_phone() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut c = third(&node);
    let (ours, mut theirs) = connected(&mut a, &mut b);
    assert_both_hear(&ours, &theirs);
    b.refer(&mut theirs, &address(&node, "103"));
    let mut at_third = c.wait_call();
    c.ring(&at_third);
    // The caller hears that it rings.
    ours.media.wait_tone(ours.media.mark(), 425.0);
    c.answer(&mut at_third);
    b.wait_referred(200);
    b.hang_up(&mut theirs);
    assert_both_hear(&ours, &at_third);
    c.hang_up(&mut at_third);
    a.wait_hang_up(&ours);
    ours.media.mute();
    assert_idle(&node);
}

#[test]
fn a_transferor_that_stays_hears_nothing_of_it_and_is_hung_up() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut c = third(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    a.refer(&mut ours, &address(&node, "103"));
    let mut at_third = c.wait_call();
    c.answer(&mut at_third);
    a.wait_referred(200);
    let since = ours.media.mark();
    assert_both_hear(&theirs, &at_third);
    a.wait_hang_up(&ours);
    assert_silence(&ours, since);
    c.hang_up(&mut at_third);
    b.wait_hang_up(&theirs);
    assert_idle(&node);
}

#[test]
fn a_transfer_that_fails_leaves_both_talking() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, mut theirs) = connected(&mut a, &mut b);
    b.refer(&mut theirs, &address(&node, "199"));
    b.wait_referred(404);
    assert_both_hear(&ours, &theirs);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn an_attended_transfer_connects_the_two_whom_the_transferor_spoke_with() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut c = third(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    assert_eq!(a.reinvite(&mut ours, "sendonly"), 200);
    let mut second = a.dial("103");
    let mut at_third = ring_through(&mut a, &mut c, &mut second);
    c.answer(&mut at_third);
    assert_eq!(a.wait_final(&mut second), 200);
    assert_both_hear(&second, &at_third);
    let named = escaped(&second.replaces());
    let to = format!("<sip:103@{}?Replaces={named}>", node.setup.ip);
    a.refer(&mut ours, &to);
    a.wait_referred(200);
    a.wait_hang_up(&second);
    a.hang_up(&mut ours);
    assert_both_hear(&theirs, &at_third);
    c.hang_up(&mut at_third);
    b.wait_hang_up(&theirs);
    assert_idle(&node);
}

#[test]
fn another_phone_of_the_same_user_takes_the_call_over() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    let mut home = Ua::of(&node, "102");
    home.register();
    let mut at_home = home.dial_over("102", &theirs.replaces());
    assert_eq!(home.wait_final(&mut at_home), 200, "{}", home.text());
    b.wait_hang_up(&theirs);
    assert_both_hear(&ours, &at_home);
    a.hang_up(&mut ours);
    home.wait_hang_up(&at_home);
    // Nobody takes over somebody else's call.
    let (mut ours, theirs) = connected(&mut a, &mut b);
    let mut stranger = third(&node);
    let mut tried = stranger.dial_over("102", &theirs.replaces());
    assert_eq!(stranger.wait_final(&mut tried), 403);
    assert_both_hear(&ours, &theirs);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn a_call_on_hold_is_parked_with_music_and_fetched_from_another_phone() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut c = third(&node);
    let (ours, mut theirs) = connected(&mut a, &mut b);
    assert_eq!(b.reinvite(&mut theirs, "sendonly"), 200);
    let from = ours.media.mark();
    let told = b.call("68");
    b.wait_hang_up(&theirs);
    told.media.wait_phrase(0, "codes/parked-at", SOON);
    told.media.wait_phrase(0, "digits/1", SOON);
    ours.media.wait_phrase(from, "music/hold", SOON);
    let calls = node.json(&["calls"]);
    let phases: Vec<&str> = calls
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|call| call["phase"].as_str())
        .collect();
    assert!(phases.contains(&"parked"), "{calls}");
    let mut fetched = c.call("681");
    assert_both_hear(&ours, &fetched);
    c.hang_up(&mut fetched);
    a.wait_hang_up(&ours);
    b.wait_hang_up(&told);
    assert_idle(&node);
}

#[test]
fn what_rings_at_another_phone_is_picked_up() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut c = third(&node);
    let mut ours = a.dial("102");
    let theirs = ring_through(&mut a, &mut b, &mut ours);
    let mut picked = c.dial("**102");
    assert_eq!(c.wait_final(&mut picked), 200, "{}", c.text());
    assert_eq!(a.wait_final(&mut ours), 200);
    b.wait_cancel(&theirs);
    assert_both_hear(&ours, &picked);
    a.hang_up(&mut ours);
    c.wait_hang_up(&picked);
    assert_idle(&node);
}

#[test]
fn a_user_without_a_key_for_it_transfers_with_the_digits() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut c = third(&node);
    let (ours, mut theirs) = connected(&mut a, &mut b);
    assert_both_hear(&ours, &theirs);
    let (from_a, from_b) = (ours.media.mark(), theirs.media.mark());
    ours.media.press("##");
    ours.media.wait_phrase(from_a, "codes/transfer-to", SOON);
    theirs.media.wait_phrase(from_b, "music/hold", SOON);
    ours.media.press("103#");
    let mut at_third = c.wait_call();
    a.wait_hang_up(&ours);
    c.answer(&mut at_third);
    assert_both_hear(&theirs, &at_third);
    b.hang_up(&mut theirs);
    c.wait_hang_up(&at_third);
    assert_idle(&node);
}
