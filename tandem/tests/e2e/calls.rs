//! Calls between telephones that the test works by hand.

use std::time::{Duration, Instant};

use crate::kit::node::Node;
use crate::kit::rtp::{Media, hear};
use crate::kit::sip::{Algorithm, Sdp};
use crate::kit::sound::{self, pieces_without, tone_db};
use crate::kit::ua::{Call, Ua};
use crate::kit::{SOON, until};

/// Two registered telephones.
pub(crate) fn pair(node: &Node) -> (Ua, Ua) {
    let (mut a, mut b) = (Ua::of(node, "101"), Ua::of(node, "102"));
    a.register();
    b.register();
    (a, b)
}

/// 101 dials 102 and is answered.
pub(crate) fn connected(a: &mut Ua, b: &mut Ua) -> (Call, Call) {
    let mut ours = a.dial(&b.user);
    // A challenge, if there is one, is answered while waiting for the ringing.
    let mut theirs = ring_through(a, b, &mut ours);
    b.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200, "{}", a.text());
    (ours, theirs)
}

/// Waits until the other phone is called and rings.
pub(crate) fn ring_through(a: &mut Ua, b: &mut Ua, ours: &mut Call) -> Call {
    a.answer_challenge(ours);
    let theirs = b.wait_call();
    b.ring(&theirs);
    a.wait_provisional(ours, 180);
    theirs
}

/// Both hear each other's tone at its level for a second, whole.
pub(crate) fn assert_both_hear(ours: &Call, theirs: &Call) {
    ours.media.hum(1000.0, -20.0);
    theirs.media.hum(440.0, -20.0);
    for (call, hz) in [(ours, 440.0), (theirs, 1000.0)] {
        call.media.wait_tone(0, hz);
        let from = call.media.mark();
        let packets = call.media.wait_packets(from, 55);
        let described = call.theirs.as_ref().unwrap().at;
        assert!(
            packets.iter().all(|p| p.from == described),
            "not from where it was said"
        );
        let hearing = hear(&packets);
        assert_eq!(
            (hearing.lost, hearing.jumps, hearing.sources),
            (0, 0, 1),
            "{hz}"
        );
        let (wrong, pieces) = pieces_without(&hearing.samples, hz);
        assert!(
            wrong == 0 && pieces >= 50,
            "{wrong} of {pieces} pieces are not {hz} Hz"
        );
        let level = tone_db(&hearing.samples, hz);
        assert!((level + 20.0).abs() < 0.5, "{hz} Hz at {level} dB");
    }
}

pub(crate) fn assert_idle(node: &Node) {
    until("no call is left", SOON, || {
        let calls = node.json(&["calls"]);
        calls.as_array().unwrap().is_empty().then_some(())
    });
}

#[test]
fn two_phones_talk_and_the_caller_hangs_up() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    let (first, last) = node.setup.rtp_ports;
    for call in [&ours, &theirs] {
        let at = call.theirs.as_ref().unwrap().at;
        assert_eq!(at.ip(), std::net::IpAddr::V4(node.setup.ip));
        assert!((first..=last).contains(&at.port()), "{at}");
    }
    assert_both_hear(&ours, &theirs);
    assert_eq!(node.json(&["calls"]).as_array().unwrap().len(), 1);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    assert_idle(&node);
}

#[test]
fn the_called_phone_hangs_up() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (ours, mut theirs) = connected(&mut a, &mut b);
    b.hang_up(&mut theirs);
    a.wait_hang_up(&ours);
    assert_idle(&node);
}

#[test]
fn a_phone_with_mu_law_talks_to_one_with_a_law() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    a.formats = vec![0];
    b.formats = vec![8];
    let (mut ours, theirs) = connected(&mut a, &mut b);
    assert_both_hear(&ours, &theirs);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn the_common_codec_is_passed_on_untouched() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    // Both can both, each prefers another: the one common to offer and answer must be used on both
    // sides, so that nothing is decoded.
    a.formats = vec![8, 0];
    b.formats = vec![0, 8];
    let (mut ours, theirs) = connected(&mut a, &mut b);
    ours.media.count_up();
    let packets = theirs.media.wait_packets(0, 50);
    let formats: Vec<u8> = packets.iter().map(|p| p.payload_type).collect();
    assert!(formats.iter().all(|f| *f == formats[0]), "{formats:?}");
    let counts = packets.windows(2).all(|pair| {
        let numbers = [0, 1].map(|n| pair[n].timestamp);
        numbers[1].wrapping_sub(numbers[0]) == 160
    });
    assert!(counts, "timestamps go on by 160");
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn the_caller_gives_up() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut ours = a.dial("102");
    let theirs = ring_through(&mut a, &mut b, &mut ours);
    a.cancel(&mut ours);
    b.wait_cancel(&theirs);
    assert_idle(&node);
}

#[test]
fn who_is_held_hears_music_and_who_holds_hears_nothing() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    assert_both_hear(&ours, &theirs);

    assert_eq!(a.reinvite(&mut ours, "sendonly"), 200);
    let answer = ours.theirs.clone().unwrap();
    assert!(
        ["recvonly", "inactive"].contains(&&*answer.direction),
        "{answer:?}"
    );
    ours.media.mute();
    // What was under way has come once the first of the music is there; from then on nothing comes to
    // the one who holds.
    let from = theirs.media.mark();
    theirs.media.wait_packets(from, 5);
    let (mark, from) = (ours.media.mark(), theirs.media.mark());
    theirs.media.wait_phrase(from, "music/hold", SOON);
    let music = theirs.media.wait_packets(from, 100);
    let level = sound::level_db(&hear(&music).samples);
    assert!((-35.0..-12.0).contains(&level), "{level}");
    assert_eq!(ours.media.mark(), mark, "the one who holds hears something");
    let calls = node.json(&["calls"]);
    assert_eq!(calls[0]["held_by"], "caller", "{calls}");
    assert!(node.cli(&["calls"]).out.contains("held by the caller"));

    assert_eq!(a.reinvite(&mut ours, "sendrecv"), 200);
    assert_eq!(ours.theirs.as_ref().unwrap().direction, "sendrecv");
    assert_both_hear(&ours, &theirs);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn a_late_offer_is_answered_with_ours() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut ours = a.dial_late("102");
    a.answer_challenge(&mut ours);
    let mut theirs = b.wait_call();
    b.ring(&theirs);
    b.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200, "{}", a.text());
    assert_both_hear(&ours, &theirs);
    // And again within the call.
    assert_eq!(a.reinvite_with(&mut ours, String::new()), 200);
    assert_both_hear(&ours, &theirs);
    b.hang_up(&mut theirs);
    a.wait_hang_up(&ours);
}

#[test]
fn an_offer_without_a_common_codec_is_refused() {
    let node = Node::demo();
    let mut a = Ua::of(&node, "101");
    a.register();
    a.formats = vec![18];
    let mut ours = a.dial("*43");
    assert_eq!(a.wait_final(&mut ours), 488, "{}", a.text());
    assert_idle(&node);
}

#[test]
fn a_number_that_does_not_exist() {
    let node = Node::demo();
    let mut a = Ua::of(&node, "101");
    a.register();
    let mut ours = a.dial("4711");
    assert_eq!(a.wait_final(&mut ours), 404, "{}", a.text());
}

#[test]
fn all_phones_of_a_user_ring_and_the_first_to_answer_wins() {
    let node = Node::demo();
    let (mut a, mut desk) = pair(&node);
    let mut home = Ua::of(&node, "102");
    home.register();
    let mut ours = a.dial("102");
    a.answer_challenge(&mut ours);
    let at_desk = desk.wait_call();
    let mut at_home = home.wait_call();
    desk.ring(&at_desk);
    home.ring(&at_home);
    a.wait_provisional(&mut ours, 180);
    home.answer(&mut at_home);
    desk.wait_cancel(&at_desk);
    assert_eq!(a.wait_final(&mut ours), 200);
    assert_both_hear(&ours, &at_home);
    home.hang_up(&mut at_home);
    a.wait_hang_up(&ours);
}

#[test]
fn echo_gives_back_what_is_said() {
    let node = Node::demo();
    let mut a = Ua::gateway(&node, "0123456");
    let mut call = a.call("*43");
    call.media.hum(700.0, -15.0);
    call.media.wait_tone(0, 700.0);
    let from = call.media.mark();
    let hearing = hear(&call.media.wait_packets(from, 55));
    assert_eq!(hearing.lost, 0);
    assert_eq!(pieces_without(&hearing.samples, 700.0).0, 0);
    a.hang_up(&mut call);
    assert_idle(&node);
}

#[test]
fn my_number_and_the_clock_are_spoken() {
    let node = Node::demo();
    let mut a = Ua::of(&node, "101");
    a.register();
    let mut call = a.call("*65");
    call.media.hush();
    let after = call.media.wait_phrase(0, "codes/your-number-is", SOON);
    let after = call
        .media
        .wait_phrase(after.saturating_sub(5), "digits/1", SOON);
    call.media
        .wait_phrase(after.saturating_sub(5), "digits/0", SOON);
    a.hang_up_or_be_hung_up(&mut call);

    let mut call = a.call("*60");
    call.media.hush();
    call.media.wait_beep(0);
    a.hang_up(&mut call);
}

#[test]
fn keys_are_passed_on_between_phones() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    ours.media.hum(1000.0, -20.0);
    theirs.media.wait_tone(0, 1000.0);
    let from = theirs.media.mark();
    ours.media.press("5#");
    theirs.media.wait_tone(from + 12, 1000.0);
    let event_type = theirs.theirs.as_ref().unwrap().event_type.unwrap();
    let events: Vec<_> = theirs.media.heard(from);
    let events = events.iter().filter(|p| p.payload_type == event_type);
    let mut keys: Vec<(u32, u8)> = events.map(|p| (p.timestamp, p.payload[0])).collect();
    keys.dedup();
    let keys: Vec<u8> = keys.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys, [5, 11]);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn both_describe_anew_at_once_and_the_call_survives() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    // Two re-INVITEs of the same phone that cross each other: the second is told to wait (491) or
    // that it comes too early (500, RFC 3261 §14.2).
    let status = a.reinvite_twice(&mut ours);
    assert!(
        status.iter().all(|s| [200, 491, 500].contains(s)),
        "{status:?}"
    );
    assert!(status.contains(&200), "{status:?}");
    assert_both_hear(&ours, &theirs);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn a_strangers_sound_is_not_heard_and_nothing_is_sent_to_it() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    assert_both_hear(&ours, &theirs);
    // The stranger found the port of 101's leg and speaks into it, as loud as it can.
    let stranger = Media::at(node.setup.ip);
    let victim = ours.theirs.as_ref().unwrap().at;
    stranger.send_to(victim, 0);
    stranger.hum(2000.0, -10.0);
    let from = theirs.media.mark();
    let hearing = hear(&theirs.media.wait_packets(from, 110));
    assert!(tone_db(&hearing.samples, 2000.0) < -60.0);
    assert_eq!(pieces_without(&hearing.samples, 1000.0).0, 0);
    assert_eq!(stranger.mark(), 0, "something was sent to the stranger");
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn registrations_come_are_renewed_and_go() {
    let node = Node::demo();
    let mut a = Ua::of(&node, "101");
    let phones = |node: &Node| node.json(&["phones"]).as_array().unwrap().len();
    assert_eq!(phones(&node), 0);
    let response = a.register_for(300);
    assert_eq!(response.status(), Some(200));
    assert!(
        response.header("Contact").contains("expires="),
        "{response:?}"
    );
    assert_eq!(phones(&node), 1);
    assert_eq!(a.register_for(300).status(), Some(200));
    assert_eq!(phones(&node), 1);
    let mut home = Ua::of(&node, "101");
    home.algorithm = Algorithm::Sha256;
    home.register();
    assert_eq!(phones(&node), 2);
    assert_eq!(a.register_for(0).status(), Some(200));
    assert_eq!(phones(&node), 1);
    let response = a.register_for(1);
    assert_eq!(response.status(), Some(423), "{response:?}");
    assert!(!response.header("Min-Expires").is_empty());
    assert_eq!(home.register_contact("*", Some(0)).status(), Some(200));
    assert_eq!(phones(&node), 0);
}

#[test]
fn options_are_answered() {
    let node = Node::demo();
    let mut a = Ua::of(&node, "101");
    let response = a.options();
    assert_eq!(response.status(), Some(200), "{response:?}");
    for method in ["INVITE", "ACK", "BYE", "CANCEL"] {
        assert!(response.header("Allow").contains(method), "{response:?}");
    }
}

#[test]
fn do_not_disturb_and_forward_are_obeyed_and_undone() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let order = |b: &mut Ua, code: &str, phrase: &str| {
        let mut call = b.call(code);
        call.media.hush();
        call.media.wait_phrase(0, phrase, SOON);
        b.hang_up_or_be_hung_up(&mut call);
    };
    order(&mut b, "*78", "codes/dnd-on");
    let mut ours = a.call("102");
    ours.media.hush();
    ours.media
        .wait_phrase(0, "vm/intro", Duration::from_secs(20));
    a.hang_up(&mut ours);
    assert!(!b.is_called_within(Duration::from_millis(200)));
    order(&mut b, "*79", "codes/dnd-off");

    order(&mut b, "*72103", "codes/forward-on");
    let mut c = Ua::of(&node, "103");
    c.register();
    let mut ours = a.dial("102");
    a.answer_challenge(&mut ours);
    let mut at_c = c.wait_call();
    c.answer(&mut at_c);
    assert_eq!(a.wait_final(&mut ours), 200);
    assert!(!b.is_called_within(Duration::from_millis(200)));
    a.hang_up(&mut ours);
    c.wait_hang_up(&at_c);
    order(&mut b, "*73", "codes/forward-off");
    let mut ours = a.dial("102");
    let theirs = ring_through(&mut a, &mut b, &mut ours);
    a.cancel(&mut ours);
    b.wait_cancel(&theirs);
}

#[test]
fn a_phone_that_vanishes_is_noticed_and_everything_is_freed() {
    let mut node = Node::prepared();
    node.start();
    node.configure("[rtp]\ntimeout_s = 2\n");
    let (mut a, mut b) = pair(&node);
    let (ours, theirs) = connected(&mut a, &mut b);
    ours.media.hum(1000.0, -20.0);
    theirs.media.hum(440.0, -20.0);
    ours.media.wait_tone(0, 440.0);
    let since = Instant::now();
    theirs.media.mute();
    a.wait_hang_up(&ours);
    assert!(since.elapsed() > Duration::from_millis(1500), "too early");
    assert_idle(&node);
}

#[test]
fn many_calls_leave_nothing_behind() {
    let node = Node::demo();
    let mut a = Ua::gateway(&node, "0123456");
    let before = node.open_files();
    for _ in 0..200 {
        let mut call = a.call("*43");
        a.hang_up(&mut call);
    }
    assert_idle(&node);
    until("no file is left open", SOON, || {
        (node.open_files() <= before + 4).then_some(())
    });
}

#[test]
fn a_description_of_somebody_else_moves_the_sound() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    assert_both_hear(&ours, &theirs);
    // The phone moves its sound to another port, as phones do when they change networks.
    let moved = Media::at(node.setup.ip);
    let old = ours.theirs.clone().unwrap();
    let offer = Sdp {
        at: moved.local,
        formats: vec![0],
        event_type: None,
        direction: "sendrecv".into(),
        version: 9,
    };
    assert_eq!(a.reinvite_with(&mut ours, offer.text()), 200);
    moved.send_to(old.at, 0);
    moved.hum(600.0, -20.0);
    ours.media.mute();
    theirs.media.wait_tone(theirs.media.mark(), 600.0);
    moved.wait_tone(0, 440.0);
    assert!(sound::level_db(&hear(&moved.heard(0)).samples) > -30.0);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
}

#[test]
fn a_watcher_sees_that_a_phone_rings_talks_and_is_free_again() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut watcher = Ua::of(&node, "103");
    watcher.register();
    assert_eq!(watcher.watch("102").status(), Some(200));
    watcher.wait_told("<dialog ", false);
    let mut ours = a.dial("102");
    let mut theirs = ring_through(&mut a, &mut b, &mut ours);
    watcher.wait_told("direction=\"recipient\"><state>early</state>", true);
    watcher.wait_told("<identity display=\"Reception\">sip:101@", true);
    b.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200);
    watcher.wait_told("<state>confirmed</state>", true);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    watcher.wait_told("<state>terminated</state>", true);
}
