//! The busy lamp field as transcripts: SUBSCRIBE to the dialog package, and what its NOTIFYs say.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_pbx::seam::{CallState, SipCommand, WatchedCall};

const EVENTS: &str = "Event: dialog\nAccept: application/dialog-info+xml\n";

/// 101's phone at DESK asks about `number`.
fn subscribe(number: &str, cseq: u32, headers: &str) -> String {
    format!(
        "SUBSCRIBE sip:{number}@10.0.0.9 SIP/2.0\n\
         Via: SIP/2.0/UDP {DESK};branch=z9hG4bKs{number}{cseq};rport\nMax-Forwards: 70\n\
         From: <sip:101@10.0.0.9>;tag=s{number}\nTo: <sip:{number}@10.0.0.9>\nCall-ID: sub-{number}\n\
         CSeq: {cseq} SUBSCRIBE\nContact: <sip:101@{DESK}>\nExpires: 600\n{headers}Content-Length: 0\n\n"
    )
}

fn call(number: &str, state: CallState) -> WatchedCall {
    WatchedCall {
        leg: 7,
        is_initiator: false,
        state,
        holds: false,
        number: number.into(),
        name: "A & <B>".into(),
    }
}

fn calls(of: u64, calls: Vec<WatchedCall>) -> SipCommand {
    SipCommand::Calls {
        user: id(of),
        calls: calls.into(),
    }
}

/// A world in which 101 watches 102, and knows that nobody talks there.
fn watching() -> World {
    let mut w = World::new();
    w.register(101, DESK);
    w.receive(DESK, &subscribe("102", 1, EVENTS));
    w.expect(&["pbx: Watched 102 true", "10.0.0.1:5060: 200 (1 SUBSCRIBE)"]);
    // It is notified as soon as call control has said what is to be told.
    w.pbx(calls(102, Vec::new()));
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.expect(&[]);
    w
}

#[test]
fn a_watcher_sees_a_call_ring_and_be_answered_and_end() {
    let mut w = watching();
    let idle = w.last_like("NOTIFY");
    assert_eq!(header(&idle, "Event"), "dialog");
    assert_eq!(header(&idle, "Content-Type"), "application/dialog-info+xml");
    assert!(header(&idle, "Subscription-State").starts_with("active;expires="));
    assert!(idle.contains("version=\"0\" state=\"full\" entity=\"sip:102@10.0.0.9:5060\""));
    assert!(!idle.contains("<dialog "), "{idle}");
    w.pbx(calls(102, vec![call("555", CallState::Early)]));
    let early = w.last_like("NOTIFY");
    assert!(early.contains("version=\"1\""), "{early}");
    assert!(early.contains("<dialog id=\"7\" direction=\"recipient\"><state>early</state>"));
    assert!(
        early.contains("<identity display=\"A &amp; &lt;B&gt;\">sip:555@"),
        "{early}"
    );
    // While that is on its way two things happen: one notification has the last word.
    w.pbx(calls(102, vec![call("555", CallState::Confirmed)]));
    w.pbx(calls(102, Vec::new()));
    w.out();
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    let ended = w.last_like("NOTIFY");
    assert!(
        ended.contains("version=\"2\"") && !ended.contains("<dialog "),
        "{ended}"
    );
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.expect(&[]);
}

#[test]
fn a_caller_who_withholds_the_number_is_not_named() {
    let mut w = watching();
    w.pbx(calls(102, vec![call("", CallState::Confirmed)]));
    let told = w.last_like("NOTIFY");
    assert!(
        told.contains("<state>confirmed</state>") && !told.contains("<remote>"),
        "{told}"
    );
}

#[test]
fn who_stops_to_watch_is_told_so_and_call_control_too() {
    let mut w = watching();
    let ok = w.last_like("SIP/2.0 200");
    let (to, from) = (header(&ok, "To"), header(&ok, "From"));
    let headers = format!("{EVENTS}Expires: 0\nContact: <sip:101@{DESK}>\n");
    w.receive(
        DESK,
        &within(&to, &from, "sub-102", "SUBSCRIBE", 2, &headers, ""),
    );
    w.expect(&[
        "10.0.0.1:5060: 200 (2 SUBSCRIBE)",
        "10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060",
    ]);
    let last = w.last_like("NOTIFY");
    assert_eq!(
        header(&last, "Subscription-State"),
        "terminated;reason=timeout"
    );
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.expect(&["pbx: Watched 102 false"]);
    w.pbx(calls(102, vec![call("555", CallState::Early)]));
    w.expect(&[]);
}

#[test]
fn a_phone_that_is_gone_watches_no_more() {
    let mut w = watching();
    w.pbx(calls(102, vec![call("555", CallState::Early)]));
    w.respond(DESK, "NOTIFY", "481 Gone", "", "");
    assert!(w.out().contains(&"pbx: Watched 102 false".to_owned()));
    assert_eq!(w.shim.subscriptions(), 0);
}

#[test]
fn several_watch_one_and_one_watches_several() {
    let mut w = watching();
    w.receive(DESK, &subscribe("103", 1, EVENTS));
    w.expect(&["pbx: Watched 103 true", "10.0.0.1:5060: 200 (1 SUBSCRIBE)"]);
    w.register(104, HOME);
    let second = subscribe("102", 5, EVENTS)
        .replace("101", "104")
        .replace(DESK, HOME)
        .replace("sub-102", "sub-b");
    w.receive(HOME, &second);
    // Somebody watches already, so it is known what to tell.
    w.expect(&[
        "10.0.0.2:5060: 200 (5 SUBSCRIBE)",
        "10.0.0.2:5060: NOTIFY sip:104@10.0.0.2:5060",
    ]);
    w.respond(HOME, "NOTIFY", "200 OK", "", "");
    w.pbx(calls(102, vec![call("555", CallState::Early)]));
    let mut told = w.out();
    told.sort();
    assert_eq!(
        told,
        [
            "10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060",
            "10.0.0.2:5060: NOTIFY sip:104@10.0.0.2:5060"
        ]
    );
    assert_eq!(w.shim.subscriptions(), 3);
}

#[test]
fn a_phone_that_subscribes_anew_replaces_its_own() {
    let mut w = watching();
    let again = subscribe("102", 9, EVENTS).replace("tag=s102", "tag=again");
    w.receive(DESK, &again.replace("sub-102", "sub-again"));
    assert_eq!(w.shim.subscriptions(), 1);
}

#[test]
fn whom_nobody_is_and_what_nobody_speaks_is_refused() {
    let mut w = World::new();
    w.register(101, DESK);
    w.receive(DESK, &subscribe("199", 1, EVENTS));
    w.expect(&["10.0.0.1:5060: 404 (1 SUBSCRIBE)"]);
    w.receive(DESK, &subscribe("102", 2, "Event: presence\n"));
    w.expect(&["10.0.0.1:5060: 489 (2 SUBSCRIBE)"]);
    assert!(
        w.last()
            .contains("Allow-Events: message-summary, dialog\r\n")
    );
    w.receive(
        DESK,
        &subscribe("102", 3, "Event: dialog\nAccept: text/plain\n"),
    );
    w.expect(&["10.0.0.1:5060: 406 (3 SUBSCRIBE)"]);
    // A stranger is asked for a password.
    w.receive("10.9.9.9:5060", &subscribe("103", 4, EVENTS));
    assert!(w.last_like("SIP/2.0").starts_with("SIP/2.0 401"));
}
