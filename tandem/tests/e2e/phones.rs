//! Two telephones that people really use talk through the node, and one leaves a message.

use std::time::{Duration, Instant};

use crate::kit::baresip::Baresip;
use crate::kit::node::Node;
use crate::kit::sound::{self, RATE, is_tone, level_db, pieces_without, tone_db};
use crate::kit::{SOON, until};
use crate::mailbox::{sound_of, wait_messages};

const BOTH: &str = "PCMU/8000,PCMA/8000";

fn tone(hz: f64) -> Vec<i16> {
    sound::sine(hz, -20.0, 90 * RATE)
}

/// Waits until the phone has heard `seconds`, and gives all it has heard.
fn heard(phone: &Baresip, seconds: usize) -> Vec<i16> {
    until(
        &format!("{seconds} s are heard"),
        Duration::from_secs(30),
        || {
            let samples = phone.heard();
            (samples.len() >= seconds * RATE).then_some(samples)
        },
    )
}

/// The tone is all there is after the first half second, whole and at its level.
fn assert_tone(samples: &[i16], hz: f64) {
    let middle = &samples[RATE / 2..samples.len() - RATE / 10];
    let (wrong, pieces) = pieces_without(middle, hz);
    assert!(wrong == 0, "{wrong} of {pieces} pieces are not {hz} Hz");
    let level = tone_db(middle, hz);
    assert!((level + 20.0).abs() < 0.5, "{hz} Hz at {level} dB");
}

fn talk(codecs_a: &str, codecs_b: &str) {
    let node = Node::demo();
    let mut a = Baresip::registered(&node, "101", &tone(1000.0), codecs_a);
    let mut b = Baresip::registered(&node, "102", &tone(440.0), codecs_b);
    a.order("dial", "102");
    a.wait("CALL_ESTABLISHED");
    b.wait("CALL_ESTABLISHED");
    assert_tone(&heard(&a, 5), 440.0);
    assert_tone(&heard(&b, 5), 1000.0);

    // Keys reach the other phone while the talk goes on.
    a.press("5");
    b.wait("CALL_DTMF_START");

    // Who is held hears music, and is the clock; who holds hears nothing. Resume ends the music.
    a.order("hold", "");
    let music_from = until("the held phone hears no tone any more", SOON, || {
        let samples = b.heard();
        let last = samples.len().checked_sub(RATE / 2)?;
        (tone_db(&samples[last..], 1000.0) < -40.0).then_some(samples.len())
    });
    let before = a.heard().len();
    let samples = until("it goes on", SOON, || {
        let samples = b.heard();
        (samples.len() >= music_from + 2 * RATE).then_some(samples)
    });
    let level = level_db(&samples[music_from..]);
    assert!((-35.0..-12.0).contains(&level), "music at {level} dB");
    let samples = a.heard();
    let new = &samples[before..];
    assert!(
        new.is_empty() || level_db(new) < -55.0,
        "who holds hears something"
    );
    a.order("resume", "");
    until("both are heard again", SOON, || {
        let last = [(&a, 440.0), (&b, 1000.0)].map(|(phone, hz)| {
            let samples = phone.heard();
            samples.len() > RATE && is_tone(&samples[samples.len() - RATE / 2..], hz)
        });
        (last == [true, true]).then_some(())
    });
    a.order("hangup", "");
    b.wait("CALL_CLOSED");
    let idle = || {
        node.json(&["calls"])
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    };
    until("the call is gone", SOON, idle);
}

#[test]
fn two_phones_hear_each_other_whole_and_at_the_right_level() {
    talk(BOTH, BOTH);
}

#[test]
fn so_do_phones_without_a_common_codec() {
    talk("PCMU/8000", "PCMA/8000");
}

#[test]
fn a_phone_with_opus_talks_to_one_with_mu_law() {
    talk("opus/48000/2", "PCMU/8000");
}

#[test]
fn a_phone_with_g722_talks_to_one_with_a_law() {
    talk("PCMA/8000", "G722/16000");
}

#[test]
fn a_phone_with_opus_talks_to_one_with_g722() {
    talk("G722/16000", "opus/48000/2");
}

#[test]
fn two_phones_with_opus_talk_untouched() {
    talk("opus/48000/2", "opus/48000/2");
}

#[test]
fn over_tcp_as_well() {
    let node = Node::demo();
    let mut a = Baresip::registered_over(&node, "101", &tone(1000.0), BOTH, "tcp");
    let mut b = Baresip::registered_over(&node, "102", &tone(440.0), BOTH, "tcp");
    let phones = node.json(&["phones"]);
    let tcp = phones.as_array().unwrap().iter();
    let tcp = tcp.filter(|p| p["transport"].to_string().to_lowercase().contains("tcp"));
    assert_eq!(tcp.count(), 2, "{phones}");
    b.order("dial", "101");
    a.wait("CALL_ESTABLISHED");
    assert_tone(&heard(&a, 3), 440.0);
    assert_tone(&heard(&b, 3), 1000.0);
    a.order("hangup", "");
    b.wait("CALL_CLOSED");
}

#[test]
fn a_message_is_left_and_heard_back() {
    let node = Node::demo();
    // What the caller says: a second of each of five tones, over and over.
    let steps: Vec<i16> = [500.0, 600.0, 700.0, 800.0, 900.0]
        .iter()
        .cycle()
        .take(120)
        .flat_map(|hz| sound::sine(*hz, -20.0, RATE))
        .collect();
    let mut caller = Baresip::registered(&node, "101", &steps, BOTH);
    let mut owner = Baresip::registered(&node, "102", &[0; 90 * RATE], BOTH);
    caller.order("dial", "*102");
    caller.wait("CALL_ESTABLISHED");
    // The beep, then ten seconds of it.
    until("the beep is heard", Duration::from_secs(30), || {
        sound::beep_end(&caller.heard(), 240)
    });
    let beep = Instant::now();
    until("ten seconds are spoken", Duration::from_secs(20), || {
        (beep.elapsed() > Duration::from_secs(10)).then_some(())
    });
    caller.order("hangup", "");
    caller.wait("CALL_CLOSED");

    let message = wait_messages(&node, 1).remove(0);
    let kept = sound_of(&node, &message);
    assert!(kept.len() > 8 * RATE, "{}", kept.len());
    assert!((level_db(&kept) + 20.0).abs() < 1.0, "{}", level_db(&kept));
    // The five tones follow each other without a gap: each tenth of a second is one of them.
    let tones = [500.0, 600.0, 700.0, 800.0, 900.0];
    let pieces: Vec<Option<f64>> = kept
        .chunks_exact(RATE / 10)
        .map(|piece| tones.into_iter().find(|hz| is_tone(piece, *hz)))
        .collect();
    let known = pieces.iter().flatten().count();
    // At most one piece a second lies across a step.
    assert!(known + kept.len() / RATE + 2 >= pieces.len(), "{pieces:?}");

    // The owner calls in from the other phone and hears the same.
    owner.order("dial", "*97");
    owner.wait("CALL_ESTABLISHED");
    until("the PIN is asked for", SOON, || {
        sound::phrase_end(&owner.heard(), "vm/enter-pin")
    });
    owner.press("1102#");
    until("the count is told", SOON, || {
        sound::phrase_end(&owner.heard(), "vm/you-have")
    });
    owner.press("1");
    let played = until("the message is played", Duration::from_secs(40), || {
        let samples = owner.heard();
        let pieces = samples.chunks_exact(RATE / 10);
        let tones: Vec<f64> = pieces
            .filter_map(|piece| tones.into_iter().find(|hz| is_tone(piece, *hz)))
            .collect();
        (tones.len() + 3 >= known).then_some(tones)
    });
    let left: Vec<f64> = pieces.into_iter().flatten().collect();
    let steps = |tones: &[f64]| {
        let mut steps = tones.to_vec();
        steps.dedup();
        steps
    };
    assert!(
        steps(&left).starts_with(&steps(&played)[..5]),
        "{left:?} {played:?}"
    );
    owner.order("hangup", "");
}

/// The last half second that a phone has heard is this tone.
fn hears(phone: &Baresip, hz: f64) -> bool {
    let samples = phone.heard();
    samples.len() > RATE && is_tone(&samples[samples.len() - RATE / 2..], hz)
}

#[test]
fn a_baresip_transfers_a_call_to_a_third() {
    let node = Node::demo();
    let mut a = Baresip::registered(&node, "101", &tone(1000.0), BOTH);
    let mut b = Baresip::registered(&node, "102", &tone(440.0), BOTH);
    let mut c = Baresip::registered(&node, "103", &tone(700.0), BOTH);
    a.order("dial", "102");
    a.wait("CALL_ESTABLISHED");
    b.wait("CALL_ESTABLISHED");
    until("they hear each other", SOON, || {
        (hears(&a, 440.0) && hears(&b, 1000.0)).then_some(())
    });
    let to = format!("sip:103@{}", node.sip());
    b.order("transfer", &to);
    c.wait("CALL_ESTABLISHED");
    b.wait("CALL_CLOSED");
    until("the other two hear each other", SOON, || {
        (hears(&a, 700.0) && hears(&c, 1000.0)).then_some(())
    });
    a.order("hangup", "");
    c.wait("CALL_CLOSED");
}
