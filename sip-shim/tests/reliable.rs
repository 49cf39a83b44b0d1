//! Provisional responses that are certain to arrive, as transcripts: 100rel and PRACK (RFC 3262).
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{Cause, SipCommand};

const TAKES_IT: &str = "Supported: 100rel\n";
const LEG: LegId = LegId(1);

/// A call from a gateway that takes reliable responses, as leg 1.
fn called(headers: &str) -> World {
    let mut w = World::new();
    w.receive(GATE, &invite(1, headers));
    w.expect(&[
        "10.7.0.1:5060: 100 (1 INVITE)",
        "pbx: Incoming 1: 555 \"Gate\" -> 102",
    ]);
    w
}

/// The gateway confirms the last reliable response; `by` is added to its number.
fn prack(w: &mut World, cseq: u32, by: u32, body: &str) {
    let reliable = w.sent.iter().rev().find(|(_, t)| t.contains("\r\nRSeq: "));
    let said = reliable.unwrap().1.clone();
    let rseq: u32 = header(&said, "RSeq").parse().unwrap();
    let (to, from) = (header(&said, "To"), header(&said, "From"));
    let rack = format!("RAck: {} {}\n", rseq + by, header(&said, "CSeq"));
    let text = within(&to, &from, "gate-1", "PRACK", cseq, &rack, body);
    w.receive(GATE, &text);
}

fn rseq(text: &str) -> u32 {
    header(text, "RSeq").parse().unwrap()
}

fn answer(w: &mut World) {
    let (leg, like) = (LEG, None);
    w.pbx(SipCommand::Answer { leg, like });
}

fn progress(w: &mut World) {
    let (leg, like) = (LEG, None);
    w.pbx(SipCommand::Progress { leg, like });
}

#[test]
fn ringing_is_said_again_until_it_is_confirmed() {
    let mut w = called(TAKES_IT);
    w.pbx(SipCommand::Ring { leg: LEG });
    w.expect(&["10.7.0.1:5060: 180 (1 INVITE)"]);
    let ringing = w.last().to_owned();
    assert_eq!(header(&ringing, "Require"), "100rel");
    assert!(!header(&ringing, "Contact").is_empty());
    w.pass_ms(1_500);
    w.expect(&["10.7.0.1:5060: 180 (1 INVITE)"; 2]);
    assert_eq!(w.last(), ringing);
    // A number that was not given confirms nothing.
    prack(&mut w, 2, 1, "");
    w.expect(&["10.7.0.1:5060: 481 (2 PRACK)"]);
    prack(&mut w, 3, 0, "");
    w.expect(&["10.7.0.1:5060: 200 (3 PRACK)"]);
    prack(&mut w, 4, 0, "");
    w.expect(&["10.7.0.1:5060: 481 (4 PRACK)"]);
    w.pass_ms(30_000);
    w.expect(&[]);
    answer(&mut w);
    assert_eq!(w.out()[0], "10.7.0.1:5060: 200 (1 INVITE)");
    assert!(w.last().contains("\r\n\r\nv=0"), "{}", w.last());
}

#[test]
fn a_call_whose_caller_confirms_nothing_is_refused() {
    let mut w = called(TAKES_IT);
    progress(&mut w);
    w.pass_ms(33_000);
    let out = w.out();
    let said = out.iter().filter(|l| l.contains(": 183 ")).count();
    assert!((5..=9).contains(&said), "{out:?}");
    let end = out.iter().position(|l| l.contains(": 504 ")).unwrap();
    let rest = &out[end + 1..];
    assert!(rest.contains(&"media: Close 1".to_owned()), "{out:?}");
    assert!(rest.contains(&"pbx: Ended 1 MediaTimeout".to_owned()));
    assert_eq!(w.shim.dialogs(), 0);
}

#[test]
fn an_answer_waits_for_a_description_to_be_confirmed() {
    let mut w = called("Require: 100rel\n");
    progress(&mut w);
    w.expect(&[
        "10.7.0.1:5060: 183 (1 INVITE)",
        "media: Set 1 Pcmu 10.7.0.1:4000 both",
    ]);
    answer(&mut w);
    // What is wanted after the answer does not take its place.
    w.pbx(SipCommand::Ring { leg: LEG });
    w.expect(&[]);
    prack(&mut w, 2, 0, "");
    w.expect(&[
        "10.7.0.1:5060: 200 (2 PRACK)",
        "10.7.0.1:5060: 200 (1 INVITE)",
    ]);
    // The description has been given.
    assert_eq!(header(w.last(), "Content-Length"), "0");
    w.receive(GATE, &w.within("ACK", 1, "", ""));
    w.expect(&["pbx: Confirmed 1"]);
}

#[test]
fn an_answer_overtakes_ringing_and_the_prack_comes_late() {
    let mut w = called(TAKES_IT);
    w.pbx(SipCommand::Ring { leg: LEG });
    answer(&mut w);
    w.expect(&[
        "10.7.0.1:5060: 180 (1 INVITE)",
        "10.7.0.1:5060: 200 (1 INVITE)",
        "media: Set 1 Pcmu 10.7.0.1:4000 both",
    ]);
    let ok = w.last_like("SIP/2.0 200");
    prack(&mut w, 2, 0, "");
    w.expect(&["10.7.0.1:5060: 200 (2 PRACK)"]);
    let (to, from) = (header(&ok, "To"), header(&ok, "From"));
    w.receive(GATE, &within(&to, &from, "gate-1", "ACK", 1, "", ""));
    w.expect(&["pbx: Confirmed 1"]);
}

#[test]
fn one_response_waits_for_the_one_before() {
    let mut w = called(TAKES_IT);
    w.pbx(SipCommand::Ring { leg: LEG });
    let first = rseq(w.last());
    progress(&mut w);
    w.expect(&["10.7.0.1:5060: 180 (1 INVITE)"]);
    prack(&mut w, 2, 0, "");
    w.expect(&[
        "10.7.0.1:5060: 200 (2 PRACK)",
        "10.7.0.1:5060: 183 (1 INVITE)",
        "media: Set 1 Pcmu 10.7.0.1:4000 both",
    ]);
    assert_eq!(rseq(w.last()), first + 1);
    // A new offer in the PRACK is answered in its answer.
    let offer = OFFER.replace("4000", "4400");
    prack(&mut w, 3, 0, &offer);
    w.expect(&[
        "10.7.0.1:5060: 200 (3 PRACK)",
        "media: Set 1 Pcmu 10.7.0.1:4400 both",
    ]);
    assert!(w.last().contains("\r\n\r\nv=0"), "{}", w.last());
}

#[test]
fn who_makes_no_offer_gets_no_reliable_response() {
    for (headers, lines) in [
        (TAKES_IT, &["10.7.0.1:5060: 180 (1 INVITE)"][..]),
        ("Require: 100rel\n", &[][..]),
    ] {
        let mut w = World::new();
        w.receive(GATE, &invite_with(1, headers, ""));
        w.out();
        w.pbx(SipCommand::Ring { leg: LEG });
        w.expect(lines);
        assert_eq!(header(w.last(), "RSeq"), "");
    }
}

#[test]
fn who_knows_nothing_of_it_is_told_as_ever() {
    let mut w = called("");
    w.pbx(SipCommand::Ring { leg: LEG });
    progress(&mut w);
    assert_eq!(w.out().len(), 3);
    for name in ["RSeq", "Require"] {
        assert_eq!(header(w.last(), name), "");
    }
}

#[test]
fn a_caller_that_gives_up_leaves_nothing() {
    let mut w = called(TAKES_IT);
    w.pbx(SipCommand::Ring { leg: LEG });
    let cause = Cause::Busy;
    w.pbx(SipCommand::End { leg: LEG, cause });
    w.expect(&[
        "10.7.0.1:5060: 180 (1 INVITE)",
        "10.7.0.1:5060: 486 (1 INVITE)",
    ]);
    prack(&mut w, 2, 0, "");
    w.expect(&["10.7.0.1:5060: 481 (2 PRACK)"]);
}

/// 102's phone rings reliably, with this number.
fn rings(w: &mut World, status: &str, rseq: u32, body: &str) {
    let headers = format!("Require: 100rel\nRSeq: {rseq}\nContact: <sip:102@{HOME}>\n");
    w.respond(HOME, "INVITE", status, &headers, body);
}

#[test]
fn a_phones_ringing_is_confirmed_in_order_and_once() {
    let mut w = World::new();
    w.outgoing();
    let invite = w.last_like("INVITE");
    assert!(header(&invite, "Supported").contains("100rel"));
    rings(&mut w, "180 Ringing", 7, "");
    w.expect(&[
        "10.0.0.2:5060: PRACK sip:102@10.0.0.2:5060",
        "pbx: Ringing 2",
    ]);
    let prack = w.last_like("PRACK");
    assert_eq!(header(&prack, "RAck"), "7 1 INVITE");
    assert_eq!(header(&prack, "CSeq"), "2 PRACK");
    assert!(header(&prack, "To").contains("tag=phone5060"));
    w.respond_to(HOME, &prack, "200 OK", "", "");
    // The same again, and one that has overtaken another.
    rings(&mut w, "180 Ringing", 7, "");
    rings(&mut w, "180 Ringing", 9, "");
    w.expect(&[]);
    rings(&mut w, "180 Ringing", 8, "");
    w.expect(&["10.0.0.2:5060: PRACK sip:102@10.0.0.2:5060"]);
    assert_eq!(header(&w.last_like("PRACK"), "CSeq"), "3 PRACK");
    let contact = format!("Contact: <sip:102@{HOME}>\n");
    let answer = answer_sdp("10.0.0.2", "0");
    w.respond(HOME, "INVITE", "200 OK", &contact, &answer);
    w.out();
    // What follows in the dialog counts on.
    let (leg, cause) = (LegId(2), Cause::Normal);
    w.pbx(SipCommand::End { leg, cause });
    assert_eq!(header(&w.last_like("BYE"), "CSeq"), "4 BYE");
}

#[test]
fn a_description_that_came_reliably_need_not_come_again() {
    let mut w = World::new();
    w.outgoing();
    // Ringing is made by the caller's phone: what a 180 describes counts from the answer on.
    rings(&mut w, "180 Ringing", 1, &answer_sdp("10.0.0.2", "0"));
    w.respond_to(HOME, &w.last_like("PRACK"), "200 OK", "", "");
    w.out();
    let contact = format!("Contact: <sip:102@{HOME}>\n");
    w.respond(HOME, "INVITE", "200 OK", &contact, "");
    let out = w.out();
    assert!(out.contains(&"pbx: Answered 2".to_owned()), "{out:?}");
    assert!(out.contains(&"media: Set 2 Pcmu 10.0.0.2:4200 both".to_owned()));
}

#[test]
fn each_early_dialog_is_confirmed_for_itself() {
    let mut w = World::new();
    w.outgoing();
    rings(&mut w, "180 Ringing", 5, "");
    w.out();
    let invite = w.last_like("INVITE");
    let other = invite.replace(
        "To: <sip:102@10.0.0.9:5060>",
        "To: <sip:102@10.0.0.9:5060>;tag=other",
    );
    let headers = format!("Require: 100rel\nRSeq: 5\nContact: <sip:102@{HOME}>\n");
    w.respond_to(HOME, &other, "180 Ringing", &headers, "");
    w.expect(&["10.0.0.2:5060: PRACK sip:102@10.0.0.2:5060"]);
    let prack = w.last_like("PRACK");
    assert!(header(&prack, "To").ends_with(";tag=other"), "{prack}");
    assert_eq!(header(&prack, "CSeq"), "2 PRACK");
    // No phone makes us say more than there can be to confirm.
    for rseq in 6..100 {
        let headers = format!("Require: 100rel\nRSeq: {rseq}\nContact: <sip:102@{HOME}>\n");
        w.respond_to(HOME, &other, "180 Ringing", &headers, "");
    }
    assert!(w.out().len() < 40);
}
