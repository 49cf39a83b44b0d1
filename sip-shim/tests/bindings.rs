//! Which phones a user has: what REGISTERs mean, where calls then go, and what is written down.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_sip_shim::ShimConfig;

const AWAY: &str = "198.51.100.7:40000";
const ELSEWHERE: &str = "198.51.100.99:40000";
const INSTANCE: &str = "+sip.instance=\"<urn:uuid:1>\"";

/// A REGISTER of 102 with these headers and Call-ID, its challenge answered. Gives the answer.
fn register(w: &mut World, at: &str, call_id: &str, cseq: u32, headers: &str) -> String {
    let text = |cseq, proof: &str| {
        let text = register_text(102, at, cseq, &format!("{headers}{proof}"));
        text.replace(&format!("reg-102-{at}"), call_id)
    };
    w.receive(at, &text(cseq, ""));
    if w.last().starts_with("SIP/2.0 401") {
        let proof = w.proof("REGISTER", "sip:10.0.0.9", 102);
        w.receive(at, &text(cseq + 1, &proof));
    }
    let answer = w.last_like("SIP/2.0");
    w.out();
    answer
}

fn contacts(answer: &str) -> Vec<&str> {
    let lines = answer.lines().filter_map(|l| l.strip_prefix("Contact: "));
    let mut contacts: Vec<&str> = lines.map(|l| l.split(';').next().unwrap()).collect();
    contacts.sort_unstable();
    contacts
}

/// Where a call to 102 goes.
fn called(w: &mut World, leg: u64) -> Vec<String> {
    w.call(leg);
    let mut lines = w.out();
    lines.retain(|l| l.contains("INVITE"));
    lines.sort_unstable();
    lines
}

#[test]
fn a_phone_that_moves_keeps_its_new_address_whatever_the_order() {
    let old = format!("<sip:102@10.0.0.2:5060;line=old>;{INSTANCE}");
    let new = format!("<sip:102@10.0.0.2:5060;line=new>;{INSTANCE}");
    for contacts_at_once in [
        format!("Contact: {new}\nContact: {old};expires=0\n"),
        format!("Contact: {old};expires=0, {new}\n"),
    ] {
        let mut w = World::new();
        register(&mut w, HOME, "c1", 1, &format!("Contact: {old}\n"));
        let answer = register(&mut w, HOME, "c1", 3, &contacts_at_once);
        let left = answer.lines().filter(|l| l.starts_with("Contact:")).count();
        assert_eq!(left, 1, "{answer}");
        assert!(answer.contains("line=new"), "{answer}");
        assert_eq!(
            called(&mut w, 2),
            ["10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060;line=new"]
        );
    }
}

#[test]
fn a_phone_that_starts_anew_at_another_address_replaces_itself() {
    let mut w = World::new();
    let contact = |at: &str| format!("Contact: <sip:102@{at}>;{INSTANCE}\n");
    register(&mut w, HOME, "c1", 1, &contact(HOME));
    let answer = register(&mut w, DESK, "c2", 1, &contact(DESK));
    assert_eq!(contacts(&answer), ["<sip:102@10.0.0.1:5060>"]);
}

#[test]
fn the_flows_of_one_phone_stay_apart() {
    let mut w = World::new();
    for (n, at) in [(1, HOME), (2, DESK)] {
        let contact = format!("Contact: <sip:102@{at}>;{INSTANCE};reg-id={n}\n");
        register(&mut w, at, &format!("c{n}"), 1, &contact);
    }
    assert_eq!(called(&mut w, 2).len(), 2);
    // The second flow comes back from elsewhere.
    let contact = format!("Contact: <sip:102@10.0.0.7:5060>;{INSTANCE};reg-id=2\n");
    let answer = register(&mut w, "10.0.0.7:5060", "c2", 9, &contact);
    assert_eq!(
        contacts(&answer),
        ["<sip:102@10.0.0.2:5060>", "<sip:102@10.0.0.7:5060>"]
    );
}

#[test]
fn two_phones_with_the_same_private_address_at_two_sites_are_two() {
    let mut w = World::new();
    let contact = "Contact: <sip:102@192.168.1.20:5060>\n";
    let behind = |at: &str, w: &mut World, call_id: &str, cseq| {
        let via = format!("SIP/2.0/UDP {at}");
        let text = |cseq: u32, proof: &str| {
            let text = register_text(102, at, cseq, &format!("{contact}{proof}"));
            let text = text.replace(&via, "SIP/2.0/UDP 192.168.1.20:5060");
            text.replace(&format!("reg-102-{at}"), call_id)
        };
        w.receive(at, &text(cseq, ""));
        let proof = w.proof("REGISTER", "sip:10.0.0.9", 102);
        w.receive(at, &text(cseq + 1, &proof));
        w.out();
    };
    behind(AWAY, &mut w, "one", 1);
    behind(ELSEWHERE, &mut w, "two", 1);
    assert_eq!(
        called(&mut w, 2),
        [
            "198.51.100.7:40000: INVITE sip:102@192.168.1.20:5060",
            "198.51.100.99:40000: INVITE sip:102@192.168.1.20:5060"
        ]
    );
    // The router of the first gets another address.
    behind("198.51.100.8:40000", &mut w, "one", 3);
    assert_eq!(called(&mut w, 4).len(), 2);

    // The ways through the NATs are kept open.
    w.pass_ms(26_000);
    let kept: Vec<String> = w.out().into_iter().filter(|l| l.ends_with(": ")).collect();
    assert_eq!(w.shim.counters().keep_alives, 2, "{kept:?}");
}

#[test]
fn a_phone_that_sends_from_another_port_is_behind_no_nat() {
    let mut w = World::new();
    let text = |cseq, proof: &str| {
        let text = register_text(102, "10.0.0.2:5060", cseq, proof);
        text.replace(";rport", "")
    };
    w.receive("10.0.0.2:49999", &text(1, ""));
    let proof = w.proof("REGISTER", "sip:10.0.0.9", 102);
    w.receive("10.0.0.2:49999", &text(2, &proof));
    w.out();
    assert_eq!(
        called(&mut w, 2),
        ["10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060"]
    );
    w.pass_ms(100_000);
    assert_eq!(w.shim.counters().keep_alives, 0);
}

#[test]
fn calls_go_by_way_of_the_path() {
    let mut w = World::new();
    let proxy = "10.0.0.50:5060";
    let headers = "Contact: <sip:102@192.0.2.55:5060>\nRequire: path\n\
        Path: <sip:10.0.0.50;lr;ob>, <sip:edge2.example;lr>\n";
    let answer = register(&mut w, proxy, "c1", 1, headers);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(answer.contains("Path: <sip:10.0.0.50;lr;ob>, <sip:edge2.example;lr>"));
    assert_eq!(
        called(&mut w, 2),
        ["10.0.0.50:5060: INVITE sip:102@192.0.2.55:5060"]
    );
    let invite = w.last_like("INVITE");
    let routes: Vec<&str> = invite.lines().filter(|l| l.starts_with("Route:")).collect();
    assert_eq!(
        routes,
        [
            "Route: <sip:10.0.0.50;lr;ob>",
            "Route: <sip:edge2.example;lr>"
        ]
    );
    let many =
        "Contact: <sip:102@192.0.2.55:5060>\nPath: <sip:a>,<sip:b>,<sip:c>,<sip:d>,<sip:e>\n";
    let answer = register(&mut w, proxy, "c2", 11, many);
    assert!(answer.starts_with("SIP/2.0 400 Bad Path"), "{answer}");
}

#[test]
fn a_contact_may_be_long_and_not_without_end() {
    let mut w = World::new();
    let contact = |bytes: usize| format!("Contact: <sip:102@10.0.0.2;x={}>\n", "y".repeat(bytes));
    let answer = register(&mut w, HOME, "c1", 1, &contact(2000));
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let answer = register(&mut w, HOME, "c1", 3, &contact(2100));
    assert!(answer.starts_with("SIP/2.0 400 Bad Contact"), "{answer}");
}

#[test]
fn phones_are_called_again_right_after_a_restart() {
    let mut before = World::new();
    before.register(102, HOME);
    let written = before.phones[&(102, 0)].clone().unwrap();
    // Who only registers again writes nothing.
    before.phones.clear();
    before.register(102, HOME);
    assert!(before.phones.is_empty());

    let mut w = World::new();
    w.pbx(tandem_pbx::seam::SipCommand::Phone {
        user: id(102),
        slot: 0,
        seen: written.clone(),
    });
    assert_eq!(
        called(&mut w, 2),
        ["10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060"]
    );
    w.register(102, HOME);
    assert_eq!(w.shim.phones(w.now).len(), 1, "it is the same phone");
    w.pass_ms(3_700_000);
    assert_eq!(w.phones[&(102, 0)], None, "it never came again");

    // What cannot be read, or is of nobody, is forgotten.
    for (user, seen) in [(102, "{}"), (999, &*written)] {
        w.phones.clear();
        w.pbx(tandem_pbx::seam::SipCommand::Phone {
            user: id(user),
            slot: 3,
            seen: seen.into(),
        });
        assert_eq!(w.phones[&(user, 3)], None);
    }
}

#[test]
fn one_user_cannot_take_all_calls() {
    let mut w = World::with(ShimConfig {
        calls_per_user_max: 2,
        ..config()
    });
    w.register(101, DESK);
    for n in 1..=3 {
        let text = |proof: &str| {
            let body = OFFER.replace("10.7.0.1", "10.0.0.1");
            let text = invite_with(n, proof, &body).replace("10.7.0.1", "10.0.0.1");
            let text = text.replace("sip:555@", "sip:101@");
            text.replace("Call-ID: ", &format!("Call-ID: {n}"))
        };
        w.receive(DESK, &text(""));
        let proof = w.proof("INVITE", "sip:102@10.0.0.9", 101);
        w.receive(
            DESK,
            &text(&proof).replace("branch=", "branch=z9hG4bKagain"),
        );
        let answer = w.last_like("SIP/2.0");
        let status = if n == 3 { "SIP/2.0 503" } else { "SIP/2.0 100" };
        assert!(answer.starts_with(status), "{n}: {answer}");
        w.out();
    }
}
