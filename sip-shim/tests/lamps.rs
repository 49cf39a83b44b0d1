//! The message-waiting lamp as transcripts.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_pbx::seam::SipCommand;
use tandem_sip_shim::ShimInput;

fn subscribe(cseq: u32, to_tag: &str, expires: &str, event: &str) -> String {
    format!(
        "SUBSCRIBE sip:101@10.0.0.9 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKs{cseq};rport\n\
         Max-Forwards: 70\nFrom: <sip:101@10.0.0.9>;tag=s1\nTo: <sip:101@10.0.0.9>{to_tag}\n\
         Call-ID: sub-1\nCSeq: {cseq} SUBSCRIBE\nContact: <sip:101@10.0.0.1:5060>\n{expires}\
         Event: {event}\nContent-Length: 0\n\n"
    )
}

fn light(w: &mut World, new: u32, old: u32) {
    w.pbx(SipCommand::MessageSummary {
        user: id(101),
        lamp: lamp(new, old),
    });
}

//= RFC 3261 §17.1.2.2 type=test
//# If a final response (status codes 200-699) is received while in the "Trying" state, the response
//# MUST be passed to the TU, and the client transaction MUST transition to the "Completed" state.
#[test]
fn a_registered_phone_is_told_unasked() {
    let mut w = World::new();
    w.register(101, DESK);
    light(&mut w, 1, 2);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    let notify = w.last().to_owned();
    assert!(notify.contains(
        "Messages-Waiting: yes\r\nMessage-Account: sip:101@10.0.0.9:5060\r\n\
         Voice-Message: 1/2 (0/0)\r\n"
    ));
    assert_eq!(header(&notify, "Event"), "message-summary");
    // What changes while one is on its way is told once, afterwards.
    light(&mut w, 2, 2);
    light(&mut w, 3, 2);
    w.expect(&[]);
    w.respond_to(DESK, &notify, "200 OK", "", "");
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    assert!(w.last().contains("Voice-Message: 3/2"));
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    // The same lamp again is no news.
    light(&mut w, 3, 2);
    w.expect(&[]);
    light(&mut w, 0, 5);
    assert!(w.last().contains("Messages-Waiting: no\r\n"));
}

#[test]
fn what_a_phone_says_of_an_older_notification_is_no_word_on_the_newer() {
    let mut w = World::new();
    w.register(101, DESK);
    light(&mut w, 1, 0);
    let older = w.last().to_owned();
    // Its power was cut; it is told anew before the older one is given up.
    let text = |cseq, proof: &str| {
        register_text(101, DESK, cseq, proof).replace("reg-101-10.0.0.1:5060", "anew")
    };
    w.receive(DESK, &text(5003, ""));
    let proof = w.proof("REGISTER", "sip:10.0.0.9", 101);
    w.receive(DESK, &text(5004, &proof));
    light(&mut w, 1, 0);
    let newer = w.last().to_owned();
    assert_eq!(header(&newer, "CSeq"), "2 NOTIFY");
    w.respond_to(DESK, &older, "500 Out of Order", "", "");
    w.respond_to(DESK, &newer, "200 OK", "", "");
    w.out();
    light(&mut w, 2, 0);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    // One in trouble is told at the next change, one that does not want it is not.
    w.respond(DESK, "NOTIFY", "503 Later", "", "");
    w.out();
    light(&mut w, 3, 0);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    w.respond(DESK, "NOTIFY", "489 Bad Event", "", "");
    light(&mut w, 4, 0);
    w.expect(&[]);
}

#[test]
fn a_notification_that_was_overtaken_is_not_sent_again() {
    let mut w = World::new();
    w.register(101, DESK);
    light(&mut w, 1, 0);
    w.out();
    w.pass_ms(500);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    let text = |cseq, proof: &str| {
        register_text(101, DESK, cseq, proof).replace("reg-101-10.0.0.1:5060", "anew")
    };
    w.receive(DESK, &text(5003, ""));
    let proof = w.proof("REGISTER", "sip:10.0.0.9", 101);
    w.receive(DESK, &text(5004, &proof));
    light(&mut w, 2, 0);
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.out();
    w.pass_ms(30_000);
    w.expect(&[]);
}

#[test]
fn a_phone_that_comes_back_is_told_again() {
    let mut w = World::new();
    w.register(101, DESK);
    light(&mut w, 1, 0);
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.out();
    // A refresh changes nothing; a phone that started anew does not know its lamp.
    let fresh = |w: &mut World, cseq, call_id: &str| {
        let text = |cseq, proof: &str| {
            register_text(101, DESK, cseq, proof).replace("reg-101-10.0.0.1:5060", call_id)
        };
        w.receive(DESK, &text(cseq, ""));
        let proof = w.proof("REGISTER", "sip:10.0.0.9", 101);
        w.receive(DESK, &text(cseq + 1, &proof));
        w.out();
        light(w, 1, 0);
    };
    fresh(&mut w, 5003, "reg-101-10.0.0.1:5060");
    w.expect(&[]);
    fresh(&mut w, 5005, "anew");
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    assert_eq!(header(w.last(), "CSeq"), "2 NOTIFY");
}

#[test]
fn a_phone_that_does_not_want_it_is_left_alone() {
    let mut w = World::new();
    w.register(101, DESK);
    light(&mut w, 1, 0);
    w.respond(DESK, "NOTIFY", "489 Bad Event", "", "");
    w.out();
    light(&mut w, 2, 0);
    w.expect(&[]);
}

#[test]
fn a_subscription_lives_and_ends() {
    let mut w = World::new();
    w.register(101, DESK);
    light(&mut w, 1, 0);
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.out();
    w.receive(
        DESK,
        &subscribe(1, "", "Expires: 600\n", "message-summary;id=7"),
    );
    w.expect(&[
        "10.0.0.1:5060: 200 (1 SUBSCRIBE)",
        "10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060",
    ]);
    let ok = w.last_like("SIP/2.0 200");
    assert_eq!(header(&ok, "Expires"), "600");
    let notify = w.last().to_owned();
    assert_eq!(header(&notify, "Subscription-State"), "active;expires=600");
    assert_eq!(header(&notify, "Event"), "message-summary;id=7");
    assert_eq!(header(&notify, "From"), header(&ok, "To"));
    w.respond_to(DESK, &notify, "200 OK", "", "");
    w.pass_ms(1_000);
    // One phone, one notification.
    light(&mut w, 2, 0);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.pass_ms(499_000);
    let to = header(&ok, "To");
    let tag = &to[to.find(";tag").unwrap()..];
    w.out();
    w.receive(
        DESK,
        &subscribe(2, tag, "Expires: 600\n", "message-summary;id=7"),
    );
    w.expect(&[
        "10.0.0.1:5060: 200 (2 SUBSCRIBE)",
        "10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060",
    ]);
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.pass_ms(599_000);
    w.expect(&[]);
    w.pass_ms(1_000);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    assert_eq!(
        header(w.last(), "Subscription-State"),
        "terminated;reason=timeout"
    );
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.receive(
        DESK,
        &subscribe(3, tag, "Expires: 600\n", "message-summary;id=7"),
    );
    w.expect(&["10.0.0.1:5060: 481 (3 SUBSCRIBE)"]);
}

#[test]
fn a_phone_may_unsubscribe_or_only_ask() {
    let mut w = World::new();
    w.register(101, DESK);
    w.receive(DESK, &subscribe(1, "", "Expires: 0\n", "message-summary"));
    // Nobody has said yet what the lamp shows.
    w.expect(&[
        "10.0.0.1:5060: 200 (1 SUBSCRIBE)",
        "pbx: PhoneCame 101",
        "10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060",
    ]);
    assert!(header(w.last(), "Subscription-State").starts_with("terminated"));
}

#[test]
fn a_phone_that_is_gone_loses_its_subscription() {
    let mut w = World::new();
    w.register(101, DESK);
    light(&mut w, 0, 0);
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.receive(DESK, &subscribe(1, "", "", "message-summary"));
    w.respond(DESK, "NOTIFY", "481 Gone", "", "");
    w.out();
    // It is still registered: so it is told unasked again.
    light(&mut w, 1, 0);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    assert_eq!(header(w.last(), "Subscription-State"), "active");
}

#[test]
fn strangers_must_show_a_password_and_other_events_are_refused() {
    let mut w = World::new();
    w.receive(DESK, &subscribe(1, "", "", "presence"));
    w.expect(&["10.0.0.1:5060: 489 (1 SUBSCRIBE)"]);
    assert_eq!(header(w.last(), "Allow-Events"), "message-summary, dialog");
    w.receive(DESK, &subscribe(2, "", "Expires: 5\n", "message-summary"));
    w.expect(&["10.0.0.1:5060: 423 (2 SUBSCRIBE)"]);
    w.receive(DESK, &subscribe(3, "", "", "message-summary"));
    w.expect(&["10.0.0.1:5060: 401 (3 SUBSCRIBE)"]);
    let proof = w.proof("SUBSCRIBE", "sip:101@10.0.0.9", 101);
    w.receive(DESK, &subscribe(4, "", &proof, "message-summary"));
    assert_eq!(w.out()[0], "10.0.0.1:5060: 200 (4 SUBSCRIBE)");
}

#[test]
fn the_table_is_bounded() {
    let mut w = World::with(tandem_sip_shim::ShimConfig {
        lamp_subscriptions_max: 1,
        ..config()
    });
    w.register(101, DESK);
    w.receive(DESK, &subscribe(1, "", "", "message-summary"));
    w.out();
    w.register(101, HOME);
    w.receive(
        HOME,
        &subscribe(2, "", "", "message-summary").replace("sub-1", "sub-2"),
    );
    w.expect(&["10.0.0.2:5060: 503 (2 SUBSCRIBE)"]);
}

#[test]
fn a_phone_that_subscribes_without_end_takes_one_place() {
    let mut w = World::new();
    w.register(101, DESK);
    for n in 1..200 {
        let text = subscribe(n, "", "", "message-summary").replace("sub-1", &format!("sub-{n}"));
        w.receive(DESK, &text);
        let text = w.last_like("NOTIFY");
        w.respond_to(DESK, &text, "200 OK", "", "");
    }
    w.pass_ms(1_000);
    w.out();
    w.pbx(SipCommand::MessageSummary {
        user: id(101),
        lamp: lamp(3, 0),
    });
    assert_eq!(w.out().len(), 1, "one notification");
}

#[test]
fn the_subscriptions_of_one_user_are_bounded() {
    let mut w = World::with(tandem_sip_shim::ShimConfig {
        subscriptions_per_user_max: 3,
        contacts_per_user_max: 100,
        ..config()
    });
    for n in 1..20 {
        let at = format!("10.0.1.{n}:5060");
        w.register(101, &at);
        let text = subscribe(n, "", "", "message-summary").replace("sub-1", &format!("sub-{n}"));
        w.receive(&at, &text);
        let text = w.last_like("NOTIFY");
        w.respond_to(&at, &text, "200 OK", "", "");
    }
    assert_eq!(w.shim.subscriptions(), 3);
}

#[test]
fn a_user_who_goes_takes_the_lamp_along() {
    let mut w = World::new();
    w.register(101, DESK);
    w.receive(DESK, &subscribe(1, "", "", "message-summary"));
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.out();
    w.input(ShimInput::User {
        id: id(101),
        user: None,
    });
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    assert_eq!(
        header(w.last(), "Subscription-State"),
        "terminated;reason=noresource"
    );
}

#[test]
fn nobody_subscribes_to_the_lamp_of_another() {
    let mut w = World::new();
    w.register(101, DESK);
    let mine = subscribe(1, "", "Expires: 60\n", "message-summary");
    w.receive(
        DESK,
        &mine.replace("SUBSCRIBE sip:101@", "SUBSCRIBE sip:102@"),
    );
    w.expect(&["10.0.0.1:5060: 403 (1 SUBSCRIBE)"]);
    // Phones name the code for their messages there, too.
    let code = subscribe(2, "", "Expires: 60\n", "message-summary");
    w.receive(
        DESK,
        &code.replace("SUBSCRIBE sip:101@", "SUBSCRIBE sip:*97@"),
    );
    assert!(w.last_like("SIP/2.0").starts_with("SIP/2.0 200"));
}
