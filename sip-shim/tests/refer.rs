//! Transfers as transcripts: REFER, its notifications, and Replaces.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{Cause, SipCommand};

fn refer(to: &str) -> String {
    format!("Refer-To: {to}\nReferred-By: <sip:555@10.7.0.1>\n")
}

/// The dialog of the last call that was answered, as who called us names it in Replaces.
fn named(w: &World) -> String {
    let ok = w.last_like("SIP/2.0 200");
    let tag = |name: &str| header(&ok, name).rsplit_once("tag=").unwrap().1.to_owned();
    let call_id = header(&ok, "Call-ID");
    format!("{call_id};to-tag={};from-tag={}", tag("To"), tag("From"))
}

fn escaped(replaces: &str) -> String {
    replaces
        .replace('@', "%40")
        .replace(';', "%3B")
        .replace('=', "%3D")
}

/// Another call of the same gateway.
fn second_call(replaces: &str) -> String {
    invite(5, replaces)
        .replace("Call-ID: gate-1", "Call-ID: gate-2")
        .replace("tag=g1\nTo", "tag=g2\nTo")
        .replace("z9hG4bKi5", "z9hG4bKi5b")
}

#[test]
fn a_refer_is_accepted_and_its_sender_notified_of_the_outcome() {
    let mut w = World::new();
    w.talking();
    w.receive(
        GATE,
        &w.within("REFER", 2, &refer("<sip:103@10.0.0.9>"), ""),
    );
    w.expect(&[
        "10.7.0.1:5060: 202 (2 REFER)",
        "10.7.0.1:5060: NOTIFY sip:555@10.7.0.1:5060",
        "pbx: Refer 1 to 103",
    ]);
    let trying = w.last_like("NOTIFY");
    assert!(trying.contains("Event: refer;id=2\r\n"), "{trying}");
    assert!(
        trying.contains("Subscription-State: active;expires="),
        "{trying}"
    );
    assert!(trying.contains("Content-Type: message/sipfrag"), "{trying}");
    assert!(
        trying.ends_with("\r\n\r\nSIP/2.0 100 Trying\r\n"),
        "{trying}"
    );
    w.respond(GATE, "NOTIFY", "200 OK", "", "");
    w.expect(&[]);
    w.pbx(SipCommand::ReferResult {
        leg: LegId(1),
        refused: None,
    });
    w.expect(&["10.7.0.1:5060: NOTIFY sip:555@10.7.0.1:5060"]);
    let done = w.last();
    assert!(
        done.contains("Subscription-State: terminated;reason=noresource"),
        "{done}"
    );
    assert!(done.ends_with("\r\n\r\nSIP/2.0 200 OK\r\n"), "{done}");
    assert_eq!(w.shim.counters().refers, 1);
}

#[test]
fn what_was_refused_is_named() {
    let mut w = World::new();
    w.talking();
    for (cseq, refused, line) in [
        (2, Cause::NoSuchNumber, "404 Not Found"),
        (3, Cause::Busy, "486 Busy Here"),
        (4, Cause::Forbidden, "403 Forbidden"),
        (5, Cause::Declined, "603 Decline"),
    ] {
        w.receive(
            GATE,
            &w.within("REFER", cseq, &refer("sip:199@10.0.0.9"), ""),
        );
        let refused = Some(refused);
        w.pbx(SipCommand::ReferResult {
            leg: LegId(1),
            refused,
        });
        assert!(
            w.last().ends_with(&format!("SIP/2.0 {line}\r\n")),
            "{}",
            w.last()
        );
    }
}

#[test]
fn who_wants_no_notification_gets_none() {
    let mut w = World::new();
    w.talking();
    let headers = format!("{}Refer-Sub: false\n", refer("<sip:103@10.0.0.9>"));
    w.receive(GATE, &w.within("REFER", 2, &headers, ""));
    w.expect(&["10.7.0.1:5060: 202 (2 REFER)", "pbx: Refer 1 to 103"]);
    assert!(w.last().contains("Refer-Sub: false\r\n"));
    w.pbx(SipCommand::ReferResult {
        leg: LegId(1),
        refused: None,
    });
    w.expect(&[]);
}

#[test]
fn a_refer_that_names_nobody_or_comes_at_a_wrong_time_is_refused() {
    let mut w = World::new();
    w.talking();
    let two = format!("{}{}", refer("<sip:103@x>"), refer("<sip:104@x>"));
    for (cseq, headers, status) in [
        (2, String::new(), "400 (2 REFER)"),
        (3, two, "400 (3 REFER)"),
        (4, refer("<http://x/>"), "400 (4 REFER)"),
        (
            5,
            refer("<sip:103@x?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>"),
            "481 (5 REFER)",
        ),
    ] {
        w.receive(GATE, &w.within("REFER", cseq, &headers, ""));
        w.expect(&[&format!("10.7.0.1:5060: {status}")]);
    }
    w.receive(GATE, &w.within("REFER", 6, &refer("<sip:103@x>"), ""));
    w.out();
    // One is under way.
    w.receive(GATE, &w.within("REFER", 7, &refer("<sip:104@x>"), ""));
    w.expect(&["10.7.0.1:5060: 491 (7 REFER)"]);
    // From somebody who has no call with us.
    let stray = within(
        "<sip:102@x>",
        "<sip:555@x>;tag=q",
        "none",
        "REFER",
        21,
        "",
        "",
    );
    w.receive(GATE, &stray);
    w.expect(&["10.7.0.1:5060: 481 (21 REFER)"]);
    let other = within(
        "<sip:102@x>;tag=1",
        "<sip:555@x>;tag=q",
        "none",
        "REFER",
        22,
        "",
        "",
    );
    w.receive(GATE, &other);
    w.expect(&["10.7.0.1:5060: 481 (22 REFER)"]);
}

#[test]
fn a_refer_with_replaces_names_the_other_call() {
    let mut w = World::new();
    w.talking();
    let first = w.last_like("SIP/2.0 200");
    w.receive(GATE, &second_call(""));
    w.pbx(SipCommand::Answer {
        leg: LegId(3),
        like: None,
    });
    w.out();
    let to = format!("<sip:102@10.0.0.9?Replaces={}>", escaped(&named(&w)));
    let (own, theirs) = (header(&first, "To"), header(&first, "From"));
    let text = within(&own, &theirs, "gate-1", "REFER", 2, &refer(&to), "");
    w.receive(GATE, &text);
    w.expect(&[
        "10.7.0.1:5060: 202 (2 REFER)",
        "10.7.0.1:5060: NOTIFY sip:555@10.7.0.1:5060",
        "pbx: Refer 1 to 102 with 3",
    ]);
}

#[test]
fn an_invite_with_replaces_takes_the_call_that_it_names() {
    let mut w = World::new();
    w.talking();
    let named = named(&w);
    w.receive(
        GATE,
        &second_call(&format!("Replaces: {named}\nRequire: replaces\n")),
    );
    w.expect(&[
        "10.7.0.1:5060: 100 (5 INVITE)",
        "pbx: Incoming 3: 555 \"Gate\" -> 102 over 1",
    ]);
}

#[test]
fn a_replaces_that_names_no_call_is_refused() {
    let mut w = World::new();
    w.talking();
    let named = named(&w);
    let wrong = named.replace("from-tag=g1", "from-tag=g9");
    for (cseq, replaces, status) in [
        (10, format!("Replaces: {wrong}\n"), 481),
        (11, "Replaces: gate-1\n".to_owned(), 481),
        (12, format!("Replaces: {named};early-only\n"), 486),
        (13, format!("Replaces: {named}\nReplaces: {named}\n"), 400),
    ] {
        let text = invite(cseq, &replaces).replace("tag=g1\nTo", "tag=g7\nTo");
        let text = text.replace("gate-1\nCSeq", "gate-7\nCSeq");
        w.receive(GATE, &text);
        w.expect(&[&format!("10.7.0.1:5060: {status} ({cseq} INVITE)")]);
    }
}
