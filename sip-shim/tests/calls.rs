//! Calls as transcripts, both ways.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{CallHistory, Cause, SipCommand, Target};

//= RFC 3261 §17.2.1 type=test
//# The request MUST be passed to the TU.
//= RFC 3261 §17.2.1 type=test
//# So long as the server transaction is in the "Proceeding" state, each of these MUST be passed to
//# the transport layer for transmission.
//= RFC 3261 §17.2.1 type=test
//# If, while in the "Proceeding" state, the TU passes a 2xx response to the server transaction, the
//# server transaction MUST pass this response to the transport layer for transmission.
//= RFC 3261 §17.2.2 type=test
//# If the TU passes a final response (status codes 200-699) to the server while in the "Proceeding"
//# state, the transaction MUST enter the "Completed" state, and the response MUST be passed to the
//# transport layer for transmission.
//= RFC 3264 §6.1 type=test
//# It MUST be prepared to send and receive media for any sendrecv streams in the answer, and it MAY
//# send media immediately.
#[test]
fn a_call_comes_in_rings_is_answered_and_ends() {
    let mut w = World::new();
    w.incoming();
    w.pbx(SipCommand::Ring { leg: LegId(1) });
    w.expect(&["10.7.0.1:5060: 180 (1 INVITE)"]);
    assert!(header(w.last(), "Contact").starts_with("<sip:10.0.0.9:5060>"));
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.expect(&[
        "10.7.0.1:5060: 200 (1 INVITE)",
        "media: Set 1 Pcmu 10.7.0.1:4000 both",
    ]);
    assert!(
        w.last().contains("m=audio 10000 RTP/AVP 0 101\r\n"),
        "{}",
        w.last()
    );
    w.receive(GATE, &w.within("ACK", 1, "", ""));
    w.expect(&["pbx: Confirmed 1"]);
    w.receive(GATE, &w.within("BYE", 2, "", ""));
    w.expect(&[
        "10.7.0.1:5060: 200 (2 BYE)",
        "media: Close 1",
        "pbx: Ended 1 Normal",
    ]);
    w.pass_ms(100_000);
    w.expect(&[]);
    assert_eq!(
        (w.shim.dialogs(), w.shim.waiting(), w.shim.deadline()),
        (0, 0, None)
    );
}

#[test]
fn we_hang_up() {
    let mut w = World::new();
    w.talking();
    w.pbx(SipCommand::End {
        leg: LegId(1),
        cause: Cause::Normal,
    });
    w.expect(&["media: Close 1", "10.7.0.1:5060: BYE sip:555@10.7.0.1:5060"]);
    w.respond(GATE, "BYE", "200 OK", "", "");
    w.pass_ms(100_000);
    w.expect(&[]);
}

//= RFC 3261 §17.1.1.2 type=test
//# The initial state, "calling", MUST be entered when the TU initiates a new client transaction
//# with an INVITE request. The client transaction MUST pass the request to the transport layer for
//# transmission (see Section 18).
//= RFC 3261 §17.1.1.2 type=test
//# Furthermore, the provisional response MUST be passed to the TU. Any further provisional
//# responses MUST be passed up to the TU while in the "Proceeding" state.
#[test]
fn a_call_goes_out_and_is_answered() {
    let mut w = World::new();
    w.outgoing();
    let invite = w.last_like("INVITE");
    assert!(
        invite.contains("m=audio 10000 RTP/AVP 111 9 0 8 101 110\r\n"),
        "{invite}"
    );
    assert!(header(&invite, "From").starts_with("\"Gate\" <sip:555@10.0.0.9:5060>;tag="));
    w.respond(HOME, "INVITE", "100 Trying", "", "");
    w.expect(&[]);
    w.respond(HOME, "INVITE", "180 Ringing", "", "");
    w.respond(HOME, "INVITE", "180 Ringing", "", "");
    w.expect(&["pbx: Ringing 2"]);
    let contact = "Contact: <sip:102@10.0.0.2:5060>\n";
    w.respond(
        HOME,
        "INVITE",
        "200 OK",
        contact,
        &answer_sdp("10.0.0.2", "8 101"),
    );
    w.expect(&[
        "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060",
        "media: Set 2 Pcma 10.0.0.2:4200 both",
        "pbx: Answered 2",
    ]);
    w.respond_to(
        HOME,
        &invite,
        "200 OK",
        contact,
        &answer_sdp("10.0.0.2", "8 101"),
    );
    w.expect(&["10.0.0.2:5060: ACK sip:102@10.0.0.2:5060"]);
    w.pbx(SipCommand::End {
        leg: LegId(2),
        cause: Cause::Normal,
    });
    w.expect(&["media: Close 2", "10.0.0.2:5060: BYE sip:102@10.0.0.2:5060"]);
}

#[test]
fn refusals_have_their_status() {
    let cases = [
        (Cause::Busy, "486"),
        (Cause::Declined, "603"),
        (Cause::NoAnswer, "480"),
        (Cause::NotRegistered, "480"),
        (Cause::NoSuchNumber, "404"),
        (Cause::Forbidden, "403"),
        (Cause::NotAcceptable, "488"),
        (Cause::Congestion, "503"),
        (Cause::ShuttingDown, "503"),
        (Cause::Failed, "500"),
    ];
    for (cause, status) in cases {
        let mut w = World::new();
        w.incoming();
        w.pbx(SipCommand::End {
            leg: LegId(1),
            cause,
        });
        // No media port was opened for it.
        w.expect(&[&format!("10.7.0.1:5060: {status} (1 INVITE)")]);
        assert_eq!(!header(w.last(), "Retry-After").is_empty(), status == "503");
        // Repeated until the ACK comes, then never again.
        w.pass_ms(600);
        assert_eq!(w.out().len(), 1);
        let to = header(w.last(), "To");
        let ack = invite(1, "")
            .replace("INVITE", "ACK")
            .replace("<sip:102@10.0.0.9>", &to);
        w.receive(GATE, &ack);
        w.pass_ms(60_000);
        w.expect(&[]);
    }
}

#[test]
fn the_caller_gives_up() {
    let mut w = World::new();
    w.incoming();
    w.receive(GATE, &invite_with(1, "", "").replace("INVITE", "CANCEL"));
    w.expect(&[
        "10.7.0.1:5060: 200 (1 CANCEL)",
        "10.7.0.1:5060: 487 (1 INVITE)",
        "pbx: Ended 1 Cancelled",
    ]);
    let stray = invite_with(7, "", "").replace("INVITE", "CANCEL");
    w.receive(GATE, &stray);
    w.expect(&["10.7.0.1:5060: 481 (7 CANCEL)"]);
}

#[test]
fn a_cancel_too_late_changes_nothing() {
    let mut w = World::new();
    w.incoming();
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.out();
    w.receive(GATE, &invite_with(1, "", "").replace("INVITE", "CANCEL"));
    w.expect(&["10.7.0.1:5060: 200 (1 CANCEL)"]);
}

//= RFC 3261 §17.2.1 type=test
//# The server transaction MUST generate a 100 (Trying) response unless it knows that the TU will
//# generate a provisional or final response within 200 ms, in which case it MAY generate a 100
//# (Trying) response.
//= RFC 3261 §17.2.1 type=test
//# If a request retransmission is received while in the "Proceeding" state, the most recent
//# provisional response that was received from the TU MUST be passed to the transport layer for
//# retransmission.
#[test]
fn an_invite_that_comes_again_is_answered_again() {
    let mut w = World::new();
    w.incoming();
    w.receive(GATE, &invite(1, ""));
    w.expect(&["10.7.0.1:5060: 100 (1 INVITE)"]);
    w.pbx(SipCommand::Ring { leg: LegId(1) });
    w.out();
    w.receive(GATE, &invite(1, ""));
    w.expect(&["10.7.0.1:5060: 180 (1 INVITE)"]);
}

#[test]
fn an_invite_that_comes_by_two_ways_is_one_call() {
    let mut w = World::new();
    w.incoming();
    w.receive(GATE, &invite(1, "").replace("z9hG4bKi1", "z9hG4bKother"));
    w.expect(&["10.7.0.1:5060: 482 (1 INVITE)"]);
}

#[test]
fn a_2xx_is_repeated_until_its_ack_and_then_given_up() {
    let mut w = World::new();
    w.incoming();
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.out();
    w.pass_ms(31_000);
    let repeats = w.out();
    assert!(
        repeats.iter().all(|l| l == "10.7.0.1:5060: 200 (1 INVITE)"),
        "{repeats:?}"
    );
    // After 0.5, 1.5, 3.5, 7.5 s, then every 4 s.
    assert_eq!(repeats.len(), 9);
    w.pass_ms(1_100);
    let rest = w.out();
    assert_eq!(
        rest[rest.len() - 3..],
        [
            "media: Close 1",
            "10.7.0.1:5060: BYE sip:555@10.7.0.1:5060",
            "pbx: Ended 1 MediaTimeout"
        ]
    );
}

#[test]
fn hanging_up_waits_for_the_ack() {
    let mut w = World::new();
    w.incoming();
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.out();
    w.pbx(SipCommand::End {
        leg: LegId(1),
        cause: Cause::Normal,
    });
    w.expect(&["media: Close 1"]);
    w.receive(GATE, &w.within("ACK", 1, "", ""));
    w.expect(&["10.7.0.1:5060: BYE sip:555@10.7.0.1:5060"]);
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut w = World::new();
    w.receive(GATE, &invite_with(1, "", ""));
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.out();
    assert!(
        w.last().contains("m=audio 10000 RTP/AVP 111 9 0 8 101 110"),
        "{}",
        w.last()
    );
    w.receive(GATE, &w.within("ACK", 1, "", &answer_sdp("10.7.0.1", "8")));
    w.expect(&["media: Set 1 Pcma 10.7.0.1:4200 both", "pbx: Confirmed 1"]);
}

#[test]
fn a_late_offer_without_answer_ends_the_call() {
    let mut w = World::new();
    w.receive(GATE, &invite_with(1, "", ""));
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.out();
    w.receive(GATE, &w.within("ACK", 1, "", ""));
    w.expect(&[
        "media: Close 1",
        "10.7.0.1:5060: BYE sip:555@10.7.0.1:5060",
        "pbx: Ended 1 NotAcceptable",
    ]);
}

#[test]
fn what_cannot_be_a_call_is_refused() {
    let check = |text: &str, status: &str| {
        let mut w = World::new();
        w.receive(GATE, text);
        assert_eq!(
            w.out(),
            [format!("10.7.0.1:5060: {status} (1 INVITE)")],
            "{text}"
        );
        (
            header(w.last(), "Unsupported"),
            header(w.last(), "Min-SE"),
            header(w.last(), "Accept"),
        )
    };
    check(
        &invite_with(1, "", &OFFER.replace("0 8 101", "4 18")),
        "488",
    );
    check(
        &invite_with(1, "", &OFFER.replace("m=audio 4000", "m=audio")),
        "400",
    );
    check(&invite_with(1, "", "hello"), "415");
    assert_eq!(
        check(&invite(1, "Require: tdialog, timer, 100rel\n"), "420").0,
        "tdialog"
    );
    assert_eq!(
        check(&invite(1, "Supported: timer\nSession-Expires: 60\n"), "422").1,
        "90"
    );
    check(
        &invite(1, "").replace("Max-Forwards: 70", "Max-Forwards: 0"),
        "483",
    );
    check(&invite(1, "Content-Encoding: gzip\n"), "415");
    check(
        &invite(1, "").replace("INVITE sip:102@", "INVITE sip:"),
        "404",
    );
    check(&invite(1, "").replace("Contact:", "X-Contact:"), "400");
}

#[test]
fn no_port_is_left() {
    let mut w = World::new();
    w.ports_left = 0;
    w.incoming();
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.expect(&["10.7.0.1:5060: 503 (1 INVITE)", "pbx: Ended 1 Congestion"]);
    assert!(!header(&w.last_like("SIP/2.0 503"), "Retry-After").is_empty());
    w.register(102, HOME);
    w.call(2);
    w.expect(&["pbx: Ended 2 Congestion"]);
    assert_eq!(
        (w.shim.counters().calls_refused_full, w.shim.dialogs()),
        (2, 0)
    );
}

#[test]
fn no_more_calls_than_allowed() {
    let mut w = World::with(tandem_sip_shim::ShimConfig {
        dialogs_max: 1,
        ..config()
    });
    w.incoming();
    w.receive(GATE, &invite(2, "").replace("gate-1", "gate-2"));
    w.expect(&["10.7.0.1:5060: 503 (2 INVITE)"]);
    w.register(102, HOME);
    w.call(2);
    w.expect(&["pbx: Ended 2 Congestion"]);
}

#[test]
fn a_stranger_must_show_a_password() {
    let mut w = World::new();
    let text = |cseq, from: &str, proof: &str| {
        invite(cseq, proof)
            .replace("sip:555@10.7.0.1>", from)
            .replace("10.7.0.1:5060", DESK)
    };
    w.receive(DESK, &text(1, "sip:101@10.0.0.9>", ""));
    w.expect(&["10.0.0.1:5060: 401 (1 INVITE)"]);
    let proof = w.proof("INVITE", "sip:102@10.0.0.9", 101);
    w.receive(DESK, &text(2, "sip:101@10.0.0.9>", &proof));
    w.expect(&[
        "10.0.0.1:5060: 100 (2 INVITE)",
        "pbx: Incoming 1: 101 \"User 101\" [101] -> 102",
    ]);
    // Whatever 101 calls itself, it is 101.
    w.receive(DESK, &text(3, "sip:103@10.0.0.9>", ""));
    let proof = w.proof("INVITE", "sip:102@10.0.0.9", 101);
    w.out();
    w.receive(DESK, &text(4, "sip:103@10.0.0.9>", &proof));
    w.expect(&[
        "10.0.0.1:5060: 100 (4 INVITE)",
        "pbx: Incoming 3: 101 \"User 101\" [101] -> 102",
    ]);
    // The answer to a challenge for one number does not dial another.
    w.receive(DESK, &text(5, "sip:101@10.0.0.9>", ""));
    let proof = w.proof("INVITE", "sip:102@10.0.0.9", 101);
    let swapped =
        text(6, "sip:101@10.0.0.9>", &proof).replace("INVITE sip:102@", "INVITE sip:900@");
    w.receive(DESK, &swapped);
    assert!(w.last().starts_with("SIP/2.0 401"), "{}", w.last());
}

#[test]
fn a_trusted_phone_is_known_by_its_address() {
    let mut w = World::new();
    w.register(101, "10.7.0.5:5060");
    let text = |at: &str| {
        invite(1, "")
            .replace("sip:555@10.7.0.1>", "sip:101@10.0.0.9>")
            .replace("10.7.0.1:5060", at)
    };
    w.receive("10.7.0.5:5060", &text("10.7.0.5:5060"));
    assert_eq!(w.out()[1], "pbx: Incoming 1: 101 \"User 101\" [101] -> 102");
    let mut w = World::new();
    w.register(101, "10.7.0.5:5060");
    w.receive("10.7.0.5:5062", &text("10.7.0.5:5062"));
    assert_eq!(w.out()[1], "pbx: Incoming 1: 101 \"Gate\" -> 102");
}

#[test]
fn a_gateway_may_assert_who_calls() {
    let mut w = World::new();
    w.receive(
        GATE,
        &invite(1, "P-Asserted-Identity: \"Bank\" <tel:+49-30-123>\n"),
    );
    assert_eq!(w.out()[1], "pbx: Incoming 1: +4930123 \"Bank\" -> 102");
}

#[test]
fn nobody_is_registered() {
    let mut w = World::new();
    w.call(2);
    w.expect(&["pbx: Ended 2 NotRegistered"]);
}

const THIRD: &str = "10.0.0.3:5060";

fn two_phones() -> World {
    let mut w = World::new();
    w.register(102, HOME);
    w.register(102, THIRD);
    w.call(2);
    w.expect(&[
        "10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060",
        "10.0.0.3:5060: INVITE sip:102@10.0.0.3:5060",
    ]);
    w
}

//= RFC 3261 §9.1 type=test
//# The destination address, port, and transport for the CANCEL MUST be identical to those used to
//# send the original request.
#[test]
fn the_first_to_answer_wins_and_the_other_is_cancelled() {
    let mut w = two_phones();
    w.respond(HOME, "INVITE sip:102@10.0.0.2", "180 Ringing", "", "");
    w.respond(THIRD, "INVITE sip:102@10.0.0.3", "180 Ringing", "", "");
    w.expect(&["pbx: Ringing 2"]);
    let third = w.last_like("INVITE sip:102@10.0.0.3");
    w.respond(
        HOME,
        "INVITE sip:102@10.0.0.2",
        "200 OK",
        "",
        &answer_sdp("10.0.0.2", "0"),
    );
    w.expect(&[
        "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060",
        "10.0.0.3:5060: CANCEL sip:102@10.0.0.3:5060",
        "media: Set 2 Pcmu 10.0.0.2:4200 both",
        "pbx: Answered 2",
    ]);
    let cancel = w.last_like("CANCEL");
    assert_eq!(header(&cancel, "Via"), header(&third, "Via"));
    assert_eq!(header(&cancel, "CSeq"), "1 CANCEL");
    w.respond_to(THIRD, &cancel, "200 OK", "", "");
    w.respond_to(THIRD, &third, "487 Request Terminated", "", "");
    w.expect(&["10.0.0.3:5060: ACK sip:102@10.0.0.3:5060"]);
}

#[test]
fn an_invite_is_not_cancelled_before_it_was_heard() {
    let mut w = two_phones();
    let third = w.last_like("INVITE sip:102@10.0.0.3");
    w.respond(
        HOME,
        "INVITE sip:102@10.0.0.2",
        "200 OK",
        "",
        &answer_sdp("10.0.0.2", "0"),
    );
    assert!(!w.out().iter().any(|l| l.contains("CANCEL")));
    w.respond_to(THIRD, &third, "100 Trying", "", "");
    w.expect(&["10.0.0.3:5060: CANCEL sip:102@10.0.0.3:5060"]);
}

//= RFC 3261 §17.1.1.3 type=test
//# A UAC core that generates an ACK for 2xx MUST instead follow the rules described in Section 13.
#[test]
fn both_answer_at_once() {
    let mut w = two_phones();
    let third = w.last_like("INVITE sip:102@10.0.0.3");
    w.respond(
        HOME,
        "INVITE sip:102@10.0.0.2",
        "200 OK",
        "",
        &answer_sdp("10.0.0.2", "0"),
    );
    w.out();
    w.respond_to(THIRD, &third, "200 OK", "", &answer_sdp("10.0.0.3", "0"));
    w.expect(&[
        "10.0.0.3:5060: ACK sip:102@10.0.0.3:5060",
        "10.0.0.3:5060: BYE sip:102@10.0.0.3:5060",
    ]);
    w.respond_to(THIRD, &third, "200 OK", "", &answer_sdp("10.0.0.3", "0"));
    w.expect(&["10.0.0.3:5060: ACK sip:102@10.0.0.3:5060"]);
}

#[test]
fn when_all_refuse_the_best_cause_counts() {
    let mut w = two_phones();
    w.respond(HOME, "INVITE sip:102@10.0.0.2", "480 Gone", "", "");
    w.expect(&["10.0.0.2:5060: ACK sip:102@10.0.0.2:5060"]);
    w.respond(THIRD, "INVITE sip:102@10.0.0.3", "486 Busy Here", "", "");
    w.expect(&[
        "10.0.0.3:5060: ACK sip:102@10.0.0.3:5060",
        "media: Close 2",
        "pbx: Ended 2 Busy",
    ]);
}

#[test]
fn a_6xx_speaks_for_the_user() {
    let mut w = two_phones();
    w.respond(THIRD, "INVITE sip:102@10.0.0.3", "180 Ringing", "", "");
    w.out();
    w.respond(HOME, "INVITE sip:102@10.0.0.2", "603 Decline", "", "");
    w.expect(&[
        "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060",
        "10.0.0.3:5060: CANCEL sip:102@10.0.0.3:5060",
        "media: Close 2",
        "pbx: Ended 2 Declined",
    ]);
}

#[test]
fn call_control_gives_up_ringing() {
    let mut w = two_phones();
    w.respond(HOME, "INVITE sip:102@10.0.0.2", "180 Ringing", "", "");
    w.out();
    w.pbx(SipCommand::End {
        leg: LegId(2),
        cause: Cause::NoAnswer,
    });
    w.expect(&[
        "10.0.0.2:5060: CANCEL sip:102@10.0.0.2:5060",
        "media: Close 2",
    ]);
    w.pass_ms(100_000);
    let rest = w.out();
    assert!(!rest.iter().any(|l| l.starts_with("pbx")), "{rest:?}");
    assert_eq!((w.shim.dialogs(), w.shim.waiting()), (0, 0));
}

#[test]
fn a_phone_that_never_answers_is_given_up() {
    let mut w = World::new();
    w.outgoing();
    w.pass_ms(5_000);
    let lines = w.out();
    // T1 doubled: after 0.5, 1.5, 3.5 s.
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(lines[3..], ["media: Close 2", "pbx: Ended 2 NoAnswer"]);
    // Should it wake up, its ringing is ended.
    w.pass_ms(10_000);
    w.out();
    w.respond(HOME, "INVITE", "180 Ringing", "", "");
    w.expect(&["10.0.0.2:5060: CANCEL sip:102@10.0.0.2:5060"]);
    w.pass_ms(70_000);
    assert_eq!((w.shim.dialogs(), w.shim.waiting()), (0, 0));
}

#[test]
fn refusals_of_one_phone_have_their_cause() {
    let cases = [
        ("486 Busy Here", "Busy"),
        ("600 Busy Everywhere", "Busy"),
        ("603 Decline", "Declined"),
        ("480 Temporarily Unavailable", "NoAnswer"),
        ("404 Not Found", "NoSuchNumber"),
        ("403 Forbidden", "Forbidden"),
        ("488 Not Acceptable Here", "NotAcceptable"),
        ("503 Service Unavailable", "Congestion"),
        ("302 Moved Without Contact", "Failed"),
        ("401 Unauthorized", "Failed"),
    ];
    for (status, cause) in cases {
        let mut w = World::new();
        w.outgoing();
        w.respond(HOME, "INVITE", status, "", "");
        assert_eq!(
            w.out()[1..],
            ["media: Close 2".to_owned(), format!("pbx: Ended 2 {cause}")]
        );
    }
}

#[test]
fn a_2xx_without_an_answer_is_hung_up() {
    let mut w = World::new();
    w.outgoing();
    w.respond(HOME, "INVITE", "200 OK", "", "");
    w.expect(&[
        "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060",
        "media: Close 2",
        "10.0.0.2:5060: BYE sip:102@10.0.0.2:5060",
        "pbx: Ended 2 NotAcceptable",
    ]);
}

#[test]
fn a_proxy_on_the_way_is_followed() {
    let mut w = World::new();
    w.outgoing();
    let routes = "Record-Route: <sip:10.0.0.50;lr>, <sip:10.0.0.51;lr>\n\
        Contact: <sip:102@172.16.0.1>\n";
    w.respond(
        HOME,
        "INVITE",
        "200 OK",
        routes,
        &answer_sdp("10.0.0.2", "0"),
    );
    assert_eq!(w.out()[0], "10.0.0.51:5060: ACK sip:102@172.16.0.1");
    let ack = w.last_like("ACK");
    let routes: Vec<&str> = ack.lines().filter(|l| l.starts_with("Route")).collect();
    assert_eq!(
        routes,
        ["Route: <sip:10.0.0.51;lr>", "Route: <sip:10.0.0.50;lr>"]
    );
    // A first hop that knows no loose routing is addressed itself.
    let mut w = World::new();
    w.outgoing();
    let strict = "Record-Route: <sip:10.0.0.50>\nContact: <sip:102@172.16.0.1>\n";
    w.respond(
        HOME,
        "INVITE",
        "200 OK",
        strict,
        &answer_sdp("10.0.0.2", "0"),
    );
    assert_eq!(w.out()[0], "10.0.0.50:5060: ACK sip:10.0.0.50");
    assert_eq!(header(&w.last_like("ACK"), "Route"), "<sip:102@172.16.0.1>");
}

#[test]
fn the_codec_of_the_other_leg_is_preferred() {
    let mut w = World::new();
    w.register(102, HOME);
    w.incoming();
    let caller = tandem_pbx::seam::Caller {
        user: None,
        number: "5".into(),
        name: "".into(),
        is_withheld: false,
        class: tandem_pbx::seam::ClassOfService::Internal,
    };
    w.pbx(SipCommand::Call {
        leg: LegId(2),
        target: Target::User(id(102)),
        caller,
        like: Some(LegId(1)),
        auto_answer: false,
        history: CallHistory::default(),
    });
    w.out();
    let offered = "RTP/AVP 0 8 111 9 101 110";
    assert!(w.last().contains(offered), "{}", w.last());
    w.respond(HOME, "INVITE", "200 OK", "", &answer_sdp("10.0.0.2", "8"));
    w.out();
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: Some(LegId(2)),
    });
    w.expect(&[
        "10.7.0.1:5060: 200 (1 INVITE)",
        "media: Set 1 Pcma 10.7.0.1:4000 both",
    ]);
    assert!(
        w.last().contains("m=audio 10002 RTP/AVP 8 101"),
        "{}",
        w.last()
    );
}

#[test]
fn phones_behind_one_proxy_answer_both() {
    let mut w = World::new();
    w.outgoing();
    let invite = w.last_like("INVITE");
    let (first, second) = ("10.0.0.2:5071", "10.0.0.2:5072");
    let contact = "Contact: <sip:102@10.0.0.2:5060>\n";
    w.respond_to(
        first,
        &invite,
        "200 OK",
        contact,
        &answer_sdp("10.0.0.2", "0"),
    );
    w.out();
    w.respond_to(
        second,
        &invite,
        "200 OK",
        contact,
        &answer_sdp("10.0.0.2", "0"),
    );
    w.expect(&[
        "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060",
        "10.0.0.2:5060: BYE sip:102@10.0.0.2:5060",
    ]);
    assert!(header(w.last(), "To").ends_with("tag=phone5072"));
    // Either comes again: its own ACK comes again, and the call goes on.
    for (at, tag) in [(first, "phone5071"), (second, "phone5072")] {
        w.respond_to(at, &invite, "200 OK", contact, &answer_sdp("10.0.0.2", "0"));
        w.expect(&["10.0.0.2:5060: ACK sip:102@10.0.0.2:5060"]);
        assert!(header(w.last(), "To").ends_with(tag), "{}", w.last());
    }
    assert_eq!(w.shim.dialogs(), 1);
}

#[test]
fn a_stranger_who_is_asked_for_a_password_leaves_nothing_behind() {
    let mut w = World::new();
    for n in 1..=100 {
        w.receive(DESK, &invite(n, "").replace("10.7.0.1:5060", DESK));
    }
    assert_eq!((w.out().len(), w.shim.waiting()), (100, 0));
    w.pass_ms(100_000);
    w.expect(&[]);
}

#[test]
fn what_a_phone_says_before_it_answers_reaches_the_caller() {
    let mut w = World::new();
    w.incoming();
    w.outgoing();
    let early = answer_sdp("10.0.0.2", "0 101");
    w.respond(
        HOME,
        "INVITE sip:102@10.0.0.2",
        "183 Session Progress",
        "",
        &early,
    );
    w.expect(&["media: Set 2 Pcmu 10.0.0.2:4200 both", "pbx: Progress 2"]);
    w.pbx(SipCommand::Progress {
        leg: LegId(1),
        like: Some(LegId(2)),
    });
    w.expect(&[
        "10.7.0.1:5060: 183 (1 INVITE)",
        "media: Set 1 Pcmu 10.7.0.1:4000 both",
    ]);
    let said = w.last_like("SIP/2.0 183");
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: Some(LegId(2)),
    });
    w.expect(&["10.7.0.1:5060: 200 (1 INVITE)"]);
    let body = |text: &str| text[text.find("v=0").unwrap()..].to_owned();
    assert_eq!(body(&w.last_like("SIP/2.0 200")), body(&said), "said again");
    // A description with 180 is for later: the caller's own phone rings.
    let mut w = World::new();
    w.outgoing();
    w.respond(HOME, "INVITE", "180 Ringing", "", &early);
    w.expect(&["pbx: Ringing 2"]);
}

#[test]
fn a_phone_that_forwards_says_where_to() {
    let mut w = two_phones();
    let to = "Contact: <sip:103@10.0.0.9:5060>\n";
    w.respond(
        THIRD,
        "INVITE sip:102@10.0.0.3",
        "302 Moved Temporarily",
        to,
        "",
    );
    let lines = w.out();
    assert!(
        lines.contains(&"pbx: Redirected 2 to 103".to_owned()),
        "{lines:?}"
    );
    assert!(lines.contains(&"media: Close 2".to_owned()), "{lines:?}");
}

#[test]
fn phones_are_told_why_they_stop_ringing_and_why_a_call_ends() {
    let mut w = two_phones();
    let elsewhere = "SIP;cause=200;text=\"Call completed elsewhere\"";
    w.respond(HOME, "INVITE sip:102@10.0.0.2", "180 Ringing", "", "");
    w.respond(THIRD, "INVITE sip:102@10.0.0.3", "180 Ringing", "", "");
    let ok = answer_sdp("10.0.0.3", "0");
    let contact = "Contact: <sip:102@10.0.0.3:5060>\n";
    w.respond(THIRD, "INVITE sip:102@10.0.0.3", "200 OK", contact, &ok);
    assert_eq!(header(&w.last_like("CANCEL"), "Reason"), elsewhere);
    w.pbx(SipCommand::End {
        leg: LegId(2),
        cause: Cause::Normal,
    });
    let reason = header(&w.last_like("BYE"), "Reason");
    assert_eq!(reason, "Q.850;cause=16;text=\"Normal call clearing\"");

    let mut w = two_phones();
    w.respond(HOME, "INVITE sip:102@10.0.0.2", "180 Ringing", "", "");
    w.pbx(SipCommand::End {
        leg: LegId(2),
        cause: Cause::Cancelled,
    });
    assert_eq!(header(&w.last_like("CANCEL"), "Reason"), "");

    // The caller was answered by somebody else's phone.
    let mut w = World::new();
    w.incoming();
    let cancel = invite(1, &format!("Reason: {elsewhere}\n"));
    let cancel = cancel
        .replace("INVITE", "CANCEL")
        .replace("Content-Type: application/sdp\n", "");
    w.receive(GATE, &cancel);
    let lines = w.out();
    assert!(
        lines.contains(&"pbx: Ended 1 AnsweredElsewhere".to_owned()),
        "{lines:?}"
    );
}
