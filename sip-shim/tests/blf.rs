//! The busy lamp field as transcripts: SUBSCRIBE to the dialog package, and what its NOTIFYs say.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_pbx::seam::{CallState, Label, SipCommand, Watchable, WatchedCall};
use tandem_sip_shim::{ShimConfig, ShimInput};

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
        what: Watchable::User(id(of)),
        calls: calls.into(),
    }
}

/// Longer than any two notifications of one subscription are apart.
const PACE_MS: u64 = 1_000;

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
    w.pass_ms(PACE_MS);
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
    w.pass_ms(PACE_MS);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    let ended = w.last_like("NOTIFY");
    assert!(ended.contains("version=\"2\""), "{ended}");
    assert!(ended.contains("<dialog id=\"7\" direction=\"recipient\"><state>terminated</state>"));
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.pass_ms(PACE_MS);
    w.expect(&[]);
    // It has been told, and is told no more.
    let next = WatchedCall {
        leg: 9,
        ..call("556", CallState::Early)
    };
    w.pbx(calls(102, vec![next]));
    let next = w.last_like("NOTIFY");
    assert!(next.contains("<dialog id=\"9\""), "{next}");
    assert!(!next.contains("id=\"7\""), "{next}");
}

#[test]
fn changes_in_a_hurry_are_told_together_and_the_last_state_always() {
    let mut w = watching();
    w.pbx(calls(102, vec![call("555", CallState::Early)]));
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.pbx(calls(102, vec![call("555", CallState::Confirmed)]));
    // A call that nobody was told of is not told to have ended.
    let brief = WatchedCall {
        leg: 9,
        ..call("556", CallState::Early)
    };
    w.pbx(calls(102, vec![call("555", CallState::Confirmed), brief]));
    w.pbx(calls(102, vec![call("555", CallState::Confirmed)]));
    w.expect(&[]);
    w.pass_ms(PACE_MS);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    let told = w.last_like("NOTIFY");
    assert!(told.contains("<state>confirmed</state>"), "{told}");
    assert!(!told.contains("id=\"9\""), "{told}");
    // Who asks is answered at once.
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    refresh(&mut w, 2);
    w.expect(&[
        "10.0.0.1:5060: 200 (2 SUBSCRIBE)",
        "10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060",
    ]);
}

/// 101's phone refreshes its subscription to 102.
fn refresh(w: &mut World, cseq: u32) {
    let ok = w
        .sent
        .iter()
        .find(|(_, text)| text.starts_with("SIP/2.0 200") && text.contains("1 SUBSCRIBE"));
    let ok = ok.unwrap().1.clone();
    let (to, from) = (header(&ok, "To"), header(&ok, "From"));
    let headers = format!("{EVENTS}Expires: 600\nContact: <sip:101@{DESK}>\n");
    let text = within(&to, &from, "sub-102", "SUBSCRIBE", cseq, &headers, "");
    w.receive(DESK, &text.replace("10.7.0.1", "10.0.0.1"));
}

#[test]
fn a_phone_whose_password_is_another_one_now_watches_no_more() {
    let mut w = watching();
    let mut changed = user(101);
    changed.ha1_sha256 = "another".into();
    let (id, changed) = (changed.id, Some(changed));
    w.input(ShimInput::User { id, user: changed });
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    let last = w.last_like("NOTIFY");
    let state = header(&last, "Subscription-State");
    assert_eq!(state, "terminated;reason=rejected");
    refresh(&mut w, 2);
    w.expect(&["10.0.0.1:5060: 481 (2 SUBSCRIBE)"]);
    w.respond_to(DESK, &last, "200 OK", "", "");
    w.expect(&["pbx: Watched 102 false"]);
    assert_eq!(w.shim.subscriptions(), 0);
}

#[test]
fn a_user_who_is_removed_watches_nobody_and_is_watched_by_nobody() {
    for gone in [101, 102] {
        let mut w = watching();
        let (id, user) = (id(gone), None);
        w.input(ShimInput::User { id, user });
        let last = w.last_like("NOTIFY");
        let state = header(&last, "Subscription-State");
        assert!(state.starts_with("terminated;"), "{state}");
        refresh(&mut w, 2);
        assert!(w.last().starts_with("SIP/2.0 481"), "{}", w.last());
        w.respond_to(DESK, &last, "200 OK", "", "");
        assert_eq!(w.shim.subscriptions(), 0);
    }
}

#[test]
fn what_call_control_says_can_be_watched_is_until_it_is_no_more() {
    for what in [Watchable::Group(id(900)), Watchable::Slot(3)] {
        let mut w = World::new();
        w.register(101, DESK);
        w.receive(DESK, &subscribe("600", 1, EVENTS));
        w.expect(&["10.0.0.1:5060: 404 (1 SUBSCRIBE)"]);
        let label = Label {
            extension: "600".into(),
            name: "Sales".into(),
        };
        let label = Some(label);
        w.pbx(SipCommand::Watchable { what, label });
        w.receive(DESK, &subscribe("600", 2, EVENTS));
        assert!(w.out()[0].starts_with("pbx: Watched "));
        let calls = vec![call("555", CallState::Early)].into();
        w.pbx(SipCommand::Calls { what, calls });
        let told = w.last_like("NOTIFY");
        assert!(told.contains("entity=\"sip:600@10.0.0.9:5060\""), "{told}");
        assert!(told.contains("display=\"Sales\""), "{told}");
        assert!(told.contains("<state>early</state>"), "{told}");
        w.respond(DESK, "NOTIFY", "200 OK", "", "");
        let label = None;
        w.pbx(SipCommand::Watchable { what, label });
        let last = w.last_like("NOTIFY");
        let state = header(&last, "Subscription-State");
        assert_eq!(state, "terminated;reason=noresource");
        assert!(last.contains("<state>early</state>"), "{last}");
        w.receive(DESK, &subscribe("600", 3, EVENTS));
        assert!(w.last().starts_with("SIP/2.0 404"), "{}", w.last());
    }
}

#[test]
fn lamps_and_calls_have_bounds_of_their_own() {
    let mut w = World::with(ShimConfig {
        watches_max: 1,
        lamp_subscriptions_max: 1,
        ..config()
    });
    w.register(101, DESK);
    w.receive(DESK, &subscribe("102", 1, EVENTS));
    w.receive(DESK, &subscribe("103", 2, EVENTS));
    assert!(w.last().starts_with("SIP/2.0 503"), "{}", w.last());
    w.receive(DESK, &subscribe("101", 3, "Event: message-summary\n"));
    assert!(w.last_like("SIP/2.0").starts_with("SIP/2.0 200"));
    let counters = w.shim.counters();
    let full = (counters.watches_full, counters.subscriptions_full);
    assert_eq!((w.shim.subscriptions(), full), (2, (1, 0)));
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
    w.pass_ms(PACE_MS);
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
