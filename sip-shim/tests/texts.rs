//! Text messages between users as transcripts: MESSAGE (RFC 3428).
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_pbx::seam::{Cause, SipCommand};
use tandem_sip_shim::ShimConfig;

const LAB: &str = "10.0.0.3:5060";

/// 101's phone at DESK sends something to `number`.
fn text(number: &str, cseq: u32, headers: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "MESSAGE sip:{number}@10.0.0.9 SIP/2.0\n\
         Via: SIP/2.0/UDP {DESK};branch=z9hG4bKm{number}{cseq};rport\nMax-Forwards: 70\n\
         From: \"The Boss\" <sip:104@10.0.0.9>;tag=m{number}\nTo: <sip:{number}@10.0.0.9>\n\
         Call-ID: text-{cseq}\nCSeq: {cseq} MESSAGE\n{headers}{kind}Content-Length: {length}\n\n{body}"
    )
}

const PLAIN: &str = "Content-Type: text/plain;charset=utf-8\n";

/// 101 sends "Hello" to 102, has shown its password, and call control has been asked.
fn sending(w: &mut World) {
    send(w, 1, PLAIN, "Hello");
    w.expect(&["pbx: Text 1: 101 \"User 101\" -> 102"]);
}

fn send(w: &mut World, cseq: u32, kind: &str, body: &str) {
    w.receive(DESK, &text("102", cseq, "", kind, body));
    let proof = w.proof("MESSAGE", "sip:102@10.0.0.9", 101);
    w.receive(DESK, &text("102", cseq + 1, &proof, kind, body));
    assert_eq!(
        w.lines.remove(0),
        format!("10.0.0.1:5060: 401 ({cseq} MESSAGE)")
    );
}

fn is_for(w: &mut World, number: u64) {
    let target = Ok(id(102));
    w.pbx(SipCommand::Text { number, target });
}

#[test]
fn a_text_goes_to_all_phones_and_is_answered_by_the_first() {
    let mut w = World::new();
    w.register(102, HOME);
    w.register(102, LAB);
    sending(&mut w);
    is_for(&mut w, 1);
    w.expect(&[
        "10.0.0.2:5060: MESSAGE sip:102@10.0.0.2:5060",
        "10.0.0.3:5060: MESSAGE sip:102@10.0.0.3:5060",
    ]);
    let passed = w.last().to_owned();
    assert!(passed.ends_with("\r\n\r\nHello"), "{passed}");
    assert_eq!(header(&passed, "Content-Type"), "text/plain;charset=utf-8");
    // Who sent it is who has shown the password, whatever the From says.
    assert!(header(&passed, "From").starts_with("\"User 101\" <sip:101@10.0.0.9:5060>;tag="));
    let asserted = header(&passed, "P-Asserted-Identity");
    assert_eq!(asserted, "\"User 101\" <sip:101@10.0.0.9:5060>");
    assert_eq!(header(&passed, "Contact"), "");
    w.respond_to(LAB, &passed, "200 OK", "", "");
    w.expect(&["10.0.0.1:5060: 200 (2 MESSAGE)"]);
    // The other phone's word changes nothing any more.
    w.respond(HOME, "MESSAGE sip:102@10.0.0.2", "486 Busy", "", "");
    w.expect(&[]);
    let counters = w.shim.counters();
    assert_eq!((counters.texts, counters.texts_delivered), (1, 1));
}

#[test]
fn what_is_no_plain_text_is_passed_on_as_it_is() {
    let mut w = World::new();
    w.register(102, HOME);
    let kind = "Content-Type: application/im-iscomposing+xml\nContent-Language: de\n";
    send(&mut w, 1, kind, "<isComposing/>");
    is_for(&mut w, 1);
    let passed = w.last();
    let kind = header(passed, "Content-Type");
    assert_eq!(kind, "application/im-iscomposing+xml");
    assert_eq!(header(passed, "Content-Language"), "de");
    assert!(passed.ends_with("\r\n\r\n<isComposing/>"), "{passed}");
}

#[test]
fn who_withholds_the_number_is_not_named() {
    let mut w = World::new();
    w.register(102, HOME);
    send(&mut w, 1, &format!("Privacy: id\n{PLAIN}"), "Hello");
    is_for(&mut w, 1);
    let passed = w.last();
    assert!(!passed.contains("101"), "{passed}");
    assert_eq!(header(passed, "Privacy"), "id");
}

#[test]
fn what_no_phone_takes_is_refused_in_words_the_sender_can_use() {
    for (first, second, answer) in [
        ("415 Unsupported", "480 Away", 415),
        ("480 Away", "413 Too Large", 413),
        ("603 Decline", "404 Not Found", 403),
        ("405 Not Allowed", "500 Trouble", 480),
        ("486 Busy", "202 Accepted", 202),
    ] {
        let mut w = World::new();
        w.register(102, HOME);
        w.register(102, LAB);
        sending(&mut w);
        is_for(&mut w, 1);
        w.out();
        w.respond(HOME, "MESSAGE sip:102@10.0.0.2", first, "", "");
        w.expect(&[]);
        let accept = "Accept: text/html\n";
        w.respond(LAB, "MESSAGE sip:102@10.0.0.3", second, accept, "");
        w.expect(&[&format!("10.0.0.1:5060: {answer} (2 MESSAGE)")]);
    }
}

#[test]
fn nobody_is_waited_for_longer_than_the_sender_waits() {
    let mut w = World::new();
    w.register(102, HOME);
    sending(&mut w);
    is_for(&mut w, 1);
    w.pass_ms(31_000);
    let answered = w.out();
    let answer = "10.0.0.1:5060: 480 (2 MESSAGE)".to_owned();
    assert!(answered.contains(&answer), "{answered:?}");
}

#[test]
fn who_is_not_there_or_may_not_be_reached_gets_nothing() {
    for (target, status) in [
        (Ok(id(102)), 480),
        (Err(Cause::NoSuchNumber), 404),
        (Err(Cause::Declined), 403),
        (Err(Cause::Forbidden), 403),
    ] {
        let mut w = World::new();
        sending(&mut w);
        w.pbx(SipCommand::Text { number: 1, target });
        w.expect(&[&format!("10.0.0.1:5060: {status} (2 MESSAGE)")]);
    }
}

#[test]
fn only_users_send_and_only_what_a_datagram_holds() {
    let mut w = World::new();
    w.register(102, HOME);
    // A gateway is nobody's phone.
    let from_gate = text("102", 1, "", PLAIN, "Hello").replace(DESK, GATE);
    w.receive(GATE, &from_gate);
    w.expect(&["10.7.0.1:5060: 403 (1 MESSAGE)"]);
    w.receive(DESK, &text("102", 2, "", PLAIN, &"x".repeat(1301)));
    w.expect(&["10.0.0.1:5060: 413 (2 MESSAGE)"]);
    // With what stands before it, it would be too long for a phone that is reached by datagrams.
    send(&mut w, 3, PLAIN, &"x".repeat(1200));
    w.out();
    is_for(&mut w, 1);
    w.expect(&["10.0.0.1:5060: 413 (4 MESSAGE)"]);
    send(&mut w, 5, "", "Hello");
    w.expect(&["10.0.0.1:5060: 415 (6 MESSAGE)"]);
}

#[test]
fn texts_that_wait_are_bounded() {
    let mut w = World::with(ShimConfig {
        texts_per_user_max: 1,
        ..config()
    });
    sending(&mut w);
    send(&mut w, 3, PLAIN, "Again");
    w.expect(&["10.0.0.1:5060: 503 (4 MESSAGE)"]);
    assert_eq!(w.shim.counters().texts_full, 1);
    let target = Err(Cause::NoSuchNumber);
    w.pbx(SipCommand::Text { number: 1, target });
    w.out();
    send(&mut w, 5, PLAIN, "Again");
    w.expect(&["pbx: Text 2: 101 \"User 101\" -> 102"]);
}
