//! What happens in a running call, as transcripts: hold, keys, timers, glare.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{Cause, SipCommand};

fn hold(way: &str) -> String {
    format!("{OFFER}a={way}\n").replace("1 1 IN", "1 2 IN")
}

//= RFC 3264 §6.1 type=test
//# Once the answerer has sent the answer, it MUST be prepared to receive media for any recvonly
//# streams described by that answer.
//= RFC 3264 §8 type=test
//# The answerer MUST be prepared to receive an offer that contains SDP with a version that has not
//# changed; this is effectively a no-op. However, the answerer MUST generate a valid answer (which
//# MAY be the same as the previous SDP from the answerer, or MAY be different), according to the
//# procedures defined in Section 6.
#[test]
fn hold_and_resume() {
    let mut w = World::new();
    w.talking();
    let first = w.last_like("SIP/2.0 200");
    w.receive(GATE, &w.within("INVITE", 2, "", &hold("sendonly")));
    w.expect(&[
        "media: Set 1 Pcmu 10.7.0.1:4000 receive",
        "pbx: Held 1 true",
        "10.7.0.1:5060: 200 (2 INVITE)",
    ]);
    let second = w.last().to_owned();
    assert!(second.contains("a=recvonly"), "{second}");
    let version = |t: &str| t.lines().find(|l| l.starts_with("o=")).unwrap().to_owned();
    assert_ne!(version(&first), version(&second));
    w.receive(GATE, &w.within("ACK", 2, "", ""));
    w.expect(&[]);
    w.receive(GATE, &w.within("INVITE", 3, "", OFFER));
    w.expect(&[
        "media: Set 1 Pcmu 10.7.0.1:4000 both",
        "pbx: Held 1 false",
        "10.7.0.1:5060: 200 (3 INVITE)",
    ]);
    w.receive(GATE, &w.within("ACK", 3, "", ""));
    // The same again changes nothing.
    w.receive(GATE, &w.within("INVITE", 4, "", OFFER));
    w.expect(&["10.7.0.1:5060: 200 (4 INVITE)"]);
}

#[test]
fn other_forms_of_hold() {
    let mut w = World::new();
    w.talking();
    w.receive(GATE, &w.within("UPDATE", 2, "", &hold("inactive")));
    w.expect(&[
        "media: Set 1 Pcmu 10.7.0.1:4000 neither",
        "pbx: Held 1 true",
        "10.7.0.1:5060: 200 (2 UPDATE)",
    ]);
    w.receive(
        GATE,
        &w.within(
            "UPDATE",
            3,
            "",
            &OFFER.replace("c=IN IP4 10.7.0.1", "c=IN IP4 0.0.0.0"),
        ),
    );
    w.expect(&[
        "media: Set 1 Pcmu nowhere receive",
        "10.7.0.1:5060: 200 (3 UPDATE)",
    ]);
}

//= RFC 3264 §8.3.2 type=test
//# Similarly, as described in Section 6, as soon as it sends its answer, the answerer MUST begin
//# sending media using any formats in the offer that were also present in the answer, and SHOULD
//# use the most preferred format in the offer that was also listed in the answer (assuming the
//# stream allows for sending), and MUST NOT send using any formats that are not in the offer, even
//# if they were present in a previous SDP from the peer.
#[test]
fn a_new_address_and_codec() {
    let mut w = World::new();
    w.talking();
    let moved = answer_sdp("10.7.0.2", "8");
    w.receive(
        GATE,
        &w.within("INVITE", 2, "Contact: <sip:555@10.7.0.2:5080>\n", &moved),
    );
    w.expect(&[
        "media: Set 1 Pcma 10.7.0.2:4200 both",
        "10.7.0.1:5060: 200 (2 INVITE)",
    ]);
    w.receive(GATE, &w.within("ACK", 2, "", ""));
    w.pbx(SipCommand::End {
        leg: LegId(1),
        cause: Cause::Normal,
    });
    w.expect(&["media: Close 1", "10.7.0.2:5080: BYE sip:555@10.7.0.2:5080"]);
}

//= RFC 3264 §8.3.2 type=test
//# Similarly, when the offerer receives the answer, it MUST begin sending media using any formats
//# in the answer, and SHOULD use the most preferred one (assuming the stream allows for sending),
//# and MUST NOT send using any formats that are not in the answer, even if they were present in a
//# previous SDP from the peer.
#[test]
fn a_re_invite_without_an_offer_gets_ours() {
    let mut w = World::new();
    w.talking();
    w.receive(GATE, &w.within("INVITE", 2, "", ""));
    w.expect(&["10.7.0.1:5060: 200 (2 INVITE)"]);
    let offered = "RTP/AVP 0 8 111 9 101 110";
    assert!(w.last().contains(offered), "{}", w.last());
    w.receive(GATE, &w.within("ACK", 2, "", &answer_sdp("10.7.0.1", "8")));
    w.expect(&["media: Set 1 Pcma 10.7.0.1:4200 both"]);
}

#[test]
fn an_offer_we_cannot_take_leaves_all_as_it_was() {
    let mut w = World::new();
    w.talking();
    w.receive(
        GATE,
        &w.within("INVITE", 2, "", &OFFER.replace("0 8 101", "18")),
    );
    w.expect(&["10.7.0.1:5060: 488 (2 INVITE)"]);
    assert_eq!(w.shim.dialogs(), 1);
}

#[test]
fn a_re_invite_whose_ack_never_comes_ends_the_call() {
    let mut w = World::new();
    w.talking();
    w.receive(GATE, &w.within("INVITE", 2, "", OFFER));
    w.receive(GATE, &w.within("INVITE", 3, "", OFFER));
    let lines = w.out();
    assert_eq!(lines[lines.len() - 1], "10.7.0.1:5060: 500 (3 INVITE)");
    w.pass_ms(33_000);
    assert!(w.out().contains(&"pbx: Ended 1 MediaTimeout".to_owned()));
}

#[test]
fn keys_in_signalling() {
    let mut w = World::new();
    w.talking();
    w.receive(GATE, &w.within("INFO", 2, "", "Signal=5\nDuration=160\n"));
    w.expect(&["10.7.0.1:5060: 200 (2 INFO)", "pbx: Digit 1 5"]);
    // The same INFO again is one key.
    w.receive(GATE, &w.within("INFO", 2, "", "Signal=5\nDuration=160\n"));
    w.expect(&["10.7.0.1:5060: 200 (2 INFO)"]);
    let plain = w
        .within("INFO", 3, "", "#")
        .replace("text/plain", "application/dtmf");
    w.receive(GATE, &plain);
    w.expect(&["10.7.0.1:5060: 200 (3 INFO)", "pbx: Digit 1 #"]);
    w.receive(GATE, &w.within("INFO", 4, "", "hello"));
    w.expect(&["10.7.0.1:5060: 415 (4 INFO)"]);
    w.receive(GATE, &w.within("INFO", 5, "", "Signal=?\n"));
    w.expect(&["10.7.0.1:5060: 400 (5 INFO)"]);
    w.receive(GATE, &w.within("INFO", 6, "", ""));
    w.expect(&["10.7.0.1:5060: 200 (6 INFO)"]);
}

#[test]
fn requests_come_in_order_and_to_calls_that_are() {
    let mut w = World::new();
    w.talking();
    w.receive(GATE, &w.within("OPTIONS", 5, "", ""));
    w.expect(&["10.7.0.1:5060: 200 (5 OPTIONS)"]);
    w.receive(GATE, &w.within("INFO", 4, "", ""));
    w.expect(&["10.7.0.1:5060: 500 (4 INFO)"]);
    w.receive(GATE, &w.within("PUBLISH", 6, "", ""));
    w.expect(&["10.7.0.1:5060: 405 (6 PUBLISH)"]);
    let ok = w.last_like("SIP/2.0 200");
    let (to, from, call_id) = (
        header(&ok, "To"),
        header(&ok, "From"),
        header(&ok, "Call-ID"),
    );
    for (to, from, call_id) in [
        (to.replace("tag=", "tag=1"), from.clone(), call_id.clone()),
        (to.clone(), from.replace("g1", "g2"), call_id.clone()),
        (to.clone(), from.clone(), "other".to_owned()),
    ] {
        w.receive(
            GATE,
            &within(&to, &from, &call_id, "BYE", 9, "", "").replace("BYE9", &call_id),
        );
        assert_eq!(
            w.out().last().map(String::as_str),
            Some("10.7.0.1:5060: 481 (9 BYE)")
        );
        w.pass_ms(40_000);
    }
    assert_eq!(w.shim.dialogs(), 1);
}

/// An outgoing call that talks, whose phone said these headers.
fn called(headers: &str) -> World {
    let mut w = World::new();
    w.outgoing();
    w.respond(
        HOME,
        "INVITE",
        "200 OK",
        headers,
        &answer_sdp("10.0.0.2", "0"),
    );
    w.out();
    w
}

#[test]
fn a_phone_without_timers_is_asked_all_the_same() {
    let mut w = called("");
    w.pass_ms(899_000);
    w.expect(&[]);
    w.pass_ms(1_000);
    w.expect(&["10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060"]);
    let refresh = w.last_like("INVITE");
    assert!(
        refresh.contains("CSeq: 2 INVITE") && refresh.contains("m=audio 10000"),
        "{refresh}"
    );
    w.respond(HOME, "INVITE", "200 OK", "", &answer_sdp("10.0.0.2", "0"));
    w.expect(&["10.0.0.2:5060: ACK sip:102@10.0.0.2:5060"]);
    w.pass_ms(900_000);
    w.expect(&["10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060"]);
    w.respond(HOME, "INVITE", "481 Gone", "", "");
    w.expect(&[
        "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060",
        "media: Close 2",
        "10.0.0.2:5060: BYE sip:102@10.0.0.2:5060",
        "pbx: Ended 2 MediaTimeout",
    ]);
}

#[test]
fn a_phone_that_takes_update_gets_it() {
    let mut w = called("Allow: INVITE, UPDATE\nSession-Expires: 200;refresher=uac\n");
    w.pass_ms(100_000);
    w.expect(&["10.0.0.2:5060: UPDATE sip:102@10.0.0.2:5060"]);
    assert!(
        w.last().contains("Session-Expires: 200;refresher=uac"),
        "{}",
        w.last()
    );
    w.respond(
        HOME,
        "UPDATE",
        "200 OK",
        "Session-Expires: 200;refresher=uac\n",
        "",
    );
    w.pass_ms(100_000);
    w.expect(&["10.0.0.2:5060: UPDATE sip:102@10.0.0.2:5060"]);
    w.respond(HOME, "UPDATE", "405 Not Allowed", "", "");
    w.pass_ms(0);
    w.expect(&["10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060"]);
    w.pass_ms(33_000);
    assert!(w.out().contains(&"pbx: Ended 2 MediaTimeout".to_owned()));
}

#[test]
fn a_phone_that_refreshes_must_do_so() {
    let mut w = called("Session-Expires: 200;refresher=uas\n");
    w.pass_ms(167_000);
    w.expect(&[]);
    w.pass_ms(1_000);
    w.expect(&[
        "media: Close 2",
        "10.0.0.2:5060: BYE sip:102@10.0.0.2:5060",
        "pbx: Ended 2 MediaTimeout",
    ]);
}

#[test]
fn who_refreshes_is_agreed_with_a_caller() {
    let mut w = World::new();
    w.receive(GATE, &invite(1, "Supported: timer\nSession-Expires: 300\n"));
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    let ok = w.last_like("SIP/2.0 200");
    assert_eq!(header(&ok, "Session-Expires"), "300;refresher=uac");
    assert_eq!(header(&ok, "Require"), "timer");
    w.receive(GATE, &w.within("ACK", 1, "", ""));
    w.pass_ms(200_000);
    w.receive(
        GATE,
        &w.within(
            "UPDATE",
            2,
            "Supported: timer\nSession-Expires: 300;refresher=uac\n",
            "",
        ),
    );
    w.out();
    w.pass_ms(267_000);
    w.expect(&[]);
    w.pass_ms(2_000);
    assert!(w.out().contains(&"pbx: Ended 1 MediaTimeout".to_owned()));
}

#[test]
fn glare() {
    let mut w = called("");
    let ok = w.last_like("ACK");
    w.pass_ms(900_000);
    w.out();
    // Theirs meets ours.
    let (ours, theirs) = (header(&ok, "From"), header(&ok, "To"));
    let text = within(
        &ours,
        &theirs,
        &header(&ok, "Call-ID"),
        "INVITE",
        1,
        "",
        OFFER,
    );
    w.receive(HOME, &text.replace("10.7.0.1:5060", HOME));
    w.expect(&["10.0.0.2:5060: 491 (1 INVITE)"]);
    // And ours theirs: we wait, between 2.1 and 4 s as the maker of the Call-ID.
    w.respond(HOME, "INVITE", "491 Request Pending", "", "");
    w.expect(&["10.0.0.2:5060: ACK sip:102@10.0.0.2:5060"]);
    w.pass_ms(2_099);
    assert!(!w.out().iter().any(|l| l.contains("INVITE sip")));
    w.pass_ms(1_901);
    assert!(
        w.out()
            .contains(&"10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060".to_owned())
    );
    assert_eq!(w.shim.counters().glares, 1);
}

#[test]
fn a_proxy_may_ask_for_longer_sessions() {
    let mut w = World::new();
    w.outgoing();
    w.respond(HOME, "INVITE", "422 Too Small", "Min-SE: 3600\n", "");
    w.expect(&[
        "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060",
        "10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060",
    ]);
    assert_eq!(header(w.last(), "Session-Expires"), "3600");
    assert_eq!(header(w.last(), "CSeq"), "2 INVITE");
    w.respond(HOME, "INVITE", "422 Too Small", "Min-SE: 7200\n", "");
    assert_eq!(w.out()[1..], ["media: Close 2", "pbx: Ended 2 Failed"]);
}

#[test]
fn a_session_of_no_length_is_not_believed() {
    let mut w = World::new();
    w.receive(GATE, &invite(1, "Session-Expires: 0\n"));
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.receive(GATE, &w.within("ACK", 1, "", ""));
    w.out();
    w.pass_ms(44_000);
    w.expect(&[]);
    w.pass_ms(1_000);
    w.expect(&["10.7.0.1:5060: INVITE sip:555@10.7.0.1:5060"]);
}
