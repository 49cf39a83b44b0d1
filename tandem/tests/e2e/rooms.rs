//! People meet in rooms, with real phones and different codecs; and one speaks to many.

use std::time::Duration;

use crate::kit::baresip::Baresip;
use crate::kit::node::Node;
use crate::kit::sound::{self, RATE, level_db, tone_db};
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};

/// For how long a phone is listened to.
const WINDOW: usize = 2 * RATE;

fn does(node: &Node, args: &[&str]) {
    let said = node.cli(args);
    assert_eq!(said.code, 0, "{}", said.err);
}

/// The level of each tone in the last two seconds that a phone has heard.
fn levels(phone: &Baresip, tones: &[f64]) -> Option<Vec<f64>> {
    let samples = phone.heard();
    let last = samples.len().checked_sub(WINDOW)?;
    Some(
        tones
            .iter()
            .map(|hz| tone_db(&samples[last..], *hz))
            .collect(),
    )
}

/// Tones are said at -20 dB, and levels are evened out to about that.
fn is_heard(level: f64) -> bool {
    (-26.0..-17.0).contains(&level)
}

#[test]
fn five_phones_with_four_codecs_in_one_room_each_hears_the_others_and_not_itself() {
    let node = Node::demo();
    does(
        &node,
        &["user", "add", "105", "Lab", "--password", "demo-105"],
    );
    let tones = [410.0, 570.0, 730.0, 890.0, 1050.0];
    let codecs = [
        "PCMU/8000",
        "PCMA/8000",
        "G722/16000",
        "opus/48000/2",
        "opus/48000/2",
    ];
    let mut phones: Vec<Baresip> = (0..5)
        .map(|n| {
            let user = format!("10{}", n + 1);
            let says = sound::sine(tones[n], -20.0, 120 * RATE);
            Baresip::registered(&node, &user, &says, codecs[n])
        })
        .collect();
    for phone in &mut phones {
        phone.order("dial", "800");
        phone.wait("CALL_ESTABLISHED");
    }
    let all_hear_all = || {
        let heard: Option<Vec<Vec<f64>>> = phones.iter().map(|p| levels(p, &tones)).collect();
        let heard = heard?;
        let fits = heard.iter().enumerate().all(|(me, levels)| {
            let mut all = levels.iter().enumerate();
            all.all(|(n, level)| {
                if n == me {
                    *level < -45.0
                } else {
                    is_heard(*level)
                }
            })
        });
        // Seen with --nocapture: who hears what at which level.
        println!("{heard:.0?}");
        fits.then_some(())
    };
    until(
        "each hears all others and not itself",
        Duration::from_secs(60),
        all_hear_all,
    );
    let rooms = node.json(&["rooms"]);
    let members = rooms.as_array().unwrap()[0]["members"].as_array().unwrap();
    assert_eq!(members.len(), 5, "{rooms}");

    // One mutes itself, and is heard by nobody; it goes on hearing.
    phones[0].press("*1");
    until("the first is not heard any more", SOON, || {
        let last = levels(&phones[2], &tones)?;
        let own = levels(&phones[0], &tones)?;
        let is_gone = last[0] < -45.0 && is_heard(last[1]) && is_heard(last[3]);
        (is_gone && is_heard(own[4])).then_some(())
    });
    // The last two who stay hear each other, and nobody else.
    for phone in &mut phones[..3] {
        phone.order("hangup", "");
        phone.wait("CALL_CLOSED");
    }
    until("only the last two are heard", SOON, || {
        let last = levels(&phones[3], &tones)?;
        let others = last[..3].iter().all(|level| *level < -45.0);
        (others && is_heard(last[4])).then_some(())
    });
    phones[4].order("hangup", "");
    phones[4].wait("CALL_CLOSED");
    until("who is alone hears music", SOON, || {
        let samples = phones[3].heard();
        let last = &samples[samples.len().checked_sub(WINDOW)?..];
        (level_db(last) > -40.0 && tone_db(last, tones[4]) < -45.0).then_some(())
    });
}

#[test]
fn a_room_with_pins_a_host_and_a_lock() {
    let mut node = Node::demo();
    does(
        &node,
        &["room", "add", "820", "Board", "pin=2468", "host_pin=8642"],
    );
    node.kill();
    node.start();
    let [mut host, mut guest, mut late] = ["101", "102", "103"].map(|extension| {
        let mut phone = Ua::of(&node, extension);
        phone.register();
        phone
    });
    let at_host = host.call("820");
    at_host.media.wait_phrase(0, "room/enter-pin", SOON);
    at_host.media.press("8642#");
    at_host.media.wait_phrase(0, "room/first", SOON);
    let at_guest = guest.call("820");
    let asked = at_guest.media.wait_phrase(0, "room/enter-pin", SOON);
    at_guest.media.press("1111#");
    let wrong = at_guest.media.wait_phrase(asked, "vm/pin-incorrect", SOON);
    at_guest.media.wait_phrase(wrong, "room/enter-pin", SOON);
    at_guest.media.press("2468#");
    let (from_host, from_guest) = (at_host.media.mark(), at_guest.media.mark());
    at_host.media.hum(1000.0, -20.0);
    at_guest.media.hum(440.0, -20.0);
    at_host.media.wait_tone(from_host, 440.0);
    at_guest.media.wait_tone(from_guest, 1000.0);

    let from = at_host.media.mark();
    at_host.media.press("*2");
    at_host.media.wait_phrase(from, "room/locked", SOON);
    let mut at_late = late.call("820");
    at_late.media.wait_phrase(0, "room/enter-pin", SOON);
    at_late.media.press("2468#");
    at_late.media.wait_phrase(0, "room/is-locked", SOON);
    late.hang_up_or_be_hung_up(&mut at_late);

    // The end of the meeting is told to all, and all are hung up.
    at_host.media.press("*0");
    at_guest.media.wait_phrase(from_guest, "room/ended", SOON);
    guest.wait_hang_up(&at_guest);
    host.wait_hang_up(&at_host);
    let rooms = node.cli(&["rooms"]);
    assert_eq!(rooms.out.trim(), "nobody is in a room");
    does(&node, &["room", "remove", "820"]);
    let listed = node.json(&["room", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 10, "{listed}");
}

#[test]
fn a_page_is_heard_by_all_idle_phones_and_by_nobody_who_talks() {
    let node = Node::demo();
    let [mut a, mut b, mut c, mut d] = ["101", "102", "103", "104"].map(|extension| {
        let mut phone = Ua::of(&node, extension);
        phone.register();
        phone
    });
    let mut busy = d.call("*60");
    let mut paging = a.call("750");
    let [mut at_b, mut at_c] = [b.wait_call(), c.wait_call()];
    b.answer(&mut at_b);
    c.answer(&mut at_c);
    paging.media.hum(1000.0, -20.0);
    let from = [at_b.media.mark(), at_c.media.mark()];
    at_b.media.hum(440.0, -20.0);
    at_b.media.wait_tone(from[0], 1000.0);
    at_c.media.wait_tone(from[1], 1000.0);
    // What is said at a phone that is paged is heard nowhere.
    let heard = crate::kit::rtp::hear(&paging.media.heard(0)).samples;
    assert!(tone_db(&heard, 440.0) < -50.0, "{}", tone_db(&heard, 440.0));
    assert!(!d.is_called_within(Duration::from_millis(200)));
    a.hang_up(&mut paging);
    b.wait_hang_up(&at_b);
    c.wait_hang_up(&at_c);
    d.hang_up(&mut busy);
}
