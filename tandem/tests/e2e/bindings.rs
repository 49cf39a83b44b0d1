//! Where phones are: kept over a crash, and a phone that does not answer at all.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::kit::node::Node;
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};

#[test]
fn a_phone_is_called_right_after_a_crash() {
    let mut node = Node::demo();
    let (mut a, mut b) = (Ua::of(&node, "101"), Ua::of(&node, "102"));
    b.register();
    until("it is written where the phone is", SOON, || {
        let log = node.cli(&["log", "show"]).out;
        log.contains("phone/").then_some(())
    });
    node.kill();
    node.start();
    let mut ours = a.dial("102");
    a.answer_challenge(&mut ours);
    let mut theirs = b.wait_call();
    b.ring(&theirs);
    b.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    node.kill();
}

/// The caller hears ringing meanwhile, and the mailbox long before the time of ringing is over.
#[test]
fn a_phone_that_has_vanished_does_not_keep_its_callers_waiting() {
    let mut node = Node::demo();
    let (mut a, mut b) = (Ua::of(&node, "101"), Ua::of(&node, "102"));
    b.register();
    drop(b);
    let began = Instant::now();
    let mut call = a.dial("102");
    a.answer_challenge(&mut call);
    a.wait_provisional(&mut call, 180);
    assert_eq!(a.wait_final(&mut call), 200);
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(19), "{waited:?}: it rang out");
    a.hang_up(&mut call);
    node.kill();
}

/// A stranger sprays the whole port range while calls are set up: it gets nothing, nobody is silenced.
#[test]
fn a_sprayed_port_range_gets_nothing_and_silences_nobody() {
    let mut node = Node::demo();
    let mut a = Ua::of(&node, "101");
    let stranger = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 99), 0)).unwrap();
    let spray = |call: &crate::kit::ua::Call| {
        let to = call.theirs.as_ref().unwrap().at;
        for n in 0..1000u16 {
            let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9];
            packet[2..4].copy_from_slice(&n.to_be_bytes());
            packet.extend([0x20; 160]);
            stranger.send_to(&packet, to).unwrap();
        }
    };
    for _ in 0..3 {
        let mut call = a.call("*43");
        spray(&call);
        call.media.press("#");
        call.media.hum(700.0, -20.0);
        call.media.wait_tone(0, 700.0);
        spray(&call);
        let from = call.media.mark();
        call.media.wait_packets(from, 50);
        call.media.wait_tone(from, 700.0);
        a.hang_up(&mut call);
    }
    stranger.set_nonblocking(true).unwrap();
    let got = stranger.recv(&mut [0; 2000]);
    assert!(got.is_err(), "the stranger was sent sound");
    node.kill();
}
